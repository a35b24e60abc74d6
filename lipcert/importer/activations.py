"""Activations by meaning: pointwise records, Max/Min/TopK spellings as shared sorts, pooling maxima, switches.

Elementwise operations that mean something only together (x·σ(x), comparisons with Where or Cast and Mul) are deferred by
their handlers (see `expressions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.errors import InvalidRequest
from lipcert.graph.linear_maps import Index
from lipcert.graph.nodes import Activation
from lipcert.graph.windows import pooling_windows
from lipcert.importer.elementwise import Site
from lipcert.importer.registry import FLOATING, Context, Deferred, Tensor, Value, handles

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray

_JUMP = "replace it by a continuous function"


# ---- pointwise activations with an op of their own


def _pointwise(op: str, kind: str, text: str, **parameters: float | tuple[str, float]) -> None:
    """Register an op for a record; a parameter is a number, or an attribute with its default."""

    def handler(ctx: Context) -> Value:
        values = {
            key: spec if isinstance(spec, float) else float(ctx.attribute(*spec)) for key, spec in parameters.items()
        }
        return _applied(ctx, ctx.tensor(0), kind, values)

    handler.__doc__ = text
    handles(op)(handler)


def _applied(ctx: Context, x: Tensor, kind: str, values: dict[str, Any]) -> Tensor:
    """The record on x, refused where its parameters have no proven slope interval."""
    result = ctx.activation(x, kind, parameters=values)
    node: Any = ctx.builder.nodes[result.position]
    try:
        node.record.normal_form(1, node.parameters)
    except InvalidRequest as error:
        raise ctx.unsupported(error.what, "choose parameters of bounded slope") from None
    return result


_pointwise("Relu", "relu", "max(x, 0).")
_pointwise("LeakyRelu", "leaky_relu", "Any slope below zero.", alpha=("alpha", float(np.float32(0.01))))
_pointwise("Elu", "elu", "Any alpha.", alpha=("alpha", 1.0))
_pointwise(
    "Selu",
    "selu",
    "Any alpha and gamma.",
    alpha=("alpha", float(np.float32(1.67326319217681884765625))),
    gamma=("gamma", float(np.float32(1.05070102214813232421875))),
)
_pointwise("Celu", "celu", "For alpha > 0; otherwise its slope is unbounded.", alpha=("alpha", 1.0))
_pointwise("Sigmoid", "sigmoid", "1/(1 + e^(−x)).")
_pointwise("Tanh", "tanh", "The hyperbolic tangent.")
_pointwise("Softplus", "softplus", "log(1 + e^x).", beta=1.0)
_pointwise("Softsign", "softsign", "x/(1 + |x|).")
_pointwise("Erf", "erf", "The error function.")
_pointwise("Sin", "sin", "The sine.")
_pointwise("Cos", "cos", "The cosine.")
_pointwise("Atan", "arctan", "The inverse tangent.")
_pointwise("Asinh", "arsinh", "The inverse hyperbolic sine.")
_pointwise("Abs", "abs", "The absolute value.")
_pointwise(
    "HardSigmoid", "hard_sigmoid", "Any alpha and beta.", alpha=("alpha", float(np.float32(0.2))), beta=("beta", 0.5)
)
_pointwise("HardSwish", "hard_swish", "x·clip(x/6 + ½, 0, 1).", alpha=1.0 / 6.0, beta=0.5)
_pointwise("Mish", "mish", "x·tanh(log(1 + e^x)).")
_pointwise("Swish", "silu", "x·sigmoid(alpha·x).", beta=("alpha", 1.0))


@handles("Gelu")
def _gelu(ctx: Context) -> Value:
    """Both forms, erf and tanh."""
    if ctx.attribute("approximate", "none") == "tanh":
        return ctx.activation(ctx.tensor(0), "gelu_tanh")
    return ctx.activation(ctx.tensor(0), "gelu", parameters={"rate": np.sqrt(0.5)})


@handles("PRelu")
def _prelu(ctx: Context) -> Value:
    """One slope, or one a channel or number."""
    x = ctx.tensor(0)
    slope = np.asarray(ctx.constant(1), dtype=np.float64)
    alpha = slope.reshape(1) if slope.size == 1 else np.broadcast_to(slope, x.shape).ravel()
    return _applied(ctx, x, "leaky_relu", {"alpha": alpha})


@handles("Clip")
def _clip(ctx: Context) -> Value:
    """Constant bounds, either missing, in any order."""
    low = np.asarray(ctx.constant(1, -np.inf), dtype=np.float64).reshape(-1)
    high = np.asarray(ctx.constant(2, np.inf), dtype=np.float64).reshape(-1)
    return _clipped(ctx, ctx.tensor(0), low, high)


def _clipped(ctx: Context, x: Tensor, low: Array, high: Array) -> Tensor:
    """min(max(x, low), high), a ReLU where it is one; a clip of a clip is one clip."""
    inner: Any = ctx.builder.nodes[x.position]
    if isinstance(inner, Activation) and inner.kind in ("relu", "clip"):
        first = inner.parameters or {"low": np.zeros(1), "high": np.full(1, np.inf)}
        if (low <= first["high"]).all():
            x = Tensor(inner.parent, x.shape, x.dtype)
            low, high = np.maximum(first["low"], low), np.minimum(first["high"], high)
    if not low.any() and np.isposinf(high).all():
        return ctx.activation(x, "relu")
    if np.isneginf(low).all() and np.isposinf(high).all():
        return x
    return ctx.activation(x, "clip", parameters={"low": low, "high": high})


@handles("ThresholdedRelu")
def _thresholded_relu(ctx: Context) -> Value:
    """Only alpha = 0, which is ReLU; any other jumps."""
    alpha = float(ctx.attribute("alpha", 1.0))
    if alpha != 0.0:
        raise ctx.unsupported(f"it jumps from 0 to {alpha:g} at x = {alpha:g}, so it has no Lipschitz constant", _JUMP)
    return ctx.activation(ctx.tensor(0), "relu")


@handles("Shrink")
def _shrink(ctx: Context) -> Value:
    """Softshrink (bias = lambd); any other bias jumps."""
    bias, lambd = float(ctx.attribute("bias", 0.0)), float(ctx.attribute("lambd", 0.5))
    if bias != lambd:
        raise ctx.unsupported(f"it jumps at x = ±{lambd:g} by {abs(lambd - bias):g} (hardshrink)", _JUMP)
    return _applied(ctx, ctx.tensor(0), "softshrink", {"lambd": lambd})


# ---- activations over an axis


def _along(shape: Sequence[int], axis: int) -> tuple[IntArray, tuple[int, ...]]:
    """Positions with the axis moved last, shape (…, axis length), and the shape of the others."""
    moved = np.moveaxis(np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape), axis, -1)
    return moved, moved.shape[:-1]


def _over_axis(ctx: Context, kind: str, default: int) -> Tensor:
    x = ctx.tensor(0)
    axis = int(ctx.attribute("axis", default))
    order, _ = _along(x.shape, axis)
    blocks = ctx.index(x, order)
    result = ctx.activation(blocks, kind, order.shape[-1], channel_axis=None)
    back = np.empty(x.size, dtype=np.int64)
    back[order.ravel()] = np.arange(x.size)
    return ctx.index(result, back.reshape(x.shape))


@handles("Softmax")
def _softmax(ctx: Context) -> Value:
    """Along any axis."""
    return _over_axis(ctx, "softmax", -1)


@handles("LogSoftmax")
def _log_softmax(ctx: Context) -> Value:
    """Along any axis."""
    return _over_axis(ctx, "log_softmax", -1)


@handles("Hardmax")
def _hardmax(ctx: Context) -> Value:
    """Refused: it jumps."""
    raise ctx.unsupported("its output jumps where the largest input changes", "end the network before it")


def _axes(ctx: Context, rank: int) -> tuple[int, ...] | None:
    """The axes of a reduction; None where there are none and nothing is reduced."""
    given = ctx.constant(1) if ctx.has(1) else np.asarray(ctx.attribute("axes", []), dtype=np.int64)
    if given.size == 0:
        return None if ctx.attribute("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted({int(a) % rank for a in given.ravel()}))


def reduced(ctx: Context) -> tuple[Tensor, IntArray, tuple[int, ...]] | None:
    """The input, the positions that each output reduces (outputs, k), and the shape of the output."""
    x = ctx.tensor(0)
    rank = len(x.shape)
    axes = _axes(ctx, rank)
    if axes is None:
        return None
    kept = [a for a in range(rank) if a not in axes]
    order = np.arange(x.size, dtype=np.int64).reshape(x.shape).transpose(*kept, *axes)
    keep = bool(ctx.attribute("keepdims", 1))
    shape = tuple(1 if a in axes else x.shape[a] for a in range(rank) if keep or a not in axes)
    return x, order.reshape(int(np.prod([x.shape[a] for a in kept], dtype=np.int64)), -1), shape


@handles("ReduceMax", "ReduceMin")
def _reduce_extremum(ctx: Context) -> Value:
    """Over any axes; over two numbers together they are MaxMin."""
    found = reduced(ctx)
    if found is None:
        return ctx.tensor(0)
    x, windows, shape = found
    return _extremum(ctx, x, windows, shape, largest=ctx.node.op_type == "ReduceMax")


@handles("ReduceL2")
def _reduce_l2(ctx: Context) -> Value:
    """The Euclidean norm over any axes, a 1-Lipschitz block."""
    found = reduced(ctx)
    if found is None:
        return ctx.activation(ctx.tensor(0), "abs")
    x, windows, shape = found
    blocks = ctx.index(x, windows)
    return ctx.activation(blocks, "norm", windows.shape[1], shape=shape, channel_axis=None)


def _extremum(
    ctx: Context, x: Tensor, windows: IntArray, shape: Sequence[int], *, largest: bool, pairs: bool = True
) -> Tensor:
    """The largest or smallest number of each window; a pair becomes a sort that maximum and minimum share."""
    count, k = windows.shape
    if k == 1:
        return ctx.index(x, windows.reshape(shape))
    channel = _channel(shape)
    if k == 2 and pairs:
        # the order within a pair does not matter: sorted, so that equal pairs are one node
        blocks = ctx.index(x, np.sort(windows, axis=1))
        sort = ctx.builder.activation(blocks.position, "sort", 2, channel=channel, name=ctx.node.name)
        ordered = Tensor(sort, (2 * count,), x.dtype)
        return ctx.index(ordered, (2 * np.arange(count) + int(largest)).reshape(shape))
    blocks = ctx.index(x, windows)
    signed = blocks if largest else _scaled(ctx, blocks, -1.0)
    top = ctx.builder.activation(signed.position, "maximum", k, channel=channel, name=ctx.node.name)
    result = Tensor(top, tuple(shape), x.dtype)
    return result if largest else _scaled(ctx, result, -1.0)


def _scaled(ctx: Context, x: Tensor, scale: float) -> Tensor:
    return Tensor(ctx.state.engine.scaled(x.position, scale), x.shape, x.dtype)


def _channel(shape: Sequence[int]) -> IntArray | None:
    """The convolution channel (axis 1) of each number of an image; None where there are no spatial axes."""
    if len(shape) < 3:
        return None
    labels = np.arange(shape[1]).reshape(-1, *(1,) * (len(shape) - 2))
    return np.ascontiguousarray(np.broadcast_to(labels, tuple(shape))).ravel()


@handles("Max", "Min")
def _max_min(ctx: Context) -> Value:
    """Of signals and constants; the maximum and minimum of the same two signals share one MaxMin pair."""
    largest = ctx.node.op_type == "Max"
    values = [ctx.value(k) for k in range(len(ctx.operands))]
    shape = np.broadcast_shapes(*(value.shape for value in values))
    constants = [np.asarray(v, dtype=np.float64) for v in values if isinstance(v, np.ndarray)]
    signals = [
        _spread(ctx, ctx.tensor(k), shape) for k, value in enumerate(values) if not isinstance(value, np.ndarray)
    ]
    x = _of_signals(ctx, signals, shape, largest=largest)
    if not constants:
        return x
    combine: Any = np.maximum if largest else np.minimum
    limit = constants[0]
    for value in constants[1:]:
        limit = combine(limit, value)
    limit = limit.reshape(1) if limit.size == 1 else np.broadcast_to(limit, shape).ravel()
    free = np.full(1, np.inf)
    return _clipped(ctx, x, limit, free) if largest else _clipped(ctx, x, -free, limit)


def _spread(ctx: Context, x: Tensor, shape: Sequence[int]) -> Tensor:
    """x broadcast to a shape."""
    if x.shape == tuple(shape):
        return x
    return ctx.index(x, np.broadcast_to(np.arange(x.size, dtype=np.int64).reshape(x.shape), tuple(shape)))


def _of_signals(ctx: Context, signals: Sequence[Tensor], shape: Sequence[int], *, largest: bool) -> Tensor:
    """The elementwise extremum of signals of equal shape."""
    unique = list({x.position: x for x in signals}.values())
    if len(unique) == 1:
        return unique[0]
    if len(unique) == 2:
        slopes = _two_slopes(ctx, unique[0], unique[1], largest=largest)
        if slopes is not None:
            return slopes
    size = unique[0].size
    lanes = [ctx.state.engine.resolve(x.position) for x in unique]
    terms = [lane.single() for lane in lanes]
    bases = {term.node for term in terms if term is not None}
    plain = all(t is not None and t.scale.equals(1.0) and la.shift.zero for t, la in zip(terms, lanes, strict=True))
    if plain and len(bases) == 1:
        # parts of one signal: windows on it, so that however they were cut out, the same pairs are the same node
        base = bases.pop()
        whole = Tensor(base, (ctx.builder.nodes[base].size,), unique[0].dtype)
        windows = np.stack([term.index for term in terms if term is not None], axis=1)
        return _extremum(ctx, whole, windows, shape, largest=largest)
    ordered = sorted(unique, key=lambda x: x.position)
    k = len(ordered)
    ctx.limit(float(size) * k * k)
    parts = []
    for place, x in enumerate(ordered):
        index = np.full((size, k), -1, dtype=np.int64)
        index[:, place] = np.arange(size)
        parts.append((x, Index(index.ravel(), size)))
    stacked = ctx.affine(parts, (size * k,))
    return _extremum(ctx, stacked, np.arange(size * k).reshape(size, k), shape, largest=largest)


def _two_slopes(ctx: Context, a: Tensor, b: Tensor, *, largest: bool) -> Tensor | None:
    """max(αx, βx), such as a leaky ReLU written with Max."""
    engine = ctx.state.engine
    first, second = engine.resolve(a.position), engine.resolve(b.position)
    x, y = first.single(), second.single()
    if x is None or y is None or not (first.exact and second.exact and first.shift.zero and second.shift.zero):
        return None
    if not x.on(y):
        return None
    low, high = np.minimum(x.scale.mid, y.scale.mid), np.maximum(x.scale.mid, y.scale.mid)
    below, above = (low, high) if largest else (high, low)
    if (above == 1.0).all():
        kind, values = ("relu", {}) if not below.any() else ("leaky_relu", {"alpha": below})
        if (below == -1.0).all():
            kind, values = "abs", {}
    else:
        kind, values = "two_slope", {"below": below, "above": above}
    site = Site(ctx.node.name, _channel(a.shape))
    return Tensor(engine.apply(kind, engine.base(x), site, **values), a.shape, a.dtype)


@handles("TopK")
def _top_k(ctx: Context) -> Sequence[Value]:
    """The sorted values along an axis; with k = the axis length this is GroupSort. The indices are refused."""
    x = ctx.tensor(0)
    k = int(np.asarray(ctx.constant(1)).ravel()[0])
    if not ctx.attribute("sorted", 1) and k > 1:
        raise ctx.unsupported("the order of its numbers is left open (sorted = 0)", "export it with sorted = 1")
    axis = int(ctx.attribute("axis", -1)) % len(x.shape)
    largest = bool(ctx.attribute("largest", 1))
    order, others = _along(x.shape, axis)
    g = order.shape[-1]
    if not 1 <= k <= g:
        raise ctx.invalid(f"k = {k} on an axis of {g} numbers")
    windows = order.reshape(-1, g)
    shape = (*others, k)
    if k == 1:
        values = _extremum(ctx, x, windows, others, largest=largest)
        sorted_last = Tensor(values.position, shape, x.dtype)
    else:
        if g == 2:
            windows = np.sort(windows, axis=1)
        blocks = ctx.index(x, windows)
        sort = ctx.builder.activation(blocks.position, "sort", g, channel=_channel(others), name=ctx.node.name)
        place = np.arange(g - 1, g - 1 - k, -1) if largest else np.arange(k)
        index = np.arange(windows.shape[0])[:, None] * g + place
        sorted_last = ctx.index(Tensor(sort, (x.size,), x.dtype), index.reshape(shape))
    back = np.moveaxis(np.arange(sorted_last.size, dtype=np.int64).reshape(shape), -1, axis)
    values = ctx.index(sorted_last, back)
    return [values, replace(indices(ctx, back.shape), operands=(x, values), attributes={"axis": axis})]


def indices(ctx: Context, shape: Sequence[int]) -> Deferred:
    """The second output of TopK and MaxPool: refused where it is used."""
    return Deferred("Indices", (), {}, tuple(shape), np.dtype(np.int64), ctx.where)


@handles("MaxPool")
def _max_pool(ctx: Context) -> Sequence[Value]:
    """All attributes, any spatial rank; padding is −∞. The indices are refused."""
    x = ctx.tensor(0)
    size = x.shape[2:]
    rank = len(size)
    kernel = [int(k) for k in ctx.attribute("kernel_shape")]
    stride = [int(s) for s in ctx.attribute("strides", [1] * rank)]
    dilation = [int(d) for d in ctx.attribute("dilations", [1] * rank)]
    pads = [int(p) for p in ctx.attribute("pads", [0] * (2 * rank))]
    auto = ctx.attribute("auto_pad", "NOTSET")
    size_out = []
    for a in range(rank):
        reach = (kernel[a] - 1) * dilation[a] + 1
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            out = -(-size[a] // stride[a])
            total = max((out - 1) * stride[a] + reach - size[a], 0)
            pads[a] = (total + (auto == "SAME_LOWER")) // 2
        else:
            if auto == "VALID":
                pads[a] = pads[a + rank] = 0
            room = size[a] + pads[a] + pads[a + rank] - reach
            out = room // stride[a] + 1
            if ctx.attribute("ceil_mode", 0):
                out = -(-room // stride[a]) + 1
                # the last window must begin in the image or in the padding before it
                out -= (out - 1) * stride[a] >= size[a] + pads[a]
        size_out.append(int(out))
    return _pooled(ctx, x, kernel, stride, dilation, pads, size_out)


@handles("GlobalMaxPool")
def _global_max_pool(ctx: Context) -> Value:
    """The maximum over all spatial axes."""
    x = ctx.tensor(0)
    size = list(x.shape[2:])
    ones = [1] * len(size)
    return _pooled(ctx, x, size, ones, ones, [0] * (2 * len(size)), ones)[0]


def _pooled(
    ctx: Context,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
    size_out: Sequence[int],
) -> list[Value]:
    size = x.shape[2:]
    if len(kernel) != len(size) or min((*kernel, *stride, *dilation), default=1) < 1 or min(size_out, default=1) < 1:
        raise ctx.invalid(f"a window of shape {tuple(kernel)} does not fit an input of shape {x.shape}")
    ctx.limit(float(np.prod([float(n) for n in (*x.shape[:2], *size_out, *kernel)])))
    try:
        window = pooling_windows(size, kernel, stride, dilation, pads, size_out)
    except InvalidRequest as error:
        raise ctx.invalid(error.what) from None
    images = int(np.prod(x.shape[:2]))
    windows = (np.arange(images)[:, None, None] * int(np.prod(size)) + window).reshape(-1, window.shape[1])
    shape = (*x.shape[:2], *size_out)
    return [_extremum(ctx, x, windows, shape, largest=True, pairs=False), indices(ctx, shape)]


# ---- deferred elementwise operations


def _deferring(op: str, text: str, dtype: np.dtype[Any] | None = None) -> None:
    def handler(ctx: Context) -> Value:
        return ctx.defer(dtype=dtype)

    handler.__doc__ = text
    handles(op)(handler)


for _op, _text in {
    "Pow": "On a range, or inside a function of bounded slope, such as sin² or √(1 + x²).",
    "Sqrt": "On a range, or inside a function of bounded slope, such as √(1 + x²).",
    "Exp": "On a range, or inside a function of bounded slope, such as log(1 + e^x).",
    "Log": "On a range, or of a sigmoid, a softmax or 1 + e^x.",
    "Reciprocal": "On a range without zero, or of 1 + e^x.",
    "Sign": "Inside a continuous function, such as x·sign(x).",
}.items():
    _deferring(_op, _text)

for _op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
    _deferring(_op, "As the condition of a continuous switch.", np.dtype(bool))
_deferring("Not", "Of a comparison.", np.dtype(bool))


@handles("Where")
def _where(ctx: Context) -> Value:
    """Where its branches agree on the surface that switches (Householder, ReLU); constant conditions."""
    dtype = ctx.value(1).dtype
    if dtype.name not in (*FLOATING, "bool"):
        raise ctx.unsupported("a selection of whole numbers by the input jumps", _JUMP)
    return ctx.defer(dtype=dtype)


@handles("Floor", "Ceil", "Round", "Equal", "And", "Or", "Xor", "Mod")
def _jumps(ctx: Context) -> Value:
    """Refused: it jumps."""
    raise ctx.unsupported(
        f"the op {ctx.node.op_type} jumps, and a jump that reaches the output leaves no Lipschitz constant",
        f"bound the value before it with --to, or {_JUMP}",
    )
