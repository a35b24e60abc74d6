"""A signal that is held: it may be anything in its range, but does not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.record import ActivationRecord, NormalForm, Parameters
from lipcert.errors import InvalidRequest
from lipcert.rounding import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from lipcert.activations.spelling import Pen
    from lipcert.arrays import Array


class Held(ActivationRecord):
    """An input that does not move, whatever its value in [low, high]: Δw = 0. Where a value is needed, it is `at`.

    A bound then holds for every function that the held numbers make of the network; what it is given counts for nothing.
    """

    name = "held"
    source = "Δw = 0 by definition"

    def value(self, z: Array, parameters: Parameters) -> Array:
        return np.asarray(0.0 * np.where(np.isfinite(z), z, 0.0) + parameters["at"].reshape(-1, 1, 1))

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        return np.zeros_like(tangent)

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        return np.zeros_like(cotangent)

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        from flint import arb

        return [0 * x + arb(float(parameters["at"])) for x in z]

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        nothing = np.zeros(0, dtype=np.int64)
        return NormalForm(
            np.zeros((1, block, block)), np.zeros((1, block, 0)), np.zeros((1, 0, block)), nothing, nothing
        )

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        low, high = (np.broadcast_to(parameters[key], on.size).copy() for key in ("low", "high"))
        return Interval(low, high)

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        raise InvalidRequest(
            "a held signal may be anything in its range, which a file cannot say",
            advice="save the network without holding",
        )

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        return 0.0

    def describe(self, blocks: int, block: int) -> str:
        return f"{blocks}{f' × {block}' if block > 1 else ''} held number{'s' * (blocks * block > 1)}"


RECORDS = (Held(),)
