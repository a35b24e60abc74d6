"""Ellipsoids hold the signals of sampled inputs, and every one of their errors is at least what rounding may do."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from amplified import amplify
from regional import KINDS, network

from lipcert.bounds.ellipsoids import multipliers_of, targets
from lipcert.graph import build as nn
from lipcert.graph.evaluate import record
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal
from lipcert.graph.nodes import Activation, Graph
from lipcert.ranges import ellipsoid, ranges
from lipcert.ranges.ellipsoid import Ellipsoid, System
from lipcert.ranges.hints import Hints, multipliers_from_json
from lipcert.ranges.localise import moduli
from lipcert.ranges.propagate import sweep, through
from lipcert.regions import Ball, Box
from lipcert.rounding import Interval

U = Fraction(1, 2**53)


def model(k: int) -> Fraction:
    """γ_k, exactly."""
    return k * U / (1 - k * U)


def exact(x: np.ndarray) -> list[Fraction]:
    return [Fraction(float(v)) for v in np.ravel(x)]


def rational(x: np.ndarray) -> list[list[Fraction]]:
    return [exact(row) for row in x]


def is_positive_semidefinite(H: list[list[Fraction]]) -> bool:
    """By elimination."""
    H = [list(row) for row in H]
    for k, pivot in enumerate(H):
        if pivot[k] < 0 or (pivot[k] == 0 and any(pivot[k:])):
            return False
        for row in H[k + 1 :]:
            if row[k]:
                factor = row[k] / pivot[k]
                for j in range(k, len(H)):
                    row[j] -= factor * pivot[j]
    return True


def alone(graph: Graph, ball: Ball, target: int, multipliers) -> tuple[Interval | None, Interval]:
    """The range of a node by its ellipsoid, and that without."""
    found, _ = sweep(graph, ball)
    around = through(graph, [Interval.point(ball.centre)])
    shape = Ellipsoid(graph, ball, found.of, around.of, multipliers)
    return shape.range(target, np.arange(graph.nodes[target].size)), found[target]


@pytest.mark.parametrize("kind", KINDS)
def test_ellipsoids_hold_sampled_signals(kind: str) -> None:
    proven = 0
    for seed in range(2):
        graph = moduli(network(seed, [kind, "relu", kind]))
        rng = np.random.default_rng(seed)
        centre, radius = rng.standard_normal(graph.input_size), float(10.0 ** rng.uniform(-2, 0.5))
        within = Box(centre - 0.4 * radius, centre + radius) if seed else None
        for norm in (2, 1, "inf") if seed else (2,):
            ball = Ball(centre, radius, norm, within)
            points = ball.sample(80, rng, graph.input_size)
            tape = record(graph, [points])
            for target, multipliers in multipliers_of(graph, 1.0).items():
                found = alone(graph, ball, target, multipliers)[0]
                if found is not None:
                    proven += 1
                    value = tape.values[target]
                    assert value is not None
                    room = 1e-9 * (1.0 + np.abs(value))
                    assert (found.low[:, None] <= value + room).all()
                    assert (value - room <= found.high[:, None]).all()
    assert proven or not targets(graph)


def deep(seed: int, widths: tuple[int, ...] = (6, 20, 20, 20, 3)) -> Graph:
    rng = np.random.default_rng(seed)
    layers = [
        nn.linear(rng.standard_normal((b, a)) / np.sqrt(a), 0.1 * rng.standard_normal(b)) for a, b in pairwise(widths)
    ]
    return nn.sequential(*(part for k, layer in enumerate(layers) for part in ([nn.relu()] if k else []) + [layer]))


def test_ranges_are_narrower_with_ellipsoids() -> None:
    graph = deep(1, (30, 40, 40, 40, 3))
    ball = Ball(np.random.default_rng(2).standard_normal(30), 1.5)
    hints = Hints(ellipsoids=multipliers_of(graph))
    wide, narrow = (ranges(graph, ball, given, output=True)[graph.output] for given in (Hints(), hints))
    assert ((narrow.high - narrow.low) <= (wide.high - wide.low)).all()
    assert (narrow.high - narrow.low).sum() < 0.7 * (wide.high - wide.low).sum()
    again = Hints.from_json(hints.to_json())
    repeated = ranges(graph, ball, again, output=True)[graph.output]
    np.testing.assert_array_equal(repeated.low, narrow.low)


def test_the_constant_of_an_affine_network_is_exact() -> None:
    graph = nn.sequential(
        nn.linear([[3.0, 4.0], [5.0, 12.0]], [50.0, 60.0]), nn.relu(), nn.linear([[1.0, 0.0], [0.0, 2.0]])
    )
    found, _ = alone(graph, Ball([0.0, 0.0], 1.0), graph.output, multipliers_of(graph)[graph.output])
    assert found is not None
    np.testing.assert_allclose(found.high - found.low, [10.0, 52.0], rtol=1e-12)


def test_wrong_multipliers_prove_nothing_or_the_truth() -> None:
    graph = deep(3)
    ball = Ball(np.random.default_rng(4).standard_normal(6), 0.5)
    value = record(graph, [ball.sample(2000, np.random.default_rng(5), 6)]).output
    good = multipliers_of(graph)[graph.output]
    rng = np.random.default_rng(6)
    refused = 0
    for factor in (1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3, 0.0, -1.0, np.nan, np.inf):
        for spread in (0.0, 2.0):
            wrong = {p: factor * m * np.exp(spread * rng.standard_normal(m.size)) for p, m in good.items()}
            found = alone(graph, ball, graph.output, wrong)[0]
            refused += found is None
            assert found is None or ((found.low[:, None] <= value).all() and (value <= found.high[:, None]).all())
    assert refused >= 8
    for other in ({}, {p: m[:-1] for p, m in good.items()}):
        assert alone(graph, ball, graph.output, other)[0] is None


def test_regions_without_a_centre_have_no_ellipsoid() -> None:
    graph = deep(3)
    good = multipliers_of(graph)
    for region in (Box(-np.ones(6), np.ones(6)), Ball(np.zeros(6), 1.0).split(0, 0.5)[1]):
        assert ellipsoid.euclidean_radius(region) is None
        plain = ranges(graph, region, output=True)
        np.testing.assert_array_equal(
            ranges(graph, region, Hints(ellipsoids=good), output=True)[graph.output].low, plain[graph.output].low
        )
    for n in range(1, 60):
        found = ellipsoid.euclidean_radius(Ball(np.zeros(n), 0.1, "inf"))
        assert found is not None
        assert Fraction(found) ** 2 >= n * Fraction(0.1) ** 2


def test_hints_that_are_no_multipliers_are_refused() -> None:
    for item in ([], {"1": []}, {"1": {"2": 3}}, {"x": {}}, {"1": {"-2": ""}}):
        with pytest.raises(ValueError, match=r".+"):
            multipliers_from_json(item)


def convolutional(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    first = Convolution(rng.standard_normal((3, 2, 3, 3)), (8, 8), (2, 2), (1, 1), (1, 1, 1, 1))
    second = Convolution(0.3 * rng.standard_normal((4, 3, 3, 3)), (4, 4), (1, 1), (1, 1), (1, 1, 1, 1))
    return nn.sequential(
        nn.linear(first), nn.relu(), nn.linear(second), nn.relu(), nn.linear(rng.standard_normal((5, 64)))
    )


def test_sparse_and_dense_signals_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = convolutional(0)
    ball = Ball(np.random.default_rng(1).standard_normal(128), 0.3)
    found = {}
    for part in (0.0, 2.0):
        monkeypatch.setattr(ellipsoid, "_DENSE", part)
        for target, multipliers in multipliers_of(graph).items():
            found.setdefault(target, []).append(alone(graph, ball, target, multipliers)[0])
    for one, other in found.values():
        np.testing.assert_allclose(one.low, other.low, rtol=1e-9)


# every error term alone


def test_lengths_of_rows_are_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 30))
    for part in (x, sp.csr_array(x)):
        for found, row in zip(ellipsoid.row_lengths(part), x, strict=True):
            assert Fraction(found) ** 2 >= sum(v * v for v in exact(row))
    assert (ellipsoid.row_lengths(np.full((1, 3), 2.0**-540)) >= 2.0**-539).all()
    square = sum(v * v for v in exact(x[0]))
    monkeypatch.setattr(ellipsoid.np, "einsum", lambda *_: np.array([float(square * (1 - model(30) + 2 * U))]))
    assert Fraction(float(ellipsoid.row_lengths(x[:1])[0])) ** 2 >= square


def test_sums_are_rounded_outward() -> None:
    for k in (1, 5, 200):
        x = 1.0 + np.random.default_rng(k).random(20)
        assert all(
            b >= a * (1 + model(k)) / (1 - model(k))
            for a, b in zip(exact(x), exact(ellipsoid.outward(x, k)), strict=True)
        )
    assert ellipsoid.outward(np.zeros(1), 1)[0] >= 2.0**-1000


def test_errors_of_affine_maps() -> None:
    rng = np.random.default_rng(1)
    for trial in range(60):
        a = Dense(rng.standard_normal((4, 7))) if trial % 2 else Diagonal(rng.standard_normal(7), rng.random(7))
        error, lengths = rng.random(7) * (trial % 4 > 1), rng.random(7) * (trial % 3)
        size = np.abs(a.to_dense())
        spread = np.zeros(size.shape) if a.radius is None else a.radius.to_dense()
        found = ellipsoid.affine_error(a, 2, error, lengths)
        for row, wide, most in zip(size, spread, exact(found), strict=True):
            terms = zip(exact(row), exact(wide), exact(error), exact(lengths), strict=True)
            # of the products and the sum with another parent
            assert most >= sum(s * (e + model(a.terms + 1) * n) + r * (n + e) for s, r, e, n in terms)


def test_errors_of_forms() -> None:
    rng = np.random.default_rng(2)
    for trial in range(60):
        small, spread = rng.standard_normal((3, 2, 4)), rng.random((3, 2, 4)) * (trial % 2)
        error, lengths = rng.random((3, 4)) * (trial % 4 > 1), rng.random((3, 4)) * (trial % 3)
        found = ellipsoid.form_error(small, spread, error, lengths)
        for b in range(3):
            for o in range(2):
                terms = zip(
                    exact(np.abs(small[b, o])), exact(spread[b, o]), exact(error[b]), exact(lengths[b]), strict=True
                )
                least = sum(s * (e + model(5) * n) + r * (n + e) for s, r, e, n in terms)
                assert Fraction(float(found[b, o])) >= least
        inverse = 1.0 + rng.random((3, 1, 4))
        columns = ellipsoid.column_error(small, spread, inverse)
        for b in range(3):
            for o in range(2):
                terms = zip(exact(np.abs(small[b, o])), exact(spread[b, o]), exact(inverse[b, 0]), strict=True)
                assert Fraction(float(columns[b, o])) >= sum((r + model(2) * s) * d for s, r, d in terms)


def test_products_and_residuals() -> None:
    rng = np.random.default_rng(3)
    B, norms = rng.standard_normal((4, 9)), np.array([1.0, 2.0])
    square = sum(v * v for v in exact(B))
    for found, norm in zip(exact(ellipsoid.product_error(B, norms)), exact(norms), strict=True):
        assert found**2 >= model(9) ** 2 * square * norm**2
    L = np.tril(rng.integers(1, 5, (5, 5)).astype(float))
    s = rng.integers(-4, 5, (5, 3)).astype(float)
    b = L @ s
    size = sum(v * v for v in exact(L))
    for shift in (0.0, 1.0):
        found = ellipsoid.residual(L, s, b + shift)
        for k in range(3):
            solved, right = (sum(v * v for v in exact(x[:, k])) for x in (s, b + shift))
            least = 5 * Fraction(shift) ** 2 + model(5) ** 2 * (size * solved + right)
            assert Fraction(float(found[k])) ** 2 >= least


def test_the_reach_is_rounded_up() -> None:
    rng = np.random.default_rng(4)
    norms, solved, rest, error = rng.random((4, 200))
    root, eps = 0.37, 0.01
    plain = ellipsoid.reach(norms, solved, rest, 0.0 * error, root, eps)
    for n, s, r, found in zip(*map(exact, (norms, solved, rest, plain)), strict=True):
        assert found**2 * (1 - Fraction(eps)) >= n**2 + (s + r / Fraction(root)) ** 2
    zero = np.zeros(200)
    for e, found in zip(exact(error), exact(ellipsoid.reach(zero, zero, zero, error, root, 0.0)), strict=True):
        assert found >= e / Fraction(root)
    assert ellipsoid.reach(zero, zero, zero, zero, root, 0.0)[0] >= 2.0**-500
    assert np.isposinf(ellipsoid.reach(norms, solved, np.full(200, np.nan), error, root, eps)).all()


def test_ranges_around_the_centre_are_rounded_outward(monkeypatch: pytest.MonkeyPatch) -> None:
    amplify(monkeypatch, ellipsoid, outward=1.0)
    system = SimpleNamespace(B=np.zeros((1, 1)), reach=lambda rows: np.full(1, 3.0))
    monkeypatch.setattr(ellipsoid, "System", SimpleNamespace(of=lambda owner, target: system))
    monkeypatch.setattr(ellipsoid, "euclidean_radius", lambda region: 2.0)
    owner = SimpleNamespace(region=None, around={0: Interval.point(np.full(1, 5.0))})
    found = ellipsoid.Ellipsoid.range(owner, 0, np.zeros(1, dtype=np.int64))  # type: ignore[arg-type]
    assert found is not None
    assert found.low <= 5.0 - (6.0 + 1.0) - 1.0
    assert found.high >= 5.0 + (6.0 + 1.0) + 1.0


def test_roots_of_what_is_left_are_rounded_down(monkeypatch: pytest.MonkeyPatch) -> None:
    for delta in np.random.default_rng(0).uniform(0.1, 0.4, 50).tolist():
        monkeypatch.setattr(ellipsoid, "_CLEAR", delta)
        found = ellipsoid.factorised(np.full((1, 1), 0.1), 0.0)
        assert found is not None
        assert Fraction(found[1]) ** 2 <= Fraction(delta)
    nothing = ellipsoid.factorised(np.zeros((0, 1)), 0.0)
    assert nothing is not None
    assert Fraction(nothing[1]) ** 2 <= Fraction(1, 2)


def clears(B: np.ndarray, eps: float) -> bool:
    """Whether (1 − eps) I − BBᵀ ⪰ LLᵀ + delta I, exactly, of a 1 × 1 matrix or a small one."""
    found = ellipsoid.factorised(B, eps)
    if found is None:
        return True
    L, root = found
    rows, factor = rational(B), rational(L)
    n = len(rows)
    H = [
        [
            (1 - Fraction(eps) - Fraction(root) ** 2) * (i == j)
            - sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
            - sum(a * b for a, b in zip(factor[i], factor[j], strict=True))
            for j in range(n)
        ]
        for i in range(n)
    ]
    return is_positive_semidefinite(H)


def test_what_a_factor_leaves_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    assert all(clears(rng.standard_normal((4, 30)) / 12.0, eps) for eps in (0.0, 0.1, 0.3) for _ in range(10))
    assert ellipsoid.factorised(np.array([[0.9]]), 0.3) is None
    assert ellipsoid.factorised(np.array([[1.0]]), 0.0) is None
    assert ellipsoid.factorised(np.array([[np.nan]]), 0.0) is None
    # a Gram matrix and a factorisation that are as wrong as they may be, one after the other
    wide = np.full((1, 4000), np.sqrt(0.01 / 4000))
    with monkeypatch.context() as patch:
        patch.setattr(
            ellipsoid,
            "gram",
            lambda B: np.array([[float(sum(v * v for v in exact(B)) * (1 - model(4000)))]], order="F"),
        )
        assert clears(wide, 0.0)
    honest = ellipsoid.lapack.dpotrf

    def lenient(A: np.ndarray, **options: bool) -> tuple[np.ndarray, int]:
        trace = sum(exact(np.diag(A)))
        n = len(A)
        return honest(A + np.eye(n) * float(model(n + 2) / (1 - model(n + 2)) * trace), **options)

    monkeypatch.setattr(ellipsoid.lapack, "dpotrf", lenient)
    assert clears(0.01 * np.eye(60)[:40], 0.0)


def test_errors_of_the_sweep_cover_what_its_matrices_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of B and of the target, in rational numbers, lie within their errors."""
    rng = np.random.default_rng(6)
    W = [rng.standard_normal((3, 2)), rng.standard_normal((3, 3)), rng.standard_normal((2, 3))]
    graph = nn.sequential(
        nn.linear(W[0]), nn.activation("leaky_relu", alpha=np.array([0.1])), nn.linear(W[1]), nn.relu(), nn.linear(W[2])
    )
    multipliers = {p: rng.random(3) + 0.5 for p, node in graph.walk() if isinstance(node, Activation)}
    ball = Ball(0.1 * rng.standard_normal(2), 50.0)
    found, _ = sweep(graph, ball)
    around = through(graph, [Interval.point(ball.centre)])
    shape = Ellipsoid(graph, ball, found.of, around.of, multipliers)
    system = System.of(shape, graph.output)
    columns = [[Fraction(int(i == j)) for j in range(2)] for i in range(2)]
    rows: list[list[Fraction]] = []
    signal = columns
    for k, weight in enumerate(W):
        signal = [
            [sum(a * x[j] for a, x in zip(row, signal, strict=True)) for j in range(len(signal[0]))]
            for row in rational(weight)
        ]
        if k == 2:
            break
        position = 2 + 2 * k
        node = graph.nodes[position]
        assert isinstance(node, Activation)
        on = found[node.parent]
        slopes = node.record.slopes_on(node.parameters, on, around[node.parent].meet(on))
        K, P = ellipsoid.slope_centre(slopes.low, slopes.high)
        lost, width = [], len(signal[0])
        for i in range(3):
            # √lam as it was computed, and its exact inverse
            d = Fraction(float(np.sqrt(multipliers[position][i] * P[i])))
            rows.append([d * v for v in signal[i]])
            new = [Fraction(float(P[i])) / d * (i == j) for j in range(3)]
            lost.append([Fraction(float(K[i])) * v for v in signal[i]] + new)
        signal = lost
        assert len(signal[0]) == width + 3
    size = system.B.shape[1]
    off = sum(
        (value - given) ** 2
        for row, mine in zip(rows, rational(system.B), strict=True)
        for value, given in zip(row + [Fraction(0)] * (size - len(row)), mine, strict=True)
    )
    assert 0 < off <= Fraction(system.spread) ** 2
    for row, mine, error in zip(
        signal, rational(ellipsoid.dense(system.target.mid, size)), exact(system.target.error), strict=True
    ):
        assert 0 < sum((value - given) ** 2 for value, given in zip(row, mine, strict=True)) <= error**2


