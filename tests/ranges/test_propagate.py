"""Ranges hold the signals of sampled inputs, for random networks of every activation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from regional import network, region_of

from lipcert.activations.table import GLOBAL
from lipcert.graph import build as nn
from lipcert.graph.evaluate import Tape, record
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal, Index, LinearMap, Sparse
from lipcert.ranges import Ranges, propagate, ranges
from lipcert.ranges.localise import moduli
from lipcert.regions import Box
from lipcert.rounding import Interval


def assert_holds(found: Ranges, tape: Tape) -> None:
    for position, interval in found.of.items():
        value = tape.values[position]
        assert value is not None
        room = 1e-9 * (1.0 + np.abs(value))
        assert (interval.low[:, None] <= value + room).all()
        assert (value - room <= interval.high[:, None]).all()
    for position, cell in found.cells.items():
        assert_holds(cell, tape.inner[position])


@pytest.mark.parametrize("kind", GLOBAL)
def test_ranges_hold_sampled_signals(kind: str) -> None:
    for seed in range(2):
        graph = network(seed, [kind, "relu", kind])
        rng = np.random.default_rng(seed)
        for written in (graph, moduli(graph)):
            region = region_of(rng, graph.input_size)
            points = region.sample(60, rng, graph.input_size)
            assert_holds(ranges(written, region), record(written, [points]))


def test_ranges_of_a_contraction_are_finite() -> None:
    graph = nn.sequential(nn.fixed_point([[0.5]], [[1.0]], None, nn.activation("tanh")))
    found = ranges(graph, Box(-0.1, 0.1))
    assert found[graph.output].high[0] < 0.25


def products_hold(seed: int) -> bool:
    """Whether ranges of A x hold the exact product at a corner of the box that is far out for the first row."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    matrix = rng.standard_normal((3, n)) * 10.0 ** rng.uniform(-2, 2, (3, n))
    maps: list[LinearMap] = [
        Dense(matrix),
        Sparse(sp.csr_array(matrix * (rng.random((3, n)) < 0.7))),
        Diagonal(matrix[0], 1e-16 * np.abs(matrix[1])),
        Index(rng.integers(-1, n, 4), n),
        Convolution(matrix[None, :1], (n,), (1,), (1,), (0, 0)) if n < 4 else Dense(matrix),
    ]
    a = maps[int(rng.integers(len(maps)))]
    low = rng.standard_normal(a.shape[1])
    high = low + rng.choice([0.0, 1e-16, 1e-3, 1.0]) * rng.random(a.shape[1])
    dense = [[Fraction(v) for v in row] for row in a.to_dense().tolist()]
    radius = np.zeros(a.shape) if a.radius is None else a.radius.to_dense()
    found = propagate.product(a, Interval(low, high))
    for row, spread, least, most in zip(dense, radius.tolist(), found.low, found.high, strict=True):
        x = [Fraction(float(h if v > 0 else ell)) for v, ell, h in zip(row, low, high, strict=True)]
        top = sum((v + (Fraction(r) if t > 0 else -Fraction(r))) * t for v, r, t in zip(row, spread, x, strict=True))
        if not Fraction(float(least)) <= top <= Fraction(float(most)):
            return False
    return True


def test_products_are_rounded_outward() -> None:
    assert all(products_hold(seed) for seed in range(300))


@pytest.mark.parametrize("dropped", ["gamma", "up", "radius"])
def test_a_dropped_rounding_is_noticed(dropped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if dropped == "gamma":
        monkeypatch.setattr(propagate, "gamma", lambda k: 0.0)
        monkeypatch.setattr(propagate, "up", lambda x: x)
    elif dropped == "up":
        monkeypatch.setattr(Interval, "radius", lambda x: x.high - x.middle())
        monkeypatch.setattr(propagate, "gamma", lambda k: 0.0)
    else:
        monkeypatch.setattr(Interval, "radius", lambda x: np.zeros(x.size))
    assert not all(products_hold(seed) for seed in range(300))
