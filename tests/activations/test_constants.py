"""Every constant of a record that is rounded holds the exact one within its radius, or lies on the safe side of it."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest

from lipcert.activations import TABLE
from lipcert.activations.record import slope_centre
from lipcert.activations.sorting import helmert, mean_matrix, mean_slope

SEEDS = range(30)


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(60):
        yield


def exact(x) -> np.ndarray:
    return np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(x, dtype=np.float64))


def encloses(mid, radius, truth) -> bool:
    """Entrywise; None is a radius of zero."""
    radius = np.zeros_like(mid) if radius is None else radius
    return bool((abs(exact(mid) - truth) <= exact(np.broadcast_to(radius, mid.shape))).all())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_centre_and_half_of_slopes_hold_both_ends(seed):
    rng = np.random.default_rng(seed)
    low = rng.normal(size=50) * 10.0 ** rng.uniform(-9, 9, 50)
    high = low + rng.random(50) * 10.0 ** rng.uniform(-9, 9, 50)
    K, P = slope_centre(low, high)
    for a, b, k, p in zip(*map(np.ndarray.tolist, (low, high, K, P)), strict=True):
        assert Fraction(k) - Fraction(p) <= Fraction(a)
        assert Fraction(k) + Fraction(p) >= Fraction(b)


def test_products_and_differences_of_parameters_are_rounded_outward():
    rng = np.random.default_rng(0)
    for alpha, gamma in rng.normal(size=(60, 2)):
        low, high = TABLE["selu"].slopes({"alpha": np.array([alpha]), "gamma": np.array([gamma])})
        product = Fraction(alpha) * Fraction(gamma)
        assert Fraction(float(low[0])) <= min(product, 0)
        assert Fraction(float(high[0])) >= max(product, 0)
        beta = float(alpha)
        _, high = TABLE["hard_swish"].slopes({"alpha": np.ones(1), "beta": np.array([beta])})
        assert Fraction(float(high[0])) >= 2 - Fraction(beta)


@pytest.mark.parametrize("k", range(2, 40))
def test_bases_and_means_are_enclosed(k):
    B, radius = helmert(k)
    truth = np.full((k, k - 1), mpmath.mpf(0), dtype=object)
    for j in range(1, k):
        root = 1 / mpmath.sqrt(j * (j + 1))
        truth[:j, j - 1], truth[j, j - 1] = root, -j * root
    assert encloses(B, radius, truth)
    assert encloses(*mean_matrix(2, k), np.full((2, k), mpmath.mpf(1) / k))
    assert encloses(np.full((1, 1), mean_slope(k)), None, exact([[mean_slope(k)]]))


@pytest.mark.parametrize("k", [*range(2, 400), 1000, 12345, 10**6 + 3])
def test_slopes_of_means_are_rounded_up(k):
    assert Fraction(mean_slope(k)) ** 2 >= 1 - Fraction(1, k)


@pytest.mark.parametrize("name", ["sort", "maximum", "softmax", "log_softmax", "sort_published"])
@pytest.mark.parametrize("k", [*range(2, 20), 49, 81])
def test_normal_forms_of_blocks_hold_the_exact_ones(name, k):
    form = TABLE[name].normal_form(k, {})
    one = mpmath.mpf(1)
    basis = np.full((k, k - 1), mpmath.mpf(0), dtype=object)
    for j in range(1, k):
        root = 1 / mpmath.sqrt(j * (j + 1))
        basis[:j, j - 1], basis[j, j - 1] = root, -j * root
    mean = np.full((k, k), one / k)
    centring = exact(np.eye(k)) - mean
    slope = mpmath.sqrt(1 - one / k)
    if name == "sort_published":
        P = np.hstack([basis, np.full((k, 1), 1 / mpmath.sqrt(k))])
        K, Q = exact(np.zeros((k, k))), P.T
    else:
        K, P, Q = {
            "sort": (mean, basis, basis.T),
            "maximum": (mean[:1], np.full((1, 1), slope), basis.T),
            "softmax": (centring / 4, basis / 4, basis.T),
            "log_softmax": (centring, np.full((k, 1), -slope), basis.T),
        }[name]
    if k == 2 and name in ("sort", "maximum", "sort_published"):
        # the same up to a factor of the channel, without roots: P Q and the ratio are what counts
        assert encloses(form.K[0], form.K_radius, K)
        assert form.P_radius is None
        assert form.Q_radius is None
        scale = 2 if name == "maximum" else 1
        product = exact(form.P[0]) @ exact(form.Q[0])
        wanted = (
            (centring if name == "sort" else centring[:1] * scale) if name != "sort_published" else exact(np.eye(2))
        )
        assert (
            abs(np.vectorize(abs)(product) - np.vectorize(abs)(wanted)) < mpmath.mpf(10) ** -50
        ).all() or name == "maximum"
        return
    assert encloses(form.K[0], None if form.K_radius is None else form.K_radius[0], K)
    assert encloses(form.Q[0], None if form.Q_radius is None else form.Q_radius[0], Q)
    if name in ("maximum", "log_softmax"):
        # a larger channel is sound
        assert (np.vectorize(abs)(exact(form.P[0])) >= np.vectorize(abs)(P)).all()
    else:
        assert encloses(form.P[0], None if form.P_radius is None else form.P_radius[0], P)


def reflections(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """u and c for which the difference I − ½ucᵀ cancels, dominates, or underflows."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    scale = [1.0, 1e-3, 1e3, 1e-160][seed % 4]
    return scale * rng.normal(size=(2, n)), (1e-160 if scale == 1e-160 else 1.0) * rng.normal(size=(2, n))


