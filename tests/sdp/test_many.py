"""Independent programs over joblib's backends."""

from __future__ import annotations

import joblib
import numpy as np
import pytest

from lipcert.constraints.interconnection import lower
from lipcert.errors import InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.norms import Norm
from lipcert.sdp.many import solve_all
from lipcert.sdp.outcome import SolverOptions, Status
from lipcert.sdp.problem import subproblems


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(2)
    layers = [nn.linear(rng.standard_normal((7, 5))), nn.relu(), nn.linear(rng.standard_normal((6, 7))), nn.relu()]
    system = lower(nn.sequential(*layers, nn.linear(rng.standard_normal((9, 6)))))
    return list(subproblems(system, Claim(Norm.L2, Norm.LINF)))


@pytest.fixture(scope="module")
def alone(rows):
    return [solve_all([row], "native", SolverOptions())[0].bound for row in rows]


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
def test_backends_agree_in_order(rows, alone, backend):
    with joblib.parallel_config(backend=backend, n_jobs=2):
        outcomes = solve_all(rows, "native", SolverOptions())
    assert [outcome.bound for outcome in outcomes] == pytest.approx(alone, rel=1e-6)


def test_jobs_are_processes(rows, alone):
    outcomes = solve_all(rows, "native", SolverOptions(), jobs=2)
    assert [outcome.bound for outcome in outcomes] == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("jobs", [None, 2])
def test_progress_is_told_and_a_used_up_time_limit_is_kept(rows, jobs):
    steps = []
    options = SolverOptions(time_limit=1e-3, progress=steps.append)
    outcomes = solve_all(rows, "native", options, jobs)
    assert len(outcomes) == len(rows)
    assert any(outcome.status is Status.TIME_LIMIT for outcome in outcomes)
    assert steps
    assert all(0.0 <= step.at_most <= 1e-3 for step in steps)


def test_progress_says_how_many_problems_are_to_do(rows):
    steps = []
    solve_all(rows, "native", SolverOptions(progress=steps.append))
    stages = list(dict.fromkeys(step.stage for step in steps))
    assert stages == [f"interior point, problem {k} of 9" for k in range(1, 10)]
    assert all((step.left is None) == ("problem 1 " in step.stage) for step in steps)
    steps.clear()
    solve_all(rows, "native", SolverOptions(progress=steps.append), jobs=2)
    assert [(step.iteration, step.total) for step in steps][:: len(steps) - 1] == [(0, 9), (9, 9)]
    # of some of the problems there is no bound yet
    assert {step.bound for step in steps} == {None}


def test_coordinates_of_an_l1_input_are_not_spoilt_by_warm_starts():
    rng = np.random.default_rng(2)
    sizes = (5, 7, 6, 3)
    layers = [nn.linear(rng.standard_normal((sizes[1], sizes[0])))]
    for n, m in ((7, 6), (6, 3)):
        layers += [nn.relu(), nn.linear(rng.standard_normal((m, n)) / np.sqrt(n))]
    problems = list(subproblems(lower(nn.sequential(*layers)), Claim(Norm.L1, Norm.L2)))
    chained = solve_all(problems, "native", SolverOptions())
    single = [solve_all([problem], "native", SolverOptions())[0].bound for problem in problems]
    assert [outcome.bound for outcome in chained] == pytest.approx(single, rel=1e-6)


def test_an_unknown_solver_is_refused_before_any_work(rows):
    with pytest.raises(InvalidRequest, match="not known"):
        solve_all(rows, "simplex", SolverOptions(), jobs=2)


def test_where_only_the_largest_counts_the_others_end_below_it() -> None:
    rng = np.random.default_rng(5)
    layers = [nn.linear(rng.standard_normal((12, 30))), nn.relu(), nn.linear(rng.standard_normal((6, 12)))]
    rows = list(subproblems(lower(nn.sequential(*layers)), Claim(Norm.LINF, Norm.LINF)))
    whole = solve_all(rows, "native", SolverOptions())
    found = solve_all(rows, "native", SolverOptions(), known=[np.inf] * len(rows))
    largest = max(outcome.bound for outcome in whole)
    assert max(outcome.bound for outcome in found) == pytest.approx(largest, rel=1e-7)
    assert Status.DECIDED in [outcome.status for outcome in found]
    assert all(few.bound >= full.bound * (1.0 - 1e-7) for few, full in zip(found, whole, strict=True))
    assert sum(outcome.iterations for outcome in found) < 0.7 * sum(outcome.iterations for outcome in whole)


def test_what_is_known_otherwise_lowers_what_the_others_end_at() -> None:
    rng = np.random.default_rng(6)
    layers = [nn.linear(rng.standard_normal((8, 5))), nn.relu(), nn.linear(rng.standard_normal((3, 8)))]
    rows = list(subproblems(lower(nn.sequential(*layers)), Claim(Norm.LINF, Norm.LINF)))
    whole = [outcome.bound for outcome in solve_all(rows, "native", SolverOptions())]
    first, second, *_ = np.argsort(whole)[::-1]
    known = [np.inf] * len(rows)
    known[first] = 0.5 * min(whole)
    found = [outcome.bound for outcome in solve_all(rows, "native", SolverOptions(), known=known)]
    # the largest one will be replaced, so that the second one counts
    assert found[second] == pytest.approx(whole[second], rel=1e-6)
