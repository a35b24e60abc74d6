"""The matrix-free solver as the table has it: `scaling` on one BLAS thread, since its matrices are small and many."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lipcert.sdp.solvers import scaling
from lipcert.threads import threads_for

if TYPE_CHECKING:
    from lipcert.sdp.outcome import Outcome, SolverOptions
    from lipcert.sdp.problem import OperatorProblem

FEWEST, MOST = 12.0, 60.0
"""Its seconds where no limit is given, for up to 3,000 channels and for 10,000: it comes close quickly and to its optimum
slowly."""


def solve(problem: OperatorProblem, options: SolverOptions) -> Outcome:
    """Minimise rho over (C) by products with the network alone (docs/theory.md 5b).

    Examples
    --------
    >>> from lipcert.constraints.operator import Operator
    >>> from lipcert.graph import build as nn
    >>> from lipcert.sdp.outcome import SolverOptions
    >>> from lipcert.sdp.problem import OperatorProblem
    >>> network = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]]))
    >>> round(solve(OperatorProblem(Operator(network)), SolverOptions()).bound, 4)
    10.0
    """
    if options.time_limit is None:
        share = (problem.operator.channels - 3000.0) / 7000.0
        options = replace(options, time_limit=FEWEST + (MOST - FEWEST) * min(max(share, 0.0), 1.0))
    with threads_for(0.0):
        return scaling.solve(problem.operator, problem.tie, options, problem.known)
