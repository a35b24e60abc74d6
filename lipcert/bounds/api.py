"""`bound`: from a graph or a file to a proven number."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.methods import METHODS, Job, Method, Proposal
from lipcert.bounds.types import Bound, OutputBound
from lipcert.certificates import Prover
from lipcert.errors import InvalidRequest, LipcertError, NotCertified
from lipcert.graph.nodes import Graph
from lipcert.graph.prepare import prepare
from lipcert.graph.selection import Selection
from lipcert.norms import Norm
from lipcert.sdp.outcome import Progress, SolverOptions, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lipcert.arrays import Array
    from lipcert.bounds.lower import LowerBound
    from lipcert.certificates import Certificate


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
        Seconds for the solver; the best feasible point by then is proven and reported.
    lower, lower_seconds
        Whether to look for a lower bound, and for how long.
    data
        Points (n, samples) to start the lower bound from.
    form
        'comparators' (GroupSort up to 8 as sorting networks of MaxMin pairs) or 'blocks'.
    jobs
        Processes for independent semidefinite programs.
    progress
        Called with signs of life.
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
    graph, name, digest = _read(model)
    norm_in = Norm.parse(norm)
    norm_out = norm_in if output_norm is None else Norm.parse(output_norm)
    if method != "auto" and method not in METHODS:
        raise InvalidRequest(f"the method {method!r} is not known", advice=f"use auto or {', '.join(METHODS)}")
    if not tolerance > 0:
        raise InvalidRequest("the tolerance must be positive")
    selection = Selection.parse(outputs, graph.output_size)
    selected = selection.apply(graph)
    # bounds of scalar functionals one by one are the rows of the output norm ℓ∞
    case_norm = norm_out if selection.joint else Norm.LINF
    trace: list[Progress] = []

    def report(step: Progress) -> None:
        trace.append(step)
        if progress is not None:
            progress(step)

    options = SolverOptions(tolerance, time_limit, progress=report, extra=dict(solver_options or {}))
    proposal, certificate, job, notes = _prove_best(
        selected, norm_in, case_norm, method, solver, options, form, jobs
    )
    upper = certificate.value
    values = certificate.values
    product = job.product.conversion(norm_in, case_norm) if job.product is not None else None
    found: list[LowerBound] = []
    if lower:
        found = _lower_bounds(graph, selection, norm_in, norm_out, proposal, data, lower_seconds)
    lowers = [item.value for item in found]
    each = tuple(
        OutputBound(label, values[i], lowers[i] if lowers else None) for i, label in enumerate(selection.labels)
    )
    return Bound(
        upper=upper,
        lower=max(lowers) if lowers else None,
        product=product,
        verified=True,
        method=proposal.method,
        solver=proposal.solver,
        status=proposal.status,
        relative_gap=proposal.gap,
        iterations=proposal.iterations,
        seconds=time.perf_counter() - started,
        norm=norm_in,
        output_norm=norm_out,
        inputs=graph.input_size,
        outputs=graph.output_size,
        channels=job.system.groups.channels,
        well_posed=True,
        idealisations=graph.idealisations,
        certificate=certificate,
        each=each,
        trace=tuple(trace),
        notes=tuple(notes),
        witness=max(found, key=lambda item: item.value) if found else None,
        model=name,
        sha256=digest,
    )


def _read(model: Graph | str | Path) -> tuple[Graph, str, str]:
    if isinstance(model, Graph):
        return model, model.source, ""
    from lipcert.importer import load

    path = Path(model)
    graph = load(path)
    return graph, str(model), hashlib.sha256(path.read_bytes()).hexdigest()


def _prove_best(
    graph: Graph,
    norm: Norm,
    output_norm: Norm,
    method: str,
    solver: str,
    options: SolverOptions,
    form: str,
    jobs: int | None,
) -> tuple[Proposal, Certificate, Job, list[str]]:
    """The first method of the plan whose multipliers can be proven, or the norm product where that is smaller."""
    notes: list[str] = []
    failure: LipcertError | None = None
    provers: dict[str, Prover] = {}
    jobs_by_form: dict[str, Job] = {}

    def attempt(choice: Method, solver_name: str) -> tuple[Proposal, Certificate, Job]:
        if choice.form not in jobs_by_form:
            jobs_by_form[choice.form] = Job(prepare(graph, choice.form), norm, output_norm, solver_name, options, jobs)
        job = replace(jobs_by_form[choice.form], solver=solver_name)
        reason = choice.refuses(job)
        if reason is not None:
            raise InvalidRequest(f"the method {choice.name} does not apply: {reason}", advice="use --method auto")
        proposal = choice.propose(job)
        if choice.form not in provers:
            provers[choice.form] = Prover(job.graph, choice.form)
        return proposal, provers[choice.form].prove(norm, output_norm, proposal.cases), job

    base = replace(METHODS["neuron"], form=form)
    first = Job(prepare(graph, form), norm, output_norm, solver, options, jobs)
    jobs_by_form[form] = first
    for choice, solver_name in plan(first, METHODS.get(method, base), method == "auto", solver):
        try:
            proposal, certificate, job = attempt(choice, solver_name)
        except (NotCertified, MemoryError) as error:
            notes.append(f"{choice.name} ({solver_name}): {error or 'not enough memory'}")
            failure = error if isinstance(error, LipcertError) else failure
            continue
        return proposal, certificate, job, notes
    if failure is not None:
        raise failure
    raise NotCertified("no bound could be proven", advice="; ".join(notes))
