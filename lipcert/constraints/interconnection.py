"""Lowering: a graph as Q z = R u, y = Y u with u = [v; x] (docs/theory.md 1 and 2, (R)).

`lower` runs once through the graph and carries, for every node, its increment as a matrix T acting on the columns seen
so far. It is written over an `Arithmetic`, so that plain floating point and rigorous enclosures take the same path.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

import numpy as np

from lipcert.errors import InvalidRequest, NotCertified
from lipcert.graph.linear_maps import Diagonal, Index
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input
from lipcert.graph.sizes import activations

if TYPE_CHECKING:
    from lipcert.activations.record import NormalForm
    from lipcert.arrays import Array, BoolArray, IntArray
    from lipcert.graph.linear_maps import LinearMap


T = TypeVar("T")


class Arithmetic(Protocol[T]):
    """Matrix arithmetic for `lower`: plain floating point here, enclosures in `lipcert.certificates.enclosure`.

    A T stands for a matrix (rows, columns).
    """

    def shape(self, x: T) -> tuple[int, int]:
        """Its shape."""

    def unit(self, rows: int, columns: int, at: int) -> T:
        """The identity of size `rows` in columns at … at + rows, zero elsewhere."""

    def placed(self, a: LinearMap, columns: int, at: int) -> T:
        """A in columns at, at + 1, … and zeros elsewhere."""

    def zeros(self, rows: int, columns: int) -> T:
        """The zero matrix."""

    def widen(self, x: T, columns: int) -> T:
        """x with zero columns appended up to `columns`."""

    def columns(self, x: T, start: int, stop: int) -> T:
        """The columns start … stop of x."""

    def hstack(self, parts: list[T]) -> T:
        """Matrices side by side."""

    def vstack(self, parts: list[T]) -> T:
        """Matrices of equal width on top of each other."""

    def apply(self, a: LinearMap, x: T) -> T:
        """A x, the map's own radius included."""

    def add(self, x: T, y: T) -> T:
        """x + y for equal shapes."""

    def blocks(self, small: Array, radius: Array | None, x: T) -> T:
        """blkdiag(S_1, S_2, …) x for `small` of shape (b, out, in), b = 1 meaning all blocks alike."""

    def product(self, x: T, y: T) -> T:
        """x y."""

    def solve(self, a: T, b: T) -> T:
        """The solution of (I − A) X = B; raises `NotCertified` where I − A is not (provably) invertible."""


class FloatArithmetic:
    """Plain float64: T is an array."""

    def shape(self, x: Array) -> tuple[int, int]:
        return x.shape  # type: ignore[return-value]

    def unit(self, rows: int, columns: int, at: int) -> Array:
        return np.eye(rows, columns, at)

    def placed(self, a: LinearMap, columns: int, at: int) -> Array:
        out = np.zeros((a.shape[0], columns))
        out[:, at : at + a.shape[1]] = a.to_dense()
        return out

    def zeros(self, rows: int, columns: int) -> Array:
        return np.zeros((rows, columns))

    def widen(self, x: Array, columns: int) -> Array:
        if x.shape[1] == columns:
            return x
        out = np.zeros((x.shape[0], columns))
        out[:, : x.shape[1]] = x
        return out

    def columns(self, x: Array, start: int, stop: int) -> Array:
        return x[:, start:stop]

    def hstack(self, parts: list[Array]) -> Array:
        return np.hstack(parts)

    def vstack(self, parts: list[Array]) -> Array:
        return np.vstack(parts)

    def apply(self, a: LinearMap, x: Array) -> Array:
        return a @ x

    def add(self, x: Array, y: Array) -> Array:
        return x + y

    def blocks(self, small: Array, radius: Array | None, x: Array) -> Array:
        return apply_blocks(small, x)

    def product(self, x: Array, y: Array) -> Array:
        return x @ y

    def solve(self, a: Array, b: Array) -> Array:
        try:
            return np.asarray(np.linalg.solve(np.eye(a.shape[0]) - a, b), dtype=np.float64)
        except np.linalg.LinAlgError:
            raise NotCertified("I − DK is singular in an implicit layer: its equation has no unique solution") from None


def apply_blocks(small: Array, x: Array) -> Array:
    """blkdiag(S_1, S_2, …) x for S of shape (b, out, in), b = 1 or the number of blocks; x (blocks·in, columns)."""
    _, rows, inner = small.shape
    if inner == 1 and rows == 1:
        return small.reshape(-1, 1) * x
    if inner == 0 or rows == 0:
        return np.zeros((small.shape[0] * rows, x.shape[1]))
    return np.asarray(small @ x.reshape(-1, inner, x.shape[1])).reshape(-1, x.shape[1])


@dataclass(frozen=True, eq=False)
class Groups:
    """The multiplier groups of an interconnection.

    Attributes
    ----------
    count
        Number of groups.
    row, column
        The group of each row of R, and of each channel column.
    channel, layer
        For each group a label that is equal within a convolution channel, and within a layer: the ties.
    """

    count: int
    row: IntArray
    column: IntArray
    channel: IntArray
    layer: IntArray

    @property
    def channels(self) -> int:
        """Number of channel columns."""
        return self.column.size


@dataclass(frozen=True, eq=False)
class Interconnection(Generic[T]):
    """Q z = R u and y = Y u, u = [v; x].

    Attributes
    ----------
    R, Y
        Matrices (rows, channels + inputs), (outputs, channels + inputs), as arrays or as enclosures.
    groups
        The multiplier groups.
    inputs
        Number of input columns; they are the last ones.
    implicit
        Whether a fixed point is part of it: then the channel part of (C) also proves well-posedness.
    """

    R: T
    Y: T
    groups: Groups
    inputs: int
    implicit: bool


@overload
def lower(graph: Graph, *, signs: IntArray | None = None) -> Interconnection[Array]: ...


@overload
def lower(graph: Graph, arithmetic: Arithmetic[T], signs: IntArray | None = None) -> Interconnection[T]: ...


def lower(
    graph: Graph, arithmetic: Arithmetic[Any] | None = None, signs: IntArray | None = None
) -> Interconnection[Any]:
    """The interconnection of a graph.

    Parameters
    ----------
    graph
        The network; comparator networks are expected to be expanded already.
    arithmetic
        An `Arithmetic`; plain float64 by default.
    signs
        (groups,) of each multiplier group 0, or the sign s with which its channel leaves as Δv = s Q Δz; only channels that
        `signed_channels` marks have one.

    Raises
    ------
    NotCertified
        If I − DK of an implicit layer is not invertible.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> lower(nn.sequential(nn.linear([[2.0]]), nn.relu(), nn.linear([[3.0]]))).R
    array([[0., 2.]])
    """
    run = _Lowering(FloatArithmetic() if arithmetic is None else arithmetic, graph.input_size, signs)
    return run.finish(run.through(graph))


def signed_channels(graph: Graph) -> BoolArray:
    """For each multiplier group whether it is one channel, Δv = s Q Δz with a number s in [−1, 1], in a network of layers.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> signed_channels(nn.sequential(nn.linear([[1.0], [2.0]]), nn.maxmin(), nn.group_sort(2)))
    array([ True,  True])
    """
    found = [np.zeros(0, dtype=bool)]
    for node in activations(graph):
        channels, rows, groups = node.form_sizes
        if channels:
            found.append(np.full(node.blocks * groups, channels == rows == groups == 1))
    signed = np.concatenate(found)
    implicit = any(isinstance(node, FixedPoint) for _, node in graph.walk())
    return np.zeros_like(signed) if implicit else signed


