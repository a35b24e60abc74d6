"""The layers' factors multiply to the bound and to the norm product."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import lipcert
from lipcert.bounds.layers import layers
from lipcert.graph import build as nn
from lipcert.graph.nodes import Affine, Graph


def dense(*sizes: int, activation: nn.Layer) -> Graph:
    random = np.random.default_rng(0)
    parts: list[nn.Layer] = []
    for inputs, outputs in pairwise(sizes):
        parts += [nn.linear(random.standard_normal((outputs, inputs)) / 2), activation]
    return nn.sequential(*parts[:-1])


@pytest.mark.parametrize("activation", [nn.relu(), nn.maxmin(), nn.group_sort(4), nn.tanh()])
@pytest.mark.parametrize(
    "options",
    [{}, {"method": "layer"}, {"norm": "inf"}, {"output_norm": 1}, {"outputs": "pairs"}],
)
def test_factors_multiply(activation: nn.Layer, options: dict[str, object]) -> None:
    graph = dense(5, 8, 8, 3, activation=activation)
    bound = lipcert.bound(graph, lower=False, **options)  # type: ignore[arg-type]
    found = layers(bound, graph)
    assert found is not None
    steps = found.factors()
    assert len(steps) == 3
    assert math.prod(ours for _, _, ours in steps) == pytest.approx(bound.upper, rel=1e-6)
    assert math.prod(norm for _, norm, _ in steps if norm) == pytest.approx(bound.product, rel=1e-9)
    assert all(norm is not None for _, norm, _ in steps)


@pytest.mark.parametrize("method", ["lipsdp-rr", "lipsdp-nsr", "lipsdp-nsr-full", "liplt"])
def test_published_methods_have_layers_too(method: str) -> None:
    graph = dense(4, 6, 6, 2, activation=nn.maxmin())
    found = layers(lipcert.bound(graph, method=method, lower=False), graph)
    assert found is not None
    assert [layer.what for layer in found.layers] == ["3 MaxMin pairs"] * 2


def test_norm_factors_are_the_norms_of_the_layers() -> None:
    graph = dense(4, 6, 6, 2, activation=nn.group_sort(3))
    found = layers(lipcert.bound(graph, lower=False), graph)
    assert found is not None
    weights = [node.maps[0] @ np.eye(node.maps[0].shape[1]) for _, node in graph.walk() if isinstance(node, Affine)]
    norms = [norm for _, norm, _ in found.factors()]
    assert norms == pytest.approx([np.linalg.norm(w, 2) for w in weights], rel=1e-6)
    # a sort of three is three pairs
    assert [layer.sensitivity.size for layer in found.layers] == [6, 6]


def test_a_norm_product_that_its_multipliers_undercut_has_none() -> None:
    graph = dense(5, 8, 8, 3, activation=nn.relu())
    assert layers(lipcert.bound(graph, method="product", lower=False), graph) is None


def test_implicit_networks_have_no_norm_product() -> None:
    graph = nn.sequential(nn.fixed_point([[0.2]], [[1.0]], None, nn.tanh()), nn.linear([[1.0]]))
    bound = lipcert.bound(graph, lower=False)
    found = layers(bound, graph)
    assert found is not None
    assert [norm for _, norm, _ in found.factors()] == [None, None]
    assert math.prod(ours for _, _, ours in found.factors()) == pytest.approx(bound.upper, rel=1e-6)
