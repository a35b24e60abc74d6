"""How long reading a file may take."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lipcert.errors import NotCertified


@dataclass(frozen=True)
class Limits:
    """A moment, by `time.perf_counter`, at which reading ends with an error; None for none.

    Examples
    --------
    >>> Limits.within(None).check("net.onnx")
    """

    until: float | None = None

    @staticmethod
    def within(seconds: float | None) -> Limits:
        """That many seconds from now."""
        return Limits(None if seconds is None else time.perf_counter() + seconds)

    @property
    def left(self) -> float | None:
        """Seconds that are left."""
        return None if self.until is None else max(self.until - time.perf_counter(), 0.0)

    def check(self, where: str) -> None:
        """Raise an error once the time is over.

        Raises
        ------
        NotCertified
            Then.
        """
        if self.until is not None and time.perf_counter() > self.until:
            raise NotCertified("the time limit was over before the file was read", where=where, advice="give more time")
