"""Which strategy suits a claim about a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.branch.channels import Channels
from lipcert.bounds.branch.inputs import Inputs
from lipcert.bounds.branch.neurons import Neurons
from lipcert.bounds.settings import AUTO
from lipcert.errors import DoesNotApply, InvalidRequest
from lipcert.graph.nodes import Activation
from lipcert.ranges import posed
from lipcert.ranges.jacobian import seconds as jacobian_seconds
from lipcert.regions import free

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.bounds.branch.tree import Strategy
    from lipcert.graph.claim import Claim
    from lipcert.graph.nodes import Graph

MOST_INPUTS = 12
"""Inputs up to which a region is cut into parts unasked, where the network is not piecewise linear."""
QUICK = 0.5
"""Seconds that the entries of the Jacobian may take then."""
MOST_EVERYWHERE = 64
"""Neurons up to which an unbounded region is cut at neurons unasked: their sides are decided by rational numbers."""


def _neurons(graph: Graph, claim: Claim, form: str) -> Strategy:
    return Neurons.of(graph, claim, form)


def _channels(graph: Graph, claim: Claim, form: str) -> Strategy:
    there = posed(graph, claim, form)
    return Channels.of(there.graph, claim, there.hints)


def _inputs(graph: Graph, claim: Claim, form: str) -> Strategy:
    return Inputs.of(graph, claim, form)


STRATEGIES: dict[str, Callable[[Graph, Claim, str], Strategy]] = {
    "neurons": _neurons,
    "inputs": _inputs,
    "channels": _channels,
}
"""By name, in the order in which they are tried."""


def strategy(name: str, graph: Graph, claim: Claim, form: str) -> Strategy:
    """The strategy of this name, or for 'auto' the first one that suits the network.

    Parameters
    ----------
    name
        A key of `STRATEGIES`, or 'auto'.
    graph, claim, form
        The network, what is claimed, and how it is prepared.

    Raises
    ------
    DoesNotApply
        If it is not for this network, or none is.
    InvalidRequest
        If there is no such strategy.
    """
    if name != AUTO:
        require_known(name)
        return STRATEGIES[name](graph, claim, form)
    reasons = []
    for key, make in STRATEGIES.items():
        if not _suits(key, graph, claim):
            continue
        try:
            return make(graph, claim, form)
        except DoesNotApply as error:
            reasons.append(error)
    raise reasons[-1]


def require_known(name: str) -> None:
    """Raise where there is no strategy of this name.

    Raises
    ------
    InvalidRequest
        With the names that there are.
    """
    if name != AUTO and name not in STRATEGIES:
        raise InvalidRequest(
            f"nothing is called {name!r} that could be branched on", advice=f"use {AUTO} or {', '.join(STRATEGIES)}"
        )


def _suits(name: str, graph: Graph, claim: Claim) -> bool:
    """Whether a strategy is worth trying unasked."""
    bounded = claim.region is not None and bool(claim.region.interval().bounded.all())
    match name:
        case "neurons":
            neurons = sum(node.size for _, node in graph.walk() if isinstance(node, Activation))
            return bounded or neurons <= MOST_EVERYWHERE
        case "inputs":
            return (
                bounded
                and claim.region is not None
                and int(np.sum(free(claim.region))) <= MOST_INPUTS
                and jacobian_seconds(graph) <= QUICK
            )
        case _:
            return True
