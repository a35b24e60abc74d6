"""What the published methods share: to which networks and norms they are limited, and one multiplier a group."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lipcert.bounds.methods import solve_tied
from lipcert.constraints.multipliers import Tie
from lipcert.graph.nodes import Activation, FixedPoint

if TYPE_CHECKING:
    from lipcert.bounds.methods import Job, Proposal
    from lipcert.graph.nodes import Graph

INTERIOR = 1e-7
"""How far inside (C) a layer-by-layer proposal is put, so that rounding does not decide."""


def explicit(graph: Graph) -> str | None:
    if any(isinstance(node, FixedPoint) for _, node in graph.walk()):
        return "it is for explicit networks, and this one has an implicit layer"
    return None


def euclidean(job: Job) -> str | None:
    if not job.claim.euclidean:
        return "it is for the norm ℓ2 of inputs and outputs"
    return None


def activations(graph: Graph) -> list[Activation]:
    return [node for _, node in graph.walk() if isinstance(node, Activation)]


def by_solver(job: Job, name: str) -> Proposal:
    """One multiplier a group of the method's form, by the solver of the job."""
    return replace(solve_tied(job, Tie.NEURON), method=name)
