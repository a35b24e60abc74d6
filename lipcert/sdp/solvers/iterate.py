"""The matrices of an interior-point iteration: their structure, an iterate, and the Schur complement (docs/theory.md 5).

W is block lower triangular: a channel only reaches the layers behind it. Products run over blocks of columns, each from
its first row that is not zero, or over blocks of rows, each up to its last column that is not zero.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg.blas import dgemv

from lipcert.sdp.solvers import blas

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.sdp.solvers.transposed import TransposedProgram

BLOCK = 192


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the rows (or columns) that share a variable, for rows in ascending order of their variables.

    Attributes
    ----------
    first, count
        The least variable and how many there are; none of them is left out.
    starts
        (count,) where the rows of each begin.
    size
        Number of rows; those behind them belong to no variable.

    Examples
    --------
    >>> sums = Sums.of(np.array([0, 0, 1]))
    >>> variables, total = sums.over_rows(np.array([[1.0], [2.0], [4.0]]))
    >>> variables, total.tolist()
    (slice(0, 2, None), [[3.0], [4.0]])
    """

    first: int
    count: int
    starts: IntArray
    size: int

    @classmethod
    def of(cls, variable: IntArray) -> Sums:
        """For rows of these variables."""
        present, starts = np.unique(variable, return_index=True)
        return cls(int(present[0]) if present.size else 0, present.size, starts, variable.size)

    def over_rows(self, M: Array, offset: int = 0) -> tuple[slice, Array]:
        """The variables that rows offset, offset + 1, … of M belong to, and the sums of these rows."""
        stop = min(offset + M.shape[0], self.size)
        if stop <= offset:
            return slice(0, 0), M[:0]
        M = M[: stop - offset]
        low = int(np.searchsorted(self.starts, offset, side="right")) - 1
        high = int(np.searchsorted(self.starts, stop))
        variables = slice(self.first + low, self.first + high)
        if high - low == M.shape[0]:
            return variables, M
        return variables, np.add.reduceat(M, np.maximum(self.starts[low:high] - offset, 0), axis=0)


@dataclass(frozen=True, eq=False)
class Structure:
    """What stays the same over the iterations.

    Attributes
    ----------
    blocks
        (columns, first row that is not zero in them).
    row_blocks
        (rows, number of columns up to the last that is not zero in them).
    rows, columns
        The sums over the groups.
    """

    form: TransposedProgram
    blocks: list[tuple[slice, int]]
    row_blocks: list[tuple[slice, int]]
    rows: Sums
    columns: Sums

    @classmethod
    def of(cls, form: TransposedProgram) -> Structure:
        """The structure of a problem."""
        p, N = form.W.shape
        present = form.W != 0
        inputs = int((form.inverse[form.column] > 0).sum())
        first = np.where(present.any(axis=0), np.argmax(present, axis=0), p) if p else np.zeros(N)
        last = np.where(present.any(axis=1), N - np.argmax(present[:, ::-1], axis=1), 0) if N else np.zeros(p)
        edges = [*range(0, inputs, BLOCK), *range(inputs, N, BLOCK), N]
        cuts = [*range(0, p, BLOCK), p]
        return cls(
            form,
            [(slice(a, b), int(first[a:b].min())) for a, b in itertools.pairwise(edges)],
            [(slice(a, b), int(last[a:b].max())) for a, b in itertools.pairwise(cuts)],
            Sums.of(form.row[form.row >= 0]),
            Sums.of(form.column),
        )

    def scaled(self, theta: Array, B: Array) -> None:
        """B ← Diag(theta[row]; 1)^(−½) W Diag(theta[column])^½, so that A(theta) is congruent to I − B Bᵀ."""
        np.multiply(self.form.W, np.sqrt(theta[self.form.column]), out=B)
        B *= 1.0 / np.sqrt(self.form.diagonal(theta))[:, None]

    def complement(self, B: Array, A: Array, unit: float = 1.0) -> None:
        """The lower triangle of A ← unit·I − B Bᵀ; the rest is set to zero."""
        A.fill(0.0)
        np.einsum("ii->i", A)[:] = unit
        for J, top in self.blocks:
            blas.syrk(-1.0, B[top:, J], 1.0, A[top:, top:])

    def times(self, M: Array, B: Array, out: Array) -> None:
        """out ← M B."""
        for J, top in self.blocks:
            blas.gemm(1.0, M[:, top:], B[top:, J], 0.0, out[:, J])

    def adjoint(self, diagonal: Array, quadratic: Array) -> Array:
        """F*(M)_i = Σ M over the rows of i − Σ bᵀ M b over the columns b of i, from the diagonal and all bᵀ M b."""
        image = np.zeros(self.form.variables)
        for sums, values, sign in ((self.rows, diagonal, 1.0), (self.columns, quadratic, -1.0)):
            variables, total = sums.over_rows(values[:, None])
            image[variables] += sign * total[:, 0]
        return image

    def image(self, M: Array, B: Array) -> Array:
        """F*(M); nothing of M B is kept."""
        quadratic = np.zeros(B.shape[1])
        for J, top in self.blocks:
            product = np.empty((B.shape[0] - top, J.stop - J.start), order="F")
            blas.gemm(1.0, M[top:, top:], B[top:, J], 0.0, product)
            quadratic[J] = _products(B[top:, J], product)
        return self.adjoint(np.diag(M), quadratic)

    def image_of_product(self, diagonal: Array, B: Array, MB: Array) -> Array:
        """F*(M) where M B is known."""
        return self.adjoint(diagonal, _products(B, MB))


