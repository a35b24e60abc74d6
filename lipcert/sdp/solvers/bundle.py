"""The lower model of rho(lam) that the spectral bundle method minimises and improves (docs/theory.md 5b)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lipcert.sdp.solvers.small_program import Quadratic, newton_costs, quadratic_sdp, smat, svec

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array, IntArray
    from lipcert.sdp.solvers.davidson import Evaluator, Point, Space

# how many directions of the old subspace are kept: those with more than this share of W, within limits
_ACTIVE, _FEWEST, _MOST_KEPT = 1e-4, 8, 20
# a trial point is far outside where rho rises by more than this multiple of the predicted decrease; how many directions
# fewer are kept after a step that succeeds
_OUTSIDE, _FORGET = 10.0, 1
# operations that a Newton system of the small program may take, and with all directions, which make the model exact
_OPERATIONS, _ALL = 5e7, 4e8
# the metric gives every variable at least this share of the mean mass
_FLOOR = 0.01


@dataclass(frozen=True, eq=False)
class _Cut:
    """⟨X, M⟩ ≥ 0 for a fixed X: Σ_g lam_g p_g + rho e + c ≥ 0 over the groups, and the mass of X on them."""

    p: Array
    e: float
    c: float
    mass: Array


class Bundle:
    """The lower model of rho around a centre, for one tie; it goes on from the model of a coarser one."""

    def __init__(self, evaluator: Evaluator, variable: IntArray, centre: Point, before: Bundle | None) -> None:
        groups = evaluator.operator.groups
        self.evaluator = evaluator
        self.variable = variable
        self.count = int(variable.max(initial=-1)) + 1
        self.columns = _membership(groups.column, groups.count)
        self.rows = _membership(groups.row, groups.count)
        self.tied = _membership(variable, self.count)
        of = np.concatenate([variable[groups.column], variable[groups.row]])
        sign = np.repeat([1.0, -1.0], [groups.column.size, groups.row.size])
        self.vectors = sp.csr_array((sign, (of, np.arange(of.size))), shape=(self.count, of.size))
        self.space: Space = centre.space if before is None else before.space
        self.cut: _Cut | None = None if before is None else before.cut
        self.mass: Array = np.zeros(0) if before is None else before.mass
        self.centre = centre
        self.room: int = 0 if before is None else before.room
        self.most = self._most()
        self.prepare()

    @property
    def crowded(self) -> bool:
        """Whether trial points kept falling far outside, so that more directions than usual count."""
        return self.room > _MOST_KEPT

    def _most(self) -> int:
        """How many columns U may have."""
        op = self.evaluator.operator

        def cost(size: int) -> float:
            return min(newton_costs(self.count, op.channels + op.rows, size))

        if cost(op.shape[1]) < _ALL:
            return op.shape[1]
        size = _MOST_KEPT
        while cost(size + 1) < _OPERATIONS:
            size += 1
        return size

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
        self.a = svec(V[op.channels :].T @ V[op.channels :])
        self.c = svec(np.eye(k) - BV.T @ BV)
        if not self.mass.size:
            gained, spent = self.parts(np.eye(k))
            self.mass = (gained + spent) / float(self.a @ svec(np.eye(k)))
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
        weights = sp.diags_array(1.0 / np.sqrt(self.D))
        self.quadratic = Quadratic(self.F, np.vstack([self.x, self.b]), sp.csr_array(weights @ self.vectors))

    def recentre(self, centre: Point) -> None:
        """Go on from another point, with its eigenvectors in the model."""
        self.centre, self.space = centre, self.space.joined(centre.space)
        self.prepare()

    def step(self, tau: float) -> tuple[Array, float, Array]:
        """δ, the predicted decrease of rho / rho(centre), and the dual variable w."""
        w = quadratic_sdp(self.quadratic.times(np.sqrt(tau)), self.c, self.a)
        Fw = self.F @ w
        return tau * Fw / np.sqrt(self.D), float(self.c @ w + tau * Fw @ Fw), w

    def attained(self, w: Array, variable: IntArray) -> float | None:
        """What the increments of W attain under the ties of `variable` (`Operator.attained`)."""
        values, vectors = np.linalg.eigh(smat(w[: self.k * (self.k + 1) // 2], self.k))
        increments = self.space.U @ (vectors * np.sqrt(np.maximum(values, 0.0)))
        return self.evaluator.operator.attained(increments, variable)

    def absorb(self, w: Array, fresh: Space, ratio: float) -> None:
        """Keep the leading part of W, aggregate the rest, and add the new vectors.

        More is kept where the decrease at the trial point is far below the predicted one: `ratio` times it.
        """
        p = self.k * (self.k + 1) // 2
        W = smat(w[:p], self.k)
        lam, rho = self.centre.lam, self.centre.rho
        values, vectors = np.linalg.eigh(W)
        keep = min(max(_FEWEST, int((values > _ACTIVE * values.sum()).sum())), _MOST_KEPT, self.k)
        if ratio < -_OUTSIDE:
            self.room = min(max(self.room, self.k) + fresh.U.shape[1], self.most)
        elif ratio > 0.0:
            self.room -= _FORGET
        keep = max(keep, min(self.k, self.room - fresh.U.shape[1]))
        rest = vectors[:, :-keep] * np.sqrt(np.maximum(values[:-keep], 0.0))
        rest = rest @ rest.T
        gained, spent = self.parts(W)
        mass = gained + spent
        gained, spent = self.parts(rest)
        gradient, dropped = gained - spent, gained + spent
        e, constant = float(self.a[:p] @ svec(rest)), float(self.c[:p] @ svec(rest))
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
