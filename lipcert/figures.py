"""Decimal figures of proven numbers, rounded so that what is printed is proven too."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

DIGITS = 7


def upward(value: float, digits: int = DIGITS) -> str:
    """`value` to so many digits, never below it: for upper bounds.

    Examples
    --------
    >>> upward(22.07438100001), upward(88258.81920)
    ('22.07439', '88258.82')
    """
    return _rounded(value, digits, ROUND_CEILING)


def downward(value: float, digits: int = DIGITS) -> str:
    """`value` to so many digits, never above it: for lower bounds.

    Examples
    --------
    >>> downward(22.0213339)
    '22.02133'
    """
    return _rounded(value, digits, ROUND_FLOOR)


def duration(seconds: float) -> str:
    """A time in the unit that people would say it in.

    Examples
    --------
    >>> duration(0.0314), duration(12.34), duration(125.0)
    ('0.03 s', '12.3 s', '2 min 05 s')
    """
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def _rounded(value: float, digits: int, rounding: str) -> str:
    exact = Decimal(value)
    if not exact.is_finite():
        return str(value)
    # a decimal of at most 15 digits survives the way through float and back
    return f"{float(Context(prec=digits, rounding=rounding).plus(exact)):.{digits}g}"
