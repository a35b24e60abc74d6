"""Functions of one number that are made of others: a program of sums, products and records of the table.

The program stands in the names of the parameters, its constants in their values: '003 product 1,2' is step 3, the product of
the results of steps 1 and 2; step 0 is the input. So a composition is a record like any other. Where its derivative turns is
found by bisection, on second derivatives in ball arithmetic; `lipcert.activations.tails` bounds what lies beyond 2²⁰.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.activations import analytic, balls, bumps, local, pointwise
from lipcert.activations.record import Example, Parameters, Pointwise
from lipcert.activations.tails import Tail, beyond
from lipcert.rounding import Interval

if TYPE_CHECKING:
    from lipcert.activations.spelling import Pen
    from lipcert.arrays import Array

UNARY: dict[str, Pointwise] = {
    record.name: record for record in (*pointwise.RECORDS, *bumps.RECORDS, *analytic.RECORDS)
}
"""The records that programs may call."""

_CELLS = 600
"""The most cells that a range is cut into, of one number; and of all together"""
_ALL_CELLS = 40_000
_POINTS = 33
_ROUNDS = 6
_CLOSE = 2.0**-46
_WORTH = 1e-9
_FAR = 2.0**20
_PERIODIC = ("sin", "cos", "sin_squared")
_ANALYTIC = {
    *("tanh", "sigmoid", "softplus", "log_sigmoid", "gelu", "gelu_tanh", "silu", "mish", "erf", "sin", "cos"),
    *("sin_squared", "snake", "arctan", "arsinh", "tanhshrink", "soft_abs", "exp", "log", "sqrt"),
    *("gaussian", "sigmoid_power"),
}
_SINGULAR = ("reciprocal", "power")
# balls have one radius, so ends of one cell must be of like size
_GRID = np.concatenate([-(2.0 ** np.arange(20.0, -3.0, -0.5)), [0.0], 2.0 ** np.arange(-2.0, 20.5, 0.5)])


@dataclass(frozen=True)
class Step:
    """One step of a program.

    Attributes
    ----------
    op
        'times' and 'plus' (a constant), 'sum' and 'product' (of two steps), or the name of a record.
    of
        The steps that it takes.
    constant
        The name of its constant.
    parameters
        By the name that a record knows it under, that of each of its parameters; of a constant perhaps its 'radius'.
    """

    op: str
    of: tuple[int, ...]
    constant: str
    parameters: tuple[tuple[str, str], ...] = ()


class Program:
    """Collects the steps of a program, and their constants.

    Examples
    --------
    >>> program = Program()
    >>> square = program.add("product", (0, 0))
    >>> _ = program.add("exp", (program.add("times", (square,), np.array([-1.0])),))
    >>> round(COMPOSED.value(np.array([[[2.0]]]), program.parameters).item(), 9)
    0.018315639
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}
        self.size = 0

    def add(
        self, op: str, of: Sequence[int], constant: Array | None = None, parameters: Mapping[str, Array] | None = None
    ) -> int:
        """One more step; its number."""
        self.size += 1
        name = f"{self.size:03d}"
        self.parameters[f"{name} {op} {','.join(map(str, of))}"] = np.zeros(1) if constant is None else constant
        for key, value in (parameters or {}).items():
            self.parameters[f"{name}.{key}"] = value
        return self.size


@lru_cache(maxsize=256)
def _steps(names: tuple[str, ...]) -> tuple[Step, ...]:
    """The program that stands in the names of parameters."""
    found = []
    for name in names:
        if " " in name:
            number, op, of = name.split(" ")
            own = tuple((key.partition(".")[2], key) for key in names if key.startswith(f"{number}."))
            found.append(Step(op, tuple(map(int, of.split(","))), name, own))
    return tuple(found)


def steps(p: Mapping[str, Any]) -> tuple[Step, ...]:
    """The steps of a program in order."""
    return _steps(tuple(sorted(p)))


def _own(step: Step, p: Mapping[str, Any]) -> dict[str, Any]:
    return {key: p[name] for key, name in step.parameters}


def _value(z: Array, p: Parameters) -> Array:
    return _with_slope(z, p)[0]


def _gradient(z: Array, p: Parameters) -> Array:
    return _with_slope(z, p)[1]


