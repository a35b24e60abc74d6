"""The norm product: its figures, and above the truth where float64 ends."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import lipcert
from lipcert.activations import TABLE
from lipcert.bounds.product import norm_product
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.linear_maps import Diagonal, Index
from lipcert.graph.nodes import GraphBuilder
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm

rng = np.random.default_rng(0)
W = [rng.standard_normal(shape) for shape in ((5, 3), (5, 5), (2, 5))]
N = [float(np.linalg.norm(w, 2)) for w in W]


def value(*layers, inputs=None):
    return norm_product(nn.sequential(*layers, inputs=inputs)).value


def test_a_chain_is_the_product():
    found = value(nn.linear(W[0]), nn.relu(), nn.linear(W[1]), nn.sigmoid(), nn.linear(W[2]))
    assert found == pytest.approx(N[0] * N[1] * 0.25 * N[2], rel=1e-8)
    assert Fraction(found) >= Fraction(1, 4) * Fraction(N[0]) * Fraction(N[1]) * Fraction(N[2]) * (
        1 - Fraction(1, 2**49)
    )


def test_layers_without_an_activation_between_are_one_matrix():
    assert value(nn.linear(W[0]), nn.linear(W[1])) == pytest.approx(np.linalg.norm(W[1] @ W[0], 2), rel=1e-8)


def test_a_residual_block_is_the_sum():
    assert value(nn.residual(nn.linear(W[1]), nn.tanh()), inputs=5) == pytest.approx(1.0 + N[1], rel=1e-8)


def test_a_concatenation_is_the_root_of_the_sum_of_squares():
    builder = GraphBuilder()
    x = builder.input(3)
    left = nn.sequential(nn.linear(W[0]), nn.relu())
    place = np.arange(8)
    a = nn.inline(builder, left, [x])
    joined = builder.affine(
        [a, x], [Index(np.where(place < 5, place, -1), 5), Index(np.where(place >= 5, place - 5, -1), 3)]
    )
    assert norm_product(builder.finish(joined)).value == pytest.approx(np.hypot(N[0], 1.0), rel=1e-8)


def test_an_implicit_layer_has_none():
    assert norm_product(nn.sequential(nn.fixed_point([[0.5]], [[1.0]], None, nn.relu()))) is None


@pytest.mark.parametrize(
    ("norm", "output_norm", "factor"),
    [(Norm.L2, Norm.L2, 1.0), (Norm.LINF, Norm.L2, 3**0.5), (Norm.L2, Norm.L1, 2**0.5), (Norm.LINF, Norm.L1, 6**0.5)],
)
def test_other_norms(norm, output_norm, factor):
    product = norm_product(nn.sequential(nn.linear(W[0]), nn.relu(), nn.linear(W[2])))
    assert product.conversion(Claim(norm, output_norm)) == pytest.approx(product.value * factor, rel=1e-12)


def test_a_product_below_float64_is_not_zero():
    layers = [layer for _ in range(3) for layer in (nn.linear([[1e-200]]), nn.abs_())]
    assert 0.0 < value(*layers) < 1e-290
    assert value(nn.linear([[0.0]]), *layers) == 0.0
    found = lipcert.bound(nn.sequential(*layers), method="product", lower=False)
    assert 0.0 < found.upper < 1e-280


def test_a_product_beyond_float64_is_none():
    graph = nn.sequential(*(layer for _ in range(3) for layer in (nn.linear([[1e200]]), nn.abs_())))
    assert norm_product(graph) is None
    with pytest.raises(lipcert.NotCertified, match="overflow"):
        lipcert.bound(graph, method="product", lower=False)
    with pytest.raises(lipcert.NotCertified):
        lipcert.bound(graph, lower=False)


def test_an_entry_of_zero_with_a_radius_is_no_zero():
    builder = GraphBuilder()
    x = builder.input(1)
    both = builder.affine([x, x], [Diagonal(np.zeros(1), np.ones(1)), Diagonal(np.ones(1))])
    assert norm_product(builder.finish(both)).value >= 2.0


def test_the_factor_of_huge_reflections_does_not_vanish():
    record = TABLE["householder"]
    v = np.full((1, 2), 1e200)
    with np.errstate(over="ignore", invalid="ignore"):
        assert record.lipschitz(2, {"u": v, "c": v}) == np.inf


@pytest.mark.parametrize("seed", range(5))
def test_its_multipliers_prove_it(seed):
    random = np.random.default_rng(seed)
    graph = nn.sequential(
        nn.linear(random.standard_normal((6, 4))),
        nn.residual(nn.linear(random.standard_normal((6, 6))), nn.maxmin()),
        nn.leaky_relu(0.1),
        nn.linear(random.standard_normal((3, 6))),
    )
    found = lipcert.bound(graph, method="product", lower=False)
    assert found.upper == pytest.approx(norm_product(prepare(graph)).value, rel=1e-7)
    assert found.certificate is not None
    lipcert.verify(found.certificate, graph)


def test_each_output_has_its_own():
    network = nn.sequential(nn.linear(W[0]), nn.relu(), nn.linear(W[2]))
    margin = W[2][0] - W[2][1]
    exact = {
        "0": np.linalg.norm(W[2][0]) * N[0],
        "1": np.linalg.norm(W[2][1]) * N[0],
        "0-1": np.linalg.norm(margin) * N[0],
    }
    for method in ("product", "neuron"):
        found = lipcert.bound(network, outputs=list(exact), method=method, lower=False)
        for item in found.each:
            assert exact[item.output] <= item.product <= exact[item.output] * (1.0 + 1e-8)
            assert item.upper <= item.product * (1.0 + 1e-6)
        assert found.product == max(item.product for item in found.each)


def test_each_output_of_the_output_norm_linf():
    network = nn.sequential(nn.linear(W[0]), nn.relu(), nn.linear(W[2]))
    found = lipcert.bound(network, norm=2, output_norm="inf", method="product")
    assert found.product == pytest.approx(np.linalg.norm(W[2], axis=1).max() * N[0], rel=1e-8)
    # in ℓ∞ an input grows by √n
    both = lipcert.bound(network, norm="inf", outputs="each", method="product")
    assert both.product == pytest.approx(np.sqrt(3.0) * found.product, rel=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_own_products_of_residual_networks_hold(seed):
    random = np.random.default_rng(seed)
    layers = [
        nn.linear(random.standard_normal((6, 4))),
        nn.residual(nn.linear(random.standard_normal((6, 6))), nn.tanh()),
    ]
    network = nn.sequential(*layers, nn.residual(nn.linear(random.standard_normal((6, 6))), nn.relu()))
    found = lipcert.bound(network, outputs="each", method="product", lower=True, lower_seconds=0.3)
    joint = norm_product(network).value
    for item in found.each:
        assert item.lower <= item.upper <= item.product * (1.0 + 1e-9) <= joint * (1.0 + 2e-9)
