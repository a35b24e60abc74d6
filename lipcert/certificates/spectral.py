"""Proven upper bounds on operator norms, for the norm product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import blas
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from lipcert.certificates.contraction import is_contraction, loss, norm_bound, smaller_gram
from lipcert.certificates.enclosure import Enclosure
from lipcert.certificates.symbol import norm_by_symbol
from lipcert.graph.linear_maps import Convolution, Diagonal, Index, LinearMap
from lipcert.rounding import FLOOR, TINY, UNIT, gamma
from lipcert.threads import threads_for

if TYPE_CHECKING:
    from lipcert.arrays import Array

# largest smaller side of a matrix whose Gram matrix is formed
_DENSE = 6000
# of a convolution: beyond, its symbol takes seconds less and is some percent above the norm
_SYMBOL = 2500


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
    spread = 0.0 if a.radius is None else _cheap(a.radius)
    if isinstance(a, Convolution) and min(a.shape) > _SYMBOL:
        symbol = norm_by_symbol(a)
        return _sum_up(_cheap(a) if symbol is None else min(_cheap(a), symbol), spread)
    if min(a.shape) > _DENSE:
        return _sum_up(_cheap(a), spread)
    matrix = a.to_dense() if max(a.shape) <= 4 * _DENSE else None
    if matrix is None:
        sparse = a.to_sparse()
        small = sparse @ sparse.T if a.shape[0] <= a.shape[1] else sparse.T @ sparse
        return _sum_up(_from_gram(small.toarray(order="F"), _cheap(a), a), spread)
    return _sum_up(_dense(matrix), spread)


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
    error = gamma(max(a.terms, a.adjoint_terms) + 2) * cheap**2 + TINY
    proven = _smallest_proven(product, largest_eigenvalue(product))
    return cheap if proven is None else min(cheap, float(np.sqrt(proven + error) * (1.0 + 8.0 * UNIT)))


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
            # a hundred short products
            with threads_for(float(n) ** 2):
                return float(eigsh(product, k=1, tol=1e-12, v0=np.ones(n), return_eigenvectors=False)[0])
        except ArpackError:
            pass
    return max(float(np.linalg.eigvalsh(triangle)[-1]), 0.0)


def _cheap(a: LinearMap) -> float:
    """√(‖A‖₁‖A‖_∞) by two products with |A|."""
    size = a.magnitude()
    rows = float((size @ np.ones(a.shape[1])).max())
    columns = float(size.adjoint(np.ones(a.shape[0])).max())
    return float(np.sqrt(rows) * np.sqrt(columns)) * (1.0 + 2.0 * gamma(a.terms + a.adjoint_terms + 8)) + TINY
