"""Linear bounds backward: narrower than intervals, above samples, and rounded outward."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from regional import KINDS, network, region_of

from lipcert.graph import build as nn
from lipcert.graph.evaluate import record
from lipcert.graph.nodes import Activation, FixedPoint, Graph
from lipcert.ranges import Ranges, jacobian, linear
from lipcert.ranges.localise import moduli
from lipcert.ranges.propagate import ranges, sweep, through
from lipcert.regions import Ball, Box


@pytest.mark.parametrize("kind", KINDS)
def test_functionals_are_above_samples(kind: str) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        graph = moduli(network(seed, [kind, "relu", "tanh"]))
        if any(isinstance(node, FixedPoint) for node in graph.nodes):
            continue
        region = region_of(rng, graph.input_size)
        found, lines = sweep(graph, region)
        seeds = rng.standard_normal((graph.output_size, 6))
        top = linear.Backward(graph, region.fitted(graph.input_size), found.of, lines).upper({graph.output: seeds})
        tape = record(graph, [region.sample(200, rng, graph.input_size)])
        reached = (seeds.T @ tape.output).max(axis=1)
        assert (top >= reached - 1e-9 * (1.0 + np.abs(reached))).all()


def test_ranges_are_narrower_than_intervals() -> None:
    rng = np.random.default_rng(0)
    layers = [nn.linear(rng.standard_normal((12, 5))), nn.relu(), nn.linear(rng.standard_normal((12, 12))), nn.relu()]
    graph = nn.sequential(*layers, nn.linear(rng.standard_normal((12, 12))), nn.relu())
    ball = Ball(rng.standard_normal(5), 0.5)
    narrow, wide = ranges(graph, ball), through(graph, [ball.interval()])
    last = max(p for p, node in graph.walk() if isinstance(node, Activation)) - 1
    assert (narrow[last].high - narrow[last].low).sum() < 0.6 * (wide[last].high - wide[last].low).sum()


def chain(rng: np.random.Generator) -> tuple[Graph, list[np.ndarray], list[np.ndarray]]:
    """A network without rounding of its own: affine maps and slopes of a quarter and one."""
    sizes = [3, 4, 4, 2]
    weights = [rng.standard_normal((b, a)) for a, b in pairwise(sizes)]
    biases = [rng.standard_normal(b) for b in sizes[1:]]
    layers = [nn.linear(weights[0], biases[0])]
    for w, b in zip(weights[1:], biases[1:], strict=True):
        layers += [nn.activation("leaky_relu", alpha=np.array([0.25])), nn.linear(w, b)]
    return nn.sequential(*layers), weights, biases


def exact(
    x: np.ndarray, weights: list[np.ndarray], biases: list[np.ndarray]
) -> tuple[list[Fraction], list[list[Fraction]]]:
    """The value and the Jacobian in rational numbers."""
    z = [Fraction(v) for v in x.tolist()]
    J = [[Fraction(int(i == j)) for j in range(x.size)] for i in range(x.size)]
    for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
        if k:
            slopes = [Fraction(1) if v > 0 else Fraction(1, 4) for v in z]
            z = [s * v for s, v in zip(slopes, z, strict=True)]
            J = [[s * v for v in row] for s, row in zip(slopes, J, strict=True)]
        rows = [[Fraction(v) for v in row] for row in w.tolist()]
        z = [
            sum(a * v for a, v in zip(row, z, strict=True)) + Fraction(c)
            for row, c in zip(rows, b.tolist(), strict=True)
        ]
        J = [[sum(a * r[j] for a, r in zip(row, J, strict=True)) for j in range(x.size)] for row in rows]
    return z, J


def points_hold(seed: int) -> bool:
    """Whether bounds at a single point hold the rational value and Jacobian."""
    rng = np.random.default_rng(seed)
    graph, weights, biases = chain(rng)
    # at zero nothing but the constants is left
    x = rng.standard_normal(3) * (seed % 2)
    value, J = exact(x, weights, biases)
    region = Box(x, x).fitted(3)
    found, lines = sweep(graph, region)
    top = linear.Backward(graph, region, found.of, lines).upper({graph.output: np.hstack([np.eye(2), -np.eye(2)])})
    inside = all(
        Fraction(float(a)) >= v >= -Fraction(float(b)) for a, b, v in zip(top[:2], top[2:], value, strict=True)
    )
    near = Box(x - 1e-9, x + 1e-9)
    entries = jacobian.jacobian(graph, near).entries
    ends = zip(entries.low, entries.high, J, strict=True)
    return inside and all(
        Fraction(float(a)) <= v <= Fraction(float(b))
        for low, high, row in ends
        for a, b, v in zip(low, high, row, strict=True)
    )


def test_bounds_at_points_are_rounded_outward() -> None:
    assert all(points_hold(seed) for seed in range(60))


def test_dropped_rounding_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, instead in (("gamma", lambda k: 0.0), ("UNIT", 0.0), ("TINY", 0.0), ("up", lambda x: x)):
        monkeypatch.setattr(linear, name, instead)
    assert not all(points_hold(seed) for seed in range(60))


def test_dropped_rounding_in_the_jacobian_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, instead in (
        ("gamma", lambda k: 0.0),
        ("UNIT", 0.0),
        ("TINY", 0.0),
        ("up", lambda x: x),
        ("down", lambda x: x),
    ):
        monkeypatch.setattr(jacobian, name, instead)
    assert not all(points_hold(seed) for seed in range(60))


def test_ranges_meet() -> None:
    graph = nn.sequential(nn.linear([[1.0]]), nn.relu())
    wide, narrow = ranges(graph, Box(-1.0, 1.0)), ranges(graph, Box(-0.5, 2.0))
    both = wide.meet(narrow)
    assert isinstance(both, Ranges)
    assert -0.5 - 1e-9 <= both[1].low[0] <= -0.5
    assert 1.0 <= both[1].high[0] <= 1.0 + 1e-9
