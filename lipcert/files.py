"""Writing a file so that nobody ever sees half of it."""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
from pathlib import Path

from lipcert.errors import InvalidRequest

_LINKS = 40
"""Symbolic links that are followed at most, as the kernel does."""


def write(path: str | Path, content: bytes) -> None:
    """Write a file; one that is there is replaced at once, and keeps its permissions.

    A link is followed. What is no regular file, such as a pipe or /dev/null, is written straight into, and /dev/stdout or
    /dev/fd/3 are the open files that they name.

    Raises
    ------
    InvalidRequest
        If it cannot be written; the message says why.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/x", b"one")
    ...     write(f"{folder}/x", b"two")
    ...     Path(folder, "x").read_bytes(), len(list(Path(folder).iterdir()))
    (b'two', 1)
    >>> write("/dev/null", b"nothing")
    """
    path = Path(path)
    try:
        number = _descriptor(path)
        if number is not None:
            sys.stdout.flush()
            with os.fdopen(os.dup(number), "wb") as file:
                file.write(content)
            return
        target = Path(os.path.realpath(path))
        status = target.stat() if target.exists() else None
        if (status is not None and not stat.S_ISREG(status.st_mode)) or not os.access(target.parent, os.W_OK):
            with target.open("wb") as file:
                file.write(content)
            return
        _replace(target, content, None if status is None else stat.S_IMODE(status.st_mode))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InvalidRequest(
            f"cannot be written: {error.strerror or error}", where=str(path), advice="choose a writable file"
        ) from None


def require_writable(path: Path) -> None:
    """Fail before a long computation rather than after it.

    Raises
    ------
    InvalidRequest
        If `write` would fail now.
    """
    try:
        if _descriptor(path) is not None:
            return
        target = Path(os.path.realpath(path))
        folder = target.parent
        writable = folder.is_dir() and not target.is_dir() and os.access(target if target.exists() else folder, os.W_OK)
    except (OSError, ValueError):
        # a name that is too long, or that no file can have
        writable = False
    if not writable:
        raise InvalidRequest("the file cannot be written", where=str(path)[-200:], advice="choose a writable file")


def _replace(target: Path, content: bytes, mode: int | None) -> None:
    """Write beside the target, and move it there."""
    beside = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}")
    # the system takes the umask off
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        if mode is not None:
            beside.chmod(mode)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _descriptor(path: Path) -> int | None:
    """The number of the open file of this process that a path names, or None."""
    for _ in range(_LINKS):
        found = re.fullmatch(rf"/(?:dev|proc/(?:self|{os.getpid()}))/fd/(\d+)", str(path))
        if found:
            return int(found[1])
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None
