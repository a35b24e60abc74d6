"""The graph that bounds and certificates are about: expanded into pairs, and simplified."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lipcert.errors import InvalidRequest
from lipcert.graph.comparators import expand
from lipcert.graph.nodes import Graph
from lipcert.graph.pooling import pool_first
from lipcert.graph.published import published_constraints, residual_relu
from lipcert.graph.simplify import simplify

if TYPE_CHECKING:
    from lipcert.graph.claim import Claim


def prepare(graph: Graph, form: str = "comparators", limit: int = 8) -> Graph:
    """The same function in the form that is bounded: a deterministic function of the graph.

    Parameters
    ----------
    graph
        The network.
    form
        'comparators' writes sorts and maxima over up to `limit` numbers with pairs; 'blocks' keeps them; both take a
        maximum before the increasing function that it pools. For published
        methods: 'written' keeps the graph as it is, 'published' takes the constraints of arXiv 2401.14033 for P = S = 0,
        'residual-relu' writes MaxMin with two ReLU a pair.
    limit
        The largest group that is written with pairs.

    Raises
    ------
    InvalidRequest
        If there is no such form.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph = nn.sequential(nn.group_sort(3), inputs=3)
    >>> len(prepare(graph).nodes), len(prepare(graph, "blocks").nodes)
    (8, 2)
    """
    if form not in FORMS:
        raise InvalidRequest(f"the form {form!r} is not known", advice=f"use {', '.join(FORMS)}")
    return FORMS[form](graph, limit)


def posed(graph: Graph, claim: Claim, form: str) -> Graph:
    """The graph of a claim's functionals in the form that is bounded; what bounds and certificates are about.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.claim import Claim
    >>> posed(nn.sequential(nn.linear([[1.0], [2.0]]), nn.maxmin()), Claim(), "blocks").output_size
    2
    """
    return prepare(claim.select(graph), form)


FORMS: dict[str, Callable[[Graph, int], Graph]] = {
    "comparators": lambda graph, limit: simplify(expand(pool_first(graph), limit)),
    "blocks": lambda graph, limit: simplify(pool_first(graph)),
    "written": lambda graph, limit: graph,
    "published": lambda graph, limit: published_constraints(graph),
    "residual-relu": lambda graph, limit: residual_relu(graph),
}
