"""One claim about one network on its way to a proven bound: what to try, and what of it is proven."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from lipcert import budget
from lipcert.bounds.methods import Job, Prepared, Proposal, solve_tied
from lipcert.bounds.settings import AUTO
from lipcert.bounds.table import METHODS
from lipcert.bounds.watch import Proven, Watch
from lipcert.certificates import Prover
from lipcert.certificates.certificate import PROGRAMS
from lipcert.certificates.claims import LEAST, Entries
from lipcert.certificates.memory import available
from lipcert.certificates.proof import TOO_LONG
from lipcert.certificates.prover import through_head
from lipcert.constraints.multipliers import Tie, tie_groups
from lipcert.errors import DoesNotApply, LipcertError, NotCertified, OutOfTime
from lipcert.graph.comparators import expands
from lipcert.graph.heads import Head, head
from lipcert.graph.nodes import FixedPoint
from lipcert.graph.sizes import channels, rows
from lipcert.norms import Norm
from lipcert.ranges import posed
from lipcert.ranges.jacobian import seconds as jacobian_seconds
from lipcert.ranges.line import moving_input
from lipcert.sdp.outcome import Progress, SolverOptions, Status
from lipcert.sdp.solvers import DENSE_LIMIT, SOLVERS, Takes, choose, registration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lipcert.arrays import Array
    from lipcert.bounds.methods import Method
    from lipcert.bounds.product import NormProduct
    from lipcert.bounds.settings import Settings
    from lipcert.certificates import Certificate
    from lipcert.graph.claim import Claim
    from lipcert.graph.nodes import Graph

MIX_ABOVE = 1e-5
"""Relative loss through the proof from which coarser multipliers are mixed in."""
MIXTURES = (1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-2)
"""The parts of them that are tried."""
CERTIFICATE_WORTH = 1e-7
"""Relative improvement for which `auto` gives up a certificate: the norm product seldom has one."""
DOUBT = 1e-5
"""How far a proven bound may lie above what its solver knows for sure before others have their turn, relative."""
MATRIX_FREE = next(name for name, entry in SOLVERS.items() if entry.takes is Takes.OPERATOR)
"""The solver that goes on from a point on which another one stalls."""
JACOBIAN_SECONDS = 1.0
"""Guessed time up to which the entries of the Jacobian are bounded too."""
JACOBIAN_FIRST, JACOBIAN_SHARE = 60.0, 0.5
"""The same, and as a part of what is left, where matrices are too large for the interior-point method."""
DEFAULT_SECONDS = 15.0
"""What the interior-point method may take for `auto` to choose it without a limit; the matrix-free one is close sooner."""
LEAST_SHARE = 0.25
"""The part of what is left that the solver has in every case."""
BLOCKS, COMPARATORS = "blocks", "comparators"
"""The form of the norm product, that of the network as it is written, and the other one of ours."""


class Run:
    """One claim about one network: forms and provers are made once, and what is proven is kept by the watch.

    Parameters
    ----------
    graph
        The network.
    claim
        What the bound is about.
    settings
        How it is looked for.
    watch
        Receives progress, and keeps the best bound that is proven.
    guided
        Whether a lower bound follows, which a guide from the solver would help.

    Examples
    --------
    >>> from lipcert.bounds.settings import Settings
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.claim import Claim
    >>> network = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]]))
    >>> round(Run(network, Claim(), Settings()).run().value, 6)
    10.0
    """

    def __init__(
        self, graph: Graph, claim: Claim, settings: Settings, watch: Watch | None = None, guided: bool = False
    ) -> None:
        self.graph, self.claim, self.settings = graph, claim, settings
        self.watch = watch or Watch()
        self.guided = guided
        self.notes: list[str] = []
        self._prepared: dict[str, Prepared] = {}
        self._provers: dict[str, Prover] = {}
        self._started = time.perf_counter()
        self._entered = False

    def prepared(self, form: str) -> Prepared:
        """The network of the claim in a form; without groups to expand two forms are the same network."""
        form = BLOCKS if form == COMPARATORS and not self._expands else form
        if form not in self._prepared:
            self._prepared[form] = Prepared(posed(self.graph, self.claim, form))
        return self._prepared[form]

    @cached_property
    def _expands(self) -> bool:
        return expands(self.graph)

    def form_of(self, method: Method) -> str:
        """The form that a method takes, or that of the settings where it leaves it open."""
        return self.product_form if method.form == BLOCKS else method.form or self.settings.form

    def job(self, form: str, solver: str = "none") -> Job:
        """What a method that takes this form is asked for."""
        chosen = self.settings
        left = min(budget.left(), np.inf if chosen.time_limit is None else chosen.time_limit)
        limit = left if np.isfinite(left) else None
        options = SolverOptions(chosen.tolerance, limit, progress=self.watch, extra=dict(chosen.extra))
        return Job(self.prepared(form), self.claim, solver, options, chosen.jobs, self.guided)

    def prover(self, form: str) -> Prover:
        """Proves the claim in a form."""
        if form not in self._provers:
            self._provers[form] = Prover(self.graph, self.claim, form, self.prepared(form).posed)
        return self._provers[form]

    @property
    def product(self) -> NormProduct | None:
        """The norm product of the network as it is written: a comparator's factor is more than its share of the sort's."""
        return self.prepared(self.product_form).product

    @property
    def product_form(self) -> str:
        """The form of the norm product; on a region one form is enough, for ranges take their time."""
        asked = self.settings.method == "product"
        return BLOCKS if self.claim.region is None or asked else self.settings.form

    def plan(self) -> list[tuple[str, str]]:
        """Which methods and solvers to try, in order, until one is proven.

        A method that is asked for by name is tried alone. 'auto' begins with one multiplier a neuron, by the interior-point
        method where its matrices are small enough for memory and the time limit, else matrix-free, and falls back to coarser
        ties, to segments of the network, and to the norm product.
        """
        prepared = self.prepared(self.settings.form).graph
        size = dense_size(prepared)
        columns = size + min(size, prepared.input_size)
        seconds = min(budget.left(), DEFAULT_SECONDS if self.settings.time_limit is None else np.inf)
        entry = (
            choose(size, columns, self.claim.euclidean, available(), seconds)
            if self.settings.solver == AUTO
            else registration(self.settings.solver)
        )
        if self.settings.method != AUTO:
            return [(self.settings.method, entry.name if METHODS[self.settings.method].solves else "none")]
        product = [] if self.product is None else [("product", "none")]
        finest = [("neuron", entry.name)] if size <= DENSE_LIMIT or entry.takes is Takes.OPERATOR else []
        parts = [("segments", entry.name)] if self.claim.euclidean and product else []
        return [*finest, ("layer", entry.name), *parts, *product]

    def run(self) -> Proven:
        """The first entry of the plan whose multipliers can be proven; the norm product where that is smaller.

        What was proven on the way of a solver is the answer where nothing better is proven at its end.

        Raises
        ------
        NotCertified
            If nothing is proven.
        """
        walked = self._by_breakpoints() if self.settings.method == AUTO else None
        if walked is not None:
            return walked
        failure: LipcertError | None = None
        settled = late = False
        self.watch(Progress("norm product"))
        product = self.product
        if product is not None:
            self.watch.note(product.conversion(self.claim))
        for name, solver in self.plan():
            try:
                if settled and not self._promises(METHODS[name]):
                    continue
                self._by_jacobian_first()
                if not budget.left() and METHODS[name].form != BLOCKS:
                    raise OutOfTime("the time limit was reached", advice="give a longer --time-limit")
                found = self.attempt(name, solver)
                self.watch.keep(found)
                settled = True
                self._doubt(name, solver, found)
            except (NotCertified, MemoryError) as error:
                self.notes.append(f"{name} ({solver}): {error or 'not enough memory'}")
                failure = error if isinstance(error, LipcertError) else failure
                late = late or isinstance(error, OutOfTime)
            except KeyboardInterrupt:
                self._interrupted()
                break
        if self.settings.method == AUTO:
            self._by_other_ways()
        if self.watch.best is not None:
            best = _cut_short(self.watch.best) if late else self.watch.best
            return replace(best, product=product, notes=tuple(self.notes))
        if failure is not None:
            raise _explained(failure, self.graph)
        raise NotCertified("no bound could be proven", advice="; ".join(self.notes))

    def _by_other_ways(self) -> None:
        """What needs no multipliers: the Jacobian on a region, the cap of a head."""
        try:
            self._by_jacobian()
            self._by_head()
        except KeyboardInterrupt:
            self._interrupted()

    def _interrupted(self) -> None:
        """Let the best that is proven by now be the answer, or else the norm product."""
        best = self.watch.best or self._norm_product()
        self.watch.best = replace(best, proposal=replace(best.proposal, status=Status.INTERRUPTED))

    def _doubt(self, name: str, solver: str, found: Proven) -> None:
        """Never worse than what is known: where a solver stalled or less is proven than it found, others have their turn.

        The optimum of a method is at most that of its coarser ties, of the blocks that comparators stand for, and of the
        norm product; a point on the way to it, or its proof, may be above.
        """
        proposal = found.proposal
        if name not in {tie.value for tie in Tie} or proposal.status in (Status.TIME_LIMIT, Status.INTERRUPTED):
            return
        if proposal.status is Status.STALLED:
            self.notes.append(f"{name} ({solver}) stalled: {proposal.message or proposal.status.advice}")
        for label, attempt in self._others(name, solver, proposal):
            try:
                other = attempt()
            except (DoesNotApply, NotCertified, MemoryError):
                continue
            self.watch.keep(other)
            if self.watch.best is other:
                self.notes.append(f"{label} gives less than {name} ({solver}), {found.value:.10g}")

    def _others(self, name: str, solver: str, proposal: Proposal) -> Iterator[tuple[str, Callable[[], Proven]]]:
        """What else to try: the norm product, the matrix-free solver from a stalled point, coarser ties, and blocks."""
        if self.product is not None and self._promises(METHODS["product"]):
            yield "the norm product", lambda: self.attempt("product", "none")

        def doubtful() -> bool:
            best = self.watch.best
            return best is not None and best.value > least(proposal, self.claim) * (1.0 + DOUBT)

        form = self.settings.form
        # others would take as long again, and of large networks the proof's room is what is above
        if not doubtful() or not budget.left() or dense_size(self.prepared(form).graph) > DENSE_LIMIT:
            return
        groups = self.prepared(form).system.groups
        variable = tie_groups(groups, Tie(name))
        if proposal.status is Status.STALLED and solver != MATRIX_FREE and self.claim.euclidean:
            start = proposal.cases[0].plain().lam[np.unique(variable, return_index=True)[1]]
            yield f"the {MATRIX_FREE} solver from its point", lambda: self.attempt(name, MATRIX_FREE, start=start)
        for tie in (Tie.CHANNEL, Tie.LAYER):
            if doubtful() and tie_groups(groups, tie).max(initial=-1) < variable.max(initial=-1):
                yield f"one multiplier a {tie}", partial(self.attempt, tie.value, solver)
        if doubtful() and form != BLOCKS and self._expands:
            yield "the form of blocks", lambda: self.attempt(name, solver, form=BLOCKS)

    def attempt(self, name: str, solver: str, form: str | None = None, start: Array | None = None) -> Proven:
        """What one method and solver prove.

        Parameters
        ----------
        name, solver
            Names of a method and a solver.
        form
            The form of the network, for methods that leave it open; that of the settings by default.
        start
            Multipliers to start from, as `SolverOptions` takes them.

        Raises
        ------
        DoesNotApply
            If the method is not for this claim or network.
        NotCertified
            If its multipliers cannot be proven.
        """
        method = METHODS[name]
        form = form or self.form_of(method)
        job = self.job(form, solver)
        if method.solves:
            job = replace(job, known=self._known(form))
        if start is not None:
            job = replace(job, options=replace(job.options, start=start))
        reason = method.refuses(job)
        if reason is not None:
            raise DoesNotApply(f"the method {name} does not apply: {reason}", advice="use --method auto")
        if method.by_entries:
            self.watch(Progress("entries of the Jacobian"))
            certificate = self.prover(form).by_jacobian()
            return Proven(method.propose(job), certificate, certificate.value, job)
        value = method.value(job)
        if value is not None:
            return self._valued(job, method, value)
        if not method.whole:
            proposal = method.propose(job)
            assert proposal.value is not None
            return Proven(proposal, None, proposal.value, job)
        prover = self.prover(form)
        # before the solver works for nothing
        prover.require_memory()
        attempt = Attempt(self, name, prover, _leaving(job, prover.seconds()))
        return attempt.proven(method.propose(attempt.job))

    def _known(self, form: str) -> tuple[float, ...] | None:
        """What is known otherwise of each program of a claim of which only the largest counts; None where all count."""
        graph = self.prepared(form).graph
        count = len(self.claim.cases(graph.input_size, graph.output_size))
        if count == 1 or not self.claim.outputs.joint:
            return None
        if self.settings.method == AUTO and self._has_entries:
            with suppress(DoesNotApply, NotCertified, MemoryError):
                return tuple(self.prover(form).entries)
        return (np.inf,) * count

    @property
    def _has_entries(self) -> bool:
        """Whether there are entries of the Jacobian to bound, quickly."""
        return self._entered or self._entries_within(JACOBIAN_SECONDS)

    def _entries_within(self, most: float) -> bool:
        """Whether the entries of the Jacobian on a region are expected within so many seconds."""
        if self.claim.region is None:
            return False
        return jacobian_seconds(self.claim.select(self.graph)) <= min(most, budget.left())

    def _by_jacobian_first(self) -> None:
        """The entries of the Jacobian before a search that is long anyway, and whose proof may be too long."""
        joint = self.claim.outputs.joint or len(self.claim.outputs.labels) == 1
        if self.settings.method != AUTO or self.claim.region is None or not joint:
            return
        large = dense_size(self.prepared(self.settings.form).graph) > DENSE_LIMIT
        if large and not self._entered and self._entries_within(min(JACOBIAN_FIRST, JACOBIAN_SHARE * budget.left())):
            self._entered = True
            self._by_jacobian()

    def _by_jacobian(self) -> None:
        """The other source of bounds on a region, where it is quick: program by program the smaller one is kept."""
        if not self._has_entries:
            return
        self.watch(Progress("entries of the Jacobian"))
        best = self.watch.best
        known = None if best is None else best.certificate
        try:
            if best is None or known is None or known.evidence != PROGRAMS:
                self.watch.keep(self.attempt("jacobian", "none"))
                return
            certificate = self.prover(known.form).by_jacobian(known)
        except (DoesNotApply, NotCertified, MemoryError):
            return
        count = sum(isinstance(item, Entries) for item in certificate.scalings)
        if count:
            some = "" if count == len(certificate.scalings) else f" in {count} of {len(certificate.scalings)} programs"
            self.notes.append(
                f"the entries of the Jacobian prove less than {best.proposal.method}, {best.value:.10g}{some}"
            )
            self.watch.best = replace(best, certificate=certificate, value=min(best.value, certificate.value))
            self.watch.note(self.watch.best.value)

    def _by_breakpoints(self) -> Proven | None:
        """The exact constant where one input can move and the network is piecewise linear, of all outputs together."""
        one = self.claim.outputs.joint or len(self.claim.outputs.labels) == 1
        if not one or self.claim.anchored or moving_input(self.graph, self.claim.region) is None:
            return None
        self.watch(Progress("breakpoints"))
        try:
            certificate, point = self.prover(self.settings.form).by_breakpoints()
        except (DoesNotApply, MemoryError):
            return None
        if not np.isfinite(certificate.value):
            return None
        proposal = Proposal((), "breakpoints", "none", Status.CLOSED_FORM, None, None, point=point)
        found = Proven(proposal, certificate, certificate.value, self.job(self.settings.form), self.product)
        self.watch.keep(found)
        return found

    def _by_head(self) -> None:
        """In ℓ∞, what goes into a softmax or log-softmax at the end, times its own constant: the smaller one is kept."""
        found = head(self.graph, self.claim)
        if found is None or not budget.left():
            return
        inner = Run(found.graph, Head.inside(self.claim), self.settings, Watch(), guided=False)
        try:
            inside = inner.run()
        except (DoesNotApply, NotCertified, MemoryError):
            return
        value = max(found.factor * inside.value, LEAST)
        best = self.watch.best
        if best is not None and best.value <= value:
            return
        if best is not None:
            self.notes.append(
                f"what goes into the last activation, times its own constant {found.factor:g}, gives less than "
                f"{best.proposal.method}, {best.value:.10g}"
            )
        certificate = inside.certificate
        if certificate is not None:
            certificate = through_head(certificate, self.graph, self.claim, found.factor)
        claimed = None if inside.proposal.claim is None else found.factor * inside.proposal.claim
        proposal = replace(inside.proposal, cases=(), method="head", guide=None, claim=claimed, claims=())
        self.watch.keep(Proven(proposal, certificate, value, self.job(self.settings.form)))

    def tell_proof(self, done: int, total: int) -> None:
        """Say how many cases are proven."""
        seconds = time.perf_counter() - self._started
        self.watch(Progress("proof", done, seconds=seconds, total=total if total > 1 else None))

    def _promises(self, method: Method) -> bool:
        """Whether a method may be better than what is proven: it has a value of its own, and a smaller one."""
        if self.watch.best is None:
            return True
        value = method.value(self.job(self.form_of(method)))
        return value is not None and value < self.watch.best.value * (1.0 - CERTIFICATE_WORTH)

    def _valued(self, job: Job, method: Method, value: float) -> Proven:
        """The method's own value, with a certificate where its multipliers carry it."""
        proposal = method.propose(job)
        prover = self.prover(self.form_of(method))
        if dense_size(job.graph) > DENSE_LIMIT or prover.seconds() > budget.left():
            return Proven(proposal, None, value, job)
        try:
            certificate = prover.prove(proposal.cases, self.tell_proof)
        except NotCertified:
            return Proven(proposal, None, value, job)
        if certificate.value > value:
            return Proven(proposal, None, value, job)
        return Proven(proposal, replace(certificate, value=value), value, job)

    def _norm_product(self) -> Proven:
        """The norm product without a certificate: what is left when the user cannot wait for anything else."""
        method, job = METHODS["product"], self.job(self.product_form)
        value = method.value(job)
        if value is None:
            raise KeyboardInterrupt
        return Proven(method.propose(job), None, value, job)


