"""What `python -m build` makes installs into an empty environment, and runs the quick start there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from pages import ROOT, run, steps

import lipcert

NAME = f"lipcert-{lipcert.__version__}"
LOCAL = re.compile(rb"/work/|/root/|/home/|file://|localhost")


def quietly(*command: object) -> str:
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel built from it, of a copy of the sources."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("packaging")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder / "reached", "setuptools>=77"]
    if subprocess.run(command, capture_output=True, timeout=600).returncode != 0:
        pytest.skip("the package registry cannot be reached")
    junk = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "site")
    shutil.copytree(ROOT, folder / "sources", ignore=junk)
    quietly(sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "sources")
    return folder / "dist"


@pytest.mark.slow
def test_wheel_holds_the_package_alone(dist: Path) -> None:
    with zipfile.ZipFile(dist / f"{NAME}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / "lipcert").rglob("*.py")}
        assert {name for name in names if ".dist-info/" not in name} == modules | {"lipcert/py.typed"}
        assert f"{NAME}.dist-info/licenses/LICENSE" in names
        metadata = wheel.read(f"{NAME}.dist-info/METADATA")
        assert b"License-Expression: Apache-2.0" in metadata
        assert not [name for name in names if LOCAL.search(wheel.read(name))]


@pytest.mark.slow
def test_sdist_holds_what_the_tests_need(dist: Path) -> None:
    with tarfile.open(dist / f"{NAME}.tar.gz") as sdist:
        names = {name.removeprefix(f"{NAME}/") for name in sdist.getnames()}
    for wanted in ("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "Makefile", "mkdocs.yml", "docs/theory.md",
                   "models/digits_relu.onnx", "tests/test_packaging.py", "tests/conftest.py"):  # fmt: skip
        assert wanted in names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quick_start_in_an_empty_environment(dist: Path, tmp_path: Path) -> None:
    quietly(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    quietly(python, "-I", "-m", "pip", "install", "--quiet", dist / f"{NAME}-py3-none-any.whl")
    quietly(python, "-I", "-m", "pip", "check")
    assert quietly(tmp_path / "venv" / "bin" / "lipcert", "--version") == f"lipcert {lipcert.__version__}\n"
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    ran = [step for step in steps("docs/quickstart.md") if step.runs]
    for step in ran:
        run(step, tmp_path, [str(python), "-I"])
    assert len(ran) > 4
    missing = subprocess.run(
        [python, "-I", "-m", "lipcert", "bound", "models/digits_relu.onnx", "--solver", "clarabel"],
        cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert (missing.returncode, missing.stdout.count("upper bound")) == (2, 0)
    assert "lipcert[solvers]" in missing.stderr
