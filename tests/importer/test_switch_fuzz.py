"""Random switches in every spelling, thresholds and gains over twelve decades: refused, or bounded above the truth."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from test_no_false_number import Model

import lipcert
from lipcert.errors import UnsupportedModel

EPSILON = 2.0**-23


@dataclass(frozen=True)
class Switch:
    """g·(a x + c above t, b x + d below) with stored float32 numbers."""

    t: float
    a: float
    b: float
    c: float
    d: float
    g: float

    @property
    def jump(self) -> Fraction:
        """How far the sides are apart at t, exactly, the gain left out."""
        F = Fraction
        return abs((F(self.a) - F(self.b)) * F(self.t) + F(self.c) - F(self.d))

    @property
    def size(self) -> Fraction:
        """The largest number that meets there."""
        F = Fraction
        parts = (F(self.a) * F(self.t), F(self.b) * F(self.t), F(self.c), F(self.d))
        return max(abs(x) for x in parts)

    @property
    def steepest(self) -> Fraction:
        """The largest slope, which secants near t and far out attain."""
        return max(abs(Fraction(self.a)), abs(Fraction(self.b))) * abs(Fraction(self.g))


def single(x: float) -> float:
    return float(np.float32(x))


def drawn(seed: int) -> Switch:
    """A switch that is continuous but for rounding, or jumps by more than that."""
    rng = np.random.default_rng(seed)
    t = single(10.0 ** rng.uniform(-6, 6) * rng.choice([-1.0, 1.0]))
    a, b = (single(x) for x in rng.choice([0.0, 1.0, 0.25, -2.0, 3.0], 2, replace=False))
    d = single(rng.choice([0.0, 1.0]) * rng.standard_normal())
    c = (b - a) * t + d
    kind = rng.integers(3)
    if kind == 1:
        # far more than a unit in the last place, however small beside other numbers
        c += rng.choice([-1.0, 1.0]) * max(abs(c), abs(t), abs(d)) * 10.0 ** rng.uniform(-4, 0)
    return Switch(t, a, b, single(c), d, single(10.0 ** rng.uniform(-6, 6)))


def condition(m: Model, s: Switch, rng: np.random.Generator) -> str:
    """x > t in one of its spellings."""
    shifted = "x" if rng.random() < 0.5 else m.op("Sub", "x", s.t)
    at = s.t if shifted == "x" else 0.0
    return [
        lambda: m.op("Greater", shifted, at),
        lambda: m.op("GreaterOrEqual", shifted, at),
        lambda: m.op("Less", m.constant(at), shifted),
        lambda: m.op("Not", m.op("LessOrEqual", shifted, at)),
        lambda: m.op("Not", m.op("Less", shifted, at)),
    ][int(rng.integers(5))]()


def side(m: Model, slope: float, shift: float) -> str:
    line = m.op("Mul", "x", slope)
    return m.op("Add", line, shift) if shift else line


def written(seed: int, s: Switch) -> tuple[Model, str]:
    """The switch as nodes: a selection, or masks that passed through other types."""
    rng = np.random.default_rng(seed + 1)
    m = Model()
    mask = condition(m, s, rng)
    above, below = side(m, s.a, s.c), side(m, s.b, s.d)
    if rng.random() < 0.6:
        y = m.op("Where", mask, above, below)
    else:
        if rng.random() < 0.5:
            mask = m.op("Cast", mask, to=int(rng.choice([TensorProto.INT32, TensorProto.UINT8, TensorProto.BOOL])))
        up = m.op("Cast", mask, to=TensorProto.FLOAT)
        y = m.op("Add", m.op("Mul", up, above), m.op("Mul", m.op("Sub", m.constant(1.0), up), below))
    for factor in (s.g, *([1.0] * int(rng.integers(0, 4)))):
        y = m.op("Mul", y, factor)
    return m, y


def holds(seed: int) -> None:
    s = drawn(seed)
    m, y = written(seed, s)
    with tempfile.TemporaryDirectory() as folder:
        path = m.save(Path(folder), y)
        try:
            graph = lipcert.load(path)
        except UnsupportedModel as error:
            refusal = str(error)
        else:
            refusal = ""
    if refusal:
        assert s.jump, f"a continuous switch is refused: {refusal}"
        assert "jump" in refusal
        return
    assert s.jump <= 16 * Fraction(EPSILON) * s.size, f"a jump of {float(s.jump)} is taken for none: {s}"
    assert bool(s.jump) <= bool(graph.idealisations), s
    upper = lipcert.bound(graph, lower=False, method="product").upper
    assert Fraction(upper) >= s.steepest * (1 - 16 * Fraction(EPSILON) * bool(graph.idealisations)), s


@given(st.integers(0, 2**32))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_switches_are_refused_or_bounded(seed: int) -> None:
    holds(seed)


@pytest.mark.slow
@given(st.integers(0, 2**32))
@settings(max_examples=1500, derandomize=False, deadline=None, print_blob=True)
def test_many_switches_with_new_seeds(seed: int) -> None:
    holds(seed)


def chain(seed: int) -> None:
    """Gains and biases of all sizes in a row, then a kink: the product of the stored numbers, exactly."""
    rng = np.random.default_rng(seed)
    m, y, gain = Model(), "x", Fraction(1)
    for _ in range(int(rng.integers(1, 40))):
        if rng.random() < 0.7:
            factor = single(10.0 ** rng.uniform(-1, 1) * rng.choice([-1.0, 1.0]))
            y, gain = m.op("Mul", y, factor), gain * Fraction(factor)
        else:
            y = m.op("Add", y, single(10.0 ** rng.uniform(-6, 6)))
    y = m.op("Relu", y) if rng.random() < 0.5 else m.op("Max", y, m.op("Mul", y, 0.5))
    with tempfile.TemporaryDirectory() as folder:
        graph = lipcert.load(m.save(Path(folder), y))
    assert Fraction(lipcert.bound(graph, lower=False, method="product").upper) >= abs(gain)


@given(st.integers(0, 2**32))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_chains_are_not_rounded_down(seed: int) -> None:
    chain(seed)


@pytest.mark.slow
@given(st.integers(0, 2**32))
@settings(max_examples=500, derandomize=False, deadline=None, print_blob=True)
def test_many_chains_with_new_seeds(seed: int) -> None:
    chain(seed)
