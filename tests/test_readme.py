"""Every command line and code block of the README and of the documentation runs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from pages import ROOT, run, steps

EXTRAS = ("torch", "skl2onnx", "keras", "jax2onnx")
PAGES = ["README.md", "models/README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md")))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return tmp_path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in PAGES if steps(page)])
def test_page_runs(page: str, folder: Path) -> None:
    """In order, in one folder that holds models/."""
    for step in steps(page):
        if not step.runs:
            assert_known(step.text)
        elif any(re.search(rf"(import|from) {extra}\b", step.text) and find_spec(extra) is None for extra in EXTRAS):
            # it compiles; what it imports is an extra
            compile(step.text, page, "exec")
        else:
            run(step, folder, [sys.executable])


def assert_known(command: str) -> None:
    """The make target or extra of a command that is not run from within a test is there."""
    words = shlex.split(command)
    if words[0] == "make":
        result = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    elif words[0] == "pip":
        extras = re.findall(r"\[(\w+)\]", command)
        assert all(f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text() for extra in extras)
    else:
        assert words[0] in ("git", "cd", "eval", "python3", "."), f"{command!r} is not tested"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            if not target.startswith(("http:", "https:")):
                assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_options_that_pages_name_exist() -> None:
    """Every option that a page writes behind a command, in a block or in a sentence, is one of that command."""
    help_of: dict[str, str] = {}
    named = 0
    for page in PAGES:
        for command, options in re.findall(r"lipcert (\w+)((?: [^`\n]*)?)", (ROOT / page).read_text()):
            if command in ("bound", "verify", "inspect", "methods", "robustness", "compare"):
                if command not in help_of:
                    line = [sys.executable, "-m", "lipcert", command, "--help"]
                    help_of[command] = subprocess.run(line, capture_output=True, text=True, check=True).stdout
                for option in re.findall(r"(--[a-z][a-z-]+)", options):
                    assert option in help_of[command], f"{page}: lipcert {command} {option}"
                    named += 1
    assert named > 20
