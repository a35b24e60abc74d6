"""Cells: what is left of a region where some neurons are known to lie on one side of a kink.

A cut says z_i ≥ k or z_i ≤ k for the input z_i of a piecewise linear neuron and one of its kinks k. With the lines of the
activations in front, sign·(z_i − k) ≤ n·x + b on the cell, so the cell lies in the half-space n·x + b ≥ 0: a cut anywhere in
the network cuts the inputs. For any weights w ≥ 0 of the half-spaces

    sup over the cell of a·x  ≤  sup over the region of (a + wᵀN)·x + w·b,

which narrows the ranges of all neurons; and where the right side is negative for a = 0, the cell is empty (Farkas).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lipcert.activations.record import Pointwise
from lipcert.errors import DoesNotApply
from lipcert.graph.nodes import Activation, Affine, FixedPoint
from lipcert.norms import Norm
from lipcert.ranges.hints import NONE
from lipcert.ranges.linear import Backward, Lines, envelope, refine
from lipcert.ranges.propagate import Ranges, step, sweep
from lipcert.regions import Ball, Box
from lipcert.rounding import TINY, Interval, gamma, up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lipcert.arrays import Array, IntArray
    from lipcert.graph.nodes import Graph
    from lipcert.ranges.hints import Hints
    from lipcert.ranges.planes import Planes
    from lipcert.regions import Region

_SEARCH = 24
"""Steps of the search for a weight where the best one has no closed form."""


class NeuronCut(NamedTuple):
    """One side of a kink of a neuron: z ≤ kink for the side −1, z ≥ kink for 1.

    Attributes
    ----------
    position, neuron
        The activation in the prepared network with its moduli written out, and which of its neurons.
    kink
        The number of the kink, from the lowest.
    side
        1 or −1.
    """

    position: int
    neuron: int
    kink: int
    side: int


class OpenNeuron(NamedTuple):
    """A neuron with several segments on a cell: from the first to the last of them, numbered from −∞."""

    position: int
    neuron: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Polyhedron:
    """A region cut with half-spaces: normals·x + offsets ≥ 0.

    Examples
    --------
    >>> half = Polyhedron(Box([-1.0, -1.0], 1.0), np.array([[1.0, 1.0]]), np.array([-1.0]))
    >>> half.support(np.array([[-1.0, 0.0], [1.0, 0.0]])).round(9)
    array([0., 1.])
    """

    region: Region
    normals: Array
    offsets: Array

    def hull(self) -> Box:
        """A box around it."""
        return self.region.hull()

    def support(self, a: Array) -> Array:
        """For each row of a at least sup a·x; a is exact."""
        plain = self.region.support(a)
        if not self.offsets.size:
            return plain
        return np.minimum(plain, self.combined(a, self._weights(a)))

    def accepts(self, weights: Array) -> bool:
        """Whether these can be weights of the half-spaces."""
        return weights.shape == self.offsets.shape and bool((np.isfinite(weights) & (weights >= 0.0)).all())

    def combined(self, a: Array, weights: Array) -> Array:
        """At least sup (a + wᵀN)·x + w·b over the region, for each row of a and of weights w ≥ 0, both exact.

        |fl(a + wᵀN) − (a + wᵀN)| ≤ γ (|a| + wᵀ|N|), for |x| up to the ends of the region.
        """
        k = self.offsets.size
        moved = a + weights @ self.normals
        size = np.abs(a) + weights @ np.abs(self.normals)
        most = self.region.interval().magnitude()
        with np.errstate(invalid="ignore", over="ignore"):
            constant = weights @ self.offsets
            # sums of nonnegative terms, whose own rounding is in the second factor
            lost = gamma(k + 2) * (size @ most + weights @ np.abs(self.offsets) + (size.sum(axis=1) + k) * TINY)
            lost = lost * (1.0 + 4.0 * gamma(k + most.size + 8)) + TINY
            return up(up(self.region.support(moved) + constant) + up(lost))

    def _weights(self, a: Array) -> Array:
        """Good weights for each row of a, by one minimisation over each half-space in turn, the last ones first."""
        found = np.zeros((len(a), self.offsets.size))
        moved = a.copy()
        for c in reversed(range(self.offsets.size)):
            found[:, c] = _best_weight(self.region, moved, self.normals[c], float(self.offsets[c]))
            moved = moved + found[:, c : c + 1] * self.normals[c]
        return found


def _best_weight(region: Region, a: Array, normal: Array, offset: float) -> Array:
    """About argmin over w ≥ 0 of sup (a + w·normal)·x + w·offset, for each row of a."""
    box = region.interval()
    if not box.bounded.all():
        return np.zeros(len(a))
    if isinstance(region, Ball) and region.norm is not Norm.LINF:
        return _searched_weight(region, a, normal, offset)
    middle, radius = box.middle(), box.radius()
    # the slope in w is offset + normal·middle + Σ ±|normal|·radius, and grows where a + w·normal changes its sign
    reach = np.abs(normal) * radius
    used = np.flatnonzero(reach)
    if not used.size:
        return np.zeros(len(a))
    turns = -a[:, used] / normal[used]
    order = np.argsort(turns, axis=1)
    turns = np.take_along_axis(turns, order, 1)
    slopes = float(offset + normal @ middle) + 2.0 * np.cumsum(reach[used][order], axis=1) - reach.sum()
    at = (slopes >= 0.0).argmax(axis=1)
    best = np.where((slopes >= 0.0).any(axis=1), turns[np.arange(len(a)), at], 0.0)
    return np.maximum(best, 0.0)


def _searched_weight(region: Ball, a: Array, normal: Array, offset: float) -> Array:
    """The same by golden sections, for balls."""
    steep = np.linalg.norm(normal)
    if not steep > 0.0:
        return np.zeros(len(a))
    low, high = np.zeros(len(a)), 4.0 * np.linalg.norm(a, axis=1) / steep
    dual = {Norm.L2: 2, Norm.L1: np.inf}[region.norm]
    drift = float(normal @ region.centre) + offset
    part = (np.sqrt(5.0) - 1.0) / 2.0

    def value(w: Array) -> Array:
        return region.radius * np.linalg.norm(a + w[:, None] * normal, dual, axis=1) + w * drift

    for _ in range(_SEARCH):
        one, other = high - part * (high - low), low + part * (high - low)
        lower = value(one) < value(other)
        low, high = np.where(lower, low, one), np.where(lower, other, high)
    return np.asarray(0.5 * (low + high))


@dataclass(frozen=True, eq=False)
class Cell:
    """A part of a region with what is proven there.

    Attributes
    ----------
    region
        The region.
    cuts
        What makes it a part.
    ranges
        Of all signals, on the cell.
    lines
        Of the activations, on the cell.
    inside
        The region with the half-spaces that the cuts imply.
    empty
        Whether a range says that nothing is in it.
    """

    region: Region
    cuts: tuple[NeuronCut, ...]
    ranges: Ranges
    lines: Mapping[int, Lines | Planes]
    inside: Polyhedron
    empty: bool = False

    def contradicts(self, weights: Array) -> bool:
        """Whether these weights of the half-spaces prove that the cell is empty."""
        if not self.inside.accepts(weights):
            return False
        nowhere = np.zeros((1, self.inside.normals.shape[1]))
        return bool(self.inside.combined(nowhere, weights[None])[0] < 0.0)


def whole(graph: Graph, region: Region, hints: Hints = NONE) -> Cell:
    """The region itself as a cell.

    Parameters
    ----------
    graph
        A prepared network with its moduli written out.
    region
        The region.
    hints
        As `lipcert.ranges.propagate.ranges` takes them.

    Raises
    ------
    DoesNotApply
        If an activation is not piecewise linear, or a layer is implicit.
    """
    for _, node in graph.walk():
        if isinstance(node, FixedPoint):
            raise DoesNotApply("neurons of an implicit layer are not cut")
        if isinstance(node, Activation) and (not isinstance(node.record, Pointwise) or node.record.breaks is None):
            raise DoesNotApply(f"{node.record.name} is not piecewise linear in single numbers")
    region = region.fitted(graph.input_size)
    found, lines = sweep(graph, region, hints)
    n = graph.input_size
    return Cell(region, (), found, lines, Polyhedron(region, np.zeros((0, n)), np.zeros(0)))


def part(graph: Graph, cell: Cell, cut: NeuronCut) -> Cell:
    """The part of a cell on one side of a kink.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph = nn.sequential(nn.linear([[1.0, 1.0], [1.0, -1.0]]), nn.relu(), nn.linear([[1.0, 1.0]]))
    >>> cell = part(graph, whole(graph, Box(-1.0, 1.0)), NeuronCut(2, 0, 0, -1))
    >>> cell.ranges[1].high.round(9), open_neurons(graph, cell.ranges)
    (array([0., 2.]), (OpenNeuron(position=2, neuron=1, first=0, last=1),))
    """
    cuts = (*cell.cuts, cut)
    normals, offsets = _halfspaces(graph, cell, [cut])
    inside = Polyhedron(
        cell.region, np.vstack([cell.inside.normals, normals]), np.concatenate([cell.inside.offsets, offsets])
    )
    found, lines, empty = _narrowed(graph, cell.ranges, inside, cuts)
    narrowed = Cell(cell.region, cuts, found, lines, inside, empty)
    if empty:
        return narrowed
    # with the narrower lines all cuts say more
    normals, offsets = _halfspaces(graph, narrowed, cuts)
    return replace(narrowed, inside=Polyhedron(cell.region, normals, offsets))


def _narrowed(
    graph: Graph, before: Ranges, inside: Polyhedron, cuts: Sequence[NeuronCut]
) -> tuple[Ranges, dict[int, Lines | Planes], bool]:
    """The ranges on a part of a cell, whether a cut contradicts them, and the lines."""
    found = Ranges({graph.inputs[0]: before[graph.inputs[0]]})
    lines: dict[int, Lines | Planes] = {}
    empty = False
    for position, node in graph.walk():
        if isinstance(node, Activation):
            parent = node.parent
            on = found[parent]
            first, last = segments(node, on)
            rows = np.flatnonzero(first < last).astype(np.int64)
            if rows.size:
                on = refine(graph, inside, parent, rows, found.of, lines)
            on, missed = _clipped(node, on, [cut for cut in cuts if cut.position == position])
            empty = empty or missed
            found.of[parent] = on
            lines[position] = _lines(node, on)
        if isinstance(node, Affine) and all(found[p] is before[p] for p in node.parents):
            found.of[position] = before[position]
            continue
        step(found, position, node)
        empty = empty or _apart(found[position], before[position])
        found.of[position] = found[position].meet(before[position])
    return found, lines, empty


def _lines(node: Activation, on: Interval) -> Lines:
    """The lines on a range; a neuron with one slope has that of its segment."""
    first, last = segments(node, on)
    slopes = breaks(node)[2]
    below = slopes[np.arange(node.size), first]
    above = below.copy()
    rows = np.flatnonzero(first < last).astype(np.int64)
    if rows.size:
        below[rows], above[rows] = envelope(node.take(rows), on.take(rows))
    return Lines.of(node, on, (below, above))


def _apart(one: Interval, other: Interval) -> bool:
    """Whether some number cannot lie in both."""
    return bool(((one.low > other.high) | (one.high < other.low)).any())


def _clipped(node: Activation, on: Interval, cuts: Sequence[NeuronCut]) -> tuple[Interval, bool]:
    """The range on the sides of the cuts, and whether nothing of one is there."""
    kinks = breaks(node)[0]
    low, high = on.low.copy(), on.high.copy()
    missed = False
    for cut in cuts:
        kink = kinks[cut.neuron, cut.kink]
        if cut.side > 0:
            missed = missed or bool(high[cut.neuron] < kink)
            low[cut.neuron] = max(low[cut.neuron], kink)
        else:
            missed = missed or bool(low[cut.neuron] > kink)
            high[cut.neuron] = min(high[cut.neuron], kink)
    return Interval(np.minimum(low, high), np.maximum(low, high)), missed


class _Recorder:
    """A region that takes down the functionals whose supremum is asked for; it is left out."""

    def __init__(self) -> None:
        self.rows: Array | None = None

    def support(self, a: Array) -> Array:
        self.rows = a
        return np.zeros(len(a))


def functionals(graph: Graph, cell: Cell, position: int, seeds: Array) -> tuple[Array, Array]:
    """(A, t) with c·z ≤ a·x + t on the cell for the values z of a node and each column c; t = ∞ where nothing is known."""
    recorder = _Recorder()
    with np.errstate(invalid="ignore", over="ignore"):
        top = Backward(graph, recorder, cell.ranges.of, cell.lines).upper({position: seeds})
    rows = np.zeros((top.size, graph.input_size)) if recorder.rows is None else recorder.rows
    known = np.isfinite(top) & np.isfinite(rows).all(axis=1) & (recorder.rows is not None)
    return np.where(known[:, None], rows, 0.0), np.where(known, top, np.inf)


def _halfspaces(graph: Graph, cell: Cell, cuts: Sequence[NeuronCut]) -> tuple[Array, Array]:
    """(n, b) with side·(z − kink) ≤ n·x + b on the cell, for each cut; those of which nothing is known are left out."""
    n = graph.input_size
    normals, offsets = np.zeros((len(cuts), n)), np.full(len(cuts), np.inf)
    for position in sorted({cut.position for cut in cuts}):
        node = graph.nodes[position]
        assert isinstance(node, Activation)
        own = np.array([k for k, cut in enumerate(cuts) if cut.position == position])
        size = graph.nodes[node.parent].size
        seeds = np.zeros((size, own.size))
        side = np.array([float(cuts[k].side) for k in own])
        seeds[[cuts[k].neuron for k in own], np.arange(own.size)] = side
        normals[own], top = functionals(graph, cell, node.parent, seeds)
        kink = np.array([breaks(node)[0][cuts[k].neuron, cuts[k].kink] for k in own])
        with np.errstate(over="ignore"):
            offsets[own] = np.where(kink == 0.0, top, up(top - side * kink))
    known = np.isfinite(offsets)
    return normals[known], offsets[known]


def nearest_kink(graph: Graph, found: Ranges, neuron: OpenNeuron) -> int:
    """The number of the open kink that is nearest to the middle of a neuron's range."""
    node = graph.nodes[neuron.position]
    assert isinstance(node, Activation)
    kinks = breaks(node)[0][neuron.neuron, neuron.first : neuron.last]
    middle = found[node.parent].take(np.array([neuron.neuron])).middle()[0]
    return neuron.first + int(np.abs(kinks - middle).argmin())


