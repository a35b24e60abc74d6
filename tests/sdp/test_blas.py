"""BLAS on parts of matrices, beside NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipcert.sdp.solvers import blas

SIZES = (0, 1, 2, 5, blas.TILE, blas.LEAF, blas.LEAF + 1, 2 * blas.LEAF + 77)


def layouts(M):
    """The same matrix with contiguous columns, contiguous rows, and as a part of larger ones of both kinds."""
    wide = np.full((M.shape[0] + 3, M.shape[1] + 2), np.nan, order="F")
    wide[2:-1, 1:-1] = M
    tall = np.full((M.shape[0] + 3, M.shape[1] + 2), np.nan)
    tall[2:-1, 1:-1] = M
    return [np.array(M, order="F"), np.array(M, order="C"), wide[2:-1, 1:-1], tall[2:-1, 1:-1]]


def definite(n, seed=0):
    A = np.random.default_rng(seed).standard_normal((n, n))
    return A @ A.T + n * np.eye(n)


@given(
    shape=st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)),
    kind=st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 2])),
    alpha=st.sampled_from([1.0, -2.0]),
    beta=st.sampled_from([0.0, 1.0, -0.5]),
)
def test_gemm_of_any_layout(shape, kind, alpha, beta):
    rng = np.random.default_rng(0)
    m, k, n = shape
    A, B, C = rng.standard_normal((m, k)), rng.standard_normal((k, n)), rng.standard_normal((m, n))
    out = layouts(C)[kind[2]]
    around = out.base.copy() if out.base is not None and kind[2] else None
    blas.gemm(alpha, layouts(A)[kind[0]], layouts(B)[kind[1]], beta, out)
    np.testing.assert_allclose(out, alpha * (A @ B) + beta * C, rtol=1e-14, atol=1e-13)
    if around is not None:
        around[2:-1, 1:-1] = out
        np.testing.assert_array_equal(out.base, around)


def test_gemm_does_not_read_what_beta_cancels():
    C = np.full((2, 3), np.nan, order="F")
    blas.gemm(1.0, np.ones((2, 4)), np.ones((4, 3)), 0.0, C)
    np.testing.assert_array_equal(C, np.full((2, 3), 4.0))
    C[:] = np.nan
    blas.gemm(1.0, np.ones((2, 0)), np.ones((0, 3)), 0.0, C)
    np.testing.assert_array_equal(C, np.zeros((2, 3)))


@pytest.mark.parametrize("which", range(4))
def test_syrk_writes_the_lower_triangle(which):
    A = np.random.default_rng(1).standard_normal((5, 3))
    C = np.asfortranarray(np.random.default_rng(2).standard_normal((5, 5)))
    before = C.copy()
    blas.syrk(-1.0, layouts(A)[which], 2.0, C)
    np.testing.assert_allclose(np.tril(C), np.tril(2.0 * before - A @ A.T), rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(np.triu(C, 1), np.triu(before, 1))


@pytest.mark.parametrize("n", SIZES)
def test_cholesky_and_inverse(n):
    A = definite(n)
    for L in (layouts(A)[0].copy(order="F"), layouts(A)[2]):
        assert blas.cholesky(L)
        np.testing.assert_allclose(np.tril(L) @ np.tril(L).T, A, rtol=1e-12, atol=1e-12 * max(1, n))
        assert blas.inverse_of_factored(L)
        blas.mirror(L)
        np.testing.assert_allclose(L @ A, np.eye(n), atol=1e-11)


@pytest.mark.parametrize("where", [0, blas.LEAF - 1, blas.LEAF + 1, 2 * blas.LEAF + 70])
def test_cholesky_sees_what_is_not_definite(where):
    A = definite(2 * blas.LEAF + 77)
    A[where, where] = -1.0
    assert not blas.cholesky(np.asfortranarray(A))
    A[where, where] = np.nan
    assert not blas.cholesky(np.asfortranarray(A))


@pytest.mark.parametrize("n", SIZES)
def test_transposes(n):
    A = np.random.default_rng(3).standard_normal((n, n))
    for M in layouts(A):
        total, full = M.copy(), M.copy()
        blas.add_transpose(total)
        np.testing.assert_array_equal(total, A + A.T)
        blas.mirror(full)
        np.testing.assert_array_equal(full, np.tril(A) + np.tril(A, -1).T)


@pytest.mark.parametrize(
    ("A", "B", "C"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3), order="F")),
        (np.ones((2, 3)), np.ones((3, 4)), np.ones((4, 2), order="F")),
        (np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 4))),
        (np.ones((2, 3), dtype=np.float32), np.ones((3, 4)), np.ones((2, 4), order="F")),
        (np.ones((4, 6))[::2, ::2], np.ones((3, 4)), np.ones((2, 4), order="F")),
        (np.ones((2, 3)), np.broadcast_to(np.ones(4), (3, 4)), np.ones((2, 4), order="F")),
        (np.ones(3), np.ones((3, 4)), np.ones((1, 4), order="F")),
    ],
)
def test_what_does_not_fit_is_refused(A, B, C):
    with pytest.raises(ValueError, match=r"fit|array|contiguous|overlap|unpack"):
        blas.gemm(1.0, A, B, 0.0, C)
