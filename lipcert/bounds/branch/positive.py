"""Whether a margin is positive on a ball: the ball is cut at neurons until its range is positive on every cell.

The cell with the least lower bound is cut next, at the neuron whose lines lose most in that bound: with coefficients c
behind an activation the bound of c·φ(z) loses c⁺ times the gap above φ and c⁻ times that below.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.record import Pointwise
from lipcert.bounds.branch.feasible import inner_point
from lipcert.certificates.nearby import Split
from lipcert.errors import DoesNotApply
from lipcert.graph.nodes import Activation
from lipcert.ranges.cells import NeuronCut, breaks, nearest_kink, open_neurons, part
from lipcert.ranges.linear import Backward, Lines

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.certificates.nearby import Nearby
    from lipcert.graph.nodes import Graph
    from lipcert.ranges.cells import Cell

_BELOW = 0.5
"""What a line below counts beside one above: it is through the kink as a rule, and has a choice of slopes."""


@dataclass(frozen=True, eq=False)
class _Open:
    """A cell on which the margin may vanish."""

    low: float
    cell: Cell

    def __lt__(self, other: _Open) -> bool:
        return self.low < other.low


def cells_of(ball: Nearby, k: int, clear: float, seconds: float) -> Split | None:
    """Cells that prove the k-th margin, or None where none were found in this time.

    Parameters
    ----------
    ball
        The classifier on the ball.
    k
        Which margin.
    clear
        What the margin has to exceed on each cell.
    seconds
        How long to cut.

    Examples
    --------
    >>> import numpy as np
    >>> from lipcert.certificates.nearby import Nearby
    >>> from lipcert.graph import build as nn
    >>> from lipcert.norms import Norm
    >>> hat = nn.linear([[1.0, -2.0, 1.0], [0.0, 0.0, 0.0]], [0.1, 0.0])
    >>> graph = nn.sequential(nn.linear([[1.0], [1.0], [1.0]], [1.0, 0.0, -1.0]), nn.relu(), hat)
    >>> ball = Nearby(graph, np.array([0.3]), 0.9, Norm.LINF, None, 0)
    >>> bool(ball.low[0] > 0.0), ball.by_cells(0, cells_of(ball, 0, 0.0, 10.0))
    (False, True)
    """
    end = time.perf_counter() + seconds
    try:
        root = ball.cells.root
    except DoesNotApply:
        return None
    closed: list[tuple[tuple[NeuronCut, ...], Array | None]] = []
    queue = [_Open(ball.on_cell(root, k), root)]
    while queue:
        worst = heapq.heappop(queue)
        place = _place(ball.margins, worst.cell, k)
        if place is None or time.perf_counter() > end:
            return None
        for side in (1, -1):
            cell = part(ball.margins, worst.cell, NeuronCut(*place, side))
            low, weights = ball.on_cell(cell, k), None
            if low <= clear:
                weights = _weights(ball, cell, k)
                low = low if weights is None else ball.on_cell(cell, k, weights)
            if low > clear:
                closed.append((cell.cuts, weights))
            else:
                heapq.heappush(queue, _Open(low, cell))
    return Split(tuple(cuts for cuts, _ in closed), tuple(weights for _, weights in closed))


def _weights(ball: Nearby, cell: Cell, k: int) -> Array | None:
    """Weights of the half-spaces that may prove the margin on a cell, or that it is empty.

    They are those that contradict the half-spaces together with a·x + t ≥ 0, where −margin ≤ a·x + t.
    """
    a, t = ball.against(cell, k)
    inside = cell.inside
    if not np.isfinite(t):
        return None
    rows = np.vstack([np.concatenate([[t], a]), np.hstack([inside.offsets[:, None], inside.normals])])
    weights = inner_point(rows, len(rows), cell.region)[1]
    if weights is None:
        return None
    return weights[1:] / weights[0] if weights[0] > 0.0 else weights[1:]


class _Weighed(Backward):
    """Keeps the coefficients behind each activation."""

    def __init__(self, graph: Graph, cell: Cell) -> None:
        super().__init__(graph, cell.inside, cell.ranges.of, cell.lines)
        self.behind: dict[int, Array] = {}

    def _activation(self, position: int, node: Activation, columns: Array) -> None:
        self.behind[position] = columns[:, 0]
        super()._activation(position, node, columns)


def _place(graph: Graph, cell: Cell, k: int) -> tuple[int, int, int] | None:
    """The activation, the neuron and the kink to cut at, or None where all of them are decided or cut."""
    seeds = np.zeros((graph.output_size, 1))
    seeds[k] = -1.0
    weighed = _Weighed(graph, cell)
    weighed.upper({graph.output: seeds})
    cut = {tuple(cut[:3]) for cut in cell.cuts}
    best, place = -1.0, None
    for neuron in open_neurons(graph, cell.ranges):
        at = (neuron.position, neuron.neuron, nearest_kink(graph, cell.ranges, neuron))
        if at in cut:
            continue
        loss = _loss(graph, cell, at, weighed.behind)
        if loss > best:
            best, place = loss, at
    return place


def _loss(graph: Graph, cell: Cell, at: tuple[int, int, int], behind: dict[int, Array]) -> float:
    """What the lines of a neuron lose in the bound."""
    position, i, kink = at
    node, lines = graph.nodes[position], cell.lines[position]
    assert isinstance(node, Activation)
    assert isinstance(node.record, Pointwise)
    assert isinstance(lines, Lines)
    if position not in behind:
        return 0.0
    c = float(behind[position][i])
    kinks, values, _ = breaks(node)
    if c > 0.0:
        return c * float(lines.above[i] * kinks[i, kink] + lines.over[i] - values[i, kink])
    on = cell.ranges[node.parent]
    ends = np.array([on.low[i], on.high[i]])
    own = {key: p if len(p) == 1 else p[i : i + 1] for key, p in node.parameters.items()}
    gaps = node.record.function(ends, own) - lines.below[i] * ends - lines.under[i]
    return _BELOW * -c * float(gaps.max())
