"""The native solver: a primal–dual interior-point method made for (C) (docs/theory.md 5).

It works on the transposed form A(theta) ⪰ 0 of (C) (see `transposed`). The optimality conditions are A ⪰ 0, X ⪰ 0,
X A = tau I and ∇objective = F*(X), where F_i = ∂A/∂theta_i. The direction is HKM (Helmberg, Rendl, Vanderbei, Wolkowicz
1996) with Mehrotra's predictor and corrector. The start and every iterate satisfy A ≻ 0, so that each is a feasible
certificate, and every iteration works in coordinates in which theta = 1.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh, eigh_tridiagonal, solve_triangular
from scipy.linalg.blas import dsymv, dtrsv

from lipcert.sdp.outcome import Outcome, SolverOptions, Status
from lipcert.sdp.solvers import blas
from lipcert.sdp.solvers.iterate import Iterate, Structure, schur_complement
from lipcert.sdp.solvers.newton import NewtonSystem
from lipcert.sdp.solvers.start import starting_point
from lipcert.sdp.solvers.transposed import Restoration, TransposedProgram, reduced
from lipcert.threads import threads_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array
    from lipcert.sdp.problem import Problem

ITERATION_LIMIT = 100
DIRECT = 128
"""Rows of A up to which all eigenvalues are cheaper than the steps of Lanczos for one."""
LANCZOS_LEAST, LANCZOS_STEPS = 10, 60
"""Steps after which its accuracy is asked, and at most."""
PREDICTED = 0.1
"""Relative accuracy of the step lengths of the predictor, which only choose sigma."""
LAG = 0.1
"""tau may run ahead of the primal infeasibility by this factor."""
LEAST_STEP = 1e-6
"""Where neither X nor theta moves as far as this, relative to the direction, the search ends."""
IDLE = 30
"""So do as many iterations in which neither the gap nor the objective falls by a tenth."""
SMALL = 400
"""Rows of A, and"""
WIDE = 1200
"""variables, below which threads cost more than they save."""
USUAL_ITERATIONS = 20
MODEST_RATE = 3e10
"""Floating-point operations a second that two cores reach in the solve, or more."""


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
    docs/theory.md 5; Helmberg, Rendl, Vanderbei, Wolkowicz, SIAM J. Optim. 6 (1996); Mehrotra, SIAM J. Optim. 2 (1992).

    Examples
    --------
    >>> from lipcert.constraints.interconnection import lower
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.claim import Claim
    >>> from lipcert.sdp.problem import subproblems
    >>> system = lower(nn.sequential(nn.linear([[2.0], [1.0]]), nn.relu(), nn.linear([[3.0, -1.0]])))
    >>> outcome = solve(next(subproblems(system, Claim())), SolverOptions())
    >>> round(outcome.bound, 6), outcome.status.value
    (6.0, 'optimal')
    """
    small = problem.row.size + problem.Y.shape[0] < SMALL and problem.variables < WIDE
    with threads_for(0.0 if small else np.inf):
        return _solve(problem, options)


def seconds_needed(rows: int, columns: int) -> float:
    """About how long a solve takes on two cores, for W of this shape and as many variables as rows.

    Examples
    --------
    >>> 10.0 < seconds_needed(1034, 1290) < 20.0
    True
    """
    return USUAL_ITERATIONS * rows**2 * (10.0 * rows + 5.0 * columns) / MODEST_RATE


def bytes_needed(rows: int, columns: int) -> int:
    """About how much memory a solve takes at its peak: eight matrices of the size of A and four of that of W."""
    return 8 * (8 * rows**2 + 4 * rows * columns)


def _solve(problem: Problem, options: SolverOptions) -> Outcome:
    clock = time.perf_counter()
    form, restore = reduced(problem)
    theta = starting_point(form, None if options.start is None else options.start[restore.kept], solve)
    if theta is None:
        return Outcome(
            None, Status.STALLED, np.inf, None, 0, time.perf_counter() - clock, message="no feasible multipliers found"
        )
    if not form.inverse.any():
        y = restore.variables(theta)
        return Outcome(y, Status.CLOSED_FORM, problem.bound(y), 0.0, 0, time.perf_counter() - clock)
    search = Search(form, restore, theta, options, clock)
    try:
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
        gram=None if search.X is None else restore.gram(form, search.theta, search.X),
        message=search.reason,
    )


