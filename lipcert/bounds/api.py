"""`bound`: from a graph or a file to a proven number."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipcert import budget
from lipcert.bounds.branch import Tree
from lipcert.bounds.forest import Cutting, Forest, forest, grown
from lipcert.bounds.run import Run
from lipcert.bounds.settings import Settings
from lipcert.bounds.types import Bound, OutputBound
from lipcert.bounds.watch import Proven, Watch, within
from lipcert.certificates.claims import Entries
from lipcert.errors import DoesNotApply, InvalidRequest, NotCertified
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Graph
from lipcert.graph.selection import Selection
from lipcert.graph.sizes import channels
from lipcert.norms import Norm
from lipcert.sdp.outcome import Progress, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lipcert.arrays import Array
    from lipcert.bounds.guide import Guide
    from lipcert.bounds.lower_bound import LowerBound
    from lipcert.bounds.methods import Proposal
    from lipcert.regions import Region


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
    lower_seconds: float | None = None,
    seed: int = 0,
    data: Array | None = None,
    form: str = "comparators",
    jobs: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    solver_options: dict[str, object] | None = None,
    region: Region | None = None,
    anchored: bool = False,
    branch: bool | float = False,
    branch_on: str = "auto",
    gap: float = 1e-3,
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
        Seconds for the answer: reading, norm product, solver, proof, and the search for a lower bound, which has a tenth of
        it, unless it has a limit of its own. The best that is proven by then is the answer. Where none is given, the
        matrix-free solver stops after 12 to 60 s, by the size of the network.
    lower, lower_seconds
        Whether to look for a lower bound, and for how many seconds. Without a limit the search takes a number of steps that
        depends on the network alone, so that the same seed finds the same witness; with `time_limit` it takes what that
        leaves, and a tenth of it at least; there is none where the proof of a witness alone would break the limit.
    seed
        Seed of the search for a lower bound.
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
    region
        Where the bound is to hold: a `lipcert.Box` or a `lipcert.Ball`; the whole space by default.
    anchored
        Whether changes start from the centre of the region: ‖f(x) − f(c)‖ ≤ L·‖x − c‖. By default x and x′ are any two
        points.
    branch, gap
        Whether to branch and bound, for so many seconds or, for True, until upper / lower − 1 is at most `gap`. Ctrl-C
        gives the best tree by then. Selected outputs have a tree each, and share the time.
    branch_on
        What is cut: 'neurons' (the sides of kinks: exact, for piecewise linear networks), 'inputs' (parts of a bounded
        region, for few inputs), 'channels' (signs of channels: a relaxation), or 'auto', the first of these that suits the
        network.

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
    >>> import lipcert
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]]))
    >>> round(bound(network).upper, 6)
    10.0
    >>> here = bound(network, region=lipcert.Ball([-1.0, -1.0], 0.5), lower=False)
    >>> round(here.upper, 6), here.region.describe()
    (0.0, 'on the ball ‖x − c‖₂ ≤ 0.5')
    """
    settings = Settings(method, solver, tolerance, time_limit, form, jobs, solver_options or {})
    started = time.perf_counter()
    # the limit is for reading too
    with budget.within(time_limit):
        graph, name, digest = read_model(model)
        question = Question.parse(norm, output_norm, outputs, graph.output_size).on(region, anchored, graph.input_size)
        search = Search(lower_seconds, data, seed) if lower else None
        cutting = None if branch is False else Cutting.parse(branch, gap, branch_on)
        found = answer(graph, question, settings, search, progress, cutting)
    return replace(found, model=name, sha256=digest, seconds=time.perf_counter() - started)


