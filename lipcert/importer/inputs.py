"""The inputs of a file: those that move are one vector, the others are held at a value or on a range."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto

from lipcert.arrays import Array
from lipcert.errors import InvalidModel, InvalidRequest, UnsupportedModel
from lipcert.graph.linear_maps import Index
from lipcert.graph.nodes import GraphBuilder
from lipcert.importer.registry import LARGEST_SIGNAL
from lipcert.importer.values import Tensor, Value
from lipcert.regions import Box
from lipcert.rounding import Interval

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_CODES: dict[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT16: (0, 65535),
}
# what only moves numbers, and so keeps codes what they are
_MOVES = {"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice"}

Hold: TypeAlias = Mapping[str, "ArrayLike | Box"]
"""By the name of an input the value that it is held at, or the box of all values that it may have."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Which inputs move, and what the others are held at.

    Attributes
    ----------
    moving
        Their names; none for all that are not held.
    held
        What is known of the others; they may have any value where it says nothing.
    dims
        Sizes of free axes, by name or by number.
    """

    moving: Sequence[str] = ()
    held: Hold = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Signal:
    """One input of the file.

    Attributes
    ----------
    name, shape, dtype
        As the file has them, the batch as 1.
    codes
        The whole numbers that an input of integers has, or None.
    at
        The value that it is held at or, of a range, one of them; None where it moves.
    on
        The range that it is held on, or None.
    batch
        Whether its first axis is free and was taken as a batch of one.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    codes: tuple[int, int] | None = None
    at: np.ndarray | None = None
    on: Interval | None = None
    batch: bool = False

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return int(np.prod(self.shape, dtype=np.int64))

    def sample(self, rng: np.random.Generator, scale: float, positive: bool) -> np.ndarray:
        """A random value, or the one that it is held at."""
        if self.at is not None:
            return self.at
        if self.codes is not None:
            return rng.integers(self.codes[0], self.codes[1] + 1, self.shape)
        x = rng.standard_normal(self.shape) * scale
        return np.abs(x) + 0.1 * scale if positive else x


@dataclass(frozen=True, eq=False)
class Inputs:
    """All inputs of a file."""

    signals: tuple[Signal, ...]

    @property
    def moving(self) -> list[Signal]:
        """Those that make up the input of the network, in the order of the file."""
        return [signal for signal in self.signals if signal.at is None]

    def place(self, builder: GraphBuilder) -> dict[str, Value]:
        """Their values by name: parts of one input node, constants, and held signals."""
        moving = self.moving
        total = sum(signal.size for signal in moving)
        x = builder.input(total, ", ".join(signal.name for signal in moving))
        values: dict[str, Value] = {}
        start = 0
        for signal in self.signals:
            if signal.at is None:
                part = builder.affine([x], [Index(np.arange(start, start + signal.size), total)])
                values[signal.name] = Tensor(part, signal.shape, signal.dtype)
                start += signal.size
            elif signal.on is None:
                values[signal.name] = signal.at
            else:
                nothing = builder.affine([x], [Index(np.full(signal.size, -1), total)])
                parameters = {"low": signal.on.low, "high": signal.on.high, "at": signal.at.astype(np.float64).ravel()}
                position = builder.activation(nothing, "held", 1, parameters, name=signal.name)
                values[signal.name] = Tensor(position, signal.shape, signal.dtype)
        return values

    def sample(self, rng: np.random.Generator, scale: float, positive: bool = False) -> dict[str, np.ndarray]:
        """Random values of all inputs, by name."""
        return {signal.name: signal.sample(rng, scale, positive) for signal in self.signals}

    def column(self, given: Mapping[str, np.ndarray]) -> Array:
        """The input of the network that such values stand for."""
        return np.concatenate([np.asarray(given[signal.name], np.float64).ravel() for signal in self.moving])

    def values(self, x: Array) -> dict[str, np.ndarray]:
        """The values by name for the input of the network: what `column` takes apart."""
        ends = np.cumsum([0, *(signal.size for signal in self.moving)])
        parts = {
            signal.name: x[start:end].reshape(signal.shape)
            for signal, start, end in zip(self.moving, ends[:-1], ends[1:], strict=True)
        }
        return {signal.name: parts[signal.name] if signal.at is None else signal.at for signal in self.signals}

    def notes(self) -> tuple[str, ...]:
        """What there is to say of them."""
        moving, found, start = self.moving, [], 0
        if len(moving) > 1:
            parts = []
            for signal in moving:
                last = start + signal.size - 1
                parts.append(f"{signal.name} ({start}{f' to {last}' if last > start else ''})")
                start = last + 1
            found.append(f"its inputs are one vector: {', '.join(parts)}")
        for signal in self.signals:
            if signal.on is not None:
                wide = not signal.on.bounded.any()
                found.append(f"its input {signal.name} is held, at {'any value' if wide else 'any value of its range'}")
            elif signal.at is not None:
                found.append(f"its input {signal.name} is held at one value")
        return tuple(found)

    def idealisations(self) -> tuple[str, ...]:
        """Where they are taken as something else than the file says."""
        return tuple(
            f"the input {signal.name} of the type {signal.dtype.name}, which the file casts to floating point, is taken as "
            "real numbers"
            for signal in self.moving
            if signal.codes is not None
        )


