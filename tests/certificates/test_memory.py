"""What memory is free, from tables of the kernel as they are on other machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lipcert.certificates import memory

GB = 2**30


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    write(tmp_path, "proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n")
    write(tmp_path, "proc/self/statm", "1000 500 100 1 0 400 0\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_machine_alone(machine: Path) -> None:
    assert memory.available(machine) == 16 * GB


@pytest.mark.parametrize("inside", [True, False])
def test_version_2_with_its_parents(machine: Path, inside: bool) -> None:
    """In a container the group is the root of what is mounted; else its path is in the table of the process."""
    write(machine, "proc/self/cgroup", "0::/\n" if inside else "0::/user/job\n")
    group = "sys/fs/cgroup" + ("" if inside else "/user")
    write(machine, f"{group}/memory.max", f"{4 * GB}\n")
    write(machine, f"{group}/memory.current", f"{3 * GB}\n")
    write(machine, f"{group}/memory.stat", f"anon 5\ninactive_file {GB // 2}\n")
    if not inside:
        write(machine, "sys/fs/cgroup/user/job/memory.max", "max\n")
        write(machine, "sys/fs/cgroup/user/job/memory.current", "7\n")
    assert memory.available(machine) == GB + GB // 2


def test_version_1(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n")
    write(machine, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    write(machine, "sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n")
    write(machine, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", f"{2 * GB}\n")
    write(machine, "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", f"{GB}\n")
    assert memory.available(machine) == GB


def test_a_group_that_is_full(machine: Path) -> None:
    write(machine, "sys/fs/cgroup/memory.max", "1000\n")
    write(machine, "sys/fs/cgroup/memory.current", "2000\n")
    assert memory.available(machine) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of the address space is that of Linux")
def test_the_limit_of_the_address_space() -> None:
    code = "from lipcert.certificates.memory import available; print(available())"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({6 * GB}, {6 * GB})); {code}"
    free = int(subprocess.run([sys.executable, "-c", limited], check=True, capture_output=True, text=True).stdout)
    assert 0 < free < 6 * GB
