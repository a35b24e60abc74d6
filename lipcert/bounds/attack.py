"""Counterexamples to certified radii: projected gradient descent on margins (Madry et al., ICLR 2018, arXiv 1706.06083).

The search runs in floating point on all samples at once. What it finds is decided in real arithmetic: a counterexample
is a floating-point point that lies in the ball and the domain exactly, at which another class is proven to win.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from lipcert.graph.evaluate import record
from lipcert.norms import Norm
from lipcert.regions import Ball, Box

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array, BoolArray, IntArray
    from lipcert.graph.nodes import Graph

    Decide = Callable[[Array], tuple[IntArray, Array]]

RIVALS = 3
"""Classes that are aimed at one by one, the nearest first."""
STEPS = 60
RESTARTS = 3
_TOGETHER = 2**23
"""Entries of the signals of all points that one sweep carries."""
_BISECTIONS = 24
_GROWTH = 1.25
_REFINEMENTS = 12
_SHRINK = 0.98


@dataclass(frozen=True, eq=False)
class Attack:
    """What is searched for a counterexample, and how hard.

    Attributes
    ----------
    graph
        The classifier, without its head.
    norm
        The norm of the radii.
    domain
        The box that inputs stay in, or None.
    steps, restarts
        Gradient steps, and random starts beside the sample itself, for each class that is aimed at.
    seed
        Of the random starts.
    """

    graph: Graph
    norm: Norm
    domain: Box | None = None
    steps: int = STEPS
    restarts: int = RESTARTS
    seed: int = 0

    def at(self, points: Array, classes: IntArray, radius: Array) -> Array:
        """Points within `radius` of the samples at which another class may win.

        Parameters
        ----------
        points
            (samples, inputs).
        classes
            (samples,) the classes that the network gives.
        radius
            (samples,) positive.

        Returns
        -------
        Array
            (samples, inputs); NaN where nothing was found. Nothing is proven of them.
        """
        found = np.full_like(points, np.nan)
        rng = np.random.default_rng(self.seed)
        chunk = max(1, _TOGETHER // max(node.size for _, node in self.graph.walk()))
        for attempt in range(self.restarts + 1):
            for rank in range(min(RIVALS, max(self.graph.output_size, 2) - 1)):
                left = np.flatnonzero(np.isnan(found[:, 0])) if points.shape[1] else np.zeros(0, dtype=np.int64)
                for part in np.split(left, range(chunk, left.size, chunk)):
                    if part.size:
                        start = self._start(points[part], radius[part], rng) if attempt else points[part].copy()
                        found[part] = self._descend(points[part], classes[part], radius[part], start, rank)
        return found

    def _start(self, points: Array, radius: Array, rng: np.random.Generator) -> Array:
        offset = rng.standard_normal(points.shape)
        return self._project(points + offset * (radius / np.linalg.norm(offset, axis=1))[:, None], points, radius)

    def _descend(self, points: Array, classes: IntArray, radius: Array, x: Array, rank: int) -> Array:
        """Normalised steps of decreasing length towards the rival of the given rank at the start."""
        out = np.full_like(points, np.nan)
        rivals: IntArray | None = None
        for step in range(self.steps + 1):
            tape = record(self.graph, [x.T])
            y = _signed(tape.output)
            own = y[classes, np.arange(len(x))]
            others = y.copy()
            others[classes, np.arange(len(x))] = -np.inf
            if rivals is None:
                rivals = np.argsort(-others, axis=0)[rank]
            new = np.isnan(out[:, 0]) & (others.max(axis=0) > own)
            out[new] = x[new]
            if step == self.steps or not np.isnan(out[:, 0]).any():
                return out
            seed = np.zeros_like(y)
            seed[rivals, np.arange(len(x))] += 1.0
            seed[classes, np.arange(len(x))] -= 1.0
            cotangent = seed if tape.output.shape[0] > 1 else seed[1:] - seed[:1]
            gradient = tape.vjp(cotangent)[0].T
            length = radius * (0.5 * (1.0 + np.cos(np.pi * step / self.steps)) + 0.02)
            x = self._project(x + length[:, None] * _steepest(gradient, self.norm, step / self.steps), points, radius)
        return out

    def _project(self, x: Array, points: Array, radius: Array) -> Array:
        unit = Ball(np.zeros(x.shape[1]), 1.0, self.norm)
        moved = points + radius[:, None] * unit.project(((x - points) / radius[:, None]).T).T
        return moved if self.domain is None else self.domain.project(moved.T).T

    def nearest(self, points: Array, classes: IntArray, start: Array, decide: Decide) -> tuple[Array, Array]:
        """For each sample a proven counterexample as near as the search finds one, and its distance.

        Parameters
        ----------
        points, classes
            As in `at`.
        start
            (samples,) positive radii to begin with, such as the certified ones.
        decide
            Classes and proven margins of points, as `proven_margins` gives them.

        Returns
        -------
        counterexamples, distances
            (samples, inputs) and (samples,), rounded up; NaN and infinite where nothing was found.
        """
        best = np.full_like(points, np.nan)
        radius = start.copy()
        far = 64.0 * np.maximum(start, 1e-3)
        open_ = np.flatnonzero(np.isfinite(radius) & (radius > 0))
        while open_.size:
            found = self.at(points[open_], classes[open_], radius[open_])
            hit = ~np.isnan(found[:, 0])
            best[open_[hit]] = found[hit]
            rest = open_[~hit]
            radius[rest] *= _GROWTH
            open_ = rest[radius[rest] <= far[rest]]
        have = np.flatnonzero(~np.isnan(best[:, 0]))
        best[have] = self._pulled(points[have], classes[have], best[have])
        # a step that just crosses the boundary need not cross it where it is nearest
        order = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}[self.norm]
        for _ in range(_REFINEMENTS):
            if not have.size:
                break
            distance = np.linalg.norm(best[have] - points[have], order, axis=1)
            found = self.at(points[have], classes[have], _SHRINK * distance)
            hit = ~np.isnan(found[:, 0])
            have = have[hit]
            best[have] = self._pulled(points[have], classes[have], found[hit])
        return self.proven(points, classes, best, None, decide)

    def _pulled(self, points: Array, classes: IntArray, found: Array) -> Array:
        """The counterexamples moved towards their samples as far as the class stays wrong."""
        low, high = np.zeros(len(points)), np.ones(len(points))
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            x = points + middle[:, None] * (found - points)
            y = _signed(record(self.graph, [x.T]).output) if len(x) else np.zeros((1, 0))
            own = y[classes, np.arange(len(x))]
            wrong = y.max(axis=0) > own + 1e-9 * (1.0 + np.abs(own))
            high, low = np.where(wrong, middle, high), np.where(wrong, low, middle)
        return np.asarray(points + high[:, None] * (found - points))

    def proven(
        self, points: Array, classes: IntArray, found: Array, radius: Array | None, decide: Decide
    ) -> tuple[Array, Array]:
        """The counterexamples that are proven ones, and their distances rounded up; others are NaN and infinite."""
        out, distances = np.full_like(points, np.nan), np.full(len(points), np.inf)
        (have,) = np.nonzero(~np.isnan(found).any(axis=1))
        if not have.size:
            return out, distances
        winners, margins = decide(found[have])
        for i, winner, margin in zip(have, winners, margins, strict=True):
            inside = self.domain is None or self.domain.contains(found[i])
            if winner == classes[i] or not margin[classes[i]] > 0.0 or not inside:
                continue
            if radius is not None and not Ball(points[i], float(radius[i]), self.norm).contains(found[i]):
                continue
            out[i], distances[i] = found[i], _distance_up(points[i], found[i], self.norm)
        return out, distances


def _signed(y: Array) -> Array:
    """The outputs as scores of classes; one output is that of class 1, against 0."""
    return y if y.shape[0] > 1 else np.vstack([np.zeros_like(y), y])


def _steepest(gradient: Array, norm: Norm, progress: float) -> Array:
    """The direction of norm one in which the linear function grows most."""
    if norm is Norm.LINF:
        return np.asarray(np.sign(gradient))
    if norm is Norm.L2:
        return np.asarray(gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-300))
    # ℓ1: at first several of the steepest coordinates, so that steps do not go back and forth between two
    size = np.abs(gradient)
    count = min(max(1, round(8.0 - 12.0 * progress)), size.shape[1])
    least = np.sort(size, axis=1)[:, -count][:, None]
    chosen: BoolArray = (size >= least) & (size > 0)
    return np.asarray(np.sign(gradient) * chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1))


def _distance_up(x: Array, y: Array, norm: Norm) -> float:
    """‖x − y‖, rounded up from exact arithmetic."""
    terms = [abs(Fraction(a) - Fraction(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    if norm is Norm.L2:
        total = sum((t * t for t in terms), Fraction(0))
        guess = float(np.sqrt(float(total)))
        while Fraction(guess) ** 2 < total:
            guess = float(np.nextafter(guess * (1.0 + 2.0**-52), np.inf))
        return guess
    total = sum(terms, Fraction(0)) if norm is Norm.L1 else max(terms)
    guess = float(total)
    return guess if Fraction(guess) >= total else float(np.nextafter(guess, np.inf))
