"""The proof by a front: as tight as the dense one, never more generous, whatever the order; each error term counts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from test_block_cholesky import ACTIVATIONS, chain, dense, proposal, residual

from lipcert.activations.record import NormalForm
from lipcert.arrays import Array
from lipcert.bounds.methods import Job, Prepared, solve_tied
from lipcert.certificates import Certificate, front, sparse_system, verify
from lipcert.certificates.block_cholesky import Weights
from lipcert.certificates.claims import Scaling
from lipcert.certificates.front import Entries, Front, ahead, assembled, cheapest, eliminated, orders, prove_by_front
from lipcert.certificates.proof import Proofs, Sweep
from lipcert.certificates.sparse_system import SparseSystem, group_form, scalar_form
from lipcert.constraints.multipliers import Multipliers, Tie
from lipcert.errors import CertificateRejected
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal
from lipcert.graph.nodes import FixedPoint, Graph, GraphBuilder
from lipcert.graph.prepare import prepare
from lipcert.importer import load
from lipcert.ranges.localise import Localised
from lipcert.sdp.outcome import SolverOptions


def system(graph: Graph, form: str = "comparators") -> Front:
    found = SparseSystem.of(prepare(graph, form))
    assert found is not None
    return Front(found)


def optimum(graph: Graph, form: str) -> tuple[Multipliers, float]:
    found = solve_tied(Job(Prepared(Localised(prepare(graph, form))), Claim(), "native", SolverOptions()), Tie.NEURON)
    assert found.claim is not None
    return found.cases[0].plain(), found.claim


def images(rng: np.random.Generator, kind: str = "relu", block: int = 1) -> Graph:
    """Convolutions with stride and padding, then a dense layer."""
    builder = GraphBuilder()
    x = builder.input(2 * 6 * 5)
    first = Convolution(rng.standard_normal((4, 2, 3, 3)) / 4, (6, 5), (1, 1), (1, 1), (1, 1, 1, 1))
    x = builder.activation(builder.affine([x], [first]), kind, block)
    second = Convolution(rng.standard_normal((4, 4, 3, 3)) / 6, (6, 5), (2, 2), (1, 1), (1, 1, 1, 1))
    x = builder.activation(builder.affine([x], [second]), kind, block)
    return builder.finish(builder.affine([x], [Dense(rng.standard_normal((3, second.shape[0])) / 6)]))


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("build", [chain, residual])
def test_as_tight_as_the_solver(build, act) -> None:
    graph = build(np.random.default_rng(3), act())
    multipliers, best = proposal(graph)
    found = prove_by_front(system(graph), multipliers)
    assert found is not None
    assert best * (1 - 1e-9) <= found.value() <= best * (1 + 2e-7)


MODELS = sorted((Path(__file__).parents[2] / "models").glob("*.onnx"))

GROUPS = {
    "maxmin": (nn.maxmin, "comparators"),
    "sorting network": (lambda: nn.group_sort(4), "comparators"),
    "sort": (lambda: nn.group_sort(4), "blocks"),
    "householder": (lambda: nn.householder(np.array([0.6, 0.8])), "comparators"),
    "softmax": (lambda: nn.softmax(4), "comparators"),
}


def grouped(rng: np.random.Generator, name: str) -> Graph:
    act = GROUPS[name][0]
    return nn.sequential(dense(rng, 7, 12), act(), dense(rng, 12, 8), act(), dense(rng, 8, 4))


@pytest.mark.parametrize("name", GROUPS)
def test_groups_cost_little(name: str) -> None:
    """The equation of what a group preserves is weighted, not substituted: some room is lost."""
    graph = grouped(np.random.default_rng(3), name)
    multipliers, best = optimum(graph, GROUPS[name][1])
    found = prove_by_front(system(graph, GROUPS[name][1]), multipliers)
    assert found is not None
    assert best * (1 - 1e-9) <= found.value() <= best * (1 + 2e-4)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_proofs_of_the_models_agree(path: Path) -> None:
    """To 1e-6 where nothing is preserved; else the equation's room is lost, which is one of few."""
    graph = prepare(load(path))
    proofs = Proofs(graph, Claim())
    if not isinstance(proofs.sparse, Sweep):
        assert any(isinstance(node, FixedPoint) for _, node in graph.walk())
        return
    multipliers, _ = optimum(graph, "comparators")
    (case,) = proofs.cases
    dense_one, sparse_one = (proof.improve(case, multipliers) for proof in (proofs.dense, proofs.sparse))
    assert dense_one is not None
    assert sparse_one is not None
    room = 2e-4 if proofs.sparse.system.equations else 1e-6
    assert abs(sparse_one.value() / dense_one.value() - 1.0) <= room


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6), excess=st.sampled_from([1e-3, 1e-6, 1e-8]), kind=st.integers(0, len(ACTIVATIONS) - 1)
)
def test_nothing_is_proven_below_the_optimum(seed: int, excess: float, kind: int) -> None:
    rng = np.random.default_rng(seed)
    graph = (chain, residual)[seed % 2](rng, ACTIVATIONS[kind]())
    multipliers, best = proposal(graph)
    d = np.sqrt(multipliers.lam) * np.exp(excess * rng.standard_normal(multipliers.lam.size))
    assert not system(graph).holds(Scaling(d, np.array([best * (1 - excess)])))


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), excess=st.sampled_from([1e-3, 1e-6, 1e-8]), name=st.sampled_from(sorted(GROUPS)))
def test_nothing_is_proven_below_the_optimum_of_groups(seed: int, excess: float, name: str) -> None:
    rng = np.random.default_rng(seed)
    graph = grouped(rng, name)
    multipliers, best = optimum(graph, GROUPS[name][1])
    d = np.sqrt(multipliers.lam) * np.exp(excess * rng.standard_normal(multipliers.lam.size))
    assert not system(graph, GROUPS[name][1]).holds(Scaling(d, np.array([best * (1 - excess)])))


