"""Selections of outputs: what a specification means, what is refused, and the functionals that they add."""

from __future__ import annotations

import numpy as np
import pytest

from lipcert.errors import InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.selection import Selection


@pytest.mark.parametrize(
    ("spec", "labels"),
    [
        ("all", ()),
        ("each", ("0", "1", "2")),
        ("pairs", ("0-1", "0-2", "1-2")),
        ("1", ("1",)),
        (2, ("2",)),
        (np.int64(2), ("2",)),
        (" 0, 2-1 ", ("0", "2-1")),
        ([0, "02-01"], ("0", "2-1")),
    ],
)
def test_meaning(spec, labels) -> None:
    found = Selection.parse(spec, 3)
    assert found.labels == labels
    assert found.joint == (not labels)


@pytest.mark.parametrize(
    ("spec", "outputs", "words"),
    [
        ("3", 3, "beyond the last output 2"),
        ("0-3", 3, "beyond"),
        ("1-1", 3, "with itself"),
        ("-1", 3, "not understood"),
        ("0-1-2", 3, "not understood"),
        ("0;1", 3, "not understood"),
        ("٣", 9, "not understood"),
        ([], 3, "empty"),
        ("pairs", 1, "no pairs"),
    ],
)
def test_refusals(spec, outputs, words) -> None:
    with pytest.raises(InvalidRequest, match=words):
        Selection.parse(spec, outputs)


def test_functionals() -> None:
    rng = np.random.default_rng(0)
    graph = nn.sequential(nn.linear(rng.standard_normal((5, 3))), nn.relu(), nn.linear(rng.standard_normal((4, 5))))
    x = rng.standard_normal((3, 7))
    y = forward(graph, x)
    selected = forward(Selection.parse("2,0-3", 4).apply(graph), x)
    np.testing.assert_allclose(selected, np.stack([y[2], y[0] - y[3]]), atol=1e-13)
    assert Selection().apply(graph) is graph
