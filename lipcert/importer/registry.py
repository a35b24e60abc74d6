"""The registry: op type -> handler, and what a handler works with.

To support one more op, write a function `def my_op(ctx: Context) -> Value` in the module of its kind, with a docstring
that says what part of the op is covered, and decorate it with `@handles("MyOp")`. Constants never reach a handler alone:
a node whose inputs are all constant is folded before. A handler takes the newest version of an op; what older versions
did otherwise is translated in importer/dialects.py. It reads its operands by `ctx.value(k)`, `ctx.tensor(k)` (a
signal) or `ctx.constant(k)`, its attributes by `ctx.attribute(name, default)`, adds nodes through `ctx.affine`,
`ctx.index`, `ctx.activation`, and refuses by `raise ctx.unsupported(reason, advice)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from lipcert.errors import InvalidModel, LipcertError, UnsupportedModel
from lipcert.graph.linear_maps import Index, LinearMap, identity
from lipcert.graph.nodes import Affine
from lipcert.importer.exact import two_product
from lipcert.importer.expressions import materialise
from lipcert.importer.values import Deferred, State, Tensor, Value

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.graph.nodes import GraphBuilder

__all__ = [
    "FLOATING",
    "FOLDS",
    "HANDLERS",
    "Context",
    "Deferred",
    "State",
    "Tensor",
    "Value",
    "describe_node",
    "folds",
    "handles",
]


Handler = Callable[["Context"], "Value | Sequence[Value]"]

FLOATING = ("bfloat16", "float16", "float32", "float64")
"""The types that stand for real numbers; 8 bits and fewer are a quantisation, which jumps."""

LARGEST_SIGNAL = 2**23
LARGEST_MAP = 2**24
"""The most entries of a map that is written entry by entry."""

HANDLERS: dict[str, Handler] = {}


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Register a handler for these op types of the default domain."""

    def register(handler: Handler) -> Handler:
        for op in ops:
            HANDLERS[op] = handler
        return handler

    return register


Fold = Callable[[onnx.NodeProto, "Sequence[Value | None]", "State"], "list[np.ndarray]"]

FOLDS: dict[str, Fold] = {}


def folds(*ops: str) -> Callable[[Fold], Fold]:
    """Register how these ops are computed from constants, where onnx.reference does not do it or not exactly."""

    def register(fold: Fold) -> Fold:
        for op in ops:
            FOLDS[op] = fold
        return fold

    return register


