"""Linear bounds through products: they hold for samples, and are narrower than intervals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lipcert.graph import build as nn
from lipcert.graph.evaluate import record
from lipcert.graph.linear_maps import Dense
from lipcert.graph.nodes import Activation, Graph, GraphBuilder
from lipcert.ranges import ranges
from lipcert.ranges.planes import Planes
from lipcert.ranges.propagate import through
from lipcert.regions import Box
from lipcert.rounding import Interval


def gated(rng: np.random.Generator, steps: int = 3) -> Graph:
    """c ← σ(A c + B x)·c + σ(D x)·tanh(E c), as in recurrent cells."""
    builder = GraphBuilder()
    x = builder.input(3)

    def linear(source: int, scale: float = 1.0) -> int:
        weight = scale * rng.normal(size=(4, builder.nodes[source].size))
        return builder.affine([source], [Dense(weight)], rng.normal(size=4) / 2)

    def times(a: int, b: int) -> int:
        from lipcert.importer.ranged import _product

        return _product(builder, a, b, "")

    c = builder.activation(linear(x), "tanh")
    for _ in range(steps):
        forget = builder.activation(builder.affine([linear(c, 0.5), linear(x)], [_one(), _one()]), "sigmoid")
        fresh = times(builder.activation(linear(x), "sigmoid"), builder.activation(linear(c, 0.7), "tanh"))
        c = builder.affine([times(forget, c), fresh], [_one(), _one()])
    return builder.finish(linear(c))


def _one() -> Dense:
    return Dense(np.eye(4))


def assert_holds(graph: Graph, region: Box, rng: np.random.Generator) -> float:
    """The width of the output's range over that by intervals."""
    found = ranges(graph, region, output=True)
    plain = through(graph, [region.fitted(graph.input_size).interval()])
    x = region.sample(300, rng, graph.input_size)
    tape = record(graph, [x])
    for position, _ in graph.walk():
        value = tape.values[position]
        assert value is not None
        room = 1e-12 * (1.0 + np.abs(value).max())
        assert (value >= found[position].low[:, None] - room).all()
        assert (value <= found[position].high[:, None] + room).all()
    last = graph.output
    widths = [(r[last].high - r[last].low).max() for r in (found, plain)]
    return float(widths[0] / widths[1])


@pytest.mark.parametrize("seed", range(5))
def test_gates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = gated(rng)
    for width in (1e-3, 0.1, 2.0):
        centre = rng.normal(size=3)
        assert assert_holds(graph, Box(centre - width, centre + width), rng) <= 1.0 + 1e-9
    # near a point the product of intervals forgets what linear bounds know
    assert assert_holds(graph, Box(centre - 0.01, centre + 0.01), rng) < 0.7


@pytest.mark.parametrize("seed", range(3))
def test_matrix_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [
        nn.linear(rng.normal(size=(12, 3)), rng.normal(size=12)),
        nn.activation("matrix_product", 12, rows=[2], inner=[3]),
        nn.linear(rng.normal(size=(5, 4))),
        nn.tanh(),
        nn.linear(rng.normal(size=(2, 5))),
    ]
    graph = nn.sequential(*layers)
    for width in (1e-3, 0.1, 2.0):
        assert assert_holds(graph, Box(-width, width), rng) <= 1.0 + 1e-9
    assert assert_holds(graph, Box(0.49, 0.5), rng) < 0.8


def test_unbounded_factors_have_the_range_of_the_product() -> None:
    node = Activation(0, "product", 3, 2)
    on = Interval(np.array([0.0, 1.0, -np.inf, 0.0, -1.0, 2.0]), np.array([1.0, 2.0, np.inf, 1.0, 1.0, 3.0]))
    image = node.record.image(2, {}, on)
    planes = Planes.of(node, on, image)
    assert planes is not None
    slope = planes.slope(np.eye(3))
    np.testing.assert_allclose(slope[:, 0][:2], [1.5, 0.5])
    assert not slope[2:4].any()
    assert planes.over[1] == image.high[1] == np.inf
    z = np.random.default_rng(0).uniform(on.low[[0, 1, 4, 5]], on.high[[0, 1, 4, 5]], (200, 4))
    for k, (x, y) in ((0, z[:, :2].T), (2, z[:, 2:].T)):
        line = slope[2 * k, k] * x + slope[2 * k + 1, k] * y
        assert (line + planes.under[k] <= x * y + 1e-12).all()
        assert (x * y <= line + planes.over[k] + 1e-12).all()
    assert Planes.of(Activation(0, "relu", 3, 1), on, image) is None


def test_planes_of_products_are_rounded_outward() -> None:
    # the product nearly vanishes at one end, where its parts cancel
    rng = np.random.default_rng(3)
    count = 200
    high = rng.uniform(0.5, 2.0, 2 * count)
    on = Interval(rng.uniform(0.0, 1e-12, 2 * count), high)
    builder = GraphBuilder()
    graph = builder.finish(builder.activation(builder.input(2 * count), "product", 2))
    node = graph.nodes[graph.output]
    assert isinstance(node, Activation)
    image = node.record.image(2, node.parameters, on)
    planes = Planes.of(node, on, image)
    assert planes is not None
    c = rng.uniform(0.5, 2.0, count)
    slopes = planes.slope(c[:, None]).ravel().tolist()
    middle = planes.middle.ravel().tolist()
    for k in range(count):
        mx, my = map(Fraction, middle[2 * k : 2 * k + 2])
        ends = [[Fraction(float(part[2 * k + j])) for part in (on.low, on.high)] for j in (0, 1)]
        rest = [x * y - my * x - mx * y for x in ends[0] for y in ends[1]]
        assert Fraction(float(planes.under[k])) <= min(rest)
        assert Fraction(float(planes.over[k])) >= max(rest)
        s, t, weight = (Fraction(v) for v in (slopes[2 * k], slopes[2 * k + 1], float(c[k])))
        lost = abs(s - my * weight) * ends[0][1] + abs(t - mx * weight) * ends[1][1]
        assert lost <= Fraction(float(planes.lost[k])) * weight


def test_planes_of_matrix_products_are_rounded_outward() -> None:
    # (a, b)·(c, d) with a c + b d nearly zero, at single points
    rng = np.random.default_rng(4)
    a, b, c = rng.uniform(1.0, 2.0, (3, 200))
    points = np.stack([a, b, c, -a * c / b], axis=1)
    builder = GraphBuilder()
    parameters = {"rows": np.array([1.0]), "inner": np.array([2.0])}
    node = builder.nodes[builder.activation(builder.input(points.size), "matrix_product", 4, parameters)]
    assert isinstance(node, Activation)
    on = Interval(points.ravel(), points.ravel())
    planes = Planes.of(node, on, node.record.image(4, node.parameters, on))
    assert planes is not None
    for k, (p, q, r, s) in enumerate(points.tolist()):
        truth = Fraction(p) * Fraction(r) + Fraction(q) * Fraction(s)
        assert Fraction(float(planes.under[k])) <= -truth <= Fraction(float(planes.over[k]))
