"""Counterexamples are proven ones, inside the ball and the domain, and near where the truth is known."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from lipcert.bounds.attack import Attack
from lipcert.bounds.margins import proven_margins
from lipcert.bounds.robustness import robustness
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.norms import Norm
from lipcert.regions import Ball, Box

NORMS = [Norm.L1, Norm.L2, Norm.LINF]


def classifier(seed: int, widths=(4, 8, 3)):
    rng = np.random.default_rng(seed)
    layers = []
    for k, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [nn.relu()] if k else []
        layers.append(nn.linear(rng.standard_normal((b, a)) - 0.3, 0.3 * rng.standard_normal(b)))
    return nn.sequential(*layers), rng.uniform(0.0, 1.0, (12, widths[0]))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_found_within_the_radius_and_the_domain(norm, seed):
    graph, points = classifier(seed)
    domain = Box(0.0, 1.0)
    classes = forward(graph, points.T).argmax(axis=0)
    attack = Attack(graph, norm, domain)
    radius = np.full(len(points), 0.5 if norm is not Norm.L1 else 1.5)
    found = attack.at(points, classes, radius)
    proven, distances = attack.proven(points, classes, found, radius, lambda x: proven_margins(graph, x))
    hit = np.isfinite(distances)
    assert hit.sum() >= 3
    for x, y, c in zip(points[hit], proven[hit], classes[hit], strict=True):
        assert Ball(x, radius[0], norm, within=domain).contains(y)
        assert forward(graph, y).argmax() != c
    assert (distances[hit] <= radius[hit] * (1 + 1e-12)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_nearest_is_above_the_certified_radius_and_exact_for_linear_classifiers(norm):
    rng = np.random.default_rng(5)
    W, points = rng.standard_normal((3, 4)), rng.standard_normal((6, 4))
    graph = nn.sequential(nn.linear(W))
    result = robustness(graph, points, norm=str(norm))
    attack = Attack(graph, norm)
    _, distances = attack.nearest(points, result.predictions, result.radii, lambda x: proven_margins(graph, x))
    assert (distances >= result.radii).all()
    np.testing.assert_allclose(distances, result.radii, rtol=2.5e-2)


def test_one_output_is_a_class_against_zero():
    graph = nn.sequential(nn.linear([[1.0, 0.0]], [0.5]))
    points, classes = np.array([[0.25, 0.0], [-1.0, 0.0]]), np.array([1, 0])
    attack = Attack(graph, Norm.L2)
    _, distances = attack.nearest(points, classes, np.full(2, 0.1), lambda x: proven_margins(graph, x))
    np.testing.assert_allclose(distances, [0.75, 0.5], rtol=1e-3)


def test_what_is_not_proven_is_not_reported():
    graph, points = classifier(0)
    classes = forward(graph, points.T).argmax(axis=0)
    attack = Attack(graph, Norm.L2)
    radius = np.full(len(points), 0.1)
    # the samples themselves keep their class, far points leave the ball
    for found in (points, points + 100.0):
        _, distances = attack.proven(points, classes, found, radius, lambda x: proven_margins(graph, x))
        assert np.isinf(distances).all()


def test_distances_are_rounded_up():
    graph = nn.sequential(nn.linear([[1.0], [-1.0]]))
    rng = np.random.default_rng(0)
    points = rng.uniform(0.1, 1.0, (20, 1))
    found = -rng.uniform(0.1, 1.0, (20, 1))
    for norm in NORMS:
        attack = Attack(graph, norm)
        _, distances = attack.proven(points, np.zeros(20, dtype=int), found, None, lambda x: proven_margins(graph, x))
        exact = [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(points[:, 0], found[:, 0], strict=True)]
        assert all(Fraction(float(d)) >= e for d, e in zip(distances, exact, strict=True))
        np.testing.assert_allclose(distances, [float(e) for e in exact], rtol=1e-14)