def step_to_boundary(lowest: float) -> float:
    """The largest a with I + a M ⪰ 0 for a symmetric M with this smallest eigenvalue."""
    return np.inf if lowest >= 0 else -1.0 / lowest


def smallest_eigenvalue(M: Array) -> float:
    """Of a symmetric matrix, given by its lower triangle, which is lost."""
    values = eigh(
        M, eigvals_only=True, lower=True, overwrite_a=True, subset_by_index=(0, 0), driver="evr", check_finite=False
    )
    return float(values[0])


def lanczos(operator: Callable[[Array], Array], size: int, accuracy: float) -> float:
    """A lower bound on the smallest eigenvalue of a symmetric operator, close to a relative accuracy as Lanczos sees it."""
    steps = min(size, LANCZOS_STEPS)
    basis = np.empty((steps + 1, size))
    diagonal, off = np.empty(steps), np.empty(steps)
    v = np.random.default_rng(0).standard_normal(size)
    basis[0] = v / np.linalg.norm(v)
    lowest = 0.0
    for k in range(steps):
        w = operator(basis[k])
        V = basis[: k + 1]
        overlap = V @ w
        diagonal[k] = overlap[k]
        w -= overlap @ V
        w -= (V @ w) @ V
        norm = off[k] = float(np.sqrt(w @ w))
        if k + 1 == steps or norm < 1e-12 or (k >= LANCZOS_LEAST and k % 4 == 2):
            values, vectors = eigh_tridiagonal(
                diagonal[: k + 1], off[:k], select="i", select_range=(0, 0), check_finite=False
            )
            residual = norm * abs(vectors[-1, 0])
            lowest = float(values[0]) - residual
            if norm < 1e-12 or residual <= accuracy * abs(values[0]):
                break
        basis[k + 1] = w / norm
    return lowest


