"""The bound methods: records that turn a job into multipliers. Nothing here is trusted; the proof disposes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.guide import Guide
from lipcert.bounds.product import NormProduct, norm_product
from lipcert.constraints.interconnection import Interconnection, lower
from lipcert.constraints.multipliers import Multipliers, Tie, tie_groups
from lipcert.constraints.operator import Operator
from lipcert.errors import NotCertified
from lipcert.graph.nodes import Activation, FixedPoint
from lipcert.norms import Norm
from lipcert.sdp.many import solve_all
from lipcert.sdp.outcome import Outcome, Progress, SolverOptions, Status
from lipcert.sdp.problem import Balance, OperatorProblem, Problem, balanced, compress_inputs, subproblems
from lipcert.sdp.solvers import Takes, registration

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.graph.claim import Claim
    from lipcert.graph.nodes import Graph
    from lipcert.ranges import Localised

_LARGE = 20_000
"""Channels from which the matrix-free solver begins with the multipliers of the norm product."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared graph, its functionals selected, with what several methods need of it, each made once."""

    posed: Localised

    @property
    def graph(self) -> Graph:
        """The graph."""
        return self.posed.graph

    @cached_property
    def system(self) -> Interconnection[Array]:
        """R and Y in floating point."""
        return lower(self.graph)

    @cached_property
    def product(self) -> NormProduct | None:
        """The norm product, or None for implicit networks."""
        return norm_product(self.graph)


@dataclass(frozen=True, eq=False)
class Job:
    """What a method is asked for.

    Attributes
    ----------
    prepared
        The network of the claim, in the form of the method.
    claim
        What the bound is about.
    solver
        Name of the solver.
    options
        Passed to it.
    jobs
        Processes for independent semidefinite programs, or None for one.
    guided
        Whether a lower bound follows, which a guide would help.
    known
        What is known of each semidefinite program otherwise, where only the largest of their bounds counts; else None.
    offer
        Given, on the way of a single semidefinite program, the bound that a point claims and what makes it a proposal.
    """

    prepared: Prepared
    claim: Claim
    solver: str
    options: SolverOptions
    jobs: int | None = None
    guided: bool = True
    known: tuple[float, ...] | None = None
    offer: Callable[[float, Callable[[], Proposal]], None] | None = None

    def tell(self, step: Progress) -> None:
        """Report progress to whoever asked for it."""
        if self.options.progress is not None:
            self.options.progress(step)

    @property
    def graph(self) -> Graph:
        """The prepared graph."""
        return self.prepared.graph


@dataclass(frozen=True, eq=False)
class Proposal:
    """Multipliers for every semidefinite program of the job, for the proof.

    Attributes
    ----------
    cases
        One a subproblem of docs/theory.md 4, in its order.
    method, solver
        What made them.
    status, gap, iterations
        As `Outcome`, the worst over the cases; iterations added up.
    guide
        Promising increments for the lower bound, from the Gram matrix, or None.
    message
        The solver's own words.
    claim
        The bound that the multipliers stand for if they are feasible, the largest over the cases, or None.
    claims
        The same of each case, where it is known.
    value
        The bound where the method has proven it itself, in parts; then there are no cases.
    point
        Where the network changes about so quickly, or None where nobody knows.
    """

    cases: tuple[Multipliers, ...]
    method: str
    solver: str
    status: Status
    gap: float | None
    iterations: int | None
    guide: Guide | None = None
    message: str = ""
    claim: float | None = None
    claims: tuple[float, ...] = ()
    value: float | None = None
    point: Array | None = None


def _applies(job: Job) -> str | None:
    return None


def _no_value(job: Job) -> float | None:
    return None


def _refuses_entries(job: Job) -> str | None:
    if job.claim.region is None:
        return "it is for a region, such as --box or --center with --radius"
    if any(isinstance(node, FixedPoint) for _, node in job.graph.walk()):
        return "the network has an implicit layer"
    return None


