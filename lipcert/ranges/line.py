"""One input that can move: the slopes of a piecewise linear network between all of its breakpoints, proven.

Breakpoints are found in floating point, layer by layer. They cut the line into short pieces around them and the pieces
between; on each piece values at its middle and slopes are enclosed, and with them on which side of its kinks every neuron
lies. Where that is open, as around a breakpoint, both slopes are followed: the slope of the output is affine in each of
them, so that what lies between is no steeper.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.record import Pointwise
from lipcert.errors import DoesNotApply
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Activation, Affine, Graph, Input
from lipcert.norms import Norm
from lipcert.ranges.cells import breaks
from lipcert.regions import free
from lipcert.rounding import FLOOR, TINY, UNIT, down, gamma, up

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.graph.linear_maps import LinearMap
    from lipcert.regions import Region

_MARGIN, _SHORT = 0.05, 2.0**-30
"""How far a short piece reaches: at most a part of the way to the next breakpoint, and of its size."""
_TOGETHER = 1e-12
"""Breakpoints so close, relative to their size, share a piece."""
# where the first look is taken: zero is the kink of every network without biases
_ANYWHERE = np.full(1, 0.0123)
_SAME = 1.0 - 1e-9
"""Lengths that are one but for rounding."""
_CHOICES = 256
"""Slopes of a piece that are followed apart; further ones are kept as intervals."""
MOST = 2**24
"""Numbers in the slopes of a layer, above which the network has too many breakpoints."""


@dataclass(frozen=True, eq=False)
class Steepest:
    """The largest norm of the derivative along the line, rounded up, and about where it is."""

    value: float
    point: Array


def moving_input(graph: Graph, region: Region | None) -> int | None:
    """The only input that can move, or None where there are more or none of them."""
    if region is None:
        return 0 if graph.input_size == 1 else None
    (moving,) = np.nonzero(np.broadcast_to(free(region), graph.input_size))
    return int(moving[0]) if moving.size == 1 else None


def steepest(graph: Graph, region: Region | None, norm: Norm) -> Steepest:
    """The steepest slope of a piecewise linear network with one input that can move.

    Parameters
    ----------
    graph
        A prepared network with its moduli written out.
    region
        Where its input lies; None for the whole line.
    norm
        That of the output.

    Raises
    ------
    DoesNotApply
        If more inputs can move, the network is not piecewise linear, or there are too many breakpoints.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph = nn.sequential(nn.linear([[3.0], [-2.0]], [1.0, 1.0]), nn.relu(), nn.linear([[1.0, -1.0]]))
    >>> round(steepest(graph, None, Norm.L2).value, 9)
    5.0
    """
    coordinate = moving_input(graph, region)
    if coordinate is None:
        raise DoesNotApply("more than one input can move")
    for _, node in graph.walk():
        if isinstance(node, Activation):
            if not isinstance(node.record, Pointwise) or node.record.breaks is None:
                raise DoesNotApply(f"{node.record.name} is not piecewise linear in single numbers")
        elif not isinstance(node, Input | Affine):
            raise DoesNotApply("a layer is implicit")
    base, low, high = np.zeros(graph.input_size), -np.inf, np.inf
    if region is not None:
        around = region.interval()
        base, low, high = around.low.copy(), float(around.low[coordinate]), float(around.high[coordinate])
    found = _breakpoints(graph, base, coordinate, low, high)
    ends = _ends(found, low, high)
    sweep = _Sweep(graph, base, coordinate, ends)
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = sweep.run()
    k = graph.output_size
    lengths = {
        Norm.L1: lambda: sizes.sum(axis=0),
        Norm.LINF: lambda: sizes.max(axis=0, initial=0.0),
        Norm.L2: lambda: np.sqrt((sizes**2).sum(axis=0) + k * 2.0**-1000),
    }[norm]() * (1.0 + 4.0 * gamma(k + 8))
    lengths = np.where(np.isnan(lengths), np.inf, lengths)
    # on a short piece the slope of its middle may be another one
    width = (sweep.left + sweep.right)[sweep.owner]
    at = int(np.where(lengths >= lengths.max() * _SAME, width, -1.0).argmax())
    point = base.copy()
    point[coordinate] = sweep.centre[sweep.owner[at]]
    return Steepest(float(lengths.max()) + TINY, point)


def _points(base: Array, coordinate: int, t: Array) -> Array:
    points = np.repeat(base[:, None], t.size, axis=1)
    points[coordinate] = t
    return points


def _breakpoints(graph: Graph, base: Array, coordinate: int, low: float, high: float) -> Array:
    """About where neurons cross their kinks, ascending: nothing rests on it but that the bound is sharp."""
    found = np.zeros(0)
    ends = np.array([end for end in (low, high) if np.isfinite(end)])
    for _, node in graph.walk():
        if not isinstance(node, Activation):
            continue
        kinks = breaks(node)[0]
        if not kinks.size:
            continue
        inner = np.unique(np.concatenate([found, ends, _ANYWHERE if not (found.size or ends.size) else found]))
        reach = max(1.0, float(np.abs(inner).max()))
        t = np.concatenate([[inner[0] - reach], inner, [inner[-1] + reach]])
        z = forward(replace(graph, output=node.parent), _points(base, coordinate, t))
        with np.errstate(all="ignore"):
            slope = np.diff(z, axis=1) / np.diff(t)
            fresh = []
            for j in range(kinks.shape[1]):
                # on the outer pieces the lines go on
                where = t[:-1] + (kinks[:, j : j + 1] - z[:, :-1]) / slope
                left = np.concatenate([[-np.inf], t[1:-1]])
                right = np.concatenate([t[1:-1], [np.inf]])
                good = np.isfinite(where) & (where > left) & (where < right) & (where > low) & (where < high)
                fresh.append(where[good])
        found = np.unique(np.concatenate([found, *fresh]))
        if found.size * max(n.size for _, n in graph.walk()) > MOST:
            raise DoesNotApply(f"there are {found.size} breakpoints")
    return found


def _ends(found: Array, low: float, high: float) -> Array:
    """The ends of the pieces: a short one around each breakpoint, or around those that are one, and those between."""
    inside = found[(found > low) & (found < high)]
    if not inside.size:
        return np.array([low, high])
    apart = np.flatnonzero(np.diff(inside) > _TOGETHER * np.maximum(np.abs(inside[1:]), np.abs(inside[:-1])))
    first, last = inside[np.concatenate([[0], apart + 1])], inside[np.concatenate([apart, [inside.size - 1]])]
    gaps = first[1:] - last[:-1]
    before, behind = np.concatenate([[first[0] - low], gaps]), np.concatenate([gaps, [high - last[-1]]])
    short = _SHORT * np.maximum(1.0, np.maximum(np.abs(first), np.abs(last)))
    ends = np.stack(
        [first - np.minimum(_MARGIN * before, short), last + np.minimum(_MARGIN * behind, short)], axis=1
    ).ravel()
    return np.concatenate([[low], np.clip(ends, low, high), [high]])


class _Sweep:
    """Values at the middles of all pieces, and slopes on them, layer by layer.

    Slopes have a column for each choice of open slopes of a piece; `owner` says which piece a column is of.
    """

    def __init__(self, graph: Graph, base: Array, coordinate: int, ends: Array) -> None:
        self.graph, self.base, self.coordinate = graph, base, coordinate
        left, right = ends[:-1], ends[1:]
        finite = np.isfinite(left) & np.isfinite(right)
        with np.errstate(invalid="ignore"):
            middle = 0.5 * left + 0.5 * right
        only = np.where(np.isfinite(left), left, np.where(np.isfinite(right), right, 0.0))
        self.centre = np.where(finite, np.clip(middle, left, right), only)
        # how far a piece reaches from its centre
        self.left = np.where(self.centre == left, 0.0, up(self.centre - left))
        self.right = np.where(self.centre == right, 0.0, up(right - self.centre))
        self.owner: IntArray = np.arange(self.centre.size)
        self.values: dict[int, tuple[Array, Array]] = {}
        self.slopes: dict[int, tuple[Array, Array]] = {}

    def run(self) -> Array:
        """At least the modulus of each slope of the output, a column a choice."""
        for position, node in self.graph.walk():
            match node:
                case Input():
                    points = _points(self.base, self.coordinate, self.centre)
                    direction = np.zeros_like(points)
                    direction[self.coordinate] = 1.0
                    zero = np.zeros_like(points)
                    self.values[position], self.slopes[position] = (points, zero), (direction, zero)
                case Affine():
                    bias = None if node.bias is None else node.bias[:, None]
                    self.values[position] = _affine(node, [self.values[p] for p in node.parents], bias)
                    self.slopes[position] = _affine(node, [self.slopes[p] for p in node.parents], None)
                case Activation():
                    self._activation(position, node)
                case _:
                    raise DoesNotApply("a layer is implicit")
        middle, radius = self.slopes[self.graph.output]
        return up(np.abs(middle) + radius)

    def _activation(self, position: int, node: Activation) -> None:
        kinks, _, steps = breaks(node)
        middle, radius = self.values[node.parent]
        first, last = self._segments(node, kinks)
        self.values[position] = _value(node, middle, radius)
        steepness = np.stack(
            [steps[np.arange(node.size)[:, None], np.minimum(first + j, last)] for j in range(steps.shape[1])]
        )
        least, most = steepness.min(axis=0), steepness.max(axis=0)
        open_ = least < most
        choice = self._chosen(node.parent, open_)
        own = self.owner
        low, high = least[:, own], most[:, own]
        chosen = np.where(choice > 0, high, low)
        free_ = open_[:, own] & (choice < 0)
        s, t = self.slopes[node.parent]
        centre = np.where(free_, 0.5 * low + 0.5 * high, chosen)
        spread = np.where(free_, up(0.5 * up(high - low)) + 2.0 * UNIT * np.maximum(np.abs(low), np.abs(high)), 0.0)
        product = centre * s
        size = np.abs(centre) + spread
        room = size * t + spread * np.abs(s) + 2.0 * UNIT * np.abs(product)
        # an exact zero stays one
        known = (s == 0.0) & (t == 0.0) | (centre == 0.0) & (spread == 0.0)
        self.slopes[position] = np.where(known, 0.0, product), np.where(known, 0.0, up(room * (1.0 + 8.0 * UNIT)))

    def _segments(self, node: Activation, kinks: Array) -> tuple[IntArray, IntArray]:
        """The first and the last segment that a neuron can be on, on each piece."""
        middle, radius = self.values[node.parent]
        s, t = self.slopes[node.parent]
        starts = np.flatnonzero(np.diff(self.owner, prepend=-1))
        least = np.minimum.reduceat(down(s - t), starts, axis=1)
        most = np.maximum.reduceat(up(s + t), starts, axis=1)
        still = (s == 0.0) & (t == 0.0)
        still = np.logical_and.reduceat(still, starts, axis=1)
        down_, up_ = np.zeros_like(middle), np.zeros_like(middle)
        for reach, sign in ((self.left, -1.0), (self.right, 1.0)):
            for slope in (least, most):
                moved = np.where(still | (reach == 0.0) | (slope == 0.0), 0.0, sign * reach * slope)
                down_, up_ = np.minimum(down_, down(moved)), np.maximum(up_, up(moved))
        down_, up_ = np.where(still, 0.0, down_), np.where(still, 0.0, up_)
        low, high = down(down(middle - radius) + down_), up(up(middle + radius) + up_)
        first, last = np.zeros(low.shape, dtype=np.int64), np.zeros(low.shape, dtype=np.int64)
        for j in range(kinks.shape[1]):
            first += kinks[:, j : j + 1] <= low
            last += kinks[:, j : j + 1] < high
        return np.minimum(first, last), last

    def _chosen(self, parent: int, open_: np.ndarray) -> IntArray:
        """(numbers, columns) 1 for the largest slope, 0 for the least one, −1 for all between; columns are copied for it."""
        s, t = self.slopes[parent]
        lively = np.logical_or.reduceat(
            (s != 0.0) | (t != 0.0), np.flatnonzero(np.diff(self.owner, prepend=-1)), axis=1
        )
        wanted = open_ & lively
        choices: list[IntArray] = []
        copies: list[IntArray] = []
        for piece, columns in enumerate(np.split(np.arange(self.owner.size), np.flatnonzero(np.diff(self.owner)) + 1)):
            neurons = np.flatnonzero(wanted[:, piece])
            count = min(neurons.size, int(np.log2(max(1, _CHOICES // columns.size))))
            ways = np.full((open_.shape[0], 2**count), -1, dtype=np.int64)
            ways[neurons[:count]] = (np.arange(2**count) >> np.arange(count)[:, None]) & 1
            copies.append(np.tile(columns, 2**count))
            choices.append(np.repeat(ways, columns.size, axis=1))
        order = np.concatenate(copies)
        if order.size * max(node.size for _, node in self.graph.walk()) > MOST:
            raise DoesNotApply("too many slopes are open around breakpoints")
        if order.size > self.owner.size:
            self.slopes = {k: (a[:, order], b[:, order]) for k, (a, b) in self.slopes.items()}
            self.owner = self.owner[order]
        return np.hstack(choices)


def _affine(node: Affine, parents: list[tuple[Array, Array]], bias: Array | None) -> tuple[Array, Array]:
    """Σ A_k x_k + b of enclosures; what is exactly zero stays so."""
    total, room = None, None
    for a, (x, r) in zip(node.maps, parents, strict=True):
        part, error = a @ x, _room(a, x, r)
        if total is None or room is None:
            total, room = part, error
        else:
            both = total + part
            room = up(room + error) * (1.0 + 4.0 * UNIT) + 2.0 * UNIT * np.abs(both)
            total = both
    assert total is not None
    assert room is not None
    if bias is not None:
        total = total + bias
        room = room + 2.0 * UNIT * np.abs(total) * (1.0 + 4.0 * UNIT)
    return total, room


def _room(a: LinearMap, x: Array, radius: Array) -> Array:
    """|A x − fl(A x̂)| ≤ |A|(γ|x̂| + r) + rad A (|x̂| + r), and underflow where something is not zero."""
    k = a.terms
    size = np.abs(x) + radius
    spread = radius + gamma(k + 1) * np.abs(x) + np.where(size > 0.0, FLOOR, 0.0)
    room = a.magnitude() @ spread
    if a.radius is not None:
        room = room + a.radius @ (size * (1.0 + 4.0 * UNIT) + FLOOR)
    return room * (1.0 + 4.0 * gamma(k + 8)) + np.where(room > 0.0, TINY, 0.0)


def _value(node: Activation, z: Array, radius: Array) -> tuple[Array, Array]:
    """φ at the enclosures: v + s (z − k) from a kink k next to z, and |φ′| times the radius."""
    kinks, values, steps = breaks(node)
    n = node.size
    segment = np.zeros(z.shape, dtype=np.int64)
    for j in range(kinks.shape[1]):
        segment += kinks[:, j : j + 1] <= z
    rows = np.arange(n)[:, None]
    at = np.clip(segment - 1, 0, max(0, kinks.shape[1] - 1))
    other = np.clip(segment, 0, max(0, kinks.shape[1] - 1))
    if kinks.shape[1]:
        at = np.where(np.isfinite(kinks[rows, at]), at, other)
        k, v = kinks[rows, at], values[rows, at]
        k, v = np.where(np.isfinite(k), k, 0.0), np.where(np.isfinite(k), v, 0.0)
    else:
        k = v = np.zeros_like(z)
    s = steps[rows, segment]
    distance = z - k
    found = v + s * distance
    most = np.abs(steps).max(axis=1, initial=0.0)[:, None]
    rounded = 4.0 * UNIT * (np.abs(s * distance) + np.abs(v))
    room = up(up(most * radius) + rounded * (1.0 + 8.0 * UNIT))
    exact = (radius == 0.0) & (rounded == 0.0)
    return found, np.where(exact, 0.0, room + TINY)
