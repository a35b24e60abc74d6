"""The quadratic constraints of the ICLR 2024 paper (arXiv 2401.14033) for GroupSort, as published.

For a group of g and its increments Δz, Δw,

    [Δz; Δw]ᵀ [[T − 2S, P + S], [P + S, −T − 2P]] [Δz; Δw] ≥ 0,
    T = lam I + gamma 11ᵀ,   P = nu 11ᵀ,   S = tau 11ᵀ,     lam ≥ 0;  gamma, nu, tau free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lipcert.arrays import Array


# coefficients of (gamma, nu, tau) on aaᵀ, abᵀ + baᵀ and bbᵀ, where a = 1ᵀΔz and b = 1ᵀΔw (or NΔz, NΔw for Householder)
SUM_TERMS = ((1.0, 0.0, -2.0), (0.0, 1.0, 1.0), (-1.0, -2.0, 0.0))


def group_sort_constraint(size: int, lam: float, gamma: float = 0.0, nu: float = 0.0, tau: float = 0.0) -> Array:
    """The matrix (2g, 2g) of the constraint of one group.

    Examples
    --------
    >>> import numpy as np
    >>> np.diag(group_sort_constraint(2, lam=1.0, nu=3.0))
    array([ 1.,  1., -7., -7.])
    """
    ones = np.ones((size, size))
    T, P, S = lam * np.eye(size) + gamma * ones, nu * ones, tau * ones
    return np.block([[T - 2 * S, P + S], [P + S, -T - 2 * P]])


def quadratic_value(constraint: Array, dz: Array, dw: Array) -> Array:
    """[Δz; Δw]ᵀ Q [Δz; Δw] for increments of shape (groups, g, samples)."""
    stacked = np.concatenate([dz, dw], axis=1)
    return np.einsum("bik,ij,bjk->bk", stacked, constraint, stacked)
