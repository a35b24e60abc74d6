"""Certified radii of a classifier from proven margins and proven Lipschitz bounds of margins.

If y_c(x) − y_j(x) ≥ m and |Δ(y_c − y_j)| ≤ L‖Δx‖, the order of c and j cannot change within ‖Δx‖ < m/L. So the class c of x
is certain within min_j m_j/L_cj (Tsuzuku, Sato, Sugiyama, NeurIPS 2018, arXiv 1802.04034, with one L for all pairs).
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.bounds.api import Question, answer, read_model
from lipcert.bounds.attack import Attack
from lipcert.bounds.axes import axes
from lipcert.bounds.nearby import Local
from lipcert.bounds.refine import CERTIFIED, OPEN, REFUTED, WRONG, Found, Refinement, Stream
from lipcert.bounds.settings import Settings
from lipcert.bounds.watch import within
from lipcert.certificates.classes import ClassCertificate, Sample, SharedBound
from lipcert.certificates.values import margins_at
from lipcert.errors import InvalidRequest, NotCertified
from lipcert.figures import downward
from lipcert.graph.heads import without_head
from lipcert.graph.nodes import Graph
from lipcert.graph.normalised import normalised
from lipcert.graph.prepare import prepare
from lipcert.graph.selection import Selection
from lipcert.graph.sizes import channels
from lipcert.norms import Norm
from lipcert.regions import Box
from lipcert.samples import whole_labels
from lipcert.sdp.outcome import Progress, Status
from lipcert.sdp.solvers import DENSE_LIMIT
from lipcert.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import ArrayLike

    from lipcert.arrays import Array, BoolArray, IntArray
    from lipcert.bounds.types import Bound

MARGINS = ("auto", "pairs", "joint")

_SQRT2 = 1.4142135623730951
"""√2, rounded up."""


@dataclass(frozen=True)
class MarginBound:
    """A proven Lipschitz bound of one margin.

    Attributes
    ----------
    output
        '3-5' for the margin y₃ − y₅ (and y₅ − y₃), '0' for a single output.
    upper
        The bound.
    source
        'pair' where it was bounded on its own, 'joint' where it is √2 times the bound of all outputs together.
    """

    output: str
    upper: float
    source: str

    def to_dict(self) -> dict[str, Any]:
        """The entry of the JSON list `margins`."""
        return {"output": self.output, "upper": self.upper, "source": self.source}


@dataclass(frozen=True, eq=False, repr=False)
class Robustness(Shown):
    """Certified radii: within `radii[i]` of sample i, in the norm `norm`, the class of the network does not change.

    Attributes
    ----------
    norm
        The norm of the radii; their unit is that of the network's input.
    predictions
        (samples,) the class of each sample: the largest output, or for one output whether it is positive.
    labels
        (samples,) the true classes, or None.
    radii
        (samples,) proven and rounded down. Zero where the class is not the label, or where two outputs are too close to
        tell; infinite where the network cannot change its class at all.
    runners_up
        (samples,) the class that limits the radius.
    gaps
        (samples,) the proven margin over that class, rounded down; zero where there is none.
    margins
        The Lipschitz bounds that the radii rest on.
    bounds
        The results behind them, with their certificates.
    inputs, outputs
        Sizes of the network.
    head
        The final activation that was left out, such as 'softmax', or ''.
    status
        How the search for the bounds ended.
    seconds
        Wall-clock time.
    idealisations
        Where the function that the radii are about differs from the file.
    model, sha256
        The file and its hash, where there is one.
    at
        The radius that was decided, or None.
    found
        For each sample what its radius rests on, and a counterexample where one was found.
    certificate
        The proofs of all radii in one object, for `lipcert verify`.
    """

    norm: Norm
    predictions: IntArray
    labels: IntArray | None
    radii: Array
    runners_up: IntArray
    gaps: Array
    margins: tuple[MarginBound, ...]
    bounds: tuple[Bound, ...]
    inputs: int
    outputs: int
    head: str
    status: Status
    seconds: float
    idealisations: tuple[str, ...] = ()
    model: str = ""
    sha256: str = ""
    data: str = ""
    at: float | None = None
    found: tuple[Found, ...] = ()
    certificate: ClassCertificate | None = None

    @property
    def statuses(self) -> tuple[str, ...]:
        """Of each sample 'certified', 'refuted', 'open' or 'misclassified', at the radius `at` where there is one."""
        wrong = np.zeros(self.radii.size, dtype=bool) if self.labels is None else self.predictions != self.labels
        return tuple(WRONG if bad else item.status(self.at) for bad, item in zip(wrong, self.found, strict=True))

    @property
    def distances(self) -> Array:
        """(samples,) the distances of proven counterexamples, rounded up; infinite where there is none."""
        return np.array([item.distance for item in self.found])

    def facts(self) -> list[tuple[str, str]]:
        """What a prompt and a notebook show."""
        samples = self.radii.size
        rows = [("samples", f"{samples:,}")]
        if self.labels is not None:
            right = int((self.predictions == self.labels).sum())
            rows.append(("accuracy", f"{100.0 * right / max(samples, 1):.1f} %   {right:,} of {samples:,}"))
        rows.append(("median radius", f"{downward(self.median)}   {self.norm.symbol}, proven"))
        rows.append(("largest radius", downward(float(self.radii.max()))))
        rows.append(("margins", f"{len(self.margins)} bounded, {self.status.value.replace('_', ' ')}"))
        if self.model:
            rows.append(("model", self.model))
        return rows

    @property
    def accuracy(self) -> float | None:
        """The part of the samples whose class is the label, or None without labels."""
        return None if self.labels is None else float(np.mean(self.predictions == self.labels))

    @property
    def median(self) -> float:
        """The median radius, misclassified samples included; the lower one of two middle values."""
        return float(np.sort(self.radii)[(self.radii.size - 1) // 2])

    def certified_accuracy(self, radius: float) -> float:
        """The part of the samples whose class is the label for every change of norm at most `radius`.

        Without labels: whose class cannot change.

        Examples
        --------
        >>> from lipcert.graph import build as nn
        >>> result = robustness(nn.sequential(nn.linear([[1.0], [-1.0]])), [[0.5], [2.0]], [0, 0])
        >>> [result.certified_accuracy(r) for r in (0.1, 1.0, 3.0)]
        [1.0, 0.5, 0.0]
        """
        return float(np.mean((self.radii > 0) & (self.radii >= radius)))

    def curve(self) -> tuple[Array, Array]:
        """Radii, ascending from 0, and the certified accuracy at each: it is constant up to the next."""
        radii = np.unique(np.concatenate([[0.0], self.radii[np.isfinite(self.radii)]]))
        return radii, np.array([self.certified_accuracy(r) for r in radii])

    def to_dict(self) -> dict[str, Any]:
        """The object that `lipcert robustness --json` prints."""
        labels: Sequence[int | None] = [None] * self.radii.size if self.labels is None else self.labels.tolist()
        columns = (self.predictions.tolist(), self.radii.tolist(), self.runners_up.tolist(), self.gaps.tolist())
        return {
            "model": self.model,
            "sha256": self.sha256,
            "data": self.data,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "norm": str(self.norm),
            "samples": int(self.radii.size),
            "accuracy": self.accuracy,
            "median_radius": self.median,
            "at": self.at,
            "statuses": {name: self.statuses.count(name) for name in (CERTIFIED, REFUTED, OPEN, WRONG)},
            "verified": True,
            "head": self.head or None,
            "status": self.status.value,
            "seconds": round(self.seconds, 3),
            "idealisations": list(self.idealisations),
            "margins": [item.to_dict() for item in self.margins],
            "each": [
                {
                    "sample": i,
                    "label": label,
                    "prediction": c,
                    "radius": r,
                    "runner_up": j,
                    "margin": m,
                    "status": status,
                    "source": item.source,
                    "counterexample_at": item.distance if np.isfinite(item.distance) else None,
                }
                for i, (label, c, r, j, m, status, item) in enumerate(
                    zip(labels, *columns, self.statuses, self.found, strict=True)
                )
            ],
        }

    def plot(self, ax: Any = None) -> Any:
        """The certified accuracy over the radius.

        Parameters
        ----------
        ax
            A matplotlib Axes, or None for a new one.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        MissingExtra
            If matplotlib is not installed.
        """
        ax = axes(ax)
        radii, accuracy = self.curve()
        # the accuracy at a radius holds back to the radius before it
        ax.step(np.append(radii, radii[-1]), 100.0 * np.append(accuracy, np.isinf(self.radii).mean()), where="pre")
        what = "certified samples" if self.labels is None else "certified accuracy"
        ax.set(
            xlabel=f"{self.norm.symbol} radius, in units of the network's input", ylabel=f"{what} (%)", ylim=(0, 102)
        )
        ax.set_xlim(left=0.0)
        return ax

    def named(self, model: str, sha256: str, data: str) -> Robustness:
        """The same result with the names of the files."""
        return replace(self, model=model, sha256=sha256, data=data)


def robustness(
    model: Graph | str | Path,
    X: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    norm: object = 2,
    margins: str = "auto",
    method: str = "auto",
    solver: str = "auto",
    tolerance: float = 1e-8,
    time_limit: float | None = None,
    form: str = "comparators",
    jobs: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    solver_options: dict[str, object] | None = None,
    at: float | None = None,
    local: bool | None = None,
    attack: bool = False,
    domain: Box | tuple[float, float] | None = None,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
    stream: str | Path | None = None,
    seed: int = 0,
) -> Robustness:
    """How far each sample can move, in every direction, before the network may change its class.

    Parameters
    ----------
    model
        A classifier, a graph or the path of an ONNX file: its class is the largest output; with one output, 1 where that is
        positive and else 0. A final softmax, log-softmax or sigmoid is left out: it keeps the order of the outputs, and what
        goes into it changes more evenly.
    X
        (samples, inputs), or one sample an entry of the first axis; in the units of the network's input.
    labels
        (samples,) the true classes; a sample that is not in its class has the radius 0. Without labels the radius is that of
        the class that the network gives.
    norm
        2, 'inf' or 1: the norm of the radii.
    margins
        'pairs' bounds every margin that occurs on its own. 'joint' takes √2 times the bound of all outputs together, which
        costs one program. 'auto' begins with the joint bound and bounds the margins that decide a radius, until no other one
        can: the radii are the same as with 'pairs' but for rounding. Networks beyond the interior-point method stay with
        the joint bound.
    method, solver, tolerance, form, jobs, progress, solver_options
        As in `lipcert.bound`.
    time_limit
        Seconds for all solvers together. Margins that were not reached by then have the joint bound, samples that were not
        reached what the global bounds say.
    at
        A radius to decide: samples that the global bounds leave open are bounded on the ball around them. Without it the
        radius of each sample is as large as the bounds make it.
    local
        Whether bounds around the samples are used beside the global ones; by default where `at` is given. Without `at` each
        sample takes several of them.
    attack
        Whether a counterexample is looked for around every sample, so that it ends as certified, refuted or open.
    domain
        The box that inputs stay in, or its two ends for every input, such as (0, 1) for images.
    mean, std
        Of a normalisation (x − mean)/std that the file lacks, one number or one a channel: then samples and radii are in the
        units before it.
    stream
        A file to which results are written as JSON lines as they come; another run of the same question goes on from it.
    seed
        Of the search for counterexamples.

    Returns
    -------
    Robustness

    Raises
    ------
    InvalidModel, UnsupportedModel
        If a file cannot be read.
    InvalidRequest
        If the samples or labels do not fit the network.
    NotCertified
        If no bound could be proven.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[1.0, 0.0], [0.0, 1.0]]), nn.relu())
    >>> result = robustness(network, [[3.0, 1.0], [0.0, 1.0]], labels=[0, 0])
    >>> result.predictions, result.radii.round(4)
    (array([0, 1]), array([1.4142, 0.    ]))
    """
    settings = Settings(method, solver, tolerance, None, form, jobs, solver_options or {})
    started = time.perf_counter()
    source, name, digest = read_model(model)
    graph = normalised(source, mean, std)
    p = Norm.parse(norm)
    if margins not in MARGINS:
        raise InvalidRequest(f"the margins {margins!r} are not known", advice=f"use {', '.join(MARGINS)}")
    box = _domain(domain, at, graph.input_size)
    points = _points(X, graph)
    logits, head = without_head(graph)
    wanted = None if labels is None else _labels(labels, len(points), max(logits.output_size, 2))
    predictions, gaps = proven_margins(logits, points, progress)
    right = np.ones(len(points), dtype=bool) if wanted is None else predictions == wanted
    if box is not None and not ((points >= box.low) & (points <= box.high)).all():
        raise InvalidRequest(
            "a sample lies outside the domain", advice="give the samples and the domain in the same units"
        )
    end = None if time_limit is None else started + time_limit
    search = _Search(logits, predictions[right], gaps[right], p, settings, end, progress)
    search.run(margins)
    nearby = at is not None if local is None else local
    refinement = Refinement(
        Local(logits, p, box, settings), Attack(logits, p, box, seed=seed), at, nearby, attack, jobs, end, progress
    )
    question = {
        "network": graph.fingerprint.hex(),
        "points": hashlib.sha256(points.tobytes()).hexdigest(),
        "labels": None if wanted is None else wanted.tolist(),
        "radii": [str(p), at, nearby, attack, None if box is None else box.to_json(), seed],
        "settings": [method, solver, tolerance, form, margins],
    }
    found, finished = _refined(search, refinement, points, right, question, stream)
    rivals, room = _rivals(search, predictions, gaps, right)
    certificate = ClassCertificate(
        source.fingerprint.hex(),
        p,
        box,
        form,
        None if mean is None else np.asarray(mean, dtype=np.float64).reshape(-1),
        None if std is None else np.asarray(std, dtype=np.float64).reshape(-1),
        tuple(search.shared),
        _samples(points, predictions, found, search.certified(predictions, gaps)),
    )
    return Robustness(
        norm=p,
        predictions=predictions,
        labels=wanted,
        radii=np.array([item.radius for item in found]),
        runners_up=rivals,
        gaps=np.maximum(np.where(np.isfinite(room), room, 0.0), 0.0),
        margins=search.margins(),
        bounds=tuple(search.results),
        inputs=graph.input_size,
        outputs=graph.output_size,
        head=head,
        status=search.status if finished else Status.INTERRUPTED,
        seconds=time.perf_counter() - started,
        idealisations=graph.idealisations,
        model=name,
        sha256=digest,
        at=at,
        found=tuple(found),
        certificate=certificate,
    )


def _domain(domain: Box | tuple[float, float] | None, at: float | None, inputs: int) -> Box | None:
    """The domain as a box of so many inputs; the radius is checked too."""
    if at is not None and not 0.0 < at < np.inf:
        raise InvalidRequest(f"the radius {at:g} is not positive", advice="give a positive number")
    if domain is None:
        return None
    box = domain if isinstance(domain, Box) else Box(*domain)
    return box.fitted(inputs)


def _refined(
    search: _Search,
    refinement: Refinement,
    points: Array,
    right: BoolArray,
    question: dict[str, Any],
    stream: str | Path | None,
) -> tuple[list[Found], bool]:
    """What is found of each sample, and whether the end was reached."""
    ratios = search.ratios()
    start = np.maximum(ratios.min(axis=1), 0.0) if ratios.size else np.zeros(0)
    chosen = np.flatnonzero(right).tolist()
    found = [Found(0.0)] * len(points)
    for i, radius in zip(chosen, start.tolist(), strict=True):
        found[i] = Found(radius)
    file = None if stream is None else Stream(Path(stream), question)
    known = {} if file is None else {k: file.known[i] for k, i in enumerate(chosen) if i in file.known}
    results = refinement.run(points[right], search.predictions, search.gaps, start, known)
    written = results if file is None else file.written(chosen, results)
    try:
        for i, item in zip(chosen, written, strict=True):
            found[i] = item
    except KeyboardInterrupt:
        return found, False
    return found, True


def _rivals(search: _Search, predictions: IntArray, gaps: Array, right: BoolArray) -> tuple[IntArray, Array]:
    """The class that limits each radius by the global bounds, and the margin over it."""
    rivals = np.zeros(len(predictions), dtype=np.int64)
    room = np.zeros(len(predictions))
    ratios = search.ratios()
    nearest = ratios.argmin(axis=1) if ratios.size else np.zeros(0, dtype=np.int64)
    rivals[right] = nearest
    room[right] = gaps[right][np.arange(len(ratios)), nearest]
    # for a sample of another class the rival is the one that wins
    rivals[~right] = predictions[~right]
    return rivals, room


def _samples(points: Array, predictions: IntArray, found: list[Found], certified: Array) -> tuple[Sample, ...]:
    """The samples of a certificate: with their own proofs, or with what the shared certificates prove."""
    samples = []
    for x, c, item, shared in zip(points, predictions.tolist(), found, certified.tolist(), strict=True):
        if item.local is not None:
            samples.append(Sample(x, c, item.local.radius, item.local))
        elif min(item.radius, shared) > 0.0:
            samples.append(Sample(x, c, min(item.radius, shared)))
    return tuple(samples)


def proven_margins(
    graph: Graph, points: Array, progress: Callable[[Progress], None] | None = None
) -> tuple[IntArray, Array]:
    """The class of each point and lower bounds of its margins, in ball arithmetic at the exact float64 points.

    Parameters
    ----------
    graph
        A classifier without a head.
    points
        (samples, inputs).
    progress
        Called now and then.

    Returns
    -------
    predictions, margins
        (samples,) and (samples, classes): y_c − y_j, rounded down, infinite for j = c; at most 0 where the order of c and j
        could not be proven.
    """
    started = time.perf_counter()

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(Progress("evaluating samples", done, seconds=time.perf_counter() - started, total=total))

    return margins_at(graph, points, tell)


class _Search:
    """Lipschitz bounds for the margins that decide radii."""

    def __init__(
        self,
        graph: Graph,
        predictions: IntArray,
        gaps: Array,
        norm: Norm,
        settings: Settings,
        end: float | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.graph, self.predictions, self.gaps = graph, predictions, gaps
        self.norm, self.settings, self.end, self.progress = norm, settings, end, progress
        self.classes = gaps.shape[1]
        self.joint = np.inf
        self.effort = 0.0
        self.own: dict[str, float] = {}
        self.tried: set[str] = set()
        self.results: list[Bound] = []
        self.shared: list[SharedBound] = []
        self.status = Status.OPTIMAL

    def run(self, margins: str) -> None:
        """Find the bounds; the status says where it ended early."""
        if not self.predictions.size:
            return
        small = channels(prepare(self.graph)) + self.graph.output_size <= DENSE_LIMIT
        if margins != "pairs" and self.graph.output_size > 1:
            self._bound_all(needed=margins == "joint" or not small)
        if margins == "joint" or (margins == "auto" and not small and np.isfinite(self.joint)):
            return
        while not self._over():
            wanted = self._deciding()
            if not wanted:
                return
            # one alone runs without matrices; under a time limit no more than there seems to be time for
            seconds = self._seconds()
            room = len(wanted) if seconds is None or not self.effort else max(1, int(seconds / self.effort))
            self._bound_each(wanted[: room if small else 1])

    def ratios(self) -> Array:
        """(samples, classes): lower bounds of margin / bound, rounded down; infinite for the class itself."""
        return self._ratios(self.predictions, self.gaps, self._upper)

    def certified(self, predictions: IntArray, gaps: Array) -> Array:
        """(samples,) the radii that the shared certificates alone prove."""
        own: dict[str, float] = {}
        for item in self.shared:
            labels = item.certificate.outputs or item.outputs or ("",)
            chosen = item.certificate.outputs
            values = item.certificate.values(len(labels)) if chosen else [item.certificate.value]
            for label, value in zip(labels, values, strict=True):
                own[label] = min(value, own.get(label, np.inf))
        joint = own.get("", np.inf)
        if self.graph.output_size > 1:
            joint = float(np.nextafter(_SQRT2 * joint, np.inf))
        ratios = self._ratios(predictions, gaps, lambda label: min(own.get(label, np.inf), joint))
        return np.asarray(ratios.min(axis=1)) if len(ratios) else np.zeros(0)

    def _ratios(self, predictions: IntArray, gaps: Array, bound: Callable[[str], float]) -> Array:
        upper = np.array([[bound(self._label(c, j)) for j in range(self.classes)] for c in range(self.classes)])
        L = upper[predictions]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.nextafter(gaps / L, -np.inf)
        # a margin that cannot change is safe for ever; inf/inf is the class itself
        return np.where(np.isposinf(gaps) | ((L == 0) & (gaps > 0)), np.inf, np.nan_to_num(ratio, nan=0.0))

    def margins(self) -> tuple[MarginBound, ...]:
        """The bounds of all margins of the classes that occur."""
        labels = sorted({label for labels in self._occurring() for label in labels}, key=_numbers)
        return tuple(
            MarginBound(label, self._upper(label), "pair" if label in self.own else "joint")
            for label in labels
            if np.isfinite(self._upper(label))
        )

    def _label(self, c: int, j: int) -> str:
        if self.graph.output_size == 1:
            return "0"
        return f"{min(c, j)}-{max(c, j)}"

    def _upper(self, label: str) -> float:
        return min(self.own.get(label, np.inf), float(np.nextafter(_SQRT2 * self.joint, np.inf)))

    def _occurring(self) -> Iterable[list[str]]:
        for c in np.unique(self.predictions):
            yield [self._label(int(c), j) for j in range(self.classes) if j != c]

    def _deciding(self) -> list[str]:
        """The margins, not bounded on their own yet, that decide a radius; those that decide most come first."""
        if not np.isfinite(self.joint):
            labels = Counter(label for labels in self._occurring() for label in labels)
        else:
            ratios = self.ratios()
            nearest = ratios.argmin(axis=1)
            open_samples = np.flatnonzero((ratios.min(axis=1) > 0) & np.isfinite(ratios.min(axis=1)))
            labels = Counter(self._label(int(self.predictions[i]), int(nearest[i])) for i in open_samples)
        return [label for label, _ in labels.most_common() if label not in self.tried]

    def _bound_all(self, needed: bool) -> None:
        started = time.perf_counter()
        question = Question(self.norm, Norm.L2, Selection())
        try:
            result = answer(self.graph, question, self._now(), progress=within(self.progress, "all outputs"))
        except NotCertified:
            if needed:
                raise
            return
        self.joint = result.upper
        self.effort = time.perf_counter() - started
        self._keep(result, ())

    def _bound_each(self, labels: list[str]) -> None:
        self.tried.update(labels)
        # for one margin alone every output norm is the same, and the solver for large networks applies
        alone = len(labels) == 1
        chosen = Selection(tuple(labels))
        graph = chosen.apply(self.graph) if alone else self.graph
        question = Question(self.norm, Norm.L2, Selection()) if alone else Question(self.norm, self.norm, chosen)
        tell = within(self.progress, f"margin {labels[0]}" if alone else f"{len(labels)} margins")
        try:
            result = answer(graph, question, self._now(), progress=tell)
        except NotCertified:
            if not np.isfinite(self.joint):
                raise
            return
        values = [item.upper for item in result.each] or [result.upper]
        for label, value in zip(labels, values, strict=True):
            if value < self._upper(label):
                self.own[label] = value
        self._keep(result, tuple(labels) if alone else ())

    def _keep(self, result: Bound, outputs: tuple[str, ...]) -> None:
        self.results.append(result)
        if result.certificate is not None:
            self.shared.append(SharedBound(outputs, result.certificate))
        self.status = max(self.status, result.status, key=list(Status).index)

    def _over(self) -> bool:
        if any(result.status is Status.INTERRUPTED for result in self.results):
            return np.isfinite(self.joint) or bool(self.own)
        if self.end is not None and time.perf_counter() >= self.end and np.isfinite(self.joint):
            self.status = Status.TIME_LIMIT
            return True
        return False

    def _now(self) -> Settings:
        """The settings with the time that is left."""
        return replace(self.settings, time_limit=self._seconds())

    def _seconds(self) -> float | None:
        return None if self.end is None else max(self.end - time.perf_counter(), 1e-3)


def _numbers(label: str) -> tuple[int, ...]:
    return tuple(map(int, label.split("-")))


def _points(X: ArrayLike, graph: Graph) -> Array:
    try:
        array = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"the samples are no array of numbers ({error})") from None
    rows = array.reshape(len(array), -1) if array.ndim >= 1 and array.size else np.zeros((0, graph.input_size))
    if rows.shape[1] != graph.input_size or not len(rows):
        raise InvalidRequest(
            f"samples of shape {array.shape} for a network of {graph.input_size} inputs",
            advice="give one sample a row, flattened in the order of the network's input",
        )
    if not np.isfinite(rows).all():
        raise InvalidRequest("the samples hold numbers that are not finite")
    return rows


def _labels(labels: ArrayLike, samples: int, classes: int) -> IntArray:
    try:
        array = whole_labels(labels, samples)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"the labels are no numbers ({error})") from None
    outside = np.flatnonzero((array < 0) | (array >= classes))
    if outside.size:
        raise InvalidRequest(
            f"the label {array[outside[0]]} of sample {outside[0]} is no class of the network",
            advice=f"its classes are 0 to {classes - 1}, in the order of its outputs",
        )
    return array
