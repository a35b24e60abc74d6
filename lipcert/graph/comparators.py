"""Sorting networks and tournaments: GroupSort and maxima over groups as pairs (docs/theory.md 2).

A network of comparators computes the same function, and its constraints, one multiplier a comparator, are never looser
than the block's: equal multipliers telescope to the block's constraint.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from lipcert.graph.linear_maps import Index
from lipcert.graph.nodes import Activation, Affine, Graph, GraphBuilder
from lipcert.graph.rewrite import Rewriting, Rule, rewrite
from lipcert.graph.sizes import activations

if TYPE_CHECKING:
    from lipcert.arrays import IntArray

Layers = tuple[tuple[tuple[int, int], ...], ...]

# optimal in the number of comparators (Knuth, TAOCP 3, 5.3.4): 1, 3, 5, 9, 12, 16, 19
_OPTIMAL: dict[int, Layers] = {
    2: (((0, 1),),),
    3: (((0, 2),), ((0, 1),), ((1, 2),)),
    4: (((0, 2), (1, 3)), ((0, 1), (2, 3)), ((1, 2),)),
    5: (((0, 3), (1, 4)), ((0, 2), (1, 3)), ((0, 1), (2, 4)), ((1, 2), (3, 4)), ((2, 3),)),
    6: (
        ((0, 5), (1, 3), (2, 4)),
        ((1, 2), (3, 4)),
        ((0, 3), (2, 5)),
        ((0, 1), (2, 3), (4, 5)),
        ((1, 2), (3, 4)),
    ),
    7: (
        ((0, 6), (2, 3), (4, 5)),
        ((0, 2), (1, 4), (3, 6)),
        ((0, 1), (2, 5), (3, 4)),
        ((1, 2), (4, 6)),
        ((2, 3), (4, 5)),
        ((1, 2), (3, 4), (5, 6)),
    ),
    8: (
        ((0, 2), (1, 3), (4, 6), (5, 7)),
        ((0, 4), (1, 5), (2, 6), (3, 7)),
        ((0, 1), (2, 3), (4, 5), (6, 7)),
        ((2, 4), (3, 5)),
        ((1, 4), (3, 6)),
        ((1, 2), (3, 4), (5, 6)),
    ),
}


@cache
def sorting_network(size: int) -> Layers:
    """Layers of disjoint comparators (i, j), i < j, that sort `size` numbers ascending.

    The smallest known up to 8; Batcher's odd-even merge sort beyond (Knuth, TAOCP 3, 5.2.2, algorithm M).

    Examples
    --------
    >>> [sum(len(layer) for layer in sorting_network(k)) for k in range(2, 9)]
    [1, 3, 5, 9, 12, 16, 19]
    """
    if size < 2:
        return ()
    if size in _OPTIMAL:
        return _OPTIMAL[size]
    layers = []
    top = 1 << (size - 1).bit_length() - 1
    p = top
    while p:
        q, r, d = top, 0, p
        while True:
            layers.append(tuple((i, i + d) for i in range(size - d) if i & p == r))
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    return tuple(layer for layer in layers if layer)


def expand(graph: Graph, limit: int = 8) -> Graph:
    """The same function with every sort and maximum over 3 to `limit` numbers written with pairs; fixed points too.

    Parameters
    ----------
    graph
        The network.
    limit
        The largest group that is expanded; larger ones stay blocks.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph = expand(nn.sequential(nn.group_sort(4), inputs=8))
    >>> [node.blocks for _, node in graph.walk() if isinstance(node, Activation)]
    [4, 4, 2]
    """

    def rule_for(work: Rewriting) -> Rule:
        def rule(_: int, node: Affine | Activation) -> int:
            if isinstance(node, Activation) and _expands(node, limit):
                return _EXPANSIONS[node.kind](work.builder, node.parent, node)
            return work.builder.add(node)

        return rule

    return rewrite(graph, rule_for)


def expands(graph: Graph, limit: int = 8) -> bool:
    """Whether `expand` changes anything.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> [expands(nn.sequential(phi, inputs=6)) for phi in (nn.maxmin(), nn.group_sort(3))]
    [False, True]
    """
    return any(_expands(node, limit) for node in activations(graph))


def _expands(node: Activation, limit: int) -> bool:
    return node.kind in _EXPANSIONS and 2 < node.block <= limit


@dataclass
class _Wires:
    """For each wire of a block the node that carries it, and for each block the place in that node."""

    builder: GraphBuilder
    node: list[int]
    place: list[IntArray]

    def gather(self, wires: list[int]) -> int:
        """A node with the given wires of every block side by side."""
        blocks = self.place[0].size
        parents, maps = [], []
        for parent in dict.fromkeys(self.node[w] for w in wires):
            index = np.full((blocks, len(wires)), -1, dtype=np.int64)
            for column, w in enumerate(wires):
                if self.node[w] == parent:
                    index[:, column] = self.place[w]
            parents.append(parent)
            maps.append(Index(index.ravel(), self.builder.nodes[parent].size))
        return self.builder.affine(parents, maps)

    def pairs(self, kind: str, wires: list[int], node: Activation) -> int:
        """The activation `kind` on consecutive pairs of the given wires of every block."""
        count = len(wires) // 2
        channel = None
        if node.channel is not None:
            channel = (node.channel[:, None] * count + np.arange(count)).ravel()
        return self.builder.activation(self.gather(wires), kind, 2, channel=channel, name=node.name)


def _wires(builder: GraphBuilder, x: int, node: Activation) -> _Wires:
    places = np.arange(node.blocks * node.block, dtype=np.int64).reshape(node.blocks, node.block)
    return _Wires(builder, [x] * node.block, list(places.T))


def _sort(builder: GraphBuilder, x: int, node: Activation) -> int:
    wires = _wires(builder, x, node)
    blocks = np.arange(node.blocks, dtype=np.int64)
    for layer in sorting_network(node.block):
        touched = [w for pair in layer for w in pair]
        out = wires.pairs(node.kind, touched, node)
        for column, w in enumerate(touched):
            wires.node[w], wires.place[w] = out, blocks * len(touched) + column
    return wires.gather(list(range(node.block)))


def _tournament(builder: GraphBuilder, x: int, node: Activation) -> int:
    wires = _wires(builder, x, node)
    blocks = np.arange(node.blocks, dtype=np.int64)
    left = list(range(node.block))
    while len(left) > 1:
        playing = left[: len(left) // 2 * 2]
        out = wires.pairs(node.kind, playing, node)
        winners = playing[::2]
        for column, w in enumerate(winners):
            wires.node[w], wires.place[w] = out, blocks * len(winners) + column
        left = winners + left[len(playing) :]
    return wires.gather(left)


_EXPANSIONS = {"sort": _sort, "maximum": _tournament}
