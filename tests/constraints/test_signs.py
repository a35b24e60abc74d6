"""Channels with a sign: the network between them is that of the Jacobians with these signs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lipcert.certificates.normwise import NormwiseArithmetic
from lipcert.constraints.interconnection import lower, signed_channels
from lipcert.errors import InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.evaluate import record
from lipcert.graph.nodes import Graph
from lipcert.graph.prepare import prepare

LAYERS = {"relu": nn.relu(), "leaky": nn.leaky_relu(0.2), "maxmin": nn.maxmin(), "sort": nn.group_sort(4)}


def network(layer: object, seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    W, V, U = rng.normal(size=(4, 3)), rng.normal(size=(4, 4)), rng.normal(size=(2, 4))
    inner = nn.residual(nn.linear(V), layer)
    return prepare(nn.sequential(nn.linear(W, rng.normal(size=4)), layer, inner, nn.linear(U)))


@pytest.mark.parametrize("name", LAYERS)
def test_all_signs_give_the_jacobian_of_the_point(name: str) -> None:
    """s = sign(Q z) at a point: y = Y x with the Jacobian there, for moduli and for slopes at their ends."""
    graph = network(LAYERS[name])
    rows = lower(graph)
    signed = signed_channels(graph)
    assert signed.all()
    tape = record(graph, [np.random.default_rng(1).normal(size=(3, 1))])
    jacobian = tape.jacobian()
    channels = signed.size
    # of all sign vectors, one gives the Jacobian
    found = [
        np.abs(lower(graph, signs=np.array(signs)).Y - jacobian).max()
        for signs in itertools.islice(itertools.product([-1, 1], repeat=channels), 2**10 + 1)
    ]
    assert rows.R.shape[0] == channels
    if channels <= 10:
        assert min(found) < 1e-12


@pytest.mark.parametrize("name", LAYERS)
def test_a_sign_substitutes_its_channel(name: str) -> None:
    """R and Y with signs are those without them, v_i = s_i r_i u put in by hand."""
    graph = network(LAYERS[name], seed=2)
    whole = lower(graph)
    rng = np.random.default_rng(3)
    signs = rng.integers(-1, 2, whole.groups.count)
    part = lower(graph, signs=signs)
    free, given = np.flatnonzero(signs == 0), np.flatnonzero(signs)
    channels = signs.size
    u = rng.normal(size=(part.groups.channels + 3, 5))
    full = np.zeros((channels + 3, 5))
    full[free], full[channels:] = u[: free.size], u[free.size :]
    for i in given:
        # rows of R are triangular: what they need is there
        full[i] = signs[i] * (whole.R[i] @ full)
    np.testing.assert_allclose(part.R @ u, whole.R[free] @ full, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(part.Y @ u, whole.Y @ full, rtol=1e-12, atol=1e-12)
    assert part.groups.count == part.groups.row.size == part.groups.column.size == free.size
    np.testing.assert_array_equal(part.groups.layer, whole.groups.layer[free])


@pytest.mark.parametrize("name", LAYERS)
def test_the_enclosure_holds_the_same(name: str) -> None:
    graph = network(LAYERS[name], seed=4)
    signs = np.random.default_rng(5).integers(-1, 2, signed_channels(graph).size)
    plain, enclosed = lower(graph, signs=signs), lower(graph, NormwiseArithmetic(), signs)
    for exact, found in ((plain.R, enclosed.R), (plain.Y, enclosed.Y)):
        assert found.mid.shape == exact.shape
        # both are off by rounding
        assert (np.abs(found.mid - exact) <= 2.0 * found.radius() + 1e-13).all()
        assert found.radius().max(initial=0.0) < 1e-12


def test_no_signs_where_there_are_none() -> None:
    blocks = prepare(nn.sequential(nn.linear(np.eye(4)), nn.group_sort(4)), "blocks")
    implicit = nn.sequential(nn.relu(), nn.fixed_point([[0.5]], [[1.0]], [0.0], nn.relu()), inputs=1)
    assert not signed_channels(blocks).any()
    assert not signed_channels(implicit).any()
    with pytest.raises(InvalidRequest, match="sign"):
        lower(blocks, signs=np.ones(1, dtype=np.int64))
    with pytest.raises(InvalidRequest, match="sign"):
        lower(implicit, signs=np.array([1, 0]))
