"""`decide`: is the constant at most a given number? It stops as soon as it knows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lipcert.bounds.api import bound
from lipcert.bounds.inside import lower_inside
from lipcert.bounds.lower_bound import LowerBound, lower_bound
from lipcert.errors import InvalidRequest, NotCertified
from lipcert.graph.nodes import FixedPoint
from lipcert.graph.selection import Selection
from lipcert.norms import Norm
from lipcert.sdp.outcome import Progress, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.bounds.types import Bound
    from lipcert.graph.nodes import Graph

FIRST_SEARCH = 0.5
"""Seconds of the search for a witness before the solver begins."""


class Enough(KeyboardInterrupt):
    """Ends a computation whose answer is known; what is proven by then is kept, as after Ctrl-C."""


def decide(graph: Graph, limit: float, **settings: Any) -> Bound:
    """Whether the Lipschitz constant is at most `limit`, proven or refuted by a witness.

    Parameters
    ----------
    graph
        The network.
    limit
        The number in question.
    settings
        As in `lipcert.bound`.

    Returns
    -------
    Bound
        Its `holds` is True, False or None.

    Raises
    ------
    InvalidRequest
        If the limit is no number from 0.
    NotCertified
        If no bound could be proven.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]]))
    >>> decide(network, 11.0).holds, decide(network, 9.0).holds
    (True, False)
    """
    if not 0.0 <= limit < float("inf"):
        raise InvalidRequest(f"{limit} is no limit of a Lipschitz constant", advice="give a number from 0")
    tell: Callable[[Progress], None] | None = settings.pop("progress", None)
    implicit = any(isinstance(node, FixedPoint) for _, node in graph.walk())
    if settings.get("method", "auto") == "auto" and not implicit:
        try:
            quick = bound(graph, **settings | {"method": "product", "lower": False, "branch": False}, progress=tell)
        except NotCertified:
            quick = None
        if quick is not None and quick.upper <= limit:
            return replace(quick, limit=limit)
        if quick is not None and settings.get("lower", True):
            witness = _witness(graph, settings, tell)
            if witness.value > limit:
                return replace(quick, limit=limit, lower=witness.value, witness=witness, status=Status.DECIDED)
    known: list[float] = []

    def watch(step: Progress) -> None:
        if tell is not None:
            tell(step)
        if step.proven is not None:
            known.append(step.proven)
            # the first is the norm product, which has no certificate; implicit networks have none
            if step.proven <= limit and (implicit or step.proven < known[0]):
                raise Enough

    found = replace(bound(graph, **settings, progress=watch), limit=limit)
    return replace(found, status=Status.DECIDED) if found.holds and found.status is Status.INTERRUPTED else found


def _witness(graph: Graph, settings: dict[str, Any], tell: Callable[[Progress], None] | None) -> LowerBound:
    norm = Norm.parse(settings.get("norm", 2))
    output_norm = Norm.parse(settings.get("output_norm") or norm)
    selection = Selection.parse(settings.get("outputs", "all"), graph.output_size)
    target = selection.apply(graph)
    norms = norm, output_norm if selection.joint else Norm.LINF
    seconds = min(FIRST_SEARCH, settings.get("lower_seconds") or FIRST_SEARCH)
    seed = settings.get("seed", 0)
    region = settings.get("region")
    if region is not None:
        anchored = settings.get("anchored", False)
        return lower_inside(target, *norms, region, anchored=anchored, time_limit=seconds, seed=seed, progress=tell)
    return lower_bound(target, *norms, data=settings.get("data"), time_limit=seconds, seed=seed, progress=tell)
