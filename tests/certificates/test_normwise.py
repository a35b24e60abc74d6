"""Bounds on the columns of an error hold in exact arithmetic, and stay small where layers keep norms."""

from __future__ import annotations

import numpy as np
import pytest
from checks import ball, wide
from orthogonal import chain, orthogonal
from rational import exact, rational, within

from lipcert.certificates import normwise
from lipcert.certificates.enclosure import Enclosure, EnclosureArithmetic
from lipcert.certificates.normwise import NormwiseArithmetic, column_lengths
from lipcert.certificates.proof import Dense as Proof
from lipcert.certificates.spectral import norm_of_blocks
from lipcert.graph.linear_maps import Dense, Diagonal, Index
from lipcert.graph.prepare import prepare

SEEDS = range(60)


def short_ball(rng, shape):
    """An enclosure whose lengths say more than its radius, and one of its matrices with an error as long as they say."""
    mid = wide(rng, *shape)
    off = wide(rng, *shape) * 1e-12
    if rng.random() < 0.5:
        # nothing but fresh rounding in what follows
        off[:] = 0.0
    return Enclosure(mid, 100.0 * np.abs(off) + np.abs(off).max(), column_lengths(off)), exact(mid) + exact(off)


def holds(found, truth):
    """Whether an enclosure contains a matrix, by entries and by columns."""
    if not within(found.mid, found.rad, truth):
        return False
    lengths = np.zeros(found.mid.shape[1]) if found.rad is None else normwise.error_lengths(found)
    return all(
        sum((truth[i, j] - rational(found.mid[i, j])) ** 2 for i in range(truth.nrows())) <= rational(lengths[j]) ** 2
        for j in range(truth.ncols())
    )


def operations_hold(seed, ar):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 6))
    x, x_true = short_ball(rng, (k, 3))
    y, y_true = short_ball(rng, (k, 3))
    plain, plain_true = ball(rng, (k, 3))
    turn = orthogonal(k, rng) * 10.0 ** rng.uniform(-3, 3)
    entries = wide(rng, k)
    radii = np.abs(entries) * 1e-10
    place = rng.integers(-1, k, 5)
    copy = Index(place, k)
    small = wide(rng, 1, 2, k)
    spread = np.abs(small) * 1e-10
    stacked = ar.vstack([x, y])
    fine = [
        (ar.apply(Dense(turn), x), exact(turn) * x_true),
        (ar.apply(Dense(turn), plain), exact(turn) * plain_true),
        (ar.apply(Diagonal(entries, radii), x), (exact(np.diag(entries)) + exact(np.diag(radii))) * x_true),
        (ar.apply(copy, x), exact(copy.to_dense()) * x_true),
        (ar.add(x, y), x_true + y_true),
        (ar.add(x, plain), x_true + plain_true),
        (ar.blocks(small, None, x), exact(small[0]) * x_true),
        (ar.blocks(small, spread, x), (exact(small[0]) + exact(spread[0])) * x_true),
        (ar.columns(ar.widen(x, 5), 1, 3), exact(np.eye(k)) * x_true * exact(np.eye(3)[:, 1:])),
        (stacked, exact(np.eye(2 * k, k)) * x_true + exact(np.eye(2 * k, k, -k)) * y_true),
        (ar.hstack([x, y]), x_true * exact(np.eye(3, 6)) + y_true * exact(np.eye(3, 6, 3))),
        *split(ar, rng, small[:, :, :1], x, x_true),
    ]
    return all(holds(e, truth) for e, truth in fine)


def split(ar, rng, small, x, x_true):
    """Some entries through a block and others past it, in any order and number, and put together again."""
    k = x.mid.shape[0]
    some, others = rng.integers(-1, k, 3), rng.integers(-1, k, 6)
    back = rng.integers(-1, 6, 6)
    spread = np.abs(small) * 1e-10
    big = exact(np.kron(np.eye(3), small[0])) + exact(np.kron(np.eye(3), spread[0]))
    part = ar.blocks(small, spread, ar.apply(Index(some, k), x))
    part_true = big * exact(Index(some, k).to_dense()) * x_true
    fresh, fresh_true = ball(rng, (6, 4), 1e-10)
    more = exact(np.eye(3, 4))
    part = ar.add(ar.widen(part, 4), fresh)
    part_true = part_true * more + fresh_true
    moved = ar.apply(Index(back, 6), part)
    moved_true = exact(Index(back, 6).to_dense()) * part_true
    rest = ar.widen(ar.apply(Index(others, k), x), 4)
    rest_true = exact(Index(others, k).to_dense()) * x_true * more
    return [(part, part_true), (moved, moved_true), (ar.add(moved, rest), moved_true + rest_true)]


