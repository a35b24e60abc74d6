"""Evolution of points towards large Jacobian norms: the source of lower bounds that suits every network."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lipcert.bounds.operator_norm import ascend, dense_norms
from lipcert.bounds.population import Population
from lipcert.bounds.witness import Witness
from lipcert.errors import LipcertError
from lipcert.graph.evaluate import Tape, record
from lipcert.graph.linear_maps import Index, LinearMap, Sparse, identity
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph
from lipcert.graph.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lipcert.arrays import Array, BoolArray, IntArray
    from lipcert.bounds.effort import Effort, SweepCost
    from lipcert.bounds.guide import Guide
    from lipcert.graph.nodes import Node
    from lipcert.norms import Norm

_DENSE_SWEEPS = 32
"""Jacobians with up to this many rows or columns are formed; larger ones are only applied."""
_DENSE_ENTRIES = 2_000_000
_PROBE_ENTRIES = 1_000_000
_PATIENCE = 12
_BATCH = 128
_SMALL = 1000
_CROWD = 8
"""Starting points for each child of a generation, where Jacobians have at most _SMALL entries."""
_FLIPS = 6
"""Preactivations that one move lets change sign, at most."""
_JITTER = 1e-9
_AIMS = 6
"""Steps for each increment of the guide."""
NORM = 4e-6
"""Seconds for the norm of a Jacobian, for each of its rows."""
_MOVES = 3e-3
"""Seconds for the moves of a generation besides its sweeps."""
_FAILED = 200
"""Sweeps that it takes to see that a fixed point is not found."""


class Evolution:
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
        effort: Effort,
        cost: SweepCost,
        data: Array | None = None,
        guide: Guide | None = None,
    ) -> None:
        self.graph, self.p, self.q, self.rng = graph, norm, output_norm, rng
        self.effort, self.cost = effort, cost
        self.data, self.guide = data, guide
        self.directions = None if guide is None else guide.directions
        self.n, self.m = graph.input_size, graph.output_size
        self.dense = min(self.n, self.m) <= _DENSE_SWEEPS and self.n * self.m <= _DENSE_ENTRIES
        implicit = any(isinstance(node, FixedPoint) for _, node in graph.walk())
        self.crowd = _CROWD if self.n * self.m <= _SMALL and not implicit else 1
        whole = self.dense and not implicit
        self.batch = int(np.clip(_DENSE_ENTRIES // (self.n * self.m), 1, _BATCH)) if whole else 8
        self.local = self.hall = Population(self.n)
        self.generations = self._stalled = 0

    @property
    def found(self) -> Population:
        """The best points so far."""
        return self.hall.joined(self.local)

    def begin(self, until: float) -> None:
        """The first points, and those that the guide aims at, for at most what is spent then."""
        self.local = self._start()
        if not self.local.values.size:
            return
        for points in self._aimed(until):
            self.local = self.local.joined(self._measured(points, None))

    def run(self, until: float) -> None:
        """Generations until that much is spent; a population that stalls is recorded and restarted."""
        while self.effort.spent < until and self.local.values.size:
            begun = self.effort.spent
            self.generations += 1
            points, guess = self._children(self.local)
            before = self.local.best
            self.local = self.local.joined(self._measured(points, guess))
            self._stalled = 0 if self.local.best > before * (1.0 + 1e-6) else self._stalled + 1
            if self._stalled > _PATIENCE:
                self.hall = self.found
                self._stalled = 0
                fresh = self._start() if self.effort.spent < until else Population(self.n)
                self.local = fresh if fresh.values.size else self.local
            spent = self.effort.spent - begun
            allowed = 0.05 * self.effort.seconds
            if spent > allowed:
                self.batch = max(4, self.batch // 2)
            elif spent < 0.2 * allowed and self.batch * self.n * (self.m if self.dense else 1) < _DENSE_ENTRIES:
                self.batch = min(_BATCH, 2 * self.batch)

    def join(self, points: Array, directions: Array) -> float:
        """Measure points of another source, go on from them, and give their largest norm."""
        fresh = self._measured(points, directions)
        self.hall = self.found
        self.local = Population(self.n).joined(fresh) if fresh.best >= self.hall.best else self.local.joined(fresh)
        self._stalled = 0
        return fresh.best

    def starts(self, count: int) -> tuple[Array, Array]:
        """Points far from the origin, and directions, for another source; the guide's among them."""
        far = np.sort(self._scales)[self._scales.size // 2 :]
        points, d = self.rng.standard_normal((2, self.n, count))
        if self.directions is not None and self.directions.size:
            guided = self.directions[:, self.rng.integers(self.directions.shape[1], size=count // 2)]
            d[:, : count // 2] = guided
            size = np.linalg.norm(guided, axis=0)
            points[:, : count // 4] += (np.sqrt(self.n) / np.where(size > 0, size, 1.0) * guided)[:, : count // 4]
        return points * self.rng.choice(far, count), d

    @cached_property
    def switching(self) -> bool:
        """Whether the Jacobian depends on the point."""
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

    def _start(self) -> Population:
        """A fresh population."""
        return Population(self.n).joined(self._measured(self._points(self.crowd * self.batch), None))

    def _points(self, count: int) -> Array:
        """Random points at the scales, data, guided directions, now and then a former best."""
        hall = self.hall
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
        return points

    @cached_property
    def _switches(self) -> tuple[Graph, BoolArray] | None:
        """The network with Q z as its output, and which channels switch at Q z = 0; None where the guide has other ones."""
        if self.guide is None or any(_has_other_channels(node) for _, node in self.graph.walk()):
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

    def _aimed(self, until: float) -> Iterator[Array]:
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
                if not chosen.size or self.effort.spent > until:
                    return
                try:
                    self.effort.charge(self.cost.seconds(min(self.n, probe.output_size), 2))
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

    def _children(self, parents: Population) -> tuple[Array, Array]:
        """Moved copies of the parents, and their directions as first guesses."""
        count, rng = self.batch, self.rng
        self.effort.charge(_MOVES + self.cost.seconds(0, 8))
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
        self.effort.charge(self.cost.seconds(x.shape[1], 5))
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
            self.effort.charge(self.cost.seconds(min(self.n, chosen.size), 2))
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

    def _measured(self, points: Array, guess: Array | None) -> Population:
        """The points with their Jacobian norms; those without a fixed point are dropped."""
        # exactly on a kink the sweeps may return a matrix that is no derivative
        points = points * (1.0 + _JITTER * self.rng.standard_normal(points.shape))
        points += _JITTER * self._scales.min() * self.rng.standard_normal(points.shape)
        steps = 6 if guess is None else 3
        sweeps = 1 + (min(self.n, self.m) if self.dense else 2 * steps + 1)
        self.effort.charge(self.cost.seconds(points.shape[1], sweeps) + NORM * min(self.n, self.m) * points.shape[1])
        try:
            tape = record(self.graph, [points])
            if self.dense:
                values, directions = dense_norms(jacobians(tape), self.p, self.q)
                directions = directions.T
            else:
                start = self.rng.standard_normal(points.shape) if guess is None else guess
                values, directions = self._ascended(tape, start, steps)
        except LipcertError:
            self.effort.charge(self.cost.seconds(points.shape[1], _FAILED))
            if points.shape[1] == 1 or self.effort.over:
                return Population(self.n)
            half = points.shape[1] // 2
            parts = [(points[:, :half], slice(None, half)), (points[:, half:], slice(half, None))]
            left, right = (self._measured(x, None if guess is None else guess[:, at]) for x, at in parts)
            return left.joined(right)
        good = np.isfinite(values) & np.isfinite(points).all(axis=0) & np.isfinite(directions).all(axis=0)
        return Population(self.n, values[good], points[:, good], directions[:, good])

    def _ascended(self, tape: Tape, start: Array, steps: int) -> tuple[Array, Array]:
        return ascend(lambda d: tape.jvp([d]), lambda c: np.vstack(tape.vjp(c)), start, self.p, self.q, steps)

    def polished(self) -> list[tuple[float, Witness]]:
        """The best points with better directions, and their norms; the best one first."""
        out = []
        found = self.found
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


def _has_other_channels(node: Node) -> bool:
    """Whether the guide, which is about the network on a region, has other channels there."""
    return isinstance(node, FixedPoint) or (isinstance(node, Activation) and node.needs_range)
