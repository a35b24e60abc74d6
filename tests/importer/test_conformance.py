"""ONNX's own test cases for every operator that is claimed, and the small networks that the onnx package ships."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lipcert.errors import LipcertError
from lipcert.graph.evaluate import forward
from lipcert.importer import from_model, load, supported_operators

# case -> why it is refused; every other case is imported with one of its inputs as the signal, the others as constants
REFUSED = {
    r"attention_.*(window|nonpad|padded_kv|fullymasked|robustness)": "attribute|leaves nothing|differ in length",
    r"attention_[34]d_.*qk_matmul": "after the mask|depends on the network",
    r"batchnorm_.*training_mode": "training mode|statistics of the batch",
    r"training_dropout": "training mode",
    r"lppool_(1d_default|2d_default|3d_default|2d_same_lower|2d_pads)": "no proven treatment of p",
    r"pow": "exponent|base",
    r"l1normalization": "p = 1",
    r"(greater|less)(_equal)?(_bcast)?$": "a comparison jumps",
    r"sign$": "jumps",
    r"resize_.*cubic(?!.*antialias)": "cubic resizing",
    r"resize_.*antialias": "antialiasing",
    r"resize_.*not_(larger|smaller)": "aspect ratios",
    r"resize_tf_crop_and_resize": "tf_crop_and_resize",
    r"resize_downsample_scales_linear_align_corners": "disagree",
    r"scan_sum$": "batch axis in version 8",
    r"shrink_hard": "it jumps",
    r"slice_start_out_of_bounds": "holds no numbers",
    r"thresholdedrelu": "it jumps",
}
# ops whose cases have no signal of real numbers, or that have a meaning only inside larger functions: tested elsewhere
WITHOUT_CASE = {
    *("Cast", "CastLike", "Greater", "GreaterOrEqual", "If", "Less", "LessOrEqual", "Not"),
    *("GlobalLpPool", "IsInf", "IsNaN", "Sign", "ThresholdedRelu", "Trilu"),
}

NETWORKS_REFUSED = {
    r"Embedding": "do not change continuously",
    r"operator_symbolic_override$": "a scale that depends on the signal",
    r"operator_non_float_params": "do not change continuously",
    r"operator_(addmm|mm)$": "a product of two signals",
    r"operator_pow$": "an exponent depends on the input",
}


@cache
def _cases() -> list[Any]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        return list(load_model_tests(kind="node"))


def _variants(case: Any) -> Iterator[tuple[onnx.ModelProto, np.ndarray, str, np.ndarray]]:
    """The case with each real input as the signal and the others as constants; of the first one each output."""
    inputs, outputs = case.data_sets[0]
    if any(isinstance(value, list) for value in (*inputs, *outputs)):
        # a sequence is no number
        return
    later = False
    for k, value in enumerate(inputs):
        if (
            not isinstance(value, np.ndarray)
            or value.dtype not in (np.float32, np.float64)
            or not value.size
            or not np.isfinite(value).all()
        ):
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        for j, (info, other) in enumerate(zip(case.model.graph.input, inputs, strict=True)):
            if j != k:
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(other), info.name))
        for info, output in zip(model.graph.output, outputs, strict=True):
            yield model, value, info.name, np.asarray(output)
            if later:
                break
        later = True


def test_node_cases_of_every_claimed_operator() -> None:
    claimed = {op for op, text in supported_operators() if not text.startswith("Refused")}
    seen: set[str] = set()
    used: set[str] = set()
    for case in _cases():
        ops = {node.op_type for node in case.model.graph.node}
        if len(case.model.graph.node) != 1 or not ops <= claimed or "expanded" in case.name:
            continue
        imported, reasons = False, []
        for model, x, output, expected in _variants(case):
            copy = onnx.ModelProto.FromString(model.SerializeToString())
            try:
                graph = from_model(copy, case.name, output=output)
            except LipcertError as error:
                reasons.append(str(error))
                continue
            value = forward(graph, x.astype(np.float64).ravel())
            np.testing.assert_allclose(
                value, expected.astype(np.float64).ravel(), rtol=1e-3, atol=1e-5, err_msg=f"{case.name} {output}"
            )
            imported = True
        if imported:
            seen |= ops
        elif reasons:
            pattern = next((p for p in REFUSED if re.match(p, case.name.removeprefix("test_"))), None)
            assert pattern is not None, f"{case.name} is refused: {reasons}"
            assert all(re.search(f"{REFUSED[pattern]}|is constant where|exponent", r) for r in reasons), reasons
            used.add(pattern)
    assert used == set(REFUSED)
    left = {op for op in claimed - seen if "Sequence" not in op and "." not in op and onnx.defs.has(op)}
    assert left == WITHOUT_CASE


def _networks() -> list[Path]:
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    return sorted(
        p.parent for kind in ("pytorch-converted", "pytorch-operator") for p in folder.glob(f"{kind}/*/model.onnx")
    )


def _tensor(file: Path) -> np.ndarray:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(file.read_bytes())
    return np.asarray(numpy_helper.to_array(tensor))


def test_small_networks_of_the_onnx_package() -> None:
    folders = _networks()
    if not folders:
        pytest.skip("this onnx package ships no networks")
    refused: dict[str, str] = {}
    for folder in folders:
        first = onnx.load(folder / "model.onnx").graph.output[0].name
        try:
            graph = load(folder / "model.onnx", output=first)
        except LipcertError as error:
            refused[folder.name] = str(error)
            continue
        data = folder / "test_data_set_0"
        inputs = sorted(data.glob("input_*.pb"))
        with np.errstate(invalid="ignore"):
            value = forward(graph, np.concatenate([_tensor(path).astype(np.float64).ravel() for path in inputs]))
        expected = _tensor(data / "output_0.pb").astype(np.float64).ravel()
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4, err_msg=folder.name)
    for name, reason in refused.items():
        pattern = next((p for p in NETWORKS_REFUSED if re.match(p, name.removeprefix("test_"))), None)
        assert pattern is not None, f"{name}: {reason}"
        assert re.search(NETWORKS_REFUSED[pattern], reason), reason
    assert len(folders) - len(refused) >= 90