@dataclass(frozen=True)
class Question:
    """What a user asks for: the norms as they were given, and the outputs.

    Attributes
    ----------
    norm, output_norm
        The norms; that of the output is meant where all outputs count together, and where a lower bound takes one output.
    outputs
        Which outputs.
    region, anchored
        Where the bound is to hold, and whether changes start from its centre.
    """

    norm: Norm
    output_norm: Norm
    outputs: Selection
    region: Region | None = None
    anchored: bool = False

    def on(self, region: Region | None, anchored: bool, inputs: int) -> Question:
        """The question about a region of so many inputs; None where it is the whole space.

        Raises
        ------
        InvalidRequest
            If the region does not fit, or has no centre that increments could start from.
        """
        if region is not None:
            region = region.fitted(inputs)
        if anchored and (region is None or region.centre is None):
            raise InvalidRequest(
                "there is no centre that changes could start from", advice="give a centre and a radius"
            )
        if region is not None and region.is_everywhere:
            region = None
        return replace(self, region=region, anchored=anchored)

    @classmethod
    def parse(cls, norm: object, output_norm: object, outputs: str | int | Iterable[str | int], size: int) -> Question:
        """The question meant by the arguments of `bound` about a network of so many outputs."""
        norm_in = Norm.parse(norm)
        norm_out = norm_in if output_norm is None else Norm.parse(output_norm)
        return cls(norm_in, norm_out, Selection.parse(outputs, size))

    @property
    def claim(self) -> Claim:
        """What is to be proven."""
        return Claim.about(self.norm, self.output_norm, self.outputs, self.region, self.anchored)


_LEAST_SEARCH, _MOST_SEARCH, _PROMPT = 0.1, 0.3, 1.0
"""The parts of a time limit that the search for a lower bound has in any case, and at most from the start; and seconds that
the proof of its witness may take whatever the limit is."""


@dataclass(frozen=True, eq=False)
class Search:
    """How a lower bound is looked for: for how many seconds, if limited, from which points (n, samples), with which seed."""

    seconds: float | None = None
    data: Array | None = None
    seed: int = 0


def answer(
    graph: Graph,
    question: Question,
    settings: Settings,
    search: Search | None = None,
    progress: Callable[[Progress], None] | None = None,
    cutting: Cutting | None = None,
) -> Bound:
    """As `bound`, for a graph and arguments that are read; without a search there is no lower bound."""
    started = time.perf_counter()
    claim = question.claim
    trace: list[Progress] = []

    def report(step: Progress) -> None:
        trace.append(step)
        if progress is not None:
            progress(step)

    watch = Watch(report)
    search, own_limit, notes = _shared(graph, search, settings.time_limit)
    # what overflows is not proven, which is message enough
    with np.errstate(over="ignore", invalid="ignore"), budget.within(own_limit):
        proven = Run(graph, claim, settings, watch, guided=search is not None).run()
    proposal = proven.settled
    search = _timed(graph, search, settings.time_limit, time.perf_counter() - started)
    found, interrupted = _searched(graph, question, search, proposal, watch)
    status = Status.INTERRUPTED if interrupted else proposal.status
    with budget.apart():
        proven, tree, found = _branched(proven, graph, settings, None if interrupted else cutting, found, watch)
    lowers = [item.value for item in found]
    # a witness from one tree is for the outputs together
    witnesses = [*found, *([tree.lower] if isinstance(tree, Tree) and tree.lower is not None else [])]
    lower = max((item.value for item in witnesses), default=None)
    result = Bound(
        upper=proven.value,
        lower=lower,
        product=None if proven.product is None else proven.product.conversion(claim),
        verified=True,
        method=proposal.method,
        solver=proposal.solver,
        status=status if tree is None else tree.status,
        relative_gap=proposal.gap,
        iterations=proposal.iterations,
        seconds=time.perf_counter() - started,
        norm=question.norm,
        output_norm=question.output_norm,
        inputs=graph.input_size,
        outputs=graph.output_size,
        channels=channels(proven.job.graph),
        well_posed=True,
        idealisations=graph.idealisations,
        certificate=proven.certificate,
        each=_each(claim, proven, lowers),
        trace=tuple(trace),
        notes=(*graph.notes, *proven.notes, *notes),
        proposed=proposal.claim,
        witness=max(witnesses, key=lambda item: item.value) if witnesses else None,
        model=graph.source,
        region=question.region,
        anchored=question.anchored,
        layers=proven.job.prepared.posed.layers,
        leaves=0 if tree is None else tree.leaves,
        depth=0 if tree is None else tree.depth,
    )
    return _honest(result, settings.tolerance)


