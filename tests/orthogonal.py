"""Networks of orthogonal layers: their Lipschitz constant is at most the product of the layers' norms, and known."""

from __future__ import annotations

import numpy as np

from lipcert.graph import build as nn
from lipcert.graph.nodes import Graph

Rng = np.random.Generator


def orthogonal(n: int, rng: Rng) -> np.ndarray:
    """A random orthogonal matrix."""
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def reflections(groups: int, size: int, rng: Rng) -> nn.Layer:
    """Householder activations with random unit vectors."""
    v = rng.standard_normal((groups, size))
    return nn.householder(v / np.linalg.norm(v, axis=1, keepdims=True))


def isometry(name: str, width: int, rng: Rng) -> nn.Layer:
    """An activation that keeps norms almost everywhere: MaxMin, GroupSort(g), Householder(g) or |·|."""
    kind, _, size = name.rstrip(")").partition("(")
    if kind == "Householder":
        group = int(size or 2)
        return reflections(width // group, group, rng)
    return {"MaxMin": nn.maxmin, "GroupSort": lambda: nn.group_sort(int(size)), "abs": nn.abs_}[kind]()


def chain(name: str, width: int, depth: int, seed: int, scale: float = 1.0, outputs: int = 3) -> Graph:
    """Orthogonal layers times `scale` and an activation in turn, then a few orthonormal outputs.

    Each layer's constraints with multipliers of one add up to scale^(2 depth) ‖Δx‖² − ‖Δy‖² ≥ 0.
    """
    rng = np.random.default_rng(seed)
    parts = [
        part
        for _ in range(depth)
        for part in (nn.linear(scale * orthogonal(width, rng), rng.standard_normal(width)), isometry(name, width, rng))
    ]
    return nn.sequential(*parts, nn.linear(orthogonal(width, rng)[:outputs]))
