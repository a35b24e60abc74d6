"""The product of a long chain of maps in ball arithmetic, where midpoints and radii in float64 say nothing.

With every factor the radius in float64 grows by ‖|A|‖ and the product by less: of 2,000 factors one can be 1e400 times the
other. Balls of enough bits hold both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert import budget
from lipcert.certificates.enclosure import Enclosure
from lipcert.definite import norm_bound
from lipcert.graph import balls
from lipcert.rounding import up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.arrays import Array
    from lipcert.graph.linear_maps import LinearMap

_BITS = (256, 1024, 4096, 16384)
CLOSE = 2.0**-34
"""A radius of this part of the product is close enough."""
# seconds for one product of numbers of 64 bits, about; what is larger is not begun
_SECONDS, _MOST_SECONDS = 3e-7, 10.0


def multiplied(maps: Sequence[LinearMap]) -> Enclosure | None:
    """An enclosure of A_n … A₂ A₁; None where it would take too long or is beyond float64.

    Parameters
    ----------
    maps
        The factors, the one that is applied first at the beginning.

    Examples
    --------
    >>> from lipcert.graph.linear_maps import Dense
    >>> tiny, huge = Dense(np.full((1, 1), 2.0**-600)), Dense(np.full((1, 1), 2.0**600))
    >>> multiplied([tiny, tiny, huge, huge]).mid
    array([[1.]])
    """
    from flint import ctx

    columns = maps[0].shape[1]
    products = float(columns) * sum(a.shape[0] * min(a.shape[1], a.terms) for a in maps)
    best: Enclosure | None = None
    for bits in _BITS:
        if products * _SECONDS * (bits / 64) > min(_MOST_SECONDS, 0.2 * budget.left()):
            break
        with ctx.workprec(bits):
            product = balls.exact(np.eye(columns))
            for a in maps:
                product = balls.apply(a, product)
            found = enclosed(product)
        if not np.isfinite(found.mid).all() or not np.isfinite(found.radius()).all():
            continue
        best = found
        if is_close(found):
            break
    return best


def is_close(x: Enclosure) -> bool:
    """Whether the radius is a small part of the midpoint."""
    spread, size = norm_bound(x.radius()), float(np.abs(x.mid).max(initial=0.0))
    return bool(spread <= CLOSE * size)


def enclosed(x: balls.Balls) -> Enclosure:
    """The balls (rows, columns) as midpoints and radii in float64."""
    parts = [(float(ball.mid()), float(ball.rad())) for ball in x.flat]
    mid, rad = np.array(parts, dtype=np.float64).reshape(*x.shape, 2).transpose(2, 0, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        radius: Array = up(up(rad) + np.spacing(np.abs(mid)))
    return Enclosure(mid, radius)
