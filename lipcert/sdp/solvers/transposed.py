"""(C) in its transposed form, without what reaches no output, and the way back (docs/theory.md 5).

With W = [R; Y] and theta = 1/y for the multipliers lam and mu, (C) says the same as its Schur complement

    A(theta) = Diag(theta[row]; 1) − W Diag(theta[column]) Wᵀ ⪰ 0,

because I − BᵀB and I − BBᵀ with B = Diag(theta[row]; 1)^(−½) W Diag(theta[column])^½ are positive definite together. In
theta the constraint is linear again, it is only as large as W has rows (784 inputs in ℓ∞ cost nothing), and nu of an
ℓ1 output is the diagonal of its row as it stands. The objective Σ cost/theta (inputs) + Σ cost·nu is convex and separable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.sdp.problem import Problem


@dataclass(frozen=True, eq=False)
class TransposedProgram:
    """A(theta) = Diag(theta[row]; 1) − W Diag(theta[column]) Wᵀ ⪰ 0, min Σ inverse/theta + Σ linear·theta.

    Attributes
    ----------
    W
        (rows, columns); columns are the inputs, then the channels.
    row
        The variable of each row, in ascending order; then −1 for the constant 1.
    column
        The variable of each column, in ascending order.
    inverse, linear
        (variables,) the objective.
    """

    W: Array
    row: IntArray
    column: IntArray
    inverse: Array
    linear: Array

    @property
    def variables(self) -> int:
        """Number of variables."""
        return self.inverse.size

    @property
    def size(self) -> int:
        """Rows of A."""
        return self.row.size

    def objective(self, theta: Array) -> float:
        """cost · y."""
        return float(np.sum(self.inverse / theta) + self.linear @ theta)

    def diagonal(self, theta: Array) -> Array:
        """(theta[row]; 1)."""
        return np.where(self.row >= 0, theta[self.row], 1.0)


@dataclass(frozen=True, eq=False)
class Restoration:
    """The way back from the reduced variables to those of the problem.

    Attributes
    ----------
    kept
        The variables of the problem that remain: mu, lam, nu.
    rows
        The rows of [R; Y] that remain.
    dropped
        Sets of variables whose columns of [R; Y] reach nothing, in the order in which that showed.
    """

    problem: Problem
    Y: Array
    kept: IntArray
    rows: IntArray
    dropped: list[IntArray]

    def variables(self, theta: Array) -> Array:
        """y of the problem; multipliers without effect get a small positive number that keeps Z ≻ 0."""
        problem = self.problem
        y = np.zeros(problem.variables)
        outputs = 0 if problem.output is None else problem.output.size
        dual = self.kept < problem.variables - outputs
        y[self.kept] = np.where(dual, 1.0 / theta, theta)
        inputs = self.kept[(problem.cost[self.kept] > 0) & dual]
        tiny = 1e-16 * (y[inputs].mean() if inputs.size else 1e-8)
        # lam_g Σ_i R_ij² is to be small beside y_j for every column j, and to vanish where it costs
        room = np.where(np.isin(problem.column, self.kept), 1e-16, 1e-3) / max(1, problem.column.size)
        for variables in reversed(self.dropped):
            y[variables] = tiny
            rows = np.flatnonzero(np.isin(problem.row, variables))
            squares = problem.R[rows] ** 2
            most = np.full(squares.shape, tiny)
            np.divide(room * y[problem.column], squares, out=most, where=squares > 0)
            np.minimum.at(y, problem.row[rows], most.min(axis=1, initial=tiny))
        return y

    def gram(self, form: TransposedProgram, theta: Array, X: Array) -> Array:
        """The Gram matrix of [Δv; Δx]: if A w = 0 then Z u = 0 for u = Diag(theta) Wᵀ w."""
        problem = self.problem
        kept = np.zeros(problem.variables)
        kept[self.kept] = np.sqrt(theta)
        V = np.vstack([problem.R, self.Y])[self.rows] * kept[problem.column]
        V /= np.sqrt(form.diagonal(theta))[:, None]
        G = V.T @ (X @ V)
        G *= kept[:, None][problem.column] * kept[problem.column]
        inputs = problem.column >= problem.multipliers
        total = float(np.trace(G[np.ix_(inputs, inputs)]))
        return G * (np.unique(problem.column[inputs]).size / total) if total > 0 else G


def reduced(problem: Problem) -> tuple[TransposedProgram, Restoration]:
    """The transposed form without inputs and channels that reach no output; a long ℓ2 input is compressed."""
    Y = problem.Y
    if problem.output is None and Y.shape[0] > Y.shape[1]:
        Y = np.asarray(np.linalg.qr(Y, mode="r"))
    W = np.vstack([problem.R, Y])
    outputs = problem.output if problem.output is not None else np.full(Y.shape[0], -1)
    row = np.concatenate([problem.row, outputs])
    alive = np.ones(problem.variables, dtype=bool)
    used = np.ones(row.size, dtype=bool)
    dropped = []
    while True:
        reaches = np.zeros(problem.variables, dtype=bool)
        reaches[problem.column[np.any(W[used] != 0, axis=0)]] = True
        reaches[outputs[outputs >= 0]] = True
        if not (alive & ~reaches).any():
            break
        dropped.append(np.flatnonzero(alive & ~reaches))
        alive &= reaches
        used = (row < 0) | alive[row]
    kept = np.flatnonzero(alive)
    # mu, lam, nu; sorted by them rows and columns keep the order of the layers
    nu = problem.variables - (0 if problem.output is None else problem.output.size)
    kept = kept[np.argsort((kept < problem.multipliers) + 2 * (kept >= nu), kind="stable")]
    number = np.full(problem.variables + 1, -1)
    number[kept] = np.arange(kept.size)
    of_row = np.where(row < 0, kept.size, number[row])
    rows = np.flatnonzero(used)
    rows = rows[np.argsort(of_row[rows], kind="stable")]
    columns = np.flatnonzero(alive[problem.column])
    columns = columns[np.argsort(number[problem.column[columns]], kind="stable")]
    of_column = number[problem.column[columns]]
    inputs = int(np.count_nonzero(columns >= problem.channels))
    x, v, parts = W[np.ix_(rows, columns[:inputs])], W[np.ix_(rows, columns[inputs:])], of_column[:inputs]
    if x.size and parts[0] == parts[-1]:
        x = _compressed(x)
        parts = parts[: x.shape[1]]
    cost = problem.cost[kept]
    linear = kept >= nu
    form = TransposedProgram(
        np.asfortranarray(np.hstack([x, v])),
        np.where(row[rows] >= 0, of_row[rows], -1),
        np.concatenate([parts, of_column[inputs:]]),
        np.where(linear, 0.0, cost),
        np.where(linear, cost, 0.0),
    )
    return form, Restoration(problem, Y, kept, rows, dropped)


def _compressed(x: Array) -> Array:
    """C with C Cᵀ = x xᵀ and as few columns as the rank: all that an ℓ2 input leaves (docs/theory.md 4, input compression).

    Pivoted Cholesky with rows scaled to unit length drops what is below rounding in A.
    """
    norms = np.linalg.norm(x, axis=1)
    norms[norms == 0] = 1.0
    rows = x / norms[:, None]
    factor, pivots, rank, _ = lapack.dpstrf(rows @ rows.T, lower=1)
    if rank >= x.shape[1]:
        return x
    compressed = np.zeros((x.shape[0], rank))
    compressed[pivots - 1] = np.tril(factor)[:, :rank]
    return compressed * norms[:, None]
