"""The summary in words."""

from __future__ import annotations

import json

import numpy as np
from reference import latents

from lipcert.constraints.interconnection import lower
from lipcert.graph import build as nn
from lipcert.graph.linear_maps import Convolution, Index
from lipcert.graph.prepare import prepare
from lipcert.graph.sizes import channels, rows


def test_summary_names_activations_as_a_person_would():
    rng = np.random.default_rng(0)
    graph = nn.sequential(
        nn.linear(rng.standard_normal((64, 10)), rng.standard_normal(64)),
        nn.maxmin(),
        nn.linear(rng.standard_normal((32, 64))),
        nn.maxmin(),
        nn.residual(nn.linear(rng.standard_normal((32, 32))), nn.relu()),
        nn.group_sort(4),
        nn.linear(rng.standard_normal((3, 32))),
        nn.softmax(3),
    )
    summary = graph.summary()
    assert summary.activations == ("48 MaxMin pairs", "32 ReLU", "8 GroupSort groups of 4", "softmax over 3")
    assert summary.channels == 48 + 32 + 8 * 5 + 2 == latents(prepare(graph))
    assert summary.parameters == 64 * 10 + 64 + 32 * 64 + 32 * 32 + 3 * 32
    text = str(summary)
    for line in ("inputs           10", "outputs          3", "48 MaxMin pairs, 32 ReLU", "linear 10 → 64 + bias"):
        assert line in text
    assert json.loads(json.dumps(summary.to_dict()))["channels"] == 122


def test_summary_of_convolutions_and_fixed_points():
    rng = np.random.default_rng(0)
    kernel = Convolution(rng.standard_normal((4, 2, 3, 3)), (6, 6), (1, 1), (1, 1), (0, 0, 0, 0))
    graph = nn.sequential(
        nn.linear(kernel),
        nn.max_pool(4, [4, 4], [2, 2]),
        nn.fixed_point(0.1 * np.eye(3), rng.standard_normal((3, 16)), None, nn.relu()),
    )
    summary = graph.summary()
    assert summary.implicit == 1
    assert summary.activations == ("16 maxima over 4", "3 ReLU")
    assert summary.channels == channels(prepare(graph)) == 16 * 3 + 3
    assert "convolution 3×3, 2×6×6 → 4×4×4" in str(summary)
    assert summary.parameters == 4 * 2 * 9 + 9 + 48


def test_a_pair_of_which_one_number_is_used_is_a_maximum_or_minimum():
    w = np.random.default_rng(0).standard_normal((8, 3))
    for index, names in (
        ([1, 3, 5, 7], ("4 maxima over 2",)),
        ([0, 2, 4, 6], ("4 minima over 2",)),
        ([0, 1, 3, 4, 5, 6, 7], ("3 MaxMin pairs", "1 maximum over 2")),
    ):
        picked = nn.linear(Index(np.array(index), 8))
        summary = nn.sequential(nn.linear(w), nn.maxmin(), picked).summary()
        assert set(names) <= set(summary.activations), summary.activations
        assert ", ".join(summary.activations) in str(summary)


def test_rows_are_counted_as_lowering_gives_them():
    rng = np.random.default_rng(0)
    graph = nn.sequential(
        nn.linear(rng.standard_normal((24, 4))), nn.maximum(12), nn.linear(rng.standard_normal((4, 2))), nn.relu()
    )
    lowered = prepare(graph)
    assert (channels(lowered), rows(lowered)) == (2 + 4, 2 * 11 + 4)
    assert rows(lowered) == lower(lowered).R.shape[0]
