"""The native solver: a primal–dual interior-point method made for (C) (THEORY.md 5).

With W = [R; Y] and theta = 1/y for the multipliers lam and mu, (C) says the same as its Schur complement

    A(theta) = Diag(theta[row]; 1) − W Diag(theta[column]) Wᵀ ⪰ 0,

because I − BᵀB and I − BBᵀ with B = Diag(theta[row]; 1)^(−½) W Diag(theta[column])^½ are positive definite together. In
theta the constraint is linear again, it is only as large as W has rows (784 inputs in ℓ∞ cost nothing), and nu of an
ℓ1 output is the diagonal of its row as it stands. The objective Σ cost/theta (inputs) + Σ cost·nu is convex and separable.

The optimality conditions are A ⪰ 0, X ⪰ 0, X A = tau I and ∇objective = F*(X), where F_i = ∂A/∂theta_i. The direction is
HKM (Helmberg, Rendl, Vanderbei, Wolkowicz 1996) with Mehrotra's predictor and corrector. The start and every iterate
satisfy A ≻ 0, so that each is a feasible certificate, and every iteration works in coordinates in which theta = 1.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.linalg import blas, cho_solve, lapack, solve_triangular
from threadpoolctl import threadpool_limits

from lipcert.sdp.outcome import Outcome, SolverOptions, Status
from lipcert.sdp.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array, IntArray

    Hessian = tuple[Array, Array]

ITERATION_LIMIT = 100
BLOCK = 128
LANCZOS_STEPS = 60
START_MARGIN = 1.5
ROOM = 0.1
"""The smallest eigenvalue of A that the start should have."""
LAG = 0.1
"""tau may run ahead of the primal infeasibility by this factor."""
SMALL = 400
"""Rows of A, and"""
WIDE = 1200
"""variables, below which threads cost more than they save."""


def solve(problem: Problem, options: SolverOptions) -> Outcome:
    """Minimise cost · y over (C) by the native interior-point method.

    Parameters
    ----------
    problem
        The semidefinite program. Inputs of one part (ℓ2) are compressed inside.
    options
        Tolerance on the relative duality gap, limits, start, progress.

    Returns
    -------
    Outcome
        `y` is strictly feasible whenever it is given, however the solve ended; `y` is None where no feasible point was
        found, as for an implicit layer whose well-posedness has no certificate of this form.

    Notes
    -----
    THEORY.md 5; Helmberg, Rendl, Vanderbei, Wolkowicz, SIAM J. Optim. 6 (1996); Mehrotra, SIAM J. Optim. 2 (1992).

    Examples
    --------
    >>> from lipcert.constraints.interconnection import lower
    >>> from lipcert.graph import build as nn
    >>> from lipcert.norms import Norm
    >>> from lipcert.sdp.problem import subproblems
    >>> system = lower(nn.sequential(nn.linear([[2.0], [1.0]]), nn.relu(), nn.linear([[3.0, -1.0]])))
    >>> outcome = solve(next(subproblems(system, Norm.L2, Norm.L2)), SolverOptions())
    >>> round(outcome.bound, 6), outcome.status.value
    (6.0, 'optimal')
    """
    clock = time.perf_counter()
    form, restore = reduced(problem)
    theta = starting_point(form, None if options.start is None else options.start[restore.kept])
    if theta is None:
        return Outcome(
            None, Status.STALLED, np.inf, None, 0, time.perf_counter() - clock, message="no feasible multipliers found"
        )
    if not form.inverse.any():
        y = restore.variables(theta)
        return Outcome(y, Status.CLOSED_FORM, problem.bound(y), 0.0, 0, time.perf_counter() - clock)
    search = Search(form, restore, theta, options, clock)
    try:
        with threadpool_limits(1 if form.size < SMALL and form.variables < WIDE else None):
            status = search.run()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    y = restore.variables(search.best)
    return Outcome(
        y,
        status,
        problem.bound(y),
        search.gap,
        search.iterations,
        time.perf_counter() - clock,
        gram=restore.gram(search),
    )


@dataclass(frozen=True, eq=False)
class TransposedForm:
    """A(theta) = Diag(theta[row]; 1) − W Diag(theta[column]) Wᵀ ⪰ 0, min Σ inverse/theta + Σ linear·theta.

    Attributes
    ----------
    W
        (rows, columns); columns are the inputs, then the channels.
    row
        The variable of each row; −1 for the constant 1.
    column
        The variable of each column.
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
        The variables of the problem that remain.
    dropped
        Sets of variables whose columns of [R; Y] reach nothing, in the order in which that showed.
    """

    problem: Problem
    Y: Array
    kept: IntArray
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

    def gram(self, search: Search) -> Array | None:
        """The Gram matrix of [Δv; Δx]: if A w = 0 then Z u = 0 for u = Diag(theta) Wᵀ w."""
        if search.X is None:
            return None
        problem, form = self.problem, search.form
        kept = np.zeros(problem.variables)
        kept[self.kept] = np.sqrt(search.theta)
        rows = np.flatnonzero(np.isin(problem.row, self.kept))
        V = np.vstack([problem.R[rows], self.Y]) * kept[problem.column]
        V /= np.sqrt(form.diagonal(search.theta))[:, None]
        G = V.T @ (search.X @ V)
        G *= kept[:, None][problem.column] * kept[problem.column]
        inputs = problem.column >= problem.multipliers
        total = float(np.trace(G[np.ix_(inputs, inputs)]))
        return G * (np.unique(problem.column[inputs]).size / total) if total > 0 else G


def reduced(problem: Problem) -> tuple[TransposedForm, Restoration]:
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
    kept = np.concatenate([kept[(kept >= problem.multipliers)], kept[kept < problem.multipliers]])
    number = np.full(problem.variables, -1)
    number[kept] = np.arange(kept.size)
    channels = problem.channels
    first, last = (
        np.flatnonzero(alive[problem.column[channels:]]) + channels,
        np.flatnonzero(alive[problem.column[:channels]]),
    )
    x, v = W[np.ix_(used, first)], W[np.ix_(used, last)]
    parts = number[problem.column[first]]
    if x.size and np.unique(parts).size == 1:
        x = _compressed(x)
        parts = parts[: x.shape[1]]
    cost = problem.cost[kept]
    linear = kept >= problem.variables - (0 if problem.output is None else problem.output.size)
    form = TransposedForm(
        np.asfortranarray(np.hstack([x, v])),
        np.where(row[used] >= 0, number[row[used]], -1),
        np.concatenate([parts, number[problem.column[last]]]),
        np.where(linear, 0.0, cost),
        np.where(linear, cost, 0.0),
    )
    return form, Restoration(problem, Y, kept, dropped)


def _compressed(x: Array) -> Array:
    """C with C Cᵀ = x xᵀ and as few columns as the rank: all that an ℓ2 input leaves (THEORY.md 4, input compression).

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


