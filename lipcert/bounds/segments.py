"""Bounds of networks that no proof holds: segments are proven on their own, and their bounds multiply.

A node through which all paths lead cuts the network: ‖f₂ ∘ f₁‖ ≤ L₂ L₁. Each segment between two cuts is as long as its own
proof allows in time and memory; its bound is the norm product of the segment unless less is proven, so the result is never
above the product of those. The norm product itself is the case of one layer a segment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lipcert import budget
from lipcert.bounds.methods import Job, Method, Prepared, Proposal, solve_tied
from lipcert.bounds.product import norm_product, times
from lipcert.certificates import Prover
from lipcert.certificates.memory import available
from lipcert.constraints.multipliers import Tie
from lipcert.errors import NotCertified
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Affine, Graph, Input, Node, moved
from lipcert.graph.sizes import channels
from lipcert.ranges.localise import Localised
from lipcert.sdp.outcome import Progress, Status

SECONDS = 240.0
"""What all proofs may be expected to take together, where no limit is given."""
SOLVER_SECONDS = 20.0
"""What the solver has for a segment, where no limit is given."""
SHARE = 0.5
"""The part of a limit that the proofs may be expected to take; the solver has what is left."""
MEMORY = 0.8
"""The part of the free memory that a proof may be expected to take."""
FINE = 20_000
"""Channels up to which a segment has one multiplier a neuron; beyond, one a channel of its convolutions."""


def cuts(graph: Graph) -> list[int]:
    """The nodes that every path from the input to the output passes, in order, the output included.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> block = nn.residual(nn.linear([[1.0]]), nn.relu())
    >>> cuts(nn.sequential(nn.linear([[2.0]]), nn.relu(), block, nn.relu()))
    [0, 1, 2, 5, 6]
    """
    steps = list(graph.walk())
    last = {position: position for position, _ in steps}
    for position, node in steps:
        for parent in node.parents:
            last[parent] = position
    found, open_until = [], -1
    for position, _ in steps:
        if open_until <= position:
            found.append(position)
        open_until = max(open_until, last[position])
    return found


def segment(graph: Graph, start: int, end: int) -> Graph:
    """The network from one cut to another."""
    at = {start: 0}
    nodes: list[Node] = [Input(graph.nodes[start].size)]
    for position, node in graph.walk():
        if start < position <= end:
            at[position] = len(nodes)
            nodes.append(moved(node, [at[parent] for parent in node.parents]))
    return Graph(tuple(nodes), (0,), at[end], source=graph.source)


@dataclass(frozen=True, eq=False)
class _Part:
    """A segment, with its prover and what its proof is expected to take; None where it has no proof of its own."""

    graph: Graph
    prover: Prover | None = None
    seconds: float = 0.0


def propose_segments(job: Job) -> Proposal:
    """The product of what is proven of the segments, which needs no multipliers of the whole."""
    product = job.prepared.product
    if product is None:
        raise NotCertified("there is no norm product to improve on", advice="use --method neuron")
    job.tell(Progress("segments"))
    parts = plan(job.graph)
    waiting = sum(part.seconds for part in parts)
    work = sum(channels(part.graph) for part in parts if part.prover is not None)
    total, promised, statuses, iterations = 1.0, 1.0, [], 0
    for number, part in enumerate(parts):
        job.tell(Progress("segments", number, total=len(parts)))
        own = norm_product(part.graph)
        value = claim = np.inf if own is None else own.value
        if part.prover is not None:
            share = channels(part.graph) / work
            work -= channels(part.graph)
            left = budget.left() - waiting
            waiting -= part.seconds
            found = _proven(job, part, SOLVER_SECONDS if np.isinf(left) else left * share)
            if found is not None:
                claim = value if found[1].claim is None else min(value, found[1].claim)
                value = min(value, found[0])
                statuses.append(found[1].status)
                iterations += found[1].iterations or 0
        total, promised = times(total, value), promised * claim
    if not statuses:
        raise NotCertified("no segment has a proof that time and memory allow", advice="use --method product")
    worst = max(statuses, key=list(Status).index)
    bound, promised = min(total, product.value), min(promised, product.value)
    return Proposal((), "segments", job.solver, worst, None, iterations, claim=promised, value=bound)


def plan(graph: Graph) -> list[_Part]:
    """Segments from the input on, each as long as a proof of its share of the time and of the free memory allows."""
    ends = [k for k in cuts(graph) if not isinstance(graph.nodes[k], Affine) or k == graph.output]
    left = budget.left()
    allowance = (SECONDS if np.isinf(left) else SHARE * left) / max(1, channels(graph))
    memory = MEMORY * available()
    parts: list[_Part] = []
    at = 0
    while at < len(ends) - 1:
        best, stop = _Part(segment(graph, ends[at], ends[at + 1])), at + 1
        for end in range(at + 1, len(ends)):
            trial = segment(graph, ends[at], ends[end])
            prover = Prover(trial, Claim(), "comparators", Localised(trial))
            if prover.proofs.first.bytes_needed() > memory or prover.seconds() > allowance * channels(trial):
                break
            best, stop = _Part(trial, prover, prover.seconds()), end
        parts.append(best)
        at = stop
    return parts


def _proven(job: Job, part: _Part, seconds: float) -> tuple[float, Proposal] | None:
    """What is proven of a segment by multipliers that the solver finds in so much time, or None."""
    assert part.prover is not None
    if not channels(part.graph) or seconds <= 0.0:
        return None
    tie = Tie.NEURON if channels(part.graph) <= FINE else Tie.CHANNEL
    options = replace(job.options, time_limit=seconds, progress=None, start=None)
    try:
        proposal = solve_tied(Job(Prepared(Localised(part.graph)), Claim(), job.solver, options), tie)
        return part.prover.prove(proposal.cases).value, proposal
    except (NotCertified, MemoryError):
        return None


RECORDS = (
    Method(
        "segments",
        "proven bounds of parts of the network, multiplied",
        "the chain rule",
        propose_segments,
        refuses=lambda job: None if job.claim.euclidean else "it is for the norms ℓ2 to ℓ2",
        whole=False,
    ),
)
