"""Composed functions: their slopes, values and lines hold for samples, and are exact where exactness is known."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from lipcert.activations.composed import COMPOSED, Program
from lipcert.rounding import Interval

CALLS: dict[str, dict[str, float]] = {
    "tanh": {},
    "sigmoid": {},
    "relu": {},
    "abs": {},
    "clip": {"low": -1.0, "high": 1.5},
    "softsign": {},
    "sin": {},
    "cos": {},
    "elu": {"alpha": 0.6},
    "exp": {},
    "power": {"exponent": 2.0},
    "softplus": {"beta": 1.0},
    "hard_sigmoid": {"alpha": 0.2, "beta": 0.5},
}


def program(*steps: tuple[str, tuple[int, ...], object]) -> dict[str, np.ndarray]:
    made = Program()
    for op, of, value in steps:
        if isinstance(value, dict):
            made.add(op, of, None, {key: np.array([number]) for key, number in value.items()})
        else:
            made.add(op, of, None if value is None else np.array([float(value)]))
    return made.parameters


SQUARE = ("power", (0,), {"exponent": 2.0})
KNOWN = {
    "exp(-x²)": (program(SQUARE, ("times", (1,), -1), ("exp", (2,), None)), lambda: mpmath.sqrt(2 / mpmath.e)),
    "σ(x)²": (
        program(("sigmoid", (0,), None), ("power", (1,), {"exponent": 2.0})),
        lambda: mpmath.mpf(8) / 27,
    ),
    "sin·cos": (program(("sin", (0,), None), ("cos", (0,), None), ("product", (1, 2), None)), lambda: 1),
    "1/(1+|x|)": (program(("abs", (0,), None), ("plus", (1,), 1), ("reciprocal", (2,), None)), lambda: 1),
    "1/(1+x²)": (program(SQUARE, ("plus", (1,), 1), ("reciprocal", (2,), None)), lambda: 3 * mpmath.sqrt(3) / 8),
    "x/(1+x²)": (
        program(SQUARE, ("plus", (1,), 1), ("reciprocal", (2,), None), ("product", (0, 3), None)),
        lambda: 1,
    ),
    "x·exp(-x²)": (
        program(SQUARE, ("times", (1,), -1), ("exp", (2,), None), ("product", (0, 3), None)),
        lambda: 1,
    ),
    "log(1+x²)": (program(SQUARE, ("plus", (1,), 1), ("log", (2,), None)), lambda: 1),
    "clip(x)²": (
        program(("clip", (0,), {"low": -1.0, "high": 1.0}), ("power", (1,), {"exponent": 2.0})),
        lambda: 2,
    ),
    "exp(clip(x))": (
        program(("clip", (0,), {"low": -2.0, "high": 2.0}), ("exp", (1,), None)),
        lambda: mpmath.e**2,
    ),
    "tanh²": (
        program(("tanh", (0,), None), ("power", (1,), {"exponent": 2.0})),
        lambda: 4 / (3 * mpmath.sqrt(3)),
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_slopes_of_the_whole_line_are_exact(name: str) -> None:
    parameters, exact = KNOWN[name]
    low, high = COMPOSED.slopes(parameters)
    largest = float(np.maximum(-low, high).item())
    with mpmath.workdps(30):
        value = mpmath.mpf(exact())
        assert value <= mpmath.mpf(largest) <= value * (1 + mpmath.mpf("1e-7"))


def test_what_has_unbounded_slopes_says_so() -> None:
    for parameters in (
        program(("product", (0, 0), None)),
        program(("tanh", (0,), None), ("product", (0, 1), None), ("product", (0, 2), None)),
        program(("times", (0,), 2), ("exp", (1,), None)),
        program(("sin", (0,), None), ("product", (0, 1), None)),
        program(("reciprocal", (0,), None)),
        program(("log", (0,), None)),
    ):
        assert COMPOSED.needs_range(parameters)


def drawn(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A random program of up to six calls."""
    made = Program()
    names = list(CALLS)
    last = 0
    for _ in range(int(rng.integers(2, 7))):
        kind = names[rng.integers(len(names))]
        if kind in ("exp", "power"):
            # of what is bounded, so that numbers stay in range
            last = made.add("tanh", (last,))
        last = made.add(kind, (last,), None, {key: np.array([value]) for key, value in CALLS[kind].items()})
        choice = rng.integers(5)
        if choice == 0:
            last = made.add("product", (last, int(rng.integers(0, last + 1))))
        elif choice == 1:
            last = made.add("sum", (last, int(rng.integers(0, last + 1))))
        elif choice == 2:
            last = made.add("plus", (last,), rng.normal(size=1), {"radius": np.array([1e-12])})
        else:
            last = made.add("times", (last,), rng.normal(size=1), {"radius": np.array([1e-12])})
    return made.parameters


