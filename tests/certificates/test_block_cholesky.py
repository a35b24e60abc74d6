"""The proof by blocks: as tight as the dense one, never more generous, and the way of large networks through the API."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipcert.bounds.api import bound
from lipcert.bounds.methods import Job, Prepared, solve_tied
from lipcert.certificates import Certificate, Prover, front, memory, proof, verify
from lipcert.certificates.block_cholesky import BlockSystem, prove_by_blocks
from lipcert.certificates.claims import Scaling
from lipcert.constraints.multipliers import Multipliers, Tie
from lipcert.errors import CertificateRejected, NotEnoughMemory
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.linear_maps import Diagonal
from lipcert.graph.nodes import Graph, GraphBuilder
from lipcert.graph.prepare import prepare
from lipcert.ranges import Localised
from lipcert.sdp.outcome import SolverOptions

ACTIVATIONS = (nn.relu, nn.tanh, lambda: nn.leaky_relu(0.2), lambda: nn.leaky_relu(-0.3), nn.gelu, nn.sigmoid, nn.abs_)


def dense(rng: np.random.Generator, n: int, m: int) -> nn.Layer:
    return nn.linear(rng.standard_normal((m, n)) / np.sqrt(n), rng.standard_normal(m))


def chain(rng: np.random.Generator, act: nn.Layer) -> Graph:
    return nn.sequential(dense(rng, 9, 14), act, dense(rng, 14, 11), act, dense(rng, 11, 12), act, dense(rng, 12, 4))


def residual(rng: np.random.Generator, act: nn.Layer) -> Graph:
    branch = nn.residual(dense(rng, 10, 12), act, dense(rng, 12, 10))
    return nn.sequential(dense(rng, 7, 10), branch, act, nn.residual(dense(rng, 10, 10), act), dense(rng, 10, 4))


def proposal(graph: Graph) -> tuple[Multipliers, float]:
    found = solve_tied(Job(Prepared(Localised(prepare(graph))), Claim(), "native", SolverOptions()), Tie.NEURON)
    assert found.claim is not None
    return found.cases[0].plain(), found.claim


def system(graph: Graph) -> BlockSystem:
    found = BlockSystem.of(prepare(graph))
    assert found is not None
    return found


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("build", [chain, residual])
def test_as_tight_as_the_solver(build, act) -> None:
    graph = build(np.random.default_rng(3), act())
    multipliers, optimum = proposal(graph)
    found = prove_by_blocks(system(graph), multipliers)
    assert found is not None
    assert optimum * (1 - 1e-9) <= found.value() <= optimum * (1 + 2e-7)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6), excess=st.sampled_from([1e-3, 1e-6, 1e-8]), kind=st.integers(0, len(ACTIVATIONS) - 1)
)
def test_nothing_is_proven_below_the_optimum(seed: int, excess: float, kind: int) -> None:
    """Whatever d, a bound below the optimum of (C) must not be proven."""
    rng = np.random.default_rng(seed)
    graph = (chain, residual)[seed % 2](rng, ACTIVATIONS[kind]())
    multipliers, optimum = proposal(graph)
    d = np.sqrt(multipliers.lam) * np.exp(excess * rng.standard_normal(multipliers.lam.size))
    assert not system(graph).holds(Scaling(d, np.array([optimum * (1 - excess)])))


def test_agrees_with_the_dense_proof_on_any_scaling() -> None:
    rng = np.random.default_rng(5)
    graph = chain(rng, nn.leaky_relu(0.2))
    multipliers, optimum = proposal(graph)
    blocks, both = system(graph), []
    for _ in range(60):
        lam = multipliers.lam * np.exp(0.05 * rng.standard_normal(multipliers.lam.size))
        m = optimum * (1 + 10.0 ** rng.uniform(-4, -0.5))
        scaling = Scaling(np.sqrt(lam), np.array([m]))
        certificate = Certificate(Claim(), scaling.value(), "comparators", graph.fingerprint.hex(), (scaling,))
        try:
            verify(certificate, graph)
            expected = True
        except CertificateRejected:
            expected = False
        both.append((expected, blocks.holds(scaling)))
    assert {x for x, _ in both} == {True, False}
    assert all(x == y for x, y in both)


def test_a_radius_of_the_weights_costs_what_it_must() -> None:
    builder = GraphBuilder()
    x = builder.input(3)
    z = builder.affine([x], [Diagonal(np.ones(3), np.full(3, 1e-3))])
    y = builder.affine([builder.activation(z, "relu")], [Diagonal(np.ones(3))])
    blocks = system(builder.finish(y))
    # the best one for relu alone: 1 − 1/(4 d²) ≥ d²/m²
    d = np.full(3, np.sqrt(0.5))
    assert blocks.holds(Scaling(d, np.array([1.005])))
    # the weights may be 1.001
    assert not blocks.holds(Scaling(d, np.array([1.0009])))


def test_groups_and_implicit_layers_are_left_to_the_dense_proof() -> None:
    rng = np.random.default_rng(0)
    assert BlockSystem.of(prepare(nn.sequential(dense(rng, 4, 4), nn.maxmin()))) is None
    assert BlockSystem.of(prepare(nn.sequential(nn.fixed_point([[0.5]], [[1.0]], None, nn.relu())))) is None


class TestLargeNetworks:
    """With the threshold lowered, small networks go the way of large ones."""

    @pytest.fixture(autouse=True)
    def lowered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proof, "LARGE", 5)

    def test_bound_and_verify_without_the_dense_proof(self, monkeypatch: pytest.MonkeyPatch) -> None:
        graph = residual(np.random.default_rng(1), nn.relu())
        usual = bound(graph, lower=False).upper
        monkeypatch.setattr(proof, "lower", lambda *arguments: pytest.fail("nothing dense is needed"))
        found = bound(graph, lower=False)
        assert found.upper == pytest.approx(usual, rel=1e-6)
        assert found.certificate is not None
        assert verify(found.certificate, graph).value == found.upper

    def test_a_smaller_claim_is_rejected(self) -> None:
        graph = chain(np.random.default_rng(2), nn.relu())
        certificate = bound(graph, lower=False).certificate
        assert certificate is not None
        (scaling,) = certificate.scalings
        smaller = replace(scaling, m=scaling.m * (1 - 1e-5))
        with pytest.raises(CertificateRejected, match="does not prove"):
            verify(replace(certificate, scalings=(smaller,), value=smaller.value()), graph)

    def test_where_no_sparse_proof_succeeds_the_dense_one_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        graph = chain(np.random.default_rng(2), nn.relu())
        usual = bound(graph, lower=False).upper
        monkeypatch.setattr(front, "_ROOM", ())
        assert bound(graph, lower=False).upper == pytest.approx(usual, rel=1e-6)


def test_deep_networks_whose_dense_proof_is_weak_are_proven_by_blocks() -> None:
    """|W_k|⋯|W_1| outgrows W_k⋯W_1 by so much that the radius of R decides the dense proof."""
    rng = np.random.default_rng(0)
    layers = [part for _ in range(48) for part in (nn.linear(rng.standard_normal((8, 8)) / 3.0), nn.leaky_relu(0.3))]
    graph = nn.sequential(*layers)
    found = bound(graph, lower=False)
    assert found.proposed is not None
    assert found.upper <= found.proposed * (1 + 1e-5)
    assert found.certificate is not None
    assert verify(found.certificate, graph).value == found.upper


def test_without_memory_the_norm_product_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = nn.sequential(dense(np.random.default_rng(4), 5, 8), nn.maxmin(), dense(np.random.default_rng(5), 8, 3))
    monkeypatch.setattr(memory, "_FREE_TO_TAKE", 100)
    monkeypatch.setattr(memory, "available", lambda: 1000)
    found = bound(graph, lower=False)
    assert found.method == "product"
    assert found.upper == found.product
    assert any("GB are free" in note for note in found.notes)
    with pytest.raises(NotEnoughMemory, match="dense proof"):
        bound(graph, lower=False, method="neuron")
    with pytest.raises(NotEnoughMemory):
        Prover(graph).require_memory()


def test_free_memory_is_known() -> None:
    assert 2**24 < memory.available() < 2**62


def test_the_work_of_a_proof_is_that_of_its_blocks() -> None:
    rng = np.random.default_rng(0)
    graph = nn.sequential(dense(rng, 30, 20), nn.relu(), dense(rng, 20, 40), nn.relu(), dense(rng, 40, 3))
    # Cholesky of each block, its triangular solve with the next one, and what that subtracts
    expected = sum(n**3 / 3 + n**2 * m + n * m**2 for n, m in ((30, 20), (20, 40), (40, 0)))
    assert system(graph).operations() == pytest.approx(expected)


def test_a_larger_proof_is_expected_to_take_longer() -> None:
    rng = np.random.default_rng(0)
    provers = [
        Prover(nn.sequential(dense(rng, 20, n), nn.relu(), dense(rng, n, n), nn.relu(), dense(rng, n, 3)))
        for n in (20, 40, 80)
    ]
    for work in ("dense", "sparse"):
        # the dense proof forms [R; Y], which a network in layers does not need
        costs = [
            prover.proofs.dense.seconds() if work == "dense" else prover.proofs.sparse.system.operations()
            for prover in provers
        ]
        assert all(4.0 < second / first < 9.0 for first, second in pairwise(costs))
