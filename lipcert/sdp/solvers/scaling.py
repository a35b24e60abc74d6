"""Optimal diagonal scaling without matrices: a spectral bundle method for (C) (THEORY.md 5b).

For fixed multipliers lam the least rho with M(lam, rho) ⪰ 0 is a convex function rho(lam), infinite outside a cone. Its
value needs the smallest eigenvalues of M alone, found by products with R, Y and their transposes (`Operator`). Any
subspace U gives the lower model

    rho_U(lam) = min rho  subject to  Uᵀ M(lam, rho) U ⪰ 0,

and one step minimises rho_U(lam) + ½‖lam − centre‖² in a metric, a small semidefinite program whose dual variable W
makes U W Uᵀ an estimate of the Gram matrix X of a worst-case increment. The next U holds the leading part of the
old one and the eigenvectors found at the new point; the rest of X goes on as one aggregate cut (the spectral bundle
method of Helmberg and Rendl, SIAM J. Optim. 2000). All is done in the coordinates of the centre, where M = I − BᵀB and
one tied multiplier is lam·(1 + δ). Multipliers tied per layer come first, then per channel, then per neuron.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve, eigh

from lipcert.constraints.multipliers import Tie, tie_groups
from lipcert.sdp.outcome import Outcome, SolverOptions, Status

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.constraints.operator import Operator

# sizes of the subspace of the model, of the part of it that is new in each step, and of a search space
_MODEL, _FRESH, _SEARCH = 28, 12, 96
# random vectors in every search
_RANDOM = 2
# rho relative to its guess is looked for in this range; beyond, it counts as infinite
_LEAST, _MOST = 1e-12, 1e6
_SMALLEST = 1e-280
# the metric gives every variable at least this share of the mean mass
_FLOOR = 0.02
# the finer ties start from the coarser ones, which stop at this predicted relative decrease of rho or part of the time
_STAGES = {
    Tie.NETWORK: (),
    Tie.LAYER: (),
    Tie.CHANNEL: ((Tie.LAYER, 1e-2, 0.2),),
    Tie.NEURON: ((Tie.LAYER, 1e-2, 0.15), (Tie.CHANNEL, 3e-2, 0.5)),
}


@dataclass(frozen=True, eq=False)
class _Space:
    """Vectors u = [v; x] as columns, and [R; Y] u."""

    U: Array
    W: Array

    def combined(self, coefficients: Array) -> _Space:
        return _Space(self.U @ coefficients, self.W @ coefficients)

    def joined(self, other: _Space) -> _Space:
        return _Space(np.hstack([self.U, other.U]), np.hstack([self.W, other.W]))


@dataclass(frozen=True, eq=False)
class _Point:
    """Multipliers with the least rho, and the smallest eigenvectors of M there.

    `rho` is infinite where the channel part alone is not positive definite, and only a lower bound where `exact` is False.
    """

    lam: Array
    rho: float
    space: _Space
    exact: bool


class _Evaluator:
    """rho(lam) and the smallest eigenvectors of M by a block Davidson method, warm-started."""

    def __init__(self, operator: Operator, deadline: float = np.inf) -> None:
        self.operator = operator
        self.deadline = deadline
        self.rng = np.random.default_rng(0)

    def scales(self, lam: Array, rho: float) -> tuple[Array, Array]:
        """diag(1/d_out, s) and diag(d_in, I) as columns."""
        groups, op = self.operator.groups, self.operator
        root = np.sqrt(lam)
        columns = np.concatenate([1.0 / root[groups.column], np.full(op.inputs, rho**-0.5)])
        rows = np.concatenate([root[groups.row], np.ones(op.outputs)])
        return columns[:, None], rows[:, None]

    def random(self, count: int, columns: Array) -> _Space:
        """Random vectors in the scaled coordinates."""
        U = columns * self.rng.standard_normal((self.operator.shape[1], count))
        return _Space(U, self.operator @ U)

    def orthonormal(self, space: _Space, columns: Array) -> _Space:
        """The same span with diag(1/columns) U orthonormal; nearly dependent directions are dropped."""
        V = space.U / columns
        norms = np.linalg.norm(V, axis=0)
        values, vectors = eigh((V / norms).T @ (V / norms))
        keep = values > 1e-10 * values[-1]
        return space.combined(vectors[:, keep] / np.sqrt(values[keep]) / norms[:, None])

    def least(
        self,
        lam: Array,
        rho: float,
        start: _Space | None,
        tolerance: float,
        enough: float = np.inf,
        sweeps: int = 40,
    ) -> _Point:
        """rho(lam), found from the guess `rho`; stops once it must lie above `enough`.

        Some random vectors join the start, which may span an invariant subspace without the smallest eigenvector.
        """
        op = self.operator
        columns, rows = self.scales(lam, rho)
        space = self.random(min(_FRESH, op.shape[1]) if start is None else _RANDOM, columns)
        space = self.orthonormal(space if start is None else start.joined(space), columns)
        f = 1.0
        inputs = slice(op.channels, None)
        exact = False
        for sweep in range(sweeps):
            V, BV = space.U / columns, space.W * rows
            T = BV.T @ BV
            E = V[inputs].T @ V[inputs]
            G = np.eye(T.shape[0]) - T - E
            # the least f with G + f E ⪰ 0: the smallest eigenvalue is concave in f, so Newton's method rises to it
            for _ in range(50):
                values, vectors = eigh(G + f * E)
                slope = float(vectors[:, 0] @ E @ vectors[:, 0])
                if abs(values[0]) <= 1e-12 or (values[0] > 0.0 and f <= _LEAST) or f > _MOST:
                    break
                f = min(max(f - values[0] / slope, _LEAST), 2.0 * _MOST) if slope > 1e-16 else f
                if slope <= 1e-16:
                    f = _LEAST if values[0] > 0.0 else 2.0 * _MOST
            if f > _MOST:
                return _Point(lam, np.inf, space.combined(vectors[:, :_FRESH]), False)
            k = min(_FRESH, vectors.shape[1])
            ritz = space.combined(vectors[:, :k])
            X, BX = ritz.U / columns, ritz.W * rows
            residual = X - columns * op.adjoint(rows * BX)
            residual[inputs] += (f - 1.0) * X[inputs]
            residual -= X * values[:k]
            size = np.linalg.norm(residual, axis=0)
            if size[0] <= tolerance and sweep > 1:
                exact = True
                break
            if (f * rho > enough and size[0] < 0.1) or (sweep > 0 and time.perf_counter() > self.deadline):
                break
            limit = min(_SEARCH, op.shape[1])
            fresh = residual[:, size > 1e-12] / size[size > 1e-12]
            if space.U.shape[1] + fresh.shape[1] > limit == _SEARCH:
                space = space.combined(vectors[:, : 2 * _FRESH])
                V = space.U / columns
            fresh = fresh[:, : limit - V.shape[1]]
            for _ in range(2):
                fresh = fresh - V @ (V.T @ fresh)
                fresh = fresh[:, np.linalg.norm(fresh, axis=0) > 1e-8]
                if not fresh.shape[1]:
                    break
                fresh = np.linalg.qr(fresh)[0]
            if not fresh.shape[1]:
                exact = True
                break
            U = columns * fresh
            space = space.joined(_Space(U, op @ U))
        return _Point(lam, max(f * rho, _SMALLEST), ritz, exact)


@lru_cache(maxsize=64)
def _svec_index(size: int) -> tuple[IntArray, IntArray, Array]:
    i, j = np.triu_indices(size)
    return i, j, np.where(i == j, 1.0, np.sqrt(2.0))


@lru_cache(maxsize=4)
def _kron_index(size: int) -> tuple[IntArray, IntArray, IntArray, IntArray, Array]:
    """Where in a flattened P the factors of `_kron` are, and its weights."""
    i, j, c = _svec_index(size)
    ii, jj, ij, ji = (a[:, None] * size + b for a, b in ((i, i), (j, j), (i, j), (j, i)))
    return ii, jj, ij, ji, 0.5 * c[:, None] * c


def _kron(P: Array) -> Array:
    """The matrix of W ↦ P W P on svec."""
    ii, jj, ij, ji, weights = _kron_index(P.shape[0])
    flat = P.ravel()
    out = flat.take(ii)
    out *= flat.take(jj)
    other = flat.take(ij)
    other *= flat.take(ji)
    out += other
    out *= weights
    return out


def _smat(w: Array, size: int) -> Array:
    i, j, c = _svec_index(size)
    W = np.empty((size, size))
    W[i, j] = W[j, i] = w / c
    return W


def _svec(W: Array) -> Array:
    i, j, c = _svec_index(W.shape[0])
    return W[i, j] * c


def _direction(factor: Any, a: Array, Ha: Array, rhs: Array, primal: float) -> tuple[Array, float]:
    """Δw and Δμ with H Δw = rhs + Δμ a, aᵀΔw = primal."""
    g = cho_solve(factor, rhs, check_finite=False)
    dmu = float((primal - a @ g) / (a @ Ha))
    return g + dmu * Ha, dmu


def _longest(x: Array, dx: Array, size: int) -> float:
    """0.95 of the step from x along dx to the border of the cone, at most 1."""
    p = size * (size + 1) // 2
    C = np.linalg.cholesky(_smat(x[:p], size))
    D = np.linalg.solve(C, np.linalg.solve(C, _smat(dx[:p], size)).T)
    low = min(float(np.linalg.eigvalsh(D)[0]), float((dx[p:] / x[p:]).min(initial=0.0)))
    return min(1.0, -0.95 / low) if low < 0 else 1.0


def _quadratic_sdp(Q: Array, c: Array, a: Array, size: int) -> Array:
    """min ½ wᵀQw + cᵀw, aᵀw = 1, smat(w[:p]) ⪰ 0, w[p:] ≥ 0, by a primal–dual method with Nesterov–Todd directions."""
    p = size * (size + 1) // 2
    eye = np.concatenate([_svec(np.eye(size)), np.ones(c.size - p)])
    w = eye / max(float(a @ eye), 1e-3)
    z = eye * max(1.0, float(np.abs(c).max()), float(np.abs(Q @ w).max()))
    multiplier = 0.0
    degree = size + c.size - p
    scale = 1.0 + np.abs(c).max()
    for _ in range(60):
        W, Z = _smat(w[:p], size), _smat(z[:p], size)
        dual = Q @ w + c - multiplier * a - z
        primal = 1.0 - float(a @ w)
        nu = float(w @ z) / degree
        value = abs(float(c @ w + w @ Q @ w))
        if nu * degree < 1e-3 * max(value, 1e-7) and np.abs(dual).max() < 1e-6 * scale and abs(primal) < 1e-8:
            break
        try:
            L = np.linalg.cholesky(W)
        except np.linalg.LinAlgError:
            break
        # with LᵀZL = V S Vᵀ the matrix GGᵀ, G = L⁻ᵀ V S^¼, is the inverse of the P with P Z P = W
        S, V = eigh(L.T @ Z @ L)
        G = np.linalg.solve(L.T, V * np.maximum(S, 1e-300) ** 0.25)
        H = Q.copy()
        H[:p, :p] += _kron(G @ G.T)
        tail = np.arange(p, c.size)
        H[tail, tail] += z[p:] / w[p:]
        try:
            factor = cho_factor(H, check_finite=False)
        except np.linalg.LinAlgError:
            break
        Ha = cho_solve(factor, a, check_finite=False)
        inverse = np.concatenate([_svec(np.asarray(np.linalg.inv(W), dtype=np.float64)), 1.0 / w[p:]])

        dw, dmu = _direction(factor, a, Ha, -dual - z, primal)
        dz = Q @ dw - dmu * a + dual
        try:
            ap, ad = _longest(w, dw, size), _longest(z, dz, size)
        except np.linalg.LinAlgError:
            break
        reduced = float((w + ap * dw) @ (z + ad * dz)) / degree
        sigma = min(1.0, max(reduced / nu, 0.0) ** 2 + 1e-3)
        dw, dmu = _direction(factor, a, Ha, -dual - z + sigma * nu * inverse, primal)
        dz = Q @ dw - dmu * a + dual
        try:
            length = min(_longest(w, dw, size), _longest(z, dz, size))
        except np.linalg.LinAlgError:
            break
        w = w + length * dw
        z = z + length * dz
        multiplier += length * dmu
    return w


@dataclass(frozen=True, eq=False)
class _Cut:
    """⟨X, M⟩ ≥ 0 for a fixed X: Σ_t lam_t p_t + rho e + c ≥ 0, and the mass of X on every variable."""

    p: Array
    e: float
    c: float
    mass: Array


class _Bundle:
    """The lower model of rho around a centre, for one tie."""

    def __init__(self, evaluator: _Evaluator, variable: IntArray, centre: _Point) -> None:
        groups = evaluator.operator.groups
        self.evaluator = evaluator
        self.variable = variable
        self.count = int(variable.max(initial=-1)) + 1
        self.member = np.zeros(self.count, dtype=np.int64)
        self.member[variable] = np.arange(variable.size)
        self.columns = _membership(variable[groups.column], self.count)
        self.rows = _membership(variable[groups.row], self.count)
        self.space = centre.space
        self.cut: _Cut | None = None
        self.mass = np.zeros(0)
        self.centre = centre
        self.prepare()

    def prepare(self) -> None:
        """Everything of the model that depends on the centre and the space, but not on the step size."""
        ev, op = self.evaluator, self.evaluator.operator
        columns, rows = ev.scales(self.centre.lam, self.centre.rho)
        self.space = ev.orthonormal(self.space, columns)
        V, BV = self.space.U / columns, self.space.W * rows
        k = self.k = V.shape[1]
        i, j, c = _svec_index(k)
        x, b = V[: op.channels], BV[: op.rows]
        gained, spent = self.columns @ (x[:, i] * x[:, j] * c), self.rows @ (b[:, i] * b[:, j] * c)
        self.F, self.sizes = gained - spent, gained + spent
        self.a = _svec(V[op.channels :].T @ V[op.channels :])
        self.c = _svec(np.eye(k) - BV.T @ BV)
        if self.cut is not None:
            p, e = self.centre.lam[self.member] * self.cut.p, self.centre.rho * self.cut.e
            self.F = np.hstack([self.F, (p / e)[:, None]])
            self.sizes = np.hstack([self.sizes, (self.cut.mass / e * self.centre.rho)[:, None]])
            self.a = np.append(self.a, 1.0)
            self.c = np.append(self.c, (self.cut.c + p.sum() + e) / e)
        if not self.mass.size:
            w = _svec(np.eye(k))
            self.mass = self.sizes @ w / float(self.a @ w)
        D = self.mass + _FLOOR * self.mass.mean()
        self.D = D
        self.Q = self.F.T @ (self.F / D[:, None])

    def step(self, tau: float) -> tuple[Array, float, Array]:
        """δ, the predicted decrease of rho / rho(centre), and the dual variable w."""
        w = _quadratic_sdp(tau * self.Q, self.c, self.a, self.k)
        predicted = float(self.c @ w + tau * w @ self.Q @ w)
        return tau * (self.F @ w) / self.D, predicted, w

    def absorb(self, w: Array, fresh: _Space) -> None:
        """Keep the leading part of W, aggregate the rest, and add the new vectors."""
        p = self.k * (self.k + 1) // 2
        self.mass = 0.5 * (self.mass + self.sizes @ w)
        values, vectors = np.linalg.eigh(_smat(w[:p], self.k))
        keep = max(_MODEL - fresh.U.shape[1], 1)
        rest = vectors[:, :-keep] * np.sqrt(np.maximum(values[:-keep], 0.0))
        lam, rho = self.centre.lam[self.member], self.centre.rho
        r = np.zeros_like(w)
        r[:p] = _svec(rest @ rest.T)
        r[p:] = w[p:]
        e = float(self.a @ r)
        if e > 1e-12:
            # ⟨X, M⟩ at the centre is c·r = Σ lam p + rho e + const
            gradient = self.F @ r
            self.cut = _Cut(gradient / lam, e / rho, float(self.c @ r) - gradient.sum() - e, self.sizes @ r / rho)
        self.space = self.space.combined(vectors[:, -keep:]).joined(fresh)


def _membership(variable: IntArray, count: int) -> sp.csr_array:
    """The 0-1 matrix that adds up the rows of a variable."""
    n = variable.size
    return sp.csr_array((np.ones(n), (variable, np.arange(n))), shape=(count, n))


@dataclass
class _Progress:
    """Where a solve stands, and the best point so far."""

    options: SolverOptions
    started: float
    variable: IntArray
    best: _Point | None = None
    iterations: int = 0
    last: float = 0.0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    @property
    def rho(self) -> float:
        """Of the best point, with room for rounding."""
        assert self.best is not None
        return self.best.rho * (1.0 + 1e-7)

    def y(self) -> Array:
        """The best point as in `Outcome`."""
        assert self.best is not None
        tied = np.ones(int(self.variable.max(initial=-1)) + 1)
        tied[self.variable] = self.best.lam
        return np.append(tied, self.rho)

    def report(self, stage: str, predicted: float | None = None) -> None:
        self.iterations += 1
        if self.seconds - self.last >= 0.1:
            self.last = self.seconds
            self.options.tell(stage, self.iterations, self.seconds, bound=float(np.sqrt(self.rho)), point=self.y)


def _improve(evaluator: _Evaluator, tie: Tie, run: _Progress, tolerance: float) -> Status:
    """Bundle steps for one tie until the predicted relative decrease of rho falls below `tolerance`."""
    assert run.best is not None
    groups = evaluator.operator.groups
    bundle = _Bundle(evaluator, tie_groups(groups, tie), run.best)
    limit = run.options.max_iterations
    tau, nulls = 0.3, 0
    while True:
        delta, predicted, w = bundle.step(tau)
        if not np.isfinite(delta).all() or tau < 1e-6:
            return Status.STALLED
        if predicted < tolerance * min(1.0, tau) or bundle.centre.rho <= _SMALLEST:
            return Status.OPTIMAL
        centre = bundle.centre
        # rho may be infinite at the trial point: then nearer to the centre, by convexity no worse relative to the step
        length, outside = 1.0, None
        while True:
            lam = centre.lam * np.clip(1.0 + length * delta, 0.3, 3.0)[bundle.variable]
            aim = length * predicted
            trial = evaluator.least(
                lam,
                centre.rho * max(1.0 - aim, 0.05),
                bundle.space.joined(centre.space) if outside is None else outside.joined(centre.space),
                max(1e-6, min(1e-3, 0.1 * aim)),
                enough=centre.rho * (1.0 - 0.1 * aim),
            )
            if np.isfinite(trial.rho) or length < 0.2:
                break
            length *= 0.5
            outside = trial.space
        ratio = (1.0 - trial.rho / centre.rho) / aim
        if length < 1.0:
            tau *= 0.6
        bundle.absorb(w, trial.space)
        if trial.exact and ratio >= 0.1:
            bundle.centre = run.best = trial
            nulls = 0
            if ratio > 0.5:
                tau = min((3.0 if ratio > 0.9 else 2.0) * tau, 1e4)
        else:
            nulls += 1
            if ratio < -1.0 or nulls > 3:
                tau *= 0.6
        run.report(f"scaling per {tie.value}", predicted)
        if time.perf_counter() > evaluator.deadline:
            return Status.TIME_LIMIT
        if limit is not None and run.iterations >= limit:
            return Status.ITERATION_LIMIT
        bundle.prepare()


def _start(evaluator: _Evaluator) -> _Point | None:
    """A feasible point with one lam a layer, or None.

    From the output to the input lam_k = c ‖diag(√lam_later, I) [R; Y]_k‖², [R; Y]_k the columns of layer k, and so for
    rho. Then every block of columns of B has norm² 1/c, so c ≥ layers + 1 is feasible for every feedforward network;
    usually c = 2 is.
    """
    op = evaluator.operator
    groups = op.groups
    layers = int(groups.layer.max(initial=-1)) + 1
    c = 1.2
    while c < 2.0 * layers + 4.0:
        lam, norm = np.ones(groups.count), 1.0
        for k in range(layers - 1, -2, -1):
            inputs = np.full(op.inputs, 1.0 if k < 0 else 0.0)
            mask = np.concatenate([groups.layer[groups.column] == k, inputs])[:, None]
            seen = np.where(groups.layer[groups.row] > k, lam[groups.row], 0.0)
            weights = np.concatenate([seen, np.ones(op.outputs)])[:, None]
            v = evaluator.rng.standard_normal((op.shape[1], 1)) * mask
            found = 0.0
            for _ in range(12):
                v = op.adjoint(weights * (op @ v)) * mask
                found = float(np.linalg.norm(v))
                if found == 0.0:
                    break
                v /= found
            norm = max(1.02 * c * found, 1e-12 * norm)
            if k >= 0:
                lam[groups.layer == k] = norm
        point = evaluator.least(lam, norm, None, 1e-3)
        if np.isfinite(point.rho) and (point.exact or time.perf_counter() > evaluator.deadline):
            return point
        c = 1.5 * c
    return None


def solve(operator: Operator, tie: Tie, options: SolverOptions) -> Outcome:
    """Minimise rho over the multipliers, ℓ2 to ℓ2, by products with the network alone.

    Parameters
    ----------
    operator
        The interconnection.
    tie
        Which multipliers are one variable.
    options
        `tolerance` is the predicted relative decrease of rho at which to stop, at least 1e-6. A `start` holds one lam a
        variable of the tie (and possibly rho).

    Returns
    -------
    Outcome
        y holds one lam a variable of `tie_groups(operator.groups, tie)`, then rho; None where no feasible point was found,
        as may happen with implicit layers.

    Notes
    -----
    The point is feasible as far as Lanczos-type eigenvalues, which come from below, can tell: nothing is proven here.

    Examples
    --------
    >>> from lipcert.constraints.operator import Operator
    >>> from lipcert.graph import build as nn
    >>> operator = Operator(nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]])))
    >>> round(solve(operator, Tie.NEURON, SolverOptions()).bound, 4)
    10.0
    """
    started = time.perf_counter()
    deadline = np.inf if options.time_limit is None else started + options.time_limit
    evaluator = _Evaluator(operator, deadline)
    variable = tie_groups(operator.groups, tie)
    run = _Progress(options, started, variable)
    tolerance = max(options.tolerance, 1e-6)
    status = Status.OPTIMAL
    try:
        run.best = _given(evaluator, variable, options.start)
        last_stage = (tie, tolerance, 1.0)
        stages = (*_STAGES[tie], last_stage) if run.best is None else (last_stage,)
        if run.best is None:
            run.best = _start(evaluator)
        if run.best is None:
            return Outcome(
                None,
                Status.STALLED,
                np.inf,
                None,
                0,
                run.seconds,
                message="no scaling per layer makes the channels contract",
            )
        run.report("start")
        for stage, enough, share in stages if operator.groups.count else ():
            evaluator.deadline = started + share * (deadline - started)
            status = _improve(evaluator, stage, run, max(enough, tolerance))
            if status is Status.ITERATION_LIMIT or time.perf_counter() > deadline:
                break
        evaluator.deadline = np.inf
        last = evaluator.least(run.best.lam, run.best.rho, run.best.space, 1e-8)
        if np.isfinite(last.rho):
            run.best = last
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    if run.best is None:
        return Outcome(None, status, np.inf, None, run.iterations, run.seconds)
    return Outcome(run.y(), status, float(np.sqrt(run.rho)), None, run.iterations, run.seconds)


def _given(evaluator: _Evaluator, variable: IntArray, start: Array | None) -> _Point | None:
    """The start of the caller, where it is feasible."""
    if start is None:
        return None
    count = int(variable.max(initial=-1)) + 1
    lam = start[:count][variable]
    rho = float(start[count]) if start.size > count and start[count] > 0.0 else float(lam.max(initial=1.0))
    if not (np.isfinite(lam).all() and (lam > 0.0).all() and np.isfinite(rho)):
        return None
    point = evaluator.least(lam, rho, None, 1e-4)
    return point if np.isfinite(point.rho) and point.exact else None


def initial_scaling(operator: Operator) -> Array | None:
    """Feasible multipliers, one a group, equal within a layer, from a few products; None where none were found.

    Examples
    --------
    >>> from lipcert.constraints.operator import Operator
    >>> from lipcert.graph import build as nn
    >>> operator = Operator(nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]])))
    >>> bool((initial_scaling(operator) > 0).all())
    True
    """
    point = _start(_Evaluator(operator))
    return None if point is None else point.lam
