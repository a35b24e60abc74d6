"""Lower bounds: never above the truth, equal to it where it can be enumerated, and the figures of known networks."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipcert.bounds.lower_bound import lower_bound
from lipcert.bounds.operator_norm import dense_norms
from lipcert.bounds.witness import Witness, proven_ratio
from lipcert.errors import InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward, jvp
from lipcert.graph.nodes import Graph
from lipcert.norms import Norm

PAIRS = list(itertools.product(Norm, Norm))


def exact_norm(W: np.ndarray, norm: Norm, output_norm: Norm) -> float:
    """‖W‖ by enumeration of the extreme points of the input's or of the dual output's unit ball."""
    if norm is Norm.L2 and output_norm is Norm.L2:
        return float(np.linalg.norm(W, 2))
    order = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}
    if norm is not Norm.L2:
        d = np.eye(W.shape[1]) if norm is Norm.L1 else np.array(list(itertools.product([-1, 1], repeat=W.shape[1]))).T
        return float(np.linalg.norm(W @ d, order[output_norm], axis=0).max())
    m = W.shape[0]
    c = np.eye(m) if output_norm is Norm.LINF else np.array(list(itertools.product([-1, 1], repeat=m))).T
    return float(np.linalg.norm(W.T @ c, 2, axis=0).max())


def hidden_layer(rng: np.random.Generator, n: int, k: int, m: int) -> tuple[Graph, list[np.ndarray]]:
    """A ReLU network with independent rows, so that every pattern occurs, and the Jacobians of all patterns."""
    W, V = rng.normal(size=(k, n)), rng.normal(size=(m, k))
    graph = nn.sequential(nn.linear(W, rng.normal(size=k)), nn.relu(), nn.linear(V))
    return graph, [V @ np.diag(p) @ W for p in itertools.product([0.0, 1.0], repeat=k)]


@pytest.mark.parametrize(("norm", "output_norm"), PAIRS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), m=st.integers(1, 5), n=st.integers(1, 5), exponent=st.integers(-6, 6))
def test_dense_norms(norm: Norm, output_norm: Norm, seed: int, m: int, n: int, exponent: int) -> None:
    W = np.random.default_rng(seed).normal(size=(m, n)) * 10.0**exponent
    (quick,), _ = dense_norms(W[None], norm, output_norm)
    (value,), (d,) = dense_norms(W[None], norm, output_norm, thorough=True)
    exact = exact_norm(W, norm, output_norm)
    assert value == pytest.approx(exact, rel=1e-9)
    assert 0.5 * exact <= quick <= exact * (1 + 1e-12)
    order = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}
    assert np.linalg.norm(W @ d, order[output_norm]) / np.linalg.norm(d, order[norm]) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("norm", "output_norm"), PAIRS)
def test_linear_network(norm: Norm, output_norm: Norm) -> None:
    W = np.random.default_rng(2).normal(size=(4, 6))
    found = lower_bound(nn.sequential(nn.linear(W)), norm, output_norm, time_limit=0.1)
    exact = exact_norm(W, norm, output_norm)
    assert exact * (1 - 1e-9) <= found.value <= exact * (1 + 1e-15)


@pytest.mark.parametrize(("norm", "output_norm"), PAIRS)
def test_all_patterns(norm: Norm, output_norm: Norm) -> None:
    """The search finds the best of 64 patterns, for every pair of norms."""
    graph, patterns = hidden_layer(np.random.default_rng(4), 7, 6, 3)
    exact = max(exact_norm(J, norm, output_norm) for J in patterns)
    found = lower_bound(graph, norm, output_norm, time_limit=0.5)
    assert exact * (1 - 1e-6) <= found.value <= exact * (1 + 1e-14)
    assert proven_ratio(graph, norm, output_norm, found.witness) == found.value


@pytest.mark.parametrize("seed", range(6))
def test_one_input(seed: int) -> None:
    """A scalar network of one input: nothing on a fine grid is steeper than what is found."""
    rng = np.random.default_rng(seed)
    graph = nn.sequential(
        nn.linear(rng.normal(size=(8, 1)), rng.normal(size=8)),
        nn.relu(),
        nn.linear(rng.normal(size=(5, 8)), rng.normal(size=5)),
        nn.leaky_relu(0.1),
        nn.linear(rng.normal(size=(1, 5))),
    )
    x = np.linspace(-60, 60, 400_001)
    slopes = np.abs(np.diff(forward(graph, x[None])[0])) / np.diff(x)
    found = lower_bound(graph, time_limit=0.5)
    assert found.value >= slopes.max() * (1 - 1e-6)
    # a difference quotient within the linear region of the witness
    h = 1e-7
    quotient = (forward(graph, found.witness.point + h) - forward(graph, found.witness.point)) / h
    assert found.value == pytest.approx(abs(quotient[0]), rel=1e-5)


def test_smooth_network() -> None:
    """tanh(W x + b) with orthogonal rows is steepest where W x + b = 0: ‖J‖ = ‖V W‖."""
    rng = np.random.default_rng(0)
    W, V, b = np.linalg.qr(rng.normal(size=(6, 6)))[0][:4], rng.normal(size=(3, 4)), 3 * rng.normal(size=4)
    graph = nn.sequential(nn.linear(W, b), nn.tanh(), nn.linear(V))
    found = lower_bound(graph, time_limit=1.0)
    exact = np.linalg.norm(V @ W, 2)
    assert 0.999 * exact <= found.value <= exact * (1 + 1e-14)


def test_kink_is_not_believed() -> None:
    """x − relu(x) + relu(−x) is zero, although the sweeps give the slope 1 at 0."""
    W, V = [[1.0], [-1.0]], [[-1.0, 1.0]]
    graph = nn.sequential(nn.residual(nn.linear(W), nn.relu(), nn.linear(V)), inputs=1)
    assert jvp(graph, np.zeros(1), np.ones(1)) == pytest.approx([1.0])
    assert proven_ratio(graph, Norm.L2, Norm.L2, Witness(np.zeros(1), np.ones(1))) == 0.0
    assert lower_bound(graph, time_limit=0.1, data=np.zeros((1, 1))).value == 0.0


def test_slopes_that_ball_arithmetic_cannot_enclose_prove_nothing() -> None:
    """At 128 bits the logits are known to ±1e5 only, and the denominator of softmax may be anything."""
    rng = np.random.default_rng(0)
    first = nn.linear(1e44 * rng.standard_normal((3, 2)), rng.standard_normal(3))
    graph = nn.sequential(first, nn.activation("softmax", 3))
    witness = Witness(1e-3 * rng.standard_normal(2), np.array([1.0, 0.0]))
    assert 0.0 <= proven_ratio(graph, Norm.L2, Norm.L2, witness) <= 1.0


def test_implicit_network() -> None:
    """s = relu(w s + x): slope 1/(1 − w) where x > 0; and MaxMin with a norm above 1."""
    graph = nn.sequential(nn.fixed_point([[0.75]], [[1.0]], [0.1], nn.relu()))
    assert lower_bound(graph, time_limit=0.3).value == pytest.approx(4.0, rel=1e-9)
    rng = np.random.default_rng(1)
    W = rng.normal(size=(6, 6))
    W *= 0.9 / np.linalg.norm(W, 2)
    for phi in (nn.maxmin(), nn.tanh(), nn.group_sort(3)):
        graph = nn.sequential(nn.fixed_point(W, rng.normal(size=(6, 4)), rng.normal(size=6), phi))
        found = lower_bound(graph, time_limit=0.5)
        x, d, h = found.witness.point, found.witness.direction, 1e-6
        quotient = np.linalg.norm(forward(graph, x + h * d) - forward(graph, x)) / (h * np.linalg.norm(d))
        assert found.value == pytest.approx(quotient, rel=1e-4)


def test_starts_from_data() -> None:
    """A bump that random points miss: its slope 1000 is only within 1e-3 of x = 12345."""
    graph = nn.sequential(
        nn.linear([[1.0]] * 3, [-12345.0, -12345.001, -12345.002]), nn.relu(), nn.linear([[1e3, -2e3, 1e3]])
    )
    found = lower_bound(graph, time_limit=0.2, data=np.array([[12345.0005]]))
    assert found.value == pytest.approx(1000.0)


def test_refuses_points_of_another_size() -> None:
    graph = nn.sequential(nn.relu(), inputs=2)
    with pytest.raises(InvalidRequest, match="data of shape"):
        lower_bound(graph, data=np.zeros((3, 1)))


def test_without_solution() -> None:
    """Where no point can be evaluated there is no witness, and no exception."""
    graph = nn.sequential(nn.fixed_point([[2.0]], [[0.0]], [1.0], nn.softplus()))
    begun = time.process_time()
    found = lower_bound(graph, time_limit=0.2)
    assert (found.value, found.witness) == (0.0, None)
    # one attempt for a few points, and no further ones
    assert time.process_time() - begun < 10.0


@pytest.mark.parametrize("layer", [nn.relu(), nn.maxmin(), nn.tanh(), nn.group_sort(4)])
def test_the_same_seed_finds_the_same_witness(layer: object) -> None:
    rng = np.random.default_rng(5)
    weights = [nn.linear(rng.normal(size=(8, n)), rng.normal(size=8)) for n in (20, 8)]
    graph = nn.sequential(weights[0], layer, weights[1], layer, nn.linear(rng.normal(size=(2, 8))))
    first, again = (lower_bound(graph, share=0.1, seed=3) for _ in range(2))
    assert first.value == again.value
    np.testing.assert_array_equal(first.point, again.point)
    np.testing.assert_array_equal(first.direction, again.direction)


def test_inputs_that_reach_nothing_are_left_alone() -> None:
    """The search works in the row space of the first layer; the witness is one of all inputs."""
    rng = np.random.default_rng(6)
    W, V, b = rng.normal(size=(4, 50)), rng.normal(size=(3, 4)), rng.normal(size=4)
    graph = nn.sequential(nn.linear(W, b), nn.relu(), nn.linear(V))
    exact = max(np.linalg.norm(V @ np.diag(p) @ W, 2) for p in itertools.product([0.0, 1.0], repeat=4))
    found = lower_bound(graph, share=0.1)
    assert found.point.shape == found.direction.shape == (50,)
    assert exact * (1 - 1e-9) <= found.value <= exact * (1 + 1e-14)


def test_wide_networks_are_annealed(shared_data: Path) -> None:
    """Two layers of 256 ReLU, where moves of single neurons lead nowhere: annealing finds four times as much."""
    importer = pytest.importorskip("lipcert.importer")
    graph = importer.load(shared_data / "onnx" / "mnist-net_256x2.onnx", check=False)
    assert 100.0 <= lower_bound(graph, share=0.25).value <= 312.5


def test_deep_sorting_networks_are_annealed(shared_data: Path) -> None:
    assert 155.0 <= lower_bound(maxmin_network(shared_data, "l2_8fc_32"), share=0.1).value <= 309.2


def maxmin_network(folder: Path, name: str) -> Graph:
    with np.load(folder / "maxmin_mnist" / f"{name}.npz") as file:
        weights = [file[key].astype(np.float64) for key in sorted(file.files)]
    layers = [layer for w in weights for layer in (nn.linear(w), nn.maxmin())]
    return nn.sequential(*layers[:-1])


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("l2_2fc_16", 22.0213, 22.021334), ("l2_2fc_32", 0.97 * 38.075035, 38.075036)],
)
def test_maxmin_figures(shared_data: Path, name: str, low: float, high: float) -> None:
    found = lower_bound(maxmin_network(shared_data, name), time_limit=3.0)
    assert low <= found.value <= high


@pytest.mark.parametrize(("name", "upper", "ratio"), [("cartpole", 15.135096, 0.95), ("gcas", 104.216926, 0.82)])
def test_controller_figures(shared_data: Path, name: str, upper: float, ratio: float) -> None:
    importer = pytest.importorskip("lipcert.importer")
    graph = importer.load(shared_data / "onnx" / f"{name}.onnx", check=False)
    begun, value = time.process_time(), 0.0
    # five seconds of work, however busy the machine is
    for seed in itertools.count():
        value = max(value, lower_bound(graph, time_limit=5.0, seed=seed).value)
        if time.process_time() - begun > 4.0:
            break
    assert ratio * upper <= value <= upper


@pytest.mark.parametrize("name", ["cifar_deep_kw", "resnet_2b", "Convnet_maxpool"])
def test_large_networks(shared_data: Path, name: str) -> None:
    """Thousands of neurons: a proven bound about within the time limit."""
    importer = pytest.importorskip("lipcert.importer")
    graph = importer.load(shared_data / "onnx" / f"{name}.onnx", check=False)
    started = time.process_time()
    found = lower_bound(graph, time_limit=1.0)
    assert time.process_time() - started < 20.0
    x, d, h = found.witness.point, found.witness.direction, 1e-9
    quotient = np.linalg.norm(forward(graph, x + h * d) - forward(graph, x)) / (h * np.linalg.norm(d))
    assert found.value == pytest.approx(quotient, rel=1e-3)
