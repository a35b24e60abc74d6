"""The forms in which published methods take a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from lipcert.activations.published import PUBLISHED
from lipcert.graph.linear_maps import Index, Sparse
from lipcert.graph.nodes import Activation, Graph, GraphBuilder
from lipcert.graph.rewrite import Rewriting, Rule, rewrite


def published_constraints(graph: Graph) -> Graph:
    """The same function with GroupSort and Householder under the constraints of arXiv 2401.14033 (P = S = 0).

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> published_constraints(nn.sequential(nn.maxmin(), inputs=2)).nodes[1].kind
    'sort_published'
    """
    return rewrite(graph, _of_activations(_published))


def residual_relu(graph: Graph) -> Graph:
    """The same function with MaxMin pairs (a, b) as residual ReLU: b − relu(b − a), b + relu(a − b).

    The two neurons of a pair stay apart, as in lipsdp-rr of arXiv 2401.14033; `simplify` would share them.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> [node.kind for node in residual_relu(nn.sequential(nn.maxmin(), inputs=2)).nodes if hasattr(node, "kind")]
    ['relu']
    """
    return rewrite(graph, _of_activations(_residual_pair))


def _published(builder: GraphBuilder, node: Activation) -> int:
    return builder.add(replace(node, kind=PUBLISHED.get(node.kind, node.kind)))


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


def _of_activations(rule: Callable[[GraphBuilder, Activation], int]) -> Callable[[Rewriting], Rule]:
    """The rule that leaves affine nodes as they are."""

    def rule_for(work: Rewriting) -> Rule:
        return lambda _, node: rule(work.builder, node) if isinstance(node, Activation) else work.builder.add(node)

    return rule_for
