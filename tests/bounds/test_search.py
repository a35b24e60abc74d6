"""How the search shares its effort: by work that is counted, or by a clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipcert.bounds.effort import Effort, SweepCost
from lipcert.bounds.search import default_seconds, search
from lipcert.graph import build as nn
from lipcert.graph.nodes import Graph
from lipcert.importer import load
from lipcert.norms import Norm


def network(depth: int, width: int = 12) -> Graph:
    rng = np.random.default_rng(0)
    layers = [nn.linear(rng.normal(size=(width, width)), rng.normal(size=width)) for _ in range(depth + 1)]
    return nn.sequential(*[part for layer in layers for part in (layer, nn.relu())][:-1])


@pytest.mark.parametrize("layer", [nn.relu(), nn.tanh()])
def test_counted_work_ends_the_search(layer: object) -> None:
    rng = np.random.default_rng(1)
    graph = nn.sequential(nn.linear(rng.normal(size=(9, 6))), layer, nn.linear(rng.normal(size=(2, 9))))
    effort = Effort(0.2)
    found = search(graph, Norm.L2, Norm.L2, effort, 0.2, np.random.default_rng(0))
    assert found[0][0] == max(value for value, _ in found) > 0.0
    assert 0.2 <= effort.spent < 0.4


def test_the_clock_ends_the_search() -> None:
    ticks = iter(np.arange(0.0, 1e6, 0.05))
    effort = Effort(2.0, by_clock=True, clock=lambda: float(next(ticks)))
    search(network(2), Norm.L2, Norm.L2, effort, 2.0, np.random.default_rng(0))
    assert 2.0 <= effort.spent < 3.0


def test_deep_and_wide_networks_take_longer() -> None:
    assert default_seconds(network(2)) < default_seconds(network(6)) < default_seconds(network(9)) <= 24.0
    assert default_seconds(network(2)) < default_seconds(network(2, 700)) <= 24.0


def test_small_networks_take_two_seconds() -> None:
    for file in sorted((Path(__file__).parents[2] / "models").glob("*.onnx")):
        assert default_seconds(load(file, check=False)) == 2.0, file.name


def test_a_sweep_costs_what_its_nodes_and_numbers_cost() -> None:
    small, large = (SweepCost.of(network(2, width)) for width in (10, 100))
    assert small.fixed == large.fixed
    assert 10 * small.each < large.each < 100 * small.each
    assert small.seconds(3, 2) == pytest.approx(2 * (small.fixed + 3 * small.each))