@dataclass(frozen=True)
class Method:
    """One bound method.

    Attributes
    ----------
    name, summary, source
        For `lipcert methods`.
    refuses
        The reason why it does not apply to a job, or None.
    propose
        The multipliers for a job.
    form
        How the graph is prepared (see `lipcert.graph.prepare`), or None where the user chooses.
    value
        The bound that the method proves by itself, without multipliers, or None where it has none.
    whole
        Whether its multipliers are those of the whole network; else its proposals carry a proven value.
    by_entries
        Whether the entries of the Jacobian on the region prove it, without multipliers.
    """

    name: str
    summary: str
    source: str
    propose: Callable[[Job], Proposal]
    refuses: Callable[[Job], str | None] = _applies
    form: str | None = None
    value: Callable[[Job], float | None] = _no_value
    whole: bool = True
    by_entries: bool = False

    @property
    def solves(self) -> bool:
        """Whether a solver is at work for it."""
        return not self.by_entries and self.name != "product"


def solve_tied(job: Job, tie: Tie) -> Proposal:
    """Solve every semidefinite program of the job with the multipliers tied."""
    entry = registration(job.solver)
    if entry.euclidean and not job.claim.euclidean:
        raise NotCertified(f"the {entry.name} solver is for the norms ℓ2 to ℓ2", advice="use --solver native")
    program = _as_products(job, tie) if entry.takes is Takes.OPERATOR else _as_matrices(job, tie)

    def propose(*outcomes: Outcome) -> Proposal:
        return summarise(program.multipliers(outcomes, job.solver), tie.value, job.solver, outcomes)

    # of several programs, one point proves nothing
    options = _watched(job, propose if len(program.problems) == 1 else None, program.in_units)
    outcomes = [
        replace(outcome, bound=program.in_units(outcome.bound))
        for outcome in solve_all(program.reduced(), job.solver, options, job.jobs, program.known(job))
    ]
    return replace(propose(*outcomes), guide=_guide(job, program, outcomes))


@dataclass(frozen=True, eq=False)
class _Programs:
    """The semidefinite programs of a job as a solver takes them.

    Attributes
    ----------
    problems
        One a case of the claim.
    variable
        (groups,) the variable of each multiplier group.
    balance
        The units of the problems, or None where they are those of the network.
    """

    problems: Sequence[Problem | OperatorProblem]
    variable: IntArray
    balance: Balance | None = None

    def reduced(self) -> list[Problem | OperatorProblem]:
        """What is solved in their place."""
        return [compress_inputs(item) if isinstance(item, Problem) else item for item in self.problems]

    def in_units(self, bound: float) -> float:
        """A bound of a problem as one of the network."""
        return bound if self.balance is None else self.balance.bound(bound)

    def known(self, job: Job) -> list[float] | None:
        """What the job knows of each problem, in its units; None where every one of them counts."""
        if job.known is None or self.balance is None or len(self.problems) == 1:
            return None
        return [self.balance.balanced(value) for value in job.known]

    def multipliers(self, outcomes: Sequence[Outcome], solver: str) -> list[Multipliers]:
        """What the solver found, for the network and with the ties expanded."""
        found = []
        for problem, outcome in zip(self.problems, outcomes, strict=True):
            if outcome.y is None:
                raise NotCertified(
                    f"the solver {solver} proposed no multipliers: {outcome.message or outcome.status.advice}",
                    advice="try --solver native or --method layer",
                )
            parts = problem.split(outcome.y)
            case = Multipliers(parts.lam[self.variable], parts.mu, parts.nu)
            found.append(case if self.balance is None else self.balance.restore(case))
        return found


def _as_products(job: Job, tie: Tie) -> _Programs:
    job.tell(Progress("preparing the network"))
    operator = Operator(job.graph)
    # of a small network the solver's own guess takes no time
    large = job.claim.euclidean and operator.channels > _LARGE and job.prepared.product is not None
    known = propose_product(job).cases[0].lam if large else None
    return _Programs([OperatorProblem(operator, tie, known)], tie_groups(operator.groups, tie))


def _as_matrices(job: Job, tie: Tie) -> _Programs:
    job.tell(Progress("preparing the semidefinite program"))
    system, balance = balanced(job.prepared.system)
    return _Programs(list(subproblems(system, job.claim, tie)), tie_groups(system.groups, tie), balance)


def _watched(
    job: Job, propose: Callable[[Outcome], Proposal] | None, in_units: Callable[[float], float] = float
) -> SolverOptions:
    """The options with progress in the units of the network, and with its points offered to the job."""
    tell = job.options.progress
    if tell is None:
        return job.options

    def told(step: Progress) -> None:
        step = replace(step, bound=None if step.bound is None else in_units(step.bound))
        if job.offer is not None and propose is not None and step.point is not None and step.bound is not None:
            job.offer(step.bound, lambda: propose(step.outcome()))
        tell(replace(step, point=None))

    return replace(job.options, progress=told)


