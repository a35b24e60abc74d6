"""BLAS-3 in place on parts of matrices, without the copies that NumPy's and SciPy's own wrappers make of them.

The functions are those that SciPy exports to Cython (`scipy.linalg.cython_blas`, `cython_lapack`). NumPy's `@` is not used
beside them: where NumPy and SciPy bring a BLAS each, the idle threads of the one take the cores from the other.

Matrices are two-dimensional float64 arrays in which the entries of a column, or those of a row, are neighbours; what is
written to has neighbours in its columns (Fortran order, or a part of such an array).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

if TYPE_CHECKING:
    from lipcert.arrays import Array, BoolArray

TILE = 128
"""Side of the tiles in which a matrix meets its transpose: two of them fit into the cache."""
LEAF = 256
"""Size up to which a triangle is left to LAPACK."""


def _exported(module: object, name: str) -> tuple[Callable[..., None], type]:
    """The function and its type of integers; arguments are pointers, but characters are given as bytes."""
    capsule = module.__pyx_capi__[name]  # type: ignore[attr-defined]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    signature = api.PyCapsule_GetName(capsule)
    types = signature.decode().partition("(")[2].rstrip(")").split(", ")
    integer = ctypes.c_int64 if any("int64" in kind or "long" in kind for kind in types) else ctypes.c_int
    arguments = [ctypes.c_char_p if kind.startswith("char") else ctypes.c_void_p for kind in types]
    prototype = ctypes.CFUNCTYPE(None, *arguments)
    return prototype(api.PyCapsule_GetPointer(capsule, signature)), integer


_DGEMM, _INT = _exported(cython_blas, "dgemm")
_DSYRK = _exported(cython_blas, "dsyrk")[0]
_DTRSM = _exported(cython_blas, "dtrsm")[0]
_DPOTRF = _exported(cython_lapack, "dpotrf")[0]
_DPOTRI = _exported(cython_lapack, "dpotri")[0]


class _Matrix(NamedTuple):
    """What BLAS wants to know: the first entry, the distance of columns, and whether this is the transpose."""

    pointer: int
    stride: object
    transposed: bytes


def _columns_are_neighbours(a: Array) -> bool:
    return a.shape[0] == 1 or a.strides[0] == a.itemsize


def _described(a: Array) -> _Matrix:
    if a.ndim != 2 or a.dtype != np.float64:
        raise ValueError("a two-dimensional float64 array is needed")
    if _columns_are_neighbours(a):
        rows, columns, step, transposed = a.shape[0], a.shape[1], a.strides[1], b"N"
    else:
        rows, columns, step, transposed = a.shape[1], a.shape[0], a.strides[0], b"T"
        if not (rows == 1 or a.strides[1] == a.itemsize):
            raise ValueError("neither rows nor columns are contiguous")
    stride = step // a.itemsize if columns > 1 else max(1, rows)
    if stride < max(1, rows) or step % a.itemsize:
        raise ValueError("columns overlap")
    return _Matrix(a.__array_interface__["data"][0], _integer(stride), transposed)


def _target(c: Array) -> _Matrix:
    described = _described(c)
    if described.transposed != b"N" or not c.flags.writeable:
        raise ValueError("the result needs a writeable array with contiguous columns")
    return described


def _integer(n: int) -> object:
    return ctypes.byref(_INT(n))


def _real(x: float) -> object:
    return ctypes.byref(ctypes.c_double(x))


def gemm(alpha: float, A: Array, B: Array, beta: float, C: Array) -> None:
    """C ← alpha A B + beta C.

    Parameters
    ----------
    alpha, beta
        Factors; with beta = 0 the old C is not read.
    A, B
        (m, k) and (k, n).
    C
        (m, n), overwritten.

    Raises
    ------
    ValueError
        If the shapes or the memory layouts do not fit.

    Examples
    --------
    >>> C = np.zeros((2, 2), order="F")
    >>> gemm(2.0, np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]), 0.0, C)
    >>> C
    array([[2., 4.],
           [6., 8.]])
    """
    (m, k), n = A.shape, B.shape[1]
    if B.shape[0] != k or C.shape != (m, n):
        raise ValueError(f"shapes {A.shape}, {B.shape} and {C.shape} do not fit")
    if not C.size:
        return
    if not k:
        np.multiply(C, beta, out=C) if beta else C.fill(0.0)
        return
    a, b, c = _described(A), _described(B), _target(C)
    _DGEMM(
        a.transposed, b.transposed, _integer(m), _integer(n), _integer(k),
        _real(alpha), a.pointer, a.stride, b.pointer, b.stride, _real(beta), c.pointer, c.stride,
    )  # fmt: skip


def syrk(alpha: float, A: Array, beta: float, C: Array) -> None:
    """The lower triangle of C ← alpha A Aᵀ + beta C; what is above the diagonal is left as it is.

    Parameters
    ----------
    alpha, beta
        Factors.
    A
        (n, k).
    C
        (n, n), its lower triangle overwritten.

    Raises
    ------
    ValueError
        As `gemm`.
    """
    n, k = A.shape
    if C.shape != (n, n):
        raise ValueError(f"shapes {A.shape} and {C.shape} do not fit")
    if not A.size:
        return
    a, c = _described(A), _target(C)
    _DSYRK(
        b"L", a.transposed, _integer(n), _integer(k),
        _real(alpha), a.pointer, a.stride, _real(beta), c.pointer, c.stride,
    )  # fmt: skip


def cholesky(A: Array) -> bool:
    """Overwrite the lower triangle of A by its Cholesky factor; False where A is not positive definite.

    By halves, so that most of the work is matrix products.

    Parameters
    ----------
    A
        (n, n); only the lower triangle is read and written.

    Returns
    -------
    bool
        Whether the factorisation ran to completion.

    Raises
    ------
    ValueError
        As `gemm`.

    Examples
    --------
    >>> A = np.asfortranarray([[4.0, 0.0], [2.0, 2.0]])
    >>> cholesky(A), A.tolist()
    (True, [[2.0, 0.0], [1.0, 1.0]])
    """
    n = A.shape[0]
    if A.shape != (n, n):
        raise ValueError(f"the matrix is not square: {A.shape}")
    if n <= LEAF:
        # OpenBLAS goes on with NaN, which then reaches the last entry
        return not n or (_lapack(_DPOTRF, A) and bool(np.isfinite(A[-1, -1])))
    half = LEAF * ((n // LEAF + 1) // 2)
    first, below, rest = A[:half, :half], A[half:, :half], A[half:, half:]
    if not cholesky(first):
        return False
    _solve_right(first, below)
    syrk(-1.0, below, 1.0, rest)
    return cholesky(rest)


def _solve_right(L: Array, B: Array) -> None:
    """B ← B L⁻ᵀ."""
    a, b = _target(L), _target(B)
    _DTRSM(
        b"R", b"L", b"T", b"N", _integer(B.shape[0]), _integer(B.shape[1]),
        _real(1.0), a.pointer, a.stride, b.pointer, b.stride,
    )  # fmt: skip


def inverse_of_factored(L: Array) -> bool:
    """Overwrite the lower triangle of L, a Cholesky factor, by that of (L Lᵀ)⁻¹; False where L is singular.

    Raises
    ------
    ValueError
        As `gemm`.

    Examples
    --------
    >>> L = np.asfortranarray([[2.0, 0.0], [0.0, 4.0]])
    >>> inverse_of_factored(L), np.diag(L).tolist()
    (True, [0.25, 0.0625])
    """
    return not L.size or _lapack(_DPOTRI, L)


def _lapack(function: Callable[..., None], A: Array) -> bool:
    a, info = _target(A), _INT(0)
    function(b"L", _integer(A.shape[0]), a.pointer, a.stride, ctypes.byref(info))
    if info.value < 0:
        raise ValueError(f"argument {-info.value} of LAPACK is wrong")
    return info.value == 0


def mirror(A: Array) -> None:
    """Write the transpose of the strictly lower triangle of A above its diagonal.

    Examples
    --------
    >>> A = np.array([[1.0, 0.0], [2.0, 3.0]])
    >>> mirror(A)
    >>> A.tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    for i, j in _tiles(A.shape[0]):
        if i == j:
            np.copyto(A[i, i], A[i, i].T, where=_upper(i.stop - i.start))
        else:
            A[j, i] = A[i, j].T


def add_transpose(A: Array) -> None:
    """A ← A + Aᵀ.

    Examples
    --------
    >>> A = np.array([[1.0, 0.0], [2.0, 3.0]])
    >>> add_transpose(A)
    >>> A.tolist()
    [[2.0, 2.0], [2.0, 6.0]]
    """
    for i, j in _tiles(A.shape[0]):
        total = A[i, j] + A[j, i].T
        A[i, j] = total
        A[j, i] = total.T


@lru_cache(maxsize=32)
def _upper(n: int) -> BoolArray:
    """Where a matrix is above its diagonal."""
    return np.triu(np.ones((n, n), dtype=bool), 1)


def _tiles(n: int) -> list[tuple[slice, slice]]:
    """The tiles (rows, columns) of a lower triangle."""
    cuts = [slice(k, min(k + TILE, n)) for k in range(0, n, TILE)]
    return [(i, j) for k, i in enumerate(cuts) for j in cuts[: k + 1]]
