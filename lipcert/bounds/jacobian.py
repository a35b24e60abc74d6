"""`jacobian`: a proven interval of every ∂y/∂x on a region, and which dependences are monotone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.bounds.api import read_model
from lipcert.errors import MissingExtra
from lipcert.figures import downward, upward
from lipcert.graph.claim import place
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm
from lipcert.ranges.jacobian import JacobianBounds
from lipcert.ranges.jacobian import jacobian as entries
from lipcert.regions import everywhere
from lipcert.rounding import Interval
from lipcert.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pandas import DataFrame

    from lipcert.arrays import Array, IntArray
    from lipcert.graph.nodes import Graph
    from lipcert.regions import Region


@dataclass(frozen=True, eq=False, repr=False)
class Jacobian(Shown):
    """Intervals that hold every partial derivative on a region, proven in exact arithmetic.

    At kinks all elements of Clarke's generalised Jacobian are covered.

    Attributes
    ----------
    low, high
        (outputs, inputs), rounded outward.
    region
        Where they hold; None for the whole space.
    model
        The name of the file, if there is one.
    """

    low: Array
    high: Array
    sums: Array
    region: Region | None = None
    model: str = ""

    def monotone(self) -> IntArray:
        """1 where an output provably never falls with an input, −1 where it never rises, 0 where neither is proven.

        An output that does not depend on an input counts as 1.
        """
        return np.where(self.low >= 0.0, 1, np.where(self.high <= 0.0, -1, 0))

    def norm(self, norm: object = 2, output_norm: object = None) -> float:
        """A proven Lipschitz bound from the entries."""
        p = Norm.parse(norm)
        q = p if output_norm is None else Norm.parse(output_norm)
        return JacobianBounds(Interval(self.low, self.high), self.sums).norm(p, q)

    def facts(self) -> list[tuple[str, str]]:
        """What a prompt and a notebook show."""
        signs = self.monotone()
        return [
            ("entries", f"{self.low.shape[0]} outputs × {self.low.shape[1]} inputs, {place(self.region)}, proven"),
            ("largest", upward(float(np.maximum(np.abs(self.low), np.abs(self.high)).max(initial=0.0)))),
            ("monotone", f"{int((signs > 0).sum())} rising, {int((signs < 0).sum())} falling, of {signs.size}"),
        ]

    def to_dict(self) -> dict[str, Any]:
        """The object that `lipcert jacobian --json` prints."""
        return {
            "model": self.model,
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "monotone": self.monotone().tolist(),
        }

    def to_frame(self) -> DataFrame:
        """A pandas DataFrame with one row an entry: output, input, low, high, monotone.

        Raises
        ------
        MissingExtra
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtra("pandas", "frame", purpose="a DataFrame") from None
        outputs, inputs = np.indices(self.low.shape)
        return pd.DataFrame(
            {
                "output": outputs.ravel(),
                "input": inputs.ravel(),
                "low": self.low.ravel(),
                "high": self.high.ravel(),
                "monotone": self.monotone().ravel(),
            }
        )

    def table(self) -> list[tuple[str, str, str, str, str]]:
        """One row an entry: output, input, low, high, and how the output depends on the input."""
        words = {1: "rises", -1: "falls", 0: "open"}
        signs = self.monotone()
        return [
            (
                str(i),
                str(j),
                _shown(float(self.low[i, j]), downward),
                _shown(float(self.high[i, j]), upward),
                words[int(signs[i, j])],
            )
            for i, j in np.ndindex(*self.low.shape)
        ]


def jacobian(model: Graph | str | Path, region: Region | None = None, *, form: str = "comparators") -> Jacobian:
    """A proven interval of every ∂y/∂x on a region.

    Parameters
    ----------
    model
        A graph, or the path of an ONNX file.
    region
        A `lipcert.Box` or a `lipcert.Ball`; the whole space by default.
    form
        As of `lipcert.bound`.

    Raises
    ------
    InvalidModel, UnsupportedModel
        If a file cannot be read.
    DoesNotApply
        If the network has an implicit layer.

    Examples
    --------
    >>> import lipcert
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[2.0, -1.0]]), nn.activation("tanh"))
    >>> found = jacobian(network, lipcert.Box(-0.5, 0.5))
    >>> found.monotone(), found.high.round(6)
    (array([[ 1, -1]]), array([[ 2.      , -0.180707]]))
    """
    graph, name, _ = read_model(model)
    where = everywhere() if region is None else region
    with np.errstate(over="ignore", invalid="ignore"):
        found = entries(prepare(graph, form), where.fitted(graph.input_size))
    return Jacobian(found.entries.low, found.entries.high, found.sums, region, name)


def _shown(x: float, rounded: Callable[[float], str]) -> str:
    """A number of either sign, rounded as a bound."""
    if x >= 0.0:
        return str(rounded(x))
    other = upward if rounded is downward else downward
    return f"−{other(-x)}"
