"""No error term of the proofs can be lost unnoticed: every mutant of the table fails its test."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from mutants import EXEMPT, TABLE

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lipcert"
# what an error term looks like
ROUNDING = r"gamma\(|UNIT|TINY|FLOOR|LEAST|_UP\b|nextafter|spacing|\b_?(up|down)\(|SQRT2|inflation\(|\*\*-"
ERRORS = r"|_ROOT\b|_outward|cholesky_room|_gram_error|norm_bound|\.rad\b|radi(us|i)\b|1e-9\)"
MUTANTS = [
    pytest.param(file, test, term, instead, id=f"{file}-{number}")
    for file, tests in TABLE.items()
    for number, (test, term, instead) in enumerate((t, *pair) for t, pairs in tests.items() for pair in pairs)
]


@pytest.mark.parametrize(("file", "test", "term", "instead"), MUTANTS)
def test_the_table_fits_the_package(file: str, test: str, term: str, instead: str) -> None:
    assert (PACKAGE / file).read_text(encoding="utf-8").count(term) == 1, f"{file}: {term!r}"
    path, _, name = test.partition("::")
    last = name.partition("[")[0].split("::")[-1]
    assert re.search(rf"\b(def|class) {last}\b", (ROOT / "tests" / path).read_text(encoding="utf-8")), test
    assert term != instead


@pytest.mark.parametrize("file", TABLE)
def test_every_line_with_an_error_term_is_in_the_table(file: str) -> None:
    text = (PACKAGE / file).read_text(encoding="utf-8")
    # radii are something else among the bounds
    looks = re.compile(ROUNDING + (ERRORS if file.startswith(("rounding", "certificates", "activations")) else ""))
    guarded = set()
    for pairs in TABLE[file].values():
        for term, _ in pairs:
            first = text[: text.index(term)].count("\n")
            guarded |= set(range(first, first + term.count("\n") + 1))
    documented = _documentation(text) | _functions(text, EXEMPT.get(file, {}))
    missing = [
        line.strip()
        for number, line in enumerate(text.splitlines())
        if looks.search(line.split("  #")[0])
        and number not in guarded | documented
        and not any(exempt in line for exempt in EXEMPT.get(file, {}))
    ]
    assert not missing, f"{file}: add a mutant for each of these lines, or say why it needs none"


def test_no_exemption_is_left_over() -> None:
    for file, reasons in EXEMPT.items():
        text = (PACKAGE / file).read_text(encoding="utf-8")
        assert all(part in text and reason for part, reason in reasons.items()), file


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", TABLE)
def test_no_mutant_survives(file: str, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.onnx", "*.npz")
    for part in ("lipcert", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    survivors = []
    source = (PACKAGE / file).read_text(encoding="utf-8")
    for test, pairs in TABLE[file].items():
        assert _passes(tmp_path, test), f"{test} fails without a mutant"
        for term, instead in pairs:
            (tmp_path / "lipcert" / file).write_text(source.replace(term, instead), encoding="utf-8")
            if _passes(tmp_path, test):
                survivors.append(f"{term!r} -> {instead!r}: {test} passes")
            (tmp_path / "lipcert" / file).write_text(source, encoding="utf-8")
    assert not survivors, "\n".join(survivors)


def _passes(folder: Path, test: str) -> bool:
    """Whether a test passes with the package in `folder`; an error of collection is no verdict."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{test}"]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode == 0


def _functions(text: str, names: Iterable[str]) -> set[int]:
    """The lines of the functions and methods among the names."""
    wanted = {name.removeprefix("def ") for name in names if name.startswith("def ")}
    found: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in wanted and node.end_lineno is not None:
            found |= set(range(node.lineno - 1, node.end_lineno))
    return found


def _documentation(text: str) -> set[int]:
    """The lines of docstrings, comments, imports and definitions."""
    lines = text.splitlines()
    found = {k for k, line in enumerate(lines) if re.match(r"\s*(#|from |import |def |class |@|\"\"\".*\"\"\"$)", line)}
    inside = False
    for k, line in enumerate(lines):
        marks = line.count('"""')
        if inside or marks:
            found.add(k)
        inside ^= marks % 2 == 1
    return found
