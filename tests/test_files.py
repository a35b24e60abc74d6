"""Writing files: whole or not at all, with the permissions that people expect, through links and into pipes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lipcert.errors import InvalidRequest
from lipcert.files import require_writable, write

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and permissions of POSIX")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_of_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "x", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~mask


def test_an_old_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o640)


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/file")
    for content in (b"first", b"second"):
        require_writable(link)
        write(link, content)
        assert link.is_symlink()
        assert (tmp_path / "there" / "file").read_bytes() == content
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["file"]


def test_a_pipe_gets_the_bytes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write(pipe, b"through")
    reader.join(10.0)
    assert read == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_output_stays_open(name: str, kind: str, tmp_path: Path) -> None:
    if not Path(name).exists():
        pytest.skip(f"no {name} here")
    code = f"from lipcert.files import write; print('a'); write({name!r}, b'b\\n'); print('c')"
    out = tmp_path / "out"
    with out.open("wb") as file:
        target = subprocess.PIPE if kind == "pipe" else file
        done = subprocess.run([sys.executable, "-c", code], stdout=target, check=True, timeout=600)
    assert (done.stdout if kind == "pipe" else out.read_bytes()) == b"a\nb\nc\n"


def test_devices_stay_devices() -> None:
    require_writable(Path("/dev/null"))
    write("/dev/null", b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("bad", ["", "missing/x"])
def test_what_cannot_be_written_is_said(bad: str, tmp_path: Path) -> None:
    path = tmp_path / bad
    with pytest.raises(InvalidRequest, match="cannot be written"):
        write(path, b"x")
    with pytest.raises(InvalidRequest, match="cannot be written"):
        require_writable(path)


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InvalidRequest, match="No space left"):
        write(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"old")]
