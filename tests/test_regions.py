"""Regions: what lies in them, and suprema of linear functions that no rounding makes too small."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lipcert import regions, rounding
from lipcert.errors import InvalidRequest
from lipcert.regions import Ball, Box, everywhere

CENTRE = np.array([0.25, 0.5, 1.0])
REGIONS = {
    "box": Box([-1.0, 0.0, 0.1], [0.3, 0.0, 0.7]),
    "half a space": Box([-1.0, -np.inf, 0.0], [np.inf, 0.5, 1.0]),
    "ℓ1 ball": Ball(CENTRE, 0.3, 1),
    "ℓ2 ball": Ball(CENTRE, 0.3, 2),
    "ℓ∞ ball": Ball(CENTRE, 0.3, "inf"),
    "ℓ1 ball in a box": Ball(CENTRE, 0.7, 1, Box(0.0, 1.0)),
    "ℓ2 ball in a box": Ball(CENTRE, 0.7, 2, Box(0.0, 1.0)),
    "ℓ∞ ball in a box": Ball(CENTRE, 0.7, "inf", Box(0.0, 1.0)),
}


@pytest.mark.parametrize("name", REGIONS)
def test_samples_and_projections_lie_in_the_region(name: str) -> None:
    region = REGIONS[name]
    rng = np.random.default_rng(0)
    points = np.hstack([region.sample(50, rng, 3), region.project(10.0 * rng.standard_normal((3, 50)))])
    assert all(region.contains(x) for x in points.T)
    assert region.hull().interval().contains(points).all()


@pytest.mark.parametrize("name", REGIONS)
def test_the_support_is_above_samples_and_near_them(name: str) -> None:
    region = REGIONS[name]
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((20, 3))
    if name == "half a space":
        rows[:10, :2] = -np.abs(rows[:10, :2]) * [1.0, -1.0]
    # the farthest points of a ball are projections of far ones
    points = np.hstack([region.sample(200, rng, 3), *(region.project(s * rows.T) for s in (1.0, 1e3, 1e6))])
    if isinstance(region, Ball) and region.within is not None:
        box = region.hull()
        grid = np.vstack([axis.ravel() for axis in np.meshgrid(*np.linspace(box.low, box.high, 60).T)])
        order = {"1": 1, "2": 2, "inf": np.inf}[str(region.norm)]
        points = np.hstack([points, grid[:, np.linalg.norm(grid - CENTRE[:, None], order, axis=0) <= region.radius]])
    reached = (rows @ points).max(axis=1)
    support = region.support(rows)
    assert (support >= reached - 1e-14).all()
    finite = np.isfinite(support)
    assert finite.any()
    assert (support[finite] <= reached[finite] + (1e-6 if region.hull() is region else 0.05)).all()


def largest(region: Box | Ball, row: np.ndarray) -> Fraction:
    """At most sup a·x, exactly: at a corner of a box, or along a coordinate of a ball."""
    a = [Fraction(v) for v in row.tolist()]
    if isinstance(region, Box):
        ends = zip(a, region.low.tolist(), region.high.tolist(), strict=True)
        return sum(v * Fraction(high if v > 0 else low) for v, low, high in ends)
    at = sum(v * Fraction(c) for v, c in zip(a, region.centre.tolist(), strict=True))
    # of rows whose norm is rational: (3, 4) times a number, and one entry
    dual = max(map(abs, a)) if str(region.norm) == "1" else Fraction(5, 4) * max(map(abs, a))
    return at + Fraction(region.radius) * dual


def supports_hold(seed: int) -> bool:
    """Whether suprema are at least the exact ones."""
    rng = np.random.default_rng(seed)
    low = rng.standard_normal(4)
    boxes = np.asarray(rng.standard_normal((1, 4)) * 10.0 ** rng.uniform(-3, 3, 4))
    pair = np.array([[3.0, 4.0]]) * rng.standard_normal() * 2.0 ** rng.integers(-20, 20)
    single = np.array([[0.0, rng.standard_normal()]])
    c, r = rng.standard_normal(2), float(rng.uniform(0.0, 10.0))
    pair = np.ldexp(np.array([[3.0, 4.0]]), int(rng.integers(-20, 20)))
    trials = [
        (Box(low, low), boxes),
        (Box(low, low + rng.uniform(0.0, 1.0, 4)), boxes),
        (Ball(c, r, 2), pair),
        (Ball(c, r, 1), single),
    ]
    return all(Fraction(float(region.support(a)[0])) >= largest(region, a[0]) for region, a in trials)


def test_suprema_are_rounded_up() -> None:
    assert all(supports_hold(seed) for seed in range(200))


@pytest.mark.parametrize("dropped", ["up", "gamma"])
def test_a_dropped_rounding_is_noticed(dropped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, dropped, {"up": lambda x: x, "gamma": lambda k: 0.0}[dropped])
    if dropped == "gamma":
        monkeypatch.setattr(regions, "TINY", 0.0)
        monkeypatch.setattr(regions, "UNIT", 0.0)
    assert not all(supports_hold(seed) for seed in range(200))


def test_points_on_the_boundary_are_told_exactly() -> None:
    ball = Ball([0.0, 0.0], 5.0)
    assert ball.contains(np.array([3.0, 4.0]))
    assert not ball.contains(np.array([3.0, np.nextafter(4.0, 5.0)]))
    assert Ball([0.1, 0.2], 0.5, 1).contains(np.array([0.1, 0.7])) == (Fraction(0.7) - Fraction(0.2) <= Fraction(1, 2))


def test_the_parts_of_a_split_cover_the_region() -> None:
    rng = np.random.default_rng(3)
    for region in (REGIONS["box"], REGIONS["ℓ2 ball in a box"], REGIONS["ℓ1 ball"]):
        left, right = region.split(0, 0.1)
        for x in region.sample(100, rng, 3).T:
            assert left.contains(x) == (x[0] <= 0.1)
            assert right.contains(x) == (x[0] >= 0.1)


@pytest.mark.parametrize("name", [*REGIONS, "everywhere"])
def test_regions_survive_json(name: str) -> None:
    region = REGIONS[name] if name in REGIONS else everywhere().fitted(3)
    again = regions.from_json(region.to_json())
    assert again.to_json() == region.to_json()
    assert again.describe() == region.describe()


def test_what_is_no_region_is_refused() -> None:
    good = REGIONS["ℓ2 ball"].to_json()
    for bad in (
        None,
        {},
        good | {"radius": "0.3"},
        good | {"norm": "3"},
        good | {"surplus": 1},
        good | {"within": good},
    ):
        with pytest.raises(ValueError, match=r".+"):
            regions.from_json(bad)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box([0.0, 2.0], [1.0, 1.0]), "empty at input 1"),
        (lambda: Box([0.0, np.nan], 1.0), "NaN at input 1"),
        (lambda: Box([0.0, 1.0], [1.0, 2.0, 3.0]), "2 low and 3 high"),
        (lambda: Box(np.inf, np.inf), "no number lies"),
        (lambda: Box([0.0, 0.0], 1.0).fitted(3), "2 numbers, the network 3 inputs"),
        (lambda: Ball([0.0], 0.0), "the radius of the ball is 0"),
        (lambda: Ball([0.0], np.inf), "the radius of the ball is inf"),
        (lambda: Ball([0.0], np.nan), "the radius of the ball is nan"),
        (lambda: Ball([0.0, np.inf], 1.0), "infinite at input 1"),
        (lambda: Ball([0.0, 1.5], 1.0, within=Box(0.0, 1.0)), "outside the domain: at input 1"),
        (lambda: Ball([0.0, 1.5], 1.0).fitted(3), "the centre has 2 numbers"),
        (lambda: Ball(["a"], 1.0), "not a list of numbers"),
    ],
)
def test_bad_regions_get_one_clear_line(make, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_directed_rounding_covers_one_operation() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1000))
    for x, y, low, high in zip(a, b, rounding.down(a * b), rounding.up(a * b), strict=True):
        assert Fraction(float(low)) <= Fraction(float(x)) * Fraction(float(y)) <= Fraction(float(high))
    with np.errstate(invalid="ignore"):
        assert rounding.up(np.float64(np.inf) - np.inf) == np.inf


def test_intervals_keep_what_they_hold() -> None:
    x = rounding.Interval(np.array([-1.0, 0.1, -np.inf, -np.inf]), np.array([3.0, 0.3, 2.0, np.inf]))
    assert x.contains(x.middle()).all()
    np.testing.assert_array_equal(x.radius() >= [2.0, 0.1, np.inf, np.inf], True)
    assert x.meet(rounding.Interval.point(np.array([9.0, 0.2, 1.0, 5.0]))).low.tolist() == [3.0, 0.2, 1.0, 5.0]