def _shared(
    graph: Graph, search: Search | None, limit: float | None
) -> tuple[Search | None, float | None, tuple[str, ...]]:
    """The search, what it leaves of a limit, and notes; no search whose proof alone would break the limit."""
    if search is None or search.seconds is not None or limit is None:
        return search, limit, ()
    from lipcert.bounds.witness import proof_seconds

    proof = proof_seconds(graph)
    if proof > max(_PROMPT, (_MOST_SEARCH - _LEAST_SEARCH) * limit):
        note = f"no lower bound is looked for: its proof alone would take about {proof:.0f} s of {limit:g} s"
        return None, limit, (note,)
    part = min(_MOST_SEARCH * limit, _LEAST_SEARCH * limit + proof)
    return search, max(0.0, min(budget.left(), limit) - part), ()


def _timed(graph: Graph, search: Search | None, limit: float | None, spent: float) -> Search | None:
    """The search within what a limit leaves, and no less than a tenth of that; as it is where it has a limit of its own."""
    from lipcert.bounds.search import default_seconds

    if search is None or search.seconds is not None or limit is None:
        return search
    return replace(search, seconds=min(default_seconds(graph), max(limit - spent, _LEAST_SEARCH * limit)))


def _searched(
    graph: Graph, question: Question, search: Search | None, proposal: Proposal, watch: Watch
) -> tuple[list[LowerBound], bool]:
    """The lower bounds, and whether the search for them was interrupted: the upper bound is proven by then."""
    if search is None:
        return [], False
    try:
        with budget.apart():
            if proposal.point is not None and (known := _at_point(graph, question.claim, proposal.point)) is not None:
                return [known], False
            return _lower_bounds(graph, question, search, proposal.guide, watch), False
    except KeyboardInterrupt:
        return [], True


def _at_point(graph: Graph, claim: Claim, point: Array) -> LowerBound | None:
    """A proven lower bound where the upper one is attained."""
    from lipcert.bounds.branch.witnesses import proven_at, steepest

    selected = claim.select(graph)
    witness, _ = steepest(selected, claim, point)
    return None if witness is None else proven_at(selected, claim, witness)


def _honest(result: Bound, tolerance: float) -> Bound:
    """The result, called optimal only where its proof is known to reach the tolerance too."""
    loss = result.proof_loss
    # without a value to compare with only zero, and a tree that a proven lower bound ends, are known to be optimal
    lossy = result.upper > 0.0 and not result.leaves if loss is None else not loss <= tolerance
    return replace(result, status=Status.PROOF_LOSS) if result.status is Status.OPTIMAL and lossy else result


def _each(claim: Claim, proven: Proven, lowers: list[float]) -> tuple[OutputBound, ...]:
    """The bound of each selected functional, with its own norm product and lower bound where there is one."""
    labels, certificate = claim.outputs.labels, proven.certificate
    products = None if proven.product is None or claim.outputs.joint else proven.product.of_each(claim)
    values = [proven.value] * len(labels) if certificate is None else certificate.values(len(labels))
    if certificate is None and products is not None:
        values = [min(value, own) for value, own in zip(values, products, strict=True)]
    methods = [proven.proposal.method] * len(labels)
    if certificate is not None:
        methods = [
            "jacobian" if isinstance(item, Entries) else methods[i]
            for i, item in enumerate(certificate.decisive_of_each(len(labels)))
        ]
    claims = proven.settled.claims
    alone = bool(claims) and not claim.outputs.joint
    proposed = claim.value_of_each(claims, len(labels)) if alone else [None] * len(labels)
    return tuple(
        OutputBound(
            label,
            values[i],
            lowers[i] if lowers else None,
            None if products is None else products[i],
            methods[i],
            proposed[i],
        )
        for i, label in enumerate(labels)
    )


