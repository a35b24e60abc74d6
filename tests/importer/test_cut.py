"""Only what the wanted output needs is looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lipcert.errors import InvalidRequest
from lipcert.graph.evaluate import forward
from lipcert.importer import load
from lipcert.importer.normalise import cut
from tests.importer.conftest import Build, build_model

W = np.array([[1.0, 2.0], [3.0, -1.0]])


@pytest.mark.parametrize(
    "dead",
    [
        helper.make_node("ArgMax", ["y"], ["other"], axis=1),
        helper.make_node("Floor", ["y"], ["other"]),
        helper.make_node("Multinomial", ["y"], ["other"]),
        helper.make_node("Anything", ["y"], ["other"], domain="com.example"),
        helper.make_node("MatMul", ["y", "broken"], ["other"]),
    ],
    ids=["argmax", "floor", "sampled action", "custom domain", "NaN weight"],
)
def test_the_other_output_is_not_looked_at(dead: onnx.NodeProto, write: Build, tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "W"], ["y"]), dead]
    model = build_model(nodes, {"W": W, "broken": np.full((2, 2), np.nan)}, [1, 2], outputs=("y", "other"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    np.testing.assert_array_equal(forward(load(path, output="y"), np.array([1.0, 1.0])), W.sum(axis=0))


def test_a_value_inside(write: Build) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"]),
        helper.make_node("ArgMax", ["p"], ["y"], axis=1),
    ]
    path = write(nodes, {"W": W}, [1, 2])
    np.testing.assert_array_equal(forward(load(path, output="logits"), np.array([1.0, 1.0])), W.sum(axis=0))
    with pytest.raises(InvalidRequest, match=r"no output 'logit'.*'y'.*a like name are 'logits'"):
        load(path, output="logit")


def test_an_input_that_is_not_needed(write: Build, tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "W"], ["y"]), helper.make_node("Add", ["y", "temperature"], ["z"])]
    model = build_model(nodes, {"W": W}, [1, 2], outputs=("y", "z"))
    model.graph.input.append(helper.make_tensor_value_info("temperature", TensorProto.FLOAT, [1]))
    onnx.save(model, tmp_path / "net.onnx")
    assert load(tmp_path / "net.onnx", output="y").input_size == 2


def test_what_is_read_in_a_branch_stays() -> None:
    branch = helper.make_graph(
        [helper.make_node("Neg", ["inner"], ["b"])], "b", [], [helper.make_tensor_value_info("b", 1, None)]
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["inner"]),
        helper.make_node("Floor", ["x"], ["dead"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    model = build_model(nodes, {"yes": np.array(True)}, [1, 2])
    assert cut(model, "y")
    assert [node.op_type for node in model.graph.node] == ["Relu", "If"]
    assert not cut(model, "y")
