"""Only the command line and the reports print; `make lint` checks the directions of imports (import-linter)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "lipcert"
SILENT = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in ("cli", "__main__.py", "report")
]


def writes(source: str) -> list[str]:
    """The places where a module prints or writes to a standard stream; to flush one writes nothing of its own."""
    found = []
    tree = ast.parse(source)
    flushed = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr == "flush"}
    for node in ast.walk(tree):
        if id(node) in flushed:
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo", "warnings.warn"):
            found.append(f"line {node.lineno}: {ast.unparse(node.func)}")
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def test_the_search_finds_what_it_looks_for() -> None:
    assert writes("print(1)\nsys.stderr.write('')\nfingerprint(2)") == ["line 1: print", "line 2: sys.stderr"]
    assert writes("sys.stdout.flush()\nsys.stdout.writelines(x.flush())") == ["line 2: sys.stdout"]


@pytest.mark.parametrize("path", SILENT, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_and_the_reports_print(path: Path) -> None:
    assert writes(path.read_text()) == []
