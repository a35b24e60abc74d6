"""Certified radii of a classifier from proven margins and proven Lipschitz bounds of margins.

If y_c(x) − y_j(x) ≥ m and |Δ(y_c − y_j)| ≤ L‖Δx‖, the order of c and j cannot change within ‖Δx‖ < m/L. So the class c of x
is certain within min_j m_j/L_cj (Tsuzuku, Sato, Sugiyama, NeurIPS 2018, arXiv 1802.04034, with one L for all pairs).
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.bounds.api import read_model
from lipcert.bounds.attack import Attack
from lipcert.bounds.margins import MARGINS, MarginSearch, proven_margins
from lipcert.bounds.nearby import Local
from lipcert.bounds.radii import Robustness
from lipcert.bounds.refine import Found, Refinement, Stream
from lipcert.bounds.settings import Settings
from lipcert.certificates.classes import ClassCertificate, Sample
from lipcert.errors import InvalidRequest
from lipcert.graph.heads import without_head
from lipcert.graph.normalised import normalised
from lipcert.norms import Norm
from lipcert.regions import Box
from lipcert.samples import whole_labels
from lipcert.sdp.outcome import Progress, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from lipcert.arrays import Array, BoolArray, IntArray
    from lipcert.graph.nodes import Graph


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
    branch: float = 0.0,
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
    branch
        Seconds to cut the ball around a sample at neurons, for each margin that no other bound around it proves, where the
        network is piecewise linear. 0 leaves that out.

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
    if not 0.0 <= branch < np.inf:
        raise InvalidRequest(f"branching takes {branch:g} seconds", advice="give a number of seconds, or 0 for none")
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
    search = MarginSearch(logits, predictions[right], gaps[right], p, settings, end, progress)
    search.run(margins)
    nearby = at is not None if local is None else local
    refinement = Refinement(
        Local(logits, p, box, settings, branch),
        Attack(logits, p, box, seed=seed),
        at,
        nearby,
        attack,
        jobs,
        end,
        progress,
    )
    question = {
        "network": graph.fingerprint.hex(),
        "points": hashlib.sha256(points.tobytes()).hexdigest(),
        "labels": None if wanted is None else wanted.tolist(),
        "radii": [str(p), at, nearby, attack, None if box is None else box.to_json(), seed, branch],
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
    search: MarginSearch,
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


def _rivals(search: MarginSearch, predictions: IntArray, gaps: Array, right: BoolArray) -> tuple[IntArray, Array]:
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
