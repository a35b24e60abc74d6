"""Maxima before increasing functions: the same function, fewer channels, a bound that is no worse."""

from __future__ import annotations

import numpy as np
import pytest

import lipcert
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.linear_maps import Convolution
from lipcert.graph.nodes import Activation
from lipcert.graph.pooling import pool_first


def kinds(graph):
    return [node.kind for _, node in graph.walk() if isinstance(node, Activation)]


def network(phi, *after, window=2):
    """A convolution of an 8×8 image to 2 channels, phi, and what follows."""
    rng = np.random.default_rng(window)
    kernel = Convolution(rng.standard_normal((2, 1, 3, 3)), (8, 8), (1, 1), (1, 1), (0, 0, 0, 0))
    graph = nn.sequential(nn.linear(kernel), phi, *after, nn.max_pool(2, [6, 6], [window, window]))
    return nn.sequential(graph, nn.linear(rng.standard_normal((3, graph.output_size))))


@pytest.mark.parametrize("phi", [nn.relu(), nn.tanh(), nn.leaky_relu(0.2), nn.clip(-0.3, 0.4)])
@pytest.mark.parametrize("window", [2, 3])
def test_an_increasing_function_is_taken_once_a_window(phi, window):
    graph = network(phi, window=window)
    pooled = pool_first(graph)
    assert kinds(pooled) == ["maximum", kinds(graph)[0]]
    windows = 2 * (6 // window) ** 2
    assert [node.blocks for _, node in pooled.walk() if isinstance(node, Activation)] == [windows, windows]
    x = np.random.default_rng(0).standard_normal((64, 50))
    np.testing.assert_allclose(forward(pooled, x), forward(graph, x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("phi", [nn.abs_(), nn.gelu(), nn.leaky_relu(-0.2), nn.leaky_relu(np.linspace(0.1, 0.2, 72))])
def test_other_functions_stay_where_they_are(phi):
    graph = network(phi)
    assert kinds(pool_first(graph)) == kinds(graph)


def test_values_that_are_read_elsewhere_stay():
    graph = nn.sequential(nn.relu(), nn.residual(nn.maximum(2), nn.linear(np.ones((4, 2)))), inputs=4)
    assert kinds(pool_first(graph)) == ["relu", "maximum"]


def test_the_bound_is_smaller():
    """20.8484 with a ReLU a number, whose maxima are taken afterwards."""
    bound = lipcert.bound(network(nn.relu()), lower_seconds=0.5)
    assert bound.lower is not None
    assert 16.0 < bound.lower <= bound.upper == pytest.approx(19.83400, rel=1e-5)
