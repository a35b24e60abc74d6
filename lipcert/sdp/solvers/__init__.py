"""The solvers, by name; none of their packages is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib import import_module, metadata
from typing import TYPE_CHECKING

from lipcert.errors import InvalidRequest

if TYPE_CHECKING:
    from lipcert.sdp.outcome import Solver


class Takes(Enum):
    """What a solver is given."""

    PROBLEM = "the matrices of the semidefinite program: a `Problem`"
    OPERATOR = "products with the network: an `OperatorProblem`"


@dataclass(frozen=True)
class Cost:
    """What a solver takes for a program, as far as it is known beforehand.

    Attributes
    ----------
    size
        Largest size of its matrices.
    memory
        Bytes.
    seconds
        Wall-clock time.
    """

    size: int
    memory: float
    seconds: float


@dataclass(frozen=True)
class Registration:
    """A solver of the table.

    Attributes
    ----------
    name, summary
        For `lipcert methods`.
    package
        The distribution whose version is shown.
    module, function
        Where the function of the signature `Solver` is.
    obstacle
        Why the solver cannot run here, or None; asked only when somebody wants to know.
    takes
        What it is given.
    euclidean
        Whether it is for ℓ2 to ℓ2 alone.
    automatic
        Whether 'auto' may choose it; earlier entries of the table come first.
    cost
        What it takes for rows and columns of [R; Y], where that grows beyond every limit; None where it does not.
    """

    name: str
    summary: str
    package: str
    module: str
    function: str
    obstacle: Callable[[], str | None] = lambda: None
    takes: Takes = Takes.PROBLEM
    euclidean: bool = False
    automatic: bool = False
    cost: Callable[[int, int], Cost] | None = None

    def load(self) -> Solver:
        """The solver itself."""
        solver: Solver = getattr(import_module(self.module), self.function)
        return solver

    def fits(self, rows: int, columns: int, memory: int, seconds: float | None) -> bool:
        """Whether a program of this size is solved in so much memory and, where that is limited, time."""
        if self.cost is None:
            return True
        cost = self.cost(rows, columns)
        return rows <= cost.size and cost.memory <= memory and (seconds is None or cost.seconds <= seconds)


@dataclass(frozen=True)
class Availability:
    """Whether a solver can run here.

    Attributes
    ----------
    name, summary
        As registered.
    version
        Of its package, or None where that is not installed.
    reason
        Why it cannot run here, or None where it can.
    """

    name: str
    summary: str
    version: str | None
    reason: str | None


DENSE_LIMIT = 2500
"""Largest size of the matrices of an interior-point step that 'auto' accepts."""


def _native_cost(rows: int, columns: int) -> Cost:
    native = import_module("lipcert.sdp.solvers.interior_point")
    return Cost(DENSE_LIMIT, native.bytes_needed(rows, columns), native.seconds_needed(rows, columns))


def _conic(name: str, summary: str) -> Registration:
    def obstacle() -> str | None:
        conic = import_module("lipcert.sdp.solvers.conic")
        reason: str | None = conic.unavailable(getattr(conic, name.upper()))
        return reason

    return Registration(name, summary, name, "lipcert.sdp.solvers.conic", name, obstacle)


SOLVERS: dict[str, Registration] = {
    entry.name: entry
    for entry in (
        Registration(
            "native",
            "interior-point method made for (C)",
            "lipcert",
            "lipcert.sdp.solvers.interior_point",
            "solve",
            automatic=True,
            cost=_native_cost,
        ),
        Registration(
            "matrix-free",
            "diagonal scaling by products with the network, for ℓ2 and large networks",
            "lipcert",
            "lipcert.sdp.solvers.matrix_free",
            "solve",
            takes=Takes.OPERATOR,
            euclidean=True,
            automatic=True,
        ),
        _conic("clarabel", "interior-point method, through cvxpy"),
        _conic("scs", "first-order method, through cvxpy"),
        _conic("mosek", "commercial interior-point method, through cvxpy; needs a licence"),
    )
}


def registration(name: str) -> Registration:
    """The entry of the table.

    Raises
    ------
    InvalidRequest
        If there is none.
    """
    if name not in SOLVERS:
        raise InvalidRequest(f"the solver {name!r} is not known", advice=f"use {', '.join(SOLVERS)}")
    return SOLVERS[name]


def get_solver(name: str) -> Solver:
    """The solver of a name.

    Raises
    ------
    InvalidRequest
        If there is none.

    Examples
    --------
    >>> get_solver("native").__name__
    'solve'
    """
    return registration(name).load()


def choose(rows: int, columns: int, euclidean: bool, memory: int, seconds: float | None) -> Registration:
    """What 'auto' takes for [R; Y] of this size: the first solver for the norms that fits, the last one where none does.

    Examples
    --------
    >>> [choose(rows, rows, euclidean=True, memory=2**33, seconds=None).name for rows in (100, 10_000)]
    ['native', 'matrix-free']
    """
    fitting = [entry for entry in SOLVERS.values() if entry.automatic and (euclidean or not entry.euclidean)]
    return next((entry for entry in fitting if entry.fits(rows, columns, memory, seconds)), fitting[-1])


def available() -> list[Availability]:
    """Every solver with its version and, where it cannot run here, the reason (MOSEK is asked for its licence).

    Examples
    --------
    >>> [item.reason for item in available() if item.name == "native"]
    [None]
    """
    return [Availability(s.name, s.summary, _version(s.package), s.obstacle()) for s in SOLVERS.values()]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
