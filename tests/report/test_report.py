"""Rounding of printed figures, and the live line."""

from __future__ import annotations

import io
import math
import time
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipcert.figures import downward, upward
from lipcert.report import progress
from lipcert.sdp.outcome import Progress

POSITIVE = st.floats(1e-300, 1e300)


@given(POSITIVE, st.integers(1, 12))
def test_printed_figures_enclose_the_number(value: float, digits: int) -> None:
    low, exact, high = Decimal(downward(value, digits)), Decimal(value), Decimal(upward(value, digits))
    assert low <= exact <= high
    # one unit in the last of the digits
    assert high - low <= exact * Decimal(10) ** (1 - digits)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """The monotonic time, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def painted(stream: io.StringIO) -> list[str]:
    return [part.removesuffix("\x1b[K") for part in stream.getvalue().split("\r")[1:]]


def test_the_live_line_waits_a_second_and_goes_on_while_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), Terminal()
    line = progress.LiveLine(stream)
    line(Progress("search", 1, seconds=0.5, at_most=10.0))
    for clock.now in (0.5, 1.5, 3.5):
        line.paint()
    line(Progress("proof", seconds=4.0))
    line.paint()
    assert painted(stream) == [
        "search: iteration 1, 2.00 s, at most 9 s left",
        "search: iteration 1, 4.00 s, at most 7 s left",
        "proof: 4.00 s",
    ]
    assert "\n" not in stream.getvalue()


def test_the_live_line_paints_by_itself_and_clears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "INTERVAL", 1e-3)
    stream = Terminal()
    with progress.LiveLine(stream) as line:
        line(Progress("search", 1))
        deadline = time.monotonic() + 30.0
        while not stream.getvalue() and time.monotonic() < deadline:
            time.sleep(1e-3)
    assert painted(stream)[0].startswith("search: iteration 1, ")
    assert painted(stream)[-1] == ""
    after = stream.getvalue()
    time.sleep(0.02)
    assert stream.getvalue() == after


def test_short_work_files_and_quiet_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    for stream, enabled, last in ((Terminal(), True, 0.9), (io.StringIO(), True, 9.0), (Terminal(), False, 9.0)):
        clock.now = 0.0
        line = progress.LiveLine(stream, enabled=enabled)
        line(Progress("search", 1))
        clock.now = last
        line.paint()
        assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("log", "times", "shown"),
    [(True, (0.9, 1.1, 5.9, 6.2, 7.0), [1.1, 6.2]), (False, (1.1, 59.0, 61.0, 119.0, 122.0), [61.0, 122.0])],
)
def test_plain_lines_where_no_terminal_is(
    log: bool, times: tuple[float, ...], shown: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    line = progress.LiveLine(stream, log=log)
    line(Progress("search", 1))
    for clock.now in times:
        line.paint()
    steps = [progress.describe(Progress("search", 1, seconds=at)) for at in shown]
    assert stream.getvalue() == "".join(f"lipcert: {step}\n" for step in steps)


def test_a_line_is_no_longer_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), Terminal()
    line = progress.LiveLine(stream)
    line(Progress("a margin of many outputs: " * 5, 1))
    clock.now = 2.0
    line.paint()
    (text,) = painted(stream)
    assert (len(text), text[-1]) == (79, "…")


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Progress("reading"), "reading: 0.00 s"),
        (Progress("search", 7, 312.5, math.inf, 2.0), "search: iteration 7, not yet proven 312.5, 2.00 s"),
        (Progress("search", 7, proven=8.0), "search: iteration 7, proven ≤ 8, 0.00 s"),
        # a point that is no better than what is proven says nothing
        (Progress("search", 7, 9.0, proven=8.0), "search: iteration 7, proven ≤ 8, 0.00 s"),
        (
            Progress("search", 7, 7.0, 1e-3, proven=8.0),
            "search: iteration 7, proven ≤ 8, not yet proven 7, gap 1.0e-03, 0.00 s",
        ),
        # proven bounds are rounded up
        (Progress("search", proven=1.00000001), "search: proven ≤ 1.000001, 0.00 s"),
        (Progress("proof", 0, total=4), "proof: 0 of 4, 0.00 s"),
        (Progress("proof", 1, seconds=50.0, total=4), "proof: 1 of 4, 50.0 s, about 2 min 30 s left"),
        (Progress("proof", 1, seconds=2.0, total=4, at_most=5.0), "proof: 1 of 4, 2.00 s, at most 5 s left"),
        (Progress("search", 7, seconds=2.0, left=2.5, at_most=5.0), "search: iteration 7, 2.00 s, about 3 s left"),
        (Progress("search", 7, seconds=2.0, left=0.0, at_most=0.0), "search: iteration 7, 2.00 s"),
    ],
)
def test_what_a_step_says(step: Progress, text: str) -> None:
    assert progress.describe(step) == text


def test_a_narrow_line_keeps_what_matters_most() -> None:
    step = Progress("interior point", 7, 312.5, 1e-3, 4.25, proven=839.26, at_most=20.0)
    lines = [progress.describe(step, width) for width in range(10, 120)]
    assert all(len(line) <= width for width, line in enumerate(lines, 10))
    assert all(len(a) <= len(b) for a, b in pairwise(lines))
    assert all("proven ≤ 839.26" in line for line in lines[22:])
    assert lines[-1] == progress.describe(step)
