"""Forward values, JVP and VJP against finite differences, adjointness, ONNX Runtime and ball arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from lipcert.activations import TABLE
from lipcert.activations.table import GLOBAL
from lipcert.errors import InvalidRequest, NotCertified
from lipcert.graph import balls
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward, jvp, record, vjp
from lipcert.graph.linear_maps import Convolution, Diagonal, Index, Sparse
from lipcert.graph.nodes import Graph, GraphBuilder


def network(kind: str, rng: np.random.Generator) -> Graph:
    example = next((e for e in TABLE[kind].examples if e.block == 3), TABLE[kind].examples[0])
    phi = nn.activation(kind, example.block, **example.parameters)
    size = 6 // example.block * TABLE[kind].output_size(example.block, example.parameters)
    return nn.sequential(
        nn.linear(rng.normal(size=(6, 4)), rng.normal(size=6)), phi, nn.linear(rng.normal(size=(3, size)))
    )


def various(rng: np.random.Generator) -> dict[str, Graph]:
    conv = Convolution(rng.normal(size=(4, 1, 3, 2)), (5, 4), (2, 1), (1, 2), (1, 2, 0, 1), 2)
    sparse = Sparse(sp.csr_array(rng.normal(size=(6, conv.shape[0])) * (rng.random((6, conv.shape[0])) < 0.3)))
    W = rng.normal(size=(4, 4))
    W *= 0.8 / np.linalg.norm(W, 2)
    return {
        "structured": nn.sequential(nn.linear(conv), nn.relu(), nn.linear(sparse), nn.linear(Diagonal(np.arange(6.0)))),
        "moved": nn.sequential(nn.linear(Index(np.array([2, -1, 0, 2, 1, 0]), 3)), nn.group_sort(3)),
        "residual": nn.sequential(nn.residual(nn.linear(rng.normal(size=(4, 4))), nn.maxmin()), inputs=4),
        "implicit": nn.sequential(
            nn.fixed_point(W, rng.normal(size=(4, 3)), rng.normal(size=4), nn.relu()), nn.linear(np.ones((2, 4)))
        ),
        "implicit maxmin": nn.sequential(nn.fixed_point(W, rng.normal(size=(4, 3)), None, nn.maxmin())),
        "implicit tanh": nn.sequential(nn.fixed_point(1.2 * W, rng.normal(size=(4, 3)), None, nn.tanh())),
    }


GRAPHS = [*GLOBAL, *various(np.random.default_rng(0))]


def graph_of(name: str) -> Graph:
    rng = np.random.default_rng(3)
    return network(name, rng) if name in TABLE else various(rng)[name]


@pytest.mark.parametrize("name", GRAPHS)
def test_derivatives(name: str) -> None:
    graph, rng = graph_of(name), np.random.default_rng(5)
    x, t = rng.normal(size=(2, graph.input_size, 7))
    c = rng.normal(size=(graph.output_size, 7))
    h = 1e-6
    image = jvp(graph, x, t)
    assert image == pytest.approx((forward(graph, x + h * t) - forward(graph, x - h * t)) / (2 * h), abs=1e-5)
    assert (c * image).sum(axis=0) == pytest.approx((vjp(graph, x, c) * t).sum(axis=0), rel=1e-9, abs=1e-10)
    assert jvp(graph, x[:, 2], t[:, 2]) == pytest.approx(image[:, 2], rel=1e-9, abs=1e-11)
    J = record(graph, [x]).jacobian(2)
    assert J @ t[:, 2] == pytest.approx(image[:, 2], rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("name", GRAPHS)
def test_balls_enclose(name: str) -> None:
    """Ball arithmetic gives the same values and directional derivatives, and says how exactly."""
    import flint

    graph, rng = graph_of(name), np.random.default_rng(7)
    x, t = rng.normal(size=(2, graph.input_size, 1))
    with flint.ctx.workprec(200):
        value, tangent = balls.jvp(graph, [balls.exact(x)], [balls.exact(t)])
        again = balls.forward(graph, [balls.exact(x)])
        for enclosure, expected in (
            (value, forward(graph, x)),
            (again, forward(graph, x)),
            (tangent, jvp(graph, x, t)),
        ):
            # 1/√2 and 1/6 are balls from the exact number to the nearest float64
            widest = 1e-15 if name in ("gelu", "hard_swish") else 1e-40
            assert max(float(v.rad()) for v in enclosure.flat) < widest
            assert [float(v.mid()) for v in enclosure.flat] == pytest.approx(expected.ravel(), rel=1e-9, abs=1e-10)


def test_balls_enclose_both_sides_of_a_kink() -> None:
    import flint

    graph = nn.sequential(nn.relu(), inputs=1)
    x = np.array([[flint.arb(0.0, 1e-3)]], dtype=object)
    slope = balls.jvp(graph, [x], [balls.exact(np.ones((1, 1)))])[1][0, 0]
    assert slope.contains(0)
    assert slope.contains(1)


def test_fixed_point_is_one() -> None:
    """Expansive in the ℓ2 norm, but with one solution: Newton finds it where plain iteration diverges."""
    W = np.array([[-3.0, 2.0], [0.5, -4.0]])
    U, b = np.eye(2), np.array([0.5, 1.0])
    graph = nn.sequential(nn.fixed_point(W, U, b, nn.relu()))
    x = np.random.default_rng(0).normal(size=(2, 50)) * 3
    s = forward(graph, x)
    assert s == pytest.approx(np.maximum(W @ s + x + b[:, None], 0), abs=1e-9)
    assert (s > 0).any()


@pytest.mark.parametrize(("kind", "phi"), [("relu", lambda z: np.maximum(z, 0.0)), ("tanh", np.tanh)])
def test_fixed_points_of_monotone_layers(kind: str, phi: Callable[[np.ndarray], np.ndarray]) -> None:
    # ‖W‖ near 10, where plain iterations diverge; W + Wᵀ ≺ 2I, so that there is one solution
    rng = np.random.default_rng(0)
    for _ in range(5):
        A, B = 0.3 * rng.standard_normal((8, 8)), 3.0 * rng.standard_normal((8, 8))
        W, U, b = 0.9 * np.eye(8) - A.T @ A + B - B.T, rng.standard_normal((8, 4)), rng.standard_normal(8)
        x = 2.0 * rng.standard_normal((4, 40))
        s = forward(nn.sequential(nn.fixed_point(W, U, b, nn.activation(kind))), x)
        np.testing.assert_allclose(phi(W @ s + U @ x + b[:, None]), s, atol=1e-9)


def test_missing_fixed_point() -> None:
    graph = nn.sequential(nn.fixed_point([[2.0]], [[1.0]], None, nn.softplus()))
    with pytest.raises(NotCertified, match="fixed point"):
        forward(graph, np.array([1.0]))


def test_several_inputs() -> None:
    builder = GraphBuilder()
    x, y = builder.input(2), builder.input(3)
    maps = [Index(np.array([0, 1]), 2), Index(np.array([2, 0]), 3)]
    graph = builder.finish(builder.activation(builder.affine([x, y], maps), "relu"))
    a, b = np.array([1.0, -5.0]), np.array([2.0, 0.0, 3.0])
    assert forward(graph, [a, b]) == pytest.approx([4.0, 0.0])
    assert jvp(graph, [a, b], [a, b]) == pytest.approx([4.0, 0.0])
    with pytest.raises(InvalidRequest, match="sizes"):
        forward(graph, a)


def test_adjoints_of_inner_nodes() -> None:
    """A seed at an inner node is pulled back to the input like the Jacobian of that node."""
    rng = np.random.default_rng(1)
    W = rng.normal(size=(5, 3))
    graph = nn.sequential(nn.linear(W), nn.tanh(), nn.linear(rng.normal(size=(2, 5))))
    tape = record(graph, [rng.normal(size=(3, 1))])
    c = rng.normal(size=(5, 1))
    assert tape.adjoints({1: c})[0] == pytest.approx(W.T @ c)


@pytest.mark.parametrize("name", ["cartpole", "gcas", "cnn_C3_CH8", "Convnet_maxpool"])
def test_against_onnxruntime(shared_data: Path, name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    importer = pytest.importorskip("lipcert.importer")
    path = shared_data / "onnx" / f"{name}.onnx"
    graph = importer.load(path, check=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (node,) = session.get_inputs()
    shape = [d if isinstance(d, int) else 1 for d in node.shape]
    x = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    expected = session.run(None, {node.name: x})[0].ravel()
    assert forward(graph, x.ravel().astype(np.float64)) == pytest.approx(expected, rel=1e-4, abs=1e-4)
