"""Normalisation by the statistics of the signal itself: layer, RMS, instance and group normalisation, unit vectors."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from lipcert.graph.linear_maps import Sparse
from lipcert.importer.expressions import materialise
from lipcert.importer.linear import centred, divided, divided_by_root
from lipcert.importer.recurrent import evaluated
from lipcert.importer.registry import Context, Deferred, Tensor, Value, handles


@handles("LayerNormalization")
def layer_normalization(ctx: Context) -> Tensor:
    """(x − mean)/√(variance + ε) over the last axes, times a scale, plus a bias; its first output."""
    x = ctx.tensor(0)
    axis = int(ctx.attribute("axis", -1)) % len(x.shape)
    normed = _normed(ctx, centred(ctx, x, int(np.prod(x.shape[axis:]))), int(np.prod(x.shape[axis:])))
    return _scaled(ctx, normed, ctx.value(1), ctx.value(2) if ctx.has(2) else None)


@handles("RMSNormalization")
def rms_normalization(ctx: Context) -> Tensor:
    """x/√(mean of squares + ε) over the last axes, times a scale."""
    x = ctx.tensor(0)
    axis = int(ctx.attribute("axis", -1)) % len(x.shape)
    return _scaled(ctx, _normed(ctx, x, int(np.prod(x.shape[axis:]))), ctx.value(1), None)


@handles("InstanceNormalization")
def instance_normalization(ctx: Context) -> Tensor:
    """Each channel of each sample by its own mean and variance."""
    x = ctx.tensor(0)
    n = int(np.prod(x.shape[2:]))
    return _by_channel(ctx, _normed(ctx, centred(ctx, x, n), n), x.shape[1])


@handles("GroupNormalization")
def group_normalization(ctx: Context) -> Tensor:
    """Groups of channels by their own mean and variance."""
    x = ctx.tensor(0)
    groups = int(ctx.attribute("num_groups", 1))
    if x.shape[1] % groups:
        raise ctx.invalid(f"{x.shape[1]} channels in {groups} groups")
    n = x.size // (x.shape[0] * groups)
    return _by_channel(ctx, _normed(ctx, centred(ctx, x, n), n), x.shape[1])


@handles("LpNormalization")
def lp_normalization(ctx: Context) -> Tensor:
    """x/‖x‖ along an axis, p = 2; on a region without zero."""
    x = ctx.tensor(0)
    if int(ctx.attribute("p", 2)) != 2:
        raise ctx.unsupported("there is no proven treatment of p = 1 here", "use p = 2")
    axis = int(ctx.attribute("axis", -1)) % len(x.shape)
    order = np.moveaxis(np.arange(x.size, dtype=np.int64).reshape(x.shape), axis, -1)
    back = np.empty(x.size, dtype=np.int64)
    back[order.ravel()] = np.arange(x.size)
    rows = ctx.index(x, order)
    unit = ctx.activation(rows, "unit_vector", x.shape[axis], {"floor": 0.0}, channel_axis=None)
    return ctx.index(unit, back.reshape(x.shape))


@handles("LRN")
def lrn(ctx: Context) -> Value:
    """x/(bias + α/size Σ x²)^β, the sum over neighbouring channels; on a range."""
    x = ctx.tensor(0)
    size, channels = int(ctx.attribute("size")), x.shape[1]
    alpha, beta, bias = (float(np.float32(ctx.attribute(k, v))) for k, v in _LRN)
    row, column = np.indices((channels, channels))
    near = (column - row >= -((size - 1) // 2)) & (column - row <= size // 2)
    each = x.size // (x.shape[0] * channels)
    sums = sp.kron(sp.eye_array(x.shape[0]), sp.kron(sp.csr_array(near.astype(np.float64)), sp.eye_array(each)))
    square = evaluated(ctx, "Mul", x, x)
    square = materialise(square, ctx.state) if isinstance(square, Deferred) else square
    if not isinstance(square, Tensor):
        raise ctx.invalid("its input is no signal")
    total: Value = divided(ctx, ctx.affine([(square, Sparse(sp.csr_array(sums)))], x.shape), float(size))
    total = evaluated(ctx, "Add", evaluated(ctx, "Mul", total, np.array(alpha)), np.array(bias))
    return evaluated(ctx, "Mul", x, evaluated(ctx, "Pow", total, np.array(-beta)))


_LRN = (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))


@handles("MeanVarianceNormalization")
def mean_variance_normalization(ctx: Context) -> Value:
    """(x − mean)/(standard deviation + 1e-9) over any axes; on a region where that does not vanish."""
    x = ctx.tensor(0)
    rank = len(x.shape)
    axes = sorted({int(a) % rank for a in ctx.attribute("axes", [0, 2, 3])})
    kept = [a for a in range(rank) if a not in axes]
    order = np.arange(x.size, dtype=np.int64).reshape(x.shape).transpose(*kept, *axes)
    n = int(np.prod([x.shape[a] for a in axes]))
    back = np.empty(x.size, dtype=np.int64)
    back[order.ravel()] = np.arange(x.size)
    rows = centred(ctx, ctx.index(x, order.reshape(-1, n)), n)
    length = ctx.activation(rows, "norm", n, shape=(x.size // n, 1), channel_axis=None)
    deviation = evaluated(ctx, "Add", divided_by_root(ctx, length, n), np.array(1e-9))
    normed = evaluated(ctx, "Div", rows, deviation)
    normed = materialise(normed, ctx.state) if isinstance(normed, Deferred) else normed
    if not isinstance(normed, Tensor):
        raise ctx.invalid("its input is no signal")
    return ctx.index(normed, back.reshape(x.shape))


def _normed(ctx: Context, x: Tensor, n: int) -> Tensor:
    epsilon = float(np.float32(ctx.attribute("epsilon", 1e-5)))
    return ctx.activation(x, "rms_norm", n, {"eps": epsilon, "count": float(n)}, channel_axis=None)


def _by_channel(ctx: Context, x: Tensor, channels: int) -> Tensor:
    """Scale and bias of each channel; of each group where they are given so."""
    parts: list[Value] = []
    for k in (1, 2):
        values = ctx.constant(k)
        if channels % values.size:
            raise ctx.invalid(f"{values.size} scales for {channels} channels")
        values = np.repeat(values, channels // values.size)
        parts.append(values.reshape(-1, *(1,) * (len(x.shape) - 2)))
    return _scaled(ctx, x, parts[0], parts[1])


def _scaled(ctx: Context, x: Tensor, scale: Value, bias: Value | None) -> Tensor:
    result = evaluated(ctx, "Mul", x, scale)
    result = result if bias is None else evaluated(ctx, "Add", result, bias)
    if not isinstance(result, Tensor):
        raise ctx.unsupported("its scale or bias depends on the network's input", "export it with constants")
    return result
