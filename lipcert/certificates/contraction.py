"""Proof that a matrix has norm below one, by a floating-point Cholesky factorisation (docs/theory.md 6, docs/proof.md).

‖B‖₂ < 1 for every B in an enclosure (B̂, Δ) follows from τ²I − B̂B̂ᵀ ≻ 0 with τ = 1 − δ, δ ≥ ‖Δ‖₂; B̂ᵀB̂ would do as well, and
the smaller one is taken. The Gram matrix is computed as Ĝ with ‖Ĝ − B̂B̂ᵀ‖₂ ≤ γ_k ‖ |B̂| ‖₂² for k columns. After Rump (BIT
2006): if the floating-point Cholesky factorisation of a symmetric Â runs to completion, then Â + ΔÂ ⪰ 0 with
‖ΔÂ‖₂ ≤ γ_{n+2}/(1 − γ_{n+2}) trace(Â) up to underflow (n + 2: libraries multiply by the reciprocal of a pivot).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

from lipcert import budget
from lipcert.certificates.enclosure import Enclosure
from lipcert.definite import cholesky_room, norm_bound, smaller_gram
from lipcert.rounding import TINY, UNIT, gamma
from lipcert.threads import threads_for

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
    if 0 in b.mid.shape:
        return True
    small, large = sorted(b.mid.shape)
    with threads_for(float(small) ** 2 * large):
        return _is_contraction(b)


def _is_contraction(b: Enclosure) -> bool:
    budget.check()
    mid = b.mid
    if not np.isfinite(mid).all() or (b.rad is not None and not np.isfinite(b.rad).all()):
        return False
    spread = 0.0 if b.rad is None else norm_bound(b.rad)
    if not spread < 0.5:
        return False
    target = _target(spread)
    error = _gram_error(mid)
    shifted = smaller_gram(mid)
    np.negative(shifted, out=shifted)
    n = shifted.shape[0]
    diagonal = np.diag_indices(n)
    room = cholesky_room(n, float(np.abs(target + shifted[diagonal]).sum()))
    shifted[diagonal] += target - (error + room)
    # some libraries let NaN pass as a pivot
    if not np.isfinite(shifted).all():
        return False
    # one triangle is read, so the matrix is exactly symmetric
    _, info = lapack.dpotrf(shifted, lower=True, overwrite_a=True)
    return bool(info == 0)


def _target(spread: float) -> float:
    """τ² = (1 − δ)², rounded down: three roundings."""
    return (1.0 - spread) ** 2 * (1.0 - 8.0 * UNIT)


def loss(b: Enclosure) -> float:
    """By how much ‖B̂‖² has to be below one for `is_contraction`, about; no proof rests on it."""
    spread = 0.0 if b.rad is None else norm_bound(b.rad)
    n = min(b.mid.shape)
    return 2.0 * spread + _gram_error(b.mid) + cholesky_room(n, float(n)) + 16.0 * UNIT


def _gram_error(mid: Array) -> float:
    """A bound on the norm of the error of the computed smaller Gram matrix."""
    return gamma(max(mid.shape) + 2) * norm_bound(np.abs(mid)) ** 2 + TINY
