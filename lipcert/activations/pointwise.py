"""Scalar activations. Decimal slope extrema are rounded outward in the last digit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import erf, erfc, expit

from lipcert.activations import balls
from lipcert.activations.local import kinks, periodic
from lipcert.activations.record import Parameters, Pointwise, tried
from lipcert.activations.spelling import attributed, in_float32, selected, single
from lipcert.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.activations.local import Bends
    from lipcert.activations.spelling import Pen
    from lipcert.arrays import Array
    from lipcert.rounding import Interval

    Slopes = Callable[[Parameters], tuple[Array, Array]]

_ONE = np.ones(1)


def _within(low: float, high: float) -> Slopes:
    return lambda p: (np.array([low]), np.array([high]))


def _hull(*slopes: Array) -> tuple[Array, Array]:
    """The smallest interval that holds all the given slopes, elementwise."""
    low = high = slopes[0]
    for slope in slopes[1:]:
        low, high = np.minimum(low, slope), np.maximum(high, slope)
    return low, high


def _up(x: Array) -> Array:
    return np.nextafter(x, np.inf)


def _down(x: Array) -> Array:
    return np.nextafter(x, -np.inf)


def _one_kink(at: float, below: Array, above: Array) -> tuple[Array, Array, Array]:
    """One kink on the horizontal axis, and the slopes on its sides."""
    slopes = np.stack(np.broadcast_arrays(below, above), axis=1)
    return np.array([[at]]), np.zeros((1, 1)), slopes


def _bends(*points: float) -> Bends:
    return lambda p, low, high: kinks(*(np.array([point]) for point in points))


def _scaled_bends(point: float, key: str) -> Bends:
    """Bends at ±point/p[key]; none where that is infinite."""

    def bends(p: Parameters, low: Array, high: Array) -> Interval:
        with np.errstate(divide="ignore"):
            at = np.abs(point / p[key])
        return kinks(-at, at)

    return bends


def _periodic_bends(start: float, step: float, key: str | None = None) -> Bends:
    """Bends at (start + k·step)/|p[key]|, k any integer."""

    def bends(p: Parameters, low: Array, high: Array) -> Interval:
        scale = np.abs(p[key]) if key else _ONE
        return periodic(start / scale, step / scale, low, high)

    return bends


def _step(sign: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """(low, high) where sign > 0, (high, low) where sign < 0."""
    return np.where(sign < 0, high, low), np.where(sign < 0, low, high)


def _clip_breaks(p: Parameters) -> tuple[Array, Array, Array]:
    low, high = np.broadcast_arrays(p["low"], p["high"])
    low, open_ = np.minimum(low, high), (low < high).astype(np.float64)
    at = np.stack([low, high], axis=1)
    # for low ≥ high the constant high
    value = np.where(open_[:, None] > 0, at, high[:, None])
    return at, value, np.stack([np.zeros_like(open_), open_, np.zeros_like(open_)], axis=1)


def _soft_breaks(p: Parameters) -> tuple[Array, Array, Array]:
    at = np.stack([-p["lambd"], p["lambd"]], axis=1)
    return at, np.zeros_like(at), np.array([[1.0, 0.0, 1.0]])


def _gate_bends(p: Parameters, low: Array, high: Array) -> Interval:
    """Where alpha·x + beta is 0 and 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [-p["beta"] / p["alpha"], (1.0 - p["beta"]) / p["alpha"]]
    closed, opened = (np.where(np.isnan(end), np.inf, end) for end in ends)
    return kinks(np.minimum(closed, opened), np.maximum(closed, opened))


def _positive(p: Parameters, key: str, name: str) -> None:
    if not (p[key] > 0).all():
        raise InvalidRequest(f"{name} needs {key} > 0")


RELU = Pointwise(
    "relu",
    "ReLU",
    lambda z, p: np.maximum(z, 0.0),
    lambda z, p: (z > 0).astype(np.float64),
    _within(0.0, 1.0),
    lambda x, p: balls.piecewise(x, 0, lambda y: y * 0, lambda y: y),
    "slopes 0 and 1; LipSDP, arXiv 1906.04893",
    modulus=True,
    breaks=lambda p: _one_kink(0.0, np.zeros(1), _ONE),
    spelling=single("Relu"),
)


