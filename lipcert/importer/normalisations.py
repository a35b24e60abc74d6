"""Normalisation by the statistics of the signal itself: layer, RMS, instance and group normalisation, unit vectors."""

from __future__ import annotations

import numpy as np

from lipcert.importer.linear import centred
from lipcert.importer.recurrent import evaluated
from lipcert.importer.registry import Context, Tensor, Value, handles


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
