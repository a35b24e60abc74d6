"""Scalar activations on intervals: images, slopes, secants and lines hold, are tight, and are rounded outward."""

from __future__ import annotations

import numpy as np
import pytest
from flint import arb, ctx
from test_records import POINTWISE

from lipcert.activations import TABLE, Pointwise, local
from lipcert.activations.table import GLOBAL
from lipcert.rounding import Interval

PIECEWISE_LINEAR = ("relu", "leaky_relu", "two_slope", "abs", "clip", "softshrink")
Arrays = dict[str, np.ndarray]


def cases(values: dict[str, float], seed: int, count: int = 40) -> tuple[Arrays, Interval, np.ndarray]:
    """Parameters, intervals of all widths, some with an end on a kink, and a point in each."""
    rng = np.random.default_rng(seed)
    width = 10.0 ** rng.uniform(-4, 1, count)
    centre = 3.0 * rng.standard_normal(count)
    low, high = centre - width * rng.uniform(0, 1, count), centre + width * rng.uniform(0, 1, count)
    low[:2], high[:2] = 0.0, width[:2]
    low[2:4], high[2:4] = -width[2:4], 0.0
    high[4:6] = low[4:6]
    at = low + (high - low) * rng.uniform(0, 1, count)
    at[6:9], at[9:12] = low[6:9], high[9:12]
    return {key: np.array([value]) for key, value in values.items()}, Interval(low, high), np.clip(at, low, high)


@pytest.mark.parametrize(("record", "values"), POINTWISE)
def test_samples_lie_in_images_slopes_secants_and_between_lines(record: Pointwise, values: dict[str, float]) -> None:
    parameters, on, at = cases(values, 0)
    width = (on.high - on.low)[:, None]
    z = on.low[:, None] + width * np.linspace(0.0, 1.0, 1001)
    w = record.function(z, parameters)
    scale = 1e-13 * (1.0 + np.abs(w).max(axis=1))
    image = record.image(1, parameters, on)
    assert (image.low - scale <= w.min(axis=1)).all()
    assert (image.high + scale >= w.max(axis=1)).all()
    slopes = record.slopes_on(parameters, on)
    gradient = record.gradient(z[:, 1:-1], parameters)
    wide = width[:, 0] > 0.0
    assert (slopes.low[wide] - 1e-9 <= gradient.min(axis=1)[wide]).all()
    assert (slopes.high[wide] + 1e-9 >= gradient.max(axis=1)[wide]).all()
    secants = record.slopes_on(parameters, on, Interval.point(at))
    distance = z - at[:, None]
    far = np.abs(distance) > 1e-5 * width
    chord = (w - record.function(at[:, None], parameters)) / np.where(far, distance, 1.0)
    room = scale[:, None] / np.where(far, np.abs(distance), 1.0)
    assert (~far | ((secants.low[:, None] - room <= chord) & (chord <= secants.high[:, None] + room))).all()
    rng = np.random.default_rng(1)
    below, above = rng.uniform(slopes.low, slopes.high), rng.uniform(slopes.low, slopes.high)
    under, over = record.lines(parameters, on, below, above)
    scale = scale[:, None] + 1e-14 * np.abs(z)
    assert (below[:, None] * z + under[:, None] <= w + scale).all()
    assert (w - scale <= above[:, None] * z + over[:, None]).all()


@pytest.mark.parametrize(("record", "values"), POINTWISE)
def test_images_and_lines_are_tight(record: Pointwise, values: dict[str, float]) -> None:
    parameters, on, _ = cases(values, 2)
    keep = (on.high > on.low) & (on.low != 0.0) & (on.high != 0.0)
    on = on.take(keep)
    z = on.low[:, None] + (on.high - on.low)[:, None] * np.linspace(0.0, 1.0, 4001)
    w = record.function(z, parameters)
    image, slopes = record.image(1, parameters, on), record.slopes_on(parameters, on)
    room = 0.002 * (on.high - on.low) * (1.0 + slopes.magnitude()) + 1e-13
    assert (image.low >= w.min(axis=1) - room).all()
    assert (image.high <= w.max(axis=1) + room).all()
    gradient = record.gradient(z[:, 1:-1], parameters)
    if record.name in PIECEWISE_LINEAR:
        np.testing.assert_array_equal(slopes.low, gradient.min(axis=1))
        np.testing.assert_array_equal(slopes.high, gradient.max(axis=1))
    else:
        assert (slopes.high - slopes.low <= np.ptp(gradient, axis=1) + 0.02 * (1.0 + slopes.magnitude())).all()


def test_secants_of_relu_and_tanh() -> None:
    relu = TABLE["relu"].slopes_on(
        {}, Interval(np.full(2, -1.0), np.full(2, 2.0)), Interval.point(np.array([1.0, -0.5]))
    )
    np.testing.assert_allclose([relu.low, relu.high], [[0.5, 0.0], [1.0, 0.8]], atol=1e-12)
    # the steepest chord through 0.5 ends inside
    tanh = TABLE["tanh"].slopes_on({}, Interval(np.array([-1.0]), np.array([2.0])), Interval.point(np.array([0.5])))
    np.testing.assert_allclose([tanh.low[0], tanh.high[0]], [0.3346, 0.9427], atol=2e-4)


