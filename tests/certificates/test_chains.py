"""Long chains of maps: enclosures hold the exact product, also where that of float64 says nothing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from amplified import amplify
from flint import arb, ctx, fmpq, fmpq_mat

import lipcert
from lipcert.bounds.product import norm_product
from lipcert.bounds.witness import Witness, proven_ratio
from lipcert.certificates import chains
from lipcert.certificates.chains import enclosed, multiplied
from lipcert.graph import build as nn
from lipcert.graph.linear_maps import Dense, Diagonal
from lipcert.graph.nodes import Graph
from lipcert.norms import Norm


def factors(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(0.5 * rng.standard_normal((4, 4))).astype(np.float32).astype(np.float64) for _ in range(count)]


def exact(matrices: list[np.ndarray]) -> np.ndarray:
    """The product in rational numbers, the first factor at the right."""
    product = fmpq_mat(*matrices[0].shape, [fmpq(*v.as_integer_ratio()) for v in matrices[0].ravel().tolist()])
    for matrix in matrices[1:]:
        product = fmpq_mat(*matrix.shape, [fmpq(*v.as_integer_ratio()) for v in matrix.ravel().tolist()]) * product
    entries = [Fraction(int(v.p), int(v.q)) for v in product.entries()]
    return np.array(entries, dtype=object).reshape(product.nrows(), product.ncols())


def network(matrices: list[np.ndarray]) -> Graph:
    return nn.sequential(*(nn.linear(matrix) for matrix in matrices))


@pytest.mark.parametrize("count", [1, 5, 200])
def test_enclosures_hold_the_exact_product(count: int) -> None:
    matrices = factors(count, count)
    found = multiplied([Dense(matrix) for matrix in matrices])
    assert found is not None
    pairs = zip(exact(matrices).ravel(), found.mid.ravel().tolist(), found.radius().ravel().tolist(), strict=True)
    assert all(abs(truth - Fraction(middle)) <= Fraction(radius) for truth, middle, radius in pairs)
    assert found.radius().max() <= 1e-9 * np.abs(found.mid).max()


def test_radii_of_factors_and_of_balls_count(monkeypatch: pytest.MonkeyPatch) -> None:
    found = multiplied([Diagonal(np.full(1, 3.0), np.full(1, 0.5)), Dense(np.full((1, 1), 2.0))])
    assert found is not None
    assert found.radius() >= 1.0
    with ctx.workprec(200):
        third = np.array([[arb(1) / 3]], dtype=object)
        middle = enclosed(third)
    assert abs(Fraction(float(middle.mid[0, 0])) - Fraction(1, 3)) <= Fraction(float(middle.radius()[0, 0]))
    amplify(monkeypatch, chains, outward=1.0)
    assert enclosed(np.array([[arb(2, 3)]], dtype=object)).radius() >= 3.0 + 1.0 + 1.0


def test_a_chain_whose_radius_explodes_has_its_norm() -> None:
    matrices = factors(7, 300)
    product = norm_product(network(matrices))
    assert product is not None
    squares = sum(entry**2 for entry in exact(matrices).ravel())
    # ‖A‖₂ ≤ ‖A‖_F ≤ 2 ‖A‖₂
    assert squares / 4 <= Fraction(product.value) ** 2 <= squares * Fraction(1.001)


def test_a_lower_bound_of_a_chain_takes_the_bits_that_it_needs() -> None:
    rng = np.random.default_rng(3)
    # lengths stay, but moduli grow by 1.6 with every factor
    matrices = [np.linalg.qr(rng.standard_normal((4, 4)))[0] for _ in range(1600)]
    witness = Witness(np.zeros(4), np.eye(4)[0])
    found = proven_ratio(network(matrices), Norm.L2, Norm.L2, witness)
    assert 1.0 - 1e-12 <= found <= 1.0 + 1e-12


def test_a_product_of_norms_beyond_float64_has_a_bound() -> None:
    """1e170 times itself overflows, and then comes a map that makes it small again."""
    large, small = np.diag([1e170, 1.0]), np.diag([1e-300, 1.0])
    turn = np.array([[1.0, 1.0], [1.0, -1.0]]) / 2.0
    matrices = [large, large, small, small, turn]
    bound = lipcert.bound(network(matrices), lower=False, method="product")
    # diag(1e-260, 1) and then rows of ±½
    assert np.sqrt(0.5) <= bound.upper <= np.sqrt(0.5) + 1e-6
