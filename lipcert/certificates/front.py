"""The proof by a front: M of `sparse_system` eliminated from one side of the network's space to the other, nothing kept.

A convolution couples neighbouring positions, so M is sparse, but a layer of a large image is too large for a block. The
frontal method (Irons 1970; Duff & Reid 1983) eliminates the unknowns in an order in which few of them are met at a time:
dense is only the matrix of those that have met an eliminated one and are not eliminated yet, the front. The proof asks no
more than that Cholesky runs to its end, so no column of the factor outlives its step.

Unknowns with the same neighbours, such as the channels of a pixel, are one node of a quotient graph. Some orders of the
nodes are tried by symbolic elimination, and the cheapest is taken: the layers one by one, sweeps along an axis of the
image with all layers of a row together, and reverse Cuthill–McKee; each with some of the last layers put at the end, since
they stay in the front anyway. Scalar activations with slopes [0, β] couple no two unknowns of a layer, so that every other
layer can run ahead of the sweep: each of its pixels meets few unknowns, and only their part of the front changes. Each
order has the same errors (`contraction`): Rump's bound with n all unknowns and the trace
of all of M.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.linalg import blas, lapack
from scipy.sparse.csgraph import reverse_cuthill_mckee

from lipcert import budget
from lipcert.certificates.block_cholesky import Weights
from lipcert.certificates.claims import Scaling
from lipcert.certificates.sparse_system import (
    LARGEST_SCALING,
    LARGEST_WEIGHT,
    Form,
    SparseSystem,
    Stage,
    block_diagonal,
    pattern,
)
from lipcert.definite import cholesky_room
from lipcert.rounding import UNIT, gamma
from lipcert.threads import threads_for

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.constraints.multipliers import Multipliers

# columns that are eliminated together
_WIDTH = 256
# entries of M that are sorted together
_TOGETHER = 2**22
# number of cuts behind which layers keep their order
_CUTS = 12
# how far, in pixels, every other layer runs ahead of a sweep
_AHEAD = (1.0, 2.0, 4.0, 6.0)
# nodes of a quotient graph up to which the entries of the factor are counted
_COUNTED = 20_000
# the part of a tile's rows from which all of them are updated
_MOST_OF = 0.7
# what all that underflows adds up to at most
_UNDERFLOW = 2.0**-300
# relative room for the inputs that is tried in turn; each try is a factorisation
_ROOM = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
# operations from which a try is worth more room, and that room
_LONG, _MORE = 2e12, 5e-5
# the weight of the equations times the room: about what leaves the smallest eigenvalue largest
_EQUATIONS = 10.0


@dataclass(frozen=True, eq=False)
class Quotient:
    """The graph of M with unknowns of equal neighbours as one node.

    Attributes
    ----------
    label
        The node of each unknown, blocks one after the other.
    neighbours
        (nodes, nodes), each node its own neighbour.
    weight, block
        How many unknowns a node has, and their block.
    place
        Coordinates in space, (nodes, axes), NaN where there are none; axes may be 0.
    entries
        About how many entries M has.
    largest
        The most entries of the weights of one layer.
    """

    label: IntArray
    neighbours: sp.csr_array
    weight: IntArray
    block: IntArray
    place: Array
    entries: int
    largest: int


def quotient(system: SparseSystem) -> Quotient:
    """Group the unknowns by their neighbours, which are told apart by sums of random numbers."""
    rng = np.random.default_rng(0)
    starts = np.cumsum([0, *system.sizes])
    n = int(starts[-1])
    # sums of up to 2¹⁷ of these are exact
    code = rng.integers(1, 2**36, n).astype(np.float64)
    as_rows, as_columns = np.zeros(n), np.zeros(n)
    entries = largest = 0
    for k, layer in system.numbered():
        blocks = layer.unknowns // layer.out
        per_row = np.repeat(rng.integers(1, 2**36, blocks).astype(np.float64), layer.block)
        met = np.zeros(blocks)
        here = 0
        for j, w in layer.sources.items():
            ones = pattern(w.get().mid)
            here += ones.nnz
            as_columns[starts[j] : starts[j + 1]] += ones.T @ per_row
            met += np.asarray(ones @ code[starts[j] : starts[j + 1]]).reshape(blocks, -1).sum(axis=1)
        as_rows[starts[k] : starts[k + 1]] = np.repeat(met, layer.out)
        entries += here
        largest = max(largest, here)
    block = np.repeat(np.arange(len(system.sizes)), system.sizes)
    order = np.lexsort((as_columns, as_rows, block))
    changed = np.zeros(n, dtype=bool)
    for key in (block, as_rows, as_columns):
        changed[1:] |= np.diff(key[order]) != 0
    label = np.empty(n, dtype=np.int64)
    label[order] = np.cumsum(changed)
    first = order[np.flatnonzero(np.concatenate([[True], changed[1:]]))] if n else order
    neighbours, products = _edges(system, label, first, starts)
    axes = max((place.shape[1] for place in system.places if place is not None), default=0)
    place = np.full((n, axes), np.nan)
    for j, known in enumerate(system.places):
        if known is not None and known.shape[1] == axes:
            place[starts[j] : starts[j + 1]] = known
    weight = np.bincount(label, minlength=first.size)
    met_in_products = sp.coo_array(sp.tril(products)).coords
    entries += int((weight[met_in_products[0]] * weight[met_in_products[1]]).sum())
    return Quotient(label, neighbours, weight, block[first], place[first], entries, largest)


def _edges(
    system: SparseSystem, label: IntArray, first: IntArray, starts: IntArray
) -> tuple[sp.csr_array, sp.csr_array]:
    """The neighbours of the nodes, and those that meet in products of weights, by the first unknown of each."""
    shape = (first.size, first.size)
    at, to = [np.arange(first.size)], [np.arange(first.size)]
    seen = sp.csr_array(shape)
    for k, layer in system.numbered():
        nodes = np.flatnonzero((first >= starts[k]) & (first < starts[k + 1]))
        group = (first[nodes] - starts[k]) // layer.out
        rows = (group[:, None] * layer.block + np.arange(layer.block)).ravel()
        own = (group[:, None] * layer.out + np.arange(layer.out)).ravel() + starts[k]
        at.append(np.repeat(nodes, layer.out))
        to.append(label[own])
        here = len(at)
        for j, w in layer.sources.items():
            part = w.get().mid[rows]
            at.append(np.repeat(np.repeat(nodes, layer.block), np.diff(part.indptr)))
            to.append(label[part.indices + starts[j]])
        if meets(layer):
            a, b = np.concatenate(at[here:]), np.concatenate(to[here:])
            seen = seen + sp.csr_array((np.ones(a.size), (a, b)), shape)
    star = sp.csr_array((np.ones(sum(x.size for x in at)), (np.concatenate(at), np.concatenate(to))), shape)
    products = sp.csr_array(pattern(seen).T @ pattern(seen))
    return pattern(sp.csr_array(star + star.T + products)), products


def meets(layer: Stage) -> bool:
    """Whether the sources of a layer meet in C."""
    if layer.scalar is not None:
        K, P = layer.scalar
        return bool(((K - P) * (K + P)).any())
    return not layer.is_output


@dataclass(frozen=True, eq=False)
class Plan:
    """An order of elimination and what it costs.

    Attributes
    ----------
    position
        The place of each unknown in the order.
    front
        The most unknowns that are in the front at a time.
    operations
        Of the factorisation.
    name
        Of the order, for people.
    """

    position: IntArray
    front: int
    operations: float
    name: str


def cheapest(graph: Quotient) -> Plan:
    """The plan with the fewest operations of some."""
    plain = min(orders(graph), key=lambda named: _dense_cost(graph, named[1])[0])
    candidates = [plain, *(ahead(graph) if graph.weight.size <= _COUNTED else [])]
    costs = [_operations(graph, order) for _, order in candidates]
    best = int(np.argmin(costs))
    name, order = candidates[best]
    at = np.empty(order.size, dtype=np.int64)
    at[order] = np.arange(order.size)
    rank = np.argsort(at[graph.label], kind="stable")
    position = np.empty(rank.size, dtype=np.int64)
    position[rank] = np.arange(rank.size)
    return Plan(position, _dense_cost(graph, order)[1], costs[best], name)


def orders(graph: Quotient) -> Iterator[tuple[str, IntArray]]:
    """Orders of the nodes, named."""
    blocks = np.unique(graph.block)
    yield "by layers", np.argsort(graph.block, kind="stable")
    yield "by layers, last first", np.argsort(-graph.block, kind="stable")
    for cut in blocks[:: max(1, blocks.size // _CUTS)]:
        head = np.flatnonzero(graph.block <= cut)
        tail = np.flatnonzero(graph.block > cut)
        for axis in range(graph.place.shape[1]):
            along = graph.place[head, axis]
            if np.isfinite(along).any():
                rest = [graph.place[head, other] for other in range(graph.place.shape[1]) if other != axis]
                sweep = head[np.lexsort((*rest, graph.block[head], along))]
                yield f"along axis {axis}, {tail.size} nodes last", np.concatenate([sweep, tail])
        inner = sp.csr_array(graph.neighbours[head][:, head])
        found = head[reverse_cuthill_mckee(inner, symmetric_mode=True)]
        yield f"reverse Cuthill–McKee, {tail.size} nodes last", np.concatenate([found, tail])
        yield f"Cuthill–McKee, {tail.size} nodes last", np.concatenate([found[::-1], tail])


def ahead(graph: Quotient) -> Iterator[tuple[str, IntArray]]:
    """Sweeps along an axis on which every other layer runs ahead by some pixels, named."""
    for axis in range(graph.place.shape[1]):
        others = [graph.place[:, other] for other in range(graph.place.shape[1]) if other != axis]
        for parity in (0, 1):
            turn = graph.block % 2 == parity
            for pixels in _AHEAD:
                # who has no place comes last, layer by layer
                along = graph.place[:, axis] - pixels * turn
                order = np.lexsort((*others, np.where(turn, -1, graph.block), along))
                placed = np.isfinite(along[order])
                rest = order[~placed]
                rest = rest[np.argsort(graph.block[rest], kind="stable")]
                yield f"along axis {axis}, layers {parity} mod 2 ahead by {pixels:g}", np.append(order[placed], rest)


def _dense_cost(graph: Quotient, order: IntArray) -> tuple[float, int]:
    """Operations where a column meets all of the front, and the largest front: a node enters with its first neighbour."""
    count = order.size
    at = np.empty(count, dtype=np.int64)
    at[order] = np.arange(count)
    enters = np.minimum.reduceat(at[graph.neighbours.indices], graph.neighbours.indptr[:-1])
    weight = graph.weight.astype(np.float64)
    came = np.cumsum(np.bincount(enters, weights=weight, minlength=count))
    size = came - np.cumsum(weight[order]) + weight[order]
    return _cubes(size, weight[order]), int(size.max(initial=0.0))


def _cubes(size: Array, weight: Array) -> float:
    """Operations of eliminating so many columns each from a dense triangle of so many rows."""
    return float(((size**3 - (size - weight) ** 3) / 3.0).sum())


def _operations(graph: Quotient, order: IntArray) -> float:
    """The operations where a column meets only those that it has an entry of the factor with."""
    count = order.size
    if count > _COUNTED:
        return _dense_cost(graph, order)[0]
    at = np.empty(count, dtype=np.int64)
    at[order] = np.arange(count)
    width = -(-count // 8)
    ends, met = graph.neighbours.indptr, at[graph.neighbours.indices]
    # sets of nodes as bits; what a column meets is met by the first of them too (the elimination tree of Liu 1990)
    columns: list[int] = []
    for number, node in enumerate(order):
        bits = np.zeros(8 * width, dtype=np.uint8)
        near = met[ends[node] : ends[node + 1]]
        bits[near[near > number]] = 1
        columns.append(int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little"))
    for column in columns:
        first = column & -column
        if first:
            columns[first.bit_length() - 1] |= column ^ first
    weight = np.zeros(8 * width)
    weight[:count] = graph.weight[order]
    patterns = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    sums = weight.reshape(width, 8) @ patterns.T.astype(np.float64)
    places = np.arange(width)
    below = [sums[places, np.frombuffer(c.to_bytes(width, "little"), np.uint8)].sum() for c in columns]
    return _cubes(np.array(below) + weight[:count], weight[:count])


class Entries:
    """M by rows in the order of elimination, each entry in the row of the unknown that goes first, and its diagonal."""

    def __init__(self, position: IntArray, starts: IntArray) -> None:
        self.position = [position[a:b].astype(np.int32) for a, b in pairwise(starts)]
        self.count = position.size
        self.diagonal = np.zeros(self.count)
        self.parts: list[sp.csr_array] = []
        self.weight = 0.0
        self._waiting: list[tuple[IntArray, IntArray, Array]] = []
        self._size = 0
        self.addends = 1

    def add(self, k: int, j: int, a: sp.csr_array, symmetric: bool = False) -> None:
        """Add A in block (k, j), and its transpose in block (j, k); of a symmetric one, in block (k, k), A alone."""
        self.weight += norm(a)
        self.addends += 1
        rows, columns = self.position[k], self.position[j]
        step = max(1, int(_TOGETHER // max(1.0, a.nnz / max(1, a.shape[0]))))
        for top in range(0, a.shape[0], step):
            ends = a.indptr[top : top + step + 1]
            inside = slice(ends[0], ends[-1])
            first = np.repeat(rows[top : top + step], np.diff(ends))
            second = columns[a.indices[inside]]
            value = a.data[inside]
            if symmetric:
                on = first == second
                self.diagonal[first[on]] += value[on]
                keep = first < second
                first, second, value = first[keep], second[keep], value[keep]
            self._waiting.append((np.minimum(first, second), np.maximum(first, second), value))
            self._size += value.size
            if self._size >= _TOGETHER:
                self.sort()

    def sort(self) -> None:
        """Make rows of what has come so far."""
        if self._waiting:
            first, second, value = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting.clear()
            self._size = 0
            part = sp.coo_array((value, (first, second)), shape=(self.count, self.count)).tocsr()
            self.parts.append(sp.csr_array(part))


@dataclass(frozen=True, eq=False)
class Front:
    """A network whose proof is eliminated along a front."""

    system: SparseSystem

    @cached_property
    def graph(self) -> Quotient:
        """The quotient graph."""
        return quotient(self.system)

    @cached_property
    def plan(self) -> Plan:
        """The order of elimination."""
        return cheapest(self.graph)

    @property
    def groups(self) -> int:
        """Number of multipliers."""
        return self.system.groups

    def operations(self) -> float:
        """About how many operations a factorisation takes."""
        return self.plan.operations

    def bytes_needed(self) -> int:
        """About how much memory a proof takes at its peak: a triangle of the front, some panels, M and a layer of it."""
        front = float(self.plan.front)
        side = _tile(self.plan.front)
        dense = 4.0 * (front + side) * (front + 2 * side) + 32.0 * (front + side) * _WIDTH
        # a value and an index an entry; the layers are scaled one by one, before the front is there
        return int(13.0 * self.graph.entries + max(dense, 20.0 * self.graph.largest) + 8 * 2**20)

    def loss(self) -> float:
        """By how much M has to be positive definite at least; no proof rests on it."""
        n = self.system.unknowns
        return cholesky_room(n, float(n))

    @property
    def equations(self) -> bool:
        """Whether what groups preserve is weighted by τ; then the smallest eigenvalue falls like the room squared."""
        return not all(layer.free for layer in self.system.layers)

    def rooms(self) -> list[float]:
        """The relative rooms for the inputs that are tried in turn; of long factorisations the first should do."""
        long = self.operations() > _LONG
        least = max(4.0 * self.loss(), _MORE if long else 0.0)
        if self.equations:
            least = max(least, (10.0 if long else 2.0) * float(np.sqrt(self.loss())))
        return [room for room in _ROOM if room > least]

    def holds(self, scaling: Scaling, tau: float | None = None) -> bool:
        """Whether the scaling is proven, as `claims.holds`, for ℓ2 to ℓ2; by one τ, or the first of some that will do."""
        numbers = np.concatenate([scaling.d, scaling.m])
        if not np.all((numbers >= 1.0 / LARGEST_SCALING) & (numbers <= LARGEST_SCALING)) or scaling.n is not None:
            return False
        trials = [tau] if tau is not None else [_EQUATIONS / room for room in self.rooms()]
        with np.errstate(all="ignore"):
            for trial in trials if self.equations else [1.0]:
                made = assembled(self.system, scaling, trial, self.plan.position)
                if made is not None and eliminated(*made, self.plan.front):
                    return True
        return False


def assembled(system: SparseSystem, scaling: Scaling, tau: float, position: IntArray) -> tuple[Entries, float] | None:
    """M̂ in the coordinates that make its diagonal about one, and by how much it has to exceed zero for M ≻ 0."""
    starts = np.cumsum([0, *system.sizes])
    forms = [None if layer.is_output else layer.form(tau) for layer in system.layers]
    for layer, form in zip(system.layers, forms, strict=True):
        if not layer.is_output and (form is None or not form.finite):
            return None
    scales = _scales(system, scaling, forms)
    if scales is None:
        return None
    M = Entries(position, starts)
    for k in range(len(system.inputs)):
        M.diagonal[M.position[k]] = (scaling.m[0] / scales[k]) ** 2
    # two roundings
    error = gamma(4) if system.inputs else 0.0
    for (k, layer), form in zip(system.numbered(), forms, strict=True):
        found = _layer(M, k, layer, form, scaling.d[layer.groups], scales)
        if found is None:
            return None
        error += found
    M.sort()
    shift = float((error + sum_error(M) + pivot_room(M)) * (1.0 + 1e-9) + _UNDERFLOW)
    return (M, shift) if np.isfinite(shift) and shift < 0.5 else None


def sum_error(M: Entries) -> float:
    """A rounding for each addend of an entry."""
    return gamma(M.addends + 4) * (M.weight + float(np.abs(M.diagonal).max(initial=1.0)))


def pivot_room(M: Entries) -> float:
    """What Cholesky needs (`contraction`), and the rounding of a diagonal that may be above one."""
    trace = float(np.abs(M.diagonal).sum()) * (1.0 + 1e-9)
    return cholesky_room(M.count, trace) + 16.0 * UNIT * float(np.abs(M.diagonal).max(initial=1.0))


def _scales(system: SparseSystem, scaling: Scaling, forms: list[Form | None]) -> list[Array] | None:
    """For each block what its unknowns are multiplied by; any positive numbers are sound."""
    squares = [np.full(n, scaling.m[0] ** 2) for n in system.inputs]
    extra = [np.zeros(n) for n in system.sizes]
    for layer, form in zip(system.layers, forms, strict=True):
        if form is None:
            squares.append(np.ones(layer.unknowns))
            continue
        d = scaling.d[layer.groups]
        squares.append((d[:, None] ** 2 * np.diagonal(form.A, axis1=1, axis2=2)).ravel())
        if meets(layer):
            C = block_diagonal(form.C, d.size)
            for j, w in layer.sources.items():
                Z = _rescaled(w.get().mid, np.repeat(d, layer.block), None)
                extra[j] += np.asarray(Z.multiply(C @ Z).sum(axis=0)).ravel()
    scales = []
    for own, more in zip(squares, extra, strict=True):
        scale = np.sqrt(np.maximum(own + more, 1e-3 * own))
        if not np.all((scale >= 1.0 / LARGEST_SCALING) & (scale <= LARGEST_SCALING)):
            return None
        scales.append(scale)
    return scales


@dataclass(frozen=True, eq=False)
class Part:
    """A matrix Â with ‖ |Â| ‖₂ ≤ size and ‖ |Â − A| ‖₂ ≤ spread for all A that are meant."""

    mid: sp.csr_array
    size: float
    spread: float


def _layer(M: Entries, k: int, layer: Stage, form: Form | None, d: Array, scales: list[Array]) -> float | None:
    """Add what a layer has to M; a bound on the norm of the error of it, or None where numbers are too large."""
    t = np.repeat(d, layer.block) if form is not None else np.ones(layer.unknowns)
    Z: dict[int, Part] = {}
    for j, w in layer.sources.items():
        found = scaled(w.get(), t, scales[j])
        if found is None:
            return None
        Z[j] = found
    if form is None:
        M.diagonal[M.position[k]] = 1.0
        for j, part in Z.items():
            M.add(k, j, part.mid)
        return sum(part.spread for part in Z.values())
    error = 0.0
    across = np.repeat(d, layer.out) / scales[k]
    A = blockwise(form.A, form.A_radius, across, across)
    M.add(k, k, A.mid, symmetric=True)
    # of a symmetric matrix one triangle is read, and the bound may be larger in the other one
    error += 2.0 * A.spread
    if meets(layer):
        C = blockwise(form.C, form.C_radius, np.ones(layer.groups.size * layer.block), None)
        for j in Z:
            CZ = product(C, Z[j], layer.block)
            for i in (i for i in Z if i >= j):
                turned = Part(sp.csr_array(Z[i].mid.T), Z[i].size, Z[i].spread)
                ZCZ = product(turned, CZ, layer.groups.size * layer.block)
                M.add(i, j, ZCZ.mid, symmetric=i == j)
                error += 2.0 * ZCZ.spread
    B = blockwise(form.B, form.B_radius, -across, None)
    for j in list(Z):
        BZ = product(B, Z.pop(j), layer.block)
        M.add(k, j, BZ.mid)
        error += BZ.spread
    return error


def scaled(weights: Weights, rows: Array, columns: Array) -> Part | None:
    """diag(rows) W diag(1/columns), or None where a weight is too large."""
    low, high = weights.mid.data.min(initial=0.0), weights.mid.data.max(initial=0.0)
    if not max(-low, high) < LARGEST_WEIGHT:
        return None
    mid = _rescaled(weights.mid, rows, columns)
    size = norm(mid)
    spread = gamma(4) * size
    if weights.rad is not None:
        spread += norm(_rescaled(weights.rad, rows, columns)) * (1.0 + gamma(12))
    return Part(mid, size, spread)


def blockwise(small: Array, radius: Array, rows: Array, columns: Array | None) -> Part:
    """diag(rows) blkdiag(S) diag(columns) for S up to the radius; rows and columns are off by one rounding each."""
    blocks = rows.size // small.shape[1]
    mid = _rescaled(block_diagonal(small, blocks), rows, None)
    wide = _rescaled(block_diagonal(radius, blocks), np.abs(rows), None)
    if columns is not None:
        mid.data *= columns[mid.indices]
        wide.data *= np.abs(columns)[wide.indices]
    size = norm(mid)
    return Part(mid, size, gamma(6) * size + norm(wide) * (1.0 + gamma(12)))


def product(a: Part, b: Part, terms: int) -> Part:
    """A B, an entry of which is a sum of that many products at most: |fl(A B) − A B| ≤ γ|A||B|, and the radii of both."""
    mid = sp.csr_array(a.mid @ b.mid)
    spread = gamma(terms + 2) * a.size * b.size + a.size * b.spread + a.spread * (b.size + b.spread)
    return Part(mid, norm(mid), spread * (1.0 + gamma(8)))


def _rescaled(a: sp.csr_array, rows: Array, columns: Array | None) -> sp.csr_array:
    data = a.data * np.repeat(rows, np.diff(a.indptr))
    if columns is not None:
        data *= (1.0 / columns)[a.indices]
    return sp.csr_array((data, a.indices, a.indptr), shape=a.shape)


def norm(a: sp.csr_array) -> float:
    """An upper bound on the spectral norm of |A|: √(‖A‖₁‖A‖_∞), up to underflow."""
    if not a.nnz:
        return 0.0
    size = sp.csr_array((np.abs(a.data), a.indices, a.indptr), shape=a.shape)
    rows, columns = float((size @ np.ones(a.shape[1])).max()), float((size.T @ np.ones(a.shape[0])).max())
    return float(np.sqrt(rows) * np.sqrt(columns)) * (1.0 + 2.0 * gamma(sum(a.shape) + 8))


def eliminated(M: Entries, shift: float, front: int) -> bool:
    """Whether Cholesky of M̂ − shift·I runs to its end."""
    # one addition makes the diagonal, the room covers it
    return _Elimination(M, shift, front).run()


def _tile(front: int) -> int:
    return 128 if front < 1000 else 256 if front < 4000 else 512 if front < 16000 else 1024


class _Elimination:
    """The front as tiles of one triangle; an unknown has a slot in it from the first neighbour that goes to its own turn.

    Tiles on the diagonal are updated as a whole; of an entry and its mirror image the one that is read is what counts.
    """

    def __init__(self, M: Entries, shift: float, front: int) -> None:
        self.M = M
        self.shift = shift
        self.side = _tile(front)
        self.tiles: dict[tuple[int, int], Array] = {}
        self.slot = np.full(M.count, -1, dtype=np.int64)
        self.taken = np.zeros(0, dtype=bool)

    def run(self) -> bool:
        """Eliminate all unknowns; whether all pivots are positive."""
        count = self.M.count
        with threads_for(float(self.side) ** 2 * _WIDTH * 8.0):
            return all(self._step(p, min(p + _WIDTH, count)) for p in range(0, count, _WIDTH))

    def _step(self, start: int, stop: int) -> bool:
        budget.check()
        pieces = []
        for part in self.M.parts:
            ends = part.indptr[start : stop + 1]
            inside = slice(ends[0], ends[-1])
            pieces.append((part.indices[inside], np.repeat(np.arange(stop - start), np.diff(ends)), part.data[inside]))
        known = self.slot[start:stop] >= 0
        wanted = np.zeros(self.M.count - start, dtype=bool)
        wanted[: stop - start] = True
        for columns, _, _ in pieces:
            wanted[columns - start] = True
        self._enter(np.flatnonzero(wanted) + start)
        pivots = self.slot[start:stop]
        panel = np.zeros((self.taken.size, stop - start), order="F")
        # M first added up on its own, then added once; who has just come has nothing in the front
        for columns, at, value in pieces:
            panel[self.slot[columns], at] += value
        panel[pivots, np.arange(stop - start)] = self.M.diagonal[start:stop] - self.shift
        if known.any():
            panel[:, known] += self._taken_out(pivots[known])
        corner = np.asfortranarray(panel[pivots])
        # one triangle is read, so the matrix is exactly symmetric
        factor, info = lapack.dpotrf(corner, lower=True, overwrite_a=True) if np.isfinite(corner).all() else (corner, 1)
        if info != 0:
            return False
        self.taken[pivots] = False
        self.slot[start:stop] = -1
        met = np.flatnonzero(self.taken & panel.any(axis=1))
        below = np.asfortranarray(panel[met])
        if not np.isfinite(below).all():
            return False
        if met.size:
            del panel
            below = blas.dtrsm(1.0, factor, below, side=1, lower=1, trans_a=1, overwrite_b=1)
            self._subtract(self._packed(met), below)
        return True

    def _enter(self, unknowns: IntArray) -> None:
        """Give slots to those who have none, the first free ones."""
        new = unknowns[self.slot[unknowns] < 0]
        free = np.flatnonzero(~self.taken)[: new.size]
        if free.size < new.size:
            more = -(-(new.size - free.size) // self.side) * self.side
            self.taken = np.concatenate([self.taken, np.zeros(more, dtype=bool)])
            free = np.flatnonzero(~self.taken)[: new.size]
        self.slot[new] = free
        self.taken[free] = True

    def _tile(self, i: int, j: int) -> Array:
        if (i, j) not in self.tiles:
            self.tiles[i, j] = np.zeros((self.side, self.side), order="F")
        return self.tiles[i, j]

    def _taken_out(self, pivots: IntArray) -> Array:
        """The columns of the pivots, which are zero in the front from then on."""
        side = self.side
        count = self.taken.size // side
        panel = np.zeros((self.taken.size, pivots.size), order="F")
        where, inside = np.divmod(pivots, side)
        parts = [(int(j), np.flatnonzero(where == j)) for j in np.unique(where)]
        # all are read before any is cleared: two of them meet in one entry
        for clear in (False, True):
            for j, at in parts:
                q = inside[at]
                for i in range(count):
                    tile = self.tiles.get((max(i, j), min(i, j)))
                    if tile is None:
                        continue
                    if not clear:
                        panel[i * side : (i + 1) * side, at] = tile[:, q] if i >= j else tile[q].T
                    if clear and i >= j:
                        tile[:, q] = 0.0
                    if clear and i <= j:
                        tile[q] = 0.0
        return panel

    def _packed(self, slots: IntArray) -> IntArray:
        """These slots after the last of all have moved into holes, where that makes a tile less."""
        side = self.side
        count = -(-int(np.count_nonzero(self.taken)) // side)
        above = np.flatnonzero(self.taken[count * side :]) + count * side
        if not above.size:
            return slots
        holes = np.flatnonzero(~self.taken[: count * side])[: above.size]
        moved = self._taken_out(above)
        moved[holes] = moved[above]
        where, inside = np.divmod(holes, side)
        for j in np.unique(where):
            at = np.flatnonzero(where == j)
            q = inside[at]
            for i in range(count):
                rows = slice(i * side, (i + 1) * side)
                if i >= j:
                    self._tile(i, int(j))[:, q] = moved[rows, at]
                if i <= j:
                    self._tile(int(j), i)[q] = moved[rows, at].T
        self.taken[holes] = True
        self.taken[above] = False
        to = np.arange(self.taken.size)
        to[above] = holes
        here = self.slot >= 0
        self.slot[here] = to[self.slot[here]]
        return to[slots]

    def _subtract(self, slots: IntArray, X: Array) -> None:
        """X Xᵀ from the part of the front that the rows of X belong to."""
        side = self.side
        order = np.argsort(slots)
        where, inside = np.divmod(slots[order], side)
        parts: list[tuple[int, list[tuple[slice, slice]] | None, Array]] = []
        for i in np.unique(where):
            at = np.flatnonzero(where == i)
            few = at.size < _MOST_OF * side
            rows = np.zeros((at.size if few else side, X.shape[1]), order="F")
            rows[slice(None) if few else inside[at]] = X[order[at]]
            parts.append((int(i), _runs(inside[at]) if few else None, rows))
        whole = [(slice(None), slice(None))]
        for number, (i, rows_at, a) in enumerate(parts):
            for j, columns_at, b in parts[: number + 1]:
                if rows_at is None and columns_at is None:
                    self.tiles[i, j] = blas.dgemm(-1.0, a, b, 1.0, self._tile(i, j), trans_b=1, overwrite_c=1)
                    continue
                tile, less = self._tile(i, j), blas.dgemm(1.0, a, b, trans_b=1)
                for column, column_of in columns_at or whole:
                    for row, row_of in rows_at or whole:
                        tile[row, column] -= less[row_of, column_of]


def _runs(at: IntArray) -> list[tuple[slice, slice]]:
    """Where increasing numbers follow one another: the numbers of each run, and its places."""
    ends = [0, *(np.flatnonzero(np.diff(at) != 1) + 1), at.size]
    return [(slice(at[a], at[b - 1] + 1), slice(a, b)) for a, b in pairwise(ends)]


def prove_by_front(system: Front, proposal: Multipliers) -> Scaling | None:
    """The proposal with the least of a few rooms with which it is proven, or None.

    The room is spread over the layers as in `block_cholesky`, and it sets the weight of the equations.
    """
    if not all(np.isfinite(x).all() and (x > 0.0).all() for x in (proposal.lam, proposal.mu)):
        return None
    d, m = np.sqrt(proposal.lam), np.sqrt(proposal.mu) * proposal.input_scale
    if proposal.scale is not None:
        d = d * proposal.scale
    if m.size != 1 or d.size != system.groups or not (np.isfinite(d).all() and np.isfinite(m).all()):
        return None
    height = np.ones(d.size)
    layers = system.system.layers
    for number, layer in enumerate(layers[:-1]):
        height[layer.groups] = 1.0 - (number + 1.0) / len(layers)
    for room in system.rooms():
        trial = Scaling(d * (1.0 + room) ** height, m * (1.0 + room))
        if system.holds(trial, _EQUATIONS / room):
            return trial
    return None
