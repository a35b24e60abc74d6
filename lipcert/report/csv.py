"""Results as comma-separated values, one line a sample."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lipcert.bounds.jacobian import Jacobian
    from lipcert.bounds.radii import Robustness


_SAMPLE = (
    "sample",
    "label",
    "prediction",
    "radius",
    "runner_up",
    "margin",
    "status",
    "source",
    "counterexample_at",
)


def robustness(result: Robustness) -> str:
    """The keys of `each` in the JSON object as columns, empty for null: the numbers read back exactly.

    Examples
    --------
    >>> from lipcert.bounds.robustness import robustness as certify
    >>> from lipcert.graph import build as nn
    >>> print(robustness(certify(nn.sequential(nn.linear([[1.0], [0.0]])), [[-2.0]], [0])).replace("\\r", ""), end="")
    sample,label,prediction,radius,runner_up,margin,status,source,counterexample_at
    0,0,1,0.0,1,0.0,misclassified,global,
    """
    rows = result.to_dict()["each"]
    text = io.StringIO()
    writer = csv.DictWriter(text, _SAMPLE)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def jacobian(result: Jacobian) -> str:
    """output, input, low, high, monotone (1, −1, or 0 for open): the numbers read back exactly."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["output", "input", "low", "high", "monotone"])
    signs = result.monotone()
    for i, j in np.ndindex(*result.low.shape):
        writer.writerow([i, j, float(result.low[i, j]), float(result.high[i, j]), int(signs[i, j])])
    return text.getvalue()
