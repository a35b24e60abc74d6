"""One network, several ways to write it: where the latents are the same, the bounds are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import lipcert
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import GraphBuilder
from lipcert.graph.prepare import prepare
from lipcert.graph.published import residual_relu
from lipcert.graph.sizes import channels
from models import maxmin_mnist

MODELS = Path(__file__).resolve().parents[2] / "models"
ROOT = np.sqrt(0.5)


def upper(graph, **request):
    return lipcert.bound(graph, tolerance=1e-10, lower=False, **request).upper


def network(activation, sizes, rng):
    """Random linear layers with `activation` between them."""
    first, *others = (nn.linear(rng.standard_normal((m, n)), rng.standard_normal(m)) for n, m in pairwise(sizes))
    return nn.sequential(first, *(part for layer in others for part in (activation, layer)))


def orthogonal(activation, layers, rng):
    """Orthogonal layers with `activation` between them."""
    weights = [np.linalg.qr(rng.standard_normal((8, 8)))[0] for _ in range(layers + 1)]
    return nn.sequential(nn.linear(weights[0]), *(part for w in weights[1:] for part in (activation, nn.linear(w))))


@pytest.mark.parametrize("seed", range(3))
def test_maxmin_as_residual_relu_is_maxmin(seed):
    rng = np.random.default_rng(seed)
    graph = network(nn.maxmin(), (5, 8, 6, 3), rng)
    rewritten = residual_relu(graph)
    x = rng.standard_normal((5, 100))
    np.testing.assert_allclose(forward(rewritten, x), forward(graph, x), atol=1e-12)
    # one channel a pair, although each pair has two ReLUs
    assert channels(prepare(rewritten)) == channels(prepare(graph)) == 7
    ours = upper(graph)
    assert upper(rewritten) == pytest.approx(ours, rel=1e-9)
    assert upper(graph, method="lipsdp-rr") > 1.01 * ours


@pytest.mark.parametrize("spelling", ["relu", "one-relu"])
def test_maxmin_as_residual_relu_in_a_file(tmp_path, spelling):
    rng = np.random.default_rng(5)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in ((8, 6), (8, 8), (8, 8), (4, 8))]
    for residual in (False, True):
        maxmin_mnist.write(weights, tmp_path / "net.onnx", spelling, residual)
        ours = upper(maxmin_mnist.as_graph(weights, residual))
        assert upper(tmp_path / "net.onnx") == pytest.approx(ours, rel=1e-9)


@pytest.mark.parametrize(("layers", "published"), [(1, 2**0.5), (2, 2.0)])
def test_the_published_rewriting_loses_a_factor_a_layer(layers, published):
    graph = orthogonal(nn.maxmin(), layers, np.random.default_rng(layers))
    assert upper(graph, method="lipsdp-rr") == pytest.approx(published, rel=1e-7)
    assert upper(residual_relu(graph)) == pytest.approx(1.0, abs=1e-6)


def test_the_published_rewriting_of_three_layers():
    # from three layers on the bound depends on the weights, and stays below √2 a layer
    graph = orthogonal(nn.maxmin(), 3, np.random.default_rng(0))
    assert 2.5 < upper(graph, method="lipsdp-rr") < 2**1.5
    assert upper(residual_relu(graph)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("size", [3, 4, 5, 6])
@pytest.mark.parametrize("seed", range(2))
def test_comparators_are_never_above_the_block(size, seed):
    rng = np.random.default_rng(seed)
    graph = network(nn.group_sort(size), (4, 2 * size, 2 * size, 3), rng)
    pairs, blocks = upper(graph), upper(graph, form="blocks")
    assert pairs <= blocks * (1 + 1e-8)
    # from five numbers on these networks gain nothing
    assert size > 4 or pairs < blocks * (1 - 1e-4)
    assert lipcert.lower_bound(graph, time_limit=0.2).value <= pairs


@pytest.mark.parametrize("norms", [(2, "inf"), ("inf", 2), (1, 1)])
def test_comparators_are_never_above_the_block_in_other_norms(norms):
    graph = network(nn.group_sort(4), (3, 8, 4, 2), np.random.default_rng(1))
    request = {"norm": norms[0], "output_norm": norms[1]}
    assert upper(graph, **request) <= upper(graph, form="blocks", **request) * (1 + 1e-8)


def test_comparators_are_below_the_block_on_a_trained_network():
    file = MODELS / "digits_groupsort.onnx"
    assert upper(file) < 0.996 * upper(file, form="blocks")


def relu_sum(left, right):
    """x ↦ Σ_k right_k relu(left_k x) with identities of any size in the place of 1."""

    def add(builder: GraphBuilder, x: int) -> int:
        size = builder.nodes[x].size
        eye = nn.identity(size)
        parts = [nn.relu().add(builder, builder.affine([x], [nn.Dense(a * np.eye(size))])) for a in left]
        return builder.affine([*parts], [eye if b == 1 else nn.Dense(b * np.eye(size)) for b in right])

    return nn.Layer(add)


def leaky_by_relu(slope):
    """slope·x + (1 − slope)·relu(x)."""

    def add(builder: GraphBuilder, x: int) -> int:
        eye = np.eye(builder.nodes[x].size)
        return builder.affine([x, nn.relu().add(builder, x)], [nn.Dense(slope * eye), nn.Dense((1 - slope) * eye)])

    return nn.Layer(add)


@pytest.mark.parametrize(
    ("name", "plain", "other"),
    [
        ("|x| = relu(x) + relu(−x)", nn.abs_(), relu_sum((1, -1), (1, 1))),
        ("leaky ReLU", nn.leaky_relu(0.25), leaky_by_relu(0.25)),
        ("absolute value as a leaky ReLU", nn.abs_(), nn.leaky_relu(-1.0)),
        ("ReLU as a clip", nn.relu(), nn.clip(low=0.0)),
        ("MaxMin as reflections", nn.maxmin(), nn.householder([-ROOT, ROOT])),
        ("a sort in two blocks", nn.group_sort(2), nn.activation("sort", 2)),
    ],
)
def test_activations_by_others(name, plain, other):
    rng = np.random.default_rng(3)
    first, middle, last = (nn.linear(rng.standard_normal(shape)) for shape in ((8, 5), (8, 8), (3, 8)))
    graphs = [nn.sequential(first, phi, middle, phi, last) for phi in (plain, other)]
    x = rng.standard_normal((5, 100))
    values = [forward(graph, x) for graph in graphs]
    np.testing.assert_allclose(values[1], values[0], atol=1e-12)
    assert upper(graphs[1]) == pytest.approx(upper(graphs[0]), rel=1e-8)