class Search:
    """The interior-point iteration; `best`, `gap`, `iterations` are valid at any moment."""

    def __init__(
        self, form: TransposedProgram, restore: Restoration, theta: Array, options: SolverOptions, clock: float
    ) -> None:
        self.form = form
        self.restore = restore
        self.options = options
        self.clock = clock
        self.structure = Structure.of(form)
        self.best = theta
        self.gap = np.inf
        self.iterations = 0
        self.X: Array | None = None
        self.theta = theta
        self.reason = ""
        # the proof loses about u·rows·columns (docs/theory.md 6): a smaller gap would not be seen in the proven bound
        self.enough = max(options.tolerance, 0.5 * np.finfo(float).eps * form.W.size)

    def run(self) -> Status:
        """Iterate until the gap is closed or a limit is reached."""
        form, structure = self.form, self.structure
        point = Iterate(structure)
        if not point.move(self.theta):
            return self.stalled("the start lies on the boundary of the feasible set")
        self.X = X = self.initial_gram(point)
        p, n = form.size, form.variables
        N = point.B.shape[1]
        # the factor of X, S dA, the predictor, and the Schur complement
        LX, SdA, affine = (np.empty((p, p), order="F") for _ in range(3))
        schur = np.empty((n, n), order="F")
        # X B is of no use any more when the corrector is formed
        shared = np.empty((p, max(p, N)), order="F")
        XB, dX = shared[:, :N], shared[:, :p]
        np.copyto(LX, X)
        if not blas.cholesky(LX):
            return self.stalled("the Gram matrix of the start is singular to working precision")
        idle = 0
        while True:
            structure.times(X, point.B, XB)
            image = structure.image_of_product(np.diag(X), point.B, XB)
            gradient = form.linear * point.theta - form.inverse / point.theta
            gap, value = self.gap, form.objective(self.best)
            tau = self.measure(point, X, XB, gradient, image)
            idle = 0 if self.gap < 0.9 * gap or form.objective(self.best) < 0.9 * value else idle + 1
            self.report()
            status = self.finished(idle)
            if status is not None:
                return status
            if not tau > 0.0:
                return self.stalled("what is left of the complementarity is rounding")
            schur_complement(point, X, XB, schur)
            newton = NewtonSystem.of(schur, *self.hessian(point.theta))
            if newton is None:
                return self.stalled("the Schur complement is singular to working precision")

            # predictor, towards tau = 0: dX = −X − X dA S, symmetrised
            delta = newton.solve(-gradient)
            point.inverse_times_derivative(delta, SdA)
            blas.gemm(1.0, SdA, X, 0.0, affine)
            symmetric_direction(affine, X)
            if not (np.isfinite(delta).all() and np.isfinite(np.sum(affine))):
                return self.stalled("the predictor overflows")
            primal, dual = self.step_lengths(point, LX, delta, affine, PREDICTED)
            sigma = self.centring(tau, delta, gradient, newton, image, min(1.0, primal), min(1.0, dual))

            # corrector: dX = sigma tau S − X − (X dA + dX_a dA_a) S, symmetrised
            blas.gemm(1.0, SdA, affine, 0.0, dX)
            target = sigma * tau * point.image - structure.image(dX, point.B)
            delta = newton.solve(target - gradient)
            point.inverse_times_derivative(delta, SdA)
            blas.gemm(1.0, SdA, X, 1.0, dX)
            symmetric_direction(dX, X, sigma * tau, point.S)
            if not (np.isfinite(delta).all() and np.isfinite(np.sum(dX))):
                return self.stalled("the corrector overflows")
            primal, dual = self.step_lengths(point, LX, delta, dX)
            damping = 0.7 + 0.29 * min(1.0, primal, dual)

            if not self.advance(point, X, LX, delta, dX, min(1.0, damping * primal), min(1.0, damping * dual)):
                return self.stalled(f"no step longer than {LEAST_STEP:g} stays inside the feasible set")
            stretch = (form.objective(point.theta) / form.objective(self.theta)) ** newton.kappa
            X *= stretch**2
            LX *= stretch
            self.theta = point.theta
            self.iterations += 1

    def initial_gram(self, point: Iterate) -> Array:
        """X = t S, on the central path for the objective's inputs: Σ cost/theta = t Σ bᵀ S b."""
        inputs = self.form.inverse > 0
        return point.S * (np.sum(self.form.inverse / point.theta) / -np.sum(point.image[inputs]))

    def hessian(self, theta: Array) -> tuple[Array, Array]:
        """The Hessian diag(c) − u uᵀ of the objective, as (c, u), in delta = dtheta/theta.

        Without linear part the harmonic mean 1/f of f = Σ inverse/theta is maximised in place of minimising f: it is
        concave, and linear along rays, so that Newton's method needs no small steps far from the optimum. The
        derivatives are those of −f₀²/f at f₀ = f, which rescales X whenever f changes. `NewtonSystem` takes what it bears.
        """
        inverse = self.form.inverse / theta
        u = np.zeros_like(inverse) if self.form.linear.any() else inverse * np.sqrt(2.0 / inverse.sum())
        return 2.0 * inverse, u

    def measure(self, point: Iterate, X: Array, XB: Array, gradient: Array, image: Array) -> float:
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
        return float(np.trace(X) - np.einsum("ij,ij->", point.B.T, XB.T)) / form.size

    def bound(self) -> float:
        """The bound that the best feasible point stands for."""
        value = self.form.objective(self.best)
        return value if self.form.linear.any() else float(np.sqrt(value))

    def report(self) -> None:
        """Tell the caller how far it is."""
        seconds = time.perf_counter() - self.clock
        self.options.tell(
            "interior point",
            self.iterations,
            seconds,
            bound=self.bound(),
            gap=self.gap,
            point=lambda: self.restore.variables(self.best),
        )

    def finished(self, idle: int) -> Status | None:
        """The status to end with, or None."""
        limit = self.options.max_iterations
        seconds = time.perf_counter() - self.clock
        pace = seconds / max(1, self.iterations)
        if self.gap <= self.enough:
            return Status.OPTIMAL
        if self.bound() <= self.options.target:
            return Status.DECIDED
        if self.iterations >= (ITERATION_LIMIT if limit is None else limit):
            return Status.ITERATION_LIMIT
        if self.options.time_limit is not None and seconds + pace > self.options.time_limit:
            return Status.TIME_LIMIT
        return self.stalled(f"the last {IDLE} iterations gained less than a tenth") if idle > IDLE else None

    def stalled(self, reason: str) -> Status:
        """The status, with a reason for the report."""
        self.reason = f"{reason} (iteration {self.iterations})"
        return Status.STALLED

    def step_lengths(
        self, point: Iterate, LX: Array, delta: Array, dX: Array, accuracy: float = 0.01
    ) -> tuple[float, float]:
        """How far X + a dX and A(theta (1 + a delta)) stay positive definite."""

        def congruent(L: Array, inner: Callable[[Array], Array]) -> float:
            """The smallest eigenvalue of L⁻¹ M L⁻ᵀ, M given by its products with matrices."""
            if self.form.size <= DIRECT:
                inverse = solve_triangular(L, np.eye(self.form.size), lower=True, check_finite=False)
                return smallest_eigenvalue(inverse @ inner(inverse.T))
            return lanczos(
                lambda u: dtrsv(L, inner(dtrsv(L, u, lower=1, trans=1)), lower=1, overwrite_x=1),
                self.form.size,
                accuracy,
            )

        multiply = np.matmul if self.form.size <= DIRECT else partial(dsymv, 1.0, lower=1)
        primal = step_to_boundary(congruent(LX, lambda u: multiply(dX, u)))
        dual = step_to_boundary(congruent(point.L, lambda u: point.derivative(delta, u)))
        lowest = float(delta.min())
        return primal, min(dual, -1.0 / lowest) if lowest < 0 else dual

    def centring(
        self,
        tau: float,
        delta: Array,
        gradient: Array,
        newton: NewtonSystem,
        image: Array,
        primal: float,
        dual: float,
    ) -> float:
        """Mehrotra's sigma: a power of (tau after the affine step / tau), but no tau far below the primal infeasibility.

        With a tau that runs ahead of the infeasibility the iterates would end at the boundary. ⟨X, dA⟩ = F*(X)ᵀ delta;
        dX = −X − X dA S gives ⟨dX, A⟩ = −⟨X, A⟩ − ⟨X, dA⟩ and ⟨dX, dA⟩ = −⟨X, dA⟩ − deltaᵀ O delta.
        """
        slope = image @ delta
        quadratic = -(gradient @ delta) - newton.quadratic(delta)
        change = primal * (-tau * self.form.size - slope) + dual * slope + primal * dual * (-slope - quadratic)
        ratio = float(np.clip(1.0 + change / (tau * self.form.size), 1e-6, 1.0))
        infeasibility = float(np.abs(gradient - image).sum()) / (tau * self.form.size)
        return max(ratio**2.5, min(1.0, LAG * infeasibility))

    def advance(self, point: Iterate, X: Array, LX: Array, delta: Array, dX: Array, primal: float, dual: float) -> bool:
        """Move X, its factor and the point; steps shrink until both are positive definite. dX is lost."""
        theta, form = self.theta, self.form
        while True:
            np.multiply(dX, primal, out=LX)
            LX += X
            if blas.cholesky(LX):
                break
            if primal == 0.0:
                return False
            primal = 0.7 * primal if primal > 1e-9 else 0.0
        dX *= primal
        while True:
            if max(primal, dual) < LEAST_STEP:
                return False
            if point.move(theta * (1.0 + dual * delta)):
                break
            dual *= 0.7
        X += dX
        stretch = np.sqrt(form.diagonal(point.theta) / form.diagonal(theta))
        X *= stretch
        X *= stretch[:, None]
        LX *= stretch[:, None]
        return True


def symmetric_direction(M: Array, X: Array, centre: float = 0.0, S: Array | None = None) -> None:
    """M ← centre S − X − (M + Mᵀ)/2."""
    blas.add_transpose(M)
    M *= -0.5
    M -= X
    if S is not None:
        for k in range(S.shape[0]):
            M[:, k] += centre * S[:, k]
