"""What proofs that a matrix is positive definite rest on: Gram matrices, norms from above, and the room for Cholesky.

After Rump (BIT 2006): if the floating-point Cholesky factorisation of a symmetric Â runs to completion, its factor L̂ has
L̂L̂ᵀ = Â + ΔÂ with ‖ΔÂ‖₂ ≤ γ_{n+2}/(1 − γ_{n+2}) trace(Â) up to underflow (n + 2: libraries multiply by the reciprocal of a
pivot), so Â + ΔÂ ⪰ 0 (docs/proof.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.linalg import blas

from lipcert.rounding import TINY, UNIT, gamma

if TYPE_CHECKING:
    from lipcert.arrays import Array

_STEP = 256
"""Rows by which columns are told apart at least: below, one product is quicker."""
_SPARSE = 300
"""How much longer a product of entries takes in a sparse matrix, about."""


def gram(a: Array) -> Array:
    """The lower triangle of A Aᵀ by columns, without most products of zeros.

    Of a sparse matrix, such as a convolution, no product of zeros is computed; else those above the first entry of a column
    are left out: rows of later layers see more channels. Each entry is a sum of at most as many products as A has columns,
    in some order.
    """
    n, k = a.shape
    step = max(_STEP, n // 16)
    if n <= step or not k:
        return _product(a)
    seen = a != 0.0
    if int((seen.sum(axis=0, dtype=np.int64) ** 2).sum()) * _SPARSE < n * n * k:
        sparse = sp.csr_array(a)
        return np.asarray(sp.tril(sparse @ sparse.T).toarray(order="F"))
    first = np.where(seen.any(axis=0), seen.argmax(axis=0) // step, -1)
    del seen
    total = np.zeros((n, n), order="F")
    for level in np.unique(first[first >= 0]):
        top = level * step
        part = a[top:, first == level]
        total[top:, top:] += _product(part)
    return total


def smaller_gram(a: Array) -> Array:
    """The smaller one of A Aᵀ and AᵀA, as `gram`."""
    return gram(a if a.shape[0] <= a.shape[1] else a.T)


def _product(a: Array) -> Array:
    """The lower triangle of A Aᵀ by columns, zeros above.

    SciPy's library, which factorises too: NumPy has another one, and threads of the two that wait for work hold each
    other up.
    """
    if a.flags.f_contiguous:
        return np.asarray(blas.dsyrk(1.0, a, lower=True))
    return np.asarray(blas.dsyrk(1.0, a.T, trans=True, lower=True))


def cholesky_room(n: int, trace: float) -> float:
    """Room for the errors of Cholesky and for rounding the trace, the shift, and the diagonal (entries up to one)."""
    g = gamma(n + 8)
    return g / (1.0 - g) * trace * (1.0 + 2.0 * n * UNIT) + 4.0 * UNIT


def norm_bound(nonnegative: Array) -> float:
    """An upper bound on the spectral norm of a nonnegative matrix: √(‖A‖₁‖A‖_∞) or ‖A‖_F, whichever is smaller."""
    rows, columns = nonnegative.shape
    if not rows or not columns:
        return 0.0
    inflation = 1.0 + 2.0 * gamma(rows + columns + 8)
    sums = float(np.sqrt(nonnegative.sum(axis=0).max()) * np.sqrt(nonnegative.sum(axis=1).max()))
    # squares may underflow, each by 2⁻¹⁰²²
    squares = float(np.einsum("ij,ij->", nonnegative, nonnegative)) + nonnegative.size * 2.0**-1000
    frobenius = float(np.sqrt(squares)) * (1.0 + gamma(nonnegative.size))
    return min(sums, frobenius) * inflation + TINY
