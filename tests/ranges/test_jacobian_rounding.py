"""Each error term of the Jacobian's entries and of planes, alone: made large, it adds what it stands for."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from amplified import amplify
from numpy.testing import assert_array_less

from lipcert.graph import build as nn
from lipcert.graph.linear_maps import Diagonal
from lipcert.graph.nodes import Activation, Affine
from lipcert.norms import Norm
from lipcert.ranges import jacobian, localise, planes
from lipcert.ranges.jacobian import JacobianBounds
from lipcert.ranges.planes import Planes, Pullback
from lipcert.regions import Box
from lipcert.rounding import Interval

ONE = np.ones((1, 1))


def interval(low: float, high: float, *shape: int) -> Interval:
    return Interval(np.full(shape or (1,), low), np.full(shape or (1,), high))


def most(found: float | np.ndarray, expected: float) -> None:
    """At least the expected number, but for true rounding."""
    assert_array_less(expected * (1.0 - 1e-9) if expected > 0 else expected * (1.0 + 1e-9), found)


# ---- norms of matrices of intervals


def test_norms_of_rows_that_are_summed_have_room(monkeypatch):
    amplify(monkeypatch, jacobian, gamma=1.0, TINY=1.0)
    bounds = JacobianBounds(interval(-100.0, 100.0, 2, 3), np.array([2.0, 3.0]))
    most(bounds.norm(Norm.LINF, Norm.L1), 5.0 * 5.0 + 1.0)
    entries = interval(-1.0, 1.0, 2, 3)
    most(jacobian.norm_bound(entries, Norm.L1, Norm.L1), 2.0 * 5.0 + 1.0)
    most(jacobian.norm_bound(entries, Norm.LINF, Norm.L1), 6.0 * 25.0 + 1.0)


def test_middles_and_radii_add_up(monkeypatch):
    amplify(monkeypatch, jacobian, outward=1.0)
    monkeypatch.setattr(jacobian, "_spectral", lambda size, signed=None: np.asarray(size.max() ** 2))
    # of 3 ± 2: the squares of the middle and of the radius
    most(jacobian.norm_bound(interval(1.0, 5.0, 1, 1), Norm.L2, Norm.L2), 9.0 + 4.0 + 1.0)


def test_lengths_cover_underflow():
    row = np.full((1, 3), 1e-200)
    assert Fraction(float(jacobian._lengths(row, Norm.L2)[0])) ** 2 >= 3 * Fraction(1e-200) ** 2


HADAMARD = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 1.0]])


@pytest.mark.parametrize("of", ["sums", "first", "squares", "sums and first"])
def test_powers_of_gram_matrices_may_be_as_wrong_as_the_model_allows(of, monkeypatch):
    signed = HADAMARD[:2]
    # sums over rows and columns, over columns, and of the Gram matrix
    room, first, squares = (0.1 if name in of else 0.0 for name in ("sums", "first", "squares"))
    amplify(monkeypatch, jacobian, gamma={14: room, 12: first, 10: squares}.__getitem__)
    room = 1.0 + 4.0 * room
    power, error = 4.0, 8.0 * first
    for _ in range(4):
        power, error = power**2, 2.0 * squares * (power + error) ** 2 + (2.0 * power * error + error**2) * room
    most(jacobian._spectral(np.ones((2, 4)), signed), min(((power + error) * room) ** (1 / 32), np.sqrt(8.0) * room))


def test_spectral_norms_are_rounded_up(monkeypatch):
    amplify(monkeypatch, jacobian, gamma=1.0, outward=1.0, TINY=1.0)
    most(jacobian._spectral(np.zeros((2, 3))), 2.0)
    # the cheap bound is the smaller one
    amplify(monkeypatch, jacobian, gamma={10: 1.0, 9: 1e9}.__getitem__, outward=1.0)
    most(jacobian._spectral(np.full((1, 1), 2.0)), 2.0 * 5.0 + 1.0)
    amplify(monkeypatch, jacobian, outward=1.0)
    most(jacobian._spectral(np.ones((4, 4)), HADAMARD), 2.0 + 2.0)
    amplify(monkeypatch, jacobian, UNIT=1.0 / 128.0)
    most(jacobian._spectral(np.ones((4, 4)), HADAMARD), 3.0)


# ---- one row, by intervals


@pytest.fixture
def row():
    """A row of the Jacobian of a network of one number."""
    graph = nn.sequential(nn.relu(), inputs=1)
    return jacobian._Row(graph, Box(-5.0, 5.0).fitted(1), {0: interval(-5.0, 5.0)}, {}, {}, 0)


def test_sums_of_moduli_are_rounded_up(row, monkeypatch):
    amplify(monkeypatch, jacobian, gamma=1.0, outward=1.0)
    entries, moving = interval(-100.0, 300.0), np.ones(1, dtype=bool)
    # lines of slope ½ over ±, 150 above at both ends
    for line, expected in ((-1000.0, -1000.0 + 5.0 * (150.0 + 2.0) + 1.0), (1e9, 1500.0)):
        monkeypatch.setattr(jacobian._Functional, "upper", lambda self, at, seeds, line=line: np.full(1, line))
        most(row._sum(0, entries, moving), expected)


def test_products_with_maps_are_rounded_outward(row, monkeypatch):
    amplify(monkeypatch, jacobian, gamma=1.0, outward=1.0, TINY=1.0)
    a = Diagonal(np.ones(2), np.ones(2))
    row.nodes = {0: SimpleNamespace(size=2), 1: Affine((0,), (a,), None)}
    row.graph, row.children, row.adjoint = SimpleNamespace(output=1), {0: [1]}, {1: interval(1.0, 3.0, 2)}
    found = row._interval(0)
    room = ((1.0 + 2.0 + 1.0) + (3.0 + 1.0)) * 5.0 + 1.0
    most(found.high, 2.0 + room + 1.0)
    most(-found.low, -2.0 + room + 1.0)


def test_products_with_slopes_and_norms_are_rounded_outward(row, monkeypatch):
    node = Activation(0, "relu", 1, 4)
    row.factors = {1: jacobian._Factor(slopes=interval(1.0, 2.0)), 2: jacobian._Factor(norm=1.0)}
    assert row._product(2, node, interval(-1e-200, 1e-200, 4)).high[0] >= 2e-200
    amplify(monkeypatch, jacobian, gamma=1.0, outward=1.0)
    found = row._product(1, node, interval(-3.0, 5.0))
    most(found.high, 10.0 + 1.0)
    most(-found.low, 6.0 + 1.0)
    most(row._product(2, node, interval(-1.0, 1.0, 4)).high, (2.0 * 3.0 + 1.0) * 3.0)
    assert row._product(2, node, interval(-1.0, 1.0, 4)).high.size == 4


# ---- functionals of an adjoint


class Recorded(jacobian._Functional):
    """Keeps what is added and lost."""

    def __init__(self, row: object, columns: int = 1) -> None:
        super().__init__(row, columns)  # type: ignore[arg-type]
        self.added: list[np.ndarray] = []
        self.losses: list[np.ndarray] = []

    def _add(self, part: np.ndarray, error: np.ndarray) -> None:
        self.added.append(part)
        self._lose(error)

    def _lose(self, error: np.ndarray) -> None:
        self.losses.append(error)


def test_functionals_are_rounded_up(monkeypatch):
    amplify(monkeypatch, jacobian, outward=1.0, UNIT=1.0)
    at_output = SimpleNamespace(graph=SimpleNamespace(output=0), output=0, children={0: []}, nodes={})
    found = Recorded(at_output)
    found.constant, found.lost = np.full(1, 4.0), np.ones(1)
    most(found.upper(0, ONE), (4.0 + 1.0) + (65.0 + 1.0) + 1.0)
    assert found.added == [1.0]


def test_functionals_through_maps_lose(monkeypatch):
    amplify(monkeypatch, jacobian, gamma=1.0, TINY=1.0)
    a = Diagonal(np.ones(2), np.ones(2))
    found = Recorded(SimpleNamespace(adjoint={1: interval(-1.0, 1.0, 2)}))
    found._affine(0, 1, Affine((0,), (a,), None), np.ones((2, 1)))
    most(found.losses[0], 2.0 * (1.0 + 1.0 + 1.0) * 5.0 * 2.0)


def test_functionals_of_what_is_anywhere_lose(monkeypatch):
    amplify(monkeypatch, jacobian, gamma=1.0)
    found = Recorded(None)
    found._anywhere(2.0 * ONE, interval(1.0, 3.0))
    most(found.losses[0], 2.0 * (1.0 + 2.0) * 5.0)


def test_functionals_between_lines_lose(monkeypatch):
    amplify(monkeypatch, jacobian, gamma=1.0, outward=1.0, TINY=1.0, UNIT=1.0)
    for sign in (1.0, -1.0):
        found = Recorded(None)
        found._between_lines(1, interval(1.0, 2.0), interval(1.0, 3.0), sign * ONE)
        # the products, of which nothing is above the line, with three roundings
        most(found.added[0], 3.0)
        most(found.losses[0], 2.0 * 3.0 * 5.0)
        most(found.losses[1], 2.0 * 2.0 * 3.0 + 1.0)


def test_functionals_through_slopes_lose(monkeypatch):
    amplify(monkeypatch, jacobian, gamma=1.0, outward=1.0, TINY=1.0, UNIT=1.0)
    g = interval(1.0, 3.0)
    found = Recorded(SimpleNamespace(adjoint={1: g}, found={0: interval(-5.0, 5.0)}))
    lines = (np.ones(1), np.full(1, -3.0), np.ones(1), np.full(1, 3.0))
    found._through_slopes(1, Activation(0, "tanh", 1, 1), jacobian._Factor(interval(1.0, 3.0), lines), ONE)
    expected = [
        # what is not linear, with roundings, the product at the middles with its own
        (1.0 + 1.0 + 4.0 * 4.0 + 1.0 + 4.0) * 5.0,
        # (c s_m)·G and (c G_m)·s
        2.0 * (2.0 * 3.0 + 2.0 * 3.0) + 1.0,
        # the constants of the lines, and the lines with a weight of 2
        2.0 * 2.0 * 3.0 * 5.0,
        2.0 * (2.0 * 5.0 + 1.0),
    ]
    for loss, size in zip(found.losses, expected, strict=True):
        most(loss, size)


def test_functionals_through_blocks_lose(monkeypatch):
    amplify(monkeypatch, jacobian, gamma=1.0, TINY=1.0)
    g = interval(1.0, 3.0)
    found = Recorded(SimpleNamespace(adjoint={1: g}))
    pulled = SimpleNamespace(constant=np.full(1, 2.0), lost=np.full(1, 3.0), adjoint=lambda c: c, signal=lambda c: c)
    monkeypatch.setattr(jacobian, "Pullback", SimpleNamespace(of=lambda *arguments: pulled))
    found._through_products(1, Activation(0, "product", 1, 2), interval(1.0, 3.0), ONE)
    most(found.losses[0], (3.0 + 2.0) * 5.0)
    found = Recorded(SimpleNamespace(adjoint={1: g}))
    found._through_derivatives(1, interval(1.0, 3.0, 1, 1, 1), ONE)
    most(found.losses[0], (1.0 + 2.0) * 3.0 * 5.0 * 5.0 + 1.0)


def test_sums_of_functionals_lose(monkeypatch):
    amplify(monkeypatch, jacobian, TINY=1.0, UNIT=1.0)
    found = jacobian._Functional(None, 1)  # type: ignore[arg-type]
    found.constant, found.lost = np.full(1, 7.0), np.ones(1)
    found._add(np.ones(1), np.full(1, 2.0))
    most(found.lost, (1.0 + 2.0 + 2.0 * (8.0 + 1.0) + 1.0) * 5.0)
    recorded = Recorded(None)
    recorded._give({0: ONE}, 0, 2.0 * ONE, np.full(1, 5.0))
    most(recorded.losses[0], 3.0 * (2.0 * 5.0 + 1.0))


# ---- planes


def test_planes_of_products_have_room(monkeypatch):
    amplify(monkeypatch, planes, gamma=1.0, outward=1.0, TINY=1.0)
    node, on = Activation(0, "product", 1, 2), interval(1.0, 3.0, 2)
    found = Planes.of(node, on, interval(-1e9, 1e9))
    assert found is not None
    # at 4, not linear by 1, as large as 9
    rest = 1.0 * 3.0 + 2.0 * 9.0 + 1.0 + 1.0
    most(found.over, rest - 4.0 + 1.0)
    most(-found.under, rest + 4.0 + 1.0)
    most(found.lost, 4.0 * 9.0 + 1.0)
    most(Pullback.of(node, on, interval(1.0, 3.0)).lost, 3.0 + 4.0 * 9.0 + 1.0 + 1.0)


def test_planes_of_smooth_blocks_have_room(monkeypatch):
    amplify(monkeypatch, planes, gamma=1.0, outward=1.0, TINY=1.0)
    record = SimpleNamespace(
        image=lambda block, parameters, on: on, derivatives=lambda *arguments: interval(1.0, 3.0, 1, 1, 1)
    )
    node = SimpleNamespace(record=record, blocks=1, block=1, parameters={})
    found = Planes.of(node, interval(1.0, 3.0), interval(-1e9, 1e9))  # type: ignore[arg-type]
    assert found is not None
    rest = 1.0 * 3.0 + 2.0 * 6.0 + 1.0 + 1.0
    most(found.over, (2.0 - 4.0 + 1.0) + rest + 1.0)
    most(-found.under, -(2.0 - 4.0 - 1.0) + rest + 1.0)
    most(found.lost, 4.0 * 6.0 + 1.0)


# ---- networks on regions


def test_slopes_that_nearly_agree_are_one_with_a_radius():
    low, high = 1.0, 1.0 + 2.0**-40
    found = localise(nn.sequential(nn.tanh(), inputs=1), Box(low, high)).graph
    (node,) = (node for _, node in found.walk() if isinstance(node, Affine))
    (a,) = node.maps
    assert a.radius is not None
    slopes = [1.0 - np.tanh(x) ** 2 for x in (low, high)]
    middle, radius = float((a @ np.ones(1))[0]), float((a.radius @ np.ones(1))[0])
    # farther apart than a rounding
    assert slopes[0] - slopes[1] > 1e-13
    assert middle - radius <= slopes[1] + 1e-15
    assert slopes[0] - 1e-15 <= middle + radius
