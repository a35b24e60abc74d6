"""Slopes that networks attain, to hold proven bounds against."""

from __future__ import annotations

import numpy as np

from lipcert.graph.evaluate import forward, record
from lipcert.graph.nodes import Graph


def steepest(graph: Graph, points: int, rng: np.random.Generator, scale: float = 2.0) -> float:
    """The largest ‖J(x)‖ at random points.

    The Jacobian at x is the one of the linear piece that holds x almost surely, and the limit of slopes in any case.
    """
    x = scale * rng.standard_normal((graph.input_size, points))
    tape = record(graph, [x])
    return max(float(np.linalg.norm(tape.jacobian(k), 2)) for k in range(points))


def steepest_chord(graph: Graph, points: int, rng: np.random.Generator) -> float:
    """The largest ‖f(x) − f(x′)‖/‖x − x′‖ over random pairs, near and far."""
    x = 2.0 * rng.standard_normal((graph.input_size, points))
    step = rng.standard_normal(x.shape) * 10.0 ** rng.uniform(-2, 1, points)
    change = forward(graph, x + step) - forward(graph, x)
    return float((np.linalg.norm(change, axis=0) / np.linalg.norm(step, axis=0)).max())
