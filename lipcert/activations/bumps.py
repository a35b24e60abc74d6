"""Functions of one number that files spell with exponentials and powers: the Gaussian, and powers of the sigmoid."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit

from lipcert.activations import balls
from lipcert.activations.local import kinks
from lipcert.activations.record import Parameters, Pointwise, tried
from lipcert.arrays import Array
from lipcert.errors import InvalidRequest
from lipcert.rounding import Interval

_STEEPEST = 0.857763884960707
"""√(2/e) = 0.85776388496070679…, rounded up."""
_LARGEST = 1e6
# of the logarithm, the product and the exponential in (p/(p + 1))^(p + 1)
_ROUNDED = 1.0 + 2.0**-40


def _ends(low: float, high: float) -> tuple[Array, Array]:
    return np.full(1, low), np.full(1, high)


def _turn(p: Parameters, low: Array, high: Array) -> Interval:
    root = np.full(1, np.sqrt(0.5))
    return kinks(-root, root)


GAUSSIAN = Pointwise(
    "gaussian",
    "Gaussians",
    lambda z, p: np.exp(-(z**2)),
    lambda z, p: -2.0 * z * np.exp(-(z**2)),
    lambda p: _ends(-_STEEPEST, _STEEPEST),
    lambda x, p: (-(x * x)).exp(),
    "e^(−x²) has the slope −2x·e^(−x²), extremal at ±1/√2: ±√(2/e)",
    bends=_turn,
    limits=lambda p: _ends(0.0, 0.0),
    reach=lambda p: _ends(0.0, 1.0),
    smooth=True,
    spelling=lambda w, x, p: w.op("Exp", w.op("Neg", w.op("Mul", x, x))),
)


def _power_slopes(p: Parameters) -> tuple[Array, Array]:
    exponent = p["exponent"]
    if not ((exponent > 0.0) & (exponent <= _LARGEST)).all():
        raise InvalidRequest(f"powers of the sigmoid need an exponent in (0, {_LARGEST:g}]")
    top = np.exp((exponent + 1.0) * np.log(exponent / (exponent + 1.0)))
    return np.zeros(exponent.shape), top * _ROUNDED


SIGMOID_POWER = Pointwise(
    "sigmoid_power",
    "powers of the sigmoid",
    lambda z, p: np.exp(p["exponent"] * log_expit(z)),
    lambda z, p: p["exponent"] * np.exp(p["exponent"] * log_expit(z)) * expit(-z),
    _power_slopes,
    lambda x, p: (-p["exponent"] * balls.softplus(-x)).exp(),
    "σ^p has the slope p·σ^p·(1 − σ), extremal where σ = p/(p + 1): (p/(p + 1))^(p + 1), 8/27 for σ²",
    bends=lambda p, low, high: kinks(np.log(p["exponent"])),
    limits=lambda p: _ends(0.0, 0.0),
    reach=lambda p: _ends(0.0, 1.0),
    smooth=True,
    spelling=lambda w, x, p: w.apart(
        x, p, lambda w, x, p: w.op("Pow", w.op("Sigmoid", x), w.number(p["exponent"].item()))
    ),
    examples=tried(exponent=(2.0, 0.5, 7.0)),
)

RECORDS = (GAUSSIAN, SIGMOID_POWER)
