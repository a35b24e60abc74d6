"""Numbers that are folded on import: exact, or with the radius of what was rounded.

Every operation finds out by error-free transformations whether it rounded; where it did not, the radius stays zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray

# below it the error of a product may underflow
_SMALL = 2.0**-960
_SPLIT = 2.0**27 + 1.0
# a radius takes at most six roundings, and as many products that underflow
_UP = 1.0 + 2.0**-50
_LEAST = 2.0**-1071


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """(s, e) with s = fl(a + b) and s + e = a + b exactly; e is NaN where s overflows.

    Examples
    --------
    >>> two_sum(np.array([1e17]), np.array([1.0]))
    (array([1.e+17]), array([1.]))
    """
    with np.errstate(all="ignore"):
        s = a + b
        t = s - a
        return s, (a - (s - t)) + (b - t)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """(p, e) with p = fl(a·b) and p + e = a·b exactly; e is NaN where that cannot be told.

    Examples
    --------
    >>> two_product(np.array([0.1, 1e-200]), np.array([0.1, 1e-200]))
    (array([0.01, 0.  ]), array([-8.32667268e-19,             nan]))
    """
    with np.errstate(all="ignore"):
        p = a * b
        (ah, al), (bh, bl) = _split(a), _split(b)
        e = al * bl - (((p - ah * bh) - al * bh) - ah * bl)
        trivial = (a == 0.0) | (b == 0.0) | (np.abs(a) == 1.0) | (np.abs(b) == 1.0)
        e = np.where(np.abs(p) > _SMALL, e, np.nan)
        return p, np.where(trivial & np.isfinite(p), 0.0, e)


def _split(a: Array) -> tuple[Array, Array]:
    c = _SPLIT * a
    high = c - (c - a)
    return high, a - high


def exact_parts(terms: Array) -> list[Array]:
    """Vectors whose sum is the sum of `terms` over the last axis exactly, the largest first.

    Examples
    --------
    >>> [part.tolist() for part in exact_parts(np.array([[1e17, 1.0, -1e17], [1e17, 1.0, 0.0]]))]
    [[1.0, 1e+17], [0.0, 1.0]]
    """
    rows = terms.reshape(-1, terms.shape[-1]).tolist()
    parts: list[Array] = []
    while True:
        # fsum rounds the exact sum once
        sums = np.array([math.fsum(row) for row in rows])
        if parts and not sums.any():
            return parts
        parts.append(sums.reshape(terms.shape[:-1]))
        rows = [[*row, -total] for row, total in zip(rows, sums.tolist(), strict=True)]


def exact_image(matrix: Array, x: Array) -> list[Array] | None:
    """Vectors whose sum is x Mᵀ exactly, over the last axis of x; None where that leaves the range of float64.

    Examples
    --------
    >>> [part.tolist() for part in exact_image(np.array([[0.1, 0.2]]), np.array([3.0, 1.0]))]
    [[0.5], [2.7755575615628914e-17]]
    """
    product, error = two_product(np.asarray(matrix, np.float64), np.asarray(x, np.float64)[..., None, :])
    if not np.isfinite(product).all() or not np.isfinite(error).all():
        return None
    return exact_parts(np.concatenate([product, error], axis=-1))


def same_product(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Whether a·b = c·d, certainly.

    Examples
    --------
    >>> same_product(np.array([0.1]), np.array([0.3]), np.array([0.3]), np.array([0.1]))
    array([ True])
    """
    p, e = two_product(a, b)
    q, f = two_product(c, d)
    return np.asarray((p == q) & (e == f))


