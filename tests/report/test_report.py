"""Rounding of printed figures, and the live line."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipcert.report import progress
from lipcert.report.figures import downward, upward
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


def show(stream: io.StringIO, times: list[float], monkeypatch: pytest.MonkeyPatch, *, enabled: bool = True) -> str:
    """What is written for steps at these times."""
    clock = iter([0.0, *times])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.LiveLine(stream, enabled=enabled) as line:
        for k, seconds in enumerate(times):
            line(Progress("search", k, 2.0, 0.1, seconds))
    return stream.getvalue()


def test_the_live_line_waits_a_second_repaints_and_clears(monkeypatch: pytest.MonkeyPatch) -> None:
    text = show(Terminal(), [0.5, 1.5, 1.55, 1.7], monkeypatch)
    painted = text.split("\r")
    assert [part[: len("search: iteration 1")] for part in painted[1:3]] == [
        "search: iteration 1",
        "search: iteration 3",
    ]
    assert painted[3] == "\x1b[K"
    assert "\n" not in text


def test_short_work_files_and_quiet_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(Terminal(), [0.2, 0.9], monkeypatch) == ""
    assert show(io.StringIO(), [5.0, 6.0], monkeypatch) == ""
    monkeypatch.undo()
    with progress.LiveLine(Terminal(), enabled=False) as line:
        line(Progress("search", 1, None, None, 9.0))
