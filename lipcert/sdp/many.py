"""Independent semidefinite programs: spread over cores by joblib, each warm-started by the one before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.sdp.outcome import Outcome, Progress, SolverOptions, Status
from lipcert.sdp.problem import Problem
from lipcert.sdp.solvers import get_solver

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.sdp.problem import OperatorProblem

_BELOW = 1.0 - 1e-7
"""How far a bound that does not count stays below the largest one, so that its proof does too."""


def solve_all(
    problems: Sequence[Problem | OperatorProblem],
    solver: str,
    options: SolverOptions,
    jobs: int | None = None,
    known: Sequence[float] | None = None,
) -> list[Outcome]:
    """Solve problems of equal shape, such as the rows of Y or the coordinates of ℓ1.

    Parameters
    ----------
    problems
        They share the array R, which is handed to each process once.
    solver
        A name of `lipcert.sdp.solvers.SOLVERS`.
    options
        For each of them; the time limit is for all of them together, and what one leaves is for the next ones.
    jobs
        As joblib's `n_jobs`: processes, −1 for all cores; None follows `joblib.parallel_config`, which also chooses a
        backend such as Dask or Ray, and is 1 outside of it.
    known
        Given where only the largest bound counts: what is known of each problem otherwise, infinite where nothing is.
        Those that promise to be the largest come first, and one that falls below a solved one ends there, as
        `Status.DECIDED`.

    Returns
    -------
    list of Outcome
        In the order of the problems.

    Examples
    --------
    >>> from lipcert.constraints.interconnection import lower
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.claim import Claim
    >>> from lipcert.norms import Norm
    >>> from lipcert.sdp.problem import subproblems
    >>> network = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0], [1.0]]))
    >>> rows = list(subproblems(lower(network), Claim(Norm.L2, Norm.LINF)))
    >>> [round(outcome.bound, 5) for outcome in solve_all(rows, "native", SolverOptions())]
    [10.0, 5.0]
    """
    get_solver(solver)
    if known is not None:
        order = np.argsort(-np.minimum(known, _guesses(problems)), kind="stable")
        found = _spread([problems[i] for i in order], solver, options, jobs, [known[i] for i in order])
        return [found[i] for i in np.argsort(order)]
    return _spread(problems, solver, options, jobs, None)


def _guesses(problems: Sequence[Problem | OperatorProblem]) -> Array:
    """Guesses of their bounds, where they share R and these are quick; else infinite."""
    first = problems[0]
    if isinstance(first, Problem) and all(isinstance(p, Problem) and p.R is first.R for p in problems):
        reach = first.reach()
        return np.array([p.guess(reach) for p in problems if isinstance(p, Problem)])
    return np.full(len(problems), np.inf)


def _spread(
    problems: Sequence[Problem | OperatorProblem],
    solver: str,
    options: SolverOptions,
    jobs: int | None,
    known: Sequence[float] | None,
) -> list[Outcome]:
    """In the given order, in as many processes as there are jobs."""
    from joblib import Parallel, delayed, effective_n_jobs

    workers = min(effective_n_jobs(jobs), len(problems))
    if workers <= 1:
        return _chain(problems, solver, options, known)
    started = time.perf_counter()
    quiet = replace(options, progress=None)
    # chains of neighbours keep the warm starts; a few a worker even out their lengths
    chains = np.array_split(np.arange(len(problems)), min(len(problems), 4 * workers))
    if options.time_limit is not None:
        rounds = -(-len(chains) // workers)
        quiet = replace(quiet, time_limit=options.time_limit / rounds)
    results = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_chain)(
            [problems[i] for i in chain], solver, quiet, None if known is None else [known[i] for i in chain]
        )
        for chain in chains
    )
    outcomes: list[Outcome] = []
    _count(options, 0, len(problems), started)
    for part in results:
        outcomes += part
        _count(options, len(outcomes), len(problems), started)
    return outcomes


def _count(options: SolverOptions, done: int, total: int, started: float) -> None:
    """Report how many problems are solved."""
    if options.progress is not None:
        seconds = time.perf_counter() - started
        at_most = None if options.time_limit is None else max(0.0, options.time_limit - seconds)
        options.progress(Progress("problems solved", done, seconds=seconds, total=total, at_most=at_most))


def _chain(
    problems: Sequence[Problem | OperatorProblem],
    solver: str,
    options: SolverOptions,
    known: Sequence[float] | None = None,
) -> list[Outcome]:
    """One after the other, each from the multipliers of the one before."""
    solve = get_solver(solver)
    started = time.perf_counter()
    end = None if options.time_limit is None else started + options.time_limit
    tell = options.progress
    outcomes: list[Outcome] = []
    start = options.start
    for k, problem in enumerate(problems):
        if end is not None:
            options = replace(options, time_limit=max(end - time.perf_counter(), 1e-3) / (len(problems) - k))
        if tell is not None and len(problems) > 1:
            options = replace(options, progress=_numbered(tell, k, len(problems), started, end))
        outcome = solve(problem, replace(options, start=start))
        if start is not options.start and outcome.status in (Status.STALLED, Status.ITERATION_LIMIT):
            # the optimum of a neighbour can lie too close to the boundary to start from
            outcome = solve(problem, options)
        if outcome.y is not None:
            start = outcome.y
        if outcome.status is Status.INTERRUPTED:
            # the others give what they start with
            end = 0.0
        if known is not None:
            largest = max(options.target, min(outcome.bound, known[k]) * _BELOW)
            options = replace(options, target=largest)
        outcomes.append(outcome)
    return outcomes


def _numbered(
    tell: Callable[[Progress], None], k: int, total: int, started: float, end: float | None
) -> Callable[[Progress], None]:
    """Names problem k of so many in its progress, and replaces its time left by that of all of them."""

    def told(step: Progress) -> None:
        now = time.perf_counter()
        left = (now - started) / k * (total - k) if k else None
        at_most = None if end is None else max(0.0, end - now)
        tell(replace(step, stage=f"{step.stage}, problem {k + 1} of {total}", left=left, at_most=at_most))

    return told
