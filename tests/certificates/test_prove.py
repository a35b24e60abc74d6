"""Proven bounds: tight, above the truth, and found from proposals that are not feasible."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipcert.certificates import Prover, verify
from lipcert.constraints.interconnection import lower
from lipcert.constraints.multipliers import Multipliers
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.evaluate import forward
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm
from lipcert.sdp.outcome import SolverOptions
from lipcert.sdp.problem import subproblems
from lipcert.sdp.solvers import get_solver

L2 = Norm.L2
ORDER = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}


def orthogonal(rng, n):
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def mlp(rng, widths, act=nn.relu):
    layers = []
    for a, b in pairwise(widths):
        layers += [nn.linear(rng.normal(size=(b, a)) / np.sqrt(a), rng.normal(size=b)), act()]
    return nn.sequential(*layers[:-1])


def solved(graph, norm=L2, output_norm=L2, solver="clarabel"):
    """The proposals of a solver and the optimum as it sees it."""
    problems = list(subproblems(lower(prepare(graph)), Claim(norm, output_norm)))
    outcomes = [get_solver(solver)(p, SolverOptions(tolerance=1e-9)) for p in problems]
    proposals = [p.split(o.y) for p, o in zip(problems, outcomes, strict=True)]
    return proposals, max(o.bound for o in outcomes)


@pytest.mark.parametrize(
    ("depth", "factor"),
    [(32, 0.75), (32, 1e-4), (32, 1e4), (12, 1e-12), (12, 1e12)]
    + [pytest.param(64, f, marks=pytest.mark.slow) for f in (0.6, 0.75, 1.5)],
)
def test_deep_chains_have_no_noise_floor(depth, factor):
    """Orthogonal layers of |·|: the bound is the product of the norms, down to 1e-144 and up to 1e144."""
    rng = np.random.default_rng(depth)
    layers = []
    for _ in range(depth):
        layers += [nn.linear(factor * orthogonal(rng, 8)), nn.abs_()]
    graph = nn.sequential(*layers[:-1])
    truth = factor**depth
    # lam of the product: the squared norms behind, exactly on the boundary of the cone
    behind = factor ** (2.0 * np.arange(depth - 1, 0, -1))
    certificate = Prover(graph).prove([Multipliers(np.repeat(behind, 8), np.array([1.0]))])
    assert truth * (1 - 1e-12) <= certificate.value <= truth * (1 + 1e-6)
    verify(certificate, graph)


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("output_norm", list(Norm))
def test_every_norm_pair_loses_little_and_stays_above_the_truth(norm, output_norm):
    rng = np.random.default_rng(5)
    graph = mlp(rng, [3, 6, 5, 2])
    proposals, optimum = solved(graph, norm, output_norm)
    certificate = Prover(graph, Claim(norm, output_norm)).prove(proposals)
    assert certificate.value == pytest.approx(optimum, rel=1e-6)
    x = rng.normal(size=(3, 4000))
    h = 1e-4 * rng.choice([-1.0, 0.0, 1.0], size=(3, 4000))
    h[0] += 1e-7
    ratio = np.linalg.norm(forward(graph, x + h) - forward(graph, x), ORDER[output_norm], axis=0) / np.linalg.norm(
        h, ORDER[norm], axis=0
    )
    assert ratio.max() <= certificate.value
    assert ratio.max() >= 0.3 * certificate.value
    verify(certificate, graph)


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
@pytest.mark.parametrize("act", [nn.relu, nn.maxmin, nn.tanh])
def test_raw_answers_of_other_solvers_are_repaired(solver, act):
    graph = mlp(np.random.default_rng(2), [4, 8, 8, 8, 3], act)
    _, optimum = solved(graph)
    proposals, _ = solved(graph, solver=solver)
    value = Prover(graph).prove(proposals).value
    assert optimum * (1 - 1e-7) <= value <= optimum * (1 + (1e-6 if solver == "clarabel" else 1e-2))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-8, 1e-6, 1e-4]))
def test_proposals_outside_the_cone_cost_about_their_distance(seed, noise):
    rng = np.random.default_rng(seed)
    graph = mlp(rng, [3, 5, 4, 2])
    (proposal,), optimum = solved(graph)
    disturbed = replace(proposal, lam=proposal.lam * np.exp(noise * rng.normal(size=proposal.lam.size)))
    value = Prover(graph).prove([disturbed]).value
    assert optimum * (1 - 1e-7) <= value <= optimum * (1 + 500 * noise + 2e-5)


@pytest.mark.parametrize("lam", [0.0, -1.0, np.nan, np.inf, 1e-300, 1e300])
def test_any_proposal_for_a_feedforward_network_gives_a_bound(lam):
    graph = mlp(np.random.default_rng(4), [3, 4, 4, 2])
    (proposal,), optimum = solved(graph)
    broken = proposal.lam.copy()
    broken[::3] = lam
    certificate = Prover(graph).prove([Multipliers(broken, np.array([lam]))])
    assert certificate.value >= optimum * (1 - 1e-7)
    verify(certificate, graph)


def test_zero_rows_and_dead_neurons():
    rng = np.random.default_rng(7)
    w1, w2 = rng.normal(size=(6, 4)), rng.normal(size=(6, 6))
    w1[2] = 0.0
    w2[:, 4] = 0.0
    w2[5] = 0.0
    graph = nn.sequential(nn.linear(w1), nn.relu(), nn.linear(w2), nn.relu(), nn.linear(rng.normal(size=(2, 6))))
    proposals, optimum = solved(graph)
    proposals = [replace(p, lam=np.where(p.lam < 1e-6, 0.0, p.lam)) for p in proposals]
    assert Prover(graph).prove(proposals).value == pytest.approx(optimum, rel=1e-5)


@pytest.mark.parametrize("norm", list(Norm))
def test_a_constant_network_has_a_bound_near_zero(norm):
    graph = nn.sequential(nn.linear(np.zeros((3, 4))), nn.relu(), nn.linear(np.ones((2, 3))))
    prover = Prover(graph, Claim(norm, norm))
    count = len(prover.proofs.cases)
    inputs = 4 if norm is Norm.LINF else 1
    nu = np.ones(2) if norm is Norm.L1 else None
    value = prover.prove([Multipliers(np.ones(3), np.ones(inputs), nu)] * count).value
    assert 0.0 <= value < 1e-100


@pytest.mark.parametrize("exponent", [-6, 6])
def test_scales_of_weights_change_nothing(exponent):
    rng = np.random.default_rng(9)
    plain = [rng.normal(size=(5, 5)) for _ in range(4)]

    def build(scale):
        layers = [layer for w in plain for layer in (nn.linear(scale * w), nn.relu())]
        return nn.sequential(*layers[:-1])

    (proposal,), optimum = solved(build(1.0))
    scale = 10.0**exponent
    depth = lower(prepare(build(1.0))).groups.layer
    lam = proposal.lam * scale ** (2.0 * (3 - depth))
    value = Prover(build(scale)).prove([Multipliers(lam, np.ones(1))]).value
    assert value == pytest.approx(optimum * scale**4, rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_implicit_layers_are_proven_well_posed(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    w = rng.normal(size=(n, n))
    w *= rng.uniform(0.1, 0.95) / np.linalg.norm(w, 2)
    graph = nn.sequential(
        nn.fixed_point(w, rng.normal(size=(n, 3)), None, nn.relu()), nn.linear(rng.normal(size=(2, n)))
    )
    certificate = Prover(graph).prove([Multipliers(np.ones(n), np.ones(1))])
    assert verify(certificate, graph).well_posed
    x = rng.normal(size=(3, 200))
    h = 1e-3 * rng.normal(size=(3, 200))
    step = np.linalg.norm(forward(graph, x + h) - forward(graph, x), axis=0) / np.linalg.norm(h, axis=0)
    assert step.max() <= certificate.value * (1 + 1e-6)


@pytest.mark.parametrize("outputs", [("0",), ("0", "1"), ("0-1",)])
def test_selected_outputs(outputs):
    from lipcert.graph.selection import Selection

    graph = mlp(np.random.default_rng(3), [3, 4, 2])
    selection = Selection(outputs)
    proposals, optimum = solved(selection.apply(graph), L2, Norm.LINF)
    certificate = Prover(graph, Claim(L2, Norm.LINF, selection)).prove(proposals)
    assert certificate.value == pytest.approx(optimum, rel=1e-6)
    assert len(certificate.values(len(outputs))) == len(outputs)
    verify(certificate, graph)
