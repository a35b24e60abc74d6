"""The networks of models/: every record has its file, its row in the table, its score; one command makes them again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lipcert

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"
FILES = sorted(MODELS.glob("*.onnx"))
NAMES = re.findall(r'Network\("(\w+)"', (MODELS / "networks.py").read_text())


def rows(readme: Path) -> dict[str, list[str]]:
    """The cells of the table of models/README.md by the file they are about."""
    lines = [line for line in readme.read_text().splitlines() if ".onnx |" in line]
    return {cells[0].removesuffix(".onnx"): cells for cells in ([c.strip() for c in x[1:-1].split("|")] for x in lines)}


def test_records_files_rows_and_scores_agree() -> None:
    assert [file.stem for file in FILES] == sorted(NAMES)
    assert list(rows(MODELS / "README.md")) == NAMES
    scores = json.loads((MODELS / "scores.json").read_text())
    assert {name: cells[2] for name, cells in rows(MODELS / "README.md").items()} == scores


def test_files_are_small_and_name_no_machine() -> None:
    assert sum(file.stat().st_size for file in FILES) <= 10e6
    assert not [file.name for file in FILES if b"/root/" in file.read_bytes() or b".py" in file.read_bytes()]


@pytest.mark.parametrize("name", ["digits_householder", "diabetes_softplus", "oscillator_controller"])
def test_the_table_holds_what_lipcert_proves(name: str) -> None:
    bound = lipcert.bound(MODELS / f"{name}.onnx", lower=False)
    upper, lower, product = (float(cell) for cell in rows(MODELS / "README.md")[name][3:])
    assert bound.product is not None
    assert upper == pytest.approx(bound.upper, rel=2e-4)
    assert product == pytest.approx(bound.product, rel=2e-4)
    assert lower <= bound.upper <= bound.product


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_command_makes_them_again(tmp_path: Path) -> None:
    """In a copy: one network trained anew scores as before, and the table comes out with its bound."""
    for package in ("torch", "onnxscript", "sklearn", "mlxtend"):
        pytest.importorskip(package)
    shutil.copytree(MODELS, tmp_path / "models", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    copy = tmp_path / "models"
    (copy / "diabetes_softplus.onnx").unlink()
    command = [sys.executable, "-m", "models", "diabetes_softplus"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    old, new = rows(MODELS / "README.md"), rows(copy / "README.md")
    assert list(new) == list(old)
    assert new["diabetes_softplus"][2].startswith("R² = 0.3")
    assert float(new["diabetes_softplus"][3]) == pytest.approx(float(old["diabetes_softplus"][3]), rel=0.05)
    assert (tmp_path / "docs" / "bounds.svg").read_text().count("<circle") > 3 * 10
