"""Reductions that are sums and maxima in disguise, products, and pools by a norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import scipy.sparse as sp

from lipcert.graph.linear_maps import Convolution, Sparse
from lipcert.importer.activations import reduced
from lipcert.importer.expressions import materialise
from lipcert.importer.recurrent import evaluated
from lipcert.importer.registry import Context, Deferred, Tensor, Value, handles
from lipcert.importer.spatial import window

if TYPE_CHECKING:
    from lipcert.arrays import IntArray


@handles("ReduceL1")
def reduce_l1(ctx: Context) -> Value:
    """The sum of absolute values over any axes."""
    found = reduced(ctx)
    if found is None:
        return ctx.activation(ctx.tensor(0), "abs")
    x, windows, shape = found
    return _summed(ctx, ctx.activation(ctx.index(x, windows), "abs", channel_axis=None), shape)


@handles("ReduceSumSquare")
def reduce_sum_square(ctx: Context) -> Value:
    """The sum of squares over any axes, on a range."""
    found = reduced(ctx)
    if found is None:
        return evaluated(ctx, "Mul", ctx.tensor(0), ctx.tensor(0))
    x, windows, shape = found
    numbers = ctx.index(x, windows)
    return _summed(ctx, _signal(ctx, evaluated(ctx, "Mul", numbers, numbers)), shape)


@handles("ReduceLogSum")
def reduce_log_sum(ctx: Context) -> Value:
    """log Σx over any axes, where the sum is positive."""
    found = reduced(ctx)
    if found is None:
        return evaluated(ctx, "Log", ctx.tensor(0))
    x, windows, shape = found
    return evaluated(ctx, "Log", _summed(ctx, ctx.index(x, windows), shape))


@handles("ReduceProd")
def reduce_prod(ctx: Context) -> Value:
    """The product over any axes, on a range; numbers are multiplied in pairs."""
    found = reduced(ctx)
    if found is None:
        return ctx.tensor(0)
    x, windows, shape = found
    waiting: list[Value] = [ctx.index(x, column) for column in windows.T]
    while len(waiting) > 1:
        pairs = zip(waiting[::2], waiting[1::2], strict=False)
        rest = waiting[len(waiting) // 2 * 2 :]
        waiting = [evaluated(ctx, "Mul", a, b) for a, b in pairs] + rest
    return evaluated(ctx, "Reshape", waiting[0], np.array(shape, dtype=np.int64))


@handles("LpPool")
def lp_pool(ctx: Context) -> Tensor:
    """The ℓ1 or ℓ2 norm of windows, padded with zeros."""
    x = ctx.tensor(0)
    kernel = [int(k) for k in ctx.attribute("kernel_shape")]
    size = x.shape[2:]
    stride, dilation, pads = window(ctx, kernel, size)
    if ctx.attribute("ceil_mode", 0):
        raise ctx.unsupported("it rounds its size up", "export it without ceil_mode")
    sums = Convolution(np.ones((1, 1, *kernel)), tuple(size), stride, dilation, pads, 1)
    matrix = sums.to_sparse()
    rows = np.full((matrix.shape[0], int(np.prod(kernel))), -1, dtype=np.int64)
    count = np.diff(matrix.indptr)
    rows[np.repeat(np.arange(len(rows)), count), np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], count)] = (
        matrix.indices
    )
    return _normed(ctx, x, rows, (*x.shape[:2], *sums.size_out))


@handles("GlobalLpPool")
def global_lp_pool(ctx: Context) -> Tensor:
    """The ℓ1 or ℓ2 norm over all spatial axes."""
    x = ctx.tensor(0)
    size = x.shape[2:]
    return _normed(ctx, x, np.arange(int(np.prod(size)), dtype=np.int64)[None], (*x.shape[:2], *[1] * len(size)))


def _normed(ctx: Context, x: Tensor, rows: IntArray, shape: tuple[int, ...]) -> Tensor:
    """The norm of these numbers of each channel, −1 standing for zero."""
    p = int(ctx.attribute("p", 2))
    if p not in (1, 2):
        raise ctx.unsupported(f"there is no proven treatment of p = {p} here", "use p = 1 or 2")
    each = int(np.prod(x.shape[2:]))
    starts = each * np.arange(x.size // each, dtype=np.int64)[:, None, None]
    index = np.where(rows < 0, -1, starts + rows).reshape(-1, rows.shape[1])
    ctx.limit(float(index.size))
    numbers = ctx.index(x, index)
    if p == 1:
        return _summed(ctx, ctx.activation(numbers, "abs", channel_axis=None), shape)
    return ctx.activation(numbers, "norm", rows.shape[1], shape=shape, channel_axis=None)


def _summed(ctx: Context, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The sums of its rows."""
    sums = sp.csr_array(sp.kron(sp.eye_array(x.shape[0]), np.ones((1, x.shape[1])), format="csr"))
    return ctx.affine([(x, Sparse(sums))], shape)


def _signal(ctx: Context, x: Value) -> Tensor:
    return materialise(x, ctx.state) if isinstance(x, Deferred) else cast("Tensor", x)


@handles("ReduceLogSumExp")
def reduce_log_sum_exp(ctx: Context) -> Value:
    """log Σe^x over any axes, whose gradient is a softmax."""
    found = reduced(ctx)
    if found is None:
        return ctx.tensor(0)
    x, windows, shape = found
    blocks = ctx.index(x, windows)
    return ctx.activation(blocks, "log_sum_exp", windows.shape[1], shape=shape, channel_axis=None)