@pytest.mark.parametrize(("record", "values"), POINTWISE)
def test_unbounded_ranges_have_the_slopes_of_the_line(record: Pointwise, values: dict[str, float]) -> None:
    parameters = {key: np.array([value]) for key, value in values.items()}
    ends = np.array([[-np.inf, -np.inf, 3.0, -1e30, 1e25], [np.inf, -3.0, np.inf, 1e30, np.inf]])
    on = Interval(*ends)
    everywhere, here, image = (
        record.slopes_on(parameters),
        record.slopes_on(parameters, on),
        record.image(1, parameters, on),
    )
    assert (here.low >= everywhere.low).all()
    assert (here.high <= everywhere.high).all()
    rng = np.random.default_rng(0)
    for k, (low, high) in enumerate(ends.T):
        z = np.clip(10.0 ** rng.uniform(-2, 30, 200) * rng.choice([-1.0, 1.0], 200), low, high)
        with np.errstate(all="ignore"):
            w = record.function(z[None], parameters)[0]
        room = 1e-9 * (1.0 + np.abs(w))
        assert ((image.low[k] - room <= w) & (w <= image.high[k] + room)).all()


def exactly_outward(seed: int) -> bool:
    """Whether values, slopes and lines at points hold what 300 bits say."""
    rng = np.random.default_rng(seed)
    names = [name for name, record in GLOBAL.items() if isinstance(record, Pointwise)]
    name = names[int(rng.integers(len(names)))]
    record = TABLE[name]
    parameters = record.examples[0].parameters
    x = rng.standard_normal(8) * 10.0 ** rng.uniform(-2, 1, 8)
    slope = rng.standard_normal(8)
    at = Interval.point(x)
    image, (under, over) = record.image(1, parameters, at), record.lines(parameters, at, slope, slope)
    with ctx.workprec(300):
        w = record.ball([arb(v) for v in x.tolist()], {key: value[0] for key, value in parameters.items()})
        rest = [y - arb(s) * arb(v) for y, s, v in zip(w, slope.tolist(), x.tolist(), strict=True)]
        # erf(16) is closer to one than 300 bits tell
        ends = [(image.low, w, image.high), (under, rest, over)]
        inside, between = (
            not any(y < arb(a) or y > arb(b) for a, y, b in zip(low.tolist(), numbers, high.tolist(), strict=True))
            for low, numbers, high in ends
        )
    return inside and between


def test_what_is_rounded_is_rounded_outward() -> None:
    assert all(exactly_outward(seed) for seed in range(150))


@pytest.mark.parametrize("dropped", ["up", "down"])
def test_a_dropped_rounding_is_noticed(dropped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, dropped, lambda x: x)
    assert not all(exactly_outward(seed) for seed in range(150))


@pytest.mark.parametrize("block", [2, 3, 5])
@pytest.mark.parametrize("kind", ["sort", "maximum", "householder", "softmax", "log_softmax", "log_sum_exp", "norm"])
def test_images_of_blocks_hold_samples(kind: str, block: int) -> None:
    rng = np.random.default_rng(block)
    blocks = 6
    parameters = {}
    if kind == "householder":
        v = rng.standard_normal((blocks, block))
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        parameters = {"u": 2.0 * v, "c": v}
    low = 2.0 * rng.standard_normal(blocks * block)
    high = low + rng.uniform(0.0, 2.0, low.size)
    high[:block] = low[:block]
    record = TABLE[kind]
    image = record.image(block, parameters, Interval(low, high))
    z = rng.uniform(low[:, None], high[:, None], (low.size, 500))
    corner = rng.random(z.shape) < 0.5
    z[:, 250:] = np.where(corner, low[:, None], high[:, None])[:, 250:]
    w = record.value(z.reshape(blocks, block, -1), parameters).reshape(image.size, -1)
    assert (image.low[:, None] <= w + 1e-14).all()
    assert (w - 1e-14 <= image.high[:, None]).all()
    assert (image.high - image.low)[: image.size // blocks].max() < 1e-12


@pytest.mark.parametrize(("record", "values"), POINTWISE)
def test_lines_of_slopes_on_wide_ranges_hold_the_slopes(record: Pointwise, values: dict[str, float]) -> None:
    parameters = {key: np.array([value]) for key, value in values.items()}
    rng = np.random.default_rng(0)
    for far in (3.0, 1e3, 1e5):
        low, high = -far * rng.random(4), far * rng.random(4)
        found = record.slope_lines(parameters, Interval(low, high))
        if found is None:
            continue
        below, under, above, over = (part[:, None] for part in found)
        z = low[:, None] + (high - low)[:, None] * rng.random((4, 400))
        with np.errstate(all="ignore"):
            slope = record.gradient(z, parameters)
        room = 1e-9 * (1.0 + np.abs(slope))
        assert (below * z + under <= slope + room).all()
        assert (slope - room <= above * z + over).all()
