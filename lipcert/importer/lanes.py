"""Affine chains that act number by number, folded: Σ_k scale_k · x_k[index_k] + shift.

The folding is exact, or carries the radius of what was rounded; where more than a few units in the last place were lost,
the chain ends at that node instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from lipcert.graph.linear_maps import Diagonal, Index, LinearMap, Sparse
from lipcert.graph.nodes import Affine, Graph, GraphBuilder, Input, moved
from lipcert.importer.exact import Rounded

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray

_BITS, _CHAIN_BITS = 47, 40
"""Folding goes on while every coefficient is known to so many bits; the fewer ones are for chains that become one node."""

_MOST_TERMS = 64

_LONG = 16
"""Chains of so many affine nodes that act number by number become one node."""

EPSILON: dict[str, float] = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}


def finer(a: str, b: str) -> str:
    """The finer of two types; what is no floating-point type does not count.

    Examples
    --------
    >>> finer("bfloat16", "float32"), finer("float64", "int64")
    ('float32', 'float64')
    """
    return min((name for name in (a, b) if name in EPSILON), key=lambda name: EPSILON[name], default="float32")


def coarser(a: str, b: str) -> str:
    """The coarser of two types; what is no floating-point type does not count.

    Examples
    --------
    >>> coarser("bfloat16", "float32"), coarser("float64", "int64")
    ('bfloat16', 'float64')
    """
    return max((name for name in (a, b) if name in EPSILON), key=lambda name: EPSILON[name], default="float32")


@dataclass(frozen=True, eq=False)
class Term:
    """scale · x[index] for the value x of a node.

    Attributes
    ----------
    node
        The node in the builder.
    room
        How far the scale moves where each constant in it moves by two units in the last place of its own type.
    """

    node: int
    index: IntArray
    scale: Rounded
    room: Array

    def on(self, other: Term) -> bool:
        """Whether it is a multiple of the same numbers."""
        same = self.index is other.index or np.array_equal(self.index, other.index)
        return self.node == other.node and same

    def taken(self, index: IntArray) -> Term:
        """Some of the numbers."""
        return Term(self.node, self.index[index], self.scale[index], self.room[index])

    def scaled(self, by: Rounded) -> Term:
        """The product with constants of the importer's own."""
        return replace(self, scale=self.scale * by, room=self.room * by.largest)


@dataclass(frozen=True, eq=False)
class Lanes:
    """The sum of `terms` and `shift`, number by number."""

    terms: tuple[Term, ...]
    shift: Rounded
    shift_room: Array

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.shift.size

    def single(self) -> Term | None:
        """The only term, or None."""
        return self.terms[0] if len(self.terms) == 1 else None

    def taken(self, index: IntArray) -> Lanes:
        """Some of the numbers."""
        return Lanes(tuple(t.taken(index) for t in self.terms), self.shift[index], self.shift_room[index])

    def scaled(self, by: Rounded) -> Lanes:
        """The product with constants of the importer's own."""
        terms = tuple(t.scaled(by) for t in self.terms)
        return Lanes(terms, self.shift * by, self.shift_room * by.largest)

    def __add__(self, other: Lanes) -> Lanes:
        terms = _merged([*self.terms, *other.terms])
        return Lanes(terms, self.shift + other.shift, self.shift_room + other.shift_room)

    def same(self, other: Lanes, sign: float) -> bool:
        """Whether it is ±other, certainly."""
        if self.size != other.size:
            return False
        rest = self + other.scaled(Rounded.of(-sign, self.size))
        return not rest.terms and rest.shift.zero

    @property
    def exact(self) -> bool:
        """Whether nothing was rounded."""
        return self.shift.exact and all(t.scale.exact for t in self.terms)

    def close(self, bits: int) -> bool:
        """Whether everything is known to so many bits."""
        return self.shift.close(bits) and all(t.scale.close(bits) for t in self.terms)

    def entries(self, builder: GraphBuilder) -> Entries:
        """All numbers with their places."""
        offsets = np.cumsum([1, *(node.size for node in builder.nodes)])
        row = np.arange(self.size)
        parts = [(row, np.zeros(self.size, np.int64), self.shift, self.shift_room)]
        parts += [(row, t.index + offsets[t.node], t.scale, t.room) for t in self.terms]
        rows, columns = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        mid, rad = (np.concatenate([getattr(part[2], key) for part in parts]) for key in ("mid", "rad"))
        room = np.concatenate([part[3] for part in parts])
        return Entries(rows * int(offsets[-1]) + columns, Rounded(mid, rad), room, int(offsets[-1]))