def test_agrees_with_the_dense_proof_on_any_scaling() -> None:
    rng = np.random.default_rng(5)
    graph = images(rng, "tanh")
    multipliers, best = proposal(graph)
    sparse, both = system(graph), []
    for _ in range(40):
        lam = multipliers.lam * np.exp(0.05 * rng.standard_normal(multipliers.lam.size))
        scaling = Scaling(np.sqrt(lam), np.array([best * (1 + 10.0 ** rng.uniform(-4, -0.5))]))
        certificate = Certificate(Claim(), scaling.value(), "comparators", graph.fingerprint.hex(), (scaling,))
        try:
            verify(certificate, graph)
            expected = True
        except CertificateRejected:
            expected = False
        both.append((expected, sparse.holds(scaling)))
    assert {x for x, _ in both} == {True, False}
    assert all(x == y for x, y in both)


class TestNeuronsWithoutChoice:
    """Slopes that are known: the neuron is linear, and its multiplier does not matter."""

    def build(self, below: np.ndarray, above: np.ndarray) -> tuple[Graph, Graph]:
        """A layer with these slopes in the middle, and the same without that layer."""
        rng = np.random.default_rng(7)
        A, B, C = (rng.standard_normal(shape) / 2 for shape in ((6, 4), (6, 6), (3, 6)))
        builder = GraphBuilder()
        x = builder.activation(builder.affine([builder.input(4)], [Dense(A)]), "relu")
        z = builder.affine([x], [Dense(B)])
        known = builder.activation(z, "two_slope", 1, {"below": below, "above": above})
        slopes = builder.affine([z], [Diagonal(above)])
        with_layer, without = (builder.affine([w], [Dense(C)]) for w in (known, slopes))
        return builder.finish(with_layer), builder.finish(without)

    def test_all_are_known(self) -> None:
        slopes = np.array([0.0, 1.0, 0.3, 0.0, -0.5, 1.0])
        graph, plain = self.build(slopes, slopes)
        multipliers, best = proposal(plain)
        d = np.sqrt(multipliers.lam)
        for sparse in (system(graph), system(plain)):
            scaling = Scaling(d[: sparse.groups] * (1 + 1e-8), np.array([best * (1 + 1e-6)]))
            assert sparse.holds(scaling)
            assert not sparse.holds(replace(scaling, m=scaling.m * (1 - 2e-6)))

    def test_some_are_known(self) -> None:
        below = np.array([0.0, 1.0, 0.0, 0.0, -0.5, 0.0])
        above = np.array([0.0, 1.0, 1.0, 0.0, -0.5, 1.0])
        graph, _ = self.build(below, above)
        multipliers, best = proposal(graph)
        found = prove_by_front(system(graph), multipliers)
        assert found is not None
        assert best * (1 - 1e-9) <= found.value() <= best * (1 + 1e-6)

    def test_a_narrow_range_costs_what_it_must(self) -> None:
        """Slopes in 1 ± 2⁻⁵⁰ are one slope with a radius, and dead ones nothing."""
        ones = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
        graph, plain = self.build(ones * (1 - 2.0**-50), ones * (1 + 2.0**-50))
        multipliers, best = proposal(plain)
        lam = np.concatenate([multipliers.lam, np.ones(6)])
        found = prove_by_front(system(graph), Multipliers(lam[: system(graph).groups], multipliers.mu))
        assert found is not None
        assert best * (1 - 1e-9) <= found.value() <= best * (1 + 1e-6)


