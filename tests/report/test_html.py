"""The page about a bound: complete, self-contained, escaped, and as a browser shows it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lipcert
from lipcert.bounds.branch.tree import STAGE
from lipcert.certificates.certificate import Certificate
from lipcert.graph import build as nn
from lipcert.graph.nodes import Graph
from lipcert.report import text
from lipcert.report.html import page, save_report
from lipcert.report.text import tree_of
from lipcert.sdp.outcome import Progress

MODELS = Path(__file__).resolve().parents[2] / "models"
DRIVER = Path(__file__).with_name("browser.py")
EVIL = "<script>alert(1)</script><img src=x onerror='alert(2)'>\"&\u202e\x07"


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    VOID = ("meta", "br", "img", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def maxmin() -> tuple[lipcert.Bound, Graph]:
    graph = lipcert.load(MODELS / "digits_maxmin.onnx")
    return lipcert.bound(graph, lower_seconds=0.3).named("digits_maxmin.onnx", 64 * "0"), graph


def test_the_page_holds_what_the_bound_holds(maxmin: tuple[lipcert.Bound, Graph]) -> None:
    bound, graph = maxmin
    reader = Reader(page(bound, graph))
    for words in (
        "‖f(x) − f(x′)‖₂ ≤ 42.6912 · ‖x − x′‖₂",
        "norm product 52.2363",
        "48 MaxMin pairs",
        "optimal",
        "neuron",
    ):
        assert words in reader.text
    headings = [
        word for word in reader.words if word in ("Summary", "Bounds", "Convergence", "Layer by layer", "Proof")
    ]
    assert headings == ["Summary", "Bounds", "Convergence", "Layer by layer", "Proof"]
    figures = [attributes for tag, attributes in reader.tags if tag == "svg"]
    assert len(figures) == 5
    identifiers = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    for figure in figures:
        assert figure["role"] == "img"
        assert set(str(figure["aria-labelledby"]).split()) <= set(identifiers)


def test_it_needs_nothing_from_elsewhere(maxmin: tuple[lipcert.Bound, Graph]) -> None:
    text = page(*maxmin)
    reader = Reader(text)
    assert "http:" not in text
    assert "https:" not in text
    assert not {tag for tag, _ in reader.tags} & {"script", "link", "img", "iframe", "object"}
    links = [attributes["href"] for _, attributes in reader.tags if "href" in attributes]
    assert all(link and link.startswith("data:") for link in links)
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on") or name == "src"]


def test_the_certificate_in_it_verifies(maxmin: tuple[lipcert.Bound, Graph]) -> None:
    bound, graph = maxmin
    (link,) = re.findall(r'href="data:application/json;base64,([^"]+)"', page(bound, graph))
    certificate = Certificate.from_json(base64.b64decode(link).decode())
    assert lipcert.verify(certificate, graph).value == bound.upper


def test_strings_of_the_model_stay_text(tmp_path: Path) -> None:
    graph = nn.sequential(nn.linear([[3.0, 4.0], [1.0, 1.0]]), nn.relu(), nn.linear([[2.0, 1.0], [0.0, 1.0]]))
    graph = replace(
        graph,
        nodes=tuple(replace(node, name=EVIL) for node in graph.nodes),
        idealisations=(EVIL,),
        source=EVIL,
    )
    bound = replace(lipcert.bound(graph, outputs="each"), notes=(EVIL,), model=f"{EVIL}.onnx", sha256="0")
    text = page(bound, graph, certificate=EVIL)
    reader = Reader(text)
    assert not {tag for tag, _ in reader.tags} & {"script", "img"}
    assert "\u202e" not in text
    assert "\x07" not in text
    assert reader.text.count("<script>alert(1)") >= 4


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.sequential(nn.linear([[3.0, 4.0]])),
        lambda: nn.sequential(nn.linear([[0.0]])),
        lambda: nn.sequential(nn.fixed_point([[0.2]], [[1.0]], None, nn.tanh()), nn.linear([[1.0]])),
        lambda: nn.sequential(nn.group_sort(3), nn.relu(), inputs=3),
    ],
)
@pytest.mark.parametrize("options", [{}, {"norm": "inf", "output_norm": 1}, {"outputs": "each"}, {"method": "layer"}])
def test_every_kind_of_bound_has_a_page(build: Callable[[], Graph], options: dict[str, Any]) -> None:
    graph = build()
    bound = lipcert.bound(graph, lower_seconds=0.05, **options)
    for shown in (bound, replace(bound, lower=None), replace(bound, certificate=None, trace=(), product=None)):
        assert "Proof" in Reader(page(shown, graph)).words


def test_each_program_has_a_line_of_its_own() -> None:
    graph = nn.sequential(nn.linear([[3.0, 4.0], [1.0, 1.0]]), nn.relu(), nn.linear([[2.0, 1.0], [0.0, 1.0]]))
    trace = tuple(Progress("search", k, 9.0 - k, 10.0**-k, 0.1 * k) for k in (0, 1, 2, 0, 1, 2))
    text = page(replace(lipcert.bound(graph, outputs="each", lower=False), trace=trace), graph)
    lines = re.findall(r'<polyline points="([^"]+)"', text)
    assert [len(line.split()) for line in lines] == [3, 3, 3, 3]
    assert "2 programs in the order of the legend" in text
    assert re.findall(r'<polyline points="[^"]+" class="line ours (run.)"', text) == ["run0", "run1"] * 2
    assert ">output 0<" in text
    assert ">output 1<" in text


def test_what_was_proven_on_the_way_is_drawn_as_stairs() -> None:
    graph = nn.sequential(nn.linear([[3.0, 4.0], [1.0, 1.0]]), nn.relu(), nn.linear([[2.0, 1.0], [0.0, 1.0]]))
    found = lipcert.bound(graph, lower=False)
    assert "proven by then" not in page(found, graph)
    values = ((None, 30.0), (20.0, 30.0), (19.0, 21.0), (18.0, 21.0), (17.0, 17.5))
    trace = tuple(
        Progress("search", k, bound, seconds=float(k), proven=value) for k, (bound, value) in enumerate(values)
    )
    text = page(replace(found, trace=trace), graph)
    assert "proven by then" in text
    solver, stairs = (
        [tuple(map(float, point.split(","))) for point in line.split()]
        for line in re.findall(r'<polyline points="([^"]+)"', text)
    )
    assert len(solver) == 4
    # two corners a step down, the start and the end
    assert len(stairs) == 6
    assert [y for _, y in stairs] == sorted(y for _, y in stairs)
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(stairs))


def test_the_file_is_replaced_as_a_whole(maxmin: tuple[lipcert.Bound, Graph], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    save_report(*maxmin, path)
    written = path.read_text(encoding="utf-8")
    day = re.search(rf"by lipcert {re.escape(lipcert.__version__)} on (\d{{4}}-\d\d-\d\d)\.", written)
    assert day
    assert written == page(*maxmin, day=day[1])
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def browse(file: Path, folder: Path, scheme: str, width: int) -> dict[str, Any]:
    """What the browser saw; the test is skipped where there is none."""
    if find_spec("PySide6") is None or find_spec("PySide6.QtWebEngineWidgets") is None:
        pytest.skip("no browser: pip install 'lipcert[browser]'")
    arguments = [sys.executable, str(DRIVER), str(file), str(folder / f"{scheme}.png"), scheme, str(width)]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=600)
    if result.returncode and "ImportError" in result.stderr:
        pytest.skip(f"the browser lacks a system library: {result.stderr.strip().splitlines()[-1]}")
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_in_a_browser(maxmin: tuple[lipcert.Bound, Graph], tmp_path: Path, scheme: str, width: int) -> None:
    path = tmp_path / "report.html"
    save_report(*maxmin, path)
    seen = browse(path, tmp_path, scheme, width)
    assert seen["title"] == "Lipschitz bound of digits_maxmin.onnx"
    assert seen["messages"] == []
    assert seen["requests"] == []
    assert seen["scripts"] == 0
    assert "42.6912" in seen["text"]
    assert len(seen["figures"]) == 5
    for figure in seen["figures"]:
        assert figure["width"] > 0.85 * min(width, 900), figure
        assert figure["height"] > 0.1 * figure["width"], figure
        assert figure["inside"] == figure["parts"] > 5, figure
    assert seen["overflow"] == 0
    paper, ink = (sum(map(int, re.findall(r"\d+", seen[key])[:3])) for key in ("paper", "ink"))
    assert (paper > ink) == (scheme == "light")
    assert abs(paper - ink) > 500
    assert (tmp_path / f"{scheme}.png").stat().st_size > 20_000


def test_both_bounds_of_a_tree_are_drawn() -> None:
    rng = np.random.default_rng(0)
    layers = [nn.linear(rng.standard_normal((6, 3))), nn.relu(), nn.linear(rng.standard_normal((2, 6)))]
    network = nn.sequential(*layers)
    bound = lipcert.bound(network, region=lipcert.Box(-1.0, 1.0), branch=True, lower_seconds=0.1)
    steps = bound.branching
    assert bound.leaves > 1
    assert [step.proven for step in steps] == sorted((step.proven for step in steps), reverse=True)
    assert [step.below for step in steps] == sorted(step.below for step in steps)
    assert (steps[-1].proven, steps[-1].below) == (bound.upper, bound.lower)
    reader = Reader(page(bound, network))
    assert tree_of(bound).capitalize() in reader.text
    assert "Both bounds over time" in reader.text
    assert f"{bound.leaves} leaves" in text.bound(bound)
    assert "open gap" in text.bound(bound)
    # the solver's own convergence is another picture
    assert all(step.stage != STAGE for step in bound.trace if step not in steps)
