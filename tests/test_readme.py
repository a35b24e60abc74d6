"""Every command line and code block of the README and of the tutorials runs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "models/README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md")))]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\d.]*(e[-+]?\d+)?( min \d+)?")


@dataclass(frozen=True)
class Step:
    """A command with the output that the page shows ('' where it shows none), or a block of Python."""

    language: str
    text: str
    output: str = ""


def steps(page: str) -> list[Step]:
    found = []
    for language, body in BLOCK.findall((ROOT / page).read_text()):
        if language == "python":
            found.append(Step(language, body))
            continue
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            found.append(Step(language, line.split("  #")[0].strip(), output.strip()))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if steps(page)])
def test_page_runs(page: str, folder: Path) -> None:
    """In order, in one folder that holds models/; shown output agrees but for its numbers."""
    for step in steps(page):
        if step.language == "python":
            if "import torch" in step.text and find_spec("torch") is None:
                # it compiles; PyTorch itself is an extra
                compile(step.text, page, "exec")
                continue
            command = [sys.executable, "-c", step.text]
        elif step.text.startswith("lipcert "):
            command = [sys.executable, "-m", *shlex.split(step.text)]
        else:
            assert_known(step.text)
            continue
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, f"{step.text}\n{result.stderr}"
        if step.output:
            assert shape(result.stdout) == shape(step.output)


def shape(output: str) -> list[str]:
    """The lines of an output with their numbers left out and runs of blanks made one."""
    return [re.sub(r"\s+", " ", NUMBER.sub("#", line)).strip() for line in output.strip().splitlines()]


def assert_known(command: str) -> None:
    """Installing and testing are not run from within a test: the make target or extra must be there."""
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


def test_options_in_tables_exist() -> None:
    """The commands of the README's table of wishes know the options that they name."""
    shown = subprocess.run([sys.executable, "-m", "lipcert", "bound", "--help"], capture_output=True, text=True).stdout
    named = set(
        re.findall(r"(--[a-z-]+)", "".join(re.findall(r"`lipcert bound[^`]*`", (ROOT / "README.md").read_text())))
    )
    assert named
    assert not [option for option in named if option not in shown]