class TestOrders:
    def test_images_are_swept(self) -> None:
        rng = np.random.default_rng(0)
        builder = GraphBuilder()
        x = builder.input(3 * 16 * 16)
        for channels in (3, 4, 4):
            kernel = rng.standard_normal((4, channels, 3, 3))
            conv = Convolution(kernel, (16, 16), (1, 1), (1, 1), (1, 1, 1, 1))
            x = builder.activation(builder.affine([x], [conv]), "relu")
        graph = builder.finish(builder.affine([x], [Dense(rng.standard_normal((10, 1024)))]))
        plan = system(graph).plan
        assert plan.name.startswith("along axis")
        # about four rows of 16 positions of all the layers
        assert plan.front < 16 * 15 * 4

    @pytest.mark.parametrize("kind", ["relu", "sort"])
    def test_each_gives_the_same_matrix(self, kind: str) -> None:
        graph = images(np.random.default_rng(1), kind, 1 + (kind == "sort"))
        sparse = system(graph)
        rng = np.random.default_rng(2)
        scaling = Scaling(np.exp(rng.standard_normal(sparse.groups)), np.array([3.0]))
        eigenvalues = []
        for name, order in orders(sparse.graph):
            assert np.array_equal(np.sort(order), np.arange(order.size)), name
            at = np.empty(order.size, dtype=np.int64)
            at[order] = np.arange(order.size)
            position = np.argsort(np.argsort(at[sparse.graph.label], kind="stable"))
            found = assembled(sparse.system, scaling, 1e3, position)
            assert found is not None
            eigenvalues.append(np.linalg.eigvalsh(whole(found[0])))
        assert np.ptp(eigenvalues, axis=0).max() < 1e-12 * np.abs(eigenvalues).max()

    def test_the_front_is_as_large_as_planned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(front, "_WIDTH", 1)
        monkeypatch.setattr(front, "_tile", lambda size: 1)
        sparse = system(images(np.random.default_rng(1)))
        found = assembled(sparse.system, Scaling(np.ones(sparse.groups), np.array([30.0])), 1.0, sparse.plan.position)
        assert found is not None
        work = front._Elimination(*found, sparse.plan.front)
        assert work.run()
        # unknowns of a node that do not meet enter one by one
        assert sparse.plan.front - sparse.graph.weight.max() < work.taken.size <= sparse.plan.front


def whole(M: Entries) -> np.ndarray:
    """M̂ as a dense matrix, in the order of elimination."""
    upper = sum((part.toarray() for part in M.parts), np.zeros((M.count, M.count)))
    return upper + upper.T + np.diag(M.diagonal)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), side=st.sampled_from([2, 5, 16]), width=st.sampled_from([1, 3, 8]))
