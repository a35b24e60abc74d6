"""Guards for NaN, and sorting by the positions of a TopK."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from lipcert.errors import UnsupportedModel
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Activation
from lipcert.importer import load
from tests.importer.conftest import Build

node = helper.make_node
GUARD = [node("IsNaN", ["x"], ["nan"]), node("Where", ["nan", "top", "x"], ["key"])]
CONSTANTS = {"top": np.array(np.inf), "k": np.array([4])}


@pytest.mark.parametrize("largest", [0, 1])
def test_sort_behind_a_guard(largest: int, write: Build) -> None:
    nodes = [
        *GUARD,
        node("TopK", ["key", "k"], ["values", "where"], axis=1, largest=largest),
        node("GatherElements", ["x", "where"], ["y"], axis=1),
    ]
    graph = load(write(nodes, CONSTANTS, [1, 4]))
    x = np.array([3.0, -1.0, 2.0, 0.5])
    np.testing.assert_array_equal(forward(graph, x), np.sort(x)[:: -1 if largest else 1])
    assert [n.kind for _, n in graph.walk() if isinstance(n, Activation)] == ["sort"]


def test_maximum_behind_a_guard(write: Build) -> None:
    nodes = [
        node("Neg", ["x"], ["m"]),
        node("Max", ["x", "m"], ["larger"]),
        node("IsInf", ["x"], ["infinite"]),
        node("Where", ["infinite", "top", "larger"], ["y"]),
    ]
    graph = load(write(nodes, CONSTANTS, [1, 4]))
    np.testing.assert_array_equal(forward(graph, np.array([3.0, -1.0, 2.0, 0.5])), [3.0, 1.0, 2.0, 0.5])


def test_positions_of_another_signal(write: Build) -> None:
    nodes = [
        node("TopK", ["x", "k"], ["values", "where"], axis=1),
        node("Neg", ["x"], ["m"]),
        node("GatherElements", ["m", "where"], ["y"], axis=1),
    ]
    with pytest.raises(UnsupportedModel, match="positions of another's largest numbers"):
        load(write(nodes, CONSTANTS, [1, 4]))


@pytest.mark.parametrize("op", ["Log", "Sqrt"])
def test_a_guard_that_can_be_true(op: str, write: Build) -> None:
    # 1 where x < 0, else 0: a jump, although neither branch depends on the input
    nodes = [
        node(op, ["x"], ["l"]),
        node("IsNaN", ["l"], ["nan"]),
        node("Where", ["nan", "one", "zero"], ["y"]),
    ]
    with pytest.raises(UnsupportedModel, match="need not exist"):
        load(write(nodes, {"one": np.array(1.0), "zero": np.array(0.0)}, [1, 4]))


def test_infinity_that_is_selected(write: Build) -> None:
    nodes = [node("Where", ["mask", "top", "x"], ["y"])]
    with pytest.raises(UnsupportedModel, match="not finite"):
        load(write(nodes, CONSTANTS | {"mask": np.array([True, False, False, False])}, [1, 4]), check=False)
