"""Where the interior-point method starts: theta with A(theta) ≻ 0, as norm products give it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.linalg import solve_triangular

from lipcert.sdp.outcome import SolverOptions
from lipcert.sdp.problem import Problem
from lipcert.sdp.solvers import blas
from lipcert.sdp.solvers.iterate import Structure

if TYPE_CHECKING:
    from lipcert.arrays import Array, BoolArray, IntArray
    from lipcert.sdp.outcome import Solver
    from lipcert.sdp.solvers.transposed import TransposedProgram

START_MARGIN = 1.5
ROOM = 0.1
"""The smallest eigenvalue of A that the start should have."""


def starting_point(form: TransposedProgram, lam: Array | None = None, solve: Solver | None = None) -> Array | None:
    """theta with A(theta) ≻ 0, as norm products give it, or None where none is found.

    Block Cholesky of Z from the last layer to the first: each layer takes multipliers just large enough, in proportion to
    the diagonal of what the layers behind it ask for (the Schur complement Q), and the inputs end the recursion. Given
    multipliers `lam` that leave room are kept, and only the inputs' are computed. A level that meets itself may need
    small programs solved first, by `solve`: the solver itself, whose start this is.
    """
    W, row, column = form.W, form.row, form.column
    inputs, outputs = form.inverse > 0, form.linear > 0
    constant = row < 0
    y = np.ones(form.variables)
    behind = constant.copy()
    behind[~constant] = outputs[row[~constant]]
    weight = np.ones(row.size)
    if outputs.any():
        # min Σ nu for fixed Σ ‖Y_i‖²/nu_i
        norms = np.linalg.norm(W, axis=1)
        norms[norms == 0] = norms[norms > 0].min(initial=1.0)
        y[row[behind]] = norms[behind]
        weight[behind] = 1.0 / norms[behind]
    Q = _Demand(inputs[column])
    Q.add(np.sqrt(weight[behind, None]) * W[behind])
    given = lam is not None and not outputs.any() and bool((lam[~inputs] > 0).all())
    layers = [(np.flatnonzero(~inputs), False)] if given else _levels(form)[::-1]
    for level, cyclic in [*layers, (np.flatnonzero(inputs), False)]:
        if not level.size:
            continue
        own, rows = np.isin(column, level), np.isin(row, level)
        size = np.maximum(np.bincount(column[own], minlength=y.size)[level], 1)
        demand = np.bincount(column[own], Q.diagonal(own), y.size)[level] / size
        if inputs[level[0]]:
            # min Σ cost·mu for fixed Σ Q_jj/mu_j
            demand = np.sqrt(demand * size / form.inverse[level])
        d = np.zeros_like(y)
        d[level] = np.where(demand > 0, demand, demand.max()) if demand.any() else 1.0
        if cyclic:
            balanced = _contracting_weights(W[np.ix_(rows, own)], row[rows], column[own], d, solve)
            if balanced is None:
                return None
            d = balanced
        P = d[column[own]]
        if cyclic:
            inner = W[np.ix_(rows, own)]
            P = np.diag(P) - inner.T @ (d[row[rows], None] * inner)
        if inputs[level[0]]:
            scale = START_MARGIN * Q.largest_of_inputs(P)
            y[level] = d[level] * (scale if scale > 0 else 1.0)
            break
        scale = 0.0 if given else START_MARGIN * _largest_eigenvalue(Q.block(own), P)
        y[level] = d[level] * (scale if scale > 0 else 1.0)
        if given and lam is not None:
            y[level] = lam[level]
        Q.add(np.sqrt(y[row[rows], None]) * W[rows])
        scaling = 1.0 / np.sqrt(y[column[own]])
        pivot = np.asfortranarray(np.eye(scaling.size) - Q.block(own) * np.outer(scaling, scaling))
        if not blas.cholesky(pivot):
            return starting_point(form, None, solve) if given else None
        Q.add(scaling[:, None] * Q.taken(own), pivot)
    theta = np.where(outputs, y, 1.0 / y)
    if not given and form.variables:
        theta = _away_from_the_boundary(form, theta, [level for level, _ in layers])
    if outputs.any():
        # scaling theta leaves A ≻ 0
        theta *= np.sqrt(np.sum(form.inverse / theta) / (form.linear @ theta)) if inputs.any() else 1e-12
    return theta


class _Demand:
    """Q = Σ MᵀM, without the block of the inputs: there are many, and the rows of all M on them say the same."""

    def __init__(self, inputs: BoolArray) -> None:
        self.inputs = np.flatnonzero(inputs)
        self.channels = np.flatnonzero(~inputs)
        self.place = np.cumsum(~inputs) - 1
        self.rows = np.zeros((self.channels.size, inputs.size), order="F")
        self.parts: list[Array] = []

    def add(self, M: Array, L: Array | None = None) -> None:
        """Q ← Q + MᵀM, or Q + (L⁻¹M)ᵀ(L⁻¹M), on the columns of M that are not zero."""
        (used,) = np.nonzero(M.any(axis=0))
        M = np.asfortranarray(M[:, used])
        if L is not None:
            M = solve_triangular(L, M, lower=True, overwrite_b=True, check_finite=False)
        inner = np.isin(used, self.channels)
        above = np.asfortranarray(M[:, inner])
        product = np.empty((above.shape[1], used.size), order="F")
        if product.size:
            blas.gemm(1.0, above.T, M, 0.0, product)
            self.rows[np.ix_(self.place[used[inner]], used)] += product
        part = np.zeros((M.shape[0], self.inputs.size))
        part[:, np.searchsorted(self.inputs, used[~inner])] = M[:, ~inner]
        self.parts.append(part)

    def block(self, own: BoolArray) -> Array:
        """The block of some channels."""
        return np.asarray(self.rows[np.ix_(self.place[own], own)])

    def diagonal(self, own: BoolArray) -> Array:
        """Of the block of some channels, or of that of the inputs."""
        if own[self.inputs].any():
            squares = (np.einsum("ij,ij->j", part, part) for part in self.parts)
            return np.asarray(sum(squares, np.zeros(self.inputs.size)))
        return np.asarray(self.rows[self.place[own], np.flatnonzero(own)])

    def taken(self, own: BoolArray) -> Array:
        """Its rows of some channels, which leave it."""
        found = self.rows[self.place[own]]
        found[:, own] = 0.0
        self.rows[self.place[own]] = 0.0
        self.rows[:, own] = 0.0
        return np.asarray(found)

    def largest_of_inputs(self, P: Array) -> float:
        """The largest eigenvalue of Diag(P)⁻¹ times the block of the inputs."""
        M = np.vstack(self.parts) / np.sqrt(P)
        M = M[M.any(axis=1)]
        M = np.asfortranarray(M.T if M.shape[0] > M.shape[1] else M)
        product = np.empty((M.shape[0], M.shape[0]), order="F")
        if product.size:
            blas.gemm(1.0, M, M.T, 0.0, product)
        return _largest_eigenvalue(product, np.ones(M.shape[0]))


def _away_from_the_boundary(form: TransposedProgram, theta: Array, levels: list[IntArray]) -> Array:
    """theta with every level's part divided by a factor for each level behind it: the smallest that leaves enough room.

    The levels come from the last to the first.

    This divides the blocks of B below the diagonal by the root of the factor or more, and nothing else.
    """
    depth = np.zeros(form.variables)
    for k, level in enumerate(levels):
        depth[level] = k + 1.0
    depth[form.inverse > 0] = len(levels) + 1.0
    depth[form.linear > 0] = 0.0
    structure = Structure.of(form)
    B, A = np.empty_like(form.W), np.empty((form.size, form.size), order="F")
    for exponent in (0.0, *(0.01 * 2.0**k for k in range(12))):
        trial = theta * np.exp(-exponent * depth)
        structure.scaled(trial, B)
        structure.complement(B, A, 1.0 - ROOM)
        if blas.cholesky(A):
            return trial
    return theta


def _levels(form: TransposedProgram) -> list[tuple[IntArray, bool]]:
    """Variables of rows in an order in which each level's rows only meet columns of levels before it.

    The second entry tells whether a level meets itself: an implicit layer, or a tie over several layers.
    """
    n = form.variables
    channels = np.flatnonzero(form.inverse[form.column] == 0)
    known = np.flatnonzero(form.row >= 0)
    known = known[form.linear[form.row[known]] == 0]
    reached = form.W[np.ix_(known, channels)] != 0
    # the variable of the last channel that reaches each row, −1 where there is none
    last = np.where(
        reached.any(axis=1),
        form.column[channels[::-1][np.argmax(reached[:, ::-1], axis=1)]] if channels.size else 0,
        -1,
    )
    if (last < form.row[known]).all():
        return [(level, False) for level in _segments(form.row[known], last)]
    rows, columns = np.nonzero(reached)
    depends = sp.csr_array(
        (np.ones(rows.size, dtype=np.int8), (form.row[known][rows], form.column[channels][columns])), shape=(n, n)
    )
    depends.sum_duplicates()
    count, label = sp.csgraph.connected_components(depends, connection="strong")
    edges = depends.tocoo()
    after, before = label[edges.row], label[edges.col]
    loops = np.zeros(count, dtype=bool)
    loops[after[after == before]] = True
    after, before = after[after != before], before[after != before]
    level = np.zeros(count, dtype=np.int64)
    while True:
        longer = level.copy()
        np.maximum.at(longer, after, level[before] + 1)
        if np.array_equal(longer, level):
            break
        level = longer
    of_rows = np.zeros(n, dtype=bool)
    of_rows[form.row[known]] = True
    result = []
    for k in range(int(level.max(initial=-1)) + 1):
        members = np.flatnonzero((level[label] == k) & of_rows)
        if members.size:
            result.append((members, bool(loops[label[members]].any())))
    return result


def _segments(variable: IntArray, last: IntArray) -> list[IntArray]:
    """The variables of rows, ascending, cut where one depends on another of its segment: `last` is below each variable."""
    present, starts = np.unique(variable, return_index=True)
    latest = np.maximum.reduceat(last, starts) if present.size else last
    cuts, begin = [], 0
    while begin < present.size:
        cuts.append(begin)
        (dependent,) = np.nonzero(latest[begin:] >= present[begin])
        begin = begin + int(dependent[0]) if dependent.size else present.size
    return np.split(present, cuts[1:]) if present.size else []


def _contracting_weights(
    own: Array, row: IntArray, column: IntArray, demand: Array, solve: Solver | None
) -> Array | None:
    """Weights d with Diag(d[column]) ≻ ownᵀ Diag(d[row]) own on a level that meets itself, or None."""
    level = np.unique(row)
    squares = own**2
    balanced = (demand > 0).astype(np.float64)
    for _ in range(100):
        # Osborne: what flows into a variable equals what flows out of it
        flow_in = np.bincount(row, squares @ (1.0 / balanced[column]) * balanced[row], demand.size)[level]
        flow_out = np.bincount(column, (balanced[row] @ squares) / balanced[column], demand.size)[level]
        balanced[level] *= ((flow_out + 1e-300) / (flow_in + 1e-300)) ** 0.25
        balanced[level] /= np.exp(np.mean(np.log(balanced[level])))
    for d in ((demand > 0).astype(np.float64), demand, balanced):
        scaled = np.sqrt(d[row])[:, None] * own / np.sqrt(d[column])
        if np.linalg.norm(scaled, 2) < 1.0 - 1e-9:
            return d
    return None if solve is None else _contracting_by_continuation(own, row, column, balanced, solve)


def _contracting_by_continuation(
    own: Array, row: IntArray, column: IntArray, start: Array, solve: Solver
) -> Array | None:
    """Weights as `_contracting_weights`, by raising kappa to 1 in Diag(d[column]) ≻ kappa² ownᵀ Diag(d[row]) own.

    At each kappa the weights are those of the least gain from a disturbance of the rows to the channels, which leaves room
    for a larger kappa while one exists.
    """
    level, rows = np.unique(row, return_inverse=True)
    columns = np.searchsorted(level, column)
    inner, channels = own.shape
    cost = np.append(np.zeros(level.size), 1.0)
    Y = np.eye(channels, channels + inner)
    d = start[level]

    def largest(d: Array) -> float:
        return 1.0 / float(np.linalg.norm(np.sqrt(d[rows])[:, None] * own / np.sqrt(d[columns]), 2))

    kappa = 0.9 * largest(d)
    while kappa < 1.0:
        R = np.hstack([kappa * own, np.eye(inner)])
        column_of = np.concatenate([columns, np.full(inner, level.size)])
        outcome = solve(Problem(R, Y, rows, column_of, cost, level.size), SolverOptions(tolerance=0.1))
        if outcome.y is None:
            return None
        d = outcome.y[:-1]
        room = largest(d)
        if room > 1.0 + 1e-9:
            weights = np.zeros_like(start)
            weights[level] = d
            return weights
        if room < kappa * (1.0 + 1e-3):
            return None
        kappa += 0.9 * (room - kappa)
    return None


def _largest_eigenvalue(Q: Array, P: Array) -> float:
    """The largest eigenvalue of P⁻¹ Q for Q ⪰ 0 and P ≻ 0, P diagonal where it is a vector; a rough one where Q is large."""
    if not Q.size or not Q.any():
        return 0.0
    scale = 1.0 / np.sqrt(P if P.ndim == 1 else np.diag(P))
    M = Q * np.outer(scale, scale)
    if P.ndim == 2:
        L = np.linalg.cholesky(P * np.outer(scale, scale))
        M = solve_triangular(L, solve_triangular(L, M, lower=True).T, lower=True)
    if M.shape[0] < 100:
        return float(np.linalg.eigvalsh(M)[-1])
    start = np.random.default_rng(0).standard_normal(M.shape[0])
    # the stubs of eigsh know no matrix of this type
    return float(sp.linalg.eigsh(M, k=1, v0=start, tol=1e-2, return_eigenvectors=False)[0])  # type: ignore[call-overload]
