"""Products of matrices and einsum: with constants as affine maps, of two signals on a range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from lipcert.arrays import Array
from lipcert.errors import LipcertError
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal, Index, Sparse, identity
from lipcert.importer.linear import broadcast, scale, weights
from lipcert.importer.registry import Context, Tensor, handles

# entries above which a matrix on many rows is written as a convolution
_TRIPLETS = 2**20


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
    shape = _product_shape(ctx, a.shape, b.shape)
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


def _product_shape(ctx: Context, a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """The shape of a matrix product."""
    if not a or not b or a[-1] != b[-2 if len(b) > 1 else 0]:
        raise ctx.invalid(f"matrices of shapes {tuple(a)} and {tuple(b)} do not fit")
    return (*np.broadcast_shapes(tuple(a[:-2]), tuple(b[:-2])), *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def _bilinear(ctx: Context) -> LipcertError:
    return ctx.unsupported(
        "it is a product of two signals, for which there is no proven treatment here",
        "bound the part before it with --to",
    )


def _matmul(ctx: Context, x: Tensor, matrix: Array, signal_left: bool) -> Tensor:
    """x @ matrix, or matrix @ x, as a dense map where x is one vector, else as a sparse one."""
    shape = _product_shape(ctx, *((x.shape, matrix.shape) if signal_left else (matrix.shape, x.shape)))
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
    full = (*batch, rows_in, columns_out, inner)
    ctx.limit(float(np.prod([float(n) for n in full])))
    target = np.arange(int(np.prod(batch)) * rows_in * columns_out, dtype=np.int64)
    target = target.reshape((*batch, rows_in, columns_out) if signal_left else (*batch, columns_out, rows_in))
    if not signal_left:
        target = target.swapaxes(-1, -2)
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
    """An einsum of one signal with constants, no two of which are multiplied; of two signals on a range."""
    signals = [k for k, value in enumerate(ctx.operands) if not isinstance(value, np.ndarray)]
    if len(signals) == len(ctx.operands) == 2:
        return _pair(ctx, *_subscripts(ctx))
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


def _pair(ctx: Context, terms: list[str], result: str) -> Tensor:
    """An einsum of two signals as a batched matrix product."""
    parts = [_labelled(ctx, ctx.tensor(k), terms[k]) for k in (0, 1)]
    sizes = {c: n for x, letters in parts for c, n in zip(letters, x.shape, strict=True)}
    for k, (x, letters) in enumerate(parts):
        # what only this one has, and the result has not, is added up first
        kept = "".join(c for c in letters if c in result or c in parts[1 - k][1])
        parts[k] = (x, letters) if kept == letters else (_contracted(ctx, x, letters, np.ones(()), "", kept), kept)
    (a, left), (b, right) = parts
    batch = [c for c in left if c in right and c in result]
    inner = [c for c in left if c in right and c not in result]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]

    def matrices(x: Tensor, letters: str, first: list[str], second: list[str]) -> Tensor:
        order = np.arange(x.size, dtype=np.int64).reshape(x.shape)
        order = order.transpose([letters.index(c) for c in (*batch, *first, *second)])
        counts = [int(np.prod([sizes[c] for c in group], dtype=np.int64)) for group in (batch, first, second)]
        return ctx.index(x, order.reshape(counts))

    product = _of_signals(ctx, matrices(a, left, rows, inner), matrices(b, right, inner, columns))
    letters = "".join((*batch, *rows, *columns))
    shape = tuple(sizes[c] for c in letters)
    done = np.arange(product.size, dtype=np.int64).reshape(shape)
    wide = [c for c in result if c in sizes]
    done = done.transpose([letters.index(c) for c in wide])
    full = tuple(sizes.get(c, 1) for c in result)
    return ctx.index(product, done.reshape(full))


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
