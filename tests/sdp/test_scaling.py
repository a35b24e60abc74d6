"""The matrix-free method against the interior-point method on small networks; ties, limits, hard cases."""

from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.sparse as sp
from orthogonal import chain

from lipcert.bounds.methods import Job, Prepared, propose_product
from lipcert.constraints.interconnection import lower
from lipcert.constraints.multipliers import Tie
from lipcert.constraints.operator import Operator
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.linear_maps import Convolution, Dense
from lipcert.graph.nodes import GraphBuilder
from lipcert.graph.prepare import prepare
from lipcert.ranges.localise import Localised
from lipcert.sdp.outcome import SolverOptions, Status
from lipcert.sdp.problem import compress_inputs, subproblems
from lipcert.sdp.solvers import get_solver, small_program
from lipcert.sdp.solvers.bundle import Bundle
from lipcert.sdp.solvers.davidson import Evaluator, Point
from lipcert.sdp.solvers.scaling import _eased, _Progress, _settle, _start, initial_scaling, solve
from lipcert.sdp.solvers.small_program import Quadratic, quadratic_sdp


def network(seed=0, sizes=(6, 10, 10, 4), layer=nn.relu):
    rng = np.random.default_rng(seed)
    layers = [nn.linear(rng.standard_normal((sizes[1], sizes[0])))]
    for k in range(1, len(sizes) - 1):
        layers += [layer(), nn.linear(rng.standard_normal((sizes[k + 1], sizes[k])))]
    return nn.sequential(*layers)


def residual():
    rng = np.random.default_rng(3)
    branch = nn.sequential(nn.linear(rng.standard_normal((6, 6))), nn.relu(), nn.linear(rng.standard_normal((6, 6))))
    return nn.sequential(nn.residual(branch), nn.maxmin(), nn.residual(branch), nn.linear(rng.standard_normal((2, 6))))


def implicit():
    rng = np.random.default_rng(7)
    W = rng.standard_normal((5, 5))
    W *= 0.8 / np.linalg.norm(W, 2)
    return nn.sequential(
        nn.fixed_point(W, rng.standard_normal((5, 3)), None, nn.relu()), nn.linear(rng.standard_normal((2, 5)))
    )


def deep():
    rng = np.random.default_rng(6)
    layers = []
    for _ in range(12):
        W = rng.standard_normal((4, 4))
        layers += [nn.linear(0.4 * W / np.linalg.norm(W, 2)), nn.tanh()]
    return nn.sequential(*layers)


NETWORKS = {
    "relu": network,
    "maxmin": lambda: network(1, layer=nn.maxmin),
    "residual": residual,
    "implicit": implicit,
    "large weights": lambda: nn.sequential(network(), nn.linear(1e6 * np.eye(4))),
}


def problem(graph, tie):
    return next(subproblems(lower(graph), Claim(), tie))


@pytest.mark.parametrize("tie", [Tie.NEURON, Tie.LAYER])
@pytest.mark.parametrize("name", NETWORKS)
def test_finds_the_optimum(name, tie):
    graph = prepare(NETWORKS[name]())
    data = problem(graph, tie)
    optimum = get_solver("native")(compress_inputs(data), SolverOptions()).bound
    outcome = solve(Operator(graph), tie, SolverOptions(time_limit=5.0))
    assert outcome.y.shape == (data.variables,)
    assert optimum * (1 - 1e-6) <= outcome.bound <= optimum * (1 + 1e-5)
    scale = 1.0 / np.sqrt(outcome.y[data.column])
    assert np.linalg.eigvalsh(scale[:, None] * data.matrix(outcome.y) * scale)[0] > -1e-6


def test_a_deep_contraction_gets_a_small_bound():
    graph = deep()
    optimum = get_solver("native")(compress_inputs(problem(graph, Tie.LAYER)), SolverOptions()).bound
    outcome = solve(Operator(graph), Tie.LAYER, SolverOptions(time_limit=3.0))
    assert optimum * (1 - 1e-6) <= outcome.bound <= optimum * 1.001


@pytest.mark.parametrize("seed", [3, 8, 11, 20, 22])
def test_rounding_does_not_build_up(seed):
    # subspaces that nearly fill the space, and eigenvalues that meet
    rng = np.random.default_rng(seed)
    graph = prepare(network(seed, tuple(2 * rng.integers(2, 12, rng.integers(3, 6))), nn.maxmin))
    optimum = get_solver("native")(compress_inputs(problem(graph, Tie.NEURON)), SolverOptions()).bound
    outcome = solve(Operator(graph), Tie.NEURON, SolverOptions(time_limit=5.0, max_iterations=150))
    assert optimum * (1 - 1e-6) <= outcome.bound <= optimum * (1 + 5e-5)


