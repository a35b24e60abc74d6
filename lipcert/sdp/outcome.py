"""What every solver takes and gives back: one signature, one outcome type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.sdp.problem import Problem


class Status(Enum):
    """How a computation ended; the value is the name used in reports, `advice` says what to do next."""

    OPTIMAL = "optimal"
    TIME_LIMIT = "time_limit"
    INTERRUPTED = "interrupted"
    ITERATION_LIMIT = "iteration_limit"
    STALLED = "stalled"
    CLOSED_FORM = "closed_form"

    @property
    def advice(self) -> str:
        """One sentence for the user."""
        return {
            Status.OPTIMAL: "the optimum was reached within the tolerance",
            Status.TIME_LIMIT: "the time limit was reached; try a longer --time-limit or --method layer",
            Status.INTERRUPTED: "interrupted; the bound is the best proven so far",
            Status.ITERATION_LIMIT: "the iteration limit was reached; try --method layer or a looser --tolerance",
            Status.STALLED: "rounding stopped the progress before the tolerance was reached",
            Status.CLOSED_FORM: "computed in closed form",
        }[self]


@dataclass(frozen=True)
class Progress:
    """A sign of life from a long computation.

    Attributes
    ----------
    stage
        What is being done, in a few words.
    iteration
        Iterations so far.
    bound
        The Lipschitz bound of the current feasible point, or None.
    gap
        Relative duality gap, or None.
    seconds
        Time since the start.
    """

    stage: str
    iteration: int
    bound: float | None
    gap: float | None
    seconds: float


@dataclass(frozen=True)
class SolverOptions:
    """Options that every solver understands.

    Attributes
    ----------
    tolerance
        Relative duality gap to reach.
    time_limit
        Seconds, or None.
    max_iterations
        Iterations, or None for the solver's own limit.
    start
        Multipliers lam > 0 to start from (variables of the problem, mu and nu may be left zero), or None.
    progress
        Called now and then, at least once an iteration of more than 0.1 s.
    extra
        Passed on to the backend by name.
    """

    tolerance: float = 1e-8
    time_limit: float | None = None
    max_iterations: int | None = None
    start: Array | None = None
    progress: Callable[[Progress], None] | None = None
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a solver proposes. Nothing here is trusted before the rigorous check.

    Attributes
    ----------
    y
        The variables of the problem, positive, or None where the solver found nothing usable.
    status
        How it ended.
    bound
        Lipschitz bound that y stands for if it is feasible.
    gap
        Relative duality gap as far as the solver knows it, or None.
    iterations, seconds
        Effort.
    gram
        X, the Gram matrix of a worst-case increment [Δv; Δx] (columns of the problem), or None.
    message
        The solver's own words, for the report.
    """

    y: Array | None
    status: Status
    bound: float
    gap: float | None
    iterations: int
    seconds: float
    gram: Array | None = None
    message: str = ""


class Solver(Protocol):
    """A solver is a function of this signature."""

    def __call__(self, problem: Problem, options: SolverOptions) -> Outcome:
        """Propose variables for the problem."""
