"""The array types of the package."""

from __future__ import annotations

import base64
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
ComplexArray: TypeAlias = NDArray[np.complex128]


def to_text(x: Array) -> str:
    """Base64 of little-endian float64: compact and exact.

    Examples
    --------
    >>> from_text(to_text(np.array([0.1, 2.0])))
    array([0.1, 2. ])
    """
    return base64.b64encode(np.ascontiguousarray(x, dtype="<f8").tobytes()).decode()


def from_text(text: str) -> Array:
    """The vector that `to_text` wrote; ValueError where the text is none."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) % 8:
        raise ValueError("not a list of 8-byte numbers")
    return np.frombuffer(raw, dtype="<f8").astype(np.float64)