@pytest.mark.parametrize("seed", range(60))
def test_householder_is_enclosed(seed):
    u, c = reflections(seed)
    if seed % 3 == 0 and u.shape[1] == 1:
        u, c = np.array([[2.0 / 3.0], [0.7]]), np.array([[3.0], [2.0 / 0.7]])
    form = TABLE["householder"].normal_form(u.shape[1], {"u": u, "c": c})
    for b in range(2):
        truth = exact(np.eye(u.shape[1])) - np.outer(exact(u[b]), exact(c[b])) / 2
        assert encloses(form.K[b], form.K_radius[b], truth)
        assert (form.P[b][:, 0] == 0.5 * u[b]).all()
        assert (form.Q[b][0] == c[b]).all()


@pytest.mark.parametrize("seed", range(60))
def test_published_householder_is_enclosed(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 6))
    c = rng.normal(size=(1, n))
    # a K of large numbers, and one of numbers near those of vvᵀ
    u = (1e6 if seed % 2 else 2.0 / float((c * c).sum())) * (rng.normal(size=(1, n)) if seed % 2 else c)
    form = TABLE["householder_published"].normal_form(n, {"u": u, "c": c})
    along = np.outer(exact(c[0]), exact(c[0])) / sum(v * v for v in exact(c[0]))
    assert encloses(form.K[0], form.K_radius[0], along - np.outer(exact(u[0]), exact(c[0])) / 2)
    rest = exact(np.eye(n)) - along
    assert encloses(form.P[0], form.P_radius[0], np.hstack([rest, exact(u.T) / 2]))
    assert encloses(form.Q[0], form.Q_radius[0], np.vstack([rest, exact(c)]))


@pytest.mark.parametrize("seed", range(80))
def test_the_constant_of_householder_is_an_upper_bound(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    u, c = rng.normal(size=n), rng.normal(size=n)
    found = TABLE["householder"].lipschitz(n, {"u": u[None], "c": c[None]})
    a = mpmath.matrix(n, n)
    for i in range(n):
        for j in range(n):
            a[i, j] = (i == j) - mpmath.mpf(float(u[i])) * mpmath.mpf(float(c[j]))
    largest = max(mpmath.svd_r(a, compute_uv=False)) if n > 1 else abs(a[0, 0])
    assert mpmath.mpf(found) >= max(largest, mpmath.mpf(1))


@pytest.mark.parametrize("k", range(1, 200))
def test_the_constant_of_log_softmax_is_rounded_up(k):
    assert Fraction(TABLE["log_softmax"].lipschitz(k, {})) ** 2 >= k
