"""Proof that a matrix has norm below one, by a floating-point Cholesky factorisation (THEORY.md 6, step 3).

‖B‖₂ < 1 for every B in an enclosure (B̂, Δ) follows from τ²I − B̂B̂ᵀ ≻ 0 with τ = 1 − δ, δ ≥ ‖Δ‖₂. The Gram matrix is computed
as Ĝ with ‖Ĝ − B̂B̂ᵀ‖₂ ≤ γ_k ‖ |B̂| ‖₂² for k columns. After Rump (BIT 2006): if the floating-point Cholesky factorisation of
a symmetric Â runs to completion then Â + ΔÂ ⪰ 0 with ‖ΔÂ‖₂ ≤ γ_{n+1}/(1 − γ_{n+1}) trace(Â) up to underflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

from lipcert.certificates.enclosure import TINY, UNIT, Enclosure, gamma

if TYPE_CHECKING:
    from lipcert.arrays import Array


def is_contraction(b: Enclosure) -> bool:
    """Whether ‖B‖₂ < 1 is proven for every matrix B of the enclosure.

    Examples
    --------
    >>> is_contraction(Enclosure(np.array([[0.6, 0.0], [0.0, 0.999999]])))
    True
    >>> is_contraction(Enclosure(np.array([[0.6, 0.8]])))
    False
    """
    mid = b.mid
    if 0 in mid.shape:
        return True
    if not np.isfinite(mid).all() or (b.rad is not None and not np.isfinite(b.rad).all()):
        return False
    if mid.shape[0] > mid.shape[1]:
        mid = mid.T
    n, k = mid.shape
    spread = 0.0 if b.rad is None else norm_bound(b.rad)
    if not spread < 0.5:
        return False
    # τ² rounded down
    target = (1.0 - spread) ** 2 * (1.0 - 8.0 * UNIT)
    gram = mid @ mid.T
    error = gamma(k + 2) * norm_bound(np.abs(mid)) ** 2 * (1.0 + 16.0 * UNIT) + TINY
    diagonal = np.diag_indices(n)
    trace = float(np.abs(target - gram[diagonal]).sum())
    # room for Cholesky, for the rounding of the shifted diagonal, of the trace and of the shift itself
    room = gamma(n + 4) / (1.0 - gamma(n + 4)) * trace * (1.0 + 2.0 * n * UNIT) + 4.0 * UNIT + TINY
    shifted = np.negative(gram, out=gram)
    shifted[diagonal] += target - (error + room) * (1.0 + 4.0 * UNIT)
    # the matrix is exactly symmetric in the triangle that is read; classical BLAS products only
    _, info = lapack.dpotrf(shifted.T, lower=True, overwrite_a=True)
    return bool(info == 0)


def norm_bound(nonnegative: Array) -> float:
    """An upper bound on the spectral norm of a nonnegative matrix: √(‖A‖₁‖A‖_∞) or ‖A‖_F, whichever is smaller."""
    rows, columns = nonnegative.shape
    if not rows or not columns:
        return 0.0
    inflation = 1.0 + 2.0 * gamma(rows + columns + 8)
    largest = float(nonnegative.max())
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    scaled = nonnegative / largest
    sums = float(np.sqrt(scaled.sum(axis=0).max()) * np.sqrt(scaled.sum(axis=1).max()))
    frobenius = float(np.sqrt(np.sum(scaled * scaled))) * (1.0 + gamma(rows * columns))
    return min(sums, frobenius) * inflation * largest * (1.0 + 4.0 * UNIT)
