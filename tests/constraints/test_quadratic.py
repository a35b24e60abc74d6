"""The published quadratic constraints hold on sampled pairs with random biases, for every sign of the free terms."""

from __future__ import annotations

import numpy as np
import pytest

from lipcert.activations.published import PUBLISHED
from lipcert.activations.table import TABLE
from lipcert.constraints.quadratic import SUM_TERMS, group_sort_constraint, quadratic_value

PAIRS = 2000


def increments(size, rng):
    """Δz and Δw of GroupSort for inputs near and far, with a bias of its own for each pair of inputs."""
    bias = 3.0 * rng.standard_normal((PAIRS, size, 1))
    z = rng.standard_normal((PAIRS, size, 1))
    step = rng.standard_normal((PAIRS, size, 1)) * 10.0 ** rng.uniform(-3, 1, (PAIRS, 1, 1))
    record = TABLE["sort"]
    return step, record.value(z + step + bias, {}) - record.value(z + bias, {})


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_holds_on_pairs_with_random_biases(size, seed):
    rng = np.random.default_rng(seed)
    dz, dw = increments(size, rng)
    constraint = group_sort_constraint(size, rng.uniform(), *rng.standard_normal(3))
    scale = (dz**2).sum(axis=(1, 2))
    assert (quadratic_value(constraint, dz, dw)[:, 0] >= -1e-9 * size * scale).all()


def test_a_coupling_of_all_neurons_would_fail():
    # a wrong constraint is found out: lam − 11ᵀ terms with opposite signs are not zero on sum-preserving increments
    rng = np.random.default_rng(0)
    dz, dw = increments(3, rng)
    wrong = group_sort_constraint(3, 0.0) + np.kron(np.diag([1.0, 1.0]), np.ones((3, 3))) * -1.0
    assert quadratic_value(wrong, dz, dw).min() < -1e-3


@pytest.mark.parametrize("size", [2, 4])
def test_normal_form_is_the_published_constraint_in_other_coordinates(size):
    rng = np.random.default_rng(1)
    lam, gamma, nu, tau = rng.uniform(), *rng.standard_normal(3)
    form = TABLE[PUBLISHED["sort"]].normal_form(size, {})
    Q = form.Q[0]
    along, across = Q[form.row_group == 1], Q[form.row_group == 0]
    # the rows are orthogonal; a pair's have norm √2
    unit = 1.0 / (across[0] @ across[0])
    weight = 1.0 / (along[0] @ along[0])
    blocks = [[0.0 * np.eye(size)] * 2 for _ in range(2)]
    free = (lam + size * gamma, size * nu, size * tau)
    for (i, j), terms in zip(((0, 0), (0, 1), (1, 1)), SUM_TERMS, strict=True):
        blocks[i][j] = weight * sum(c * v for c, v in zip(terms, free, strict=True)) * along.T @ along
        blocks[j][i] = blocks[i][j].T
    blocks[0][0] = blocks[0][0] + lam * unit * across.T @ across
    blocks[1][1] = blocks[1][1] - lam * unit * across.T @ across
    np.testing.assert_allclose(np.block(blocks), group_sort_constraint(size, lam, gamma, nu, tau), atol=1e-12)
