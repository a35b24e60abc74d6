"""What a prompt and a notebook show of a result."""

from __future__ import annotations

import re

import numpy as np
import pytest

import lipcert
from lipcert.graph import build as nn
from lipcert.graph.nodes import Graph
from lipcert.shown import Shown

NETWORK = nn.sequential(nn.linear([[3.0, 4.0], [0.0, 1.0]]), nn.relu(), nn.linear([[2.0, 0.0], [1.0, 1.0]]))


@pytest.fixture(scope="module")
def results() -> dict[str, Shown]:
    bound = lipcert.bound(NETWORK, lower_seconds=0.2)
    assert bound.certificate is not None
    assert bound.witness is not None
    each = lipcert.bound(NETWORK, outputs="pairs", lower=False)
    return {
        "Graph": NETWORK,
        "Bound": bound,
        "Bound of margins": each,
        "Certificate": bound.certificate,
        "LowerBound": bound.witness,
        "Comparison": lipcert.compare(NETWORK, methods="product, layer", lower=False),
        "Robustness": lipcert.robustness(NETWORK, np.eye(2), np.array([0, 0])),
    }


def test_a_few_lines(results: dict[str, Shown]) -> None:
    for name, result in results.items():
        lines = repr(result).splitlines()
        assert lines[0] == name.split()[0]
        assert 2 <= len(lines) <= 9
        assert max(map(len, lines)) <= 120


def test_tables(results: dict[str, Shown]) -> None:
    for result in results.values():
        table = result._repr_html_()
        assert table.startswith("<table>")
        assert table.count("<tr>") == len(result.facts())


def test_numbers_are_rounded_outward(results: dict[str, Shown]) -> None:
    bound = results["Bound"]
    assert isinstance(bound, lipcert.Bound)
    shown = dict(bound.facts())
    assert float(shown["upper bound"].split()[0]) >= bound.upper
    assert float(shown["lower bound"]) <= bound.lower


def test_text_cannot_become_markup() -> None:
    graph = Graph(NETWORK.nodes, NETWORK.inputs, NETWORK.output, source="<script>alert(1)</script>")
    assert "<script>" not in graph._repr_html_()


def test_methods_as_one_text(results: dict[str, Shown]) -> None:
    comparison = results["Comparison"]
    assert isinstance(comparison, lipcert.Comparison)
    assert [entry.method for entry in comparison.entries] == ["product", "layer"]
    with pytest.raises(lipcert.InvalidRequest, match="nuron"):
        lipcert.compare(NETWORK, methods="product,nuron")


def test_a_module_of_torch_is_no_file() -> None:
    torch = pytest.importorskip("torch")
    graph = lipcert.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), torch.zeros(1, 2))
    assert graph.source == "Sequential"
    with pytest.raises(lipcert.UnsupportedModel, match=r"^Sequential, node") as caught:
        lipcert.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Hardshrink()), torch.zeros(1, 2))
    assert not re.search(r"\.onnx", str(caught.value))


def test_the_chart_of_methods_is_sorted_with_the_best_marked(results: dict[str, Shown]) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    comparison = lipcert.compare(NETWORK, ["neuron", "product", "layer"], norm="inf", lower=False)
    ax = comparison.plot(Figure().subplots())
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == sorted(widths, reverse=True)
    texts = [text.get_text() for text in ax.texts]
    assert [k for k, text in enumerate(texts) if "smallest" in text] == [
        k for k, tick in enumerate(ax.get_yticklabels()) if tick.get_text() == comparison.best.method
    ]
