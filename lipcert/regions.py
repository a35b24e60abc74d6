"""Where a bound is to hold: boxes, balls, balls cut with a box, and the whole space.

All are convex, so the Lipschitz constant on a region is the supremum of the Jacobian's norm over it. Suprema of linear
functions are rounded up, and whether a point lies in a region is decided exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lipcert.arrays import from_text, to_text
from lipcert.errors import InvalidRequest
from lipcert.norms import Norm
from lipcert.rounding import TINY, UNIT, Interval, gamma, up

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lipcert.arrays import Array, BoolArray

_BISECTIONS = 14


@dataclass(frozen=True, eq=False)
class Box:
    """All x with low ≤ x ≤ high; ends may be infinite, and single numbers mean the same ends for every input.

    Examples
    --------
    >>> box = Box([-1.0, 0.0], 2.0)
    >>> box.contains(np.array([0.5, 2.0])), box.describe()
    (True, 'on a box of widths 2 to 3')
    >>> box.support(np.array([[1.0, -1.0]])) >= 2.0
    array([ True])
    """

    low: Array
    high: Array

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        ends = [_vector(end, "the box") for end in (low, high)]
        try:
            low, high = np.broadcast_arrays(*ends)
        except ValueError:
            raise InvalidRequest(f"the box has {ends[0].size} low and {ends[1].size} high ends") from None
        for what, wrong in (
            ("its low end {0:.9g} is above its high end {1:.9g}", low > high),
            ("no number lies between {0:.9g} and {1:.9g}", (low == np.inf) | (high == -np.inf)),
        ):
            if wrong.any():
                at = int(np.argmax(wrong))
                ends_there = what.format(float(np.ravel(low)[at]), float(np.ravel(high)[at]))
                raise InvalidRequest(f"the box is empty at input {at}: {ends_there}", advice="give low ≤ high")
        object.__setattr__(self, "low", np.array(low))
        object.__setattr__(self, "high", np.array(high))

    @property
    def size(self) -> int | None:
        """How many inputs it is for, or None for any number."""
        return self.low.size if self.low.ndim else None

    @property
    def is_everywhere(self) -> bool:
        """Whether it is the whole space."""
        return bool((self.low == -np.inf).all() and (self.high == np.inf).all())

    @property
    def centre(self) -> None:
        """The point that anchored bounds start from: none."""
        return None

    def fitted(self, inputs: int) -> Box:
        """The same box for a network of `inputs` inputs.

        Raises
        ------
        InvalidRequest
            If it is for another number of inputs.
        """
        _require_size("the box", self.size, inputs)
        return Box(np.broadcast_to(self.low, inputs), np.broadcast_to(self.high, inputs))

    def cut(self, other: Box) -> Box:
        """What lies in both."""
        return Box(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    def hull(self) -> Box:
        """The smallest box around it: itself."""
        return self

    def interval(self) -> Interval:
        """The ends as intervals."""
        return Interval(np.atleast_1d(self.low), np.atleast_1d(self.high))

    def contains(self, x: Array) -> bool:
        """Whether the point x lies in it."""
        return bool(((self.low <= x) & (x <= self.high)).all())

    def project(self, x: Array) -> Array:
        """The nearest points of the box, for points as columns."""
        return np.clip(x, _column(self.low, x), _column(self.high, x))

    def sample(self, count: int, rng: np.random.Generator, inputs: int) -> Array:
        """Random points (inputs, count): uniform, and normal around a finite end where it is unbounded."""
        box = self.fitted(inputs).interval()
        middle, radius = box.middle()[:, None], box.radius()[:, None]
        wide = ~np.isfinite(radius)
        spread = np.where(wide, 1.0, radius) * rng.uniform(-1.0, 1.0, (inputs, count))
        points = middle + np.where(wide, rng.standard_normal((inputs, count)), spread)
        return self.project(points)

    def split(self, coordinate: int, at: float) -> tuple[Box, Box]:
        """The parts with x[coordinate] ≤ at and ≥ at; of a box that is fitted to its inputs."""
        high, low = np.array(self.high), np.array(self.low)
        high[coordinate] = low[coordinate] = at
        return Box(self.low, high), Box(low, self.high)

    def support(self, a: Array) -> Array:
        """For each row of a at least sup a·x over the region; a is exact."""
        box = self.fitted(a.shape[1]).interval()
        wide = ~box.bounded
        middle = np.where(wide, 0.0, box.middle())
        radius = np.where(wide, 0.0, box.radius())
        total = _upper_product(a, middle, radius)
        if wide.any():
            # 0 · ∞ is 0 here
            part, low, high = a[:, wide], box.low[wide], box.high[wide]
            with np.errstate(invalid="ignore"):
                ends = np.where(part > 0.0, part * high, np.where(part < 0.0, part * low, 0.0))
            exact = np.where(part == 0.0, 0.0, up(ends))
            total = up(total + exact.sum(axis=1) + gamma(wide.sum() + 2) * np.abs(exact).sum(axis=1))
        return total

    def describe(self) -> str:
        """Where it is, in words."""
        if self.is_everywhere:
            return "on the whole space"
        low, high = np.ravel(self.low), np.ravel(self.high)
        if (low == low[0]).all() and (high == high[0]).all():
            return f"on the box {_between(low[0], high[0])}"
        widths = np.unique([f"{width:.4g}" for width in (float((high - low).min()), float((high - low).max()))])
        return f"on a box of width{'s' * (widths.size > 1)} {' to '.join(sorted(widths, key=float))}"

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"kind": "box", "low": to_text(np.atleast_1d(self.low)), "high": to_text(np.atleast_1d(self.high))}


@dataclass(frozen=True, eq=False)
class Ball:
    """All x with ‖x − centre‖ ≤ radius, cut with the box `within` where that is given.

    Attributes
    ----------
    centre, radius
        The centre and the radius, exact.
    norm
        ℓ1, ℓ2 or ℓ∞.
    within
        The domain of the inputs, such as `Box(0.0, 1.0)` for images; it holds the centre.
    piece
        Whether it was cut on from a ball: then `within` need not hold the centre.

    Examples
    --------
    >>> ball = Ball([0.25, 0.5], 0.5, norm=2, within=Box(0.0, 1.0))
    >>> ball.describe(), ball.hull().low
    ('on the ball ‖x − c‖₂ ≤ 0.5 within [0, 1]', array([0., 0.]))
    >>> ball.contains(np.array([0.25, 1.0])), ball.contains(np.array([0.25, 1.0000001]))
    (True, False)
    """

    centre: Array
    radius: float
    norm: Norm = Norm.L2
    within: Box | None = None
    piece: bool = field(default=False, repr=False)

    def __init__(
        self, centre: ArrayLike, radius: float, norm: object = 2, within: Box | None = None, piece: bool = False
    ) -> None:
        c = np.atleast_1d(_vector(centre, "the centre"))
        r = float(radius)
        if not 0.0 < r < np.inf:
            raise InvalidRequest(
                f"the radius of the ball is {r:g}",
                advice="it must be a positive number; leave it out for the whole space",
            )
        if not np.isfinite(c).all():
            raise InvalidRequest(f"the centre is infinite at input {int(np.argmax(~np.isfinite(c)))}")
        if within is not None:
            within = within.fitted(c.size)
            outside = (c < within.low) | (c > within.high)
            if outside.any() and not piece:
                at = int(np.argmax(outside))
                raise InvalidRequest(
                    f"the centre lies outside the domain: at input {at} it is {c[at]:.9g}, not in "
                    f"{_between(within.low[at], within.high[at])}",
                    advice="move it or widen the domain",
                )
        for name, value in (("centre", c), ("radius", r), ("norm", Norm.parse(norm)), ("within", within)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "piece", piece)

    @property
    def size(self) -> int:
        """How many inputs it is for."""
        return int(self.centre.size)

    @property
    def is_everywhere(self) -> bool:
        """Whether it is the whole space."""
        return False

    def fitted(self, inputs: int) -> Ball:
        """The ball itself, if it is for a network of `inputs` inputs.

        Raises
        ------
        InvalidRequest
            If it is not.
        """
        _require_size("the centre", self.size, inputs)
        return self

    @cached_property
    def _hull(self) -> Box:
        around = Interval.point(self.centre).plus(
            Interval(np.full(self.size, -self.radius), np.full(self.size, self.radius))
        )
        if self.within is not None:
            around = around.meet(self.within.interval())
        return Box(around.low, around.high)

    def hull(self) -> Box:
        """A box around it, rounded outward."""
        return self._hull

    def interval(self) -> Interval:
        """The ends of the hull."""
        return self._hull.interval()

    def contains(self, x: Array) -> bool:
        """Whether the point x lies in it, decided exactly."""
        if self.within is not None and not self.within.contains(x):
            return False
        terms = [abs(Fraction(a) - Fraction(b)) for a, b in zip(x.tolist(), self.centre.tolist(), strict=True)]
        radius = Fraction(self.radius)
        if self.norm is Norm.L2:
            return sum(t * t for t in terms) <= radius * radius
        return (sum(terms) if self.norm is Norm.L1 else max(terms)) <= radius

    def project(self, x: Array) -> Array:
        """Near points of the region, for points as columns; whether they lie in it is for `contains` to say."""
        # some roundings inside
        lost = 8.0 * self.size * UNIT * (self.radius + float(np.abs(self.centre).max(initial=0.0)))
        room = max(self.radius - lost, 0.5 * self.radius)
        offset = x - self.centre[:, None]
        for _ in range(20 if self.piece else 2):
            if self.norm is Norm.LINF:
                offset = np.clip(offset, -room, room)
            elif self.norm is Norm.L2:
                length = np.linalg.norm(offset, axis=0)
                offset = offset * np.minimum(1.0, room / np.maximum(length, TINY))
            else:
                offset = _into_simplex(offset, room)
            points = self.centre[:, None] + offset
            if self.within is not None:
                points = self.within.project(points)
            offset = points - self.centre[:, None]
        return points

    def sample(self, count: int, rng: np.random.Generator, inputs: int) -> Array:
        """Random points (inputs, count) of all distances from the centre."""
        around = self.fitted(inputs).centre[:, None]
        direction = rng.standard_normal((inputs, count))
        if self.norm is Norm.LINF:
            direction = rng.uniform(-1.0, 1.0, (inputs, count))
        order = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}[self.norm]
        direction /= np.linalg.norm(direction, order, axis=0)
        return self.project(around + self.radius * rng.uniform(0.0, 1.0, count) ** 0.5 * direction)

    def split(self, coordinate: int, at: float) -> tuple[Ball, Ball]:
        """The parts with x[coordinate] ≤ at and ≥ at."""
        left, right = self._hull.split(coordinate, at)
        return replace(self, within=left, piece=True), replace(self, within=right, piece=True)

    def support(self, a: Array) -> Array:
        """For each row of a at least sup a·x over the region; a is exact.

        On a ball cut with a box, sup a·x ≤ sup_ball b·x + sup_box (a − b)·x for any b; the best b cuts a off at the
        multiples λ(low − c), λ(high − c) (ℓ2) or ±λ (ℓ1) of one λ a row.
        """
        if self.norm is Norm.LINF:
            return self._hull.support(a)
        total = np.minimum(self._ball_support(a), self._hull.support(a))
        if self.within is None:
            return total
        b = self._share(a)
        rest = a - b
        # |fl(a − b) − (a − b)| ≤ u |fl(a − b)|, for |x| up to the ends of the hull
        lost = _upper_product(
            np.zeros_like(rest), np.zeros(self.size), 2.0 * UNIT * self.interval().magnitude(), np.abs(rest)
        )
        return np.minimum(total, up(up(self._ball_support(b) + self._hull.support(rest)) + lost))

    def _ball_support(self, a: Array) -> Array:
        """At least a·c + r‖a‖, with the dual norm, for each row."""
        n = self.size
        if self.norm is Norm.L2:
            # squares may underflow
            dual = np.sqrt(np.einsum("ij,ij->i", a, a) + n * 2.0**-1000) * (1.0 + 2.0 * gamma(n + 4))
        else:
            dual = np.abs(a).max(axis=1, initial=0.0)
        return up(_upper_product(a, self.centre, np.zeros(n)) + up(self.radius * dual))

    def _share(self, a: Array) -> Array:
        """The part of a that is left to the ball; any is sound."""
        box = self.interval()
        low, high = box.low - self.centre, box.high - self.centre
        if self.norm is Norm.L1:
            # Σ_i reach_i over what exceeds λ is r at the best λ
            scale = np.abs(a).max(axis=1, keepdims=True)
            lower, upper = np.zeros_like(scale), scale
            for _ in range(_BISECTIONS):
                level = 0.5 * (lower + upper)
                reach = np.where(a > level, high, np.where(a < -level, -low, 0.0)).sum(axis=1, keepdims=True)
                lower, upper = np.where(reach > self.radius, level, lower), np.where(reach > self.radius, upper, level)
            return np.clip(a, -upper, upper)
        longest = np.log(np.maximum(np.linalg.norm(a, axis=1, keepdims=True), TINY) / self.radius)
        lower, upper = longest - 12.0, longest
        for _ in range(_BISECTIONS):
            level = 0.5 * (lower + upper)
            length = np.linalg.norm(np.clip(a * np.exp(-level), low, high), axis=1, keepdims=True)
            lower, upper = np.where(length > self.radius, level, lower), np.where(length > self.radius, upper, level)
        return np.clip(a, np.exp(upper) * low, np.exp(upper) * high)

    def describe(self) -> str:
        """Where it is, in words."""
        index = {Norm.L1: "₁", Norm.L2: "₂", Norm.LINF: "∞"}[self.norm]
        text = f"on the ball ‖x − c‖{index} ≤ {self.radius:.6g}"
        if self.within is None:
            return text
        low, high = self.within.low, self.within.high
        same = (low == low[0]).all() and (high == high[0]).all()
        return f"{text} within {_between(low[0], high[0]) if same else 'a box'}"

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "kind": "ball",
            "norm": str(self.norm),
            "radius": self.radius.hex(),
            "centre": to_text(self.centre),
            "within": None if self.within is None else self.within.to_json(),
        }


Region: TypeAlias = Box | Ball


def everywhere() -> Box:
    """The whole space.

    Examples
    --------
    >>> everywhere().describe()
    'on the whole space'
    """
    return Box(-np.inf, np.inf)


def from_json(item: Any) -> Region:
    """The region that `to_json` wrote, strictly.

    Raises
    ------
    ValueError
        If it is none; the message says why.
    """
    fields = {"box": {"kind", "low", "high"}, "ball": {"kind", "norm", "radius", "centre", "within"}}
    kind = item.get("kind") if isinstance(item, dict) else None
    if kind not in fields or item.keys() != fields[kind]:
        raise ValueError("a region is a box or a ball with all of its fields")
    texts = fields[kind] - {"within"}
    if not all(isinstance(item[name], str) for name in texts):
        raise ValueError("a field of the region is not a text")
    try:
        if kind == "box":
            return Box(from_text(item["low"]), from_text(item["high"]))
        within = None if item["within"] is None else from_json(item["within"])
        if isinstance(within, Ball):
            raise ValueError("the domain of a ball is a box")
        radius = float.fromhex(item["radius"])
        if radius.hex() != item["radius"]:
            raise ValueError("the radius is not a hexadecimal number")
        return Ball(from_text(item["centre"]), radius, item["norm"], within)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
    except OverflowError:
        raise ValueError("the radius is too large") from None


def free(region: Region) -> BoolArray:
    """Which inputs can change within the region."""
    box = region.hull()
    return np.atleast_1d(box.low < box.high)


def _vector(x: ArrayLike, what: str) -> Array:
    try:
        vector = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidRequest(f"{what} is not a list of numbers") from None
    vector = vector.reshape(-1) if vector.ndim else vector
    if np.isnan(vector).any():
        raise InvalidRequest(f"{what} holds NaN at input {int(np.argmax(np.isnan(vector)))}")
    return vector


def _require_size(what: str, size: int | None, inputs: int) -> None:
    if size is not None and size != inputs:
        raise InvalidRequest(f"{what} has {size} numbers, the network {inputs} inputs")


def _column(end: Array, x: Array) -> Array:
    return end[:, None] if end.ndim and x.ndim == 2 else end


def _upper_product(a: Array, middle: Array, radius: Array, size: Array | None = None) -> Array:
    """At least a·middle + |a|·radius for each row; |a| is `size` where that is given."""
    n = a.shape[1]
    spread = gamma(n + 2) * np.abs(middle) + radius
    outward = ((np.abs(a) if size is None else size) @ (spread * (1.0 + 4.0 * UNIT) + TINY)) * (
        1.0 + 2.0 * gamma(n + 8)
    )
    return up(a @ middle + outward)


def _between(low: float, high: float) -> str:
    return f"[{low:.6g}, {high:.6g}]"


def _into_simplex(offset: Array, radius: float) -> Array:
    """The nearest points with ‖·‖₁ ≤ radius, as columns (Duchi et al., ICML 2008)."""
    size = np.abs(offset)
    falling = -np.sort(-size, axis=0)
    excess = (falling.cumsum(axis=0) - radius) / np.arange(1, len(size) + 1)[:, None]
    last = (falling > excess).sum(axis=0) - 1
    level = np.maximum(excess[np.maximum(last, 0), np.arange(size.shape[1])], 0.0)
    inside = size.sum(axis=0) <= radius
    return np.where(inside, offset, np.sign(offset) * np.maximum(size - level, 0.0))
