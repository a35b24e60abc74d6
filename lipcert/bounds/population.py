"""The best points that a search for a lower bound has met."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lipcert.arrays import Array

_ELITES = 12
_SAME = 1e-7
"""Norms that differ by no more, relative, are those of one point."""


class Population:
    """Distinct points with their Jacobian norms and directions, best first.

    Parameters
    ----------
    n
        Inputs.
    values, points, directions
        What is in it, (k,), (n, k) and (n, k); nothing by default.
    most, same
        How many points stay when it is joined with others, and how close norms are that count as one.
    """

    def __init__(
        self,
        n: int,
        values: Array | None = None,
        points: Array | None = None,
        directions: Array | None = None,
        *,
        most: int = _ELITES,
        same: float = _SAME,
    ) -> None:
        self.most, self.same = most, same
        self.values = np.zeros(0) if values is None else values
        self.points = np.zeros((n, 0)) if points is None else points
        self.directions = np.zeros((n, 0)) if directions is None else directions

    @property
    def best(self) -> float:
        """The largest norm."""
        return float(self.values[0]) if self.values.size else 0.0

    def joined(self, other: Population) -> Population:
        """The best of both; of equal norms, which piecewise linear networks have on a whole region, the newer one."""
        values = np.concatenate([other.values, self.values])
        order = np.argsort(-values, kind="stable")
        v = values[order]
        distinct = np.ones(v.size, dtype=bool)
        distinct[1:] = v[1:] < v[:-1] * (1.0 - self.same)
        keep = order[distinct][: self.most]
        return Population(
            self.points.shape[0],
            values[keep],
            np.hstack([other.points, self.points])[:, keep],
            np.hstack([other.directions, self.directions])[:, keep],
            most=self.most,
            same=self.same,
        )
