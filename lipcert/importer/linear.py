"""Affine ops: products with constants, sums, convolutions, averages, batch normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from lipcert.arrays import Array
from lipcert.errors import LipcertError
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal, Index, LinearMap, Sparse, identity
from lipcert.graph.nodes import Affine
from lipcert.importer.exact import Rounded
from lipcert.importer.registry import Context, Deferred, Tensor, Value, handles

# entries above which a matrix on many rows is written as a convolution
_TRIPLETS = 2**20


def weights(ctx: Context, k: int) -> Array:
    """Constant operand k as exact float64; infinities are refused, narrow floats noted."""
    array = ctx.constant(k)
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
    full = np.broadcast_to(factor, shape).ravel()
    spread = None if radii is None else np.broadcast_to(radii, shape).ravel()
    signal = broadcast(ctx, x, shape)
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
        return _divided(ctx, total, float(count))
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
        return _divided(ctx, a, divisor)
    if isinstance(a, np.ndarray) and isinstance(b, Tensor) and ctx.node.op_type == "Mul":
        return scale(ctx, b, weights(ctx, 0))
    return ctx.defer()


@handles("Gemm")
def gemm(ctx: Context) -> Tensor:
    """α op(A) op(B) + β C with one of A, B constant."""
    alpha, beta = float(ctx.attribute("alpha", 1.0)), float(ctx.attribute("beta", 1.0))
    left = isinstance(ctx.value(1), np.ndarray)
    if not left and not isinstance(ctx.value(0), np.ndarray):
        raise _bilinear(ctx)
    signal = ctx.tensor(0 if left else 1)
    matrix = weights(ctx, 1 if left else 0)
    if matrix.ndim != 2:
        raise ctx.invalid("its operands are not matrices")
    if len(signal.shape) != 2:
        signal = Tensor(signal.position, (signal.shape[0], signal.size // signal.shape[0]), signal.dtype)
    if ctx.attribute("transA" if left else "transB", 0):
        positions = np.arange(signal.size, dtype=np.int64).reshape(signal.shape).T
        signal = ctx.index(signal, positions)
    if ctx.attribute("transB" if left else "transA", 0):
        matrix = matrix.T
    result = _matmul(ctx, signal, matrix, left)
    if alpha != 1.0:
        result = scale(ctx, result, np.full(result.shape, alpha))
    if ctx.has(2) and beta != 0.0:
        if isinstance(ctx.value(2), np.ndarray):
            return ctx.shift_product(result, beta, np.broadcast_to(weights(ctx, 2), result.shape))
        other = broadcast(ctx, ctx.tensor(2), result.shape)
        n = result.size
        return ctx.affine([(result, identity(n)), (other, Diagonal(np.full(n, beta)))], result.shape)
    return result


@handles("MatMul")
def matmul(ctx: Context) -> Tensor:
    """A matrix product, batched by broadcasting; of two signals on a range."""
    if isinstance(ctx.value(1), np.ndarray):
        return _matmul(ctx, ctx.tensor(0), weights(ctx, 1), True)
    if isinstance(ctx.value(0), np.ndarray):
        return _matmul(ctx, ctx.tensor(1), weights(ctx, 0), False)
    return _of_signals(ctx, ctx.tensor(0), ctx.tensor(1))


def _of_signals(ctx: Context, a: Tensor, b: Tensor) -> Tensor:
    """A B for two signals: a record on ranges, one block a pair of matrices."""
    left = np.arange(a.size, dtype=np.int64).reshape(a.shape)
    right = np.arange(b.size, dtype=np.int64).reshape(b.shape)
    try:
        shape = np.matmul(np.empty(a.shape, dtype=bool), np.empty(b.shape, dtype=bool)).shape
    except ValueError:
        raise ctx.invalid(f"matrices of shapes {a.shape} and {b.shape} do not fit") from None
    left = left[None] if left.ndim == 1 else left
    right = right[:, None] if right.ndim == 1 else right
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, batch + left.shape[-2:]).reshape(-1, left.shape[-2] * left.shape[-1])
    rows, inner = a.shape[-2] if len(a.shape) > 1 else 1, a.shape[-1]
    right = np.broadcast_to(right, batch + right.shape[-2:]).reshape(len(left), -1)
    block = left.shape[1] + right.shape[1]
    ctx.limit(float(len(left)) * rows * (right.shape[1] // inner) * block)
    none = np.full_like
    first = np.hstack([left, none(right, -1)])
    second = np.hstack([none(left, -1), right])
    pairs = ctx.affine([(a, Index(first.ravel(), a.size)), (b, Index(second.ravel(), b.size))], (len(left), block))
    parameters = {"rows": rows, "inner": inner}
    return ctx.activation(pairs, "matrix_product", block, parameters, shape, None)


def _bilinear(ctx: Context) -> LipcertError:
    return ctx.unsupported(
        "it is a product of two signals, for which there is no proven treatment here",
        "bound the part before it with --to",
    )


def _matmul(ctx: Context, x: Tensor, matrix: Array, signal_left: bool) -> Tensor:
    """x @ matrix, or matrix @ x, as a dense map where x is one vector, else as a sparse one."""
    shape = (
        np.matmul(np.empty((*x.shape,), dtype=bool), np.empty(matrix.shape, dtype=bool)).shape
        if signal_left
        else (np.matmul(np.empty(matrix.shape, dtype=bool), np.empty((*x.shape,), dtype=bool)).shape)
    )
    vector = x.size == (x.shape[-1] if signal_left else (x.shape[-2] if len(x.shape) > 1 else x.shape[0]))
    if matrix.ndim == 2 and vector:
        dense = np.ascontiguousarray(matrix.T if signal_left else matrix)
        return ctx.affine([(x, Dense(dense))], shape)
    if matrix.ndim == 2 and x.size * matrix.size // max(matrix.shape[0 if signal_left else 1], 1) > _TRIPLETS:
        rows = x.size // matrix.shape[0 if signal_left else 1]
        if signal_left or rows == shape[-1]:
            return _pointwise(ctx, x, matrix if signal_left else matrix.T, shape, rows, signal_left)
    # entry (…, i, j) of the result is Σ_k x[…, i, k] matrix[…, k, j]: collect (row, column, value) triplets
    positions = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    if len(x.shape) == 1:
        positions = positions[None, :] if signal_left else positions[:, None]
    if matrix.ndim == 1:
        matrix = matrix[:, None] if signal_left else matrix[None, :]
    if not signal_left:
        positions, matrix = positions.swapaxes(-1, -2), matrix.swapaxes(-1, -2)
    batch = np.broadcast_shapes(positions.shape[:-2], matrix.shape[:-2])
    rows_in, inner = positions.shape[-2:]
    columns_out = matrix.shape[-1]
    source = np.broadcast_to(positions, (*batch, rows_in, inner))[..., :, None, :]
    factor = np.broadcast_to(matrix, (*batch, inner, columns_out)).swapaxes(-1, -2)[..., None, :, :]
    target = np.arange(int(np.prod(batch)) * rows_in * columns_out, dtype=np.int64)
    target = target.reshape((*batch, rows_in, columns_out) if signal_left else (*batch, columns_out, rows_in))
    if not signal_left:
        target = target.swapaxes(-1, -2)
    full = (*batch, rows_in, columns_out, inner)
    ctx.limit(float(np.prod([float(n) for n in full])))
    entries = np.broadcast_to(factor, full).ravel()
    kept = entries != 0.0
    rows = np.broadcast_to(target[..., None], full).ravel()[kept]
    columns = np.broadcast_to(source, full).ravel()[kept]
    a = Sparse(sp.csr_array((entries[kept], (rows, columns)), shape=(target.size, x.size)))
    return ctx.affine([(x, a)], shape)


def _pointwise(ctx: Context, x: Tensor, matrix: Array, shape: Sequence[int], rows: int, signal_left: bool) -> Tensor:
    """The same matrix on every one of many rows: a convolution with kernel size 1."""
    inner, columns = matrix.shape
    kernel = np.ascontiguousarray(matrix.T)[:, :, None]
    a = Convolution(kernel, (rows,), (1,), (1,), (0, 0))
    if not signal_left:
        return ctx.affine([(x, a)], shape)
    channels_first = ctx.index(x, np.arange(x.size, dtype=np.int64).reshape(rows, inner).T)
    result = ctx.affine([(channels_first, a)], (columns, rows))
    back = np.arange(columns * rows, dtype=np.int64).reshape(columns, rows).T
    return ctx.index(result, back.reshape(tuple(shape)))


@handles("Einsum")
def einsum(ctx: Context) -> Tensor:
    """An einsum of one signal with constants, one constant after the other, so that no two are multiplied."""
    signals = [k for k, value in enumerate(ctx.operands) if not isinstance(value, np.ndarray)]
    if len(signals) != 1:
        raise _bilinear(ctx)
    terms, result = _subscripts(ctx)
    x, letters = _labelled(ctx, ctx.tensor(signals[0]), terms.pop(signals[0]))
    arrays = [weights(ctx, k) for k in range(len(ctx.operands)) if k != signals[0]]
    if not arrays:
        return _contracted(ctx, x, letters, np.ones(()), "", result)
    for k, (array, term) in enumerate(zip(arrays, terms, strict=True)):
        array, term = _diagonal(ctx, array, term)
        later = result + "".join(terms[k + 1 :])
        # what only this constant has is kept, and added up afterwards
        kept = "".join(dict.fromkeys(c for c in letters + term if c in later or c not in letters))
        x = _contracted(ctx, x, letters, array, term, kept)
        letters = kept
    return x if letters == result else _contracted(ctx, x, letters, np.ones(()), "", result)


def _subscripts(ctx: Context) -> tuple[list[str], str]:
    """One letter an axis for each operand and for the result, the ellipsis written out."""
    text = str(ctx.attribute("equation", "")).replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ctx.operands):
        raise ctx.invalid(f"its equation has {len(terms)} terms for {len(ctx.operands)} operands")
    if not arrow:
        once = sorted(c for c in set(left) - {",", "."} if left.count(c) == 1)
        result = "..." * ("..." in left) + "".join(once)
    ranks = [len(ctx.value(k).shape) for k in range(len(terms))]
    spare = [r - len(t.replace("...", "")) for r, t in zip(ranks, terms, strict=True)]
    most = max((n for n, t in zip(spare, terms, strict=True) if "..." in t), default=0)
    if any(n < 0 or (n > 0 and "..." not in t) for n, t in zip(spare, terms, strict=True)) or most > 20:
        raise ctx.invalid("its equation does not fit its operands")
    fresh = [chr(ord("α") + k) for k in range(most)]
    written = [t.replace("...", "".join(fresh[most - max(n, 0) :])) for n, t in zip(spare, terms, strict=True)]
    result = result.replace("...", "".join(fresh))
    if len(set(result)) != len(result) or not set(result) <= set("".join(written)):
        raise ctx.invalid("its equation has an impossible result")
    return written, result


def _labelled(ctx: Context, x: Tensor, term: str) -> tuple[Tensor, str]:
    """A signal without repeated letters and without axes of size one, which broadcast."""
    index, letters = _diagonal(ctx, np.arange(x.size, dtype=np.int64).reshape(x.shape), term)
    return ctx.index(x, index.astype(np.int64)), letters


def _diagonal(ctx: Context, array: np.ndarray, term: str) -> tuple[np.ndarray, str]:
    """The diagonal over repeated letters; axes of size one are left out."""
    letters = "".join(dict.fromkeys(term))
    axes = [list(letters).index(c) for c in term]
    sizes = [max(n for n, a in zip(array.shape, axes, strict=True) if a == k) for k in range(len(letters))]
    if any(n not in (1, sizes[a]) for n, a in zip(array.shape, axes, strict=True)):
        raise ctx.invalid("a letter of its equation stands for axes of different sizes")
    grid = np.ogrid[tuple(slice(n) for n in sizes)] if sizes else []
    taken = array[tuple(grid[a] if n > 1 else 0 * grid[a] for n, a in zip(array.shape, axes, strict=True))]
    wide = [k for k, n in enumerate(sizes) if n != 1]
    return np.broadcast_to(taken, sizes).reshape([sizes[k] for k in wide]), "".join(letters[k] for k in wide)


def _contracted(ctx: Context, x: Tensor, letters: str, array: np.ndarray, term: str, kept: str) -> Tensor:
    """Σ over what is not kept of x·array: each entry of its matrix is one entry of the array."""
    sizes = dict(zip(letters, x.shape, strict=True))
    for c, n in zip(term, array.shape, strict=True):
        if sizes.setdefault(c, n) != n:
            raise ctx.invalid("a letter of its equation stands for axes of different sizes")
    every = "".join(dict.fromkeys(letters + term))
    shape = [sizes[c] for c in every]
    ctx.limit(float(np.prod([float(n) for n in shape])))
    target_shape = [sizes.get(c, 1) for c in kept]
    target = np.arange(int(np.prod(target_shape)), dtype=np.int64).reshape(target_shape)
    source = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    values, columns, rows = (
        _aligned(a, own, every, shape)
        for a, own in ((array, term), (source, letters), (target, "".join(c for c in kept)))
    )
    if not term and sorted(letters) == sorted(c for c in kept if sizes.get(c, 1) != 1):
        return ctx.index(x, columns[np.argsort(rows)].reshape(target_shape))
    used = np.flatnonzero(values)
    matrix = sp.csr_array((values[used], (rows[used], columns[used])), shape=(target.size, x.size))
    return ctx.affine([(x, Sparse(matrix))], target_shape)


def _aligned(array: np.ndarray, own: str, every: str, shape: Sequence[int]) -> np.ndarray:
    """An array with axes `own` broadcast to the axes `every`, flat; other axes of it have size one."""
    present = [c for c in own if c in every]
    array = array.reshape([n for c, n in zip(own, array.shape, strict=True) if c in every])
    order = sorted(range(len(present)), key=lambda k: every.index(present[k]))
    full = [n if c in present else 1 for c, n in zip(every, shape, strict=True)]
    return np.broadcast_to(array.transpose(order).reshape(full), shape).ravel()


@handles("Conv")
def conv(ctx: Context) -> Tensor:
    """Convolutions of any rank: strides, pads, auto_pad, dilations, groups."""
    x, kernel = ctx.tensor(0), weights(ctx, 1)
    return _with_channel_bias(ctx, _batched(ctx, x, lambda image: _conv(ctx, image, kernel)))


def _conv(ctx: Context, x: Tensor, kernel: Array) -> Tensor:
    size = x.shape[2:]
    stride, dilation, pads = window(ctx, kernel.shape[2:], size)
    groups = int(ctx.attribute("group", 1))
    if len(size) != kernel.ndim - 2 or x.shape[1] != kernel.shape[1] * groups or kernel.shape[0] % groups:
        raise ctx.invalid(f"a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
    a = Convolution(kernel, tuple(size), stride, dilation, pads, groups)
    if min(a.size_out, default=1) < 1:
        raise ctx.invalid(f"a kernel of shape {kernel.shape} is larger than its input of shape {x.shape}")
    return ctx.affine([(x, a)], (x.shape[0], kernel.shape[0], *a.size_out))


@handles("ConvTranspose")
def conv_transpose(ctx: Context) -> Tensor:
    """Transposed convolutions: the adjoint of a convolution, output_padding and output_shape included."""
    x, kernel = ctx.tensor(0), weights(ctx, 1)
    return _with_channel_bias(ctx, _batched(ctx, x, lambda image: _conv_transpose(ctx, image, kernel)))


def _conv_transpose(ctx: Context, x: Tensor, kernel: Array) -> Tensor:
    rank = kernel.ndim - 2
    groups = int(ctx.attribute("group", 1))
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
    # Wᵀ: the kernel (in, out/groups, …) is the kernel (out', in', …) of the convolution whose adjoint this is
    forward = Convolution(kernel, size, stride, dilation, tuple(pads), groups)
    if forward.size_out != tuple(x.shape[2:]):
        matrix = _transpose_matrix(x, kernel, size, stride, dilation, pads, groups)
    else:
        matrix = forward.to_sparse().T.tocsr()
    return ctx.affine([(x, Sparse(sp.csr_array(matrix)))], (1, per_group * groups, *size))


def _transpose_matrix(
    x: Tensor, kernel: Array, size: Any, stride: Any, dilation: Any, pads: Any, groups: int
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


def _batched(ctx: Context, x: Tensor, op: Any) -> Tensor:
    """Apply an op for one image to every image of a first axis larger than one."""
    if len(x.shape) < 1 or x.shape[0] == 1:
        return op(x)  # type: ignore[no-any-return]
    positions = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    parts = [op(ctx.index(x, positions[k : k + 1])) for k in range(x.shape[0])]
    size, count = parts[0].size, len(parts)
    terms = []
    for k, part in enumerate(parts):
        place = np.full(size * count, -1, dtype=np.int64)
        place[k * size : (k + 1) * size] = np.arange(size)
        terms.append((part, Index(place, size)))
    return ctx.affine(terms, (count, *parts[0].shape[1:]))


def _with_channel_bias(ctx: Context, x: Tensor) -> Tensor:
    if not ctx.has(2):
        return x
    bias = weights(ctx, 2).reshape(-1, *(1,) * (len(x.shape) - 2))
    return ctx.shift(x, np.broadcast_to(bias, x.shape))


@handles("AveragePool")
def average_pool(ctx: Context) -> Tensor:
    """Averages over windows: ceil_mode, count_include_pad, auto_pad and dilations included."""
    return _batched(ctx, ctx.tensor(0), lambda image: _average_pool(ctx, image))


def _average_pool(ctx: Context, x: Tensor) -> Tensor:
    kernel = [int(k) for k in ctx.attribute("kernel_shape")]
    size = list(x.shape[2:])
    rank = len(kernel)
    stride, dilation, pads = window(ctx, kernel, size)
    include = bool(ctx.attribute("count_include_pad", 0))
    wide = list(pads)
    if ctx.attribute("ceil_mode", 0) and not ctx.attribute("auto_pad", "NOTSET").startswith("SAME"):
        for a in range(rank):
            wide[a + rank] += _ceil_extra(size[a], pads[a], pads[a + rank], kernel[a], dilation[a], stride[a])
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
    channels = x.shape[1]
    ctx.limit(float(matrix.nnz) * channels)
    sums = Sparse(sp.csr_array(sp.kron(sp.eye_array(channels), matrix, format="csr")))
    total = ctx.affine([(x, sums)], (x.shape[0], channels, *one.size_out))
    return _divided(ctx, total, np.tile(np.maximum(counted, 1.0), channels).reshape(total.shape))


def _ceil_extra(size: int, begin: int, end: int, kernel: int, dilation: int, stride: int) -> int:
    """Padding that ceil_mode adds at the end: windows that would start in the end padding are dropped."""
    reach = dilation * (kernel - 1) + 1
    outputs = -(-(size + begin + end - reach) // stride) + 1
    if (outputs - 1) * stride >= size + begin:
        outputs -= 1
    return max((outputs - 1) * stride + reach - (size + begin + end), 0)


def _divided(ctx: Context, x: Tensor, divisor: Array | float) -> Tensor:
    """x divided by constants; 1/c enters as an enclosure unless it is exact."""
    d = np.asarray(divisor, dtype=np.float64)
    if (d == 1.0).all() and np.broadcast_shapes(d.shape, x.shape) == x.shape:
        return x
    quotient = Rounded.of(np.ones(d.shape)) / Rounded.of(d)
    if not np.isfinite(quotient.mid).all():
        raise ctx.unsupported("the reciprocal of a constant leaves the range of float64", "scale the weights")
    return scale(ctx, x, quotient.mid, None if quotient.exact else quotient.rad)


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
    return _divided(ctx, total, float(x.size // max(rows.size, 1))) if mean else total


def centred(ctx: Context, x: Tensor, n: int) -> Tensor:
    """x minus the mean of each n neighbours."""
    groups = x.size // n
    total = sp.csr_array(sp.kron(sp.eye_array(groups), np.ones((1, n))))
    mean = _divided(ctx, ctx.affine([(x, Sparse(total))], (groups,)), -float(n))
    spread = Index(np.repeat(np.arange(groups, dtype=np.int64), n), groups)
    return ctx.affine([(x, identity(x.size)), (mean, spread)], x.shape)


@handles("CumSum")
def cumsum(ctx: Context) -> Tensor:
    """Running sums along an axis, exclusive and reversed ones included."""
    x = ctx.tensor(0)
    axis = int(ctx.constant(1).ravel()[0]) % len(x.shape)
    n = x.shape[axis]
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
    root = np.sqrt(variance + float(np.float32(ctx.attribute("epsilon", 1e-5))))
    if not root.all():
        raise ctx.invalid("it divides by a variance of zero")
    factor = gain / root
    # half a unit for the sum under the root, and one for the root, the quotient, and what underflows
    radii = 2.0 * np.spacing(np.abs(factor))
    shape = (-1, *(1,) * (len(x.shape) - 2)) if len(x.shape) > 1 else (-1,)
    # (x − mean)·factor + shift, so that no bias is rounded
    centred = ctx.shift(x, np.broadcast_to(-mean.reshape(shape), x.shape))
    result = scale(ctx, centred, factor.reshape(shape), radii.reshape(shape))
    return ctx.shift(result, np.broadcast_to(shift.reshape(shape), x.shape))


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
        scales = {a: n / x.shape[a] for a, n in sizes.items()}
    else:
        scales = {a: float(s) for a, s in zip(axes, ctx.constant(2).ravel(), strict=True)}
        sizes = {a: int(np.floor(x.shape[a] * s)) for a, s in scales.items()}
    shape = [sizes.get(a, x.shape[a]) for a in range(rank)]
    ctx.limit(2.0 ** sum(shape[a] != x.shape[a] for a in range(rank)) * float(np.prod([float(n) for n in shape])))
    matrix = sp.csr_array(np.ones((1, 1)))
    for a in range(rank):
        along = (
            sp.eye_array(x.shape[a], format="csr")
            if a not in scales
            else _resized(ctx, x.shape[a], scales[a], shape[a])
        )
        matrix = sp.kron(matrix, along, format="csr")
    if ctx.attribute("mode", "nearest") == "linear":
        ctx.state.idealise("the weights of a linear Resize are taken as the nearest float64 numbers")
    return ctx.affine([(x, Sparse(sp.csr_array(matrix)))], shape)


def _resized(ctx: Context, n: int, scale: float, count: int) -> sp.csr_array:
    """The matrix (count, n) of one axis; coordinates as in the ONNX specification of Resize."""
    i = np.arange(count, dtype=np.float64)
    transformation = ctx.attribute("coordinate_transformation_mode", "half_pixel")
    if transformation == "half_pixel" or (transformation == "pytorch_half_pixel" and count > 1):
        at = (i + 0.5) / scale - 0.5
    elif transformation == "half_pixel_symmetric":
        at = n / 2 * (1.0 - count / (n * scale)) + (i + 0.5) / scale - 0.5
    elif transformation == "asymmetric":
        at = i / scale
    elif transformation == "align_corners" and n * scale != count:
        raise ctx.unsupported("ONNX and ONNX Runtime disagree on align_corners with a fractional size", "give sizes")
    elif transformation in ("align_corners", "pytorch_half_pixel"):
        at = i * (n - 1) / max(count - 1, 1)
    else:
        raise ctx.unsupported(f"the coordinates {transformation} are not supported", "use half_pixel")
    mode = ctx.attribute("mode", "nearest")
    if mode == "nearest":
        rounding: dict[str, Callable[[Array], Array]] = {
            "round_prefer_floor": lambda t: np.ceil(t - 0.5),
            "round_prefer_ceil": lambda t: np.floor(t + 0.5),
            "floor": np.floor,
            "ceil": np.ceil,
        }
        at = rounding[ctx.attribute("nearest_mode", "round_prefer_floor")](at)
        nearest = np.clip(at, 0, n - 1).astype(np.int64)
        return sp.csr_array((np.ones(count), (np.arange(count), nearest)), shape=(count, n))
    if mode != "linear":
        raise ctx.unsupported(f"{mode} resizing is not supported", "use nearest or linear")
    low = np.floor(at)
    weight = at - low
    rows = np.tile(np.arange(count), 2)
    columns = np.clip(np.concatenate([low, low + 1]), 0, n - 1).astype(np.int64)
    return sp.csr_array((np.concatenate([1.0 - weight, weight]), (rows, columns)), shape=(count, n))
