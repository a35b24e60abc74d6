"""Lipschitz bounds that the classes of several samples rest on: of margins, or √2 times that of all outputs together.

|Δ(y_c − y_j)| ≤ √2‖Δy‖₂, and if y_c − y_j ≥ m and |Δ(y_c − y_j)| ≤ L‖Δx‖, the order of c and j holds within ‖Δx‖ < m/L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lipcert.arrays import Array, IntArray
    from lipcert.certificates.certificate import Certificate

ALL = ""
"""The label of all outputs together."""
SQRT2 = 1.4142135623730951
"""√2, rounded up."""


@dataclass(frozen=True, eq=False)
class SharedBound:
    """A Lipschitz bound that several samples rest on.

    Attributes
    ----------
    outputs
        The outputs or margins of the network that it is about, as `Selection` names them; () for all together.
    certificate
        Its certificate, about the network of these outputs.
    """

    outputs: tuple[str, ...]
    certificate: Certificate

    def values(self) -> dict[str, float]:
        """What is bounded, by its label, and the bound."""
        labels = self.certificate.outputs
        if not labels:
            return {(self.outputs or (ALL,))[0]: self.certificate.value}
        return dict(zip(labels, self.certificate.values(len(labels)), strict=True))


def margin(c: int, j: int, outputs: int) -> str:
    """The label of y_c − y_j, whichever is subtracted; a network with one output has that as its only margin.

    Examples
    --------
    >>> margin(5, 3, 10), margin(1, 0, 1)
    ('3-5', '0')
    """
    return "0" if outputs == 1 else f"{min(c, j)}-{max(c, j)}"


@dataclass(frozen=True)
class MarginBounds:
    """Bounds by their labels, of a network with so many outputs.

    Examples
    --------
    >>> bounds = MarginBounds(3, {"": 1.0, "0-1": 1.25})
    >>> bounds.of("0-1"), round(bounds.of("0-2"), 6)
    (1.25, 1.414214)
    """

    outputs: int
    known: Mapping[str, float]

    def of(self, label: str) -> float:
        """The bound of a margin: its own, or that of all outputs together."""
        together = self.known.get(ALL, np.inf)
        if self.outputs > 1:
            together = float(np.nextafter(SQRT2 * together, np.inf))
        return min(self.known.get(label, np.inf), together)

    def distances(self, predictions: IntArray, gaps: Array) -> Array:
        """(samples, classes): lower bounds of margin / bound, infinite for the class itself and where nothing can change.

        Parameters
        ----------
        predictions
            (samples,) their classes.
        gaps
            (samples, classes) their proven margins, infinite for the class itself.
        """
        classes = range(gaps.shape[1])
        upper = np.array([[self.of(margin(c, j, self.outputs)) for j in classes] for c in classes])
        L = upper[predictions]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.nextafter(gaps / L, -np.inf)
        # inf/inf is the class itself
        return np.where(np.isposinf(gaps) | ((L == 0) & (gaps > 0)), np.inf, np.nan_to_num(ratio, nan=0.0))


def smallest(*parts: Mapping[str, float]) -> dict[str, float]:
    """The smallest bound of each label."""
    found: dict[str, float] = {}
    for part in parts:
        for label, value in part.items():
            found[label] = min(value, found.get(label, np.inf))
    return found
