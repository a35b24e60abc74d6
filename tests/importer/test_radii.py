"""Constants that the importer computes carry radii that hold the exact ones."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import mpmath
import numpy as np
import pytest
from onnx import TensorProto, helper

from lipcert.graph.linear_maps import Diagonal
from lipcert.graph.nodes import Affine, GraphBuilder
from lipcert.importer import load
from lipcert.importer.elementwise import Elementwise
from lipcert.importer.exact import Rounded
from lipcert.importer.lanes import Entries

RNG = np.random.default_rng(0)


def diagonal(graph) -> Diagonal:
    """The one diagonal map of a graph that is not exact."""
    (found,) = (a for _, node in graph.walk() if isinstance(node, Affine) for a in node.maps if a.radius is not None)
    assert isinstance(found, Diagonal)
    return found


def holds(a: Diagonal, truth) -> bool:
    return all(
        abs(Fraction(e) - t) <= Fraction(r) for e, r, t in zip(a.entries.tolist(), a.radii.tolist(), truth, strict=True)
    )


@pytest.mark.parametrize("scale", [1.0, 1e-100, 2.0**1023, 1.5 * 2.0**1023])
def test_quotients_by_constants(write, scale):
    by = scale * RNG.uniform(0.5, 0.9, 40) * RNG.choice([-1.0, 1.0], 40)
    path = write([helper.make_node("Div", ["x", "c"], ["y"])], {"c": by}, [1, 40], kind=TensorProto.DOUBLE)
    assert holds(diagonal(load(path)), [1 / Fraction(v) for v in by.tolist()])


def test_quotients_next_to_activations():
    builder = GraphBuilder()
    by = RNG.uniform(0.5, 2.0, 60)
    engine = Elementwise(builder, lambda text: None)
    builder.finish(engine.scaled(builder.input(60), Rounded.of(1.0, 60) / Rounded.of(by)))
    (a,) = (a for node in builder.nodes if isinstance(node, Affine) for a in node.maps)
    assert holds(a, [1 / Fraction(v) for v in by.tolist()])


def numbers(scale: float, relative: float) -> Rounded:
    mid = scale * RNG.uniform(0.5, 2.0, 400) * RNG.choice([-1.0, 1.0], 400)
    return Rounded(mid, np.abs(mid) * relative * RNG.uniform(0.5, 1.0, 400))


def ends(a: Rounded) -> list[tuple[Fraction, Fraction]]:
    return [
        (Fraction(m) - Fraction(r), Fraction(m) + Fraction(r))
        for m, r in zip(a.mid.tolist(), a.rad.tolist(), strict=True)
    ]


@pytest.mark.parametrize("relative", [0.0, 1e-15, 0.25])
@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (1e-160, 1e-158), (1e-300, 1e-15), (1e-100, 1e-100)])
def test_products_quotients_and_sums(left, right, relative):
    a, b = numbers(left, relative), numbers(right, relative)
    found = [a * b, a + b, a - b, a / b, (a * b) * b, (a / b) / b]
    for x in ends(a * b), ends(a / b):
        assert len(x) == a.size
    for k, ((la, ha), (lb, hb)) in enumerate(zip(ends(a), ends(b), strict=True)):
        corners = [(x, y) for x in (la, ha) for y in (lb, hb)]
        truths = [
            [f(x, y) for x, y in corners]
            for f in (
                lambda x, y: x * y,
                lambda x, y: x + y,
                lambda x, y: x - y,
                lambda x, y: x / y,
                lambda x, y: x * y * y,
                lambda x, y: x / y / y,
            )
        ]
        for result, truth in zip(found, truths, strict=True):
            mid, rad = Fraction(float(result.mid[k])), Fraction(float(result.rad[k]))
            assert all(abs(t - mid) <= rad for t in truth)


def test_exact_results_have_no_radius():
    a = Rounded.of(RNG.integers(-1000, 1000, 50).astype(np.float64))
    assert (a * a).exact
    assert (a + a).exact
    assert (a / Rounded.of(4.0, 50)).exact
    assert (a * Rounded.of(0.0, 50)).zero
    assert not (Rounded.of(np.array([1e17])) + Rounded.of(np.array([1.0]))).exact


def test_roots_and_ends():
    a = abs(numbers(1.0, 1e-9))
    root = a.root()
    for k, (low, high) in enumerate(ends(a)):
        mid, rad = Fraction(float(root.mid[k])), Fraction(float(root.rad[k]))
        assert (mid - rad) ** 2 <= low
        assert high <= (mid + rad) ** 2
        assert Fraction(float(a.low[k])) <= low
        assert Fraction(float(a.largest[k])) >= high


@pytest.mark.parametrize("window", [3, 7, 11])
def test_means(write, window):
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[window], strides=[window])
    a = diagonal(load(write([node], {}, [1, 1, 4 * window])))
    assert holds(a, [Fraction(1, window)] * 4)


def within(a: Diagonal, square: Fraction) -> bool:
    """Whether each entry is the root of a number, up to its radius."""
    ends = [(Fraction(e) - Fraction(r), Fraction(e) + Fraction(r)) for e, r in zip(a.entries, a.radii, strict=True)]
    return all(low**2 <= square <= high**2 for low, high in ends)


@pytest.mark.parametrize("n", [3, 5, 6, 7, 10, 11])
def test_roots_of_counts(write, n):
    normalised = helper.make_node("MeanVarianceNormalization", ["x"], ["y"], axes=[1])
    scores = helper.make_node("Attention", ["x", "k", "v"], ["y"])
    keys = {key: np.ones((1, 1, 2, n), np.float32) for key in ("k", "v")}
    for node, constants, shape, opset in ((normalised, {}, [1, n], 13), (scores, keys, [1, 1, 1, n], 23)):
        graph = load(write([node], constants, shape, opset=opset), check=False)
        found = [a for _, part in graph.walk() if isinstance(part, Affine) for a in part.maps if a.radius is not None]
        assert not graph.idealisations
        assert any(isinstance(a, Diagonal) and within(a, Fraction(1, n)) for a in found)


@pytest.mark.parametrize(("by", "exact"), [(2.0, True), (0.6, False), (1.5, False)])
def test_weights_of_resizing(write, by, exact):
    """Whole numbers over a common denominator, which is exact or enclosed."""
    scale = np.array([1.0, 1.0, by], np.float32)
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear")
    graph = load(write([node], {"s": scale}, [1, 1, 7]))
    ratio = Fraction(float(scale[2]))
    maps = [a for _, part in graph.walk() if isinstance(part, Affine) for a in part.maps]
    assert not graph.idealisations
    assert len(maps) == 2 - exact
    for i, row in enumerate(maps[0].to_dense()):
        at = (i + Fraction(1, 2)) / ratio - Fraction(1, 2)
        truth = [Fraction(0)] * 7
        for k, share in ((floor(at), floor(at) + 1 - at), (floor(at) + 1, at - floor(at))):
            truth[min(max(k, 0), 6)] += share
        low, high = [Fraction(1)], [Fraction(1)]
        if not exact:
            entry, radius = Fraction(maps[1].entries[i]), Fraction(maps[1].radii[i])
            low, high = [entry - radius], [entry + radius]
        assert all(low[0] * Fraction(w) <= t <= high[0] * Fraction(w) for w, t in zip(row, truth, strict=True))


def test_batch_normalisation(write):
    n = 60
    gain, variance = RNG.normal(size=n), RNG.uniform(0.1, 3.0, n)
    epsilon = float(np.float32(1e-3))
    node = helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], epsilon=epsilon)
    constants = {"g": gain, "b": np.zeros(n), "m": np.zeros(n), "v": variance}
    a = diagonal(load(write([node], constants, [1, n], kind=TensorProto.DOUBLE)))
    with mpmath.workdps(60):
        for g, v, entry, radius in zip(gain, variance, a.entries, a.radii, strict=True):
            truth = mpmath.mpf(g) / mpmath.sqrt(mpmath.mpf(v) + mpmath.mpf(epsilon))
            assert abs(truth - mpmath.mpf(entry)) <= mpmath.mpf(radius)


def enclosed_roots(graph, n: int) -> bool:
    """Whether 1/√n is within the only entries of the graph that are not exact."""
    a = diagonal(graph)
    return all(
        (Fraction(e) - Fraction(r)) ** 2 * n <= 1 <= (Fraction(e) + Fraction(r)) ** 2 * n
        for e, r in zip(a.entries.tolist(), a.radii.tolist(), strict=True)
    )


@pytest.mark.parametrize("size", [2, 3, 5, 7])
def test_roots_of_the_size_of_heads(write, size):
    projections = [helper.make_node("MatMul", ["x", k], [k.lower()]) for k in "QKV"]
    node = helper.make_node("Attention", ["q", "k", "v"], ["y"], q_num_heads=1, kv_num_heads=1)
    constants = {k: RNG.integers(-2, 3, (size, size)).astype(np.float32) for k in "QKV"}
    graph = load(write([*projections, node], constants, [1, 2, size], opset=23))
    assert enclosed_roots(graph, size)
    assert not graph.idealisations


def test_roots_of_the_size_of_normalised_rows(write):
    node = helper.make_node("MeanVarianceNormalization", ["x"], ["y"], axes=[1])
    graph = load(write([node], {}, [1, 2]))
    assert enclosed_roots(graph, 2)
    assert not graph.idealisations


def test_coefficients_of_the_same_number_add_up():
    for a, b in RNG.uniform(-1.0, 1.0, (50, 2)) * [1e17, 1.0]:
        entries = Entries(np.array([3, 3]), Rounded.of(np.array([a, b])), np.zeros(2), 5)
        (mid,), (rad,) = (
            part.tolist() for part in (entries.at(np.array([3]))[0].mid, entries.at(np.array([3]))[0].rad)
        )
        assert abs(Fraction(a) + Fraction(b) - Fraction(mid)) <= Fraction(rad)
    values = Rounded(np.array([2.0**-900, -(2.0**-900)]), np.array([1.0, 2.0**-54]))
    found, _ = Entries(np.array([3, 3]), values, np.zeros(2), 5).at(np.array([3]))
    assert Fraction(float(found.rad[0])) >= 1 + Fraction(2) ** -54