def _with_slope(z: Array, p: Parameters) -> tuple[Array, Array]:
    """Value and derivative, in floating point."""
    found = [(z, np.ones_like(z))]
    with np.errstate(all="ignore"):
        for step in steps(p):
            x, dx = found[step.of[0]]
            y, dy = found[step.of[-1]]
            c = p[step.constant]
            match step.op:
                case "times":
                    found.append((c * x, c * dx))
                case "plus":
                    found.append((x + c, dx))
                case "sum":
                    found.append((x + y, dx + dy))
                case "product":
                    found.append((x * y, x * dy + dx * y))
                case kind:
                    own = _own(step, p)
                    found.append((UNARY[kind].function(x, own), UNARY[kind].gradient(x, own) * dx))
    return np.asarray(found[-1][0]), np.asarray(found[-1][1])


def _enclosure(x: Any, p: Mapping[str, Any]) -> Any:
    try:
        return _balls(x, p)[-1]
    except (ValueError, ZeroDivisionError):
        # a series whose head may be zero has no reciprocal
        return x * balls.head(x).__class__("nan")


def _balls(x: Any, p: Mapping[str, Any]) -> list[Any]:
    """The results of all steps in ball arithmetic."""
    found = [x]
    for step in steps(p):
        a, b = found[step.of[0]], found[step.of[-1]]
        match step.op:
            case "times":
                found.append(a * _ball(step, p))
            case "plus":
                found.append(a + _ball(step, p))
            case "sum":
                found.append(a + b)
            case "product":
                found.append(a * b)
            case kind:
                found.append(UNARY[kind].enclosure(a, _own(step, p)))
    return found


def _ball(step: Step, p: Mapping[str, Any]) -> Any:
    from flint import arb

    constant = p[step.constant]
    radius = dict(step.parameters).get("radius")
    return constant if radius is None else constant + p[radius] * arb(0, 1)


