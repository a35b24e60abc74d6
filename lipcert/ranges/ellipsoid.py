"""Ellipsoids: the third source of ranges, all rows of a layer by one factorisation (docs/proof.md, 'Ellipsoids').

The signals of a network from the centre c of a ball on are linear in u = [x − c; Δv], Δw = K Δz + P Δv, ‖Δv_g‖ ≤ ‖(Q Δz)_g‖
with the slopes that are possible from the centre on. With multipliers lam > 0 of the groups and the scaling
u = diag(1, 1/√lam) ũ, and with B the rows Q Δz, each times √lam,

    ‖ũ‖² − ‖B ũ‖² = ‖x − c‖² + Σ_g lam_g (‖Δv_g‖² − ‖(Q Δz)_g‖²) ≤ r²,

so, as soon as I − BᵀB ≻ 0, every row y of every signal moves by at most r √(y (I − BᵀB)⁻¹ yᵀ), which is

    r √(‖y‖² + ‖L⁻¹ B yᵀ‖²),   L Lᵀ = I − B Bᵀ.

The matrix is as large as there are neurons with more than one slope. Multipliers are hints: any positive ones are sound,
and none beyond the check that I − BBᵀ ≻ 0 is trusted.

Rounding: a signal is known as a matrix over ũ up to a vector of at most so much length in each row, and these lengths are
carried through the layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import blas, lapack

from lipcert import budget
from lipcert.activations.record import NormalForm, Pointwise, slope_centre
from lipcert.definite import cholesky_room, gram, norm_bound
from lipcert.errors import DoesNotApply, LipcertError
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input, Node
from lipcert.norms import Norm
from lipcert.regions import Ball, free
from lipcert.rounding import TINY, UNIT, Interval, down, gamma, up
from lipcert.threads import threads_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lipcert.arrays import Array, BoolArray, IntArray
    from lipcert.ranges.hints import Multipliers
    from lipcert.regions import Region

# slopes that differ by less than this part are one slope with a radius
_ONE_SLOPE = 2.0**-34
# by how much I − BBᵀ has to exceed zero at least: errors of the size of rounding are divided by its root
_CLEAR = 2.0**-30
# covers what underflows in a root of a sum of squares
_ROOT_TINY = 2.0**-490
_LARGEST_SCALING = 2.0**400
_MOST_UNKNOWNS, _MOST_BYTES = 8000, 2.0**31


def euclidean_radius(region: Region) -> float | None:
    """A radius of a Euclidean ball around the centre that holds the region; None where there is no centre.

    Examples
    --------
    >>> euclidean_radius(Ball([0.0, 0.0], 0.5))
    0.5
    """
    if not isinstance(region, Ball) or region.piece:
        return None
    if region.norm is not Norm.LINF:
        return region.radius
    return float(np.sqrt(region.size) * region.radius) * (1.0 + 8.0 * UNIT)


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """The network in front of a signal on a ball, and multipliers of its activations.

    Attributes
    ----------
    graph
        The network, with one input.
    region
        The ball.
    found
        Ranges of the signals in front.
    around
        Enclosures of all signals at the centre.
    multipliers
        As proposed by somebody.
    """

    graph: Graph
    region: Region
    found: Mapping[int, Interval]
    around: Mapping[int, Interval]
    multipliers: Multipliers

    def range(self, target: int, rows: IntArray) -> Interval | None:
        """Proven ranges of some numbers of a node; None where nothing is proven.

        Parameters
        ----------
        target
            The position of the node.
        rows
            Which of its numbers.
        """
        radius = euclidean_radius(self.region)
        if radius is None:
            return None
        budget.check()
        try:
            system = System.of(self, target)
        except LipcertError:
            return None
        with np.errstate(all="ignore"), threads_for(float(system.B.shape[0]) ** 2 * system.B.shape[1]):
            reach = system.reach(rows)
        if reach is None:
            return None
        reach = up(radius * reach)
        around = self.around[target].take(rows)
        return Interval(down(around.low - reach), up(around.high + reach))


@dataclass(frozen=True, eq=False)
class Signal:
    """The rows of a signal over ũ: those of `mid` up to vectors of at most these lengths."""

    mid: Array
    error: Array

    @property
    def lengths(self) -> Array:
        """The Euclidean norms of the rows of `mid`, rounded up."""
        return row_lengths(self.mid)


def row_lengths(x: Array) -> Array:
    """The Euclidean norms of the rows, rounded up.

    Examples
    --------
    >>> bool(5.0 <= row_lengths(np.array([[3.0, 4.0]]))[0] < 5.0000001)
    True
    """
    return np.sqrt(np.einsum("ij,ij->i", x, x)) * (1.0 + gamma(x.shape[1] + 8)) + _ROOT_TINY


@dataclass(frozen=True, eq=False)
class System:
    """B, the rows of the target, and a bound on the Frobenius norm of the error of B."""

    B: Array
    spread: float
    target: Signal

    @classmethod
    def of(cls, ellipsoid: Ellipsoid, target: int) -> System:
        """The system in front of a node.

        Raises
        ------
        DoesNotApply
            If an implicit layer, an unbounded slope or a wrong multiplier is in front of it, or it is too large.
        """
        sweep = _Sweep(ellipsoid, replace(ellipsoid.graph, output=target))
        return cls(sweep.B, length(sweep.lost), sweep.values[target])

    def reach(self, rows: IntArray) -> Array | None:
        """At least √(y (I − BᵀB)⁻¹ yᵀ) for these rows of the target; None where I − BᵀB is not proven positive definite.

        With A = (1 − eps)(I − B̂ᵀB̂/(1 − eps)) ⪯ I − BᵀB for all B that are meant, and (1 − eps) I − B̂B̂ᵀ ⪰ L̂L̂ᵀ + delta I,

            √(y A⁻¹ yᵀ) ≤ √(‖y‖² + (‖ŝ‖ + ‖rest‖/√delta)²)/√(1 − eps),   L̂ŝ + rest = B̂yᵀ,   √(e A⁻¹ eᵀ) ≤ ‖e‖/√delta.
        """
        y = self.target.mid[rows]
        n = self.B.shape[1]
        norms = row_lengths(y)
        eps = self.spread * (2.0 + self.spread) * (1.0 + 4.0 * UNIT)
        if not (np.isfinite(self.B).all() and np.isfinite(y).all() and eps < 0.5):
            return None
        factor = factorised(self.B, eps)
        if factor is None:
            return None
        L, root = factor
        b = self.B @ y.T
        s = np.asarray(blas.dtrsm(1.0, L, b, lower=1)) if b.size else b
        left = b - np.asarray(blas.dtrmm(1.0, L, s, lower=1)) if b.size else b
        solved = row_lengths(s.T)
        rest = row_lengths(left.T) + gamma(b.shape[0] + 8) * (length(row_lengths(L)) * solved + row_lengths(b.T))
        rest = rest + gamma(n + 4) * length(row_lengths(self.B)) * norms
        whole = np.sqrt(norms**2 + (solved + rest / root) ** 2) / np.sqrt(1.0 - eps) + self.target.error[rows] / root
        return np.asarray(np.where(np.isfinite(whole), whole * (1.0 + 64.0 * UNIT) + TINY, np.inf))


def length(x: Array) -> float:
    """The Euclidean norm of a vector of nonnegative numbers, rounded up."""
    return float(row_lengths(x[None])[0])


def factorised(B: Array, eps: float) -> tuple[Array, float] | None:
    """L̂ and at most √delta with (1 − eps) I − B̂B̂ᵀ ⪰ L̂L̂ᵀ + delta I proven (Rump, BIT 2006); None where it is not."""
    G = gram(B)
    q = G.shape[0]
    error = gamma(B.shape[1] + 2) * norm_bound(np.abs(B)) ** 2 + TINY
    diagonal = np.diag_indices(q)
    # no entry of the diagonal is above one
    room = cholesky_room(q, float(q))
    delta = max(_CLEAR, 4.0 * (error + room))
    np.negative(G, out=G)
    G[diagonal] += 1.0 - (eps + error + room + delta) * (1.0 + 8.0 * UNIT)
    if not np.isfinite(G).all():
        return None
    if not q:
        return G, float(np.sqrt(0.5))
    # one triangle is read, so the matrix is exactly symmetric
    L, info = lapack.dpotrf(G, lower=True, clean=True, overwrite_a=True)
    return (L, float(np.sqrt(delta)) * (1.0 - 4.0 * UNIT)) if info == 0 else None


@dataclass(frozen=True, eq=False)
class _Form:
    """The normal form of an activation on its range, and which of its blocks have channels."""

    form: NormalForm
    K_radius: Array
    open: BoolArray

    @property
    def channels(self) -> int:
        return int(self.open.sum()) * self.form.P.shape[2]

    @property
    def rows(self) -> int:
        return int(self.open.sum()) * self.form.Q.shape[1]


class _Sweep:
    """One pass through the network: every signal as a matrix over ũ, and the rows of B."""

    def __init__(self, ellipsoid: Ellipsoid, graph: Graph) -> None:
        self.given = ellipsoid
        moving = free(ellipsoid.region)
        nodes = list(graph.walk())
        forms = {position: self._form(node) for position, node in nodes if isinstance(node, Activation)}
        first = int(moving.sum())
        self.width = first + sum(form.channels for form in forms.values())
        height = sum(form.rows for form in forms.values())
        largest = max(node.size for _, node in nodes)
        if height > _MOST_UNKNOWNS or 8.0 * self.width * (height + 3.0 * largest) > _MOST_BYTES:
            raise DoesNotApply("the network in front is too large for dense ellipsoids")
        self.B = np.zeros((height, self.width))
        self.lost = np.zeros(height)
        self.column, self.row = first, 0
        self.values: dict[int, Signal] = {}
        last = {parent: position for position, node in nodes for parent in node.parents}
        with np.errstate(all="ignore"), threads_for(float(height) * self.width * largest):
            for position, node in nodes:
                self.values[position] = self._value(position, node, forms.get(position), moving)
                for parent in {p for p in node.parents if last[p] == position}:
                    del self.values[parent]

    def _value(self, position: int, node: Node, form: _Form | None, moving: BoolArray) -> Signal:
        match node:
            case Input():
                mid = np.zeros((node.size, self.width))
                mid[np.flatnonzero(moving), np.arange(int(moving.sum()))] = 1.0
                return Signal(mid, np.zeros(node.size))
            case Affine():
                return self._affine(node)
            case Activation():
                assert form is not None
                return self._activation(position, node, form)
            case FixedPoint():
                raise DoesNotApply("an implicit layer is in front")

    def _form(self, node: Activation) -> _Form:
        """The form that holds from the centre on; neurons with one slope have a radius in place of a channel."""
        record, on = node.record, self.given.found[node.parent]
        # the value at the centre is in both
        around = self.given.around[node.parent].meet(on)
        if not isinstance(record, Pointwise):
            form = record.normal_form(node.block, node.parameters, on, around)
            radius = np.zeros_like(form.K) if form.K_radius is None else np.broadcast_to(form.K_radius, form.K.shape)
            return _Form(form, radius, np.full(node.blocks, form.P.shape[2] > 0))
        slopes = record.slopes_on(node.parameters, on, around)
        if not slopes.bounded.all():
            raise DoesNotApply(f"the slope of {record.name} is unbounded")
        K, P = (np.broadcast_to(part, (node.size,)).reshape(-1, 1, 1) for part in slope_centre(slopes.low, slopes.high))
        open_ = (_ONE_SLOPE * np.abs(K) < P).ravel()
        group = np.zeros(1, dtype=np.int64)
        form = NormalForm(K, P, np.ones((1, 1, 1)), group, group)
        return _Form(form, np.where(open_[:, None, None], 0.0, P), open_)

    def _affine(self, node: Affine) -> Signal:
        """Σ A_k x_k: an entry is a sum of `terms` products, and the terms of all parents are added up."""
        mid: Array | None = None
        error = np.zeros(node.size)
        for parent, a in zip(node.parents, node.maps, strict=True):
            x = self.values[parent]
            lengths = x.lengths
            part = a @ x.mid
            mid = part if mid is None else mid + part
            moved = a.magnitude() @ (x.error + gamma(a.terms + len(node.maps) + 1) * lengths)
            if a.radius is not None:
                moved = moved + a.radius @ (lengths + x.error)
            error = error + moved * (1.0 + 2.0 * gamma(a.terms + len(node.maps) + 16)) + TINY
        assert mid is not None
        return Signal(mid, error)

    def _activation(self, position: int, node: Activation, on: _Form) -> Signal:
        """w = K z + P v, with new columns for v, and new rows Q z of B."""
        form, z = on.form, self.values[node.parent]
        blocks, chosen = node.blocks, np.flatnonzero(on.open)
        lengths, error = (part.reshape(blocks, node.block) for part in (z.lengths, z.error))
        inner = gamma(node.block + 4)
        mid = blockwise(form.K, z.mid)
        lost = summed(np.abs(form.K), error + inner * lengths) + summed(on.K_radius, lengths + error)
        out = mid.shape[0] // blocks
        if chosen.size:
            P, P_radius = (of_blocks(part, chosen) for part in (form.P, _radius(form.P, form.P_radius)))
            Q, Q_radius = (of_blocks(part, chosen) for part in (form.Q, _radius(form.Q, form.Q_radius)))
            scale = self._scale(position, node, form)[chosen]
            inverse = (1.0 / scale)[:, form.column_group]
            count = form.P.shape[2]
            columns = self.column + (np.arange(chosen.size)[:, None] * count + np.arange(count))
            at = chosen[:, None] * out + np.arange(out)
            mid[at[:, :, None], columns[:, None, :]] = P * inverse[:, None, :]
            lost[chosen] += ((P_radius + gamma(4) * np.abs(P)) * inverse[:, None, :]).sum(axis=2)
            d = scale[:, form.row_group]
            rows = slice(self.row, self.row + chosen.size * Q.shape[1])
            taken = (chosen[:, None] * node.block + np.arange(node.block)).ravel()
            self.B[rows] = blockwise(Q, z.mid[taken]) * d.reshape(-1, 1)
            z_error, z_length = error[chosen], lengths[chosen]
            moved = summed(np.abs(Q), z_error + inner * z_length) + summed(Q_radius, z_length + z_error)
            self.lost[rows] = ((d * moved) * (1.0 + gamma(16 + 2 * node.block)) + TINY).ravel()
            self.row, self.column = rows.stop, self.column + columns.size
        outward = 1.0 + 2.0 * gamma(16 + 2 * node.block + form.P.shape[2])
        return Signal(mid, (lost * outward + TINY).ravel())

    def _scale(self, position: int, node: Activation, form: NormalForm) -> Array:
        """√lam of each group, (blocks, groups)."""
        found = self.given.multipliers.get(position)
        if found is None or found.size != node.blocks * form.groups:
            raise DoesNotApply("no multipliers for an activation")
        largest = np.abs(form.P).max(axis=(1, 2), initial=0.0)
        with np.errstate(all="ignore"):
            scale = np.sqrt(found.reshape(node.blocks, form.groups) * np.broadcast_to(largest, node.blocks)[:, None])
        decided = np.broadcast_to(largest == 0.0, node.blocks)[:, None]
        if not np.all(((scale > 1.0 / _LARGEST_SCALING) & (scale < _LARGEST_SCALING)) | decided):
            raise DoesNotApply("a multiplier is no positive number of moderate size")
        return scale


def blockwise(small: Array, x: Array) -> Array:
    """blkdiag(S_1, S_2, …) x for S of shape (1 or blocks, out, in)."""
    if small.shape[1:] == (1, 1):
        return np.asarray(small.reshape(-1, 1) * x)
    inner = small.shape[2]
    return np.asarray(small @ x.reshape(-1, inner, x.shape[1])).reshape(-1, x.shape[1])


def summed(small: Array, x: Array) -> Array:
    """The same of numbers (blocks, in), as (blocks, out)."""
    return np.asarray((small * x[:, None, :]).sum(axis=2))


def of_blocks(small: Array, chosen: IntArray) -> Array:
    """The matrices of some blocks; one for all stays one."""
    return small if small.shape[0] == 1 else small[chosen]


def _radius(x: Array, radius: Array | None) -> Array:
    return np.zeros_like(x) if radius is None else np.broadcast_to(radius, x.shape)