class Iterate:
    """theta with all that follows from it, in the coordinates in which theta = 1.

    Parameters
    ----------
    structure
        The problem.

    Attributes
    ----------
    theta
        The point.
    B
        Diag(theta[row]; 1)^(−½) W Diag(theta[column])^½, so that A = I − B Bᵀ.
    L, S, SB
        The Cholesky factor of A, its inverse, and S B.
    image
        F*(S).
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        p, N = structure.form.W.shape
        self.theta = np.ones(structure.form.variables)
        self.B, self.SB = np.empty((p, N), order="F"), np.empty((p, N), order="F")
        self.L, self.S = np.empty((p, p), order="F"), np.empty((p, p), order="F")
        self.image = np.zeros(structure.form.variables)

    def move(self, theta: Array) -> bool:
        """Go to theta; False, and nothing but theta is of use then, where A(theta) is not positive definite."""
        structure = self.structure
        self.theta = theta
        if not (np.isfinite(theta).all() and (theta > 0).all()):
            return False
        structure.scaled(theta, self.B)
        structure.complement(self.B, self.L)
        if not blas.cholesky(self.L):
            return False
        np.copyto(self.S, self.L)
        if not blas.inverse_of_factored(self.S) or not np.isfinite(np.sum(self.S)):
            return False
        blas.mirror(self.S)
        structure.times(self.S, self.B, self.SB)
        self.image = structure.image_of_product(np.diag(self.S), self.B, self.SB)
        return True

    def derivative(self, delta: Array, U: Array) -> Array:
        """(Σ delta_i F_i) U for a vector or a small matrix U."""
        form, B = self.structure.form, self.B
        row, column = np.where(form.row >= 0, delta[form.row], 0.0), delta[form.column]
        if U.ndim == 1:
            return row * U - dgemv(1.0, B, column * dgemv(1.0, B, U, trans=1))
        return row[:, None] * U - B @ (column[:, None] * (B.T @ U))

    def inverse_times_derivative(self, delta: Array, out: Array) -> None:
        """out ← S Σ delta_i F_i."""
        form = self.structure.form
        row, column = np.where(form.row >= 0, delta[form.row], 0.0), delta[form.column]
        for J, end in self.structure.row_blocks:
            np.multiply(self.S[:, J], row[J], out=out[:, J])
            blas.gemm(-1.0, self.SB[:, :end], (self.B[J, :end] * column[:end]).T, 1.0, out[:, J])


def schur_complement(iterate: Iterate, X: Array, XB: Array, out: Array) -> None:
    """O_ij = ⟨F_i, X F_j S⟩ by Hadamard products and sums over groups (docs/theory.md 5)."""
    structure, B, SB, S = iterate.structure, iterate.B, iterate.SB, iterate.S
    rows, columns = structure.rows, structure.columns
    out.fill(0.0)
    # one half of each symmetric part: ½ X∘S − (XB)∘(SB) + the upper triangle of (BᵀXB)∘(BᵀSB) with half its diagonal
    for J, top in structure.blocks:
        shape = (J.stop, J.stop - J.start)
        product, other = np.empty(shape, order="F"), np.empty(shape, order="F")
        blas.gemm(1.0, XB[top:, : J.stop].T, B[top:, J], 0.0, product)
        blas.gemm(1.0, SB[top:, : J.stop].T, B[top:, J], 0.0, other)
        product *= other
        product[J] *= 0.5
        _add(out, columns, product, columns, J.start)
        mixed = XB[:, J] * SB[:, J]
        mixed *= -1.0
        _add(out, rows, mixed, columns, J.start)
    for J, _ in structure.row_blocks:
        mixed = X[:, J] * S[:, J]
        mixed *= 0.5
        _add(out, rows, mixed, rows, J.start)
    blas.add_transpose(out)


def _add(out: Array, rows: Sums, M: Array, columns: Sums, offset: int) -> None:
    """Add the sums of M, whose columns begin at `offset`, over the rows and columns of each pair of variables."""
    first, half = rows.over_rows(M)
    second, total = columns.over_rows(half.T, offset)
    out[first, second] += total.T


def _products(A: Array, B: Array) -> Array:
    """The inner products of the columns."""
    return np.asarray(np.einsum("ij,ij->i", A.T, B.T))
