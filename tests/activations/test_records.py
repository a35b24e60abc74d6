"""Every record of the table: slopes, normal form, derivatives, balls."""

from __future__ import annotations

from itertools import pairwise

import mpmath
import numpy as np
import pytest
from flint import arb, arb_series
from hypothesis import given, settings
from hypothesis import strategies as st

from lipcert.activations import TABLE, Pointwise
from lipcert.activations.balls import enclose
from lipcert.activations.sorting import helmert, mean_slope
from lipcert.activations.table import GLOBAL
from lipcert.errors import InvalidRequest

POINTWISE = [
    pytest.param(record, {key: value.item() for key, value in example.parameters.items()}, id=f"{name}-{k}")
    for name, record in GLOBAL.items()
    if isinstance(record, Pointwise)
    for k, example in enumerate(record.examples)
]
BLOCKS = [
    (name, example.block)
    for name, record in GLOBAL.items()
    if not isinstance(record, Pointwise)
    for example in record.examples
]


def arrays(values: dict[str, float]) -> dict[str, np.ndarray]:
    return {key: np.array([value]) for key, value in values.items()}


def block_parameters(name: str, block: int, blocks: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    if not name.startswith("householder"):
        return {}
    v = rng.standard_normal((blocks, block))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return {"u": 2 * v, "c": v}


@pytest.mark.parametrize(("record", "values"), POINTWISE)
def test_difference_quotients_lie_in_the_slope_interval(record, values):
    low, high = record.slopes(arrays(values))
    rng = np.random.default_rng(0)
    x = np.concatenate([np.linspace(-12, 12, 40001), rng.standard_normal(2000) * 100, rng.standard_normal(2000) * 1e-3])
    x = np.unique(x)
    w = record.value(x[None, None], arrays(values))[0, 0]
    quotient = np.diff(w) / np.diff(x)
    noise = 1e-15 * (1 + np.abs(w[1:]) + np.abs(x[1:])) / np.diff(x)
    assert (quotient >= low - 8 * noise).all()
    assert (quotient <= high + 8 * noise).all()
    # and the interval is not slack: slopes near both ends occur, except where the end is only a limit far out
    gradient = record.jvp(x[None, None], np.ones((1, 1, x.size)), arrays(values))
    assert gradient.min() <= low + 0.03 * (high - low) + 1e-12
    assert gradient.max() >= high - 0.03 * (high - low) - 1e-12


@pytest.mark.parametrize(("record", "values"), POINTWISE)
def test_slopes_enclose_the_derivative_on_a_covering_of_the_line(record, values):
    (low,), (high,) = record.slopes(arrays(values))
    exact = {key: arb(value) for key, value in values.items()}
    # balls have radii of 30 bits and square badly, so narrow ones; x/√(x² + c) is much overestimated even then
    tolerance = 3e-2 if record.name in {"soft_abs", "arsinh"} else 3e-8
    ends = [0.0, *(1.2**k for k in range(-15, 100))]
    stack = [*pairwise(ends)]
    stack += [(-b, -a) for a, b in stack]
    pieces = 0
    while stack:
        a, b = stack.pop()
        pieces += 1
        assert pieces < 50_000, f"no enclosure on [{a}, {b}]"
        middle = 0.5 * (a + b)
        series = record.enclosure(arb_series([arb(a).union(arb(b)), 1], prec=3), exact)
        slope = series[1]
        if record.smooth and not within(slope, low, high, tolerance):
            # φ'(x) ∈ φ'(m) + φ''([a, b])·(x − m)
            centre = record.enclosure(arb_series([middle, 1], prec=2), exact)[1]
            slope = centre + 2 * series[2] * arb(0, 0.5 * (b - a) * (1 + 1e-12))
        if not within(slope, low, high, tolerance):
            assert middle not in (a, b), f"the slope at {a} lies outside"
            stack += [(a, middle), (middle, b)]


def within(slope, low, high, tolerance):
    return slope > low - tolerance and slope < high + tolerance


EXTREMA = {
    "gelu": (lambda x: x * mpmath.ncdf(x), -1.4, 1.4),
    "gelu_tanh": (
        lambda x: x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))),
        -1.4,
        1.4,
    ),
    "silu": (lambda x: x / (1 + mpmath.exp(-x)), -2.4, 2.4),
    "mish": (lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))), -2.2, 1.5),
    "erf": (mpmath.erf, None, 1e-3),
}


@pytest.mark.parametrize("name", EXTREMA)
def test_decimal_extrema_are_rounded_outward_by_at_most_two_units(name):
    function, at_low, at_high = EXTREMA[name]
    ((low,), (high,)) = TABLE[name].slopes(TABLE[name].examples[0].parameters)
    with mpmath.workdps(40):
        for end, start, sign in ((low, at_low, -1), (high, at_high, 1)):
            if start is None:
                continue
            at = mpmath.findroot(lambda t: mpmath.diff(function, t, 2), start)
            outward = sign * (mpmath.mpf(float(end)) - mpmath.diff(function, at))
            assert 0 <= outward <= 2 * np.spacing(abs(end))


