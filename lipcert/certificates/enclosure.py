"""Midpoint–radius matrices and the arithmetic that `lower` runs on to enclose R and Y (docs/theory.md 6, step 1).

Every operation computes the midpoint in floating point and a radius that covers the radii of its operands, those of the
constants, and the rounding of the midpoint: |fl(A B) − A B| ≤ γ_k |A||B|, γ_k = k u/(1 − k u), u = 2⁻⁵³, for any order
of summation (Higham, Accuracy and Stability, 2002, section 3.5). Radii are sums and products of nonnegative numbers, so
their own rounding is a relative error of at most γ_{k+8}, which `inflation` covers. An operation that underflows is off
by at most 2⁻¹⁰²², whether subnormal numbers are kept or flushed to zero: `FLOOR` enters every radius before it is
multiplied by |A|, `TINY` after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.constraints.interconnection import FloatArithmetic, apply_blocks
from lipcert.errors import NotCertified
from lipcert.graph.linear_maps import Index
from lipcert.rounding import FLOOR, TINY, UNIT, gamma

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.graph.linear_maps import LinearMap


def inflation(k: int) -> float:
    """Covers the rounding of a radius computed with sums of k nonnegative terms."""
    return 1.0 + 2.0 * gamma(k + 8)


@dataclass(frozen=True, eq=False)
class Origin:
    """The error D of an enclosure in terms of an earlier one's D₀: D = L D₀ + F (see `normwise`).

    Attributes
    ----------
    key
        The lengths of the earlier enclosure, whose identity tells it from others.
    length
        The same for the columns seen since.
    through
        L.
    fresh
        (columns,) the lengths of the columns of F, at most.
    """

    key: Array
    length: Array
    through: Enclosure
    fresh: Array


@dataclass(frozen=True, eq=False)
class Enclosure:
    """All matrices A with |A − mid| ≤ rad entrywise and ‖(A − mid)e_j‖ ≤ length_j for each column.

    Attributes
    ----------
    mid
        (rows, columns).
    rad
        (rows, columns), nonnegative, or None where the midpoint is exact.
    length
        (columns,), nonnegative, or None where the radius says all that is known (see `normwise`).
    origin
        Where the error comes from, or None.
    """

    mid: Array
    rad: Array | None = None
    length: Array | None = None
    origin: Origin | None = None

    def radius(self) -> Array:
        """The radius as an array."""
        return np.zeros_like(self.mid) if self.rad is None else self.rad


class EnclosureArithmetic:
    """The `Arithmetic` of enclosures."""

    def shape(self, x: Enclosure) -> tuple[int, int]:
        return x.mid.shape[0], x.mid.shape[1]

    def unit(self, rows: int, columns: int, at: int) -> Enclosure:
        return Enclosure(np.eye(rows, columns, at))

    def placed(self, a: LinearMap, columns: int, at: int) -> Enclosure:
        # copies of entries are exact
        placed = FloatArithmetic().placed
        return Enclosure(placed(a, columns, at), None if a.radius is None else placed(a.radius, columns, at))

    def zeros(self, rows: int, columns: int) -> Enclosure:
        return Enclosure(np.zeros((rows, columns)))

    def widen(self, x: Enclosure, columns: int) -> Enclosure:
        extra = columns - x.mid.shape[1]
        if not extra:
            return x
        mid = np.pad(x.mid, ((0, 0), (0, extra)))
        return Enclosure(mid, None if x.rad is None else np.pad(x.rad, ((0, 0), (0, extra))))

    def columns(self, x: Enclosure, start: int, stop: int) -> Enclosure:
        return Enclosure(x.mid[:, start:stop], None if x.rad is None else x.rad[:, start:stop])

    def hstack(self, parts: list[Enclosure]) -> Enclosure:
        return _stacked(parts, 1)

    def vstack(self, parts: list[Enclosure]) -> Enclosure:
        return _stacked(parts, 0)

    def apply(self, a: LinearMap, x: Enclosure) -> Enclosure:
        mid = a @ x.mid
        if isinstance(a, Index):
            return Enclosure(mid, None if x.rad is None else a @ x.rad)
        k = a.terms
        rad = a.magnitude() @ _spread(x, k)
        if a.radius is not None:
            rad += a.radius @ (np.abs(x.mid) + x.radius() + FLOOR)
        return Enclosure(mid, _outward(rad, k))

    def add(self, x: Enclosure, y: Enclosure) -> Enclosure:
        mid = x.mid + y.mid
        if x.rad is None and y.rad is None and not np.any((x.mid != 0.0) & (y.mid != 0.0)):
            return Enclosure(mid)
        # |fl(a + b) − (a + b)| ≤ u |fl(a + b)|
        rad = np.abs(mid)
        rad *= gamma(1)
        for part in (x.rad, y.rad):
            if part is not None:
                rad += part
        return Enclosure(mid, _outward(rad, 2))

    def blocks(self, small: Array, radius: Array | None, x: Enclosure) -> Enclosure:
        mid = apply_blocks(small, x.mid)
        k = small.shape[2]
        if x.rad is None and radius is None and k <= 1 and _exact_products(small, x.mid):
            return Enclosure(mid)
        rad = apply_blocks(np.abs(small), _spread(x, k))
        if radius is not None:
            rad += apply_blocks(np.broadcast_to(radius, small.shape), np.abs(x.mid) + x.radius() + FLOOR)
        return Enclosure(mid, _outward(rad, k))

    def product(self, x: Enclosure, y: Enclosure) -> Enclosure:
        k = x.mid.shape[1]
        mid = x.mid @ y.mid
        rad = np.abs(x.mid) @ _spread(y, k)
        if x.rad is not None:
            rad += x.rad @ (np.abs(y.mid) + y.radius() + FLOOR)
        return Enclosure(mid, _outward(rad, k))

    def solve(self, a: Enclosure, b: Enclosure) -> Enclosure:
        """(I − A)X = B by an approximate inverse C and the residual.

        With G = I − C(I − A) and the residual E = B − (I − A)X̃, X − X̃ = C E + G (X − X̃). If g = ‖|G|‖_∞ < 1, then I − A is
        invertible and |X − X̃|_ij ≤ e_ij + (Σ_k |G|_ik)/(1 − g) · max_k e_kj with e ≥ |C E| (Rump, Acta Numerica 2010).
        """
        n = a.mid.shape[0]
        eye = Enclosure(np.eye(n))
        system = self.add(eye, Enclosure(-a.mid, a.rad))
        try:
            inverse = Enclosure(np.asarray(np.linalg.inv(system.mid), dtype=np.float64))
        except np.linalg.LinAlgError:
            raise NotCertified(
                "I − DK of an implicit layer is singular, so its equation has no unique solution",
                advice="no Lipschitz bound exists without a well-posed layer",
            ) from None
        product = self.product(inverse, system)
        defect = self.add(eye, Enclosure(-product.mid, product.rad))
        x = inverse.mid @ b.mid
        image = self.product(system, Enclosure(x))
        residual = self.add(b, Enclosure(-image.mid, image.rad))
        error = self.product(inverse, residual)
        rad = _distance(defect, error)
        if rad is None:
            raise NotCertified(
                "I − DK of an implicit layer could not be proven invertible",
                advice="no Lipschitz bound exists without a well-posed layer",
            )
        return Enclosure(x, rad)


def _distance(defect: Enclosure, error: Enclosure) -> Array | None:
    """A bound on |X − X̃| from G and C E (`solve`), or None where ‖|G|‖_∞ < 1 is not shown."""
    row = (np.abs(defect.mid) + defect.radius()).sum(axis=1) * inflation(defect.mid.shape[1])
    largest = float(row.max(initial=0.0))
    if not largest < 1.0:
        return None
    e = np.abs(error.mid) + error.radius()
    # 1 − g loses digits where g is near one: it is rounded down
    return _outward(e + np.outer(row / ((1.0 - largest) * (1.0 - 4.0 * UNIT)), e.max(axis=0, initial=0.0)), 8)


def _spread(x: Enclosure, k: int) -> Array:
    """γ_k |x̂| + rad x, rounded up: what |A| has to be multiplied with to bound |fl(A x̂) − A x| for sums of k products."""
    spread = np.abs(x.mid)
    spread *= gamma(k + 1)
    if x.rad is not None:
        spread += x.rad
    spread += FLOOR
    return spread


def _outward(rad: Array, k: int) -> Array:
    """A radius computed with sums of k nonnegative terms, rounded up in place."""
    rad *= inflation(k)
    rad += TINY
    return rad


def _exact_products(small: Array, x: Array) -> bool:
    """Whether all products of an entry of `small` with one of x are exact: powers of two, and no underflow."""
    mantissa = np.abs(np.frexp(small)[0])
    if not np.all((mantissa == 0.5) | (mantissa == 0.0)):
        return False
    least = [float(np.abs(part[part != 0.0]).min(initial=1.0)) for part in (small, x)]
    return min(least) >= 2.0**-500


def _stacked(parts: list[Enclosure], axis: int) -> Enclosure:
    mid = np.concatenate([part.mid for part in parts], axis=axis)
    if all(part.rad is None for part in parts):
        return Enclosure(mid)
    return Enclosure(mid, np.concatenate([part.radius() for part in parts], axis=axis))