def _branched(
    proven: Proven, graph: Graph, settings: Settings, cutting: Cutting | None, found: list[LowerBound], watch: Watch
) -> tuple[Proven, Tree | Forest | None, list[LowerBound]]:
    """What branch and bound makes of a bound and of lower ones; as they are, with a note, where it does not apply."""
    lower = max((item.value for item in found), default=0.0)
    if cutting is None:
        return proven, None, found
    certificate = proven.certificate
    labels = () if certificate is None else certificate.outputs
    several = len(labels) > 1
    if not several and proven.value <= (1.0 + cutting.gap) * lower:
        return proven, None, found
    try:
        if certificate is not None and several:
            lowers = [item.value for item in found] if len(found) == len(labels) else [0.0] * len(labels)
            tree: Tree | Forest = forest(graph, certificate, cutting, lowers, jobs=settings.jobs, tell=watch.part)
        else:
            tree = _tree(proven, graph, settings, cutting, lower, watch)
    except (DoesNotApply, NotCertified) as error:
        return replace(proven, notes=(*proven.notes, error.what)), None, found
    if isinstance(tree, Forest) and not tree.trees:
        return proven, None, found
    proven = replace(proven, notes=(*proven.notes, *tree.notes))
    better = tree.certificate is not certificate and tree.certificate.value <= proven.value
    if better:
        proven = replace(proven, certificate=tree.certificate, value=tree.certificate.value)
    return proven, tree, tree.lowers(found) if isinstance(tree, Forest) else found


def _tree(proven: Proven, graph: Graph, settings: Settings, cutting: Cutting, lower: float, watch: Watch) -> Tree:
    """The tree of all outputs together, or of the only one."""
    from lipcert.certificates import Certificate

    def tell(step: Progress) -> None:
        if step.proven is not None:
            watch.note(step.proven)
        watch(step)

    root = proven.certificate
    if root is None:
        root = Certificate.bare(graph, proven.job.claim, settings.form, proven.value)
    return grown(graph, root, cutting, lower, jobs=settings.jobs, progress=tell)


def read_model(model: Graph | str | Path) -> tuple[Graph, str, str]:
    """The graph, the name and the SHA-256 of a model that may be a file."""
    if isinstance(model, Graph):
        return model, model.source, ""
    from lipcert.importer import load

    path = Path(model)
    graph = load(path)
    return graph, str(model), hashlib.sha256(path.read_bytes()).hexdigest()


def _lower_bounds(
    graph: Graph, question: Question, search: Search, guide: Guide | None, tell: Callable[[Progress], None]
) -> list[LowerBound]:
    """One lower bound for all outputs together, or one for each selected functional."""
    from lipcert.bounds.inside import lower_inside
    from lipcert.bounds.lower_bound import lower_bound

    targets = (
        [(graph, tell)]
        if question.outputs.joint
        else [(Selection((label,)).apply(graph), within(tell, f"output {label}")) for label in question.outputs.labels]
    )
    share = 1.0 / len(targets)
    limit = None if search.seconds is None else share * search.seconds
    norms = question.norm, question.output_norm
    region, anchored = question.region, question.anchored
    if region is not None:
        return [
            lower_inside(
                target,
                *norms,
                region,
                anchored=anchored,
                time_limit=limit,
                seed=search.seed,
                progress=progress,
            )
            for target, progress in targets
        ]
    return [
        lower_bound(
            target,
            *norms,
            data=search.data,
            guide=guide,
            time_limit=limit,
            share=share,
            seed=search.seed,
            progress=progress,
        )
        for target, progress in targets
    ]
