"""The comparison with ONNX Runtime: at telling points, with the room that the file's own arithmetic needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lipcert.errors import InvalidModel, UnsupportedModel
from lipcert.graph import build as nn
from lipcert.graph.build import sequential
from lipcert.graph.linear_maps import Diagonal, identity
from lipcert.graph.nodes import Graph, GraphBuilder
from lipcert.importer import check, load
from lipcert.importer.inputs import Choice, Inputs, Signal
from lipcert.importer.load import _imported
from lipcert.importer.points import telling
from tests.importer.conftest import Build

ONE = Inputs((Signal("x", (1, 1), np.dtype(np.float32)),))


def bent(at: float, slope: float) -> Graph:
    """slope·relu(x − at)."""
    return sequential(nn.linear([[1.0]], [-at]), nn.relu(), nn.linear([[slope]]))


@pytest.mark.parametrize("at", [1e2, 3e4, 1e6, -3e4])
def test_a_wrong_slope_behind_a_far_threshold_is_noticed(at: float, write: Build) -> None:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["z"]),
        helper.make_node("Relu", ["z"], ["a"]),
        helper.make_node("Mul", ["a", "s"], ["y"]),
    ]
    path = write(nodes, {"b": np.array([-at]), "s": np.array([3.0])}, [1, 1])
    check.compare(path, check.Imported(bent(at, 3.0), [], ONE), "y")
    with pytest.raises(InvalidModel, match="differs"):
        check.compare(path, check.Imported(bent(at, 3.1), [], ONE), "y")


@pytest.mark.parametrize("at", [1e-2, 1.0, 1e2, 1e5])
def test_points_lie_on_both_sides_of_every_kink(at: float) -> None:
    rng = np.random.default_rng(0)
    graph = sequential(
        nn.linear(rng.standard_normal((6, 3)), at * rng.standard_normal(6)),
        nn.activation("clip", low=np.array([-at]), high=np.array([2.0 * at])),
        nn.linear(rng.standard_normal((2, 6))),
    )
    z = graph.nodes[1].maps[0].matrix @ telling(graph) + graph.nodes[1].bias[:, None]
    for kink in (-at, 2.0 * at):
        assert (z > kink).any(axis=1).all()
        assert (z < kink).any(axis=1).all()


def test_large_values_that_do_not_matter_make_no_room(write: Build) -> None:
    """1e12 x, times zero, beside a wrong slope."""
    nodes = [
        helper.make_node("Mul", ["x", "big"], ["u"]),
        helper.make_node("Mul", ["u", "none"], ["v"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Add", ["a", "v"], ["y"]),
    ]
    path = write(nodes, {"big": np.array([1e12]), "none": np.array([0.0])}, [1, 1])
    builder = GraphBuilder()
    x = builder.input(1)
    u = builder.affine([x], [Diagonal(np.array([1e12]))])
    a = builder.activation(x, "leaky_relu", parameters={"alpha": np.array([0.01])})
    wrong = builder.finish(builder.affine([a, u], [identity(1), Diagonal(np.zeros(1))]))
    with pytest.raises(InvalidModel, match="differs"):
        check.compare(path, check.Imported(wrong, [], ONE), "y")


def read(path: Path, output: str = "y") -> check.Imported:
    return _imported(onnx.load(path), path.name, output, Choice())


def test_the_unit_is_that_of_the_signals(write: Build) -> None:
    """A bfloat16 weight that is cast, and another one that only a dead node reads."""
    half = numpy_helper.from_array(np.array([0.5, 2.0], np.float32).astype(helper.tensor_dtype_to_np_dtype(16)), "w")
    nodes = [
        helper.make_node("Constant", [], ["w16"], value=half),
        helper.make_node("Cast", ["w16"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "w"], ["y"]),
        helper.make_node("Cast", ["x"], ["dead"], to=TensorProto.BFLOAT16),
    ]
    assert read(write(nodes, {}, [1, 2])).unit == 2.0**-24
    nodes[2:] = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ]
    assert read(write(nodes, {}, [1, 2])).unit == 2.0**-11


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("ReduceSum", ["x", "zero"], ["y"], keepdims=1)],
        [helper.make_node("Softmax", ["x"], ["y"], axis=0)],
        [helper.make_node("CumSum", ["x", "zero"], ["y"])],
        [helper.make_node("ReduceMean", ["x", "both"], ["y"])],
    ],
    ids=["sum", "softmax", "running sum", "mean"],
)
def test_an_axis_that_is_no_batch_is_asked_for(nodes: list[onnx.NodeProto], write: Build) -> None:
    constants = {"zero": np.array([0]), "both": np.array([0, 1])}
    path = write(nodes, constants, ["n", 3], opset=18)
    with pytest.raises(UnsupportedModel, match="no batch"):
        load(path)
    assert load(path, dims={"n": 4}).input_size == 12


def test_a_batch_is_one(write: Build) -> None:
    nodes = [helper.make_node("MatMul", ["x", "W"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    assert load(write(nodes, {"W": np.ones((3, 2))}, ["n", 3])).input_size == 3
    fixed = [helper.make_node("Reshape", ["x", "shape"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    assert load(write(fixed, {"shape": np.array([1, 3])}, ["n", 3])).input_size == 3
