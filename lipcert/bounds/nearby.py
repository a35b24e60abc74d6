"""Whether the class of a sample can change within a ball around it: bounds on that ball, the cheapest first.

Ranges come from intervals, linear bounds and, in ℓ2, ellipsoids with multipliers found once for all samples. Margins whose
own proven range stays positive are done; the others are tried in the order in which they threaten the class, by an ellipsoid
with multipliers of their own (in other norms by a Lipschitz bound from the sample on), by the lifted program where it
applies, and, where time is given for that, by cutting the ball at neurons. The first that fails ends the search.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lipcert import budget
from lipcert.bounds.branch.positive import cells_of
from lipcert.bounds.ellipsoids import improved, multipliers_of
from lipcert.bounds.lifted import proven_minimum
from lipcert.bounds.run import Run
from lipcert.bounds.settings import Settings
from lipcert.certificates.nearby import ANCHORED, RANGE, LocalProof, Nearby, anchored_margin, written
from lipcert.errors import DoesNotApply, LipcertError, OutOfTime
from lipcert.norms import Norm
from lipcert.ranges.hints import NONE, Hints

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.certificates import Certificate
    from lipcert.certificates.nearby import MarginProof
    from lipcert.graph.nodes import Graph
    from lipcert.ranges.hints import Multipliers
    from lipcert.regions import Box

LARGEST_LIFTED = 1500
"""Unknowns up to which the lifted program is solved."""
_CLEAR = 1e-9
"""Part of a margin by which a range has to clear zero, so that another machine finds the same."""
_ROUGH = 1e-4
"""The gap at which a Lipschitz bound decides as well as one that took longer."""
EVALUATIONS = 7
"""Balls that are tried for the largest radius of a sample."""
_GROWTH = 1.5
_CLOSE = 1.02


@dataclass(frozen=True, eq=False)
class Local:
    """Bounds around samples of one classifier.

    Attributes
    ----------
    graph
        The classifier, without its head.
    norm, domain
        Of the balls.
    settings
        For the Lipschitz bounds; its time limit is for one ball.
    branch
        Seconds to cut a ball at neurons for each margin that nothing else proves; none by default.
    """

    graph: Graph
    norm: Norm
    domain: Box | None = None
    settings: Settings = field(default_factory=Settings)
    branch: float = 0.0

    @cached_property
    def hints(self) -> Hints:
        """Multipliers for the ellipsoids of all samples."""
        if self.norm is not Norm.L2:
            return NONE
        graph = self._written
        found = multipliers_of(graph, self.settings.time_limit)
        # the margins are one more map behind the output
        return Hints(ellipsoids={len(graph.nodes) if p == graph.output else p: m for p, m in found.items()})

    def at(self, x: Array, c: int, gaps: Array, radius: float) -> LocalProof | None:
        """The proof that the class of x does not change within `radius`, or None where none was found.

        Parameters
        ----------
        x
            (inputs,) the sample.
        c
            Its class.
        gaps
            (classes,) proven margins at x.
        radius
            The radius.
        """
        try:
            return self._at(x, c, gaps, radius)
        except OutOfTime:
            return None

    def _at(self, x: Array, c: int, gaps: Array, radius: float) -> LocalProof | None:
        ball = Nearby(self.graph, x, radius, self.norm, self.domain, c, self.settings.form, self.hints, self._written)
        low, high = ball.low, ball.ranges[ball.margins.output].high
        clear = low > _CLEAR * np.maximum(np.abs(low), np.abs(high))
        margins: list[MarginProof] = [RANGE] * low.size
        open_ = [int(k) for k in np.argsort(low) if not clear[k]]
        ellipsoids = ball.margins.output in ball.hints.ellipsoids
        bound = self._bound(ball, open_) if open_ and not ellipsoids else None
        values = {} if bound is None else dict(zip(bound.outputs, bound.values(len(bound.outputs)), strict=True))
        for k in open_:
            gap = float(gaps[ball.rivals[k]])
            if anchored_margin(gap, values.get(ball.label(k), np.inf), radius):
                margins[k] = ANCHORED
                continue
            own = self._ellipsoid(ball, k, gap) if ellipsoids else None
            item = self._harder(ball, k, gap) if own is None else own
            if item is None:
                return None
            margins[k] = item
        kept = bound if ANCHORED in [item for item in margins if isinstance(item, str)] else None
        return LocalProof(radius, ball.found(), tuple(margins), kept)

    @cached_property
    def _written(self) -> Graph:
        return written(self.graph, self.settings.form)

    def largest(self, x: Array, c: int, gaps: Array, start: float) -> LocalProof | None:
        """The proof of about the largest radius above `start` for which one is found."""
        best: LocalProof | None = None
        low, high = start, np.inf
        radius = start * _GROWTH
        for _ in range(EVALUATIONS):
            found = self.at(x, c, gaps, radius)
            if found is not None:
                best, low = found, radius
                radius = radius * _GROWTH if not np.isfinite(high) else float(np.sqrt(low * high))
            else:
                high = radius
                radius = float(np.sqrt(low * high))
            if high <= _CLOSE * low:
                break
        return best

    def _ellipsoid(self, ball: Nearby, k: int, gap: float) -> Multipliers | None:
        """Multipliers of an ellipsoid that proves one margin, or None."""
        start = ball.hints.ellipsoids[ball.margins.output]
        constant = max(gap - float(ball.low[k]), 0.0) / ball.radius
        found = improved(ball.localised(k), start, constant, gap / ball.radius, self.settings.time_limit)
        return found if found is not None and ball.by_ellipsoid(k, found) > _CLEAR * gap else None

    def _harder(self, ball: Nearby, k: int, gap: float) -> MarginProof | None:
        """What proves one margin by the lifted program or by cells, or None."""
        theta = self._lifted(ball, k)
        if theta is not None or not self.branch > 0.0:
            return theta
        return cells_of(ball, k, _CLEAR * gap, min(self.branch, budget.left()))

    def _lifted(self, ball: Nearby, k: int) -> Array | None:
        """Multipliers that prove one margin by the lifted program, or None."""
        if self.norm is Norm.LINF:
            return None
        try:
            system = ball.system(k, LARGEST_LIFTED)
        except DoesNotApply:
            return None
        value, theta = proven_minimum(system, above=0.0, time_limit=self.settings.time_limit)
        return theta if value > 0.0 else None

    def _bound(self, ball: Nearby, rivals: list[int]) -> Certificate | None:
        """Lipschitz bounds of the margins from the sample on, solved one after the other from each other's multipliers."""
        settings = replace(self.settings, tolerance=max(self.settings.tolerance, _ROUGH))
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                return Run(self.graph, ball.claim(rivals), settings).run().certificate
        except LipcertError:
            return None
