"""Sorting networks and tournaments."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from reference import forward, latents, optimum

from lipcert.graph import build as nn
from lipcert.graph.comparators import expand, sorting_network
from lipcert.graph.nodes import Activation
from lipcert.graph.prepare import prepare


@pytest.mark.parametrize("size", range(1, 13))
def test_networks_sort_all_zero_one_inputs(size):
    # the 0-1 principle: then they sort everything
    x = np.array(list(product([0, 1], repeat=size))).T
    for layer in sorting_network(size):
        used = [w for pair in layer for w in pair]
        assert len(used) == len(set(used))
        for i, j in layer:
            assert i < j
            x[i], x[j] = np.minimum(x[i], x[j]), np.maximum(x[i], x[j])
    assert (np.diff(x, axis=0) >= 0).all()


def test_network_sizes_are_optimal():
    assert [sum(map(len, sorting_network(k))) for k in range(2, 9)] == [1, 3, 5, 9, 12, 16, 19]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("layer", [nn.group_sort, nn.maximum])
def test_expansion_keeps_the_function(size, layer):
    rng = np.random.default_rng(size)
    graph = nn.sequential(nn.linear(rng.standard_normal((3 * size, 5))), layer(size))
    expanded = expand(graph)
    x = rng.standard_normal((5, 200))
    np.testing.assert_allclose(forward(expanded, x), forward(graph, x), atol=1e-13)
    blocks = {node.block for _, node in expanded.walk() if isinstance(node, Activation)}
    assert blocks == ({2} if size <= 8 else {9})
    per_group = {True: size - 1, False: sum(map(len, sorting_network(size)))}[layer is nn.maximum]
    if size <= 8:
        assert latents(expanded) == 3 * per_group
    assert expanded.fingerprint == expand(graph).fingerprint


def test_limit_keeps_large_groups_as_blocks():
    graph = nn.sequential(nn.group_sort(5), inputs=10)
    assert latents(expand(graph, limit=4)) == 2 * 4
    assert latents(prepare(graph, "blocks")) == 2 * 4
    assert latents(prepare(graph)) == 2 * 9


def test_convolution_channels_tie_the_same_comparator():
    window = nn.max_pool(3, [4, 4], [2, 2])
    graph = expand(nn.sequential(window))
    first = next(node for _, node in graph.walk() if isinstance(node, Activation))
    assert first.blocks == 3 * 4 * 2
    assert np.unique(first.channel).size == 3 * 2


def test_expansion_inside_fixed_points():
    rng = np.random.default_rng(3)
    W = 0.4 * np.linalg.qr(rng.standard_normal((6, 6)))[0]
    graph = nn.sequential(nn.fixed_point(W, rng.standard_normal((6, 2)), rng.standard_normal(6), nn.group_sort(3)))
    x = rng.standard_normal((2, 20))
    for other in (expand(graph), prepare(graph)):
        np.testing.assert_allclose(forward(other, x), forward(graph, x), atol=1e-10)
        assert latents(other) == 6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("layer", "size"), [(nn.group_sort, 4), (nn.group_sort, 3), (nn.maximum, 3), (nn.maximum, 4)])
def test_comparators_are_never_looser_than_the_block(seed, layer, size):
    rng = np.random.default_rng(seed)
    hidden = size if layer is nn.group_sort else 1
    graph = nn.sequential(
        nn.linear(rng.standard_normal((2 * size, 3))),
        layer(size),
        nn.linear(rng.standard_normal((size, 2 * hidden))),
        layer(size),
        nn.linear(rng.standard_normal((1, hidden))),
    )
    blocks, pairs = optimum(prepare(graph, "blocks")), optimum(prepare(graph))
    assert pairs <= blocks * (1 + 1e-6)
    x = rng.standard_normal((3, 2000))
    step = 1e-5 * rng.standard_normal(x.shape)
    ratio = np.linalg.norm(forward(graph, x + step) - forward(graph, x), axis=0) / np.linalg.norm(step, axis=0)
    assert ratio.max() <= pairs * (1 + 1e-6)


@pytest.mark.parametrize("form", ["comparators", "blocks"])
@pytest.mark.parametrize("name", ["maxmin", "sort3", "sort5", "householder", "max4", "norm"])
def test_single_layers_have_bound_one(form, name):
    rng = np.random.default_rng(1)
    v = rng.standard_normal((2, 4))
    layer, n = {
        "maxmin": (nn.maxmin(), 4),
        "sort3": (nn.group_sort(3), 6),
        "sort5": (nn.group_sort(5), 5),
        "householder": (nn.householder(v / np.linalg.norm(v, axis=1, keepdims=True)), 8),
        "max4": (nn.maximum(4), 8),
        "norm": (nn.activation("norm", 3), 6),
    }[name]
    orthogonal = np.linalg.qr(rng.standard_normal((n, n)))[0]
    for graph in (nn.sequential(layer, inputs=n), nn.sequential(nn.linear(orthogonal), layer)):
        assert optimum(prepare(graph, form)) == pytest.approx(1.0, abs=2e-6)
