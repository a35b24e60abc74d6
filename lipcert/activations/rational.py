"""Normal forms over the rationals: irrational bases of one space are replaced by rational ones of the same.

Δw = K Δz + P c with Σ_j g_j c_j² ≤ Σ_i h_i (Q Δz)_i² group by group: the channels of (N) in other coordinates, so the
multipliers stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.activations.record import NormalForm

Rationals: TypeAlias = list[list[Fraction]]


@dataclass(frozen=True)
class RationalForm:
    """The form of one block.

    Attributes
    ----------
    K, P, Q
        (out, in), (out, p), (q, in), rows of rational numbers.
    g, h
        The weights of the p channels and of the q rows, positive.
    column_group, row_group
        The multiplier group of each channel and of each row.
    """

    K: Rationals
    P: Rationals
    Q: Rationals
    g: Sequence[Fraction]
    h: Sequence[Fraction]
    column_group: Sequence[int]
    row_group: Sequence[int]

    @classmethod
    def of(cls, form: NormalForm) -> RationalForm | None:
        """That of one block whose constants are float64 numbers, exactly; None where they are enclosures."""
        if any(radius is not None and radius.any() for radius in (form.K_radius, form.P_radius, form.Q_radius)):
            return None
        K, P, Q = (rationals(x[0]) for x in (form.K, form.P, form.Q))
        g, h = (_ones(x.size) for x in (form.column_group, form.row_group))
        return cls(K, P, Q, g, h, form.column_group.tolist(), form.row_group.tolist())


def rationals(x: np.ndarray) -> Rationals:
    """Float64 numbers as the rational ones that they are.

    Examples
    --------
    >>> rationals(np.array([[0.5, 2.0]]))
    [[Fraction(1, 2), Fraction(2, 1)]]
    """
    return [[Fraction(v) for v in row] for row in np.asarray(x, dtype=np.float64).tolist()]


def constant(rows: int, columns: int, value: Fraction) -> Rationals:
    """A matrix of one number."""
    return [[value] * columns for _ in range(rows)]


def centring(k: int, factor: Fraction = Fraction(1)) -> Rationals:
    """factor·(I − 11ᵀ/k)."""
    return [[factor * (Fraction(i == j) - Fraction(1, k)) for j in range(k)] for i in range(k)]


def helmert(k: int, factor: Fraction = Fraction(1)) -> tuple[Rationals, list[Fraction]]:
    """factor·C, C the columns (1, …, 1, −j, 0, …) of lengths √(j(j + 1)), a basis of 1^⊥, and the squares of the lengths.

    Examples
    --------
    >>> [[int(v) for v in row] for row in helmert(3)[0]]
    [[1, 1], [-1, 1], [0, -2]]
    """
    C = [[factor * (1 if i < j else -j if i == j else 0) for j in range(1, k)] for i in range(k)]
    return C, [Fraction(j * (j + 1)) for j in range(1, k)]


def preserving(K: Rationals, P: Rationals, g: Sequence[Fraction], k: int) -> RationalForm:
    """The form with rows Q = Cᵀ, all in one group, as of `lipcert.activations.sorting.normal_form`."""
    C, squares = helmert(k)
    h = [1 / s for s in squares]
    return RationalForm(K, P, transposed(C, k - 1), g, h, [0] * len(g), [0] * (k - 1))


def transposed(a: Rationals, columns: int) -> Rationals:
    """Aᵀ of a matrix with so many columns."""
    return [[row[j] for row in a] for j in range(columns)]


def _ones(n: int) -> list[Fraction]:
    return [Fraction(1)] * n
