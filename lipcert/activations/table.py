"""The table of activations. A new activation is one more record here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.record import ActivationRecord, NormalForm, Parameters, Pointwise

if TYPE_CHECKING:
    from lipcert.arrays import Array


def _constant_slopes(low: float, high: float):  # type: ignore[no-untyped-def]
    return lambda parameters: (np.array([low]), np.array([high]))


RELU = Pointwise(
    "relu",
    lambda z, p: np.maximum(z, 0.0),
    lambda z, p: (z > 0).astype(np.float64),
    _constant_slopes(0.0, 1.0),
    "LipSDP, arXiv 1906.04893",
)
TANH = Pointwise(
    "tanh",
    lambda z, p: np.tanh(z),
    lambda z, p: 1.0 - np.tanh(z) ** 2,
    _constant_slopes(0.0, 1.0),
    "tanh' = 1 − tanh² lies in (0, 1]",
)


class Sort(ActivationRecord):
    """GroupSort, ascending; block size 2 is MaxMin.

    Q = Bᵀ, P = B for a basis B of 1^⊥ (K = 11ᵀ/g): the sum is preserved, the rest is nonexpansive (arXiv 2401.14033). A
    pair needs no root: P = (−½, ½)ᵀ, Q = (−1, 1) is the same with the channel scaled by √2.
    """

    name = "sort"
    source = "Pauli et al., ICLR 2024, arXiv 2401.14033; THEORY.md 2"

    def value(self, z: Array, parameters: Parameters) -> Array:
        return np.sort(z, axis=1)

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        return np.take_along_axis(tangent, np.argsort(z, axis=1, kind="stable"), axis=1)

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        out = np.empty_like(cotangent)
        np.put_along_axis(out, np.argsort(z, axis=1, kind="stable"), cotangent, axis=1)
        return out

    def normal_form(self, block: int, parameters: Parameters) -> NormalForm:
        if block != 2:
            raise NotImplementedError
        group = np.zeros(1, dtype=np.int64)
        return NormalForm(np.full((1, 2, 2), 0.5), np.array([[[-0.5], [0.5]]]), np.array([[[-1.0, 1.0]]]), group, group)

    def lipschitz(self, block: int, parameters: Parameters) -> float:
        return 1.0

    def describe(self, blocks: int, block: int) -> str:
        return f"{blocks} MaxMin pairs" if block == 2 else f"{blocks} GroupSort groups of {block}"


SORT = Sort()

TABLE: dict[str, ActivationRecord] = {record.name: record for record in (RELU, TANH, SORT)}
