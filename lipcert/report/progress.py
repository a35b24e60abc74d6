"""The live line on standard error while a bound is being computed."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from lipcert.report.figures import duration, upward

if TYPE_CHECKING:
    from types import TracebackType

    from lipcert.sdp.outcome import Progress

PATIENCE = 1.0
"""Seconds of silence: shorter work needs no progress."""

INTERVAL = 0.1
"""Seconds between two repaints."""


class LiveLine:
    """Repaints one line of a terminal with the latest progress, and removes it at the end.

    Parameters
    ----------
    stream
        Where to write; standard error by default. Nothing is written where it is no terminal.
    enabled
        False for silence.
    """

    def __init__(self, stream: TextIO | None = None, *, enabled: bool = True) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._enabled = enabled and self._stream.isatty()
        self._started = time.monotonic()
        self._painted = 0.0

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._painted:
            self._write("")

    def __call__(self, step: Progress) -> None:
        """Show a step, unless it is too early or too soon after the last one."""
        now = time.monotonic()
        if not self._enabled or now - self._started < PATIENCE or now - self._painted < INTERVAL:
            return
        self._painted = now
        self._write(describe(step))

    def _write(self, text: str) -> None:
        self._stream.write(f"\r{text}\x1b[K")
        self._stream.flush()


def describe(step: Progress) -> str:
    """One line for a step.

    Examples
    --------
    >>> from lipcert.sdp.outcome import Progress
    >>> describe(Progress("interior point", 7, 312.5, 1e-3, 4.25))
    'interior point: iteration 7, bound so far 312.5, gap 1.0e-03, 4.25 s'
    """
    parts = [f"iteration {step.iteration}"]
    if step.bound is not None:
        parts.append(f"bound so far {upward(step.bound)}")
    if step.gap is not None:
        parts.append(f"gap {step.gap:.1e}")
    return f"{step.stage}: {', '.join(parts)}, {duration(step.seconds)}"
