"""The comparison on regions, on networks of a few neurons."""

from __future__ import annotations

import local
import numpy as np
import pytest
from common import mlp
from local import Point, Question, Row

import lipcert
from lipcert.regions import Ball, Box

NETWORK = mlp((4, 6, 5, 3))


def question(norms: str = "2->2") -> Question:
    return Question("net", "here", norms, NETWORK, Ball(np.full(4, 0.2), 0.3))


@pytest.mark.parametrize("norms", ["2->2", "inf->inf", "inf->row1"])
def test_interval_jacobians_are_above_ours(norms):
    mine, wide, narrow = (
        local.METHODS[name][1](question(norms))
        for name in (local.OURS, f"{local.PRODUCTS}, interval ranges", f"{local.PRODUCTS}, linear ranges")
    )
    assert mine <= narrow * (1 + 1e-6)
    assert narrow <= wide * (1 + 1e-6)


def test_what_does_not_apply_is_a_note():
    rows = local.measure(Question("net", "box", "2->2", NETWORK, Box(-0.1, 0.1)))
    notes = {row.method: row.note for row in rows}
    assert "balls" in notes["eclipse-nn Gen-Local Acc"]
    assert [row.method for row in rows] == list(local.METHODS)
    assert all(row.bound is not None for row in rows if not row.note)


@pytest.mark.parametrize("algorithm", ["Acc", "Fast"])
def test_eclipse_nn_gets_the_same_network(algorithm):
    pytest.importorskip("eclipse_nn")
    asked = question()
    lower = lipcert.bound(asked.graph, region=asked.region, lower_seconds=0.2).lower
    assert local.eclipse(asked, algorithm) >= lower * (1 - 1e-6)


def test_a_curve_ends_at_the_global_bound():
    points = local.curve("oscillator_controller", (1e-3, 1e6))
    values = [p.bound for p in points if p.method == "auto"]
    assert values[0] < values[1] <= values[2] * (1 + 1e-6)
    assert values[2] == lipcert.bound(local.ROOT / "models" / "oscillator_controller.onnx", lower=False).upper


def test_the_tables(tmp_path):
    rows = [
        Row("net", "here", "2->2", local.OURS, 2.0, True, 0.5),
        Row("net", "here", "2->2", "eclipse-nn Gen-Local Acc", 4.0, False, 0.5),
        Row("net", "here", "2->2", "eclipse-nn Gen-Local CF", None, False, 0.5, "it failed"),
        Row("net", "here", "2->2", "RecurJac", 3.0, False, None),
    ]
    (line,) = local.table(rows)[2:]
    assert [cell.strip() for cell in line.strip("|").split("|")][3:] == ["2", "0.50", "–", "4", "–", "3 (RecurJac)"]
    points = [Point("net", "auto", radius, 1.0 + radius, 0.1) for radius in (0.1, 1.0)]
    points.append(Point("net", "auto", np.inf, 3.0, 0.1))
    assert local.over_radius(points)[-1].count("(0.10 s)") == 3
    local.draw(points, tmp_path / "local.svg")
    local.save(points, tmp_path / "radius.csv")
    assert (tmp_path / "radius.csv").read_text().count("\n") == 4