def declared(graph: onnx.GraphProto, file: str, choice: Choice) -> Inputs:
    """The inputs of a graph whose initialisers are none of them.

    Raises
    ------
    InvalidRequest
        If the choice names what there is not, or leaves nothing that moves.
    UnsupportedModel
        If a moving input is of no floating-point type, or sizes are missing.
    """
    infos = list(graph.input)
    names = [info.name for info in infos]
    if not infos:
        raise UnsupportedModel("it has no inputs", where=file, advice="export the model again")
    _require_known((*choice.moving, *choice.held), names, file)
    moving = [*choice.moving] or [name for name in names if name not in choice.held]
    both = next((name for name in moving if name in choice.held), None)
    if both is not None or not moving:
        what = f"its input {both!r} is to move and is held" if both else "all of its inputs are held"
        raise InvalidRequest(what, where=file, advice="hold fewer inputs")
    free = {name for info in infos for name in _free(info).values()} | {str(k) for i in infos for k in _free(i)}
    unknown = next((key for key in choice.dims if key not in free), None)
    if unknown is not None:
        has = f"its free sizes are {', '.join(sorted(free - {''}))}" if free - {""} else "it has no free sizes"
        raise InvalidRequest(f"its input {names[0]!r} has no free size {unknown!r}", where=file, advice=has)
    if any(size < 1 for size in choice.dims.values()):
        raise InvalidRequest("a size must be at least 1", where=file)
    signals = []
    for info in infos:
        if info.name in moving:
            signals.append(_moving(graph, info, file, choice.dims))
        else:
            signals.append(_held(info, file, choice))
    if sum(float(signal.size) for signal in signals) > LARGEST_SIGNAL:
        raise InvalidModel("its inputs claim too many numbers", where=file, advice="make them smaller")
    return Inputs(tuple(signals))


def _require_known(wanted: Iterable[str], names: list[str], file: str) -> None:
    for name in wanted:
        if name not in names:
            close = get_close_matches(name, names, 1)
            raise InvalidRequest(
                f"it has no input {name!r} that its output needs",
                where=file,
                advice=f"its inputs are {', '.join(map(repr, names))}" + (f"; is {close[0]!r} meant?" if close else ""),
            )


# names of a first axis that is no batch
_LENGTH = re.compile(r"seq|len|time|height|width|frame|token|step|feature|channel|^[hwtlc]$", re.IGNORECASE)


def _free(info: onnx.ValueInfoProto) -> dict[int, str]:
    """The free axes, and their names."""
    given = info.type.tensor_type.shape.dim
    return {k: d.dim_param for k, d in enumerate(given) if not (d.HasField("dim_value") and d.dim_value > 0)}


def _shape(info: onnx.ValueInfoProto, file: str, dims: Mapping[str, int]) -> tuple[int, ...]:
    """The sizes of the axes: free ones as `dims` says, by name or by number; a batch is 1."""
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise UnsupportedModel(f"its input {info.name!r} has no shape", where=file, advice="export it with a shape")
    given, free = tensor.shape.dim, _free(info)
    sizes = {k: dims.get(text, dims.get(str(k), 0)) for k, text in free.items()}
    if 0 in free and not sizes[0] and len(given) > 1 and not _LENGTH.search(free[0]):
        sizes[0] = 1
    left = [free[k] or str(k) for k, size in sizes.items() if not size]
    if left:
        raise UnsupportedModel(
            f"its input {info.name!r} has free sizes besides the batch: {', '.join(dict.fromkeys(left))}",
            where=file,
            advice=f"say how large they are: --dim {left[0]}=32, or load(path, dims={{{left[0]!r}: 32}})",
        )
    shape = tuple(sizes.get(k, d.dim_value) for k, d in enumerate(given))
    size = float(np.prod([float(s) for s in shape]))
    if size > LARGEST_SIGNAL:
        raise InvalidModel(f"its input {info.name!r} claims {size:.3g} numbers", where=file, advice="make it smaller")
    return shape


