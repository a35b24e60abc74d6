"""A primal–dual interior-point method for quadratic constraints that are products of affine forms (docs/theory.md 10).

    maximise gamma   subject to   S = C − gamma e₀e₀ᵀ − Σ_k theta_k A_k ⪰ 0,   theta_k ≥ 0 but for the free ones

over u = (1, …) with A_k = sym(a_k b_kᵀ) for affine forms a_k, b_k, or A_k diagonal. Every form is a combination of few of
f rows F u. With G = F X Fᵀ and H = F S⁻¹ Fᵀ the HKM Schur complement ⟨A_k, X A_l S⁻¹⟩ is

    ¼ (aᵀXa ∘ bᵀS⁻¹b + aᵀXb ∘ bᵀS⁻¹a + bᵀXa ∘ aᵀS⁻¹b + bᵀXb ∘ aᵀS⁻¹a)_kl,

sparse combinations of the entries of G and H: an iteration costs O(N³ + f²N + m³), no loop over constraints.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg as sla
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array, BoolArray

    Decision = Callable[[float, float], bool]

_BACK = 0.95
"""The part of the way to the boundary that a step takes."""
_ITERATIONS = 60
_FEASIBLE, _ATTAINED = 1e-9, 1e-6
"""Relative residuals of the multipliers, and of the Gram matrix, from which their values count."""
_REGULAR = 1e-13


@dataclass(frozen=True, eq=False)
class QuadraticProgram:
    """The data of the program, scaled so that |u| ≤ 1.

    Attributes
    ----------
    forms
        (f, N) the rows F; the first column belongs to the constant 1 of u.
    objective
        (N,) the affine form that is minimised: C = sym(e₀ objectiveᵀ).
    left, right
        (m, f) sparse combinations of forms: a_k and b_k.
    free
        (m,) whether a_k b_k = 0 holds, rather than ≥ 0.
    diagonal
        (d, N) sparse: Σ_j D_kj u_j² ≥ 0.
    """

    forms: Array
    objective: Array
    left: sp.csr_array
    right: sp.csr_array
    free: BoolArray
    diagonal: sp.csr_array

    @property
    def constraints(self) -> int:
        """Multipliers theta: of the products, then of the diagonal ones."""
        return self.free.size + self.diagonal.shape[0]


@dataclass(frozen=True, eq=False)
class LiftedOutcome:
    """What was found: multipliers, the value gamma that they stand for where they are feasible, and an upper estimate.

    Attributes
    ----------
    theta
        (constraints,), nonnegative but for the free ones.
    gamma
        The dual value, −∞ where no feasible point was found.
    primal
        The value of the Gram matrix: no multipliers reach more, up to its residual.
    iterations, seconds
        The effort.
    """

    theta: Array
    gamma: float
    primal: float
    iterations: int
    seconds: float


def solve(
    program: QuadraticProgram,
    *,
    tolerance: float = 1e-7,
    decide: Decision | None = None,
    time_limit: float | None = None,
) -> LiftedOutcome:
    """Multipliers of the program.

    Parameters
    ----------
    program
        The data.
    tolerance
        Relative duality gap to reach.
    decide
        Called with the feasible dual value and the primal value of an iterate; True ends the search.
    time_limit
        Seconds, or None.

    Examples
    --------
    >>> one = sp.csr_array(np.array([[0.0, 1.0]]))
    >>> disc = sp.csr_array(np.array([[1.0, -1.0]]))
    >>> program = QuadraticProgram(np.eye(2), np.array([0.0, 1.0]), one[:0], one[:0], np.zeros(0, bool), disc)
    >>> round(solve(program).gamma, 6)
    -1.0
    """
    return _Search(program).run(tolerance, decide, time_limit)


@dataclass(frozen=True, eq=False)
class _Operators:
    """The constraints scaled to about unit norm, with what is used again and again."""

    forms: Array
    left: sp.csr_array
    right: sp.csr_array
    diagonal: sp.csr_array
    left_forms: Array
    right_forms: Array
    norms: Array

    @classmethod
    def of(cls, program: QuadraticProgram) -> _Operators:
        a, b = program.left @ program.forms, program.right @ program.forms
        pairs = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        squares = np.sqrt(np.asarray(program.diagonal.multiply(program.diagonal).sum(axis=1)).ravel())
        norms = np.maximum(np.concatenate([pairs, squares]), 1e-300)
        own, other = 1.0 / norms[: pairs.size], 1.0 / norms[pairs.size :]
        left = sp.csr_array(program.left.multiply(own[:, None]))
        diagonal = sp.csr_array(program.diagonal.multiply(other[:, None]))
        return cls(program.forms, left, program.right, diagonal, own[:, None] * a, b, norms)

    def image(self, M: Array) -> Array:
        """⟨A_k, M⟩ for symmetric M."""
        pairs = np.einsum("ij,ij->i", self.left_forms @ M, self.right_forms)
        return np.concatenate([pairs, self.diagonal @ np.diag(M)])

    def adjoint(self, theta: Array) -> Array:
        """Σ_k theta_k A_k."""
        split = self.left.shape[0]
        core = sp.csr_array(self.left.T @ sp.diags_array(theta[:split]) @ self.right)
        half = self.forms.T @ (core @ self.forms)
        M = 0.5 * (half + half.T)
        M[np.diag_indices_from(M)] += self.diagonal.T @ theta[split:]
        return M

    def schur(self, X: Array, Z: Array) -> Array:
        """⟨A_k, X A_l Z⟩, the constraint X₀₀ = 1 first."""
        F, L, R, D = self.forms, self.left, self.right, self.diagonal
        split, total = L.shape[0], L.shape[0] + D.shape[0]
        full = np.empty((total + 1, total + 1))
        pairs, squares = slice(1, split + 1), slice(split + 1, total + 1)
        FX, FZ = F @ X, F @ Z
        G, H = FX @ F.T, FZ @ F.T
        LG, RG, LH, RH = L @ G, R @ G, L @ H, R @ H
        # aᵀXa ∘ bᵀS⁻¹b + aᵀXb ∘ bᵀS⁻¹a and their transposes
        block = (L @ LG.T) * (R @ RH.T)
        mixed = (R @ LG.T).T * (L @ RH.T).T
        block += mixed
        block += mixed.T
        block += (R @ RG.T) * (L @ LH.T)
        full[pairs, pairs] = 0.25 * block
        lx, rx, lz, rz = L @ FX[:, 0], R @ FX[:, 0], L @ FZ[:, 0], R @ FZ[:, 0]
        full[0, pairs] = full[pairs, 0] = 0.5 * (lx * rz + rx * lz)
        full[squares, squares] = D @ (D @ (X * Z)).T
        full[0, squares] = full[squares, 0] = D @ (X[:, 0] * Z[:, 0])
        products = (L @ FX) * (R @ FZ)
        products += (R @ FX) * (L @ FZ)
        part = 0.5 * (D @ products.T)
        full[squares, pairs], full[pairs, squares] = part, part.T
        full[0, 0] = X[0, 0] * Z[0, 0]
        return full


@dataclass(eq=False)
class _Point:
    """An iterate or a step: the Gram matrix X, its slacks, S, gamma and theta."""

    X: Array
    slack: Array
    S: Array
    gamma: float
    theta: Array


class _Search:
    """The state of the iteration."""

    def __init__(self, program: QuadraticProgram) -> None:
        self.operators = _Operators.of(program)
        N = program.forms.shape[1]
        self.C = np.zeros((N, N))
        self.C[0] += 0.5 * program.objective
        self.C[:, 0] += 0.5 * program.objective
        self.bounded = np.concatenate([~program.free, np.ones(program.diagonal.shape[0], dtype=bool)])
        self.size = max(1.0, float(np.linalg.norm(self.C)))
        self.count = N + int(self.bounded.sum())
        on = self.bounded.astype(np.float64)
        self.at = _Point(np.eye(N), on.copy(), self.size * np.eye(N), 0.0, self.size * on)

    def run(self, tolerance: float, decide: Decision | None, time_limit: float | None) -> LiftedOutcome:
        """Steps until the gap is closed, `decide` is content, or nothing moves any more."""
        started = time.perf_counter()
        best, best_theta, primal = -np.inf, np.zeros_like(self.at.theta), np.inf
        steps = 0
        while True:
            at = self.at
            residual = self.C - self.operators.adjoint(at.theta) - at.S
            residual[0, 0] -= at.gamma
            defect = at.slack - self.operators.image(at.X)
            head = 1.0 - at.X[0, 0]
            primal = float(np.sum(self.C * at.X))
            feasible = float(np.linalg.norm(residual)) < _FEASIBLE * self.size
            if feasible and at.gamma > best:
                best, best_theta = at.gamma, at.theta.copy()
            attained = max(abs(head), float(np.abs(defect).max(initial=0.0))) < _ATTAINED
            closed = attained and abs(primal - at.gamma) <= tolerance * (1.0 + abs(primal))
            if feasible and (closed or (decide is not None and decide(best, primal if attained else np.inf))):
                break
            if time_limit is not None and time.perf_counter() - started > time_limit:
                break
            if steps == _ITERATIONS or not self._step(residual, defect, head):
                break
            steps += 1
        return LiftedOutcome(best_theta / self.operators.norms, best, primal, steps, time.perf_counter() - started)

    def _step(self, residual: Array, defect: Array, head: float) -> bool:
        """One predictor–corrector step (Mehrotra 1992, HKM direction); False where rounding allows none."""
        at, bounded = self.at, self.bounded
        try:
            lower: tuple[Array, Array] = (np.asarray(np.linalg.cholesky(at.X)), np.asarray(np.linalg.cholesky(at.S)))
            half = sla.solve_triangular(lower[1], np.eye(len(at.S)), lower=True, check_finite=False)
            Z = half.T @ half
            full = self.operators.schur(at.X, Z)
            ratio = np.divide(at.slack, at.theta, out=np.zeros_like(at.slack), where=bounded)
            full[np.diag_indices_from(full)] += np.append(0.0, ratio)
            system = _factored(full)
        except np.linalg.LinAlgError:
            return False
        through = _symmetric(at.X @ residual @ Z)

        def direction(target: float, known: Array, product: Array) -> _Point:
            rest = target * Z - at.X - known
            moved = rest - through
            pulled = np.divide(
                target - at.slack * at.theta - product, at.theta, out=np.zeros_like(at.theta), where=bounded
            )
            right = np.append(head - moved[0, 0], defect + pulled - self.operators.image(moved))
            solution = system(right)
            d_theta = solution[1:]
            d_S = residual - self.operators.adjoint(d_theta)
            d_S[0, 0] -= solution[0]
            d_X = rest - _symmetric(at.X @ d_S @ Z)
            return _Point(d_X, np.where(bounded, pulled - ratio * d_theta, 0.0), d_S, float(solution[0]), d_theta)

        mu = (float(np.sum(at.X * at.S)) + float(at.slack @ at.theta)) / self.count
        guess = direction(0.0, np.zeros_like(at.X), np.zeros_like(at.theta))
        primal, dual = self._lengths(lower, guess)
        ahead = float(np.sum((at.X + primal * guess.X) * (at.S + dual * guess.S)))
        ahead += float((at.slack + primal * guess.slack) @ np.where(bounded, at.theta + dual * guess.theta, 0.0))
        sigma = min(1.0, max(ahead / self.count / mu, 0.0) ** 2) if min(primal, dual) > 0.1 else 0.5
        step = direction(sigma * mu, _symmetric(guess.X @ guess.S @ Z), guess.slack * guess.theta)
        primal, dual = self._lengths(lower, step)
        if min(primal, dual) < 1e-8:
            return False
        self.at = _Point(
            at.X + primal * step.X,
            at.slack + primal * step.slack,
            at.S + dual * step.S,
            at.gamma + dual * step.gamma,
            at.theta + dual * step.theta,
        )
        return True

    def _lengths(self, lower: tuple[Array, Array], step: _Point) -> tuple[float, float]:
        """The lengths of the primal and of the dual step."""

        def linear(x: Array, change: Array) -> float:
            down = self.bounded & (change < 0.0)
            return float((-x[down] / change[down]).min(initial=np.inf))

        primal = min(_to_boundary(lower[0], step.X), linear(self.at.slack, step.slack))
        dual = min(_to_boundary(lower[1], step.S), linear(self.at.theta, step.theta))
        return min(1.0, _BACK * primal), min(1.0, _BACK * dual)


def _factored(M: Array) -> Callable[[Array], Array]:
    """Solves M x = b for M ⪰ 0, scaled to a unit diagonal and a little regularised."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(M), 1e-300))
    M *= scale[:, None]
    M *= scale
    M[np.diag_indices_from(M)] += _REGULAR
    factor = sla.cho_factor(M, lower=True, overwrite_a=True, check_finite=False)
    return lambda b: scale * sla.cho_solve(factor, scale * b, check_finite=False)


def _to_boundary(lower: Array, change: Array) -> float:
    """How far L Lᵀ + t·change stays positive semidefinite."""
    half = sla.solve_triangular(lower, change, lower=True, check_finite=False)
    M = sla.solve_triangular(lower, half.T, lower=True, check_finite=False)
    least = float(np.linalg.eigvalsh(_symmetric(M))[0])
    return np.inf if least >= 0.0 else -1.0 / least


def _symmetric(M: Array) -> Array:
    return 0.5 * (M + M.T)
