"""The notebooks run from start to end, and their stored outputs are those of a whole run that names no machine."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOCAL = re.compile(r"/work/|/tmp/|/root/|/home/|site-packages")


def code(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def ids(path: Path) -> str:
    return path.stem


def test_there_is_one_for_each_subject() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06", "07", "08", "09"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_stored_outputs_are_of_one_clean_run(path: Path) -> None:
    cells = code(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert [output for output in outputs if "image/png" in output.get("data", {})], "no picture"
    assert not LOCAL.search(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_runs_from_start_to_end(path: Path) -> None:
    """The assertions in the cells hold as well."""
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package)
    source = "".join(line for cell in code(path) for line in cell["source"])
    for package in re.findall(r"(?:import|from) (torch|sklearn|mlxtend|matplotlib)\b", source):
        if find_spec(package) is None:
            pytest.skip(f"the notebook needs {package}")
    from notebooks.run import execute

    execute(path)
