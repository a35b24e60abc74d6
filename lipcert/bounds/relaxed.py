"""The relaxed maximum from below: the largest norm over free signs that a search finds, proven (docs/theory.md 9).

Every vector of signs gives J(S) of a way through the network, whether or not some input takes it. A method that does not
know which patterns of signs occur allows for all of them, so that its bound is at least max ‖J(S)‖ over s in {±1}ⁿ.

cᵀ J(S) d is affine in the signs of one layer: s_i enters as a_i s_i q_i, q = Q Δz of the sweep forward and a the adjoint
of Δv of the sweep backward. A sweep that sets s_i = sign(a_i q_i) on its way never lowers it, nor does taking for c and d
what ‖J d‖ and ‖Jᵀ c‖ attain. Signs that begin as tanh(beta a_i q_i) and sharpen lead to better ends.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import numpy as np

from lipcert.bounds.effort import Effort, SweepCost
from lipcert.bounds.moduli import Sweeps
from lipcert.bounds.operator_norm import aligned, length
from lipcert.bounds.search import default_seconds
from lipcert.bounds.witness import lower_end, proven_length
from lipcert.constraints.interconnection import signed_channels
from lipcert.errors import DoesNotApply
from lipcert.graph import balls
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input

if TYPE_CHECKING:
    from lipcert.activations.record import NormalForm
    from lipcert.arrays import Array, IntArray
    from lipcert.norms import Norm

SOFTEST, SHARPEST = (0.2, 5.0), 30.0
"""beta over the mean size of a_i q_i: at first, from the first to the last sample, and in the end."""
NOISE = 0.5
"""What is added to a_i q_i over its mean size at first; it fades."""
STEPS = 60
"""Steps of one anneal, each a sweep forward and one back."""
SETTLED = 40
"""Steps with signs after it, at most."""
SAMPLES = 16
"""Vectors of signs that are looked for at once, and kept."""
PARENTS = 8
"""The best ones, in which signs are"""
FLIPPED = 0.05, 0.2
"""turned, these parts of them in turn."""
ANNEALED = 0.4
"""The part of the effort that goes into anneals."""
LEAST, SHARE = 2.0, 0.4
"""Nominal seconds of the search, at least, and as a part of those for a lower bound; every kind of step is done once."""
_SAME = 1e-7
_TINY = 1e-300
_PRECISIONS = 128, 256, 512, 1024


def relaxed_maximum(
    graph: Graph, norm: Norm, output_norm: Norm, *, seconds: float | None = None, seed: int = 0
) -> float:
    """A proven lower bound on what every method arrives at that ignores which patterns of signs occur.

    Parameters
    ----------
    graph
        The prepared network, on the region of the claim.
    norm, output_norm
        The norms.
    seconds
        Nominal seconds of the search, which takes the same steps on every machine; by default what suits the network.
    seed
        Of its starts.

    Returns
    -------
    float
        ‖J(S) d‖/‖d‖ of the best signs and direction, rounded down.

    Raises
    ------
    DoesNotApply
        If not every group of channels has a sign.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.norms import Norm
    >>> network = nn.sequential(nn.linear([[1.0], [-1.0]]), nn.relu(), nn.linear([[3.0, 4.0]]))
    >>> round(relaxed_maximum(network, Norm.L2, Norm.L2), 6)
    4.0
    """
    if not signed_channels(graph).all():
        raise DoesNotApply("not every channel of the network has a sign")
    seconds = max(LEAST, SHARE * default_seconds(graph)) if seconds is None else seconds
    effort, cost = Effort(seconds), SweepCost.of(graph)
    ascent = Ascent(graph, norm, output_norm, np.random.default_rng(seed))
    with np.errstate(all="ignore"):
        best = ascent.annealed()
        effort.charge(cost.seconds(SAMPLES, 2 * STEPS + SETTLED))
        while effort.spent < ANNEALED * seconds:
            best = best.joined(ascent.annealed())
            effort.charge(cost.seconds(SAMPLES, 2 * STEPS + SETTLED))
        for part in itertools.cycle(FLIPPED):
            best = best.joined(ascent.turned(best, part))
            effort.charge(cost.seconds(SAMPLES, SETTLED))
            if effort.over:
                break
    if not best.values[0] > 0.0:
        return 0.0
    signs = {position: s[:, 0] for position, s in best.signs.items()}
    return _proven(graph, norm, output_norm, signs, best.directions[:, 0])


@dataclass(frozen=True, eq=False)
class Pool:
    """Vectors of signs with their directions, the best one first.

    Attributes
    ----------
    values
        (samples,) ‖J(S) d‖.
    directions
        (inputs, samples) of norm 1.
    signs
        For each activation (channels, samples).
    """

    values: Array
    directions: Array
    signs: dict[int, Array]

    def take(self, chosen: IntArray) -> Pool:
        """Some of them, in this order."""
        return Pool(
            self.values[chosen],
            self.directions[:, chosen],
            {position: s[:, chosen] for position, s in self.signs.items()},
        )

    def joined(self, other: Pool) -> Pool:
        """The best distinct ones of both."""
        both = Pool(
            np.concatenate([self.values, other.values]),
            np.hstack([self.directions, other.directions]),
            {position: np.hstack([s, other.signs[position]]) for position, s in self.signs.items()},
        )
        order = np.argsort(-both.values, kind="stable")
        falling = both.values[order]
        distinct = np.append(True, falling[1:] < falling[:-1] * (1.0 - _SAME))
        return both.take(order[distinct][:SAMPLES])


class Ascent:
    """Signs and directions that climb side by side.

    Parameters
    ----------
    graph
        A network all of whose groups are single channels.
    norm, output_norm
        The norms.
    rng
        Decides what is random.
    """

    def __init__(self, graph: Graph, norm: Norm, output_norm: Norm, rng: np.random.Generator) -> None:
        self.p, self.q, self.rng = norm, output_norm, rng
        self.inputs, self.sweeps = graph.input_size, Sweeps(graph)
        self._signs: dict[int, Array] = {}
        self._beta: Array | None = None
        self._noise = 0.0
        self._moved: dict[int, Array] = {}
        self._adjoint: dict[int, Array] = {}

    def annealed(self) -> Pool:
        """From random directions, by numbers between −1 and 1 that become signs."""
        self._signs, self._adjoint = {}, {}
        first = np.geomspace(*SOFTEST, SAMPLES)
        d = aligned(self.rng.standard_normal((self.inputs, SAMPLES)), self.p)
        for part in np.linspace(0.0, 1.0, STEPS):
            self._beta, self._noise = first ** (1.0 - part) * SHARPEST**part, NOISE * (1.0 - part)
            d = self._step(d)
        return self._settled(d)

    def turned(self, pool: Pool, part: float) -> Pool:
        """From the best of a pool, with some signs turned."""
        start = pool.take(np.arange(SAMPLES) % min(PARENTS, pool.values.size))
        self._adjoint = {}
        self._signs = {
            position: np.where(self.rng.random(s.shape) < part, -s, s) for position, s in start.signs.items()
        }
        return self._settled(start.directions)

    def _settled(self, d: Array) -> Pool:
        """Steps with signs until nothing rises."""
        self._beta, self._noise = None, 0.0
        value = np.zeros(d.shape[1])
        for _ in range(SETTLED):
            d = self._step(d)
            reached = np.nan_to_num(length(self.forward(d), self.q), nan=0.0, posinf=0.0)
            risen = reached > value * (1.0 + 1e-9)
            value = reached
            if not risen.any():
                break
        best = np.argsort(-value, kind="stable")
        return Pool(value, d, dict(self._signs)).take(best)

    def forward(self, d: Array) -> Array:
        """J(S) d with the signs as they are."""
        self._adjoint = {}
        return self._forward(d)

    def _step(self, d: Array) -> Array:
        image = self._forward(d)
        return aligned(self._backward(aligned(image, self.q.dual)), self.p)

    def _chosen(self, position: int, rate: Array) -> Array:
        """The signs of a layer that rise with a_i q_i."""
        if self._beta is None:
            chosen = np.where(rate < 0.0, -1.0, 1.0)
        else:
            unit = rate / np.maximum(np.abs(rate).mean(axis=0), _TINY)
            chosen = np.tanh(self._beta * (unit + self._noise * self.rng.standard_normal(rate.shape)))
        self._signs[position] = chosen
        return chosen

    def _forward(self, d: Array) -> Array:
        """J(S) d; signs follow what the last sweep back says of them."""

        def signed(position: int, moved: Array) -> Array:
            self._moved[position] = moved
            if position in self._adjoint:
                self._chosen(position, self._adjoint[position] * moved)
            return self._signs.setdefault(position, np.zeros_like(moved)) * moved

        return self.sweeps.forward(d, signed)

    def _backward(self, c: Array) -> Array:
        """J(S)ᵀ c; signs follow on the way."""

        def signed(position: int, inner: Array) -> Array:
            self._adjoint[position] = inner
            return self._chosen(position, inner * self._moved[position]) * inner

        return self.sweeps.backward(c, signed)


def _proven(graph: Graph, norm: Norm, output_norm: Norm, signs: dict[int, Array], d: Array) -> float:
    """A lower bound, rounded down, on ‖J(S) d‖/‖d‖."""

    def ratio() -> balls.Balls:
        tangent = balls.exact(d[:, None])
        values: dict[int, balls.Balls] = {}
        for position, node in graph.walk():
            match node:
                case Input():
                    values[position] = tangent
                case Affine():
                    parts = [balls.apply(a, values[p]) for a, p in zip(node.maps, node.parents, strict=True)]
                    values[position] = sum(parts[1:], start=parts[0])
                case Activation():
                    values[position] = _signed(node.normal_form, values[node.parent], signs[position])
                case FixedPoint():
                    raise AssertionError("an implicit layer has no signs")
                case other:
                    assert_never(other)
        return proven_length(values[graph.output][:, 0], output_norm) / proven_length(tangent[:, 0], norm)

    return lower_end(ratio, _PRECISIONS)


def _signed(form: NormalForm, z: balls.Balls, s: Array) -> balls.Balls:
    """K z + P S Q z, enclosed; z (size, 1)."""
    rows = _blocks(form.K, form.K_radius, z)
    if not form.P.shape[2]:
        return rows
    moved = balls.exact(s[:, None]) * _blocks(form.Q, form.Q_radius, z)
    return rows + _blocks(form.P, form.P_radius, moved)


def _blocks(small: Array, radius: Array | None, x: balls.Balls) -> balls.Balls:
    """blkdiag(S_1, S_2, …) x of one column."""
    from flint import arb

    entries = balls.exact(small)
    if radius is not None:
        widths = np.broadcast_to(radius, small.shape)
        entries = entries + balls.exact(np.zeros(small.shape))
        for at in zip(*np.nonzero(widths), strict=True):
            entries[at] = arb(float(small[at]), float(widths[at]))
    parts = entries * x.reshape(-1, 1, small.shape[2])
    return parts.sum(axis=2).reshape(-1, 1)