ORTHOGONAL = [("GroupSort(5)", 10, 4), ("MaxMin", 8, 20), ("GroupSort(4)", 8, 8)]


def closes_in_on_one(name, width, depth, seed):
    graph = prepare(chain(name, width, depth, seed))
    data = problem(graph, Tie.NEURON)
    outcome = solve(Operator(graph), Tie.NEURON, SolverOptions(max_iterations=200))
    # the increments that the model's Gram matrix gives may prove less than the point is worth
    assert outcome.status is (Status.OPTIMAL if outcome.gap <= 1e-5 else Status.STALLED)
    assert outcome.gap <= 2e-3
    assert 1.0 - 1e-6 <= outcome.bound <= 1.0 + 1e-6
    scale = 1.0 / np.sqrt(outcome.y[data.column])
    assert np.linalg.eigvalsh(scale[:, None] * data.matrix(outcome.y) * scale)[0] > -1e-6


@pytest.mark.parametrize(("name", "width", "depth"), ORTHOGONAL)
def test_orthogonal_layers_whose_eigenvalues_cluster(name, width, depth):
    closes_in_on_one(name, width, depth, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 12))
@pytest.mark.parametrize(("name", "width", "depth"), [*ORTHOGONAL, ("MaxMin", 16, 20), ("Householder", 16, 10)])
def test_orthogonal_layers_of_many_seeds(name, width, depth, seed):
    closes_in_on_one(name, width, depth, seed)


def test_stops_once_nothing_is_to_be_gained():
    graph = network(2, (20, 120, 120, 120, 5))
    optimum = get_solver("native")(compress_inputs(problem(graph, Tie.NEURON)), SolverOptions()).bound
    outcome = solve(Operator(graph), Tie.NEURON, SolverOptions(max_iterations=300))
    assert outcome.status is Status.OPTIMAL
    assert outcome.bound <= optimum * (1 + 1e-5)


@pytest.mark.parametrize("tail", [0, 1])
def test_small_programs_by_each_newton_system(tail, monkeypatch):
    """min ½‖Fw‖² + cᵀw over trace one: the system of the size of w, and those of the variables, by vectors and matrices."""
    size, vectors, variables = 5, 12, 4
    p = size * (size + 1) // 2
    rng = np.random.default_rng(0)
    G, T = rng.standard_normal((vectors, size)), rng.standard_normal((variables, vectors))
    i, j = np.triu_indices(size)
    squares = G[:, i] * G[:, j] * np.where(i == j, 1.0, np.sqrt(2.0))
    F = np.hstack([T @ squares, rng.standard_normal((variables, tail))])
    c = rng.standard_normal(p + tail)
    a = np.concatenate([(i == j).astype(float), np.ones(tail)])
    quadratic = Quadratic(F, G, sp.csr_array(T))
    found = []
    for costs in ((1.0, 2.0, 2.0), (2.0, 1.0, 2.0), (2.0, 2.0, 1.0)):
        monkeypatch.setattr(small_program, "newton_costs", lambda *sizes, costs=costs: costs)
        found.append(quadratic_sdp(quadratic, c, a))
    few = found[0]
    for other in found[1:]:
        assert few == pytest.approx(other, rel=1e-6, abs=1e-9)
    W = np.zeros((size, size))
    W[i, j] = W[j, i] = few[:p] / np.where(i == j, 1.0, np.sqrt(2.0))
    assert a @ few == pytest.approx(1.0)
    assert np.linalg.eigvalsh(W)[0] > 0.0
    # ⟨gradient, feasible direction⟩ ≥ 0: no vertex of the feasible set is better than W
    gradient = F.T @ (F @ few) + c
    G = np.zeros((size, size))
    G[i, j] = G[j, i] = gradient[:p] / np.where(i == j, 1.0, np.sqrt(2.0))
    least = min([np.linalg.eigvalsh(G)[0], *gradient[p:]])
    assert gradient @ few <= least + 2e-2 * abs(float(c @ few + few @ F.T @ (F @ few)))


