"""Gates, attention and normalisation: operators and spellings against ONNX Runtime (by `load`), bounds against samples."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lipcert.bounds.api import bound
from lipcert.errors import Unbounded
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Activation, Affine
from lipcert.importer import load
from lipcert.regions import Box


def write(path, nodes, shape, constants, outputs=("y",), opset=22):
    values = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        values,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(model, path)
    return path


def kinds(graph):
    return [node.kind for _, node in graph.walk() if isinstance(node, Activation)]


def check(graph, region=None, slack=1.0):
    """The bound is above all sampled secants, and within a factor of the largest."""
    found = bound(graph, region=region, lower=False, time_limit=20)
    rng = np.random.default_rng(0)
    box = region or Box(-3.0, 3.0)
    x = box.sample(2000, rng, graph.input_size)
    near = box.project(x + 1e-3 * rng.standard_normal(x.shape))
    distance = np.linalg.norm(near - x, axis=0)
    steps = np.linalg.norm(forward(graph, near) - forward(graph, x), axis=0)[distance > 0] / distance[distance > 0]
    assert steps.max() <= found.upper * (1 + 1e-9)
    assert found.upper <= slack * steps.max()
    return found


RNG = np.random.default_rng(3)


def weights(*shape, scale=0.5):
    return (scale * RNG.standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "LSTM with peepholes and clip", "GRU", "GRU linear before reset"])
def test_recurrent_cells_have_global_bounds(tmp_path, kind, direction):
    op, hidden, d = kind.split()[0], 3, 2 if direction == "bidirectional" else 1
    gates = 4 if op == "LSTM" else 3
    constants = {
        "W": weights(d, gates * hidden, 2),
        "R": weights(d, gates * hidden, hidden),
        "B": weights(d, 2 * gates * hidden),
        "P": weights(d, 3 * hidden),
        "h": weights(d, 1, hidden),
        "flat": np.array([-1], np.int64),
    }
    inputs = ["x", "W", "R", "B"]
    attributes = {"hidden_size": hidden, "direction": direction}
    if "peepholes" in kind:
        inputs += ["", "", "", "P"]
        attributes["clip"] = 2.0
    if "before" in kind:
        inputs += ["", "h"]
        attributes["linear_before_reset"] = 1
    nodes = [helper.make_node(op, inputs, ["s"], **attributes), helper.make_node("Reshape", ["s", "flat"], ["y"])]
    graph = load(write(tmp_path / "n.onnx", nodes, [3, 1, 2], constants))
    assert "product" in kinds(graph)
    check(graph, slack=200.0)
    check(graph, Box(-0.05, 0.05), slack=1.5)


def normalisation(kind: str) -> tuple[list, dict, str]:
    """Nodes of a layer norm of x (2, 6), its constants, and the record that it should be."""
    constants = {
        "eps": np.float32(1e-2),
        "two": np.float32(2.0),
        "half": np.float32(-0.5),
        "g": weights(6) + 1,
        "b": weights(6),
        "axes": np.array([-1], np.int64),
    }
    make = helper.make_node
    mean = [make("ReduceMean", ["x", "axes"], ["m"], keepdims=1), make("Sub", ["x", "m"], ["d"])]
    square = {
        "power": [make("Pow", ["d", "two"], ["s"])],
        "product": [make("Mul", ["d", "d"], ["s"])],
        "inverse": [make("Mul", ["d", "d"], ["s"])],
        "reciprocal": [make("Mul", ["d", "d"], ["s"])],
    }
    tail = {
        "power": [make("Sqrt", ["t"], ["r"]), make("Div", ["d", "r"], ["n"])],
        "product": [make("Sqrt", ["t"], ["r"]), make("Div", ["d", "r"], ["n"])],
        "inverse": [make("Pow", ["t", "half"], ["r"]), make("Mul", ["d", "r"], ["n"])],
        "reciprocal": [make("Sqrt", ["t"], ["q"]), make("Reciprocal", ["q"], ["r"]), make("Mul", ["r", "d"], ["n"])],
    }
    if kind == "operator":
        return [make("LayerNormalization", ["x", "g", "b"], ["y"], epsilon=1e-2)], constants, "rms_norm"
    middle = [make("ReduceMean", ["s", "axes"], ["v"], keepdims=1), make("Add", ["v", "eps"], ["t"])]
    end = [make("Mul", ["n", "g"], ["o"]), make("Add", ["o", "b"], ["y"])]
    return [*mean, *square[kind], *middle, *tail[kind], *end], constants, "rms_norm"


@pytest.mark.parametrize("kind", ["operator", "power", "product", "inverse", "reciprocal"])
def test_layer_normalisation_in_every_spelling(tmp_path, kind):
    nodes, constants, record = normalisation(kind)
    graph = load(write(tmp_path / "n.onnx", nodes, [2, 6], constants, opset=18))
    assert kinds(graph) == [record]
    found = bound(graph, lower=False)
    assert found.upper <= 10.0 * np.abs(constants["g"]).max() * (1 + 1e-4)
    check(graph, Box(0.5, 3.0), slack=1e3)


@pytest.mark.parametrize(
    ("op", "attributes", "shape"),
    [
        ("InstanceNormalization", {"epsilon": 1e-2}, [1, 3, 4]),
        ("GroupNormalization", {"num_groups": 2, "epsilon": 1e-2}, [2, 4, 3]),
    ],
)
def test_normalisation_operators(tmp_path, op, attributes, shape):
    constants = {"g": weights(shape[1]) + 1, "b": weights(shape[1])}
    node = helper.make_node(op, ["x", "g", "b"], ["y"], **attributes)
    graph = load(write(tmp_path / "n.onnx", [node], shape, constants))
    assert kinds(graph) == ["rms_norm"]
    found = bound(graph)
    assert found.lower >= 0.5 * found.upper


def test_unit_vectors_need_a_region_without_zero(tmp_path):
    node = helper.make_node("LpNormalization", ["x"], ["y"], axis=0, p=2)
    graph = load(write(tmp_path / "n.onnx", [node], [3, 2], {}))
    with pytest.raises(Unbounded, match="vanish"):
        bound(graph, lower=False)
    check(graph, Box(0.5, 1.0), slack=3.0)


LENGTHS = {
    "ReduceL2": [helper.make_node("ReduceL2", ["x", "axes"], ["l"], keepdims=1)],
    "sums of squares": [
        helper.make_node("Mul", ["x", "x"], ["q"]),
        helper.make_node("ReduceSum", ["q", "axes"], ["s"], keepdims=1),
        helper.make_node("Sqrt", ["s"], ["l"]),
    ],
}
FLOORS = {
    "Clip": [helper.make_node("Clip", ["l", "floor"], ["m"]), helper.make_node("Div", ["x", "m"], ["y"])],
    "Max": [helper.make_node("Max", ["l", "floor"], ["m"]), helper.make_node("Div", ["x", "m"], ["y"])],
    "Reciprocal": [
        helper.make_node("Max", ["floor", "l"], ["m"]),
        helper.make_node("Reciprocal", ["m"], ["r"]),
        helper.make_node("Mul", ["r", "x"], ["y"]),
    ],
}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize("least", [1.0, 0.25])
def test_projections_onto_balls_in_every_spelling(tmp_path, length, floor, least):
    """x/max(‖x‖, c) is 1/c-Lipschitz, row by row."""
    constants = {"axes": np.array([1]), "floor": np.float32(least)}
    graph = load(write(tmp_path / "n.onnx", [*LENGTHS[length], *FLOORS[floor]], [2, 3], constants, opset=18))
    assert kinds(graph) == ["unit_vector"]
    found = bound(graph, lower_seconds=0.2)
    assert 1.0 / least <= found.upper <= (1.0 + 1e-6) / least
    assert found.lower == pytest.approx(1.0 / least)


def test_products_are_exact_where_that_is_known(tmp_path):
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], axis=0, num_outputs=2),
        helper.make_node("Mul", ["a", "b"], ["y"]),
    ]
    graph = load(write(tmp_path / "n.onnx", nodes, [2], {}))
    assert bound(graph, region=Box(-1.0, 1.0), lower=False).upper == pytest.approx(np.sqrt(2.0), rel=1e-6)
    with pytest.raises(Unbounded, match="factor"):
        bound(graph, lower=False)


def test_gates_bound_products_on_the_whole_space(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "A"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["s"]),
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Mul", ["s", "t"], ["y"]),
    ]
    graph = load(write(tmp_path / "n.onnx", nodes, [1, 3], {"A": weights(3, 3)}))
    check(graph, slack=3.0)


def test_attention_on_a_region(tmp_path):
    make = helper.make_node
    nodes = [make("MatMul", ["x", name], [name.lower()]) for name in "QKV"]
    nodes += [
        make("Transpose", ["k"], ["kt"], perm=[1, 0]),
        make("MatMul", ["q", "kt"], ["l"]),
        make("Softmax", ["l"], ["p"], axis=-1),
        make("MatMul", ["p", "v"], ["y"]),
    ]
    graph = load(write(tmp_path / "n.onnx", nodes, [3, 4], {name: weights(4, 4) for name in "QKV"}))
    assert kinds(graph).count("matrix_product") == 2
    check(graph, Box(0.99, 1.01), slack=3.0)
    with pytest.raises(Unbounded, match="matrix product"):
        bound(graph, lower=False)


def test_a_single_piece_of_one_number_is_exact(tmp_path):
    """e^x on [0, 1] has the constant e, x² on [−1, 2] the constant 4, 1/x on [½, 1] the constant 4."""
    for node, box, value in (
        (helper.make_node("Exp", ["x"], ["y"]), Box(0.0, 1.0), np.e),
        (helper.make_node("Mul", ["x", "x"], ["y"]), Box(-1.0, 2.0), 4.0),
        (helper.make_node("Reciprocal", ["x"], ["y"]), Box(0.5, 1.0), 4.0),
    ):
        graph = load(write(tmp_path / "n.onnx", [node], [1], {}))
        assert bound(graph, region=box, lower=False).upper == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("op", ["RNN", "LSTM", "GRU"])
def test_biases_and_first_states_of_cells_add_up_exactly(tmp_path, op):
    """2⁶⁰ + 1 + ½·3, of which float64 would keep 2⁶⁰."""
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[op]
    constants = {
        "W": np.ones((1, gates, 1), np.float32),
        "R": np.full((1, gates, 1), 0.5, np.float32),
        "B": np.array([[2.0**60] * gates + [1.0] * gates], np.float32),
        "h": np.full((1, 1, 1), 3.0, np.float32),
        "flat": np.array([-1], np.int64),
    }
    cell = helper.make_node(op, ["x", "W", "R", "B", "", "h"], ["s"], hidden_size=1)
    nodes = [cell, helper.make_node("Reshape", ["s", "flat"], ["y"])]
    graph = load(write(tmp_path / "n.onnx", nodes, [1, 1, 1], constants), check=False)

    def constant(position):
        node = graph.nodes[position]
        if not isinstance(node, Affine) or any(a.to_dense().tolist() != [[1.0]] for a in node.maps):
            return Fraction(0)
        own = Fraction(0) if node.bias is None else Fraction(float(node.bias[0]))
        return own + sum(constant(p) for p in node.parents)

    inside = [constant(node.parent) for _, node in graph.walk() if isinstance(node, Activation) and node.block == 1]
    assert Fraction(2) ** 60 + 1 + Fraction(3, 2) in inside
