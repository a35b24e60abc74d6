"""The files that name the version say the same."""

from __future__ import annotations

import re
from pathlib import Path

import lipcert

ROOT = Path(__file__).resolve().parents[1]


def first(pattern: str, name: str) -> str:
    found = re.search(pattern, (ROOT / name).read_text(), re.MULTILINE)
    assert found, f"{name}: {pattern}"
    return found[1]


def test_the_version_is_the_same_everywhere() -> None:
    assert first(r"^version: (\S+)$", "CITATION.cff") == lipcert.__version__
    assert first(r"version = \{(\S+)\}", "README.md") == lipcert.__version__
    assert first(r"^## \[(\d\S*)\] - ", "CHANGELOG.md") == lipcert.__version__


def test_the_day_of_the_release_is_the_same_everywhere() -> None:
    day = first(r'^date-released: "(\S+)"$', "CITATION.cff")
    assert first(r"^## \[\d\S*\] - (\S+)$", "CHANGELOG.md") == day
    assert first(r"year    = \{(\d+)\}", "README.md") == day[:4]
