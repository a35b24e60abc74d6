"""Regions for every kind of layer: each norm pair, the matrix-free solver, tiny balls, and the whole space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import lipcert
from lipcert.activations import Pointwise
from lipcert.activations.table import GLOBAL
from lipcert.bounds.operator_norm import dense_norms
from lipcert.graph import build as nn
from lipcert.graph.evaluate import record
from lipcert.graph.linear_maps import Convolution
from lipcert.graph.nodes import Graph
from lipcert.norms import Norm
from lipcert.regions import Ball, Box, everywhere

PAIRS = [(p, q) for p in Norm for q in Norm]


def _dense(rng: np.random.Generator, *layers: nn.Layer, inputs: int = 5) -> Graph:
    """Affine maps around the layers, each on twelve numbers."""
    parts = [nn.linear(rng.standard_normal((12, inputs)), rng.standard_normal(12))]
    for layer in layers:
        parts += [layer, nn.linear(rng.standard_normal((12, 12)) / 3.0, rng.standard_normal(12))]
    return nn.sequential(*parts, nn.linear(rng.standard_normal((3, 12))))


def _units(rng: np.random.Generator) -> np.ndarray:
    v = rng.standard_normal((6, 2))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def _implicit(rng: np.random.Generator) -> Graph:
    weight = rng.standard_normal((6, 6))
    weight *= 0.7 / np.linalg.norm(weight, 2)
    layer = nn.fixed_point(weight, rng.standard_normal((6, 4)), rng.standard_normal(6), nn.tanh())
    return nn.sequential(layer, nn.linear(rng.standard_normal((3, 6))))


def _pooling(rng: np.random.Generator) -> Graph:
    kernel = rng.standard_normal((2, 1, 3, 3))
    maps = Convolution(kernel, (6, 6), (1, 1), (1, 1), (0, 0, 0, 0))
    bias = rng.standard_normal(maps.shape[0])
    return nn.sequential(
        nn.linear(maps, bias), nn.relu(), nn.activation("maximum", block=4), nn.linear(rng.standard_normal((3, 8)))
    )


KINDS: dict[str, Callable[[np.random.Generator], Graph]] = {
    "implicit": _implicit,
    "maxmin": lambda rng: _dense(rng, nn.maxmin(), nn.maxmin()),
    "groupsort": lambda rng: _dense(rng, nn.group_sort(4), nn.group_sort(3)),
    "householder": lambda rng: _dense(rng, nn.householder(_units(rng))),
    "pooling": _pooling,
    "relu": lambda rng: _dense(rng, nn.relu(), nn.relu()),
}


def region_about(graph: Graph, seed: int, radius: float = 0.3) -> Ball:
    """A ball of one of the norms, cut with a box where the seed is odd."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal(graph.input_size)
    within = Box(centre - 0.6 * radius, centre + 0.8 * radius) if seed % 2 else None
    return Ball(centre, radius, (2, "inf", 1)[seed % 3], within)


@pytest.mark.parametrize("kind", KINDS)
def test_every_norm_pair_is_above_what_is_attained(kind: str) -> None:
    graph = KINDS[kind](np.random.default_rng(3))
    for seed, (p, q) in enumerate(PAIRS):
        region = region_about(graph, seed)
        anchored = seed % 4 == 3
        found = lipcert.bound(
            graph, norm=p, output_norm=q, region=region, anchored=anchored, lower_seconds=0.05, tolerance=1e-6
        )
        assert found.lower is not None
        assert 0.0 < found.lower <= found.upper
        if anchored:
            continue
        tape = record(graph, [region.sample(40, np.random.default_rng(seed), graph.input_size)])
        jacobians = np.stack([tape.jacobian(k) for k in range(40)])
        assert found.upper >= dense_norms(jacobians, p, q)[0].max() * (1.0 - 1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_matrix_free_solver_on_a_region(kind: str) -> None:
    graph = KINDS[kind](np.random.default_rng(4))
    region = region_about(graph, 0)
    exact = lipcert.bound(graph, region=region, method="neuron", lower=False)
    found = lipcert.bound(
        graph, region=region, method="neuron", solver="matrix-free", time_limit=20.0, lower_seconds=0.1
    )
    assert exact.upper * (1.0 - 1e-6) <= found.upper <= exact.upper * 1.02
    assert found.lower is not None
    assert found.lower <= found.upper
    assert found.certificate is not None
    assert lipcert.verify(found.certificate, graph).value == found.upper


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"norm": "inf"}, {"outputs": "each"}, {"norm": 1, "output_norm": 2}])
def test_the_whole_space_is_the_global_claim_to_the_last_digit(kind: str, options: dict[str, object]) -> None:
    graph = KINDS[kind](np.random.default_rng(5))
    plain = lipcert.bound(graph, lower=False, **options)  # type: ignore[arg-type]
    here = lipcert.bound(graph, lower=False, region=everywhere(), **options)  # type: ignore[arg-type]
    assert here.upper == plain.upper
    assert here.each == plain.each
    assert here.certificate is not None
    assert plain.certificate is not None
    assert here.certificate.to_json() == plain.certificate.to_json()


SMOOTH = [
    pytest.param(item, example.parameters, id=f"{name}-{k}")
    for name, item in GLOBAL.items()
    if isinstance(item, Pointwise) and item.smooth
    for k, example in enumerate(item.examples)
]


@pytest.mark.parametrize(("item", "parameters"), SMOOTH)
def test_a_tiny_ball_has_the_norm_of_the_jacobian(item: Pointwise, parameters: dict[str, np.ndarray]) -> None:
    for seed, (p, q) in enumerate([(Norm.L2, Norm.L2), (Norm.LINF, Norm.LINF), (Norm.L2, Norm.L1)]):
        rng = np.random.default_rng(seed)
        layer = nn.activation(item.name, 1, **parameters)
        # where logarithms, roots and quotients are defined
        first = nn.linear(0.3 * rng.standard_normal((5, 3)), 2.0 + rng.random(5))
        middle = nn.linear(0.1 * rng.standard_normal((5, 5)), 2.0 + rng.random(5))
        graph = nn.sequential(first, layer, middle, nn.tanh(), nn.linear(rng.standard_normal((2, 5))))
        centre = 0.1 * rng.standard_normal(3)
        found = lipcert.bound(
            graph, norm=p, output_norm=q, region=Ball(centre, 1e-6), anchored=bool(seed % 2), lower=False
        )
        jacobian = record(graph, [centre[:, None]]).jacobian()
        exact = float(dense_norms(jacobian[None], p, q, thorough=True)[0][0])
        # of ℓ2 → ℓ1 the program itself has a gap
        room = 1e-4 if q is not Norm.L1 else 0.3
        assert exact * (1.0 - 1e-4) <= found.upper <= exact * (1.0 + room)