def _leaky_relu(pen: Pen, x: str, p: Parameters) -> str:
    alpha = p["alpha"]
    if not in_float32(alpha):
        return selected(pen, x, x, pen.op("Mul", x, pen.vector(alpha)))
    if (alpha == alpha[0]).all():
        return pen.op("LeakyRelu", x, alpha=float(alpha[0]))
    return pen.op("PRelu", x, pen.vector(alpha))


LEAKY_RELU = Pointwise(
    "leaky_relu",
    "LeakyReLU",
    lambda z, p: np.where(z > 0, z, p["alpha"] * z),
    lambda z, p: np.where(z > 0, 1.0, p["alpha"]),
    lambda p: _hull(p["alpha"], _ONE),
    lambda x, p: balls.piecewise(x, 0, lambda y: p["alpha"] * y, lambda y: y),
    "slopes alpha and 1, any sign of alpha; PReLU is the same with one alpha a channel",
    breaks=lambda p: _one_kink(0.0, p["alpha"], _ONE),
    spelling=_leaky_relu,
    examples=tried(alpha=(0.1, 1.7, -0.4, 1.0)),
)

TWO_SLOPE = Pointwise(
    "two_slope",
    "two-slope units",
    lambda z, p: np.where(z > 0, p["above"] * z, p["below"] * z),
    lambda z, p: np.where(z > 0, p["above"], p["below"]) + 0.0 * z,
    lambda p: _hull(p["below"], p["above"]),
    lambda x, p: balls.piecewise(x, 0, lambda y: p["below"] * y, lambda y: p["above"] * y),
    "slope `below` for x < 0 and `above` for x > 0",
    breaks=lambda p: _one_kink(0.0, p["below"], p["above"]),
    spelling=lambda w, x, p: selected(w, x, w.op("Mul", x, w.vector(p["above"])), w.op("Mul", x, w.vector(p["below"]))),
    examples=tried(below=(-2.0, 3.0), above=(0.5, -1.0)),
)

ABS = Pointwise(
    "abs",
    "absolute values",
    lambda z, p: np.abs(z),
    lambda z, p: np.sign(z),
    _within(-1.0, 1.0),
    lambda x, p: balls.absolute(x),
    "slopes −1 and 1",
    modulus=True,
    breaks=lambda p: _one_kink(0.0, -_ONE, _ONE),
    spelling=single("Abs"),
)


def _clip_slopes(p: Parameters) -> tuple[Array, Array]:
    low, high = np.broadcast_arrays(p["low"], p["high"])
    return np.zeros(low.shape), (low < high).astype(np.float64)


def _clip_enclosure(x: Any, p: Any) -> Any:
    # min(max(x, low), high): for low > high the constant high, as ONNX has it
    lifted = balls.piecewise(x, p["low"], lambda y: balls.constant(y, p["low"]), lambda y: y)
    return balls.piecewise(lifted, p["high"], lambda y: y, lambda y: balls.constant(y, p["high"]))


def _clip(pen: Pen, x: str, p: Parameters) -> str:
    low, high = p["low"], p["high"]
    if (low == low[0]).all() and (high == high[0]).all():
        ends = [pen.number(float(end[0])) if np.isfinite(end[0]) else "" for end in (low, high)]
        return pen.op("Clip", x, *ends) if any(ends) else x
    raised = pen.op("Max", x, pen.constant(np.clip(low, -pen.largest, pen.largest), "p"))
    return pen.op("Min", raised, pen.constant(np.clip(high, -pen.largest, pen.largest), "p"))


CLIP = Pointwise(
    "clip",
    "clipped units",
    lambda z, p: np.minimum(np.maximum(z, p["low"]), p["high"]),
    lambda z, p: ((z > p["low"]) & (z < p["high"])).astype(np.float64),
    _clip_slopes,
    _clip_enclosure,
    "min(max(x, low), high): slopes 0 and 1, constant for low ≥ high; ReLU6 and HardTanh are of this kind",
    breaks=_clip_breaks,
    spelling=_clip,
    examples=tried(low=(0.0, -np.inf, 2.0), high=(6.0, 1.0, -1.0)),
)

