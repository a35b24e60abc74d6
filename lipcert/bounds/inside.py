"""Lower bounds on a region: a chord whose two ends lie in it, exactly, and whose steepness is proven."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.lower_bound import LowerBound
from lipcert.bounds.operator_norm import ascend, length
from lipcert.bounds.witness import Witness, lower_end, proven_length
from lipcert.errors import LipcertError
from lipcert.graph import balls
from lipcert.graph.evaluate import forward, record
from lipcert.norms import Norm
from lipcert.regions import free
from lipcert.sdp.outcome import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array
    from lipcert.graph.nodes import Graph
    from lipcert.regions import Region

_CROWD = 48
_PARENTS = 8
_STEPS = 4
"""Steps of the power method for a point of a generation."""
_GENERATIONS = 40
_LENGTHS = (1e-2, 1e-3, 1e-5, 1e-7)
"""Half the length of a chord, in parts of the region."""


def lower_inside(
    graph: Graph,
    norm: Norm,
    output_norm: Norm,
    region: Region,
    *,
    anchored: bool = False,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> LowerBound:
    """The steepest chord within a region that a search finds, proven.

    Parameters
    ----------
    graph
        A network with one input.
    norm, output_norm
        The norms.
    region
        Where both ends of the chord lie.
    anchored
        Whether one end is the centre of the region.
    time_limit
        Seconds for the search; a fixed number of generations where there is no limit. One proof follows in every case.
    seed
        Seed of the random search.
    progress
        Called before the proof.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.regions import Box
    >>> graph = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu())
    >>> round(lower_inside(graph, Norm.L2, Norm.L2, Box(-1.0, 1.0), time_limit=0.2).value, 6)
    5.0
    """
    region = region.fitted(graph.input_size)
    search = _Search(graph, norm, output_norm, region, np.random.default_rng(seed))
    effort = _Effort(time_limit)
    with np.errstate(all="ignore"):
        chords = search.from_centre(effort) if anchored else search.anywhere(effort)
    best = LowerBound(0.0, None, "none")
    for one, other in chords:
        # who proves does not trust the search
        if not (region.contains(one) and region.contains(other)) or np.array_equal(one, other):
            continue
        if progress is not None:
            progress(Progress("proof of a lower bound"))
        try:
            value = proven_chord(graph, norm, output_norm, one, other)
        except (LipcertError, MemoryError):
            continue
        if value > best.value or best.witness is None:
            best = LowerBound(value, Witness(one, other - one), "chord within the region")
        if best.witness is not None and effort.proofs_end():
            break
    return best


def proven_chord(graph: Graph, norm: Norm, output_norm: Norm, one: Array, other: Array) -> float:
    """A lower bound, rounded down, on ‖f(x) − f(x′)‖/‖x − x′‖.

    Raises
    ------
    NotCertified
        If an implicit layer cannot be enclosed at a point.
    """

    def ratio() -> balls.Balls:
        x, y = balls.exact(one[:, None]), balls.exact(other[:, None])
        image = balls.forward(graph, [x]) - balls.forward(graph, [y])
        return proven_length(image[:, 0], output_norm) / proven_length((x - y)[:, 0], norm)

    return lower_end(ratio, (128, 256, 512))


class _Effort:
    """How long the search goes on: by the clock, or a number of generations."""

    def __init__(self, seconds: float | None) -> None:
        self.end = None if seconds is None else time.perf_counter() + seconds
        self.left = np.inf if seconds is not None else _GENERATIONS
        self.spare = 0.0 if seconds is None else 0.2 * seconds

    def goes_on(self) -> bool:
        """Whether there is another generation."""
        self.left -= 1
        return self.left >= 0 and (self.end is None or time.perf_counter() < self.end - self.spare)

    def proofs_end(self) -> bool:
        """Whether no further chord is to be proven."""
        return self.end is not None and time.perf_counter() > self.end


class _Search:
    def __init__(self, graph: Graph, norm: Norm, output_norm: Norm, region: Region, rng: np.random.Generator) -> None:
        self.graph, self.norm, self.output_norm, self.region, self.rng = graph, norm, output_norm, region, rng
        self.n = graph.input_size
        self.free = free(region)[:, None]
        around = region.interval()
        self.middle = region.project(around.middle()[:, None])
        wide = around.high - around.low
        self.width = np.where(np.isfinite(wide), wide, 1.0)[:, None]

    def anywhere(self, effort: _Effort) -> list[tuple[Array, Array]]:
        """Chords around the points with the largest Jacobians."""
        points = np.hstack([self.middle, self.region.sample(_CROWD, self.rng, self.n)])
        value, d = self._gain(points, None)
        scale = 0.5
        while effort.goes_on():
            best = np.argsort(-value)[:_PARENTS]
            parents = np.repeat(best, _CROWD // _PARENTS)
            step = scale * self.width * self.rng.standard_normal((self.n, parents.size))
            step *= self.rng.random((self.n, parents.size)) < self.rng.uniform(0.1, 1.0, parents.size)
            fresh = self.region.project(points[:, parents] + step)
            found, directions = self._gain(fresh, d[:, parents])
            scale = max(0.85 * scale, 1e-4) if found.max() <= value.max() else scale
            points = np.hstack([points[:, best], fresh])
            value, d = np.concatenate([value[best], found]), np.hstack([d[:, best], directions])
        k = int(value.argmax())
        return self._chords(points[:, k : k + 1], d[:, k : k + 1])

    def _gain(self, points: Array, start: Array | None) -> tuple[Array, Array]:
        """About the norm of the Jacobian at each point, and the direction in which it is reached."""
        tape = record(self.graph, [points])
        d = self.rng.standard_normal(points.shape) if start is None else start

        def apply(t: Array) -> Array:
            return tape.jvp([np.where(self.free, t, 0.0)])

        def adjoint(c: Array) -> Array:
            return np.where(self.free, tape.vjp(c)[0], 0.0)

        gain, d = ascend(apply, adjoint, np.where(self.free, d, 0.0), self.norm, self.output_norm, _STEPS)
        return np.nan_to_num(gain), np.nan_to_num(d)

    def _chords(self, x: Array, d: Array) -> list[tuple[Array, Array]]:
        """Chords along d about x, moved a little to the middle; the steepest first."""
        reach = np.abs(d / np.where(self.width > 0.0, self.width, np.inf)).max()
        if not reach > 0.0:
            return []
        found = []
        for part in _LENGTHS:
            inside = self.middle + (1.0 - 4.0 * part) * (x - self.middle)
            step = part / reach * d
            pair = self.region.project(np.hstack([inside - step, inside + step]))
            found.append((pair[:, 0], pair[:, 1]))
        steepness = [self._steepness(np.stack(pair, axis=1)[:, :1], np.stack(pair, axis=1)[:, 1:]) for pair in found]
        order = np.argsort([-float(s[0]) for s in steepness])
        return [found[k] for k in order]

    def from_centre(self, effort: _Effort) -> list[tuple[Array, Array]]:
        """Chords from the centre."""
        assert self.region.centre is not None
        centre = self.region.centre[:, None]
        points = self.region.sample(4 * _CROWD, self.rng, self.n)
        points = np.hstack([points, self.region.project(centre + 1e-4 * (points - centre))])
        value = self._steepness(points, centre)
        scale = 0.5
        while effort.goes_on():
            best = np.argsort(-value)[:_PARENTS]
            parents = np.repeat(best, _CROWD // _PARENTS)
            step = scale * self.width * self.rng.standard_normal((self.n, parents.size))
            stretch = self.rng.uniform(0.3, 1.5, parents.size)
            fresh = self.region.project(centre + stretch * (points[:, parents] - centre) + step)
            found = self._steepness(fresh, centre)
            scale = max(0.85 * scale, 1e-4) if found.max() <= value.max() else scale
            points, value = np.hstack([points[:, best], fresh]), np.concatenate([value[best], found])
        order = np.argsort(-value)[:3]
        return [(points[:, k], self.region.centre) for k in order]

    def _steepness(self, x: Array, y: Array) -> Array:
        change = forward(self.graph, x) - forward(self.graph, y)
        return np.nan_to_num(length(change, self.output_norm) / length(x - y, self.norm))
