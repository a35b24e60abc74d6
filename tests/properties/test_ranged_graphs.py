"""Random graphs of products, gates, norms, softmax and functions with singularities: bounds on random regions are above
sampled secants and Jacobians, lower bounds below upper ones, and proofs verify."""

from __future__ import annotations

import numpy as np
import pytest

import lipcert
from lipcert.activations.table import RANGED, TABLE
from lipcert.bounds.operator_norm import dense_norms, length
from lipcert.errors import Unbounded
from lipcert.graph.evaluate import forward, record
from lipcert.graph.linear_maps import Dense, Index, identity
from lipcert.graph.nodes import Graph, GraphBuilder
from lipcert.norms import Norm
from lipcert.regions import Ball, Box, Region

# blocks that have a form everywhere, and a nearer one on a range
SMOOTH = ("softmax", "log_softmax", "log_sum_exp", "norm", "silu", "gelu", "tanh", "relu")
KINDS = [record.name for record in RANGED] + [*SMOOTH, "gate", "gate", "attention", "attention"]
ROUNDING = 1.0 + 1e-9
SHORT, LONG = 40, 1000


class Builder:
    """A graph that grows by one random step after the other; what it sees are sums of what is there."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.builder = GraphBuilder()
        self.pool = [self.builder.input(int(rng.integers(2, 5)))]

    def seen(self, size: int) -> int:
        """A linear map of the last result, and sometimes of an older one."""
        rng = self.rng
        parents = [self.pool[-1], *([int(rng.choice(self.pool))] if rng.random() < 0.4 else [])]
        counts = [self.builder.nodes[parent].size for parent in parents]
        maps = [Dense(rng.standard_normal((size, n)) / np.sqrt(n * len(parents))) for n in counts]
        return self.builder.affine(parents, maps, 0.5 * rng.standard_normal(size))

    def positive(self, position: int) -> int:
        """softplus(z) + 0.05."""
        size = self.builder.nodes[position].size
        above = self.builder.activation(position, "softplus", 1, {"beta": np.ones(1)})
        return self.builder.affine([above], [identity(size)], np.full(size, 0.05))

    def joined(self, *parts: int, order: np.ndarray) -> int:
        """The numbers of several nodes in an order."""
        sizes = [self.builder.nodes[part].size for part in parts]
        starts = np.cumsum([0, *sizes])
        maps = [
            Index(np.where((order >= s) & (order < s + n), order - s, -1), n)
            for s, n in zip(starts[:-1], sizes, strict=True)
        ]
        return self.builder.affine(list(parts), maps)

    def step(self, kind: str) -> None:
        rng, builder = self.rng, self.builder
        if kind == "gate":
            n = int(rng.integers(1, 4))
            a = builder.activation(self.seen(n), "sigmoid", 1, {})
            b = builder.activation(self.seen(n), str(rng.choice(["tanh", "relu"])), 1, {})
            self.pool.append(
                builder.activation(self.joined(a, b, order=np.arange(2 * n).reshape(2, n).T.ravel()), "product", 2, {})
            )
            return
        if kind == "attention":
            tokens, width = 2, 2
            q, k, v = (self.seen(tokens * width) for _ in range(3))
            place = np.arange(tokens * width)
            turned = place.reshape(tokens, width).T.ravel()
            size = {"rows": np.array([float(tokens)]), "inner": np.array([float(width)])}
            scores = builder.activation(
                self.joined(q, k, order=np.concatenate([place, place.size + turned])), "matrix_product", 8, size
            )
            shares = builder.activation(scores, "softmax", tokens, {})
            size = {"rows": np.array([float(tokens)]), "inner": np.array([float(tokens)])}
            both = self.joined(shares, v, order=np.arange(2 * tokens * width))
            self.pool.append(builder.activation(both, "matrix_product", 8, size))
            return
        example = TABLE[kind].examples[int(rng.integers(len(TABLE[kind].examples)))]
        block = example.block if kind not in SMOOTH else 1 if kind in SMOOTH[4:] else int(rng.integers(2, 4))
        blocks = int(rng.integers(1, 4))
        z = self.seen(block * blocks)
        z = self.positive(z) if example.positive or kind in ("log", "sqrt", "reciprocal") else z
        self.pool.append(builder.activation(z, kind, block, dict(example.parameters)))


def network(rng: np.random.Generator) -> Graph:
    made = Builder(rng)
    for _ in range(int(rng.integers(1, 4))):
        made.step(str(rng.choice(KINDS)))
    return made.builder.finish(made.seen(int(rng.integers(1, 4))))


def region_of(rng: np.random.Generator, inputs: int) -> tuple[Region, np.ndarray]:
    """A region of any size, and its centre."""
    centre, radius = rng.standard_normal(inputs), float(10.0 ** rng.uniform(-3, 0.3))
    if rng.random() < 0.5:
        return Box(centre - radius, centre + radius), centre
    return Ball(centre, radius, (1, 2, "inf")[int(rng.integers(3))]), centre


def held(seed: int) -> float | None:
    """The bound over the largest slope that is found; None where there is no bound."""
    rng = np.random.default_rng(seed)
    graph = network(rng)
    region, centre = region_of(rng, graph.input_size)
    norm, output = Norm(rng.choice(["1", "2", "inf"])), Norm(rng.choice(["1", "2", "inf"]))
    anchored = isinstance(region, Ball) and bool(rng.random() < 0.4)
    try:
        found = lipcert.bound(
            graph, region=region, norm=norm, output_norm=output, anchored=anchored, lower_seconds=0.05
        )
    except Unbounded:
        return None
    largest = 0.0
    x = np.hstack([region.sample(60, rng, graph.input_size), centre[:, None]])
    other = np.repeat(centre[:, None], 61, axis=1) if anchored else region.sample(61, rng, graph.input_size)
    near = region.project(x + 1e-4 * rng.standard_normal(x.shape))
    for one, two in ((x, other),) if anchored else ((x, other), (x, near)):
        change = forward(graph, one) - forward(graph, two)
        far = np.linalg.norm(one - two, axis=0) > 1e-6
        steps = length(change[None], output)[0][far] / length((one - two)[None], norm)[0][far]
        largest = max(largest, float(steps.max(initial=0.0)))
    points = centre[:, None] if anchored else x[:, :12]
    for point in points.T:
        jacobian = record(graph, [point[:, None]]).jacobian(0)
        largest = max(largest, float(dense_norms(jacobian[None], norm, output)[0][0]))
    assert largest <= found.upper * ROUNDING + 1e-9, f"seed {seed}: {largest!r} above {found.upper!r}"
    assert found.lower is None or found.lower <= found.upper * ROUNDING, f"seed {seed}"
    if seed % 4 == 0 and found.certificate is not None:
        lipcert.verify(found.certificate, graph)
    return found.upper / largest if largest else None


def campaign(seeds: range) -> None:
    ratios = [ratio for ratio in map(held, seeds) if ratio is not None]
    # a refusal is for a range that holds a singularity, which small regions seldom do
    assert len(ratios) >= 0.7 * len(seeds)
    assert np.median(ratios) <= 2.5


def test_random_graphs_on_regions() -> None:
    campaign(range(SHORT))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_random_graphs_on_regions() -> None:
    campaign(range(1000, 1000 + LONG))
