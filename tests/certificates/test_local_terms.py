"""Each error term of the proofs on regions, alone: with its factor made large, the bound grows by what it stands for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from amplified import amplify
from numpy.testing import assert_array_less

from lipcert.certificates import front, margin, nearby, normwise, spectral
from lipcert.certificates.block_cholesky import Weights
from lipcert.certificates.enclosure import Enclosure
from lipcert.certificates.normwise import NormwiseArithmetic, Origin
from lipcert.graph import build as nn
from lipcert.graph.linear_maps import Dense, Diagonal
from lipcert.graph.nodes import Activation, Affine
from lipcert.norms import Norm
from lipcert.ranges import absolute, linear, propagate
from lipcert.regions import Box
from lipcert.rounding import Interval

NUMBERS = np.random.default_rng(0).standard_normal((200, 2)) * 10.0 ** np.random.default_rng(1).uniform(-3, 3, (200, 2))


# ---- ranges


def test_ends_of_ranges_are_rounded_outward(monkeypatch):
    """1 ± 2⁻⁶⁰, without any room for products."""
    monkeypatch.setattr(propagate, "gamma", lambda k: 0.0)
    for name in ("TINY", "FLOOR"):
        monkeypatch.setattr(propagate, name, 0.0)
    monkeypatch.setattr(Interval, "middle", lambda self: np.ones(1))
    monkeypatch.setattr(Interval, "radius", lambda self: np.full(1, 2.0**-60))
    found = propagate.product(Diagonal(np.ones(1)), Interval.point(np.ones(1)))
    assert found.low[0] < 1.0 < found.high[0]


@pytest.fixture
def sweep():
    """A backward sweep over one number in ±5."""
    found = linear.Backward(
        nn.sequential(nn.relu(), inputs=1),
        Box(-5.0, 5.0).fitted(1),
        {0: Interval(np.full(1, -5.0), np.full(1, 5.0))},
        {},
    )
    found.constant, found.lost = np.zeros(1), np.zeros(1)
    return found


@pytest.fixture
def _rough(monkeypatch):
    """γ is one, and nothing else rounds."""
    monkeypatch.setattr(linear, "gamma", lambda k: 1.0)
    monkeypatch.setattr(linear, "UNIT", 0.0)
    monkeypatch.setattr(linear, "TINY", 0.0)


@pytest.fixture
def _coarse(monkeypatch):
    """A rounding is as large as the number, and products do not round."""
    monkeypatch.setattr(linear, "gamma", lambda k: 0.0)
    monkeypatch.setattr(linear, "UNIT", 1.0)
    monkeypatch.setattr(linear, "TINY", 0.0)


THREE = np.array([[3.0]])


@pytest.mark.usefixtures("_rough")
def test_products_with_biases_and_maps_cost(sweep):
    sweep._affine(Affine((0,), (Diagonal(np.zeros(1)),), np.array([2.0])), THREE)
    assert sweep.lost[0] >= 6.0
    sweep.lost = np.zeros(1)
    sweep._affine(Affine((0,), (Dense(np.ones((1, 1))),), None), THREE)
    # and sums of such terms round
    assert sweep.lost[0] >= 75.0


@pytest.mark.usefixtures("_rough")
def test_products_with_ends_cost(sweep):
    sweep._weighted(THREE, np.array([2.0]))
    assert sweep.lost[0] >= 18.0


@pytest.mark.usefixtures("_rough")
def test_losses_of_planes_cost(sweep):
    planes = SimpleNamespace(over=np.zeros(1), under=np.zeros(1), lost=np.full(1, 2.0), slope=lambda columns: columns)
    sweep._blocks(SimpleNamespace(parent=0), planes, THREE)
    assert sweep.lost[0] >= 3.0 * 2.0 * 3.0


@pytest.mark.usefixtures("_coarse")
def test_radii_of_maps_cost(sweep):
    sweep._affine(Affine((0,), (Diagonal(np.ones(1), np.full(1, 0.5)),), None), THREE)
    assert sweep.lost[0] >= 7.5


@pytest.mark.usefixtures("_coarse")
def test_slopes_sums_and_losses_cost(sweep, monkeypatch):
    lines = linear.Lines(below=np.ones(1), under=np.zeros(1), above=np.ones(1), over=np.zeros(1))
    sweep.lines = {1: lines}
    lost = []
    monkeypatch.setattr(sweep, "_lose", lambda error: lost.append(float(error[0])))
    node = sweep.graph.nodes[1]
    assert isinstance(node, Activation)
    sweep._activation(1, node, THREE)
    assert sum(lost) >= 30.0
    lost.clear()
    sweep.coefficients = {0: THREE}
    sweep._give(0, THREE)
    assert sum(lost) >= 60.0
    lost.clear()
    sweep._add(np.full(1, 7.0), np.ones(1))
    assert sum(lost) >= 15.0


@pytest.mark.usefixtures("_coarse")
def test_losses_add_up(sweep):
    sweep.lost = np.ones(1)
    sweep._lose(np.full(1, 2.0))
    assert sweep.lost[0] >= 15.0


def test_bounds_of_functionals_are_rounded_up(sweep, monkeypatch):
    region = SimpleNamespace(support=lambda rows: np.full(len(rows), 4.0))
    found = linear.Backward(sweep.graph, region, sweep.found, {})
    monkeypatch.setattr(linear, "up", lambda x: x + 1.0)
    assert found.upper({0: np.ones((1, 1))})[0] == 7.0
    monkeypatch.setattr(linear, "UNIT", 1.0)
    monkeypatch.setattr(linear.Backward, "_image", lambda self, position, columns: setattr(self, "lost", np.ones(1)))
    assert found.upper({1: np.ones((1, 1))})[0] == 68.0


# ---- networks of moduli


def test_halves_and_sums_of_slopes_are_enclosed():
    numbers = [*NUMBERS.tolist(), (5e-324, 0.0), (5e-324, 1e-323), (0.1, 0.2)]
    a, b = np.array(numbers).T
    half, error = absolute._half(a, b)
    total, room = absolute._sum(a, np.abs(a), b, np.abs(b))
    plain, rounding = absolute._sum(a, 0.0 * a, b, 0.0 * b)
    for k, (x, y) in enumerate(numbers):
        exact = Fraction(x) + Fraction(y)
        assert abs(Fraction(float(half[k])) - exact / 2) <= Fraction(float(error[k]))
        assert abs(Fraction(float(plain[k])) - exact) <= Fraction(float(rounding[k]))
        spread = abs(Fraction(x)) + abs(Fraction(y))
        assert abs(Fraction(float(total[k])) - exact) + spread <= Fraction(float(room[k]))


def test_margins_from_the_sample_on_are_rounded():
    for L, r in np.abs(NUMBERS).tolist():
        product = Fraction(L) * Fraction(r)
        for m in (L * r, float(np.nextafter(L * r, 0.0)), float(np.nextafter(L * r, np.inf))):
            assert not nearby.anchored_margin(m, L, r) or Fraction(m) > product
        assert nearby.anchored_margin(L * r * (1 + 1e-14), L, r)


# ---- margins by the lifted program


ERRORS = ("radius_error", "sum_error", "product_error")


def lifted(monkeypatch, value: float, delta: float, errors: tuple[float, float, float]) -> float:
    """`lower_bound` of a program whose stages give these numbers."""
    constraints = SimpleNamespace(free=np.zeros(2, dtype=bool), quadratic=lambda theta: np.zeros((3, 3, 1)))
    system = SimpleNamespace(constraints=constraints, channels=1)
    monkeypatch.setattr(margin, "_form", lambda system, H, ball: np.eye(3))
    monkeypatch.setattr(margin, "_least", lambda M, constant: (value, delta))
    for name, error in zip(ERRORS, errors, strict=True):
        monkeypatch.setattr(margin, name, lambda *arguments, error=error: error)
    return margin.lower_bound(system, np.zeros((2, 1)), 0.0)


def test_each_error_of_a_margin_enters(monkeypatch):
    assert lifted(monkeypatch, 1.0, 0.0, (0.0, 0.0, 0.0)) < 1.0
    for k in range(3):
        errors = tuple(float(j == k) for j in range(3))
        assert lifted(monkeypatch, 10.0, 0.0, errors) < 9.0
    assert lifted(monkeypatch, 10.0, 1.0, (0.0, 0.0, 0.0)) < 7.0
    # and their sum is rounded up
    assert lifted(monkeypatch, 0.0, 0.0, (1.0, 0.0, 0.0)) < -1.0 - 2.0**-42


def test_the_positive_matrix_has_room(monkeypatch):
    seen = []

    def cholesky(A, **options):
        seen.append(A.copy())
        return A, 0

    monkeypatch.setattr(margin.lapack, "dpotrf", cholesky)
    monkeypatch.setattr(margin, "cholesky_room", lambda n, trace: 0.25 * trace)
    assert margin._positive(np.diag([1.0, 2.0]), 0, 0.5, 0.125)
    # the trace is that of the shifted diagonal, delta added
    assert_array_less(np.diag(seen[0]), np.array([0.5, 2.0]) + 0.125 - 0.25 * 2.75)
    monkeypatch.setattr(margin, "cholesky_room", lambda n, trace: 0.0)
    monkeypatch.setattr(margin, "UNIT", 2.0**-10)
    margin._positive(np.diag([1.0, 2.0]), 0, 0.5, 0.125)
    assert_array_less(np.diag(seen[1]), np.array([0.5, 2.0]) + 0.125 - 8.0 * 2.0**-10 * 2.625)


# ---- lengths of columns


def test_what_two_parts_add_is_added_up(monkeypatch):
    monkeypatch.setattr(normwise, "GROWN", 0.0)
    arithmetic = NormwiseArithmetic()
    rng = np.random.default_rng(0)
    origin = normwise._origin(Enclosure(rng.standard_normal((3, 2)), np.full((3, 2), 1e-3), np.full(2, 1e-3)))
    assert isinstance(origin, Origin)
    parts = [
        Enclosure(rng.standard_normal((3, 2)), np.full((3, 2), 1e-3), np.full(2, 1e-3), _with_fresh(origin, fresh))
        for fresh in (1.0, 10.0)
    ]
    found = arithmetic.add(*parts)
    assert found.origin is not None
    assert_array_less(np.full(2, 11.0), found.origin.fresh)


def _with_fresh(origin: Origin, fresh: float) -> Origin:
    return replace(origin, fresh=np.full(2, fresh))


def test_what_a_block_adds_is_carried_along(monkeypatch):
    monkeypatch.setattr(normwise, "GROWN", 0.0)
    origin = normwise._origin(Enclosure(np.ones((1, 1)), np.ones((1, 1)), np.ones(1)))
    assert isinstance(origin, Origin)
    x = Enclosure(np.full((1, 1), 3.0), np.ones((1, 1)), np.ones(1), replace(origin, fresh=np.ones(1)))
    monkeypatch.setattr(normwise, "gamma", lambda k: 1.0)
    monkeypatch.setattr(normwise, "inflation", lambda k: 2.0)
    found = NormwiseArithmetic().blocks(np.full((1, 1, 1), 2.0), None, x)
    assert found.origin is not None
    # ‖S‖ times what came along, and the rounding of ‖S‖ times the column
    assert found.origin.fresh >= 2.0 * (2.0 * 1.0 + 2.0 * 2.0 * 3.0)


def test_lengths_of_columns_are_rounded_up():
    columns = np.hstack([NUMBERS.T[:, :50], np.full((2, 1), 1e-200)])
    for column, length in zip(columns.T.tolist(), normwise.column_lengths(columns).tolist(), strict=True):
        assert Fraction(length) ** 2 >= sum(Fraction(v) ** 2 for v in column)


def test_norms_and_lengths_on_the_way_are_rounded_up(monkeypatch):
    monkeypatch.setattr(normwise, "inflation", lambda k: 2.0)
    monkeypatch.setattr(normwise, "norm_upper", lambda a: 1.0)
    monkeypatch.setattr(normwise, "norm_bound", lambda a: 3.0)
    assert normwise._norm(Enclosure(np.eye(2), np.ones((2, 2)))) == 8.0
    assert normwise._up(np.ones(1))[0] == 2.0
    assert normwise._up(np.zeros(1))[0] > 0.0
    monkeypatch.setattr(normwise, "inflation", lambda k: 1.0)
    assert normwise.column_lengths(np.zeros((1, 1)))[0] > 0.0


BLOCKS = np.eye(2, 3)[None]


def test_norms_of_blocks_have_room(monkeypatch):
    """Of [I 0], whose singular vectors are unit vectors: one for each term."""
    for k, expected in ((5, 1.0 + 0.25 * np.sqrt(2.0)), (3, np.sqrt(1.25)), (4, 1.0 / np.sqrt(0.75)), (22, 2.0)):
        monkeypatch.setattr(spectral, "gamma", lambda j, k=k: 0.25 * (j == k))
        assert spectral.norm_of_blocks(BLOCKS) >= expected * (1.0 - 1e-12)
    # a basis that is none proves nothing
    monkeypatch.setattr(spectral, "gamma", lambda j: 0.75 * (j == 4))
    assert spectral.norm_of_blocks(BLOCKS) == np.inf
    monkeypatch.setattr(spectral, "gamma", lambda j: 0.0)
    monkeypatch.setattr(spectral, "TINY", 0.25)
    assert (spectral._row_sums(BLOCKS, 0.0) >= 1.0 + 3 * 0.25).all()
    monkeypatch.setattr(spectral, "_row_sums", lambda A, rounding, target=0.0: np.zeros(1))
    assert spectral.norm_of_blocks(BLOCKS) >= 0.25 * np.sqrt(6.0) * (1.0 - 1e-12)


# ---- the front


@pytest.fixture
def _loose(monkeypatch):
    """γ is one."""
    monkeypatch.setattr(front, "gamma", lambda k: 1.0)


ONE = sp.csr_array(np.ones((1, 1)))


@pytest.mark.usefixtures("_loose")
def test_norms_and_products_of_stages_are_rounded_up():
    assert front.norm(ONE) >= 3.0
    one = front.Part(ONE, 1.0, 0.0)
    assert front.product(one, one, 1).spread >= 2.0
    scaled = front.scaled(Weights(ONE, ONE), np.ones(1), np.ones(1))
    assert scaled is not None
    assert scaled.spread >= 9.0
    small = np.ones((1, 1, 1))
    assert front.blockwise(small, small, np.ones(1), np.ones(1)).spread >= 9.0


@pytest.mark.usefixtures("_loose")
def test_sums_and_pivots_of_the_front_have_room(monkeypatch):
    M = SimpleNamespace(addends=1, weight=2.0, diagonal=np.array([3.0, -1.0]), count=2)
    assert front.sum_error(M) >= 5.0
    monkeypatch.setattr(front, "cholesky_room", lambda n, trace: trace - 4.0)
    assert front.pivot_room(M) > 1e-10
    monkeypatch.setattr(front, "UNIT", 1.0)
    assert front.pivot_room(M) >= 48.0


# ---- radii of the lifted program


def test_the_ball_of_a_margin_is_rounded_up():
    for radius in np.abs(NUMBERS[:, 0]).tolist():
        system = margin.MarginSystem.of(nn.sequential(nn.linear([[1.0]])), np.zeros(1), radius, Interval.everywhere(0))
        assert Fraction(float(system.reach[-1])) >= Fraction(radius)
        assert Fraction(system.ball) >= Fraction(float(system.reach[-1])) ** 2


def test_what_a_basis_leaves_of_the_rows_is_covered(monkeypatch):
    forms = Enclosure(np.array([[0.0, 3.0, 4.0]]), np.ones((1, 3)))
    monkeypatch.setattr(margin, "norm_bound", lambda a: 0.21)
    monkeypatch.setattr(margin, "UNIT", 0.0)
    for radius in np.abs(NUMBERS[:, 0]).tolist():
        spread = margin._compressed(forms, 1, radius)[1]
        assert Fraction(spread) >= Fraction(float(np.sqrt(1.21))) * Fraction(radius)
    # what is given stays as it is
    assert (forms.radius() == 1.0).all()
    assert (margin._joined(forms, forms).radius() == 1.0).all()
    amplify(monkeypatch, margin, gamma=1.0, UNIT=1.0, TINY=1.0)
    monkeypatch.setattr(margin, "norm_bound", lambda a: float(a.max()))
    found, spread = margin._compressed(forms, 1, 1.0)
    # |A| + |T||Vᵀ| = 2 |A|, a radius of one, and underflow
    lost = np.hypot(2.0 * 3.0 + 2.0, 2.0 * 4.0 + 2.0) * 3.0
    assert found.rad is not None
    assert found.rad[0, 0] >= ((1.0 + lost) * 5.0 + 1.0) * (1.0 - 1e-9)
    assert spread >= np.sqrt(2.0) * 9.0 * (1.0 - 1e-9)


def test_the_ball_around_a_cube_is_rounded_up(monkeypatch):
    monkeypatch.setattr(nearby, "up", lambda x: x + 1.0)
    monkeypatch.setattr(nearby, "UNIT", 1.0)
    monkeypatch.setattr(nearby, "absolute", lambda graph, ranges: (None, Interval.everywhere(0)))
    monkeypatch.setattr(nearby, "MarginSystem", SimpleNamespace(of=lambda graph, centre, radius, on: radius))
    ball = SimpleNamespace(margins=SimpleNamespace(select=lambda row: None), ranges=None, _row=lambda k: None)
    ball.centre, ball.radius, ball.norm = np.zeros(4), 3.0, Norm.LINF
    assert nearby.Nearby.system(ball, 0) >= 2.0 * 3.0 * 9.0 + 1.0


def test_radii_of_a_margin_are_rounded_up(monkeypatch):
    def program(spread: float) -> SimpleNamespace:
        none = np.zeros((1, 2))
        constraints = SimpleNamespace(size=(np.ones(1), np.ones(1), np.ones(1)))
        Y = SimpleNamespace(radius=lambda: np.array([[0.0, spread]]))
        return SimpleNamespace(
            constraints=constraints, Q=SimpleNamespace(radius=lambda: none), Y=Y, reach=np.ones(2), channels=1
        )

    H = np.zeros((3, 3, 1))
    assert margin.radius_error(program(0.0), H) > 0.0
    monkeypatch.setattr(margin, "gamma", lambda k: 1.0)
    assert margin.radius_error(program(1.0), H) >= 5.0
