"""The search for a lower bound: its sources, and how they share the effort."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.anneal import Annealing
from lipcert.bounds.effort import Effort, SweepCost
from lipcert.bounds.evolution import Evolution
from lipcert.bounds.lines import LineSearch
from lipcert.bounds.witness import Witness
from lipcert.graph.linear_maps import Dense
from lipcert.graph.nodes import Affine, FixedPoint, Graph, Input
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm
from lipcert.sdp.outcome import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array
    from lipcert.bounds.guide import Guide

_BEGIN, _FIRST, _LAST = 0.1, 0.08, 0.88
"""Parts of the effort: for the starts, for the first turn of every source, and until when the best one goes on alone."""
_SAMPLES = 8, 32
"""Points that are annealed at once, at least and at most."""
_PREPARED = 20_000
"""Numbers in a network up to which its sorts are written as moduli for annealing."""
_ROW_SPACE_ENTRIES = 4_000_000
_LEAST, _MOST = 2.0, 24.0
"""The default effort in seconds, at least and at most;"""
_LAYERS, _EACH_LAYER = 3, 3.5
"""it grows by so much with every layer of activations beyond the first ones, and"""
_RARE, _MOST_RARE = 3.6, 2.0
"""of piecewise linear networks of few inputs, with small and rare steepest pieces, by that much more, at most by this;"""
_SWEEP, _EACH_SWEEP = 5.5e-4, 6e4
"""with the seconds of a sweep of few samples beyond these."""
_LARGE = 10.0
"""What is left of the most where sweeps take long: of such networks no search comes close to the upper bound."""


def default_seconds(graph: Graph) -> float:
    """The nominal seconds that the search for a lower bound takes where none are given: more for deep and wide networks."""
    if any(isinstance(node, FixedPoint) for _, node in graph.walk()):
        # a step costs much, and few lead all the way
        return _LEAST
    deep = max(0, _depth(graph) - _LAYERS) * _EACH_LAYER
    large = max(0.0, SweepCost.of(graph).seconds(_SAMPLES[0]) - _SWEEP) * _EACH_SWEEP
    more, most = (_RARE, _MOST_RARE * _MOST) if LineSearch.applies(graph) else (1.0, _MOST)
    return min(_LEAST + more * deep + large, max(_LARGE, most - large))


def _depth(graph: Graph) -> int:
    """Layers of activations on the longest way through the network."""
    depth: dict[int, int] = {}
    for position, node in graph.walk():
        own = 0 if isinstance(node, Input | Affine) else 1
        depth[position] = own + max((depth[p] for p in node.parents), default=0)
    return depth[graph.output]


def search(
    graph: Graph,
    norm: Norm,
    output_norm: Norm,
    effort: Effort,
    until: float,
    rng: np.random.Generator,
    *,
    data: Array | None = None,
    guide: Guide | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[tuple[float, Witness]]:
    """(norm, witness) of the distinct best points, best first; nothing is proven yet.

    Parameters
    ----------
    graph
        A network with one input.
    norm, output_norm
        The norms.
    effort, until
        What is counted, and how much of it may be spent.
    rng
        Decides all that is random.
    data, guide
        As in `lower_bound`.
    progress
        Called now and then.
    """
    basis = None
    reduced = _in_row_space(graph) if norm is Norm.L2 else None
    if reduced is not None:
        graph, basis = reduced
        data = None if data is None else basis.T @ data
        guide = None if guide is None else replace(guide, directions=basis.T @ guide.directions)
    evolution = Evolution(graph, norm, output_norm, rng, effort, SweepCost.of(graph), data, guide)

    def tell() -> None:
        if progress is not None:
            seconds = effort.elapsed
            left = max(0.0, until - effort.spent)
            progress(Progress("search for a lower bound", evolution.generations, seconds=seconds, at_most=left))

    tell()
    begun = effort.spent
    whole = until - begun
    evolution.begin(begun + _BEGIN * whole)
    if evolution.switching and evolution.local.values.size:
        _share(evolution, begun, whole, tell)
    candidates = evolution.polished()
    if basis is None:
        return candidates
    return [(value, Witness(basis @ found.point, basis @ found.direction)) for value, found in candidates]


def _share(evolution: Evolution, begun: float, whole: float, tell: Callable[[], None]) -> None:
    """A turn for every source, the rest but for the end for the one that led furthest, the end for evolution."""
    effort = evolution.effort
    sources = [lambda until: _evolved(evolution, until, tell), *_annealed(evolution), *_lined(evolution)]
    values = []
    for source in sources:
        values.append(source(effort.spent + _FIRST * whole))
        tell()
    best = sources[int(np.argmax(values))]
    best(begun + _LAST * whole)
    tell()
    _evolved(evolution, begun + whole, tell)


def _evolved(evolution: Evolution, until: float, tell: Callable[[], None]) -> float:
    while evolution.effort.spent < until and evolution.local.values.size:
        evolution.run(min(until, evolution.effort.spent + 0.02 * evolution.effort.seconds))
        tell()
    return evolution.found.best


def _annealed(evolution: Evolution) -> list[Callable[[float], float]]:
    """Annealing, with smooth and with true slopes on the way back, where it applies."""
    graph, effort = evolution.graph, evolution.effort
    if sum(node.size for _, node in graph.walk()) > _PREPARED:
        return []
    prepared = prepare(graph)
    if not Annealing.applies(prepared):
        return []
    cost = SweepCost.of(prepared)
    annealing = Annealing(prepared, evolution.p, evolution.q, cost)
    count = int(np.clip(cost.fixed / cost.each, *_SAMPLES))

    def source(sharp: bool) -> Callable[[float], float]:
        def run(until: float) -> float:
            points, directions = evolution.starts(count)
            return evolution.join(*annealing.run(points, directions, effort, until, sharp=sharp))

        return run

    return [source(False), source(True)]


def _lined(evolution: Evolution) -> list[Callable[[float], float]]:
    """The search along lines, where it applies."""
    if not LineSearch.applies(evolution.graph):
        return []
    lines = LineSearch(evolution.graph, evolution.p, evolution.q, evolution.cost, evolution.rng, evolution.starts)
    return [lambda until: evolution.join(*lines.run(evolution.effort, until))]


def _in_row_space(graph: Graph) -> tuple[Graph, Array] | None:
    """The network as a function of Vᵀx, V an orthonormal basis of the rows that meet its input, and V; None where that saves
    little."""
    (at,) = graph.inputs
    n = graph.input_size
    readers = [(i, node) for i, node in enumerate(graph.nodes) if at in node.parents]
    affine = [(i, node) for i, node in readers if isinstance(node, Affine)]
    if graph.output == at or len(affine) < len(readers) or not readers:
        return None
    maps = [a for _, node in affine for a, p in zip(node.maps, node.parents, strict=True) if p == at]
    rows = sum(a.shape[0] for a in maps)
    if 4 * rows > 3 * n or rows * n > _ROW_SPACE_ENTRIES:
        return None
    basis = np.linalg.qr(np.vstack([a.to_dense() for a in maps]).T)[0]
    nodes = list(graph.nodes)
    nodes[at] = Input(basis.shape[1])
    for i, node in affine:
        turned = tuple(
            Dense(a.to_dense() @ basis) if p == at else a for a, p in zip(node.maps, node.parents, strict=True)
        )
        nodes[i] = replace(node, maps=turned)
    return replace(graph, nodes=tuple(nodes)), basis