def test_elimination_tells_definite_matrices(seed: int, side: int, width: int) -> None:
    """For random patterns, tiles and panels, on both sides of singularity."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    A = sp.random_array((n, n), density=rng.uniform(0.02, 0.3), rng=rng, format="csr")
    M = Entries(np.arange(n), np.array([0, n]))
    M.add(0, 0, sp.csr_array(A @ A.T), symmetric=True)
    M.diagonal += 0.1
    M.sort()
    least = float(np.linalg.eigvalsh(whole(M))[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front, "_WIDTH", width)
        patch.setattr(front, "_tile", lambda size: side)
        assert eliminated(M, least - 1e-9, n)
        assert not eliminated(M, least + 1e-9, n)


def fractions(a: np.ndarray) -> np.ndarray:
    """The same numbers, exactly."""
    return np.vectorize(Fraction, otypes=[object])(np.asarray(a, dtype=np.float64))


def worst(error: np.ndarray) -> float:
    """The largest entry of an exact matrix, which its norm is not below."""
    return float(max((abs(x) for x in error.ravel()), default=Fraction(0)))


def stage(name: str, seed: int) -> tuple[float, float]:
    """The largest exact error of one stage on random numbers, and the bound that the proof has for it."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((4, 6)) * (rng.random((4, 6)) < 0.6)
    rows, columns = np.exp(rng.standard_normal(4)), np.exp(rng.standard_normal(6))
    sparse = sp.csr_array(A)
    if name == "scaled":
        part = front.scaled(Weights(sparse), rows, columns)
        meant = fractions(rows)[:, None] * fractions(A) / fractions(columns)[None, :]
    elif name == "blockwise":
        small = rng.standard_normal((2, 2, 2))
        part = front.blockwise(small, np.zeros_like(small), rows, rows)
        meant = np.zeros((4, 4), dtype=object)
        for b in range(2):
            meant[2 * b : 2 * b + 2, 2 * b : 2 * b + 2] = fractions(small[b])
        meant = meant * fractions(rows)[:, None] * fractions(rows)[None, :]
    else:
        B = sp.csr_array(rng.standard_normal((6, 5)))
        exactly = (front.Part(x, front.norm(x), 0.0) for x in (sparse, B))
        part = front.product(*exactly, 6)
        meant = fractions(A) @ fractions(B.toarray())
    assert part is not None
    return worst(fractions(part.mid.toarray()) - meant), part.spread


STAGES = ("scaled", "blockwise", "product")


@pytest.mark.parametrize("name", STAGES)
def test_the_rounding_of_each_stage_is_covered(name: str) -> None:
    assert all(error <= bound for error, bound in (stage(name, seed) for seed in range(30)))


@pytest.mark.parametrize("name", STAGES)
def test_dropped_rounding_of_a_stage_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "gamma", lambda k: 0.0)
    assert any(error > bound for error, bound in (stage(name, seed) for seed in range(30)))


def radii_are_covered(seed: int) -> bool:
    """Whether a move of weights and constants within their radii moves every stage by no more than its bound."""
    rng = np.random.default_rng(seed)
    A, small = rng.standard_normal((4, 6)), rng.standard_normal((2, 2, 2))
    dA, dsmall = (1e-3 * rng.random(x.shape) for x in (A, small))
    rows, columns = np.exp(rng.standard_normal(4)), np.exp(rng.standard_normal(6))
    near = front.scaled(Weights(sp.csr_array(A), sp.csr_array(dA)), rows, columns)
    moved = front.scaled(Weights(sp.csr_array(A + dA * rng.choice([-1, 1], A.shape))), rows, columns)
    left = front.blockwise(small, dsmall, rows, rows)
    turned = front.blockwise(small + dsmall * rng.choice([-1, 1], small.shape), 0.0 * small, rows, rows)
    assert near is not None
    assert moved is not None
    pairs = [(near, moved), (left, turned), (front.product(left, near, 4), front.product(turned, moved, 4))]
    pairs.append((front.product(left, moved, 4), front.product(turned, moved, 4)))
    sure = front.blockwise(small, 0.0 * small, rows, rows)
    pairs.append((front.product(sure, near, 4), front.product(sure, moved, 4)))
    return all(np.linalg.norm((a.mid - b.mid).toarray(), 2) <= a.spread for a, b in pairs)


def test_radii_are_covered() -> None:
    assert all(radii_are_covered(seed) for seed in range(40))


def _without(part: front.Part) -> front.Part:
    return replace(part, spread=0.0)


PRODUCT, SCALED, BLOCKWISE = front.product, front.scaled, front.blockwise


@pytest.mark.parametrize(
    ("stage_name", "mutant"),
    [
        ("scaled", lambda w, r, c: SCALED(Weights(w.mid), r, c)),
        ("blockwise", lambda s, radius, r, c: BLOCKWISE(s, 0.0 * radius, r, c)),
        ("product", lambda a, b, k: PRODUCT(_without(a), b, k)),
        ("product", lambda a, b, k: PRODUCT(a, _without(b), k)),
    ],
)
def test_a_dropped_radius_is_noticed(stage_name: str, mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, stage_name, mutant)
    assert not all(radii_are_covered(seed) for seed in range(40))


