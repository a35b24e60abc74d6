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
import scipy.sparse as sp
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
    from lipcert.graph.linear_maps import LinearMap
    from lipcert.ranges.hints import Multipliers
    from lipcert.regions import Region

    Matrix = Array | sp.csr_array

# slopes that differ by less than this part are one slope with a radius
_ONE_SLOPE = 2.0**-34
# by how much I − BBᵀ has to exceed zero at least: errors of the size of rounding are divided by its root
_CLEAR = 2.0**-30
# covers what underflows in a root of a sum of squares
_ROOT_TINY = 2.0**-490
_LARGEST_SCALING = 2.0**400
# the part of entries that are not zero from which a matrix is dense
_DENSE = 0.1
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
    return float(up(up(np.sqrt(region.size)) * region.radius))


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
            most = system.reach(rows)
        if most is None:
            return None
        most = up(radius * most)
        around = self.around[target].take(rows)
        return Interval(down(around.low - most), up(around.high + most))


@dataclass(frozen=True, eq=False)
class Signal:
    """The rows of a signal over ũ: those of `mid` up to vectors of at most these lengths."""

    mid: Matrix
    error: Array

    @property
    def lengths(self) -> Array:
        """The Euclidean norms of the rows of `mid`, rounded up."""
        return row_lengths(self.mid)


def row_lengths(x: Matrix) -> Array:
    """The Euclidean norms of the rows, rounded up.

    Examples
    --------
    >>> bool(5.0 <= row_lengths(np.array([[3.0, 4.0]]))[0] < 5.0000001)
    True
    """
    squares = np.einsum("ij,ij->i", x, x) if isinstance(x, np.ndarray) else (x * x).sum(axis=1)
    return np.sqrt(squares) * (1.0 + gamma(x.shape[1] + 8)) + _ROOT_TINY


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
        y = dense(self.target.mid[rows], self.B.shape[1])
        eps = float(outward(np.asarray(self.spread * (2.0 + self.spread)), 2))
        if not (np.isfinite(self.B).all() and np.isfinite(y).all() and eps < 0.5):
            return None
        factor = factorised(self.B, eps)
        if factor is None:
            return None
        L, root = factor
        norms = row_lengths(y)
        b = self.B @ y.T
        s = np.asarray(blas.dtrsm(1.0, L, b, lower=1)) if b.size else b
        rest = residual(L, s, b) + product_error(self.B, norms)
        return reach(norms, row_lengths(s.T), rest, self.target.error[rows], root, eps)


def residual(L: Array, s: Array, b: Array) -> Array:
    """At least ‖b − L s‖ for each column."""
    left = b - np.asarray(blas.dtrmm(1.0, L, s, lower=1)) if b.size else b
    size = length(row_lengths(L)) * row_lengths(s.T) + row_lengths(b.T)
    return outward(row_lengths(left.T) + gamma(L.shape[0] + 4) * size, 4)


def product_error(B: Array, lengths: Array) -> Array:
    """At least ‖fl(B y) − B y‖ for vectors of these lengths: |fl(B y) − B y|_i ≤ γ ‖B_i‖ ‖y‖."""
    return outward(gamma(B.shape[1] + 2) * length(row_lengths(B)) * lengths, 4)


def reach(norms: Array, solved: Array, rest: Array, error: Array, root: float, eps: float) -> Array:
    """√(‖y‖² + (‖ŝ‖ + ‖rest‖/√delta)²)/√(1 − eps) + ‖e‖/√delta, rounded up; infinite where a number is not finite."""
    whole = np.sqrt(norms**2 + (solved + rest / root) ** 2) / np.sqrt(1.0 - eps) + error / root
    return np.asarray(np.where(np.isfinite(whole), whole * (1.0 + 32.0 * UNIT) + _ROOT_TINY, np.inf))


def outward(x: Array, k: int) -> Array:
    """At least what x would be without rounding, where it is made of nonnegative numbers by about k operations each."""
    return np.asarray(x * (1.0 + 2.0 * gamma(k + 8)) + TINY)


def length(x: Array) -> float:
    """The Euclidean norm of a vector of nonnegative numbers, rounded up."""
    return float(row_lengths(x[None])[0])


