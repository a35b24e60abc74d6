"""ai.onnx.ml: scalers and linear models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from lipcert.bounds.api import bound
from lipcert.errors import UnsupportedModel
from lipcert.graph.evaluate import forward
from lipcert.importer import load
from tests.importer.conftest import build_model

W = np.array([[1.0, 2.0, -0.5], [0.5, -1.0, 2.0], [0.0, 1.0, 1.0]])
LABELS = {"classlabels_ints": [0, 1, 2]}


def classical(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, domain="ai.onnx.ml", name=op.lower(), **attributes)


def written(folder: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any] | None = None) -> Path:
    model = build_model(nodes, constants or {}, ["batch", 3], opset=15)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


def scores(post: str, rows: np.ndarray = W, **attributes: Any) -> onnx.NodeProto:
    given: dict[str, Any] = LABELS | attributes
    return classical(
        "LinearClassifier", ["x"], ["label", "s"], coefficients=rows.ravel().tolist(),
        intercepts=[0.5] * len(rows), post_transform=post, **given,
    )  # fmt: skip


def test_scaler_and_regressor(tmp_path: Path) -> None:
    nodes = [
        classical("Scaler", ["x"], ["z"], offset=[1.0, 2.0, 3.0], scale=[0.5, 2.0, 4.0]),
        classical(
            "LinearRegressor", ["z"], ["y"], coefficients=W[:2].ravel().tolist(), intercepts=[1.0, -1.0], targets=2
        ),
    ]
    graph = load(written(tmp_path, nodes))
    x = np.array([1.0, 3.0, 4.0])
    np.testing.assert_array_equal(forward(graph, x), W[:2] @ ((x - [1, 2, 3]) * [0.5, 2, 4]) + [1, -1])
    one = load(written(tmp_path, [classical("Scaler", ["x"], ["y"], offset=[1.0], scale=[0.5])]))
    np.testing.assert_array_equal(forward(one, x), (x - 1.0) * 0.5)


@pytest.mark.parametrize("post", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_classifier(post: str, tmp_path: Path) -> None:
    graph = load(written(tmp_path, [scores(post), helper.make_node("Identity", ["s"], ["y"])]))
    z = W @ np.ones(3) + 0.5
    expected = {"NONE": z, "SOFTMAX": np.exp(z) / np.exp(z).sum(), "LOGISTIC": 1 / (1 + np.exp(-z))}[post]
    np.testing.assert_allclose(forward(graph, np.ones(3)), expected, rtol=1e-14)


def test_binary_classifiers(tmp_path: Path) -> None:
    normalised = classical("Normalizer", ["s"], ["y"], norm="L1")
    two = scores("LOGISTIC", np.array([[-1.0, -2.0, 0.5], [1.0, 2.0, -0.5]]), classlabels_ints=[0, 1])
    two.attribute.remove(next(a for a in two.attribute if a.name == "intercepts"))
    two.attribute.append(helper.make_attribute("intercepts", [-0.25, 0.25]))
    one = scores("LOGISTIC", W[:1], classlabels_ints=[0, 1])
    exact = np.linalg.norm(W[0]) * np.sqrt(2.0) / 4.0
    for node in (one, two):
        found = bound(load(written(tmp_path, [node, normalised])))
        assert exact <= found.upper < exact * (1.0 + 1e-6)
    for post in ("NONE", "SOFTMAX"):
        single = scores(post, W[:1], classlabels_ints=[0, 1])
        with pytest.raises(UnsupportedModel, match="disagree on the scores of a single row"):
            load(written(tmp_path, [single, helper.make_node("Identity", ["s"], ["y"])]))


@pytest.mark.parametrize("post", ["SOFTMAX", "LOGISTIC"])
def test_normalised_probabilities(post: str, tmp_path: Path) -> None:
    nodes = [scores(post), classical("Normalizer", ["s"], ["y"], norm="L1")]
    graph = load(written(tmp_path, nodes))
    z = W @ np.ones(3) + 0.5
    p = np.exp(z) if post == "SOFTMAX" else 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(forward(graph, np.ones(3)), p / p.sum(), rtol=1e-13)
    assert bound(graph, lower=False).upper <= 0.5 * np.linalg.norm(W, 2) * 1.001


def test_columns_and_missing_values(tmp_path: Path) -> None:
    nodes = [
        classical("Imputer", ["x"], ["i"], imputed_value_floats=[0.0], replaced_value_float=float("nan")),
        classical("ArrayFeatureExtractor", ["i", "columns"], ["y"]),
    ]
    graph = load(written(tmp_path, nodes, {"columns": np.array([2, 0])}))
    np.testing.assert_array_equal(forward(graph, np.array([1.0, 2.0, 3.0])), [3.0, 1.0])


@pytest.mark.parametrize(
    ("nodes", "match"),
    [
        ([scores("NONE"), classical("ZipMap", ["s"], ["y"], classlabels_int64s=[0, 1, 2])], r"--to 's'.*zipmap"),
        ([classical("Normalizer", ["x"], ["y"], norm="L2")], "jumps where all its inputs pass through zero"),
        ([classical("Binarizer", ["x"], ["y"])], "step function"),
        ([scores("PROBIT"), helper.make_node("Identity", ["s"], ["y"])], "PROBIT"),
        ([scores("NONE"), helper.make_node("Cast", ["label"], ["y"], to=1)], "jump"),
        ([classical("SVMRegressor", ["x"], ["y"])], r"ai\.onnx\.ml\.SVMRegressor is not supported"),
        ([classical("Imputer", ["x"], ["y"], imputed_value_floats=[0.0], replaced_value_float=1.0)], "a jump"),
    ],
    ids=["zipmap", "normalizer", "binarizer", "probit", "labels", "svm", "imputer"],
)
def test_refused(nodes: list[onnx.NodeProto], match: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=match) as caught:
        load(written(tmp_path, nodes))
    assert "not part of ONNX" not in str(caught.value)
