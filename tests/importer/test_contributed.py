"""Rotary embeddings, and the operators that ONNX Runtime adds: `load` compares, bounds lie above sampled Jacobians."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import lipcert
from lipcert.errors import InvalidModel, UnsupportedModel
from lipcert.graph.evaluate import forward, record
from lipcert.importer import load

HEADS, SIZE, LENGTH = 2, 4, 3
WIDTH = HEADS * SIZE
RNG = np.random.default_rng(5)


def node(op: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, domain="com.microsoft", **attributes)


def normal(*shape: int) -> np.ndarray:
    return (0.5 * RNG.standard_normal(shape)).astype(np.float32)


CONSTANTS = {
    **{name: normal(WIDTH, WIDTH) for name in "QKV"},
    "QKV": normal(WIDTH, 3 * WIDTH),
    "bias": normal(3 * WIDTH),
    "count": np.array([2], np.int32),
    "some": np.array([[1, 0, 1]], np.int32),
    "rows": np.array([[[1, 0, 1], [0, 1, 1], [1, 1, 1]]], np.int32),
    "scores": normal(1, 1, LENGTH, LENGTH),
    "keys": normal(1, HEADS, 5, SIZE),
    "values": normal(1, HEADS, 5, SIZE),
    "past": normal(1, HEADS, 2, SIZE),
    "with_past": np.array([[0, 1, 1, 0, 1]], np.int32),
    "packed": np.array([1, LENGTH, HEADS, 3, SIZE]),
    "heads": np.array([1, LENGTH, HEADS, SIZE]),
    "cos": np.cos(np.arange(12.0).reshape(6, 2)).astype(np.float32),
    "sin": np.sin(np.arange(12.0).reshape(6, 2)).astype(np.float32),
    "one": np.cos(np.arange(6.0).reshape(6, 1)).astype(np.float32),
    "at": np.array([[4, 0, 2]]),
    "from": np.array([3]),
    "gain": 1.0 + normal(WIDTH),
    "shift": normal(WIDTH),
}


def written(path: Path, nodes: Sequence[onnx.NodeProto], opset: int = 20) -> Path:
    used = {name for item in nodes for name in item.input}
    stored = [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items() if name in used]
    info = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, LENGTH, WIDTH])]
    graph = helper.make_graph(nodes, "g", info, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], stored)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), path)
    return path


def projected(*rest: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [*(helper.make_node("MatMul", ["x", name], [name.lower()]) for name in "QKV"), *rest]


def attends(*inputs: str, **attributes: Any) -> list[onnx.NodeProto]:
    outputs = ("y", "keys after", "values after") if "past" in inputs else ("y",)
    return projected(node("MultiHeadAttention", inputs, outputs, num_heads=HEADS, **attributes))


NETWORKS: dict[str, list[onnx.NodeProto]] = {
    "attention": attends("q", "k", "v"),
    "biases": attends("q", "k", "v", "bias"),
    "scale": attends("q", "k", "v", scale=0.3),
    "causal": attends("q", "k", "v", unidirectional=1),
    "count of keys": attends("q", "k", "v", "", "count"),
    "mask": attends("q", "k", "v", "", "some", mask_filter_value=-1.0),
    "mask of rows": attends("q", "k", "v", "bias", "rows"),
    "attention bias": attends("q", "k", "v", "", "", "scores"),
    "cross attention": attends("q", "keys", "values"),
    "past": attends("q", "k", "v", "", "with_past", "", "past", "past"),
    "causal with a past": attends("q", "k", "v", "", "", "", "past", "past", unidirectional=1),
    "rotary": [node("RotaryEmbedding", ["x", "at", "cos", "sin"])],
    "rotary from a position": [node("RotaryEmbedding", ["x", "from", "cos", "sin"], interleaved=1)],
    "part of each head": [
        node("RotaryEmbedding", ["x", "at", "one", "one"], num_heads=HEADS, rotary_embedding_dim=2),
    ],
    "rotary heads": [
        helper.make_node("Reshape", ["x", "heads"], ["h"]),
        helper.make_node("Transpose", ["h"], ["t"], perm=[0, 2, 1, 3]),
        node("RotaryEmbedding", ["t", "at", "cos", "sin"]),
    ],
    "bias and gelu": [node("BiasGelu", ["x", "shift"])],
    "fast gelu": [node("FastGelu", ["x", "shift"])],
    "gelu": [node("Gelu", ["x"])],
    "quick gelu": [node("QuickGelu", ["x"], alpha=1.5)],
    "fused": [node("FusedMatMul", ["x", "QKV"], alpha=0.5)],
    "fused and transposed": [node("FusedMatMul", ["x", "V"], alpha=0.5, transB=1)],
    "scores": [node("FusedMatMul", ["x", "x"], transB=1)],
    "skip": [
        helper.make_node("MatMul", ["x", "V"], ["v"]),
        node("SkipLayerNormalization", ["x", "v", "gain", "shift", "shift"], ["n", "", "", "s"], epsilon=1e-5),
        helper.make_node("Add", ["n", "s"], ["y"]),
    ],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_values_agree_and_bounds_hold(name: str, tmp_path: Path) -> None:
    graph = load(written(tmp_path / "n.onnx", NETWORKS[name]))
    centre = 0.5 * np.random.default_rng(1).standard_normal(graph.input_size)
    held(graph, lipcert.Box(centre - 0.01, centre + 0.01))


def held(graph: lipcert.Graph, region: lipcert.Box, slack: float = 3.0) -> None:
    """The bound is above the Jacobians of samples, and close."""
    found = lipcert.bound(graph, region=region, lower=False)
    samples = region.sample(20, np.random.default_rng(2), graph.input_size)
    largest = max(float(np.linalg.norm(record(graph, [x[:, None]]).jacobian(0), 2)) for x in samples.T)
    assert largest <= found.upper * (1 + 1e-9)
    assert found.upper <= slack * largest


def test_packed_projections_are_what_unpacked_ones_are(tmp_path: Path) -> None:
    """No kernel of ONNX Runtime on the CPU takes them."""
    nodes = [
        helper.make_node("MatMul", ["x", "QKV"], ["all"]),
        helper.make_node("Reshape", ["all", "packed"], ["p"]),
        node("MultiHeadAttention", ["p", "", "", "bias"], num_heads=HEADS),
    ]
    packed = load(written(tmp_path / "packed.onnx", nodes), check=False)
    x = np.random.default_rng(0).standard_normal((LENGTH * WIDTH, 4))
    whole = CONSTANTS["QKV"].reshape(WIDTH, HEADS, 3, SIZE)
    apart = {name: np.ascontiguousarray(whole[:, :, k].reshape(WIDTH, WIDTH)) for k, name in enumerate("QKV")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in apart.items():
            patch.setitem(CONSTANTS, name, value)
        unpacked = load(written(tmp_path / "unpacked.onnx", NETWORKS["biases"]))
    np.testing.assert_allclose(forward(packed, x), forward(unpacked, x), rtol=1e-12, atol=1e-12)
    with pytest.raises(InvalidModel, match="not implemented for CPU"):
        load(tmp_path / "packed.onnx")


REFUSED: dict[str, tuple[list[onnx.NodeProto], str]] = {
    "masked out": (attends("q", "k", "v", "", "none"), "leaves nothing"),
    "causal across": (attends("q", "keys", "values", unidirectional=1), "which ones they see is not defined"),
    "past without present": (
        projected(node("MultiHeadAttention", ["q", "k", "v", "", "", "", "past", "past"], num_heads=HEADS)),
        "runtimes differ",
    ),
    "moving bias": (
        projected(
            helper.make_node("MatMul", ["q", "V"], ["w"]),
            node("MultiHeadAttention", ["q", "k", "v", "", "", "w"], num_heads=HEADS),
        ),
        "depends on the network's input",
    ),
    "attribute": ([node("RotaryEmbedding", ["x", "at", "cos", "sin"], is_packed_batching=1)], "packed"),
    "scale": ([node("RotaryEmbedding", ["x", "at", "cos", "sin"], scale=2.0)], "do not agree"),
    "unknown attribute": ([node("FusedMatMul", ["x", "V"], transBatchA=1)], "transBatchA is not known"),
    "unknown op": ([node("GroupNorm", ["x", "gain", "shift"])], "the op com.microsoft.GroupNorm is not supported"),
    "statistics": ([node("SkipLayerNormalization", ["x", "x", "gain"], ["n", "y"])], "mean or deviation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_true_reason(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONSTANTS, "none", np.zeros((1, LENGTH), np.int32))
    nodes, reason = REFUSED[name]
    with pytest.raises(UnsupportedModel, match=reason):
        load(written(tmp_path / "n.onnx", nodes), check=False)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("dim", [0, 2])
def test_rotary_embedding_of_the_operator_set(interleaved: int, dim: int, tmp_path: Path) -> None:
    """The value is that of onnx.reference, and whole rotations are isometries."""
    table = ["cos", "sin"] if dim == 0 else ["one", "one"]
    attributes = {"num_heads": HEADS, "interleaved": interleaved, "rotary_embedding_dim": dim}
    path = written(
        tmp_path / "n.onnx", [helper.make_node("RotaryEmbedding", ["x", *table, "at"], ["y"], **attributes)], opset=23
    )
    graph = load(path, check=False)
    x = np.random.default_rng(0).standard_normal((1, LENGTH, WIDTH)).astype(np.float32)
    (expected,) = ReferenceEvaluator(onnx.load(path)).run(None, {"x": x})
    np.testing.assert_allclose(forward(graph, x.astype(float).ravel()), expected.ravel(), rtol=1e-5, atol=1e-6)
    if dim == 0:
        assert lipcert.bound(graph, lower=False).upper == pytest.approx(1.0, abs=1e-6)


def test_a_position_outside_the_table_is_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONSTANTS, "at", np.array([[0, 1, 6]]))
    with pytest.raises(InvalidModel, match="outside its table of 6"):
        load(written(tmp_path / "n.onnx", NETWORKS["rotary"]), check=False)