def alike(*lanes: Lanes) -> bool:
    """Whether all numbers are made in the same way, so that the first of them stands for each."""
    terms = [t for part in lanes for t in part.terms]
    numbers = [x for t in terms for x in (t.scale.mid, t.scale.rad, t.room)]
    numbers += [x for part in lanes for x in (part.shift.mid, part.shift.rad, part.shift_room)]
    if not all((x == x[:1]).all() for x in numbers):
        return False
    pairs = ((a.index, b.index) for k, a in enumerate(terms) for b in terms[:k] if a.node == b.node)
    return all(i is j or len(np.unique(i == j)) <= 1 for i, j in pairs)


@dataclass(frozen=True, eq=False)
class Entries:
    """Coefficients by key = row · width + column over the numbers of all nodes, the shift in column 0."""

    key: IntArray
    value: Rounded
    room: Array
    width: int

    def at(self, keys: IntArray) -> tuple[Rounded, Array]:
        """The values and rooms at these sorted keys, zero where there are none."""
        place = np.searchsorted(keys, self.key)
        used = np.flatnonzero(np.take(keys, place, mode="clip") == self.key) if keys.size else np.zeros(0, np.int64)
        place, value = place[used], self.value[used]
        mid, rad, room, count = (
            np.bincount(place, weights, minlength=keys.size).astype(np.float64)
            for weights in (value.mid, value.rad, self.room[used], np.ones(used.size))
        )
        # a number that is reached by several terms: their sum may have rounded
        several = count > 1
        if several.any():
            size = np.bincount(place, np.abs(value.mid), minlength=keys.size)
            rad = np.where(several, rad * 2.0 + count * np.spacing(size), rad)
        return Rounded(mid, rad), room


@dataclass(frozen=True, eq=False)
class Sizes:
    """The largest coefficients and the biases of some lanes in absolute value, number by number, in units of `unit`."""

    slope: Array
    level: Array
    unit: float = 1.0

    def taken(self, index: IntArray) -> Sizes:
        """Some of the numbers."""
        return replace(self, slope=self.slope[index], level=self.level[index])

    def __mul__(self, by: Array | float) -> Sizes:
        unit = self.unit * by if isinstance(by, float) else self.unit
        return Sizes(self.slope * by, self.level * by, unit)

    def larger(self, other: Sizes) -> Sizes:
        """The larger of each."""
        return replace(self, slope=np.maximum(self.slope, other.slope), level=np.maximum(self.level, other.level))

    @staticmethod
    def of(lanes: Lanes) -> Sizes:
        """Those of lanes."""
        slope = np.max([t.scale.largest for t in lanes.terms], axis=0, initial=0.0) if lanes.terms else 0.0
        return Sizes(np.broadcast_to(slope, lanes.size), lanes.shift.largest)


