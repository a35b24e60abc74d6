"""Normal forms from the range of a block's Jacobian: w(z) − w(z′) = J̄(z − z′) with the mean J̄ of J on the segment.

With the middle J_m of the range and ρ ≥ ‖J_r‖ of its radii, Δw = J_mΔz + ρΔv with ‖Δv‖ ≤ ‖Δz‖.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.rounding import TINY, Interval, gamma, up

if TYPE_CHECKING:
    from lipcert.arrays import Array

# entries of the Jacobians of all blocks up to which each block has its own
_ENTRIES = 2**22


def affordable(blocks: int, outputs: int, block: int) -> bool:
    """Whether the Jacobians of so many blocks are looked at entry by entry."""
    return blocks * outputs * block <= _ENTRIES


def norm_up(M: Array) -> Array:
    """An upper bound of the spectral norm of each nonnegative matrix (blocks, rows, columns): √(‖M‖₁‖M‖_∞) or ‖M‖_F.

    Examples
    --------
    >>> norm_up(np.ones((1, 2, 2))).round(9)
    array([2.])
    """
    count = M.shape[1] + M.shape[2]
    sums = np.sqrt(M.sum(axis=1).max(axis=1, initial=0.0) * M.sum(axis=2).max(axis=1, initial=0.0))
    return np.asarray(
        np.minimum(sums, np.sqrt((M**2).sum(axis=(1, 2)))) * (1.0 + 4.0 * gamma(count + M[0].size + 8)) + TINY
    )


def nearer(J: Interval, K: Array, rho: Array) -> tuple[Array, Array]:
    """The middles and the spread of J where that is less than rho, else K and rho, block by block.

    Parameters
    ----------
    J
        The range, (blocks, outputs, block).
    K, rho
        What holds anyway: ‖J − K‖ ≤ rho, (blocks or 1, outputs, block) and (blocks,) or (1,).

    Examples
    --------
    >>> K, rho = nearer(Interval(np.full((1, 1, 1), 0.2), np.full((1, 1, 1), 0.3)), np.full((1, 1, 1), 0.5), np.full(1, 0.5))
    >>> K.round(9), rho.round(9)
    (array([[[0.25]]]), array([0.05]))
    """
    middle, spread = J.middle(), up(norm_up(J.radius()))
    own = spread < rho
    return np.where(own[:, None, None], middle, K), np.where(own, spread, rho)
