"""The solvers, by name; none of their packages is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING

from lipcert.errors import InvalidRequest

if TYPE_CHECKING:
    from lipcert.sdp.outcome import Solver


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
    """

    name: str
    summary: str
    package: str
    module: str
    function: str
    obstacle: Callable[[], str | None] = lambda: None

    def load(self) -> Solver:
        """The solver itself."""
        solver: Solver = getattr(import_module(self.module), self.function)
        return solver


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
        ),
        _conic("clarabel", "interior-point method, through cvxpy"),
        _conic("scs", "first-order method, through cvxpy"),
        _conic("mosek", "commercial interior-point method, through cvxpy; needs a licence"),
    )
}


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
    if name not in SOLVERS:
        raise InvalidRequest(f"the solver {name!r} is not known", advice=f"use {', '.join(SOLVERS)}")
    return SOLVERS[name].load()


def available() -> list[Availability]:
    """Every solver with its version and, where it cannot run here, the reason (MOSEK is asked for its licence).

    Examples
    --------
    >>> [item.reason for item in available() if item.name == "native"]
    [None]
    """
    matrix_free = Availability(
        "matrix-free",
        "diagonal scaling by products with the network, for ℓ2 and large networks",
        _version("lipcert"),
        None,
    )
    solvers = [Availability(s.name, s.summary, _version(s.package), s.obstacle()) for s in SOLVERS.values()]
    return [solvers[0], matrix_free, *solvers[1:]]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
