"""Fixtures that all tests share."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

from lipcert.bounds import inside, lower_bound
from lipcert.bounds.effort import Effort
from lipcert.sdp.solvers import davidson, scaling

# the same examples in every run
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")

# the scripts that made the fixtures need PyTorch
collect_ignore_glob = ["fixtures/*"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of networks from others; a user's clone does not have it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not there")
    return folder


@pytest.fixture(autouse=True)
def processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches and the matrix-free solver go by the time of this thread: beside other work they get as far as without."""
    clock = SimpleNamespace(perf_counter=time.thread_time)
    for module in (inside, scaling, davidson):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(lower_bound, "Effort", functools.partial(Effort, clock=time.thread_time))
