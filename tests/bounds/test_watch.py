"""Bounds that are proven while a solver is at work: valid, falling, cheap, and the answer where the solver has no end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import lipcert
from lipcert.bounds import run, watch
from lipcert.bounds.methods import Job, Prepared, Proposal
from lipcert.bounds.table import METHODS
from lipcert.bounds.watch import Proven, Watch, within
from lipcert.certificates import Certificate, Prover
from lipcert.errors import NotCertified
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Graph
from lipcert.ranges import Localised
from lipcert.sdp.outcome import Progress, SolverOptions, Status


def network(seed: int = 0, sizes: tuple[int, ...] = (6, 12, 12, 3), layer: Callable[[], Any] = nn.relu) -> Graph:
    rng = np.random.default_rng(seed)
    layers = [nn.linear(rng.standard_normal((sizes[1], sizes[0])))]
    for n, m in pairwise(sizes[1:]):
        layers += [layer(), nn.linear(rng.standard_normal((m, n)) / np.sqrt(n))]
    return nn.sequential(*layers)


def implicit() -> Graph:
    rng = np.random.default_rng(7)
    W = rng.standard_normal((8, 8))
    W *= 0.8 / np.linalg.norm(W, 2)
    first, last = rng.standard_normal((8, 3)), rng.standard_normal((2, 8))
    return nn.sequential(nn.fixed_point(W, first, None, nn.relu()), nn.linear(last))


GRAPH = network()


class Proof:
    """Proofs that take so many seconds of a clock that is set by hand."""

    def __init__(self, cost: float = 0.0, guess: float | None = None) -> None:
        self.now = 0.0
        self.cost = cost
        self.guess = cost if guess is None else guess
        self.taken: list[float] = []
        self.watch = Watch(clock=lambda: self.now)

    def offer(self, claim: float, value: float | None = None, error: type[BaseException] | None = None) -> None:
        def prove() -> Proven:
            self.now += self.cost
            self.taken.append(self.now)
            if error is not None:
                raise error("no")
            return proven(claim if value is None else value)

        self.watch.offer(claim, lambda: self.guess, prove)


def proven(value: float, status: Status = Status.INTERRUPTED) -> Proven:
    job = Job(Prepared(Localised(GRAPH)), Claim(), "native", SolverOptions())
    return Proven(Proposal((), "neuron", "native", status, None, 1), None, value, job)


class TestWhenToProve:
    @pytest.mark.parametrize(("cost", "guess"), [(0.02, 0.02), (0.5, 0.5), (3.0, 0.0), (0.1, 2.0)])
    def test_proofs_take_a_tenth_of_the_time(self, cost: float, guess: float) -> None:
        proof = Proof(cost, guess)
        for k in range(4000):
            proof.now += 0.05
            before = len(proof.taken)
            proof.offer(0.99**k)
            if len(proof.taken) > before:
                spent, so_far = cost * len(proof.taken), proof.now - 0.05
                # a first proof that takes longer than it was guessed makes the next one wait
                assert spent <= 0.1 * so_far or (before == 0 and guess < cost)
        assert proof.taken
        # and not much less where they are worth it
        assert cost * len(proof.taken) >= 0.05 * proof.now - cost

    def test_the_first_one_waits_a_second(self) -> None:
        proof = Proof()
        proof.now = 100.0
        for k in range(20):
            proof.offer(0.5**k)
            proof.now += 0.125
        assert proof.taken[0] == 101.0

    def test_what_would_take_too_long_is_never_tried(self) -> None:
        proof = Proof(10.0)
        for k in range(90):
            proof.now += 1.0
            proof.offer(0.5**k)
        assert not proof.taken

    def test_what_promises_nothing_is_not_tried(self) -> None:
        proof = Proof()
        proof.watch.note(1.0)
        for claim in (2.0, 1.0, 0.9995, float("nan"), 0.99, 0.9895):
            proof.now += 10.0
            proof.offer(claim)
        assert len(proof.taken) == 1
        assert proof.watch.value == 0.99

    @pytest.mark.parametrize("error", [NotCertified, MemoryError])
    def test_a_failed_proof_is_no_error_but_takes_its_time(self, error: type[BaseException]) -> None:
        proof = Proof(1.0)
        for k in range(500):
            proof.now += 0.1
            proof.offer(0.99**k, error=error)
        assert (proof.watch.value, proof.watch.best) == (None, None)
        assert 1 <= len(proof.taken) <= 0.1 * proof.now

    def test_a_proof_that_fails_before_it_begins_tells_nothing_of_its_cost(self) -> None:
        proof = Proof(1e-3, guess=1.0)
        proof.offer(1.0)
        proof.now = 10.0
        proof.offer(1.0, error=MemoryError)
        assert len(proof.taken) == 1
        proof.cost, proof.now = 1.0, 10.5
        proof.watch._spent = 0.5
        proof.offer(1.0)
        assert len(proof.taken) == 1

    def test_an_interruption_of_a_proof_is_one_of_the_solver(self) -> None:
        proof = Proof()
        proof.offer(1.0)
        proof.now = 5.0
        with pytest.raises(KeyboardInterrupt):
            proof.offer(1.0, error=KeyboardInterrupt)

    def test_a_proof_that_loses_much_changes_nothing(self) -> None:
        proof = Proof()
        proof.watch.note(1.0)
        proof.offer(0.5)
        proof.now = 5.0
        proof.offer(0.5, value=1.5)
        assert proof.taken
        assert (proof.watch.value, proof.watch.best) == (1.0, None)


class TestWhatIsKept:
    def test_the_smallest_value_is_in_every_step(self) -> None:
        steps: list[Progress] = []
        watcher = Watch(steps.append)
        watcher(Progress("search", point=lambda: np.ones(1)))
        for value in (5.0, 3.0, 4.0):
            watcher.note(value)
            watcher(Progress("search"))
        assert [step.proven for step in steps] == [None, 5.0, 3.0, 3.0]
        # a trace does not hold on to the matrices of a solver
        assert all(step.point is None for step in steps)

    def test_the_end_of_a_solve_speaks_for_its_points_alone(self) -> None:
        watcher = Watch()
        first, other = proven(2.0), proven(3.0)
        watcher.keep(first)
        watcher.ended(other.job, proven(0.0, Status.STALLED).proposal)
        assert watcher.best is first
        watcher.ended(first.job, proven(0.0, Status.OPTIMAL).proposal)
        watcher.keep(other)
        assert watcher.best is not None
        assert (watcher.best.value, watcher.best.proposal.status) == (2.0, Status.OPTIMAL)

    def test_parts_are_named_after_the_whole(self) -> None:
        steps: list[Progress] = []
        tell = within(within(steps.append, "margins"), "one")
        assert tell is not None
        tell(Progress("search", 3))
        assert steps == [Progress("margins: one: search", 3)]
        assert within(None, "margins") is None


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Proven]]:
    """Everything that was proven and kept, where every point that is worth a proof gets one."""
    monkeypatch.setattr(watch, "PATIENCE", 0.0)
    monkeypatch.setattr(watch, "SHARE", np.inf)
    kept: list[Proven] = []
    keep = Watch.keep

    def spied(self: Watch, found: Proven) -> None:
        kept.append(found)
        keep(self, found)

    monkeypatch.setattr(Watch, "keep", spied)
    return kept


class TestOnTheWay:
    @pytest.mark.parametrize(
        ("graph", "request_"),
        [
            (GRAPH, {}),
            (GRAPH, {"solver": "matrix-free"}),
            (GRAPH, {"norm": "inf", "output_norm": 2}),
            (GRAPH, {"norm": "inf", "output_norm": 1}),
            (GRAPH, {"output_norm": 1}),
            (network(1, layer=nn.maxmin), {}),
            (network(1, layer=nn.maxmin), {"method": "lipsdp-nsr"}),
            (network(1, layer=nn.maxmin), {"method": "layer", "solver": "matrix-free"}),
            (nn.sequential(network(2), nn.linear(1e-170 * np.eye(3))), {}),
            (implicit(), {}),
            (implicit(), {"solver": "matrix-free"}),
        ],
    )
    def test_what_is_proven_holds_and_falls(
        self, graph: Graph, request_: dict[str, Any], eager: list[Proven], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # the search of a small network is over before a tenth of a second
        ticks = iter(range(10**9))
        monkeypatch.setattr("lipcert.sdp.solvers.scaling.time.perf_counter", lambda: 0.2 * next(ticks))
        found = lipcert.bound(graph, lower=False, **request_)
        monkeypatch.undo()
        norms = {key: value for key, value in request_.items() if "norm" in key}
        below = lipcert.lower_bound(graph, norms.get("norm", 2), norms.get("output_norm"), time_limit=0.3).value
        values = [step.proven for step in found.trace if step.proven is not None]
        assert len(set(values)) > 2
        assert values == sorted(values, reverse=True)
        assert below <= found.upper <= values[-1] * (1.0 + 1e-7)
        on_the_way = eager[:-1]
        assert set(values) <= {found.product, *(item.value for item in eager)}
        assert all(item.proposal.method == found.method for item in eager)
        assert len(on_the_way) > 1
        for item in on_the_way:
            assert item.certificate is not None
            assert lipcert.verify(item.certificate, graph).value == item.value >= below

    def test_an_end_as_good_leaves_everything_as_it_is(self, eager: list[Proven]) -> None:
        found = lipcert.bound(GRAPH, lower=False)
        assert len(eager) > 2
        assert (found.status, found.solver, found.method) == (Status.OPTIMAL, "native", "neuron")
        assert found.upper == min(item.value for item in eager)
        assert found.relative_gap is not None
        assert found.relative_gap < 1e-7

    def test_one_of_several_programs_proves_nothing(self, eager: list[Proven]) -> None:
        found = lipcert.bound(GRAPH, lower=False, outputs="each")
        assert len(eager) == 1
        assert {step.proven for step in found.trace} == {None, found.product}

    def test_without_a_fitting_memory_nothing_is_tried(
        self, eager: list[Proven], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []

        def require(self: Prover) -> None:
            calls.append(self)
            if len(calls) > 1:
                raise lipcert.errors.NotEnoughMemory("no")

        monkeypatch.setattr(Prover, "require_memory", require)
        assert lipcert.bound(GRAPH, lower=False).status is Status.OPTIMAL
        assert len(calls) > 2
        assert len(eager) == 1


class TestEndings:
    """What was proven on the way is the answer where nothing better is proven at the end."""

    def stop(self, error: type[BaseException], at: int = 8) -> Callable[[Progress], None]:
        def told(step: Progress) -> None:
            if step.stage == "interior point" and step.iteration == at:
                raise error("enough")

        return told

    def test_an_interruption_where_the_last_proof_fails(
        self, eager: list[Proven], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*arguments: object) -> Certificate:
            raise KeyboardInterrupt

        monkeypatch.setattr(run, "with_room", fails)
        prove = Prover.prove

        def first_five(self: Prover, *arguments: Any, **options: Any) -> Certificate:
            if len(eager) == 5:
                raise KeyboardInterrupt
            return prove(self, *arguments, **options)

        monkeypatch.setattr(Prover, "prove", first_five)
        found = lipcert.bound(GRAPH, lower=False)
        assert found.status is Status.INTERRUPTED
        self.is_the_best_of(found, eager)

    def test_an_interruption_of_the_solver(self, eager: list[Proven]) -> None:
        found = lipcert.bound(GRAPH, lower=False, progress=self.stop(KeyboardInterrupt))
        assert found.status is Status.INTERRUPTED
        self.is_the_best_of(found, eager)

    @pytest.mark.parametrize("error", [MemoryError, NotCertified])
    def test_a_solver_that_breaks_down(self, error: type[Exception], eager: list[Proven]) -> None:
        found = lipcert.bound(GRAPH, lower=False, method="neuron", progress=self.stop(error))
        assert found.notes == ("neuron (native): enough",)
        self.is_the_best_of(found, eager)

    def test_a_solver_that_breaks_down_early_is_followed_by_the_rest_of_the_plan(self, eager: list[Proven]) -> None:
        broken = []

        def told(step: Progress) -> None:
            if step.stage == "interior point" and step.iteration == 0 and not broken:
                broken.append(step)
                raise MemoryError

        found = lipcert.bound(GRAPH, lower=False, progress=told)
        assert (found.method, found.status) == ("layer", Status.OPTIMAL)
        self.is_the_best_of(found, eager)

    def test_a_last_proof_that_fails(self, eager: list[Proven], monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*arguments: object) -> Certificate:
            raise NotCertified("no")

        def nothing(*arguments: object) -> None:
            monkeypatch.setattr(Prover, "prove", fails)

        monkeypatch.setattr(run, "with_room", nothing)
        found = lipcert.bound(GRAPH, lower=False, method="neuron")
        # the solver did come to its end, and what is proven is a point before it
        assert found.status is Status.PROOF_LOSS
        assert found.proof_loss is not None
        assert found.proof_loss > 1e-8
        self.is_the_best_of(found, eager)

    def test_a_last_proof_that_is_worse(self, eager: list[Proven], monkeypatch: pytest.MonkeyPatch) -> None:
        plain = run.with_room

        def worse(*arguments: Any) -> Certificate | None:
            certificate = plain(*arguments)
            assert certificate is not None
            (scaling,) = certificate.scalings
            return replace(certificate, value=2.0 * certificate.value, scalings=(replace(scaling, m=2.0 * scaling.m),))

        monkeypatch.setattr(run, "with_room", worse)
        found = lipcert.bound(GRAPH, lower=False)
        # optimal is the solver's point, which is not what is proven
        assert found.status is Status.PROOF_LOSS
        assert found.upper < eager[-1].value
        self.is_the_best_of(found, eager)

    def is_the_best_of(self, found: lipcert.Bound, kept: list[Proven]) -> None:
        assert found.upper == min(item.value for item in kept)
        assert found.certificate is not None
        assert lipcert.verify(found.certificate, GRAPH).value == found.upper
        assert found.product is not None
        assert found.upper < found.product


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_what_it_does(method: str) -> None:
    options: dict[str, Any] = {"norm": "inf"} if method == "geolip" else {}
    if method == "jacobian":
        options["region"] = lipcert.Box(-0.5, 0.5)
    found = lipcert.bound(network(sizes=(4, 6, 5, 1)), method=method, lower=False, **options)
    stages = [step.stage for step in found.trace]
    assert stages[0] == "norm product"
    assert len(set(stages) - {"norm product", "proof"}) > 0 or method == "product"
    assert all(step.proven is not None for step in found.trace[1:])


def test_the_search_for_a_lower_bound_says_so() -> None:
    found = lipcert.bound(GRAPH, lower_seconds=0.3)
    search = [step for step in found.trace if step.stage == "search for a lower bound"]
    assert len(search) > 1
    # the upper bound is proven by then
    assert all(step.proven is not None and step.proven <= found.upper * (1.0 + 1e-7) for step in search)
    assert all(step.at_most is not None and step.at_most <= 0.3 for step in search)
    assert found.trace[-1].stage == "proof of a lower bound"
    each = lipcert.bound(GRAPH, outputs="0,1", lower_seconds=0.3)
    assert {"output 0: search for a lower bound", "output 1: search for a lower bound"} <= {
        step.stage for step in each.trace
    }
