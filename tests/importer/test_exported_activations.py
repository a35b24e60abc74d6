"""Activations as PyTorch exports them, opset 13 to 20; `load` compares each with ONNX Runtime."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lipcert.errors import UnsupportedModel
from lipcert.graph.prepare import prepare
from lipcert.graph.summary import channels
from lipcert.importer import load

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "activations"


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.onnx")), ids=lambda path: path.stem)
def test_files_kept_as_fixtures(path):
    graph = load(path)
    assert channels(prepare(graph)) == {"maxmin": 4, "sort4": 10, "householder": 4}.get(path.stem.split("_")[0], 8)


@pytest.fixture(scope="module")
def modules():
    pytest.importorskip("torch")
    sys.path.insert(0, str(FIXTURES))
    import modules

    yield modules
    sys.path.remove(str(FIXTURES))


SOME, ALL = (13, 17, 20), tuple(range(13, 21))


def exported(modules, module, x, path, opset):
    """The graph of a module; None where the exporter itself cannot write it."""
    from torch.onnx.errors import OnnxExporterError

    try:
        modules.export(module, x, path, opset)
    except (OnnxExporterError, RuntimeError):
        return None
    return load(path)


def check(modules, folder, opset):
    import torch

    flat, image, path = torch.zeros(1, 4), torch.zeros(1, 1, 7, 7), folder / "model.onnx"
    missing = []
    for name, function in modules.ACTIVATIONS.items():
        graph = exported(modules, modules.Apply(function), flat, path, opset)
        missing += [name] if graph is None else []
        assert graph is None or channels(prepare(graph)) <= 8, name
    for name, (function, count) in modules.GROUPS.items():
        graph = exported(modules, modules.Apply(function), flat, path, opset)
        missing += [name] if graph is None else []
        assert graph is None or channels(prepare(graph)) == count, name
    for name, function in modules.IMAGES.items():
        graph = exported(modules, modules.Image(function), image, path, opset)
        missing += [name] if graph is None else []
        if graph is not None and name in ("maxmin_chunk", "householder_switch"):
            assert channels(prepare(graph)) == 50, name
    for name, function in modules.REFUSED.items():
        reason = ""
        try:
            graph = exported(modules, modules.Apply(function), flat, path, opset)
        except UnsupportedModel as error:
            reason = str(error)
        missing += [] if reason else [name]
        assert any(word in reason for word in ("jump", "slope", "division", "product")) or graph is None, name
    assert len(missing) <= 4, missing


@pytest.mark.parametrize("opset", SOME)
def test_modules_exported_by_torch(modules, tmp_path, opset):
    check(modules, tmp_path, opset)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [k for k in ALL if k not in SOME])
def test_modules_exported_by_torch_for_every_opset(modules, tmp_path, opset):
    check(modules, tmp_path, opset)