def breaks(node: Activation) -> tuple[Array, Array, Array]:
    """The kinks, the values there and the slopes of a piecewise linear activation, (neurons, …) each."""
    record = node.record
    assert isinstance(record, Pointwise)
    assert record.breaks is not None
    kinks, values, slopes = (
        np.broadcast_to(part, (node.size, part.shape[1])) for part in record.breaks(node.parameters)
    )
    return kinks, values, slopes


def segments(node: Activation, on: Interval) -> tuple[IntArray, IntArray]:
    """The first and the last segment that each range reaches into; of a single point one of the two beside it."""
    kinks = breaks(node)[0]
    first = (kinks <= on.low[:, None]).sum(axis=1)
    last = (kinks < on.high[:, None]).sum(axis=1)
    return np.minimum(first, last), last


def open_neurons(graph: Graph, found: Ranges) -> tuple[OpenNeuron, ...]:
    """The neurons with more than one slope, in the order of the channels that they leave."""
    left: list[OpenNeuron] = []
    for position, node in graph.walk():
        if isinstance(node, Activation):
            first, last = segments(node, found[node.parent])
            slopes = breaks(node)[2]
            for i in np.flatnonzero(first < last).tolist():
                some = slopes[i, first[i] : last[i] + 1]
                if some.min() < some.max():
                    left.append(OpenNeuron(position, i, int(first[i]), int(last[i])))
    return tuple(left)


