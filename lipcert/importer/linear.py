"""Affine ops: sums, products with constants, reductions, batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from lipcert.arrays import Array
from lipcert.graph.linear_maps import Diagonal, Index, LinearMap, Sparse, identity
from lipcert.graph.nodes import Affine
from lipcert.importer.exact import Rounded
from lipcert.importer.registry import Context, Deferred, Tensor, Value, handles


def weights(ctx: Context, k: int) -> Array:
    """Constant operand k as exact float64; infinities are refused, narrow floats noted."""
    array = ctx.constant(k)
    ctx.state.engine.stored(array.dtype.name)
    if array.dtype.itemsize < 4 and not np.issubdtype(array.dtype, np.integer):
        ctx.state.idealise(
            f"the weights are stored as {array.dtype}; the bound is for these numbers in real arithmetic"
        )
    exact = array.astype(np.float64)
    if not np.isfinite(exact).all():
        raise ctx.invalid("its weights hold NaN or infinity")
    return exact


def broadcast(ctx: Context, x: Tensor, shape: Sequence[int]) -> Tensor:
    """x broadcast to a shape, as an index map."""
    if tuple(x.shape) == tuple(shape):
        return x
    positions = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    return ctx.index(x, np.broadcast_to(positions, tuple(shape)))


def scale(ctx: Context, x: Tensor, factor: Array, radii: Array | None = None) -> Tensor:
    """factor · x, both broadcast against each other."""
    shape = np.broadcast_shapes(x.shape, factor.shape)
    signal = broadcast(ctx, x, shape)
    full = np.broadcast_to(factor, shape).ravel()
    spread = None if radii is None else np.broadcast_to(radii, shape).ravel()
    return ctx.affine([(signal, Diagonal(full.copy(), None if spread is None else spread.copy()))], shape)


@handles("Add", "Sub", "Sum", "Mean")
def add(ctx: Context) -> Value:
    """Sums and differences of signals and constants."""
    count = len(ctx.operands)
    values = [ctx.value(k) for k in range(count)]
    if any(isinstance(value, Deferred) for value in values):
        return ctx.defer()
    shape = np.broadcast_shapes(*(value.shape for value in values))
    signs = [1.0, -1.0] if ctx.node.op_type == "Sub" else [1.0] * count
    terms: list[tuple[Tensor, LinearMap]] = []
    biases: list[Array] = []
    for k, (value, sign) in enumerate(zip(values, signs, strict=True)):
        if isinstance(value, np.ndarray):
            biases.append(sign * weights(ctx, k))
        else:
            terms.append(_branch(ctx, broadcast(ctx, ctx.tensor(k), shape), sign))
    total = ctx.affine(terms, shape)
    for bias in biases:
        total = ctx.shift(total, bias)
    if ctx.node.op_type == "Mean":
        return divided(ctx, total, float(count))
    return total


def _branch(ctx: Context, x: Tensor, sign: float) -> tuple[Tensor, LinearMap]:
    """±x as a term of a sum: by the map of its node where that is a single one that is no data movement."""
    if sign < 0:
        return x, Diagonal(np.full(x.size, -1.0))
    node = ctx.builder.nodes[x.position]
    if isinstance(node, Affine) and node.bias is None and len(node.maps) == 1 and not isinstance(node.maps[0], Index):
        parent = node.parents[0]
        return Tensor(parent, (ctx.builder.nodes[parent].size,), x.dtype), node.maps[0]
    return x, identity(x.size)


@handles("Neg")
def neg(ctx: Context) -> Value:
    """−x."""
    x = ctx.value(0)
    if isinstance(x, Deferred):
        return ctx.defer()
    signal = ctx.tensor(0)
    return scale(ctx, signal, np.full(signal.shape, -1.0))


@handles("Mul", "Div")
def multiply(ctx: Context) -> Value:
    """Products and quotients with constants; those of two signals are left to the recognition of activations."""
    a, b = ctx.value(0), ctx.value(1)
    if isinstance(a, Tensor) and isinstance(b, np.ndarray):
        if ctx.node.op_type == "Mul":
            return scale(ctx, a, weights(ctx, 1))
        divisor = weights(ctx, 1)
        if not divisor.all():
            raise ctx.invalid("it divides by zero")
        return divided(ctx, a, divisor)
    if isinstance(a, np.ndarray) and isinstance(b, Tensor) and ctx.node.op_type == "Mul":
        return scale(ctx, b, weights(ctx, 0))
    return ctx.defer()


def divided(ctx: Context, x: Tensor, divisor: Array | float) -> Tensor:
    """x divided by constants; 1/c enters as an enclosure unless it is exact."""
    d = np.asarray(divisor, dtype=np.float64)
    if (d == 1.0).all() and np.broadcast_shapes(d.shape, x.shape) == x.shape:
        return x
    quotient = Rounded.of(np.ones(d.shape)) / Rounded.of(d)
    if not np.isfinite(quotient.mid).all():
        raise ctx.unsupported("the reciprocal of a constant leaves the range of float64", "scale the weights")
    return scale(ctx, x, quotient.mid, None if quotient.exact else quotient.rad)


def divided_by_root(ctx: Context, x: Tensor, n: int) -> Tensor:
    """x/√n, enclosed unless the root is exact."""
    factor = Rounded.of(np.ones(1)) / Rounded.of(np.array([float(n)])).root()
    return scale(ctx, x, factor.mid, None if factor.exact else factor.rad)


@handles("GlobalAveragePool")
def global_average_pool(ctx: Context) -> Tensor:
    """The mean over all spatial axes."""
    x = ctx.tensor(0)
    return _reduce(ctx, x, list(range(2, len(x.shape))), True, mean=True)


@handles("ReduceSum", "ReduceMean")
def reduce_sum(ctx: Context) -> Tensor:
    """Sums and means along axes."""
    x = ctx.tensor(0)
    axes = ctx.attribute("axes")
    if ctx.has(1):
        axes = [int(a) for a in ctx.constant(1).ravel()]
    if not axes:
        if ctx.attribute("noop_with_empty_axes", 0):
            return x
        axes = list(range(len(x.shape)))
    axes = sorted({a % len(x.shape) for a in axes})
    return _reduce(ctx, x, axes, bool(ctx.attribute("keepdims", 1)), mean=ctx.node.op_type == "ReduceMean")


def _reduce(ctx: Context, x: Tensor, axes: Sequence[int], keep: bool, *, mean: bool) -> Tensor:
    kept = [1 if a in axes else s for a, s in enumerate(x.shape)]
    rows = np.arange(int(np.prod(kept)), dtype=np.int64).reshape(kept)
    target = np.broadcast_to(rows, x.shape).ravel()
    matrix = sp.csr_array((np.ones(x.size), (target, np.arange(x.size))), shape=(rows.size, x.size))
    shape = kept if keep else [s for k, s in enumerate(x.shape) if k not in axes]
    total = ctx.affine([(x, Sparse(matrix))], shape)
    return divided(ctx, total, float(x.size // max(rows.size, 1))) if mean else total


def centred(ctx: Context, x: Tensor, n: int) -> Tensor:
    """x minus the mean of each n neighbours."""
    groups = x.size // n
    total = sp.csr_array(sp.kron(sp.eye_array(groups), np.ones((1, n))))
    mean = divided(ctx, ctx.affine([(x, Sparse(total))], (groups,)), -float(n))
    spread = Index(np.repeat(np.arange(groups, dtype=np.int64), n), groups)
    return ctx.affine([(x, identity(x.size)), (mean, spread)], x.shape)


@handles("CumSum")
def cumsum(ctx: Context) -> Tensor:
    """Running sums along an axis, exclusive and reversed ones included."""
    x = ctx.tensor(0)
    axis = int(ctx.constant(1).ravel()[0]) % len(x.shape)
    n = x.shape[axis]
    ctx.limit(float(n) * max(x.size, n))
    lower = np.tril(np.ones((n, n)), -1 if ctx.attribute("exclusive", 0) else 0)
    if ctx.attribute("reverse", 0):
        lower = lower.T
    before, after = int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis + 1 :]))
    matrix = sp.kron(sp.eye_array(before), sp.kron(sp.csr_array(lower), sp.eye_array(after)), format="csr")
    return ctx.affine([(x, Sparse(sp.csr_array(matrix)))], x.shape)


@handles("BatchNormalization")
def batch_normalization(ctx: Context) -> Tensor:
    """Batch normalisation in inference mode, its scale s/√(var + ε) enclosed."""
    if any(not isinstance(ctx.value(k), np.ndarray) for k in (3, 4)):
        raise ctx.unsupported(
            "it normalises by the statistics of the batch at hand, because the layer keeps none (track_running_stats=False)",
            "train it with running statistics, or use a fixed scale",
        )
    if ctx.attribute("training_mode", 0) or len([name for name in ctx.node.output if name]) > 1:
        raise ctx.unsupported("it is in training mode", "export the model in evaluation mode")
    x = ctx.tensor(0)
    gain, shift, mean, variance = (weights(ctx, k) for k in range(1, 5))
    if (variance < 0).any():
        raise ctx.invalid("it has a negative variance")
    # the attribute is a float32; its exact value counts
    total = Rounded.of(variance) + Rounded.of(float(np.float32(ctx.attribute("epsilon", 1e-5))))
    if not (total.mid > 0.0).all():
        raise ctx.invalid("it divides by a variance of zero")
    factor = Rounded.of(gain) / total.root()
    shape = (-1, *(1,) * (len(x.shape) - 2)) if len(x.shape) > 1 else (-1,)
    # (x − mean)·factor + shift, so that no bias is rounded
    centred = ctx.shift(x, np.broadcast_to(-mean.reshape(shape), x.shape))
    result = scale(ctx, centred, factor.mid.reshape(shape), None if factor.exact else factor.rad.reshape(shape))
    return ctx.shift(result, np.broadcast_to(shift.reshape(shape), x.shape))
