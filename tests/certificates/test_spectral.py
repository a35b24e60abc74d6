"""Proven operator norms: never below the truth, and close to it."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from rational import exact, is_positive_definite, rational

from lipcert.certificates import spectral
from lipcert.certificates.spectral import norm_upper
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal, Index, Sparse

RNG = np.random.default_rng(3)
CONVOLUTION = Convolution(RNG.normal(size=(4, 3, 3, 3)), (6, 5), (2, 1), (1, 1), (1, 0, 1, 2))


@pytest.mark.parametrize(
    "a",
    [
        Dense(RNG.normal(size=(7, 4))),
        Dense(np.ones((3, 5))),
        Dense(np.eye(6)),
        Dense(1e-290 * RNG.normal(size=(3, 3))),
        Dense(1e290 * RNG.normal(size=(3, 3))),
        Dense(np.diag(10.0 ** np.arange(-12.0, 12.0, 3.0))),
        Sparse(sp.csr_array(sp.random_array((30, 20), density=0.2, rng=RNG))),
        Index(np.array([2, -1, 2, 0, 2]), 4),
        Diagonal(np.array([-3.0, 1.0])),
        CONVOLUTION,
    ],
    ids=lambda a: type(a).__name__,
)
def test_norms_are_upper_bounds_in_exact_arithmetic(a):
    dense = a.to_dense()
    value = norm_upper(a)
    scale = np.abs(dense).max()
    assert value <= np.linalg.norm(dense / scale, 2) * scale * (1 + 1e-10)
    if min(dense.shape) <= 10:
        small = exact(dense if dense.shape[0] <= dense.shape[1] else dense.T)
        # a norm that is a float64 may be met exactly
        room = rational(value) * rational(1.0 + 2.0**-52)
        square = exact(np.eye(small.nrows())) * (room * room)
        assert is_positive_definite(square - small * small.transpose())


def test_radii_count():
    assert norm_upper(Diagonal(np.array([1.0, -2.0]), np.array([0.5, 0.25]))) >= 2.25


@pytest.mark.parametrize("a", [Dense(np.zeros((2, 3))), Dense(np.zeros((0, 3))), Index(np.array([-1, -1]), 3)])
def test_zero_maps_have_norm_zero(a):
    assert norm_upper(a) == 0.0


@pytest.mark.parametrize(("limit", "slack"), [(1, 20.0), (20, 1e-6)])
def test_maps_too_large_for_a_dense_proof_still_get_a_bound(monkeypatch, limit, slack):
    monkeypatch.setattr(spectral, "_DENSE", limit)
    a = Sparse(sp.csr_array(sp.random_array((20, 200), density=0.1, rng=np.random.default_rng(1))))
    truth = np.linalg.norm(a.to_dense(), 2)
    assert truth <= norm_upper(a) <= truth * (1 + slack)


def test_a_cluster_at_the_top_takes_few_products(monkeypatch):
    # as at an optimum, where the largest eigenvalue has the multiplicity of the Gram matrix's rank
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.normal(size=(400, 400)))[0]
    values = np.concatenate([2.0 - 1e-9 * np.arange(8), np.geomspace(1e-6, 1.9, 392)])
    matrix = np.asfortranarray((basis * values) @ basis.T)
    products = []
    dsymv = spectral.blas.dsymv

    def counted(*arguments, **options):
        products.append(None)
        return dsymv(*arguments, **options)

    monkeypatch.setattr(spectral, "blas", SimpleNamespace(dsymv=counted))
    assert abs(spectral.largest_eigenvalue(matrix) - 2.0) < 1e-8
    assert len(products) < 3000
