"""Switches: [t > 0]·d is u·relu(t) where d = u·t, for then both sides agree where the switch turns.

The sides are compared on that surface, coefficient against coefficient and bias against bias. What is left may be the
rounding of the constants in the file: no more than two units in the last place of each. That much is taken as zero and
listed, any other difference is a jump.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lipcert import budget
from lipcert.errors import UnsupportedModel
from lipcert.graph.nodes import Affine, Graph, Input, moved
from lipcert.graph.recognition import recognise
from lipcert.graph.rewrite import rewrite
from lipcert.importer.composition import composed
from lipcert.importer.elementwise import Elementwise, Site, Unproven
from lipcert.importer.exact import Rounded, same_product
from lipcert.importer.lanes import Lanes, Sizes, Term, alike, shortened
from lipcert.importer.ranged import KINDS, ranged

_CONTINUOUS = (
    "lipcert needs a slope bound on all numbers; replace it by a continuous function of bounded slope, or bound the part "
    "before it with --to"
)


def settle(engine: Elementwise, graph: Graph) -> Graph:
    """The graph with its switches turned into ReLUs, without nodes that its output does not need.

    Raises
    ------
    UnsupportedModel
        Where an operation without a bounded slope is left.
    """
    builder = engine.builder
    if not any(isinstance(node, Unproven) for _, node in _walk(graph)):
        return recognise(_pruned(shortened(graph)))
    switches = _Switches(engine)
    place: dict[int, int] = {}
    open_: set[int] = set()
    for position, node in list(graph.walk()):
        budget.check()
        if isinstance(node, Input):
            place[position] = position
            continue
        parents = [place[p] for p in node.parents]
        here = builder.add(moved(node, parents)) if parents != list(node.parents) else position
        gate = engine.unproven_at(here, "gate") is not None
        if gate or (isinstance(node, Affine) and not open_.isdisjoint(parents)):
            closed = switches.closed(here)
            if closed is None:
                open_.add(here)
            here = here if closed is None else closed
        place[position] = here
    settled = replace(graph, nodes=tuple(builder.nodes), output=place[graph.output])
    left = [(p, node) for p, node in _walk(settled) if isinstance(node, Unproven) and node.kind not in KINDS]
    # of what is left, a switch that was compared says most
    for position, found in sorted(left, key=lambda item: item[0] not in switches.jumps)[:1]:
        reason = switches.jumps.get(position, found.reason)
        raise UnsupportedModel(reason, where=found.name or graph.source, advice=_CONTINUOUS)
    return recognise(_pruned(shortened(composed(ranged(settled)))))


def _walk(graph: Graph) -> list[tuple[int, object]]:
    return [(position, node) for position, node in graph.walk()]


@dataclass(frozen=True)
class _Jump:
    """How far the two sides are apart on the surface: at most `level` + `slope`·max |numbers that it switches|."""

    level: float
    slope: float

    def __str__(self) -> str:
        per = f"{self.slope:.1e} times the largest number that it switches"
        if not self.slope:
            return f"{self.level:.1e}"
        return f"{self.level:.1e} plus {per}" if self.level else per


@dataclass(frozen=True, eq=False)
class _Group:
    """Gates on one surface: the first of them, t, the sum of their d, and the sizes of what d is a difference of."""

    term: Term
    t: Lanes
    d: Lanes
    sides: Sizes

    def with_(self, d: Lanes, sides: Sizes) -> _Group:
        """Another gate on the same surface."""
        return replace(self, d=self.d + d, sides=self.sides.larger(sides))


class _Switches:
    """Closes switches in an engine's builder.

    Attributes
    ----------
    jumps
        For a switch that jumps, why.
    """

    def __init__(self, engine: Elementwise) -> None:
        self.engine = engine
        self.builder = engine.builder
        self.jumps: dict[int, str] = {}
        self.amounts: list[_Jump] = []

    def closed(self, position: int) -> int | None:
        """The node with its switches as ReLUs; None where they do not close."""
        engine = self.engine
        lanes = engine.resolve(position)
        gates = [t for t in lanes.terms if engine.unproven_at(t.node, "gate")]
        if not gates:
            return None
        others = replace(lanes, terms=tuple(t for t in lanes.terms if not engine.unproven_at(t.node, "gate")))
        groups: list[_Group] = []
        for term in gates:
            gate = engine.unproven_at(term.node, "gate")
            assert gate is not None
            resolve = engine.resolver(gate.dtype)
            t = resolve(gate.parents[1]).taken(term.index)
            d = resolve(gate.parents[0]).taken(term.index).scaled(term.scale)
            sides = resolve.summands(gate.parents[0]).taken(term.index) * term.scale.largest
            for k, known in enumerate(groups):
                if known.t.same(t, 1.0):
                    groups[k] = known.with_(d, sides)
                    break
                if known.t.same(t, -1.0):
                    # [−t > 0]·d = d − [t > 0]·d
                    others = others + d
                    groups[k] = known.with_(d.scaled(Rounded.of(-1.0, d.size)), sides)
                    break
            else:
                groups.append(_Group(term, t, d, sides))
        pieces = [self._gate(group) for group in groups]
        return self._together(others, [p for p in pieces if p is not None]) if None not in pieces else None

    def _together(self, others: Lanes, pieces: list[int]) -> int | None:
        """others + Σ pieces; a piece of −1 vanishes."""
        found = [self.engine.node(others)] if others.terms else []
        found += [piece for piece in pieces if piece >= 0]
        if not found:
            return None
        total = found[0]
        for piece in found[1:]:
            total = self.engine.added(total, piece)
        return total if others.terms else self.engine.scaled(total, 1.0, others.shift.mid)

    def _gate(self, group: _Group) -> int | None:
        """[t > 0]·d as a node, for the gate in `term`; −1 where it vanishes, None where it jumps."""
        term, t, d = group.term, group.t, group.d
        gate = self.engine.unproven_at(term.node, "gate")
        assert gate is not None
        site = Site(gate.name, None, gate.dtype)
        sides = group.sides * self.engine.resolver(gate.dtype).unit
        u, jump, explained = self._compared(t, d, sides=sides)
        if explained:
            if jump is not None:
                self._listed(jump, site)
            if u.zero:
                return -1
            if t.exact:
                core, index = self._unique(t)
            else:
                core, index = self.engine.gather(gate.parents[1], term.index), np.arange(t.size)
            relu = self.builder.activation(core, "relu", name=site.where)
            return self.engine.scaled(self.engine.gather(relu, index), u)
        self.amounts = [] if jump is None else [jump]
        for reading in (self._softplus_threshold, self._softshrink):
            found = reading(t, d, site)
            if found is not None:
                return found
        amount = f" of {self.amounts[-1]}" if self.amounts else ""
        self.jumps[term.node] = f"the two sides of a switch do not agree where it switches: a jump{amount}"
        return None

    def _listed(self, jump: _Jump, site: Site) -> None:
        self.engine.idealise(
            f"{site.where}: the two sides of the switch are apart on its surface by at most {jump} (constants rounded to "
            f"{site.dtype}) and are taken to agree"
        )

    def _compared(
        self, t: Lanes, d: Lanes, *, level: bool = True, sides: Sizes | None = None
    ) -> tuple[Rounded, _Jump | None, bool]:
        """u with d ≈ u·t; how far they are apart where t = 0, None for not at all; whether rounding explains it.

        Without `level` the biases do not count. Rounding explains no more than a few units in the last place of the numbers
        that meet on the surface, which are `sides`, however many constants they are made of.
        """
        if sides is None:
            sides = Sizes(np.zeros(t.size), np.zeros(t.size))
        if t.size > 1 and alike(t, d):
            first = np.zeros(1, dtype=np.int64)
            # the smallest of each, so that it explains no more than any
            sides = Sizes(sides.slope.min(keepdims=True), sides.level.min(keepdims=True))
            u, jump, explained = self._compared(t.taken(first), d.taken(first), level=level, sides=sides)
            return u[np.zeros(t.size, dtype=np.int64)], jump, explained
        T, D = t.entries(self.builder), d.entries(self.builder)
        keys = np.concatenate([T.key, D.key])
        # made of sorted runs
        keys.sort(kind="stable")
        keys = keys[np.r_[True, keys[1:] != keys[:-1]]]
        keys = keys if level else keys[keys % T.width > 0]
        row, column = np.divmod(keys, T.width)
        (a, a_room), (b, b_room) = T.at(keys), D.at(keys)
        # the coefficient with the largest |t| of each row says what u is
        size = np.where(column > 0, np.abs(a.mid), -1.0)
        starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
        largest = np.maximum.reduceat(size, starts)
        if (largest <= 0.0).any():
            return Rounded.of(0.0, t.size), None, False
        hits = np.flatnonzero(size == largest[row])
        last = hits[np.r_[True, row[hits][1:] != row[hits][:-1]]]
        lead = last[row]
        u = b[last] / a[last]
        exact = (a.rad == 0.0) & (b.rad == 0.0) & (a.rad[lead] == 0.0) & (b.rad[lead] == 0.0)
        agree = exact & same_product(b.mid, a.mid[lead], b.mid[lead], a.mid)
        agree[last] = True
        if agree.all():
            return u, None, True
        apart = np.where(agree, 0.0, (b - u[row] * a).largest)
        if not apart.any():
            return u, None, True
        slopes = np.bincount(row, np.where(column > 0, apart, 0.0))
        jump = _Jump(float(apart[column == 0].max(initial=0.0)), float(slopes.max()))
        most = u.largest[row]
        meeting = np.where(column > 0, sides.slope[row], np.maximum(sides.level[row], sides.unit * most * a.largest))
        explained = bool((apart <= np.minimum(b_room + most * a_room, meeting)).all())
        return Rounded.of(u.mid) if explained else u, jump, explained

    def _unique(self, t: Lanes) -> tuple[int, np.ndarray]:
        """A node with the different numbers among the lanes, and where each lane finds its own."""
        keys = np.column_stack([*(np.column_stack([x.index, x.scale.mid]) for x in t.terms), t.shift.mid])
        _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        # in the order of appearance
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        return self.engine.node(t.taken(first[order])), rank[np.ravel(index)]

    def _softplus_threshold(self, t: Lanes, d: Lanes, site: Site) -> int | None:
        """[z > θ]·c(softplus(z) − z) is at most |c|log(1 + e^(−βθ))/β: zero where the stored θ is no more precise."""
        for soft in (term for term in d.terms if self.engine.kind(term.node) == "softplus"):
            z, beta = self._inside(soft, "beta")
            line = replace(d, terms=tuple(term for term in d.terms if term is not soft))
            minus, apart, _ = self._compared(z, line)
            scale, tilt, parallel = self._compared(z, t, level=False)
            if apart is not None or tilt is not None or not parallel or not (scale.low > 0.0).all():
                continue
            rest = minus + soft.scale
            if not (np.abs(rest.mid) <= rest.rad).all():
                continue
            # t = s·z + const: the surface is z = at
            at = z.shift.mid - t.shift.mid / scale.mid
            jumps = soft.scale.largest / beta.mid * np.log1p(np.exp(-beta.mid * at)) + rest.largest * np.abs(at)
            jump = float(jumps.max())
            room = np.minimum(t.shift_room, self.engine.resolver(site.dtype).unit * np.abs(scale.mid * at))
            if not (jumps <= room).all():
                self.amounts.append(_Jump(jump, 0.0))
                continue
            self.engine.idealise(
                f"{site.where}: softplus is taken in place of the identity above its threshold, where they differ by at "
                f"most {jump:.1e}"
            )
            return -1
        return None

    def _softshrink(self, t: Lanes, d: Lanes, site: Site) -> int | None:
        """[|z| > λ]·s(z − λ·sign z) = s·softshrink(z)."""
        bend = t.single()
        jumping = next((k for k in d.terms if self.engine.unproven_at(k.node, "sign")), None)
        line = next((k for k in d.terms if k is not jumping), None)
        if bend is None or self.engine.kind(bend.node) != "abs" or jumping is None or line is None or len(d.terms) != 2:
            return None
        (z, _), (inner, _) = self._inside(bend), self._inside(jumping)
        x, y = z.single(), inner.single()
        if x is None or y is None or not (x.on(y) and x.on(line)) or not (x.scale.mid.all() and bend.scale.mid.all()):
            return None
        # the branch is s(z − λ·sign z), and sign has a positive multiple of z
        lambd, slope, ratio = -t.shift / bend.scale, line.scale / x.scale, y.scale / x.scale
        if not ((ratio.low > 0).all() and (bend.scale.low > 0).all() and (lambd.low >= 0).all()):
            return None
        if not inner.shift.zero and not (inner.shift - ratio * z.shift).zero:
            return None
        height, level = jumping.scale + slope * lambd, d.shift - slope * z.shift
        room = jumping.room + d.shift_room + slope.largest * (t.shift_room / bend.scale.low + z.shift_room)
        sizes = (jumping.scale, slope * lambd, d.shift, slope * z.shift)
        unit = self.engine.resolver(site.dtype).unit
        room = np.minimum(room, unit * np.max([size.largest for size in sizes], axis=0))
        apart = height.largest + level.largest
        jump = _Jump(float(apart.max()), 0.0)
        if not (apart <= room).all():
            self.amounts.append(jump)
            return None
        if apart.any():
            self._listed(jump, site)
        shrunk = self.engine.apply("softshrink", self.engine.node(z), site, lambd=lambd.mid)
        return self.engine.scaled(shrunk, slope)

    def _inside(self, term: Term, parameter: str = "") -> tuple[Lanes, Rounded]:
        """The argument of the function that a term is a multiple of, and one of its parameters."""
        kind = self.engine.kind(term.node)
        found = self.engine.argument(Lanes((term,), Rounded.of(0.0, term.scale.size), term.room * 0.0), kind)
        if found is None:
            raise UnsupportedModel("a switch on an activation of blocks", where=self._name(term))
        return found.inner, found.parameter(parameter) if parameter else Rounded.of(1.0)

    def _name(self, term: Term) -> str:
        return str(getattr(self.builder.nodes[term.node], "name", ""))


def _pruned(graph: Graph) -> Graph:
    """The nodes that the output depends on, renumbered."""
    return rewrite(graph, lambda work: lambda _, node: work.builder.add(node), cells=False)