ELU = Pointwise(
    "elu",
    "ELU",
    lambda z, p: np.where(z > 0, z, p["alpha"] * np.expm1(np.minimum(z, 0.0))),
    lambda z, p: np.where(z > 0, 1.0, p["alpha"] * np.exp(np.minimum(z, 0.0))),
    lambda p: _hull(np.zeros(1), _ONE, p["alpha"]),
    lambda x, p: balls.piecewise(x, 0, lambda y: p["alpha"] * (y.exp() - 1), lambda y: y),
    "slope 1 above zero, alpha·e^x in (0, alpha] below",
    bends=_bends(0.0),
    limits=_within(0.0, 1.0),
    reach=lambda p: (np.minimum(-p["alpha"], 0.0), np.full(1, np.inf)),
    spelling=attributed("Elu"),
    examples=tried(alpha=(0.7, 2.5, -0.6)),
)


def _selu_slopes(p: Parameters) -> tuple[Array, Array]:
    product = p["gamma"] * p["alpha"]
    return _hull(np.zeros(1), p["gamma"], _down(product), _up(product))


SELU = Pointwise(
    "selu",
    "SELU",
    lambda z, p: p["gamma"] * np.where(z > 0, z, p["alpha"] * np.expm1(np.minimum(z, 0.0))),
    lambda z, p: p["gamma"] * np.where(z > 0, 1.0, p["alpha"] * np.exp(np.minimum(z, 0.0))),
    _selu_slopes,
    lambda x, p: p["gamma"] * balls.piecewise(x, 0, lambda y: p["alpha"] * (y.exp() - 1), lambda y: y),
    "slope gamma above zero, gamma·alpha·e^x below; 1.7581 for the constants of arXiv 1706.02515",
    bends=_bends(0.0),
    limits=lambda p: (np.zeros(1), p["gamma"]),
    spelling=attributed("Selu"),
    examples=tried(alpha=(1.6732632423543772, -0.5), gamma=(1.0507009873554805, 2.0)),
)


def _celu_slopes(p: Parameters) -> tuple[Array, Array]:
    _positive(p, "alpha", "CELU")
    return np.zeros(1), np.ones(1)


CELU = Pointwise(
    "celu",
    "CELU",
    lambda z, p: np.where(z > 0, z, p["alpha"] * np.expm1(np.minimum(z, 0.0) / p["alpha"])),
    lambda z, p: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0.0) / p["alpha"])),
    _celu_slopes,
    lambda x, p: balls.piecewise(x, 0, lambda y: p["alpha"] * ((y / p["alpha"]).exp() - 1), lambda y: y),
    "slope e^(x/alpha) in (0, 1] below zero for alpha > 0; for alpha < 0 it is unbounded",
    bends=_bends(0.0),
    limits=_within(0.0, 1.0),
    reach=lambda p: (-p["alpha"], np.full(1, np.inf)),
    smooth=True,
    spelling=attributed("Celu"),
    examples=tried(alpha=(0.5, 3.0)),
)

TANH = Pointwise(
    "tanh",
    "tanh",
    lambda z, p: np.tanh(z),
    lambda z, p: 1.0 - np.tanh(z) ** 2,
    _within(0.0, 1.0),
    lambda x, p: balls.tanh(x),
    "tanh' = 1 − tanh² lies in (0, 1]",
    bends=_bends(0.0),
    limits=_within(0.0, 0.0),
    reach=_within(-1.0, 1.0),
    smooth=True,
    spelling=single("Tanh"),
)

SIGMOID = Pointwise(
    "sigmoid",
    "sigmoid",
    lambda z, p: expit(z),
    lambda z, p: expit(z) * expit(-z),
    _within(0.0, 0.25),
    lambda x, p: balls.logistic(x),
    "σ' = σ(1 − σ) lies in (0, ¼]",
    bends=_bends(0.0),
    limits=_within(0.0, 0.0),
    reach=_within(0.0, 1.0),
    smooth=True,
    spelling=single("Sigmoid"),
)


def _softplus_slopes(p: Parameters) -> tuple[Array, Array]:
    if not p["beta"].all():
        raise InvalidRequest("softplus needs beta ≠ 0")
    return np.zeros(1), np.ones(1)


def _softplus(pen: Pen, x: str, p: Parameters) -> str:
    beta = p["beta"]
    if (beta == 1.0).all():
        return pen.op("Softplus", x)
    return pen.op("Div", pen.op("Softplus", pen.op("Mul", x, pen.vector(beta))), pen.vector(beta))


