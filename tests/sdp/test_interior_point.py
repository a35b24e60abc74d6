"""The native interior-point method against published figures, Clarabel, closed forms and sampling."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orthogonal import chain, isometry

from lipcert.constraints.interconnection import lower
from lipcert.constraints.multipliers import Tie
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm
from lipcert.sdp.outcome import Outcome, Progress, SolverOptions, Status
from lipcert.sdp.problem import Problem, balanced, compress_inputs, subproblems
from lipcert.sdp.solvers import interior_point
from lipcert.sdp.solvers.interior_point import Search, solve
from lipcert.sdp.solvers.start import starting_point
from lipcert.sdp.solvers.transposed import reduced

if TYPE_CHECKING:
    from pathlib import Path

    from lipcert.arrays import Array
    from lipcert.graph.nodes import Graph


def mlp(weights: list[Array], activation: nn.Layer | None = None) -> Graph:
    """Linear layers with an activation between them."""
    layers: list[nn.Layer] = []
    for i, weight in enumerate(weights):
        layers += [activation or nn.relu()] if i else []
        layers.append(nn.linear(weight))
    return nn.sequential(*layers)


def random_weights(seed: int, widths: list[int], gain: float = 1.0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [gain * rng.standard_normal((b, a)) * np.sqrt(2 / a) for a, b in itertools.pairwise(widths)]


def problem_of(
    graph: Graph, norm: Norm = Norm.L2, output_norm: Norm = Norm.L2, tie: Tie = Tie.NEURON, which: int = 0
) -> Problem:
    return list(subproblems(lower(graph), Claim(norm, output_norm), tie))[which]


def slack(problem: Problem, y: Array) -> float:
    """The smallest eigenvalue of Z(y), scaled to unit multipliers."""
    scale = 1.0 / np.sqrt(y[problem.column])
    return float(np.linalg.eigvalsh(problem.matrix(y) * np.outer(scale, scale))[0])


def clarabel(problem: Problem) -> float:
    """The optimal bound by Clarabel, on the augmented linear form for ℓ1 outputs, in scaled multipliers."""
    cp = pytest.importorskip("cvxpy")
    start = solve(problem, SolverOptions(max_iterations=0)).y
    assert start is not None
    y = cp.Variable(problem.variables, nonneg=True)
    full = cp.multiply(start, y)
    column = full[problem.column]
    Z = cp.diag(column) - problem.R.T @ cp.diag(full[problem.row]) @ problem.R if problem.row.size else cp.diag(column)
    scale = 1.0 / np.sqrt(start[problem.column])
    if problem.output is None:
        K = Z - problem.Y.T @ problem.Y
    else:
        K = cp.bmat([[Z, problem.Y.T], [problem.Y, cp.diag(full[problem.output])]])
        scale = np.concatenate([scale, 1.0 / np.sqrt(start[problem.output])])
    cost = problem.cost @ start
    objective = cp.Problem(cp.Minimize((problem.cost * start / cost) @ y), [cp.diag(scale) @ K @ cp.diag(scale) >> 0])
    tight = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
    value = cost * objective.solve(solver=cp.CLARABEL, **tight)
    return float(value if problem.output is not None else np.sqrt(value))


def maxmin_network(folder: Path, name: str) -> Graph:
    with np.load(folder / "maxmin_mnist" / f"{name}.npz") as arrays:
        return mlp([arrays[f"W{i}"].astype(np.float64) for i in range(len(arrays.files))], nn.maxmin())


def relu_network(folder: Path, pattern: str) -> Graph:
    """The weights of a plain ReLU network; the importer is not needed to test the solver."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(next((folder / "onnx").glob(pattern))))
    arrays = {t.name: onnx.numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
    weights = []
    for node in model.graph.node:
        if node.op_type in ("Gemm", "MatMul"):
            side, name = next((k, x) for k, x in enumerate(node.input) if x in arrays)
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            weights.append(arrays[name] if side == 0 or transposed else arrays[name].T)
    return mlp(weights)


@pytest.mark.parametrize(
    ("name", "figure"),
    [("l2_2fc_16", 22.074381), ("l2_2fc_32", 38.075035), ("l2_5fc_32", 193.179587), ("l2_8fc_32", 309.193498)],
)
def test_figures_of_maxmin_networks(shared_data: Path, name: str, figure: float) -> None:
    problem = compress_inputs(problem_of(maxmin_network(shared_data, name)))
    outcome = solve(problem, SolverOptions())
    assert outcome.status is Status.OPTIMAL
    assert outcome.bound == pytest.approx(figure, rel=1e-7)
    assert slack(problem, outcome.y) > 0


@pytest.mark.parametrize(
    ("pattern", "figure"),
    [
        ("*cartpole*", 15.135096),
        ("*gcas*", 104.216926),
        ("*lindex*", 1532.490247),
        ("*ACASXU*1_1*", 88258.8192),
        ("*ACASXU*2_3*", 25919.2758),
    ],
)
def test_figures_of_relu_networks(shared_data: Path, pattern: str, figure: float) -> None:
    problem = problem_of(relu_network(shared_data, pattern))
    outcome = solve(problem, SolverOptions())
    assert outcome.status is Status.OPTIMAL
    assert outcome.bound == pytest.approx(figure, rel=1e-7)
    assert slack(problem, outcome.y) > 0


@pytest.mark.slow
def test_figure_of_the_mnist_network(shared_data: Path) -> None:
    outcome = solve(problem_of(relu_network(shared_data, "*256x2*")), SolverOptions(tolerance=1e-7))
    assert outcome.bound == pytest.approx(312.416077, rel=1e-6)


def test_linf_to_one_output_with_784_inputs(shared_data: Path) -> None:
    problem = problem_of(maxmin_network(shared_data, "l2_2fc_16"), Norm.LINF, Norm.LINF, which=8)
    outcome = solve(problem, SolverOptions())
    assert outcome.status is Status.OPTIMAL
    assert outcome.bound == pytest.approx(166.12949, rel=1e-6)
    assert slack(problem, outcome.y) > -1e-12


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("norms", [("2", "2"), ("inf", "2"), ("inf", "inf"), ("1", "2"), ("2", "1"), ("inf", "1")])
def test_agrees_with_clarabel(seed: int, norms: tuple[str, str]) -> None:
    graph = mlp(random_weights(seed, [4, 6, 5, 3]), nn.relu() if seed % 2 else nn.tanh())
    problem = problem_of(graph, Norm(norms[0]), Norm(norms[1]))
    outcome = solve(problem, SolverOptions())
    assert outcome.status is Status.OPTIMAL
    assert outcome.bound == pytest.approx(clarabel(problem), rel=1e-6)
    assert slack(problem, outcome.y) > -1e-12


@pytest.mark.parametrize("tie", [Tie.LAYER, Tie.NETWORK])
@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_ties_agree_with_clarabel(tie: Tie, norm: Norm) -> None:
    # one multiplier for the whole network needs a channel part of norm below 1
    graph = mlp(random_weights(7, [4, 6, 6, 3], 0.5), nn.maxmin())
    problem = problem_of(graph, norm, tie=tie)
    outcome = solve(problem, SolverOptions())
    assert outcome.status is Status.OPTIMAL
    assert outcome.bound == pytest.approx(clarabel(problem), rel=1e-6)
    free = solve(problem_of(graph, norm), SolverOptions())
    assert free.bound <= outcome.bound * (1 + 1e-8)


def test_gram_matrix_attains_the_optimum() -> None:
    problem = problem_of(mlp(random_weights(3, [4, 6, 5, 3])))
    outcome = solve(problem, SolverOptions())
    X = outcome.gram
    assert X is not None
    inputs = problem.column >= problem.multipliers
    assert np.trace(X[np.ix_(inputs, inputs)]) == pytest.approx(1.0)
    assert np.sum((problem.Y @ X) * problem.Y) == pytest.approx(outcome.bound**2, rel=1e-4)
    assert np.linalg.eigvalsh(X)[0] > -1e-9 * np.trace(X)


def zeroed(weights: list[Array], what: str) -> list[Array]:
    first, second, last = (w.copy() for w in weights)
    if what == "dead neuron":
        second[:, 1] = 0.0
    elif what == "dead chain":
        second[:, 1] = 0.0
        second[2] = 0.0
        last[:, 2] = 0.0
    elif what == "neuron without input":
        first[1] = 0.0
    elif what == "duplicated neurons":
        first[1] = first[0]
        second[:, 1] = second[:, 0]
    elif what == "zero input":
        first[:, 2] = 0.0
    elif what == "zero output":
        last[0] = 0.0
    elif what == "zero Y":
        last[:] = 0.0
    elif what == "zero first layer":
        first[:] = 0.0
    elif what == "zero middle":
        second[:] = 0.0
    return [first, second, last]


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("norms", [("2", "2"), ("inf", "2"), ("2", "1")])
@pytest.mark.parametrize(
    "what",
    [
        "dead neuron", "dead chain", "neuron without input", "duplicated neurons", "zero input", "zero output",
    ],
)  # fmt: skip
def test_degenerate_data(what: str, norms: tuple[str, str]) -> None:
    graph = mlp(zeroed(random_weights(11, [4, 5, 6, 3]), what))
    problem = problem_of(graph, Norm(norms[0]), Norm(norms[1]))
    outcome = solve(problem, SolverOptions())
    assert outcome.y is not None
    assert (outcome.y > 0).all()
    assert slack(problem, outcome.y) > -1e-12
    assert outcome.bound == pytest.approx(clarabel(problem), rel=2e-6)


@pytest.mark.parametrize("norms", [("2", "2"), ("inf", "2"), ("2", "1"), ("inf", "1")])
@pytest.mark.parametrize("what", ["zero Y", "zero first layer"])
def test_no_gain(what: str, norms: tuple[str, str]) -> None:
    graph = mlp(zeroed(random_weights(11, [4, 5, 6, 3]), what))
    problem = problem_of(graph, Norm(norms[0]), Norm(norms[1]))
    outcome = solve(problem, SolverOptions())
    assert outcome.y is not None
    assert (outcome.y > 0).all()
    assert outcome.bound < 1e-6
    assert slack(problem, outcome.y) > -1e-12


def test_no_channels_is_the_spectral_norm() -> None:
    weight = random_weights(5, [7, 4])[0]
    outcome = solve(problem_of(mlp([weight])), SolverOptions())
    assert outcome.bound == pytest.approx(np.linalg.norm(weight, 2), rel=1e-8)


def test_one_neuron() -> None:
    outcome = solve(problem_of(mlp([np.array([[2.0]]), np.array([[3.0]])])), SolverOptions())
    assert outcome.bound == pytest.approx(6.0, rel=1e-8)


@pytest.mark.parametrize(("gain", "depth"), [(0.3, 32), (0.7, 16), (4.0, 16), (1e-6, 3), (1e6, 3)])
def test_deep_contractions_and_expansions_scale(gain: float, depth: int) -> None:
    """The bound of the scaled network is the scaled bound."""
    weights = random_weights(1, [8] * (depth + 1), 0.5)
    reference = solve(problem_of(mlp(weights)), SolverOptions())
    scaled = solve(problem_of(mlp([gain * w for w in weights])), SolverOptions())
    assert reference.status is scaled.status is Status.OPTIMAL
    assert scaled.bound == pytest.approx(reference.bound * gain**depth, rel=1e-6)


def test_multipliers_over_24_decades() -> None:
    first, second, last = random_weights(2, [5, 8, 8, 4])
    # relu(c z) = c relu(z): the same function with neurons scaled
    scale = np.logspace(-6, 6, 8)
    spread = [scale[:, None] * first, second[:, ::-1] / scale, last]
    mirrored = [first, second[:, ::-1], last]
    reference = solve(problem_of(mlp(mirrored)), SolverOptions())
    outcome = solve(problem_of(mlp(spread)), SolverOptions())
    assert outcome.bound == pytest.approx(reference.bound, rel=1e-7)
    assert np.log10(outcome.y.max() / outcome.y.min()) > 20


def test_every_limit_returns_a_feasible_point() -> None:
    problem = problem_of(mlp(random_weights(4, [6, 12, 12, 3])))
    best = solve(problem, SolverOptions()).bound

    def interrupt(progress: Progress) -> None:
        if progress.iteration == 3:
            raise KeyboardInterrupt

    limits = [
        (SolverOptions(time_limit=0.0), Status.TIME_LIMIT),
        (SolverOptions(max_iterations=2), Status.ITERATION_LIMIT),
        (SolverOptions(progress=interrupt), Status.INTERRUPTED),
    ]
    for options, status in limits:
        outcome = solve(problem, options)
        assert outcome.status is status
        assert slack(problem, outcome.y) > 0
        assert outcome.bound >= best * (1 - 1e-8)


def test_progress_reports_falling_bounds() -> None:
    seen: list[Progress] = []
    outcome = solve(problem_of(mlp(random_weights(4, [6, 12, 12, 3]))), SolverOptions(progress=seen.append))
    bounds = [p.bound for p in seen]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == pytest.approx(outcome.bound)


def test_progress_hands_over_its_points_and_the_time_left() -> None:
    problem = problem_of(mlp(random_weights(4, [6, 12, 12, 3])))
    seen: list[tuple[Progress, Outcome]] = []
    solve(problem, SolverOptions(time_limit=100.0, progress=lambda step: seen.append((step, step.outcome()))))
    for step, outcome in seen:
        assert slack(problem, outcome.y) > 0
        assert problem.bound(outcome.y) == pytest.approx(step.bound)
        assert step.at_most == pytest.approx(100.0 - step.seconds)
        assert (step.left is None) == (step.gap >= 0.1)
    assert seen[-1][0].left == 0.0


def test_a_gap_below_what_the_proof_loses_is_not_asked_for() -> None:
    form, restore = reduced(problem_of(mlp(random_weights(4, [20, 40, 40, 40, 10]))))
    theta = starting_point(form)

    def enough(tolerance: float) -> float:
        return Search(form, restore, theta, SolverOptions(tolerance), 0.0).enough

    assert enough(1e-6) == 1e-6
    assert 1e-13 < enough(1e-300) < 1e-11


def test_start_from_given_multipliers() -> None:
    problem = problem_of(mlp(random_weights(4, [6, 12, 12, 3])))
    first = solve(problem, SolverOptions())
    start = first.y.copy()
    start[problem.multipliers :] = 0.0
    again = solve(problem, SolverOptions(start=start))
    assert again.bound == pytest.approx(first.bound, rel=1e-7)


def test_implicit_layer() -> None:
    rng = np.random.default_rng(0)
    W = rng.standard_normal((6, 6))
    W *= 0.9 / np.linalg.norm(W, 2)
    U = rng.standard_normal((6, 3))
    graph = nn.sequential(nn.fixed_point(W, U, None, nn.relu()), nn.linear(rng.standard_normal((2, 6))))
    problem = problem_of(graph)
    outcome = solve(problem, SolverOptions())
    assert outcome.status is Status.OPTIMAL
    assert outcome.bound == pytest.approx(clarabel(problem), rel=1e-6)


def test_implicit_layer_that_no_simple_scaling_contracts() -> None:
    """A loop whose Osborne-balanced norm is just above 1 while the optimal diagonal scaling's is below."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((5, 5)) * np.exp(rng.standard_normal((5, 5)))
    d = np.ones(5)
    for _ in range(300):
        d *= ((d @ A**2) / d / (A**2 @ (1 / d) * d)) ** 0.25
    own = A * (1.003 / np.linalg.norm(np.sqrt(d)[:, None] * A / np.sqrt(d), 2))
    R = np.hstack([own, rng.standard_normal((5, 2))])
    group = np.arange(5)
    problem = Problem(R, np.eye(5, 7), group, np.append(group, [5, 5]), np.append(np.zeros(5), 1.0), 5)
    outcome = solve(problem, SolverOptions())
    assert outcome.status is Status.OPTIMAL
    assert slack(problem, outcome.y) > 0
    assert outcome.bound == pytest.approx(clarabel(problem), rel=1e-6)


def test_implicit_layer_without_certificate_gives_no_bound() -> None:
    graph = nn.sequential(nn.fixed_point([[1.5]], [[1.0]], None, nn.tanh()))
    outcome = solve(problem_of(graph), SolverOptions())
    assert outcome.y is None
    assert outcome.message


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    widths=st.lists(st.integers(1, 8), min_size=2, max_size=6),
    exponent=st.integers(-6, 6),
    norms=st.sampled_from([("2", "2"), ("inf", "2"), ("2", "1"), ("inf", "inf")]),
)
def test_feasible_and_above_every_gradient(seed: int, widths: list[int], exponent: int, norms: tuple[str, str]) -> None:
    weights = random_weights(seed, widths, 10.0**exponent)
    problem = problem_of(mlp(weights), Norm(norms[0]), Norm(norms[1]))
    outcome = solve(problem, SolverOptions())
    assert outcome.y is not None
    assert np.isfinite(outcome.y).all()
    assert (outcome.y > 0).all()
    assert slack(problem, outcome.y) > -1e-11
    rng = np.random.default_rng(seed)
    for _ in range(10):
        jacobian = weights[0]
        for w in weights[1:]:
            jacobian = w @ (rng.integers(0, 2, w.shape[1])[:, None] * jacobian)
        if norms[1] == "inf":
            jacobian = jacobian[:1]
        inputs = rng.choice([-1.0, 1.0], jacobian.shape[1])
        inputs /= np.linalg.norm(inputs) if norms[0] == "2" else 1.0
        gain = np.linalg.norm(jacobian @ inputs, 1 if norms[1] == "1" else 2)
        assert outcome.bound >= gain * (1 - 1e-9)


def test_compression_does_not_change_the_optimum() -> None:
    problem = problem_of(mlp(random_weights(9, [40, 6, 3])))
    full = solve(problem, SolverOptions())
    small = solve(compress_inputs(problem), SolverOptions())
    assert full.bound == pytest.approx(small.bound, rel=1e-8)
    assert full.gram.shape == (46, 46)


@pytest.mark.parametrize("seed", range(6))
def test_deep_residual_networks_with_equal_outputs_do_not_stall(seed):
    """The start is orders of magnitude above the optimum, and its A is nearly singular."""
    rng = np.random.default_rng(seed)
    blocks = [
        nn.residual(nn.linear(rng.standard_normal((2, 2))), nn.sigmoid(), nn.linear(rng.standard_normal((2, 2))))
        for _ in range(12)
    ]
    graph = nn.sequential(*blocks, nn.linear(np.ones((4, 1)) * rng.standard_normal(2)))
    (problem,) = subproblems(lower(graph), Claim())
    outcome = solve(problem, SolverOptions())
    assert outcome.status is Status.OPTIMAL
    assert outcome.gap <= 1e-8
    assert outcome.iterations <= 60


ISOMETRIES = [
    ("MaxMin", 8, 20),
    ("MaxMin", 16, 20),
    ("Householder", 16, 20),
    ("Householder(5)", 10, 4),
    ("GroupSort(4)", 8, 8),
    ("GroupSort(4)", 16, 8),
    ("GroupSort(5)", 10, 4),
    ("GroupSort(6)", 12, 4),
    ("GroupSort(8)", 16, 8),
    ("abs", 8, 20),
]


def solved(graph: Graph) -> Outcome:
    system, balance = balanced(lower(prepare(graph)))
    outcome = solve(compress_inputs(next(subproblems(system, Claim()))), SolverOptions())
    return replace(outcome, bound=balance.bound(outcome.bound))


@pytest.mark.parametrize(
    ("name", "width", "depth", "scale"),
    [*((*case, 1.0) for case in ISOMETRIES), *(("MaxMin", 8, 20, s) for s in (0.97, 1.05))],
)
def test_isometries_are_solved_as_fast_as_random_networks(name: str, width: int, depth: int, scale: float) -> None:
    outcome = solved(chain(name, width, depth, 0, scale))
    assert outcome.status is Status.OPTIMAL
    assert scale**depth * (1 - 1e-9) <= outcome.bound <= scale**depth * (1 + 1e-8)
    random = random_weights(0, [width] * (depth + 1) + [3], 0.7)
    usual = solved(mlp(random, isometry(name, width, np.random.default_rng(0))))
    assert outcome.iterations <= 2 * usual.iterations


def test_a_stall_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interior_point, "LEAST_STEP", 2.0)
    outcome = solve(problem_of(mlp(random_weights(0, [5, 8, 3]))), SolverOptions())
    assert outcome.status is Status.STALLED
    assert "no step longer than" in outcome.message
