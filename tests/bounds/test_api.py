"""`bound`: options, statuses, and what is left after an interruption."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import lipcert
from lipcert import budget
from lipcert.bounds import api, run
from lipcert.bounds import lower_bound as lower
from lipcert.certificates import proof
from lipcert.errors import InvalidRequest, NotCertified
from lipcert.graph import build as nn
from lipcert.norms import Norm
from lipcert.sdp.outcome import Progress, Status

PLAN = run.Run.plan
MODELS = Path(__file__).resolve().parents[2] / "models"


def network(seed=0, sizes=(4, 6, 5, 3), layer=nn.relu):
    rng = np.random.default_rng(seed)
    layers = [nn.linear(rng.standard_normal((sizes[1], sizes[0])))]
    for n, m in pairwise(sizes[1:]):
        layers += [layer(), nn.linear(rng.standard_normal((m, n)) / np.sqrt(n))]
    return nn.sequential(*layers)


GRAPH = network()


def upper(graph=GRAPH, **request):
    return lipcert.bound(graph, lower=False, **request)


class TestNorms:
    @pytest.mark.parametrize("spelling", [2, 2.0, "2", Norm.L2, np.int64(2)])
    def test_spellings_of_a_norm(self, spelling):
        assert upper(norm=spelling).upper == upper().upper

    @pytest.mark.parametrize("spelling", ["inf", np.inf, float("inf")])
    def test_infinity(self, spelling):
        found = upper(norm=spelling)
        assert (found.norm, found.output_norm) == (Norm.LINF, Norm.LINF)

    def test_the_output_norm_is_the_inputs_unless_given(self):
        assert upper(norm=1).output_norm is Norm.L1
        assert upper(norm=1, output_norm=2).output_norm is Norm.L2

    @pytest.mark.parametrize("wrong", [3, "euclidean", None, 0, -1, 2.5, "nan"])
    def test_other_norms_are_refused(self, wrong):
        with pytest.raises(InvalidRequest, match="norm"):
            upper(norm=wrong)

    @pytest.mark.parametrize("norm", list(Norm))
    @pytest.mark.parametrize("output_norm", list(Norm))
    def test_every_pair_is_proven_and_above_its_lower_bound(self, norm, output_norm):
        found = lipcert.bound(GRAPH, norm=norm, output_norm=output_norm, lower_seconds=0.1)
        assert found.verified
        assert found.status is Status.OPTIMAL
        assert found.upper == pytest.approx(found.proposed, rel=1e-6)
        assert 0.3 * found.upper < found.lower <= found.upper <= found.product
        assert lipcert.verify(found.certificate, GRAPH).value == found.upper


class TestOutputs:
    def test_each_pairs_and_lists(self):
        each = upper(outputs="each")
        assert [item.output for item in each.each] == ["0", "1", "2"]
        assert each.upper == max(item.upper for item in each.each)
        pairs = upper(outputs="pairs")
        assert [item.output for item in pairs.each] == ["0-1", "0-2", "1-2"]
        some = {item.output: item.upper for item in upper(outputs="2, 0-1").each}
        assert some["2"] == pytest.approx(each.each[2].upper, rel=1e-6)
        assert some["0-1"] == pytest.approx(pairs.each[0].upper, rel=1e-6)
        assert upper(outputs=2).upper == upper(outputs=["2"]).upper == pytest.approx(some["2"], rel=1e-6)

    def test_all_outputs_have_no_parts(self):
        assert upper().each == ()

    def test_a_selected_output_is_the_network_of_that_output(self):
        rng = np.random.default_rng(1)
        first, last = rng.standard_normal((6, 4)), rng.standard_normal((3, 6))
        whole = nn.sequential(nn.linear(first), nn.tanh(), nn.linear(last))
        margin = nn.sequential(nn.linear(first), nn.tanh(), nn.linear(last[[2]] - last[[0]]))
        assert upper(whole, outputs="2-0").upper == pytest.approx(upper(margin).upper, rel=1e-7)

    def test_lower_bounds_come_one_by_one(self):
        found = lipcert.bound(GRAPH, outputs="each", lower_seconds=0.3)
        assert all(0 < item.lower <= item.upper for item in found.each)
        assert found.lower == max(item.lower for item in found.each)

    @pytest.mark.parametrize("wrong", ["3", "0-3", "1-1", "", "0;1", "a", [], [0, 7]])
    def test_wrong_selections_are_refused(self, wrong):
        with pytest.raises(InvalidRequest):
            upper(outputs=wrong)


class TestMethodsAndSolvers:
    def test_methods_are_ordered(self):
        values = [upper(method=method).upper for method in ("neuron", "channel", "layer", "product")]
        assert values == sorted(values)
        assert upper(method="auto").upper == values[0]

    @pytest.mark.parametrize("solver", ["native", "clarabel", "scs", "matrix-free"])
    def test_solvers_agree(self, solver):
        found = upper(solver=solver, tolerance=1e-7)
        assert found.solver == solver
        assert found.upper == pytest.approx(upper().upper, rel=1e-3 if solver == "scs" else 1e-5)

    @pytest.mark.parametrize(
        ("request_", "reason"),
        [
            ({"method": "guess"}, "method 'guess'"),
            ({"solver": "guess"}, "solver 'guess'"),
            ({"form": "guess"}, "form"),
            ({"tolerance": 0.0}, "tolerance"),
            ({"tolerance": float("nan")}, "tolerance"),
        ],
    )
    def test_unknown_names_are_refused(self, request_, reason):
        with pytest.raises(InvalidRequest, match=reason):
            upper(**request_)

    def test_comparators_are_never_looser_than_blocks(self):
        graph = network(3, (4, 8, 8, 2), lambda: nn.group_sort(4))
        pairs, blocks = (upper(graph, form=form) for form in ("comparators", "blocks"))
        assert pairs.upper <= blocks.upper * (1 + 1e-7)
        assert (pairs.certificate.form, blocks.certificate.form) == ("comparators", "blocks")

    def test_a_looser_tolerance_takes_fewer_iterations(self):
        loose, tight = upper(tolerance=1e-2), upper(tolerance=1e-9)
        assert loose.iterations < tight.iterations
        assert tight.upper <= loose.upper <= tight.upper * 1.01

    def test_options_reach_the_solver(self):
        found = upper(solver="clarabel", solver_options={"max_iter": 2})
        assert found.verified
        assert found.status is not Status.OPTIMAL

    def test_processes_change_nothing(self):
        assert upper(outputs="each", jobs=2).upper == pytest.approx(upper(outputs="each").upper, rel=1e-6)


class TestResult:
    def test_a_file_is_named_and_hashed(self):
        path = MODELS / "oscillator_controller.onnx"
        found = upper(str(path))
        assert found.model == str(path)
        assert len(found.sha256) == 64

    def test_it_is_plain_data(self):
        found = lipcert.bound(GRAPH, lower_seconds=0.1)
        assert json.loads(json.dumps(found.to_dict()))["upper"] == found.upper
        assert found.ratio == found.upper / found.lower

    def test_the_trace_falls_to_the_bound(self):
        values = [step.bound for step in upper().trace if step.bound is not None]
        assert values == sorted(values, reverse=True)
        assert values[-1] == pytest.approx(upper().upper, rel=1e-6)

    def test_an_ill_posed_layer_has_no_bound(self):
        with pytest.raises(NotCertified, match="well-posedness"):
            upper(nn.sequential(nn.fixed_point([[2.0]], [[1.0]], None, nn.abs_())))


class TestEndings:
    """The best proven bound, whatever ends the computation."""

    large = network(5, (20, 40, 40, 40, 4))

    def test_a_time_limit_keeps_a_proven_bound(self):
        found = upper(self.large, time_limit=1e-3)
        assert found.verified
        assert found.status is Status.TIME_LIMIT
        assert upper(self.large).upper * (1 - 1e-7) <= found.upper <= found.product

    def test_a_time_limit_for_the_solver_keeps_its_best_point(self, monkeypatch):
        leaving = run._leaving
        # whatever the clock says of the rest, the solver is cut after its first step
        monkeypatch.setattr(
            run,
            "_leaving",
            lambda job, proof: replace(
                leaving(job, proof), options=replace(leaving(job, proof).options, time_limit=1e-6)
            ),
        )
        found = upper(self.large, solver="native", time_limit=600.0)
        assert (found.status, found.method) == (Status.TIME_LIMIT, "neuron")
        assert upper(self.large).upper * (1 - 1e-7) <= found.upper <= found.product * (1 + 1e-9)
        lipcert.verify(found.certificate, self.large)

    def test_many_problems_share_the_time_limit(self):
        started = time.process_time()
        found = upper(network(6, (6, 20, 20, 3)), norm=1, outputs="each", time_limit=1e-2)
        # 18 problems; what is not solved is proven from its start, or the norm product is the answer
        assert found.status is Status.TIME_LIMIT
        assert found.verified
        assert time.process_time() - started < 60.0

    def test_an_interruption_of_the_solver_keeps_its_best_point(self):
        seen = []

        def stop(step):
            seen.append(step)
            if step.iteration == 6:
                raise KeyboardInterrupt

        found = upper(self.large, progress=stop)
        assert found.status is Status.INTERRUPTED
        assert found.method == "neuron"
        assert upper(self.large).upper < found.upper <= found.product
        lipcert.verify(found.certificate, self.large)

    def test_an_interruption_ends_all_problems(self):
        def stop(step):
            if step.iteration == 3 and step.stage.startswith("interior point, problem 1 of 4"):
                raise KeyboardInterrupt

        found = upper(self.large, outputs="each", progress=stop)
        assert found.status is Status.INTERRUPTED
        assert found.iterations < 12

    def test_an_interruption_of_the_proof_is_heeded_after_it(self):
        def stop(step):
            if step.stage.startswith("proof"):
                raise KeyboardInterrupt

        found = upper(GRAPH, progress=stop)
        assert found.status is Status.INTERRUPTED
        assert found.upper == pytest.approx(upper().upper, rel=1e-6)
        lipcert.verify(found.certificate, GRAPH)

    def test_a_second_interruption_leaves_the_norm_product(self, monkeypatch):
        def interrupted(*arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr(proof, "repair", interrupted)
        found = upper(GRAPH)
        assert (found.status, found.method) == (Status.INTERRUPTED, "product")
        assert found.upper == pytest.approx(found.product)

    def test_an_interruption_before_any_proof_of_an_implicit_layer_is_one(self, monkeypatch):
        def interrupted(*arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr(proof, "repair", interrupted)
        with pytest.raises(KeyboardInterrupt):
            upper(nn.sequential(nn.fixed_point([[0.5]], [[1.0]], None, nn.relu())))

    def test_an_interruption_of_the_lower_bound_keeps_the_upper_one(self, monkeypatch):
        def interrupted(*arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr(api, "_lower_bounds", interrupted)
        found = lipcert.bound(GRAPH)
        assert (found.status, found.lower) == (Status.INTERRUPTED, None)
        assert found.upper == upper().upper


def test_a_bound_draws_its_convergence():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    found = lipcert.bound(nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]])), lower_seconds=0.1)
    ax = found.plot()
    assert "Lipschitz bound" in ax.get_ylabel()
    assert {"proven bound 10", "norm product 10", "lower bound 10"} <= {line.get_label() for line in ax.get_lines()}
    assert found.plot(ax) is ax
    trace = (Progress("search", 0, 12.0, proven=15.0), Progress("search", 1, 11.0, seconds=1.0, proven=11.5))
    lines = {
        line.get_label(): line for line in replace(found, trace=trace).plot(pyplot.figure().subplots()).get_lines()
    }
    assert list(lines["proven by then"].get_ydata()) == [15.0, 11.5]
    pyplot.close("all")


class TestPlan:
    """What `auto` tries."""

    @staticmethod
    def first(monkeypatch, free=2**40, **request):
        """The first method and solver tried for 300 neurons on 40 inputs."""
        tried = []

        def note(self):
            tried.extend(PLAN(self))
            raise NotCertified("enough")

        monkeypatch.setattr(run.Run, "plan", note)
        monkeypatch.setattr(run, "available", lambda: free)
        with pytest.raises(NotCertified):
            upper(network(0, (40, 300, 300, 3)), **request)
        return tried

    def test_the_interior_point_method_where_it_fits(self, monkeypatch):
        assert self.first(monkeypatch) == [
            ("neuron", "native"), ("layer", "native"), ("segments", "native"), ("product", "none"),
        ]  # fmt: skip
        assert ("segments", "native") not in self.first(monkeypatch, norm="inf")

    def test_matrix_free_where_time_is_short(self, monkeypatch):
        assert self.first(monkeypatch, time_limit=0.2)[0] == ("neuron", "matrix-free")
        assert self.first(monkeypatch, time_limit=20.0)[0] == ("neuron", "native")

    def test_matrix_free_where_memory_is_short(self, monkeypatch):
        assert self.first(monkeypatch, free=10**7)[0] == ("neuron", "matrix-free")

    def test_other_norms_know_the_interior_point_method_only(self, monkeypatch):
        assert self.first(monkeypatch, norm="inf", time_limit=0.2)[0] == ("neuron", "native")

    def test_a_solver_that_is_asked_for_is_taken(self, monkeypatch):
        assert self.first(monkeypatch, solver="native", time_limit=0.2)[0] == ("neuron", "native")


def test_the_status_is_optimal_only_where_the_proof_reaches_the_tolerance() -> None:
    graph = nn.sequential(
        nn.linear(np.random.default_rng(0).standard_normal((8, 5))), nn.relu(), nn.linear(np.ones((2, 8)))
    )
    found = lipcert.bound(graph, lower=False)
    assert found.proof_loss is not None
    assert found.proof_loss <= 1e-8
    assert found.status is Status.OPTIMAL
    strict = lipcert.bound(graph, lower=False, tolerance=1e-12)
    assert strict.proof_loss is not None
    assert (strict.proof_loss > 1e-12) == (strict.status is Status.PROOF_LOSS) or strict.status is Status.STALLED


@pytest.mark.parametrize(
    ("limit", "own", "least", "most"),
    [(None, None, None, None), (5.0, 7.0, 7.0, 7.0), (1e-3, None, 1e-4, 1e-4), (50.0, None, 0.1, 50.0)],
)
def test_the_search_takes_what_the_time_limit_leaves(monkeypatch, limit, own, least, most):
    taken = []
    original = lower.lower_bound

    def spy(*args, **kwargs):
        taken.append(kwargs["time_limit"])
        return original(*args, **kwargs | {"time_limit": 0.05})

    monkeypatch.setattr(lower, "lower_bound", spy)
    lipcert.bound(network(6, (6, 8, 3)), time_limit=limit, lower_seconds=own)
    (seconds,) = taken
    assert seconds is None if least is None else least <= seconds <= most


def test_no_lower_bound_is_looked_for_where_its_proof_alone_would_break_the_limit(monkeypatch):
    monkeypatch.setattr("lipcert.bounds.witness.proof_seconds", lambda graph: 25.0)
    found = lipcert.bound(network(6, (6, 8, 3)), time_limit=100.0)
    assert found.lower is None
    assert any("25 s of 100 s" in note for note in found.notes)
    assert lipcert.bound(network(6, (6, 8, 3)), time_limit=200.0, seed=1).lower is not None


def test_the_upper_bound_leaves_the_search_its_part_of_the_limit(monkeypatch):
    left = []
    original = run.Run.run

    def spy(self):
        left.append(budget.left())
        return original(self)

    monkeypatch.setattr(run.Run, "run", spy)
    for looked_for in (True, False):
        lipcert.bound(network(6, (6, 8, 3)), time_limit=1000.0, lower=looked_for)
    searching, alone = left
    assert searching <= 900.0 < alone <= 1000.0
