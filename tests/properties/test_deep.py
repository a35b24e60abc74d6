"""Deep contractions and expansions: the proof has no noise floor.

Multiplying a layer of a positively homogeneous network by a power of two multiplies the network, exactly. So the optimum
of a deep network is that of the same network with layers of norm about one, times a power of two.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

import lipcert
from lipcert.graph import build as nn

ACTIVATIONS = {"relu": nn.relu, "leaky_relu": lambda: nn.leaky_relu(0.1)}


def build(weights, act):
    layers = [layer for w in weights[:-1] for layer in (nn.linear(w), act())]
    return nn.sequential(*layers, nn.linear(weights[-1]))


def scaled(weights):
    """The weights divided by powers of two to norms in [1, 2), and the exponent that is lost."""
    exponents = [int(np.floor(np.log2(np.linalg.norm(w, 2)))) for w in weights]
    return [np.ldexp(w, -e) for w, e in zip(weights, exponents, strict=True)], sum(exponents)


def optimum(weights, act):
    """The value of the scaled problem, by the solver alone, times the power of two."""
    plain, exponent = scaled(weights)
    found = lipcert.bound(build(plain, act), lower=False)
    assert found.relative_gap <= 1e-7
    return float(np.ldexp(found.proposed, exponent))


def random_weights(depth, gain, seed=0, width=16):
    rng = np.random.default_rng(seed)
    sizes = [width] * (depth + 1)
    return [gain * rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]


@cache
def untuned(depth, act, width):
    return optimum(random_weights(depth, 1.0, width=width), ACTIVATIONS[act])


def tuned(depth, act, target, width=16):
    """Random weights whose bound is about the target."""
    factor = (target / untuned(depth, act, width)) ** (1.0 / depth)
    return [factor * w for w in random_weights(depth, 1.0, width=width)]


def trained(depth, act_slope, seed=0, width=16, steps=600, decay=0.12):
    """Weights after gradient descent on a regression with weight decay, which makes the network contract."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((width, 64))
    y = np.tanh(rng.standard_normal((width, width)) @ x / 4.0)
    weights = random_weights(depth, np.sqrt(2.0 / (1.0 + act_slope**2)), seed)
    for _ in range(steps):
        outputs, slopes = [x], []
        for w in weights[:-1]:
            z = w @ outputs[-1]
            slopes.append(np.where(z > 0, 1.0, act_slope))
            outputs.append(slopes[-1] * z)
        gradient = (weights[-1] @ outputs[-1] - y) / x.shape[1]
        for k in range(depth - 1, -1, -1):
            change = gradient @ outputs[k].T
            if k:
                gradient = slopes[k - 1] * (weights[k].T @ gradient)
            size = max(1.0, float(np.linalg.norm(change)))
            weights[k] = (1.0 - 0.02 * decay) * weights[k] - 0.02 * change / size
    return weights


def assert_tight(weights, act, name):
    best = optimum(weights, act)
    graph = build(weights, act)
    found = lipcert.bound(graph, lower_seconds=0.2)
    assert found.verified
    assert found.upper == pytest.approx(best, rel=1e-3), name
    assert found.upper >= best * (1.0 - 1e-6)
    assert found.lower <= found.upper
    lipcert.verify(found.certificate, graph)
    return found


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize(
    ("depth", "target", "width"),
    [(32, 1e-6, 3)]
    + [
        pytest.param(depth, target, 16, marks=pytest.mark.slow)
        for depth in (32, 64)
        for target in (1e-4, 1e-6, 1e-8, 1e6, 1e12)
    ],
)
def test_random_networks(act, depth, target, width):
    found = assert_tight(tuned(depth, act, target, width), ACTIVATIONS[act], act)
    assert found.upper == pytest.approx(target, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("act", "slope"), [("relu", 0.0), ("leaky_relu", 0.1)])
@pytest.mark.parametrize("depth", [32, 64])
def test_trained_networks(act, slope, depth):
    weights = trained(depth, slope)
    found = assert_tight(weights, ACTIVATIONS[act], act)
    assert found.upper < 1e-3


@pytest.mark.parametrize("exponent", [-300, 300])
def test_gains_whose_squares_no_float64_holds(exponent):
    """Twelve layers of 2^±25 each on top of a usual network: the same bound times 2^±300, exactly scaled."""
    weights = random_weights(12, 1.0, width=6)
    extreme = [np.ldexp(w, exponent // 12) for w in weights]
    best = lipcert.bound(build(weights, nn.relu), lower=False).upper
    found = lipcert.bound(build(extreme, nn.relu), lower_seconds=0.2)
    assert found.upper == pytest.approx(np.ldexp(best, exponent), rel=1e-6)
    assert 0.0 < found.lower <= found.upper
