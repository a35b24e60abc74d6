"""Scalar functions on intervals: images, slopes, secants and lines above and below, all proven.

A profile cuts [low, high] at the points where the derivative turns or jumps. Between two neighbours it is monotone, so its
values there lie between those at the ends; the ends, and what is left around the turning points, are enclosed in ball
arithmetic. Of piecewise linear functions everything is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lipcert.rounding import TINY, UNIT, Interval, down, up

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lipcert.arrays import Array, BoolArray

    Parameters = Mapping[str, Array]
    # kinks (b, k) ascending, the values there, and the slopes (b, k + 1) between them, all exact
    Breaks = Callable[[Parameters], tuple[Array, Array, Array]]
    # enclosures (b, k) of the points of [low, high], ascending, where the derivative turns or jumps
    Bends = Callable[[Parameters, Array, Array], Interval]
    Pair = Callable[[Parameters], tuple[Array, Array]]

# beyond, a function is taken by its limits
_FAR = 2.0**20
# parts of the width at which a profile is cut on both sides of a point of interest
_NEAR = np.array([0.0, *(sign * 2.0**-k for k in (1, 3, 5, 7, 10) for sign in (-1.0, 1.0))])
_SEARCH = 65
# pieces of a derivative
_PIECES = 24


class Scalar(Protocol):
    """What is needed of an activation (`lipcert.activations.record.Pointwise`)."""

    @property
    def function(self) -> Callable[[Array, Parameters], Array]: ...
    @property
    def slopes(self) -> Pair: ...
    @property
    def enclosure(self) -> Callable[[Any, Mapping[str, Any]], Any]: ...
    @property
    def breaks(self) -> Breaks | None: ...
    @property
    def bends(self) -> Bends | None: ...
    @property
    def limits(self) -> Pair | None: ...
    @property
    def reach(self) -> Pair | None: ...
    @property
    def smooth(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class Profile:
    """A function on a grid, and its slopes between neighbours.

    Attributes
    ----------
    grid
        (numbers, points), ascending.
    value
        The function there.
    slope
        The derivative between neighbours, (numbers, points − 1).
    active
        Which pieces are more than a point.
    """

    grid: Array
    value: Interval
    slope: Interval
    active: BoolArray

    def slopes(self) -> Interval:
        """All slopes."""
        low = np.where(self.active, self.slope.low, np.inf).min(axis=1)
        high = np.where(self.active, self.slope.high, -np.inf).max(axis=1)
        return Interval(low, high)

    def highest(self, slope: Array) -> Array:
        """At least sup φ(z) − slope·z."""
        s = slope[:, None]
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            shift = np.where(s == 0.0, 0.0, s * self.grid)
            top = np.where(s == 0.0, self.value.high, up(self.value.high - np.where(s == 0.0, 0.0, down(shift))))
            left, right = top[:, :-1], top[:, 1:]
            rise = np.where(s == 0.0, self.slope.high, up(self.slope.high - s))
            fall = np.where(s == 0.0, -self.slope.low, up(s - self.slope.low))
            width = up(self.grid[:, 1:] - self.grid[:, :-1])
            # between two lines that meet: h₀ + (z − g₀) rise and h₁ + (g₁ − z) fall
            bump = width * (rise * (fall / (rise + fall)))
            tent = (left * fall + right * rise) / (rise + fall) + bump
            room = 16.0 * UNIT * (np.maximum(np.abs(left), np.abs(right)) + bump)
            tent = np.minimum.reduce([up(tent + room), up(left + up(width * rise)), up(right + up(width * fall))])
            most = np.where(rise <= 0.0, left, np.where(fall <= 0.0, right, tent))
        # both ends count where the slope is known to have one sign only up to rounding
        return np.asarray(np.where(self.active, np.where(np.isnan(most), np.inf, most), -np.inf).max(axis=1))

    def lowest(self, slope: Array) -> Array:
        """At most inf φ(z) − slope·z."""
        return -self._negated().highest(-slope)

    def _negated(self) -> Profile:
        return Profile(
            self.grid,
            Interval(-self.value.high, -self.value.low),
            Interval(-self.slope.high, -self.slope.low),
            self.active,
        )

    def secants(self, around: Interval) -> Interval:
        """All (φ(z) − φ(c))/(z − c) for c in `around`, whose ends are on the grid; at z = c the derivative.

        s(z) is the mean of the derivative between c and z, and behind a point g it is (1 − t) s(g) + t m for a mean m of the
        derivative between g and z and t = (z − g)/(z − c).
        """
        right = self._secants_right(around)
        mirrored = Profile(
            -self.grid[:, ::-1],
            Interval(self.value.low[:, ::-1], self.value.high[:, ::-1]),
            Interval(-self.slope.high[:, ::-1], -self.slope.low[:, ::-1]),
            self.active[:, ::-1],
        )
        left = mirrored._secants_right(Interval(-around.high, -around.low))
        return right.hull(Interval(-left.high, -left.low))

    def _secants_right(self, around: Interval) -> Interval:
        """Those for z ≥ c."""
        low, high = around.low[:, None], around.high[:, None]
        grid = self.grid
        inside = (grid[:, :-1] >= low) & self.active
        # the hull of the slopes between c and the end of each piece holds all means up to there
        slope_low = np.where(inside, self.slope.low, np.inf)
        slope_high = np.where(inside, self.slope.high, -np.inf)
        mean_low, mean_high = np.minimum.accumulate(slope_low, axis=1), np.maximum.accumulate(slope_high, axis=1)
        at = (grid >= low) & (grid <= high)
        c_low = np.where(at, self.value.low, np.inf).min(axis=1, keepdims=True)
        c_high = np.where(at, self.value.high, -np.inf).max(axis=1, keepdims=True)
        # between the ends of `around` the function may leave the hull of its values there
        wide = up(high - low) * np.maximum(np.abs(self.slope.low), np.abs(self.slope.high)).max(axis=1, keepdims=True)
        c_low, c_high = down(c_low - up(wide)), up(c_high + up(wide))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            near, far = down(grid - high), up(grid - low)
            rise_low, rise_high = down(self.value.low - c_high), up(self.value.high - c_low)
            first_low = np.minimum(down(rise_low / near), down(rise_low / far))
            first_high = np.maximum(up(rise_high / near), up(rise_high / far))
        behind = near > 0.0
        first_low = np.where(behind, first_low, -np.inf)
        first_high = np.where(behind, first_high, np.inf)
        end_low, end_high = first_low[:, -1:], first_high[:, -1:]
        first_low, first_high = first_low[:, :-1], first_high[:, :-1]
        before_low = np.hstack([np.full_like(low, -np.inf), mean_low[:, :-1]])
        before_high = np.hstack([np.full_like(low, np.inf), mean_high[:, :-1]])
        first_low = np.maximum(first_low, np.where(behind[:, :-1], before_low, -np.inf))
        first_high = np.minimum(first_high, np.where(behind[:, :-1], before_high, np.inf))
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.clip(up(up(grid[:, 1:] - grid[:, :-1]) / down(grid[:, 1:] - high)), 0.0, 1.0)
            part = np.where(np.isnan(part), 1.0, part)
            step_high = up(first_high + up(part * up(np.maximum(self.slope.high - first_high, 0.0))))
            step_low = down(first_low - up(part * up(np.maximum(first_low - self.slope.low, 0.0))))
        far_piece = behind[:, :-1]
        total_high = np.where(far_piece, np.minimum(step_high, mean_high), mean_high)
        total_low = np.where(far_piece, np.maximum(step_low, mean_low), mean_low)
        # s′(z) = (φ′(z) − s(z))/(z − c): where s is monotone, its ends count
        last_low = np.where(far_piece, np.hstack([first_low[:, 1:], end_low]), -np.inf)
        last_high = np.where(far_piece, np.hstack([first_high[:, 1:], end_high]), np.inf)
        falling, rising = self.slope.high <= total_low, self.slope.low >= total_high
        total_low = np.where(falling, np.maximum(total_low, last_low), total_low)
        total_low = np.where(rising & far_piece, np.maximum(total_low, first_low), total_low)
        total_high = np.where(rising, np.minimum(total_high, last_high), total_high)
        total_high = np.where(falling & far_piece, np.minimum(total_high, first_high), total_high)
        return Interval(
            np.where(inside, total_low, np.inf).min(axis=1), np.where(inside, total_high, -np.inf).max(axis=1)
        )


def image(record: Scalar, parameters: Parameters, on: Interval) -> Interval:
    """The values on [low, high]."""
    zero = np.zeros(on.size)
    found = profile(record, parameters, on)
    values, slope = Interval(found.lowest(zero), found.highest(zero)), found.slopes()
    turning = (slope.low < 0.0) & (slope.high > 0.0)
    if record.breaks is None and turning.any():
        some = {key: p if len(p) == 1 else p[turning] for key, p in parameters.items()}
        low, high = offsets(record, some, on.take(turning), zero[turning], zero[turning])
        values.low[turning], values.high[turning] = low, high
    return _within(record.reach, parameters, values)


def slopes(record: Scalar, parameters: Parameters, on: Interval, around: Interval | None = None) -> Interval:
    """All slopes of chords within [low, high]; of those through a point of `around` where that is given."""
    if around is None:
        found = profile(record, parameters, on).slopes()
    else:
        both = on.hull(around)
        points = np.hstack([around.low[:, None], around.high[:, None]])
        if record.breaks is None:
            extreme = _extreme_secants(record, parameters, both, around.middle())
            points = np.hstack([points, _search(both)[:, 4::4], _near(both, extreme)])
        found = profile(record, parameters, both, points).secants(around)
        # chords through one point are chords; beyond _FAR the point is not on the grid
        chords = profile(record, parameters, both).slopes()
        far = np.maximum(np.abs(around.low), np.abs(around.high)) > _FAR
        found = Interval(np.where(far, chords.low, found.low), np.where(far, chords.high, found.high)).meet(chords)
    return _within(record.slopes, parameters, found)


def offsets(record: Scalar, parameters: Parameters, on: Interval, below: Array, above: Array) -> tuple[Array, Array]:
    """(b, t) such that below·z + b ≤ φ(z) ≤ above·z + t on [low, high], for any slopes `below` and `above`."""
    points = None
    if record.breaks is None:
        z = _search(on)
        value = _function(record, parameters, z)
        lowest = np.take_along_axis(z, (value - below[:, None] * z).argmin(axis=1)[:, None], 1)
        highest = np.take_along_axis(z, (value - above[:, None] * z).argmax(axis=1)[:, None], 1)
        points = _near(on, np.hstack([lowest, highest]))
    found = profile(record, parameters, on, points)
    return found.lowest(below), found.highest(above)


def slope_lines(record: Scalar, parameters: Parameters, on: Interval) -> tuple[Array, Array, Array, Array] | None:
    """(below, under, above, over): lines below and above the derivative on [low, high]; None where it may jump.

    The derivative is cut into pieces, on which its own derivative is enclosed in ball arithmetic.
    """
    if not record.smooth or not (np.abs(on.low) <= _FAR).all() or not (np.abs(on.high) <= _FAR).all():
        return None
    grid = on.low[:, None] + (on.high - on.low)[:, None] * np.linspace(0.0, 1.0, _PIECES + 1)
    grid[:, -1] = on.high
    grid = np.maximum.accumulate(np.clip(grid, on.low[:, None], on.high[:, None]), axis=1)
    value = _enclosed(record, parameters, grid, grid)[1]
    bend = _enclosed(record, parameters, grid[:, :-1], grid[:, 1:], order=2)[1]
    found = Profile(grid, value, bend, np.ones(bend.low.shape, dtype=bool))
    width = on.high - on.low
    with np.errstate(invalid="ignore", divide="ignore"):
        chord = (value.high[:, -1] - value.high[:, 0]) / width
    chord = np.where(np.isfinite(chord) & (width > 1e-12), chord, 0.0)
    # where its derivative has no enclosure, φ′ lies between its own ends
    open_ = ~(bend.bounded.all(axis=1) & value.bounded.all(axis=1))
    chord = np.where(open_, 0.0, chord)
    ends = slopes(record, parameters, on)
    with np.errstate(invalid="ignore"):
        under, over = np.where(open_, ends.low, found.lowest(chord)), np.where(open_, ends.high, found.highest(chord))
    # the chord is best on one side, and about as good as the tangent on the other one
    return chord, under, chord, over


def profile(record: Scalar, parameters: Parameters, on: Interval, points: Array | None = None) -> Profile:
    """The function on [low, high], cut at its kinks and turning points, and at further `points` (numbers, k)."""
    if record.breaks is not None:
        return _piecewise_linear(record.breaks(parameters), on, points)
    return _smooth(record, parameters, on, points)


def _piecewise_linear(breaks: tuple[Array, Array, Array], on: Interval, points: Array | None) -> Profile:
    n = on.size
    kinks, values, slopes = (np.broadcast_to(part, (n, part.shape[1])) for part in breaks)
    low, high = on.low[:, None], on.high[:, None]
    extra = np.zeros((n, 0)) if points is None else np.clip(points, low, high)
    grid = np.sort(np.hstack([low, high, np.clip(kinks, low, high), extra]), axis=1)
    value = _linear_values(kinks, values, slopes, grid)
    left, right = grid[:, :-1], grid[:, 1:]
    # of a point that is a kink both slopes count, of a piece the one behind its left end
    single = (low == high) & (np.arange(left.shape[1]) == 0)
    first, last = _segment(kinks, left, strict=False), _segment(kinks, right, strict=True)
    one, other = np.take_along_axis(slopes, first, 1), np.take_along_axis(slopes, np.minimum(first, last), 1)
    slope = Interval(np.where(single, np.minimum(one, other), one), np.where(single, np.maximum(one, other), one))
    return Profile(grid, value, slope, (left < right) | single)


def _segment(kinks: Array, z: Array, strict: bool) -> Any:
    """The number of the segment that z lies in: how many kinks are at most (below, if strict) z."""
    below = kinks[:, None, :] < z[:, :, None] if strict else kinks[:, None, :] <= z[:, :, None]
    return below.sum(axis=2)


def _linear_values(kinks: Array, values: Array, slopes: Array, z: Array) -> Interval:
    """v + s (z − k) from a kink k next to z; exact where no operation rounds."""
    segment = _segment(kinks, z, strict=False)
    at = np.maximum(segment - 1, 0)
    # a kink at infinity is none; where both are, φ(z) = s z
    at = np.where(np.isfinite(np.take_along_axis(kinks, at, 1)), at, np.minimum(segment, kinks.shape[1] - 1))
    k, v, s = (np.take_along_axis(part, i, 1) for part, i in ((kinks, at), (values, at), (slopes, segment)))
    k, v = np.where(np.isfinite(k), k, 0.0), np.where(np.isfinite(k), v, 0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = Interval(np.where(k == 0.0, z, down(z - k)), np.where(k == 0.0, z, up(z - k)))
        unit = np.abs(s) == 1.0
        ends = [np.where(s == 0.0, 0.0, s * end) for end in (distance.low, distance.high)]
        least, most = np.minimum(*ends), np.maximum(*ends)
        exact = unit | (s == 0.0)
        least, most = np.where(exact, least, down(least)), np.where(exact, most, up(most))
        on_kink = (z == k) | (s == 0.0)
        low = np.where(on_kink, v, np.where(v == 0.0, least, down(v + least)))
        high = np.where(on_kink, v, np.where(v == 0.0, most, up(v + most)))
    return Interval(low, high)


def _smooth(record: Scalar, parameters: Parameters, on: Interval, points: Array | None) -> Profile:
    n = on.size
    low, high = np.clip(on.low, -_FAR, _FAR)[:, None], np.clip(on.high, -_FAR, _FAR)[:, None]
    # where nothing is known of the derivative, it is enclosed piece by piece
    bends = Interval(low, high) if record.bends is None else record.bends(parameters, low[:, 0], high[:, 0])
    shape = (n, bends.low.shape[1])
    bends = Interval(np.broadcast_to(bends.low, shape), np.broadcast_to(bends.high, shape))
    parts = [low, high, np.clip(bends.low, low, high), np.clip(bends.high, low, high)]
    if points is not None:
        parts.append(np.clip(points, low, high))
    grid = np.sort(np.hstack(parts), axis=1)
    left, right = grid[:, :-1], grid[:, 1:]
    value, slope = _enclosed(record, parameters, grid, grid)
    slope = _within_all(record.slopes, parameters, slope)
    pieces = Interval(
        np.minimum(slope.low[:, :-1], slope.low[:, 1:]), np.maximum(slope.high[:, :-1], slope.high[:, 1:])
    )
    bent = ((left[:, :, None] < bends.high[:, None, :]) & (right[:, :, None] > bends.low[:, None, :])).any(axis=2)
    single = (low == high) & (np.arange(left.shape[1]) == 0)
    bent &= (left < right) | single
    if bent.any():
        rows, columns = np.nonzero(bent)
        some = {key: p if len(p) == 1 else p[rows] for key, p in parameters.items()}
        around = _enclosed(record, some, left[bent][:, None], right[bent][:, None])[1]
        around = _within_all(record.slopes, some, around)
        pieces.low[rows, columns], pieces.high[rows, columns] = around.low[:, 0], around.high[:, 0]
    return _with_tails(record, parameters, on, Profile(grid, value, pieces, (left < right) | single), slope)


def _with_tails(record: Scalar, parameters: Parameters, on: Interval, inner: Profile, slope: Interval) -> Profile:
    """The profile with what lies beyond ±_FAR, by the limits of the slope where they are known."""
    beyond = (on.low < -_FAR) | (on.high > _FAR)
    if not beyond.any():
        return inner
    n = on.size
    limits = record.slopes(parameters) if record.limits is None else record.limits(parameters)
    reach = (np.full(1, -np.inf), np.full(1, np.inf)) if record.reach is None else record.reach(parameters)
    ends = Interval(*(np.broadcast_to(end, n)[:, None] for end in reach))
    hulls = []
    for at, column in ((0, 0), (1, -1)):
        # without limits both ends of the slopes, else the limit on this side
        known = limits if record.limits is None else (limits[at], limits[at])
        own = Interval(slope.low[:, column], slope.high[:, column])
        hulls.append(own.hull(Interval(*(np.broadcast_to(end, n) for end in known))))
    outer = [on.low < inner.grid[:, 0], on.high > inner.grid[:, -1]]
    grid = np.hstack([on.low[:, None], inner.grid, on.high[:, None]])
    return Profile(
        grid,
        Interval(np.hstack([ends.low, inner.value.low, ends.low]), np.hstack([ends.high, inner.value.high, ends.high])),
        Interval(
            np.hstack([hulls[0].low[:, None], inner.slope.low, hulls[1].low[:, None]]),
            np.hstack([hulls[0].high[:, None], inner.slope.high, hulls[1].high[:, None]]),
        ),
        np.hstack([outer[0][:, None], inner.active, outer[1][:, None]]),
    )


def _enclosed(
    record: Scalar, parameters: Parameters, low: Array, high: Array, order: int = 1
) -> tuple[Interval, Interval]:
    """Value and slope, or slope and its derivative, on the intervals [low, high], (numbers, points), by ball arithmetic."""
    from flint import arb, arb_series

    n, count = low.shape
    mid, rad = np.empty((2, n * count)), np.empty((2, n * count))
    exact = [{key: arb(float(p[i if len(p) > 1 else 0])) for key, p in parameters.items()} for i in range(n)]
    ends = zip(low.ravel().tolist(), high.ravel().tolist(), strict=True)
    for at, (a, b) in enumerate(ends):
        x = arb(a) if a == b else arb(a).union(arb(b))
        try:
            y = record.enclosure(arb_series([x, 1], prec=order + 1), exact[at // count])
        except ValueError:
            # a quotient whose denominator cannot be told from zero on so wide an interval
            mid[:, at], rad[:, at] = 0.0, np.inf
            continue
        for row in (0, 1):
            # the k-th coefficient is the k-th derivative over k!
            ball = y[row + order - 1] * (row + 1 if order == 2 else 1)
            mid[row, at], rad[row, at] = float(ball.mid()), float(ball.rad())
    with np.errstate(invalid="ignore"):
        radius = up(rad)
        both = Interval(down(down(mid) - radius), up(up(mid) + radius))
    value, slope = (Interval(both.low[k].reshape(n, count), both.high[k].reshape(n, count)) for k in (0, 1))
    return value, slope


def _within(pair: Pair | None, parameters: Parameters, x: Interval) -> Interval:
    """x without what lies beyond known ends."""
    return x if pair is None else x.meet(Interval(*(np.broadcast_to(end, x.low.shape) for end in pair(parameters))))


def _within_all(pair: Pair, parameters: Parameters, x: Interval) -> Interval:
    """The same for several columns."""
    return x.meet(Interval(*(np.broadcast_to(end[:, None], x.low.shape) for end in pair(parameters))))


def _search(on: Interval) -> Array:
    """Points of [low, high], far ends cut off, in floating point."""
    low, high = np.clip(on.low, -_FAR, _FAR), np.clip(on.high, -_FAR, _FAR)
    return low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, _SEARCH)


def _near(on: Interval, points: Array) -> Array:
    """Each of the points (numbers, k) and others that close in on it from both sides."""
    width = np.clip(on.high, -_FAR, _FAR) - np.clip(on.low, -_FAR, _FAR)
    return (points[:, :, None] + width[:, None, None] * _NEAR).reshape(on.size, -1)


def _extreme_secants(record: Scalar, parameters: Parameters, on: Interval, at: Array) -> Array:
    """About where the steepest and the least steep chord through `at` end."""
    z = _search(on)
    value, base = _function(record, parameters, z), _function(record, parameters, at[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (value - base) / np.where(np.abs(z - at[:, None]) > TINY, z - at[:, None], np.nan)
    slope = np.where(np.isfinite(slope), slope, np.nanmean(np.where(np.isfinite(slope), slope, 0.0)))
    ends = np.hstack([slope.argmin(axis=1)[:, None], slope.argmax(axis=1)[:, None]])
    return np.take_along_axis(z, ends, 1)


def _function(record: Scalar, parameters: Parameters, z: Array) -> Array:
    columns = {key: p.reshape(-1, 1) for key, p in parameters.items()}
    with np.errstate(all="ignore"):
        return np.nan_to_num(record.function(z, columns))


def kinks(*points: Array) -> Interval:
    """Enclosures of points where a derivative jumps or turns: the given numbers (b,) and what lies a rounding beside."""
    at = np.stack(np.broadcast_arrays(*points), axis=1) if points else np.zeros((1, 0))
    return Interval(down(down(down(at))), up(up(up(at))))


def periodic(start: Array, step: Array, low: Array, high: Array, most: int = 24) -> Interval:
    """Enclosures of the points start + k·step in [low, high], step > 0; what is behind the last of `most` as one."""
    with np.errstate(invalid="ignore", over="ignore"):
        first = np.floor((low - start) / step)
        count = int(np.clip(np.nan_to_num(((high - low) / step).max(initial=0.0)) + 2.0, 2.0, most))
        at = start[:, None] + (first[:, None] + np.arange(count)) * step[:, None]
        spread = 16.0 * UNIT * (np.abs(at) + np.abs(start[:, None]) + step[:, None])
        ends = Interval(down(at - spread), up(at + spread))
    ends.high[:, -1] = np.maximum(ends.high[:, -1], high)
    return ends
