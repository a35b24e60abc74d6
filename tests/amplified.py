"""Rounding made large: with γ, u and what covers underflow as big as the numbers, every error term shows in the result."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


def amplify(
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    gamma: float | Callable[[int], float] = 0.0,
    outward: float = 0.0,
    **constants: float,
) -> None:
    """Let γ_k be `gamma`, move ends by `outward`, and give the named constants their values; the others are zero."""
    if hasattr(module, "gamma"):
        monkeypatch.setattr(module, "gamma", gamma if callable(gamma) else lambda k: gamma)
    for name, sign in (("up", 1.0), ("down", -1.0)):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, lambda x, sign=sign: x + sign * outward)
    for name in ("UNIT", "TINY", "FLOOR", "_TINY"):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, constants.get(name, 0.0))
