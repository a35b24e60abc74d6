"""Functions of t ≥ 2²⁰ as exp(Σ s_i t^(m_i)) · t^k · r, with balls s_i and r: how a composed function ends.

Interval arithmetic knows nothing of t·e^(−t²) or t/(1 + t²) there. In this form products add exponents, sums take out the
larger power, and what decays is bounded by its largest value.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.rounding import Interval, down, up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lipcert.activations.record import Pointwise
    from lipcert.arrays import Array

START = 2**20
_NUMBER = count()
# exponents are rational numbers with such denominators
_DENOMINATOR = 1024

Atom = tuple[int, Fraction, Any, Fraction]
"""A factor exp(times · s · t^m): its number, m, s and times."""


@dataclass(frozen=True, eq=False)
class Tail:
    """A function on the tail; r is None where nothing is known.

    Attributes
    ----------
    r
        A `flint.arb` ball, or None.
    k
        The exponent of t.
    growth
        The exponential factors, by number.
    """

    r: Any
    k: Fraction = Fraction(0)
    growth: tuple[Atom, ...] = ()

    @classmethod
    def constant(cls, value: Any) -> Tail:
        """A ball."""
        return cls(value)

    @classmethod
    def identity(cls, sign: float) -> Tail:
        """x = sign·t."""
        from flint import arb

        return cls(arb(sign), Fraction(1))

    def __mul__(self, other: Tail) -> Tail:
        if self.r is None or other.r is None:
            return Tail(None)
        atoms = {number: (m, s, times) for number, m, s, times in self.growth}
        for number, m, s, times in other.growth:
            atoms[number] = (m, s, times + (atoms[number][2] if number in atoms else 0))
        growth = tuple((number, *rest) for number, rest in sorted(atoms.items()) if rest[2])
        return Tail(self.r * other.r, self.k + other.k, growth)

    def __add__(self, other: Tail) -> Tail:
        a, b = self, other
        for one, two in ((a, b), (b, a)):
            if one.r is not None and one.r == 0:
                return two
        if a.r is None or b.r is None:
            return Tail(None)
        for one, two in ((a, b), (b, a)):
            # what is at most a multiple of the other one is added to its ball
            top = _largest((Tail(two.r, two.k, two.growth) * one._raised_factor(-1)).growth, two.k - one.k)
            if top is not None:
                return Tail(one.r + two.r * _upto(top), one.k, one.growth)
        k = max(a.k, b.k)
        a, b = a.plain(k), b.plain(k)
        if a.r is None or b.r is None:
            return Tail(None)
        return Tail(a.r * _power(a.k - k) + b.r * _power(b.k - k), k)

    def _raised_factor(self, p: int) -> Tail:
        """The exponential factors alone, to a power."""
        from flint import arb

        return Tail(arb(1), Fraction(0), tuple((number, m, s, times * p) for number, m, s, times in self.growth))

    def plain(self, k: Fraction) -> Tail:
        """The same without exponential factors, as t^k times what is bounded."""
        if not self.growth or self.r is None:
            return self
        top = _largest(self.growth, self.k - k)
        return Tail(None) if top is None else Tail(self.r * _upto(top), k)

    def value(self) -> Any:
        """A ball of all values, or None where they are not known to be bounded."""
        found = self.plain(Fraction(0))
        if found.r is None or found.k > 0:
            return found.r if found.r is not None and found.r == 0 else None
        return found.r * _power(found.k)

    def range(self) -> Interval:
        """All values."""
        value = self.value()
        if value is not None:
            return _interval(value)
        low, high = -np.inf, np.inf
        if self.r is not None and not self.growth and self.k > 0:
            # t^k is at least START^k
            least = self.r * (_fraction(START) ** _fraction(self.k))
            if self.r > 0:
                low = float(down(down(np.array(float(least.lower())))))
            elif self.r < 0:
                high = float(up(up(np.array(float(least.upper())))))
        return Interval(np.array([low]), np.array([high]))

    def through(self, record: Pointwise, parameters: Mapping[str, Array]) -> tuple[Tail, Tail]:
        """φ(u), and φ′(u), for a record φ."""
        match record.name:
            case "exp":
                found = self._exp()
                return found, found
            case "log":
                return self._log(), self._raised(Fraction(-1))
            case "gaussian":
                found = (Tail.constant(_fraction(-1)) * self * self)._exp()
                return found, Tail.constant(_fraction(-2)) * self * found
            case "sqrt" | "reciprocal" | "power":
                p = {"sqrt": 0.5, "reciprocal": -1.0}.get(record.name)
                exponent = Fraction(float(parameters["exponent"][0]) if p is None else p)
                if exponent.denominator > _DENOMINATOR:
                    return Tail(None), Tail(None)
                return self._raised(exponent), self._raised(exponent - 1) * Tail.constant(_fraction(exponent))
            case _:
                return self._called(record, parameters)

    def _called(self, record: Pointwise, parameters: Mapping[str, Array]) -> tuple[Tail, Tail]:
        """By what a record states of its image and its slopes on a range."""
        on = self.range()
        slopes, image = record.slopes_on(parameters, on), record.image(1, parameters, on)
        slope = Tail.constant(_ball(slopes)) if slopes.bounded.all() else Tail(None)
        certain = self.r is not None and not self.growth and self.k > 0 and (self.r > 0 or self.r < 0)
        decay = _decay(record.name, parameters)
        if decay is not None and certain:
            size, rate = decay
            atom = (next(_NUMBER), self.k, abs(self.r) * -_fraction(Fraction(rate)), Fraction(1))
            slope = Tail(_upto(_fraction(Fraction(size))), growth=(atom,))
        if image.bounded.all():
            return Tail.constant(_ball(image)), slope
        zero = Interval(np.zeros(1), np.zeros(1))
        chords, start = record.slopes_on(parameters, on.hull(zero)), record.image(1, parameters, zero)
        if not (chords.bounded.all() and start.bounded.all()):
            return Tail(None), slope
        return Tail.constant(_ball(start)) + Tail.constant(_ball(chords)) * self, slope

    def _exp(self) -> Tail:
        if self.r is None:
            return self
        value = self.value()
        if value is not None:
            return Tail.constant(value.exp())
        if self.growth or not (self.r > 0 or self.r < 0):
            return Tail(None)
        from flint import arb

        return Tail(arb(1), growth=((next(_NUMBER), self.k, self.r, Fraction(1)),))

    def _log(self) -> Tail:
        if self.r is None or not self.r > 0:
            return Tail(None)
        from flint import arb

        # log t ≤ (4/e) t^(1/4)
        found = Tail(_fraction(self.k) * _upto(4 / arb(1).exp()), Fraction(1, 4)) if self.k else Tail(arb(0))
        found = found + Tail.constant(self.r.log())
        for _, m, s, times in self.growth:
            found = found + Tail(s * _fraction(times), m)
        return found

    def _raised(self, p: Fraction) -> Tail:
        from flint import arb

        if self.r is None:
            return self
        if p == 0:
            return Tail(arb(1))
        whole = p.denominator == 1
        if not (self.r > 0 or (whole and (p > 0 or self.r < 0))):
            return Tail(None)
        r = self.r ** int(p) if whole else self.r ** _fraction(p)
        return Tail(r, self.k * p, tuple((number, m, s, times * p) for number, m, s, times in self.growth))


def _decay(name: str, parameters: Mapping[str, Array]) -> tuple[float, float] | None:
    """C and c with |φ′(u)| ≤ C e^(−c|u|), where they are known."""
    match name:
        case "sigmoid":
            return 1.0, 1.0
        case "tanh":
            return 4.0, 2.0
        case "sigmoid_power":
            # p σ^p (1 − σ)
            p = float(parameters["exponent"][0])
            return p, min(1.0, p)
        case _:
            return None


def beyond(tail: Tail | None) -> Interval:
    """All values on a tail."""
    value = None if tail is None else tail.value()
    return Interval.everywhere(1) if value is None else _interval(value)


def _largest(growth: tuple[Atom, ...], k: Fraction) -> Any:
    """At least sup t^k exp(Σ times·s·t^m), or None where it may be infinite: the factors of the largest m decide."""
    if not growth:
        return _power(k).upper() if k <= 0 else None
    top = max(m for _, m, _, _ in growth)
    # s t^m = t^top · s t^(m − top)
    rate = sum((s * _fraction(times) * _power(m - top) for _, m, s, times in growth), start=_fraction(0))
    if not rate < 0:
        return None
    rate = rate.upper()
    start = _fraction(START)
    at_start = start ** _fraction(k) * (rate * start ** _fraction(top)).exp()
    if k <= 0:
        return at_start.upper()
    # t^k e^(rate·t^top) is largest at t^top = k/(−rate·top)
    peak = -_fraction(k) / (rate * _fraction(top))
    if peak < start ** _fraction(top):
        return at_start.upper()
    at_peak = (peak.log() * _fraction(k / top) - _fraction(k / top)).exp()
    return at_start.max(at_peak).upper()


def _power(k: Fraction) -> Any:
    """t^k for k ≤ 0."""
    from flint import arb

    return arb(1) if k == 0 else _upto(_fraction(START) ** _fraction(k))


def _upto(top: Any) -> Any:
    """[0, top]."""
    from flint import arb

    return arb(0).union(arb(top).upper())


def _fraction(x: Fraction | int) -> Any:
    from flint import arb

    x = Fraction(x)
    return arb(x.numerator) / x.denominator


def _ball(x: Interval) -> Any:
    from flint import arb

    return arb(float(x.low[0])).union(arb(float(x.high[0])))


def _interval(ball: Any) -> Interval:
    if not ball.is_finite():
        return Interval.everywhere(1)
    return Interval(down(down(np.array([float(ball.lower())]))), up(up(np.array([float(ball.upper())]))))
