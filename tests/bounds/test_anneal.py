"""Annealing: its gradient is that of the softened network, in every norm, and its slopes end at the true ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lipcert.bounds.anneal import Annealing
from lipcert.bounds.effort import Effort, SweepCost
from lipcert.bounds.operator_norm import length
from lipcert.graph import build as nn
from lipcert.graph.evaluate import jvp
from lipcert.graph.nodes import Graph
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm

LAYERS = [nn.relu(), nn.maxmin()]


def network(layer: object, seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    W, V, U = rng.normal(size=(6, 5)), rng.normal(size=(6, 6)), rng.normal(size=(3, 6))
    inner = nn.residual(nn.linear(V), layer)
    return prepare(nn.sequential(nn.linear(W, rng.normal(size=6)), layer, inner, nn.linear(U)))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("norm", list(Norm))
def test_sharp_slopes_are_those_of_the_network(layer: object, norm: Norm) -> None:
    graph = network(layer)
    x, d = np.random.default_rng(1).normal(size=(2, 5, 4))
    annealing = Annealing(graph, norm, norm, SweepCost.of(graph))
    _, pulled = annealing._gradient(x, d, 1e9, True)
    image = jvp(graph, x, d)
    # ⟨Jᵀc, d⟩ = ⟨c, J d⟩ = ‖J d‖, over ‖J d‖
    np.testing.assert_allclose((pulled * d).sum(axis=0), 1.0, rtol=1e-9)
    seeds, _ = annealing._forward(np.hstack([x, d]), 1e9, True)
    np.testing.assert_allclose(seeds[:, 4:], image, rtol=1e-9)


def test_the_gradient_is_one_of_the_softened_norm() -> None:
    """One hidden layer: x enters through the slopes alone, so the gradient is exact but for the scale, held fixed."""
    rng = np.random.default_rng(2)
    W, V, b = rng.normal(size=(6, 5)), rng.normal(size=(3, 6)), rng.normal(size=6)
    graph = prepare(nn.sequential(nn.linear(W, b), nn.relu(), nn.linear(V)))
    annealing = Annealing(graph, Norm.L2, Norm.L2, SweepCost.of(graph))
    x, d = rng.normal(size=(2, 5))
    found, _ = annealing._gradient(x[:, None], d[:, None], 0.7, False)
    scale = np.sqrt(((W @ x + b) ** 2).mean())

    def softened(at: np.ndarray) -> float:
        s = np.tanh(0.7 / scale * (W @ at + b))
        return float(np.log(np.linalg.norm(V @ (0.5 * (1.0 + s) * (W @ d)))))

    h = 1e-6
    expected = [(softened(x + h * e) - softened(x - h * e)) / (2 * h) for e in np.eye(5)]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(("layer", "sharp"), list(itertools.product(LAYERS, [False, True])))
def test_annealing_climbs(layer: object, sharp: bool) -> None:
    graph = network(layer, seed=3)
    rng = np.random.default_rng(4)
    x, d = rng.normal(size=(2, 5, 16))
    annealing = Annealing(graph, Norm.L2, Norm.L2, SweepCost.of(graph))
    effort = Effort(1.0)
    before = length(jvp(graph, x, d), Norm.L2) / length(d, Norm.L2)
    x, d = annealing.run(x, d, effort, 0.2, sharp=sharp)
    after = length(jvp(graph, x, d), Norm.L2)
    np.testing.assert_allclose(length(d, Norm.L2), 1.0, rtol=1e-12)
    assert after.max() > 1.2 * before.max()
    assert 0.2 <= effort.spent < 0.21