def assert_holds(parameters: dict[str, np.ndarray], low: float, high: float, rng: np.random.Generator) -> None:
    on = Interval(np.array([low]), np.array([high]))
    x = np.sort(np.concatenate([rng.uniform(low, high, 400), [low, high]]))
    value = COMPOSED.value(x[None, None], parameters)[0, 0]
    room = 1e-9 * (1.0 + np.abs(value).max())
    slopes, image = COMPOSED.slopes_on(parameters, on), COMPOSED.image(1, parameters, on)
    gradient = COMPOSED.jvp(x[None, None], np.ones((1, 1, x.size)), parameters)[0, 0]
    margin = 1e-9 * (1.0 + np.abs(gradient).max())
    assert (gradient >= slopes.low - margin).all()
    assert (gradient <= slopes.high + margin).all()
    chord = np.diff(value) / np.maximum(np.diff(x), 1e-300)
    noise = 4.0 * room / np.maximum(np.diff(x), 1e-300) + margin
    assert (chord >= slopes.low - noise).all()
    assert (chord <= slopes.high + noise).all()
    assert (value >= image.low - room).all()
    assert (value <= image.high + room).all()
    below, above = rng.normal(size=(2, 1))
    under, over = COMPOSED.lines(parameters, on, below, above)
    assert (below * x + under <= value + room).all()
    assert (above * x + over >= value - room).all()
    # not by much more than samples show
    if np.isfinite(slopes.high).all() and high - low > 1e-3:
        assert (
            slopes.high[0] - slopes.low[0]
            <= 4.0 * (gradient.max() - gradient.min()) + 0.1 * np.abs(gradient).max() + 0.1
        )


@pytest.mark.parametrize("seed", range(30))
def test_random_programs_on_ranges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameters = drawn(rng)
    middle, width = rng.normal(), 10.0 ** rng.uniform(-3, 1)
    assert_holds(parameters, middle - width, middle + width, rng)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30, 400))
def test_many_random_programs_on_ranges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameters = drawn(rng)
    for _ in range(3):
        middle, width = 3.0 * rng.normal(), 10.0 ** rng.uniform(-4, 2)
        assert_holds(parameters, middle - width, middle + width, rng)


def assert_holds_everywhere(parameters: dict[str, np.ndarray], rng: np.random.Generator) -> bool:
    low, high = COMPOSED.slopes(parameters)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return False
    x = np.concatenate(
        [rng.normal(size=300), 10.0 * rng.normal(size=300), rng.choice([-1, 1], 300) * 10.0 ** rng.uniform(1, 9, 300)]
    )
    with np.errstate(all="ignore"):
        gradient = COMPOSED.jvp(x[None, None], np.ones((1, 1, x.size)), parameters)[0, 0]
    gradient = gradient[np.isfinite(gradient)]
    margin = 1e-7 * (1.0 + np.abs(gradient).max())
    assert (gradient >= low - margin).all()
    assert (gradient <= high + margin).all()
    return True


def test_random_programs_everywhere() -> None:
    rng = np.random.default_rng(0)
    bounded = sum(assert_holds_everywhere(drawn(rng), rng) for _ in range(25))
    assert bounded >= 5


@pytest.mark.parametrize("seed", range(6))
def test_chords_from_a_centre(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    parameters = drawn(rng)
    centre = rng.normal()
    on = Interval(np.array([centre - 1.0]), np.array([centre + 0.5]))
    found = COMPOSED.slopes_on(parameters, on, Interval.point(np.array([centre])))
    x = rng.uniform(centre - 1.0, centre + 0.5, 300)
    x = x[np.abs(x - centre) > 1e-3]
    value = COMPOSED.value(np.append(x, centre)[None, None], parameters)[0, 0]
    chord = (value[:-1] - value[-1]) / (x - centre)
    margin = 1e-9 * (1.0 + np.abs(value).max()) / 1e-3
    assert (chord >= found.low - margin).all()
    assert (chord <= found.high + margin).all()


def test_every_number_has_its_own_constants() -> None:
    made = Program()
    shifted = made.add("plus", (0,), np.array([0.0, 1.0, -2.0]))
    square = made.add("power", (shifted,), None, {"exponent": np.array([2.0])})
    made.add("exp", (made.add("times", (square,), np.array([-1.0, -0.5, -2.0])),))
    z = np.array([0.3, 0.2, 0.1]).reshape(3, 1, 1)
    expected = np.exp(-np.array([1.0, 0.5, 2.0]) * (z.ravel() + np.array([0.0, 1.0, -2.0])) ** 2)
    np.testing.assert_allclose(COMPOSED.value(z, made.parameters).ravel(), expected, rtol=1e-14)
    form = COMPOSED.normal_form(1, made.parameters)
    np.testing.assert_allclose(form.P.ravel(), np.sqrt(np.array([2.0, 1.0, 4.0]) / np.e), rtol=1e-7)
