"""Each error term of activations on ranges, alone: made large it adds what it stands for, or exact arithmetic needs it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from amplified import amplify
from flint import arb, ctx
from numpy.testing import assert_array_less

from lipcert.activations import TABLE, blocks, lengths, local, mean_value, products
from lipcert.activations.blocks import Householder, LogSoftmax, Softmax
from lipcert.activations.local import Profile
from lipcert.activations.products import RootMeanSquare, UnitVector
from lipcert.rounding import Interval

RNG = np.random.default_rng(0)
NUMBERS = RNG.standard_normal((200, 2))
SHARES = RNG.random((200, 1)) * np.array([1.0, 0.5])
# of two intervals whose middle is off by half a unit of their radius
TIES = [(0.46227498154861396, 255.67091784919452), (0.008214150749993565, 0.4949055800139199)]
ONE = np.ones(1)


def point(*values: float) -> Interval:
    return Interval.point(np.array(values))


def interval(low: float, high: float, *shape: int) -> Interval:
    return Interval(np.full(shape or (1,), low), np.full(shape or (1,), high))


def beyond(found: Interval, low: float, high: float) -> None:
    """All ends are at least that far out, but for true rounding."""
    room = 1e-12 * (abs(low) + abs(high))
    assert_array_less(found.low, low + room)
    assert_array_less(high - room, found.high)


def holds(found: Interval, truths: list[Fraction]) -> None:
    ends = zip(found.low.ravel().tolist(), truths, found.high.ravel().tolist(), strict=True)
    assert all(Fraction(low) <= truth <= Fraction(high) for low, truth, high in ends)


# ---- ranges


def test_radii_and_sums_of_ranges_are_rounded_up():
    for a, b in [*NUMBERS.tolist(), *TIES, *((-b, -a) for a, b in TIES)]:
        x = Interval(np.full(1, min(a, b)), np.full(1, max(a, b)))
        middle, radius = Fraction(float(x.middle()[0])), Fraction(float(x.radius()[0]))
        assert middle + radius >= Fraction(float(x.high[0]))
        assert middle - radius <= Fraction(float(x.low[0]))
        holds(point(a).plus(point(b)), [Fraction(a) + Fraction(b)])


# ---- products


def test_products_of_numbers_are_rounded_outward():
    for a, b in NUMBERS.tolist():
        holds(products.times(point(a), point(b)), [Fraction(a) * Fraction(b)])


def test_halves_between_centres_and_ranges_are_enclosed(monkeypatch):
    amplify(monkeypatch, products, outward=1.0, UNIT=1.0)
    middle, radius = products._halfway(2.0 * ONE, ONE, 3.0 * ONE, ONE)
    assert middle == 2.5
    assert radius >= (0.5 * (1.0 + 1.0 + 1.0) + 4.0 * 5.0) + 1.0


@pytest.mark.parametrize("kind", ["product", "matrix_product"])
def test_means_of_factors_are_enclosed(kind):
    parameters = {} if kind == "product" else {"rows": ONE, "inner": ONE}
    on = Interval(np.array([1.0, 2.0]), np.array([3.0, 6.0]))
    around = Interval(np.array([1.0, 2.0]), np.array([1.5, 2.5]))
    for centre, x, y in ((None, (1.0, 3.0), (2.0, 6.0)), (around, (1.0, 2.25), (2.0, 4.25))):
        form = TABLE[kind].normal_form(2, parameters, on, centre)
        K, P = form.K[0, 0], form.P[0, 0]
        # Δ(xy) = ȳ Δx + x̄ Δy
        for middle, radius, (low, high) in zip(K, P, (y, x), strict=True):
            assert middle - radius <= low
            assert high <= middle + radius


def test_constants_of_products_are_rounded_up(monkeypatch):
    amplify(monkeypatch, products, UNIT=1.0, TINY=1.0)
    on = point(3.0, 4.0)
    assert TABLE["product"].lipschitz(2, {}, on) >= 5.0 * 9.0 + 1.0
    assert TABLE["matrix_product"].lipschitz(2, {"rows": ONE, "inner": ONE}, on) >= 5.0 * 9.0 + 1.0


def test_sums_of_products_are_rounded_outward(monkeypatch):
    amplify(monkeypatch, products, gamma=1.0, outward=1.0, TINY=1.0)
    # 1·2, off by one, and by the sum of moduli
    found = TABLE["matrix_product"].image(2, {"rows": ONE, "inner": ONE}, point(1.0, 2.0))
    beyond(found, 1.0 - (3.0 + 1.0) - 1.0, 3.0 + (3.0 + 1.0) + 1.0)
    found = products.matrix_times(interval(1.0, 3.0, 1, 1, 1), interval(1.0, 3.0, 1, 1, 1))
    room = (2.0 * (1.0 + 3.0) + 1.0 * 3.0) * 5.0 + 1.0
    beyond(found, 4.0 - room - 1.0, 4.0 + room + 1.0)


# ---- vectors divided by their length


@pytest.mark.parametrize("seed", range(20))
def test_reciprocals_of_lengths_are_rounded_up(seed, monkeypatch):
    least = float(np.random.default_rng(seed).uniform(0.5, 2.0))
    monkeypatch.setattr(RootMeanSquare, "_least", lambda self, block, parameters, on: np.full(1, least))
    anything = interval(-np.inf, np.inf, 1, 2, 2)
    monkeypatch.setattr(RootMeanSquare, "_entries", lambda self, *arguments: anything)
    record = RootMeanSquare()
    parameters = {"eps": ONE, "count": ONE}
    truth = 1 / Fraction(least)
    form = record.normal_form(2, parameters)
    assert Fraction(float(form.K[0, 0, 0])) + Fraction(float(form.P[0, 0, 0])) >= truth
    assert Fraction(record.lipschitz(2, parameters)) >= truth
    J = record.derivatives(2, parameters, point(1.0, 1.0))
    assert J is not None
    assert Fraction(float(J.high[0, 0, 0])) >= truth
    assert Fraction(float(J.high[0, 0, 1])) >= truth / 2
    assert Fraction(float(J.low[0, 0, 1])) <= -truth / 2


def test_lengths_are_rounded_down(monkeypatch):
    amplify(monkeypatch, products, UNIT=1.0 / 64.0)
    least = RootMeanSquare().least(2, {"eps": 4.0 * ONE, "count": ONE}, None)
    assert least <= 2.0 * np.sqrt(1.0 - 8.0 / 64.0) * (1.0 - 4.0 / 64.0) * (1.0 + 1e-12)
    on = point(3.0, 4.0)
    assert UnitVector().least(2, {"floor": 0.1 * ONE}, on) <= 5.0 * (1.0 - 4.0 / 64.0) * (1.0 + 1e-12)
    # whether a length of 5 is certainly above a floor of √22.5
    w, top = interval(-1.0, 1.0, 1, 2), np.ones((1, 2, 2))
    found = UnitVector()._entries(2, {"floor": np.sqrt(22.5) * ONE}, on, w, top)
    assert np.isinf(found.high).all()
    amplify(monkeypatch, products, gamma=0.1)
    assert products._least_squares(on, 2) <= 25.0 * 0.8 * (1.0 + 1e-12)


def test_directions_are_rounded_outward(monkeypatch):
    amplify(monkeypatch, lengths, gamma=0.1, UNIT=1.0 / 64.0, TINY=1.0)
    zero = np.zeros((1, 1))
    found = lengths.directions(point(3.0, 4.0), 2, np.ones((1, 1)), zero, zero)
    most, fewest = 3.0 / np.sqrt(9.0 + 16.0 + 0.2 * 25.0 + 1.0), 3.0 / np.sqrt(9.0 + 16.0 * 0.9 - 0.1 * 9.0)
    beyond(Interval(found.low[:1], found.high[:1]), 0.75 * most - 1.0, 1.25 * fewest + 1.0)
    far = lengths.directions(interval(1.0, np.inf), 1, np.full((1, 1), 4.0), zero, zero)
    assert far.high >= 2.0 * (1.0 + 4.0 / 64.0) * 1.25 + 1.0


def test_counts_of_means_stand_for_numbers_beside_them(monkeypatch):
    """With half of the count for what it may be off, and no other room."""
    on, one, zero = point(3.0, 4.0), np.ones((1, 1)), np.zeros((1, 1))
    with ctx.workprec(200):
        w = RootMeanSquare().ball([arb(1)], {"count": 3.0, "eps": 0.0})[0]
        # of √3, also for counts that are next to 3
        assert all((arb(float(np.nextafter(3.0, to))).sqrt() in w) for to in (0.0, 9.0))
    for module in (lengths, products):
        amplify(monkeypatch, module)
        monkeypatch.setattr(module, "COUNT", 0.5)
    assert RootMeanSquare().least(2, {"eps": 4.0 * ONE, "count": ONE}, None) <= np.sqrt(2.0) * (1.0 + 1e-12)
    found = lengths.directions(on, 2, one, zero, zero)
    beyond(Interval(found.low[:1], found.high[:1]), 0.6 * 0.5, 0.6 * 1.5)
    assert lengths.directions(interval(1.0, np.inf), 1, 4.0 * one, zero, zero).high >= 2.0 * 1.5 * 1.5
    shape = (1, 1, 1)
    w, top = interval(0.5, 0.5, 1, 1), np.ones(shape)
    found = products._quotient(w, top, point(5.0), 1, np.ones(shape), np.zeros(shape))
    beyond(found, (1.0 - 0.25 * 1.5) / 7.5, 1.0 - 0.25 * 0.5)


def test_jacobians_of_normalisations_are_rounded_outward(monkeypatch):
    shape = (1, 1, 1)
    one, zero = np.ones(shape), np.zeros(shape)
    w, on = interval(0.5, 0.5, 1, 1), point(5.0)
    amplify(monkeypatch, products, gamma=1.0, TINY=1.0)
    beyond(products._quotient(w, one, on, 1, one, zero), 0.75 / 26.0, 0.75)
    amplify(monkeypatch, products, outward=0.01)
    found = products._quotient(w, one, on, 1, one, zero)
    most, least = 0.26 * 1.01 + 0.01, 0.24 * 0.99 - 0.01
    beyond(found, (1.0 - most - 0.01) * (0.2 - 0.01) - 0.01, (1.0 - least + 0.01) + 0.01)


# ---- means of Jacobians


def test_norms_and_spreads_of_jacobians_are_rounded_up(monkeypatch):
    amplify(monkeypatch, mean_value, gamma=1.0, outward=1.0, TINY=1.0)
    assert mean_value.norm_up(np.full((1, 1, 1), 3.0)) >= 3.0 * 5.0 + 1.0
    J = interval(1.0, 5.0, 1, 1, 1)
    assert mean_value.nearer(J, np.zeros((1, 1, 1)), np.full(1, 1e9))[1] >= (2.0 * 5.0 + 1.0) + 1.0


def test_forms_of_softmax_near_a_point_are_enclosed(monkeypatch):
    form, (centring, _) = Softmax().normal_form(2, {}), blocks._centring(2)
    J = Interval(np.array([[[0.1, -0.2], [-0.2, 0.1]]]), np.array([[[0.2, -0.1], [-0.1, 0.2]]]))
    amplify(monkeypatch, blocks, outward=1.0, UNIT=1.0, _TINY=1.0)
    near = Softmax._near(form, J, centring)
    scale = 4.0 * (0.1 + 1.0)
    assert form.P_radius is not None
    assert near.K_radius is not None
    assert near.P_radius is not None
    assert_array_less(np.abs(form.P) * scale * (1.0 - 1e-12), np.abs(near.P) + 1e-300)
    # middles of 0.15 at most
    assert_array_less(64.0 * 2.0 * 0.15 + 0.999, near.K_radius)
    assert_array_less(2.0 * np.abs(form.P) * scale + 0.999, near.P_radius)
    spread = np.full_like(form.P_radius, 5.0)
    wide = Softmax._near(replace(form, P_radius=spread), J, centring)
    assert wide.P_radius is not None
    assert_array_less(5.0 * scale + 0.999, wide.P_radius)


@pytest.mark.parametrize("record", [Softmax(), LogSoftmax()])
def test_jacobians_of_softmax_hold_the_exact_ones(record, monkeypatch):
    for p in SHARES.tolist():
        own = point(*p)
        monkeypatch.setattr(Softmax, "image", lambda self, block, parameters, on, own=own: own)
        monkeypatch.setattr(blocks, "_shares", lambda on, block, own=own: own)
        J = record.derivatives(2, {}, own)
        assert J is not None
        a, b = map(Fraction, p)
        shares, logarithms = [a * (1 - a), -a * b, -a * b, b * (1 - b)], [1 - a, -b, -a, 1 - b]
        holds(J, shares if isinstance(record, Softmax) else logarithms)


# ---- constants


def test_constants_that_are_no_float64_numbers_are_enclosed():
    """√½ and 1/6 of operators are the numbers that they are named for."""
    with ctx.workprec(200):
        x = arb(0.7)
        found = TABLE["gelu"].ball([x], {"rate": np.sqrt(0.5)})[0]
        assert (x * (1 + (x / arb(2).sqrt()).erf()) / 2) in found
        assert (x * (1 + (x * arb(float(np.sqrt(0.5)))).erf()) / 2) in found
        found = TABLE["hard_swish"].ball([x], {"alpha": 1.0 / 6.0, "beta": 0.5})[0]
        for alpha in (arb(1) / 6, arb(1.0 / 6.0)):
            assert x * (alpha * x + arb(0.5)) in found
        # other numbers are themselves
        assert TABLE["hard_swish"].ball([x], {"alpha": 0.25, "beta": 0.5})[0].rad() < 1e-50
        assert TABLE["gelu"].ball([x], {"rate": 0.7071067811865474})[0].rad() < 1e-50


# ---- blocks


def test_images_of_reflections_are_rounded_outward(monkeypatch):
    parameters = {"u": np.full((1, 1), 2.0), "c": np.ones((1, 1))}
    amplify(monkeypatch, blocks, gamma=1.0, outward=1.0)
    found = Householder().image(1, parameters, interval(-3.0, -1.0))
    # c·z between −2 − 10 − 1 and 0
    beyond(found, -3.0 - 1.0 - 1.0, -1.0 + (26.0 + 1.0) + 1.0)
    amplify(monkeypatch, blocks, outward=1.0)
    found = Householder().image(1, parameters, interval(-30.0, -10.0))
    # between −20 − 11 − 1 and −20 + 11 + 1
    beyond(found, -30.0 - (-16.0 + 1.0) - 1.0, -10.0 + (64.0 + 1.0) + 1.0)


def test_images_of_norms_are_rounded_outward(monkeypatch):
    norm = TABLE["norm"]
    assert norm.image(4, {}, interval(-1e-200, 1e-200, 4)).high[0] >= 2e-200
    amplify(monkeypatch, blocks, gamma=0.1, outward=1.0)
    beyond(norm.image(2, {}, point(3.0, 4.0)), 5.0 * 0.8 - 1.0, 5.0 * 1.2 + 1.0)


def test_images_of_sums_of_exponentials_are_rounded_outward(monkeypatch):
    record = TABLE["log_sum_exp"]
    amplify(monkeypatch, blocks, outward=0.1)
    found = record.image(2, {}, point(0.0, 0.0))
    assert found.low <= np.log(2.0) - 0.3 + 1e-12
    found = record.image(2, {}, point(0.0, -5.0))
    assert found.high >= np.log1p(np.exp(-5.0)) + 0.3 - 1e-12
    amplify(monkeypatch, blocks, outward=0.1, UNIT=1.0 / 64.0)
    # near the maximum
    assert record.image(2, {}, point(0.0, 0.0)).high >= np.log(2.0) * (1.0 + 4.0 / 64.0) + 0.1 - 1e-12
    amplify(monkeypatch, blocks, outward=0.1)
    beyond(TABLE["softmax"].image(2, {}, point(0.0, 0.0)), 0.5 - 0.3, 0.5 + 0.3)


# ---- scalar functions


def profile(low: float, high: float, value: float = 0.0) -> Profile:
    """Of slopes between `low` and `high` on [0, 1], and the same value at both ends."""
    at = np.full((1, 2), value)
    return Profile(np.array([[0.0, 1.0]]), Interval(at, at), interval(low, high, 1, 1), np.ones((1, 1), dtype=bool))


def test_highest_values_are_rounded_up(monkeypatch):
    amplify(monkeypatch, local, outward=1.0, UNIT=1.0 / 64.0)
    # less z: 2 and 1 at the ends, slopes between −4 and 3, twice as wide: a tent of 5
    bump = 2.0 * 12.0 / 7.0
    assert profile(-2.0, 3.0).highest(ONE) >= 5.0 + 0.25 * (2.0 + bump) + 1.0 - 1e-9
    assert profile(-1e9, 3.0).highest(ONE) >= 2.0 + (2.0 * 3.0 + 1.0) + 1.0 - 1e-6
    assert profile(-2.0, 1e9).highest(ONE) >= 1.0 + (2.0 * 4.0 + 1.0) + 1.0 - 1e-6


def test_values_beside_kinks_hold_the_exact_ones():
    for z, s in NUMBERS.tolist():
        for k, v, slope in ((0.0, 0.0, s), (0.1, 0.0, 1.0), (0.0, s, 1.0), (0.1, s, s)):
            arrays = (np.full((1, 1), k), np.full((1, 1), v), np.full((1, 2), slope))
            found = local._linear_values(*arrays, np.full((1, 1), z))
            holds(found, [Fraction(v) + Fraction(slope) * (Fraction(z) - Fraction(k))])


def test_balls_are_rounded_outward(monkeypatch):
    amplify(monkeypatch, local, outward=1.0)
    at = np.full((1, 1), 0.5)
    tanh = 1.0 - np.tanh(0.5) ** 2
    for found, truth in zip(local._enclosed(TABLE["tanh"], {}, at, at), (np.tanh(0.5), tanh), strict=True):
        beyond(found, truth - 3.0, truth + 3.0)


def test_radii_of_balls_are_kept():
    """With 20 bits a ball is far wider than a rounding of float64."""
    at = np.full((1, 1), 0.7)
    with ctx.workprec(20):
        value, slope = local._enclosed(TABLE["tanh"], {}, at, at)
        images = [TABLE[kind].image(2, {}, point(0.3, 0.1)) for kind in ("log_sum_exp", "softmax")]
    share = 1.0 / (1.0 + np.exp(-0.2))
    truths = [np.tanh(0.7), 1.0 - np.tanh(0.7) ** 2, np.log(np.exp(0.3) + np.exp(0.1)), np.array([share, 1.0 - share])]
    for found, truth in zip((value, slope, *images), truths, strict=True):
        assert (found.low <= truth).all()
        assert (truth <= found.high).all()


def test_kinks_and_periods_are_enclosed(monkeypatch):
    amplify(monkeypatch, local, outward=1.0, UNIT=1.0)
    beyond(local.kinks(np.array([7.0])), 7.0 - 3.0, 7.0 + 3.0)
    found = local.periodic(np.array([1.0]), np.array([2.0]), np.array([2.0]), np.array([3.5]))
    spread = 16.0 * (1.0 + 1.0 + 2.0)
    beyond(Interval(found.low[:, 0], found.high[:, 0]), 1.0 - spread - 1.0, 1.0 + spread + 1.0)
    many = local.periodic(np.zeros(1), ONE, np.zeros(1), np.full(1, 1e6))
    assert many.high[0, -1] >= 1e6


@pytest.mark.parametrize(
    ("grid", "value", "slope", "around", "low", "high"),
    [
        # c in [0, 0.2], and the function twice the identity with slopes known up to ±2
        ([0.0, 0.2, 2.0, 4.0], [0.0, 0.2, 2.0, 4.0], ([0.0, 0.0, -1.0], [2.0, 2.0, 3.0]), 0.2, -0.309642, 2.334094),
        # c is 0: behind 4 chords that fall by 4 rise again
        ([0.0, 0.0, 4.0, 6.0], [0.0, 0.0, -16.0, -12.0], ([-2.0, -6.0, 1.0], [0.0, -2.0, 3.0]), 0.0, -6.0, -1.971698),
        ([0.0, 0.0, 4.0, 6.0], [0.0, 0.0, -8.0, -14.0], ([0.0, -2.0, -3.0], [2.0, -2.0, -3.0]), 0.0, -2.357245, -2.0),
    ],
)
def test_secants_are_rounded_outward(grid, value, slope, around, low, high, monkeypatch):
    """With 0.01 for a rounding, the ends that all roundings of the formula lead to."""
    amplify(monkeypatch, local, outward=0.01)
    at = np.array([grid])
    pieces = Interval(*(np.array([end]) for end in slope))
    found = Profile(at, Interval.point(np.array([value])), pieces, at[:, :-1] < at[:, 1:])
    beyond(found._secants_right(Interval(np.zeros(1), np.full(1, around))), low + 2e-6, high - 2e-6)
