"""The matrix-free operator against the dense R and Y of `lower`, for every kind of node."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from lipcert.constraints import operator as module
from lipcert.constraints.interconnection import lower
from lipcert.constraints.operator import Operator
from lipcert.graph import build as nn
from lipcert.graph.linear_maps import Convolution, Index
from lipcert.graph.nodes import GraphBuilder
from lipcert.graph.prepare import prepare


def chain(layer, seed=0, sizes=(5, 8, 8, 3)):
    rng = np.random.default_rng(seed)
    layers = [nn.linear(rng.standard_normal((sizes[1], sizes[0])))]
    for n, m in pairwise(sizes[1:]):
        layers += [layer, nn.linear(rng.standard_normal((m, n)))]
    return nn.sequential(*layers)


def convolutional():
    """Two strided, padded, grouped convolutions with an index map and a residual between."""
    rng = np.random.default_rng(3)
    builder = GraphBuilder()
    x = builder.input(2 * 6 * 6)
    first = Convolution(rng.standard_normal((4, 2, 3, 3)), (6, 6), (1, 1), (1, 1), (1, 1, 1, 1))
    z = builder.affine([x], [first], rng.standard_normal(144))
    w = builder.activation(z, "relu", channel=np.repeat(np.arange(4), 36))
    second = Convolution(rng.standard_normal((4, 2, 3, 3)), (6, 6), (1, 1), (1, 1), (1, 1, 1, 1), groups=2)
    z = builder.affine([w, w], [second, Index(np.arange(144), 144)])
    w = builder.activation(z, "tanh", channel=np.repeat(np.arange(4), 36))
    third = Convolution(rng.standard_normal((2, 4, 2, 2)), (6, 6), (2, 2), (2, 2), (0, 1, 0, 1))
    y = builder.affine([w], [third])
    y = builder.affine([y], [Index(np.array([3, 0, -1, 3, 1]), builder.nodes[y].size)])
    return builder.finish(y)


def implicit():
    rng = np.random.default_rng(4)
    W = 0.3 * rng.standard_normal((6, 6))
    return nn.sequential(
        nn.linear(rng.standard_normal((4, 3))),
        nn.relu(),
        nn.fixed_point(W, rng.standard_normal((6, 4)), None, nn.maxmin()),
        nn.linear(rng.standard_normal((4, 6))),
        nn.relu(),
    )


def branches():
    """A residual network whose input, too, is used twice."""
    rng = np.random.default_rng(5)
    branch = nn.sequential(nn.linear(rng.standard_normal((6, 6))), nn.relu(), nn.linear(rng.standard_normal((6, 6))))
    return nn.sequential(nn.residual(branch), nn.maxmin(), nn.residual(branch), nn.linear(rng.standard_normal((2, 6))))


NETWORKS = {
    "relu": lambda: chain(nn.relu()),
    "leaky": lambda: chain(nn.leaky_relu(0.1)),
    "identity slopes": lambda: chain(nn.leaky_relu(1.0)),
    "maxmin": lambda: chain(nn.maxmin()),
    "group sort as pairs": lambda: prepare(chain(nn.group_sort(4))),
    "group sort as blocks": lambda: prepare(chain(nn.group_sort(4)), "blocks"),
    "householder": lambda: chain(nn.householder(np.array([0.6, 0.8]))),
    "convolutions": convolutional,
    "implicit": implicit,
    "branches": branches,
    "linear": lambda: nn.sequential(nn.linear([[1.0, 2.0], [3.0, 4.0]])),
    "one neuron": lambda: nn.sequential(nn.relu(), inputs=1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_dense_interconnection(name):
    graph = NETWORKS[name]()
    dense, operator = lower(graph), Operator(graph)
    stacked = np.vstack([dense.R, dense.Y])
    assert operator.shape == stacked.shape
    assert (operator.inputs, operator.outputs, operator.implicit) == (dense.inputs, dense.Y.shape[0], dense.implicit)
    for part in ("row", "column", "channel", "layer"):
        np.testing.assert_array_equal(getattr(operator.groups, part), getattr(dense.groups, part))
    assert operator.groups.count == dense.groups.count
    scale = 1e-13 * np.abs(stacked).max()
    np.testing.assert_allclose(operator @ np.eye(stacked.shape[1]), stacked, atol=scale)
    np.testing.assert_allclose(operator.adjoint(np.eye(stacked.shape[0])), stacked.T, atol=scale)
    u, w = (np.random.default_rng(1).standard_normal(n) for n in stacked.shape[::-1])
    np.testing.assert_allclose(operator @ u, stacked @ u, atol=100 * scale)
    np.testing.assert_allclose(operator.adjoint(w), stacked.T @ w, atol=100 * scale)


def test_large_convolutions_stay_without_a_matrix(monkeypatch):
    monkeypatch.setattr(module, "_SPARSE_ENTRIES", 0)
    graph = convolutional()
    dense, operator = lower(graph), Operator(graph)
    np.testing.assert_allclose(operator @ np.eye(operator.shape[1]), np.vstack([dense.R, dense.Y]), atol=1e-12)


def test_counts_products():
    operator = Operator(chain(nn.relu()))
    operator.adjoint(operator @ np.ones((operator.shape[1], 3)))
    assert operator.products == 6


@pytest.mark.parametrize("size", [16, 32])
def test_memory_is_proportional_to_the_numbers_in_the_layers(size):
    rng = np.random.default_rng(0)
    layers = []
    for inputs in (3, 32, 32):
        kernel = rng.standard_normal((32, inputs, 3, 3))
        layers += [nn.linear(Convolution(kernel, (size, size), (1, 1), (1, 1), (1, 1, 1, 1))), nn.relu()]
    graph = nn.sequential(*layers)
    numbers = sum(node.size for _, node in graph.walk())
    tracemalloc.start()
    try:
        operator = Operator(prepare(graph))
        operator.adjoint(operator @ np.ones(operator.shape[1]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # a matrix with an entry for each weight at each place would take 12·288 bytes a number
    assert peak < 200 * numbers
