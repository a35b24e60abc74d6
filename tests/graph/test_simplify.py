"""Exact sharing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import forward, latents, optimum

from lipcert.certificates.enclosure import EnclosureArithmetic
from lipcert.constraints.interconnection import lower
from lipcert.graph import build as nn
from lipcert.graph.linear_maps import Dense, Index, Sparse
from lipcert.graph.nodes import Activation, GraphBuilder
from lipcert.graph.prepare import prepare
from lipcert.graph.published import residual_relu
from lipcert.graph.simplify import simplify


def maxmin_by_relu(pairs: int) -> nn.Layer:
    """min = a − relu(a − b), max = b + relu(a − b), with max written by relu(b − a) as well."""
    n = 2 * pairs
    difference = np.kron(np.eye(pairs), [[1.0, -1.0], [-1.0, 1.0]])

    # (a, b) − (relu(a − b), −relu(a − b)); the second by relu(b − a) = relu(a − b) − (a − b)
    def add(builder: GraphBuilder, x: int) -> int:
        r = builder.activation(builder.affine([x], [Dense(difference)]), "relu")
        low = np.kron(np.eye(pairs), [[-1.0, 0.0], [0.0, 0.0]])
        high = np.kron(np.eye(pairs), [[0.0, 0.0], [0.0, 1.0]])
        keep = np.kron(np.eye(pairs), [[1.0, 0.0], [1.0, 0.0]])
        return builder.affine([x, r], [Dense(keep), Dense(low + high)])

    return nn.Layer(add, n)


@pytest.mark.parametrize("seed", range(3))
def test_maxmin_as_residual_relu_is_maxmin(seed):
    rng = np.random.default_rng(seed)
    W = [rng.standard_normal(shape) for shape in ((8, 5), (6, 8), (2, 6))]
    biases = [rng.standard_normal(w.shape[0]) for w in W]
    direct = nn.sequential(
        nn.linear(W[0], biases[0]), nn.maxmin(), nn.linear(W[1], biases[1]), nn.maxmin(), nn.linear(W[2], biases[2])
    )
    written = nn.sequential(
        nn.linear(W[0], biases[0]), maxmin_by_relu(4), nn.linear(W[1], biases[1]), maxmin_by_relu(3), nn.linear(W[2])
    )
    x = rng.standard_normal((5, 100))
    np.testing.assert_allclose(forward(written, x) + biases[2][:, None], forward(direct, x), atol=1e-12)
    shared = simplify(written)
    np.testing.assert_allclose(forward(shared, x), forward(written, x), atol=1e-12)
    assert latents(written) == 14
    assert latents(shared) == 7
    # the same R, Y up to the sign of rows and channels
    ours, theirs = lower(prepare(direct)), lower(shared)
    np.testing.assert_allclose(np.abs(theirs.R), np.abs(ours.R), atol=1e-13)
    np.testing.assert_allclose(np.abs(theirs.Y), np.abs(ours.Y), atol=1e-13)
    assert optimum(shared) == pytest.approx(optimum(prepare(direct)), rel=1e-7)


def kinks(graph):
    return [node for _, node in graph.walk() if isinstance(node, Activation)]


def test_latents_are_shared_across_kinds_signs_and_nodes():
    builder = GraphBuilder()
    x = builder.input(4)
    pair = builder.activation(x, "sort", 2)
    difference = builder.affine([x, x], [Index(np.array([0, 2]), 4), Sparse(-Index(np.array([1, 3]), 4).to_sparse())])
    relu = builder.activation(difference, "relu")
    absolute = builder.activation(difference, "abs")
    top = builder.activation(x, "maximum", 2)
    two = [np.eye(2)[:, :1] @ np.ones((1, k)) for k in (4, 2, 2, 2)]
    y = builder.affine([pair, relu, absolute, top], [Dense(a) for a in two])
    graph = builder.finish(y)
    shared = simplify(graph)
    assert latents(graph) == 8
    assert latents(shared) == 2
    z = np.random.default_rng(0).standard_normal((4, 50))
    np.testing.assert_allclose(forward(shared, z), forward(graph, z), atol=1e-14)


def test_crelu_has_one_latent_a_number():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((5, 3))
    graph = nn.sequential(nn.linear(np.vstack([W, -W]), rng.standard_normal(10)), nn.relu())
    assert latents(simplify(graph)) == 10, "different biases are different kinks"
    bias = rng.standard_normal(5)
    graph = nn.sequential(nn.linear(np.vstack([W, -W]), np.concatenate([bias, -bias])), nn.relu())
    shared = simplify(graph)
    assert latents(shared) == 5
    x = rng.standard_normal((3, 40))
    np.testing.assert_allclose(forward(shared, x), forward(graph, x), atol=1e-14)


def test_what_cancels_leaves_no_latent():
    rng = np.random.default_rng(0)
    builder = GraphBuilder()
    x = builder.affine([builder.input(3)], [Dense(rng.standard_normal((5, 3)))])
    signs = [builder.activation(builder.affine([x], [Dense(sign * np.eye(5))]), "relu") for sign in (1.0, -1.0)]
    # relu(x) − relu(−x) = x
    graph = builder.finish(builder.affine(signs, [Dense(np.eye(5)), Dense(-np.eye(5))]))
    shared = simplify(graph)
    assert latents(graph) == 10
    assert latents(shared) == 0
    z = rng.standard_normal((3, 40))
    np.testing.assert_allclose(forward(shared, z), forward(graph, z), atol=1e-14)


@pytest.mark.parametrize("depth", [2, 10])
def test_rounding_of_residual_relu_does_not_grow_with_the_depth(depth):
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal((8, 8)) for _ in range(depth)]
    direct = nn.sequential(*(part for w in weights for part in (nn.linear(w), nn.maxmin())))
    radii = [np.linalg.norm(lower(prepare(g), EnclosureArithmetic()).Y.rad) for g in (direct, residual_relu(direct))]
    assert radii[1] <= 1.5 * radii[0]


def test_constant_arguments_cost_nothing():
    W = np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    graph = nn.sequential(nn.linear(W, [0.5, 2.0, -3.0]), nn.relu(), nn.linear(np.eye(3)))
    shared = simplify(graph)
    assert latents(shared) == 1
    x = np.random.default_rng(0).standard_normal((2, 10))
    np.testing.assert_array_equal(forward(shared, x), forward(graph, x))


def test_nearly_equal_rows_are_not_shared():
    w = np.array([0.1, 0.7])
    other = w.copy()
    other[1] = np.nextafter(other[1], 1.0)
    assert latents(simplify(nn.sequential(nn.linear(np.vstack([w, other])), nn.relu()))) == 2
    assert latents(simplify(nn.sequential(nn.linear(np.vstack([w, w])), nn.relu()))) == 1


def test_overlapping_windows_share_pairs():
    graph = nn.sequential(nn.max_pool(1, [5], [3], [1]))
    # windows (0, 1, 2), (1, 2, 3), (2, 3, 4): pairs (0, 1), (1, 2), (2, 3) and three finals
    assert latents(prepare(graph)) == 6
    padded = nn.sequential(nn.max_pool(1, [4], [2], [2], [1]))
    assert latents(prepare(padded)) == 1, "windows of one number need no comparator"
    x = np.random.default_rng(0).standard_normal((4, 30))
    np.testing.assert_allclose(forward(prepare(padded), x), np.stack([x[0], x[1:3].max(axis=0), x[3]]), atol=1e-14)


def test_equal_layers_are_one():
    builder = GraphBuilder()
    x = builder.input(3)
    W = np.random.default_rng(0).standard_normal((3, 3))
    branches = [
        builder.activation(builder.add(builder.nodes[builder.affine([x], [Dense(W * 1.0)])]), k)
        for k in ("tanh", "tanh")
    ]
    assert branches[0] == branches[1]


def test_simplify_inside_fixed_points():
    rng = np.random.default_rng(0)
    W, U = 0.3 * rng.standard_normal((4, 4)), rng.standard_normal((4, 2))
    W[2:], U[2:] = -W[:2], -U[:2]
    graph = nn.sequential(nn.fixed_point(W, U, None, nn.relu()))
    shared = simplify(graph)
    assert latents(graph) == 4
    assert latents(shared) == 2
    x = rng.standard_normal((2, 10))
    np.testing.assert_allclose(forward(shared, x), forward(graph, x), atol=1e-10)


@st.composite
def networks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n = draw(st.integers(1, 3)) * 2
    values = np.array([-1.0, 0.0, 0.0, 1.0, 0.5])
    layers = []
    for _ in range(draw(st.integers(1, 4))):
        weight = rng.choice(values, size=(n, n))
        layers.append(nn.linear(weight, rng.choice(values, size=n) if rng.random() < 0.3 else None))
        kind = draw(st.sampled_from(["relu", "maxmin", "abs", "tanh", "residual", "max"]))
        if kind == "max":
            layers += [nn.maximum(2), nn.linear(rng.choice(values, size=(n, n // 2)))]
        elif kind == "residual":
            layers.append(nn.residual(nn.linear(rng.choice(values, size=(n, n))), nn.relu()))
        else:
            layers.append({"relu": nn.relu(), "maxmin": nn.maxmin(), "abs": nn.abs_(), "tanh": nn.tanh()}[kind])
    return nn.sequential(*layers, inputs=n), rng


@given(networks())
@settings(max_examples=80, deadline=None)
def test_simplify_keeps_random_functions(case):
    graph, rng = case
    shared = simplify(graph)
    x = rng.standard_normal((graph.input_size, 40))
    np.testing.assert_allclose(forward(shared, x), forward(graph, x), atol=1e-9)
    assert latents(shared) <= latents(graph)
    assert simplify(graph).fingerprint == shared.fingerprint
    assert latents(simplify(shared)) == latents(shared)
