"""Proven upper bounds on operator norms, for the norm product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import blas
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from lipcert.certificates import symbol
from lipcert.certificates.contraction import is_contraction, loss
from lipcert.certificates.enclosure import Enclosure
from lipcert.definite import norm_bound, smaller_gram
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal, Index, LinearMap
from lipcert.rounding import FLOOR, TINY, UNIT, gamma
from lipcert.threads import threads_for

if TYPE_CHECKING:
    from lipcert.arrays import Array

# largest smaller side of a matrix whose Gram matrix is formed
_DENSE = 6000
# of a convolution: beyond, its symbol takes seconds less and is some percent above the norm
_SYMBOL = 2500
# operations a second, for a guess of the time
_SPEED = 2e10
# vectors of the basis of Lanczos' method, and how often it starts again before all eigenvalues are computed
_BASIS, _RESTARTS = 60, 40


def norm_upper(a: LinearMap) -> float:
    """A proven upper bound on ‖A‖₂, its radius included, usually within 1e-9 of it; of very large maps within some percent.

    Examples
    --------
    >>> from lipcert.graph.linear_maps import Dense
    >>> 5.0 <= norm_upper(Dense(np.array([[3.0, 4.0]]))) < 5.0000001
    True
    """
    if 0 in a.shape:
        return 0.0
    if isinstance(a, Index):
        return float(np.sqrt(a.adjoint_terms) * (1.0 + 2.0 * UNIT)) if a.adjoint_terms > 1 else float(a.adjoint_terms)
    if isinstance(a, Diagonal):
        radii = 0.0 if a.radii is None else a.radii
        return float((np.abs(a.entries) + radii).max() * (1.0 + 4.0 * UNIT))
    # large matrices are sparse, so the factorisation takes longest
    with threads_for(float(min(a.shape)) ** 3 / 3.0):
        return _norm_upper(a)


def _norm_upper(a: LinearMap) -> float:
    spread = 0.0 if a.radius is None else cheap_norm(a.radius)
    if isinstance(a, Convolution) and min(a.shape) > _SYMBOL:
        found = symbol.norm_by_symbol(a)
        return _sum_up(cheap_norm(a) if found is None else min(cheap_norm(a), found), spread)
    if min(a.shape) > _DENSE:
        return _sum_up(cheap_norm(a), spread)
    matrix = a.to_dense() if max(a.shape) <= 4 * _DENSE else None
    if matrix is None:
        sparse = a.to_sparse()
        small = sparse @ sparse.T if a.shape[0] <= a.shape[1] else sparse.T @ sparse
        return _sum_up(_from_gram(small.toarray(order="F"), cheap_norm(a), a), spread)
    return _sum_up(_dense(matrix), spread)


def seconds_needed(a: LinearMap) -> float:
    """About how long `norm_upper` takes."""
    small, large = sorted(a.shape)
    if isinstance(a, (Index, Diagonal)) or 0 in a.shape:
        return 0.0
    if isinstance(a, Convolution) and small > _SYMBOL:
        return symbol.seconds_needed(a)
    # two Gram matrices, quick where most entries are zero, two factorisations, and a hundred products with a vector
    products = 2.0 * large if isinstance(a, Dense) else 0.0
    return 0.0 if small > _DENSE else small**2 * (products + 1.5 * small) / _SPEED + 5e-8 * small**2


def norm_of_blocks(small: Array) -> float:
    """A proven upper bound on ‖blkdiag(S_1, S_2, …)‖₂ for S of shape (b, out, in), close where the blocks are small.

    V of a singular value decomposition makes the columns of M = S V nearly orthogonal, so that ‖M‖² ≤ ‖MᵀM‖_∞ is sharp, and
    ‖S‖ ≤ ‖M‖/σ_min(V) with σ_min(V)² ≥ 1 − ‖VᵀV − I‖_∞. Nothing about V is trusted.

    Examples
    --------
    >>> 1.0 <= norm_of_blocks(np.array([[[0.5, 0.5], [0.5, 0.5]], [[0.0, 1.0], [1.0, 0.0]]])) < 1.0 + 1e-13
    True
    """
    _, rows, inner = small.shape
    if not small.size or not np.isfinite(small).all():
        return 0.0 if not small.size else np.inf
    if rows == inner == 1:
        return float(np.abs(small).max())
    unit = float(np.abs(small).max())
    if unit < FLOOR:
        return unit * rows * inner
    small = small / unit
    V = np.linalg.svd(small)[2].swapaxes(1, 2)
    M = small @ V
    # |M − S V| for the quotients S, which are rounded too
    off = gamma(inner + 2) * (np.abs(small) @ np.abs(V)) + TINY
    spread = np.sqrt((off * off).sum(axis=(1, 2))).max()
    top = _row_sums(M, gamma(rows + 1)).max()
    defect = _row_sums(V, gamma(inner + 1), np.eye(inner)).max()
    if not defect < 0.5:
        return np.inf
    norm = (np.sqrt(top) + spread) / np.sqrt(1.0 - defect)
    return float(norm * (1.0 + 4.0 * gamma(rows * inner + 16))) * unit


def _row_sums(A: Array, rounding: float, target: Array | float = 0.0) -> Array:
    """‖AᵀA − target‖_∞ of each block, with room for the rounding of the product."""
    size = np.abs(A)
    product = np.abs(A.swapaxes(1, 2) @ A - target) + rounding * (size.swapaxes(1, 2) @ size) + TINY
    return np.asarray(product.sum(axis=2).max(axis=1))


def _sum_up(norm: float, spread: float) -> float:
    return float(np.nextafter(norm + spread, np.inf)) if spread else norm


def _dense(matrix: Array) -> float:
    """σ with ‖A/σ‖ < 1 proven, starting from the computed largest singular value."""
    largest = float(np.abs(matrix).max())
    if largest == 0.0:
        return 0.0
    unit = 2.0 ** np.floor(np.log2(largest))
    matrix = matrix / unit
    sigma = np.sqrt(largest_eigenvalue(smaller_gram(matrix)))
    proven = _smallest_proven(matrix, float(sigma))
    return float(np.nextafter((norm_bound(np.abs(matrix)) if proven is None else proven) * float(unit), np.inf))


def _from_gram(product: Array, cheap: float, a: LinearMap) -> float:
    """√‖G‖ for the Gram matrix G, whose rounding is bounded by γ_k ‖ |A| ‖²."""
    # six more for the sum and its root: the norm is at most `cheap`
    error = gamma(max(a.terms, a.adjoint_terms) + 8) * cheap**2 + TINY
    proven = _smallest_proven(product, largest_eigenvalue(product))
    return cheap if proven is None else min(cheap, float(np.sqrt(proven + error)))


def _smallest_proven(matrix: Array, sigma: float) -> float | None:
    """The first number slightly above `sigma` that is proven to be above the norm of the matrix, or None."""
    if not 0.0 < sigma < np.inf:
        return None
    lost = loss(Enclosure(matrix / sigma))
    for margin in (0.6 * lost + 4.0 * UNIT, 2.0 * lost, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2):
        trial = sigma * (1.0 + margin)
        mid = matrix / trial
        # one rounding a quotient, and underflow here and where the matrix was scaled
        if is_contraction(Enclosure(mid, gamma(2) * np.abs(mid) + FLOOR)):
            return trial
    return None


def largest_eigenvalue(triangle: Array) -> float:
    """The largest eigenvalue of a positive semidefinite matrix in floating point, with no proof.

    Its lower triangle, by columns, is read.
    """
    n = triangle.shape[0]
    if n > 300:
        product = LinearOperator((n, n), matvec=lambda x: blas.dsymv(1.0, triangle, x, lower=True), dtype=np.float64)
        try:
            # some hundred short products; eigenvalues that cluster, as at an optimum, take a wide basis or thousands of them
            with threads_for(float(n) ** 2):
                found = eigsh(
                    product,
                    k=1,
                    tol=1e-12,
                    v0=np.ones(n),
                    ncv=_BASIS,
                    maxiter=_RESTARTS,
                    return_eigenvectors=False,
                )
                return float(found[0])
        except ArpackError:
            pass
    return max(float(np.linalg.eigvalsh(triangle)[-1]), 0.0)


def cheap_norm(a: LinearMap) -> float:
    """√(‖A‖₁‖A‖_∞) by two products with |A|, rounded up: a bound on ‖ |A| ‖₂, without the radius."""
    size = a.magnitude()
    rows = float((size @ np.ones(a.shape[1])).max())
    columns = float(size.adjoint(np.ones(a.shape[0])).max())
    return float(np.sqrt(rows) * np.sqrt(columns)) * (1.0 + 2.0 * gamma(a.terms + a.adjoint_terms + 8)) + TINY
