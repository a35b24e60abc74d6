"""Records that need a range: values, derivatives, balls, images and normal forms on random ranges."""

from __future__ import annotations

import numpy as np
import pytest
from flint import arb, ctx

from lipcert.activations import TABLE, balls
from lipcert.activations.analytic import RECORDS as ANALYTIC
from lipcert.activations.table import RANGED
from lipcert.errors import Unbounded
from lipcert.rounding import Interval

Arrays = dict[str, np.ndarray]


def arrays(**values: float) -> Arrays:
    return {key: np.array([float(value)]) for key, value in values.items()}


CASES = [
    (record.name, example.block, example.parameters, example.positive)
    for record in RANGED
    for example in record.examples
]
# what has a normal form everywhere, and a nearer one on a range
CASES += [(name, block, {}, positive) for name in ("norm", "softmax") for block in (2, 4) for positive in (False, True)]
IDS = [f"{name}-{k}" for k, (name, *_) in enumerate(CASES)]


def ranges(block: int, positive: bool, seed: int, blocks: int = 20) -> tuple[Interval, np.random.Generator]:
    rng = np.random.default_rng(seed)
    centre = 2.0 * rng.standard_normal(blocks * block)
    width = 10.0 ** rng.uniform(-4, 0.5, blocks * block)
    if positive:
        centre = np.abs(centre) + width + 0.05
    return Interval(centre - width, centre + width), rng


def sample(on: Interval, block: int, count: int, rng: np.random.Generator) -> np.ndarray:
    t = rng.uniform(-0.2, 1.2, (on.size, count)).clip(0.0, 1.0)
    z = on.low[:, None] + (on.high - on.low)[:, None] * t
    return z.clip(on.low[:, None], on.high[:, None]).reshape(-1, block, count)


@pytest.mark.parametrize(("name", "block", "parameters", "positive"), CASES, ids=IDS)
def test_image_and_normal_form(name, block, parameters, positive):
    record = TABLE[name]
    for seed in range(3):
        on, rng = ranges(block, positive, seed)
        z, other = sample(on, block, 200, rng), sample(on, block, 200, rng)
        w, base = record.value(z, parameters), record.value(other, parameters)
        image = record.image(block, parameters, on)
        out = record.output_size(block, parameters)
        assert w.shape == (20, out, 200)
        flat = w.reshape(20 * out, -1)
        room = 1e-12 * (1.0 + np.abs(flat))
        assert (image.low[:, None] <= flat + room).all()
        assert (flat - room <= image.high[:, None]).all()
        check(record, record.normal_form(block, parameters, on), z - other, w - base)
        middle = 0.5 * on.low + 0.5 * on.high
        centre = np.repeat(middle.reshape(-1, block, 1), 200, axis=2)
        form = record.normal_form(block, parameters, on, Interval.point(middle))
        check(record, form, z - centre, w - record.value(centre, parameters))
        steps = np.linalg.norm(w - base, axis=1) / np.maximum(np.linalg.norm(z - other, axis=1), 1e-9)
        assert steps.max() <= record.lipschitz(block, parameters, on) * (1 + 1e-9) + 1e-6


def check(record, form, dz, dw):
    """Δw − KΔz = PΔv for some v with ‖v_g‖ ≤ ‖(QΔz)_g‖: the least such v by group, where P is diagonal by groups."""
    blocks = dz.shape[0]
    K, P, Q = (np.broadcast_to(part, (blocks, *part.shape[1:])) for part in (form.K, form.P, form.Q))
    rest = dw - K @ dz
    q = np.zeros((blocks, form.groups, dz.shape[2]))
    for g in range(form.groups):
        q[:, g] = np.linalg.norm((Q @ dz)[:, form.row_group == g], axis=1)
    # a set of the form P v is larger than rest in every direction: support functions
    rng = np.random.default_rng(0)
    for _ in range(20):
        c = rng.standard_normal((blocks, 1, dw.shape[1]))
        reach = np.zeros((blocks, dz.shape[2]))
        cP = c @ P
        for g in range(form.groups):
            reach += np.linalg.norm(cP[:, 0, form.column_group == g], axis=1)[:, None] * q[:, g]
        room = 1e-10 * (1.0 + np.abs(dw).max())
        assert ((c @ rest)[:, 0] <= reach + room).all()


