"""Random networks and regions."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lipcert.activations import pointwise
from lipcert.regions import Ball, Box, Region

sys.path.insert(0, str(Path(__file__).parent / "properties"))
from test_random_graphs import network

__all__ = ["KINDS", "network", "region_of"]

# those that take groups of any size, and have slopes everywhere
GROUPS = ("sort", "maximum", "householder", "softmax", "log_softmax", "log_sum_exp", "norm")
KINDS = [record.name for record in pointwise.RECORDS] + list(GROUPS)


def region_of(rng: np.random.Generator, inputs: int) -> Region:
    """A box, a ball of one of the norms, or a ball cut with a box; of any size."""
    centre = rng.standard_normal(inputs)
    radius = float(10.0 ** rng.uniform(-3, 0.5))
    kind = int(rng.integers(5))
    if kind == 0:
        low = centre - radius * rng.random(inputs)
        high = centre + radius * rng.random(inputs)
        still = rng.random(inputs) < 0.2
        still[0] = False
        return Box(low, np.where(still, low, high))
    within = Box(centre - 0.5 * radius, centre + 0.7 * radius) if kind == 4 else None
    return Ball(centre, radius, (2, 1, "inf")[kind % 3], within)