def _dtype(info: onnx.ValueInfoProto) -> np.dtype[Any]:
    return onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)


def _moving(graph: onnx.GraphProto, info: onnx.ValueInfoProto, file: str, dims: Mapping[str, int]) -> Signal:
    kind = info.type.tensor_type.elem_type
    if not info.type.HasField("tensor_type") or kind in _FLOATS:
        free = _free(info)
        batch = 0 in free and not {"0", free[0]} & dims.keys()
        return Signal(info.name, _shape(info, file, dims), _dtype(info), batch=batch)
    if kind in _CODES and _is_cast(graph, info.name):
        return Signal(info.name, _shape(info, file, dims), _dtype(info), codes=_CODES[kind])
    name = TensorProto.DataType.Name(kind).lower()
    raise UnsupportedModel(
        f"its input {info.name!r} is of the type {name}, whose numbers do not change continuously",
        where=file,
        advice="export it with a float32 input, the image as real numbers or the tokens after their embedding, start behind "
        f"it with --from, or hold it with --hold {info.name}=FILE",
    )


def _is_cast(graph: onnx.GraphProto, name: str) -> bool:
    """Whether all that the graph does with an input, but for moving it, is to cast it to a floating-point type."""
    waiting, seen = [name], {name}
    outputs = {o.name for o in graph.output}
    while waiting:
        current = waiting.pop()
        if current in outputs:
            return False
        for node in graph.node:
            if current not in node.input and not any(_reads(a, current) for a in node.attribute):
                continue
            if node.domain not in ("", "ai.onnx") or current in node.input[1:] or current not in node.input:
                return False
            if node.op_type == "Cast" and next((a.i for a in node.attribute if a.name == "to"), 0) in _FLOATS[:2]:
                continue
            if node.op_type not in _MOVES:
                return False
            fresh = set(node.output) - seen
            seen |= fresh
            waiting += fresh
    return True


def _reads(attribute: onnx.AttributeProto, name: str) -> bool:
    """Whether a subgraph mentions a value."""
    graphs = (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ()
    return any(name in n.input or any(_reads(a, name) for a in n.attribute) for g in graphs for n in g.node)


def _held(info: onnx.ValueInfoProto, file: str, choice: Choice) -> Signal:
    shape, dtype = _shape(info, file, choice.dims), _dtype(info)
    size = int(np.prod(shape, dtype=np.int64))
    floating = info.type.tensor_type.elem_type in _FLOATS
    given = choice.held.get(info.name, Box(-np.inf, np.inf))

    def wrong(what: str) -> InvalidRequest:
        return InvalidRequest(
            f"its input {info.name!r} {what}", where=file, advice=f"give --hold {info.name}=FILE with {size} numbers"
        )

    if isinstance(given, Box):
        if not floating:
            raise wrong(f"is of the type {dtype.name} and has to be held at a value")
        if given.size not in (None, 1, size):
            raise wrong(f"has {size} numbers, its range {given.size}")
        low, high = (np.broadcast_to(end, size).astype(np.float64) for end in (given.low, given.high))
        if (low < high).any():
            return Signal(info.name, shape, dtype, at=_inside(low, high).reshape(shape), on=Interval(low, high))
        given = low
    values = np.asarray(given, dtype=np.float64).ravel()
    if values.size not in (1, size) or not np.isfinite(values).all():
        raise wrong(
            f"has {size} numbers, and {values.size} are given" if values.size not in (1, size) else "is not finite"
        )
    at = np.broadcast_to(values, size).astype(dtype)
    if not floating and (at.astype(np.float64) != values).any():
        raise wrong(f"is of the type {dtype.name}, which does not hold what is given")
    return Signal(info.name, shape, dtype, at=at.reshape(shape))


def _inside(low: Array, high: Array) -> Array:
    """A number of each range that float32 holds too where there is one, near zero in unbounded ones."""
    bounded = Interval(low, high).bounded
    middle = np.where(bounded, 0.5 * np.where(bounded, low, 0.0) + 0.5 * np.where(bounded, high, 0.0), 0.0)
    middle = np.clip(middle, low, high)
    with np.errstate(over="ignore"):
        single = middle.astype(np.float32).astype(np.float64)
    return np.where((low <= single) & (single <= high), single, middle)