@pytest.mark.parametrize(("name", "block", "parameters", "positive"), CASES, ids=IDS)
def test_derivatives_and_balls(name, block, parameters, positive):
    record = TABLE[name]
    on, rng = ranges(block, positive, 5, blocks=4)
    z = sample(on, block, 3, rng)
    t = rng.standard_normal(z.shape)
    step = 1e-6
    numeric = (record.value(z + step * t, parameters) - record.value(z - step * t, parameters)) / (2 * step)
    forward = record.jvp(z, t, parameters)
    np.testing.assert_allclose(forward, numeric, rtol=1e-4, atol=1e-4 * (1 + np.abs(numeric).max()))
    c = rng.standard_normal(forward.shape)
    backward = record.vjp(z, c, parameters)
    np.testing.assert_allclose((c * forward).sum(axis=1), (backward * t).sum(axis=1), rtol=1e-9, atol=1e-9)
    with ctx.workprec(80):
        inside = [arb(float(v)) for v in z[:, :, 0].ravel()]
        values = balls.enclose(record, inside, block, parameters)
    w = record.value(z, parameters)[:, :, 0].ravel()
    np.testing.assert_allclose([float(v) for v in values], w, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "block", "parameters", "positive"), CASES, ids=IDS)
def test_the_forms_are_tight(name, block, parameters, positive):
    """On narrow ranges K is the Jacobian and P vanishes with the width."""
    record = TABLE[name]
    on, _ = ranges(block, positive, 7)
    middle = 0.5 * on.low + 0.5 * on.high
    narrow = Interval(middle - 1e-6 * np.abs(middle), middle + 1e-6 * np.abs(middle))
    form = record.normal_form(block, parameters, narrow)
    if name in ("rms_norm", "unit_vector"):
        assert form.K.max() <= 1.01 * record.lipschitz(block, parameters, narrow)
        return
    eye = np.broadcast_to(np.eye(block), (20, block, block))
    z = np.repeat(middle.reshape(20, block, 1), block, axis=2)
    np.testing.assert_allclose(form.K, record.jvp(z, eye, parameters), rtol=1e-4, atol=1e-4)
    assert np.abs(form.P).max(initial=0.0) <= 1e-3 * (1 + np.abs(form.K).max())


def test_without_a_range_they_say_so():
    for name, block, parameters in [("product", 2, {}), ("exp", 1, {}), ("matrix_product", 8, arrays(rows=2, inner=2))]:
        record = TABLE[name]
        assert record.needs_range(parameters)
        with pytest.raises(Unbounded, match="unbounded"):
            record.normal_form(block, parameters)
    with pytest.raises(Unbounded, match="vanish"):
        TABLE["rms_norm"].normal_form(3, arrays(eps=0.0, count=3))
    on = Interval(np.array([-1.0]), np.array([1.0]))
    for name in ("log", "sqrt", "reciprocal"):
        with pytest.raises(Unbounded):
            TABLE[name].normal_form(1, {}, on)


def test_normalisation_has_a_global_form():
    form = TABLE["rms_norm"].normal_form(4, arrays(eps=1e-4, count=4))
    assert 100.0 <= float(form.K[0, 0, 0] + form.P[0, 0, 0]) <= 100.0 * (1 + 1e-12)
    far = Interval(np.full(4, -np.inf), np.full(4, np.inf))
    image = TABLE["rms_norm"].image(4, arrays(eps=1e-4, count=4), far)
    assert image.high.max() == pytest.approx(2.0, rel=1e-12)
    huge = Interval(np.full(4, -1e200), np.full(4, 1e200))
    assert (TABLE["rms_norm"].image(4, arrays(eps=1e-4, count=4), huge).high >= 2.0).all()


def test_scalar_records_are_exact_at_the_ends():
    on = Interval(np.array([-1.0]), np.array([3.0]))
    image = TABLE["power"].image(1, arrays(exponent=2), on)
    assert image.low[0] == pytest.approx(0.0, abs=0.05)
    assert image.high[0] == pytest.approx(9.0)
    slopes = TABLE["power"].slopes_on(arrays(exponent=2), on)
    assert (slopes.low[0], slopes.high[0]) == pytest.approx((-2.0, 6.0))
    assert {record.name for record in ANALYTIC} <= set(TABLE)


def test_the_gradient_of_a_length_is_known_away_from_zero() -> None:
    """Around (3, 4) it is near (0.6, 0.8); where the range holds zero it may be any vector of the unit ball."""
    record = TABLE["norm"]
    near = Interval(np.array([2.99, 3.99]), np.array([3.01, 4.01]))
    form = record.normal_form(2, {}, near)
    np.testing.assert_allclose(form.K[0, 0], [0.6, 0.8], atol=1e-3)
    assert 0.0 < form.P[0, 0, 0] < 0.005
    around_zero = Interval(np.array([-1.0, -1.0]), np.array([1.0, 2.0]))
    form = record.normal_form(2, {}, around_zero)
    assert not form.K.any()
    assert form.P.item() == 1.0