def test_who_is_late_settles_on_what_a_short_search_does_not_refute():
    evaluator = Evaluator(Operator(network()), deadline=0.0)
    good = _start(evaluator)
    run = _Progress(SolverOptions(), 0.0, np.arange(good.lam.size))
    run.accept(good)
    before = evaluator.operator.products
    found = _settle(evaluator, run, good.space)
    assert found is run.best
    assert np.array_equal(found.lam, good.lam)
    assert found.rho >= good.rho
    assert evaluator.operator.products - before < 200


@pytest.mark.parametrize("shrink", [0.5, 1e-3])
def test_a_point_with_too_small_a_rho_gives_way_to_the_one_before(shrink):
    evaluator = Evaluator(Operator(network()))
    good = _start(evaluator)
    lam = good.lam * np.where(evaluator.operator.groups.layer == 0, shrink, 1.0)
    run = _Progress(SolverOptions(), 0.0, np.arange(lam.size))
    run.accept(good)
    run.accept(Point(lam, 0.5 * good.rho, good.space, True))
    assert not evaluator.least(lam, good.rho, None, 1e-8).rho <= good.rho
    assert _settle(evaluator, run, good.space) is run.best
    assert (run.best.lam == good.lam).all()
    assert run.best.rho == pytest.approx(good.rho, rel=1e-3)


def test_without_activations_it_is_the_norm():
    W = np.random.default_rng(0).standard_normal((30, 40))
    outcome = solve(Operator(nn.sequential(nn.linear(W))), Tie.NEURON, SolverOptions())
    assert outcome.bound == pytest.approx(np.linalg.norm(W, 2), rel=1e-6)


def test_a_zero_network():
    outcome = solve(Operator(nn.sequential(nn.linear(np.zeros((3, 2))), nn.relu())), Tie.NEURON, SolverOptions())
    assert np.isfinite(outcome.y).all()
    assert outcome.bound < 1e-3


def test_time_limit_and_progress():
    seen = []
    graph = network(2, (20, 300, 300, 300, 5))
    started = time.process_time()
    outcome = solve(Operator(graph), Tie.NEURON, SolverOptions(time_limit=0.5, progress=seen.append))
    assert time.process_time() - started < 6.0
    assert outcome.status is Status.TIME_LIMIT
    bounds = [step.bound for step in seen]
    assert bounds == sorted(bounds, reverse=True)
    # points that a longer search refutes are taken back
    assert outcome.bound <= bounds[0] * (1 + 1e-4)
    assert all(step.at_most == max(0.0, 0.5 - step.seconds) for step in seen)


def test_progress_hands_over_feasible_points():
    seen = []

    def look(step):
        seen.append((step, step.outcome()))
        if len(seen) == 2:
            raise KeyboardInterrupt

    graph = network(2, (20, 300, 300, 300, 5))
    last = solve(Operator(graph), Tie.NEURON, SolverOptions(progress=look))
    data = problem(graph, Tie.NEURON)
    for step, outcome in seen:
        assert data.bound(outcome.y) == pytest.approx(step.bound)
        scale = 1.0 / np.sqrt(outcome.y[data.column])
        assert np.linalg.eigvalsh(scale[:, None] * data.matrix(outcome.y) * scale)[0] > -1e-3
    # stopped there, it gives the same
    assert np.array_equal(seen[-1][1].y, last.y)


def test_interrupt_keeps_the_best_point():
    def interrupt(step):
        if step.iteration >= 4:
            raise KeyboardInterrupt

    graph = network(2, (20, 120, 120, 120, 5))
    outcome = solve(Operator(graph), Tie.NEURON, SolverOptions(progress=interrupt))
    assert outcome.status is Status.INTERRUPTED
    data = problem(graph, Tie.NEURON)
    scale = 1.0 / np.sqrt(outcome.y[data.column])
    assert np.linalg.eigvalsh(scale[:, None] * data.matrix(outcome.y) * scale)[0] > -1e-3


def test_start_is_used():
    graph = network()
    first = solve(Operator(graph), Tie.NEURON, SolverOptions(time_limit=3.0))
    again = solve(Operator(graph), Tie.NEURON, SolverOptions(start=first.y, max_iterations=1))
    assert again.bound <= first.bound * (1 + 1e-6)


def test_initial_scaling_is_feasible():
    graph = network()
    lam = initial_scaling(Operator(graph))
    data = problem(graph, Tie.NEURON)
    Z = data.matrix(np.append(lam, 1.0))[: data.channels, : data.channels]
    np.linalg.cholesky(Z)


