"""The pages of the documentation and a report in Chromium, at the widths of a desk and of a telephone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

import lipcert
from lipcert.report.html import save_report

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / ".cache" / "screenshots"
PROBE = Path(__file__).with_name("probe.html")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def chromium(*arguments: str) -> str:
    """What the browser prints."""
    result = subprocess.run([str(CHROMIUM), *OPTIONS, *arguments], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return result.stdout


def assert_fit(pages: list[Path], width: int, folder: Path) -> None:
    """Nothing of the pages sticks out; a screenshot of each is kept."""
    query = f"width={width}&pages={','.join(page.as_uri() for page in pages)}"
    probe = shutil.copy(PROBE, folder / "probe.html")
    text = chromium("--virtual-time-budget=100000", "--dump-dom", f"{Path(probe).as_uri()}?{query}")
    found = re.search(r'<pre id="seen">(.*?)</pre>', text, re.DOTALL)
    assert found
    assert found[1], "the browser was not done in time"
    seen = json.loads(unescape(found[1]))
    assert len(seen) == len(pages)
    for page in seen:
        # a scroll bar takes a few pixels of the width
        assert width - 20 <= page["client"] <= width, page
        assert page["scroll"] <= page["client"], page
        assert page["out"] == [], page
    SHOTS.mkdir(parents=True, exist_ok=True)
    for page in pages:
        name = page.stem if page.stem != "index" else page.parent.name
        shot = SHOTS / f"{name}-{width}.png"
        # windows have 500 pixels at least, frames do not
        frame = folder / "frame.html"
        frame.write_text(
            f'<body style="margin:0"><iframe src="{page.as_uri()}" width={width} height=2000 frameborder=0>'
        )
        chromium(f"--window-size={max(width, 500)},2000", f"--screenshot={shot}", frame.as_uri())
        assert shot.stat().st_size > 10_000


@pytest.mark.parametrize("width", [1280, 400])
def test_report(width: int, tmp_path: Path) -> None:
    graph = lipcert.load(ROOT / "models" / "digits_maxmin.onnx")
    bound = lipcert.bound(graph, outputs="0,3-5", lower_seconds=0.2)
    save_report(bound, graph, tmp_path / "report.html")
    assert_fit([tmp_path / "report.html"], width, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_documentation(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("latex2mathml")
    site = tmp_path / "site"
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=ROOT, capture_output=True, text=True, timeout=600, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    pages = sorted(site.rglob("index.html"))
    assert len(pages) > 20
    for width in (1280, 400):
        assert_fit(pages, width, tmp_path)
