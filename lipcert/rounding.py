"""Rounding in one direction: the constants of the error analysis, and intervals of numbers (docs/proof.md).

|fl(Σ a_i b_i) − Σ a_i b_i| ≤ γ_k Σ |a_i||b_i| for k products in any order, γ_k = k u/(1 − k u), u = 2⁻⁵³ (Higham,
Accuracy and Stability, 2002, section 3.5). An operation that underflows is off by at most 2⁻¹⁰²², whether subnormal
numbers are kept or flushed to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array, BoolArray, IntArray

UNIT = 2.0**-53
# each covers 2⁻¹⁰²² times more operations than one entry can take
FLOOR = 2.0**-990
TINY = 2.0**-960


def gamma(k: int) -> float:
    """An upper bound on γ_k = k u/(1 − k u).

    Examples
    --------
    >>> gamma(1) >= 2.0**-53
    True
    """
    return (k * UNIT) / (1.0 - k * UNIT) * (1.0 + 4.0 * UNIT)


def up(x: Array) -> Array:
    """At least the exact result of the one operation that x is the rounded result of; NaN, from ∞ − ∞, becomes ∞.

    Examples
    --------
    >>> bool(up(np.float64(0.1) + 0.2) > 0.3)
    True
    """
    # the sum is rounded too, but never below its first operand
    return np.where(np.isnan(x), np.inf, np.nextafter(x, np.inf) + TINY)


def down(x: Array) -> Array:
    """At most the exact result of the one operation that x is the rounded result of; NaN becomes −∞."""
    return np.where(np.isnan(x), -np.inf, np.nextafter(x, -np.inf) - TINY)


@dataclass(frozen=True, eq=False)
class Interval:
    """For each number an interval [low, high] that holds it; ends may be infinite.

    Attributes
    ----------
    low, high
        Arrays of one shape with low ≤ high.

    Examples
    --------
    >>> x = Interval(np.array([-1.0, 2.0]), np.array([3.0, 2.5]))
    >>> x.magnitude(), x.meet(Interval.everywhere(2)).low
    (array([3. , 2.5]), array([-1.,  2.]))
    """

    low: Array
    high: Array

    @classmethod
    def everywhere(cls, size: int) -> Interval:
        """`size` times the whole line."""
        return cls(np.full(size, -np.inf), np.full(size, np.inf))

    @classmethod
    def point(cls, x: Array) -> Interval:
        """The numbers x themselves."""
        return cls(x, x)

    @property
    def size(self) -> int:
        """How many numbers."""
        return int(self.low.size)

    @property
    def bounded(self) -> BoolArray:
        """Which intervals have two finite ends."""
        return np.isfinite(self.low) & np.isfinite(self.high)

    def magnitude(self) -> Array:
        """max |x| over each interval."""
        return np.asarray(np.maximum(np.abs(self.low), np.abs(self.high)))

    def middle(self) -> Array:
        """A number inside each interval, about its midpoint; of an unbounded one its finite end, or 0."""
        with np.errstate(invalid="ignore"):
            middle = 0.5 * self.low + 0.5 * self.high
        finite = np.where(np.isfinite(self.low), self.low, np.where(np.isfinite(self.high), self.high, 0.0))
        return np.where(np.isfinite(middle), np.clip(middle, self.low, self.high), finite)

    def radius(self) -> Array:
        """The largest distance of `middle` to a number of each interval, rounded up."""
        middle = self.middle()
        return np.maximum(up(self.high - middle), up(middle - self.low))

    def meet(self, other: Interval) -> Interval:
        """What both hold. Where nothing is in both, so that no number at all was meant, what lies between them."""
        low, high = np.maximum(self.low, other.low), np.minimum(self.high, other.high)
        return Interval(np.minimum(low, high), np.maximum(low, high))

    def reaching(self, low: float, high: float) -> Interval:
        """The intervals within known ends of all numbers."""
        return self.meet(Interval(np.full_like(self.low, low), np.full_like(self.high, high)))

    def hull(self, other: Interval) -> Interval:
        """The smallest intervals that hold both."""
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def plus(self, other: Interval) -> Interval:
        """x + y, rounded outward."""
        with np.errstate(invalid="ignore"):
            return Interval(down(self.low + other.low), up(self.high + other.high))

    def of_blocks(self, block: int, monotone: Callable[[Array], Array]) -> Interval:
        """The values of a function of each `block` neighbours that grows with all of them and rounds nothing."""
        low, high = (monotone(end.reshape(-1, block)).ravel() for end in (self.low, self.high))
        return Interval(low, high)

    def take(self, index: IntArray | BoolArray) -> Interval:
        """Some of the intervals."""
        return Interval(self.low[index], self.high[index])

    def contains(self, x: Array) -> BoolArray:
        """Which x lie in their interval; x may have further columns."""
        shape = (-1,) + (1,) * (x.ndim - 1)
        return np.asarray((self.low.reshape(shape) <= x) & (x <= self.high.reshape(shape)))
