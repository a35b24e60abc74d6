"""The linear system of an interior-point step, and how much of the objective's concavity it bears (docs/theory.md 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_solve

from lipcert.sdp.solvers import blas

if TYPE_CHECKING:
    from lipcert.arrays import Array

ROOM = 0.02
"""What is left of the curvature along the direction in which the objective takes most of it, at least."""
SHIFTS = (0.0, 1e-15, 1e-13, 1e-11)
"""Relative additions to the diagonal of a Schur complement that rounding has made indefinite."""


@dataclass(frozen=True, eq=False)
class NewtonSystem:
    """H = O + diag(curvature) − kappa u uᵀ, factorised: the Schur complement O and the Hessian of the objective f.

    With kappa = 1 the Hessian is that of −f₀²/f at f₀ = f, with kappa = 0 that of f, and in between that of a power of f.
    Where O hardly resists a scaling of theta, as for isometries, H of kappa = 1 is nearly singular, and its direction leads
    out of the feasible set at once. kappa is the largest number up to one for which a share `ROOM` of the curvature is left:

        1 − kappa uᵀP⁻¹u ≥ ROOM,   P = O + diag(curvature).

    Attributes
    ----------
    factor
        The Cholesky factor of P.
    curvature, u
        Of the Hessian; u is multiplied by √kappa.
    image
        P⁻¹ u for this u.
    kappa
        See above; zero where u is.
    """

    factor: Array
    curvature: Array
    u: Array
    image: Array
    kappa: float

    @classmethod
    def of(cls, schur: Array, curvature: Array, u: Array) -> NewtonSystem | None:
        """The system of a Schur complement, which is overwritten; None where it is not positive definite.

        Examples
        --------
        >>> system = NewtonSystem.of(np.asfortranarray(3.0 * np.eye(2)), np.ones(2), np.zeros(2))
        >>> system.solve(np.array([4.0, 8.0])).tolist()
        [1.0, 2.0]
        """
        diagonal = np.einsum("ii->i", schur)
        scale = diagonal + curvature
        for shift in SHIFTS:
            diagonal[:] = scale * (1.0 + shift)
            if blas.cholesky(schur):
                break
            # the other triangle still has the matrix
            blas.mirror(schur.T)
        else:
            return None
        image = cho_solve((schur, True), u, check_finite=False)
        share = float(u @ image)
        kappa = min(1.0, (1.0 - ROOM) / share) if share > 0.0 else 0.0
        root = float(np.sqrt(kappa))
        return cls(schur, curvature, root * u, root * image, kappa)

    def solve(self, rhs: Array) -> Array:
        """H⁻¹ rhs, by Sherman and Morrison."""
        x = np.asarray(cho_solve((self.factor, True), rhs, check_finite=False))
        return x + self.image * (float(self.u @ x) / (1.0 - float(self.u @ self.image)))

    def quadratic(self, delta: Array) -> float:
        """deltaᵀ (H − O) delta."""
        return float(self.curvature @ delta**2 - (self.u @ delta) ** 2)
