"""Every enclosure contains the exact result."""

import numpy as np
import pytest
from checks import contractions_hold, enclosures_hold, solutions_hold
from hypothesis import given, settings
from hypothesis import strategies as st

from lipcert.certificates.contraction import is_contraction
from lipcert.certificates.enclosure import Enclosure, EnclosureArithmetic
from lipcert.definite import norm_bound
from lipcert.errors import NotCertified
from lipcert.graph.linear_maps import Dense
from lipcert.rounding import gamma

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_operations_contain_the_exact_result(seed):
    assert enclosures_hold(seed)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_solutions_contain_the_exact_solution(seed):
    assert solutions_hold(seed)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_contractions_are_contractions(seed):
    assert contractions_hold(seed)


def test_radii_are_narrow():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 50)), rng.normal(size=(50, 50))
    found = EnclosureArithmetic().product(Enclosure(a), Enclosure(b))
    assert (found.rad <= 1.01 * gamma(51) * (np.abs(a) @ np.abs(b)) + 1e-280).all()


def test_exact_operations_stay_exact():
    ar = EnclosureArithmetic()
    unit = ar.unit(2, 3, 1)
    half = ar.blocks(np.array([[[0.5]]]), None, unit)
    assert half.rad is None
    assert ar.add(ar.unit(2, 3, 0), ar.columns(ar.zeros(2, 4), 0, 3)).rad is None


def test_subnormal_products_are_not_taken_as_exact():
    ar = EnclosureArithmetic()
    tiny = Enclosure(np.array([[5e-324]]))
    halved = ar.blocks(np.array([[[0.5]]]), None, tiny)
    assert halved.rad is not None
    assert halved.rad[0, 0] >= 2.5e-324
    applied = ar.apply(Dense(np.array([[1e-200]])), Enclosure(np.array([[1e-200]])))
    assert applied.mid[0, 0] == 0.0
    assert applied.rad[0, 0] > 0.0


@pytest.mark.parametrize("d", [1.0, 2.0])
def test_singular_equations_are_refused(d):
    a = Enclosure(np.array([[1.0, 0.0], [0.0, 0.5]]) * d, np.full((2, 2), 1e-12))
    with pytest.raises(NotCertified):
        EnclosureArithmetic().solve(a, Enclosure(np.ones((2, 1))))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_prove_nothing(bad):
    b = np.array([[0.1, bad]])
    assert not is_contraction(Enclosure(b))
    assert not is_contraction(Enclosure(np.array([[0.1, 0.2]]), np.abs(b)))


def test_both_gram_sides_agree():
    rng = np.random.default_rng(1)
    b = rng.normal(size=(4, 300))
    b *= (1.0 - 1e-9) / np.linalg.norm(b, 2)
    assert is_contraction(Enclosure(b))
    assert is_contraction(Enclosure(b.T))
    assert not is_contraction(Enclosure(b * (1.0 + 2e-9)))


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_norm_bound_is_an_upper_bound(seed):
    rng = np.random.default_rng(seed)
    a = rng.random(tuple(rng.integers(1, 8, size=2))) * 10.0 ** rng.integers(-150, 150)
    scale = a.max()
    assert norm_bound(a) >= np.linalg.norm(a / scale, 2) * scale * (1 - 1e-14)
