"""Each error term of a walk along one input, alone: made large, it adds what it stands for."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from amplified import amplify

from lipcert.graph import build as nn
from lipcert.graph.linear_maps import Dense, Diagonal
from lipcert.graph.nodes import Activation, Affine
from lipcert.norms import Norm
from lipcert.ranges import line
from lipcert.regions import Box

ONE = np.ones((1, 1))
RELU = Activation(0, "relu", 1, 1)


def sweep(low: float = -1.0, high: float = 1.0) -> line._Sweep:
    return line._Sweep(nn.sequential(nn.relu(), inputs=1), np.zeros(1), 0, np.array([low, high]))


def test_lengths_of_slopes_are_rounded_up(monkeypatch):
    tiny = nn.sequential(nn.linear([[1e-200]] * 3))
    assert Fraction(line.steepest(tiny, Box(0.0, 1.0).fitted(1), Norm.L2).value) ** 2 >= 3 * Fraction(1e-200) ** 2
    amplify(monkeypatch, line, gamma=lambda k: float(k == 10), TINY=1.0)
    found = line.steepest(nn.sequential(nn.linear([[2.0], [3.0]])), Box(0.0, 1.0).fitted(1), Norm.L1)
    assert found.value >= 5.0 * 5.0 + 1.0


def test_pieces_reach_from_their_centre_to_both_ends(monkeypatch):
    amplify(monkeypatch, line, outward=1.0)
    found = sweep(0.0, 4.0)
    assert found.left >= 2.0 + 1.0
    assert found.right >= 2.0 + 1.0


@pytest.mark.parametrize("slope", [2.0, -2.0])
def test_values_on_a_piece_are_rounded_outward(slope, monkeypatch):
    amplify(monkeypatch, line, outward=1.0)
    found = sweep()
    found.left = found.right = np.full(1, 3.0)
    found.values[0] = np.full((1, 1), 10.0), np.full((1, 1), 0.5)
    found.slopes[0] = np.full((1, 1), slope), np.full((1, 1), 0.5)
    # slopes up to 2 + ½ + 1 on pieces of 3
    move = 3.0 * 3.5 + 1.0
    low, high = 10.0 - 0.5 - 1.0 - move - 1.0, 10.0 + 0.5 + 1.0 + move + 1.0
    first, last = found._segments(RELU, np.array([[low + 0.1, high - 0.1]]))
    assert (first.item(), last.item()) == (0, 2)


def test_slopes_behind_open_neurons_are_rounded_up(monkeypatch):
    amplify(monkeypatch, line, outward=1.0, UNIT=1.0)
    found = sweep()
    found.values[0] = np.zeros((1, 1)), np.zeros((1, 1))
    found.slopes[0] = np.full((1, 1), 3.0), np.full((1, 1), 0.5)
    monkeypatch.setattr(line._Sweep, "_chosen", lambda self, parent, open_: np.full((1, 1), -1))
    monkeypatch.setattr(
        line._Sweep, "_segments", lambda self, node, kinks: (np.zeros((1, 1), int), np.ones((1, 1), int))
    )
    found._activation(1, Activation(0, "abs", 1, 1))
    spread = (0.5 * (2.0 + 1.0) + 1.0) + 2.0
    assert found.slopes[1][1] >= (spread * 0.5 + spread * 3.0) * 9.0 + 1.0
    # one slope is left
    monkeypatch.setattr(
        line._Sweep, "_segments", lambda self, node, kinks: (np.ones((1, 1), int), np.ones((1, 1), int))
    )
    found._activation(1, RELU)
    assert found.slopes[1][1] >= (0.5 + 2.0 * 3.0) * 9.0 + 1.0


def test_maps_and_sums_have_room(monkeypatch):
    amplify(monkeypatch, line, gamma=1.0, UNIT=1.0, TINY=1.0, FLOOR=1.0)
    x, r = np.full((1, 1), 2.0), ONE
    assert line._room(Diagonal(np.ones(1), np.ones(1)), x, r) >= ((1.0 + 2.0 + 1.0) + (3.0 * 5.0 + 1.0)) * 5.0 + 1.0
    amplify(monkeypatch, line, outward=1.0, UNIT=1.0)
    monkeypatch.setattr(line, "_room", lambda a, x, radius: radius)
    node = Affine((0, 1), (Dense(ONE), Dense(ONE)), np.ones(1))
    parents = [(ONE, 0.5 * ONE), (2.0 * ONE, 0.25 * ONE)]
    assert line._affine(node, parents, None)[1] >= (0.75 + 1.0) * 5.0 + 2.0 * 3.0
    assert line._affine(node, parents, ONE)[1] >= (0.75 + 1.0) * 5.0 + 2.0 * 3.0 + 2.0 * 4.0 * 5.0


def test_values_of_activations_have_room(monkeypatch):
    amplify(monkeypatch, line, outward=1.0, UNIT=1.0, TINY=1.0)
    radius = 0.5 * ONE
    assert line._value(RELU, 2.0 * ONE, radius)[1] >= (0.5 + 1.0) + 8.0 * 9.0 + 1.0 + 1.0
    clip = Activation(0, "clip", 1, 1, {"low": -np.ones(1), "high": np.ones(1)})
    # flat behind the kink, where the value is one
    assert line._value(clip, 3.0 * ONE, radius)[1] >= (0.5 + 1.0) + 4.0 * 9.0 + 1.0 + 1.0


def test_the_slope_of_the_output_is_rounded_up(monkeypatch):
    amplify(monkeypatch, line, outward=1.0)
    found = sweep()
    found.graph = SimpleNamespace(walk=list, output=0)  # type: ignore[assignment]
    found.slopes[0] = -2.0 * ONE, 0.5 * ONE
    assert found.run() >= 2.0 + 0.5 + 1.0
