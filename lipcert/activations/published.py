"""GroupSort and Householder with the constraints of the ICLR 2024 paper (arXiv 2401.14033) for P = S = 0.

Its T = diag(lam)⊗I + diag(gamma)⊗N, with N = 11ᵀ for GroupSort and N = I − vvᵀ for Householder, has two eigenspaces a
block. On each of them it says ‖Δw‖ ≤ ‖Δz‖ with a multiplier of its own, lam and lam + g·gamma (GroupSort) or lam and
lam + gamma (Householder), which (C) needs to be ≥ 0: a normal form with K = 0 and two groups a block.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations import rational
from lipcert.activations.blocks import Householder
from lipcert.activations.rational import RationalForm
from lipcert.activations.record import NormalForm, Parameters
from lipcert.activations.sorting import Sort, helmert
from lipcert.rounding import UNIT

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.rounding import Interval

SOURCE = "Pauli et al., ICLR 2024, arXiv 2401.14033, with P = S = 0"


class PublishedSort(Sort):
    """P = [B, 1/√g], Q = Pᵀ; for a pair P = ½[[−1, 1], [1, 1]], Q = [[−1, 1], [1, 1]], which is exact."""

    name = "sort_published"
    source = SOURCE

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        K = np.zeros((1, block, block))
        group = np.r_[np.zeros(block - 1, dtype=np.int64), 1] if block > 1 else np.zeros(1, dtype=np.int64)
        if block == 2:
            Q = np.array([[[-1.0, 1.0], [1.0, 1.0]]])
            return NormalForm(K, 0.5 * Q.swapaxes(1, 2), Q, group, group)
        B, radius = helmert(block)
        mean = np.full((block, 1), 1.0 / np.sqrt(block))
        P = np.hstack([B, mean])[None]
        spread = np.hstack([radius, 2.0 * np.spacing(mean)])[None]
        return NormalForm(K, P, P.swapaxes(1, 2), group, group, None, spread, spread.swapaxes(1, 2))

    def rational_form(self, block: int, parameters: Parameters) -> RationalForm | None:
        if block == 2:
            return RationalForm.of(self.normal_form(block, parameters))
        C, squares = rational.helmert(block)
        P, g = [[*row, Fraction(1)] for row in C], [*squares, Fraction(block)]
        group = [0] * (block - 1) + [1 if block > 1 else 0]
        zero = rational.constant(block, block, Fraction(0))
        return RationalForm(zero, P, rational.transposed(P, block), g, [1 / v for v in g], group, group)

    def is_modulus(self, block: int) -> bool:
        return False

    def as_modulus(self, block: int, parameters: Parameters) -> None:
        return None


class PublishedHouseholder(Householder):
    """The part along N = I − vvᵀ, v = c/‖c‖, as one group, the part along v as the other.

    φ is exactly I − ½ucᵀ plus (u/2)|cᵀz|; N is split off, and K = vvᵀ − ½ucᵀ is what a v of norm not exactly one leaves.
    """

    name = "householder_published"
    source = SOURCE

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        u, c = parameters["u"], parameters["c"]
        v = c / np.linalg.norm(c, axis=1, keepdims=True)
        along, product = _outer(v, v), 0.5 * _outer(u, c)
        K, N = along - product, np.eye(block) - along
        # relative errors: v (block + 4)/2 + 1 roundings an entry, |v| ≤ 1; a product, a difference
        spread = np.full_like(along, (2 * block + 16) * UNIT)
        spread_k = spread + 2.0**-51 * np.abs(product)
        if block == 1:
            group = np.zeros(1, dtype=np.int64)
            return NormalForm(K, 0.5 * u[:, :, None], c[:, None, :], group, group, spread_k)
        group = np.r_[np.zeros(block, dtype=np.int64), 1]
        return NormalForm(
            K,
            np.concatenate([N, 0.5 * u[:, :, None]], axis=2),
            np.concatenate([N, c[:, None, :]], axis=1),
            group,
            group,
            spread_k,
            np.concatenate([spread, np.zeros_like(u)[:, :, None]], axis=2),
            np.concatenate([spread, np.zeros_like(c)[:, None, :]], axis=1),
        )

    def as_modulus(self, block: int, parameters: Parameters) -> None:
        return None

    def rational_form(self, block: int, parameters: Parameters) -> RationalForm | None:
        (u,), (c,) = rational.rationals(parameters["u"]), rational.rationals(parameters["c"])
        square, n = sum(v * v for v in c), range(block)
        along = [[a * b / square for b in c] for a in c]
        K = [[along[i][j] - u[i] * c[j] / 2 for j in n] for i in n]
        rest = [[Fraction(i == j) - along[i][j] for j in n] for i in n]
        if block == 1:
            return RationalForm(K, [[u[0] / 2]], [c], [Fraction(1)], [Fraction(1)], [0], [0])
        P, group = [[*rest[i], u[i] / 2] for i in n], [0] * block + [1]
        ones = [Fraction(1)] * (block + 1)
        return RationalForm(K, P, [*rest, c], ones, ones, group, group)


def _outer(a: Array, b: Array) -> Array:
    return a[:, :, None] * b[:, None, :]


RECORDS = (PublishedSort(), PublishedHouseholder())

# the record with the published constraints for each activation that the paper treats
PUBLISHED = {"sort": "sort_published", "householder": "householder_published"}
