"""Activations on vectors: Householder reflections, softmax, norms."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.activations import balls, rational
from lipcert.activations.lengths import directions
from lipcert.activations.mean_value import affordable, nearer
from lipcert.activations.rational import RationalForm
from lipcert.activations.record import ActivationRecord, Example, NormalForm, Parameters
from lipcert.activations.sorting import Maximum, helmert, mean_slope, normal_form, rational_slope
from lipcert.rounding import UNIT, Interval, down, gamma, up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.activations.spelling import Pen
    from lipcert.arrays import Array

_TINY = np.finfo(np.float64).tiny


def _reflection(block: int) -> Example:
    """A reflection without symmetries."""
    v = np.sqrt(2.0) + np.arange(1.0, block + 1.0)[None] * (-1.0) ** np.arange(block)
    v /= np.linalg.norm(v)
    return Example(block, {"u": 2.0 * v, "c": v})


class Householder(ActivationRecord):
    """φ(x) = x − u·min(cᵀx, 0); a reflection (φ(x) = x for vᵀx > 0, else (I − 2vvᵀ)x) is u = 2v, c = v.

    min(t, 0) = (t − |t|)/2, so K = I − ½ucᵀ, P = u/2, Q = cᵀ, one scalar group a block, for any u and c. Parameters u,
    c of shape (1 or blocks, block).
    """

    name = "householder"
    source = "Singla et al. 2021 (arXiv 2108.04062), Pauli et al. 2024 (arXiv 2401.14033); min(t, 0) = (t − |t|)/2"
    examples = tuple(_reflection(block) for block in (1, 2, 3, 4, 7))

    def value(self, z: Array, parameters: Parameters) -> Array:
        u, c = parameters["u"][:, :, None], parameters["c"][:, :, None]
        return z - u * np.minimum((c * z).sum(axis=1, keepdims=True), 0.0)

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        u, c = parameters["u"][:, :, None], parameters["c"][:, :, None]
        active = (c * z).sum(axis=1, keepdims=True) < 0
        return tangent - u * (active * (c * tangent).sum(axis=1, keepdims=True))

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        u, c = parameters["u"][:, :, None], parameters["c"][:, :, None]
        active = (c * z).sum(axis=1, keepdims=True) < 0
        return cotangent - c * (active * (u * cotangent).sum(axis=1, keepdims=True))

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        from flint import arb

        t = 0 * z[0]
        for c, x in zip(parameters["c"], z, strict=True):
            t += arb(float(c)) * x
        t = balls.piecewise(t, 0, lambda y: y, lambda y: y * 0)
        return [x - arb(float(u)) * t for u, x in zip(parameters["u"], z, strict=True)]

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        u, c = parameters["u"], parameters["c"]
        product = 0.5 * u[:, :, None] * c[:, None, :]
        K = np.eye(block) - product
        # one rounding of the product, one of the difference, the sum of both rounded up
        radius = 2.0 * UNIT * (np.abs(product) + np.abs(K)) + _TINY
        group = np.zeros(1, dtype=np.int64)
        return NormalForm(K, 0.5 * u[:, :, None], c[:, None, :], group, group, K_radius=radius)

    def rational_form(self, block: int, parameters: Parameters) -> RationalForm | None:
        (u,), (c,) = rational.rationals(parameters["u"]), rational.rationals(parameters["c"])
        K = [[Fraction(i == j) - a * b / 2 for j, b in enumerate(c)] for i, a in enumerate(u)]
        return RationalForm(K, [[a / 2] for a in u], [c], [Fraction(1)], [Fraction(1)], [0], [0])

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        u, c = (parameters[key] for key in "uc")
        z = Interval(on.low.reshape(-1, block), on.high.reshape(-1, block))
        middle, radius = z.middle(), z.radius()
        room = (np.abs(c) * (radius + gamma(block + 4) * np.abs(middle))).sum(axis=1, keepdims=True)
        room = up(room * (1.0 + 2.0 * gamma(block + 8)))
        t = (c * middle).sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            below = Interval(np.minimum(down(t - room), 0.0), np.minimum(up(t + room), 0.0))
            ends = [np.where(u == 0.0, 0.0, u * end) for end in (below.low, below.high)]
            low, high = down(z.low - up(np.maximum(*ends))), up(z.high - down(np.minimum(*ends)))
        return Interval(low.ravel(), high.ravel())

    def as_modulus(self, block: int, parameters: Parameters) -> tuple[Array, Array, Array, Array] | None:
        # x − u·min(t, 0) with min(t, 0) = (t − |t|)/2
        u, c = parameters["u"], parameters["c"]
        return np.eye(block)[None], -0.5 * u[:, :, None], 0.5 * u[:, :, None], c[:, None, :]

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        u, c = (pen.constant(np.ascontiguousarray(parameters[key]), key) for key in "uc")
        t = pen.op("ReduceSum", pen.op("Mul", x, c), pen.integers([2]), keepdims=1)
        return pen.op("Sub", x, pen.op("Mul", pen.op("Min", t, pen.number(0.0)), u))

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        # on span(u, c), with t = uᵀc and δ = ‖u‖²‖c‖² − t² = Σ_{i<j}(u_i c_j − u_j c_i)²:
        # ‖I − ucᵀ‖ = ½(√(δ + t²) + √(δ + (2 − t)²)); convexity takes care of the segment from I to I − ucᵀ
        u, c = np.broadcast_arrays(parameters["u"], parameters["c"])
        t = (u * c).sum(axis=1)
        skew = u[:, :, None] * c[:, None, :]
        skew = skew - skew.swapaxes(1, 2)
        delta = 0.5 * (skew**2).sum(axis=(1, 2))
        norm = 0.5 * (np.sqrt(delta + t**2) + np.sqrt(delta + (2.0 - t) ** 2))
        # the rounding errors of t and of each entry of `skew` are below this times the unit roundoff
        rounding = (block + 8) * (1.0 + np.linalg.norm(u, axis=1) * np.linalg.norm(c, axis=1)) * UNIT
        bound = (norm + 8.0 * rounding).max()
        # NaN after an overflow says nothing, and max would drop it
        return float(bound) if np.isfinite(bound) else np.inf

    def describe(self, blocks: int, block: int) -> str:
        return f"{blocks} Householder reflection{'s' * (blocks != 1)} of {block}"


class Softmax(ActivationRecord):
    """e^z/Σe^z over a block: its Jacobian diag(p) − ppᵀ is symmetric, kills 1, and has eigenvalues in [0, ½].

    So K = ¼(I − 11ᵀ/k), P = ¼B, Q = Bᵀ. Σ_j |∂p_i/∂z_j| = 2p_i(1 − p_i) ≤ ½.
    """

    name = "softmax"
    source = "Gao & Pavel 2017 (arXiv 1704.00805); docs/theory.md 2"
    largest_row = 0.5

    def value(self, z: Array, parameters: Parameters) -> Array:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        p = self.value(z, parameters)
        return p * (tangent - (p * tangent).sum(axis=1, keepdims=True))

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        return self.jvp(z, cotangent, parameters)

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        # p_i = 1/Σ_j e^(z_j − z_i)
        return [1 / (1 + sum(((y - x).exp() for j, y in enumerate(z) if j != i), start=0 * x)) for i, x in enumerate(z)]

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        centring, radius = _centring(block)
        B, B_radius = helmert(block)
        everywhere = normal_form(0.25 * centring, 0.25 * radius, 0.25 * B, 0.25 * B_radius, block)
        J = None if on is None else self.derivatives(block, parameters, on)
        return everywhere if J is None else self._near(everywhere, J, centring)

    @staticmethod
    def _near(form: NormalForm, J: Interval, centring: Array) -> NormalForm:
        """J̄ and C J_m C kill 1 on both sides, C = I − 11ᵀ/k, and ‖C(J̄ − J_m)C‖ ≤ ‖J̄ − J_m‖; also 0 ≼ J̄ ≼ λ.

        λ is the largest row sum of moduli, 2p_i(1 − p_i) = 2J_ii.
        """
        k = len(centring)
        diagonal = np.einsum("bii->bi", J.high).max(axis=1)
        top = np.minimum(2.0 * diagonal, 0.5)
        K, rho = nearer(J, 0.5 * top[:, None, None] * centring, 0.5 * top)
        # the centring twice, off by a unit in its last place, and two products with rows of moduli that sum up to 2 at most
        room = np.full_like(K, 64.0 * k * UNIT) * np.abs(K).max(axis=(1, 2), keepdims=True) + _TINY
        K = centring @ K @ centring
        assert form.P_radius is not None
        scale = 4.0 * up(rho)[:, None, None]
        P = form.P * scale
        return replace(form, K=K, P=P, K_radius=room, P_radius=up(form.P_radius * scale + 2.0 * UNIT * np.abs(P)))

    def derivatives(self, block: int, parameters: Parameters, on: Interval) -> Interval | None:
        """p_i(1 − p_i) on the diagonal and −p_i p_j beside it."""
        if not affordable(on.size // block, block, block):
            return None
        p = self.image(block, parameters, on)
        low, high = (end.reshape(-1, block) for end in (p.low, p.high))
        J = Interval(-up(high[:, :, None] * high[:, None]), -down(low[:, :, None] * low[:, None]))
        ends = [x * (1.0 - x) for x in (low, high)]
        most = np.where((low <= 0.5) & (high >= 0.5), 0.25, np.maximum(*ends))
        eye = np.eye(block, dtype=bool)
        # two roundings, of numbers of at most 1
        own = np.maximum(np.minimum(*ends) - 4.0 * UNIT, 0.0), np.minimum(most + 4.0 * UNIT, 0.25)
        return Interval(
            *(np.where(eye, d[:, :, None], e) for d, e in zip(own, (J.low, np.minimum(J.high, 0.0)), strict=True))
        )

    def rational_form(self, block: int, parameters: Parameters) -> RationalForm | None:
        quarter = Fraction(1, 4)
        C, squares = rational.helmert(block, quarter)
        return rational.preserving(rational.centring(block, quarter), C, squares, block)

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        return _shares(on, block).reaching(0.0, 1.0)

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        return pen.op("Softmax", x, axis=-1)

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        return 0.5

    def describe(self, blocks: int, block: int) -> str:
        return _counted(blocks, f"softmax over {block}")


class LogSoftmax(ActivationRecord):
    """z − log Σe^z over a block: Δw = Δz − 1·pᵀΔz with p in the simplex, so K = I − 11ᵀ/k, P = −√(1 − 1/k)·1, Q = Bᵀ.

    The range of I − 11ᵀ/k is orthogonal to 1, so the norm of the Jacobian is at most √(1 + k(1 − 1/k)) = √k, and Σ_j |e_i −
    p|_j = 2(1 − p_i) ≤ 2.
    """

    name = "log_softmax"
    source = "the gradient of log Σe^z lies in the simplex; docs/theory.md 2"
    largest_row = 2.0

    def value(self, z: Array, parameters: Parameters) -> Array:
        shifted = z - z.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        p = np.exp(self.value(z, parameters))
        return tangent - (p * tangent).sum(axis=1, keepdims=True)

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        p = np.exp(self.value(z, parameters))
        return cotangent - p * cotangent.sum(axis=1, keepdims=True)

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        return [
            -(1 + sum(((y - x).exp() for j, y in enumerate(z) if j != i), start=0 * x)).log() for i, x in enumerate(z)
        ]

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        P = np.full((block, min(block - 1, 1)), -mean_slope(block))
        return normal_form(*_centring(block), P, None, block)

    def rational_form(self, block: int, parameters: Parameters) -> RationalForm | None:
        return rational.preserving(rational.centring(block), *rational_slope(block, block, -1), block)

    def derivatives(self, block: int, parameters: Parameters, on: Interval) -> Interval | None:
        """δ_ij − p_j."""
        if not affordable(on.size // block, block, block):
            return None
        p = _shares(on, block).reaching(0.0, 1.0)
        eye = np.eye(block)
        return Interval(*(rounded(eye - end.reshape(-1, 1, block)) for rounded, end in ((down, p.high), (up, p.low))))

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        return _shares(on, block, logarithm=True).reaching(-np.inf, 0.0)

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        return pen.op("LogSoftmax", x, axis=-1)

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        return float(np.nextafter(np.sqrt(float(block)), np.inf))

    def describe(self, blocks: int, block: int) -> str:
        return _counted(blocks, f"log-softmax over {block}")


class LogSumExp(ActivationRecord):
    """log Σe^z of a block: Δw = pᵀΔz with p in the simplex, as of a maximum, whose normal form serves."""

    name = "log_sum_exp"
    source = "the gradient of log Σe^z lies in the simplex, as that of a maximum; docs/theory.md 2"

    def output_size(self, block: int, parameters: Parameters) -> int:
        return 1

    def value(self, z: Array, parameters: Parameters) -> Array:
        top = z.max(axis=1, keepdims=True)
        return np.asarray(top + np.log(np.exp(z - top).sum(axis=1, keepdims=True)))

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        return np.asarray((self._weights(z) * tangent).sum(axis=1, keepdims=True))

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        return self._weights(z) * cotangent

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        # the exponents are smallest against the largest number
        top = max(range(len(z)), key=lambda k: float(balls.head(z[k]).mid()))
        rest = sum(((y - z[top]).exp() for k, y in enumerate(z) if k != top), start=0 * z[top])
        return [z[top] + (1 + rest).log()]

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        return Maximum().normal_form(block, parameters)

    def derivatives(self, block: int, parameters: Parameters, on: Interval) -> Interval | None:
        """The shares p_j."""
        p = _shares(on, block).reaching(0.0, 1.0)
        return Interval(*(end.reshape(-1, 1, block) for end in (p.low, p.high)))

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        from flint import arb

        # it grows with every number
        found = []
        for end in (on.low, on.high):
            blocks = [self.ball([arb(x) for x in z], parameters)[0] for z in end.reshape(-1, block).tolist()]
            found.append(np.array([(float(w.mid()), float(w.rad())) for w in blocks]))
        low, high = down(down(found[0][:, 0]) - up(found[0][:, 1])), up(up(found[1][:, 0]) + up(found[1][:, 1]))
        # the maximum is near, also where the balls say nothing
        most = on.of_blocks(block, lambda end: end.max(axis=1))
        return Interval(low, high).meet(Interval(most.low, up(most.high + np.log(block) * (1.0 + 4.0 * UNIT))))

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        return pen.op("ReduceLogSumExp", x, pen.integers([2]), keepdims=0)

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        return 1.0

    def describe(self, blocks: int, block: int) -> str:
        return _counted(blocks, f"log-sum-exp over {block}")

    def _weights(self, z: Array) -> Array:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)


class Nonexpansive(ActivationRecord):
    """Any block with ‖Δw‖ ≤ ‖Δz‖: K = 0, P = I, Q = I, one group."""

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        out = self.output_size(block, parameters)
        return NormalForm(
            np.zeros((1, out, block)),
            np.eye(out)[None],
            np.eye(block)[None],
            np.zeros(out, dtype=np.int64),
            np.zeros(block, dtype=np.int64),
        )

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        return 1.0

    @abstractmethod
    def describe(self, blocks: int, block: int) -> str: ...


class EuclideanNorm(Nonexpansive):
    """‖z‖ of a block: L2-norm pooling. Its gradient z/‖z‖ has a range where that of z is away from zero."""

    name = "norm"
    source = "the triangle inequality"

    def output_size(self, block: int, parameters: Parameters) -> int:
        return 1

    def value(self, z: Array, parameters: Parameters) -> Array:
        return np.linalg.norm(z, axis=1, keepdims=True)

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        return np.asarray((self._direction(z) * tangent).sum(axis=1, keepdims=True))

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        return self._direction(z) * cotangent

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        total = sum((x * x for x in z), start=0 * z[0])
        return [total.sqrt() if balls.is_series(total) else total.nonnegative_part().sqrt()]

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        z = Interval(on.low.reshape(-1, block), on.high.reshape(-1, block))
        least = np.where((z.low <= 0.0) & (z.high >= 0.0), 0.0, np.minimum(np.abs(z.low), np.abs(z.high)))
        # squares may overflow, which says nothing, and underflow
        room = 2.0 * gamma(block + 8)
        with np.errstate(over="ignore", invalid="ignore"):
            low = np.sqrt((least**2).sum(axis=1)) * (1.0 - room)
            high = np.sqrt((z.magnitude() ** 2).sum(axis=1) + block * 2.0**-1000) * (1.0 + room)
        return Interval(np.where(np.isfinite(low), np.maximum(down(low), 0.0), 0.0), up(high))

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        form = super().normal_form(block, parameters)
        J = None if on is None else self.derivatives(block, parameters, on)
        if J is None:
            return form
        K, P = nearer(J, form.K, np.ones(1))
        return replace(form, K=K, P=P[:, None, None])

    def derivatives(self, block: int, parameters: Parameters, on: Interval) -> Interval | None:
        """z_j/‖z‖."""
        if not affordable(on.size // block, 1, block):
            return None
        found = directions(on, block, np.ones((1, 1)), np.zeros((1, 1)), np.zeros((1, 1))).reaching(-1.0, 1.0)
        return Interval(*(end.reshape(-1, 1, block) for end in (found.low, found.high)))

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        return pen.op("ReduceL2", x, pen.integers([2]), keepdims=0)

    def describe(self, blocks: int, block: int) -> str:
        return _counted(blocks, f"Euclidean norm over {block}")

    def _direction(self, z: Array) -> Array:
        norm = self.value(z, {})
        return z / np.where(norm > 0, norm, 1.0)


def _shares(on: Interval, block: int, *, logarithm: bool = False) -> Interval:
    """1/Σ_j e^(z_j − z_i), or its logarithm, over ranges of the z_j: it grows with z_i and falls with the others."""
    from flint import arb

    ends = []
    for own, others in ((on.low, on.high), (on.high, on.low)):
        balls_of = [[arb(value) for value in end.tolist()] for end in (own, others)]
        for i, mine in enumerate(balls_of[0]):
            start = i // block * block
            rest = range(start, start + block)
            total = 1 + sum(((balls_of[1][j] - mine).exp() for j in rest if j != i), start=arb(0))
            share = -total.log() if logarithm else 1 / total
            ends.append((float(share.mid()), float(share.rad())))
    mid, rad = np.array(ends).T.reshape(2, 2, on.size)
    with np.errstate(invalid="ignore"):
        return Interval(down(down(mid[0]) - up(rad[0])), up(up(mid[1]) + up(rad[1])))


def _centring(k: int) -> tuple[Array, Array]:
    """I − 11ᵀ/k, and an entrywise bound on its rounding errors: half a unit in the last place of 1/k, and of 1 − 1/k."""
    centring = np.eye(k) - 1.0 / k
    return centring, np.spacing(np.abs(centring))


def _counted(blocks: int, what: str) -> str:
    return what if blocks == 1 else f"{blocks} × {what}"


RECORDS = (Householder(), Softmax(), LogSoftmax(), LogSumExp(), EuclideanNorm())
