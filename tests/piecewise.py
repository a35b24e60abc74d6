"""Piecewise linear functions of one number in rational arithmetic: what a file computes along a line, exactly."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

Line = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Piecewise:
    """Slopes and intercepts (one more than breakpoints, ascending) of a continuous function of t.

    Examples
    --------
    >>> t = Piecewise.line(2, 1)
    >>> (t.maximum(Piecewise.line(0, 0)) - t).slopes
    [Fraction(-2, 1), Fraction(0, 1)]
    """

    at: tuple[Fraction, ...]
    pieces: tuple[Line, ...]

    @classmethod
    def line(cls, slope: float | Fraction, intercept: float | Fraction) -> Piecewise:
        return cls((), ((Fraction(slope), Fraction(intercept)),))

    @property
    def slopes(self) -> list[Fraction]:
        return [slope for slope, _ in self.pieces]

    def slope_behind(self, t: Fraction) -> Fraction:
        """The slope on the right of t."""
        return self.pieces[bisect_right(self.at, t)][0]

    def scaled(self, gain: float | Fraction, shift: float | Fraction = 0) -> Piecewise:
        """gain·f + shift."""
        a, b = Fraction(gain), Fraction(shift)
        return Piecewise(self.at, tuple((a * s, a * c + b) for s, c in self.pieces))

    def __add__(self, other: Piecewise) -> Piecewise:
        return self._with(other, lambda f, g: (f[0] + g[0], f[1] + g[1]))

    def __sub__(self, other: Piecewise) -> Piecewise:
        return self + other.scaled(-1)

    def maximum(self, other: Piecewise) -> Piecewise:
        """max(f, g), cut where they cross."""
        difference = self - other
        crossings = []
        for k, (s, c) in enumerate(difference.pieces):
            low = difference.at[k - 1] if k else None
            high = difference.at[k] if k < len(difference.at) else None
            if s and (low is None or -c / s > low) and (high is None or -c / s < high):
                crossings.append(-c / s)
        cut = Piecewise(tuple(crossings), ((Fraction(0), Fraction(0)),) * (len(crossings) + 1))
        f, g = self + cut, other + cut
        difference = f - g
        inside = [_between(difference.at, k) for k in range(len(difference.pieces))]
        larger = [s * t + c >= 0 for (s, c), t in zip(difference.pieces, inside, strict=True)]
        rows = zip(larger, (f - g.scaled(0)).pieces, (g - f.scaled(0)).pieces, strict=True)
        return Piecewise(difference.at, tuple(a if first else b for first, a, b in rows))

    def minimum(self, other: Piecewise) -> Piecewise:
        """min(f, g)."""
        return self.scaled(-1).maximum(other.scaled(-1)).scaled(-1)

    def two_slopes(self, below: float | Fraction, above: float | Fraction) -> Piecewise:
        """below·min(f, 0) + above·max(f, 0)."""
        zero = Piecewise.line(0, 0)
        return self.minimum(zero).scaled(below) + self.maximum(zero).scaled(above)

    def clipped(self, low: float | None, high: float | None) -> Piecewise:
        """min(max(f, low), high)."""
        found = self if low is None else self.maximum(Piecewise.line(0, low))
        return found if high is None else found.minimum(Piecewise.line(0, high))

    def _with(self, other: Piecewise, combine: Callable[[Line, Line], Line]) -> Piecewise:
        at = tuple(sorted({*self.at, *other.at}))
        places = [_between(at, k) for k in range(len(at) + 1)]
        return Piecewise(at, tuple(combine(self._piece(t), other._piece(t)) for t in places))

    def _piece(self, t: Fraction) -> Line:
        return self.pieces[bisect_right(self.at, t)]


def _between(at: tuple[Fraction, ...], k: int) -> Fraction:
    """A point of the k-th piece."""
    if not at:
        return Fraction(0)
    if k == 0:
        return at[0] - 1
    return at[-1] + 1 if k == len(at) else (at[k - 1] + at[k]) / 2


def steepest(functions: list[Piecewise], reach: Fraction | None = None) -> Fraction:
    """The largest Σ slope² over all t, or over (−reach, reach): near every kink, and far out."""
    at = tuple(sorted({t for f in functions for t in f.at if reach is None or abs(t) < reach}))
    if reach is None:
        places = [_between(at, k) for k in range(len(at) + 1)]
    else:
        ends = (-reach, *at, reach)
        places = [(a + b) / 2 for a, b in pairwise(ends)]
    return max(sum((f.slope_behind(t) ** 2 for f in functions), Fraction(0)) for t in places)
