"""Small networks of the kinds that people report, against what is true of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipcert.bounds.api import bound
from lipcert.errors import Unbounded, UnsupportedModel
from lipcert.importer import load
from lipcert.regions import Box

# file, output, value, relative tolerance of a bound that is exact
VALUES = [
    ("f01_dead_argmax", "y", 5.0644951, 1e-6),
    ("f01_dead_floor", "y", 5.0644951, 1e-6),
    ("g01_policy", "logits", 0.40239662, 1e-6),
    ("f02_conv_double", None, 0.39329877, 1e-6),
    ("f02_avgpool_double", None, 0.5**0.5, 1e-6),
    ("e05_concat_from_seq", None, 2.0**0.5, 1e-6),
    ("e05_split_to_seq", None, 1.0, 1e-6),
    ("e03_deq_13", None, 0.70878112, 1e-6),
    ("e08_lse", None, 1.0, 1e-6),
    ("g02_lse_plain", None, 1.0, 1e-6),
    ("e08_reducel1", None, 2.0, 1e-6),
    ("c07b_ball", None, 1.0, 1e-6),
    ("c19b_clampsq", None, 2.0, 1e-6),
    ("e06_exp", None, np.exp(2.0), 1e-6),
    ("e06_gauss", None, np.sqrt(2.0 / np.e), 1e-6),
    ("e06_inv", None, 1.0, 1e-6),
    ("e06_sig2", None, 8.0 / 27.0, 1e-6),
    ("e06_sincos", None, 1.0, 1e-6),
]

# heads in ℓ∞: never above what they are known to be
HEADS = [("e01_softmax_50", 0.5), ("e01_logsoftmax_50", 2.0)]

# file, half the width of a box around zero, upper / lower there
REGIONAL = [
    ("c18_mul", 1.0, 1.00001),
    ("c19_square", 0.01, 1.2),
    ("c19_square", 1.0, 3.0),
    ("c17_attn", 0.01, 1.2),
    ("c17_ln13", 0.01, 2.0),
]

# bounded on the whole space by gates and by the ε of a normalisation
FINITE = [("e07_lstm1", 0.56), ("e07_wavenet", 1.031), ("c17_ln13", 108.2)]

IMPORTS = ["e04_hstack", "s_scaler_mlpreg", "j_groupsort", "c13_two_inputs", "d11_uint8"]

# file, the cause, the remedy
REFUSALS = [
    ("c09_bn_batchstats", "statistics of the batch at hand.*keeps none", "train it with running statistics"),
    ("f01_dead_argmax", "2 outputs", "--to"),
]


@pytest.mark.parametrize(("name", "output", "value", "tolerance"), VALUES, ids=[name for name, *_ in VALUES])
def test_values(shared_data: Path, name: str, output: str | None, value: float, tolerance: float) -> None:
    found = bound(load(shared_data / "reports" / f"{name}.onnx", output=output), lower_seconds=0.2)
    assert value * (1.0 - 1e-8) <= found.upper <= value * (1.0 + tolerance)
    assert found.lower is not None
    assert found.lower <= found.upper


@pytest.mark.parametrize(("name", "value"), HEADS)
def test_heads(shared_data: Path, name: str, value: float) -> None:
    found = bound(load(shared_data / "reports" / f"{name}.onnx"), norm="inf", lower_seconds=0.2)
    assert value <= found.upper <= value * (1.0 + 1e-6)
    assert found.lower is not None
    assert found.lower <= value


@pytest.mark.parametrize(("name", "half", "ratio"), REGIONAL)
def test_regions(shared_data: Path, name: str, half: float, ratio: float) -> None:
    graph = load(shared_data / "reports" / f"{name}.onnx")
    found = bound(graph, region=Box(-half, half), lower_seconds=0.5)
    assert found.lower is not None
    assert found.lower <= found.upper <= ratio * found.lower


@pytest.mark.parametrize(("name", "value"), FINITE)
def test_finite_everywhere(shared_data: Path, name: str, value: float) -> None:
    found = bound(load(shared_data / "reports" / f"{name}.onnx"), lower_seconds=0.2)
    assert found.lower is not None
    assert found.lower <= found.upper <= value


@pytest.mark.parametrize("name", ["c17_attn", "c18_mul", "c19_square"])
def test_what_needs_a_region_says_so(shared_data: Path, name: str) -> None:
    with pytest.raises(Unbounded, match=r"unbounded.*; give a region.*--box"):
        bound(load(shared_data / "reports" / f"{name}.onnx"))


def test_every_file_is_here(shared_data: Path) -> None:
    known = {name for cases in (VALUES, HEADS, REGIONAL, FINITE, REFUSALS) for name, *_ in cases} | set(IMPORTS)
    assert {path.stem for path in (shared_data / "reports").glob("*.onnx")} <= known


@pytest.mark.parametrize("name", IMPORTS)
def test_imports(shared_data: Path, name: str) -> None:
    found = bound(load(shared_data / "reports" / f"{name}.onnx"), lower_seconds=0.2)
    assert found.lower is not None
    assert found.lower <= found.upper < 1.5 * found.lower


@pytest.mark.parametrize(("name", "cause", "remedy"), REFUSALS, ids=[name for name, *_ in REFUSALS])
def test_refusals(shared_data: Path, name: str, cause: str, remedy: str) -> None:
    with pytest.raises(UnsupportedModel, match=f"{cause}.*; .*{remedy}"):
        load(shared_data / "reports" / f"{name}.onnx")


def test_what_the_messages_do_not_say(shared_data: Path) -> None:
    """Nothing that is false: that no constant exists, that ai.onnx.ml is not ONNX, that some local method would help."""
    for path in sorted((shared_data / "reports").glob("*.onnx")):
        try:
            load(path, check=False)
        except UnsupportedModel as error:
            text = str(error)
            for false in (
                "not part of ONNX",
                "constant exists",
                "no Lipschitz constant",
                "local method",
                "evaluation mode",
            ):
                assert false not in text, text