@dataclass(frozen=True, eq=False)
class Attempt:
    """One method at work on a run: the points on its way are proven now and then, and its end in every case."""

    run: Run
    name: str
    prover: Prover
    plain: Job

    @cached_property
    def job(self) -> Job:
        """The job, with its points offered here."""
        return replace(self.plain, offer=self.offer)

    def offer(self, value: float, propose: Callable[[], Proposal]) -> None:
        """Prove a point that stands for this value, where that is worth its time."""
        self.run.watch.offer(value, self.prover.seconds, lambda: self._point(propose))

    def proven(self, proposal: Proposal) -> Proven:
        """What is proven at the end."""
        try:
            found = with_room(self.prover, self.job, proposal, self.run.tell_proof)
        except KeyboardInterrupt:
            # what the solver found is worth the one proof that it takes
            proposal = replace(proposal, status=Status.INTERRUPTED)
            found = None
        self.run.watch.ended(self.job, proposal)
        certificate = found or self.prover.prove(proposal.cases)
        return Proven(proposal, certificate, certificate.value, self.job)

    def _point(self, propose: Callable[[], Proposal]) -> Proven:
        self.prover.require_memory()
        proposal = replace(propose(), method=self.name)
        certificate = self.prover.prove(proposal.cases, briefly=True)
        return Proven(proposal, certificate, certificate.value, self.job)