@pytest.fixture
def _always(monkeypatch):
    monkeypatch.setattr(normwise, "GROWN", 0.0)


@pytest.mark.usefixtures("_always")
def test_operations_contain_the_exact_result():
    assert all(operations_hold(seed, NormwiseArithmetic()) for seed in SEEDS)


class MapOfNormOne(NormwiseArithmetic):
    def apply(self, a, x):
        found = super().apply(a, x)
        return (
            normwise._shortened(EnclosureArithmetic.apply(self, a, x), normwise.error_lengths(x))
            if x.length is not None
            else found
        )


class AddWithoutOne(NormwiseArithmetic):
    def add(self, x, y):
        return normwise._shortened(EnclosureArithmetic.add(self, x, y), normwise.error_lengths(x))


class StackOfTheLongest(NormwiseArithmetic):
    def vstack(self, parts):
        found = EnclosureArithmetic.vstack(self, parts)
        return Enclosure(found.mid, found.rad, np.max([normwise.error_lengths(part) for part in parts], axis=0))


class MergeWithoutFresh(NormwiseArithmetic):
    def add(self, x, y):
        found = super().add(x, y)
        if x.origin is None or y.origin is None:
            return found
        return normwise._shortened(found, normwise._norm(found.origin.through) * found.origin.length)


class MergeOfOnePart(NormwiseArithmetic):
    def add(self, x, y):
        if x.origin is None or y.origin is None:
            return super().add(x, y)
        found = EnclosureArithmetic.add(self, x, y)
        return normwise._shortened(found, normwise._norm(x.origin.through) * x.origin.length + x.origin.fresh)


@pytest.mark.parametrize("mutant", [MergeWithoutFresh, MergeOfOnePart, MapOfNormOne, AddWithoutOne, StackOfTheLongest])
@pytest.mark.usefixtures("_always")
def test_a_dropped_term_is_noticed(mutant):
    assert not all(operations_hold(seed, mutant()) for seed in SEEDS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gamma", lambda k: 0.0),
        ("norm_upper", lambda a: 0.0),
        ("cheap_norm", lambda a: 0.0),
        ("norm_of_blocks", lambda small: 0.0),
    ],
)
@pytest.mark.usefixtures("_always")
def test_a_dropped_factor_is_noticed(name, value, monkeypatch):
    monkeypatch.setattr(normwise, name, value)
    assert not all(operations_hold(seed, NormwiseArithmetic()) for seed in SEEDS)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (4, 2, 2), (5, 3, 7), (5, 7, 3), (2, 16, 16), (0, 2, 2)])
@pytest.mark.parametrize("scale", [1.0, 1e-160, 1e160, 1e-310])
def test_norms_of_blocks(shape, scale):
    rng = np.random.default_rng(0)
    small = rng.standard_normal(shape)
    truth = np.linalg.norm(small, 2, axis=(1, 2)).max(initial=0.0)
    found = norm_of_blocks(small * scale)
    if scale < 1e-300:
        assert found >= truth * scale * (1 - 1e-6)
    else:
        assert truth * (1 - 1e-15) <= found / scale <= truth * (1 + 1e-11)


def test_projections_of_blocks_have_norm_one():
    v = np.random.default_rng(0).standard_normal((6, 9))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    assert norm_of_blocks(np.eye(9) - v[:, :, None] * v[:, None]) <= 1.0 + 1e-12


@pytest.mark.parametrize("name", ["MaxMin", "Householder(4)", "GroupSort(4)", "GroupSort(16)", "abs"])
def test_radii_of_deep_orthogonal_networks_stay_at_rounding(name):
    system = Proof(prepare(chain(name, 16, 20, 0))).system
    assert max(system.R.rad.max(), system.Y.rad.max()) < 1e-12


def test_shallow_networks_take_no_norms(monkeypatch):
    def unwanted(a):
        raise AssertionError

    monkeypatch.setattr(normwise, "norm_upper", unwanted)
    assert Proof(prepare(chain("MaxMin", 16, 2, 0))).system.R.length is None


def test_only_parts_of_one_signal_are_put_together():
    x, _ = short_ball(np.random.default_rng(2), (4, 3))
    ar = NormwiseArithmetic()
    select = Index(np.array([0, 1, -1, -1]), 4)
    first, second = ar.apply(select, x), ar.apply(select, Enclosure(x.mid, x.rad, x.length.copy()))
    assert first.origin is not None
    assert ar.add(first, second).origin is None
