"""Random networks over all activations: bounds are above sampled slopes, and do not depend on how they are written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import steepest, steepest_chord

import lipcert
from lipcert.activations.record import Pointwise
from lipcert.activations.table import GLOBAL, TABLE
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.linear_maps import Dense, Diagonal, Index, identity
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, GraphBuilder, Input

# φ(c z) = c φ(z) for c > 0
HOMOGENEOUS = {"relu", "leaky_relu", "two_slope", "abs", "sort", "maximum", "householder", "norm"}
# a file says what an activation computes, not by which constraints
IN_FILES = sorted(set(GLOBAL) - {"sort_published", "householder_published"})
RUNS = settings(deadline=None, derandomize=True)


class Dag:
    """A random network: each step takes sums or concatenations of what is there, then an activation or an equation."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.builder = GraphBuilder()
        self.pool = [self.builder.input(int(rng.integers(1, 6)))]

    def size(self, position: int) -> int:
        return self.builder.nodes[position].size

    def numbers(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32).astype(np.float64)

    def linear(self, parents: list[int], size: int) -> int:
        maps = [Dense(self.numbers(size, self.size(p))) for p in parents]
        return self.builder.affine(parents, maps, self.numbers(size) if self.rng.random() < 0.7 else None)

    def concatenation(self, left: int, right: int) -> int:
        a, b = self.size(left), self.size(right)
        place = np.arange(a + b)
        maps = [Index(np.where(place < a, place, -1), a), Index(np.where(place >= a, place - a, -1), b)]
        return self.builder.affine([left, right], maps)

    def activation(self, kind: str) -> tuple[nn.Layer, int]:
        """An activation on a few blocks, and the size that it takes."""
        rng = self.rng
        block = 1 if isinstance(TABLE[kind], Pointwise) else int(rng.integers(2, 5))
        blocks = int(rng.integers(2, 5)) if block == 1 else int(rng.integers(1, 3))
        tried = [example.parameters for example in TABLE[kind].examples]
        chosen = rng.choice(len(tried), blocks if rng.random() < 0.5 else 1)
        # numbers that float32 holds, so that a file holds them too
        parameters = {
            key: np.concatenate([tried[k][key] for k in chosen]).astype(np.float32).astype(np.float64)
            for key in (tried[0] if block == 1 else ())
        }
        if kind.startswith("householder"):
            v = self.numbers(blocks, block)
            v = (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
            parameters = {"u": 2.0 * v, "c": v}
        return nn.activation(kind, block, **parameters), block * blocks

    def step(self, kind: str) -> None:
        rng, builder = self.rng, self.builder
        phi, size = self.activation(kind)
        parents = [self.pool[-1]]
        if rng.random() < 0.5:
            parents.append(int(rng.choice(self.pool)))
        if len(parents) == 2 and rng.random() < 0.5:
            parents = [self.concatenation(*parents)]
        if rng.random() < 0.25 and TABLE[kind].output_size(size, {}) == size:
            y = self.equation(phi, size, parents[0])
        else:
            y = phi.add(builder, self.linear(parents, size))
        same = [p for p in self.pool if self.size(p) == self.size(y)]
        if same and rng.random() < 0.7:
            y = builder.affine([same[-1], y], [identity(self.size(y))] * 2)
        self.pool.append(y)

    def equation(self, phi: nn.Layer, size: int, x: int) -> int:
        """s = φ(W s + U x + b) with ‖W‖ below one over the slope of φ."""
        probe = GraphBuilder()
        node = probe.nodes[phi.add(probe, probe.input(size))]
        assert isinstance(node, Activation)
        slope = node.record.lipschitz(node.block, node.parameters)
        W = np.linalg.qr(self.numbers(size, size))[0] * self.rng.uniform(0.2, 0.8) / slope
        W = W.astype(np.float32).astype(np.float64)
        return nn.fixed_point(W, self.numbers(size, self.size(x)), self.numbers(size), phi).add(self.builder, x)

    def finish(self) -> Graph:
        last = sorted({self.pool[-1], int(self.rng.choice(self.pool))})
        y = self.linear(last, int(self.rng.integers(1, 4))) if self.rng.random() < 0.8 else self.pool[-1]
        return self.builder.finish(y)


def network(seed: int, kinds: list[str]) -> Graph:
    """A random network with these activations in their order."""
    dag = Dag(np.random.default_rng(seed))
    for kind in kinds:
        dag.step(kind)
    return dag.finish()


def networks(kinds: list[str], most: int) -> st.SearchStrategy[Graph]:
    return st.builds(network, st.integers(0, 2**32), st.lists(st.sampled_from(kinds), min_size=1, max_size=most))


def upper(graph: Graph | Path) -> float:
    return lipcert.bound(graph, lower=False, tolerance=1e-9).upper


def assert_above_samples(graph: Graph, points: int) -> None:
    rng = np.random.default_rng(0)
    bound = lipcert.bound(graph, lower_seconds=0.05)
    found = max(steepest(graph, points, rng), steepest(graph, points, rng, 0.2), steepest_chord(graph, points, rng))
    assert bound.upper >= max(found * (1 - 1e-9), bound.lower)


@pytest.mark.parametrize("kind", GLOBAL)
def test_bounds_of_each_activation_are_above_samples(kind: str) -> None:
    for seed in range(2):
        assert_above_samples(network(seed, [kind, "relu", kind]), 40)


@given(networks(list(GLOBAL), 4))
@settings(RUNS, max_examples=15)
def test_bounds_are_above_samples(graph: Graph) -> None:
    assert_above_samples(graph, 60)


@pytest.mark.slow
@given(networks(list(GLOBAL), 7))
@settings(RUNS, max_examples=150)
def test_bounds_of_many_networks_are_above_samples(graph: Graph) -> None:
    assert_above_samples(graph, 150)


# ---- the same network written in other ways

Change = Callable[[GraphBuilder, Activation, int], int]


def rebuilt(graph: Graph, change: Change | None = None, split: bool = False) -> Graph:
    """The network with its activations, or its linear maps, written in another way."""
    builder = GraphBuilder()
    place: dict[int, int] = {}
    for position, node in graph.walk():
        parents = [place[p] for p in node.parents]
        if isinstance(node, Input):
            place[position] = builder.input(node.size)
        elif isinstance(node, Affine):
            place[position] = (
                in_pieces(builder, node, parents) if split else builder.affine(parents, node.maps, node.bias)
            )
        elif isinstance(node, FixedPoint):
            place[position] = builder.fixed_point(parents, rebuilt(node.cell, change, split))
        elif change is not None:
            place[position] = change(builder, node, parents[0])
        else:
            place[position] = builder.activation(parents[0], node.kind, node.block, node.parameters)
    return builder.finish(place[graph.output])


def in_pieces(builder: GraphBuilder, node: Affine, parents: list[int]) -> int:
    """W x + b as W₁(2I)x + W₂x, the rows of W₁ and W₂ in turn, and then b."""
    terms = []
    for parent, a in zip(parents, node.maps, strict=True):
        if isinstance(a, Dense):
            even = np.arange(a.shape[0])[:, None] % 2 == 0
            doubled = builder.affine([parent], [Dense(2.0 * np.eye(a.shape[1]))])
            terms += [(doubled, Dense(np.where(even, 0.5 * a.matrix, 0.0)))]
            terms += [(parent, Dense(np.where(even, 0.0, a.matrix)))]
        else:
            terms.append((parent, a))
    y = builder.affine([p for p, _ in terms], [a for _, a in terms])
    return y if node.bias is None else builder.affine([y], [identity(node.size)], node.bias)


def by_groups(builder: GraphBuilder, node: Activation, x: int, order: np.ndarray) -> int:
    """The blocks of an activation in another order."""

    def places(blocks: np.ndarray, width: int) -> np.ndarray:
        return (blocks[:, None] * width + np.arange(width)).ravel()

    parameters = {key: value if len(value) == 1 else value[order] for key, value in node.parameters.items()}
    z = builder.affine([x], [Index(places(order, node.block), node.blocks * node.block)])
    w = builder.activation(z, node.kind, node.block, parameters)
    return builder.affine([w], [Index(places(np.argsort(order), node.size // node.blocks), node.size)])


def permuted(graph: Graph) -> Graph:
    rng = np.random.default_rng(0)
    return rebuilt(graph, lambda builder, node, x: by_groups(builder, node, x, rng.permutation(node.blocks)))


def scaled(graph: Graph) -> Graph:
    """φ(z) as φ(D z)/D with a power of two for each block."""
    rng = np.random.default_rng(0)

    def change(builder: GraphBuilder, node: Activation, x: int) -> int:
        powers = 2.0 ** rng.integers(-8, 9, node.blocks) if node.kind in HOMOGENEOUS else np.ones(node.blocks)
        z = builder.affine([x], [Diagonal(np.repeat(powers, node.block))])
        w = builder.activation(z, node.kind, node.block, node.parameters)
        return builder.affine([w], [Diagonal(np.repeat(1.0 / powers, node.size // node.blocks))])

    return rebuilt(graph, change)


def saved(graph: Graph) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        lipcert.save(graph, Path(folder) / "net.onnx")
        return lipcert.load(Path(folder) / "net.onnx")


def from_split_file(graph: Graph) -> Graph:
    return saved(rebuilt(graph, split=True))


WRITINGS = {
    "permuted neurons": permuted,
    "scaled layers": scaled,
    "linear maps in pieces": lambda graph: rebuilt(graph, split=True),
    "a file": saved,
    "a file of pieces": from_split_file,
}


def assert_same(graph: Graph) -> None:
    x = np.random.default_rng(0).standard_normal((graph.input_size, 20))
    y, bound = forward(graph, x), upper(graph)
    for name, write in WRITINGS.items():
        other = write(graph)
        np.testing.assert_allclose(forward(other, x), y, rtol=1e-6, atol=1e-6, err_msg=name)
        assert upper(other) == pytest.approx(bound, rel=1e-8), name


@given(networks(IN_FILES, 3))
@settings(RUNS, max_examples=12)
def test_bounds_do_not_depend_on_the_writing(graph: Graph) -> None:
    assert_same(graph)


@pytest.mark.slow
@given(networks(IN_FILES, 6))
@settings(RUNS, max_examples=60)
def test_bounds_of_many_networks_do_not_depend_on_the_writing(graph: Graph) -> None:
    assert_same(graph)


@pytest.mark.slow
@pytest.mark.parametrize("kind", IN_FILES)
def test_bounds_of_each_activation_do_not_depend_on_the_writing(kind: str) -> None:
    for seed in range(3):
        assert_same(network(seed, [kind, "relu", kind]))