@pytest.mark.parametrize(("record", "values"), POINTWISE)
def test_pointwise_derivative_and_ball(record, values):
    rng = np.random.default_rng(1)
    x = rng.standard_normal(60) * 3
    p = arrays(values)
    step = 1e-6
    numeric = (record.value((x + step)[None, None], p) - record.value((x - step)[None, None], p)) / (2 * step)
    gradient = record.jvp(x[None, None], np.ones((1, 1, x.size)), p)
    np.testing.assert_allclose(gradient, numeric, atol=2e-5)
    np.testing.assert_array_equal(gradient, record.vjp(x[None, None], np.ones((1, 1, x.size)), p))
    radius = 1e-3
    balls = enclose(record, [arb(float(v), radius) for v in x], 1, p)
    for shift in (-radius, 0.0, radius):
        w = record.value((x + 0.99 * shift)[None, None], p).ravel()
        for value, ball in zip(w, balls, strict=True):
            assert abs(float(ball.mid()) - value) <= float(ball.rad()) + 1e-12
    lipschitz = record.lipschitz(1, p)
    assert max(float(ball.rad()) for ball in balls) <= 12 * radius * max(lipschitz, 1.0)


@pytest.mark.parametrize(("record", "values"), POINTWISE)
def test_values_are_finite_far_out(record, values):
    x = np.array([-1e300, -1e5, -800.0, 800.0, 1e5, 1e300]).reshape(1, 1, -1)
    with np.errstate(over="ignore", invalid="ignore"):
        w = record.value(x, arrays(values))
        g = record.jvp(x, np.ones_like(x), arrays(values))
    assert np.isfinite(w[..., 1:-1]).all()
    assert np.isfinite(g[..., 1:-1]).all()
    low, high = record.slopes(arrays(values))
    assert (g[..., 1:-1] >= low - 1e-12).all()
    assert (g[..., 1:-1] <= high + 1e-12).all()


def check_normal_form(record, z, shifted, block, parameters):
    """(N) on the columns of z and shifted, (blocks, block, columns)."""
    form = record.normal_form(block, parameters)
    dz = z - shifted
    dw = record.value(z, parameters) - record.value(shifted, parameters)
    rest = dw - form.K @ dz
    scale = 1e-12 * (np.abs(z).max() + np.abs(shifted).max() + 1)
    if form.P.shape[2] == 0:
        assert np.abs(rest).max() <= scale
        return
    # v = P⁺ rest must reproduce the rest, and be bounded by Q Δz group by group
    v = np.linalg.pinv(form.P) @ rest
    assert np.abs(form.P @ v - rest).max() <= scale
    bound = form.Q @ dz
    for g in range(form.groups):
        left = np.linalg.norm(v[:, form.column_group == g], axis=1)
        right = np.linalg.norm(bound[:, form.row_group == g], axis=1)
        size = np.abs(form.P).max(axis=(1, 2))[:, None]
        assert (left <= right * (1 + 1e-12) + scale / size).all()


@pytest.mark.parametrize(("record", "values"), POINTWISE)
def test_normal_form_of_pointwise_records_with_random_biases(record, values):
    rng = np.random.default_rng(2)
    z = rng.standard_normal((50, 1, 40)) * rng.choice([0.01, 1.0, 10.0], size=(50, 1, 40))
    other = z + rng.standard_normal(z.shape) * rng.choice([1e-3, 1.0, 10.0], size=z.shape)
    bias = rng.standard_normal((50, 1, 1)) * 3
    check_normal_form(record, z + bias, other + bias, 1, arrays(values))


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_normal_form_of_blocks_with_random_biases(name, block):
    rng = np.random.default_rng(block)
    record = TABLE[name]
    for parameters in (block_parameters(name, block, 30, rng), block_parameters(name, block, 1, rng)):
        z = rng.standard_normal((30, block, 60)) * rng.choice([0.1, 1.0, 5.0], size=(30, 1, 60))
        other = z + rng.standard_normal(z.shape) * rng.choice([1e-3, 1.0, 5.0], size=(30, 1, 60))
        bias = rng.standard_normal((30, block, 1)) * 2
        check_normal_form(record, z + bias, other + bias, block, parameters)