def summarise(
    cases: Iterable[Multipliers],
    method: str,
    solver: str,
    outcomes: Sequence[Outcome],
) -> Proposal:
    """A proposal from the outcomes of its subproblems: the worst status and gap of those that count, all iterations."""
    counting = [outcome for outcome in outcomes if outcome.status is not Status.DECIDED] or outcomes
    worst = max(counting, key=lambda outcome: list(Status).index(outcome.status))
    gaps = [outcome.gap for outcome in counting if outcome.gap is not None]
    return Proposal(
        tuple(cases),
        method,
        solver,
        worst.status,
        max(gaps) if gaps else None,
        sum(outcome.iterations for outcome in outcomes),
        message=worst.message,
        claim=max(outcome.bound for outcome in outcomes),
        claims=tuple(outcome.bound for outcome in outcomes),
    )


def _guide(job: Job, program: _Programs, outcomes: Sequence[Outcome]) -> Guide | None:
    # a coordinate alone (ℓ1) is its own direction, and the vertices of its ball are few
    if job.claim.norm is Norm.L1 or not job.guided:
        return None
    solved = [
        (problem, outcome)
        for problem, outcome in zip(program.problems, outcomes, strict=True)
        if isinstance(problem, Problem)
    ]
    if not solved:
        return None
    system = job.prepared.system
    return Guide.from_gram(system.groups, system.inputs, solved)


def propose_product(job: Job) -> Proposal:
    """The norm product as multipliers: the weights of its telescoping sum, slightly decreasing to be interior."""
    product = job.prepared.product
    if product is None:
        raise NotCertified(
            "there is no norm product: the network has an implicit layer, or the product overflows",
            advice="use --method neuron",
        )
    weights = product.weights()
    lam = np.concatenate(
        [
            np.full(node.blocks * groups, t * balance)
            for position, t in sorted(weights.items())
            for node, groups, balance in [_balance(job.graph, position)]
        ]
        or [np.zeros(0)]
    )
    found = []
    for case in job.claim.cases(job.graph.input_size, job.graph.output_size):
        # a single output has its own product, and of a chain its weights are in proportion
        value = product.each[case.outputs[0]] if case.outputs.size == 1 else product.value
        share = (value / product.value) ** 2 if product.value else 1.0
        nu = None if case.weights is None else np.full(case.weights, value * np.sqrt(case.weights))
        found.append(Multipliers(share * lam, np.full(case.parts, value**2), nu))
    return Proposal(tuple(found), "product", "none", Status.CLOSED_FORM, None, None)


def _value_of_product(job: Job) -> float | None:
    product = job.prepared.product
    return None if product is None else product.conversion(job.claim)


def _balance(graph: Graph, position: int) -> tuple[Activation, int, float]:
    """The activation node, its groups a block, and L‖P‖/‖Q‖.

    λ (‖Q Δz‖² − ‖Δv‖²) ≤ L²‖Δz‖² − ‖K Δz + P Δv‖² holds for λ = L‖P‖/‖Q‖ where the slopes are [α, β] and for GroupSort.
    """
    node = graph.nodes[position]
    assert isinstance(node, Activation)
    form = node.normal_form
    p, q = (float(np.linalg.norm(x, 2, axis=(1, 2)).max(initial=0.0)) if x.size else 0.0 for x in (form.P, form.Q))
    return node, form.groups if p else 0, node.lipschitz * p / q if q else 0.0


RECORDS = (
    Method(
        "product",
        "product of the layers' norms",
        "folklore; Szegedy et al., arXiv 1312.6199",
        propose_product,
        form="blocks",
        value=_value_of_product,
    ),
    *(
        Method(
            tie.value,
            f"the normal form with one multiplier a {tie.value}",
            "docs/theory.md 2 and 3",
            partial(solve_tied, tie=tie),
        )
        for tie in (Tie.LAYER, Tie.CHANNEL, Tie.NEURON)
    ),
    Method(
        "jacobian",
        "the entries of the Jacobian on a region",
        "Shi et al., NeurIPS 2022, arXiv 2210.07394; Zhang et al., AAAI 2019, arXiv 1810.11783",
        lambda job: Proposal((), "jacobian", "none", Status.CLOSED_FORM, None, None),
        refuses=_refuses_entries,
        by_entries=True,
    ),
)
