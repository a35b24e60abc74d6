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


def check(modules, folder, opsets, dynamo=False):
    import torch

    flat, image = torch.zeros(1, 4), torch.zeros(1, 1, 7, 7)
    for opset in opsets:
        path = folder / "model.onnx"
        for name, function in modules.ACTIVATIONS.items():
            modules.export(modules.Apply(function), flat, path, opset, dynamo)
            # the legacy exporter writes softshrink as two switches, which stay two ReLUs
            most = 16 if name == "softshrink" else 8
            assert channels(prepare(load(path))) <= most, (name, opset)
        for name, (function, count) in modules.GROUPS.items():
            modules.export(modules.Apply(function), flat, path, opset, dynamo)
            assert channels(prepare(load(path))) == count, (name, opset)
        for name, function in modules.IMAGES.items():
            modules.export(modules.Image(function), image, path, opset, dynamo)
            graph = load(path)
            if name in ("maxmin_chunk", "householder_switch"):
                assert channels(prepare(graph)) == 50, (name, opset)
        for name, function in modules.REFUSED.items():
            modules.export(modules.Apply(function), flat, path, opset, dynamo)
            with pytest.raises(UnsupportedModel, match=r"jump|slope|division|product"):
                load(path)
                pytest.fail(f"{name} was imported from opset {opset}")


@pytest.mark.parametrize("opset", SOME)
def test_modules_exported_by_torch(modules, tmp_path, opset):
    check(modules, tmp_path, [opset])


@pytest.mark.slow
@pytest.mark.parametrize("opset", [k for k in ALL if k not in SOME])
def test_modules_exported_by_torch_for_every_opset(modules, tmp_path, opset):
    check(modules, tmp_path, [opset])


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 20])
def test_modules_exported_by_dynamo(modules, tmp_path, opset):
    pytest.importorskip("onnxscript")
    check(modules, tmp_path, [opset], dynamo=True)