def _cut_short(found: Proven) -> Proven:
    """What is proven where the limit kept methods from their end: a closed form is then not all that could be had."""
    if found.proposal.status is not Status.CLOSED_FORM:
        return found
    return replace(found, proposal=replace(found.proposal, status=Status.TIME_LIMIT))


def _leaving(job: Job, proof: float) -> Job:
    """The job with what its proof takes taken off its time.

    Raises
    ------
    OutOfTime
        If the proof would not end within what is left, however short the solver is.
    """
    left = budget.left()
    if not np.isfinite(left):
        return job
    if proof > TOO_LONG * left:
        raise OutOfTime(
            f"its proof would take about {proof:.0f} s, and {left:.1f} s are left", advice="give a longer --time-limit"
        )
    return replace(job, options=replace(job.options, time_limit=max(left - proof, LEAST_SHARE * left)))


def with_room(prover: Prover, job: Job, proposal: Proposal, tell: Callable[[int, int], None]) -> Certificate | None:
    """A certificate for multipliers whose proof loses more than rounding explains, with coarser ones mixed in.

    Where the multipliers span many decades, a rounding error in R that meets the smallest of them decides. The feasible
    multipliers are convex, so adding a small part of those tied by layer keeps the cone and lifts the smallest ones.
    None where the plain proof is as good as the proposal, or no mixture is better.
    """
    try:
        plain = prover.prove(proposal.cases, tell)
    except NotCertified:
        plain = None
    if job.claim.output_norm is Norm.L1 or dense_size(job.graph) > DENSE_LIMIT:
        return plain
    claimed = max((float(np.sqrt(case.mu.sum())) * case.input_scale for case in proposal.cases), default=0.0)
    if plain is not None and plain.value <= claimed * (1.0 + MIX_ABOVE):
        return plain
    # who interrupts does not wait for another solve
    if not budget.left() or (plain is not None and proposal.status is Status.INTERRUPTED):
        return plain
    try:
        coarse = solve_tied(_leaving(replace(job, solver="native"), 0.0), Tie.LAYER).cases
    except NotCertified:
        return plain
    best = plain
    for part in MIXTURES:
        mixed = [
            replace(fine, lam=fine.lam + part * rough.lam, mu=fine.mu + part * rough.mu)
            for fine, rough in zip(proposal.cases, coarse, strict=True)
        ]
        try:
            trial = prover.prove(mixed, tell)
        except OutOfTime:
            break
        except NotCertified:
            continue
        if best is None or trial.value < best.value:
            best = trial
    return best


