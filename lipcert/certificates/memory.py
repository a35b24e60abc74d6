"""Whether a proof fits into memory: an answer that is looser is better than none."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lipcert.errors import NotEnoughMemory

# below this nobody asks the system
_FREE_TO_TAKE = 2**30


def available(root: Path = Path("/")) -> int:
    """Bytes that this process can take without swapping.

    Of the machine, of the control groups that it is in where they limit it (versions 1 and 2), and of its address space
    (`ulimit -v`).

    Parameters
    ----------
    root
        Where the file system of the kernel's tables is mounted.
    """
    free = 2**62
    with suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = 1024 * int(line.split()[1])
    if free == 2**62:
        with suppress(OSError, ValueError, AttributeError):
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(0, min(free, _group_left(root), _address_space_left(root)))


def _group_left(root: Path) -> int:
    """What the control groups of this process leave, from its own up to the root."""
    groups = root / "sys/fs/cgroup"
    left = 2**62
    paths = {"/"}
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or "memory" in controllers.split(","):
                paths |= {path, *(str(parent) for parent in Path(path).parents)}
    for path in paths:
        for folder, limit, usage in (
            (groups, "memory.max", "memory.current"),
            (groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            place = folder / path.lstrip("/")
            # "max", and no file where there is no limit
            with suppress(OSError, ValueError):
                top = int((place / limit).read_text())
                left = min(left, top - int((place / usage).read_text()) + _reclaimable(place))
    return left


def _reclaimable(place: Path) -> int:
    """Pages of files that nobody has used of late, which count as used and are given back first."""
    with suppress(OSError, ValueError):
        for line in (place / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0


def _address_space_left(root: Path) -> int:
    """What the limit of the address space leaves; where there is none, as on Windows, all of it."""
    try:
        import resource
    except ImportError:
        return 2**62
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return 2**62
    with suppress(OSError, ValueError, IndexError):
        return limit - int((root / "proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return limit


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
