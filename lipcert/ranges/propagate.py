"""Intervals through a network, rounded outward: the first source of ranges (docs/proof.md, 'Regions')."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import InvalidRequest
from lipcert.graph.linear_maps import Index
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input
from lipcert.rounding import FLOOR, TINY, Interval, down, gamma, up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.arrays import Array
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


def ranges(graph: Graph, region: Region) -> Ranges:
    """Ranges of all signals by intervals.

    Parameters
    ----------
    graph
        The network.
    region
        Where its input lies.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.regions import Box
    >>> graph = nn.sequential(nn.linear([[1.0, -2.0]]), nn.relu())
    >>> found = ranges(graph, Box(0.0, 1.0))
    >>> found[1].low.round(9), found[2].low
    (array([-2.]), array([0.]))
    """
    if len(graph.inputs) != 1:
        raise InvalidRequest("a region is for a network of one input")
    return through(graph, [region.fitted(graph.input_size).interval()])


def through(graph: Graph, inputs: Sequence[Interval]) -> Ranges:
    """The same from a range of each input."""
    given = dict(zip(graph.inputs, inputs, strict=True))
    found = Ranges({})
    for position, node in graph.walk():
        match node:
            case Input():
                found.of[position] = given[position]
            case Affine():
                found.of[position] = affine(node, [found[p] for p in node.parents])
            case Activation():
                found.of[position] = node.record.image(node.block, node.parameters, found[node.parent])
            case FixedPoint():
                found.cells[position] = solution(node, [found[p] for p in node.parents])
                found.of[position] = found.cells[position][node.cell.output]
    return found


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