@pytest.mark.parametrize(
    ("kind", "parameters", "multiplier"), [("abs", {}, 1.0), ("leaky_relu", {"alpha": np.array([0.9])}, 1e6)]
)
def test_errors_of_activations_hold_those_of_their_inputs_and_of_new_columns(
    kind: str, parameters, multiplier: float
) -> None:
    rng = np.random.default_rng(7)
    graph = nn.sequential(nn.linear(rng.standard_normal((3, 2))), nn.activation(kind, **parameters))
    ball = Ball(np.zeros(2), 1.0)
    found, _ = sweep(graph, ball)
    around = through(graph, [Interval.point(ball.centre)])
    shape = Ellipsoid(graph, ball, found.of, around.of, {graph.output: np.full(3, multiplier)})
    node = graph.nodes[graph.output]
    assert isinstance(node, Activation)
    before, behind = (exact(System.of(shape, target).target.error) for target in (node.parent, graph.output))
    slopes = node.record.slopes_on(node.parameters, found[node.parent], around[node.parent])
    K, P = ellipsoid.slope_centre(slopes.low, slopes.high)
    for k, p, first, then in zip(exact(np.abs(K)), exact(P), before, behind, strict=True):
        d = Fraction(float(np.sqrt(multiplier * float(p))))
        assert first > 0
        assert then >= k * first + model(2) * p / d