@dataclass(frozen=True, eq=False)
class Context:
    """One ONNX node with its operands; `scope` holds every value of the graph so far, which subgraphs may read."""

    node: onnx.NodeProto
    operands: tuple[Value | None, ...]
    attributes: Mapping[str, Any]
    state: State
    scope: Mapping[str, Value]

    @property
    def where(self) -> str:
        """The place for error messages: node, op, file."""
        return describe_node(self.node, self.state.file)

    @property
    def builder(self) -> GraphBuilder:
        """The graph under construction."""
        return self.state.builder

    def unsupported(self, reason: str, advice: str = "") -> LipcertError:
        """The error for an op or a variant of it without a proven treatment."""
        return UnsupportedModel(reason, where=self.where, advice=advice)

    def invalid(self, reason: str) -> LipcertError:
        """The error for a node that contradicts itself."""
        return InvalidModel(reason, where=self.where, advice="check the file with onnx.checker")

    def limit(self, numbers: float, most: int = LARGEST_MAP) -> None:
        """Refuse a result, or a map with as many entries, that is too large to write down."""
        if not numbers <= most:
            raise self.unsupported(f"it would create {numbers:.3g} numbers", "make its input smaller")

    def attribute(self, name: str, default: Any = None) -> Any:
        """The attribute as a Python value, or the default."""
        return self.attributes.get(name, default)

    def has(self, k: int) -> bool:
        """Whether operand k is given."""
        return k < len(self.operands) and self.operands[k] is not None

    def value(self, k: int) -> Value:
        """Operand k, whatever it is."""
        value = self.operands[k] if k < len(self.operands) else None
        if value is None:
            raise self.invalid(f"its input {k} is missing")
        return value

    def tensor(self, k: int) -> Tensor:
        """Operand k as a signal; a deferred expression is recognised now or refused."""
        value = self.value(k)
        if isinstance(value, Deferred):
            return materialise(value, self.state)
        if isinstance(value, np.ndarray):
            raise self.unsupported(f"its input {k} is constant where a signal is expected")
        return value

    def constant(self, k: int, default: Any = None) -> np.ndarray:
        """Operand k as a constant; `default` where it is not given."""
        if not self.has(k):
            if default is None:
                raise self.invalid(f"its input {k} is missing")
            return np.asarray(default)
        value = self.value(k)
        if not isinstance(value, np.ndarray):
            raise self.unsupported(
                f"its input {k} depends on the network's input",
                "there is no proven treatment of that here; bound the part before it with --to",
            )
        return value

    def affine(
        self,
        terms: Sequence[tuple[Tensor, LinearMap]],
        shape: Sequence[int],
        bias: Array | None = None,
    ) -> Tensor:
        """Σ A_k x_k + b as a tensor of this shape; the bias is broadcast to it."""
        self.limit(float(np.prod([float(n) for n in shape])), LARGEST_SIGNAL)
        full = None if bias is None else np.broadcast_to(np.asarray(bias, np.float64), tuple(shape)).ravel()
        if full is not None and not full.any():
            full = None
        parents = [tensor.position for tensor, _ in terms if tensor.size]
        maps = [a for tensor, a in terms if tensor.size]
        if not maps:
            # what is made of nothing is constant: no number of the input counts
            parents = self.builder.inputs[:1]
            rows = int(np.prod(shape, dtype=np.int64))
            maps = [Index(np.full(rows, -1), self.builder.nodes[parents[0]].size)]
        position = self.builder.affine(parents, maps, full, self.node.name)
        return Tensor(position, tuple(int(s) for s in shape), terms[0][0].dtype)

    def index(self, x: Tensor, index: IntArray) -> Tensor:
        """Data movement: an array of positions in x (−1 for zero), of the shape of the result."""
        self.limit(float(index.size), LARGEST_SIGNAL)
        return self.affine([(x, Index(np.ascontiguousarray(index, np.int64).ravel(), x.size))], index.shape)

    def shift_product(self, x: Tensor, factor: float, bias: Array) -> Tensor:
        """x + factor·b, the rounding of the product as a second bias."""
        product, error = two_product(np.asarray(factor), np.asarray(bias, np.float64))
        if not np.isfinite(product + error).all():
            raise self.unsupported("a product of its constants leaves the range of float64", "scale the weights")
        return self.shift(self.shift(x, product), error)

    def shift(self, x: Tensor, bias: Array) -> Tensor:
        """x + b for a constant that broadcasts to the shape of x; the bias of the node of x where it has none."""
        node = self.builder.nodes[x.position]
        if not isinstance(node, Affine) or node.bias is not None:
            return self.affine([(x, identity(x.size))], x.shape, bias)
        full = np.broadcast_to(np.asarray(bias, np.float64), x.shape).ravel()
        if not full.any():
            return x
        return Tensor(self.builder.affine(node.parents, node.maps, full, node.name), x.shape, x.dtype)

    def activation(
        self,
        x: Tensor,
        kind: str,
        block: int = 1,
        parameters: Mapping[str, Any] | None = None,
        shape: Sequence[int] | None = None,
        channel_axis: int | None = 1,
    ) -> Tensor:
        """The activation on consecutive blocks of x; blocks along `channel_axis` get their channel for ties."""
        arrays = {key: np.atleast_1d(np.asarray(value, np.float64)) for key, value in (parameters or {}).items()}
        channel = None
        if channel_axis is not None and len(x.shape) > channel_axis + 1 and block == 1:
            shaped = np.arange(x.shape[channel_axis]).reshape(-1, *(1,) * (len(x.shape) - channel_axis - 1))
            channel = np.ascontiguousarray(np.broadcast_to(shaped, x.shape)).ravel()
        position = self.builder.activation(x.position, kind, block, arrays, channel, self.node.name)
        return Tensor(position, tuple(x.shape if shape is None else shape), x.dtype)

    def defer(self, shape: Sequence[int] | None = None, dtype: np.dtype[Any] | None = None) -> Deferred:
        """This elementwise node as a deferred expression of its operands, of their type unless another is given."""
        given = tuple(value for value in self.operands if value is not None)
        full = np.broadcast_shapes(*(value.shape for value in given)) if shape is None else tuple(shape)
        self.limit(float(np.prod([float(n) for n in full])), LARGEST_SIGNAL)
        if dtype is None:
            dtype = next((v.dtype for v in given if not isinstance(v, np.ndarray)), np.dtype(np.float32))
        return Deferred(self.node.op_type, given, self.attributes, full, dtype, self.where)


def describe_node(node: onnx.NodeProto, file: str) -> str:
    """'net.onnx, node 'relu_1' (Relu)'."""
    name = node.name or (node.output[0] if node.output else "?")
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    return f"{file}, node {name!r} ({domain}{node.op_type})"


def supported_operators() -> list[tuple[str, str]]:
    """Every op with a handler and the first line of the handler's docstring, sorted: the table of the docs.

    Examples
    --------
    >>> dict(supported_operators())["Gemm"], dict(supported_operators())["Floor"]
    ('α op(A) op(B) + β C with one of A, B constant.', 'Refused: it jumps.')
    """
    return sorted((op, (handler.__doc__ or "").strip().splitlines()[0]) for op, handler in HANDLERS.items())
