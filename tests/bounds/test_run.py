"""Where a solver stalls, the answer is still none of the worse ones that are known, and the notes say how it came about."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from orthogonal import chain

import lipcert
from lipcert.bounds.methods import Proposal
from lipcert.bounds.run import least
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Graph
from lipcert.norms import Norm
from lipcert.sdp.outcome import Status
from lipcert.sdp.solvers import interior_point


def network(activation: nn.Layer | None = None) -> Graph:
    """A random network on which the product of the norms is far from the optimum."""
    rng = np.random.default_rng(0)
    weights = [nn.linear(rng.standard_normal((b, a))) for a, b in itertools.pairwise((5, 8, 8, 3))]
    between = activation or nn.group_sort(4)
    return nn.sequential(weights[0], between, weights[1], between, weights[2])


def bound(graph: Graph, **request: object) -> lipcert.Bound:
    return lipcert.bound(graph, lower=False, **{"method": "neuron", "solver": "native"} | request)


@pytest.fixture
def _stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The native solver stalls at its start."""
    monkeypatch.setattr(interior_point, "LEAST_STEP", 2.0)


def test_without_doubt_nothing_else_is_tried() -> None:
    found = bound(network())
    assert (found.method, found.solver, found.status, found.notes) == ("neuron", "native", Status.OPTIMAL, ())


@pytest.mark.usefixtures("_stalled")
def test_the_matrix_free_solver_goes_on_from_a_stalled_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from lipcert.sdp.solvers import scaling

    starts = []
    given = scaling._given

    def watched(*arguments: object) -> object:
        starts.append(arguments[-1])
        return given(*arguments)

    monkeypatch.setattr(scaling, "_given", watched)
    found = bound(network())
    assert found.solver == "matrix-free"
    assert starts[0] is not None
    assert "neuron (native) stalled: no step longer than 2" in found.notes[0]
    assert any("the matrix-free solver from its point gives less" in note for note in found.notes)
    monkeypatch.undo()
    assert found.upper <= bound(network()).upper * (1.0 + 1e-5)


@pytest.mark.usefixtures("_stalled")
@pytest.mark.parametrize("norms", [("2", "2"), ("inf", "inf"), ("2", "1")])
def test_never_worse_than_the_norm_product(norms: tuple[str, str]) -> None:
    graph = chain("MaxMin", 8, 6, 0)
    found = bound(graph, norm=norms[0], output_norm=norms[1])
    assert found.upper <= bound(graph, norm=norms[0], output_norm=norms[1], method="product").upper


@pytest.mark.parametrize("graph", [network(), network(nn.relu())])
def test_never_worse_than_coarser_ties_and_blocks(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    # stalls with multipliers for each neuron alone
    solve = interior_point._solve

    def stalling(problem: object, options: object) -> object:
        fine = problem.multipliers > 4  # type: ignore[attr-defined]
        outcome = solve(problem, replace(options, max_iterations=0) if fine else options)  # type: ignore
        return replace(outcome, status=Status.STALLED, message="it was told so") if fine else outcome

    monkeypatch.setattr(interior_point, "_solve", stalling)
    request = {"norm": "inf"}
    found = bound(graph, **request)
    layer = bound(graph, method="layer", form="blocks", **request)
    assert found.upper <= layer.upper * (1.0 + 1e-9)
    assert found.notes[0] == "neuron (native) stalled: it was told so"


def test_the_dual_value_is_the_least_that_a_method_can_give() -> None:
    proposal = Proposal((), "neuron", "native", Status.OPTIMAL, 0.19, 5, claim=2.0)
    assert least(proposal, Claim()) == pytest.approx(1.8)
    assert least(proposal, Claim(output_norm=Norm.L1)) == pytest.approx(1.62)
    assert least(replace(proposal, gap=None), Claim()) == 2.0
    assert least(replace(proposal, claim=None), Claim()) == np.inf