SOFTPLUS = Pointwise(
    "softplus",
    "softplus",
    lambda z, p: np.logaddexp(0.0, p["beta"] * z) / p["beta"],
    lambda z, p: expit(p["beta"] * z),
    _softplus_slopes,
    lambda x, p: balls.softplus(p["beta"] * x) / p["beta"],
    "log(1 + e^(beta·x))/beta has the slope σ(beta·x) in (0, 1)",
    bends=_bends(),
    limits=lambda p: _step(p["beta"], np.zeros(1), _ONE),
    reach=lambda p: (np.where(p["beta"] > 0, 0.0, -np.inf), np.where(p["beta"] > 0, np.inf, 0.0)),
    smooth=True,
    spelling=_softplus,
    examples=tried(beta=(1.0, 2.5, -1.0)),
)

LOG_SIGMOID = Pointwise(
    "log_sigmoid",
    "log-sigmoid",
    lambda z, p: -np.logaddexp(0.0, -z),
    lambda z, p: expit(-z),
    _within(0.0, 1.0),
    lambda x, p: -balls.softplus(-x),
    "the slope of log σ(x) is σ(−x) in (0, 1)",
    bends=_bends(),
    limits=_within(1.0, 0.0),
    reach=_within(-np.inf, 0.0),
    smooth=True,
    spelling=lambda w, x, p: w.op("Neg", w.op("Softplus", w.op("Neg", x))),
)

SOFTSIGN = Pointwise(
    "softsign",
    "softsign",
    lambda z, p: z / (1.0 + np.abs(z)),
    lambda z, p: (1.0 + np.abs(z)) ** -2.0,
    _within(0.0, 1.0),
    lambda x, p: balls.piecewise(x, 0, lambda y: y / (1 - y), lambda y: y / (1 + y)),
    "the slope of x/(1 + |x|) is (1 + |x|)⁻² in (0, 1]",
    bends=_bends(0.0),
    limits=_within(0.0, 0.0),
    reach=_within(-1.0, 1.0),
    smooth=True,
    spelling=single("Softsign"),
)

HARD_SIGMOID = Pointwise(
    "hard_sigmoid",
    "hard sigmoid",
    lambda z, p: np.clip(p["alpha"] * z + p["beta"], 0.0, 1.0),
    lambda z, p: p["alpha"] * (np.abs(p["alpha"] * z + p["beta"] - 0.5) < 0.5),
    lambda p: _hull(np.zeros(1), p["alpha"]),
    lambda x, p: _unit_clip(p["alpha"] * x + p["beta"]),
    "clip(alpha·x + beta, 0, 1): slopes 0 and alpha",
    bends=_gate_bends,
    limits=_within(0.0, 0.0),
    reach=_within(0.0, 1.0),
    spelling=attributed("HardSigmoid"),
    examples=tried(alpha=(0.2, -0.7), beta=(0.5, 0.1)),
)


def _unit_clip(x: Any) -> Any:
    return _clip_enclosure(x, {"low": 0, "high": 1})


HARD_SWISH = Pointwise(
    "hard_swish",
    "HardSwish",
    lambda z, p: z * np.clip(p["alpha"] * z + p["beta"], 0.0, 1.0),
    lambda z, p: _hard_swish_gradient(z, p["alpha"], p["beta"]),
    lambda p: _hull(np.zeros(1), _ONE, -p["beta"], _up(2.0 - p["beta"])),
    lambda x, p: x * _unit_clip(balls.inverse_root(p["alpha"], 36) * x + p["beta"]),
    "x·s with s = clip(alpha·x + beta, 0, 1): slope 0 or 1 where s is clipped, else 2s − beta in [−beta, 2 − beta], "
    "whatever alpha is; [−½, 3/2] for beta = ½",
    bends=_gate_bends,
    limits=lambda p: _step(p["alpha"], np.zeros(1), _ONE),
    spelling=lambda w, x, p: w.op("Mul", x, w.by_attributes("HardSigmoid", x, p)),
    examples=tried(alpha=(1 / 6, 0.4, -1.0), beta=(0.5, -0.3, 2.5)),
)


def _hard_swish_gradient(z: Array, alpha: Array, beta: Array) -> Array:
    s = np.clip(alpha * z + beta, 0.0, 1.0)
    return np.asarray(np.where((s > 0) & (s < 1), 2.0 * s - beta, s))


