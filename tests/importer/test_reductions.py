"""ReduceL1, log-sum-exp in its spellings, and outputs that do not depend on the input."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from lipcert.bounds.api import bound
from lipcert.graph.evaluate import forward
from lipcert.importer import load
from tests.importer.conftest import Build

node = helper.make_node
X = np.array([3.0, -1.0, 2.0, 0.5, 700.0, -700.0])
AXIS = {"a": np.array([1])}


def log_sum_exp(x: np.ndarray) -> np.ndarray:
    return np.log(np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1)) + x.max(axis=1)


SPELLINGS = {
    "one op": [node("ReduceLogSumExp", ["x", "a"], ["y"], keepdims=0)],
    "plain": [node("Exp", ["x"], ["e"]), node("ReduceSum", ["e", "a"], ["s"]), node("Log", ["s"], ["y"])],
    "shifted": [
        node("ReduceMax", ["x", "a"], ["m"]),
        node("Sub", ["x", "m"], ["d"]),
        node("Exp", ["d"], ["e"]),
        node("ReduceSum", ["e", "a"], ["s"]),
        node("Log", ["s"], ["l"]),
        node("Add", ["l", "m"], ["y"]),
    ],
}


@pytest.mark.parametrize("nodes", SPELLINGS.values(), ids=SPELLINGS)
def test_log_sum_exp(nodes: list[onnx.NodeProto], write: Build) -> None:
    graph = load(write(nodes, AXIS, [2, 3], opset=18), check=True)
    np.testing.assert_allclose(forward(graph, X), log_sum_exp(X.reshape(2, 3)), rtol=1e-14)
    found = bound(graph, lower=False)
    # the gradient lies in the simplex and reaches its corners
    assert 1.0 <= found.upper < 1.0 + 1e-4


def test_l1(write: Build) -> None:
    graph = load(write([node("ReduceL1", ["x", "a"], ["y"])], AXIS, [2, 3], opset=18))
    np.testing.assert_array_equal(forward(graph, X), np.abs(X).reshape(2, 3).sum(axis=1))
    assert 3.0**0.5 <= bound(graph, lower=False).upper < 3.0**0.5 + 1e-6


@pytest.mark.parametrize("op", ["ReduceL1", "ReduceLogSumExp"])
def test_all_axes_and_none(op: str, write: Build) -> None:
    whole = load(write([node(op, ["x"], ["y"], keepdims=0)], {}, [2, 3], opset=18))
    assert whole.output_size == 1
    nothing = load(write([node(op, ["x"], ["y"], noop_with_empty_axes=1)], {}, [2, 3], opset=18))
    assert nothing.output_size == 6


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Identity", ["c"], ["y"])],
        [node("Greater", ["x", "zero"], ["m"]), node("Where", ["m", "c", "c"], ["y"])],
        [node("Shape", ["x"], ["s"]), node("Cast", ["s"], ["y"], to=1)],
    ],
    ids=["constant", "a switch between equal constants", "shape"],
)
def test_constant_outputs(nodes: list[onnx.NodeProto], write: Build) -> None:
    constants = {"c": np.array([[2.0, 3.0]]), "zero": np.array(0.0)}
    found = bound(load(write(nodes, constants, [1, 2])))
    assert (found.upper, found.lower, found.ratio) == (0.0, 0.0, None)
