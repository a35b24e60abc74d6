"""The matrices of an iteration beside their definitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lipcert.constraints.interconnection import lower
from lipcert.constraints.multipliers import Tie
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm
from lipcert.sdp.problem import subproblems
from lipcert.sdp.solvers import iterate
from lipcert.sdp.solvers.iterate import Iterate, Structure, Sums, schur_complement
from lipcert.sdp.solvers.start import starting_point
from lipcert.sdp.solvers.transposed import reduced


def problem(norms=("2", "2"), tie=Tie.NEURON, layer=nn.relu):
    rng = np.random.default_rng(0)
    sizes = (5, 8, 6, 8, 3)
    # one multiplier for the whole network needs a channel part of norm below 1
    gain = 0.2 if tie is Tie.NETWORK else 1.0
    layers = [part for n, m in pairwise(sizes) for part in (nn.linear(gain * rng.standard_normal((m, n))), layer())]
    graph = prepare(nn.sequential(*layers[:-1]), "blocks")
    return next(subproblems(lower(graph), Claim(Norm(norms[0]), Norm(norms[1])), tie))


CASES = {
    "l2": {},
    "linf": {"norms": ("inf", "2")},
    "l1 out": {"norms": ("inf", "1")},
    "layer": {"tie": Tie.LAYER},
    "network": {"tie": Tie.NETWORK},
    "groups of 2 rows": {"layer": lambda: nn.group_sort(2)},
    "more rows than channels": {"layer": lambda: nn.residual(nn.group_sort(2), nn.relu())},
}


@pytest.fixture(params=CASES, name="form")
def _form(request):
    return reduced(problem(**CASES[request.param]))[0]


@pytest.fixture(params=[2, 5, 192], name="_block")
def _small_blocks(request, monkeypatch):
    monkeypatch.setattr(iterate, "BLOCK", request.param)


def derivatives(form, B):
    """F_i as dense matrices."""
    F = np.zeros((form.variables, form.size, form.size))
    for i, variable in enumerate(form.row):
        if variable >= 0:
            F[variable, i, i] += 1.0
    for j, variable in enumerate(form.column):
        F[variable] -= np.outer(B[:, j], B[:, j])
    return F


def point_of(form):
    point = Iterate(Structure.of(form))
    assert point.move(starting_point(form))
    return point


@pytest.mark.usefixtures("_block")
def test_everything_follows_from_theta(form):
    point = point_of(form)
    B = form.W * np.sqrt(point.theta[form.column]) / np.sqrt(form.diagonal(point.theta))[:, None]
    A = np.eye(form.size) - B @ B.T
    np.testing.assert_allclose(point.B, B, rtol=1e-13)
    np.testing.assert_allclose(np.tril(point.L) @ np.tril(point.L).T, A, atol=1e-12)
    np.testing.assert_allclose(point.S @ A, np.eye(form.size), atol=1e-9)
    np.testing.assert_allclose(point.SB, point.S @ B, rtol=1e-10, atol=1e-10)
    F = derivatives(form, B)
    np.testing.assert_allclose(point.image, np.einsum("kij,ij->k", F, point.S), rtol=1e-9, atol=1e-9)
    rng = np.random.default_rng(1)
    delta, u = rng.standard_normal(form.variables), rng.standard_normal(form.size)
    dA = np.einsum("k,kij->ij", delta, F)
    np.testing.assert_allclose(point.derivative(delta, u), dA @ u, atol=1e-11)
    np.testing.assert_allclose(point.derivative(delta, np.eye(form.size)), dA, atol=1e-11)
    out = np.empty_like(point.S)
    point.inverse_times_derivative(delta, out)
    np.testing.assert_allclose(out, point.S @ dA, rtol=1e-9, atol=1e-9)
    M = rng.standard_normal((form.size, form.size))
    np.testing.assert_allclose(
        point.structure.image(np.asfortranarray(M), point.B), np.einsum("kij,ij->k", F, M), atol=1e-10
    )


@pytest.mark.usefixtures("_block")
def test_schur_complement(form):
    point = point_of(form)
    X = np.random.default_rng(2).standard_normal((form.size, form.size))
    X = np.asfortranarray(X @ X.T)
    out = np.full((form.variables, form.variables), np.nan, order="F")
    schur_complement(point, X, np.asfortranarray(X @ point.B), out)
    F = derivatives(form, point.B)
    expected = np.einsum("aij,bji->ab", F, np.einsum("ij,bjk,kl->bil", X, F, point.S))
    expected = 0.5 * (expected + expected.T)
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_a_point_outside_is_refused(form):
    point = Iterate(Structure.of(form))
    theta = starting_point(form)
    bad = theta.copy()
    bad[0] = np.nan
    assert not point.move(bad)
    bad[0] = -1.0
    assert not point.move(bad)
    # 1/mu without bound
    assert not point.move(np.where(form.inverse > 0, 1e12 * theta, theta))


def test_sums_of_parts():
    sums = Sums.of(np.array([2, 2, 3, 4, 4, 4]))
    M = np.arange(14.0).reshape(7, 2)
    variables, total = sums.over_rows(M)
    assert variables == slice(2, 5)
    np.testing.assert_array_equal(total, [M[:2].sum(0), M[2], M[3:6].sum(0)])
    variables, total = sums.over_rows(M[1:4], 1)
    assert variables == slice(2, 5)
    np.testing.assert_array_equal(total, M[1:4])
    variables, total = sums.over_rows(M[4:], 4)
    assert variables == slice(4, 5)
    np.testing.assert_array_equal(total, [M[4:6].sum(0)])
    assert sums.over_rows(M[6:], 6)[1].size == 0