def _gelu(pen: Pen, x: str, p: Parameters) -> str:
    if (p["rate"] == np.sqrt(0.5)).all():
        return pen.op("Gelu", x)
    gate = pen.op("Add", pen.op("Erf", pen.op("Mul", x, pen.vector(p["rate"]))), pen.number(1.0))
    return pen.op("Mul", pen.op("Mul", x, gate), pen.number(0.5))


GELU = Pointwise(
    "gelu",
    "GELU",
    lambda z, p: 0.5 * z * erfc(-p["rate"] * z),
    lambda z, p: 0.5 * erfc(-p["rate"] * z) + p["rate"] * z / np.sqrt(np.pi) * np.exp(-((p["rate"] * z) ** 2)),
    _within(-0.1289041451851548, 1.128904145185155),
    lambda x, p: x * (1 + (balls.inverse_root(p["rate"], 2) * x).erf()) / 2,
    "x·(1 + erf(rate·x))/2 with t = √2·rate·x has the slope Φ(t) + t·φ(t), whatever the rate; its derivative "
    "(2 − t²)φ(t) vanishes at t = ±√2",
    bends=_scaled_bends(1.0, "rate"),
    limits=lambda p: _step(p["rate"], np.zeros(1), _ONE),
    smooth=True,
    spelling=_gelu,
    examples=tried(rate=(math.sqrt(0.5), -0.3, 4.0)),
)


def _gelu_tanh_gradient(z: Array) -> Array:
    # beyond |x| = 50 the second term is below 1e-300
    x = np.clip(z, -50.0, 50.0)
    root = np.sqrt(2.0 / np.pi)
    u = 2.0 * root * (x + 0.044715 * x**3)
    return np.asarray(expit(u) + x * expit(u) * expit(-u) * 2.0 * root * (1.0 + 3.0 * 0.044715 * x**2))


def _gelu_tanh_enclosure(x: Any, p: Any) -> Any:
    from flint import arb

    cubic = arb(44715) / 1000000
    return x * balls.logistic(2 * (2 / arb.pi()).sqrt() * (x + cubic * x * x * x))


GELU_TANH = Pointwise(
    "gelu_tanh",
    "GELU (tanh form)",
    lambda z, p: (
        z * expit(2.0 * np.sqrt(2.0 / np.pi) * (np.clip(z, -1e3, 1e3) + 0.044715 * np.clip(z, -1e3, 1e3) ** 3))
    ),
    lambda z, p: _gelu_tanh_gradient(z),
    _within(-0.12899306865877178, 1.128993068658772),
    _gelu_tanh_enclosure,
    "x·(1 + tanh(√(2/π)(x + 0.044715 x³)))/2; extrema of the slope at ±1.41850…, computed to 40 digits",
    bends=_bends(-1.4185040087908284, 1.4185040087908284),
    limits=_within(0.0, 1.0),
    smooth=True,
    spelling=single("Gelu", approximate="tanh"),
)

SILU = Pointwise(
    "silu",
    "SiLU",
    lambda z, p: z * expit(p["beta"] * z),
    lambda z, p: expit(p["beta"] * z) * (1.0 + p["beta"] * z * expit(-p["beta"] * z)),
    _within(-0.09983932012886693, 1.099839320128867),
    lambda x, p: x * balls.logistic(p["beta"] * x),
    "x·σ(beta·x) with t = beta·x has the slope σ(t)(1 + t·σ(−t)), whatever beta; extrema at t = ±2.39935…, computed "
    "to 40 digits; Swish",
    bends=_scaled_bends(2.3993572805154677, "beta"),
    limits=lambda p: _step(p["beta"], np.zeros(1), _ONE),
    smooth=True,
    spelling=lambda w, x, p: w.op("Mul", x, w.op("Sigmoid", w.op("Mul", x, w.vector(p["beta"])))),
    examples=tried(beta=(1.0, 1.702, -0.8)),
)


def _mish_gradient(z: Array) -> Array:
    gate = np.tanh(np.logaddexp(0.0, z))
    return np.asarray(gate + z * (1.0 - gate**2) * expit(z))