def test_normal_form_of_general_householder_parameters():
    rng = np.random.default_rng(5)
    parameters = {"u": rng.standard_normal((8, 3)), "c": rng.standard_normal((8, 3))}
    record = TABLE["householder"]
    z, other = rng.standard_normal((2, 8, 3, 200))
    check_normal_form(record, z, other, 3, parameters)
    step = record.value(z, parameters) - record.value(other, parameters)
    ratio = np.linalg.norm(step, axis=1) / np.linalg.norm(z - other, axis=1)
    bound = record.lipschitz(3, parameters)
    exact = max(
        np.linalg.norm(np.eye(3) - np.outer(u, c), 2) for u, c in zip(parameters["u"], parameters["c"], strict=True)
    )
    assert ratio.max() <= bound
    assert max(exact, 1.0) <= bound <= max(exact, 1.0) * (1 + 1e-12)


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_block_derivatives_balls_and_lipschitz_constants(name, block):
    rng = np.random.default_rng(10 + block)
    record = TABLE[name]
    blocks, columns = 4, 5
    parameters = block_parameters(name, block, blocks, rng)
    z, t = rng.standard_normal((2, blocks, block, columns))
    out = record.output_size(block, parameters)
    c = rng.standard_normal((blocks, out, columns))
    step = 1e-6
    numeric = (record.value(z + step * t, parameters) - record.value(z - step * t, parameters)) / (2 * step)
    forward = record.jvp(z, t, parameters)
    np.testing.assert_allclose(forward, numeric, atol=1e-6)
    backward = record.vjp(z, c, parameters)
    np.testing.assert_allclose((c * forward).sum(axis=1), (backward * t).sum(axis=1), atol=1e-12)
    lipschitz = record.lipschitz(block, parameters)
    assert (np.linalg.norm(forward, axis=1) <= np.linalg.norm(t, axis=1) * lipschitz * (1 + 1e-12)).all()
    radius = 1e-4
    flat = z[:, :, 0].ravel()
    balls = enclose(record, [arb(float(v), radius) for v in flat], block, parameters)
    assert len(balls) == blocks * out
    moved = z + radius * rng.uniform(-1, 1, z.shape)
    moved[:, :, 1] = moved[:, :, 0]
    moved[:, :, 0] = z[:, :, 0]
    moved[:, :, 1] = z[:, :, 0] + 0.99 * radius * rng.uniform(-1, 1, z.shape[:2])
    for column in (0, 1):
        w = record.value(moved, parameters)[:, :, column].ravel()
        for value, ball in zip(w, balls, strict=True):
            assert abs(float(ball.mid()) - value) <= float(ball.rad()) + 1e-14
    assert max(float(ball.rad()) for ball in balls) <= 10 * block * radius


@pytest.mark.parametrize("k", [2, 3, 5, 16, 37])
def test_constants_of_blocks_are_enclosed(k):
    B, radius = helmert(k)
    with mpmath.workdps(40):
        for j in range(1, k):
            root = 1 / mpmath.sqrt(j * (j + 1))
            assert abs(mpmath.mpf(B[0, j - 1]) - root) <= radius[0, j - 1] <= 1e-15
            assert abs(mpmath.mpf(B[j, j - 1]) + j * root) <= radius[j, j - 1] <= 1e-15
        excess = mpmath.mpf(mean_slope(k)) - mpmath.sqrt(1 - mpmath.mpf(1) / k)
        assert 0 <= excess <= 1e-15
    form = TABLE["sort"].normal_form(k, {})
    assert k == 2 or (np.abs(form.K - 1 / k) <= 1e-16).all()


@given(st.floats(-1e3, 1e3), st.floats(0, 1e3), st.floats(-50, 50), st.floats(-50, 50))
@settings(max_examples=200, deadline=None)
def test_selu_and_elu_slopes_hold_for_any_parameters(alpha, gamma, x, y):
    for name, values in (
        ("elu", {"alpha": alpha}),
        ("selu", {"alpha": alpha, "gamma": gamma}),
        ("leaky_relu", {"alpha": alpha}),
    ):
        record, p = TABLE[name], arrays(values)
        low, high = record.slopes(p)
        a, b = record.value(np.array([[[x, y]]]), p).ravel()
        slack = 1e-9 * (1 + abs(a) + abs(b))
        assert min(low * (x - y), high * (x - y)) - slack <= a - b <= max(low * (x - y), high * (x - y)) + slack


def test_parameters_without_a_proven_interval_are_refused():
    for name, values in (("celu", {"alpha": -1.0}), ("softplus", {"beta": 0.0}), ("soft_abs", {"offset": 0.0})):
        with pytest.raises(InvalidRequest):
            TABLE[name].normal_form(1, arrays(values))
    with pytest.raises(InvalidRequest):
        TABLE["leaky_relu"].normal_form(1, {"alpha": np.array([np.nan])})


def test_every_record_names_its_source_and_itself():
    for name, record in TABLE.items():
        assert record.name == name
        assert record.source
        block = 1 if isinstance(record, Pointwise) else 3
        assert "3" in record.describe(3, block)
