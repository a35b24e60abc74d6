"""The generated parts of the documentation are up to date, and the site builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lipcert
import lipcert.errors

ROOT = Path(__file__).resolve().parents[1]


def test_generated_parts_are_up_to_date() -> None:
    result = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr


def test_every_public_name_is_in_the_table_of_the_api() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    names = [name for name in lipcert.__all__ if name not in lipcert.errors.__dict__ and name != "__version__"]
    assert [name for name in names if f"`{name}`" not in text] == []


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    for package in ("mkdocs", "mkdocstrings", "mkdocs_jupyter", "latex2mathml"):
        pytest.importorskip(package)
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, timeout=600, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    for page in ("index.html", "theory/index.html", "api/index.html", "notebooks/01_quick_start/index.html"):
        assert (tmp_path / "site" / page).stat().st_size > 5000
    for page in ("theory", "proof"):
        text = (tmp_path / "site" / page / "index.html").read_text()
        formulas = re.findall(r"<math.*?</math>", text, re.DOTALL)
        assert len(formulas) > 100
        # what is no command of TeX would be left as it is
        assert not [formula for formula in formulas if "\\" in re.sub("<[^>]*>", "", formula)]
        assert "arithmatex" not in text
