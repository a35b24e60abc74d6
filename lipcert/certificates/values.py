"""The classes of points and their margins, proven in ball arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.graph import balls
from lipcert.graph.linear_maps import Convolution
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array, IntArray

_PRECISIONS = (64, 128, 256)
_CHUNK = 64
_BALLS = 2**22
"""Samples that are evaluated together: so many, or so few that no signal has more entries than this."""


def margins_at(graph: Graph, points: Array, tell: Callable[[int, int], None] | None = None) -> tuple[IntArray, Array]:
    """The class of each point and lower bounds of its margins, in ball arithmetic at the exact float64 points.

    Parameters
    ----------
    graph
        A classifier without a head.
    points
        (samples, inputs).
    tell
        Called now and then with how many points are done, and of how many.

    Returns
    -------
    predictions, margins
        (samples,) and (samples, classes): y_c − y_j, rounded down, infinite for j = c; at most 0 where the order of c and j
        could not be proven.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> margins_at(nn.sequential(nn.linear([[1.0], [0.0]])), np.array([[2.0]]))[0]
    array([0])
    """
    from flint import ctx

    predictions = np.zeros(len(points), dtype=np.int64)
    margins = np.full((len(points), max(graph.output_size, 2)), -np.inf)
    together = int(np.clip(_BALLS // _widest(graph), 1, _CHUNK))
    for precision in _PRECISIONS:
        # an order that is open at this precision may be clear at the next one
        undecided = np.flatnonzero(~(margins > 0).all(axis=1))
        done = 0
        for chunk in np.split(undecided, range(together, undecided.size, together)):
            if not chunk.size:
                continue
            if tell is not None:
                tell(done, undecided.size)
            with ctx.workprec(precision):
                predictions[chunk], margins[chunk] = _margins(graph, points[chunk])
            done += chunk.size
    return predictions, margins


def _widest(graph: Graph) -> int:
    """The entries of the largest signal of one sample; a convolution has its patches side by side."""
    widest = max(node.size for _, node in graph.walk())
    for _, node in graph.walk():
        match node:
            case Input() | Activation():
                pass
            case Affine():
                widest = max([widest, *(a.patches().size for a in node.maps if isinstance(a, Convolution))])
            case FixedPoint():
                widest = max(widest, node.size**2, _widest(node.cell))
    return widest


def _margins(graph: Graph, points: Array) -> tuple[IntArray, Array]:
    """The classes of the points and their margins at the current precision."""
    from flint import arb

    y = balls.forward(graph, [balls.exact(points.T)])
    if len(y) == 1:
        # the order of 0 and the output
        y = np.vstack([np.full((1, len(points)), arb(0), dtype=object), y])
    predictions = np.zeros(len(points), dtype=np.int64)
    margins = np.full((len(points), len(y)), np.inf)
    for i, values in enumerate(y.T):
        # the first of several largest ones; middles are exact numbers
        c = 0
        for j in range(1, len(y)):
            c = j if values[j].mid() > values[c].mid() else c
        predictions[i] = c
        for j in range(len(y)):
            if j != c:
                low = float((values[c] - values[j]).lower())
                margins[i, j] = np.nextafter(low, -np.inf) if np.isfinite(low) else -np.inf
    return predictions, margins
