"""Multipliers for ellipsoids (`lipcert.ranges.ellipsoid`): each signal's own program (C), solved once for all regions.

The program is that of the network without a region, since narrower slopes only add to what has to be positive definite: with
lam in proportion to the width of the slopes the constraint of [alpha′, beta′] ⊂ [alpha, beta] implies that of [alpha, beta].
Nothing here is trusted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.decide import Enough
from lipcert.bounds.methods import Job, Prepared, solve_tied
from lipcert.certificates.memory import available
from lipcert.constraints.multipliers import Tie
from lipcert.errors import LipcertError
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Activation, FixedPoint, Graph
from lipcert.graph.sizes import channels, rows
from lipcert.ranges import Localised
from lipcert.sdp.outcome import SolverOptions, Status
from lipcert.sdp.solvers import Takes, choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array
    from lipcert.ranges.hints import Multipliers
    from lipcert.sdp.outcome import Progress

ENOUGH = 1e-3
"""The gap to which the programs are solved."""
SECONDS = 20.0
"""What one of them may take."""
QUICK = 3.0
"""What the interior-point method may take to be chosen: the other one goes on from what is known."""
SURE = 1e-5
"""The part by which a bound has to be below what it is compared with for the proof to follow."""


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


def multipliers_of(graph: Graph, time_limit: float | None = None) -> dict[int, Multipliers]:
    """Multipliers for the ellipsoids of all targets of a network, where a solver finds them.

    Parameters
    ----------
    graph
        A prepared network, its moduli written out.
    time_limit
        Seconds for each of them, no more than `SECONDS`.
    """
    found = {target: _multipliers(replace(graph, output=target), time_limit) for target in targets(graph)}
    return {target: item for target, item in found.items() if item is not None}


def _multipliers(graph: Graph, time_limit: float | None) -> Multipliers | None:
    """Multipliers of the activations in front of the output, or None where no solver finds any."""
    try:
        lam = _solved(Localised(graph), SolverOptions(ENOUGH, _limit(time_limit)))
    except (LipcertError, MemoryError):
        return None
    return by_activation(graph, lam)


def improved(
    on: Localised, start: Multipliers, constant: float, slope: float, time_limit: float | None = None
) -> Multipliers | None:
    """Multipliers with which the output of a network on a ball, anchored at its centre, has a constant below `slope`.

    Parameters
    ----------
    on
        The network, with one output.
    start
        Multipliers of the network without the ball.
    constant
        The constant that they prove on the ball.
    slope
        The search ends where the constant is below.
    time_limit
        Seconds, no more than `SECONDS`.
    """
    decided = False

    def tell(step: Progress) -> None:
        nonlocal decided
        if step.bound is not None and step.bound < slope * (1.0 - SURE):
            decided = True
            raise Enough

    places = sorted((at, position) for position, (at, _) in on.left.items())
    needed = {at for at, _ in on.graph.walk()}
    parts: list[Array] = []
    for at, position in places:
        if at in needed:
            node = on.graph.nodes[at]
            assert isinstance(node, Activation)
            chosen = start[position].reshape(-1, node.normal_form.groups)[on.left[position][1]]
            parts.append((chosen * _sizes(node)[:, None]).ravel())
    if not parts:
        return None
    # (C) in its own units
    point = constant**2 * np.append(np.concatenate(parts), 1.0)
    options = SolverOptions(
        ENOUGH, _limit(time_limit), start=point if np.isfinite(point).all() else None, progress=tell
    )
    try:
        lam = by_activation(on.graph, _solved(on, options, lambda: decided))
    except (LipcertError, MemoryError):
        return None
    found = dict(start)
    for at, position in places:
        if at in needed:
            numbers = found[position].reshape(-1, lam[at].size // on.left[position][1].size).copy()
            numbers[on.left[position][1]] = lam[at].reshape(-1, numbers.shape[1])
            found[position] = numbers.ravel()
    return found


def _solved(on: Localised, options: SolverOptions, decided: Callable[[], bool] = bool) -> Array:
    """The multipliers of (C), over that of the input."""
    graph = on.graph
    size = max(channels(graph), rows(graph)) + graph.output_size
    columns = size + min(size, graph.input_size)
    entry = choose(size, columns, True, available(), QUICK)
    if entry.takes is not Takes.OPERATOR:
        # it solves in units of its own, and quickly
        options = replace(options, start=None)
    proposal = solve_tied(Job(Prepared(on), Claim(), entry.name, options, guided=False), Tie.NEURON)
    if proposal.status is Status.INTERRUPTED and not decided():
        raise KeyboardInterrupt
    case = proposal.cases[0].plain()
    return np.asarray(case.lam / case.mu[0])


def _limit(time_limit: float | None) -> float:
    return SECONDS if time_limit is None else min(time_limit, SECONDS)


def _sizes(node: Activation) -> Array:
    """The largest entry of P of each block."""
    return np.broadcast_to(np.abs(node.normal_form.P).max(axis=(1, 2), initial=0.0), node.blocks)


def by_activation(graph: Graph, lam: Array) -> Multipliers:
    """The multipliers of all groups, over the largest entries of P, by the positions of their activations."""
    found: dict[int, Array] = {}
    start = 0
    for position, node in graph.walk():
        if isinstance(node, Activation):
            form = node.normal_form
            stop = start + node.blocks * form.groups
            with np.errstate(all="ignore"):
                found[position] = lam[start:stop] / np.repeat(_sizes(node), form.groups)
            start = stop
    return found
