"""A crowd of points that looks along lines: the source of lower bounds for piecewise linear networks of few inputs.

Their steepest pieces are small and far apart, and a gradient does not lead there. A line meets as many pieces as it
crosses switching surfaces, so every point of a large crowd looks along one line a generation, and the best points stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.record import Pointwise
from lipcert.bounds.evolution import NORM, jacobians
from lipcert.bounds.operator_norm import dense_norms
from lipcert.bounds.population import Population
from lipcert.graph.evaluate import record
from lipcert.graph.nodes import Activation, Affine, Graph, Input

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array
    from lipcert.bounds.effort import Effort, SweepCost
    from lipcert.norms import Norm

_FEW = 10
"""Inputs and outputs up to which it is tried."""
_CROWD, _EACH = 300, 40
"""Points, and how many are looked at on a line."""
_FIRST = 2000
"""Points to choose the first crowd from."""
_PATIENCE = 6
_AXES, _RANDOM = 0.4, 0.3
"""Parts of the lines along single inputs, and in random directions; the others join two points of the crowd."""
_SAME = 1e-9
"""Pieces whose norms differ by no more, relative, are one."""


class LineSearch:
    """Looks for steep pieces along lines.

    Parameters
    ----------
    graph
        The network.
    norm, output_norm
        The norms.
    cost
        What a sweep costs.
    rng
        Decides all that is random.
    starts
        Gives as many points to start from, and directions.
    """

    def __init__(
        self,
        graph: Graph,
        norm: Norm,
        output_norm: Norm,
        cost: SweepCost,
        rng: np.random.Generator,
        starts: Callable[[int], tuple[Array, Array]],
    ) -> None:
        self.graph, self.p, self.q = graph, norm, output_norm
        self.cost, self.rng, self.starts = cost, rng, starts

    @staticmethod
    def applies(graph: Graph) -> bool:
        """Whether the network has few inputs and outputs and is piecewise linear in single numbers."""
        return max(graph.input_size, graph.output_size) <= _FEW and all(
            isinstance(node, Input | Affine)
            or (isinstance(node, Activation) and isinstance(node.record, Pointwise) and node.record.breaks is not None)
            for _, node in graph.walk()
        )

    def run(self, effort: Effort, until: float) -> tuple[Array, Array]:
        """The best points and their directions when that much is spent."""
        none = Population(self.graph.input_size, most=_CROWD, same=_SAME)
        best = none
        while not best.values.size or effort.spent < until:
            crowd = none.joined(self._measured(self.starts(_FIRST)[0], effort))
            stalled = 0
            while stalled < _PATIENCE and effort.spent < until:
                before = crowd.best
                crowd = crowd.joined(self._measured(self._along(crowd.points), effort))
                stalled = 0 if crowd.best > before * (1.0 + _SAME) else stalled + 1
            best = crowd.joined(best)
        return best.points, best.directions

    def _along(self, crowd: Array) -> Array:
        """Points on a line through each point of the crowd."""
        rng = self.rng
        n, count = crowd.shape
        size = np.linalg.norm(crowd, axis=0)
        kind = rng.random(count)
        direction = rng.standard_normal((n, count)) * (size / np.sqrt(n))
        axis = np.zeros((n, count))
        axis[rng.integers(n, size=count), np.arange(count)] = size
        direction = np.where(kind < _AXES, axis, direction)
        other = crowd[:, rng.integers(count, size=count)] - crowd
        direction = np.where(kind >= _AXES + _RANDOM, other, direction)
        half = _EACH // 2
        wide = np.linspace(-1.0, 1.0, half)[:, None] * 10.0 ** rng.uniform(-1.0, 0.7, count)
        near = rng.choice([-1.0, 1.0], (half, count)) * 10.0 ** rng.uniform(-5.0, 0.0, (half, count))
        steps = np.vstack([wide, near])
        return (crowd[:, None] + direction[:, None] * steps).reshape(n, -1)

    def _measured(self, points: Array, effort: Effort) -> Population:
        """The points with their norms and directions."""
        n, few, count = self.graph.input_size, min(self.graph.input_size, self.graph.output_size), points.shape[1]
        effort.charge(self.cost.seconds(count, 1 + few) + NORM * few * count)
        values, directions = dense_norms(jacobians(record(self.graph, [points])), self.p, self.q)
        good = np.isfinite(values) & np.isfinite(points).all(axis=0)
        return Population(n, np.where(good, values, 0.0), points, directions.T)
