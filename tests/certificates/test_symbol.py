"""The norm of a convolution by its symbol: never below the truth, and near it for a large image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rational import exact, is_positive_definite, rational

from lipcert.certificates import spectral
from lipcert.certificates.spectral import norm_upper
from lipcert.certificates.symbol import norm_by_symbol
from lipcert.graph.linear_maps import Convolution


@st.composite
def convolutions(draw):
    rank = draw(st.integers(1, 3))

    def numbers(low, high, count=rank):
        return tuple(draw(st.integers(low, high)) for _ in range(count))

    groups = draw(st.integers(1, 2))
    kernel = (groups * draw(st.integers(1, 3)), draw(st.integers(1, 3)), *numbers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return Convolution(
        rng.standard_normal(kernel), numbers(7, 9), numbers(1, 3), numbers(1, 2), numbers(-1, 2, 2 * rank), groups
    )


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_it_is_above_the_norm_of_the_matrix(a):
    truth = np.linalg.norm(a.to_dense(), 2)
    assert truth * (1.0 - 1e-12) <= norm_by_symbol(a) <= 3.0 * truth


@pytest.mark.parametrize(("stride", "slack"), [(1, 2e-3), (2, 2e-3)])
def test_it_is_near_the_norm_for_a_large_image(stride, slack):
    kernel = np.random.default_rng(1).standard_normal((3, 2, 4))
    a = Convolution(kernel, (300,), (stride,), (1,), (1, 1))
    assert norm_by_symbol(a) <= np.linalg.norm(a.to_dense(), 2) * (1.0 + slack)


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_it_is_an_upper_bound_in_exact_arithmetic(scale):
    # one position alone: the bound and the norm are the same number, but for the margin
    a = Convolution(scale * np.array([[[1.0 / 3.0]], [[0.7]]]), (5,), (1,), (1,), (0, 0))
    small = exact((a.to_dense() / scale).T[:1])
    room = rational(norm_by_symbol(a) / scale)
    assert is_positive_definite(exact(np.eye(1)) * (room * room) - small * small.transpose())


def test_a_zero_kernel_has_no_symbol_to_prove():
    assert norm_by_symbol(Convolution(np.zeros((2, 2, 3)), (9,), (1,), (1,), (1, 1))) is None


def test_norms_of_convolutions_that_no_dense_proof_fits(monkeypatch):
    a = Convolution(np.random.default_rng(2).standard_normal((4, 3, 3, 3)), (20, 20), (1, 1), (1, 1), (1, 1, 1, 1))
    tight = norm_upper(a)
    monkeypatch.setattr(spectral, "_SYMBOL", 100)
    assert tight <= norm_upper(a) <= 1.05 * tight
    zero = Convolution(np.zeros((4, 3, 3, 3)), (20, 20), (1, 1), (1, 1), (1, 1, 1, 1))
    assert norm_upper(zero) < 1e-280