class Resolver:
    """Folds nodes of a builder; what was folded is kept.

    Parameters
    ----------
    builder
        The nodes.
    dtype
        The type in which constants count as stored; those that it does not hold count in the next finer one.
    bits
        How well every coefficient has to be known.

    Attributes
    ----------
    cancelled
        The most that coefficients have shrunk by adding them up.
    """

    def __init__(self, builder: GraphBuilder, dtype: str = "float32", bits: int = _BITS) -> None:
        self.builder = builder
        self.bits = bits
        self._types = tuple(EPSILON)[tuple(EPSILON).index(dtype) :]
        self._known: dict[int, Lanes] = {}
        self.cancelled = 1.0

    def __call__(self, position: int, stop: frozenset[int] = frozenset()) -> Lanes:
        """A node through all affine nodes that act number by number, data movement included, up to the nodes `stop`."""
        known = {} if stop else self._known
        waiting = [position]
        while waiting:
            top = waiting[-1]
            if top in known:
                waiting.pop()
                continue
            node = self.builder.nodes[top]
            if not isinstance(node, Affine) or top in stop or not _passes(node):
                known[top] = _base(top, node.size)
                continue
            missing = [p for p in node.parents if p not in known]
            if missing:
                waiting += missing
                continue
            known[top] = self._through(top, node, [known[p] for p in node.parents])
        return known[position]

    def summands(self, position: int) -> Sizes:
        """The sizes of what a node is the sum of."""
        node = self.builder.nodes[position]
        found = Sizes.of(self(position))
        if isinstance(node, Affine) and _passes(node):
            for parent, a in zip(node.parents, node.maps, strict=True):
                index, values = _row_entries(a)
                part = Sizes.of(self(parent).taken(index))
                found = found.larger(part if values is None else part * values.largest)
        return found

    @property
    def unit(self) -> float:
        """Twice the room of a number next to its size: what rounding explains at most where two such numbers meet."""
        return 4.0 * EPSILON[self._types[0]]

    def chain(self, position: int) -> frozenset[int]:
        """The node and the nodes that folding may go through below it."""
        found = {position}
        waiting = [position]
        while waiting:
            node = self.builder.nodes[waiting.pop()]
            if isinstance(node, Affine) and _passes(node):
                fresh = set(node.parents) - found
                found |= fresh
                waiting += fresh
        return frozenset(found)

    def _through(self, position: int, node: Affine, below: Sequence[Lanes]) -> Lanes:
        """The node over what its parents are made of, or over itself where too much would be rounded."""
        shift = Rounded.of(np.zeros(node.size) if node.bias is None else node.bias)
        room = self._room(shift.mid)
        terms: list[Term] = []
        for part, a in zip(below, node.maps, strict=True):
            index, values = _row_entries(a)
            taken = part.taken(index)
            if values is not None:
                taken = _times(taken, values, np.zeros(values.size) if isinstance(a, Index) else self._room(values.mid))
            shift, room = shift + taken.shift, room + taken.shift_room
            terms += taken.terms
        lanes = Lanes(_merged(terms), shift, room)
        if len(lanes.terms) < len(terms):
            self.cancelled = max(self.cancelled, _cancelled(terms, lanes.terms))
        return lanes if lanes.close(self.bits) and len(lanes.terms) <= _MOST_TERMS else _base(position, node.size)

    def _room(self, values: Array) -> Array:
        """Two units in the last place of each number in its own type."""
        if not values.any():
            return np.zeros(values.shape)
        epsilon = np.full(values.shape, EPSILON["float64"])
        for name in reversed(self._types[:-1]):
            epsilon = np.where(_held(values, name), EPSILON[name], epsilon)
        return 2.0 * epsilon * np.abs(values)


def _cancelled(terms: Sequence[Term], left: Sequence[Term]) -> float:
    """The most that coefficients have shrunk by adding them up: what floating-point numbers lose there."""
    if not left:
        return 1.0
    before = np.max([np.abs(t.scale.mid) for t in terms], axis=0)
    after = np.max([np.abs(t.scale.mid) for t in left], axis=0)
    with np.errstate(all="ignore"):
        return float(np.where(after > 0.0, before / after, 1.0).max(initial=1.0))


def _times(lanes: Lanes, values: Rounded, room: Array) -> Lanes:
    """The product with constants of the file, which may be off by `room`."""
    size = values.largest
    # room that overflows is infinite, and its factors are kept apart
    with np.errstate(over="ignore"):
        terms = tuple(
            Term(t.node, t.index, t.scale * values, t.room * size + t.scale.largest * room) for t in lanes.terms
        )
    if lanes.shift.zero:
        return replace(lanes, terms=terms, shift_room=lanes.shift_room * size)
    return Lanes(terms, lanes.shift * values, lanes.shift_room * size + lanes.shift.largest * room)