def least(proposal: Proposal, claim: Claim) -> float:
    """The bound that a method cannot get below, as far as its solver knows: its dual value, or else its own claim."""
    if proposal.claim is None:
        return np.inf
    if proposal.gap is None:
        return proposal.claim
    # the gap is one of the square, except for ℓ1 outputs
    return proposal.claim * max(0.0, 1.0 - proposal.gap) ** (1.0 if claim.output_norm is Norm.L1 else 0.5)


def dense_size(prepared: Graph) -> int:
    """Channels, or rows where maxima have more of them, and outputs: the size of an interior-point step and of the proof."""
    return max(channels(prepared), rows(prepared)) + prepared.output_size


def _explained(failure: LipcertError, graph: Graph) -> LipcertError:
    """The failure; of an implicit network, for which a bound and well-posedness are one proof, what it means there."""
    layers = [node for _, node in graph.walk() if isinstance(node, FixedPoint)]
    if not layers or not isinstance(failure, NotCertified):
        return failure
    return NotCertified(
        f"well-posedness could not be certified, so there is no bound: {failure.what}",
        where=next((node.name for node in layers if node.name), "the implicit layer"),
        advice="its equation may have no solution or several; it has one for ‖W‖ < 1 and 1-Lipschitz activations, and for "
        "W + Wᵀ ≺ 2I and slopes in [0, 1]",
    )
