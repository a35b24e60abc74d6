"""Small ONNX models, built node by node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Build = Callable[..., Path]


def build_model(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, Any],
    shape: Sequence[int | str],
    *,
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    """A model with the input x; float constants are stored in the type of the input."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    stored = {k: np.asarray(v) for k, v in constants.items()}
    initializers = [
        numpy_helper.from_array(v.astype(dtype) if v.dtype.kind == "f" else v, k) for k, v in stored.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info(o, kind, None) for o in outputs],
        initializers,
    )
    ir = 8 if opset <= 19 else 10
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


@pytest.fixture
def write(tmp_path: Path) -> Build:
    """Writes a model built from nodes, constants and the input's shape, and gives its path."""

    def build(*args: Any, **options: Any) -> Path:
        path = tmp_path / "net.onnx"
        onnx.save(build_model(*args, **options), path)
        return path

    return build


@pytest.fixture
def mlp() -> onnx.ModelProto:
    """relu(x W₁ᵀ + b₁) W₂ᵀ with a dynamic batch."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gemm", ["x", "W1", "b1"], ["z"], name="first", transB=1),
        helper.make_node("Relu", ["z"], ["a"], name="act"),
        helper.make_node("MatMul", ["a", "W2"], ["y"], name="second"),
    ]
    constants = {"W1": rng.standard_normal((6, 4)), "b1": rng.standard_normal(6), "W2": rng.standard_normal((6, 3))}
    return build_model(nodes, constants, ["batch", 4])


@pytest.fixture
def cnn() -> onnx.ModelProto:
    """Convolution, batch normalisation, pooling, a residual branch, a MaxMin by Split, a softmax."""
    rng = np.random.default_rng(1)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "K", "k"], ["c"], name="conv", pads=[1, 1, 1, 1], strides=[1, 1]),
        node("BatchNormalization", ["c", "gain", "shift", "mean", "variance"], ["n"], name="bn"),
        node("Split", ["n"], ["l", "r"], name="split", axis=1),
        node("Max", ["l", "r"], ["hi"], name="max"),
        node("Min", ["l", "r"], ["lo"], name="min"),
        node("Concat", ["hi", "lo"], ["m"], name="concat", axis=1),
        node("Add", ["m", "n"], ["s"], name="add"),
        node("AveragePool", ["s"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", ["p"], ["shape"], name="shape"),
        node("Gather", ["shape", "zero"], ["first"], name="gather"),
        node("Concat", ["first", "rest"], ["target"], name="concat2", axis=0),
        node("Reshape", ["p", "target"], ["f"], name="reshape"),
        node("Gemm", ["f", "W", "b"], ["g"], name="gemm"),
        node("Softmax", ["g"], ["y"], name="softmax", axis=-1),
    ]
    constants = {
        "K": rng.standard_normal((4, 2, 3, 3)),
        "k": rng.standard_normal(4),
        "gain": rng.standard_normal(4),
        "shift": rng.standard_normal(4),
        "mean": rng.standard_normal(4),
        "variance": rng.uniform(0.5, 2.0, 4),
        "zero": np.array([0]),
        "rest": np.array([-1]),
        "W": rng.standard_normal((16, 3)),
        "b": rng.standard_normal(3),
    }
    return build_model(nodes, constants, [1, 2, 4, 4])
