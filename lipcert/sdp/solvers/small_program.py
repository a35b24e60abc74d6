"""The small programs of the spectral bundle method: a convex quadratic over a semidefinite cone and a ray or two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray

# relative gap of the programs: central W make better metrics than exact ones
_GAP = 2e-2


@lru_cache(maxsize=64)
def _index(size: int) -> tuple[IntArray, IntArray, Array]:
    i, j = np.triu_indices(size)
    return i, j, np.where(i == j, 1.0, np.sqrt(2.0))


def smat(w: Array, size: int) -> Array:
    i, j, c = _index(size)
    W = np.empty((size, size))
    W[i, j] = W[j, i] = w / c
    return W


def svec(W: Array) -> Array:
    i, j, c = _index(W.shape[0])
    return W[i, j] * c


def _add_kron(H: Array, P: Array) -> None:
    """Add the matrix of W ↦ P W P on svec to the upper triangle of H."""
    size = P.shape[0]
    i, j, c = _index(size)
    left, right, half = P[:, i], P[:, j], 0.5 * c * P[:, i]
    weighted = 0.5 * c * right
    start = 0
    for row in range(size):
        # the rows (row, row), (row, row + 1), … of svec
        stop = start + size - row
        block = half[row, start:] * right[row:, start:]
        block += weighted[row, start:] * left[row:, start:]
        block[1:] *= np.sqrt(2.0)
        H[start:stop, start : i.size] += block
        start = stop


@dataclass(frozen=True, eq=False)
class Quadratic:
    """½‖F w‖², where each row of F is svec of Σ_r T_ir g_r g_rᵀ, g_r the rows of G, then what the ray adds.

    Attributes
    ----------
    F
        (variables, p + rays).
    G
        (vectors, size).
    T
        (variables, vectors), sparse.
    """

    F: Array
    G: Array
    T: sp.csr_array

    def times(self, factor: float) -> Quadratic:
        """The quadratic of factor · F."""
        return Quadratic(factor * self.F, self.G, factor * self.T)

    @property
    def costs(self) -> tuple[float, float, float]:
        """Operations of one Newton system of each kind that `_Newton` knows."""
        return newton_costs(self.F.shape[0], *self.G.shape)

    def gram(self, K: Array, ratio: Array) -> Array:
        """F̂F̂ᵀ for F̂ = F blkdiag(K ⊗ K, diag(ratio)^−½), by ⟨g gᵀ, P h hᵀ P⟩ = (gᵀP h)² or from F̂ itself."""
        n, size = self.F.shape[0], K.shape[0]
        p = size * (size + 1) // 2
        tail = self.F[:, p:] / np.sqrt(ratio)
        _, by_vectors, by_variables = self.costs
        if by_vectors < by_variables:
            H = self.G @ K
            H = H @ H.T
            H *= H
            return np.asarray(self.T @ (self.T @ H).T) + tail @ tail.T
        i, j, c = _index(size)
        full = np.zeros((n, size, size))
        full[:, i, j] = full[:, j, i] = self.F[:, :p] / c
        half = (full.reshape(n * size, size) @ K).reshape(n, size, size).swapaxes(1, 2)
        scaled = (np.ascontiguousarray(half).reshape(n * size, size) @ K).reshape(n, size * size)
        return scaled @ scaled.T + tail @ tail.T


def newton_costs(variables: int, vectors: int, size: int) -> tuple[float, float, float]:
    """Operations of one Newton system, as large as w, or as the variables by way of vectors or of their matrices."""
    p = 0.5 * size * (size + 1)
    both = 60.0 * size**3
    few = both + variables**3 / 3.0
    return (
        both + p**3 / 3.0 + 4.0 * p**2,
        few + vectors**2 * (2.0 * size + 30.0),
        few + 4.0 * variables * size**3 + 2.0 * (variables * size) ** 2,
    )


class _Newton:
    """H = FᵀF + blkdiag(P ⊗ P, diag(ratio)), factorised, for P = GGᵀ with the inverse KKᵀ; Q is FᵀF or None.

    Where F has few rows, a matrix of their number will do:
    H⁻¹ = (K ⊗ K)(I − F̂ᵀ(I + F̂F̂ᵀ)⁻¹F̂)(K ⊗ K)ᵀ, F̂ = F (K ⊗ K).
    """

    def __init__(self, quadratic: Quadratic, Q: Array | None, K: Array, G: Array, ratio: Array) -> None:
        self.K, self.size, self.ratio = K, K.shape[0], ratio
        self.p = self.size * (self.size + 1) // 2
        self.F = None if Q is not None else quadratic.F
        if Q is not None:
            H = Q.copy()
            _add_kron(H, G @ G.T)
            tail = np.arange(self.p, H.shape[0])
            H[tail, tail] += ratio
        else:
            H = quadratic.gram(K, ratio)
            H[np.diag_indices(H.shape[0])] += 1.0
        # row-major upper is column-major lower
        self.factor, info = lapack.dpotrf(H.T, lower=True, overwrite_a=True)
        if info:
            raise np.linalg.LinAlgError

    def solve(self, rhs: Array) -> Array:
        """H⁻¹ rhs."""
        if self.F is None:
            return np.asarray(lapack.dpotrs(self.factor, rhs, lower=True)[0]).ravel()
        y = self.scaled(rhs, self.K.T)
        t = lapack.dpotrs(self.factor, self.F @ self.scaled(y, self.K), lower=True)[0].ravel()
        y -= self.scaled(self.F.T @ t, self.K.T)
        return self.scaled(y, self.K)

    def scaled(self, w: Array, K: Array) -> Array:
        """svec(K smat(w) Kᵀ), and the rays over the root of their ratio."""
        return np.concatenate([svec(K @ smat(w[: self.p], self.size) @ K.T), w[self.p :] / np.sqrt(self.ratio)])


def _longest(x: Array, dx: Array, T: Array) -> float:
    """0.95 of the step from x along dx to the border of the cone, at most 1; x is I in the coordinates T."""
    size = T.shape[0]
    p = size * (size + 1) // 2
    least = float(np.linalg.eigvalsh(T.T @ smat(dx[:p], size) @ T)[0])
    low = min(least, float((dx[p:] / x[p:]).min(initial=0.0)))
    return min(1.0, -0.95 / low) if low < 0 else 1.0


def quadratic_sdp(quadratic: Quadratic, c: Array, a: Array) -> Array:
    """min ½‖F w‖² + cᵀw, aᵀw = 1, smat(w[:p]) ⪰ 0, w[p:] ≥ 0, by a primal–dual method with Nesterov–Todd directions."""
    F, size = quadratic.F, quadratic.G.shape[1]
    p = size * (size + 1) // 2
    costs = quadratic.costs
    Q = F.T @ F if costs[0] < min(costs[1:]) else None
    eye = np.concatenate([svec(np.eye(size)), np.ones(c.size - p)])
    w = eye / max(float(a @ eye), 1e-3)
    Qw = F.T @ (F @ w)
    z = eye * max(1.0, float(np.abs(c).max()), float(np.abs(Qw).max()))
    multiplier = 0.0
    degree = size + c.size - p
    scale = 1.0 + np.abs(c).max()
    for _ in range(60):
        dual = Qw + c - multiplier * a - z
        primal = 1.0 - float(a @ w)
        nu = float(w @ z) / degree
        value = abs(float(c @ w + w @ Qw))
        if nu * degree < _GAP * max(value, 1e-7) and np.abs(dual).max() < 1e-6 * scale and abs(primal) < 1e-8:
            break
        # with L⁻¹W L⁻ᵀ = I and LᵀZL = V S Vᵀ the coordinates K = L V S^(−¼) make W and Z the same diagonal matrix S^½
        L, info = lapack.dpotrf(smat(w[:p], size), lower=True, clean=True)
        if info:
            break
        inverse = lapack.dtrtri(L, lower=True)[0]
        try:
            S, V = np.linalg.eigh(L.T @ smat(z[:p], size) @ L)
            root = np.maximum(S, 1e-300) ** 0.25
            K, G = (L @ V) / root, (inverse.T @ V) * root
            newton = _Newton(quadratic, Q, K, G, z[p:] / w[p:])
        except np.linalg.LinAlgError:
            break
        Ha = newton.solve(a)
        barrier = np.concatenate([svec(inverse.T @ inverse), 1.0 / w[p:]])
        wide, slim = G / root, K / root
        rhs = -dual - z
        for corrector in (False, True):
            g = newton.solve(rhs)
            dmu = float((primal - a @ g) / (a @ Ha))
            dw = g + dmu * Ha
            Qdw = F.T @ (F @ dw) if Q is None else Q @ dw
            dz = Qdw - dmu * a + dual
            far, near = _longest(w, dw, wide), _longest(z, dz, slim)
            if not corrector:
                reduced = float((w + far * dw) @ (z + near * dz)) / degree
                rhs = rhs + min(1.0, max(reduced / nu, 0.0) ** 2 + 1e-3) * nu * barrier
        length = min(far, near)
        w = w + length * dw
        z = z + length * dz
        Qw = Qw + length * Qdw
        multiplier += length * dmu
    return w
