"""Lower bounds of an output on a ball by the lifted program: multipliers from the solver, values from the proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lipcert.certificates.margin import MarginSystem, lower_bound
from lipcert.constraints.lifted import FAMILIES
from lipcert.sdp.solvers.lifted import QuadraticProgram, solve

if TYPE_CHECKING:
    from lipcert.arrays import Array


def program_of(system: MarginSystem) -> QuadraticProgram:
    """The system in floating point, the channels shifted and scaled to [−1, 1], the constant first."""
    n, N = system.channels, system.reach.size
    order = np.concatenate([[n], np.arange(n), np.arange(n + 1, N)])
    forms = np.zeros((2 * n + 2, N))
    forms[0, 0] = 1.0
    forms[1 : n + 1] = system.Q.mid[:, order]
    forms[n + 1 : 2 * n + 1, 1 : n + 1] = np.eye(n)
    forms[-1] = system.Y.mid[0, order]
    # v = reach/2 (1 + ṽ), x = reach x̃
    scale = np.concatenate([[1.0], 0.5 * system.reach[:n], system.reach[n + 1 :]])
    forms[:, 0] += forms[:, 1 : n + 1] @ scale[1 : n + 1]
    forms[:, 1:] *= scale[1:]

    def rows(side: Array) -> sp.csr_array:
        """(families, 3, channels) as combinations of the forms."""
        blocks = [sp.hstack([sp.csr_array(c[:, None]), sp.diags_array(q), sp.diags_array(v)]) for c, q, v in side]
        return sp.csr_array(sp.vstack(blocks))

    constraints = system.constraints
    diagonal = np.zeros((1, N))
    diagonal[0, 0] = 1.0
    diagonal[0, n + 1 :] = -1.0
    return QuadraticProgram(
        forms[:-1],
        forms[-1],
        rows(constraints.left),
        rows(constraints.right),
        np.repeat(constraints.free, n),
        sp.csr_array(diagonal),
    )


def proven_minimum(
    system: MarginSystem, *, above: float = -np.inf, time_limit: float | None = None
) -> tuple[float, Array]:
    """A proven lower bound of the output on the ball, and the multipliers that prove it.

    Parameters
    ----------
    system
        The output on the ball.
    above
        A value to decide about: the search ends when a bound above it is found, or when none is to be had.
    time_limit
        Seconds for the solver.
    """
    n = system.channels
    found = solve(
        program_of(system),
        decide=lambda dual, primal: dual > above + 0.1 * abs(above) + 1e-6 or primal < above,
        time_limit=time_limit,
    )
    # the ball of the program is that of p / reach
    reach = system.reach[n + 1 :]
    ball = float(found.theta[-1]) / float(reach[0]) ** 2 if reach.size else 0.0
    theta = np.append(found.theta[:-1], ball)
    value = lower_bound(system, theta[:-1].reshape(FAMILIES, n), ball) if np.isfinite(found.gamma) else -np.inf
    return value, theta
