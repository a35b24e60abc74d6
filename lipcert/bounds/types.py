"""What a bound computation gives back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.bounds.axes import axes
from lipcert.bounds.branch.tree import STAGE
from lipcert.bounds.widths import plot_layers
from lipcert.figures import downward, duration, upward
from lipcert.graph.claim import place
from lipcert.regions import Ball, Box
from lipcert.shown import Shown

if TYPE_CHECKING:
    from lipcert.bounds.lower_bound import LowerBound
    from lipcert.certificates import Certificate
    from lipcert.norms import Norm
    from lipcert.ranges import LayerOnRegion
    from lipcert.regions import Region
    from lipcert.sdp.outcome import Progress, Status


@dataclass(frozen=True)
class OutputBound:
    """The bound of one scalar functional of the output.

    Attributes
    ----------
    output
        '3' for output 3, '3-5' for the margin y₃ − y₅.
    upper, lower
        Proven upper bound; lower bound, or None where none was asked for.
    product
        The norm product of this output or margin by itself, or None for implicit networks.
    method
        What proved it: the method of the multipliers, or 'jacobian'.
    proposed
        The value of the solver's multipliers before the proof, as of `Bound`.
    """

    output: str
    upper: float
    lower: float | None
    product: float | None = None
    method: str = ""
    proposed: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The entry of the JSON list `each`."""
        return {
            "output": self.output,
            "upper": self.upper,
            "lower": self.lower,
            "product": self.product,
            "method": self.method,
        }


def scope(region: Region | None, anchored: bool = False) -> dict[str, Any]:
    """The JSON object `scope`."""
    found: dict[str, Any] = {"kind": "everywhere", "ball": None, "radius": None, "domain": None, "anchored": anchored}
    match region:
        case Box():
            found |= {"kind": "box", "domain": _ends(region)}
        case Ball():
            found |= {"kind": "ball", "ball": str(region.norm), "radius": region.radius, "domain": _ends(region.within)}
        case None:
            pass
    return found


def _ends(box: Box | None) -> list[float] | None:
    """[low, high] where they are the same for all inputs and finite."""
    if box is None:
        return None
    low, high = np.unique(box.low), np.unique(box.high)
    same = low.size == high.size == 1 and np.isfinite([low[0], high[0]]).all()
    return [float(low[0]), float(high[0])] if same else None


@dataclass(frozen=True, eq=False, repr=False)
class Bound(Shown):
    """A proven Lipschitz bound: ‖f(x) − f(x′)‖ ≤ upper · ‖x − x′‖ for all x, x′ of a region, in exact arithmetic.

    Attributes
    ----------
    upper
        The bound, proven and rounded up.
    lower
        A lower bound on the same constant, or None.
    product
        The norm product of the same outputs (proven too), or None for implicit networks; of selected ones the largest.
    verified
        Whether `upper` passed the rigorous check; a number that did not is never put here.
    method, solver
        What produced the multipliers.
    status
        How the solver ended.
    relative_gap
        Duality gap of the solver relative to its objective, or None.
    proposed
        The value of the solver's multipliers before the proof, for comparison: it is no bound. None without a solver.
    iterations
        Iterations of the solver, or None.
    seconds
        Wall-clock time of the whole computation.
    norm, output_norm
        The norms of the input and of the output.
    inputs, outputs, channels
        Sizes; channels is the number of scalar channels of the normal form.
    well_posed
        True where implicit layers are proven to have exactly one solution, and for explicit networks.
    idealisations
        Where the function that the bound is about differs from the file.
    certificate
        The proof, or None where the bound is the norm product of a network too large for a certificate or for the time
        limit, or a product of segments.
    each
        Bounds output by output where `outputs` asked for them; `upper` is then the largest.
    trace
        The progress reports: the solver's bounds, and what was proven by then.
    notes
        What was tried and given up on the way to the bound.
    witness
        The lower bound with its `point` and `direction`, or None.
    limit
        The number that the constant was compared with, or None.
    region, anchored
        Where the bound holds, None for the whole space, and whether x′ is the centre of the region.
    layers
        On a region, what became of each layer of scalar activations.
    leaves, depth
        The leaves of the tree that branch and bound left, and the cuts of the deepest one; 0 without it.
    """

    upper: float
    lower: float | None
    product: float | None
    verified: bool
    method: str
    solver: str
    status: Status
    relative_gap: float | None
    iterations: int | None
    seconds: float
    norm: Norm
    output_norm: Norm
    inputs: int
    outputs: int
    channels: int
    well_posed: bool
    idealisations: tuple[str, ...] = ()
    certificate: Certificate | None = None
    each: tuple[OutputBound, ...] = ()
    trace: tuple[Progress, ...] = ()
    notes: tuple[str, ...] = ()
    proposed: float | None = None
    witness: LowerBound | None = None
    model: str = ""
    sha256: str = ""
    limit: float | None = None
    region: Region | None = None
    anchored: bool = False
    layers: tuple[LayerOnRegion, ...] = ()
    leaves: int = 0
    depth: int = 0

    def facts(self) -> list[tuple[str, str]]:
        """What a prompt and a notebook show."""
        which = f"the largest of {len(self.each)}" if self.each else "all outputs together"
        target = "|·|" if self.each else self.output_norm.symbol
        rows = [("upper bound", f"{upward(self.upper)}   {self.norm.symbol} → {target}, {which}, {self.scope}, proven")]
        if self.lower is not None:
            rows.append(("lower bound", downward(self.lower)))
        if self.product is not None:
            rows.append(("norm product", upward(self.product)))
        effort = self.method if self.solver == "none" else f"{self.method} by {self.solver}"
        rows.append(("method", f"{effort}, {self.status.value.replace('_', ' ')}, {duration(self.seconds)}"))
        if self.limit is not None:
            rows.append((f"at most {self.limit:g}", {True: "yes", False: "no", None: "not known"}[self.holds]))
        if self.model:
            rows.append(("model", self.model))
        return rows

    @property
    def holds(self) -> bool | None:
        """Whether the constant is at most `limit`: True and False are proven, None is not known, or was not asked."""
        if self.limit is None:
            return None
        if self.upper <= self.limit:
            return True
        return False if self.lower is not None and self.lower > self.limit else None

    @property
    def scope(self) -> str:
        """Where the bound holds, in words."""
        return place(self.region, self.anchored)

    @property
    def decided(self) -> int:
        """How many neurons are linear on the region."""
        return sum(layer.decided for layer in self.layers)

    @property
    def proof_loss(self) -> float | None:
        """By how much the proven bound exceeds the value of the solver's multipliers, relative to it; None without one.

        Of outputs that are bounded one by one it is the largest; a tree ends by proven bounds alone.
        """
        if not self.proposed:
            return None
        own = [(item.upper, item.proposed) for item in self.each if not self.leaves]
        return max(upper / proposed - 1.0 for upper, proposed in ((self.upper, self.proposed), *own) if proposed)

    @property
    def ratio(self) -> float | None:
        """upper / lower, or None without a positive lower bound."""
        return self.upper / self.lower if self.lower else None

    @property
    def gap(self) -> float | None:
        """upper / lower − 1, what is open between the two bounds; None without a positive lower bound."""
        return self.upper / self.lower - 1.0 if self.lower else None

    @property
    def branching(self) -> tuple[Progress, ...]:
        """The steps of branch and bound: leaves, and the proven bounds from above and below over time."""
        return tuple(step for step in self.trace if step.stage == STAGE)

    def to_dict(self) -> dict[str, Any]:
        """The object that `lipcert bound --json` prints."""
        return {
            "model": self.model,
            "sha256": self.sha256,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "channels": self.channels,
            "norm": str(self.norm),
            "output_norm": str(self.output_norm),
            "scope": scope(self.region, self.anchored),
            "decided": self.decided,
            "layers": [layer.to_dict() for layer in self.layers],
            "upper": self.upper,
            "lower": self.lower,
            "ratio": self.ratio,
            "gap": self.gap,
            "leaves": self.leaves,
            "depth": self.depth,
            "product": self.product,
            "verified": self.verified,
            "method": self.method,
            "solver": self.solver,
            "status": self.status.value,
            "relative_gap": self.relative_gap,
            "proof_loss": self.proof_loss,
            "iterations": self.iterations,
            "seconds": round(self.seconds, 3),
            "well_posed": self.well_posed,
            "idealisations": list(self.idealisations),
            "notes": list(self.notes),
            "certificate": None,
            "report": None,
            "each": [item.to_dict() for item in self.each],
            "at_most": None if self.limit is None else {"limit": self.limit, "holds": self.holds},
        }

    def plot(self, ax: Any = None) -> Any:
        """Convergence over time of what the solver found and of what was proven, with the other bounds as lines.

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
        trace = [p for p in self.trace if p.stage != STAGE]
        points = [(p.seconds, p.bound) for p in trace if p.bound is not None]
        if points:
            ax.plot(*zip(*points, strict=True), marker=".", label=f"{self.method} ({self.solver})")
        proven = [(p.seconds, p.proven) for p in trace if p.bound is not None and p.proven is not None]
        if len({value for _, value in proven}) > 1:
            ax.step(*zip(*proven, strict=True), where="post", color="black", label="proven by then")
        ax.axhline(self.upper, color="C0", linestyle="--", label=f"proven bound {self.upper:.6g}")
        if self.product is not None:
            ax.axhline(self.product, color="C1", linestyle=":", label=f"norm product {self.product:.6g}")
        if self.lower:
            ax.axhline(self.lower, color="C2", linestyle="-.", label=f"lower bound {self.lower:.6g}")
        ax.set(xlabel="seconds", ylabel=f"Lipschitz bound (ℓ{self.norm} → ℓ{self.output_norm})", yscale="log")
        ax.legend()
        return ax

    def plot_branching(self, ax: Any = None) -> Any:
        """The two proven bounds of branch and bound over time, what is open between them shaded; as `plot`."""
        ax = axes(ax)
        upper = [(p.seconds, p.proven) for p in self.branching if p.proven is not None]
        lower = [(p.seconds, p.below) for p in self.branching if p.below is not None]
        for points, label in ((upper, "upper bound"), (lower, "lower bound")):
            if points:
                ax.step(*zip(*points, strict=True), where="post", label=label)
        both = [(p.seconds, p.proven, p.below) for p in self.branching if None not in (p.proven, p.below)]
        if both:
            ax.fill_between(*zip(*both, strict=True), step="post", alpha=0.15)
        ax.set(xlabel="seconds", ylabel=f"Lipschitz bound (ℓ{self.norm} → ℓ{self.output_norm})")
        if upper or lower:
            ax.legend()
        return ax

    def plot_layers(self, ax: Any = None) -> Any:
        """On a region: the widths of the ranges layer by layer, and how many neurons are decided; as `plot`."""
        return plot_layers(self.layers, ax)

    def named(self, model: str, sha256: str) -> Bound:
        """The same bound with the model's file name and hash."""
        return replace(self, model=model, sha256=sha256)