def _bends(p: Parameters, low: Array, high: Array) -> Interval:
    """Where the derivative may turn or jump, and where it stays within what it has elsewhere."""
    n = low.size
    cells = int(np.clip(_ALL_CELLS // max(n, 1), 24, _CELLS))
    known: dict[bytes, list[tuple[float, float]]] = {}
    found = []
    for i in range(n):
        row = {key: float(value[i if len(value) > 1 else 0]) for key, value in p.items()}
        key = np.array([low[i], high[i], *row.values()]).tobytes()
        if key not in known:
            known[key] = _turning(row, float(low[i]), float(high[i]), cells)
        found.append(known[key])
    width = max(map(len, found), default=0)
    ends = np.array(low)[:, None, None] * np.ones((1, width, 2))
    for i, pairs in enumerate(found):
        if pairs:
            ends[i, : len(pairs)] = pairs
    # padding has no width; _smooth sorts
    return Interval(ends[:, :, 0], ends[:, :, 1])


def _turning(p: Mapping[str, float], low: float, high: float, cells: int) -> list[tuple[float, float]]:
    """Parts of [low, high] outside which the derivative is monotone."""
    from flint import arb, arb_series

    exact = {key: arb(value) for key, value in p.items()}
    grid = [low, *_GRID[(low < _GRID) & (high > _GRID)].tolist(), high]
    waiting = [*pairwise(grid)][::-1]
    # what the derivative attains somewhere
    least, most = np.inf, -np.inf
    for x in _extreme(p, np.array(grid)):
        slope = _enclosure(arb_series([arb(x), 1], prec=2), exact)[1]
        if slope.is_finite():
            least, most = min(least, float(slope.upper())), max(most, float(slope.lower()))
    # so little more is not worth a cell
    room = _WORTH * max(abs(least), abs(most)) if least <= most else 0.0
    found: list[tuple[float, float]] = []
    left = cells
    while waiting:
        a, b = waiting.pop()
        left -= 1
        results = _series(exact, arb(a) if a == b else arb(a).union(arb(b)), 4)
        slope, bend, third = results[-1][1], results[-1][2], results[-1][3]
        small = b - a <= _CLOSE * max(abs(a), abs(b), min(1.0, high - low))
        once, twice = (not small and not _kinked(results, p, order) for order in (1, 2))
        if once and (bend > 0 or bend < 0):
            continue
        turn = _turn(exact, a, b) if twice and (third > 0 or third < 0) else None
        if turn is not None:
            found += turn
            continue
        middle = 0.5 * a + 0.5 * b
        harmless = slope.is_finite() and slope.lower() >= least - room and slope.upper() <= most + room
        if harmless or small or not a < middle < b or left <= len(waiting):
            found.append((a, b))
        else:
            waiting += [(middle, b), (a, middle)]
    return found


def _series(exact: Mapping[str, Any], x: Any, terms: int) -> list[Any]:
    """The results of all steps with so many coefficients; NaN where a head may be zero that is divided by."""
    from flint import arb, arb_series

    start = arb_series([x, 1], prec=terms)
    try:
        return _balls(start, exact)
    except (ValueError, ZeroDivisionError):
        return [start * arb("nan")]


def _turn(exact: Mapping[str, Any], a: float, b: float) -> list[tuple[float, float]] | None:
    """Where the second derivative changes its sign, if it does, in an interval on which it is monotone; None if unclear."""
    from flint import arb

    def sign(x: float) -> int:
        bend = _series(exact, arb(x), 3)[-1][2]
        return 1 if bend > 0 else -1 if bend < 0 else 0

    first, last = sign(a), sign(b)
    if first == last:
        return [] if first else None
    # between the last point of one sign and the first of the other
    start, end = a if first else None, b if last else None
    low, high = a, b
    while high - low > _CLOSE * max(abs(low), abs(high), 1e-3):
        middle = 0.5 * low + 0.5 * high
        here = sign(middle) if low < middle < high else 0
        if here and here == first:
            low = start = middle
        elif here and here == last:
            high = end = middle
        elif not first or not last:
            # towards the end at which it vanishes
            break
        else:
            return [(low, high)]
    return [(a if start is None else start, b if end is None else end)]


def _extreme(p: Mapping[str, float], grid: Array) -> list[float]:
    """About where the derivative is least and largest."""
    parts = np.linspace(0.0, 1.0, _POINTS)
    for _ in range(_ROUNDS):
        z = np.unique(grid[:-1, None] + (grid[1:] - grid[:-1])[:, None] * parts)
        slope = _gradient(z, {key: np.array([value]) for key, value in p.items()})
        at = [int(np.nan_to_num(s, nan=-np.inf).argmax()) for s in (slope, -slope)]
        near = [z[max(k - 1, 0) : k + 2] for k in at]
        grid = np.unique(np.concatenate(near))
        if grid.size < 2:
            break
    return [float(z[k]) for k in at]


def _kinked(results: Sequence[Any], p: Mapping[str, float], order: int) -> bool:
    """Whether the derivative of this order of some step jumps, or is not known not to, where its argument lies."""
    for step in steps(p):
        record = UNARY.get(step.op)
        if record is None or record.name in _ANALYTIC or (order == 1 and record.smooth):
            continue
        own = {key: np.array([value]) for key, value in _own(step, p).items()}
        if record.name == "power" and own["exponent"][0] >= 1.0 and own["exponent"][0] == np.round(own["exponent"][0]):
            continue
        ball = balls.head(results[step.of[0]]) if len(results) > step.of[0] else None
        if ball is None or not ball.is_finite():
            return True
        low, high = (float(end) for end in (ball.lower(), ball.upper()))
        if record.breaks is not None:
            at = Interval.point(record.breaks(own)[0])
        elif record.name in _SINGULAR:
            at = Interval.point(np.zeros((1, 1)))
        elif record.bends is not None and order == 1:
            at = record.bends(own, np.array([low]), np.array([high]))
        else:
            return True
        if ((at.low <= high) & (at.high >= low)).any():
            return True
    return False


def _slopes(p: Parameters) -> tuple[Array, Array]:
    """All slopes, and (−∞, ∞) where they are unbounded."""
    found = [_everywhere(row)[0] for row in _rows(p)]
    return np.array([low for low, _ in found]), np.array([high for _, high in found])


def _reach(p: Parameters) -> tuple[Array, Array]:
    """All values."""
    found = [_everywhere(row)[1] for row in _rows(p)]
    return np.array([low for low, _ in found]), np.array([high for _, high in found])


def _rows(p: Parameters) -> list[tuple[tuple[str, float], ...]]:
    count = max((len(value) for value in p.values()), default=1)
    return [
        tuple((key, float(value[i if len(value) > 1 else 0])) for key, value in sorted(p.items())) for i in range(count)
    ]


Pair = tuple[float, float]


@lru_cache(maxsize=4096)
def _everywhere(row: tuple[tuple[str, float], ...]) -> tuple[Pair, Pair]:
    """The slopes and the values of one function on the whole line."""
    p = {key: np.array([value]) for key, value in row}
    half = _half_period(p)
    end = np.array([_FAR if half is None else half])
    slope, value = local.profile(_ANY, p, Interval(-end, end)).slopes(), local.image(_ANY, p, Interval(-end, end))
    for sign in (1.0, -1.0) if half is None else ():
        tail, tail_slope = _on_tail(p, sign)
        slope, value = slope.hull(beyond(tail_slope)), value.hull(beyond(tail))
    ends = [float(end[0]) for end in (slope.low, slope.high, value.low, value.high)]
    steepest = (ends[0], ends[1]) if np.isfinite(ends[:2]).all() else (-np.inf, np.inf)
    return steepest, (ends[2], ends[3])


def _half_period(p: Parameters) -> float | None:
    """At least half a period, or None where none is known: x enters by sin and cos of rates that are multiples of one."""
    # of a step that is c·x + d the number c, of one with a period None
    rates: list[Fraction | None] = [Fraction(1)]
    found: list[Fraction] = []
    for step in steps(p):
        of = [rates[k] for k in step.of]
        rate = of[0]
        if step.op in _PERIODIC and rate is not None:
            found.append(abs(rate))
            rates.append(None)
        elif step.op == "times" and rate is not None and not step.parameters:
            rates.append(rate * Fraction(float(p[step.constant][0])))
        elif step.op == "plus" and rate is not None:
            rates.append(rate)
        elif all(known is None for known in of):
            rates.append(None)
        else:
            return None
    least = min(found, default=Fraction(0))
    if rates[-1] is not None or not least or any((rate / least).denominator > 1 for rate in found):
        return None
    half = 3.1416 / float(least) * (1.0 + 1e-6)
    return half if half <= _FAR else None


def _on_tail(p: Parameters, sign: float) -> tuple[Tail | None, Tail | None]:
    """Value and derivative for sign·x ≥ 2²⁰, or None for what is not bounded."""
    from flint import arb

    found: list[tuple[Tail, Tail]] = [(Tail.identity(sign), Tail.constant(arb(1)))]
    exact = {key: arb(float(value[0])) for key, value in p.items()}
    for step in steps(p):
        (x, dx), (y, dy) = found[step.of[0]], found[step.of[-1]]
        match step.op:
            case "times":
                c = Tail.constant(_ball(step, exact))
                pair = (c * x, c * dx)
            case "plus":
                pair = (x + Tail.constant(_ball(step, exact)), dx)
            case "sum":
                pair = (x + y, dx + dy)
            case "product":
                pair = (x * y, x * dy + dx * y)
            case kind:
                own = {key: np.array([float(p[name][0])]) for key, name in step.parameters}
                value, slope = x.through(UNARY[kind], own)
                pair = (value, slope * dx)
        found.append(pair)
    return found[-1]


def _spelling(pen: Pen, x: str, p: Mapping[str, Array]) -> str:
    found = [x]
    for step in steps(p):
        a, b = found[step.of[0]], found[step.of[-1]]
        match step.op:
            case "times" | "plus":
                op = "Mul" if step.op == "times" else "Add"
                found.append(pen.op(op, a, pen.vector(p[step.constant])))
            case "sum" | "product":
                found.append(pen.op("Add" if step.op == "sum" else "Mul", a, b))
            case kind:
                found.append(UNARY[kind].spelled(pen, a, 1, _own(step, p)))
    return found[-1]


def _examples() -> tuple[Example, ...]:
    """tanh(x)² sin x, x/(1 + x²), and a function with kinks."""
    made = [Program() for _ in range(3)]
    two = {"exponent": np.array([2.0])}
    square = made[0].add("power", (made[0].add("tanh", (0,)),), None, two)
    made[0].add("product", (square, made[0].add("sin", (0,))))
    below = made[1].add("plus", (made[1].add("power", (0,), None, two),), np.ones(1))
    made[1].add("product", (0, made[1].add("reciprocal", (below,))))
    low = made[2].add("clip", (0,), None, {"low": np.array([-1.0]), "high": np.array([1.5])})
    made[2].add("exp", (made[2].add("times", (low,), np.array([0.5]), {"radius": np.array([2.0**-50])}),))
    return tuple(Example(1, program.parameters) for program in made)


COMPOSED = Pointwise(
    "composed",
    "composed functions",
    _value,
    _gradient,
    _slopes,
    _enclosure,
    "slopes of the whole function, where its derivative turns in ball arithmetic; docs/theory.md 11",
    bends=_bends,
    reach=_reach,
    spelling=_spelling,
    examples=_examples(),
)

_ANY = replace(COMPOSED, slopes=lambda p: (np.full(1, -np.inf), np.full(1, np.inf)), reach=None)

RECORDS = (COMPOSED,)
