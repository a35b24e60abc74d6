"""Cells: what is said of the points in them is true, in exact and in floating-point arithmetic."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Activation, Graph
from lipcert.norms import Norm
from lipcert.ranges.cells import (
    Cell,
    NeuronCut,
    Polyhedron,
    breaks,
    open_neurons,
    part,
    segments,
    whole,
    with_open,
)
from lipcert.ranges.localise import moduli
from lipcert.ranges.propagate import Ranges
from lipcert.ranges.rational import statements
from lipcert.regions import Ball, Box, everywhere


def network(seed: int, layer: object | None = None, widths: tuple[int, ...] = (3, 6, 5, 2)) -> Graph:
    rng = np.random.default_rng(seed)
    layers: list[object] = []
    for n, m in itertools.pairwise(widths):
        layers += [nn.linear(rng.normal(size=(m, n)), 0.3 * rng.normal(size=m)), layer or nn.relu()]
    return moduli(nn.sequential(*layers[:-1]))


def signals(graph: Graph, x: np.ndarray) -> dict[int, np.ndarray]:
    """The value of each node, (size, points)."""
    return {position: forward(replace(graph, output=position), x) for position, _ in graph.walk()}


def inside(graph: Graph, cell: Cell, values: dict[int, np.ndarray]) -> np.ndarray:
    """Which points satisfy the cuts."""
    good = np.ones(values[graph.output].shape[1], dtype=bool)
    for cut in cell.cuts:
        node = graph.nodes[cut.position]
        assert isinstance(node, Activation)
        z = values[node.parent][cut.neuron]
        good &= cut.side * (z - breaks(node)[0][cut.neuron, cut.kink]) >= 0.0
    return good


def random_cell(graph: Graph, cell: Cell, rng: np.random.Generator, values: dict[int, np.ndarray], cuts: int) -> Cell:
    """A cell with points in it."""
    for _ in range(cuts):
        left = open_neurons(graph, cell.ranges)
        if not left:
            break
        some = left[rng.integers(len(left))]
        for side in rng.permutation([1, -1]).tolist():
            trial = part(graph, cell, NeuronCut(some.position, some.neuron, some.first, int(side)))
            if inside(graph, trial, values).any():
                cell = trial
                break
    return cell


REGIONS = [
    Box(-1.0, 1.0),
    Box([-1.0, -0.5, -2.0], [0.5, 2.0, 1.0]),
    Ball([0.2, 0.1, -0.3], 1.0),
    Ball([0.2, 0.1, -0.3], 1.5, norm=1),
    Ball([0.2, 0.1, 0.3], 1.0, within=Box(0.0, 1.0)),
]


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.describe())
@pytest.mark.parametrize("layer", [nn.relu(), nn.maxmin(), nn.leaky_relu(0.3), nn.clip(-1.0, 1.0)])
def test_ranges_and_halfspaces_hold_the_points_of_the_cell(region: Box | Ball, layer: object) -> None:
    rng = np.random.default_rng(1)
    graph = network(3, layer, (3, 6, 6, 2))
    points = region.sample(4000, rng, 3)
    values = signals(graph, points)
    root = whole(graph, region)
    for _ in range(3):
        cell = random_cell(graph, root, rng, values, 4)
        good = inside(graph, cell, values)
        assert good.any()
        assert not cell.empty
        for position, found in cell.ranges.of.items():
            z = values[position][:, good]
            room = 1e-12 * (1.0 + np.abs(z).max())
            assert (z >= found.low[:, None] - room).all()
            assert (z <= found.high[:, None] + room).all()
        slack = cell.inside.normals @ points[:, good] + cell.inside.offsets[:, None]
        assert (slack >= -1e-12).all()
        rows = rng.standard_normal((5, 3))
        assert (rows @ points[:, good] <= cell.inside.support(rows)[:, None] + 1e-12).all()


def test_cuts_narrow_what_lies_before_and_behind() -> None:
    graph = network(5)
    cell = root = whole(graph, Box(-1.0, 1.0))
    first = open_neurons(graph, root.ranges)
    for some in [first[-1], first[0]]:
        cell = part(graph, cell, NeuronCut(some.position, some.neuron, 0, 1))
    widths = [
        sum(float((c.ranges[n.parent].high - c.ranges[n.parent].low).sum()) for c in [which])
        for which in (root, cell)
        for n in [graph.nodes[first[0].position]]
    ]
    assert widths[1] < 0.95 * widths[0]
    assert len(open_neurons(graph, cell.ranges)) < len(first)


@pytest.mark.parametrize("norm", [Norm.L2, Norm.L1, Norm.LINF])
def test_the_support_of_a_cut_region_is_close(norm: Norm) -> None:
    """One half-space: duality is exact, up to the search for its weight."""
    rng = np.random.default_rng(2)
    region = Ball(rng.normal(size=4), 1.0, norm)
    normal = rng.normal(size=(1, 4))
    cut = Polyhedron(region, normal, -normal @ region.centre + 0.1)
    rows = np.vstack([-normal, rng.normal(size=(6, 4))])
    points = region.sample(200_000, rng, 4)
    points = points[:, (normal @ points + cut.offsets[:, None] >= 0.0)[0]]
    top, reached = cut.support(rows), (rows @ points).max(axis=1)
    assert (top >= reached - 1e-12).all()
    assert top[0] == pytest.approx(float((-normal @ region.centre).item()) + 0.1, abs=1e-3)
    assert (top <= reached + 0.5).all()


@pytest.mark.parametrize("scale", [1.0, 1e-200])
def test_combinations_are_above_the_exact_ones(scale: float) -> None:
    """Where a + wᵀN or w·b cancels, rounding is all that is left."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        normals, weights = scale * rng.normal(size=(5, 3)), rng.exponential(size=(1, 5))
        offsets = scale * rng.normal(size=5)
        offsets[-1] = -float(weights[0, :4] @ offsets[:4]) / weights[0, 4]
        a = -(weights @ normals) * (1.0 if seed % 2 else 0.0)
        region = Box(-1e3, 1e3) if seed % 2 else Box(0.0, 0.0)
        exact = [
            sum((Fraction(w) * Fraction(v) for w, v in zip(weights[0], column, strict=True)), Fraction(0))
            for column in (*normals.T, offsets)
        ]
        reach = Fraction(float(np.max(region.high)))
        top = sum((abs(Fraction(own) + e) * reach for own, e in zip(a[0], exact[:3], strict=True)), exact[3])
        found = Polyhedron(region.fitted(3), normals, offsets).combined(a, weights)[0]
        assert Fraction(float(found)) >= top
        assert found <= scale * 1e-10


