"""Multipliers for ellipsoids (`lipcert.ranges.ellipsoid`): each signal's own program (C), solved once for all regions.

The program is that of the network without a region, since narrower slopes only add to what has to be positive definite: with
lam in proportion to the width of the slopes the constraint of [alpha′, beta′] ⊂ [alpha, beta] implies that of [alpha, beta].
Nothing here is trusted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.methods import Job, Prepared, solve_tied
from lipcert.certificates.memory import available
from lipcert.constraints.multipliers import Tie
from lipcert.errors import LipcertError
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Activation, FixedPoint, Graph
from lipcert.graph.sizes import channels, rows
from lipcert.ranges import Localised
from lipcert.sdp.outcome import SolverOptions
from lipcert.sdp.solvers import choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array
    from lipcert.ranges.hints import Multipliers
    from lipcert.sdp.outcome import Progress

ENOUGH = 1e-3
"""The gap to which the programs are solved."""
SECONDS = 15.0
"""What one of them may take."""


def targets(graph: Graph) -> list[int]:
    """The signals behind an activation that go into one, and the output: what ellipsoids narrow.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> targets(nn.sequential(nn.linear([[2.0]]), nn.relu(), nn.linear([[3.0]]), nn.relu(), nn.linear([[1.0]])))
    [3, 5]
    """
    behind: set[int] = set()
    found = []
    for position, node in graph.walk():
        if isinstance(node, FixedPoint):
            return []
        if isinstance(node, Activation) or behind.intersection(node.parents):
            behind.add(position)
        if isinstance(node, Activation) and node.parent in behind:
            found.append(node.parent)
    return list(dict.fromkeys([*found, graph.output] if graph.output in behind else found))


def multipliers(
    graph: Graph, target: int, time_limit: float = SECONDS, progress: Callable[[Progress], None] | None = None
) -> Multipliers | None:
    """Multipliers of the activations in front of a signal, or None where no solver finds any.

    Parameters
    ----------
    graph
        A prepared network, its moduli written out.
    target
        The position of the signal.
    time_limit
        Seconds.
    progress
        Called now and then.
    """
    part = replace(graph, output=target)
    try:
        size = max(channels(part), rows(part)) + part.output_size
        entry = choose(size, size + min(size, part.input_size), True, available(), time_limit)
        options = SolverOptions(ENOUGH, time_limit, progress=progress)
        proposal = solve_tied(Job(Prepared(Localised(part)), Claim(), entry.name, options, guided=False), Tie.NEURON)
    except (LipcertError, MemoryError):
        return None
    case = proposal.cases[0].plain()
    return by_activation(part, case.lam / case.mu[0])


def by_activation(graph: Graph, lam: Array) -> Multipliers:
    """The multipliers of all groups, over the largest entries of P, by the positions of their activations."""
    found: dict[int, Array] = {}
    start = 0
    for position, node in graph.walk():
        if isinstance(node, Activation):
            form = node.normal_form
            stop = start + node.blocks * form.groups
            size = np.broadcast_to(np.abs(form.P).max(axis=(1, 2), initial=0.0), node.blocks)
            with np.errstate(all="ignore"):
                found[position] = lam[start:stop] / np.repeat(size, form.groups)
            start = stop
    return found
