"""Midpoint–radius matrices and the arithmetic that `lower` runs on to enclose R and Y (THEORY.md 6, step 1).

Every operation computes the midpoint in floating point and a radius that covers the radii of its operands, those of the
constants, and the rounding of the midpoint: |fl(A B) − A B| ≤ γ_k |A||B|, γ_k = k u/(1 − k u), u = 2⁻⁵³, for any order
of summation (Higham, Accuracy and Stability, 2002, section 3.5). Radii are sums and products of nonnegative numbers, so
their own rounding is a relative error of at most γ_{k+8}, which `_inflation` covers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.constraints.interconnection import apply_blocks
from lipcert.errors import NotCertified
from lipcert.graph.linear_maps import Index

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.graph.linear_maps import LinearMap

UNIT = 2.0**-53
# covers the underflow of any feasible number of operations (each at most 2⁻¹⁰⁷⁴), far from the slow denormal range
TINY = 2.0**-960


def gamma(k: int) -> float:
    """An upper bound on γ_k = k u/(1 − k u).

    Examples
    --------
    >>> gamma(1) >= 2.0**-53
    True
    """
    return (k * UNIT) / (1.0 - k * UNIT) * (1.0 + 4.0 * UNIT)


def _inflation(k: int) -> float:
    """Covers the rounding of a radius computed with sums of k nonnegative terms."""
    return 1.0 + 2.0 * gamma(k + 8)


@dataclass(frozen=True, eq=False)
class Enclosure:
    """All matrices A with |A − mid| ≤ rad entrywise.

    Attributes
    ----------
    mid
        (rows, columns).
    rad
        (rows, columns), nonnegative, or None where the midpoint is exact.
    """

    mid: Array
    rad: Array | None = None

    def radius(self) -> Array:
        """The radius as an array."""
        return np.zeros_like(self.mid) if self.rad is None else self.rad


class EnclosureArithmetic:
    """The `Arithmetic` of enclosures."""

    def shape(self, x: Enclosure) -> tuple[int, int]:
        return x.mid.shape[0], x.mid.shape[1]

    def unit(self, rows: int, columns: int, at: int) -> Enclosure:
        return Enclosure(np.eye(rows, columns, at))

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
        size = np.abs(x.mid)
        spread = gamma(k + 1) * size
        if x.rad is not None:
            spread += x.rad
        rad = a.magnitude() @ spread
        if a.radius is not None:
            rad += a.radius @ (size + x.radius())
        return Enclosure(mid, rad * _inflation(k) + TINY)

    def add(self, x: Enclosure, y: Enclosure) -> Enclosure:
        mid = x.mid + y.mid
        if x.rad is None and y.rad is None and not np.any((x.mid != 0.0) & (y.mid != 0.0)):
            return Enclosure(mid)
        rad = x.radius() + y.radius() + gamma(1) * np.abs(mid)
        return Enclosure(mid, rad * _inflation(2))

    def blocks(self, small: Array, radius: Array | None, x: Enclosure) -> Enclosure:
        mid = apply_blocks(small, x.mid)
        k = small.shape[2]
        if x.rad is None and radius is None and k <= 1 and _powers_of_two(small):
            return Enclosure(mid)
        size = np.abs(x.mid)
        spread = gamma(k + 1) * size
        if x.rad is not None:
            spread += x.rad
        rad = apply_blocks(np.abs(small), spread)
        if radius is not None:
            rad += apply_blocks(np.broadcast_to(radius, small.shape), size + x.radius())
        return Enclosure(mid, rad * _inflation(k) + TINY)

    def product(self, x: Enclosure, y: Enclosure) -> Enclosure:
        k = x.mid.shape[1]
        mid = x.mid @ y.mid
        size = np.abs(y.mid)
        rad = np.abs(x.mid) @ (gamma(k + 1) * size + y.radius())
        if x.rad is not None:
            rad += x.rad @ (size + y.radius())
        return Enclosure(mid, rad * _inflation(k) + TINY)

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
        row = (np.abs(defect.mid) + defect.radius()).sum(axis=1) * _inflation(n)
        largest = float(row.max(initial=0.0))
        if not largest < 1.0:
            raise NotCertified(
                "I − DK of an implicit layer could not be proven invertible",
                advice="no Lipschitz bound exists without a well-posed layer",
            )
        x = inverse.mid @ b.mid
        image = self.product(system, Enclosure(x))
        residual = self.add(b, Enclosure(-image.mid, image.rad))
        error = self.product(inverse, residual)
        e = np.abs(error.mid) + error.radius()
        rad = e + np.outer(row / (1.0 - largest), e.max(axis=0, initial=0.0))
        return Enclosure(x, rad * _inflation(8) + TINY)


def _powers_of_two(small: Array) -> bool:
    """Whether products with these entries are exact (up to underflow)."""
    mantissa = np.abs(np.frexp(small)[0])
    return bool(np.all((mantissa == 0.5) | (mantissa == 0.0)))


def _stacked(parts: list[Enclosure], axis: int) -> Enclosure:
    mid = np.concatenate([part.mid for part in parts], axis=axis)
    if all(part.rad is None for part in parts):
        return Enclosure(mid)
    return Enclosure(mid, np.concatenate([part.radius() for part in parts], axis=axis))
