"""Guided starts: they carry what the Gram matrix says, and lead where it says."""

from __future__ import annotations

import numpy as np
import pytest

from lipcert.bounds.api import bound
from lipcert.bounds.effort import Effort, SweepCost
from lipcert.bounds.evolution import Evolution
from lipcert.bounds.guide import Guide
from lipcert.bounds.lower_bound import lower_bound
from lipcert.bounds.methods import Job, Prepared, solve_tied
from lipcert.constraints.multipliers import Tie
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Graph
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm
from lipcert.ranges import Localised
from lipcert.sdp.outcome import SolverOptions


def guided(graph: Graph, norm: Norm = Norm.L2) -> Guide:
    found = solve_tied(
        Job(Prepared(Localised(prepare(graph))), Claim(norm, Norm.L2), "native", SolverOptions()), Tie.NEURON
    ).guide
    assert found is not None
    return found


def network(layer: object, n: int = 12, k: int = 8, seed: int = 0) -> tuple[Graph, np.ndarray, np.ndarray]:
    """One hidden layer whose rows are independent, so that every pattern of switches occurs."""
    rng = np.random.default_rng(seed)
    W, b, V = rng.standard_normal((k, n)), rng.standard_normal(k), rng.standard_normal((3, k))
    return nn.sequential(nn.linear(W, b), layer, nn.linear(V)), W, b


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_shapes_and_ranges(norm: Norm) -> None:
    graph, _, _ = network(nn.relu())
    guide = guided(graph, norm)
    columns = guide.directions.shape[1]
    assert guide.directions.shape == (12, columns)
    assert guide.gains.shape == guide.weights.shape == (8, columns)
    assert (np.abs(guide.gains) <= 1).all()
    assert 0 < guide.weights.max() <= 1


def test_a_group_of_several_channels_has_no_gain() -> None:
    graph, _, _ = network(nn.group_sort(4))
    job = Job(Prepared(Localised(prepare(graph, "blocks"))), Claim(), "native", SolverOptions())
    guide = solve_tied(job, Tie.NEURON).guide
    assert guide is not None
    assert np.isnan(guide.gains).all()


def test_aimed_points_are_switched_as_the_gram_matrix_says() -> None:
    graph, W, b = network(nn.relu())
    guide = guided(graph)
    leading = Guide(guide.directions[:, :1], guide.gains[:, :1], guide.weights[:, :1])
    rng, effort = np.random.default_rng(0), Effort(np.inf)
    search = Evolution(graph, Norm.L2, Norm.L2, rng, effort, SweepCost.of(graph), guide=leading)
    points = np.hstack(list(search._aimed(np.inf)))
    chosen = np.abs(leading.gains[:, 0]) > 0.1
    wanted = np.sign(leading.gains[chosen])
    reached = np.sign(W[chosen] @ points + b[chosen, None])
    assert (reached == wanted).all(axis=0).any()


def test_guided_search_finds_a_pattern_that_is_rare() -> None:
    """Only where all 14 neurons are on is the slope large, a pattern that 1 in 16,384 random points has."""
    rng = np.random.default_rng(3)
    W = np.linalg.qr(rng.standard_normal((20, 14)))[0].T
    graph = nn.sequential(nn.linear(W), nn.relu(), nn.linear(np.ones((1, 14))))
    found = lower_bound(graph, guide=guided(graph), time_limit=0.1)
    assert found.value == pytest.approx(np.sqrt(14.0), rel=1e-9)
    assert found.witness is not None
    assert forward(graph, found.witness.point)[0] > 0


@pytest.mark.parametrize("layer", [nn.maxmin(), nn.tanh(), nn.group_sort(4)])
def test_every_layer_is_guided_without_harm(layer: object) -> None:
    graph, _, _ = network(layer)
    upper = bound(graph, lower=False).upper
    value = lower_bound(graph, guide=guided(graph), time_limit=0.2).value
    assert 0.8 * upper <= value <= upper
