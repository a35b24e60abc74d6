"""Linear bounds backward: the second source of ranges (CROWN, Zhang et al., NeurIPS 2018, arXiv 1811.00866).

A row a·z of a layer is carried back to the input with every activation on the way replaced by a line above or below it, by
the sign of its coefficient. What is left, a·x + b, is extremal over the region in closed form. Any slopes are sound.

Rounding: a·z ≤ Σ_k c_k·z_k + b holds for the coefficients c_k as they are stored. A step that computes them with an error
of at most E costs E·max |z_k| of the signal that they meet, and those are known from the ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lipcert.activations.record import Pointwise
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input
from lipcert.ranges.planes import Planes
from lipcert.rounding import TINY, UNIT, Interval, gamma, up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lipcert.arrays import Array, IntArray

Slopes = tuple["Array", "Array"]
"""The slopes of the lines below and above, one a neuron."""

# numbers in the coefficients of the rows that are carried back together
_TOGETHER = 2**23
_BISECTIONS = 48
_POINTS = 33


class Supported(Protocol):
    """A set of inputs, as far as linear bounds ask for it."""

    def support(self, a: Array) -> Array:
        """For each row of a at least sup a·x over the set; a is exact."""


@dataclass(frozen=True, eq=False)
class Lines:
    """below·z + under ≤ φ(z) ≤ above·z + over, neuron by neuron."""

    below: Array
    under: Array
    above: Array
    over: Array

    @classmethod
    def of(cls, node: Activation, on: Interval, slopes: Slopes | None = None) -> Lines:
        """Lines of an activation on a range, with the given slopes or those that are best in the middle."""
        record = node.record
        assert isinstance(record, Pointwise)
        below, above = envelope(node, on) if slopes is None else slopes
        under, over = record.lines(node.parameters, on, below, above)
        return cls(below, under, above, over)


def envelope(node: Activation, on: Interval) -> Slopes:
    """The slopes of the lines that are highest below and lowest above in the middle of a range, about.

    g(s) = max_z φ(z) − s(z − m) is convex in s, with the derivative m − z at its maximiser z.
    """
    record = node.record
    assert isinstance(record, Pointwise)
    middle, far = on.middle(), 2.0**20
    low, high = np.clip(on.low, middle - far, middle), np.clip(on.high, middle, middle + far)
    if record.breaks is None:
        z = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, _POINTS)
    else:
        kinks = np.broadcast_to(
            record.breaks(node.parameters)[0], (on.size, record.breaks(node.parameters)[0].shape[1])
        )
        z = np.hstack([low[:, None], np.clip(kinks, low[:, None], high[:, None]), high[:, None]])
    parameters = {key: p.reshape(-1, 1) for key, p in node.parameters.items()}
    with np.errstate(all="ignore"):
        w = np.nan_to_num(record.function(z, parameters))
    ends = record.slopes_on(node.parameters, on)
    found = []
    for sign in (-1.0, 1.0):
        least, most = ends.low.copy(), ends.high.copy()
        for _ in range(_BISECTIONS):
            slope = 0.5 * (least + most)
            at = (sign * (w - slope[:, None] * z)).argmax(axis=1)
            grows = sign * (np.take_along_axis(z, at[:, None], 1)[:, 0] - middle) > 0.0
            least, most = np.where(grows, slope, least), np.where(grows, most, slope)
        found.append(0.5 * (least + most))
    return found[0], found[1]


def refine(
    graph: Graph,
    region: Supported,
    target: int,
    rows: IntArray,
    found: Mapping[int, Interval],
    lines: Mapping[int, Lines | Planes],
) -> Interval:
    """The range of a node, narrowed for some of its numbers.

    Parameters
    ----------
    graph
        The network, with one input.
    region
        Where it lies.
    target
        The position of the node.
    rows
        Which of its numbers.
    found, lines
        The ranges of the nodes before, and the lines and planes of the activations among them.
    """
    interval = found[target]
    low, high = interval.low.copy(), interval.high.copy()
    widest = max(graph.nodes[p].size for p, _ in graph.walk() if p <= target)
    step = max(1, _TOGETHER // (2 * widest))
    for start in range(0, rows.size, step):
        some = rows[start : start + step]
        seeds = np.zeros((interval.size, 2 * some.size))
        seeds[some, np.arange(some.size)] = 1.0
        seeds[some, np.arange(some.size, 2 * some.size)] = -1.0
        top = Backward(graph, region, found, lines).upper({target: seeds})
        high[some] = np.minimum(high[some], top[: some.size])
        low[some] = np.maximum(low[some], -top[some.size :])
    return Interval(np.minimum(low, high), np.maximum(low, high))


class Backward:
    """Upper bounds of linear functionals of nodes, given as columns."""

    def __init__(
        self, graph: Graph, region: Supported, found: Mapping[int, Interval], lines: Mapping[int, Lines | Planes]
    ) -> None:
        self.graph, self.region, self.found, self.lines = graph, region, found, lines
        self.coefficients: dict[int, Array] = {}
        self.constant = np.zeros(0)
        self.lost = np.zeros(0)

    def upper(self, seeds: Mapping[int, Array]) -> Array:
        """At least the supremum of each functional Σ_k c_k·z_k."""
        self.coefficients = dict(seeds)
        columns = next(iter(seeds.values())).shape[1]
        self.constant, self.lost = np.zeros(columns), np.zeros(columns)
        total = np.zeros(columns)
        # what overflows says nothing
        with np.errstate(over="ignore", invalid="ignore"):
            while self.coefficients:
                position = max(self.coefficients)
                columns = self.coefficients.pop(position)
                match self.graph.nodes[position]:
                    case Input():
                        total = self.region.support(np.ascontiguousarray(columns.T))
                    case Affine() as node:
                        self._affine(node, columns)
                    case Activation() as node:
                        self._activation(position, node, columns)
                    case FixedPoint():
                        self._image(position, columns)
            return up(up(total + self.constant) + up(self.lost * (1.0 + 64.0 * UNIT)))

    def _affine(self, node: Affine, columns: Array) -> None:
        """c·(Σ A_k x_k + b) = Σ (A_kᵀ c)·x_k + c·b."""
        size = np.abs(columns).T
        if node.bias is not None:
            self._add(columns.T @ node.bias, gamma(node.size + 2) * (size @ np.abs(node.bias)))
        for parent, a in zip(node.parents, node.maps, strict=True):
            most = self.found[parent].magnitude()
            room = gamma(a.adjoint_terms + 2) * (a.magnitude() @ most) + TINY
            if a.radius is not None:
                room = room + a.radius @ most
            # sums of nonnegative terms, each off by their own rounding
            self._lose(size @ (room * (1.0 + 4.0 * gamma(a.terms + node.size + 8))))
            self._give(parent, a.adjoint(columns))

    def _activation(self, position: int, node: Activation, columns: Array) -> None:
        match self.lines.get(position):
            case None:
                self._image(position, columns)
            case Planes() as planes:
                self._blocks(node, planes, columns)
            case Lines() as lines:
                self._scalars(node, lines, columns)

    def _scalars(self, node: Activation, lines: Lines, columns: Array) -> None:
        """c·φ(z) ≤ (c⁺ above + c⁻ below)·z + c⁺ over + c⁻ under."""
        size = np.abs(columns).T
        above, below = np.maximum(columns, 0.0), np.minimum(columns, 0.0)
        self._weighted(above, lines.over)
        self._weighted(below, lines.under)
        slope = np.maximum(np.abs(lines.above), np.abs(lines.below))
        # one product an entry
        self._lose(size @ (2.0 * UNIT * slope * self.found[node.parent].magnitude() + TINY))
        above *= lines.above[:, None]
        below *= lines.below[:, None]
        above += below
        self._give(node.parent, above)

    def _blocks(self, node: Activation, planes: Planes, columns: Array) -> None:
        """c·w ≤ (J(m)ᵀc)·z + c⁺ over + c⁻ under."""
        self._weighted(np.maximum(columns, 0.0), planes.over)
        self._weighted(np.minimum(columns, 0.0), planes.under)
        self._lose((np.abs(columns).T @ planes.lost) * (1.0 + 2.0 * gamma(planes.lost.size + 8)))
        self._give(node.parent, planes.slope(columns))

    def _image(self, position: int, columns: Array) -> None:
        """What has no lines is anywhere in its range."""
        self._weighted(np.maximum(columns, 0.0), self.found[position].high)
        self._weighted(np.minimum(columns, 0.0), self.found[position].low)

    def _weighted(self, columns: Array, ends: Array) -> None:
        """Add c·ends, where 0 · ∞ is 0 and c⁺∞ or c⁻(−∞) is ∞."""
        finite = np.isfinite(ends)
        kept = np.where(finite, ends, 0.0)
        size = np.abs(columns).T
        self._add(columns.T @ kept, gamma(kept.size + 2) * (size @ np.abs(kept)) * (1.0 + 2.0 * gamma(kept.size + 8)))
        if not finite.all():
            self._lose(np.where((columns[~finite] != 0.0).any(axis=0), np.inf, 0.0))

    def _give(self, parent: int, columns: Array) -> None:
        other = self.coefficients.get(parent)
        if other is not None:
            columns = other + columns
            self._lose(np.abs(columns).T @ (2.0 * UNIT * self.found[parent].magnitude() + TINY))
        self.coefficients[parent] = columns

    def _add(self, part: Array, error: Array) -> None:
        self.constant = self.constant + part
        self._lose(error + 2.0 * UNIT * (np.abs(self.constant) + np.abs(part)) + TINY)

    def _lose(self, error: Array) -> None:
        # each sum is rounded up
        self.lost = (self.lost + error) * (1.0 + 4.0 * UNIT)
