"""Products of two signals, and vectors divided by their length: what has a bounded slope where its inputs are bounded.

Each states its normal form from the range of its inputs and raises `Unbounded` where that form needs a range that is
not there. Gates, attention, layer and RMS normalisation are made of these.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations import balls
from lipcert.activations.lengths import COUNT, directions, smallest
from lipcert.activations.mean_value import affordable, nearer, norm_up
from lipcert.activations.record import ActivationRecord, NormalForm, Parameters, slope_centre, tried
from lipcert.errors import Unbounded
from lipcert.rounding import TINY, UNIT, Interval, down, gamma, up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from lipcert.activations.spelling import Pen
    from lipcert.arrays import Array

_REGION = "give a region, such as --box or --center with --radius"


def times(x: Interval, y: Interval) -> Interval:
    """x·y for all numbers of two intervals, rounded outward; 0·∞ is 0.

    Examples
    --------
    >>> product = times(Interval(np.array([-1.0]), np.array([2.0])), Interval(np.array([0.0]), np.array([np.inf])))
    >>> product.low, product.high
    (array([-inf]), array([inf]))
    """
    ends = []
    for a in (x.low, x.high):
        for b in (y.low, y.high):
            with np.errstate(invalid="ignore", over="ignore"):
                ends.append(np.where((a == 0.0) | (b == 0.0), 0.0, a * b))
    low, high = np.minimum.reduce(ends), np.maximum.reduce(ends)
    return Interval(np.where(low == 0.0, low, down(low)), np.where(high == 0.0, high, up(high)))


def _parts(on: Interval, block: int, first: int) -> tuple[Interval, Interval]:
    """The ranges of the first numbers of each block, and of the others: (blocks, first) and (blocks, block − first)."""
    low, high = on.low.reshape(-1, block), on.high.reshape(-1, block)
    return Interval(low[:, :first], high[:, :first]), Interval(low[:, first:], high[:, first:])


class Bilinear(ActivationRecord):
    """Sums of products of two numbers of the block, with coefficients 0 and 1.

    With J(z)t = J(t)z, which is what value, jvp and vjp compute, J(m)m = 2w(m) and w(z) = w(m) + J(m)(z − m) + w(z − m).
    """

    @abstractmethod
    def adjoint_range(self, block: int, parameters: Parameters, on: Interval, cotangent: Interval) -> Interval:
        """The range of J(z)ᵀg for all z and g of two ranges, rounded outward."""


class Product(Bilinear):
    """x·y of a block (x, y).

    Δ(xy) = ½(y + y′)Δx + ½(x + x′)Δy, and the means lie in the ranges of y and of x: K holds their midpoints, P their
    radii. From a point c on, Δ(xy) = ½(y + y_c)Δx + ½(x + x_c)Δy.
    """

    name = "product"
    source = "Δ(xy) = ½(y + y′)Δx + ½(x + x′)Δy; docs/theory.md 11"
    examples = tried(block=2)

    def output_size(self, block: int, parameters: Parameters) -> int:
        return 1

    def value(self, z: Array, parameters: Parameters) -> Array:
        return z[:, :1] * z[:, 1:]

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        return z[:, 1:] * tangent[:, :1] + z[:, :1] * tangent[:, 1:]

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        return np.concatenate([z[:, 1:] * cotangent, z[:, :1] * cotangent], axis=1)

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        return [z[0] * z[1]]

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        x, y = _bounded(on, block, 1, "a factor of the product")
        middle = np.hstack([y.middle(), x.middle()])
        radius = np.hstack([y.radius(), x.radius()])
        if around is not None:
            middle, radius = _halfway(middle, radius, *(np.hstack(part[::-1]) for part in _centres(around, block, 1)))
        channel = np.arange(2)
        return NormalForm(middle[:, None], radius[:, None], np.eye(2)[None], channel, channel)

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        x, y = _parts(on, block, 1)
        product = times(x, y)
        return Interval(product.low.ravel(), product.high.ravel())

    def adjoint_range(self, block: int, parameters: Parameters, on: Interval, cotangent: Interval) -> Interval:
        x, y = _parts(on, block, 1)
        g = _shaped(cotangent, (-1, 1))
        parts = times(y, g), times(x, g)
        return Interval(*(np.hstack(ends).ravel() for ends in zip(*((p.low, p.high) for p in parts), strict=True)))

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        x, y = _bounded(on, block, 1, "a factor of the product")
        largest = np.hypot(x.magnitude(), y.magnitude()).max(initial=0.0)
        return float(largest * (1.0 + 8.0 * UNIT) + TINY)

    def needs_range(self, parameters: Parameters) -> bool:
        return True

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        return pen.op("Mul", *(pen.op("Gather", x, pen.integers([k]), axis=2) for k in (0, 1)))

    def describe(self, blocks: int, block: int) -> str:
        return f"{blocks} products"


class MatrixProduct(Bilinear):
    """A·B of a block (A, B), A of `rows` rows and `inner` columns, row by row; both in row-major order.

    Δ(AB) = ΔA·B̄ + Ā·ΔB for the means Ā, B̄. With midpoints and radii, row i of ΔA meets (B̄ − B_m), of norm at most ‖B_r‖,
    and column j of ΔB meets (Ā − A_m), of norm at most ‖A_r‖: one group a row of A and one a column of B.
    """

    name = "matrix_product"
    source = "Δ(AB) = ΔA·B̄ + Ā·ΔB, ‖ΔA_i(B̄ − B_m)‖ ≤ ‖B_r‖‖ΔA_i‖; docs/theory.md 11"
    examples = (
        *tried(block=7, rows=(1,), inner=(1,)),
        *tried(block=12, rows=(2,), inner=(3,)),
        *tried(block=8, rows=(2,), inner=(2,)),
    )

    def output_size(self, block: int, parameters: Parameters) -> int:
        rows, _, columns = self.sizes(block, parameters)
        return rows * columns

    @staticmethod
    def sizes(block: int, parameters: Parameters) -> tuple[int, int, int]:
        """(rows of A, columns of A, columns of B)."""
        rows, inner = int(parameters["rows"].flat[0]), int(parameters["inner"].flat[0])
        return rows, inner, (block - rows * inner) // inner

    def _factors(self, z: Array, parameters: Parameters) -> tuple[Array, Array]:
        """A (blocks, columns of z, rows, inner) and B (blocks, columns of z, inner, columns)."""
        rows, inner, columns = self.sizes(z.shape[1], parameters)
        z = np.moveaxis(z, 2, 1)
        left, right = z[..., : rows * inner], z[..., rows * inner :]
        return left.reshape(*left.shape[:2], rows, inner), right.reshape(*right.shape[:2], inner, columns)

    def value(self, z: Array, parameters: Parameters) -> Array:
        A, B = self._factors(z, parameters)
        return _flat(A @ B)

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        (A, B), (dA, dB) = self._factors(z, parameters), self._factors(tangent, parameters)
        return _flat(dA @ B + A @ dB)

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        A, B = self._factors(z, parameters)
        C = np.moveaxis(cotangent, 2, 1)
        C = C.reshape(*C.shape[:2], A.shape[2], B.shape[3])
        return np.concatenate([_flat(C @ B.swapaxes(2, 3)), _flat(A.swapaxes(2, 3) @ C)], axis=1)

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        rows, inner, columns = self.sizes(len(z), parameters)
        right = z[rows * inner :]
        return [
            sum((z[i * inner + k] * right[k * columns + j] for k in range(1, inner)), start=z[i * inner] * right[j])
            for i in range(rows)
            for j in range(columns)
        ]

    def _ranges(
        self, block: int, parameters: Parameters, on: Interval | None, needed: bool = True
    ) -> tuple[Interval, Interval]:
        rows, inner, columns = self.sizes(block, parameters)
        if needed:
            left, right = _bounded(on, block, rows * inner, "a factor of the matrix product")
        else:
            assert on is not None
            left, right = _parts(on, block, rows * inner)
        shapes = ((-1, rows, inner), (-1, inner, columns))
        return _shaped(left, shapes[0]), _shaped(right, shapes[1])

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        rows, inner, columns = self.sizes(block, parameters)
        A, B = self._ranges(block, parameters, on)
        blocks, out = A.low.shape[0], rows * columns
        K = np.zeros((blocks, rows, columns, block))
        left, right = A.middle(), B.middle()
        spread_left, spread_right = A.radius(), B.radius()
        if around is not None:
            centre = self._ranges(block, parameters, around)
            left, spread_left = _halfway(left, spread_left, centre[0].middle(), centre[0].radius())
            right, spread_right = _halfway(right, spread_right, centre[1].middle(), centre[1].radius())
        for i in range(rows):
            # row i of ΔA times B, row i of A times ΔB
            K[:, i, :, i * inner : (i + 1) * inner] = right.swapaxes(1, 2)
            for j in range(columns):
                K[:, i, j, rows * inner + j :: columns] = left[:, i]
        P = np.zeros((blocks, rows, columns, 2, rows, columns))
        spread = [norm_up(part) for part in (spread_right, spread_left)]
        for k, size in enumerate(spread):
            np.einsum("bijij->bij", P[:, :, :, k])[:] = size[:, None, None]
        # V₁ by rows, one group each; V₂ by columns
        column_group = np.concatenate([np.repeat(np.arange(rows), columns), np.tile(rows + np.arange(columns), rows)])
        row_group = np.concatenate([np.repeat(np.arange(rows), inner), np.tile(rows + np.arange(columns), inner)])
        return NormalForm(
            K.reshape(blocks, out, block), P.reshape(blocks, out, 2 * out), np.eye(block)[None], column_group, row_group
        )

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        A, B = self._ranges(block, parameters, on, needed=False)
        terms = times(Interval(A.low[:, :, :, None], A.high[:, :, :, None]), Interval(B.low[:, None], B.high[:, None]))
        inner = terms.low.shape[2]
        size = gamma(inner + 2) * np.where(
            np.isfinite(terms.low) & np.isfinite(terms.high), terms.magnitude(), 0.0
        ).sum(axis=2)
        with np.errstate(invalid="ignore"):
            low, high = down(terms.low.sum(axis=2) - up(size)), up(terms.high.sum(axis=2) + up(size))
        return Interval(low.ravel(), high.ravel())

    def adjoint_range(self, block: int, parameters: Parameters, on: Interval, cotangent: Interval) -> Interval:
        A, B = self._ranges(block, parameters, on, needed=False)
        g = _shaped(cotangent, (-1, A.low.shape[1], B.low.shape[2]))
        parts = matrix_times(g, turned(B)), matrix_times(turned(A), g)
        blocks = len(g.low)
        ends = ([part.low for part in parts], [part.high for part in parts])
        return Interval(*(np.hstack([end.reshape(blocks, -1) for end in both]).ravel() for both in ends))

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        A, B = self._ranges(block, parameters, on)
        largest = np.hypot(norm_up(A.magnitude()), norm_up(B.magnitude())).max(initial=0.0)
        return float(largest * (1.0 + 8.0 * UNIT) + TINY)

    def needs_range(self, parameters: Parameters) -> bool:
        return True

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        rows, inner, columns = self.sizes(block, parameters)
        blocks, cut = len(parameters["rows"]), rows * inner
        left = pen.op("Gather", x, pen.integers(range(cut)), axis=2)
        right = pen.op("Gather", x, pen.integers(range(cut, block)), axis=2)
        A = pen.op("Reshape", left, pen.integers([0, blocks, rows, inner]))
        B = pen.op("Reshape", right, pen.integers([0, blocks, inner, columns]))
        return pen.op("Reshape", pen.op("MatMul", A, B), pen.integers([0, blocks, rows * columns]))

    def describe(self, blocks: int, block: int) -> str:
        return f"{blocks} matrix product{'s' * (blocks != 1)}"


class _Scaled(ActivationRecord):
    """z/s(z) for a length s of the block: Jacobians are symmetric with eigenvalues between 0 and 1/s.

    J = (1/s)(I − c zzᵀ) with c‖z‖² ≤ 1, so the mean J̄ of J along a segment is symmetric with eigenvalues in [0, 1/s₀] for
    the least s on it: Δw = J̄Δz = KΔz + PΔv with K = P = I/(2 s₀) and Δv = (2 s₀ J̄ − I)Δz.
    """

    def least(self, block: int, parameters: Parameters, on: Interval | None) -> Array:
        """A positive lower bound of s over the range, (blocks,) or (1,).

        Raises
        ------
        Unbounded
            If the length may vanish there.
        """
        smallest = self._least(block, parameters, on)
        if not (smallest > 0.0).all():
            raise Unbounded(f"{self.name} divides by a length that may vanish", advice=_REGION)
        return smallest

    def needs_range(self, parameters: Parameters) -> bool:
        return not (self._least(1, parameters, None) > 0.0).all()

    @abstractmethod
    def _least(self, block: int, parameters: Parameters, on: Interval | None) -> Array: ...

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        top = np.nextafter(1.0 / self.least(block, parameters, on), np.inf)
        middle, P = slope_centre(np.zeros_like(top), top)
        eye = np.eye(block)[None]
        K = middle[:, None, None] * eye
        J = None if on is None else self.derivatives(block, parameters, on)
        if J is not None:
            K, P = nearer(J, K, P)
        group = np.zeros(block, dtype=np.int64)
        return NormalForm(K, P[:, None, None] * eye, eye, group, group)

    def derivatives(self, block: int, parameters: Parameters, on: Interval) -> Interval | None:
        """J = (I − c zzᵀ)/s; in any case 0 ≼ J ≼ I/s₀, so that no entry beside the diagonal exceeds 1/(2 s₀)."""
        blocks = on.size // block
        if not affordable(blocks, block, block):
            return None
        least = np.broadcast_to(self._least(block, parameters, on), blocks)
        with np.errstate(divide="ignore"):
            top = np.broadcast_to(up(1.0 / least)[:, None, None], (blocks, block, block))
        eye = np.eye(block, dtype=bool)
        known = Interval(np.where(eye, 0.0, -0.5 * top), np.where(eye, top, 0.5 * top))
        w = _shaped(self.image(block, parameters, on), (blocks, block))
        return known.meet(self._entries(block, parameters, on, w, top))

    @abstractmethod
    def _entries(self, block: int, parameters: Parameters, on: Interval, w: Interval, top: Array) -> Interval:
        """Ranges of the entries of J from those of w and an upper bound of 1/s."""

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        return float(np.nextafter(1.0 / self.least(block, parameters, on), np.inf).max())


class RootMeanSquare(_Scaled):
    """z/√(‖z‖²/count + eps): RMS normalisation, and layer normalisation behind its centring."""

    name = "rms_norm"
    source = "J = (I − zzᵀ/(count s²))/s, s² = ‖z‖²/count + eps; docs/theory.md 11"
    examples = (
        *tried(block=4, eps=(1e-2,), count=(4,)),
        *tried(block=3, eps=(0.0,), count=(1,), positive=True),
        *tried(block=1, eps=(1e-5,), count=(1,)),
    )

    def _least(self, block: int, parameters: Parameters, on: Interval | None) -> Array:
        eps, count = parameters["eps"], parameters["count"]
        total = np.zeros(1) if on is None else _least_squares(on, block)
        return np.sqrt((total / count + eps) * (1.0 - 8.0 * UNIT - COUNT)) * (1.0 - 4.0 * UNIT)

    def value(self, z: Array, parameters: Parameters) -> Array:
        return z / self._length(z, parameters)

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        s = self._length(z, parameters)
        along = (z * tangent).sum(axis=1, keepdims=True) / (parameters["count"].reshape(-1, 1, 1) * s**2)
        return (tangent - z * along) / s

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        return self.jvp(z, cotangent, parameters)

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        from flint import arb

        total = sum((_square(x) for x in z[1:]), start=_square(z[0]))
        count = float(parameters["count"])
        s = (total / arb(count, COUNT * count) + arb(float(parameters["eps"]))).sqrt()
        return [x / s for x in z]

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        eps, count = (parameters[key].reshape(-1, 1) for key in ("eps", "count"))
        return directions(on, block, count, eps, np.zeros((1, 1)))

    def _entries(self, block: int, parameters: Parameters, on: Interval, w: Interval, top: Array) -> Interval:
        eps, count = (parameters[key].reshape(-1, 1, 1) for key in ("eps", "count"))
        return _quotient(w, top, on, block, count, eps)

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        eps, count = (pen.constant(parameters[key].reshape(-1, 1), key) for key in ("eps", "count"))
        total = pen.op("ReduceSum", pen.op("Mul", x, x), pen.integers([2]), keepdims=1)
        return pen.op("Div", x, pen.op("Sqrt", pen.op("Add", pen.op("Div", total, count), eps)))

    def describe(self, blocks: int, block: int) -> str:
        return f"{blocks} normalisation{'s' * (blocks != 1)} of {block}"

    def _length(self, z: Array, parameters: Parameters) -> Array:
        eps, count = (parameters[key].reshape(-1, 1, 1) for key in ("eps", "count"))
        return np.sqrt((z**2).sum(axis=1, keepdims=True) / count + eps)


class UnitVector(_Scaled):
    """z/max(‖z‖, floor): ℓ2 normalisation."""

    name = "unit_vector"
    source = "J = (I − zzᵀ/‖z‖²)/‖z‖ beyond the floor and I/floor within; docs/theory.md 11"
    examples = (*tried(block=3, floor=(0.5,)), *tried(block=2, floor=(1e-6,), positive=True))

    def _least(self, block: int, parameters: Parameters, on: Interval | None) -> Array:
        floor = parameters["floor"]
        return floor if on is None else np.maximum(np.sqrt(_least_squares(on, block)) * (1.0 - 4.0 * UNIT), floor)

    def value(self, z: Array, parameters: Parameters) -> Array:
        return z / self._length(z, parameters)

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        s = self._length(z, parameters)
        beyond = (z**2).sum(axis=1, keepdims=True) > parameters["floor"].reshape(-1, 1, 1) ** 2
        along = np.where(beyond, (z * tangent).sum(axis=1, keepdims=True) / s**2, 0.0)
        return (tangent - z * along) / s

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        return self.jvp(z, cotangent, parameters)

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        from flint import arb

        floor = arb(float(parameters["floor"]))
        total = sum((_square(x) for x in z[1:]), start=_square(z[0]))
        inverse = balls.piecewise(total, floor * floor, lambda t: balls.constant(t, 1 / floor), lambda t: 1 / t.sqrt())
        return [x * inverse for x in z]

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        floor = parameters["floor"].reshape(-1, 1)
        found = directions(on, block, np.ones((1, 1)), np.zeros((1, 1)), floor)
        return found.reaching(-1.0, 1.0)

    def _entries(self, block: int, parameters: Parameters, on: Interval, w: Interval, top: Array) -> Interval:
        # (I − wwᵀ)/‖z‖ beyond the floor
        found = _quotient(w, top, on, block, np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
        floor = parameters["floor"].reshape(-1, 1, 1)
        beyond = (_least_squares(on, block)[:, None, None] * (1.0 - 4.0 * UNIT)) > floor**2 * (1.0 + 4.0 * UNIT)
        everything = np.full_like(found.low, np.inf)
        return Interval(np.where(beyond, found.low, -everything), np.where(beyond, found.high, everything))

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        floor = pen.constant(parameters["floor"].reshape(-1, 1), "floor")
        return pen.op("Div", x, pen.op("Max", pen.op("ReduceL2", x, pen.integers([2]), keepdims=1), floor))

    def describe(self, blocks: int, block: int) -> str:
        return f"{blocks} unit vector{'s' * (blocks != 1)} of {block}"

    def _length(self, z: Array, parameters: Parameters) -> Array:
        length = np.maximum(np.sqrt((z**2).sum(axis=1, keepdims=True)), parameters["floor"].reshape(-1, 1, 1))
        # ONNX takes 0/0 as 0
        return np.where(length > 0.0, length, 1.0)


def _quotient(w: Interval, top: Array, on: Interval, block: int, count: Array, eps: Array) -> Interval:
    """(I − wwᵀ/count)/s for s² = ‖z‖²/count + eps of at least 1/top²."""
    size = on.magnitude().reshape(-1, block, 1)
    with np.errstate(over="ignore", divide="ignore"):
        longest = (
            np.sqrt((size**2).sum(axis=1, keepdims=True) / count + eps) * (1.0 + 4.0 * gamma(block + 8) + COUNT) + TINY
        )
        inverse = Interval(np.broadcast_to(down(1.0 / longest), top.shape), top)
    outer = times(Interval(w.low[:, :, None], w.high[:, :, None]), Interval(w.low[:, None], w.high[:, None]))
    eye = np.eye(block)
    ends = ((down, 1.0 - COUNT), (up, 1.0 + COUNT))
    part = times(outer, Interval(*(np.broadcast_to(rounded(end / count), outer.low.shape) for rounded, end in ends)))
    rest = Interval(down(eye - part.high), up(eye - part.low))
    return times(rest, inverse)


def _square(x: Any) -> Any:
    return x * x


def _least_squares(on: Interval, block: int) -> Array:
    """At most the least ‖z‖² over the range, (blocks,)."""
    small = smallest(Interval(on.low.reshape(-1, block), on.high.reshape(-1, block)))
    with np.errstate(over="ignore"):
        total = (small**2).sum(axis=1)
    return np.asarray(np.minimum(total * (1.0 - 2.0 * gamma(block + 4)), 2.0**1000))


def _centres(around: Interval, block: int, first: int) -> tuple[list[Array], list[Array]]:
    """The midpoints and the radii of the two parts of an enclosed point."""
    parts = _parts(around, block, first)
    return [part.middle() for part in parts], [part.radius() for part in parts]


def _halfway(middle: Array, radius: Array, centre: Array, spread: Array) -> tuple[Array, Array]:
    """½(x + c) for x in middle ± radius and c in centre ± spread."""
    half = 0.5 * middle + 0.5 * centre
    return half, up(0.5 * up(radius + spread) + 4.0 * UNIT * (np.abs(middle) + np.abs(centre)))


def _bounded(on: Interval | None, block: int, first: int, what: str) -> tuple[Interval, Interval]:
    """The two parts of the range, if all of it is finite."""
    if on is None or not on.bounded.all():
        raise Unbounded(f"{what} is unbounded, so no global constant is known", advice=_REGION)
    return _parts(on, block, first)


def _shaped(x: Interval, shape: tuple[int, ...]) -> Interval:
    return Interval(x.low.reshape(shape), x.high.reshape(shape))


def turned(x: Interval) -> Interval:
    """The transposed matrices."""
    return Interval(x.low.swapaxes(1, 2), x.high.swapaxes(1, 2))


def matrix_times(A: Interval, B: Interval) -> Interval:
    """A·B for matrices (blocks, …), by midpoints and radii, rounded outward."""
    a, b, spread = A.middle(), B.middle(), B.radius()
    size = B.magnitude()
    k = gamma(a.shape[2] + 4)
    with np.errstate(invalid="ignore", over="ignore"):
        room = (np.abs(a) @ (spread + k * size) + A.radius() @ size) * (1.0 + 4.0 * k) + TINY
        exact = a @ b
        low, high = down(exact - room), up(exact + room)
    known = np.isfinite(low) & np.isfinite(high)
    return Interval(np.where(known, low, -np.inf), np.where(known, high, np.inf))


def _flat(M: Array) -> Array:
    """(blocks, columns of z, rows, columns) as (blocks, rows·columns, columns of z)."""
    return np.moveaxis(M.reshape(*M.shape[:2], -1), 1, 2)


RECORDS = (Product(), MatrixProduct(), RootMeanSquare(), UnitVector())
