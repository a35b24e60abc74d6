"""Reflections and clips by meaning: the spelling does not matter, and nothing changes but the name."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import lipcert
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.linear_maps import Sparse
from lipcert.graph.nodes import Activation, Graph, GraphBuilder
from lipcert.graph.prepare import prepare
from lipcert.graph.recognition import recognise
from lipcert.graph.sizes import channels

BLOCKS = 3


def sparse(matrix) -> Sparse:
    return Sparse(sp.csr_array(np.asarray(matrix)))


def kinds(graph: Graph) -> list[str]:
    return [node.kind for _, node in graph.walk() if isinstance(node, Activation)]


def written(kind: str, line, inner, outer, bias=None, last=None) -> Graph:
    """line·x + outer·kind(inner·x + bias), then `last`."""
    builder = GraphBuilder()
    x = builder.input(np.shape(inner)[1])
    parameters = {"low": np.full(1, -np.inf), "high": np.zeros(1)} if kind == "clip" else {}
    t = builder.affine([x], [sparse(inner)], bias)
    latent = builder.activation(t, kind, 1, parameters)
    y = builder.affine([x, latent], [sparse(line), sparse(outer)])
    return builder.finish(y if last is None else builder.affine([y, latent], [sparse(a) for a in last]))


def reflection(spelling: str, block: int = 3) -> tuple[Graph, np.ndarray]:
    v = np.random.default_rng(0).standard_normal((BLOCKS, block))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    c = sp.block_diag(list(v[:, None, :])).toarray()
    plain = np.eye(BLOCKS * block)
    cases = {
        "relu": ("relu", plain, -c, 2.0 * c.T),
        "min": ("clip", plain, c, -2.0 * c.T),
    }
    return written(*cases[spelling]), v


@pytest.mark.parametrize("spelling", ["relu", "min"])
def test_a_reflection_is_recognised(spelling):
    graph, v = reflection(spelling)
    found = recognise(graph)
    assert kinds(found) == ["householder"]
    assert found.summary().activations == ("3 Householder reflections of 3",)
    assert channels(prepare(found)) == BLOCKS
    x = np.random.default_rng(1).standard_normal((graph.input_size, 50))
    np.testing.assert_allclose(forward(found, x), forward(graph, x), rtol=0, atol=1e-14)
    straight = nn.sequential(nn.householder(v), inputs=graph.input_size)
    np.testing.assert_allclose(forward(found, x), forward(straight, x), rtol=0, atol=1e-14)
    assert lipcert.bound(found, lower=False).upper <= 1.0 + 1e-6


def test_maxmin_by_relu_is_maxmin():
    pairs = sp.kron(sp.eye_array(BLOCKS), [[1.0, -1.0]]).toarray()
    swap = sp.kron(sp.eye_array(BLOCKS), [[0.0, 1.0], [1.0, 0.0]]).toarray()
    graph = written("relu", swap, pairs, pairs.T)
    found = recognise(graph)
    assert kinds(found) == ["sort"]
    assert found.summary().activations == ("3 MaxMin pairs",)
    x = np.random.default_rng(1).standard_normal((graph.input_size, 50))
    np.testing.assert_array_equal(forward(found, x)[0::2], np.maximum(x[0::2], x[1::2]))
    np.testing.assert_array_equal(forward(found, x)[1::2], np.minimum(x[0::2], x[1::2]))


@pytest.mark.parametrize("change", ["not twice", "bias", "overlap", "read twice", "rounded"])
def test_what_is_no_reflection_stays(change):
    v = np.array([0.6, 0.8])
    c = sp.block_diag([v[None]] * BLOCKS).toarray()
    size = 2 * BLOCKS
    line, u, bias, last = np.eye(size), 2.0 * c.T, None, None
    if change == "not twice":
        u = 1.9 * c.T
    elif change == "bias":
        bias = np.full(BLOCKS, 0.1)
    elif change == "overlap":
        c[0, 2] = 0.5
    elif change == "rounded":
        line = line * (1.0 - 2.0**-53)
    else:
        last = (np.eye(size), u)
    graph = written("relu", line, -c, u, bias, last)
    found = recognise(graph)
    assert set(kinds(found)) == {"relu"}
    x = np.random.default_rng(1).standard_normal((size, 20))
    np.testing.assert_allclose(forward(found, x), forward(graph, x), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("line", "signs", "shifts", "weights", "kind"),
    [
        (0.0, (1.0, -1.0), (-0.5, -0.5), (1.0, -1.0), "softshrink"),
        (0.0, (1.0, 1.0), (1.0, -2.0), (1.0, -1.0), "clip"),
        (0.0, (1.0, 1.0), (1.0, -2.0), (-3.0, 3.0), "clip"),
        (1.0, (-1.0, 1.0), (0.5, 0.25), (0.5, -0.5), "clip"),
        (0.5, (1.0, -1.0), (-0.5, 1.0), (2.0, -2.0), "clip"),
        (0.0, (1.0, 1.0), (1.0, -2.0), (1.0, 1.0), "relu"),
        (0.0, (1.0, 0.75), (1.0, -2.0), (1.0, -1.0), "relu"),
    ],
)
def test_two_relu_of_one_number(line, signs, shifts, weights, kind):
    n = 4
    inner = np.kron(np.eye(n), np.array(signs)[:, None])
    outer = np.kron(np.eye(n), np.array(weights)[None])
    graph = written("relu", line * np.eye(n), inner, outer, np.tile(shifts, n))
    found = recognise(graph)
    assert kinds(found) == [kind]
    x = 3.0 * np.random.default_rng(1).standard_normal((n, 200))
    np.testing.assert_allclose(forward(found, x), forward(graph, x), rtol=0, atol=1e-14)
    if kind != "relu":
        slopes = np.diff(forward(found, np.linspace(-9, 9, 1801)[None].repeat(n, 0)), axis=1) / 0.01
        assert lipcert.bound(found, lower=False).upper == pytest.approx(np.abs(slopes).max(), rel=1e-6)
