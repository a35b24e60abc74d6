"""Functions of one number whose slope is bounded on bounded ranges only: powers, exponentials, logarithms, reciprocals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.activations import balls
from lipcert.activations.local import kinks
from lipcert.activations.record import Parameters, Pointwise, tried
from lipcert.activations.spelling import single

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lipcert.arrays import Array, BoolArray
    from lipcert.rounding import Interval


def _ends(low: float, high: float) -> Any:
    return lambda p: (np.array([low]), np.array([high]))


def _none(p: Parameters, low: Array, high: Array) -> Interval:
    return kinks()


def _at_zero(p: Parameters, low: Array, high: Array) -> Interval:
    return kinks(np.zeros(1))


def _inverse(x: Any) -> Any:
    """1/x; a series whose head may vanish has any value and slope."""
    if balls.is_series(x) and x[0].contains(0):
        return x * balls.head(x).__class__("nan")
    return 1 / x


EXP = Pointwise(
    "exp",
    "exponentials",
    lambda z, p: np.exp(z),
    lambda z, p: np.exp(z),
    _ends(0.0, np.inf),
    lambda x, p: x.exp(),
    "the slope e^x grows with x",
    bends=_none,
    limits=_ends(0.0, np.inf),
    reach=_ends(0.0, np.inf),
    spelling=single("Exp"),
)

LOG = Pointwise(
    "log",
    "logarithms",
    lambda z, p: np.log(z),
    lambda z, p: 1.0 / z,
    _ends(0.0, np.inf),
    lambda x, p: x.log(),
    "the slope 1/x shrinks with x > 0",
    bends=_none,
    limits=_ends(np.inf, 0.0),
    examples=tried(positive=True),
    spelling=single("Log"),
)

SQRT = Pointwise(
    "sqrt",
    "square roots",
    lambda z, p: np.sqrt(z),
    lambda z, p: 0.5 / np.sqrt(z),
    _ends(0.0, np.inf),
    lambda x, p: x.sqrt(),
    "the slope 1/(2√x) shrinks with x > 0",
    bends=_none,
    limits=_ends(np.inf, 0.0),
    reach=_ends(0.0, np.inf),
    examples=tried(positive=True),
    spelling=single("Sqrt"),
)

RECIPROCAL = Pointwise(
    "reciprocal",
    "reciprocals",
    lambda z, p: 1.0 / z,
    lambda z, p: -1.0 / z**2,
    _ends(-np.inf, 0.0),
    lambda x, p: _inverse(x),
    "the slope −1/x² is monotone on either side of zero",
    bends=_at_zero,
    limits=_ends(0.0, 0.0),
    examples=tried(positive=True),
    spelling=single("Reciprocal"),
)


def _whole(p: Parameters) -> BoolArray:
    """Which exponents are whole numbers."""
    return np.asarray(p["exponent"] == np.round(p["exponent"]))


def _power(z: Array, p: Parameters) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.power(z, p["exponent"]))


def _power_gradient(z: Array, p: Parameters) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(p["exponent"] * np.power(z, p["exponent"] - 1.0))


def _power_slopes(p: Parameters) -> tuple[Array, Array]:
    """Everything, but no less than zero where x^p grows on all of its domain."""
    exponent = p["exponent"]
    odd = _whole(p) & (np.mod(exponent, 2.0) == 1.0)
    rising = (exponent > 0.0) & (odd | ~_whole(p))
    one = exponent == 1.0
    return np.where(one, 1.0, np.where(rising, 0.0, -np.inf)), np.where(one, 1.0, np.inf)


def _power_enclosure(x: Any, p: Mapping[str, Any]) -> Any:
    exponent = float(p["exponent"])
    if exponent != round(exponent):
        return (p["exponent"] * x.log()).exp()
    count = abs(int(exponent))
    result, factor = x * 0 + 1, x
    while count:
        if count & 1:
            result = result * factor
        count >>= 1
        factor = factor * factor if count else factor
    return _inverse(result) if exponent < 0.0 else result


POWER = Pointwise(
    "power",
    "powers",
    _power,
    _power_gradient,
    _power_slopes,
    _power_enclosure,
    "the slope p·x^(p − 1) is monotone on either side of zero",
    bends=_at_zero,
    examples=(*tried(exponent=(2, 3, 7, 1)), *tried(exponent=(-2, 0.5, -1.5), positive=True)),
    spelling=lambda pen, x, p: pen.apart(x, p, lambda pen, x, p: pen.op("Pow", x, pen.vector(p["exponent"]))),
)

RECORDS = (EXP, LOG, SQRT, RECIPROCAL, POWER)
