"""Sorting and maxima over groups."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.activations import balls, rational
from lipcert.activations.record import ActivationRecord, NormalForm, Parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.activations.rational import RationalForm, Rationals
    from lipcert.activations.spelling import Pen
    from lipcert.arrays import Array
    from lipcert.rounding import Interval


def helmert(k: int) -> tuple[Array, Array]:
    """An orthonormal basis B of 1^⊥ (Helmert's), shape (k, k − 1), and an entrywise bound on its rounding errors.

    Examples
    --------
    >>> B, _ = helmert(3)
    >>> bool(np.allclose(B.T @ B, np.eye(2)) and np.allclose(B.sum(axis=0), 0))
    True
    """
    j = np.arange(1.0, k)
    # column j is (1, …, 1, −j, 0, …)/√(j(j + 1)); a square root and a quotient, each correctly rounded
    B = np.triu(np.ones((k, k - 1)) / np.sqrt(j * (j + 1)))
    B[np.arange(1, k), np.arange(k - 1)] = -j / np.sqrt(j * (j + 1))
    return B, 2.0 * np.spacing(np.abs(B)) * (B != 0)


def mean_matrix(rows: int, k: int) -> tuple[Array, Array]:
    """1/k in a matrix (rows, k), and an entrywise bound on the rounding error: zero where k is a power of two."""
    exact = k & (k - 1) == 0
    return np.full((rows, k), 1.0 / k), np.full((rows, k), 0.0 if exact else np.spacing(1.0 / k))


def mean_slope(k: int) -> float:
    """√(1 − 1/k), rounded up: a norm bound of p − 1/k over the simplex."""
    # the root halves the error of 1 − 1/k, and both together are less than one unit in the last place
    return float(np.nextafter(np.sqrt(1.0 - 1.0 / k), 2.0))


def rational_slope(rows: int, k: int, sign: int = 1) -> tuple[Rationals, list[Fraction]]:
    """±`mean_slope` in a column, which is exactly at least √(1 − 1/k), and the weight of its channel."""
    if k == 1:
        return [[] for _ in range(rows)], []
    slope = Fraction(mean_slope(k))
    assert slope**2 >= 1 - Fraction(1, k)
    return rational.constant(rows, 1, sign * slope), [Fraction(1)]


def normal_form(K: Array, K_radius: Array, P: Array, P_radius: Array | None, k: int) -> NormalForm:
    """The form with rows Q = Bᵀ, all in one group."""
    B, radius = helmert(k)
    groups = np.zeros(P.shape[1], dtype=np.int64)
    rows = np.zeros(k - 1, dtype=np.int64)
    return NormalForm(
        K[None],
        P[None],
        B.T[None],
        groups,
        rows,
        K_radius[None] if K_radius.any() else None,
        None if P_radius is None else P_radius[None],
        radius.T[None],
    )


class Sort(ActivationRecord):
    """GroupSort, ascending; block size 2 is MaxMin.

    Q = Bᵀ, P = B for a basis B of 1^⊥ (K = 11ᵀ/g): the sum is preserved, the rest is nonexpansive (arXiv 2401.14033). A
    pair needs no root: P = (−½, ½)ᵀ, Q = (−1, 1) is the same with the channel scaled by √2.
    """

    name = "sort"
    source = "Pauli et al., ICLR 2024, arXiv 2401.14033; docs/theory.md 2"

    def value(self, z: Array, parameters: Parameters) -> Array:
        return np.sort(z, axis=1)

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        return np.take_along_axis(tangent, np.argsort(z, axis=1, kind="stable"), axis=1)

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        out = np.empty_like(cotangent)
        np.put_along_axis(out, np.argsort(z, axis=1, kind="stable"), cotangent, axis=1)
        return out

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        # the k-th smallest is monotone in every input
        heads = [balls.head(x) for x in z]
        lower = sorted((x.lower() for x in heads), key=_Ordered)
        upper = sorted((x.upper() for x in heads), key=_Ordered)
        return [balls.order_statistic(a.union(b), z) for a, b in zip(lower, upper, strict=True)]

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        if block == 2:
            group = np.zeros(1, dtype=np.int64)
            K, P, Q = np.full((1, 2, 2), 0.5), np.array([[[-0.5], [0.5]]]), np.array([[[-1.0, 1.0]]])
            return NormalForm(K, P, Q, group, group)
        return normal_form(*mean_matrix(block, block), *helmert(block), block)

    def rational_form(self, block: int, parameters: Parameters) -> RationalForm | None:
        if block == 2:
            return super().rational_form(block, parameters)
        C, squares = rational.helmert(block)
        return rational.preserving(rational.constant(block, block, Fraction(1, block)), C, squares, block)

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        # the k-th smallest is monotone in every input
        return on.of_blocks(block, lambda end: np.sort(end, axis=1))

    def is_modulus(self, block: int) -> bool:
        return block == 2

    def as_modulus(self, block: int, parameters: Parameters) -> tuple[Array, Array, Array, Array] | None:
        if block != 2:
            return None
        form = self.normal_form(block, parameters)
        return form.K, np.zeros_like(form.P), form.P, form.Q

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        return pen.op("TopK", x, pen.integers([block]), outputs=2, axis=2, largest=0)

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        return 1.0

    def describe(self, blocks: int, block: int) -> str:
        if block == 2:
            return f"{blocks} MaxMin pair{'s' * (blocks != 1)}"
        return f"{blocks} GroupSort group{'s' * (blocks != 1)} of {block}"


class Maximum(ActivationRecord):
    """The maximum of a block.

    Δmax = pᵀΔz with p in the simplex (mean value theorem), so Δmax − 1ᵀΔz/k = (p − 1/k)ᵀΔz, where p − 1/k is
    orthogonal to 1 and ‖p − 1/k‖² ≤ 1 − 1/k: K = 1ᵀ/k, P = √(1 − 1/k), Q = Bᵀ. For a pair K = (½, ½), P = ½,
    Q = (−1, 1), with the channel |Δ|b − a|| ≤ |Δ(b − a)|.
    """

    name = "maximum"
    source = "docs/theory.md 2: the gradient of a maximum lies in the simplex"

    def output_size(self, block: int, parameters: Parameters) -> int:
        return 1

    def value(self, z: Array, parameters: Parameters) -> Array:
        return z.max(axis=1, keepdims=True)

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        return np.take_along_axis(tangent, z.argmax(axis=1)[:, None], axis=1)

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        out = np.zeros_like(z)
        np.put_along_axis(out, z.argmax(axis=1)[:, None], cotangent, axis=1)
        return out

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        top = balls.head(z[0])
        for x in z[1:]:
            top = top.max(balls.head(x))
        return [balls.order_statistic(top, z)]

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        if block == 2:
            group = np.zeros(1, dtype=np.int64)
            K, P, Q = np.full((1, 1, 2), 0.5), np.full((1, 1, 1), 0.5), np.array([[[-1.0, 1.0]]])
            return NormalForm(K, P, Q, group, group)
        # a larger P is sound: it only makes the channel smaller
        P = np.full((1, min(block - 1, 1)), mean_slope(block))
        return normal_form(*mean_matrix(1, block), P, None, block)

    def rational_form(self, block: int, parameters: Parameters) -> RationalForm | None:
        if block == 2:
            return super().rational_form(block, parameters)
        mean = rational.constant(1, block, Fraction(1, block))
        return rational.preserving(mean, *rational_slope(1, block), block)

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        return on.of_blocks(block, lambda end: end.max(axis=1))

    def is_modulus(self, block: int) -> bool:
        return block == 2

    def as_modulus(self, block: int, parameters: Parameters) -> tuple[Array, Array, Array, Array] | None:
        if block != 2:
            return None
        form = self.normal_form(block, parameters)
        return form.K, np.zeros_like(form.P), form.P, form.Q

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        return pen.op("ReduceMax", x, pen.integers([2]), keepdims=0)

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        return 1.0

    def describe(self, blocks: int, block: int) -> str:
        return f"{blocks} maxim{'um' if blocks == 1 else 'a'} over {block}"


class _Ordered:
    """Sort key of exact balls."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __lt__(self, other: _Ordered) -> bool:
        return bool(self.x < other.x)


RECORDS = (Sort(), Maximum())
