"""`bound`: from a graph or a file to a proven number."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.methods import MATRIX_FREE, Job, Proposal, solve_tied
from lipcert.bounds.table import METHODS
from lipcert.bounds.types import Bound, OutputBound
from lipcert.bounds.watch import Proven, Watch, within
from lipcert.certificates import Prover
from lipcert.certificates.memory import available
from lipcert.constraints.multipliers import Tie
from lipcert.errors import DoesNotApply, InvalidRequest, LipcertError, NotCertified
from lipcert.graph.nodes import FixedPoint, Graph
from lipcert.graph.prepare import prepare
from lipcert.graph.selection import Selection
from lipcert.graph.summary import channels, rows
from lipcert.norms import Norm
from lipcert.sdp.outcome import Progress, SolverOptions, Status
from lipcert.sdp.solvers import interior_point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lipcert.arrays import Array
    from lipcert.bounds.guide import Guide
    from lipcert.bounds.lower import LowerBound
    from lipcert.bounds.product import NormProduct
    from lipcert.certificates import Certificate


MIX_ABOVE = 1e-5
"""Relative loss through the proof from which coarser multipliers are mixed in."""
MIXTURES = (1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-2)
"""The parts of them that are tried."""
CERTIFICATE_WORTH = 1e-7
"""Relative improvement for which `auto` gives up a certificate: the norm product seldom has one."""
DENSE_LIMIT = 2500
"""Largest size of the matrices of an interior-point step that `auto` accepts."""


@dataclass(frozen=True, eq=False)
class _Request:
    """The part of a call that does not depend on the network."""

    method: str
    solver: str
    form: str
    options: SolverOptions
    jobs: int | None
    data: Array | None
    lower: bool
    lower_seconds: float


def bound(
    model: Graph | str | Path,
    *,
    norm: object = 2,
    output_norm: object = None,
    outputs: str | int | Iterable[str | int] = "all",
    method: str = "auto",
    solver: str = "auto",
    tolerance: float = 1e-8,
    time_limit: float | None = None,
    lower: bool = True,
    lower_seconds: float = 2.0,
    data: Array | None = None,
    form: str = "comparators",
    jobs: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    solver_options: dict[str, object] | None = None,
) -> Bound:
    """A proven bound on the Lipschitz constant of a network.

    Parameters
    ----------
    model
        A graph, or the path of an ONNX file.
    norm, output_norm
        1, 2 or 'inf': the norm of the input and of the output; the output's is the input's unless given.
    outputs
        'all' (the vector of all outputs), 'each', 'pairs', or a list such as '0,4,7' or '3-5' (a margin). Listed
        outputs are bounded one by one, and `upper` is the largest of these bounds.
    method
        'auto' or a name from `lipcert methods`.
    solver
        'auto', 'native', 'matrix-free', 'clarabel', 'scs' or 'mosek'.
    tolerance
        Relative duality gap to reach.
    time_limit
        Seconds for the solver; the best feasible point by then is proven and reported. The matrix-free solver stops
        after 60 s where none is given.
    lower, lower_seconds
        Whether to look for a lower bound, and for how long.
    data
        Points (n, samples) to start the lower bound from.
    form
        'comparators' (GroupSort up to 8 as sorting networks of MaxMin pairs) or 'blocks'.
    jobs
        Processes for independent semidefinite programs.
    progress
        Called with every `Progress`: what is done, the bound that is proven by then, what the solver found and nobody proved
        yet, and the time left.
    solver_options
        Options passed on to the solver by its own names.

    Returns
    -------
    Bound
        With `verified` True.

    Raises
    ------
    InvalidModel, UnsupportedModel
        If a file cannot be read.
    InvalidRequest
        If the arguments do not fit.
    NotCertified
        If no bound could be proven, such as for an implicit network without a certificate of well-posedness.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]]))
    >>> round(bound(network).upper, 6)
    10.0
    """
    started = time.perf_counter()
    graph, name, digest = read_model(model)
    norm_in = Norm.parse(norm)
    norm_out = norm_in if output_norm is None else Norm.parse(output_norm)
    if method != "auto" and method not in METHODS:
        raise InvalidRequest(f"the method {method!r} is not known", advice=f"use auto or {', '.join(METHODS)}")
    if not tolerance > 0:
        raise InvalidRequest("the tolerance must be positive")
    selection = Selection.parse(outputs, graph.output_size)
    # bounds of scalar functionals one by one are the rows of the output norm ℓ∞
    case_norm = norm_out if selection.joint else Norm.LINF
    trace: list[Progress] = []

    def report(step: Progress) -> None:
        trace.append(step)
        if progress is not None:
            progress(step)

    watch = Watch(report)
    request = _Request(
        method,
        solver,
        form,
        SolverOptions(tolerance, time_limit, progress=watch, extra=dict(solver_options or {})),
        jobs,
        data,
        lower,
        lower_seconds,
    )
    # what overflows is not proven, which is message enough
    with np.errstate(over="ignore", invalid="ignore"):
        proven = _prove(graph, selection, norm_in, case_norm, request, watch)
    proposal, certificate, job = proven.proposal, proven.certificate, proven.job
    rows = len(selection.labels)
    values = [proven.value] * rows if certificate is None else certificate.values(rows)
    product = None if proven.product is None else proven.product.conversion(norm_in, case_norm)
    found: list[LowerBound] = []
    status = proposal.status
    if lower:
        try:
            found = _lower_bounds(graph, selection, norm_in, norm_out, request, proposal.guide)
        except KeyboardInterrupt:
            # the upper bound is proven by now and must not be lost
            status = Status.INTERRUPTED
    lowers = [item.value for item in found]
    each = tuple(
        OutputBound(label, values[i], lowers[i] if lowers else None) for i, label in enumerate(selection.labels)
    )
    return Bound(
        upper=proven.value,
        lower=max(lowers) if lowers else None,
        product=product,
        verified=True,
        method=proposal.method,
        solver=proposal.solver,
        status=status,
        relative_gap=proposal.gap,
        iterations=proposal.iterations,
        seconds=time.perf_counter() - started,
        norm=norm_in,
        output_norm=norm_out,
        inputs=graph.input_size,
        outputs=graph.output_size,
        channels=channels(job.graph),
        well_posed=True,
        idealisations=graph.idealisations,
        certificate=certificate,
        each=each,
        trace=tuple(trace),
        notes=(*graph.notes, *proven.notes),
        proposed=proposal.claim,
        witness=max(found, key=lambda item: item.value) if found else None,
        model=name,
        sha256=digest,
    )


def read_model(model: Graph | str | Path) -> tuple[Graph, str, str]:
    """The graph, the name and the SHA-256 of a model that may be a file."""
    if isinstance(model, Graph):
        return model, model.source, ""
    from lipcert.importer import load

    path = Path(model)
    graph = load(path)
    return graph, str(model), hashlib.sha256(path.read_bytes()).hexdigest()


def _prove(
    graph: Graph,
    selection: Selection,
    norm: Norm,
    output_norm: Norm,
    request: _Request,
    watch: Watch,
) -> Proven:
    """The first entry of the plan whose multipliers can be proven; the norm product where that is smaller.

    What was proven on the way of a solver is the answer where nothing better is proven at its end.
    """
    notes: list[str] = []
    failure: LipcertError | None = None
    settled = False
    selected = selection.apply(graph)
    jobs: dict[str, Job] = {}
    provers: dict[str, Prover] = {}
    started = time.perf_counter()

    def tell(done: int, total: int) -> None:
        seconds = time.perf_counter() - started
        watch(Progress("proof", done, seconds=seconds, total=total if total > 1 else None))

    def job_for(form: str) -> Job:
        if form not in jobs:
            prepared = prepare(selected, form)
            jobs[form] = Job(
                prepared, norm, output_norm, request.solver, request.options, request.jobs, guided=request.lower
            )
        return jobs[form]

    def attempt(name: str, solver: str) -> Proven:
        method = METHODS[name]
        form = method.form or request.form
        job = replace(job_for(form), solver=solver)
        reason = method.refuses(job)
        if reason is not None:
            raise DoesNotApply(f"the method {name} does not apply: {reason}", advice="use --method auto")
        value = method.value(job)
        if value is not None and _dense_size(job) > DENSE_LIMIT:
            return Proven(method.propose(job), None, value, job)
        if form not in provers:
            provers[form] = Prover(graph, selection, form)
        prover = provers[form]
        if value is None:
            # before the solver works for nothing
            prover.require_memory(norm, output_norm)
            job = watched(job, prover, name)
        proposal = method.propose(job)
        if value is not None:
            try:
                certificate = prover.prove(norm, output_norm, proposal.cases, tell)
            except NotCertified:
                return Proven(proposal, None, value, job)
            if certificate.value > value:
                return Proven(proposal, None, value, job)
            return Proven(proposal, replace(certificate, value=value), value, job)
        try:
            found = _with_room(prover, job, proposal, tell)
        except KeyboardInterrupt:
            # what the solver found is worth the one proof that it takes
            proposal = replace(proposal, status=Status.INTERRUPTED)
            found = None
        watch.ended(job, proposal)
        certificate = found or prover.prove(norm, output_norm, proposal.cases)
        return Proven(proposal, certificate, certificate.value, job)

    def watched(job: Job, prover: Prover, name: str) -> Job:
        """The job with its points proven now and then."""

        def offer(claim: float, propose: Callable[[], Proposal]) -> None:
            def prove() -> Proven:
                prover.require_memory(norm, output_norm)
                proposal = replace(propose(), method=name)
                certificate = prover.prove(norm, output_norm, proposal.cases)
                return Proven(proposal, certificate, certificate.value, observed)

            watch.offer(claim, lambda: prover.seconds(norm, output_norm), prove)

        observed = replace(job, offer=offer)
        return observed

    watch(Progress("norm product"))
    product = job_for("blocks").product
    if product is not None:
        watch.lower(product.conversion(norm, output_norm))
    for name, solver in plan(job_for(request.form), request.method, request.solver, product):
        try:
            if settled and watch.best is not None:
                value = METHODS[name].value(job_for(METHODS[name].form or request.form))
                if value is None or value >= watch.best.value * (1.0 - CERTIFICATE_WORTH):
                    continue
            watch.keep(attempt(name, solver))
            settled = True
        except (NotCertified, MemoryError) as error:
            notes.append(f"{name} ({solver}): {error or 'not enough memory'}")
            failure = error if isinstance(error, LipcertError) else failure
        except KeyboardInterrupt:
            best = watch.best or _norm_product(job_for("blocks"))
            watch.best = replace(best, proposal=replace(best.proposal, status=Status.INTERRUPTED))
            break
    if watch.best is not None:
        # of the network as it is written: a comparator's factor is more than its share of the sort's
        return replace(watch.best, product=product, notes=tuple(notes))
    if failure is not None:
        raise _explained(failure, graph)
    raise NotCertified("no bound could be proven", advice="; ".join(notes))


def _norm_product(job: Job) -> Proven:
    """The norm product without a certificate: what is left when the user cannot wait for anything else."""
    method = METHODS["product"]
    value = method.value(job)
    if value is None:
        raise KeyboardInterrupt
    return Proven(method.propose(job), None, value, job)


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


def _with_room(prover: Prover, job: Job, proposal: Proposal, tell: Callable[[int, int], None]) -> Certificate | None:
    """A certificate for multipliers whose proof loses more than rounding explains, with coarser ones mixed in.

    Where the multipliers span many decades, a rounding error in R that meets the smallest of them decides. The feasible
    multipliers are convex, so adding a small part of those tied by layer keeps the cone and lifts the smallest ones.
    None where the plain proof is as good as the proposal, or no mixture is better.
    """
    try:
        plain = prover.prove(job.norm, job.output_norm, proposal.cases, tell)
    except NotCertified:
        plain = None
    if job.output_norm is Norm.L1 or _dense_size(job) > DENSE_LIMIT:
        return plain
    claimed = max((float(np.sqrt(case.mu.sum())) * case.input_scale for case in proposal.cases), default=0.0)
    if plain is not None and plain.value <= claimed * (1.0 + MIX_ABOVE):
        return plain
    try:
        coarse = solve_tied(replace(job, solver="native"), Tie.LAYER).cases
    except NotCertified:
        return plain
    best = plain
    for part in MIXTURES:
        mixed = [
            replace(fine, lam=fine.lam + part * rough.lam, mu=fine.mu + part * rough.mu)
            for fine, rough in zip(proposal.cases, coarse, strict=True)
        ]
        try:
            trial = prover.prove(job.norm, job.output_norm, mixed, tell)
        except NotCertified:
            continue
        if best is None or trial.value < best.value:
            best = trial
    return best


def plan(job: Job, method: str, solver: str, norm_product: NormProduct | None) -> list[tuple[str, str]]:
    """Which methods and solvers to try, in order, until one is proven.

    A method that is asked for by name is tried alone. 'auto' begins with one multiplier a neuron, by the interior-point
    method where its matrices are small enough for memory and the time limit, else matrix-free, and falls back to coarser
    ties and the norm product.
    """
    size = _dense_size(job)
    columns = size + min(size, job.graph.input_size)
    limit = job.options.time_limit
    small = size <= DENSE_LIMIT and interior_point.bytes_needed(size, columns) <= available()
    small = small and (limit is None or interior_point.seconds_needed(size, columns) <= limit)
    euclidean = (job.norm, job.output_norm) == (Norm.L2, Norm.L2)
    chosen = solver if solver != "auto" else ("native" if small or not euclidean else MATRIX_FREE)
    if method != "auto":
        return [(method, "none" if method == "product" else chosen)]
    product = [] if norm_product is None else [("product", "none")]
    finest = [("neuron", chosen)] if size <= DENSE_LIMIT or chosen == MATRIX_FREE else []
    return [*finest, ("layer", chosen), *product]


def _dense_size(job: Job) -> int:
    """Channels, or rows where maxima have more of them, and outputs: the size of an interior-point step and of the proof."""
    return max(channels(job.graph), rows(job.graph)) + job.graph.output_size


def _lower_bounds(
    graph: Graph,
    selection: Selection,
    norm: Norm,
    output_norm: Norm,
    request: _Request,
    guide: Guide | None,
) -> list[LowerBound]:
    """One lower bound for all outputs together, or one for each selected functional."""
    from lipcert.bounds.lower import lower_bound

    tell = request.options.progress
    targets = (
        [(graph, tell)]
        if selection.joint
        else [(Selection((label,)).apply(graph), within(tell, f"output {label}")) for label in selection.labels]
    )
    share = request.lower_seconds / len(targets)
    return [
        lower_bound(target, norm, output_norm, data=request.data, guide=guide, time_limit=share, progress=progress)
        for target, progress in targets
    ]
