"""Lower bounds with a witness (THEORY.md 7): a point x and a direction d with the proven ratio ‖f'(x; d)‖/‖d‖.

The one-sided directional derivative is a limit of difference quotients, so its ratio is at most the Lipschitz constant.
It is evaluated in ball arithmetic at the exact float64 point and direction, and the lower end is reported. For
piecewise linear networks it equals a difference quotient within one linear region.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lipcert.bounds.operator_norm import ascend, dense_norms
from lipcert.errors import InvalidRequest, LipcertError
from lipcert.graph import balls
from lipcert.graph.evaluate import Tape, record
from lipcert.graph.linear_maps import Index, LinearMap, Sparse, identity
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm
from lipcert.sdp.outcome import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lipcert.arrays import Array, BoolArray, IntArray
    from lipcert.bounds.guide import Guide

_DENSE_SWEEPS = 32
"""Jacobians with up to this many rows or columns are formed; larger ones are only applied."""
_DENSE_ENTRIES = 2_000_000
_PROBE_ENTRIES = 1_000_000
_ELITES = 12
_PATIENCE = 12
_BATCH = 128
_SMALL = 1000
_CROWD = 8
"""Starting points for each child of a generation, where Jacobians have at most _SMALL entries."""
_FLIPS = 6
"""Preactivations that one move lets change sign, at most."""
_JITTER = 1e-9
_AIMING = 0.1
"""The part of the time for points that the guide aims at, and"""
_AIMS = 6
"""steps for each of its increments."""


@dataclass(frozen=True, eq=False)
class Witness:
    """A point and a direction at which the lower bound is attained.

    Attributes
    ----------
    point, direction
        (inputs,), exact float64 numbers.
    """

    point: Array
    direction: Array


@dataclass(frozen=True, eq=False)
class LowerBound:
    """A proven lower bound on the Lipschitz constant.

    Attributes
    ----------
    value
        The proven ratio at the witness, rounded down; 0 without a witness.
    witness
        Where it is attained, or None where no ratio could be evaluated.
    kind
        What `value` is.
    """

    value: float
    witness: Witness | None
    kind: str

    @property
    def point(self) -> Array | None:
        """The point (inputs,) at which the network changes so quickly, or None."""
        return None if self.witness is None else self.witness.point

    @property
    def direction(self) -> Array | None:
        """The direction (inputs,) of the change, or None."""
        return None if self.witness is None else self.witness.direction


def lower_bound(
    graph: Graph,
    norm: object = 2,
    output_norm: object = None,
    *,
    data: Array | None = None,
    guide: Guide | None = None,
    time_limit: float = 2.0,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> LowerBound:
    """The largest Jacobian norm that a search finds, proven at a witness.

    Parameters
    ----------
    graph
        A network with one input.
    norm, output_norm
        1, 2 or 'inf'; the output's is the input's unless given.
    data
        Points (inputs, samples) to start from besides random ones.
    guide
        Promising increments, from the Gram matrix of the semidefinite program.
    time_limit
        Seconds for the search and the proof. One proof is always finished.
    seed
        Seed of the random search.
    progress
        Called now and then; its `bound` is None, as this is not an upper bound.

    Raises
    ------
    InvalidRequest
        If `data` or `guide` do not fit the network.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> found = lower_bound(nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu()), time_limit=0.2)
    >>> round(found.value, 6)
    5.0
    """
    p = Norm.parse(norm)
    q = p if output_norm is None else Norm.parse(output_norm)
    for name, columns in (("data", data), ("directions", None if guide is None else guide.directions)):
        if columns is not None and (columns.ndim != 2 or columns.shape[0] != graph.input_size):
            raise InvalidRequest(f"{name} of shape {columns.shape} for a network of {graph.input_size} inputs")
    started = time.perf_counter()
    # a proof costs about a microsecond an entry
    proof = min(0.5 * time_limit, 0.02 + 1.5e-6 * _entries(graph))
    search = _Search(graph, p, q, np.random.default_rng(seed), data, guide)
    with np.errstate(all="ignore"):
        candidates = search.run(started, started + time_limit - proof, progress)
    best = LowerBound(0.0, None, "none")
    for claimed, witness in candidates:
        if best.value >= claimed * (1.0 - 1e-9) or (best.witness and time.perf_counter() - started > time_limit):
            break
        if progress is not None:
            progress(Progress("proof of a lower bound", seconds=time.perf_counter() - started))
        try:
            value = proven_ratio(graph, p, q, witness)
        except (LipcertError, MemoryError):
            continue
        if value > best.value or best.witness is None:
            best = LowerBound(value, witness, "directional derivative")
    return best


def proven_ratio(graph: Graph, norm: Norm, output_norm: Norm, witness: Witness) -> float:
    """A lower bound, rounded down, on ‖f'(x; d)‖/‖d‖, which is a lower bound on the Lipschitz constant.

    Raises
    ------
    NotCertified
        If an implicit layer cannot be enclosed at the point.
    """
    from flint import ctx

    value = 0.0
    for precision in (128, 256, 512, 1024):
        with ctx.workprec(precision):
            x, d = balls.exact(witness.point[:, None]), balls.exact(witness.direction[:, None])
            image = balls.jvp(graph, [x], [d])[1]
            ratio = _length(image[:, 0], output_norm) / _length(d[:, 0], norm)
            low, high = float(ratio.lower()), float(ratio.upper())
        if np.isfinite(low):
            value = max(value, float(np.nextafter(low, 0.0)) if low > 0 else 0.0)
        if high - low <= 1e-12 * high:
            break
    return value


def _length(x: Iterable[balls.Balls], norm: Norm) -> balls.Balls:
    from flint import arb

    if norm is Norm.L2:
        return sum((v * v for v in x), start=arb(0)).nonnegative_part().sqrt()
    total = arb(0)
    for v in x:
        total = total + abs(v) if norm is Norm.L1 else total.max(abs(v))
    return total


def _entries(graph: Graph) -> int:
    """About how many numbers a proof touches: entries of maps and neurons."""
    total = 0
    for _, node in graph.walk():
        if isinstance(node, Affine):
            total += sum(sum(x.size for x in a._content() if isinstance(x, np.ndarray)) + a.shape[0] for a in node.maps)
        elif isinstance(node, Activation):
            total += 10 * node.blocks * node.block
        elif isinstance(node, FixedPoint):
            total += 4 * node.size**2 + 10 * _entries(node.cell)
    return total


class _Search:
    """Evolution of points towards large Jacobian norms.

    A generation moves the best points along their top singular direction, up the gradient of the norm, at random, and
    onto or across the switching surfaces of single activations. A population that stalls is recorded and restarted.
    """

    def __init__(
        self,
        graph: Graph,
        norm: Norm,
        output_norm: Norm,
        rng: np.random.Generator,
        data: Array | None,
        guide: Guide | None,
    ) -> None:
        self.graph, self.p, self.q, self.rng = graph, norm, output_norm, rng
        self.data, self.guide = data, guide
        self.directions = None if guide is None else guide.directions
        self.n, self.m = graph.input_size, graph.output_size
        self.dense = min(self.n, self.m) <= _DENSE_SWEEPS and self.n * self.m <= _DENSE_ENTRIES
        implicit = any(isinstance(node, FixedPoint) for _, node in graph.walk())
        self.crowd = _CROWD if self.n * self.m <= _SMALL and not implicit else 1
        self.batch = int(np.clip(_DENSE_ENTRIES // (self.n * self.m), 1, _BATCH)) if self.dense else 8

    def run(
        self, started: float, deadline: float, progress: Callable[[Progress], None] | None
    ) -> list[tuple[float, Witness]]:
        """(norm, witness) of the distinct best points, best first; at least one generation is finished."""

        def tell(generation: int) -> None:
            if progress is not None:
                now = time.perf_counter()
                left = max(0.0, deadline - now)
                progress(Progress("search for a lower bound", generation, seconds=now - started, at_most=left))

        tell(0)
        hall = _Population(self.n)
        local = self._start(hall)
        if not self._switching or not local.values.size:
            return self._polished(local)
        for points in self._aimed(started + _AIMING * (deadline - started)):
            local = local.joined(self._measured(points, None))
        stalled = generation = 0
        while time.perf_counter() < deadline:
            begun = time.perf_counter()
            generation += 1
            points, guess = self._children(local)
            before = local.best
            local = local.joined(self._measured(points, guess))
            stalled = 0 if local.best > before * (1.0 + 1e-6) else stalled + 1
            tell(generation)
            if stalled > _PATIENCE:
                hall = hall.joined(local)
                stalled = 0
                if time.perf_counter() < deadline:
                    fresh = self._start(hall)
                    local = fresh if fresh.values.size else local
            spent = time.perf_counter() - begun
            allowed = 0.05 * (deadline - started)
            if spent > allowed:
                self.batch = max(4, self.batch // 2)
            elif spent < 0.2 * allowed and self.batch * self.n * (self.m if self.dense else 1) < _DENSE_ENTRIES:
                self.batch = min(_BATCH, 2 * self.batch)
        return self._polished(hall.joined(local))

    @cached_property
    def _switching(self) -> bool:
        return any(isinstance(node, Activation | FixedPoint) for _, node in self.graph.walk())

    @cached_property
    def _prepared(self) -> Graph:
        total = sum(node.size for _, node in self.graph.walk())
        return prepare(self.graph) if total <= 5000 else self.graph

    @cached_property
    def _probe(self) -> Graph | None:
        """The network with all preactivations as its output; sorts as moduli of differences where it is small."""
        graph = self._prepared
        parents = [node.parent for _, node in graph.walk() if isinstance(node, Activation)]
        if not parents:
            return None
        sizes = [graph.nodes[i].size for i in parents]
        offsets = np.cumsum([0, *sizes])
        maps = []
        for size, at in zip(sizes, offsets[:-1], strict=True):
            index = np.full(offsets[-1], -1, dtype=np.int64)
            index[at : at + size] = np.arange(size)
            maps.append(identity(size) if len(sizes) == 1 else Index(index, size))
        node = Affine(tuple(parents), tuple(maps), name="preactivations")
        return Graph((*graph.nodes, node), graph.inputs, len(graph.nodes))

    @cached_property
    def _scales(self) -> Array:
        """Magnitudes of x at which preactivations change sign or reach 1."""
        scales = [1.0]
        if self._probe is not None:
            try:
                tape = record(self._probe, [np.zeros((self.n, 1))])
                slopes = tape.jvp([self.rng.standard_normal((self.n, 8))])
            except LipcertError:
                return np.array(scales)
            z, rate = np.abs(tape.output[:, 0]), np.sqrt((slopes**2).mean(axis=1))
            for quotient in (z / rate, 1.0 / rate):
                good = quotient[np.isfinite(quotient) & (quotient > 0)]
                if good.size:
                    scales += np.quantile(good, [0.1, 0.25, 0.5, 0.75, 0.9]).tolist()
        if self.data is not None and self.data.size and np.abs(self.data).max() > 0:
            scales += [float(np.abs(self.data).max())] * 4
        return np.array(scales)

    def _radii(self, count: int) -> Array:
        return self.rng.choice(self._scales, count) * 10.0 ** self.rng.uniform(-1.0, 0.5, count)

    def _start(self, hall: _Population) -> _Population:
        """A fresh population: random points at the scales, data, guided directions, now and then a former best."""
        count = self.crowd * self.batch
        points = self.rng.standard_normal((self.n, count)) * self._radii(count)
        points[:, 0] = 0.0
        if self.directions is not None and self.directions.size:
            take = slice(1, 1 + count // 3)
            chosen = self.directions[:, self.rng.integers(self.directions.shape[1], size=points[:, take].shape[1])]
            length = np.sqrt(self.n) * self._radii(chosen.shape[1]) * self.rng.choice([-1.0, 1.0], chosen.shape[1])
            points[:, take] = chosen * length
        if self.data is not None and self.data.size:
            take = slice(count // 2, None)
            points[:, take] = self.data[:, self.rng.integers(self.data.shape[1], size=points[:, take].shape[1])]
        if hall.values.size and self.rng.random() < 0.3:
            points[:, 0] = hall.points[:, 0]
        return _Population(self.n).joined(self._measured(points, None))

    @cached_property
    def _switches(self) -> tuple[Graph, BoolArray] | None:
        """The network with Q z as its output, and which channels switch at Q z = 0; None where the guide has other ones."""
        if self.guide is None or any(isinstance(node, FixedPoint) for _, node in self.graph.walk()):
            return None
        graph = prepare(self.graph)
        nodes = [node for _, node in graph.walk() if isinstance(node, Activation)]
        forms = [node.normal_form for node in nodes]
        blocks = [
            np.broadcast_to(form.Q, (node.blocks, *form.Q.shape[1:])) for node, form in zip(nodes, forms, strict=True)
        ]
        channels = [node.blocks * form.P.shape[2] for node, form in zip(nodes, forms, strict=True)]
        rows = [Q.shape[0] * Q.shape[1] for Q in blocks]
        if channels != rows or sum(rows) != self.guide.gains.shape[0] or not sum(rows):
            return None
        offsets = np.cumsum([0, *rows])
        maps: list[LinearMap] = []
        for at, Q in zip(offsets[:-1], blocks, strict=True):
            count, q, size = Q.shape
            column = np.broadcast_to(size * np.arange(count)[:, None, None] + np.arange(size), Q.shape)
            filled = np.clip(np.arange(offsets[-1] + 1) - at, 0, count * q)
            matrix = sp.csr_array((Q.ravel(), column.ravel(), size * filled), shape=(offsets[-1], count * size))
            maps.append(Sparse(matrix))
        probe = Affine(tuple(node.parent for node in nodes), tuple(maps), name="switches")
        moduli = [np.full(r, node.record.is_modulus(node.block)) for node, r in zip(nodes, rows, strict=True)]
        return Graph((*graph.nodes, probe), graph.inputs, len(graph.nodes)), np.concatenate(moduli)

    def _aimed(self, deadline: float) -> Iterator[Array]:
        """Points on the way to where the channels are switched as the guide says.

        A modulus has s = sign(Q z), other activations are steepest near 0 and s = 1 there. Gauss–Newton steps on the
        weighted distances to the nearest Q z that is switched right.
        """
        if self.guide is None or self._switches is None:
            return
        probe, modulus = self._switches
        if probe.output_size * self.n > _PROBE_ENTRIES:
            return
        for k in range(self.guide.gains.shape[1]):
            gain, weight = self.guide.gains[:, k], self.guide.weights[:, k]
            chosen = np.flatnonzero(np.where(modulus, np.abs(gain) > 0.1, gain > 0.3))
            x = self.rng.standard_normal(self.n) * self._radii(1)
            for _ in range(_AIMS):
                if not chosen.size or time.perf_counter() > deadline:
                    return
                try:
                    tape = record(probe, [x[:, None]])
                    G = self._rows(tape, np.arange(probe.output_size))[chosen]
                except LipcertError:
                    break
                q = tape.output[chosen, 0]
                margin = np.median(np.abs(q)) * 10.0 ** self.rng.uniform(-2.0, 0.0)
                target = np.where(modulus[chosen], np.sign(gain[chosen]) * margin, 0.0)
                wrong = np.where(modulus[chosen], q * target <= 0, np.abs(q) > margin)
                reach = np.linalg.norm(G, axis=1)
                # channels that are right should stay so
                w = weight[chosen] * np.where(wrong, 1.0, 0.3) / np.where(reach > 0, reach, np.inf)
                A, b = w[:, None] * G, w * np.where(wrong, target - q, 0.0)
                H = A.T @ A
                H[np.diag_indices_from(H)] += 1e-3 * np.trace(H) / self.n + np.finfo(float).tiny
                step = np.linalg.solve(H, A.T @ b)
                if not np.isfinite(step).all():
                    break
                yield x[:, None] + step[:, None] * np.array([0.5, 1.0, 1.5])
                x = x + step

    def _children(self, parents: _Population) -> tuple[Array, Array]:
        """Moved copies of the parents, and their directions as first guesses."""
        count, rng = self.batch, self.rng
        rank = np.minimum(rng.geometric(0.3, count) - 1, parents.values.size - 1)
        points, guess = parents.points[:, rank].copy(), parents.directions[:, rank]
        radii = self._radii(count) * 10.0 ** rng.uniform(-3.0, 0.0, count) * rng.choice([-1.0, 1.0], count)
        kind = rng.choice(4, size=count, p=[0.15, 0.1, 0.4, 0.35])
        switched = np.flatnonzero(kind >= 3)
        if self._probe is not None and switched.size:
            one = int(rng.choice(rank[switched]))
            points[:, switched] = self._switched(parents.points[:, one], parents.directions[:, one], switched.size)
            guess = guess.copy()
            guess[:, switched] = parents.directions[:, [one]]
            rest = np.flatnonzero(kind < 3)
        else:
            rest = np.arange(count)
        step = rng.standard_normal((self.n, rest.size))
        along = kind[rest] % 3 == 1
        step[:, along] = guess[:, rest[along]]
        upward = np.flatnonzero(kind[rest] % 3 == 2)
        if upward.size:
            at = rest[upward]
            step[:, upward] = self._gradient(points[:, at], guess[:, at], 10.0 ** rng.uniform(-1.5, 1.0, at.size))
        if self.directions is not None and self.directions.size:
            guided = np.flatnonzero(along & (rng.random(rest.size) < 0.5))
            step[:, guided] = self.directions[:, rng.integers(self.directions.shape[1], size=guided.size)]
        size = np.linalg.norm(step, axis=0)
        points[:, rest] += step * (radii[rest] * np.sqrt(self.n) / np.where(size > 0, size, 1.0))
        return points, guess

    def _gradient(self, x: Array, d: Array, h: Array) -> Array:
        """A smoothed ∇_x ⟨c, J(x) d⟩, c the gradient of the norm.

        Σ over activations of (dz/dx)ᵀ [φ'(z + τb)ᵀa − φ'(z − τb)ᵀa], a and b the adjoint of w and the tangent of z: a
        central difference of the second derivative, which sees the kinks within ±τb.
        """
        try:
            tape = record(self.graph, [x])
            tangents = tape.tangents([d])
            image = tangents[self.graph.output]
            adjoints = tape.adjoints({self.graph.output: image / np.maximum(np.linalg.norm(image, axis=0), 1e-300)})
            seeds: dict[int, Array] = {}
            for position, node in self.graph.walk():
                if not isinstance(node, Activation) or position not in adjoints:
                    continue
                z, b = tape.values[node.parent], tangents[node.parent]
                assert z is not None
                size = np.abs(b).max(axis=0)
                tau = h * np.abs(z).mean(axis=0) / np.where(size > 0, size, 1.0)
                a = adjoints[position].reshape(node.blocks, -1, x.shape[1])
                ahead, behind = (
                    node.record.vjp(node.split(z + sign * tau * b), a, node.parameters) for sign in (1.0, -1.0)
                )
                change = (ahead - behind).reshape(z.shape)
                seeds[node.parent] = seeds.get(node.parent, 0.0) + change
            found = tape.adjoints(seeds)
        except LipcertError:
            return self.rng.standard_normal(x.shape)
        return found.get(self.graph.inputs[0], np.zeros_like(x))

    def _switched(self, x: Array, d: Array, count: int) -> Array:
        """Points near x on whose way a few preactivations change sign, to first order: −pinv(G_S) z_S (1 + ε).

        They are chosen by how near they are, by how much their change of sign would add to ‖J d‖, or by both.
        """
        assert self._probe is not None
        rng = self.rng
        out = np.repeat(x[:, None], count, axis=1)
        try:
            tape = record(self._probe, [x[:, None]])
            z = tape.output[:, 0]
            few = z.size * self.n <= _PROBE_ENTRIES
            chosen = np.arange(z.size) if few else rng.choice(z.size, size=min(2 * count, z.size), replace=False)
            G = self._rows(tape, chosen)
        except LipcertError:
            return out + rng.standard_normal(out.shape) * self._radii(count)
        gain = self._gain(x, d)[chosen]
        z = z[chosen]
        reach = np.linalg.norm(G, axis=1)
        live = np.flatnonzero(reach > 1e-12 * reach.max(initial=0.0))
        if not live.size:
            return out + rng.standard_normal(out.shape) * self._radii(count)
        G, z, gain, distance = G[live], z[live], gain[live], np.abs(z[live]) / reach[live]
        tiny = np.finfo(float).tiny
        orders = np.array([np.argsort(score) for score in (distance, -gain, -gain / np.sqrt(distance + tiny))])
        # others unmoved where the rows are independent: the right inverse Gᵀ(G Gᵀ)⁻¹
        inverse = None
        if few and z.size <= min(self.n, 600):
            gram = G @ G.T
            inverse = np.linalg.solve(gram + 1e-10 * np.trace(gram) / z.size * np.eye(z.size), G).T
        size = np.minimum(rng.geometric(0.6, count), min(_FLIPS, z.size, self.n))
        member = np.arange(size.max()) < size[:, None]
        rank = np.where(
            rng.random((count, 1)) < 0.5,
            rng.integers(z.size, size=member.shape),
            np.minimum(rng.geometric(min(1.0, 2.0 / z.size), member.shape), z.size - 1),
        )
        subset = np.take_along_axis(orders[rng.integers(3, size=count)], rank, axis=1)
        past = 1.0 + 10.0 ** rng.uniform(-5.0, 0.3, (count, 1))
        wanted = np.where(member, -past * z[subset], 0.0)
        rows = np.where(member[:, :, None], G[subset], 0.0)
        # Gᵀ(G Gᵀ)⁻¹ of the few alone; twice the same one counts once
        gram = rows @ rows.swapaxes(1, 2)
        trace = np.einsum("kii->k", gram)[:, None]
        gram[:, range(member.shape[1]), range(member.shape[1])] += np.where(member, 1e-10 * trace, 1.0)
        moves = np.einsum("kin,ki->kn", rows, np.linalg.solve(gram, wanted[:, :, None])[:, :, 0])
        if inverse is not None:
            alone = rng.random(count) < 0.8
            moves[alone] = np.einsum("kin,ki->kn", inverse.T[subset[alone]], wanted[alone])
        noise = rng.standard_normal(moves.shape) * (np.linalg.norm(moves, axis=1)[:, None] / np.sqrt(self.n))
        moves += np.where(rng.random((count, 1)) < 0.3, 0.1, 0.0) * noise
        return out + moves.T

    def _gain(self, x: Array, d: Array) -> Array:
        """What each preactivation would add to ‖J d‖ by its change of sign, to first order: aᵀ(φ'(−z) − φ'(z)) b."""
        graph = self._prepared
        tape = record(graph, [x[:, None]])
        tangents = tape.tangents([d[:, None]])
        image = tangents[graph.output]
        adjoints = tape.adjoints({graph.output: image / np.maximum(np.linalg.norm(image), 1e-300)})
        gains = []
        for position, node in graph.walk():
            if not isinstance(node, Activation):
                continue
            z, b = tape.values[node.parent], tangents[node.parent]
            assert z is not None
            a = adjoints.get(position, np.zeros((node.size, 1))).reshape(node.blocks, -1, 1)
            there, here = (node.record.vjp(node.split(s * z), a, node.parameters).reshape(z.shape) for s in (-1.0, 1.0))
            gains.append(((there - here) * b)[:, 0])
        return np.concatenate(gains)

    def _rows(self, tape: Tape, chosen: IntArray) -> Array:
        """The gradients of the chosen preactivations at the one recorded point."""
        if chosen.size == tape.graph.output_size and self.n < chosen.size:
            return tape.jvp([np.eye(self.n)])
        unit = np.zeros((tape.graph.output_size, chosen.size))
        unit[chosen, np.arange(chosen.size)] = 1.0
        return np.vstack(tape.vjp(unit)).T

    def _measured(self, points: Array, guess: Array | None) -> _Population:
        """The points with their Jacobian norms; those without a fixed point are dropped."""
        # exactly on a kink the sweeps may return a matrix that is no derivative
        points = points * (1.0 + _JITTER * self.rng.standard_normal(points.shape))
        points += _JITTER * self._scales.min() * self.rng.standard_normal(points.shape)
        try:
            tape = record(self.graph, [points])
            if self.dense:
                values, directions = dense_norms(jacobians(tape), self.p, self.q)
                directions = directions.T
            else:
                steps = 6 if guess is None else 3
                start = self.rng.standard_normal(points.shape) if guess is None else guess
                values, directions = self._ascended(tape, start, steps)
        except LipcertError:
            if points.shape[1] == 1:
                return _Population(self.n)
            half = points.shape[1] // 2
            parts = [(points[:, :half], slice(None, half)), (points[:, half:], slice(half, None))]
            left, right = (self._measured(x, None if guess is None else guess[:, at]) for x, at in parts)
            return left.joined(right)
        good = np.isfinite(values) & np.isfinite(points).all(axis=0) & np.isfinite(directions).all(axis=0)
        return _Population(self.n, values[good], points[:, good], directions[:, good])

    def _ascended(self, tape: Tape, start: Array, steps: int) -> tuple[Array, Array]:
        return ascend(lambda d: tape.jvp([d]), lambda c: np.vstack(tape.vjp(c)), start, self.p, self.q, steps)

    def _polished(self, found: _Population) -> list[tuple[float, Witness]]:
        """The best points with better directions."""
        out = []
        for k in range(min(4, found.values.size)):
            x, d, value = found.points[:, k : k + 1], found.directions[:, k], float(found.values[k])
            try:
                tape = record(self.graph, [x])
                if self.dense:
                    values, rows = dense_norms(jacobians(tape), self.p, self.q, thorough=True)
                    better, columns = values, rows.T
                else:
                    starts = np.column_stack([d, self.rng.standard_normal((self.n, 3))])
                    better, columns = self._ascended(tape, starts, 20)
            except LipcertError:
                continue
            if better.max() >= value:
                value, d = float(better.max()), columns[:, int(better.argmax())]
            out.append((value, Witness(x[:, 0], d)))
        return sorted(out, key=lambda item: -item[0])


class _Population:
    """Distinct points with their Jacobian norms and directions, best first."""

    def __init__(
        self, n: int, values: Array | None = None, points: Array | None = None, directions: Array | None = None
    ) -> None:
        self.values = np.zeros(0) if values is None else values
        self.points = np.zeros((n, 0)) if points is None else points
        self.directions = np.zeros((n, 0)) if directions is None else directions

    @property
    def best(self) -> float:
        """The largest norm."""
        return float(self.values[0]) if self.values.size else 0.0

    def joined(self, other: _Population) -> _Population:
        """The best of both; of equal norms, which piecewise linear networks have on a whole region, the newer one."""
        values = np.concatenate([other.values, self.values])
        order = np.argsort(-values, kind="stable")
        v = values[order]
        distinct = np.ones(v.size, dtype=bool)
        distinct[1:] = v[1:] < v[:-1] * (1.0 - 1e-7)
        keep = order[distinct][:_ELITES]
        return _Population(
            self.points.shape[0],
            values[keep],
            np.hstack([other.points, self.points])[:, keep],
            np.hstack([other.directions, self.directions])[:, keep],
        )


def jacobians(tape: Tape) -> Array:
    """The Jacobians (samples, outputs, inputs) at all recorded points, by the cheaper kind of sweep."""
    samples = tape.output.shape[1]
    m, n = tape.graph.output_size, tape.graph.input_size
    J = np.empty((samples, m, n))
    if m <= n:
        for i in range(m):
            unit = np.zeros((m, samples))
            unit[i] = 1.0
            J[:, i, :] = np.vstack(tape.vjp(unit)).T
    else:
        for j in range(n):
            unit = np.zeros((n, samples))
            unit[j] = 1.0
            J[:, :, j] = tape.jvp([unit]).T
    return J
