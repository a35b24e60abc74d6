"""Optimal diagonal scaling without matrices: a spectral bundle method for (C) (THEORY.md 5b).

For fixed multipliers lam the least rho with M(lam, rho) ⪰ 0 is a convex function rho(lam), infinite outside a cone. Its
value needs the smallest eigenvalues of M alone, found by products with R, Y and their transposes (`Operator`). Any
subspace U gives the lower model

    rho_U(lam) = min rho  subject to  Uᵀ M(lam, rho) U ⪰ 0,

and one step minimises rho_U(lam) + ½‖lam − centre‖² in a metric, a small semidefinite program whose dual variable W
makes U W Uᵀ an estimate of the Gram matrix X of a worst-case increment. The next U holds the leading part of the
old one and the eigenvectors found at the new point; the rest of X goes on as one aggregate cut (the spectral bundle
method of Helmberg and Rendl, SIAM J. Optim. 2000). All is done in the coordinates of the centre, where M = I − BᵀB and
one tied multiplier is lam·(1 + δ). Multipliers tied per layer come first, then per channel, then per neuron; the model
goes on from tie to tie. The rank of X was two to twelve on the networks tried, so U has few columns.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigh, lapack

from lipcert.constraints.multipliers import Tie, tie_groups
from lipcert.sdp.outcome import Outcome, SolverOptions, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array, IntArray
    from lipcert.constraints.operator import Operator

# sizes of the part of the model's subspace that is new in each step, and of a search space
_FRESH, _SEARCH = 8, 96
# how many directions of the old subspace are kept: those with more than this share of W, within limits
_ACTIVE, _FEWEST, _MOST_KEPT = 1e-4, 8, 20
# random vectors in every search
_RANDOM = 4
# rho relative to its guess is looked for in this range; beyond, it counts as infinite
_LEAST, _MOST = 1e-12, 1e6
_SMALLEST = 1e-280
# the metric gives every variable at least this share of the mean mass
_FLOOR = 0.01
# relative gap of the small semidefinite programs: central W make better metrics than exact ones
_GAP = 2e-2
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
        keep = values > 1e-8 * values[-1]
        space = space.combined(vectors[:, keep] / np.sqrt(values[keep]) / norms[:, None])
        # nearly dependent directions magnify the rounding of U and of W apart, again in every step
        mix = self.rng.standard_normal((space.U.shape[1], 1))
        image = self.operator @ (space.U @ mix)
        drift = float(np.linalg.norm(space.W @ mix - image))
        return space if drift <= 1e-9 * np.linalg.norm(image) else _Space(space.U, self.operator @ space.U)

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
                return _Point(lam, np.inf, _Space(columns * X, BX / rows), False)
            residual = X - columns * op.adjoint(rows * BX)
            residual[inputs] += (f - 1.0) * X[inputs]
            residual -= X * values[:k]
            length = np.sqrt(np.einsum("ij,ij->j", residual, residual))
            if length[0] <= tolerance and sweep > 2:
                exact = True
                break
            if (f * rho > enough and length[0] < 0.1) or (sweep > 0 and time.perf_counter() > self.deadline):
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
        return _Point(lam, max(f * rho, _SMALLEST), _Space(columns * X, BX / rows), exact)


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


@lru_cache(maxsize=64)
def _svec_index(size: int) -> tuple[IntArray, IntArray, Array]:
    i, j = np.triu_indices(size)
    return i, j, np.where(i == j, 1.0, np.sqrt(2.0))


def _smat(w: Array, size: int) -> Array:
    i, j, c = _svec_index(size)
    W = np.empty((size, size))
    W[i, j] = W[j, i] = w / c
    return W


def _svec(W: Array) -> Array:
    i, j, c = _svec_index(W.shape[0])
    return W[i, j] * c


def _add_kron(H: Array, P: Array) -> None:
    """Add the matrix of W ↦ P W P on svec to the upper triangle of H."""
    size = P.shape[0]
    i, j, c = _svec_index(size)
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


class _Newton:
    """H = FᵀF + blkdiag(P ⊗ P, diag(ratio)), factorised, for P = GGᵀ with the inverse KKᵀ; Q is FᵀF or None.

    Where F has few rows, a matrix of their number will do:
    H⁻¹ = (K ⊗ K)(I − F̂ᵀ(I + F̂F̂ᵀ)⁻¹F̂)(K ⊗ K)ᵀ, F̂ = F (K ⊗ K).
    """

    def __init__(self, F: Array, Q: Array | None, K: Array, G: Array, ratio: Array) -> None:
        size = K.shape[0]
        p = size * (size + 1) // 2
        self.K, self.size, self.p = K, size, p
        self.F: Array | None = None
        self.root = np.sqrt(1.0 / ratio)
        if Q is not None:
            H = Q.copy()
            _add_kron(H, G @ G.T)
            tail = np.arange(p, H.shape[0])
            H[tail, tail] += ratio
        else:
            n = F.shape[0]
            i, j, c = _svec_index(size)
            full = np.zeros((n, size, size))
            full[:, i, j] = full[:, j, i] = F[:, :p] / c
            half = (full.reshape(n * size, size) @ K).reshape(n, size, size).swapaxes(1, 2)
            full = (np.ascontiguousarray(half).reshape(n * size, size) @ K).reshape(n, size, size)
            self.F = np.hstack([full[:, i, j] * c, F[:, p:] * self.root])
            H = self.F @ self.F.T
            H[np.diag_indices(n)] += 1.0
        # row-major upper is column-major lower
        self.factor, info = lapack.dpotrf(H.T, lower=True, overwrite_a=True)
        if info:
            raise np.linalg.LinAlgError

    def solve(self, rhs: Array) -> Array:
        """H⁻¹ rhs."""
        if self.F is None:
            return np.asarray(lapack.dpotrs(self.factor, rhs, lower=True)[0]).ravel()
        K, p = self.K, self.p
        y = np.concatenate([_svec(K.T @ _smat(rhs[:p], self.size) @ K), rhs[p:] * self.root])
        y -= self.F.T @ np.asarray(lapack.dpotrs(self.factor, self.F @ y, lower=True)[0]).ravel()
        return np.concatenate([_svec(K @ _smat(y[:p], self.size) @ K.T), y[p:] * self.root])


def _longest(x: Array, dx: Array, T: Array) -> float:
    """0.95 of the step from x along dx to the border of the cone, at most 1; x is I in the coordinates T."""
    size = T.shape[0]
    p = size * (size + 1) // 2
    least = float(np.linalg.eigvalsh(T.T @ _smat(dx[:p], size) @ T)[0])
    low = min(least, float((dx[p:] / x[p:]).min(initial=0.0)))
    return min(1.0, -0.95 / low) if low < 0 else 1.0


def _quadratic_sdp(F: Array, c: Array, a: Array, size: int) -> Array:
    """min ½‖F w‖² + cᵀw, aᵀw = 1, smat(w[:p]) ⪰ 0, w[p:] ≥ 0, by a primal–dual method with Nesterov–Todd directions."""
    p = size * (size + 1) // 2
    Q = F.T @ F if 2 * F.shape[0] > c.size else None
    eye = np.concatenate([_svec(np.eye(size)), np.ones(c.size - p)])
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
        L, info = lapack.dpotrf(_smat(w[:p], size), lower=True, clean=True)
        if info:
            break
        S, V = np.linalg.eigh(L.T @ _smat(z[:p], size) @ L)
        root = np.maximum(S, 1e-300) ** 0.25
        inverse = lapack.dtrtri(L, lower=True)[0]
        K, G = (L @ V) / root, (inverse.T @ V) * root
        try:
            newton = _Newton(F, Q, K, G, z[p:] / w[p:])
        except np.linalg.LinAlgError:
            break
        Ha = newton.solve(a)
        barrier = np.concatenate([_svec(inverse.T @ inverse), 1.0 / w[p:]])
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


@dataclass(frozen=True, eq=False)
class _Cut:
    """⟨X, M⟩ ≥ 0 for a fixed X: Σ_g lam_g p_g + rho e + c ≥ 0 over the groups, and the mass of X on them."""

    p: Array
    e: float
    c: float
    mass: Array


class _Bundle:
    """The lower model of rho around a centre, for one tie; it goes on from the model of a coarser one."""

    def __init__(self, evaluator: _Evaluator, variable: IntArray, centre: _Point, before: _Bundle | None) -> None:
        groups = evaluator.operator.groups
        self.evaluator = evaluator
        self.variable = variable
        self.count = int(variable.max(initial=-1)) + 1
        self.columns = _membership(groups.column, groups.count)
        self.rows = _membership(groups.row, groups.count)
        self.tied = _membership(variable, self.count)
        self.space: _Space = centre.space if before is None else before.space
        self.cut: _Cut | None = None if before is None else before.cut
        self.mass: Array = np.zeros(0) if before is None else before.mass
        self.centre = centre
        self.prepare()

    def parts(self, W: Array) -> tuple[Array, Array]:
        """For X = U W Uᵀ and every group, what the columns and the rows of B add to ⟨X, dM⟩ relative to lam."""
        x, b = self.x, self.b
        return (
            self.columns(np.einsum("ij,ij->i", x @ W, x)[:, None])[:, 0],
            self.rows(np.einsum("ij,ij->i", b @ W, b)[:, None])[:, 0],
        )

    def prepare(self) -> None:
        """Everything of the model that depends on the centre and the space, but not on the step size."""
        ev, op = self.evaluator, self.evaluator.operator
        columns, rows = ev.scales(self.centre.lam, self.centre.rho)
        self.space = ev.orthonormal(self.space, columns)
        V, BV = self.space.U / columns, self.space.W * rows
        k = self.k = V.shape[1]
        p = k * (k + 1) // 2
        self.x, self.b = V[: op.channels], BV[: op.rows]
        self.a = _svec(V[op.channels :].T @ V[op.channels :])
        self.c = _svec(np.eye(k) - BV.T @ BV)
        if not self.mass.size:
            gained, spent = self.parts(np.eye(k))
            self.mass = (gained + spent) / float(self.a @ _svec(np.eye(k)))
        mass = self.tied(self.mass[:, None])[:, 0]
        self.D = mass + _FLOOR * mass.mean()
        self.F = np.empty((self.count, p + (self.cut is not None)))
        start = 0
        for i in range(k):
            stop = start + k - i
            part = self.columns(self.x[:, i : i + 1] * self.x[:, i:])
            part = self.tied(part - self.rows(self.b[:, i : i + 1] * self.b[:, i:]))
            part[:, 1:] *= np.sqrt(2.0)
            self.F[:, start:stop] = part
            start = stop
        if self.cut is not None:
            gradient, e = self.centre.lam * self.cut.p, self.centre.rho * self.cut.e
            self.F[:, p] = self.tied(gradient[:, None])[:, 0] / e
            self.a = np.append(self.a, 1.0)
            self.c = np.append(self.c, (self.cut.c + gradient.sum() + e) / e)
        self.F /= np.sqrt(self.D)[:, None]

    def step(self, tau: float) -> tuple[Array, float, Array]:
        """δ, the predicted decrease of rho / rho(centre), and the dual variable w."""
        w = _quadratic_sdp(np.sqrt(tau) * self.F, self.c, self.a, self.k)
        Fw = self.F @ w
        return tau * Fw / np.sqrt(self.D), float(self.c @ w + tau * Fw @ Fw), w

    def absorb(self, w: Array, fresh: _Space) -> None:
        """Keep the leading part of W, aggregate the rest, and add the new vectors."""
        p = self.k * (self.k + 1) // 2
        W = _smat(w[:p], self.k)
        lam, rho = self.centre.lam, self.centre.rho
        values, vectors = np.linalg.eigh(W)
        keep = min(max(_FEWEST, int((values > _ACTIVE * values.sum()).sum())), _MOST_KEPT, self.k)
        rest = vectors[:, :-keep] * np.sqrt(np.maximum(values[:-keep], 0.0))
        rest = rest @ rest.T
        gained, spent = self.parts(W)
        mass = gained + spent
        gained, spent = self.parts(rest)
        gradient, dropped = gained - spent, gained + spent
        e, constant = float(self.a[:p] @ _svec(rest)), float(self.c[:p] @ _svec(rest))
        if self.cut is not None:
            share = w[p] / (rho * self.cut.e)
            mass += share * rho * self.cut.mass
            gradient += share * lam * self.cut.p
            dropped += share * rho * self.cut.mass
            e += w[p]
            constant += w[p] * self.c[p]
        self.mass = 0.5 * (self.mass + mass)
        if e > 1e-12:
            # ⟨X, M⟩ at the centre is Σ lam p + rho e + const
            self.cut = _Cut(gradient / lam, e / rho, constant - gradient.sum() - e, dropped / rho)
        self.space = self.space.combined(vectors[:, -keep:]).joined(fresh)


def _membership(variable: IntArray, count: int) -> Callable[[Array], Array]:
    """The map that adds up the rows of a variable."""
    n = variable.size
    if n == count and (variable == np.arange(n)).all():
        return lambda x: x
    matrix = sp.csr_array((np.ones(n), (variable, np.arange(n))), shape=(count, n))
    return lambda x: np.asarray(matrix @ x)


@dataclass
class _Progress:
    """Where a solve stands, the best point so far, and the last few that were the best."""

    options: SolverOptions
    started: float
    variable: IntArray
    best: _Point | None = None
    iterations: int = 0
    last: float = 0.0
    accepted: list[_Point] = field(default_factory=list)
    reason: str = ""

    def stalled(self, reason: str) -> Status:
        """The status, with a reason for the report."""
        self.reason = f"{reason} (iteration {self.iterations})"
        return Status.STALLED

    def accept(self, point: _Point) -> None:
        self.best = point
        self.accepted = [*self.accepted[-5:], point]

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


def _improve(bundle: _Bundle, tie: Tie, run: _Progress, tolerance: float) -> Status:
    """Bundle steps for one tie until the predicted relative decrease of rho falls below `tolerance`."""
    evaluator = bundle.evaluator
    limit = run.options.max_iterations
    tau = 0.3
    while True:
        delta, predicted, w = bundle.step(tau)
        if predicted < -tolerance:
            # the model refutes rho of the centre
            refuted = bundle.centre
            bundle.centre = _settle(evaluator, run, bundle.space)
            if bundle.centre.rho <= refuted.rho:
                return run.stalled("the model refutes a point that no search for eigenvectors refutes")
            bundle.prepare()
            continue
        if not np.isfinite(delta).all() or tau < 1e-6:
            return run.stalled("no step improves on the best point")
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
            bundle.centre = trial
            run.accept(trial)
            if ratio > 0.5:
                tau = min((3.0 if ratio > 0.9 else 2.0) * tau, 1e4)
        elif ratio < -1.0:
            # hardly: a model that has learnt from the trial point serves better than a short step
            tau *= 0.95
        run.report(f"scaling per {tie.value}", predicted)
        if time.perf_counter() > evaluator.deadline:
            return Status.TIME_LIMIT
        if limit is not None and run.iterations >= limit:
            return Status.ITERATION_LIMIT
        bundle.prepare()


def _settle(evaluator: _Evaluator, run: _Progress, against: _Space | None) -> _Point:
    """The last point whose rho, searched for longer, stays below what it improved on; it becomes the best.

    Where eigenvalues cluster, a search can miss the smallest one. What it finds later also tells about the points before.
    """
    while True:
        point = run.accepted.pop()
        found = evaluator.least(
            point.lam, point.rho, point.space if against is None else point.space.joined(against), 1e-8
        )
        if not run.accepted or found.rho <= run.accepted[-1].rho:
            run.accept(found if np.isfinite(found.rho) else point)
            return run.accepted[-1]
        against = found.space


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
    bundle: _Bundle | None = None
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
        run.accept(run.best)
        run.report("start")
        for stage, enough, share in stages if operator.groups.count else ():
            tied_to = tie_groups(operator.groups, stage)
            if stage is not tie and tied_to.max() == variable.max():
                continue
            evaluator.deadline = started + share * (deadline - started)
            bundle = _Bundle(evaluator, tied_to, run.best, bundle)
            status = _improve(bundle, stage, run, max(enough, tolerance))
            if status is Status.ITERATION_LIMIT or time.perf_counter() > deadline:
                break
        evaluator.deadline = np.inf
        _settle(evaluator, run, None if bundle is None else bundle.space)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    if run.best is None:
        return Outcome(None, status, np.inf, None, run.iterations, run.seconds)
    message = run.reason if status is Status.STALLED else ""
    return Outcome(run.y(), status, float(np.sqrt(run.rho)), None, run.iterations, run.seconds, message=message)


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
