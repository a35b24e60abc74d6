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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from lipcert.errors import InvalidModel, LipcertError, UnsupportedModel
from lipcert.graph.linear_maps import Index, LinearMap, identity
from lipcert.graph.nodes import Affine

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.graph.nodes import Graph, GraphBuilder


@dataclass(frozen=True, eq=False)
class Tensor:
    """A signal: the flat vector of a builder node, read as an array of `shape` in C order; the batch is 1.

    Attributes
    ----------
    position
        The node in the builder.
    shape
        Its shape as ONNX sees it.
    dtype
        Its ONNX element type.
    """

    position: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Deferred:
    """An elementwise op that has no meaning of its own yet, such as x · sigmoid(x) or a comparison.

    It becomes a `Tensor` when an op that is not elementwise uses it; then the whole expression must be recognised as one
    function with a proven normal form (importer/activations.py), or the model is refused.

    Attributes
    ----------
    op
        ONNX op type.
    operands
        Tensors, constants (numpy arrays) and other deferred values.
    attributes
        Of the node.
    shape, dtype
        Of the result.
    where
        The node, for error messages.
    """

    op: str
    operands: tuple[Value, ...]
    attributes: Mapping[str, Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    where: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


Value = Tensor | Deferred | np.ndarray
Handler = Callable[["Context"], "Value | Sequence[Value]"]

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


Call = Callable[[onnx.NodeProto, "Sequence[Value | None]", "State"], "Sequence[Value]"]


@dataclass(frozen=True, eq=False)
class Equation:
    """An implicit layer of the main graph as the file names it: the solution, its parameters that are signals, the cell."""

    solution: str
    parameters: tuple[str, ...]
    cell: Graph


@dataclass(eq=False)
class State:
    """What all contexts of one graph share.

    Attributes
    ----------
    builder
        Collects the nodes.
    file
        Name of the model, for messages.
    opset
        Version of the default domain.
    calls
        What interprets the nodes of other domains.
    equations
        The implicit layers, for the comparison with ONNX Runtime.
    folded
        Bytes of each constant that was computed.
    idealisations
        Where the graph differs from the file.
    """

    builder: GraphBuilder
    file: str
    opset: int
    calls: Mapping[str, Call] = field(default_factory=dict)
    equations: list[Equation] = field(default_factory=list)
    folded: list[float] = field(default_factory=list)
    idealisations: list[str] = field(default_factory=list)

    def idealise(self, text: str) -> None:
        """Note, once, where the graph differs from the file, whose name does not matter."""
        text = text.removeprefix(f"{self.file}, ")
        if text not in self.idealisations:
            self.idealisations.append(text)


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
            from lipcert.importer.activations import materialise

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
        parents = [tensor.position for tensor, _ in terms]
        position = self.builder.affine(parents, [a for _, a in terms], full, self.node.name)
        return Tensor(position, tuple(int(s) for s in shape), terms[0][0].dtype)

    def index(self, x: Tensor, index: IntArray) -> Tensor:
        """Data movement: an array of positions in x (−1 for zero), of the shape of the result."""
        return self.affine([(x, Index(np.ascontiguousarray(index, np.int64).ravel(), x.size))], index.shape)

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

    def defer(self, shape: Sequence[int] | None = None) -> Deferred:
        """This elementwise node as a deferred expression of its operands."""
        given = tuple(value for value in self.operands if value is not None)
        full = np.broadcast_shapes(*(value.shape for value in given)) if shape is None else tuple(shape)
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
    import lipcert.importer  # noqa: F401  (registers the handlers)

    return sorted((op, (handler.__doc__ or "").strip().splitlines()[0]) for op, handler in HANDLERS.items())
