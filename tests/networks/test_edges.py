"""The smallest and strangest networks, through the API, a file and the command."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from sampling import steepest, steepest_chord

import lipcert
from lipcert import cli
from lipcert.graph import build as nn

RNG = np.random.default_rng(0)
W = RNG.standard_normal((3, 3))
TALL, WIDE, MIDDLE = (RNG.standard_normal(shape) for shape in ((4, 3), (2, 4), (4, 4)))
ZERO = np.zeros((4, 4))


def run(*arguments: object) -> object:
    return CliRunner().invoke(cli.cli, [str(a) for a in arguments])


def bound_everywhere(graph: lipcert.Graph, folder: Path, **request: str | int) -> float:
    """The bound of the API; the file, the command, its text and its certificate must agree with it."""
    bound = lipcert.bound(graph, lower_seconds=0.05, tolerance=1e-9, **request)
    assert bound.verified
    assert 0.0 <= bound.lower <= bound.upper
    path, proof = folder / "net.onnx", folder / "proof.json"
    lipcert.save(graph, path)
    flags = [item for key, value in request.items() for item in (f"--{key.replace('_', '-')}", value)]
    command = ["bound", path, "--tolerance", 1e-9, "--no-lower", *flags]
    # the bound zero of a constant is that of the norm product, which has no certificate
    result = run(*command, "--json", *([] if bound.upper == 0 else ["--certificate", proof]))
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["upper"] == pytest.approx(bound.upper, rel=1e-8)
    if bound.upper > 0:
        verdict = run("verify", proof, path, "--json")
        assert (verdict.exit_code, json.loads(verdict.stdout)["upper"]) == (0, answer["upper"]), verdict.stderr
    text = run(*command)
    assert (text.exit_code, text.stderr) == (0, "")
    assert "proven in real arithmetic   yes" in text.stdout
    assert run("inspect", path).exit_code == 0
    return bound.upper


EXACT = {
    "one layer": (nn.sequential(nn.linear(W, [1.0, 2.0, 3.0]), nn.relu()), np.linalg.norm(W, 2)),
    "one layer without bias": (nn.sequential(nn.linear(W), nn.relu()), np.linalg.norm(W, 2)),
    "one layer that ends in MaxMin": (nn.sequential(nn.linear(TALL), nn.maxmin()), np.linalg.norm(TALL, 2)),
    "one layer that ends in tanh": (nn.sequential(nn.linear(W), nn.tanh()), np.linalg.norm(W, 2)),
    "no hidden layer": (nn.sequential(nn.linear(TALL, np.ones(4))), np.linalg.norm(TALL, 2)),
    "linear layers only": (
        nn.sequential(nn.linear(TALL), nn.linear(MIDDLE), nn.linear(WIDE)),
        np.linalg.norm(WIDE @ MIDDLE @ TALL, 2),
    ),
    "an activation only": (nn.sequential(nn.relu(), inputs=3), 1.0),
    "a sort only": (nn.sequential(nn.group_sort(4), inputs=4), 1.0),
    "a softmax only": (nn.sequential(nn.softmax(3), inputs=3), 0.5),
    "two activations": (nn.sequential(nn.relu(), nn.abs_(), inputs=3), 1.0),
    "one number": (nn.sequential(nn.linear([[-2.5]], [1.0])), 2.5),
    "one neuron": (nn.sequential(nn.linear([[3.0, 4.0]], [0.1]), nn.relu(), nn.linear([[-2.0]])), 10.0),
    "one number to one neuron": (nn.sequential(nn.linear([[3.0]]), nn.relu(), nn.linear([[-2.0]])), 6.0),
    "width one": (
        nn.sequential(*(part for w in (2.0, 3.0, 0.5, 4.0) for part in (nn.linear([[w]]), nn.leaky_relu(0.1)))),
        12.0,
    ),
    "groups of one": (nn.sequential(nn.linear(W), nn.group_sort(1)), np.linalg.norm(W, 2)),
    "maxima of one": (nn.sequential(nn.linear(W), nn.maximum(1)), np.linalg.norm(W, 2)),
    "one maximum": (nn.sequential(nn.maximum(5), inputs=5), 1.0),
    "an activation that is linear": (nn.sequential(nn.linear(W), nn.leaky_relu(1.0)), np.linalg.norm(W, 2)),
    "an activation that is constant": (nn.sequential(nn.linear(W), nn.clip(1.0, 1.0)), 0.0),
    "zero weights": (nn.sequential(nn.linear(np.zeros((2, 3)), [1.0, 2.0])), 0.0),
    "a zero layer first": (nn.sequential(nn.linear(np.zeros((4, 3))), nn.relu(), nn.linear(WIDE)), 0.0),
    "a zero layer last": (nn.sequential(nn.linear(TALL), nn.relu(), nn.linear(np.zeros((2, 4)))), 0.0),
    "a zero layer between": (
        nn.sequential(nn.linear(TALL), nn.relu(), nn.linear(ZERO), nn.maxmin(), nn.linear(WIDE)),
        0.0,
    ),
    "nothing but a skip": (nn.sequential(nn.residual(nn.linear(ZERO), nn.relu())), 1.0),
    "a skip that cancels": (nn.sequential(nn.residual(nn.linear(-np.eye(4)))), 0.0),
    "repeated neurons": (
        nn.sequential(nn.linear(np.repeat([[3.0, 4.0]], 6, axis=0)), nn.relu(), nn.linear(np.ones((1, 6)))),
        30.0,
    ),
    "tiny numbers": (nn.sequential(nn.linear(1e-30 * TALL), nn.relu(), nn.linear([[1e-30, 0.0, 0.0, 0.0]])), None),
    "large numbers": (nn.sequential(nn.linear(1e30 * W), nn.relu(), nn.linear([[1e30, 0.0, 0.0]])), None),
    "large and tiny": (nn.sequential(nn.linear(1e30 * W), nn.relu(), nn.linear([[1e-30, 0.0, 0.0]])), None),
}
FIRST = {"tiny numbers": 1e-60 * TALL[0], "large numbers": 1e60 * W[0], "large and tiny": W[0]}


@pytest.mark.parametrize("name", EXACT)
def test_networks_of_known_constant(name, tmp_path):
    graph, exact = EXACT[name]
    exact = np.linalg.norm(FIRST[name]) if exact is None else exact
    upper = bound_everywhere(graph, tmp_path)
    assert exact * (1 - 1e-12) <= upper <= exact * (1 + 1e-6) + 1e-6 * (exact == 0)


@pytest.mark.parametrize(("norm", "exact"), [("inf", np.abs(W).sum(axis=1).max()), ("1", np.abs(W).sum(axis=0).max())])
@pytest.mark.parametrize("bias", [None, np.ones(3)])
def test_one_layer_in_other_norms(norm, exact, bias, tmp_path):
    for layers in ([], [nn.relu()]):
        upper = bound_everywhere(nn.sequential(nn.linear(W, bias), *layers), tmp_path, norm=norm)
        assert exact <= upper * (1 + 1e-12)
        # for one number or one neuron at a time the semidefinite program is exact
        assert upper <= exact * (1 + 1e-6) or (layers and norm == "1")


ENDS = {
    "relu": nn.relu(),
    "MaxMin": nn.maxmin(),
    "GroupSort": nn.group_sort(4),
    "Householder": nn.householder([0.6, 0.8]),
    "tanh": nn.tanh(),
    "softmax": nn.softmax(4),
    "log-softmax": nn.activation("log_softmax", 4),
    "maximum": nn.maximum(2),
    "norm": nn.activation("norm", 2),
}


@pytest.mark.parametrize(("name", "bias"), [("relu", False), *((name, True) for name in ENDS)])
def test_networks_that_end_in_an_activation(name, bias, tmp_path):
    rng = np.random.default_rng(1)
    sizes = (3, 6, 4)
    layers = [
        nn.linear(rng.standard_normal((m, n)), rng.standard_normal(m) if bias else None) for n, m in pairwise(sizes)
    ]
    graph = nn.sequential(layers[0], nn.relu(), layers[1], ENDS[name])
    upper = bound_everywhere(graph, tmp_path)
    assert upper >= max(steepest(graph, 100, rng), steepest_chord(graph, 300, rng))
    if name != "log-softmax":
        without = lipcert.bound(nn.sequential(layers[0], nn.relu(), layers[1]), lower=False).upper
        assert upper <= without * (1 + 1e-6)


def test_one_output_of_one(tmp_path):
    graph = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu())
    for outputs in ("each", "0"):
        assert bound_everywhere(graph, tmp_path, outputs=outputs) == pytest.approx(5.0, rel=1e-6)
    lipcert.save(graph, tmp_path / "net.onnx")
    refused = run("bound", tmp_path / "net.onnx", "--outputs", "pairs", "--quiet")
    assert (refused.exit_code, refused.stdout) == (2, "")


@pytest.mark.parametrize("shape", [[3], [1, 3], ["batch", 3], [1, 1, 3], [3, 1]])
def test_inputs_of_any_rank(shape, tmp_path):
    nodes = [helper.make_node("Mul", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    scale = np.array([2.0, -5.0, 3.0], dtype=np.float32).reshape([3, 1] if shape == [3, 1] else [3])
    model = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(scale, "w")],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert lipcert.bound(path, lower=False).upper == pytest.approx(5.0, rel=1e-6)


def test_a_network_that_is_its_input(tmp_path):
    graph = nn.sequential(inputs=3)
    assert bound_everywhere(graph, tmp_path) == pytest.approx(1.0, abs=1e-9)
