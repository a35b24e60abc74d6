"""Quantised weights are exact numbers; quantised signals are refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from lipcert.errors import LipcertError, UnsupportedModel
from lipcert.graph.evaluate import forward
from lipcert.importer import load
from tests.importer.conftest import Build

rng = np.random.default_rng(0)
W = rng.integers(-128, 128, (4, 3)).astype(np.int8)


@pytest.mark.parametrize("opset", [10, 13, 17, 19, 21, 23])
def test_one_scale(opset: int, write: Build) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["W", "s", "z"], ["D"]),
        helper.make_node("MatMul", ["x", "D"], ["y"]),
    ]
    graph = load(write(nodes, {"W": W, "s": np.array(0.1), "z": np.array(3, dtype=np.int8)}, [1, 4], opset=opset))
    exact = (W.astype(np.float64) - 3.0) * float(np.float32(0.1))
    np.testing.assert_array_equal(forward(graph, np.eye(4)), exact.T)
    assert not graph.idealisations


@pytest.mark.parametrize(("axis", "size"), [(0, 4), (1, 3), (-1, 3)])
def test_one_scale_a_place(axis: int, size: int, write: Build) -> None:
    s = rng.uniform(0.1, 1.0, size).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["W", "s"], ["D"], axis=axis),
        helper.make_node("MatMul", ["x", "D"], ["y"]),
    ]
    graph = load(write(nodes, {"W": W, "s": s}, [1, 4], opset=13))
    exact = W * (s[:, None] if axis == 0 else s).astype(np.float64)
    np.testing.assert_array_equal(forward(graph, np.eye(4)), exact.T)


def test_one_scale_a_block(write: Build) -> None:
    s = rng.uniform(0.1, 1.0, (2, 3)).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["W", "s"], ["D"], axis=0, block_size=2),
        helper.make_node("MatMul", ["x", "D"], ["y"]),
    ]
    graph = load(write(nodes, {"W": W, "s": s}, [1, 4], opset=21))
    np.testing.assert_array_equal(forward(graph, np.eye(4)), (W * np.repeat(s, 2, axis=0).astype(np.float64)).T)


def test_four_bits_and_large_integers(write: Build) -> None:
    nodes = [helper.make_node("DequantizeLinear", ["W", "s"], ["D"]), helper.make_node("MatMul", ["x", "D"], ["y"])]
    four = helper.make_tensor("four", TensorProto.INT4, [2, 2], [1, -2, 7, -8])
    graph = load(write(nodes, {"W": numpy_helper.to_array(four), "s": np.array(0.5)}, [1, 2], opset=21), check=False)
    np.testing.assert_array_equal(forward(graph, np.eye(2)), [[0.5, 3.5], [-1.0, -4.0]])
    large = np.full((2, 2), 2**31 - 1, dtype=np.int32)
    graph = load(write(nodes, {"W": large, "s": np.array(0.3)}, [1, 2], opset=21))
    assert "rounded to float64" in graph.idealisations[0]


@pytest.mark.parametrize(
    ("op", "inputs"),
    [("QuantizeLinear", ["x", "s", "z"]), ("DynamicQuantizeLinear", ["x"]), ("MatMulInteger", ["x", "W"])],
)
def test_signals(op: str, inputs: list[str], write: Build) -> None:
    outputs = ["y", "a", "b"] if op.startswith("Dyn") else ["y"]
    path = write(
        [helper.make_node(op, inputs, outputs)], {"s": np.array(0.1), "z": np.array(0, np.int8), "W": W}, [1, 4]
    )
    with pytest.raises(
        UnsupportedModel, match=r"rounds a signal.*--|rounds a signal.*quantised weights are no obstacle"
    ):
        load(path)


def test_scales_that_do_not_fit(write: Build) -> None:
    nodes = [helper.make_node("DequantizeLinear", ["W", "s"], ["D"]), helper.make_node("MatMul", ["x", "D"], ["y"])]
    with pytest.raises(LipcertError, match=r"do not fit"):
        load(write(nodes, {"W": W, "s": np.ones(7)}, [1, 4], opset=13))