def test_a_stall_has_a_reason(monkeypatch):
    monkeypatch.setattr(Bundle, "step", lambda bundle, tau: (np.array([np.nan]), 1.0, np.zeros(1)))
    outcome = solve(Operator(network()), Tie.NEURON, SolverOptions())
    assert outcome.status is Status.STALLED
    assert outcome.message.startswith("no step improves on the best point")
    assert np.isfinite(outcome.bound)


@pytest.mark.parametrize("tie", [Tie.LAYER, Tie.CHANNEL, Tie.NEURON])
@pytest.mark.parametrize("kind", ["relu", "maxmin", "residual", "convolution"])
def test_the_gap_is_one_to_what_no_multipliers_get_below(kind, tie):
    graph = prepare(_of_kind(kind))
    found = solve(Operator(graph), tie, SolverOptions(tolerance=1e-6))
    (problem,) = subproblems(lower(graph), Claim(), tie)
    optimum = get_solver("native")(problem, SolverOptions(tolerance=1e-9)).bound
    assert found.gap is not None
    assert found.bound * np.sqrt(1.0 - found.gap) <= optimum * (1.0 + 1e-7)
    assert found.status is not Status.OPTIMAL or found.gap <= 1e-5
    assert found.gap <= 1e-4


@pytest.mark.parametrize("kind", ["relu", "maxmin", "residual", "convolution"])
def test_no_increments_attain_more_than_the_optimum(kind):
    graph = prepare(_of_kind(kind))
    operator = Operator(graph)
    (problem,) = subproblems(lower(graph), Claim(), Tie.NEURON)
    optimum = get_solver("native")(problem, SolverOptions(tolerance=1e-9)).bound
    rng = np.random.default_rng(2)
    each = np.arange(operator.groups.count)
    for columns in (1, 3, 10):
        for scale in (0.1, 10.0):
            increments = rng.standard_normal((operator.shape[1], columns))
            increments[: operator.channels] *= scale
            attained = operator.attained(increments, each)
            assert 0.0 < attained <= optimum**2 * (1.0 + 1e-7)
            # the scaling that it makes anew
            assert operator.attained(2.0 * increments, each) == pytest.approx(attained, rel=1e-12)


def test_an_implicit_network_has_no_gap():
    rng = np.random.default_rng(0)
    W = 0.3 * rng.standard_normal((4, 4))
    graph = prepare(nn.sequential(nn.fixed_point(W, rng.standard_normal((4, 3)), None, nn.relu())))
    assert solve(Operator(graph), Tie.NEURON, SolverOptions()).gap is None


def _of_kind(kind):
    rng = np.random.default_rng(7)

    def weights(*shape):
        return rng.standard_normal(shape) / np.sqrt(shape[-1])

    if kind == "residual":
        block = nn.residual(nn.linear(weights(8, 8)), nn.relu(), nn.linear(weights(8, 8)))
        return nn.sequential(nn.linear(weights(8, 5)), block, nn.relu(), nn.linear(weights(3, 8)))
    if kind == "convolution":
        builder = GraphBuilder()
        first = Convolution(rng.standard_normal((3, 1, 3, 3)), (5, 5), (2, 2), (1, 1), (1, 1, 1, 1))
        x = builder.affine([builder.input(25)], [first])
        x = builder.activation(x, "relu", channel=np.repeat(np.arange(3), 9))
        return builder.finish(builder.affine([x], [Dense(weights(4, 27))]))
    act = getattr(nn, kind)
    return nn.sequential(nn.linear(weights(8, 6)), act(), nn.linear(weights(8, 8)), act(), nn.linear(weights(4, 8)))


def test_known_multipliers_are_begun_with() -> None:
    """Those of the norm product are feasible; others give way to a guess, and all end at the same optimum."""
    graph = prepare(network())
    job = Job(Prepared(Localised(graph)), Claim(), "matrix-free", SolverOptions())
    product = propose_product(job)
    operator = Operator(graph)
    options = SolverOptions(1e-5)
    alone = solve(operator, Tie.NEURON, options)
    known = product.cases[0].lam
    assert job.prepared.product is not None
    eased = _eased(Evaluator(operator), known)
    assert eased is not None
    assert np.sqrt(eased.rho) <= job.prepared.product.value * 1.01
    assert _eased(Evaluator(operator), 1e-9 * known) is None
    for given in (known, 1e-9 * known):
        assert solve(operator, Tie.NEURON, options, given).bound == pytest.approx(alone.bound, rel=1e-3)