def test_no_weights_contradict_a_cell_with_points() -> None:
    rng = np.random.default_rng(3)
    graph = network(4)
    region = Box(-1.0, 1.0)
    values = signals(graph, region.sample(2000, rng, 3))
    root = whole(graph, region)
    for _ in range(10):
        cell = random_cell(graph, root, rng, values, 5)
        for _ in range(20):
            weights = rng.exponential(size=cell.inside.offsets.size) * (rng.random(cell.inside.offsets.size) < 0.7)
            assert not cell.contradicts(weights)


def test_rounding_decides_against_a_cell_that_touches() -> None:
    """x₁ ≥ 0.1 and x₁ ≤ 0.1 share a plane: no weight says that nothing is there."""
    graph = nn.sequential(nn.linear([[1.0, 0.0], [-1.0, 0.0]], [-0.1, 0.1]), nn.relu(), nn.linear([[1.0, 1.0]]))
    cell = whole(graph, Box(-1.0, 1.0))
    for neuron in (0, 1):
        cell = part(graph, cell, NeuronCut(2, neuron, 0, 1))
    assert not cell.empty
    for weights in ([1.0, 1.0], [1e9, 1e9], [1.0, 0.0], [3.0, 3.0]):
        assert not cell.contradicts(np.array(weights))


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [np.nan, 1.0], [np.inf, np.inf], [1.0], []])
def test_what_is_no_weight_proves_nothing(weights: list[float]) -> None:
    graph = nn.sequential(nn.linear([[1.0], [-1.0]], [-0.5, -0.5]), nn.relu(), nn.linear([[1.0, 1.0]]))
    cell = whole(graph, Box(-2.0, 2.0))
    cell = part(graph, cell, NeuronCut(2, 0, 0, 1))
    both = Cell(cell.region, cell.cuts, cell.ranges, cell.lines, Polyhedron(cell.region, *_pair()))
    assert both.contradicts(np.array([1.0, 1.0]))
    assert not both.contradicts(np.array(weights))
    far = replace(both, inside=Polyhedron(cell.region, np.array([[1.0]]), np.array([10.0])))
    assert not far.contradicts(np.array([-1.0]))


def _pair() -> tuple[np.ndarray, np.ndarray]:
    return np.array([[1.0], [-1.0]]), np.array([-0.5, -0.5])


def rational_cell(bias: list[float]) -> tuple[Graph, Cell]:
    graph = nn.sequential(nn.linear([[1.0], [-1.0]], bias), nn.relu(), nn.linear([[1.0, 1.0]]))
    cell = whole(graph, everywhere())
    for neuron in (0, 1):
        cell = part(graph, cell, NeuronCut(2, neuron, 0, 1))
    return graph, cell


