"""Networks that are 1-Lipschitz by construction, built from the formulas of their papers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from orthogonal import orthogonal, reflections
from sampling import steepest, steepest_chord

import lipcert
from lipcert.graph import build as nn
from lipcert.graph.linear_maps import Dense
from lipcert.graph.nodes import GraphBuilder

SLOPES_01 = {"relu": nn.relu(), "tanh": nn.tanh(), "clip": nn.clip(-1.0, 1.0)}


def upper(graph, **request):
    """By the semidefinite program, not by the norm product that `auto` takes where it is as small."""
    return lipcert.bound(graph, lower=False, **{"method": "neuron", "tolerance": 1e-9} | request).upper


def assert_one(graph, rng, slack=1e-5):
    """At most 1, and at least what points and pairs show."""
    bound = upper(graph)
    assert bound <= 1.0 + slack
    assert bound >= max(steepest(graph, 50, rng), steepest_chord(graph, 500, rng)) * (1.0 - 1e-12)
    return bound


ISOMETRIES = {
    "MaxMin": lambda rng: (nn.maxmin(), 10),
    "GroupSort(5)": lambda rng: (nn.group_sort(5), 10),
    "Householder": lambda rng: (reflections(5, 2, rng), 10),
    "Householder in five dimensions": lambda rng: (reflections(2, 5, rng), 10),
}


@pytest.mark.parametrize("form", ["comparators", "blocks"])
@pytest.mark.parametrize("method", ["neuron", "auto"])
@pytest.mark.parametrize("name", ISOMETRIES)
def test_a_single_layer(name, method, form):
    rng = np.random.default_rng(0)
    layer, n = ISOMETRIES[name](rng)
    alone, behind = nn.sequential(layer, inputs=n), nn.sequential(nn.linear(orthogonal(n, rng)), layer)
    between = nn.sequential(behind, nn.linear(orthogonal(n, rng)))
    for graph in (alone, behind, between):
        assert upper(graph, method=method, form=form) == pytest.approx(1.0, abs=1e-6)
        assert steepest_chord(graph, 200, rng) == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("name", ISOMETRIES)
def test_orthogonal_layers(name):
    # each layer's constraints with multipliers 1 add up to ‖Δx‖² − ‖Δy‖² ≥ 0
    rng = np.random.default_rng(1)
    layer, n = ISOMETRIES[name](rng)
    parts = [part for _ in range(4) for part in (nn.linear(orthogonal(n, rng), rng.standard_normal(n)), layer)]
    graph = nn.sequential(*parts, nn.linear(orthogonal(n, rng)[:3]))
    assert assert_one(graph, rng) >= 1.0 - 1e-6


def aol(outputs, inputs, rng):
    """W = V diag(Σ_j |VᵀV|_ij)^(−½), ‖W‖ ≤ 1: Prach & Lampert, ECCV 2022, arXiv 2208.03160, theorem 1."""
    V = rng.standard_normal((outputs, inputs))
    return V * np.abs(V.T @ V).sum(axis=1) ** -0.5


@pytest.mark.parametrize("activation", [nn.maxmin(), nn.group_sort(4), nn.relu(), nn.abs_()])
def test_almost_orthogonal_layers(activation):
    rng = np.random.default_rng(2)
    sizes = (6, 8, 8, 8, 4)
    weights = [aol(m, n, rng) for n, m in pairwise(sizes)]
    assert all(np.linalg.norm(W, 2) <= 1.0 + 1e-12 for W in weights)
    first, *others = (nn.linear(W, rng.standard_normal(len(W))) for W in weights)
    graph = nn.sequential(first, *(part for layer in others for part in (activation, layer)))
    assert assert_one(graph, rng) < 0.9, "the SDP sees more than the product of the norms"
    assert lipcert.bound(graph, method="product", lower=False).upper <= 1.0 + 1e-9


def sll(n, hidden, phi, rng):
    """x − 2 W T⁻¹ φ(Wᵀx + b), T = diag(Σ_j |WᵀW|_ij q_j/q_i), q > 0: Araujo et al., ICLR 2023, arXiv 2303.03169.

    Theorem 3 there: T ⪰ WᵀW by diagonal dominance, and then the slope constraint with multipliers 2T⁻¹ gives
    ‖Δx‖² − ‖Δy‖² ≥ 4 Δwᵀ T⁻¹(T − WᵀW)T⁻¹ Δw ≥ 0. The multipliers are diagonal, so the SDP sees it.
    """
    W, b, q = rng.standard_normal((n, hidden)), rng.standard_normal(hidden), np.exp(rng.standard_normal(hidden))
    T = (np.abs(W.T @ W) * q).sum(axis=1) / q
    return nn.residual(nn.linear(W.T, b), phi, nn.linear(-2.0 * W / T))


@pytest.mark.parametrize("phi", SLOPES_01)
@pytest.mark.parametrize("layers", [1, 3])
def test_sdp_based_layers(phi, layers):
    rng = np.random.default_rng(3)
    graph = nn.sequential(*(sll(5, hidden, SLOPES_01[phi], rng) for hidden in (7, 5, 3)[:layers]))
    # where no neuron reacts, the layer is the identity
    assert assert_one(graph, rng) >= 1.0 - 1e-6
    assert lipcert.bound(graph, method="product", lower=False).upper > 1.5


def sandwich(n, outputs, phi, rng):
    """√2 Aᵀ Ψ φ(√2 Ψ⁻¹ B x + b), Ψ = e^diag(d), AAᵀ + BBᵀ = I: Wang & Manchester, ICML 2023, arXiv 2301.11526.

    [A B]ᵀ comes from the Cayley transform: with Z = X − Xᵀ + YᵀY, Aᵀ = (I − Z)(I + Z)⁻¹ and Bᵀ = −2Y(I + Z)⁻¹.
    Multipliers Ψ² give ‖Δx‖² − ‖Δy‖² ≥ 0 (theorem 3.2 there).
    """
    X, Y = rng.standard_normal((outputs, outputs)), rng.standard_normal((n, outputs))
    Z, eye = X - X.T + Y.T @ Y, np.eye(outputs)
    A, B = ((eye - Z) @ np.linalg.inv(eye + Z)).T, (-2.0 * Y @ np.linalg.inv(eye + Z)).T
    np.testing.assert_allclose(A @ A.T + B @ B.T, eye, atol=1e-12)
    scale = np.exp(rng.standard_normal(outputs))
    into = nn.linear(np.sqrt(2.0) * B / scale[:, None], rng.standard_normal(outputs))
    return into, phi, nn.linear(np.sqrt(2.0) * A.T * scale)


@pytest.mark.parametrize("phi", SLOPES_01)
@pytest.mark.parametrize("sizes", [(6, 5), (6, 8, 7, 4)])
def test_sandwich_layers(phi, sizes):
    rng = np.random.default_rng(4)
    parts = [part for n, m in pairwise(sizes) for part in sandwich(n, m, SLOPES_01[phi], rng)]
    graph = nn.sequential(*parts)
    assert_one(graph, rng)
    assert lipcert.bound(graph, method="product", lower=False).upper > 1.5


def ldlt(inputs, outputs, widths, phi, rng):
    """A x + B w_l with w_k = φ(C_k w_(k−1) + b_k), w_0 = x: Juston et al., arXiv 2512.05915.

    With multipliers 1 the bound 1 is the matrix inequality of blocks I − AᵀA; 2I, …, 2I − BᵀB on the diagonal, −C_kᵀ
    beside it, −AᵀB in the corner. Its block LDLᵀ factorisation has the pivots D_0 = I − AᵀA and
    D_k = 2I − C_k D_(k−1)⁻¹ C_kᵀ, and the corner fills the last row with BᵀA F_k, F_k = D_0⁻¹C_1ᵀ ⋯ D_(k−1)⁻¹C_kᵀ. So
    C_k = √2 K D_(k−1)^½ with ‖K‖ < 1 keeps D_k ≻ 0, and the last pivot is 2(I − K₁K₁ᵀ − K₂K₂ᵀ) for
    S^½ B = √2 K₁ᵀ, S = I + Σ_(k<l−1) A F_k D_k⁻¹ (A F_k)ᵀ, and C_l = √2 K₂ D_(l−1)^½ − BᵀA F_(l−1).
    """

    def contraction(rows, columns):
        N = rng.standard_normal((rows, columns))
        return np.linalg.solve(np.linalg.cholesky(N @ N.T + 1e-4 * np.eye(rows)), N)

    A = contraction(outputs, inputs) * 0.9
    pivot, through, S = np.eye(inputs) - A.T @ A, A, np.eye(outputs)
    weights = []
    for width in widths[:-1]:
        root = np.linalg.cholesky(pivot)
        C = np.sqrt(2.0) * contraction(width, len(pivot)) * 0.9 @ root.T
        S = S + through @ np.linalg.solve(pivot, through.T)
        through = through @ np.linalg.solve(pivot, C.T)
        pivot = 2.0 * np.eye(width) - C @ np.linalg.solve(pivot, C.T)
        weights.append(C)
    K = np.sqrt(2.0) * contraction(widths[-1], outputs + len(pivot))
    B = np.linalg.solve(np.linalg.cholesky(S).T, K[:, :outputs].T)
    weights.append(K[:, outputs:] @ np.linalg.cholesky(pivot).T - B.T @ through)
    biases = [rng.standard_normal(len(C)) for C in weights]

    def add(builder: GraphBuilder, x: int) -> int:
        w = x
        for C, b in zip(weights, biases, strict=True):
            w = phi.add(builder, builder.affine([w], [Dense(C)], b))
        return builder.affine([x, w], [Dense(A), Dense(B)])

    return nn.Layer(add, inputs)


@pytest.mark.parametrize("phi", SLOPES_01)
@pytest.mark.parametrize("widths", [(6,), (6, 5), (4, 6, 5)])
def test_ldlt_residual_layers(phi, widths):
    rng = np.random.default_rng(5)
    assert_one(nn.sequential(ldlt(5, 4, widths, SLOPES_01[phi], rng)), rng)


def test_stacks_of_different_layers(tmp_path):
    rng = np.random.default_rng(6)
    graph = nn.sequential(
        nn.linear(aol(6, 8, rng)),
        nn.maxmin(),
        sll(6, 8, nn.relu(), rng),
        *sandwich(6, 6, nn.tanh(), rng),
        ldlt(6, 6, (5, 4), nn.relu(), rng),
        nn.linear(orthogonal(6, rng)),
        nn.group_sort(3),
    )
    bound = assert_one(graph, rng)
    lipcert.save(graph, tmp_path / "net.onnx")
    assert upper(tmp_path / "net.onnx") == pytest.approx(bound, rel=1e-6)
