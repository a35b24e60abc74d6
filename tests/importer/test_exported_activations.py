"""Activations as PyTorch exports them, opset 13 to 20, by both exporters; `load` compares each with ONNX Runtime."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lipcert.bounds.api import bound
from lipcert.errors import Unbounded, UnsupportedModel
from lipcert.graph.prepare import prepare
from lipcert.graph.sizes import channels
from lipcert.importer import load

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "activations"

# what each module of the fixtures is, whoever exports it: its activation and its channels
FLAT = {
    "relu": ("8 ReLU", 8),
    "leaky_relu": ("8 LeakyReLU", 8),
    "prelu": ("8 LeakyReLU", 8),
    "elu": ("8 ELU", 8),
    "selu": ("8 SELU", 8),
    "celu": ("8 CELU", 8),
    "gelu": ("8 GELU", 8),
    "gelu_tanh": ("8 GELU (tanh form)", 8),
    "silu": ("8 SiLU", 8),
    "mish": ("8 Mish", 8),
    "hardswish": ("8 HardSwish", 8),
    "hardsigmoid": ("8 hard sigmoid", 8),
    "hardtanh": ("8 clipped units", 8),
    "relu6": ("8 clipped units", 8),
    "softplus": ("8 softplus", 8),
    "softplus_beta": ("8 softplus", 8),
    "softsign": ("8 softsign", 8),
    "tanhshrink": ("8 tanh", 8),
    "softshrink": ("8 softshrink", 8),
    "logsigmoid": ("8 log-sigmoid", 8),
    "softmax": ("softmax over 8", 7),
    "log_softmax": ("log-softmax over 8", 1),
    "threshold": ("8 ReLU", 8),
    "tanh": ("8 tanh", 8),
    "sigmoid": ("8 sigmoid", 8),
    "sin": ("8 sin", 8),
    "snake": ("8 sin²", 8),
    "clamp": ("8 clipped units", 8),
    "abs": ("8 absolute values", 8),
    "pseudo_huber": ("8 soft absolute values", 8),
    "maxmin_chunk": ("4 MaxMin pairs", 4),
    "maxmin_strided": ("4 MaxMin pairs", 4),
    "maxmin_view": ("4 MaxMin pairs", 4),
    "maxmin_max": ("4 MaxMin pairs", 4),
    "maxmin_relu": ("4 MaxMin pairs", 4),
    "sort2": ("4 MaxMin pairs", 4),
    "sort4": ("2 GroupSort groups of 4", 10),
    "sort8": ("1 GroupSort group of 8", 19),
    "householder_switch": ("4 Householder reflections of 2", 4),
    "householder_where": ("4 Householder reflections of 2", 4),
    "crelu_half": ("8 ReLU", 4),
}
IMAGES = {
    "maxmin_chunk": ("50 MaxMin pairs", 50),
    "householder_switch": ("50 Householder reflections of 2", 50),
    "max_pool": ("16 maxima over 4", 48),
    "max_pool_padded": ("36 maxima over 9", 36),
    "max_pool_ceil": ("16 maxima over 9", 16),
    "global_max": ("4 maxima over 25", 4),
    "max_pool_1d": ("32 maxima over 3", 64),
}
REFUSED = {
    "hardshrink": "jump",
    "sign": "jumps",
    "threshold": "jump",
    "floor": "jumps",
}
# without a slope bound on all numbers
RANGED = ("square", "product", "normalise", "exp")
# the legacy exporter cannot write a threshold
NOT_LEGACY = {"threshold"}


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.onnx")), ids=lambda path: path.stem)
def test_files_kept_as_fixtures(path):
    summary = load(path).summary()
    assert (*summary.activations, summary.channels) == FLAT[path.stem.rpartition("_")[0]]


@pytest.fixture(scope="module")
def modules():
    pytest.importorskip("torch")
    sys.path.insert(0, str(FIXTURES))
    import modules

    yield modules
    sys.path.remove(str(FIXTURES))


def check(modules, path, opset, dynamo, some=()):
    """Export and read the modules, all of them or some."""
    import torch

    def exported(module, x):
        modules.export(module, x, path, opset, dynamo)
        return load(path)

    flat, image = torch.zeros(1, 4), torch.zeros(1, 1, 7, 7)
    chosen = set(some) or {*FLAT, *IMAGES, *REFUSED, *RANGED} - (set() if dynamo else NOT_LEGACY)
    for name, function in {**modules.ACTIVATIONS, **modules.GROUPS}.items():
        if name in chosen:
            summary = exported(modules.Apply(function), flat).summary()
            assert (*summary.activations, summary.channels) == FLAT[name], name
    for name, function in modules.IMAGES.items():
        if name in chosen:
            graph = exported(modules.Image(function), image)
            assert (*graph.summary().activations, channels(prepare(graph))) == IMAGES[name], name
    for name, function in modules.REFUSED.items():
        if name in chosen and name in RANGED:
            with pytest.raises(Unbounded):
                bound(exported(modules.Apply(function), flat), lower=False)
        elif name in chosen:
            with pytest.raises(UnsupportedModel, match=REFUSED[name]):
                exported(modules.Apply(function), flat)


def test_every_module_is_expected_to_be_something(modules):
    assert {*modules.ACTIVATIONS, *modules.GROUPS} == set(FLAT)
    assert set(modules.IMAGES) == set(IMAGES)
    assert set(modules.REFUSED) == {*REFUSED, *RANGED}


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_modules_of_the_legacy_exporter(modules, tmp_path, opset):
    check(modules, tmp_path / "model.onnx", opset, dynamo=False)


def test_some_modules_of_the_dynamo_exporter(modules, tmp_path):
    pytest.importorskip("onnxscript")
    check(modules, tmp_path / "model.onnx", 18, True, ("householder_switch", "softplus"))


@pytest.mark.slow
@pytest.mark.parametrize("opset", [14, 15, 16, 18, 19])
def test_modules_of_the_legacy_exporter_for_every_opset(modules, tmp_path, opset):
    check(modules, tmp_path / "model.onnx", opset, dynamo=False)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 19, 20])
def test_modules_of_the_dynamo_exporter(modules, tmp_path, opset):
    pytest.importorskip("onnxscript")
    check(modules, tmp_path / "model.onnx", opset, dynamo=True)
