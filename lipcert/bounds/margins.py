"""Lipschitz bounds of the margins that decide radii, and the margins of samples."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.api import Question, answer
from lipcert.bounds.radii import MarginBound
from lipcert.bounds.watch import within
from lipcert.certificates.shared import ALL, MarginBounds, SharedBound, margin, smallest
from lipcert.certificates.values import margins_at
from lipcert.errors import NotCertified
from lipcert.graph.prepare import prepare
from lipcert.graph.selection import Selection
from lipcert.graph.sizes import channels
from lipcert.norms import Norm
from lipcert.sdp.outcome import Progress, Status
from lipcert.sdp.solvers import DENSE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lipcert.arrays import Array, IntArray
    from lipcert.bounds.settings import Settings
    from lipcert.bounds.types import Bound
    from lipcert.graph.nodes import Graph

MARGINS = ("auto", "pairs", "joint")


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


class MarginSearch:
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

    @property
    def bounds(self) -> MarginBounds:
        """What is known of the margins so far."""
        return MarginBounds(self.graph.output_size, {ALL: self.joint, **self.own})

    def ratios(self) -> Array:
        """(samples, classes): lower bounds of margin / bound, rounded down; infinite for the class itself."""
        return self.bounds.distances(self.predictions, self.gaps)

    def certified(self, predictions: IntArray, gaps: Array) -> Array:
        """(samples,) the radii that the shared certificates alone prove."""
        proven = MarginBounds(self.graph.output_size, smallest(*(item.values() for item in self.shared)))
        ratios = proven.distances(predictions, gaps)
        return np.asarray(ratios.min(axis=1)) if len(ratios) else np.zeros(0)

    def margins(self) -> tuple[MarginBound, ...]:
        """The bounds of all margins of the classes that occur."""
        labels = sorted({label for labels in self._occurring() for label in labels}, key=_numbers)
        return tuple(
            MarginBound(label, self.bounds.of(label), "pair" if label in self.own else "joint")
            for label in labels
            if np.isfinite(self.bounds.of(label))
        )

    def _occurring(self) -> Iterable[list[str]]:
        for c in np.unique(self.predictions):
            yield [margin(int(c), j, self.graph.output_size) for j in range(self.classes) if j != c]

    def _deciding(self) -> list[str]:
        """The margins, not bounded on their own yet, that decide a radius; those that decide most come first."""
        if not np.isfinite(self.joint):
            labels = Counter(label for labels in self._occurring() for label in labels)
        else:
            ratios = self.ratios()
            nearest = ratios.argmin(axis=1)
            open_samples = np.flatnonzero((ratios.min(axis=1) > 0) & np.isfinite(ratios.min(axis=1)))
            labels = Counter(
                margin(int(self.predictions[i]), int(nearest[i]), self.graph.output_size) for i in open_samples
            )
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
            if value < self.bounds.of(label):
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
