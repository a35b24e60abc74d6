"""Reductions that are sums and maxima in disguise."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from lipcert.graph.linear_maps import Sparse
from lipcert.importer.activations import reduced
from lipcert.importer.registry import Context, Value, handles


@handles("ReduceL1")
def reduce_l1(ctx: Context) -> Value:
    """The sum of absolute values over any axes."""
    found = reduced(ctx)
    if found is None:
        return ctx.activation(ctx.tensor(0), "abs")
    x, windows, shape = found
    count, k = windows.shape
    sizes = ctx.activation(ctx.index(x, windows), "abs", channel_axis=None)
    sums = sp.csr_array(sp.kron(sp.eye_array(count), np.ones((1, k)), format="csr"))
    return ctx.affine([(sizes, Sparse(sums))], shape)


@handles("ReduceLogSumExp")
def reduce_log_sum_exp(ctx: Context) -> Value:
    """log Σe^x over any axes, whose gradient is a softmax."""
    found = reduced(ctx)
    if found is None:
        return ctx.tensor(0)
    x, windows, shape = found
    blocks = ctx.index(x, windows)
    return ctx.activation(blocks, "log_sum_exp", windows.shape[1], shape=shape, channel_axis=None)
