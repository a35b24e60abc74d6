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
FAMILIES = re.findall(r'Network\("(\w+)"', (MODELS / "families.py").read_text())
FAMILY_FILES = sorted((MODELS / "families").glob("*.onnx"))


def rows(readme: Path) -> dict[str, list[str]]:
    """The cells of the tables of models/README.md by the network they are about."""
    lines = [line for line in readme.read_text().splitlines() if ".onnx |" in line]
    return {Path(cells[0]).stem: cells for cells in ([c.strip() for c in x[1:-1].split(" | ")] for x in lines)}


def test_records_files_rows_and_scores_agree() -> None:
    assert [file.stem for file in FILES] == sorted(NAMES)
    assert [file.stem for file in FAMILY_FILES] == sorted(FAMILIES)
    assert list(rows(MODELS / "README.md")) == NAMES + FAMILIES
    scores = json.loads((MODELS / "scores.json").read_text())
    assert {name: cells[2] for name, cells in rows(MODELS / "README.md").items()} == scores


def test_files_are_small_and_name_no_machine() -> None:
    files = FILES + FAMILY_FILES
    assert sum(file.stat().st_size for file in files) <= 10e6
    assert not [file.name for file in files if b"/root/" in file.read_bytes() or b".py" in file.read_bytes()]


@pytest.mark.parametrize("name", ["digits_householder", "diabetes_softplus", "oscillator_controller"])
def test_the_table_holds_what_lipcert_proves(name: str) -> None:
    bound = lipcert.bound(MODELS / f"{name}.onnx", lower=False)
    upper, lower, product = (float(cell) for cell in rows(MODELS / "README.md")[name][3:])
    assert bound.product is not None
    assert upper == pytest.approx(bound.upper, rel=2e-4)
    assert product == pytest.approx(bound.product, rel=2e-4)
    assert lower <= bound.upper <= bound.product


def check_family(name: str) -> None:
    """The table holds what is proven on its region, and what is promised holds."""
    for package in ("torch", "sklearn", "mlxtend"):
        pytest.importorskip(package)
    from models.families import FAMILIES as RECORDS

    network = next(network for network in RECORDS if network.name == name)
    region = None if network.region is None else network.region()
    bound = lipcert.bound(MODELS / "families" / f"{name}.onnx", region=region, lower=False)
    upper, lower, product = (float(cell) for cell in rows(MODELS / "README.md")[name][4:7])
    assert bound.product is not None
    assert lower <= bound.upper <= bound.product
    assert upper == pytest.approx(bound.upper, rel=1e-2)
    assert product == pytest.approx(bound.product, rel=2e-4)
    if network.promised is not None:
        # weights are stored in float32
        assert bound.upper <= network.promised * (1 + 1e-5)


@pytest.mark.parametrize("name", ["convex_recurrent", "ldl_residual", "critic"])
def test_some_families_hold_what_they_promise(name: str) -> None:
    check_family(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_bounded_as_the_table_says(name: str) -> None:
    check_family(name)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_command_makes_them_again(tmp_path: Path) -> None:
    """In a copy: one network trained anew scores as before, and the table comes out with its bound."""
    for package in ("torch", "onnxscript", "sklearn", "mlxtend"):
        pytest.importorskip(package)
    shutil.copytree(MODELS, tmp_path / "models", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    copy = tmp_path / "models"
    (copy / "diabetes_softplus.onnx").unlink()
    command = [sys.executable, "-m", "models", "diabetes_softplus"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stderr
    old, new = rows(MODELS / "README.md"), rows(copy / "README.md")
    assert list(new) == list(old)
    assert new["diabetes_softplus"][2].startswith("R² = 0.3")
    assert float(new["diabetes_softplus"][3]) == pytest.approx(float(old["diabetes_softplus"][3]), rel=0.05)
    assert (tmp_path / "docs" / "bounds.svg").read_text().count("<circle") > 3 * 10