class TestEveryTermEnters:
    """Each stage's error is part of what M has to exceed: with a large one nothing is proven."""

    @pytest.fixture
    def proven(self) -> tuple[Front, Scaling]:
        graph = images(np.random.default_rng(4), "sort", 2)
        sparse = system(graph)
        # the norm product's multipliers with much room
        found = prove_by_front(sparse, optimum(graph, "comparators")[0])
        assert found is not None
        return sparse, Scaling(found.d, found.m * 1.1)

    @pytest.mark.parametrize("name", ["sum_error", "pivot_room"])
    def test_sums_and_pivots(self, name: str, proven, monkeypatch: pytest.MonkeyPatch) -> None:
        sparse, scaling = proven
        assert sparse.holds(scaling, 1e3)
        monkeypatch.setattr(front, name, lambda M: 1.0)
        assert not sparse.holds(scaling, 1e3)

    @pytest.mark.parametrize("name", ["scaled", "blockwise", "product"])
    @pytest.mark.parametrize("call", range(8))
    def test_parts(self, name: str, call: int, proven, monkeypatch: pytest.MonkeyPatch) -> None:
        """Layers one and two have a source each, and A, C, CZ, ZᵀCZ, B, BZ; the outputs have a source."""
        sparse, scaling = proven
        usual, calls = getattr(front, name), []

        def spoilt(*arguments):
            part = usual(*arguments)
            calls.append(None)
            return replace(part, spread=1.0) if len(calls) == call + 1 else part

        monkeypatch.setattr(front, name, spoilt)
        held = sparse.holds(scaling, 1e3)
        assert held == (len(calls) <= call)


def forms_hold(seed: int) -> bool:
    """Whether the true A, B, C of random blocks lie within the radii of the computed ones, in exact arithmetic."""
    rng = np.random.default_rng(seed)
    K, P = rng.uniform(-2, 2, 5), rng.uniform(0.01, 2, 5)
    form = scalar_form(K, P)
    Kx, Px = fractions(K), fractions(P)
    meant = (1 / Px**2, Kx / Px**2, (Kx - Px) * (Kx + Px) / Px**2)
    pairs = zip(meant, (form.A, form.B, form.C), (form.A_radius, form.B_radius, form.C_radius), strict=True)
    return all(
        abs(Fraction(float(mid)) - true) <= Fraction(float(rad))
        for x, middle, radius in pairs
        for true, mid, rad in zip(x, middle.ravel(), radius.ravel(), strict=True)
    )


def test_forms_of_numbers_are_enclosed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(forms_hold(seed) for seed in range(20))
    monkeypatch.setattr(sparse_system, "gamma", lambda k: 0.0)
    assert not all(forms_hold(seed) for seed in range(20))


def test_the_form_of_a_relu_leaves_no_product() -> None:
    form = scalar_form(np.array([0.5, 0.25]), np.array([0.5, 0.25]))
    assert not form.C.any()
    assert not form.C_radius.any()


def group_holds(seed: int, lost: str = "") -> bool:
    """Whether some A, B, C within the radii make the inequality true for all K, P, Q within theirs, on random signals."""
    rng = np.random.default_rng(seed)
    K, P, Q = (rng.standard_normal(shape) for shape in ((1, 3, 3), (1, 3, 2), (1, 2, 3)))
    names = ("K_radius", "P_radius", "Q_radius")
    # one alone, where it is lost
    radii = [1e-3 * rng.random(x.shape) * (lost in ("", r)) for r, x in zip(names, (K, P, Q), strict=True)]
    none = np.zeros(2, dtype=np.int64)
    normal = NormalForm(K, P, Q, none, none, *radii)
    form = group_form(replace(normal, **{lost: None}) if lost else normal, 1.0 if lost else 1e3)
    assert form is not None
    Kt, Pt, Qt = (x + r * rng.choice([-1, 1], x.shape) for x, r in zip((K, P, Q), radii, strict=True))
    z = rng.standard_normal((3, 400))
    v = rng.standard_normal((2, 400))
    v *= np.linalg.norm(Qt[0] @ z, axis=0) / np.linalg.norm(v, axis=0)
    w = Kt[0] @ z + Pt[0] @ v

    def value(A, B, C):
        return (w * (A @ w) - 2 * w * (B @ z) + z * (C @ z)).sum(axis=0)

    slack = (np.abs(w) * (form.A_radius[0] @ np.abs(w)) + 2 * np.abs(w) * (form.B_radius[0] @ np.abs(z))).sum(axis=0)
    slack += (np.abs(z) * (form.C_radius[0] @ np.abs(z))).sum(axis=0)
    return bool((value(form.A[0], form.B[0], form.C[0]) <= slack).all())