@pytest.mark.parametrize(("bias", "empty"), [([-1.0, 0.5], True), ([0.1, -0.1], False), ([1.0, 1.0], False)])
def test_two_sides_of_a_point(bias: list[float], empty: bool) -> None:
    graph, cell = rational_cell(bias)
    for weights in ([1.0, 1.0], [0.3, 0.1], [1e-20, 5.0]):
        assert statements(graph, cell.ranges, cell.cuts).contradict(np.array(weights)) is empty


@pytest.mark.parametrize("weights", [[1.0, 0.0], [0.0, 0.0], [1.0, -1.0], [1.0], [np.nan, 1.0]])
def test_other_weights_prove_nothing(weights: list[float]) -> None:
    graph, cell = rational_cell([-1.0, 0.5])
    assert not statements(graph, cell.ranges, cell.cuts).contradict(np.array(weights))


def test_a_weight_that_comes_out_negative_proves_nothing() -> None:
    """x ≥ 1 and x ≥ −0.5."""
    graph = nn.sequential(nn.linear([[1.0], [1.0]], [0.5, -1.0]), nn.relu(), nn.linear([[1.0, 1.0]]))
    cell = whole(graph, everywhere())
    for neuron in (0, 1):
        cell = part(graph, cell, NeuronCut(2, neuron, 0, 1))
    said = statements(graph, cell.ranges, cell.cuts)
    for weights in ([1.0, 1.0], [1.0, 3.0], [3.0, 1.0]):
        assert not said.contradict(np.array(weights))


def test_an_open_neuron_lies_above_its_segments() -> None:
    """relu(x) + relu(−x) ≥ |x| ≥ 0 is never −1, whatever the first layer does."""
    graph = nn.sequential(
        nn.linear([[1.0], [-1.0]]), nn.relu(), nn.linear([[-1.0, -1.0]], [-1.0]), nn.relu(), nn.linear([[1.0]])
    )
    cell = part(graph, whole(graph, everywhere()), NeuronCut(4, 0, 0, 1))
    said = statements(graph, cell.ranges, cell.cuts)
    assert (said.rows.nrows(), said.cuts) == (5, 1)
    # −w₁ − w₂ − 1 ≥ 0, w ≥ 0
    assert said.contradict(np.array([1.0, 1.0, 0.0, 1.0, 0.0])) or said.contradict(np.array([1.0, 0.0, 1.0, 0.0, 1.0]))


@pytest.mark.parametrize("layer", [nn.relu(), nn.maxmin(), nn.leaky_relu(0.3), nn.clip(-1.0, 1.0)])
def test_statements_hold_at_the_points_of_the_cell(layer: object) -> None:
    rng = np.random.default_rng(6)
    graph = network(8, layer, (2, 4, 4, 1))
    points = rng.normal(size=(2, 3000))
    values = signals(graph, points)
    for _ in range(4):
        cell = random_cell(graph, whole(graph, everywhere()), rng, values, 4)
        good = np.flatnonzero(inside(graph, cell, values))[:50]
        said = statements(graph, cell.ranges, cell.cuts)
        w = [
            values[position][np.flatnonzero(np.less(*segments(node, cell.ranges[node.parent])))]
            for position, node in graph.walk()
            if isinstance(node, Activation)
        ]
        u = np.vstack([np.ones((1, points.shape[1])), points, *w])[:, good]
        rows = np.array([[float(v.p) / float(v.q) for v in row] for row in said.rows.tolist()])
        assert (rows @ u >= -1e-12).all()
        assert said.cuts == len(cell.cuts)


def test_the_widest_ranges_hold_the_ranges() -> None:
    graph = network(9)
    cell = whole(graph, Box(-0.3, 0.3))
    left = open_neurons(graph, cell.ranges)
    found = with_open(graph, cell.ranges, left)
    assert found is not None
    for _, node in graph.walk():
        if isinstance(node, Activation):
            wide, narrow = found[node.parent], cell.ranges[node.parent]
            assert (wide.low <= narrow.low).all()
            assert (wide.high >= narrow.high).all()


def test_who_leaves_one_out_is_refused() -> None:
    graph = network(9)
    cell = whole(graph, Box(-0.3, 0.3))
    left = open_neurons(graph, cell.ranges)
    for k in range(len(left)):
        assert with_open(graph, cell.ranges, left[:k] + left[k + 1 :]) is None
    short = left[0]._replace(first=1)
    assert with_open(graph, cell.ranges, (short, *left[1:])) is None
    beyond = left[0]._replace(last=2)
    assert with_open(graph, cell.ranges, (beyond, *left[1:])) is None


def test_more_open_neurons_are_sound() -> None:
    graph = network(9)
    cell = whole(graph, Box(-0.3, 0.3))
    everything = open_neurons(graph, Ranges(whole(graph, Box(-9.0, 9.0)).ranges.of))
    assert len(everything) > len(open_neurons(graph, cell.ranges))
    assert with_open(graph, cell.ranges, everything) is not None
