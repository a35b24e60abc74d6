"""The same tests hold under the kernels that OpenBLAS has for other processors, and with one thread and with two."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

KERNELS = ("Haswell", "Zen", "SkylakeX", "Sandybridge", "Prescott")
ROOT = Path(__file__).resolve().parents[1]
# the libraries that were loaded, after products and factorisations on which a wrong processor dies
PROBE = """
import numpy as np
from scipy.linalg import lapack
from threadpoolctl import threadpool_info

a = np.random.default_rng(0).standard_normal((300, 300))
lapack.dpotrf(a @ a.T)
np.linalg.svd(a)
print(*sorted({str(item.get("architecture")) for item in threadpool_info() if item["user_api"] == "blas"}))
"""


def environment(kernel: str, threads: int = 1) -> dict[str, str]:
    """With a kernel in place of the one of this processor, unless its name is empty."""
    return {**os.environ, "OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": str(threads)}


@cache
def loaded(kernel: str) -> str:
    """The kernels that run where one is asked for, or nothing where this processor lacks its instructions."""
    command = [sys.executable, "-c", PROBE]
    probe = subprocess.run(command, env=environment(kernel), capture_output=True, text=True, timeout=600, check=False)
    return probe.stdout.strip() if probe.returncode == 0 else ""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("kernel", "threads"), [*((kernel, 1) for kernel in KERNELS), ("", 2)])
def test_solver_networks_and_certificates(kernel: str, threads: int) -> None:
    found = loaded(kernel)
    earlier = KERNELS[: KERNELS.index(kernel)] if kernel else ()
    if not found:
        pytest.skip(f"this processor lacks the instructions of {kernel}")
    if found in {loaded(other) for other in earlier}:
        pytest.skip(f"{kernel} is another name of {found} here")
    folders = [str(ROOT / "tests" / name) for name in ("sdp", "networks", "certificates")]
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *folders]
    run = subprocess.run(
        command, cwd=ROOT, env=environment(kernel, threads), capture_output=True, text=True, timeout=1100, check=False
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


def test_the_probe_tells_kernels_apart() -> None:
    assert loaded("no such kernel") == loaded("")
    assert loaded("")


# certificates on random regions, of each activation in turn: written into a folder, or all that lie there verified
REGIONAL = """
import sys
from pathlib import Path
import numpy as np
import lipcert
from regional import KINDS, network, region_of

folder, name = Path(sys.argv[1]), sys.argv[2]
for seed in range(12):
    rng = np.random.default_rng(seed)
    graph = network(seed, [KINDS[seed % len(KINDS)], "tanh", "relu"])
    region = region_of(rng, graph.input_size)
    options = {"norm": ("2", "inf", "1")[seed % 3], "outputs": ("all", "each")[seed % 2]}
    anchored = region.centre is not None and seed % 4 == 1
    if name:
        found = lipcert.bound(graph, region=region, anchored=anchored, lower=False, tolerance=1e-6, **options)
        if found.certificate is not None:
            found.certificate.save(folder / f"{name}-{seed}.json")
    else:
        for path in sorted(folder.glob(f"*-{seed}.json")):
            lipcert.verify(path, graph)
            print(path.stem)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_certificates_on_regions_are_verified_under_other_kernels(tmp_path: Path) -> None:
    runs = {found: (kernel, 1) for kernel in reversed(KERNELS) if (found := loaded(kernel))}
    machines = {**runs, "two threads": ("", 2)}

    def start(kernel: str, threads: int, name: str) -> str:
        command = [sys.executable, "-c", REGIONAL, str(tmp_path), name]
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
        settings = {**environment(kernel, threads), "PYTHONPATH": paths}
        done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, (kernel, threads, done.stderr[-3000:])
        return done.stdout

    for number, (kernel, threads) in enumerate(machines.values()):
        start(kernel, threads, f"machine{number}")
    written = {path.stem for path in tmp_path.glob("*.json")}
    assert len(written) >= 8 * len(machines)
    for kernel, threads in machines.values():
        assert set(start(kernel, threads, "").split()) == written
