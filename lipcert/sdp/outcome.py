"""What every solver takes and gives back: one signature, one outcome type."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lipcert.arrays import Array


class Status(Enum):
    """How a computation ended; the value is the name used in reports, `advice` says what to do next."""

    OPTIMAL = "optimal"
    PROOF_LOSS = "proof_loss"
    TIME_LIMIT = "time_limit"
    INTERRUPTED = "interrupted"
    ITERATION_LIMIT = "iteration_limit"
    STALLED = "stalled"
    CLOSED_FORM = "closed_form"
    DECIDED = "decided"

    @property
    def advice(self) -> str:
        """One sentence for the user."""
        return {
            Status.OPTIMAL: "the optimum was reached within the tolerance",
            Status.PROOF_LOSS: "the solver reached the optimum; what is proven exceeds it by more than the tolerance",
            Status.TIME_LIMIT: "the time limit was reached; try a longer --time-limit or --method layer",
            Status.INTERRUPTED: "interrupted; the bound is the best proven so far",
            Status.ITERATION_LIMIT: "the iteration limit was reached; try --method layer or a looser --tolerance",
            Status.STALLED: "rounding stopped the progress before the tolerance was reached",
            Status.CLOSED_FORM: "computed in closed form",
            Status.DECIDED: "stopped as soon as the question was decided",
        }[self]


@dataclass(frozen=True)
class Progress:
    """A sign of life from a long computation.

    Attributes
    ----------
    stage
        What is being done, in a few words.
    iteration
        Iterations so far, or how many of `total` are done.
    bound
        The Lipschitz bound that the solver's best feasible point stands for, or None. It is not proven.
    gap
        Relative duality gap, or None.
    seconds
        Time since the start of what is being done.
    total
        How many there are to do, where known.
    proven
        The best bound on the constant in question that is proven so far, or None.
    below
        A lower bound on it that is proven so far, where the two are brought together, or None.
    left
        Seconds left as an estimate, or None.
    at_most
        Seconds left to a time limit, or None.
    point
        Makes the y of this feasible point, as an `Outcome` holds it; to be called at once or never. None without one.

    Examples
    --------
    >>> Progress("proof", 3, seconds=1.5, total=10).expected
    3.5
    """

    stage: str
    iteration: int = 0
    bound: float | None = None
    gap: float | None = None
    seconds: float = 0.0
    total: int | None = None
    proven: float | None = None
    below: float | None = None
    left: float | None = None
    at_most: float | None = None
    point: Callable[[], Array] | None = field(default=None, repr=False, compare=False)

    @property
    def expected(self) -> float | None:
        """`left`, or what it is where the rest of `total` goes as what is done."""
        if self.left is not None or self.total is None or not self.iteration:
            return self.left
        return self.seconds / self.iteration * (self.total - self.iteration)

    def outcome(self) -> Outcome:
        """What the solver would give back if it were interrupted here."""
        y = None if self.point is None else self.point()
        value = math.inf if self.bound is None else self.bound
        return Outcome(y, Status.INTERRUPTED, value, self.gap, self.iteration, self.seconds)


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
    target
        A bound that is small enough: the native solver ends as soon as a feasible point reaches it.
    extra
        Passed on to the backend by name.
    """

    tolerance: float = 1e-8
    time_limit: float | None = None
    max_iterations: int | None = None
    start: Array | None = None
    progress: Callable[[Progress], None] | None = None
    target: float = 0.0
    extra: dict[str, object] = field(default_factory=dict)

    def tell(
        self,
        stage: str,
        iteration: int,
        seconds: float,
        *,
        bound: float | None = None,
        gap: float | None = None,
        point: Callable[[], Array] | None = None,
    ) -> None:
        """Report progress to whoever asked for it, with the time left as far as the gap and the limit tell.

        The gap of an interior-point method begins at about one and falls by the same factor in equal times.

        Examples
        --------
        >>> steps = []
        >>> SolverOptions(1e-8, time_limit=60.0, progress=steps.append).tell("search", 7, 4.0, gap=1e-4)
        >>> round(steps[0].left, 6), steps[0].at_most
        (4.0, 56.0)
        """
        if self.progress is None:
            return
        left = None
        if gap is not None and 0.0 < gap < 0.1:
            left = max(0.0, seconds * (math.log(self.tolerance / gap) / math.log(gap)))
        at_most = None if self.time_limit is None else max(0.0, self.time_limit - seconds)
        self.progress(Progress(stage, iteration, bound, gap, seconds, left=left, at_most=at_most, point=point))


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
    """A solver is a function of this signature; its entry of the table says which of the two problems it is given."""

    def __call__(self, problem: Any, options: SolverOptions) -> Outcome:
        """Propose variables for a `Problem` or an `OperatorProblem`."""
