"""The graph that bounds and certificates are about: expanded into pairs, and simplified."""

from __future__ import annotations

from collections.abc import Callable

from lipcert.graph.comparators import expand
from lipcert.graph.nodes import Graph
from lipcert.graph.published import published_constraints, residual_relu
from lipcert.graph.simplify import simplify


def prepare(graph: Graph, form: str = "comparators", limit: int = 8) -> Graph:
    """The same function in the form that is bounded: a deterministic function of the graph.

    Parameters
    ----------
    graph
        The network.
    form
        'comparators' writes sorts and maxima over up to `limit` numbers with pairs; 'blocks' keeps them. For published
        methods: 'written' keeps the graph as it is, 'published' takes the constraints of arXiv 2401.14033 for P = S = 0,
        'residual-relu' writes MaxMin with two ReLU a pair.
    limit
        The largest group that is written with pairs.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph = nn.sequential(nn.group_sort(3), inputs=3)
    >>> len(prepare(graph).nodes), len(prepare(graph, "blocks").nodes)
    (8, 2)
    """
    return FORMS[form](graph, limit)


FORMS: dict[str, Callable[[Graph, int], Graph]] = {
    "comparators": lambda graph, limit: simplify(expand(graph, limit)),
    "blocks": lambda graph, limit: simplify(graph),
    "written": lambda graph, limit: graph,
    "published": lambda graph, limit: published_constraints(graph),
    "residual-relu": lambda graph, limit: residual_relu(graph),
}