def factorised(B: Array, eps: float) -> tuple[Array, float] | None:
    """L̂ and at most √delta with (1 − eps) I − B̂B̂ᵀ ⪰ L̂L̂ᵀ + delta I proven (Rump, BIT 2006); None where it is not."""
    G = gram(B)
    q = G.shape[0]
    error = gamma(B.shape[1] + 2) * norm_bound(np.abs(B)) ** 2 + TINY
    # no entry of the diagonal is above one
    room = cholesky_room(q, float(q))
    delta = max(_CLEAR, 4.0 * (error + room))
    shift = float(outward(np.asarray(eps + error + room + delta), 3))
    np.negative(G, out=G)
    G[np.diag_indices(q)] += 1.0 - shift
    if not np.isfinite(G).all():
        return None
    if not q:
        return G, float(down(np.sqrt(0.5)))
    # one triangle is read, so the matrix is exactly symmetric
    L, info = lapack.dpotrf(G, lower=True, clean=True, overwrite_a=True)
    return (L, float(down(np.sqrt(delta)))) if info == 0 else None


def affine_error(a: LinearMap, parents: int, error: Array, lengths: Array) -> Array:
    """What A adds to the errors of rows: of its entries, of its products, and of the sum with the terms of other parents."""
    moved = a.magnitude() @ (error + gamma(a.terms + parents + 1) * lengths)
    if a.radius is not None:
        moved = moved + a.radius @ (lengths + error)
    return outward(moved, a.terms + 4)


def form_error(small: Array, spread: Array, error: Array, lengths: Array) -> Array:
    """The same for blkdiag(S) up to `spread`, and a factor a row: (blocks, out) from (blocks, in)."""
    block = small.shape[2]
    moved = summed(np.abs(small), error + gamma(block + 4) * lengths) + summed(spread, lengths + error)
    return outward(moved, 2 * block + 4)


def column_error(P: Array, spread: Array, inverse: Array) -> Array:
    """The lengths of the errors of the rows of P diag(1/d), where the inverses are rounded."""
    return outward(((spread + gamma(4) * np.abs(P)) * inverse).sum(axis=2), P.shape[2] + 4)


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
        if height > _MOST_UNKNOWNS or 16.0 * self.width * height > _MOST_BYTES:
            raise DoesNotApply("the network in front is too large for dense ellipsoids")
        self.B = np.zeros((height, self.width), order="F")
        self.lost = np.zeros(height)
        self.column, self.row = first, 0
        self.values: dict[int, Signal] = {}
        last = {parent: position for position, node in nodes for parent in node.parents}
        with np.errstate(all="ignore"):
            for position, node in nodes:
                self.values[position] = self._value(position, node, forms.get(position), moving)
                for parent in {p for p in node.parents if last[p] == position}:
                    del self.values[parent]

    def _value(self, position: int, node: Node, form: _Form | None, moving: BoolArray) -> Signal:
        match node:
            case Input():
                at = np.flatnonzero(moving)
                mid = sp.csr_array((np.ones(at.size), (at, np.arange(at.size))), shape=(node.size, at.size))
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
        mid: Matrix | None = None
        error = np.zeros(node.size)
        for parent, a in zip(node.parents, node.maps, strict=True):
            x = self.values[parent]
            lengths = x.lengths
            part = a @ x.mid if isinstance(x.mid, np.ndarray) else thinned(sp.csr_array(a.to_sparse() @ x.mid))
            mid = part if mid is None else plus(mid, part)
            error = outward(error + affine_error(a, len(node.maps), x.error, lengths), len(node.maps))
        assert mid is not None
        return Signal(mid, error)

    def _activation(self, position: int, node: Activation, on: _Form) -> Signal:
        """w = K z + P v, with new columns for v, and new rows Q z of B."""
        form, z = on.form, self.values[node.parent]
        blocks, chosen = node.blocks, np.flatnonzero(on.open)
        lengths, error = (part.reshape(blocks, node.block) for part in (z.lengths, z.error))
        mid = blockwise(form.K, blocks, z.mid)
        lost = form_error(form.K, on.K_radius, error, lengths)
        if chosen.size:
            P, P_radius = (of_blocks(part, chosen) for part in (form.P, _radius(form.P, form.P_radius)))
            Q, Q_radius = (of_blocks(part, chosen) for part in (form.Q, _radius(form.Q, form.Q_radius)))
            scale = self._scale(position, node, form)[chosen]
            inverse = (1.0 / scale)[:, None, form.column_group]
            mid = beside(mid, self.column, P * inverse, chosen, blocks)
            lost[chosen] = outward(lost[chosen] + column_error(P, P_radius, inverse), 1)
            self.column += chosen.size * P.shape[2]
            d = scale[:, form.row_group]
            rows = slice(self.row, self.row + chosen.size * Q.shape[1])
            taken = z.mid[(chosen[:, None] * node.block + np.arange(node.block)).ravel()]
            new = dense(blockwise(Q, chosen.size, taken), z.mid.shape[1])
            self.B[rows, : new.shape[1]] = new * d.reshape(-1, 1)
            self.lost[rows] = outward(d * form_error(Q, Q_radius, error[chosen], lengths[chosen]), 1).ravel()
            self.row = rows.stop
        return Signal(mid, lost.ravel())

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


