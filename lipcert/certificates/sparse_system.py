"""What a sparse proof is about: the outputs of the activations kept as unknowns beside the inputs, no signal eliminated.

Of a block of an activation with Δw = K Δz + P Δv, ‖Δv‖ ≤ ‖Q Δz‖ (docs/theory.md 2), any matrix H gives what holds on every
trajectory,

    ‖H(Δw − K Δz)‖² ≤ c²‖Q Δz‖²,   c ≥ ‖H P‖,

for H(Δw − K Δz) = H P Δv. With H = [G; √τ N], G P = I and N P = 0, it is the constraint of the normal form and, weighted by
τ, the equation that P leaves: the sum that a pair preserves, say (Finsler; SCALE: any τ ≥ 0). Neither G nor N has to be
exact. Multiplied by d² and added up,

    M = m²‖x‖² − ‖y‖² + Σ_b d_b² (wᵀA w − 2 wᵀB z + zᵀC z) ≻ 0,   A = HᵀH,  B = A K,  C = KᵀA K − c²QᵀQ,  z = Σ_j W_j w_j

proves ‖Δy‖ < m‖Δx‖. M couples the neighbours in the network alone, since the outputs stay unknowns too: −‖y‖² is the Schur
complement of the identity in [[·, Yᵀ], [Y, I]].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lipcert.certificates.block_cholesky import TooDense, Weights
from lipcert.graph.linear_maps import Convolution, Index
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input
from lipcert.rounding import UNIT, gamma

if TYPE_CHECKING:
    from lipcert.activations.record import NormalForm
    from lipcert.arrays import Array, IntArray
    from lipcert.graph.linear_maps import LinearMap

# largest weight, and (with its inverse) scaling: what underflows on the way is below 2⁻³⁰⁰ then
LARGEST_WEIGHT, LARGEST_SCALING, LARGEST_FORM = 2.0**240, 2.0**120, 2.0**200
# relative size of a singular value of P that counts as zero
_RANK = 1e-10
# slopes that differ by less, relative, are one slope with a radius
_ONE_SLOPE = 2.0**-40
# rounding of radii, which are short sums of nonnegative terms
_OUTWARD = 1.0 + 2.0**-40


@dataclass(frozen=True, eq=False)
class Form:
    """A, B, C of the blocks of an activation: (1 or blocks, rows, columns) each, entries off by at most the radii."""

    A: Array
    B: Array
    C: Array
    A_radius: Array
    B_radius: Array
    C_radius: Array

    @property
    def finite(self) -> bool:
        """Whether all entries are moderate numbers."""
        parts = (self.A, self.B, self.C, self.A_radius, self.B_radius, self.C_radius)
        return all(bool((np.abs(x) < LARGEST_FORM).all()) for x in parts)


@dataclass(frozen=True, eq=False)
class Map:
    """A linear map from one block of unknowns, made a sparse matrix when it is needed."""

    linear: LinearMap

    def get(self) -> Weights:
        a = self.linear
        mid = a.to_sparse()
        if not mid.data.all():
            mid.eliminate_zeros()
        return Weights(mid, None if a.radius is None else a.radius.to_sparse())

    def entries(self) -> int:
        """How many entries it has, about."""
        a = self.linear
        return int(a.kernel.size * np.prod(a.size_out)) if isinstance(a, Convolution) else a.to_sparse().nnz

    def ones(self) -> sp.sparray | LinearMap:
        """The same map with ones for its entries."""
        a = self.linear
        return replace(a, kernel=np.ones_like(a.kernel)) if isinstance(a, Convolution) else pattern(self.get().mid)


@dataclass(frozen=True, eq=False)
class Made:
    """A sparse matrix that several maps were multiplied out to."""

    weights: Weights

    def get(self) -> Weights:
        return self.weights

    def entries(self) -> int:
        """How many entries it has."""
        return int(self.weights.mid.nnz)

    def ones(self) -> sp.sparray | LinearMap:
        """The same map with ones for its entries."""
        return pattern(self.weights.mid)


@dataclass(frozen=True, eq=False)
class Stage:
    """An activation layer, or the outputs.

    Attributes
    ----------
    sources
        z = Σ_j W_j w_j over the blocks of unknowns.
    unknowns
        How many unknowns w the layer has.
    block, out
        Inputs and outputs of a block.
    forms
        Given τ, the forms of its blocks; None for the outputs, whose unknowns are y = z.
    free
        Whether no equation is left beside the constraint, so that τ does not matter.
    groups
        The multiplier group of each block.
    place
        For each unknown its coordinates in space, (unknowns, axes), or None.
    """

    sources: dict[int, Map | Made]
    unknowns: int
    block: int
    out: int
    normal: NormalForm | None
    scalar: tuple[Array, Array] | None
    groups: IntArray
    place: Array | None

    @property
    def is_output(self) -> bool:
        return self.normal is None and self.scalar is None

    @property
    def free(self) -> bool:
        return self.normal is None or self.normal.P.shape[1] == self.normal.P.shape[2]

    def form(self, tau: float) -> Form | None:
        """The forms of the blocks, or None where P has no full rank."""
        if self.scalar is not None:
            return scalar_form(*self.scalar)
        assert self.normal is not None
        return group_form(self.normal, tau)


def scalar_form(K: Array, P: Array) -> Form:
    """Of numbers with slopes in [K − P, K + P]: H = 1/P and c = 1, so C = (K − P)(K + P)/P² vanishes exactly for [0, β]."""
    A, B, C = 1.0 / P**2, K / P**2, (K - P) * (K + P) / P**2
    A, B, C = (x[:, None, None] for x in (A, B, C))
    return Form(A, B, C, *(gamma(8) * np.abs(x) for x in (A, B, C)))


def group_form(normal: NormalForm, tau: float) -> Form | None:
    """Of blocks in one group each, for any K, P, Q."""
    K, P, Q = normal.K, normal.P, normal.Q
    K_radius, P_radius, Q_radius = (
        np.zeros_like(x) if r is None else np.broadcast_to(r, x.shape)
        for x, r in ((K, normal.K_radius), (P, normal.P_radius), (Q, normal.Q_radius))
    )
    out, inner = P.shape[1:]
    U, sizes, V = np.linalg.svd(P)
    if inner > out or not (sizes[:, -1] > _RANK * sizes[:, 0]).all():
        return None
    G = (V.swapaxes(1, 2) / sizes[:, None, :]) @ U[:, :, :inner].swapaxes(1, 2)
    H = np.concatenate([G, np.sqrt(tau) * U[:, :, inner:].swapaxes(1, 2)], axis=1)

    def product(a: Array, a_radius: Array, b: Array, b_radius: Array) -> tuple[Array, Array]:
        """A B and its radius: rounding, and the radii of both."""
        k = a.shape[2]
        rad = gamma(k + 2) * (np.abs(a) @ np.abs(b)) + np.abs(a) @ b_radius + a_radius @ (np.abs(b) + b_radius)
        return a @ b, rad * _OUTWARD

    none = np.zeros_like(H)
    HP, HP_radius = product(H, none, P, P_radius)
    gram, gram_radius = product(HP.swapaxes(1, 2), HP_radius.swapaxes(1, 2), HP, HP_radius)
    # ‖HP‖² ≤ ‖(HP)ᵀHP‖_∞
    square = ((np.abs(gram) + gram_radius).sum(axis=2).max(axis=1) * (1.0 + gamma(inner + 8)))[:, None, None]
    A, A_radius = product(H.swapaxes(1, 2), none.swapaxes(1, 2), H, none)
    B, B_radius = product(A, A_radius, K, K_radius)
    KAK, KAK_radius = product(K.swapaxes(1, 2), K_radius.swapaxes(1, 2), B, B_radius)
    QQ, QQ_radius = product(Q.swapaxes(1, 2), Q_radius.swapaxes(1, 2), Q, Q_radius)
    C = KAK - square * QQ
    C_radius = KAK_radius + square * QQ_radius + gamma(4) * (np.abs(KAK) + square * np.abs(QQ))
    return Form(A, B, C, A_radius, B_radius, C_radius * _OUTWARD)


@dataclass(frozen=True, eq=False)
class SparseSystem:
    """A network with its unknowns: blocks of inputs, then a block an activation layer, at last the outputs.

    Attributes
    ----------
    inputs
        The sizes of the blocks of inputs.
    layers
        The layers, each one a block; the outputs come last.
    groups
        Number of multipliers of the network, those of neurons without choice included.
    places
        Coordinates of the unknowns of each block in space, (unknowns, axes), or None where they have none.
    """

    inputs: tuple[int, ...]
    layers: tuple[Stage, ...]
    groups: int
    places: tuple[Array | None, ...] = field(default=())

    @classmethod
    def of(cls, graph: Graph) -> SparseSystem | None:
        """The unknowns of a prepared graph, or None where it has other nodes or layers far apart meet densely."""
        try:
            return _Walk(graph).system
        except TooDense:
            return None

    @property
    def sizes(self) -> list[int]:
        """The sizes of the blocks of unknowns."""
        return [*self.inputs, *(layer.unknowns for layer in self.layers)]

    @property
    def unknowns(self) -> int:
        """Number of unknowns."""
        return sum(self.sizes)

    def least_bytes(self) -> int:
        """What the entries of M take at least, known without making them."""
        return 12 * sum(w.entries() for layer in self.layers for w in layer.sources.values())

    def numbered(self) -> Iterator[tuple[int, Stage]]:
        """The layers with the numbers of their blocks."""
        return enumerate(self.layers, len(self.inputs))


class _Walk:
    """One pass through the graph: the value of each node as sparse maps of blocks of unknowns."""

    def __init__(self, graph: Graph) -> None:
        self.value: dict[int, dict[int, Map | Made]] = {}
        self.inputs: list[int] = []
        self.layers: list[Stage] = []
        self.places: list[Array | None] = []
        self.groups = 0
        self.system: SparseSystem | None = None
        nodes = list(graph.walk())
        count = sum(isinstance(node, Input) for _, node in nodes)
        for position, node in nodes:
            if isinstance(node, Input):
                self.value[position] = {len(self.inputs): Made(Weights.identity(node.size))}
                self.inputs.append(node.size)
                self.places.append(None)
        for position, node in nodes:
            match node:
                case Input():
                    continue
                case Affine():
                    self.value[position] = self._affine(node)
                case Activation():
                    found = self._activation(node, count)
                    if found is None:
                        return
                    self.value[position] = found
                case FixedPoint():
                    return
        none = np.zeros(0, dtype=np.int64)
        outputs = graph.output_size
        last = Stage(self.value[graph.output], outputs, 1, 1, None, None, none, None)
        self.system = SparseSystem(tuple(self.inputs), (*self.layers, last), self.groups, (*self.places, None))

    def _affine(self, node: Affine) -> dict[int, Map | Made]:
        parts: dict[int, list[Map | Made]] = {}
        for a, parent in zip(node.maps, node.parents, strict=True):
            step = Map(a)
            for block, first in self.value[parent].items():
                self._locate(a, block, first)
                plain = isinstance(first, Made) and first.weights.is_identity
                parts.setdefault(block, []).append(step if plain else Made(step.get().after(first.get())))
        return {block: _total(terms) for block, terms in parts.items()}

    def _locate(self, a: LinearMap, block: int, first: Map | Made) -> None:
        """Coordinates of unknowns from the image that a convolution reads."""
        if self.places[block] is not None or not isinstance(a, Convolution):
            return
        grid = np.indices(a.size).reshape(len(a.size), -1).T.astype(np.float64)
        grid = np.tile(grid, (a.channels_in, 1))
        plain = isinstance(first, Made) and first.weights.is_identity
        self.places[block] = grid if plain else _mean(pattern(first.get().mid).T, grid)

    def _activation(self, node: Activation, count: int) -> dict[int, Map | Made] | None:
        form = node.normal_form
        z = self.value[node.parent]
        scalar = (
            node.block == 1 and form.P.shape[1:] == (1, 1) and form.Q_radius is None and bool((form.Q == 1.0).all())
        )
        if form.P.shape[2] == 0:
            return _through(form.K, form.K_radius, z, node.blocks)
        groups = np.arange(self.groups, self.groups + node.blocks)
        if form.groups != 1:
            return None
        self.groups += node.blocks
        number = count + len(self.layers)
        if not scalar:
            out = form.P.shape[1]
            size = node.blocks * out
            self._add(Stage(z, size, node.block, out, form, None, groups, self._place(z, node.blocks, node.block, out)))
            return {number: Made(Weights.identity(size))}
        K, P = (np.broadcast_to(x[:, 0, 0], (node.blocks,)) for x in (form.K, form.P))
        for known in (form.K_radius, form.P_radius):
            if known is not None:
                # a wider range of slopes covers the radii
                P = (P + known[:, 0, 0]) * (1.0 + 4.0 * UNIT)
        free = _ONE_SLOPE * np.abs(K) < P
        if not free.any():
            return _through(K[:, None, None], P[:, None, None], z, node.blocks)
        place = self._place(z, node.blocks, 1, 1)
        if free.all():
            self._add(Stage(z, node.blocks, 1, 1, None, (K, P), groups, place))
            return {number: Made(Weights.identity(node.blocks))}
        kept = np.flatnonzero(free)
        index = np.full(node.blocks, -1)
        index[kept] = np.arange(kept.size)
        centre, radius = (np.where(free, 0.0, x)[:, None, None] for x in (K, P))
        fixed = _through(centre, radius, z, node.blocks)
        selected: dict[int, Map | Made] = {j: Made(_rows(w.get(), kept)) for j, w in z.items()}
        self._add(
            Stage(
                selected,
                kept.size,
                1,
                1,
                None,
                (K[kept], P[kept]),
                groups[kept],
                None if place is None else place[kept],
            )
        )
        return {**fixed, number: Map(Index(index, kept.size))}

    def _add(self, layer: Stage) -> None:
        self.layers.append(layer)
        self.places.append(layer.place)

    def _place(self, z: dict[int, Map | Made], blocks: int, inner: int, out: int) -> Array | None:
        known = [(w, place) for j, w in z.items() if (place := self.places[j]) is not None]
        axes = {place.shape[1] for _, place in known}
        if len(axes) != 1:
            return None
        means = [_mean(w.ones(), place) for w, place in known]
        mean = np.mean(means, axis=0).reshape(blocks, inner, -1).mean(axis=1)
        return np.repeat(mean, out, axis=0)


def _through(K: Array, radius: Array | None, z: dict[int, Map | Made], blocks: int) -> dict[int, Map | Made]:
    """blkdiag(K) z, up to the radius of K."""
    wide = None if radius is None or not radius.any() else block_diagonal(radius, blocks)
    step = Weights(block_diagonal(K, blocks), wide)
    return {j: Made(step.after(w.get())) for j, w in z.items()}


def _total(terms: list[Map | Made]) -> Map | Made:
    if len(terms) == 1:
        return terms[0]
    total = terms[0].get()
    for term in terms[1:]:
        total = total.plus(term.get())
    return Made(total)


def _rows(a: Weights, rows: IntArray) -> Weights:
    return Weights(sp.csr_array(a.mid[rows]), None if a.rad is None else sp.csr_array(a.rad[rows]))


def block_diagonal(small: Array, blocks: int) -> sp.csr_array:
    """blkdiag(S_1, …, S_blocks) for S of shape (1 or blocks, rows, columns)."""
    _, rows, columns = small.shape
    data = np.broadcast_to(small, (blocks, rows, columns)).flatten()
    first = np.arange(blocks)[:, None, None] * columns
    indices = np.broadcast_to(first + np.arange(columns), (blocks, rows, columns)).flatten()
    indptr = np.arange(blocks * rows + 1) * columns
    out = sp.csr_array((data, indices, indptr), shape=(blocks * rows, blocks * columns))
    out.eliminate_zeros()
    return out


def pattern(a: sp.csr_array) -> sp.csr_array:
    """The same matrix with ones."""
    return sp.csr_array((np.ones(a.nnz), a.indices, a.indptr), shape=a.shape)


def _mean(ones: sp.sparray | LinearMap, x: Array) -> Array:
    """For each row the mean of x over its entries; of an empty row that of all."""
    sums = np.asarray(ones @ np.column_stack([x, np.ones(x.shape[0])]))
    count = sums[:, -1:]
    return np.where(count > 0.0, sums[:, :-1] / np.maximum(count, 1.0), x.mean(axis=0))
