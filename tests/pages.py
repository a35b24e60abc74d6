"""The command lines and code blocks of a Markdown page."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\d.]*(e[-+]?\d+)?( min \d+)?")


@dataclass(frozen=True)
class Step:
    """A command with the output that the page shows ('' where it shows none), or a block of Python."""

    language: str
    text: str
    output: str = ""

    @property
    def runs(self) -> bool:
        """Whether this is Python or lipcert; installing and testing are not run from within a test."""
        return self.language == "python" or self.text.startswith("lipcert ")


def steps(page: str) -> list[Step]:
    """The steps of a page, in order."""
    found = []
    for language, body in BLOCK.findall((ROOT / page).read_text()):
        if language == "python":
            found.append(Step(language, body))
            continue
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            found.append(Step(language, line.split("  #")[0].strip(), output.strip()))
    return found


def run(step: Step, folder: Path, python: Sequence[str]) -> None:
    """Run a step in a folder; the output that the page shows agrees but for its numbers."""
    code = ["-c", step.text] if step.language == "python" else ["-m", *shlex.split(step.text)]
    result = subprocess.run([*python, *code], cwd=folder, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, f"{step.text}\n{result.stderr}"
    if step.output:
        assert shape(result.stdout) == shape(step.output)


def shape(output: str) -> list[str]:
    """The lines of an output with their numbers left out and runs of blanks made one."""
    return [re.sub(r"\s+", " ", NUMBER.sub("#", line)).strip() for line in output.strip().splitlines()]
