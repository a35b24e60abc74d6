"""ReduceL1, log-sum-exp in its spellings, and outputs that do not depend on the input."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from lipcert.bounds.api import bound
from lipcert.errors import UnsupportedModel
from lipcert.graph.evaluate import forward
from lipcert.importer import load
from lipcert.regions import Box
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


def pool(signs: str = "m", scale: float = 9.0, through: str = "relu") -> list[onnx.NodeProto]:
    """√(scale·sign(mean)·relu|mean|) of windows of squares, as torch spells the pooling of powers."""
    make = helper.make_node
    return [
        make("Reshape", ["x", "image"], ["i"]),
        make("Pow", ["i", "two"], ["s"]),
        make("AveragePool", ["s"], ["m"], kernel_shape=[3, 3], strides=[3, 3]),
        make("AveragePool", ["i"], ["other"], kernel_shape=[3, 3], strides=[3, 3]),
        make("Sign", [signs], ["d"]),
        make("Abs", ["m"], ["a"]),
        make("Relu", ["a"], ["r"]),
        make("Mul", ["d", "r" if through == "relu" else "a"], ["p"]),
        make("Mul", ["p", "scale"], ["q"]),
        make("Sqrt", ["q"], ["y"]),
    ]


@pytest.mark.parametrize(("scale", "through", "constant"), [(9.0, "relu", 1.0), (9.0, "abs", 1.0), (36.0, "relu", 2.0)])
def test_pools_of_squares_are_norms(scale: float, through: str, constant: float, write: Build) -> None:
    constants = {"image": np.array([1, 1, 3, 6]), "two": np.float32(2.0), "scale": np.float32(scale)}
    graph = load(write(pool(through=through), constants, [1, 18]))
    assert graph.summary().activations == ("2 × Euclidean norm over 9",)
    found = bound(graph)
    assert constant - 1e-6 <= found.lower <= constant <= found.upper <= constant * (1 + 1e-7)


def test_the_sign_of_another_number_jumps(write: Build) -> None:
    constants = {"image": np.array([1, 1, 3, 6]), "two": np.float32(2.0), "scale": np.float32(9.0)}
    with pytest.raises(UnsupportedModel, match="jumps"):
        load(write(pool(signs="other"), constants, [1, 18]), check=False)


def test_a_number_is_its_size_times_its_sign(write: Build) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["z"]),
        helper.make_node("Sign", ["z"], ["d"]),
        helper.make_node("Abs", ["z"], ["a"]),
        helper.make_node("Mul", ["a", "factor"], ["s"]),
        helper.make_node("Mul", ["s", "d"], ["y"]),
    ]
    W = np.array([[1.0, 2.0], [-0.5, 1.0]])
    graph = load(write(nodes, {"W": W, "factor": np.float32(-3.0)}, [1, 2]))
    np.testing.assert_allclose(forward(graph, np.array([1.0, -2.0])), -3.0 * np.array([1.0, -2.0]) @ W)
    assert graph.summary().channels == 0


@pytest.mark.parametrize("spelling", ["root of a sum", "root of a mean"])
def test_a_vector_over_its_length_is_one_block(spelling: str, write: Build) -> None:
    make = helper.make_node
    op = "ReduceSum" if "sum" in spelling else "ReduceMean"
    nodes = [
        make("Mul", ["x", "x"], ["s"]),
        make(op, ["s", "axis"], ["t"], keepdims=1),
        make("Sqrt", ["t"], ["n"]),
        make("Div", ["x", "n"], ["y"]),
    ]
    graph = load(write(nodes, {"axis": np.array([1])}, [1, 4], opset=18))
    assert len(graph.summary().activations) == 1
    # the least length on the region
    size = 1.0 if "mean" not in spelling else 0.5
    found = bound(graph, region=Box(0.5, 0.6), lower=False)
    assert found.upper == pytest.approx(1.0 / size, rel=1e-6)
