"""Sequences at fixed positions."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lipcert.errors import LipcertError
from lipcert.graph.evaluate import forward
from lipcert.importer import load
from tests.importer.conftest import Build

node = helper.make_node
X = np.array([1.0, -2.0, 3.0, -4.0])
CONSTANTS = {
    "zero": np.array(0),
    "minus": np.array(-1),
    "two": np.array(2),
    "sizes": np.array([1, 3]),
    "c": np.ones((1, 4)),
}


def tensor(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("SequenceConstruct", ["x", "c"], ["s"]), node("SequenceAt", ["s", "minus"], ["y"])], np.ones(4)),
        (
            [node("SequenceConstruct", ["x", "c"], ["s"]), node("ConcatFromSequence", ["s"], ["y"], axis=1)],
            [*X, 1, 1, 1, 1],
        ),
        (
            [
                node("SequenceConstruct", ["x", "c"], ["s"]),
                node("ConcatFromSequence", ["s"], ["y"], axis=1, new_axis=1),
            ],
            [*X, 1, 1, 1, 1],
        ),
        ([node("SplitToSequence", ["x"], ["s"], axis=1), node("SequenceAt", ["s", "two"], ["y"])], X[2:3]),
        ([node("SplitToSequence", ["x", "two"], ["s"], axis=1), node("SequenceAt", ["s", "zero"], ["y"])], X[:2]),
        ([node("SplitToSequence", ["x", "sizes"], ["s"], axis=1), node("SequenceAt", ["s", "minus"], ["y"])], X[1:]),
        (
            [
                node("SplitToSequence", ["x"], ["s"], axis=1, keepdims=0),
                node("ConcatFromSequence", ["s"], ["y"], axis=0),
            ],
            X,
        ),
        (
            [
                node("SequenceEmpty", [], ["e"]),
                node("SequenceInsert", ["e", "x"], ["f"]),
                node("SequenceInsert", ["f", "c", "zero"], ["g"]),
                node("SequenceErase", ["g"], ["h"]),
                node("SequenceLength", ["h"], ["n"]),
                node("SequenceAt", ["h", "zero"], ["i"]),
                node("Cast", ["n"], ["m"], to=TensorProto.FLOAT),
                node("Add", ["i", "m"], ["y"]),
            ],
            np.full(4, 2.0),
        ),
    ],
    ids=["at", "concat", "stack", "split into ones", "split by two", "split by sizes", "squeezed", "insert and erase"],
)
def test_values(nodes: list[onnx.NodeProto], expected: list[float], write: Build) -> None:
    graph = load(write(nodes, CONSTANTS, [1, 4]))
    np.testing.assert_array_equal(forward(graph, X), expected)


def test_map(write: Build) -> None:
    body = helper.make_graph(
        [node("Relu", ["a"], ["r"]), node("Add", ["r", "b"], ["out"])],
        "body",
        [tensor("a"), tensor("b")],
        [tensor("out")],
    )
    nodes = [
        node("Neg", ["x"], ["n"]),
        node("SequenceConstruct", ["x", "n"], ["s"]),
        node("SequenceMap", ["s", "x"], ["t"], body=body),
        node("ConcatFromSequence", ["t"], ["y"], axis=1),
    ]
    graph = load(write(nodes, {}, [1, 4]))
    np.testing.assert_array_equal(forward(graph, X), [*np.maximum(X, 0) + X, *np.maximum(-X, 0) + X])


@pytest.mark.parametrize(
    ("nodes", "match"),
    [
        ([node("SequenceConstruct", ["x"], ["y"])], "a sequence is used as a tensor"),
        ([node("SequenceConstruct", ["x"], ["s"]), node("SequenceAt", ["s", "two"], ["y"])], "position 2 lies outside"),
        ([node("SequenceConstruct", ["x"], ["s"]), node("Relu", ["s"], ["y"])], "a sequence is used as a tensor"),
        ([node("SequenceAt", ["x", "zero"], ["y"])], "is no sequence"),
        ([node("SplitToSequence", ["x", "zero"], ["s"]), node("SequenceAt", ["s", "zero"], ["y"])], "parts of 0"),
        ([node("SplitToSequence", ["x", "sizes"], ["s"]), node("SequenceAt", ["s", "zero"], ["y"])], "do not make up"),
    ],
)
def test_refused(nodes: list[onnx.NodeProto], match: str, write: Build) -> None:
    with pytest.raises(LipcertError, match=match):
        load(write(nodes, CONSTANTS, [1, 4]), check=False)
