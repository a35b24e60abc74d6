"""How much time is left for an answer, known to all that work on it without being handed down.

`within` sets a limit; `left` says how much of it remains; `check`, which long computations call now and then, raises
once the limit and some grace are over, so that the caller can fall back to what is proven by then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lipcert.errors import OutOfTime

GRACE, SLACK = 0.1, 0.5
"""What has begun in time may go on for this part of the limit, and so many seconds."""

_ENDS: ContextVar[tuple[float, float]] = ContextVar("ends", default=(float("inf"), float("inf")))


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Limit what happens inside to so many seconds, or to what an outer limit leaves; None is no limit of its own.

    Examples
    --------
    >>> with within(5.0), within(100.0):
    ...     left() <= 5.0
    True
    >>> left()
    inf
    """
    before = _ENDS.get()
    now = time.perf_counter()
    ends = before if seconds is None else (now + seconds, now + (1.0 + GRACE) * seconds + SLACK)
    token = _ENDS.set((min(before[0], ends[0]), min(before[1], ends[1])))
    try:
        yield
    finally:
        _ENDS.reset(token)


@contextmanager
def apart() -> Iterator[None]:
    """Lift all limits inside: for what has a limit of its own."""
    token = _ENDS.set((float("inf"), float("inf")))
    try:
        yield
    finally:
        _ENDS.reset(token)


def left() -> float:
    """Seconds that are left, infinity without a limit; never below zero."""
    return max(0.0, _ENDS.get()[0] - time.perf_counter())


def check() -> None:
    """Raise once the limit and its grace are over.

    Raises
    ------
    OutOfTime
        Then.
    """
    if time.perf_counter() > _ENDS.get()[1]:
        raise OutOfTime("the time limit was reached", advice="give a longer --time-limit")
