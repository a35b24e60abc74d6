"""One sweep that rewrites a graph node by node; the passes on graphs are rules for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never

from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, GraphBuilder, Input, moved


@dataclass(frozen=True, eq=False)
class Rewriting:
    """A graph on its way into another one.

    Attributes
    ----------
    graph
        The one that is rewritten.
    builder
        Collects the nodes of the new one.
    place
        For each node of the old graph so far the position of its value in the new one.
    """

    graph: Graph
    builder: GraphBuilder = field(default_factory=GraphBuilder)
    place: dict[int, int] = field(default_factory=dict)


Rule: TypeAlias = Callable[[int, Affine | Activation], int]
"""Takes the position of a node in the old graph, and the node with its parents in the new one; adds what computes the same
and gives its position."""


def rewrite(graph: Graph, rule_for: Callable[[Rewriting], Rule], *, cells: bool = True) -> Graph:
    """The graph whose affine nodes and activations went through a rule; inputs stay.

    Parameters
    ----------
    graph
        The network; nodes that its output does not need are left out.
    rule_for
        Makes the rule for a graph, which may keep notes while it runs.
    cells
        Whether cells of fixed points are rewritten too, by a rule of their own.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph = nn.sequential(nn.relu(), nn.relu(), inputs=2)
    >>> def absolute(work: Rewriting) -> Rule:
    ...     return lambda position, node: work.builder.add(replace(node, kind="abs"))
    >>> [node.kind for node in rewrite(graph, absolute).nodes[1:]]
    ['abs', 'abs']
    """
    work = Rewriting(graph)
    rule = rule_for(work)
    for position, node in graph.walk():
        parents = [work.place[p] for p in node.parents]
        match node:
            case Input():
                work.place[position] = work.builder.input(node.size, node.name)
            case FixedPoint():
                cell = rewrite(node.cell, rule_for) if cells else node.cell
                work.place[position] = work.builder.add(replace(node, parents=tuple(parents), cell=cell))
            case Affine() | Activation():
                work.place[position] = rule(position, moved(node, parents))
            case other:
                assert_never(other)
    return replace(
        graph,
        nodes=tuple(work.builder.nodes),
        inputs=tuple(work.place[i] for i in graph.inputs),
        output=work.place[graph.output],
    )
