"""Attention, Scan, Einsum of two signals and reductions: bounds on a region are above the Jacobians of samples there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lipcert
from lipcert.errors import InvalidModel, UnsupportedModel
from lipcert.graph.evaluate import record
from lipcert.importer import load
from tests.importer.conftest import Build

node = helper.make_node
W = np.random.default_rng(0).normal(size=(4, 4)) / 2
CAUSAL = np.where(np.tril(np.ones((3, 3))) > 0, 0.0, -np.inf)


def projections(*rest: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [*(node("MatMul", ["x", k], [k.lower()]) for k in ("Q", "K", "V")), *rest]


def scan() -> onnx.NodeProto:
    """h ← tanh(h + x), all states."""
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("h", "e", "n", "o")]
    body = helper.make_graph(
        [node("Add", ["h", "e"], ["s"]), node("Tanh", ["s"], ["n"]), node("Identity", ["n"], ["o"])],
        "body",
        info[:2],
        info[2:],
    )
    return node("Scan", ["h0", "r"], ["last", "y"], body=body, num_scan_inputs=1)


NETWORKS: dict[str, Sequence[onnx.NodeProto]] = {
    "attention": projections(node("Attention", ["q", "k", "v"], ["y"], q_num_heads=2, kv_num_heads=2)),
    "causal": projections(node("Attention", ["q", "k", "v"], ["y"], q_num_heads=2, kv_num_heads=2, is_causal=1)),
    "masked": projections(node("Attention", ["q", "k", "v", "mask"], ["y"], q_num_heads=1, kv_num_heads=1)),
    "capped": projections(node("Attention", ["q", "k", "v"], ["y"], q_num_heads=1, kv_num_heads=1, softcap=2.0)),
    "einsum": projections(node("Einsum", ["q", "k"], ["y"], equation="bij,bkj->bik")),
    "product": [node("ReduceProd", ["x"], ["y"], axes=[2], keepdims=0)],
    "squares": [node("ReduceSumSquare", ["x"], ["y"], axes=[1])],
    "local response": [
        node("Reshape", ["x", "image"], ["r"]),
        node("LRN", ["r"], ["y"], size=3, alpha=0.5, beta=0.75),
    ],
    "pool": [
        node("Reshape", ["x", "image"], ["r"]),
        node("LpPool", ["r"], ["y"], kernel_shape=[2, 2], p=2),
    ],
    "swiglu": projections(node("SwiGLU", ["q", "k"], ["y"], alpha=1.5)),
    "gated delta rule": projections(
        node("MatMul", ["x", "gates"], ["g"]),
        node("MatMul", ["x", "rates"], ["r"]),
        node("Sigmoid", ["r"], ["b"]),
        node("LinearAttention", ["q", "k", "v", "", "g", "b"], ["y", "s"], q_num_heads=2, kv_num_heads=2),
    ),
    "linear attention": projections(
        node("Concat", ["k", "v"], ["both"], axis=2),
        node(
            "LinearAttention",
            ["both", "k", "v"],
            ["y", "s"],
            q_num_heads=2,
            kv_num_heads=1,
            update_rule="linear",
            scale=0.5,
        ),
    ),
    "causal convolution": [node("CausalConvWithState", ["x", "kernel"], ["y", "s"], activation="silu")],
    "running product": [node("CumProd", ["x", "axis"], ["y"])],
    "scan": [node("Reshape", ["x", "shape"], ["r"]), scan()],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_bounds_on_a_region(name: str, write: Build) -> None:
    constants = {
        "Q": W,
        "K": W.T,
        "V": W + 0.2,
        "mask": CAUSAL,
        "h0": np.zeros(4),
        "shape": np.array([3, 4]),
        "image": np.array([1, 3, 2, 2]),
        "gates": 0.3 * W[:, :2],
        "rates": 0.3 * W[:, 2:],
        "kernel": np.array([[[0.5, -1.0]], [[1.0, 0.25]], [[-0.5, 2.0]]]),
        "axis": np.array(2),
    }
    if not all(onnx.defs.has(n.op_type) for n in NETWORKS[name]):
        pytest.skip("this onnx package is older than its operators")
    newest = {"Attention", "SwiGLU", "LinearAttention", "CausalConvWithState", "CumProd"}
    opset = 17 if newest.isdisjoint(n.op_type for n in NETWORKS[name]) else onnx.defs.onnx_opset_version()
    # no runtime has all of them; the tests of ONNX's own cases compare values
    graph = load(write(NETWORKS[name], constants, [1, 3, 4], opset=opset), check=opset == 17)
    rng = np.random.default_rng(1)
    centre = 0.5 * rng.normal(size=12)
    found = lipcert.bound(graph, region=lipcert.Box(centre - 0.01, centre + 0.01), lower=False)
    samples = centre[:, None] + rng.uniform(-0.01, 0.01, (20, 12, 1))
    largest = max(float(np.linalg.norm(record(graph, [x]).jacobian(0), 2)) for x in samples)
    assert largest <= found.upper <= 3.0 * largest


def test_what_attention_does_not_know_is_refused(write: Build) -> None:
    constants = {"Q": W, "K": W.T, "V": W, "mask": np.full((3, 3), -np.inf)}
    nodes = projections(node("Attention", ["q", "k", "v", "mask"], ["y"], q_num_heads=1, kv_num_heads=1))
    with pytest.raises(UnsupportedModel, match="leaves nothing"):
        load(write(nodes, constants, [1, 3, 4], opset=23), check=False)


@pytest.mark.parametrize(("wrong", "reason"), [("b", "has 2 numbers a step"), ("p", "a past of the shape")])
def test_linear_attention_does_not_broadcast(wrong: str, reason: str, write: Build) -> None:
    if not onnx.defs.has("LinearAttention"):
        pytest.skip("this onnx package is older than the operator")
    constants = {
        "Q": W,
        "K": W.T,
        "V": W,
        "b": np.full((1, 3, 2 if wrong == "b" else 1), 0.5),
        "p": np.zeros((1, 2, 4, 4)),
    }
    inputs = ["q", "k", "v", "p" if wrong == "p" else "", "", "b"]
    attention = node("LinearAttention", inputs, ["y", "s"], q_num_heads=1, kv_num_heads=1, update_rule="delta")
    path = write(projections(attention), constants, [1, 3, 4], opset=onnx.defs.onnx_opset_version())
    with pytest.raises(InvalidModel, match=reason):
        load(path, check=False)
