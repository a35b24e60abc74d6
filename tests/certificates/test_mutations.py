"""The checks of the checker can fail: each term that is dropped from the proof is noticed."""

import numpy as np
import pytest
from checks import contractions_hold, enclosures_hold, solutions_hold

from lipcert import definite
from lipcert.certificates import contraction, enclosure
from lipcert.certificates.enclosure import Enclosure, EnclosureArithmetic

TRIALS = range(150)


class ApplyWithoutMapRadius(EnclosureArithmetic):
    def apply(self, a, x):
        return super().apply(type(a)(a.entries) if a.radius is not None else a, x)


class ApplyWithoutOperandRadius(EnclosureArithmetic):
    def apply(self, a, x):
        return super().apply(a, Enclosure(x.mid))


class BlocksWithoutConstantRadius(EnclosureArithmetic):
    def blocks(self, small, radius, x):
        return super().blocks(small, None, x)


class BlocksWithoutOperandRadius(EnclosureArithmetic):
    def blocks(self, small, radius, x):
        return super().blocks(small, radius, Enclosure(x.mid))


class AddWithoutRadius(EnclosureArithmetic):
    def add(self, x, y):
        return super().add(x, Enclosure(y.mid))


class AddWithFlippedSign(EnclosureArithmetic):
    def add(self, x, y):
        return super().add(x, Enclosure(-y.mid, y.rad))


class AddWithoutRounding(EnclosureArithmetic):
    def add(self, x, y):
        return Enclosure(x.mid + y.mid, x.radius() + y.radius())


class ProductWithoutLeftRadius(EnclosureArithmetic):
    def product(self, x, y):
        return super().product(Enclosure(x.mid), y)


class ProductWithoutRightRadius(EnclosureArithmetic):
    def product(self, x, y):
        return super().product(x, Enclosure(y.mid))


@pytest.mark.parametrize(
    "mutant",
    [
        ApplyWithoutMapRadius,
        ApplyWithoutOperandRadius,
        BlocksWithoutConstantRadius,
        BlocksWithoutOperandRadius,
        AddWithoutRadius,
        AddWithFlippedSign,
        AddWithoutRounding,
        ProductWithoutLeftRadius,
        ProductWithoutRightRadius,
    ],
)
def test_a_dropped_term_of_an_operation_is_noticed(mutant):
    assert not all(enclosures_hold(seed, mutant()) for seed in TRIALS)


def test_dropped_rounding_of_products_is_noticed(monkeypatch):
    monkeypatch.setattr(enclosure, "gamma", lambda k: 0.0)
    assert not all(enclosures_hold(seed) for seed in TRIALS)


class SolveWithoutOperandRadius(EnclosureArithmetic):
    def solve(self, a, b):
        return super().solve(Enclosure(a.mid), b)


class SolveWithoutRightSideRadius(EnclosureArithmetic):
    def solve(self, a, b):
        return super().solve(a, Enclosure(b.mid))


class SolveWithoutResidual(EnclosureArithmetic):
    def solve(self, a, b):
        return Enclosure(np.linalg.solve(np.eye(a.mid.shape[0]) - a.mid, b.mid), b.rad)


@pytest.mark.parametrize("mutant", [SolveWithoutOperandRadius, SolveWithoutRightSideRadius, SolveWithoutResidual])
def test_a_dropped_term_of_a_solution_is_noticed(mutant):
    assert not all(solutions_hold(seed, mutant()) for seed in TRIALS)


def test_a_dropped_radius_in_the_contraction_proof_is_noticed(monkeypatch):
    monkeypatch.setattr(contraction, "norm_bound", lambda a: 0.0)
    assert not all(contractions_hold(seed) for seed in TRIALS)


def test_dropped_rounding_in_the_contraction_proof_is_noticed(monkeypatch):
    for module in (contraction, definite):
        monkeypatch.setattr(module, "gamma", lambda k: 0.0)
        monkeypatch.setattr(module, "UNIT", 0.0)
    assert not all(contractions_hold(seed) for seed in TRIALS)
