"""Progress on standard error: a live line on a terminal, else plain lines now and then."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from lipcert.figures import duration, upward

if TYPE_CHECKING:
    from types import TracebackType

    from lipcert.sdp.outcome import Progress

PATIENCE = 1.0
"""Seconds of silence: shorter work needs no progress."""

INTERVAL = 0.1
"""Seconds between two repaints."""

LONG = 60.0
"""Seconds after which work is long, and between two plain lines of it where none were asked for."""

OFTEN = 5.0
"""Seconds between two plain lines that were asked for."""

_COLUMNS = 80
"""Where the terminal does not say how wide it is."""


class LiveLine:
    """Progress for people: a line that is repainted while the clock runs, and removed at the end, or plain lines.

    Parameters
    ----------
    stream
        Where to write; standard error by default.
    enabled
        False for silence.
    log
        True for plain lines, every few seconds. Without it they are written where the stream is no terminal, and every
        minute only.
    """

    def __init__(self, stream: TextIO | None = None, *, enabled: bool = True, log: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._enabled = enabled
        self._plain = log or not self._stream.isatty()
        self._patience = (PATIENCE if log else LONG) if self._plain else PATIENCE
        self._pause = OFTEN if log else LONG
        self._told = -math.inf
        self._started = time.monotonic()
        self._latest: tuple[Progress, float] | None = None
        self._painted = False
        self._over = threading.Event()
        # a solver or a proof may be silent for minutes
        self._painter = threading.Thread(target=self._keep_painting, daemon=True)

    def __enter__(self) -> LiveLine:
        if self._enabled:
            self._painter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._enabled:
            self._painter.join()
        if self._painted:
            self._write("")

    def __call__(self, step: Progress) -> None:
        """Show a step from the next repaint on."""
        self._latest = step, time.monotonic()

    def paint(self) -> None:
        """Show the latest step as it stands now, unless it is too early."""
        now = time.monotonic()
        if self._latest is None or not self._enabled or now - self._started < self._patience:
            return
        step, told = self._latest
        if self._plain:
            if now - self._told >= self._pause:
                self._told = now
                self._stream.write(f"lipcert: {describe(_later(step, now - told))}\n")
                self._stream.flush()
            return
        self._painted = True
        self._write(describe(_later(step, now - told), _columns(self._stream) - 1))

    def _keep_painting(self) -> None:
        while not self._over.wait(INTERVAL):
            self.paint()

    def _write(self, text: str) -> None:
        self._stream.write(f"\r{text}\x1b[K")
        self._stream.flush()


def describe(step: Progress, width: int | None = None) -> str:
    """One line for a step. Upper bounds that are proven are told from what a solver has found and nobody proved yet.

    Parameters
    ----------
    step
        The step.
    width
        The most characters, or None; what matters less is left out for it.

    Examples
    --------
    >>> from lipcert.sdp.outcome import Progress
    >>> describe(Progress("interior point", 7, 312.5, 1e-3, 4.25, proven=839.26, at_most=20.0))
    'interior point: iteration 7, proven ≤ 839.26, not yet proven 312.5, gap 1.0e-03, 4.25 s, at most 20 s left'
    >>> describe(Progress("proof", 3, seconds=12.0, total=10))
    'proof: 3 of 10, 12.0 s, about 28 s left'
    >>> describe(Progress("interior point", 7, 312.5, 1e-3, 4.25, proven=839.26, at_most=20.0), width=81)
    'interior point: proven ≤ 839.26, not yet proven 312.5, 4.25 s, at most 20 s left'
    """
    parts: dict[str, str] = {}
    if step.total is not None:
        parts["count"] = f"{step.iteration} of {step.total}"
    elif step.iteration:
        parts["count"] = f"iteration {step.iteration}"
    if step.proven is not None:
        parts["proven"] = f"proven ≤ {upward(step.proven)}"
    if step.bound is not None and (step.proven is None or step.bound < step.proven):
        parts["found"] = f"not yet proven {upward(step.bound)}"
    if step.gap is not None and math.isfinite(step.gap):
        parts["gap"] = f"gap {step.gap:.1e}"
    parts["time"] = duration(step.seconds)
    expected = math.inf if step.expected is None else step.expected
    if step.at_most is not None and 0.0 < step.at_most <= expected:
        parts["left"] = f"at most {_whole(step.at_most)} left"
    elif 0.0 < expected < math.inf:
        parts["left"] = f"about {_whole(expected)} left"
    text = f"{step.stage}: {', '.join(parts.values())}"
    for name in ("gap", "count", "time", "left"):
        if width is None or len(text) <= width:
            return text
        parts.pop(name, None)
        text = f"{step.stage}: {', '.join(parts.values())}"
    return text if width is None or len(text) <= width else f"{text[: width - 1]}…"


def _later(step: Progress, seconds: float) -> Progress:
    """The step some seconds later, if nothing else happened."""

    def less(left: float | None) -> float | None:
        return None if left is None else max(0.0, left - seconds)

    return replace(step, seconds=step.seconds + seconds, left=less(step.expected), at_most=less(step.at_most))


def _whole(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds < 59.0 else duration(seconds)


def _columns(stream: TextIO) -> int:
    """The width of the terminal: a longer line could not be removed."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS
