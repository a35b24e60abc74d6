"""Certified radii and what they rest on: the result of `lipcert.robustness`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.bounds.axes import axes
from lipcert.bounds.refine import CERTIFIED, OPEN, REFUTED, WRONG
from lipcert.figures import downward
from lipcert.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.arrays import Array, IntArray
    from lipcert.bounds.refine import Found
    from lipcert.bounds.types import Bound
    from lipcert.certificates.classes import ClassCertificate
    from lipcert.norms import Norm
    from lipcert.sdp.outcome import Status


@dataclass(frozen=True)
class MarginBound:
    """A proven Lipschitz bound of one margin.

    Attributes
    ----------
    output
        '3-5' for the margin y₃ − y₅ (and y₅ − y₃), '0' for a single output.
    upper
        The bound.
    source
        'pair' where it was bounded on its own, 'joint' where it is √2 times the bound of all outputs together.
    """

    output: str
    upper: float
    source: str

    def to_dict(self) -> dict[str, Any]:
        """The entry of the JSON list `margins`."""
        return {"output": self.output, "upper": self.upper, "source": self.source}


@dataclass(frozen=True, eq=False, repr=False)
class Robustness(Shown):
    """Certified radii: within `radii[i]` of sample i, in the norm `norm`, the class of the network does not change.

    Attributes
    ----------
    norm
        The norm of the radii; their unit is that of the network's input.
    predictions
        (samples,) the class of each sample: the largest output, or for one output whether it is positive.
    labels
        (samples,) the true classes, or None.
    radii
        (samples,) proven and rounded down. Zero where the class is not the label, or where two outputs are too close to
        tell; infinite where the network cannot change its class at all.
    runners_up
        (samples,) the class that limits the radius.
    gaps
        (samples,) the proven margin over that class, rounded down; zero where there is none.
    margins
        The Lipschitz bounds that the radii rest on.
    bounds
        The results behind them, with their certificates.
    inputs, outputs
        Sizes of the network.
    head
        The final activation that was left out, such as 'softmax', or ''.
    status
        How the search for the bounds ended.
    seconds
        Wall-clock time.
    idealisations
        Where the function that the radii are about differs from the file.
    model, sha256
        The file and its hash, where there is one.
    at
        The radius that was decided, or None.
    found
        For each sample what its radius rests on, and a counterexample where one was found.
    certificate
        The proofs of all radii in one object, for `lipcert verify`.
    """

    norm: Norm
    predictions: IntArray
    labels: IntArray | None
    radii: Array
    runners_up: IntArray
    gaps: Array
    margins: tuple[MarginBound, ...]
    bounds: tuple[Bound, ...]
    inputs: int
    outputs: int
    head: str
    status: Status
    seconds: float
    idealisations: tuple[str, ...] = ()
    model: str = ""
    sha256: str = ""
    data: str = ""
    at: float | None = None
    found: tuple[Found, ...] = ()
    certificate: ClassCertificate | None = None

    @property
    def statuses(self) -> tuple[str, ...]:
        """Of each sample 'certified', 'refuted', 'open' or 'misclassified', at the radius `at` where there is one."""
        wrong = np.zeros(self.radii.size, dtype=bool) if self.labels is None else self.predictions != self.labels
        return tuple(WRONG if bad else item.status(self.at) for bad, item in zip(wrong, self.found, strict=True))

    @property
    def distances(self) -> Array:
        """(samples,) the distances of proven counterexamples, rounded up; infinite where there is none."""
        return np.array([item.distance for item in self.found])

    def facts(self) -> list[tuple[str, str]]:
        """What a prompt and a notebook show."""
        samples = self.radii.size
        rows = [("samples", f"{samples:,}")]
        if self.labels is not None:
            right = int((self.predictions == self.labels).sum())
            rows.append(("accuracy", f"{100.0 * right / max(samples, 1):.1f} %   {right:,} of {samples:,}"))
        rows.append(("median radius", f"{downward(self.median)}   {self.norm.symbol}, proven"))
        rows.append(("largest radius", downward(float(self.radii.max()))))
        rows.append(("margins", f"{len(self.margins)} bounded, {self.status.value.replace('_', ' ')}"))
        if self.model:
            rows.append(("model", self.model))
        return rows

    @property
    def accuracy(self) -> float | None:
        """The part of the samples whose class is the label, or None without labels."""
        return None if self.labels is None else float(np.mean(self.predictions == self.labels))

    @property
    def median(self) -> float:
        """The median radius, misclassified samples included; the lower one of two middle values."""
        return float(np.sort(self.radii)[(self.radii.size - 1) // 2])

    def certified_accuracy(self, radius: float) -> float:
        """The part of the samples whose class is the label for every change of norm at most `radius`.

        Without labels: whose class cannot change.

        Examples
        --------
        >>> import lipcert
        >>> from lipcert.graph import build as nn
        >>> result = lipcert.robustness(nn.sequential(nn.linear([[1.0], [-1.0]])), [[0.5], [2.0]], [0, 0])
        >>> [result.certified_accuracy(r) for r in (0.1, 1.0, 3.0)]
        [1.0, 0.5, 0.0]
        """
        return float(np.mean((self.radii > 0) & (self.radii >= radius)))

    def curve(self) -> tuple[Array, Array]:
        """Radii, ascending from 0, and the certified accuracy at each: it is constant up to the next."""
        radii = np.unique(np.concatenate([[0.0], self.radii[np.isfinite(self.radii)]]))
        return radii, np.array([self.certified_accuracy(r) for r in radii])

    def to_dict(self) -> dict[str, Any]:
        """The object that `lipcert robustness --json` prints."""
        labels: Sequence[int | None] = [None] * self.radii.size if self.labels is None else self.labels.tolist()
        columns = (self.predictions.tolist(), self.radii.tolist(), self.runners_up.tolist(), self.gaps.tolist())
        return {
            "model": self.model,
            "sha256": self.sha256,
            "data": self.data,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "norm": str(self.norm),
            "samples": int(self.radii.size),
            "accuracy": self.accuracy,
            "median_radius": self.median,
            "at": self.at,
            "statuses": {name: self.statuses.count(name) for name in (CERTIFIED, REFUTED, OPEN, WRONG)},
            "verified": True,
            "head": self.head or None,
            "status": self.status.value,
            "seconds": round(self.seconds, 3),
            "idealisations": list(self.idealisations),
            "margins": [item.to_dict() for item in self.margins],
            "each": [
                {
                    "sample": i,
                    "label": label,
                    "prediction": c,
                    "radius": r,
                    "runner_up": j,
                    "margin": m,
                    "status": status,
                    "source": item.source,
                    "counterexample_at": item.distance if np.isfinite(item.distance) else None,
                }
                for i, (label, c, r, j, m, status, item) in enumerate(
                    zip(labels, *columns, self.statuses, self.found, strict=True)
                )
            ],
        }

    def open_part(self) -> tuple[Array, Array, Array]:
        """Radii, ascending, with the certified accuracy and that which no counterexample breaks; jumps have two points.

        Examples
        --------
        >>> from lipcert.bounds.robustness import robustness
        >>> from lipcert.graph import build as nn
        >>> network = nn.sequential(nn.linear([[1.0], [-1.0]]))
        >>> radii, proven, unbroken = robustness(network, [[0.5], [2.0]], attack=True).open_part()
        >>> bool((proven <= unbroken).all()), unbroken[[0, -1]]
        (True, array([1., 0.]))
        """
        distances = self.distances
        ends = np.concatenate([[0.0], self.radii, distances])
        grid = np.unique(ends[np.isfinite(ends)])
        alive = self.radii > 0.0
        # just before each radius, there, and just behind
        proven = [(alive & (self.radii >= r)).mean() for r in grid], [(alive & (self.radii > r)).mean() for r in grid]
        unbroken = [(alive & (distances >= r)).mean() for r in grid], [(alive & (distances > r)).mean() for r in grid]
        return (
            np.repeat(grid, 3),
            np.column_stack([proven[0], proven[0], proven[1]]).ravel(),
            np.column_stack([unbroken[0], unbroken[1], unbroken[1]]).ravel(),
        )

    def plot(self, ax: Any = None) -> Any:
        """The certified accuracy over the radius, and, where counterexamples were looked for, what is open shaded.

        Parameters
        ----------
        ax
            A matplotlib Axes, or None for a new one.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        MissingExtra
            If matplotlib is not installed.
        """
        ax = axes(ax)
        radii, accuracy = self.curve()
        # the accuracy at a radius holds back to the radius before it
        ax.step(np.append(radii, radii[-1]), 100.0 * np.append(accuracy, np.isinf(self.radii).mean()), where="pre")
        what = "certified samples" if self.labels is None else "certified accuracy"
        if np.isfinite(self.distances).any():
            at, proven, unbroken = self.open_part()
            ax.plot(at, 100.0 * unbroken, color="C1", linewidth=1.0, label="not broken")
            ax.fill_between(at, 100.0 * proven, 100.0 * unbroken, alpha=0.2, color="C1", linewidth=0.0, label="open")
            ax.legend()
        ax.set(
            xlabel=f"{self.norm.symbol} radius, in units of the network's input", ylabel=f"{what} (%)", ylim=(0, 102)
        )
        ax.set_xlim(left=0.0)
        return ax

    def named(self, model: str, sha256: str, data: str) -> Robustness:
        """The same result with the names of the files."""
        return replace(self, model=model, sha256=sha256, data=data)
