"""The graph that bounds and certificates are about: expanded into pairs, and simplified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipcert.graph.comparators import expand
from lipcert.graph.simplify import simplify

if TYPE_CHECKING:
    from lipcert.graph.nodes import Graph


def prepare(graph: Graph, form: str = "comparators", limit: int = 8) -> Graph:
    """The same function in the form that is bounded: a deterministic function of the graph.

    Parameters
    ----------
    graph
        The network.
    form
        'comparators' writes sorts and maxima over up to `limit` numbers with pairs; 'blocks' keeps them.
    limit
        The largest group that is written with pairs.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph = nn.sequential(nn.group_sort(3), inputs=3)
    >>> len(prepare(graph).nodes), len(prepare(graph, "blocks").nodes)
    (8, 2)
    """
    return simplify(expand(graph, limit) if form == "comparators" else graph)
