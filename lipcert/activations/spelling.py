"""How a record writes itself into a file: ops by their ONNX names, on a pen that the writer of the importer holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from lipcert.arrays import Array


class Pen(Protocol):
    """What a spelling writes with; values are known by their names, (batch, size) or (batch, blocks, block)."""

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """One node; the name of its first output."""

    def constant(self, array: np.ndarray, wish: str = "c") -> str:
        """A constant tensor."""

    def number(self, value: float) -> str:
        """A constant scalar."""

    def integers(self, values: Sequence[int]) -> str:
        """A constant vector of integers."""

    def vector(self, values: Array) -> str:
        """A parameter: one number where all agree."""

    def apart(self, x: str, parameters: Mapping[str, Array], spelling: Spelling) -> str:
        """A spelling that takes one set of parameters, for each set on the numbers that have it."""

    def by_attributes(self, kind: str, x: str, parameters: Mapping[str, Array]) -> str:
        """An op whose parameters are attributes, which are float32 numbers: a node for each set of values."""

    @property
    def largest(self) -> float:
        """The largest number of the file's type."""


Spelling = Callable[[Pen, str, Mapping[str, "Array"]], str]
"""The name of φ(x) from a pen, the name of x, and the parameters, one number a scalar or one row a block."""


def single(kind: str, **attributes: object) -> Spelling:
    """One op without parameters."""
    return lambda pen, x, p: pen.op(kind, x, outputs=1, **attributes)


def attributed(kind: str) -> Spelling:
    """One op with the parameters as its attributes."""
    return lambda pen, x, p: pen.by_attributes(kind, x, p)


def selected(pen: Pen, x: str, above: str, below: str) -> str:
    """One value where x > 0, another one elsewhere."""
    return pen.op("Where", pen.op("Greater", x, pen.number(0.0)), above, below)


def in_float32(array: Array) -> bool:
    """Whether all numbers are float32 numbers."""
    with np.errstate(over="ignore"):
        return bool((array.astype(np.float32).astype(np.float64) == array).all())
