"""How a bound is looked for: what does not depend on the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lipcert.bounds.table import METHODS
from lipcert.errors import InvalidRequest

AUTO = "auto"
LEAST_TOLERANCE = 2.0**-52
"""The smallest gap that a solver may be asked for: float64 numbers tell no smaller one."""


@dataclass(frozen=True)
class Settings:
    """How hard and by what means a bound is looked for; `lipcert.bound` explains each of them.

    Attributes
    ----------
    method, solver
        'auto' or a name.
    tolerance
        Relative duality gap to reach.
    time_limit
        Seconds for the upper bound, reading included, or None.
    form
        How the network is prepared where the method leaves that open.
    jobs
        Processes for independent semidefinite programs, as joblib's `n_jobs`.
    extra
        Options passed on to the solver by its own names.

    Raises
    ------
    InvalidRequest
        If one of them is not known or out of range.

    Examples
    --------
    >>> Settings(method="layer").form
    'comparators'
    """

    method: str = AUTO
    solver: str = AUTO
    tolerance: float = 1e-8
    time_limit: float | None = None
    form: str = "comparators"
    jobs: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method != AUTO and self.method not in METHODS:
            raise InvalidRequest(
                f"the method {self.method!r} is not known", advice=f"use {AUTO} or {', '.join(METHODS)}"
            )
        if not LEAST_TOLERANCE <= self.tolerance < float("inf"):
            raise InvalidRequest(
                f"the tolerance {self.tolerance:g} is not finite, or is below what float64 numbers can tell",
                advice=f"give one from {LEAST_TOLERANCE:.1e}",
            )
        if self.jobs == 0:
            raise InvalidRequest("there cannot be 0 processes", advice="give a number from 1, or -1 for all cores")