def test_the_constraint_of_a_group_holds_on_its_trajectories() -> None:
    assert all(group_holds(seed) for seed in range(60))


@pytest.mark.parametrize("lost", ["K_radius", "P_radius", "Q_radius"])
def test_a_dropped_radius_of_a_group_is_noticed(lost: str) -> None:
    assert not all(group_holds(seed, lost) for seed in range(100))


def test_what_is_left_to_other_proofs() -> None:
    assert SparseSystem.of(prepare(nn.sequential(nn.fixed_point([[0.5]], [[1.0]], None, nn.relu())))) is None
    sparse = system(chain(np.random.default_rng(0), nn.relu()))
    huge = Scaling(np.full(sparse.groups, 1e200), np.array([1.0]))
    assert not sparse.holds(huge)


def test_the_cheapest_order_is_taken() -> None:
    graph = system(images(np.random.default_rng(0))).graph
    plan = cheapest(graph)
    everything = [*orders(graph), *ahead(graph)]
    assert plan.operations == min(front._operations(graph, order) for _, order in everything)
    assert all(sorted(order) == list(range(graph.weight.size)) for _, order in everything)


def entries_of_the_factor(graph: front.Quotient, order: Array) -> list[int]:
    """How many unknowns each column meets, itself included, by elimination on a full matrix."""
    full = graph.neighbours.toarray()[np.ix_(order, order)] > 0
    weight, sizes = graph.weight[order], []
    for k in range(order.size):
        below = np.flatnonzero(full[k + 1 :, k]) + k + 1
        full[np.ix_(below, below)] = True
        sizes.append(int(weight[k] + weight[below].sum()))
    return sizes


