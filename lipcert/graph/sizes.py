"""Sizes of the semidefinite program and of the proof, as lowering a prepared graph gives them, without lowering it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipcert.graph.nodes import Activation, FixedPoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lipcert.graph.nodes import Graph, Node


def channels(graph: Graph) -> int:
    """The number of channels, which are columns of R.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[1.0], [2.0]]), nn.maxmin())
    >>> channels(network), rows(network), groups(network)
    (1, 1, 1)
    """
    return sum(node.blocks * node.form_sizes[0] for node in activations(graph))


def rows(graph: Graph) -> int:
    """The number of rows of R."""
    return sum(node.blocks * node.form_sizes[1] for node in activations(graph))


def groups(graph: Graph) -> int:
    """The number of multiplier groups; an activation without channels has none."""
    return sum(node.blocks * node.form_sizes[2] for node in activations(graph) if node.form_sizes[0])


def activations(graph: Graph) -> Iterator[Activation]:
    """The activations in the order of lowering, those of cells included."""
    return (node for node in nodes(graph) if isinstance(node, Activation))


def nodes(graph: Graph) -> Iterator[Node]:
    """The nodes, those of cells behind their fixed points."""
    for _, node in graph.walk():
        yield node
        if isinstance(node, FixedPoint):
            yield from nodes(node.cell)
