"""Whether a proof fits into memory: an answer that is looser is better than none."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lipcert.errors import NotEnoughMemory

# below this nobody asks the system
_FREE_TO_TAKE = 2**30


def available() -> int:
    """Bytes that can be taken without swapping: of the machine, and of the control group where one limits it."""
    free = 2**62
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = 1024 * int(line.split()[1])
    if free == 2**62:
        with suppress(OSError, ValueError, AttributeError):
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return free


def require(needed: int, what: str) -> None:
    """Raise where `needed` bytes are more than there are.

    Raises
    ------
    NotEnoughMemory
        With both numbers.
    """
    if needed <= _FREE_TO_TAKE:
        return
    free = available()
    if needed > free:
        raise NotEnoughMemory(
            f"{what} needs about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
            advice="use --method product or a machine with more memory",
        )