def thinned(x: sp.csr_array) -> Matrix:
    """A matrix in the form in which products with it take least time."""
    return x.toarray() if x.nnz > _DENSE * x.shape[0] * x.shape[1] else x


def dense(x: Matrix, width: int) -> Array:
    """The matrix with columns of zeros up to a width."""
    full = x if isinstance(x, np.ndarray) else np.asarray(x.toarray())
    return np.pad(full, ((0, 0), (0, width - full.shape[1]))) if full.shape[1] < width else full


def plus(x: Matrix, y: Matrix) -> Matrix:
    """The sum; the narrower one has no further columns."""
    width = max(x.shape[1], y.shape[1])
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return dense(x, width) + dense(y, width)
    return thinned(sp.csr_array(_wider(x, width) + _wider(y, width)))


def beside(x: Matrix, column: int, P: Array, chosen: IntArray, blocks: int) -> Matrix:
    """[x, P] with columns of zeros between them up to `column`, P of the chosen blocks in their rows."""
    count, out, inner = np.broadcast_shapes(P.shape, (chosen.size, 1, 1))
    row = (chosen[:, None, None] * out + np.arange(out)[:, None]) + np.zeros((1, 1, inner), dtype=np.int64)
    at = (np.arange(count)[:, None, None] * inner + np.arange(inner)) + np.zeros((1, out, 1), dtype=np.int64)
    new = sp.csr_array(
        (np.broadcast_to(P, row.shape).ravel(), (row.ravel(), at.ravel())), (blocks * out, count * inner)
    )
    if isinstance(x, np.ndarray):
        return np.hstack([dense(x, column), new.toarray()])
    return sp.csr_array(sp.hstack([_wider(x, column), new]))


def _wider(x: sp.csr_array, width: int) -> sp.csr_array:
    return sp.csr_array((x.data, x.indices, x.indptr), shape=(x.shape[0], width))


def blockwise(small: Array, blocks: int, x: Matrix) -> Matrix:
    """blkdiag(S_1, S_2, …) x for S of shape (1 or blocks, out, in)."""
    if not isinstance(x, np.ndarray):
        return sp.csr_array(block_diagonal(small, blocks) @ x)
    if small.shape[1:] == (1, 1):
        return np.asarray(small.reshape(-1, 1) * x)
    inner = small.shape[2]
    return np.asarray(small @ x.reshape(-1, inner, x.shape[1])).reshape(-1, x.shape[1])


def block_diagonal(small: Array, blocks: int) -> sp.csr_array:
    """blkdiag(S_1, …, S_blocks) for S of shape (1 or blocks, rows, columns)."""
    _, rows, columns = small.shape
    data = np.broadcast_to(small, (blocks, rows, columns)).ravel()
    indices = np.arange(blocks)[:, None, None] * columns + np.arange(columns) + np.zeros((1, rows, 1), dtype=np.int64)
    indptr = np.arange(blocks * rows + 1) * columns
    return sp.csr_array((data, indices.ravel(), indptr), shape=(blocks * rows, blocks * columns))


def summed(small: Array, x: Array) -> Array:
    """The same of numbers (blocks, in), as (blocks, out)."""
    return np.asarray((small * x[:, None, :]).sum(axis=2))


def of_blocks(small: Array, chosen: IntArray) -> Array:
    """The matrices of some blocks; one for all stays one."""
    return small if small.shape[0] == 1 else small[chosen]


def _radius(x: Array, radius: Array | None) -> Array:
    return np.zeros_like(x) if radius is None else np.broadcast_to(radius, x.shape)