def starting_point(form: TransposedForm, lam: Array | None = None) -> Array | None:
    """theta with A(theta) ≻ 0, as norm products give it, or None where none is found.

    Block Cholesky of Z from the last layer to the first: each layer takes multipliers just large enough, in proportion to
    the diagonal of what the layers behind it ask for (the Schur complement Q), and the inputs end the recursion. Given
    multipliers `lam` that leave room are kept, and only the inputs' are computed.
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
    Q = W[behind].T @ (weight[behind, None] * W[behind])
    given = lam is not None and not outputs.any() and bool((lam[~inputs] > 0).all())
    layers = [(np.flatnonzero(~inputs), False)] if given else _levels(form)[::-1]
    for level, cyclic in [*layers, (np.flatnonzero(inputs), False)]:
        if not level.size:
            continue
        own, rows = np.isin(column, level), np.isin(row, level)
        size = np.maximum(np.bincount(column[own], minlength=y.size)[level], 1)
        demand = np.bincount(column[own], np.diag(Q)[own], y.size)[level] / size
        if inputs[level[0]]:
            # min Σ cost·mu for fixed Σ Q_jj/mu_j
            demand = np.sqrt(demand * size / form.inverse[level])
        d = np.zeros_like(y)
        d[level] = np.where(demand > 0, demand, demand.max()) if demand.any() else 1.0
        if cyclic:
            balanced = _contracting_weights(W[np.ix_(rows, own)], row[rows], column[own], d)
            if balanced is None:
                return None
            d = balanced
        P = d[column[own]]
        if cyclic:
            inner = W[np.ix_(rows, own)]
            P = np.diag(P) - inner.T @ (d[row[rows], None] * inner)
        scale = START_MARGIN * _largest_eigenvalue(Q[np.ix_(own, own)], P)
        y[level] = d[level] * (scale if scale > 0 else 1.0)
        if inputs[level[0]]:
            break
        if given and lam is not None:
            y[level] = lam[level]
        Q += W[rows].T @ (y[row[rows], None] * W[rows])
        pivot = np.diag(y[column[own]]) - Q[np.ix_(own, own)]
        rest = np.flatnonzero(~own)
        scaling = 1.0 / np.sqrt(y[column[own]])
        try:
            half = solve_triangular(
                np.linalg.cholesky(pivot * np.outer(scaling, scaling)),
                scaling[:, None] * Q[np.ix_(own, rest)],
                lower=True,
            )
        except np.linalg.LinAlgError:
            return starting_point(form) if given else None
        Q[np.ix_(rest, rest)] += half.T @ half
        Q[own] = 0.0
        Q[:, own] = 0.0
    theta = np.where(outputs, y, 1.0 / y)
    if not given and form.variables:
        theta = _away_from_the_boundary(form, theta)
    if outputs.any():
        # scaling theta leaves A ≻ 0
        theta *= np.sqrt(np.sum(form.inverse / theta) / (form.linear @ theta)) if inputs.any() else 1e-12
    return theta


def _away_from_the_boundary(form: TransposedForm, theta: Array) -> Array:
    """theta with every level's part divided by a factor for each level behind it: the smallest that leaves enough room.

    This divides the blocks of B below the diagonal by the root of the factor or more, and nothing else.
    """
    depth = np.zeros(form.variables)
    levels = _levels(form)[::-1]
    for k, (level, _) in enumerate(levels):
        depth[level] = k + 1.0
    depth[form.inverse > 0] = len(levels) + 1.0
    depth[form.linear > 0] = 0.0
    for exponent in (0.0, *(0.01 * 2.0**k for k in range(12))):
        trial = theta * np.exp(-exponent * depth)
        B = form.W * np.sqrt(trial[form.column])
        B /= np.sqrt(form.diagonal(trial))[:, None]
        A = blas.dsyrk(-1.0, B, beta=1.0, c=(1.0 - ROOM) * np.eye(form.size, order="F"), lower=1, overwrite_c=1)
        if not lapack.dpotrf(A, lower=1, overwrite_a=1)[1]:
            return trial
    return theta


def _levels(form: TransposedForm) -> list[tuple[IntArray, bool]]:
    """Variables of rows in an order in which each level's rows only meet columns of levels before it.

    The second entry tells whether a level meets itself: an implicit layer, or a tie over several layers.
    """
    n = form.variables
    rows, columns = np.nonzero(form.W)
    known = form.row[rows] >= 0
    depends = sp.csr_array(
        (np.ones(int(known.sum()), dtype=np.int8), (form.row[rows[known]], form.column[columns[known]])), shape=(n, n)
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
    of_rows[form.row[form.row >= 0]] = True
    result = []
    for k in range(int(level.max(initial=-1)) + 1):
        members = np.flatnonzero((level[label] == k) & of_rows)
        if members.size:
            result.append((members, bool(loops[label[members]].any())))
    return result


def _contracting_weights(own: Array, row: IntArray, column: IntArray, demand: Array) -> Array | None:
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
    return _contracting_by_continuation(own, row, column, balanced)


def _contracting_by_continuation(own: Array, row: IntArray, column: IntArray, start: Array) -> Array | None:
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


@dataclass(frozen=True, eq=False)
class Shape:
    """What stays the same over the iterations: blocks of columns with their first row, and the group sums.

    Attributes
    ----------
    blocks
        (columns, first row that is not zero in them): the block-triangular profile of W.
    rows, columns
        (variables, rows) and (variables, columns) 0/1 matrices that add up over groups.
    """

    form: TransposedForm
    blocks: list[tuple[slice, int]]
    rows: sp.csr_array
    columns: sp.csr_array

    @classmethod
    def of(cls, form: TransposedForm) -> Shape:
        """The shape of a problem."""
        n, (p, N) = form.variables, form.W.shape
        inputs = int((form.inverse[form.column] > 0).sum())
        first = np.where(form.W.any(axis=0), np.argmax(form.W != 0, axis=0), p)
        edges = [*range(0, inputs, BLOCK), *range(inputs, N, BLOCK), N]
        blocks = [(slice(a, b), int(first[a:b].min())) for a, b in itertools.pairwise(edges)]
        known = np.flatnonzero(form.row >= 0)
        rows = sp.csr_array((np.ones(known.size), (form.row[known], known)), shape=(n, p))
        columns = sp.csr_array((np.ones(N), (form.column, np.arange(N))), shape=(n, N))
        return cls(form, blocks, rows, columns)

    def times(self, M: Array, B: Array) -> Array:
        """M B."""
        out = np.empty((M.shape[0], B.shape[1]), order="F")
        for J, top in self.blocks:
            np.matmul(M[:, top:], B[top:, J], out=out[:, J])
        return out

    def adjoint(self, diagonal: Array, B: Array, MB: Array) -> Array:
        """F*(M)_i = Σ M over the rows of i − Σ bᵀ M b over the columns b of i."""
        return self.rows @ diagonal - self.columns @ np.einsum("ij,ij->j", B, MB)


@dataclass(frozen=True, eq=False)
class Point:
    """theta with all that follows from it, in the coordinates in which theta = 1.

    Attributes
    ----------
    B
        Diag(theta[row]; 1)^(−½) W Diag(theta[column])^½, so that A = I − B Bᵀ.
    L, S, SB
        The Cholesky factor of A, its inverse, and S B.
    """

    shape: Shape
    theta: Array
    B: Array
    L: Array
    S: Array
    SB: Array

    @classmethod
    def at(cls, shape: Shape, theta: Array) -> Point | None:
        """The point, or None where A(theta) is not positive definite."""
        form = shape.form
        if not (np.isfinite(theta).all() and (theta > 0).all()):
            return None
        B = form.W * np.sqrt(theta[form.column])
        B /= np.sqrt(form.diagonal(theta))[:, None]
        A = blas.dsyrk(-1.0, B, beta=1.0, c=np.eye(form.size, order="F"), lower=1, overwrite_c=1)
        L, failed = lapack.dpotrf(A, lower=1, overwrite_a=1)
        if failed:
            return None
        S, failed = lapack.dpotri(L, lower=1)
        if failed or not np.isfinite(S).all():
            return None
        # the other triangle holds zeros
        S += S.T.copy()
        S[np.diag_indices_from(S)] *= 0.5
        return cls(shape, theta, B, L, S, shape.times(S, B))

    def derivative(self, delta: Array, u: Array) -> Array:
        """(Σ delta_i F_i) u for vectors u."""
        form = self.shape.form
        row = np.where(form.row >= 0, delta[form.row], 0.0)
        return row * u - self.B @ (delta[form.column] * (u @ self.B))

    def derivative_times_inverse(self, delta: Array) -> Array:
        """(Σ delta_i F_i) S."""
        form = self.shape.form
        out = np.where(form.row >= 0, delta[form.row], 0.0)[:, None] * self.S
        for J, top in self.shape.blocks:
            out[top:] -= self.B[top:, J] @ (self.SB[:, J] * delta[form.column[J]]).T
        return out


def schur_complement(point: Point, X: Array, XB: Array) -> Array:
    """O_ij = ⟨F_i, X F_j S⟩ by Hadamard products and sums over groups (THEORY.md 5)."""
    shape, B, SB = point.shape, point.B, point.SB
    form = shape.form
    n, N = form.variables, B.shape[1]
    one_each = np.array_equal(form.column, np.arange(n))
    # each symmetric part enters as one half, lower blocks only
    half = np.zeros((n, N))
    for J, top in shape.blocks:
        end = J.stop
        product = B[top:, J].T @ XB[top:, :end]
        product *= B[top:, J].T @ SB[top:, :end]
        product[:, J] *= 0.5
        if one_each:
            half[J, :end] = product
        else:
            half[:, :end] += shape.columns[:, J] @ product
    half -= shape.rows @ (XB * SB)
    if not one_each:
        half = shape.columns @ half.T
    half += 0.5 * (shape.rows @ (shape.rows @ (X * point.S)).T)
    half += half.T.copy()
    return half


def step_to_boundary(operator: Callable[[Array], Array], size: int) -> float:
    """The largest a with I + a M ⪰ 0 for a symmetric operator M, from below, by Lanczos."""
    rng = np.random.default_rng(0)
    v = rng.standard_normal(size)
    v /= np.linalg.norm(v)
    basis: list[Array] = [v]
    diagonal: list[float] = []
    off: list[float] = []
    lowest = 0.0
    for k in range(min(size, LANCZOS_STEPS)):
        w = operator(basis[k])
        diagonal.append(float(w @ basis[k]))
        V = np.array(basis)
        w -= V.T @ (V @ w)
        w -= V.T @ (V @ w)
        norm = float(np.linalg.norm(w))
        if k + 1 == min(size, LANCZOS_STEPS) or norm < 1e-12 or k % 5 == 4:
            values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
            residual = norm * abs(vectors[-1, 0])
            lowest = values[0] - residual
            if norm < 1e-12 or (k >= 14 and residual <= 0.01 * abs(values[0])):
                break
        off.append(norm)
        basis.append(w / norm)
    return np.inf if lowest >= 0 else -1.0 / lowest


class Search:
    """The interior-point iteration; `best`, `gap`, `iterations` are valid at any moment."""

    def __init__(
        self, form: TransposedForm, restore: Restoration, theta: Array, options: SolverOptions, clock: float
    ) -> None:
        self.form = form
        self.restore = restore
        self.options = options
        self.clock = clock
        self.shape = Shape.of(form)
        self.best = theta
        self.gap = np.inf
        self.iterations = 0
        self.X: Array | None = None
        self.theta = theta
        self.homogeneous = not form.linear.any()

    def run(self) -> Status:
        """Iterate until the gap is closed or a limit is reached."""
        form = self.form
        point = Point.at(self.shape, self.theta)
        if point is None:
            return Status.STALLED
        X = self.initial_gram(point)
        LX = lapack.dpotrf(X, lower=1)[0]
        idle = 0
        while True:
            self.X, self.theta = X, point.theta
            XB = self.shape.times(X, point.B)
            image = self.shape.adjoint(np.diag(X), point.B, XB)
            gradient, hessian = self.objective(point.theta)
            gap, value = self.gap, form.objective(self.best)
            tau = self.measure(point, X, XB, gradient, image)
            idle = 0 if self.gap < 0.9 * gap or form.objective(self.best) < 0.9 * value else idle + 1
            self.report()
            status = self.finished(idle)
            if status is not None:
                return status
            if not tau > 0.0:
                return Status.STALLED
            factor = self.factor(schur_complement(point, X, XB), hessian)
            del XB
            if factor is None:
                return Status.STALLED

            # predictor, towards tau = 0: dX = −X − X dA S, symmetrised
            delta = cho_solve(factor, -gradient, check_finite=False)
            MS = point.derivative_times_inverse(delta)
            dX = X @ MS
            _symmetrise(dX)
            dX += X
            np.negative(dX, out=dX)
            if not (np.isfinite(delta).all() and np.isfinite(dX).all()):
                return Status.STALLED
            primal, dual = self.step_lengths(point, LX, delta, dX)
            sigma = self.centring(tau, delta, gradient, hessian, image, min(1.0, primal), min(1.0, dual))

            # corrector: dX = sigma tau S − X − (X dA + dX_a dA_a) S, symmetrised
            second = dX @ MS
            del dX, MS
            target = sigma * tau * self.shape.adjoint(np.diag(point.S), point.B, point.SB)
            target -= self.shape.adjoint(np.diag(second), point.B, self.shape.times(second, point.B))
            delta = cho_solve(factor, target - gradient, check_finite=False)
            second += X @ point.derivative_times_inverse(delta)
            dX = second
            _symmetrise(dX)
            dX += X
            dX -= (sigma * tau) * point.S
            np.negative(dX, out=dX)
            del second
            if not (np.isfinite(delta).all() and np.isfinite(dX).all()):
                return Status.STALLED
            primal, dual = self.step_lengths(point, LX, delta, dX)
            damping = 0.9 + 0.09 * min(1.0, primal, dual)

            del point, LX, factor
            following = self.advance(X, delta, dX, min(1.0, damping * primal), min(1.0, damping * dual))
            if following is None:
                return Status.STALLED
            point, X, LX = following
            if self.homogeneous:
                stretch = form.objective(point.theta) / form.objective(self.theta)
                X *= stretch**2
                LX *= stretch
            self.iterations += 1

    def initial_gram(self, point: Point) -> Array:
        """X = t S, on the central path for the objective's inputs: Σ cost/theta = t Σ bᵀ S b."""
        image = self.shape.adjoint(np.diag(point.S), point.B, point.SB)
        inputs = self.form.inverse > 0
        return point.S * (np.sum(self.form.inverse / point.theta) / -np.sum(image[inputs]))

    def objective(self, theta: Array) -> tuple[Array, Hessian]:
        """Gradient and Hessian diag(c) − u uᵀ, as (c, u), in delta = dtheta/theta.

        Without linear part the harmonic mean 1/f of f = Σ inverse/theta is maximised in place of minimising f: it is
        concave, and linear along rays, so that Newton's method needs no small steps far from the optimum. The
        derivatives are those of −f₀²/f at f₀ = f, which rescales X whenever f changes.
        """
        inverse = self.form.inverse / theta
        gradient = self.form.linear * theta - inverse
        u = inverse * np.sqrt(2.0 / inverse.sum()) if self.homogeneous else np.zeros_like(inverse)
        return gradient, (2.0 * inverse, u)

    def measure(self, point: Point, X: Array, XB: Array, gradient: Array, image: Array) -> float:
        """Update `best` and `gap`; returns tau = ⟨X, A⟩/size."""
        form = self.form
        value = form.objective(point.theta)
        if value <= form.objective(self.best):
            self.best = point.theta
        inputs = form.inverse > 0
        # min over theta of the Lagrangian: Σ 2√(cost bᵀXb) − ⟨X, constant part⟩
        root = np.sum(np.sqrt(form.inverse[inputs] / point.theta[inputs] * np.maximum(-image[inputs], 0.0)))
        constant = np.sum(np.diag(X)[form.row < 0])
        t = (root / constant) ** 2 if constant > 0 else 1.0
        lower = 2 * root * np.sqrt(t) - constant * t
        error = t * np.sum(np.abs(np.where(inputs, 0, form.linear * point.theta) - image)[~inputs])
        self.gap = min(self.gap, max(0.0, (value - lower + error) / value))
        return float(np.trace(X) - np.einsum("ij,ij->", point.B, XB)) / form.size

    def report(self) -> None:
        """Tell the caller how far it is."""
        value = self.form.objective(self.best)
        bound = value if self.form.linear.any() else float(np.sqrt(value))
        seconds = time.perf_counter() - self.clock
        self.options.tell(
            "interior point",
            self.iterations,
            seconds,
            bound=bound,
            gap=self.gap,
            point=lambda: self.restore.variables(self.best),
        )

    def finished(self, idle: int) -> Status | None:
        """The status to end with, or None."""
        limit = self.options.max_iterations
        seconds = time.perf_counter() - self.clock
        pace = seconds / max(1, self.iterations)
        if self.gap <= self.options.tolerance:
            return Status.OPTIMAL
        if self.iterations >= (ITERATION_LIMIT if limit is None else limit):
            return Status.ITERATION_LIMIT
        if self.options.time_limit is not None and seconds + pace > self.options.time_limit:
            return Status.TIME_LIMIT
        return Status.STALLED if idle > 30 else None

    def factor(self, schur: Array, hessian: Hessian) -> tuple[Array, bool] | None:
        """The Cholesky factor of the Schur complement with the objective's Hessian, or None."""
        curvature, u = hessian
        diagonal = np.einsum("ii->i", schur)
        diagonal += curvature
        (curved,) = np.nonzero(u)
        schur[np.ix_(curved, curved)] -= np.outer(u[curved], u[curved])
        scale = diagonal.copy()
        for shift in (0.0, 1e-15, 1e-13, 1e-11):
            diagonal[:] = scale * (1.0 + shift)
            factor, failed = lapack.dpotrf(schur, lower=1)
            if not failed and np.isfinite(factor).all():
                return factor, True
        return None

    def step_lengths(self, point: Point, LX: Array, delta: Array, dX: Array) -> tuple[float, float]:
        """How far X + a dX and A(theta (1 + a delta)) stay positive definite."""

        def congruent(L: Array, inner: Callable[[Array], Array]) -> Callable[[Array], Array]:
            def operator(u: Array) -> Array:
                return np.asarray(blas.dtrsv(L, inner(blas.dtrsv(L, u, lower=1, trans=1)), lower=1))

            return operator

        size = self.form.size
        primal = step_to_boundary(congruent(LX, lambda u: dX @ u), size)
        dual = step_to_boundary(congruent(point.L, lambda u: point.derivative(delta, u)), size)
        lowest = float(delta.min())
        return primal, min(dual, -1.0 / lowest) if lowest < 0 else dual

    def centring(
        self,
        tau: float,
        delta: Array,
        gradient: Array,
        hessian: Hessian,
        image: Array,
        primal: float,
        dual: float,
    ) -> float:
        """Mehrotra's sigma: (tau after the affine step / tau)^2 or ^3, but no tau far below the primal infeasibility.

        With a tau that runs ahead of the infeasibility the iterates would end at the boundary. ⟨X, dA⟩ = F*(X)ᵀ delta;
        dX = −X − X dA S gives ⟨dX, A⟩ = −⟨X, A⟩ − ⟨X, dA⟩ and ⟨dX, dA⟩ = −⟨X, dA⟩ − deltaᵀ O delta.
        """
        curvature, u = hessian
        slope = image @ delta
        quadratic = -(gradient @ delta) - curvature @ delta**2 + (u @ delta) ** 2
        change = primal * (-tau * self.form.size - slope) + dual * slope + primal * dual * (-slope - quadratic)
        ratio = float(np.clip(1.0 + change / (tau * self.form.size), 1e-6, 1.0))
        infeasibility = float(np.abs(gradient - image).sum()) / (tau * self.form.size)
        return max(ratio ** (2 if min(primal, dual) < 0.7 else 3), min(1.0, LAG * infeasibility))

    def advance(
        self, X: Array, delta: Array, dX: Array, primal: float, dual: float
    ) -> tuple[Point, Array, Array] | None:
        """The next point, X in its coordinates and the factor of X; steps shrink until both are positive definite."""
        theta, form = self.theta, self.form
        while True:
            LX, failed = lapack.dpotrf(X + primal * dX, lower=1, overwrite_a=1)
            if not failed:
                break
            primal = 0.7 * primal if primal > 1e-9 else 0.0
        dX *= primal
        dX += X
        while True:
            if max(primal, dual) < 1e-6:
                return None
            following = Point.at(self.shape, theta * (1.0 + dual * delta))
            if following is not None:
                break
            dual *= 0.7
        stretch = np.sqrt(form.diagonal(following.theta) / form.diagonal(theta))
        dX *= stretch
        dX *= stretch[:, None]
        LX *= stretch[:, None]
        return following, dX, LX


def _symmetrise(M: Array) -> None:
    """M ← (M + Mᵀ)/2."""
    M += M.T.copy()
    M *= 0.5