def with_open(graph: Graph, found: Ranges, left: Sequence[OpenNeuron]) -> Ranges | None:
    """The widest ranges with the same segments where just the given neurons have several; None where others have.

    What comes out depends on the segments alone, not on the last digits of the ranges.
    """
    given = {(some.position, some.neuron): some for some in left}
    of = dict(found.of)
    for position, node in graph.walk():
        if not isinstance(node, Activation):
            continue
        kinks = breaks(node)[0]
        first, last = segments(node, found[node.parent])
        known = first == last
        slopes = breaks(node)[2]
        for i in np.flatnonzero(~known).tolist():
            some = slopes[i, first[i] : last[i] + 1]
            known[i] = some.min() == some.max()
        for i in range(node.size):
            wanted = given.get((position, i))
            if wanted is None:
                if not known[i]:
                    return None
            elif wanted.first <= first[i] and last[i] <= wanted.last <= kinks.shape[1] and wanted.first >= 0:
                first[i], last[i] = wanted.first, wanted.last
            else:
                return None
        ends = np.hstack([np.full((node.size, 1), -np.inf), kinks, np.full((node.size, 1), np.inf)])
        of[node.parent] = Interval(
            np.take_along_axis(ends, first[:, None], 1)[:, 0], np.take_along_axis(ends, last[:, None] + 1, 1)[:, 0]
        )
    return Ranges(of)
