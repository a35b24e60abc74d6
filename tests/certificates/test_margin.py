"""The proof of the lifted program against sampling and exact rational arithmetic."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lipcert.bounds.lifted import program_of, proven_minimum
from lipcert.certificates import margin
from lipcert.certificates.enclosure import Enclosure
from lipcert.certificates.margin import MarginSystem, lower_bound
from lipcert.constraints.lifted import FAMILIES
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.rounding import Interval
from lipcert.sdp.solvers.lifted import solve


def network(seed: int, widths=(3, 6, 5, 1)):
    rng = np.random.default_rng(seed)
    layers = []
    for k, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [nn.relu()] if k else []
        layers.append(nn.linear(rng.standard_normal((b, a)) / np.sqrt(a), rng.standard_normal(b)))
    return nn.sequential(*layers), rng.standard_normal(widths[0])


def ranges(graph, centre, radius) -> Interval:
    """Wide enough ranges of all pre-activations: interval arithmetic, widened."""
    low, high, parts = centre - radius, centre + radius, []
    for _, node in graph.walk():
        if hasattr(node, "maps"):
            A = node.maps[0].to_dense()
            middle, spread = A @ (0.5 * (low + high)) + node.bias, np.abs(A) @ (0.5 * (high - low))
            low, high = middle - spread - 1e-9, middle + spread + 1e-9
        elif hasattr(node, "kind"):
            parts.append((low, high))
            low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
    return Interval(*(np.concatenate(ends) for ends in zip(*parts, strict=True)))


def system_of(seed: int, radius: float = 0.3) -> tuple[MarginSystem, object, np.ndarray]:
    graph, centre = network(seed)
    return MarginSystem.of(graph, centre, radius, ranges(graph, centre, radius)), graph, centre


def ball_points(centre, radius, count, rng):
    x = rng.standard_normal((centre.size, count))
    return centre[:, None] + radius * x / np.linalg.norm(x, axis=0) * rng.uniform(0, 1, count) ** (1 / centre.size)


@pytest.mark.parametrize("seed", range(6))
def test_below_the_network_and_close_to_the_solver(seed):
    system, graph, centre = system_of(seed)
    found = solve(program_of(system))
    value, _ = proven_minimum(system)
    least = forward(graph, ball_points(centre, 0.3, 4000, np.random.default_rng(seed))).min()
    assert value <= least
    assert value == pytest.approx(found.gamma, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_tight_where_nothing_is_undecided(seed):
    """Without channels the minimum is y(c) − r‖a‖, and the bound never exceeds it."""
    rng = np.random.default_rng(seed)
    a, centre = rng.standard_normal(7), rng.standard_normal(7)
    system = MarginSystem.of(nn.sequential(nn.linear([a], [0.5])), centre, 0.75, Interval(np.zeros(0), np.zeros(0)))
    value, _ = proven_minimum(system)
    rest = sum(Fraction(p) * Fraction(q) for p, q in zip(a, centre, strict=True)) + Fraction(0.5) - Fraction(value)
    norm = sum(Fraction(p) ** 2 for p in a) * Fraction(0.75) ** 2
    assert rest > 0
    assert rest**2 >= norm
    assert float(rest**2 - norm) < 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_any_multipliers_are_sound(seed):
    system, graph, centre = system_of(seed)
    rng = np.random.default_rng(seed)
    least = forward(graph, ball_points(centre, 0.3, 4000, rng)).min()
    good, theta = proven_minimum(system)
    for spread in (1e-9, 1e-4, 1e-1):
        noisy = theta * (1.0 + spread * rng.standard_normal(theta.size))
        assert lower_bound(system, noisy[:-1].reshape(FAMILIES, -1), noisy[-1]) <= least
    assert lower_bound(system, -np.abs(theta[:-1].reshape(FAMILIES, -1)), theta[-1]) <= least
    assert lower_bound(system, np.full((FAMILIES, system.channels), np.nan), 1.0) == -np.inf
    assert good <= least


@pytest.mark.parametrize("part", ["Q", "Y"])
def test_radii_count(part):
    """With radii the bound holds for every matrix within them: here for the worst constant of one row."""
    system, _graph, _centre = system_of(1)
    theta = proven_minimum(system)[1]
    split = (theta[:-1].reshape(FAMILIES, -1), theta[-1])
    spread = 1e-4
    n = system.channels
    old = getattr(system, part)
    values = []
    for sign in (-1.0, 1.0):
        mid = old.mid.copy()
        mid[-1, n] += sign * spread
        values.append(lower_bound(replace(system, **{part: Enclosure(mid, old.rad)}), *split))
    radius = old.radius().copy()
    radius[-1, n] += spread
    assert lower_bound(replace(system, **{part: Enclosure(old.mid, radius)}), *split) <= min(values) + 1e-12
    assert min(values) < lower_bound(system, *split)


def exact(system, theta, ball, H=None):
    """uᵀMu as a function of exact u, from exact theta or from a given H."""
    n = system.channels
    F = np.vectorize(Fraction, otypes=[object])
    c = system.constraints
    if H is None:
        half = sum(F(theta[f])[None, None] * F(c.left[f])[:, None] * F(c.right[f])[None] for f in range(len(theta)))
        H = (half + half.transpose(1, 0, 2)) / 2
    else:
        H = F(H)
    Q, Y = F(system.Q.mid), F(system.Y.mid[0])

    def value(u):
        u = F(u)
        forms = [F(np.ones(n)), Q @ u, u[:n]]
        total = Y @ u - sum((H[a, b] * forms[a] * forms[b]).sum() for a in range(3) for b in range(3))
        x = u[n + 1 :]
        return total - Fraction(ball) * (Fraction(system.ball) - x @ x)

    return value


@pytest.mark.parametrize("seed", range(3))
def test_rounding_terms_cover_the_rounding_and_are_not_idle(seed):
    system, _, _ = system_of(seed)
    theta = proven_minimum(system)[1]
    theta, ball = theta[:-1].reshape(FAMILIES, -1), theta[-1]
    theta = np.where(system.constraints.free[:, None], theta, np.maximum(theta, 0.0))
    H = system.constraints.quadratic(theta)
    M = margin._form(system, H, ball)
    true, rounded = exact(system, theta, ball), exact(system, theta, ball, H)
    F = np.vectorize(Fraction, otypes=[object])
    rng = np.random.default_rng(seed)
    sums, products = [], []
    for _ in range(5):
        u = system.reach * rng.choice([-1.0, 1.0], system.reach.size)
        u[system.channels] = 1.0
        t = F(u) / F(system.reach)
        sums.append(float(abs(true(u) - rounded(u))))
        products.append(float(abs(rounded(u) - t @ F(M) @ t)))
    assert 0.0 < max(sums) <= margin.sum_error(system, theta)
    assert 0.0 < max(products) <= margin.product_error(system, H, ball)


def test_what_is_no_modulus_is_refused():
    graph = nn.sequential(nn.linear(np.eye(2)), nn.softmax(2), nn.linear([[1.0, -1.0]]))
    with pytest.raises(margin.DoesNotApply):
        MarginSystem.of(graph, np.zeros(2), 1.0, Interval(-np.ones(1), np.ones(1)))


def test_compressed_inputs_change_nothing():
    """More inputs than rows: the basis of the rows is not exact, and its loss is accounted for."""
    graph, centre = network(3, (40, 4, 3, 1))
    system = MarginSystem.of(graph, centre, 0.2, ranges(graph, centre, 0.2))
    assert system.reach.size == 7 + 1 + 8
    value, _ = proven_minimum(system)
    least = forward(graph, ball_points(centre, 0.2, 4000, np.random.default_rng(0))).min()
    assert value <= least
    assert system.Q.radius()[:, 7].min() > 0.0
    # the loss covers what the basis leaves of the rows
    assert system.reach[-1] >= 0.2
