"""The search along lines finds pieces that a gradient does not lead to."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from lipcert.bounds.effort import Effort, SweepCost
from lipcert.bounds.lines import LineSearch
from lipcert.bounds.lower_bound import lower_bound
from lipcert.bounds.search import default_seconds
from lipcert.graph import build as nn
from lipcert.graph.evaluate import jvp
from lipcert.graph.nodes import Graph
from lipcert.importer import load
from lipcert.norms import Norm


def ridge(width: float) -> Graph:
    """0.1·Σx and a hat of this width and slope 50 far from the origin, flat on both sides of it."""
    at = 3.0 + width * np.array([0.0, 1.0, 2.0])
    W = np.tile([[1.0, 0.0]], (3, 1))
    hidden = nn.linear(np.vstack([W, [[1.0, 1.0]], [[-1.0, -1.0]]]), np.concatenate([-at, [0.0, 0.0]]))
    return nn.sequential(hidden, nn.relu(), nn.linear([[50.0, -100.0, 50.0, 0.1, -0.1]]))


def looked(graph: Graph, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    search = LineSearch(
        graph, Norm.L2, Norm.L2, SweepCost.of(graph), rng, lambda count: tuple(rng.standard_normal((2, 2, count)))
    )
    return search.run(Effort(0.5), 0.5)


@pytest.mark.parametrize("width", [1e-1, 1e-3])
def test_a_narrow_ridge_is_found(width: float) -> None:
    graph = ridge(width)
    points, directions = looked(graph, 0)
    slope = jvp(graph, points[:, :1], directions[:, :1] / np.linalg.norm(directions[:, 0]))
    assert abs(slope.item()) > 49.9


def test_the_same_seed_gives_the_same_points() -> None:
    graph = ridge(1e-2)
    for first, second in zip(looked(graph, 3), looked(graph, 3), strict=True):
        assert np.array_equal(first, second)


def test_where_it_applies() -> None:
    rng = np.random.default_rng(0)
    assert LineSearch.applies(ridge(1.0))
    wide = nn.sequential(nn.linear(rng.normal(size=(4, 11))), nn.relu())
    smooth = nn.sequential(nn.linear(rng.normal(size=(4, 3))), nn.tanh())
    assert not LineSearch.applies(wide)
    assert not LineSearch.applies(smooth)


def test_deep_networks_of_few_inputs_are_searched_longer() -> None:
    rng = np.random.default_rng(1)

    def deep(inputs: int) -> Graph:
        sizes = [inputs, 8, 8, 8, 8, 8, 3]
        layers = [nn.linear(rng.normal(size=(b, a))) for a, b in itertools.pairwise(sizes)]
        return nn.sequential(*[part for layer in layers for part in (layer, nn.relu())][:-1])

    assert default_seconds(deep(5)) > 2.0 * default_seconds(deep(12))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_controller_of_five_inputs(shared_data: Path, seed: int) -> None:
    graph = load(shared_data / "onnx" / "ACASXU_run2a_1_1_batch_2000.onnx")
    assert lower_bound(graph, seed=seed).value >= 1480.0
