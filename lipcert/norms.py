"""The vector norms that a bound is about."""

from __future__ import annotations

import math
from enum import StrEnum

from lipcert.errors import InvalidRequest


class Norm(StrEnum):
    """A vector norm: ℓ1, ℓ2 or ℓ∞."""

    L1 = "1"
    L2 = "2"
    LINF = "inf"

    @property
    def symbol(self) -> str:
        """ℓ1, ℓ2 or ℓ∞."""
        return "ℓ∞" if self is Norm.LINF else f"ℓ{self.value}"

    @property
    def dual(self) -> Norm:
        """The dual norm: ‖c‖_* = max cᵀx over ‖x‖ ≤ 1."""
        return {Norm.L1: Norm.LINF, Norm.L2: Norm.L2, Norm.LINF: Norm.L1}[self]

    @classmethod
    def parse(cls, value: object) -> Norm:
        """The norm meant by 1, 2, 'inf', numpy.inf or a Norm.

        Raises
        ------
        InvalidRequest
            If it is none of these.

        Examples
        --------
        >>> Norm.parse(2), Norm.parse(float("inf"))
        (<Norm.L2: '2'>, <Norm.LINF: 'inf'>)
        """
        text = str(value)
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            text = str(int(value))
        try:
            return cls(text)
        except ValueError:
            raise InvalidRequest(f"the norm {value!r} is not known", advice="use 1, 2 or inf") from None
