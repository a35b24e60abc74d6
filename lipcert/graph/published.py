"""The forms in which published methods take a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from lipcert.activations.published import PUBLISHED
from lipcert.graph.linear_maps import Index, Sparse
from lipcert.graph.nodes import Activation, FixedPoint, Graph, GraphBuilder, Input, moved


def published_constraints(graph: Graph) -> Graph:
    """The same function with GroupSort and Householder under the constraints of arXiv 2401.14033 (P = S = 0).

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> published_constraints(nn.sequential(nn.maxmin(), inputs=2)).nodes[1].kind
    'sort_published'
    """
    return _rewrite(graph, lambda builder, node: builder.add(replace(node, kind=PUBLISHED.get(node.kind, node.kind))))


def residual_relu(graph: Graph) -> Graph:
    """The same function with MaxMin pairs (a, b) as residual ReLU: b − relu(b − a), b + relu(a − b).

    The two neurons of a pair stay apart, as in lipsdp-rr of arXiv 2401.14033; `simplify` would share them.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> [node.kind for node in residual_relu(nn.sequential(nn.maxmin(), inputs=2)).nodes if hasattr(node, "kind")]
    ['relu']
    """
    return _rewrite(graph, _residual_pair)


def _residual_pair(builder: GraphBuilder, node: Activation) -> int:
    if node.kind != "sort" or node.block != 2:
        return builder.add(node)
    # (a, b) ↦ (b − a, a − b)
    difference = sp.csr_array(sp.kron(sp.eye_array(node.blocks), np.array([[-1.0, 1.0], [1.0, -1.0]])))
    signs = sp.csr_array(sp.diags_array(np.tile([-1.0, 1.0], node.blocks)))
    second = Index(np.repeat(np.arange(1, node.size, 2), 2), node.size)
    channel = None if node.channel is None else np.repeat(node.channel, 2)
    z = builder.affine([node.parent], [Sparse(difference)])
    relu = builder.activation(z, "relu", channel=channel, name=node.name)
    return builder.affine([node.parent, relu], [second, Sparse(signs)], name=node.name)


def _rewrite(graph: Graph, activation: Callable[[GraphBuilder, Activation], int]) -> Graph:
    builder = GraphBuilder()
    place: dict[int, int] = {}
    for position, node in graph.walk():
        parents = [place[p] for p in node.parents]
        if isinstance(node, Input):
            place[position] = builder.input(node.size, node.name)
        elif isinstance(node, Activation):
            place[position] = activation(builder, replace(node, parent=parents[0]))
        elif isinstance(node, FixedPoint):
            place[position] = builder.add(moved(replace(node, cell=_rewrite(node.cell, activation)), parents))
        else:
            place[position] = builder.add(moved(node, parents))
    return replace(
        graph, nodes=tuple(builder.nodes), inputs=tuple(place[i] for i in graph.inputs), output=place[graph.output]
    )
