"""The recipe of docs/implicit.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lipcert.graph.nodes import FixedPoint
from lipcert.importer import load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "implicit.md"


@pytest.mark.slow
def test_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(PAGE), "exec"), {})
    graph = load(tmp_path / "deq.onnx")
    assert [node.size for _, node in graph.walk() if isinstance(node, FixedPoint)] == [8]
    assert "inputs" in capsys.readouterr().out
