"""The linear system of a step solves what it says, and keeps room where the objective would take all curvature."""

import numpy as np
import pytest

from lipcert.sdp.solvers import newton
from lipcert.sdp.solvers.newton import NewtonSystem


def definite(n, rng):
    a = rng.standard_normal((n, n))
    return a @ a.T


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999, 1.0 - 1e-9])
def test_solves_its_system(share):
    rng = np.random.default_rng(0)
    schur, c = definite(6, rng), rng.random(6)
    u = rng.standard_normal(6)
    P = schur + np.diag(c)
    u *= np.sqrt(share / (u @ np.linalg.solve(P, u)))
    system = NewtonSystem.of(np.asfortranarray(schur), c, u)
    H = P - system.kappa * np.outer(u, u)
    rhs = rng.standard_normal(6)
    np.testing.assert_allclose(H @ system.solve(rhs), rhs, rtol=1e-9, atol=1e-9)
    delta = rng.standard_normal(6)
    assert system.quadratic(delta) == pytest.approx(delta @ (H - schur) @ delta)
    assert 1.0 - system.kappa * share >= newton.ROOM * (1.0 - 1e-9)
    assert (system.kappa == 1.0) == (0.0 < share <= 1.0 - newton.ROOM)


def test_rounding_of_a_singular_matrix_is_lifted_and_indefinite_ones_are_refused():
    rng = np.random.default_rng(1)
    v = rng.standard_normal((5, 2))
    singular = v @ v.T
    assert NewtonSystem.of(np.asfortranarray(singular), np.zeros(5), np.zeros(5)) is not None
    assert NewtonSystem.of(np.asfortranarray(singular - 1e-3 * np.eye(5)), np.zeros(5), np.zeros(5)) is None
