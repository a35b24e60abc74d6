"""Small networks of the kinds that people report, against what is true of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipcert.bounds.api import bound
from lipcert.importer import load

# file, output, value, relative tolerance of a bound that is exact
VALUES = [
    ("f01_dead_argmax", "y", 5.0644951, 1e-6),
    ("f01_dead_floor", "y", 5.0644951, 1e-6),
    ("g01_policy", "logits", 0.40239662, 1e-6),
    ("f02_conv_double", None, 0.39329877, 1e-6),
    ("f02_avgpool_double", None, 0.5**0.5, 1e-6),
]


@pytest.mark.parametrize(("name", "output", "value", "tolerance"), VALUES, ids=[name for name, *_ in VALUES])
def test_values(shared_data: Path, name: str, output: str | None, value: float, tolerance: float) -> None:
    found = bound(load(shared_data / "reports" / f"{name}.onnx", output=output), lower_seconds=0.2)
    assert value * (1.0 - 1e-8) <= found.upper <= value * (1.0 + tolerance)
    assert found.lower is not None
    assert found.lower <= found.upper