@dataclass(frozen=True, eq=False)
class Rounded:
    """Real numbers in mid ± rad, entry by entry; rad is zero where nothing was rounded.

    Examples
    --------
    >>> third = Rounded.of(np.array([1.0])) / Rounded.of(np.array([3.0]))
    >>> third.exact, (third * Rounded.of(np.array([0.0]))).exact
    (False, True)
    """

    mid: Array
    rad: Array

    @staticmethod
    def of(values: Array | float | Rounded, size: int | None = None) -> Rounded:
        """Exact numbers, spread to a vector of `size` where one is given."""
        if isinstance(values, Rounded):
            return values
        mid = np.asarray(values, dtype=np.float64)
        if size is not None:
            mid = np.broadcast_to(mid, size)
        return Rounded(mid, np.zeros(mid.shape))

    @property
    def exact(self) -> bool:
        """Whether no entry was rounded."""
        return not self.rad.any()

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.mid.size

    @property
    def zero(self) -> bool:
        """Whether all numbers are zero, certainly."""
        return not self.mid.any() and self.exact

    def equals(self, value: float | Array) -> bool:
        """Whether all numbers are `value`, certainly."""
        return self.exact and bool((self.mid == value).all())

    def same(self, other: Rounded) -> bool:
        """Whether the numbers are those of another, certainly."""
        return self.exact and other.exact and np.array_equal(self.mid, other.mid)

    @property
    def low(self) -> Array:
        """Lower ends."""
        return np.asarray(np.where(self.rad > 0.0, np.nextafter(self.mid - self.rad, -np.inf), self.mid))

    @property
    def largest(self) -> Array:
        """Upper bounds of the absolute values."""
        size = np.abs(self.mid)
        return np.asarray(np.where(self.rad > 0.0, np.nextafter(size + self.rad, np.inf), size))

    def close(self, bits: int) -> bool:
        """Whether every number is finite and known to that many bits."""
        with np.errstate(all="ignore"):
            return bool((self.rad <= 2.0**-bits * np.abs(self.mid)).all() and np.isfinite(self.mid).all())

    def __getitem__(self, index: IntArray) -> Rounded:
        return Rounded(self.mid[index], self.rad[index])

    def __neg__(self) -> Rounded:
        return Rounded(-self.mid, self.rad)

    def __abs__(self) -> Rounded:
        return Rounded(np.abs(self.mid), self.rad)

    def __add__(self, other: Rounded) -> Rounded:
        mid, error = two_sum(self.mid, other.mid)
        return Rounded(mid, _raised(self.rad + other.rad, mid, error))

    def __sub__(self, other: Rounded) -> Rounded:
        return self + -other

    def __mul__(self, other: Rounded | float) -> Rounded:
        b = Rounded.of(other)
        mid, error = two_product(self.mid, b.mid)
        if self.exact and b.exact:
            return Rounded(mid, _raised(np.zeros(mid.shape), mid, error))
        with np.errstate(all="ignore"):
            rad = np.abs(self.mid) * b.rad + self.rad * (np.abs(b.mid) + b.rad)
            # a product with an exact zero is zero
            zero = ((self.mid == 0.0) & (self.rad == 0.0)) | ((b.mid == 0.0) & (b.rad == 0.0))
            unknown = ~zero & ((self.rad > 0.0) | (b.rad > 0.0))
            return Rounded(mid, _raised(np.where(zero, 0.0, rad), mid, np.where(unknown, np.nan, error)))

    def __truediv__(self, other: Rounded) -> Rounded:
        """The quotient; its radius is infinite where the divisor may be zero."""
        with np.errstate(all="ignore"):
            mid = self.mid / other.mid
            back, error = two_product(mid, other.mid)
            exact = (self.rad == 0.0) & (other.rad == 0.0) & (back == self.mid) & (error == 0.0)
            # |a/b − â/b̂| ≤ (rad a + |â/b̂| rad b)/(|b̂| − rad b)
            room = np.abs(other.mid) - other.rad
            rad = (self.rad + np.abs(mid) * other.rad) / room
            rad = _raised(rad, mid, np.where(exact, 0.0, np.nan))
            return Rounded(mid, np.where(room > 0.0, np.where(np.isnan(rad), np.inf, rad), np.inf))

    def root(self) -> Rounded:
        """The square roots of positive numbers."""
        mid = np.sqrt(self.mid)
        back, error = two_product(mid, mid)
        exact = (self.rad == 0.0) & (back == self.mid) & (error == 0.0)
        # |√a − √â| = |a − â|/(√a + √â)
        return Rounded(mid, _raised(self.rad / mid, mid, np.where(exact, 0.0, np.nan)))


def _raised(rad: Array, mid: Array, error: Array) -> Array:
    """The radius with the rounding of the centre; an unknown error counts as a unit in the last place."""
    if not (error.any() or rad.any()):
        return rad
    with np.errstate(all="ignore"):
        total = rad + np.where(np.isnan(error), np.spacing(np.abs(mid)), np.abs(error))
        total = np.where(total > 0.0, total * _UP + _LEAST, 0.0)
        return np.asarray(np.where(np.isfinite(mid), total, np.inf))