def _mish_enclosure(x: Any, p: Any) -> Any:
    # tanh(log(1 + e^x)) = 1 − 2/((1 + e^x)² + 1) = n/(n + 2) with n = e^x (e^x + 2)
    def below(y: Any) -> Any:
        e = y.exp()
        return y * e * (e + 2) / (e * (e + 2) + 2)

    def above(y: Any) -> Any:
        e = (-y).exp()
        return y * (1 + 2 * e) / (1 + 2 * e + 2 * e * e)

    return balls.piecewise(x, 0, below, above)


MISH = Pointwise(
    "mish",
    "Mish",
    lambda z, p: z * np.tanh(np.logaddexp(0.0, z)),
    lambda z, p: _mish_gradient(z),
    _within(-0.11252612238946257, 1.088498161251728),
    _mish_enclosure,
    "x·tanh(softplus(x)); extrema of the slope at −2.25637… and 1.49057…, computed to 40 digits",
    bends=_bends(-2.2563763963607932, 1.4905711794854285),
    limits=_within(0.0, 1.0),
    smooth=True,
    spelling=single("Mish"),
)

ERF = Pointwise(
    "erf",
    "erf",
    lambda z, p: erf(z),
    lambda z, p: 2.0 / np.sqrt(np.pi) * np.exp(-(z**2)),
    _within(0.0, 1.1283791670955128),
    lambda x, p: x.erf(),
    "the slope 2/√π·e^(−x²) lies in (0, 2/√π]",
    bends=_bends(0.0),
    limits=_within(0.0, 0.0),
    reach=_within(-1.0, 1.0),
    smooth=True,
    spelling=single("Erf"),
)

SIN = Pointwise(
    "sin",
    "sin",
    lambda z, p: np.sin(z),
    lambda z, p: np.cos(z),
    _within(-1.0, 1.0),
    lambda x, p: x.sin(),
    "sin' = cos lies in [−1, 1]",
    bends=_periodic_bends(0.0, np.pi),
    reach=_within(-1.0, 1.0),
    smooth=True,
    spelling=single("Sin"),
)

COS = Pointwise(
    "cos",
    "cos",
    lambda z, p: np.cos(z),
    lambda z, p: -np.sin(z),
    _within(-1.0, 1.0),
    lambda x, p: x.cos(),
    "cos' = −sin lies in [−1, 1]",
    bends=_periodic_bends(np.pi / 2, np.pi),
    reach=_within(-1.0, 1.0),
    smooth=True,
    spelling=single("Cos"),
)


def _sine_squared(pen: Pen, x: str) -> str:
    sine = pen.op("Sin", x)
    return pen.op("Mul", sine, sine)


SIN_SQUARED = Pointwise(
    "sin_squared",
    "sin²",
    lambda z, p: np.sin(z) ** 2,
    lambda z, p: np.sin(2.0 * z),
    _within(-1.0, 1.0),
    lambda x, p: (1 - (2 * x).cos()) / 2,
    "the slope of sin² x is sin 2x in [−1, 1]; x + sin²(a·x)/a is Snake, arXiv 2006.08195",
    bends=_periodic_bends(np.pi / 4, np.pi / 2),
    reach=_within(0.0, 1.0),
    smooth=True,
    spelling=lambda w, x, p: _sine_squared(w, x),
)


def _snake(pen: Pen, x: str, p: Parameters) -> str:
    a = pen.vector(p["a"])
    return pen.op("Add", x, pen.op("Div", _sine_squared(pen, pen.op("Mul", x, a)), a))


SNAKE = Pointwise(
    "snake",
    "Snake",
    lambda z, p: z + np.sin(p["a"] * z) ** 2 / p["a"],
    lambda z, p: 1.0 + np.sin(2.0 * p["a"] * z),
    _within(0.0, 2.0),
    lambda x, p: x + (1 - (2 * p["a"] * x).cos()) / (2 * p["a"]),
    "x + sin²(a·x)/a, a ≠ 0, has the slope 1 + sin(2a·x) in [0, 2]; arXiv 2006.08195",
    bends=_periodic_bends(np.pi / 4, np.pi / 2, "a"),
    smooth=True,
    spelling=_snake,
    examples=tried(a=(1.0, -0.5)),
)