def test_the_entries_of_the_factor_are_counted() -> None:
    graph = system(images(np.random.default_rng(0))).graph
    for _, order in [*orders(graph), *ahead(graph)]:
        sizes, weight = np.array(entries_of_the_factor(graph, order)), graph.weight[order]
        assert front._operations(graph, order) == ((sizes**3 - (sizes - weight) ** 3) / 3.0).sum()
        assert front._operations(graph, order) <= front._dense_cost(graph, order)[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_layers_that_run_ahead_leave_the_same_factorisation(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """M is definite or not whatever the order; small panels and tiles have rows that a column does not meet."""
    monkeypatch.setattr(front, "_WIDTH", 7)
    monkeypatch.setattr(front, "_tile", lambda size: 8)
    rng = np.random.default_rng(seed)
    sparse = system(images(rng))
    scaling = Scaling(np.exp(0.1 * rng.standard_normal(sparse.groups)), np.array([30.0]))
    for _, order in ahead(sparse.graph):
        at = np.empty(order.size, dtype=np.int64)
        at[order] = np.arange(order.size)
        position = np.empty(sparse.system.unknowns, dtype=np.int64)
        position[np.argsort(at[sparse.graph.label], kind="stable")] = np.arange(position.size)
        made = assembled(sparse.system, scaling, 1.0, position)
        assert made is not None
        M, _ = made
        (rows,) = M.parts
        full = (rows + rows.T).toarray() + np.diag(M.diagonal)
        least = float(np.linalg.eigvalsh(full)[0])
        front_size = front._dense_cost(sparse.graph, order)[1]
        for near in (1e-6, -1e-6):
            assert eliminated(M, least + near, front_size) == (near < 0.0)


# ---- errors that hide behind others


def inputs_alone(monkeypatch: pytest.MonkeyPatch, m: float, seed: int) -> tuple[Entries, float, Array]:
    """M without what the layers add, its error, and what its inputs were divided by."""
    for name in ("sum_error", "pivot_room"):
        monkeypatch.setattr(front, name, lambda M: 0.0)
    monkeypatch.setattr(front, "_layer", lambda *arguments: 0.0)
    rng = np.random.default_rng(seed)
    sparse = system(nn.sequential(dense(rng, 4, 3), nn.leaky_relu(0.3), dense(rng, 3, 2)))
    scaling = Scaling(np.ones(3), np.array([m]))
    made = assembled(sparse.system, scaling, 1.0, sparse.plan.position)
    assert made is not None
    forms = [None if layer.is_output else layer.form(1.0) for layer in sparse.system.layers]
    scales = front._scales(sparse.system, scaling, forms)
    assert scales is not None
    return *made, scales[0]


def test_the_scaled_inputs_are_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    off = []
    for seed in range(20):
        m = float(np.random.default_rng(seed).uniform(1.0, 9.0))
        M, shift, scale = inputs_alone(monkeypatch, m, seed)
        true = (Fraction(m) / fractions(scale)) ** 2
        off.append(max(abs(fractions(M.diagonal[M.position[0]]) - true)))
        assert off[-1] <= Fraction(shift)
    assert max(off) > 2.0**-54


def test_underflow_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "gamma", lambda k: 0.0)
    # weights of 2²⁴⁰ times scalings of 2¹²⁰, twice, times what is lost where something underflows
    assert inputs_alone(monkeypatch, 1.0, 0)[1] >= 2.0 ** (2 * (240 + 120) - 1022)


def around(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Midpoints, radii, and true numbers at the ends of them."""
    mid, radius = rng.standard_normal(shape), 0.1 * rng.random(shape)
    return mid, radius, fractions(mid) + fractions(radius * rng.choice([-1, 1], shape))


def spans(found: Weights, true: np.ndarray) -> bool:
    assert found.rad is not None
    off = abs(fractions(found.mid.toarray()) - true)
    return bool((off <= fractions(found.rad.toarray())).all())


@pytest.mark.parametrize("seed", range(5))
def test_what_goes_through_known_slopes_is_enclosed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    K, K_radius, K_true = around(rng, (3, 1, 1))
    W, W_radius, W_true = around(rng, (3, 4))
    weights = Weights(sp.csr_array(W), sp.csr_array(W_radius))
    found = sparse_system._through(K, K_radius, {0: sparse_system.Made(weights)}, 3)[0].get()
    assert spans(found, K_true[:, 0] * W_true)
    rows = np.array([2, 0])
    assert spans(sparse_system._rows(weights, rows), W_true[rows])


def test_the_radius_of_a_map_is_its_own() -> None:
    mid, radius, true = around(np.random.default_rng(1), (4,))
    found = sparse_system.Map(Diagonal(mid, radius)).get()
    assert spans(found, np.diag(true))


@pytest.mark.parametrize("seed", range(20))
def test_radii_of_numbers_widen_their_slopes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    K, K_radius, _ = around(rng, (5, 1, 1))
    P, P_radius = 1.0 + rng.random((5, 1, 1)), 0.1 * rng.random((5, 1, 1))
    none = np.zeros(1, dtype=np.int64)
    form = NormalForm(K, P, np.ones((5, 1, 1)), none, none, K_radius, P_radius, None)
    walk = object.__new__(sparse_system._Walk)
    walk.value, walk.layers, walk.places, walk.groups = {0: {0: sparse_system.Made(Weights.identity(5))}}, [], [None], 0
    node = SimpleNamespace(normal_form=form, parent=0, blocks=5, block=1)
    assert walk._activation(node, 1) is not None
    (layer,) = walk.layers
    assert layer.scalar is not None
    wanted = fractions(P[:, 0, 0]) + fractions(K_radius[:, 0, 0]) + fractions(P_radius[:, 0, 0])
    assert (fractions(layer.scalar[1]) >= wanted).all()


def test_radii_of_groups_are_rounded_up() -> None:
    none = np.zeros(1, dtype=np.int64)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        K, K_radius, _ = around(rng, (1, 1, 1))
        P = rng.uniform(0.5, 2.0, (1, 1, 1))
        form = group_form(NormalForm(K, P, np.ones((1, 1, 1)), none, none, K_radius, None, None), 1.0)
        assert form is not None
        # B = A K with A = H², which has a rounding and a radius itself
        a, a_radius, k, k_radius = (Fraction(float(x[0, 0, 0])) for x in (form.A, form.A_radius, K, K_radius))
        wanted = Fraction(sparse_system.gamma(3)) * a * abs(k) + a * k_radius + a_radius * (abs(k) + k_radius)
        assert Fraction(float(form.B_radius[0, 0, 0])) >= wanted
