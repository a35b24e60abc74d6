"""Hyperbolic and inverse functions: the slope on a range is that of calculus, and `load` compares values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import lipcert
from lipcert.errors import Unbounded
from lipcert.importer import load
from tests.importer.conftest import Build

# a range, and the largest slope on it
FUNCTIONS: dict[str, tuple[float, float, Callable[[float], float], float]] = {
    "Sinh": (-2.0, 1.5, np.cosh, -2.0),
    "Cosh": (-1.0, 1.5, np.sinh, 1.5),
    "Tan": (-1.0, 1.25, lambda x: 1 / np.cos(x) ** 2, 1.25),
    "Atanh": (-0.5, 0.9, lambda x: 1 / (1 - x * x), 0.9),
    "Acosh": (1.25, 3.0, lambda x: 1 / np.sqrt(x * x - 1), 1.25),
    "Asin": (-0.5, 0.875, lambda x: 1 / np.sqrt(1 - x * x), 0.875),
    "Acos": (-0.9375, 0.5, lambda x: 1 / np.sqrt(1 - x * x), -0.9375),
}


def read(op: str, write: Build) -> lipcert.Graph:
    return load(write([helper.make_node(op, ["x"], ["y"])], {}, [1, 1], opset=20))


@pytest.mark.parametrize("op", FUNCTIONS)
def test_the_largest_slope_on_a_range(op: str, write: Build) -> None:
    low, high, slope, at = FUNCTIONS[op]
    graph = read(op, write)
    found = lipcert.bound(graph, region=lipcert.Box(low, high))
    assert found.upper >= slope(at)
    assert found.upper == pytest.approx(slope(at), rel=1e-6)
    assert found.lower == pytest.approx(slope(at), rel=1e-4)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_everywhere_there_is_none_and_the_summary_says_what_it_is(op: str, write: Build) -> None:
    graph = read(op, write)
    assert graph.summary().channels == 1
    with pytest.raises(Unbounded, match="give a region"):
        lipcert.bound(graph, lower=False)


@pytest.mark.parametrize(
    ("op", "low", "high"), [("Atanh", -1.0, 0.5), ("Tan", 1.0, 2.0), ("Acosh", 1.0, 2.0), ("Asin", 0.0, 1.0)]
)
def test_no_bound_where_the_slope_is_infinite(op: str, low: float, high: float, write: Build) -> None:
    with pytest.raises(Unbounded):
        lipcert.bound(read(op, write), region=lipcert.Box(low, high), lower=False)


def test_constants_are_computed(write: Build, tmp_path: Path) -> None:
    nodes = [helper.make_node("Sinh", ["c"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])]
    graph = load(write(nodes, {"c": np.float32(0.5)}, [1, 1], kind=TensorProto.FLOAT))
    assert lipcert.bound(graph).upper == pytest.approx(np.sinh(0.5), rel=1e-6)
