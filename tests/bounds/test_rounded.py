"""What the norm product, lower bounds and radii round, they round to the safe side: compared with exact numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from lipcert.bounds import product
from lipcert.bounds.margins import proven_margins
from lipcert.bounds.product import NormProduct, norm_product
from lipcert.bounds.witness import Witness, proven_ratio
from lipcert.certificates.enclosure import Enclosure
from lipcert.certificates.shared import ALL, SQRT2, MarginBounds
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.linear_maps import Dense, Diagonal
from lipcert.graph.nodes import GraphBuilder
from lipcert.norms import Norm

NUMBERS = np.random.default_rng(0).random((80, 2))


def linear(n, m):
    return nn.sequential(nn.linear(np.ones((m, n))))


# ---- the norm product


@pytest.mark.parametrize(("n", "m"), [(3, 5), (7, 2), (10, 10), (6, 1), (1, 6), (784, 11), (13, 1000)])
def test_conversions_are_rounded_up(n, m):
    for value in NUMBERS[:, 0]:
        found = NormProduct(linear(n, m), float(value), np.ones(1), {})
        for norm, output, square in (
            (Norm.LINF, Norm.L2, n),
            (Norm.L2, Norm.L1, m),
            (Norm.LINF, Norm.L1, n * m),
        ):
            assert Fraction(found.conversion(Claim(norm, output))) ** 2 >= Fraction(float(value)) ** 2 * square


def test_products_are_rounded_up():
    for a, b in NUMBERS.tolist():
        assert Fraction(product.times(a, b)) >= Fraction(a) * Fraction(b)
    assert product.times(1e-200, 1e-200) > 0.0
    assert product.times(0.0, 1.0) == 0.0


@pytest.mark.parametrize("count", [2, 3, 10])
def test_branches_are_put_together_upward(count):
    rng = np.random.default_rng(count)
    for _ in range(80):
        branches = rng.random(count).tolist()
        exact = [Fraction(v) for v in branches]
        assert Fraction(product._together(branches, False)) >= sum(exact)
        assert Fraction(product._together(branches, True)) ** 2 >= sum(v * v for v in exact)


def test_composed_maps_count_their_radii_and_round_up(monkeypatch):
    builder = GraphBuilder()
    x = builder.input(2)
    z = builder.affine([x], [Diagonal(np.ones(2), np.full(2, 0.5))])
    y = builder.affine([z], [Dense(np.array([[3.0, 4.0]]))])
    graph = builder.finish(y)
    assert norm_product(graph).value >= 7.5
    for a, b in NUMBERS.tolist():
        monkeypatch.setattr(product, "norm_upper", lambda _, a=a: a)
        monkeypatch.setattr(product, "norm_bound", lambda _, b=b: b)
        assert Fraction(product.composed_norm(Enclosure(np.eye(1), None))) >= Fraction(a) + Fraction(b)


# ---- lower bounds


def test_ratios_are_rounded_down():
    for a, b in NUMBERS.tolist():
        graph = nn.sequential(nn.linear([[a]]), nn.relu(), nn.linear([[b]]))
        found = proven_ratio(graph, Norm.LINF, Norm.LINF, Witness(np.ones(1), np.ones(1)))
        assert Fraction(found) <= Fraction(a) * Fraction(b)
        assert found >= a * b * (1 - 1e-15)


def test_ratios_are_taken_from_the_lower_end():
    builder = GraphBuilder()
    x = builder.input(1)
    graph = builder.finish(builder.affine([x], [Diagonal(np.ones(1), np.full(1, 0.5))]))
    assert proven_ratio(graph, Norm.L2, Norm.L2, Witness(np.ones(1), np.ones(1))) <= 0.5


# ---- radii


def test_the_root_of_two_is_rounded_up():
    assert Fraction(SQRT2) ** 2 >= 2


def test_margins_are_rounded_down():
    points = NUMBERS[:, :1]
    for a, b in NUMBERS[:20].tolist():
        graph = nn.sequential(nn.linear([[a], [b]]))
        predictions, margins = proven_margins(graph, points)
        for x, c, margin in zip(points[:, 0].tolist(), predictions, margins, strict=True):
            assert Fraction(float(margin[1 - c])) <= abs(Fraction(a) - Fraction(b)) * Fraction(x)


def test_margins_are_taken_from_the_lower_end():
    builder = GraphBuilder()
    x = builder.input(2)
    graph = builder.finish(builder.affine([x], [Diagonal(np.ones(2), np.full(2, 0.25))]))
    _, margins = proven_margins(graph, np.array([[4.0, 1.0]]))
    # 4·0.75 − 1·1.25
    assert margins[0, 1] <= 1.75


def test_radii_are_rounded_down():
    for gap, upper in NUMBERS.tolist():
        found = MarginBounds(2, {"0-1": upper}).distances(np.zeros(1, dtype=np.int64), np.array([[np.inf, gap]]))
        assert found[0, 0] == np.inf
        assert Fraction(float(found[0, 1])) <= Fraction(gap) / Fraction(upper)


def test_the_joint_bound_of_a_margin_is_rounded_up():
    for joint in NUMBERS[:, 0].tolist():
        assert Fraction(MarginBounds(2, {ALL: joint}).of("0-1")) ** 2 >= 2 * Fraction(joint) ** 2
        assert MarginBounds(1, {ALL: joint}).of("0") == joint
    assert math.isinf(MarginBounds(2, {}).of("0-1"))


def test_norm_products_of_each_output_are_rounded_up():
    def of(row, increment):
        found = NormProduct(linear(1, 1), math.inf, np.full(2, increment), {})
        found.__dict__["_rows"] = np.array([[row]])
        return float(found.each[0])

    for a, b in NUMBERS.tolist():
        assert Fraction(of(a, b)) >= Fraction(a) * Fraction(b)
    assert of(1e-200, 1e-200) > 0.0


def test_norms_of_rows_are_rounded_up():
    rng = np.random.default_rng(1)
    for _ in range(60):
        mid, rad = rng.normal(size=(1, 7)), rng.random((1, 7))
        exact = sum(
            (abs(Fraction(m)) + Fraction(r)) ** 2 for m, r in zip(mid[0].tolist(), rad[0].tolist(), strict=True)
        )
        assert Fraction(float(product._row_norms(Enclosure(mid, rad))[0])) ** 2 >= exact
    assert product._row_norms(Enclosure(np.full((1, 1), 1e-200)))[0] >= 1e-200
