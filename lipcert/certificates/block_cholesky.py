"""The same proof for large networks, block by block: no elimination of the signals, and no matrix larger than a few layers.

For scalar activations (N) can be solved for v = (w − K z)/P. What `claims` proves as ‖B‖ < 1 then reads, with e = d/P and
z_k = Σ_j W_kj w_j over the input (w_0 = x) and the activations in front,

    M = m²‖x‖² − ‖y‖² − Σ_k Σ_i e_i²((P² − K²) z² + 2K z w − w²) ≻ 0.

In the coordinates m x and e_k w_k, with Z_kj = e_k W_kj / e_j, M is I on the diagonal, −diag(K_k) Z_kj in block (k, j), and
Z_kiᵀ diag(K_k² − P_k²) Z_kj, which vanishes for slopes in [0, β], and −Y_iᵀ Y_j are added. A chain of layers makes it block
tridiagonal. Cholesky goes from the input to the output, and its errors are those of one factorisation of the whole matrix
(Rump, BIT 2006; see `contraction`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import scipy.sparse as sp
from scipy.linalg import blas, lapack

from lipcert.certificates.claims import Scaling
from lipcert.definite import cholesky_room
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Input
from lipcert.rounding import TINY, UNIT, gamma

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lipcert.arrays import Array
    from lipcert.constraints.multipliers import Multipliers
    from lipcert.graph.nodes import Graph

# smaller weights, and scalings outside of its inverse, are left to the dense proof
_TINIEST = 2.0**-240
# products of entries in a composition of two layers
_MOST_PRODUCTS = 300_000_000
# the part of the products of full matrices from which these are quicker; zeros add no rounding
_FULL = 0.2

# relative room for the inputs that is tried in turn, where it is more than rounding needs; each try is a factorisation
_ROOM = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


class TooDense(Exception):
    """Layers far apart meet in products that are no longer sparse."""


@dataclass(frozen=True, eq=False)
class Weights:
    """All sparse matrices A with |A − mid| ≤ rad entrywise; rad is None where mid is exact."""

    mid: sp.csr_array
    rad: sp.csr_array | None = None
    is_identity: bool = False

    @classmethod
    def identity(cls, n: int) -> Weights:
        """The identity on n numbers."""
        return cls(sp.csr_array(sp.eye_array(n, format="csr")), None, True)

    def after(self, first: Weights) -> Weights:
        """The product with the map before."""
        if first.is_identity:
            return self
        products = int(np.diff(first.mid.indptr)[self.mid.indices].sum())
        if products > _MOST_PRODUCTS:
            raise TooDense
        full = products > _FULL * float(self.mid.shape[0]) * float(self.mid.shape[1]) * float(first.mid.shape[1])
        mid = _times(self.mid, first.mid, full)
        size, before = abs(self.mid), abs(first.mid)
        terms = int(np.diff(self.mid.indptr).max(initial=0))
        # |fl(A B) − A B| ≤ γ |A||B|, and the radii of both
        rad = gamma(terms + 1) * _times(size, before, full)
        if self.rad is not None:
            rad = rad + _times(self.rad, before, full)
        if first.rad is not None:
            rad = rad + _times(size if self.rad is None else size + self.rad, first.rad, full)
        return Weights(mid, sp.csr_array(rad * (1.0 + 2.0 * gamma(terms + 8))))

    def plus(self, other: Weights) -> Weights:
        """The sum."""
        mid = sp.csr_array(self.mid + other.mid)
        rad = abs(mid) * gamma(2)
        for part in (self.rad, other.rad):
            if part is not None:
                rad = rad + part
        return Weights(mid, sp.csr_array(rad * (1.0 + gamma(8))))

    def scaled(self, after: Array, before: Array) -> Weights:
        """diag(after) A diag(1/before), where `after` and `before` are off by one rounding each."""
        mid = _product(after, self.mid, before)
        rad = abs(mid) * gamma(6)
        if self.rad is not None:
            rad = rad + _product(after, self.rad, before) * (1.0 + gamma(12))
        return Weights(mid, sp.csr_array(rad))


def _times(a: sp.csr_array, b: sp.csr_array, full: bool) -> sp.csr_array:
    """A B, multiplied as full matrices where that is quicker."""
    return sp.csr_array(a.toarray() @ b.toarray() if full else a @ b)


@dataclass(frozen=True, eq=False)
class Stage:
    """z = Σ_j W_j w_j and w = φ(z) with Δw in [K − P, K + P] Δz; for the outputs K = 0 and P = 1."""

    weights: dict[int, Weights]
    K: Array
    P: Array

    def steepest(self) -> float:
        """The largest (|K| + P)², rounded up."""
        return float((np.abs(self.K) + self.P).max()) ** 2 * (1.0 + 4.0 * UNIT)


@dataclass(frozen=True, eq=False)
class BlockSystem:
    """A network of scalar slope-restricted activations, each block an input or the outputs of one activation layer.

    Attributes
    ----------
    inputs
        The sizes of the blocks of inputs, which come first.
    layers
        The activation layers, each one a block, and at last the outputs, which are none.
    """

    inputs: tuple[int, ...]
    layers: tuple[Stage, ...]

    @classmethod
    def of(cls, graph: Graph) -> BlockSystem | None:
        """The system of a prepared graph, or None where it has other nodes or layers far apart meet densely."""
        try:
            return cls._of(graph)
        except TooDense:
            return None

    @classmethod
    def _of(cls, graph: Graph) -> BlockSystem | None:
        nodes = list(graph.walk())
        inputs = tuple(node.size for _, node in nodes if isinstance(node, Input))
        value: dict[int, dict[int, Weights]] = {}
        layers: list[Stage] = []
        for position, node in nodes:
            match node:
                case Input():
                    number = sum(isinstance(other, Input) for at, other in nodes if at < position)
                    value[position] = {number: Weights.identity(node.size)}
                case Affine():
                    total: dict[int, Weights] = {}
                    for a, parent in zip(node.maps, node.parents, strict=True):
                        step = Weights(_nonzero(a.to_sparse()), None if a.radius is None else a.radius.to_sparse())
                        if np.abs(step.mid.data).min(initial=1.0) < _TINIEST:
                            return None
                        for block, first in value[parent].items():
                            through = step.after(first)
                            total[block] = total[block].plus(through) if block in total else through
                    value[position] = total
                case Activation():
                    form = node.normal_form
                    if node.block != 1 or form.groups != 1 or form.K_radius is not None or form.P_radius is not None:
                        return None
                    K, P = (np.broadcast_to(x[:, 0, 0], (node.size,)) for x in (form.K, form.P))
                    if not (form.Q == 1.0).all() or not (P > 0.0).all():
                        return None
                    value[position] = {len(inputs) + len(layers): Weights.identity(node.size)}
                    layers.append(Stage(value[node.parent], K, P))
                case FixedPoint():
                    return None
        m = graph.output_size
        layers.append(Stage(value[graph.output], np.zeros(m), np.ones(m)))
        return cls(inputs, tuple(layers))

    @property
    def groups(self) -> int:
        """Number of multipliers."""
        return sum(layer.K.size for layer in self.layers[:-1])

    @property
    def sizes(self) -> list[int]:
        """The sizes of the blocks."""
        return [*self.inputs, *(layer.K.size for layer in self.layers[:-1])]

    def bytes_needed(self) -> int:
        """About how much memory a proof takes at its peak."""
        sizes = self.sizes
        peak = 0
        for j, below, pattern in self._elimination():
            dense = sizes[j] ** 2 + sizes[j] * sum(sizes[i] for i in below)
            live = sum(sizes[a] * sizes[b] for a, b in pattern if b > j)
            # a product of blocks is made before it is subtracted
            peak = max(peak, dense + live + max((sizes[i] ** 2 for i in below), default=0))
        return 8 * peak + 48 * sum(w.mid.nnz for layer in self.layers for w in layer.weights.values())

    def operations(self) -> float:
        """About how many operations a factorisation takes, as if all blocks were dense."""
        total = 0.0
        for j, below, _ in self._elimination():
            behind = float(sum(self.sizes[i] for i in below))
            total += self.sizes[j] * (self.sizes[j] ** 2 / 3.0 + self.sizes[j] * behind + behind**2)
        return total

    def _elimination(self) -> Iterator[tuple[int, list[int], set[tuple[int, int]]]]:
        """Column by column: which blocks are below the diagonal, and the pattern of what is left with them filled in."""
        pattern = self._pattern()
        for j in range(len(self.sizes)):
            below = sorted(i for i, k in pattern if k == j and i > j)
            pattern |= {(a, b) for a in below for b in below if a >= b}
            yield j, below, pattern

    def _pattern(self) -> set[tuple[int, int]]:
        found = {(k, k) for k in range(len(self.sizes))}
        for k, layer in enumerate(self.layers, len(self.inputs)):
            found |= {(k, j) for j in layer.weights if layer is not self.layers[-1]}
            if ((layer.K - layer.P) * (layer.K + layer.P)).any():
                found |= {(i, j) for i in layer.weights for j in layer.weights if i >= j}
        return found

    def loss(self) -> float:
        """By how much M has to be positive definite at least; no proof rests on it."""
        n = sum(self.sizes)
        return cholesky_room(n, float(n))

    def holds(self, scaling: Scaling) -> bool:
        """Whether the scaling is proven, as `claims.holds`, for ℓ2 to ℓ2."""
        numbers = np.concatenate([scaling.d, scaling.m])
        if not np.all((numbers >= _TINIEST) & (numbers <= 1.0 / _TINIEST)) or scaling.n is not None:
            return False
        with np.errstate(all="ignore"):
            assembled = self._assembled(scaling)
            return assembled is not None and _factorises(*assembled)

    def _assembled(self, scaling: Scaling) -> tuple[list[int], dict[tuple[int, int], sp.csr_array], float] | None:
        """The sizes of the blocks, M − I by blocks on and below the diagonal, and how much M has to exceed zero by."""
        sizes = self.sizes
        ends = np.cumsum([0, *sizes[len(self.inputs) :]])
        e = [np.full(n, scaling.m[0]) for n in self.inputs]
        e += [scaling.d[a:b] / layer.P for a, b, layer in zip(ends[:-1], ends[1:], self.layers, strict=False)]
        e.append(np.ones(self.layers[-1].K.size))
        M: dict[tuple[int, int], sp.csr_array] = {}
        error = 0.0
        trace = float(sum(sizes))
        peak = 1.0
        for k, layer in enumerate(self.layers, len(self.inputs)):
            Z = {j: w.scaled(e[k], e[j]) for j, w in layer.weights.items()}
            # no product before this one underflows, nor does one after it that matters
            if any(np.abs(z.mid.data).min(initial=1.0) < _TINIEST**3 for z in Z.values()):
                return None
            length = {j: (_norm(z.mid), 0.0 if z.rad is None else _norm(z.rad)) for j, z in Z.items()}
            if layer is not self.layers[-1]:
                slope = float(np.abs(layer.K).max(initial=0.0))
                for j, z in Z.items():
                    _add(M, k, j, sp.csr_array(z.mid.multiply(-layer.K[:, None])))
                    error += slope * (length[j][1] + gamma(4) * length[j][0])
            # K² − P² of the outputs is −1
            square = (layer.K - layer.P) * (layer.K + layer.P)
            if not square.any():
                continue
            largest = layer.steepest()
            rounding = gamma(square.size + 16)
            for i, j in ((i, j) for i in Z for j in Z if i >= j):
                _add(M, i, j, sp.csr_array(Z[i].mid.T @ sp.csr_array(Z[j].mid.multiply(square[:, None]))))
                (a, da), (b, db) = length[i], length[j]
                error += largest * (rounding * a * b + a * db + da * b + da * db)
                if i == j:
                    trace += largest * sizes[i] * a * a
                    peak += largest * a * a
        # what is added up in one block: a rounding for each addend
        error += gamma(2 * len(self.layers)) * sum(_norm(part) for part in M.values())
        room = cholesky_room(sum(sizes), trace) + 16.0 * UNIT * peak
        # all of it is sums and products of positive numbers, which are rounded here once
        return sizes, M, float((error + room) * (1.0 + 1e-9))


def prove_by_blocks(system: BlockSystem, proposal: Multipliers) -> Scaling | None:
    """The proposal with the least of a few rooms with which it is proven, or None.

    The room is spread over the layers: d grows from the output to the input, m most, which scales every block of M beside
    the diagonal down. Room for the inputs alone would leave M singular in directions that hardly meet them.
    """
    if not all(np.isfinite(x).all() and (x > 0.0).all() for x in (proposal.lam, proposal.mu)):
        return None
    d, m = np.sqrt(proposal.lam), np.sqrt(proposal.mu) * proposal.input_scale
    if proposal.scale is not None:
        d = d * proposal.scale
    if m.size != 1 or not (np.isfinite(d).all() and np.isfinite(m).all()):
        return None
    layer = np.repeat(np.arange(len(system.layers) - 1), [layer.K.size for layer in system.layers[:-1]])
    height = 1.0 - (layer + 1.0) / len(system.layers)
    for room in (room for room in _ROOM if room > 4.0 * system.loss()):
        trial = Scaling(d * (1.0 + room) ** height, m * (1.0 + room))
        if system.holds(trial):
            return trial
    return None


def _factorises(sizes: list[int], M: dict[tuple[int, int], sp.csr_array], shift: float) -> bool:
    """Whether the Cholesky factorisation of I + M − shift·I runs to its end; blocks become dense when they must."""
    if not shift < 0.5:
        return False
    blocks: dict[tuple[int, int], Array | sp.csr_array] = dict(M)
    for j, size in enumerate(sizes):
        below = sorted(i for i, k in blocks if k == j and i > j)
        diagonal = blocks.pop((j, j), None)
        X: dict[int, Array | sp.csr_array] = {}
        if diagonal is None:
            # a multiple of the identity keeps what is behind it sparse
            pivot = np.sqrt(1.0 - shift)
            for i in below:
                X[i] = sp.csr_array(blocks.pop((i, j)) * (1.0 / pivot)).T.tocsr()
        else:
            S = diagonal.toarray() if sp.issparse(diagonal) else diagonal
            S[np.diag_indices(size)] += 1.0 - shift
            if not np.isfinite(S).all():
                return False
            # one triangle is read, so the matrix is exactly symmetric
            factor, info = lapack.dpotrf(S.T, lower=True, overwrite_a=True)
            del S, diagonal
            if info != 0:
                return False
            for i in below:
                block = blocks.pop((i, j))
                dense = block.toarray() if sp.issparse(block) else block
                X[i] = blas.dtrsm(1.0, factor, dense.T, lower=1, overwrite_b=1)
            del factor
        for i in below:
            for k in (k for k in below if k <= i):
                _subtract(blocks, i, k, _transposed_product(X[i], X[k]))
    return True


def _transposed_product(a: Array | sp.csr_array, b: Array | sp.csr_array) -> Array | sp.csr_array:
    """Aᵀ B by rows; of Aᵀ A the upper triangle will do. Dense ones by the library that factorises (see `contraction`)."""
    if sp.issparse(a) or sp.issparse(b):
        return cast("Array | sp.csr_array", a.T @ b)
    return (blas.dsyrk(1.0, a, trans=True, lower=True) if a is b else blas.dgemm(1.0, b, a, trans_a=True)).T


def _subtract(
    blocks: dict[tuple[int, int], Array | sp.csr_array], i: int, j: int, product: Array | sp.csr_array
) -> None:
    old = blocks.get((i, j))
    if old is None:
        blocks[i, j] = -product
    elif isinstance(old, np.ndarray):
        old -= product.toarray() if sp.issparse(product) else product  # type: ignore[attr-defined]
    elif isinstance(product, np.ndarray):
        blocks[i, j] = old.toarray() - product
    else:
        blocks[i, j] = sp.csr_array(old - product)


def _add(blocks: dict[tuple[int, int], sp.csr_array], i: int, j: int, part: sp.csr_array) -> None:
    blocks[i, j] = sp.csr_array(blocks[i, j] + part) if (i, j) in blocks else part


def _product(after: Array, a: sp.csr_array, before: Array) -> sp.csr_array:
    return sp.csr_array(a.multiply(after[:, None]).multiply(1.0 / before))


def _nonzero(a: sp.csr_array) -> sp.csr_array:
    a = a.copy()
    a.eliminate_zeros()
    return a


def _norm(a: sp.csr_array) -> float:
    """An upper bound on the spectral norm of |A|: √(‖A‖₁‖A‖_∞)."""
    if not a.nnz:
        return TINY
    size = abs(a)
    rows, columns = float(size.sum(axis=1).max()), float(size.sum(axis=0).max())
    # entries that underflow are off by 2⁻¹⁰²² each
    return float(np.sqrt(rows) * np.sqrt(columns)) * (1.0 + 2.0 * gamma(sum(a.shape) + 8)) + TINY
