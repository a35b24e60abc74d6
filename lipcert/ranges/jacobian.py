"""The Jacobian entry by entry on a region: linear bounds of its rows, backward through both sweeps.

The row of an output is g(x) = W₁ᵀ(φ′(z₁) ∘ W₂ᵀ(φ′(z₂) ∘ …)). An adjoint G of a layer enters the layer before as u = s ∘ G
with s = φ′(z). Where φ′ is smooth, with middles and radii,

    u = s_m G + G_m s − s_m G_m + δ,   |δ| ≤ s_r G_r,

and s has lines in z, so that what is left at the end is linear in G of the output, which is constant, and in z, which
goes back to the input as any other signal (Shi et al., NeurIPS 2022, arXiv 2210.07394). Else s is any slope of its interval,
and u lies between two lines in G (RecurJac, Zhang et al. 2019, arXiv 1810.11783): all elements of Clarke's Jacobian are
covered. Products of signals are bilinear in both (`lipcert.ranges.planes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.products import Bilinear, matrix_times, turned
from lipcert.activations.record import Pointwise
from lipcert.errors import DoesNotApply
from lipcert.graph.linear_maps import Index
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input
from lipcert.norms import Norm
from lipcert.ranges.hints import NONE, Hints
from lipcert.ranges.linear import Backward
from lipcert.ranges.localise import Swept
from lipcert.ranges.planes import Pullback
from lipcert.regions import free
from lipcert.rounding import TINY, UNIT, Interval, down, gamma, up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lipcert.arrays import Array, BoolArray, IntArray
    from lipcert.ranges.linear import Lines
    from lipcert.ranges.planes import Planes
    from lipcert.regions import Region

_TOGETHER = 2**22
# operations a second, for a guess of the time
_SPEED = 5e9


@dataclass(frozen=True, eq=False)
class JacobianBounds:
    """What is proven of every element of Clarke's Jacobian on a region.

    Attributes
    ----------
    entries
        Intervals, (outputs, inputs).
    sums
        For each output at least Σ_j |J_ij|: less than the sum of the largest entries, which may be attained at different
        points.
    """

    entries: Interval
    sums: Array

    def part(self, outputs: IntArray, inputs: IntArray) -> JacobianBounds:
        """The same of some outputs and inputs."""
        low, high = (end[np.ix_(outputs, inputs)] for end in (self.entries.low, self.entries.high))
        return JacobianBounds(Interval(low, high), self.sums[outputs])

    def norm(self, norm: Norm, output_norm: Norm) -> float:
        """At least ‖J‖ from ℓp to ℓq."""
        if norm is Norm.LINF:
            room = 1.0 + 4.0 * gamma(self.sums.size + 8)
            own = float(_lengths(self.sums[None], output_norm)[0] * room) + TINY
            return min(own, norm_bound(self.entries, norm, output_norm))
        return norm_bound(self.entries, norm, output_norm)


def jacobian(graph: Graph, region: Region, hints: Hints = NONE) -> JacobianBounds:
    """Bounds of the Jacobian, entry by entry, on a region.

    Parameters
    ----------
    graph
        A prepared network without implicit layers.
    region
        Where its input lies; inputs that are fixed there have zero columns.
    hints
        As of `localise`.

    Raises
    ------
    DoesNotApply
        If there is an implicit layer, or a slope is unbounded.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.regions import Box
    >>> graph = nn.sequential(nn.linear([[3.0, -4.0]], [9.0]), nn.relu())
    >>> jacobian(graph, Box(-1.0, 1.0)).entries.low.round(9)
    array([[ 3., -4.]])
    """
    _require_explicit(graph)
    return from_ranges(Swept.of(graph, region, hints))


def from_ranges(swept: Swept) -> JacobianBounds:
    """The same where the ranges are known."""
    scalar, region, found, lines = swept.graph, swept.region, swept.found, swept.lines
    _require_explicit(scalar)
    factors = {p: _Factor.of(node, found[node.parent]) for p, node in scalar.walk() if isinstance(node, Activation)}
    moving = free(region)
    rows = [_Row(scalar, region, found.of, lines, factors, i).bounds(moving) for i in range(scalar.output_size)]
    entries = Interval(np.stack([row.low for row, _ in rows]), np.stack([row.high for row, _ in rows]))
    return JacobianBounds(entries, np.array([total for _, total in rows]))


def _require_explicit(graph: Graph) -> None:
    if any(isinstance(node, FixedPoint) for _, node in graph.walk()):
        raise DoesNotApply(
            "the entries of the Jacobian of an implicit layer are not bounded", advice="use lipcert bound"
        )


def seconds(graph: Graph) -> float:
    """About how long it takes."""
    activations = [node.size for _, node in graph.walk() if isinstance(node, Activation)]
    maps = [a for _, node in graph.walk() if isinstance(node, Affine) for a in node.maps]
    entries = sum(a.shape[0] if isinstance(a, Index) else a.shape[0] * a.shape[1] for a in maps)
    rows = 2 * (sum(activations) + graph.input_size)
    return graph.output_size * (float(rows) * entries * 4.0 / _SPEED + 0.0005 * len(activations) ** 2)


def norm_bound(entries: Interval, norm: Norm, output_norm: Norm) -> float:
    """At least ‖J‖ for every matrix with these entries, from ℓp to ℓq."""
    size = entries.magnitude()
    room = 1.0 + 4.0 * gamma(sum(size.shape) + 8)
    if norm is Norm.L1:
        # the largest column
        return float(_lengths(size.T, output_norm).max(initial=0.0) * room) + TINY
    rows = _lengths(size, Norm.L2 if norm is Norm.L2 else Norm.L1)
    if output_norm is not Norm.L2 or norm is not Norm.L2:
        return float(_lengths(rows[None], output_norm)[0] * room * room) + TINY
    middle, radius = entries.middle(), entries.radius()
    both = (_spectral(size), up(_spectral(np.abs(middle), middle) + _spectral(radius)))
    return float(min(both))


def _lengths(nonnegative: Array, norm: Norm) -> Array:
    """The norms of the rows, but for rounding."""
    if norm is Norm.LINF:
        return np.asarray(nonnegative.max(axis=1, initial=0.0))
    if norm is Norm.L1:
        return np.asarray(nonnegative.sum(axis=1))
    return np.sqrt((nonnegative**2).sum(axis=1) + nonnegative.shape[1] * 2.0**-1000)


def _spectral(size: Array, signed: Array | None = None) -> Array:
    """At least the spectral norm of a matrix, of which `size` are the moduli."""
    n = sum(size.shape)
    room = 1.0 + 4.0 * gamma(n + 8)
    rows, columns = size.sum(axis=1).max(initial=0.0), size.sum(axis=0).max(initial=0.0)
    cheap = np.sqrt(rows) * np.sqrt(columns) * room
    # ‖A‖₂² ≤ ‖AAᵀ‖_∞^(1/k) of a power k of the smaller Gram matrix; |AAᵀ| ≤ |A||A|ᵀ bounds its rounding
    a, b = (size if signed is None else signed, size)
    if a.shape[0] > a.shape[1]:
        a, b = a.T, b.T
    scale = float(b.max(initial=0.0))
    if not 0.0 < scale < np.inf:
        return up(np.asarray(cheap)) + TINY
    power, bound = (a / scale) @ (a / scale).T, (b / scale) @ (b / scale).T
    error = gamma(a.shape[1] + 8) * bound
    exponent = 2
    for _ in range(4):
        # (G + E)² with |E| ≤ error, in the entries
        size_of = np.abs(power) + error
        error = (2.0 * gamma(len(power) + 8)) * (size_of @ size_of) + (np.abs(power) @ error + error @ size_of) * room
        power = power @ power
        exponent *= 2
    top = float((np.abs(power) + error).sum(axis=1).max() * room)
    return np.minimum(up(np.asarray(cheap)), up(up(np.asarray(top ** (1.0 / exponent) * scale * (1.0 + 64.0 * UNIT)))))


@dataclass(frozen=True, eq=False)
class _Factor:
    """The slopes of an activation, and their lines where there are any.

    Of products the ranges of their factors; of smooth blocks those of their derivatives; of another block the norm of its
    Jacobian.
    """

    slopes: Interval | None = None
    lines: tuple[Array, Array, Array, Array] | None = None
    product: tuple[Bilinear, Interval] | None = None
    derivatives: Interval | None = None
    norm: float = 0.0

    @classmethod
    def of(cls, node: Activation, on: Interval) -> _Factor:
        if isinstance(node.record, Bilinear) and on.bounded.all():
            return cls(product=(node.record, on))
        derivatives = node.record.derivatives(node.block, node.parameters, on)
        if derivatives is not None and derivatives.bounded.all():
            return cls(derivatives=derivatives)
        if not isinstance(node.record, Pointwise):
            return cls(norm=node.record.lipschitz(node.block, node.parameters, on))
        slopes = node.record.slopes_on(node.parameters, on)
        slopes = Interval(*(np.broadcast_to(end, node.size) for end in (slopes.low, slopes.high)))
        return cls(slopes, node.record.slope_lines(node.parameters, on))


class _Row:
    """One output: the adjoint of every node, from the output backward."""

    def __init__(
        self,
        graph: Graph,
        region: Region,
        found: Mapping[int, Interval],
        lines: Mapping[int, Lines | Planes],
        factors: Mapping[int, _Factor],
        output: int,
    ) -> None:
        self.graph, self.region, self.found, self.lines, self.factors = graph, region, found, lines, factors
        self.output = output
        self.nodes = dict(graph.walk())
        self.children: dict[int, list[int]] = {position: [] for position in self.nodes}
        for position, node in self.nodes.items():
            for parent in dict.fromkeys(node.parents):
                self.children[parent].append(position)
        self.adjoint: dict[int, Interval] = {}

    def bounds(self, moving: BoolArray) -> tuple[Interval, float]:
        """The row of the Jacobian, and at least the sum of its moduli, over the inputs that can move."""
        with np.errstate(over="ignore", invalid="ignore"):
            for position in sorted(self.nodes, reverse=True):
                node = self.nodes[position]
                self.adjoint[position] = self._interval(position)
                if isinstance(node, Activation | Input) and not self._is_point(position):
                    self.adjoint[position] = self._refined(position)
            inputs = self.graph.inputs[0]
            entries = self.adjoint[inputs]
            entries = Interval(np.where(moving, entries.low, 0.0), np.where(moving, entries.high, 0.0))
            self.adjoint[inputs] = entries
            return entries, self._sum(inputs, entries, moving)

    def _sum(self, inputs: int, entries: Interval, moving: BoolArray) -> float:
        """|J| lies below a line where its sign is open, and is linear where it is not."""
        width = np.where(entries.high > entries.low, entries.high - entries.low, 1.0)
        chord = np.clip((entries.high + entries.low) / width, -1.0, 1.0)
        slope = np.where(entries.low >= 0.0, 1.0, np.where(entries.high <= 0.0, -1.0, chord))
        slope = np.where(moving, slope, 0.0)
        ends = [up(np.abs(end) - down(slope * end)) for end in (entries.low, entries.high)]
        signed = (entries.low >= 0.0) | (entries.high <= 0.0)
        # exact where the slope is ±1
        over = np.where(signed, 0.0, np.maximum(np.maximum(*ends), 0.0))
        top = _Functional(self, 1).upper(inputs, slope[:, None])[0]
        total = up(top + over.sum() * (1.0 + 4.0 * gamma(over.size + 8)))
        plain = entries.magnitude().sum() * (1.0 + 4.0 * gamma(over.size + 8))
        return float(min(total, plain))

    def _is_point(self, position: int) -> bool:
        g = self.adjoint[position]
        return bool((g.high - g.low <= 1e-14 * (1.0 + np.abs(g.high))).all())

    def _interval(self, position: int) -> Interval:
        """From the intervals of the nodes behind."""
        seed = np.zeros(self.nodes[position].size)
        if position == self.graph.output:
            seed[self.output] = 1.0
        total = Interval.point(seed)
        for child in self.children[position]:
            node, g = self.nodes[child], self.adjoint[child]
            match node:
                case Affine():
                    for parent, a in zip(node.parents, node.maps, strict=True):
                        if parent == position:
                            middle = g.middle()
                            k = a.adjoint_terms
                            size = a.magnitude()
                            room = size.adjoint(g.radius() + gamma(k + 2) * np.abs(middle) + TINY)
                            if a.radius is not None:
                                room = room + a.radius.adjoint(g.magnitude() + TINY)
                            room = room * (1.0 + 4.0 * gamma(k + 8)) + TINY
                            exact = a.adjoint(middle)
                            total = total.plus(Interval(down(exact - room), up(exact + room)))
                case Activation():
                    total = total.plus(self._product(child, node, g))
                case _:
                    raise DoesNotApply("an input has no children in front of it")
        return total

    def _product(self, position: int, node: Activation, g: Interval) -> Interval:
        """s ∘ G, or Jᵀ G of blocks."""
        factor = self.factors[position]
        if factor.product is not None:
            record, on = factor.product
            return record.adjoint_range(node.block, node.parameters, on, g)
        if factor.derivatives is not None:
            return _applied(factor.derivatives, g)
        if factor.slopes is None:
            size = g.magnitude().reshape(node.blocks, -1)
            reach = up(
                factor.norm * np.sqrt((size**2).sum(axis=1) + size.shape[1] * 2.0**-1000) * (1.0 + 2.0 * gamma(64))
            )
            reach = np.repeat(reach * (1.0 + 2.0 * gamma(size.shape[1] + 8)), node.block)
            return Interval(-reach, reach)
        s = factor.slopes
        ends = [np.where((a == 0.0) | (b == 0.0), 0.0, a * b) for a in (s.low, s.high) for b in (g.low, g.high)]
        return Interval(down(np.minimum.reduce(ends)), up(np.maximum.reduce(ends)))

    def _refined(self, position: int) -> Interval:
        """The same, narrowed by linear bounds."""
        g = self.adjoint[position]
        low, high = g.low.copy(), g.high.copy()
        widest = max(node.size for node in self.nodes.values())
        step = max(1, _TOGETHER // (2 * widest))
        for start in range(0, g.size, step):
            some = np.arange(start, min(start + step, g.size))
            seeds = np.zeros((g.size, 2 * some.size))
            seeds[some, np.arange(some.size)] = 1.0
            seeds[some, np.arange(some.size, 2 * some.size)] = -1.0
            top = _Functional(self, seeds.shape[1]).upper(position, seeds)
            high[some] = np.minimum(high[some], top[: some.size])
            low[some] = np.maximum(low[some], -top[some.size :])
        return Interval(np.minimum(low, high), np.maximum(low, high))


class _Functional:
    """Upper bounds of linear functionals of an adjoint, carried on towards the output."""

    def __init__(self, row: _Row, columns: int) -> None:
        self.row = row
        self.adjoints: dict[int, Array] = {}
        self.signals: dict[int, Array] = {}
        self.constant, self.lost = np.zeros(columns), np.zeros(columns)

    def upper(self, position: int, seeds: Array) -> Array:
        """At least the supremum of each functional over the region."""
        row = self.row
        self.adjoints = {position: seeds}
        while self.adjoints:
            at = min(self.adjoints)
            columns = self.adjoints.pop(at)
            if at == row.graph.output:
                self._add(columns[row.output], np.zeros_like(self.lost))
            for child in row.children[at]:
                node = row.nodes[child]
                if isinstance(node, Affine):
                    self._affine(at, child, node, columns)
                elif isinstance(node, Activation):
                    self._activation(child, node, columns)
        total = np.zeros_like(self.constant)
        if self.signals:
            total = Backward(row.graph, row.region, row.found, row.lines).upper(self.signals)
        return up(up(total + self.constant) + up(self.lost * (1.0 + 64.0 * UNIT)))

    def _affine(self, at: int, child: int, node: Affine, columns: Array) -> None:
        """c·(Aᵀ G) = (A c)·G."""
        most = self.row.adjoint[child].magnitude()
        size = np.abs(columns).T
        for parent, a in zip(node.parents, node.maps, strict=True):
            if parent == at:
                room = gamma(a.terms + 2) * a.magnitude().adjoint(most) + TINY
                if a.radius is not None:
                    room = room + a.radius.adjoint(most)
                self._lose(size @ (room * (1.0 + 4.0 * gamma(a.adjoint_terms + at + 8))) * (1.0 + gamma(len(room) + 8)))
                self._give(self.adjoints, child, a @ columns, most)

    def _activation(self, child: int, node: Activation, columns: Array) -> None:
        row = self.row
        factor, g = row.factors[child], row.adjoint[child]
        if factor.product is not None and g.bounded.all():
            self._through_products(child, node, factor.product[1], columns)
        elif factor.derivatives is not None and g.bounded.all():
            self._through_derivatives(child, factor.derivatives, columns)
        elif factor.slopes is None:
            u = row._product(child, node, g)
            self._anywhere(columns, u)
        elif factor.lines is None or not (factor.slopes.high > factor.slopes.low).any():
            self._between_lines(child, factor.slopes, g, columns)
        else:
            self._through_slopes(child, node, factor, columns)

    def _anywhere(self, columns: Array, u: Interval) -> None:
        size = np.abs(columns).T
        middle = u.middle()
        self._add(columns.T @ middle, size @ ((u.radius() + gamma(middle.size + 4) * np.abs(middle)) * _room(middle)))

    def _between_lines(self, child: int, s: Interval, g: Interval, columns: Array) -> None:
        """c·u ≤ (c⁺ above + c⁻ below)·G + c⁺ over + c⁻ under for max(s_l G, s_u G) and min(s_l G, s_u G)."""
        width = np.where(g.high > g.low, g.high - g.low, 1.0)
        above = np.where(
            g.low >= 0.0, s.high, np.where(g.high <= 0.0, s.low, (s.high * g.high - s.low * g.low) / width)
        )
        below = np.where(
            g.low >= 0.0, s.low, np.where(g.high <= 0.0, s.high, (s.low * g.high - s.high * g.low) / width)
        )
        over, under = np.full(g.size, -np.inf), np.full(g.size, np.inf)
        # extremal at the ends and, for G of both signs, at zero
        for at in (g.low, g.high, np.clip(0.0, g.low, g.high)):
            products = [s.low * at, s.high * at]
            over = np.maximum(over, up(up(np.maximum(*products)) - down(above * at)))
            under = np.minimum(under, down(down(np.minimum(*products)) - up(below * at)))
        positive, negative = np.maximum(columns, 0.0), np.minimum(columns, 0.0)
        size = np.abs(columns).T
        room = gamma(g.size + 4) * np.maximum(np.abs(over), np.abs(under))
        self._add(positive.T @ over + negative.T @ under, 2.0 * (size @ (room * _room(room))))
        slope = np.maximum(np.abs(above), np.abs(below))
        self._lose(size @ (2.0 * UNIT * slope * g.magnitude() + TINY))
        self._give(self.adjoints, child, positive * above[:, None] + negative * below[:, None], g.magnitude())

    def _through_slopes(self, child: int, node: Activation, factor: _Factor, columns: Array) -> None:
        """c·u = (c s_m)·G + (c G_m)·s − c·(s_m G_m) + c·δ, and s between its lines in z."""
        row = self.row
        s, g = factor.slopes, row.adjoint[child]
        assert s is not None
        assert factor.lines is not None
        s_m, g_m = s.middle(), g.middle()
        size = np.abs(columns).T
        product = s_m * g_m
        room = up(up(s.radius() * g.radius()) + 4.0 * UNIT * np.abs(product))
        room = (room + gamma(g.size + 4) * np.abs(product)) * _room(room)
        self._add(-(columns.T @ product), size @ room)
        self._lose(size @ (2.0 * UNIT * (np.abs(s_m) * g.magnitude() + np.abs(g_m) * s.magnitude()) + TINY))
        self._give(self.adjoints, child, columns * s_m[:, None], g.magnitude())
        weight = columns * g_m[:, None]
        below, under, above, over = factor.lines
        positive, negative = np.maximum(weight, 0.0), np.minimum(weight, 0.0)
        size = np.abs(weight).T
        ends = np.maximum(np.abs(over), np.abs(under))
        self._add(positive.T @ over + negative.T @ under, 2.0 * gamma(g.size + 4) * (size @ (ends * _room(ends))))
        most = row.found[node.parent].magnitude()
        self._lose(size @ (2.0 * UNIT * np.maximum(np.abs(above), np.abs(below)) * most + TINY))
        self._give(self.signals, node.parent, positive * above[:, None] + negative * below[:, None], most)

    def _through_products(self, child: int, node: Activation, on: Interval, columns: Array) -> None:
        g = self.row.adjoint[child]
        pulled = Pullback.of(node, on, g)
        size = np.abs(columns).T
        # the sum over c is off by its own rounding
        room = gamma(columns.shape[0] + 4) * np.abs(pulled.constant)
        self._add(-(columns.T @ pulled.constant), size @ ((pulled.lost + room) * _room(room)))
        self._give(self.adjoints, child, pulled.adjoint(columns), g.magnitude())
        self._give(self.signals, node.parent, pulled.signal(columns), on.magnitude())

    def _through_derivatives(self, child: int, J: Interval, columns: Array) -> None:
        """c·JᵀG = (J_m c)·G + c·δ, |δ| ≤ J_rᵀ|G|."""
        blocks, outputs, block = J.low.shape
        most = self.row.adjoint[child].magnitude()
        middle, radius = J.middle(), J.radius()
        room = gamma(block + 4) * np.abs(middle)
        lost = ((radius + room).swapaxes(1, 2) @ most.reshape(blocks, outputs, 1)).ravel() * (
            1.0 + 4.0 * gamma(outputs + 8)
        )
        size = np.abs(columns).T
        self._lose(size @ (lost * _room(lost)) + TINY)
        self._give(self.adjoints, child, (middle @ columns.reshape(blocks, block, -1)).reshape(most.size, -1), most)

    def _give(self, held: dict[int, Array], position: int, columns: Array, most: Array) -> None:
        other = held.get(position)
        if other is not None:
            columns = other + columns
            self._lose(np.abs(columns).T @ (2.0 * UNIT * most + TINY))
        held[position] = columns

    def _add(self, part: Array, error: Array) -> None:
        self.constant = self.constant + part
        self._lose(error + 2.0 * UNIT * (np.abs(self.constant) + np.abs(part)) + TINY)

    def _lose(self, error: Array) -> None:
        self.lost = (self.lost + error) * (1.0 + 4.0 * UNIT)


def _applied(J: Interval, g: Interval) -> Interval:
    """The range of JᵀG, block by block."""
    blocks, outputs, _ = J.low.shape
    found = matrix_times(turned(J), Interval(*(end.reshape(blocks, outputs, 1) for end in (g.low, g.high))))
    return Interval(found.low.ravel(), found.high.ravel())


def _room(x: Array) -> float:
    """Covers the rounding of a sum of so many nonnegative terms."""
    return 1.0 + 4.0 * gamma(x.size + 8)
