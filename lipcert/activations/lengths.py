"""Vectors divided by their lengths, over ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.rounding import TINY, UNIT, Interval, gamma

if TYPE_CHECKING:
    from lipcert.arrays import Array

_LARGE = 2.0**500
COUNT = 2.0**-50
"""The count of a mean of squares stands for all numbers within this part of it: files compute its inverse."""


def directions(on: Interval, block: int, count: Array, eps: Array, floor: Array) -> Interval:
    """z_i/max(√((z_i² + R)/count + eps), floor): it grows with z_i and shrinks with R, the squares of the others."""
    z = Interval(on.low.reshape(-1, block), on.high.reshape(-1, block))
    small = smallest(z) ** 2
    lost = gamma(block + 8)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = z.magnitude() ** 2
        total = squares.sum(axis=1, keepdims=True)
        # where one number may be anything, so may the rest
        rest_high = np.where(np.isfinite(total), np.maximum(total - squares, 0.0) + 2.0 * lost * total + TINY, np.inf)
    rest_low = np.maximum((small.sum(axis=1, keepdims=True) - small) * (1.0 - lost) - lost * small, 0.0)
    limit = np.sqrt(count) * (1.0 + 4.0 * UNIT + COUNT)

    def share(value: Array, outward: float) -> Array:
        # away from zero with the fewest others, towards it with the most
        away = (value > 0.0) == (outward > 0.0)
        large = np.abs(value) > _LARGE
        rest = np.where(away, rest_low, rest_high)
        near = np.where(large, 0.0, value)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = near / np.maximum(np.sqrt((near**2 + rest) / count + eps), floor)
        ratio = np.where(near == 0.0, 0.0, ratio)
        ratio = np.where(large, np.where(away, np.sign(value) * limit, 0.0), ratio)
        return np.asarray(ratio + outward * ((16.0 * UNIT + COUNT) * np.abs(ratio) + TINY))

    return Interval(share(z.low, -1.0).ravel(), share(z.high, 1.0).ravel())


def smallest(z: Interval) -> Array:
    """min |z| of each range."""
    return np.where((z.low <= 0.0) & (z.high >= 0.0), 0.0, np.minimum(np.abs(z.low), np.abs(z.high)))
