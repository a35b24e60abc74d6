"""Fixtures that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

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