def _held(values: Array, name: str) -> np.ndarray:
    """Whether a type holds the numbers exactly."""
    dtype: Any = np.dtype(name)
    with np.errstate(all="ignore"):
        return np.asarray(values.astype(dtype).astype(np.float64) == values)


def _base(position: int, size: int) -> Lanes:
    one = Term(position, np.arange(size), Rounded.of(1.0, size), np.zeros(size))
    return Lanes((one,), Rounded.of(0.0, size), np.zeros(size))


def _merged(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Multiples of the same numbers added up; what cancels is left out."""
    merged: list[Term] = []
    for term in terms:
        for k, known in enumerate(merged):
            if known.node == term.node and known.on(term):
                merged[k] = replace(known, scale=known.scale + term.scale, room=known.room + term.room)
                break
        else:
            merged.append(term)
    return tuple(term for term in merged if not term.scale.zero)


def _passes(node: Affine) -> bool:
    """Whether each number of the node depends on at most one number of each parent."""
    return all(isinstance(a, (Index, Diagonal)) or (isinstance(a, Sparse) and a.terms <= 1) for a in node.maps)


def _row_entries(a: LinearMap) -> tuple[IntArray, Rounded | None]:
    """Column and value of the only entry of each row; None for ones."""
    if isinstance(a, Index):
        used = a.index >= 0
        return np.maximum(a.index, 0), None if used.all() else Rounded.of(used.astype(np.float64))
    if isinstance(a, Diagonal):
        radii = np.zeros(a.entries.size) if a.radii is None else a.radii
        return np.arange(a.entries.size), Rounded(a.entries, radii)
    assert isinstance(a, Sparse)
    index, value = np.zeros(a.shape[0], dtype=np.int64), np.zeros(a.shape[0])
    used = np.diff(a.matrix.indptr) == 1
    index[used], value[used] = a.matrix.indices, a.matrix.data
    return index, Rounded.of(value)


def map_of(term: Term, columns: int) -> Iterator[LinearMap]:
    """scale · x[index] as one map, or as a gathering and an enclosed scale."""
    if term.scale.equals(1.0):
        yield Index(term.index, columns)
    elif term.scale.exact:
        rows = np.arange(term.index.size)
        yield Sparse(sp.csr_array((term.scale.mid, (rows, term.index)), shape=(term.index.size, columns)))
    else:
        yield Index(term.index, columns)
        yield Diagonal(term.scale.mid, term.scale.rad)


def shortened(graph: Graph) -> Graph:
    """The graph with long chains of affine nodes that act number by number as single ones, exact or enclosed."""
    depth: dict[int, int] = {}
    for position, node in graph.walk():
        along = isinstance(node, Affine) and _passes(node)
        depth[position] = max(depth[p] for p in node.parents) + 1 if along else 0
    if max(depth.values()) < _LONG:
        return graph
    builder = GraphBuilder()
    resolve = Resolver(builder, bits=_CHAIN_BITS)
    place: dict[int, int] = {}
    length: dict[int, int] = {}
    for position, node in graph.walk():
        if isinstance(node, Input):
            place[position] = builder.input(node.size, node.name)
            length[position] = 0
            continue
        place[position] = builder.add(moved(node, [place[p] for p in node.parents]))
        length[position] = max(length[p] for p in node.parents) + 1 if depth[position] else 0
        if length[position] == _LONG:
            lanes = resolve(place[position])
            term = lanes.single()
            if term is not None and lanes.shift.exact:
                place[position] = _alone(builder, term, lanes.shift.mid)
            length[position] = 0
    inputs = tuple(place[i] for i in graph.inputs)
    return replace(graph, nodes=tuple(builder.nodes), inputs=inputs, output=place[graph.output])


def _alone(builder: GraphBuilder, term: Term, shift: Array) -> int:
    """A node that computes one term and a shift."""
    position = term.node
    maps = list(map_of(term, builder.nodes[position].size))
    for k, a in enumerate(maps):
        bias = shift if k == len(maps) - 1 and shift.any() else None
        position = builder.affine([position], [a], bias)
    return position
