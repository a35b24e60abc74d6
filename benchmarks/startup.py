"""How long `lipcert --help` takes: python benchmarks/startup.py."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15
LIMIT = 0.4


def seconds() -> list[float]:
    """The times of some runs, in a process each."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lipcert", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    times = seconds()
    # the fastest run is the one that other work on the machine disturbed least
    print(f"lipcert --help: {min(times):.3f} s, median {statistics.median(times):.3f} s of {RUNS} (at most {LIMIT} s)")
    sys.exit(min(times) > LIMIT)
