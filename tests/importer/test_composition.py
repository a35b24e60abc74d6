"""Chains of elementwise operations become one function where an operation without a global slope is part of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import helper

import lipcert
from lipcert.graph.evaluate import record
from lipcert.graph.nodes import Activation, Graph
from lipcert.graph.sizes import channels
from lipcert.importer import load
from tests.importer.conftest import Build

node = helper.make_node
W = np.random.default_rng(0).normal(size=(3, 5))
CENTRES = np.linspace(-1.0, 1.0, 5)


def kinds(graph: Graph) -> list[str]:
    return [found.kind for _, found in graph.walk() if isinstance(found, Activation)]


def layer(*nodes: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Nodes from h = x W to y."""
    return [node("MatMul", ["x", "W"], ["h"]), *nodes]


CHAINS: dict[str, tuple[Sequence[onnx.NodeProto], float]] = {
    "radial": (
        [
            node("Sub", ["h", "c"], ["d"]),
            node("Mul", ["d", "d"], ["q"]),
            node("Neg", ["q"], ["n"]),
            node("Exp", ["n"], ["e"]),
            node("Mul", ["e", "d"], ["y"]),
        ],
        1.0,
    ),
    "squared gate": (
        [node("Tanh", ["h"], ["s"]), node("Mul", ["s", "s"], ["y"])],
        4.0 / np.sqrt(27.0),
    ),
    "sine and cosine of two rates": (
        [
            node("Sin", ["h"], ["s"]),
            node("Mul", ["h", "two"], ["t"]),
            node("Cos", ["t"], ["k"]),
            node("Mul", ["s", "k"], ["y"]),
        ],
        2.0,
    ),
    "a sum of functions": (
        [node("Tanh", ["h"], ["t"]), node("Mul", ["t", "t"], ["q"]), node("Sub", ["t", "q"], ["y"])],
        1.51622,
    ),
    "a rational function": (
        [
            node("Mul", ["h", "h"], ["q"]),
            node("Add", ["q", "one"], ["d"]),
            node("Div", ["h", "d"], ["y"]),
        ],
        1.0,
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_one_function(name: str, write: Build) -> None:
    nodes, steepest = CHAINS[name]
    graph = load(write(layer(*nodes), {"W": W, "c": CENTRES, "two": np.array(2.0), "one": np.array(1.0)}, [1, 3]))
    assert kinds(graph) == ["composed"]
    assert channels(graph) == 5
    found = lipcert.bound(graph, lower_seconds=0.3)
    norm = float(np.linalg.norm(W.astype(np.float32), 2))
    assert found.lower is not None
    assert found.lower <= found.upper <= steepest * norm * (1.0 + 1e-3)
    region = lipcert.Box(-0.3, 0.4)
    here = lipcert.bound(graph, region=region, lower=False).upper
    rng = np.random.default_rng(1)
    largest = max(float(np.linalg.norm(record(graph, [x]).jacobian(0), 2)) for x in rng.uniform(-0.3, 0.4, (60, 3, 1)))
    assert largest <= here <= found.upper * (1.0 + 1e-9)


def test_other_networks_keep_their_activations(write: Build) -> None:
    plain = layer(node("Tanh", ["h"], ["t"]), node("Relu", ["t"], ["y"]))
    assert kinds(load(write(plain, {"W": W}, [1, 3]))) == ["tanh", "relu"]
    gate = layer(
        node("Split", ["h"], ["a", "b"], axis=1), node("Sigmoid", ["a"], ["s"]), node("Mul", ["s", "b"], ["y"])
    )
    assert kinds(load(write(gate, {"W": W[:, :4]}, [1, 3]))) == ["sigmoid", "product"]


def test_what_others_need_stays_beside_it(write: Build) -> None:
    nodes = layer(
        node("Tanh", ["h"], ["s"]),
        node("Mul", ["s", "s"], ["q"]),
        node("MatMul", ["s", "V"], ["v"]),
        node("Add", ["q", "v"], ["y"]),
    )
    graph = load(write(nodes, {"W": W, "V": np.random.default_rng(2).normal(size=(5, 5))}, [1, 3]))
    assert sorted(kinds(graph)) == ["composed", "tanh"]
    found = lipcert.bound(graph, lower_seconds=0.3)
    assert found.lower is not None
    assert found.lower <= found.upper
