"""Implicit networks s = φ(W s + U x + b): bounds against closed forms and against Jacobians at solved fixed points."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from sampling import steepest, steepest_chord

import lipcert
from lipcert import cli
from lipcert.errors import NotCertified
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import GraphBuilder

N, INPUTS = 8, 4


def upper(graph, **request):
    return lipcert.bound(graph, lower=False, tolerance=1e-9, **request).upper


def orthogonal(rng, n=N):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def contraction(rng):
    return 0.9 * orthogonal(rng)


def monotone(rng):
    """W + Wᵀ ≺ 2I: certifiable for slopes in [0, 1] with equal multipliers (Winston & Kolter 2020, arXiv 2006.08591)."""
    A, B = rng.standard_normal((2, N, N))
    return 0.5 * np.eye(N) - 0.1 * A.T @ A + B - B.T


def scaled(rng):
    """D V D⁻¹ with ‖V‖ < 1: a contraction for multipliers D⁻²."""
    D = np.exp(rng.standard_normal(N))
    return D[:, None] * contraction(rng) / D


def scaled_by_pairs(rng):
    """The same with one scale a pair, which is what the multiplier of a MaxMin pair can be."""
    D = np.repeat(np.exp(rng.standard_normal(N // 2)), 2)
    return D[:, None] * contraction(rng) / D


def relu_slopes(z):
    """The diagonal Jacobians of ReLU, (samples, n, n)."""
    return np.eye(N) * (z > 0).T[:, None, :]


def maxmin_slopes(z):
    """The permutations that sort the pairs, (samples, n, n)."""
    swap = np.repeat(z[0::2] > z[1::2], 2, axis=0).T[:, :, None]
    return np.where(swap, np.eye(N)[np.arange(N) ^ 1], np.eye(N))


def steepest_fixed_point(W, U, b, phi, slopes, rng, points):
    """The largest ‖(I − S W)⁻¹ S U‖, S the Jacobian of φ at the solution, over random inputs."""
    x = rng.standard_normal((INPUTS, points)) * 10.0 ** rng.uniform(-2, 2, points)
    s = forward(nn.sequential(nn.fixed_point(W, U, b, phi)), x)
    z = W @ s + U @ x + b[:, None]
    S = slopes(z)
    J = np.linalg.solve(np.eye(N) - S @ W, S @ U)
    return float(np.linalg.norm(J, 2, axis=(1, 2)).max())


@pytest.mark.parametrize(
    ("phi", "slopes", "weight", "large"),
    [
        (nn.relu(), relu_slopes, contraction, False),
        (nn.relu(), relu_slopes, monotone, True),
        (nn.relu(), relu_slopes, scaled, True),
        (nn.maxmin(), maxmin_slopes, contraction, False),
        (nn.maxmin(), maxmin_slopes, scaled_by_pairs, True),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_bounds_are_above_the_jacobians_of_thousands_of_fixed_points(phi, slopes, weight, large, seed):
    rng = np.random.default_rng(seed)
    W, U, b = weight(rng), rng.standard_normal((N, INPUTS)), rng.standard_normal(N)
    assert (np.linalg.norm(W, 2) > 1.5) == large
    graph = nn.sequential(nn.fixed_point(W, U, b, phi))
    bound = lipcert.bound(graph, lower_seconds=0.3)
    found = steepest_fixed_point(W, U, b, phi, slopes, rng, 2000)
    assert bound.well_posed
    assert bound.upper >= max(found, bound.lower)
    assert bound.upper <= 4.0 * max(found, bound.lower)
    verdict = lipcert.verify(bound.certificate, graph)
    assert (verdict.value, verdict.well_posed) == (bound.upper, True)


@pytest.mark.parametrize("a", [-20.0, -1.0, -0.5, 0.0, 0.5, 0.99])
@pytest.mark.parametrize("phi", [nn.relu(), nn.tanh(), nn.leaky_relu(0.2), nn.clip(-1.0, 2.0)])
def test_a_scalar_equation(a, phi):
    # s = φ(a s + 3 x) has the slope 3 p/(1 − a p), increasing in the slope p of φ, which reaches 1
    graph = nn.sequential(nn.fixed_point([[a]], [[3.0]], [0.3], phi))
    assert upper(graph) == pytest.approx(3.0 / (1.0 - a), rel=1e-7)


@pytest.mark.parametrize("a", [-0.9, 0.5])
def test_equations_of_reflections(a):
    # slopes ±1, and permutations of a pair: |1 − a p| is least for a p = |a|
    one = nn.sequential(nn.fixed_point([[a]], [[3.0]], None, nn.abs_()))
    two = nn.sequential(nn.fixed_point(a * np.eye(2), 3.0 * np.eye(2), None, nn.maxmin()))
    for graph in (one, two):
        assert upper(graph) == pytest.approx(3.0 / (1.0 - abs(a)), rel=1e-7)


@pytest.mark.parametrize("a", [1.0, 1.5, 2.0])
def test_no_bound_without_well_posedness(a):
    # relu(2s + u) = s has two solutions for u < 0 and none for u > 0
    graph = nn.sequential(nn.fixed_point([[a]], [[1.0]], None, nn.relu()))
    for method in ("auto", "neuron", "layer"):
        with pytest.raises(NotCertified, match="well-posedness could not be certified"):
            upper(graph, method=method)


def run(*arguments):
    return CliRunner().invoke(cli.cli, [str(a) for a in arguments])


def test_no_bound_for_a_file_without_well_posedness(tmp_path):
    # s = tanh(3s/2 + u) has one solution for u near 2, where the file is tried, and three for small u
    graph = nn.sequential(nn.linear([[0.01, 0.02]]), nn.fixed_point([[1.5]], [[1.0]], [2.0], nn.tanh()))
    lipcert.save(graph, tmp_path / "net.onnx")
    for flags in ((), ("--json",)):
        result = run("bound", tmp_path / "net.onnx", "--quiet", *flags)
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr.startswith("lipcert: error: ")
        assert result.stderr.count("\n") == 1
        assert "well-posedness could not be certified" in result.stderr
        assert "several" in result.stderr


V = np.array([[0.6, 0.8], [1.0, 0.0], [0.28, -0.96], [0.0, 1.0]])
INSIDE = {
    "GroupSort(4)": nn.group_sort(4),
    "GroupSort(8)": nn.group_sort(8),
    "Householder": nn.householder(V),
    "tanh": nn.tanh(),
    "leaky ReLU": nn.leaky_relu(0.1),
    "sigmoid": nn.sigmoid(),
    "absolute value": nn.abs_(),
    "softmax": nn.softmax(4),
}


@pytest.mark.parametrize("name", INSIDE)
def test_activations_inside_the_loop(name, tmp_path):
    rng = np.random.default_rng(2)
    U, b = rng.standard_normal((N, INPUTS)), rng.standard_normal(N)
    graph = nn.sequential(nn.fixed_point(contraction(rng), U, b, INSIDE[name]))
    value = upper(graph)
    assert value >= max(steepest(graph, 200, rng), steepest_chord(graph, 500, rng))
    lipcert.save(graph, tmp_path / "net.onnx")
    result = run("bound", tmp_path / "net.onnx", "--json", "--no-lower", "--tolerance", 1e-9)
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["well_posed"]
    assert answer["product"] is None
    assert answer["upper"] == pytest.approx(value, rel=1e-9)


def mixed(rng):
    """Implicit layers before, between and beside explicit ones."""
    parts = [nn.linear(rng.standard_normal((6, 3)), rng.standard_normal(6)), nn.maxmin()]
    parts += [nn.fixed_point(contraction(rng), rng.standard_normal((N, 6)), rng.standard_normal(N), nn.relu())]
    parts += [nn.linear(rng.standard_normal((6, N))), nn.group_sort(3)]
    branch = nn.fixed_point(0.5 * orthogonal(rng, 6), rng.standard_normal((6, 6)), None, nn.maxmin())
    return nn.sequential(*parts, nn.residual(branch, nn.tanh()), nn.linear(rng.standard_normal((2, 6))))


def test_implicit_layers_among_explicit_ones(tmp_path):
    rng = np.random.default_rng(3)
    graph = mixed(rng)
    bound = lipcert.bound(graph, lower_seconds=0.5, tolerance=1e-9)
    assert bound.well_posed
    assert bound.product is None
    assert bound.upper >= max(steepest(graph, 200, rng), steepest_chord(graph, 300, rng), bound.lower)
    lipcert.save(graph, tmp_path / "net.onnx")
    assert upper(tmp_path / "net.onnx") == pytest.approx(bound.upper, rel=1e-8)
    for norm in ("inf", 1):
        assert upper(graph, norm=norm, output_norm=2) > 0
    each = lipcert.bound(graph, outputs="each", lower_seconds=0.2, tolerance=1e-9)
    assert all(item.lower <= item.upper <= bound.upper for item in each.each)


def test_an_implicit_layer_inside_another():
    # t = relu(t/4 + (s/4 + 2x)), s = t: (1 − 1/4) t = t/4 + 2x where it is positive, so the slope is 4
    inner = nn.fixed_point([[0.25]], [[1.0]], None, nn.relu())
    cell = GraphBuilder()
    s, x = cell.input(1), cell.input(1)
    solved = inner.add(cell, cell.affine([s, x], [nn.Dense(np.array([[0.25]])), nn.Dense(np.array([[2.0]]))]))
    equation = cell.finish(solved)
    graph = nn.sequential(nn.Layer(lambda builder, x: builder.fixed_point([x], equation), 1))
    assert upper(graph) == pytest.approx(4.0, rel=1e-7)
    assert forward(graph, np.array([3.0]))[0] == pytest.approx(12.0)


def test_a_loop_without_activation_is_a_linear_map():
    # s = W s + U x
    rng = np.random.default_rng(4)
    W, U = 3.0 * rng.standard_normal((5, 5)), rng.standard_normal((5, 3))
    graph = nn.sequential(nn.fixed_point(W, U, None, nn.linear(np.eye(5))))
    exact = np.linalg.norm(np.linalg.solve(np.eye(5) - W, U), 2)
    assert exact <= upper(graph) <= exact * (1 + 1e-6)


def test_dependence_on_the_input_can_cancel():
    # the layer sees x₁ − x₁ only
    graph = nn.sequential(nn.linear([[1.0, 0.0], [1.0, 0.0]]), nn.fixed_point([[0.5]], [[1.0, -1.0]], None, nn.tanh()))
    assert upper(graph) <= 1e-6
