"""One input: the steepest slope is exact against a walk in rational numbers, and never below a slope that occurs."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import lipcert
from lipcert.certificates import verify
from lipcert.errors import DoesNotApply
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Graph
from lipcert.norms import Norm
from lipcert.ranges import line
from lipcert.ranges.line import steepest
from lipcert.ranges.localise import moduli
from lipcert.regions import Box

Piece = tuple[Fraction, Fraction]


def weights(seed: int, widths: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(m, n)), rng.normal(size=m)) for n, m in itertools.pairwise(widths)]


def network(layers: list[tuple[np.ndarray, np.ndarray]], layer: object | None = None) -> Graph:
    parts = [part for W, b in layers for part in (nn.linear(W, b), layer or nn.relu())]
    return moduli(nn.sequential(*parts[:-1]))


def slopes_between(layers: list[tuple[np.ndarray, np.ndarray]], low: Fraction, high: Fraction) -> list[list[Fraction]]:
    """The slopes of all outputs of a ReLU network on its linear pieces within (low, high), in rational numbers."""
    pieces: list[tuple[Fraction, Fraction, list[Piece]]] = [(low, high, [(Fraction(1), Fraction(0))])]
    for k, (W, b) in enumerate(layers):
        following = []
        for left, right, forms in pieces:
            z = [
                (
                    sum((Fraction(w) * s for w, (s, _) in zip(row, forms, strict=True)), Fraction(0)),
                    sum((Fraction(w) * c for w, (_, c) in zip(row, forms, strict=True)), Fraction(b[i])),
                )
                for i, row in enumerate(W.tolist())
            ]
            if k == len(layers) - 1:
                following.append((left, right, z))
                continue
            roots = sorted({-c / s for s, c in z if s and left < -c / s < right})
            for a, e in itertools.pairwise([left, *roots, right]):
                middle = (a + e) / 2
                following.append((a, e, [(s, c) if s * middle + c > 0 else (Fraction(0), Fraction(0)) for s, c in z]))
        pieces = following
    return [[s for s, _ in forms] for _, _, forms in pieces]


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_largest_slope_of_a_walk(seed: int) -> None:
    layers = weights(seed, (1, 7, 6, 2))
    for low, high in ((-1.5, 0.75), (-1e6, 1e6)):
        slopes = slopes_between(layers, Fraction(low), Fraction(high))
        region = Box(low, high).fitted(1)
        for norm, length in (
            (Norm.LINF, lambda s: max(abs(v) for v in s)),
            (Norm.L1, lambda s: sum(abs(v) for v in s)),
        ):
            exact = max(length(s) for s in slopes)
            found = Fraction(steepest(network(layers), region, norm).value)
            assert exact <= found <= exact * Fraction(1.000000000001) + Fraction(1e-200)
            if high == 1e6:
                everywhere = Fraction(steepest(network(layers), None, norm).value)
                assert exact <= everywhere <= exact * Fraction(1.000000000001) + Fraction(1e-200)


@pytest.mark.parametrize("layer", [nn.leaky_relu(0.1), nn.abs_(), nn.clip(-1.0, 1.0), nn.maxmin(), nn.leaky_relu(-0.5)])
def test_other_activations_are_above_what_samples_show(layer: object) -> None:
    layers = weights(11, (1, 8, 6, 3))
    graph = network(layers, layer)
    for region in (Box(-2.0, 2.0).fitted(1), None):
        found = steepest(graph, region, Norm.L2)
        t = np.linspace(-2.0, 2.0, 100_001)
        y = forward(graph, t[None])
        sampled = float(np.linalg.norm(np.diff(y, axis=1), axis=0).max() / (t[1] - t[0]))
        assert sampled <= found.value * (1.0 + 1e-9)
        if region is not None:
            assert found.value <= sampled * (1.0 + 1e-6)


def test_a_line_in_more_dimensions() -> None:
    layers = weights(3, (3, 6, 2))
    graph = network(layers)
    region = Box([0.5, -1.0, 0.25], [0.5, 2.0, 0.25])
    (W, b), *rest = layers
    reduced = [(W[:, 1:2], b + W[:, [0, 2]] @ [0.5, 0.25]), *rest]
    own, other = steepest(graph, region, Norm.L2), steepest(network(reduced), Box(-1.0, 2.0).fitted(1), Norm.L2)
    assert own.value == pytest.approx(other.value, rel=1e-12)
    assert region.contains(own.point)


def test_breakpoints_that_nobody_found_cost_sharpness_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing rests on the breakpoints: without them neurons are open, and all of their slopes count."""
    layers = weights(5, (1, 5, 4, 1))
    exact = steepest(network(layers), None, Norm.L2).value
    for found in (np.zeros(0), np.array([0.3])):
        monkeypatch.setattr(line, "_breakpoints", lambda *_, found=found: found)
        assert steepest(network(layers), None, Norm.L2).value >= exact


def test_rounding_is_on_the_safe_side() -> None:
    """Long sums that cancel: float64 alone is below the exact slope."""
    low = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(1, 200))
        S = rng.normal(size=(200, 1))
        S[-1] -= (W @ S).item() / W[0, -1]
        graph = nn.sequential(nn.linear(S), nn.linear(W))
        exact = abs(sum((Fraction(a) * Fraction(b) for a, b in zip(W[0], S[:, 0], strict=True)), Fraction(0)))
        assert Fraction(steepest(graph, None, Norm.L2).value) >= exact
        low += abs((W @ S).item()) < exact
    assert low


def test_what_it_is_not_for() -> None:
    for graph, region, reason in (
        (nn.sequential(nn.linear([[1.0, 1.0]])), None, "more than one"),
        (nn.sequential(nn.linear([[1.0]]), nn.tanh()), None, "piecewise"),
        (nn.sequential(nn.fixed_point([[0.5]], [[1.0]], [0.0], nn.relu())), None, "implicit"),
    ):
        with pytest.raises(DoesNotApply, match=reason):
            steepest(graph, region, Norm.L2)


def test_a_bound_of_one_input_is_exact(tmp_path: Path) -> None:
    graph = network(weights(8, (1, 6, 5, 2)))
    found = lipcert.bound(graph, lower_seconds=0.1)
    assert (found.method, found.lower <= found.upper <= found.lower * (1.0 + 1e-9)) == ("breakpoints", True)
    found.certificate.save(tmp_path / "line.json")
    assert verify(tmp_path / "line.json", graph).value == found.upper


def test_a_kink_at_zero_is_a_breakpoint() -> None:
    graph = nn.sequential(nn.linear([[2.0], [-1.0]]), nn.leaky_relu(0.5), nn.linear([[3.0, 0.0]]))
    found = lipcert.bound(graph)
    assert found.lower == pytest.approx(6.0, rel=1e-9)
    assert found.upper == pytest.approx(6.0, rel=1e-9)


def test_lindex(shared_data: Path) -> None:
    found = lipcert.bound(shared_data / "onnx" / "lindex.onnx")
    assert found.upper == pytest.approx(251.046951669, rel=1e-10)
    assert found.upper <= found.lower * (1.0 + 1e-9)
