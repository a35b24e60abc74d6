"""Points inside cells, and weights that say that there are none: linear programs, of which nothing is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.norms import Norm
from lipcert.regions import Ball

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.regions import Region

_FEASIBLE = 1e-12
_TANGENTS = 12
"""Times that a ball is cut closer."""


def inner_point(rows: Array, strict: int, region: Region) -> tuple[Array | None, Array | None]:
    """A point with constant + normal·u as large as possible in the first `strict` rows and not negative in all, or weights.

    Parameters
    ----------
    rows
        (statements, 1 + variables), the inputs first.
    strict
        How many of them are cuts.
    region
        Where the inputs lie.

    Returns
    -------
    point, weights
        The inputs of the point, or weights of the rows that may contradict.

    Examples
    --------
    >>> from lipcert.regions import Box
    >>> rows = np.array([[-1.0, 1.0, 0.0], [-0.5, 0.0, 1.0]])
    >>> point, _ = inner_point(rows, 2, Box([0.0, 0.0], 2.0))
    >>> bool(point[0] > 1.0 and point[1] > 0.5)
    True
    >>> inner_point(rows, 2, Box([0.0, 0.0], 0.75))[1].round(9)
    array([1., 0.])
    """
    from scipy.optimize import linprog

    n = region.interval().size
    variables = rows.shape[1] - 1
    size = np.linalg.norm(rows[:, 1:], axis=1)
    unit = rows / np.where(size > 0.0, size, 1.0)[:, None]
    slack = (np.arange(len(rows)) < strict).astype(np.float64)
    A = np.hstack([-unit[:, 1:], slack[:, None]])
    b = unit[:, 0].copy()
    around = region.interval()
    ends = [
        (low if np.isfinite(low) else None, high if np.isfinite(high) else None)
        for low, high in zip(around.low.tolist(), around.high.tolist(), strict=True)
    ]
    limits = [*ends, *[(None, None)] * (variables - n), (None, 1.0)]
    cost = np.zeros(variables + 1)
    cost[-1] = -1.0
    for _ in range(_TANGENTS):
        found = linprog(cost, A_ub=A, b_ub=b, bounds=limits, method="highs")
        if found.status != 0:
            return None, None
        x = found.x
        if x is None:
            return None, None
        if x[-1] <= _FEASIBLE:
            weights = np.maximum(-found.ineqlin.marginals[: len(rows)], 0.0) / np.where(size > 0.0, size, 1.0)
            return None, weights
        point = np.asarray(x[:n])
        tangent = _tangent(region, point)
        if tangent is None:
            return point, None
        A = np.vstack([A, np.concatenate([tangent[1:], np.zeros(variables - n), [0.0]])])
        b = np.append(b, tangent[0])
    return region.project(point[:, None])[:, 0], None


def _tangent(region: Region, point: Array) -> Array | None:
    """(bound, normal) with normal·x ≤ bound on a ball that the point lies outside of; None where it is about inside."""
    if not isinstance(region, Ball) or region.norm is Norm.LINF:
        return None
    offset = point - region.centre
    if region.norm is Norm.L2:
        length = float(np.linalg.norm(offset))
        normal = offset / max(length, 1e-300)
    else:
        length = float(np.abs(offset).sum())
        normal = np.sign(offset)
    if length <= region.radius * (1.0 + 1e-6):
        return None
    return np.concatenate([[float(normal @ region.centre) + region.radius], normal])