ARCTAN = Pointwise(
    "arctan",
    "arctan",
    lambda z, p: np.arctan(z),
    lambda z, p: 1.0 / (1.0 + z**2),
    _within(0.0, 1.0),
    lambda x, p: x.atan(),
    "the slope 1/(1 + x²) lies in (0, 1]",
    bends=_bends(0.0),
    limits=_within(0.0, 0.0),
    reach=_within(-1.5707963267948968, 1.5707963267948968),
    smooth=True,
    spelling=single("Atan"),
)

ARSINH = Pointwise(
    "arsinh",
    "arsinh",
    lambda z, p: np.arcsinh(z),
    lambda z, p: 1.0 / np.hypot(1.0, z),
    _within(0.0, 1.0),
    lambda x, p: balls.piecewise(
        x, 0, lambda y: -((1 + y * y).sqrt() - y).log(), lambda y: ((1 + y * y).sqrt() + y).log()
    ),
    "the slope 1/√(1 + x²) lies in (0, 1]",
    bends=_bends(0.0),
    limits=_within(0.0, 0.0),
    smooth=True,
    spelling=single("Asinh"),
)


def _softshrink_slopes(p: Parameters) -> tuple[Array, Array]:
    if not (p["lambd"] >= 0).all():
        raise InvalidRequest("softshrink needs lambd ≥ 0")
    return (p["lambd"] == 0).astype(np.float64), np.ones(1)


SOFTSHRINK = Pointwise(
    "softshrink",
    "softshrink",
    lambda z, p: z - np.clip(z, -p["lambd"], p["lambd"]),
    lambda z, p: (np.abs(z) > p["lambd"]).astype(np.float64),
    _softshrink_slopes,
    lambda x, p: balls.piecewise(
        x,
        0,
        lambda y: balls.piecewise(y, -p["lambd"], lambda t: t + p["lambd"], lambda t: t * 0),
        lambda y: balls.piecewise(y, p["lambd"], lambda t: t * 0, lambda t: t - p["lambd"]),
    ),
    "x − clip(x, −lambd, lambd): slopes 0 and 1",
    breaks=_soft_breaks,
    spelling=lambda w, x, p: w.by_attributes("Shrink", x, {"lambd": p["lambd"], "bias": p["lambd"]}),
    examples=tried(lambd=(0.5, 2.0)),
)

TANHSHRINK = Pointwise(
    "tanhshrink",
    "tanhshrink",
    lambda z, p: z - np.tanh(z),
    lambda z, p: np.tanh(z) ** 2,
    _within(0.0, 1.0),
    lambda x, p: x - balls.tanh(x),
    "the slope of x − tanh x is tanh² x in [0, 1)",
    bends=_bends(0.0),
    limits=_within(1.0, 1.0),
    smooth=True,
    spelling=lambda w, x, p: w.op("Sub", x, w.op("Tanh", x)),
)


def _soft_abs_slopes(p: Parameters) -> tuple[Array, Array]:
    _positive(p, "offset", "√(x² + offset)")
    return -np.ones(1), np.ones(1)


SOFT_ABS = Pointwise(
    "soft_abs",
    "soft absolute values",
    lambda z, p: np.hypot(z, np.sqrt(p["offset"])),
    lambda z, p: z / np.hypot(z, np.sqrt(p["offset"])),
    _soft_abs_slopes,
    lambda x, p: (x * x + p["offset"]).sqrt(),
    "√(x² + offset), the pseudo-Huber function up to constants, has the slope x/√(x² + offset) in (−1, 1)",
    bends=_bends(),
    limits=_within(-1.0, 1.0),
    reach=_within(0.0, np.inf),
    smooth=True,
    spelling=lambda w, x, p: w.op("Sqrt", w.op("Add", w.op("Mul", x, x), w.vector(p["offset"]))),
    examples=tried(offset=(1.0, 0.01)),
)

RECORDS = (
    RELU,
    LEAKY_RELU,
    TWO_SLOPE,
    ABS,
    CLIP,
    ELU,
    SELU,
    CELU,
    TANH,
    SIGMOID,
    SOFTPLUS,
    LOG_SIGMOID,
    SOFTSIGN,
    HARD_SIGMOID,
    HARD_SWISH,
    GELU,
    GELU_TANH,
    SILU,
    MISH,
    ERF,
    SIN,
    COS,
    SIN_SQUARED,
    SNAKE,
    ARCTAN,
    ARSINH,
    SOFTSHRINK,
    TANHSHRINK,
    SOFT_ABS,
)
