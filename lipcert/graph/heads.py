"""Final activations that keep the order of the outputs: classes do not depend on them."""

from __future__ import annotations

from dataclasses import replace

from lipcert.graph.nodes import Activation, Graph

HEADS = ("softmax", "log_softmax", "sigmoid")


def without_head(graph: Graph) -> tuple[Graph, str]:
    """The graph without a final activation over all outputs that keeps their order, and the name of that.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph, head = without_head(nn.sequential(nn.linear([[2.0], [1.0]]), nn.softmax(2)))
    >>> len(graph.nodes), head
    (3, 'softmax')
    """
    node = graph.nodes[graph.output]
    if isinstance(node, Activation) and node.kind in HEADS and (node.kind == "sigmoid" or node.blocks == 1):
        return replace(graph, output=node.parent), node.kind
    return graph, ""