class _Lowering(Generic[T]):
    """The state of one lowering: columns are [x, v₁, v₂, …] in the order of appearance until `finish` moves x last."""

    def __init__(self, arithmetic: Arithmetic[T], inputs: int, signs: IntArray | None = None) -> None:
        self.ar = arithmetic
        self.signs = signs
        self.seen = 0
        self.inputs = inputs
        self.width = inputs
        self.implicit = False
        self.rows: list[T] = []
        self.row_groups: list[IntArray] = []
        self.column_groups: list[IntArray] = []
        self.channels: list[IntArray] = []
        self.layers: list[IntArray] = []
        self.groups = 0
        self.labels = 0

    def through(self, graph: Graph) -> T:
        """Run the increments of the inputs, which are the first columns, through the graph; the increment of its output."""
        ar = self.ar
        steps = list(graph.walk())
        uses = Counter(parent for _, node in steps for parent in node.parents)
        uses[graph.output] += 1
        starts = itertools.accumulate((graph.nodes[i].size for i in graph.inputs), initial=0)
        start = dict(zip(graph.inputs, starts, strict=False))
        direct = {p for _, node in steps if not isinstance(node, Affine) for p in node.parents} | {graph.output}
        value: dict[int, T] = {}
        for position, node in steps:
            match node:
                case Input():
                    if position in direct:
                        value[position] = ar.unit(node.size, self.inputs, start[position])
                case Affine():
                    parts = [
                        ar.placed(a, self.inputs, start[p]) if p in start else ar.apply(a, value[p])
                        for p, a in zip(node.parents, node.maps, strict=True)
                    ]
                    width = max(ar.shape(part)[1] for part in parts)
                    total = ar.widen(parts[0], width)
                    for part in parts[1:]:
                        total = ar.add(total, ar.widen(part, width))
                    value[position] = total
                case Activation():
                    form = node.normal_form
                    value[position] = self._activation(form, node, value[node.parent])
                case FixedPoint():
                    value[position] = self._fixed_point(node, [value[p] for p in node.parents])
            for parent in node.parents:
                uses[parent] -= 1
                if not uses[parent]:
                    value.pop(parent, None)
        return value[graph.output]

    def _activation(self, form: NormalForm, node: Activation, z: T) -> T:
        """Δw = K Δz + P Δv, and the rows Q Δz."""
        ar = self.ar
        w = ar.blocks(form.K, form.K_radius, z)
        channels = form.P.shape[2] * node.blocks
        if not channels:
            return w
        signs = None if self.signs is None else self.signs[self.seen : self.seen + node.blocks * form.groups]
        self.seen += node.blocks * form.groups
        if signs is not None and signs.any():
            return self._signed(form, node, signs, z, w)
        self.rows.append(ar.blocks(form.Q, form.Q_radius, z))
        block = np.arange(node.blocks)[:, None] * form.groups + self.groups
        self.row_groups.append((block + form.row_group).ravel())
        self.column_groups.append((block + form.column_group).ravel())
        label = np.arange(node.blocks) if node.channel is None else node.channel
        self.channels.append(np.repeat(label + self.labels, form.groups))
        self.layers.append(np.full(node.blocks * form.groups, len(self.layers)))
        self.labels += int(label.max()) + 1
        self.groups += node.blocks * form.groups
        at = self.width
        self.width += channels
        w = ar.widen(w, self.width)
        fresh = ar.blocks(form.P, form.P_radius, ar.unit(channels, self.width, at))
        return ar.add(w, fresh)

    def _signed(self, form: NormalForm, node: Activation, signs: IntArray, z: T, w: T) -> T:
        """As `_activation`, where some channels have a sign: Δv_i = s_i (Q Δz)_i, and the others are free."""
        ar = self.ar
        if form.P.shape[2] != 1 or form.Q.shape[1] != 1:
            raise InvalidRequest("a sign was given to a channel that has none")
        free = np.flatnonzero(signs == 0)
        moduli = ar.blocks(form.Q, form.Q_radius, z)
        v = ar.apply(Diagonal(signs.astype(np.float64)), moduli)
        label = np.arange(node.blocks) if node.channel is None else node.channel
        self.labels, base = self.labels + int(label.max()) + 1, self.labels
        self.layers.append(np.full(free.size, len(self.layers)))
        at = self.width
        self.width += free.size
        v = ar.widen(v, self.width)
        if free.size:
            self.rows.append(ar.apply(Index(free, node.blocks), moduli))
            own = np.arange(self.groups, self.groups + free.size)
            self.row_groups.append(own)
            self.column_groups.append(own)
            self.channels.append(label[free] + base)
            self.groups += free.size
            place = np.full(node.blocks, -1)
            place[free] = np.arange(free.size)
            v = ar.add(v, ar.placed(Index(place, free.size), self.width, at))
        return ar.add(ar.widen(w, self.width), ar.blocks(form.P, form.P_radius, v))

    def _fixed_point(self, node: FixedPoint, parameters: list[T]) -> T:
        """s = A s + B p + C v solved for s; the rows of the cell in terms of p and v."""
        if self.signs is not None:
            raise InvalidRequest("channels of a network with an implicit layer have no signs")
        ar = self.ar
        self.implicit = True
        state = node.size
        cell = _Lowering(ar, node.cell.input_size)
        following = ar.widen(cell.through(node.cell), cell.width)
        # s = (I − A)⁻¹ [B C] [p; v]
        solved = ar.solve(ar.columns(following, 0, state), ar.columns(following, state, cell.width))
        inner = cell.width - cell.inputs
        base = len(self.layers)
        at = self.width
        self.width += inner
        size = cell.inputs - state
        outer = [ar.widen(p, self.width) for p in parameters]
        drive = ar.vstack([*outer, ar.unit(inner, self.width, at)])
        s = ar.product(solved, drive)
        assert ar.shape(solved)[1] == size + inner
        for rows in cell.rows:
            rows = ar.widen(rows, cell.width)
            through_state = ar.product(ar.columns(rows, 0, state), s)
            self.rows.append(ar.add(through_state, ar.product(ar.columns(rows, state, cell.width), drive)))
        self.row_groups += [g + self.groups for g in cell.row_groups]
        self.column_groups += [g + self.groups for g in cell.column_groups]
        self.channels += [c + self.labels for c in cell.channels]
        self.layers += [c + base for c in cell.layers]
        self.groups += cell.groups
        self.labels += cell.labels
        return s

    def finish(self, y: T) -> Interconnection[T]:
        """Move the inputs behind the channels and put the rows together."""
        ar = self.ar
        none = np.zeros(0, dtype=np.int64)

        def reorder(x: T) -> T:
            x = ar.widen(x, self.width)
            return ar.hstack([ar.columns(x, self.inputs, self.width), ar.columns(x, 0, self.inputs)])

        parts = [reorder(x) for x in self.rows]
        self.rows.clear()
        R = ar.vstack(parts) if parts else ar.zeros(0, self.width)
        groups = Groups(
            self.groups,
            np.concatenate([none, *self.row_groups]),
            np.concatenate([none, *self.column_groups]),
            np.concatenate([none, *self.channels]),
            np.concatenate([none, *self.layers]),
        )
        return Interconnection(R, reorder(y), groups, self.inputs, self.implicit)
