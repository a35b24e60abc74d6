"""Ops on images: convolutions and their adjoints, averages over windows, resizing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor, lcm
from typing import Any

import numpy as np
import scipy.sparse as sp

from lipcert.arrays import Array
from lipcert.graph.linear_maps import Convolution, Index, Sparse
from lipcert.importer.linear import divided, weights
from lipcert.importer.registry import Context, Tensor, handles


@handles("Conv")
def conv(ctx: Context) -> Tensor:
    """Convolutions of any rank: strides, pads, auto_pad, dilations, groups."""
    return _with_channel_bias(ctx, _of_images(ctx, _conv))


def _conv(ctx: Context, x: Tensor, kernel: Array, groups: int) -> Tensor:
    size = x.shape[2:]
    stride, dilation, pads = window(ctx, kernel.shape[2:], size)
    if len(size) != kernel.ndim - 2 or x.shape[1] != kernel.shape[1] * groups or kernel.shape[0] % groups:
        raise ctx.invalid(f"a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
    ctx.limit(kernel.shape[0] * _extent(size, pads), 2**40)
    a = Convolution(kernel, tuple(size), stride, dilation, pads, groups)
    if min(a.size_out, default=1) < 1:
        raise ctx.invalid(f"a kernel of shape {kernel.shape} is larger than its input of shape {x.shape}")
    return ctx.affine([(x, a)], (x.shape[0], kernel.shape[0], *a.size_out))


@handles("ConvTranspose")
def conv_transpose(ctx: Context) -> Tensor:
    """Transposed convolutions: the adjoint of a convolution, output_padding and output_shape included."""
    return _with_channel_bias(ctx, _of_images(ctx, _conv_transpose))


def _conv_transpose(ctx: Context, x: Tensor, kernel: Array, groups: int) -> Tensor:
    rank = kernel.ndim - 2
    stride = tuple(ctx.attribute("strides", [1] * rank))
    dilation = tuple(ctx.attribute("dilations", [1] * rank))
    extra = list(ctx.attribute("output_padding", [0] * rank))
    pads = list(ctx.attribute("pads", [0] * 2 * rank))
    spread = [
        stride[a] * (x.shape[2 + a] - 1) + extra[a] + (kernel.shape[2 + a] - 1) * dilation[a] + 1 for a in range(rank)
    ]
    auto = ctx.attribute("auto_pad", "NOTSET")
    shape = ctx.attribute("output_shape")
    if shape is not None or auto.startswith("SAME"):
        wanted = list(shape)[-rank:] if shape is not None else [x.shape[2 + a] * stride[a] for a in range(rank)]
        for a in range(rank):
            total = max(spread[a] - wanted[a], 0)
            begin = total // 2 if auto != "SAME_LOWER" else total - total // 2
            pads[a], pads[a + rank] = begin, total - begin
            spread[a] = wanted[a] + total
    elif auto == "VALID":
        pads = [0] * 2 * rank
    size = tuple(spread[a] - pads[a] - pads[a + rank] for a in range(rank))
    per_group = kernel.shape[1]
    if len(x.shape) != rank + 2 or x.shape[1] != kernel.shape[0] or min((*stride, *dilation, groups), default=1) < 1:
        raise ctx.invalid(f"a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
    ctx.limit(per_group * float(groups) * max(_extent(size, ()), _extent(spread, ())))
    ctx.limit(float(x.size) * per_group * float(np.prod(kernel.shape[2:])))
    # Wᵀ: the kernel (in, out/groups, …) is the kernel (out', in', …) of the convolution whose adjoint this is
    forward = Convolution(kernel, size, stride, dilation, tuple(pads), groups)
    if forward.size_out != tuple(x.shape[2:]):
        matrix = _transpose_matrix(x, kernel, size, stride, dilation, pads, groups)
    else:
        matrix = forward.to_sparse().T.tocsr()
    return ctx.affine([(x, Sparse(sp.csr_array(matrix)))], (1, per_group * groups, *size))


def _transpose_matrix(
    x: Tensor,
    kernel: Array,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    pads: Sequence[int],
    groups: int,
) -> sp.csr_array:
    """The transposed convolution where its output is larger than a plain adjoint would give: crop a wider adjoint."""
    rank = len(size)
    wide = tuple((x.shape[2 + a] - 1) * stride[a] + (kernel.shape[2 + a] - 1) * dilation[a] + 1 for a in range(rank))
    full = Convolution(kernel, wide, stride, dilation, (0,) * 2 * rank, groups).to_sparse().T.tocsr()
    channels = kernel.shape[1] * groups
    positions = np.arange(channels * int(np.prod(wide))).reshape(channels, *wide) + 1
    grid = np.zeros((channels, *size), dtype=np.int64)
    reads, writes = [], []
    for a in range(rank):
        count = min(wide[a] - pads[a], size[a])
        reads.append(slice(pads[a], pads[a] + count))
        writes.append(slice(0, count))
    grid[(slice(None), *writes)] = positions[(slice(None), *reads)]
    return Index(grid.ravel() - 1, full.shape[0]).to_sparse() @ full


def window(
    ctx: Context, kernel: Sequence[int], size: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Strides, dilations and pads (begin…, end…) of a window op, auto_pad resolved."""
    rank = len(kernel)
    stride = tuple(int(s) for s in ctx.attribute("strides", [1] * rank))
    dilation = tuple(int(d) for d in ctx.attribute("dilations", [1] * rank))
    pads = [int(p) for p in ctx.attribute("pads", [0] * 2 * rank)]
    if min((*stride, *dilation), default=1) < 1:
        raise ctx.invalid("its strides or dilations are not positive")
    auto = ctx.attribute("auto_pad", "NOTSET")
    if auto == "VALID":
        pads = [0] * 2 * rank
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        for a in range(rank):
            steps = -(-size[a] // stride[a])
            total = max((steps - 1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1 - size[a], 0)
            begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
            pads[a], pads[a + rank] = begin, total - begin
    return stride, dilation, tuple(pads)


def _extent(size: Sequence[int], pads: Sequence[int]) -> float:
    """How many numbers an image of that size has with its padding, at most."""
    rank = len(size)
    return float(np.prod([float(n) + sum(map(abs, map(float, pads[a::rank]))) for a, n in enumerate(size)]))


def _of_images(ctx: Context, op: Callable[[Context, Tensor, Array, int], Tensor]) -> Tensor:
    """An op with a kernel on every image: several ones are the channels of one, in groups with a copy of the kernel each."""
    x, kernel, groups = ctx.tensor(0), weights(ctx, 1), int(ctx.attribute("group", 1))
    count = x.shape[0] if x.shape else 1
    if count <= 1:
        return op(ctx, x, kernel, groups)
    if len(x.shape) < 3 or kernel.ndim != len(x.shape):
        raise ctx.invalid(f"a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
    ctx.limit(float(count) * kernel.size)
    image = Tensor(x.position, (1, count * x.shape[1], *x.shape[2:]), x.dtype)
    y = op(ctx, image, np.tile(kernel, (count, *(1,) * (kernel.ndim - 1))), count * groups)
    return Tensor(y.position, (count, y.shape[1] // count, *y.shape[2:]), y.dtype)


def _with_channel_bias(ctx: Context, x: Tensor) -> Tensor:
    if not ctx.has(2):
        return x
    bias = weights(ctx, 2).reshape(-1, *(1,) * (len(x.shape) - 2))
    return ctx.shift(x, np.broadcast_to(bias, x.shape))


@handles("AveragePool")
def average_pool(ctx: Context) -> Tensor:
    """Averages over windows: ceil_mode, count_include_pad, auto_pad and dilations included."""
    x = ctx.tensor(0)
    kernel = [int(k) for k in ctx.attribute("kernel_shape")]
    size = list(x.shape[2:])
    rank = len(kernel)
    stride, dilation, pads = window(ctx, kernel, size)
    include = bool(ctx.attribute("count_include_pad", 0))
    if len(size) != rank or min(kernel, default=1) < 1:
        raise ctx.invalid(f"a window of shape {kernel} does not fit an input of shape {x.shape}")
    wide = list(pads)
    if ctx.attribute("ceil_mode", 0) and not ctx.attribute("auto_pad", "NOTSET").startswith("SAME"):
        for a in range(rank):
            wide[a + rank] += _ceil_extra(size[a], pads[a], pads[a + rank], kernel[a], dilation[a], stride[a])
    places = [(size[a] + pads[a] + wide[a + rank]) // stride[a] + 1.0 for a in range(rank)]
    ctx.limit(float(np.prod([float(k) for k in kernel]) * np.prod(places)))
    ones = np.ones((1, 1, *kernel))
    one = Convolution(ones, tuple(size), stride, dilation, tuple(wide), 1)
    matrix = one.to_sparse()
    if include:
        # the windows count the declared padding, but not what ceil_mode adds beyond it
        padded = [size[a] + pads[a] + pads[a + rank] for a in range(rank)]
        beyond = [wide[a + rank] - pads[a + rank] for a in range(rank)]
        frame = Convolution(ones, tuple(padded), stride, dilation, (*[0] * rank, *beyond), 1)
        counted = frame @ np.ones(frame.shape[1])
    else:
        counted = np.diff(matrix.indptr).astype(np.float64)
    channels = x.shape[0] * x.shape[1]
    ctx.limit(float(matrix.nnz) * channels)
    sums = Sparse(sp.csr_array(sp.kron(sp.eye_array(channels), matrix, format="csr")))
    total = ctx.affine([(x, sums)], (*x.shape[:2], *one.size_out))
    return divided(ctx, total, np.tile(np.maximum(counted, 1.0), channels).reshape(total.shape))


def _ceil_extra(size: int, begin: int, end: int, kernel: int, dilation: int, stride: int) -> int:
    """Padding that ceil_mode adds at the end: windows that would start in the end padding are dropped."""
    reach = dilation * (kernel - 1) + 1
    outputs = -(-(size + begin + end - reach) // stride) + 1
    if (outputs - 1) * stride >= size + begin:
        outputs -= 1
    return max((outputs - 1) * stride + reach - (size + begin + end), 0)


@handles("Resize", "Upsample")
def resize(ctx: Context) -> Tensor:
    """Nearest-neighbour and linear resizing, every coordinate transformation but tf_crop_and_resize."""
    x = ctx.tensor(0)
    rank = len(x.shape)
    if ctx.attribute("antialias", 0) or ctx.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ctx.unsupported("antialiasing and kept aspect ratios are not supported", "export it without them")
    axes = [int(a) % rank for a in ctx.attribute("axes", range(rank))]
    if ctx.has(3) and ctx.constant(3).size:
        sizes = {a: int(n) for a, n in zip(axes, ctx.constant(3).ravel(), strict=True)}
        scales = {a: Fraction(n, x.shape[a]) for a, n in sizes.items()}
    else:
        scales = {a: Fraction(float(s)) for a, s in zip(axes, ctx.constant(2).ravel(), strict=True)}
        sizes = {a: floor(x.shape[a] * s) for a, s in scales.items()}
    shape = [sizes.get(a, x.shape[a]) for a in range(rank)]
    ctx.limit(2.0 ** sum(shape[a] != x.shape[a] for a in range(rank)) * float(np.prod([float(n) for n in shape])))
    if min(scales.values(), default=1) <= 0:
        raise ctx.invalid("its scales are not positive")
    matrix: Any = sp.csr_array(np.ones((1, 1)))
    denominator = 1
    for a in range(rank):
        along: Any = sp.eye_array(x.shape[a], format="csr")
        if a in scales:
            along, q = _resized(ctx, x.shape[a], scales[a], shape[a])
            denominator *= q
        matrix = sp.kron(matrix, along, format="csr")
    if denominator > _EXACT_INTEGERS:
        ctx.state.idealise("the weights of a linear Resize are taken as the nearest float64 numbers")
    if denominator > _EXACT_INTEGERS or denominator & (denominator - 1) == 0:
        # exact for powers of two
        matrix, denominator = matrix / float(denominator), 1
    return divided(ctx, ctx.affine([(x, Sparse(sp.csr_array(matrix)))], shape), float(denominator))


_EXACT_INTEGERS = 2**53


def _resized(ctx: Context, n: int, scale: Fraction, count: int) -> tuple[sp.csr_array, int]:
    """The matrix (count, n) of one axis times q, and q; coordinates as in the ONNX specification of Resize."""
    transformation = ctx.attribute("coordinate_transformation_mode", "half_pixel")
    half = Fraction(1, 2)
    shift = {
        "half_pixel": half / scale - half,
        "half_pixel_symmetric": n * half * (1 - count / (n * scale)) + half / scale - half,
        "asymmetric": Fraction(0),
    }
    if transformation == "align_corners" and n * scale != count:
        raise ctx.unsupported("ONNX and ONNX Runtime disagree on align_corners with a fractional size", "give sizes")
    if transformation == "align_corners":
        at = [Fraction(i * (n - 1), max(count - 1, 1)) for i in range(count)]
    elif transformation == "pytorch_half_pixel":
        at = [i / scale + shift["half_pixel"] if count > 1 else Fraction(0) for i in range(count)]
    elif transformation in shift:
        at = [i / scale + shift[transformation] for i in range(count)]
    else:
        raise ctx.unsupported(f"the coordinates {transformation} are not supported", "use half_pixel")
    mode = ctx.attribute("mode", "nearest")
    if mode == "nearest":
        rounding: dict[str, Callable[[Fraction], int]] = {
            "round_prefer_floor": lambda t: ceil(t - half),
            "round_prefer_ceil": lambda t: floor(t + half),
            "floor": floor,
            "ceil": ceil,
        }
        chosen = rounding[ctx.attribute("nearest_mode", "round_prefer_floor")]
        nearest = np.clip([chosen(t) for t in at], 0, n - 1)
        return sp.csr_array((np.ones(count), (np.arange(count), nearest)), shape=(count, n)), 1
    if mode != "linear":
        raise ctx.unsupported(f"{mode} resizing is not supported", "use nearest or linear")
    low = np.array([floor(t) for t in at])
    q = lcm(*(t.denominator for t in at))
    weight = np.array([float((t - floor(t)) * q) for t in at])
    rows = np.tile(np.arange(count), 2)
    columns = np.clip(np.concatenate([low, low + 1]), 0, n - 1)
    return sp.csr_array((np.concatenate([q - weight, weight]), (rows, columns)), shape=(count, n)), q
