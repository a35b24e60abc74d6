"""The smallest eigenvalues of M(lam, rho), and the least rho, by products with the network alone (docs/theory.md 5b)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.constraints.operator import Operator

# how many vectors a search gives and adds in each sweep, and the size of its space
_FRESH, _SEARCH = 8, 96
# random vectors in every search
_RANDOM = 4
# rho relative to its guess is looked for in this range; beyond, it counts as infinite
_LEAST, _MOST = 1e-12, 1e6
SMALLEST = 1e-280


@dataclass(frozen=True, eq=False)
class Space:
    """Vectors u = [v; x] as columns, and [R; Y] u."""

    U: Array
    W: Array

    def combined(self, coefficients: Array) -> Space:
        return Space(self.U @ coefficients, self.W @ coefficients)

    def joined(self, other: Space) -> Space:
        return Space(np.hstack([self.U, other.U]), np.hstack([self.W, other.W]))


@dataclass(frozen=True, eq=False)
class Point:
    """Multipliers with the least rho, and the smallest eigenvectors of M there.

    `rho` is infinite where the channel part alone is not positive definite, and only a lower bound where `exact` is False.
    """

    lam: Array
    rho: float
    space: Space
    exact: bool


class Evaluator:
    """rho(lam) and the smallest eigenvectors of M by a block Davidson method, warm-started."""

    def __init__(self, operator: Operator, deadline: float = np.inf) -> None:
        self.operator = operator
        self.deadline = deadline
        self.rng = np.random.default_rng(0)

    @property
    def late(self) -> bool:
        """Whether the deadline is over."""
        return time.perf_counter() > self.deadline

    def scales(self, lam: Array, rho: float) -> tuple[Array, Array]:
        """diag(1/d_out, s) and diag(d_in, I) as columns."""
        groups, op = self.operator.groups, self.operator
        root = np.sqrt(lam)
        columns = np.concatenate([1.0 / root[groups.column], np.full(op.inputs, rho**-0.5)])
        rows = np.concatenate([root[groups.row], np.ones(op.outputs)])
        return columns[:, None], rows[:, None]

    def random(self, count: int, columns: Array) -> Space:
        """Random vectors in the scaled coordinates."""
        U = columns * self.rng.standard_normal((self.operator.shape[1], count))
        return Space(U, self.operator @ U)

    def orthonormal(self, space: Space, columns: Array) -> Space:
        """The same span with diag(1/columns) U orthonormal; nearly dependent directions are dropped."""
        V = space.U / columns
        norms = np.linalg.norm(V, axis=0)
        values, vectors = eigh((V / norms).T @ (V / norms))
        keep = values > 1e-8 * values[-1]
        space = space.combined(vectors[:, keep] / np.sqrt(values[keep]) / norms[:, None])
        # nearly dependent directions magnify the rounding of U and of W apart, again in every step
        mix = self.rng.standard_normal((space.U.shape[1], 1))
        image = self.operator @ (space.U @ mix)
        drift = float(np.linalg.norm(space.W @ mix - image))
        return space if drift <= 1e-9 * np.linalg.norm(image) else Space(space.U, self.operator @ space.U)

    def least(
        self,
        lam: Array,
        rho: float,
        start: Space | None,
        tolerance: float,
        enough: float = np.inf,
        sweeps: int = 40,
    ) -> Point:
        """rho(lam), found from the guess `rho`; stops once it must lie above `enough`.

        Some random vectors join the start, which may span an invariant subspace without the smallest eigenvector.
        """
        op = self.operator
        columns, rows = self.scales(lam, rho)
        space = self.random(min(_FRESH, op.shape[1]) if start is None else _RANDOM, columns)
        space = self.orthonormal(space if start is None else start.joined(space), columns)
        inputs = slice(op.channels, None)
        size = space.U.shape[1]
        limit = min(_SEARCH, op.shape[1])
        # an orthonormal basis V in the scaled coordinates, BV, and the Gram matrices of BV and of the inputs of V
        V = np.empty((op.shape[1], max(limit, size)), order="F")
        BV = np.empty((op.shape[0], max(limit, size)), order="F")
        T, E = np.empty((2, V.shape[1], V.shape[1]))
        V[:, :size], BV[:, :size] = space.U / columns, space.W * rows
        done = 0
        f = 1.0
        exact = False
        for sweep in range(sweeps):
            new = slice(done, size)
            T[:size, new] = BV[:, :size].T @ BV[:, new]
            E[:size, new] = V[inputs, :size].T @ V[inputs, new]
            T[new, :done], E[new, :done] = T[:done, new].T, E[:done, new].T
            done = size
            f, values, vectors = _least_factor(np.eye(size) - T[:size, :size] - E[:size, :size], E[:size, :size], f)
            k = min(_FRESH, size)
            X, BX = V[:, :size] @ vectors[:, :k], BV[:, :size] @ vectors[:, :k]
            if f > _MOST:
                return Point(lam, np.inf, Space(columns * X, BX / rows), False)
            residual = X - columns * op.adjoint(rows * BX)
            residual[inputs] += (f - 1.0) * X[inputs]
            residual -= X * values[:k]
            length = np.sqrt(np.einsum("ij,ij->j", residual, residual))
            if length[0] <= tolerance and sweep > 2:
                exact = True
                break
            if (f * rho > enough and length[0] < 0.1) or (sweep > 0 and self.late):
                break
            fresh = _orthonormal_columns(residual[:, length > 1e-12] / length[length > 1e-12])
            if size + fresh.shape[1] > limit == _SEARCH:
                kept = vectors[:, : 2 * _FRESH]
                done = size = kept.shape[1]
                V[:, :size], BV[:, :size] = V[:, : len(kept)] @ kept, BV[:, : len(kept)] @ kept
                T[:size, :size] = kept.T @ T[: len(kept), : len(kept)] @ kept
                E[:size, :size] = kept.T @ E[: len(kept), : len(kept)] @ kept
            # residuals are orthogonal to V but for rounding
            fresh = fresh[:, : limit - size]
            fresh = _orthonormal_columns(fresh - V[:, :size] @ (V[:, :size].T @ fresh))
            if not fresh.shape[1]:
                exact = True
                break
            new = slice(size, size + fresh.shape[1])
            V[:, new], BV[:, new] = fresh, rows * (op @ (columns * fresh))
            size += fresh.shape[1]
        return Point(lam, max(f * rho, SMALLEST), Space(columns * X, BX / rows), exact)


def _least_factor(G: Array, E: Array, f: float) -> tuple[float, Array, Array]:
    """The least f with G + f E ⪰ 0, looked for from the guess, and the eigenvalues and eigenvectors there."""
    # the smallest eigenvalue is concave in f, so Newton's method rises to it
    for _ in range(50):
        values, vectors = eigh(G + f * E, check_finite=False)
        slope = float(vectors[:, 0] @ E @ vectors[:, 0])
        if abs(values[0]) <= 1e-12 or (values[0] > 0.0 and f <= _LEAST) or f > _MOST:
            break
        f = min(max(f - values[0] / slope, _LEAST), 2.0 * _MOST) if slope > 1e-16 else f
        if slope <= 1e-16:
            f = _LEAST if values[0] > 0.0 else 2.0 * _MOST
    return f, values, vectors


def _orthonormal_columns(x: Array) -> Array:
    """An orthonormal basis of the span of columns of length one or less, nearly dependent directions dropped."""
    values, vectors = np.linalg.eigh(x.T @ x)
    keep = values > 1e-8
    return np.asarray(x @ (vectors[:, keep] / np.sqrt(values[keep])))
