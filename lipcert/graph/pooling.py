"""Maxima of increasing functions: max φ(z) = φ(max z), with one activation a window in place of one a number."""

from __future__ import annotations

from collections import Counter

from lipcert.activations.record import Pointwise
from lipcert.graph.linear_maps import Index
from lipcert.graph.nodes import Activation, Affine, Graph, Node, moved
from lipcert.graph.rewrite import Rewriting, Rule, rewrite


def pool_first(graph: Graph) -> Graph:
    """The same function with each maximum taken before the increasing pointwise activation that it pools.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph = pool_first(nn.sequential(nn.relu(), nn.max_pool(1, [4, 4], [2, 2]), inputs=16))
    >>> [(node.kind, node.blocks) for _, node in graph.walk() if isinstance(node, Activation)]
    [('maximum', 4), ('relu', 4)]
    """

    def rule_for(work: Rewriting) -> Rule:
        builder = work.builder
        readers = Counter(parent for _, node in work.graph.walk() for parent in node.parents)
        readers[work.graph.output] += 1

        def rule(position: int, node: Affine | Activation) -> int:
            written = work.graph.nodes[position]
            inner = _increasing(work.graph, written, readers)
            if inner is None or not (isinstance(written, Activation) and isinstance(node, Activation)):
                return builder.add(node)
            z = work.place[inner.parent]
            window = work.graph.nodes[written.parent]
            if isinstance(window, Affine):
                z = builder.affine([z], window.maps)
            top = builder.add(moved(node, [z]))
            return builder.activation(top, inner.kind, 1, dict(inner.parameters), node.channel, inner.name)

        return rule

    return rewrite(graph, rule_for)


def _increasing(graph: Graph, node: Node, readers: Counter[int]) -> Activation | None:
    """The activation, the same on all numbers and read by nothing else, whose values a maximum pools."""
    if not isinstance(node, Activation) or node.kind != "maximum":
        return None
    position = node.parent
    window = graph.nodes[position]
    if isinstance(window, Affine):
        only = window.maps[0]
        if len(window.maps) > 1 or window.bias is not None or not isinstance(only, Index) or (only.index < 0).any():
            return None
        if readers[position] > 1:
            return None
        (position,) = window.parents
    inner = graph.nodes[position]
    if not isinstance(inner, Activation) or not isinstance(inner.record, Pointwise) or readers[position] > 1:
        return None
    if any(value.shape[0] > 1 for value in inner.parameters.values()):
        return None
    low, _ = inner.record.slopes(inner.parameters)
    return inner if (low >= 0.0).all() else None
