"""Ranges of every signal of a network on a region, rounded outward (docs/proof.md, 'Regions')."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.record import Pointwise
from lipcert.errors import InvalidRequest
from lipcert.graph.linear_maps import Index
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input, Node
from lipcert.ranges.ellipsoid import Ellipsoid, euclidean_radius
from lipcert.ranges.hints import NONE, Hint, Hints
from lipcert.ranges.linear import Lines, refine
from lipcert.ranges.planes import Planes
from lipcert.rounding import FLOOR, TINY, Interval, down, gamma, up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lipcert.arrays import Array, IntArray
    from lipcert.graph.linear_maps import LinearMap
    from lipcert.regions import Region

_SWEEPS = 100
_PROGRESS = 1e-3


@dataclass(frozen=True, eq=False)
class Ranges:
    """For each node that the output needs a range of its values, and the ranges within the cells of fixed points.

    Attributes
    ----------
    of
        By the position of the node.
    cells
        By the position of a fixed point, the ranges of its cell at every solution.
    """

    of: dict[int, Interval]
    cells: dict[int, Ranges] = field(default_factory=dict)

    def __getitem__(self, position: int) -> Interval:
        return self.of[position]

    def meet(self, other: Ranges) -> Ranges:
        """What both hold."""
        of = {position: found.meet(other.of[position]) for position, found in self.of.items()}
        cells = {position: cell.meet(other.cells[position]) for position, cell in self.cells.items()}
        return Ranges(of, cells)


def ranges(graph: Graph, region: Region, hints: Hints = NONE, *, output: bool = False) -> Ranges:
    """Ranges of all signals, by intervals forward, linear bounds backward, and ellipsoids where hints have multipliers.

    Parameters
    ----------
    graph
        The network.
    region
        Where its input lies.
    hints
        Ranges and slopes of lines that somebody proposes: ranges are proven, or widened until they hold.
    output
        Whether the range of the output is narrowed by linear bounds too.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.regions import Box
    >>> graph = nn.sequential(nn.linear([[1.0, -2.0]]), nn.relu())
    >>> found = ranges(graph, Box(0.0, 1.0))
    >>> found[1].low.round(9), found[2].low
    (array([-2.]), array([0.]))
    """
    region = region.fitted(graph.input_size)
    found, lines = sweep(graph, region, hints)
    if output and not _is_exact(graph, graph.output, region):
        sources = _Sources(graph, region, hints)
        found.of[graph.output] = sources.range(graph.output, np.arange(graph.output_size), found.of, lines)
    return found


def sweep(graph: Graph, region: Region, hints: Hints = NONE) -> tuple[Ranges, dict[int, Lines | Planes]]:
    """The same, with the lines of the activations on scalars, and the planes of the others that have some."""
    if len(graph.inputs) != 1:
        raise InvalidRequest("a region is for a network of one input")
    region = region.fitted(graph.input_size)
    found = Ranges({graph.inputs[0]: region.interval()})
    lines: dict[int, Lines | Planes] = {}
    sources = _Sources(graph, region, hints)
    for position, node in graph.walk():
        hint = hints.of.get(position, Hint())
        if isinstance(node, Activation):
            parent = node.parent
            rows = _open(node, found[parent])
            if rows.size and not _is_exact(graph, parent, region):
                found.of[parent] = sources.range(parent, rows, found.of, lines)
            found.of[parent] = hint.range(found[parent])
            if isinstance(node.record, Pointwise):
                lines[position] = Lines.of(node, found[parent], hint.lines(node.size))
        step(found, position, node, hints)
        if isinstance(node, Activation) and position not in lines:
            planes = Planes.of(node, found[node.parent], found[position])
            if planes is not None:
                lines[position] = planes
    return found, lines


class _Sources:
    """What narrows the ranges of a node: linear bounds, and an ellipsoid."""

    def __init__(self, graph: Graph, region: Region, hints: Hints) -> None:
        self.graph, self.region, self.hints = graph, region, hints

    @cached_property
    def around(self) -> Ranges:
        """Enclosures of all signals at the centre."""
        assert self.region.centre is not None
        return through(self.graph, [Interval.point(self.region.centre)])

    def range(
        self, target: int, rows: IntArray, found: Mapping[int, Interval], lines: Mapping[int, Lines | Planes]
    ) -> Interval:
        """The range of a node, narrowed for some of its numbers."""
        best = refine(self.graph, self.region, target, rows, found, lines)
        multipliers = self.hints.ellipsoids.get(target)
        if multipliers is None or euclidean_radius(self.region) is None:
            return best
        other = Ellipsoid(self.graph, self.region, found, self.around.of, multipliers).range(target, rows)
        if other is None:
            return best
        low, high = best.low.copy(), best.high.copy()
        met = best.take(rows).meet(other)
        low[rows], high[rows] = met.low, met.high
        return Interval(low, high)


def _open(node: Activation, on: Interval) -> IntArray:
    """The neurons with more than one possible slope."""
    record = node.record
    if not isinstance(record, Pointwise):
        return np.arange(on.size)
    slopes = record.slopes_on(node.parameters, on)
    return np.flatnonzero(slopes.low < slopes.high).astype(np.int64)


def _is_exact(graph: Graph, position: int, region: Region) -> bool:
    """Whether intervals are the best there is: one affine map of a box."""
    node = graph.nodes[position]
    if region.hull() is not region:
        return False
    return isinstance(node, Input) or (isinstance(node, Affine) and node.parents == graph.inputs)


def through(graph: Graph, inputs: Sequence[Interval], hints: Hints = NONE) -> Ranges:
    """Ranges of all signals from a range of each input, by intervals."""
    found = Ranges(dict(zip(graph.inputs, inputs, strict=True)))
    for position, node in graph.walk():
        step(found, position, node, hints)
    return found


def step(found: Ranges, position: int, node: Node, hints: Hints = NONE) -> None:
    """The range of a node from those of its parents."""
    match node:
        case Input():
            pass
        case Affine():
            found.of[position] = affine(node, [found[p] for p in node.parents])
        case Activation():
            found.of[position] = node.record.image(node.block, node.parameters, found[node.parent])
        case FixedPoint():
            cell = solution(node, [found[p] for p in node.parents])
            given = hints.cells.get(position, NONE)
            for at, inner in node.cell.walk():
                if isinstance(inner, Activation):
                    cell.of[inner.parent] = given.of.get(at, Hint()).range(cell[inner.parent])
            found.cells[position] = cell
            found.of[position] = cell[node.cell.output]


def affine(node: Affine, parents: Sequence[Interval]) -> Interval:
    """The range of Σ A_k x_k + b."""
    total = None if node.bias is None else Interval.point(node.bias)
    for a, x in zip(node.maps, parents, strict=True):
        part = product(a, x)
        total = part if total is None else total.plus(part)
    assert total is not None
    return total


def product(a: LinearMap, x: Interval) -> Interval:
    """The range of A x, the radius of A included.

    With the middle m and the radius r of x, |A x − fl(A m)| ≤ |A|(r + γ_k |m|) + rad A (|m| + r).
    """
    if isinstance(a, Index):
        return Interval(a @ x.low, a @ x.high)
    bounded = x.bounded
    middle, radius = np.where(bounded, x.middle(), 0.0), np.where(bounded, x.radius(), 0.0)
    k = a.terms
    size = a.magnitude()
    room = size @ (radius + gamma(k + 1) * np.abs(middle) + FLOOR)
    if a.radius is not None:
        room = room + a.radius @ (np.abs(middle) + radius + FLOOR)
    room = room * (1.0 + 2.0 * gamma(k + 8)) + TINY
    if not bounded.all():
        # whatever meets an unbounded number is unbounded; no entry is so small that it is lost
        far = (~bounded).astype(np.float64) * 2.0**500
        met = size @ far > 0.0
        if a.radius is not None:
            met |= a.radius @ far > 0.0
        room = np.where(met, np.inf, room)
    exact = a @ middle
    with np.errstate(invalid="ignore"):
        return Interval(down(exact - room), up(exact + room))


def solution(node: FixedPoint, parameters: Sequence[Interval]) -> Ranges:
    """Ranges within the cell at every solution of s = cell(s, p).

    From the whole space S₀ on, S_(k+1) = S_k ∩ cell(S_k): every solution lies in all of them, and the cell maps each of them
    into itself.
    """
    state = Interval.everywhere(node.size)
    found = through(node.cell, [state, *parameters])
    for _ in range(_SWEEPS):
        following = found[node.cell.output].meet(state)
        if not _narrower(following, state):
            break
        state = following
        found = through(node.cell, [state, *parameters])
    return found


def _narrower(new: Interval, old: Interval) -> bool:
    """Whether another sweep is worth it."""
    fresh = new.bounded & ~old.bounded
    if fresh.any():
        return True
    both = old.bounded
    width: Array = (old.high - old.low)[both]
    return bool(((new.high - new.low)[both] < (1.0 - _PROGRESS) * width).any())
