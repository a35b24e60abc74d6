"""The bound methods side by side on one network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lipcert.bounds.api import Question, answer, read_model
from lipcert.bounds.axes import axes
from lipcert.bounds.run import COMPARATORS
from lipcert.bounds.settings import Settings
from lipcert.bounds.table import METHODS
from lipcert.bounds.types import scope
from lipcert.bounds.watch import within
from lipcert.bounds.widths import plot_layers
from lipcert.errors import DoesNotApply, InvalidRequest, LipcertError, MissingExtra, NotCertified, SolverUnavailable
from lipcert.figures import downward, duration, upward
from lipcert.graph.claim import place
from lipcert.ranges import posed
from lipcert.sdp.outcome import Progress, Status
from lipcert.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from lipcert.bounds.types import Bound
    from lipcert.graph.nodes import Graph
    from lipcert.norms import Norm
    from lipcert.ranges import LayerOnRegion
    from lipcert.regions import Region


@dataclass(frozen=True, eq=False)
class Entry:
    """What one method gave.

    Attributes
    ----------
    method
        Its name.
    bound
        The proven bound, or None.
    reason
        Why there is none, or ''.
    """

    method: str
    bound: Bound | None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The entry of the JSON list `methods`."""
        b = self.bound
        return {
            "method": self.method,
            "upper": None if b is None else b.upper,
            "verified": b is not None,
            "solver": None if b is None else b.solver,
            "status": None if b is None else b.status.value,
            "channels": None if b is None else b.channels,
            "seconds": None if b is None else round(b.seconds, 3),
            "reason": self.reason or None,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown):
    """The bounds of several methods for one constant.

    Attributes
    ----------
    entries
        One a method, in the order asked for.
    lower
        A lower bound on the constant, or None.
    norm, output_norm
        The norms.
    outputs
        The selected outputs and margins, of which the bounds are the largest; empty for all together.
    model, sha256
        The file and its hash, where there is one.
    region, anchored
        Where the bounds hold, None for the whole space, and whether changes start from the centre.
    relaxed
        The relaxed maximum as far as a search found it: no method that ignores which patterns of signs occur can go below,
        on a region with the same ranges. None where the network has other channels than those of signs.
    """

    entries: tuple[Entry, ...]
    lower: float | None
    norm: Norm
    output_norm: Norm
    outputs: tuple[str, ...] = ()
    model: str = ""
    sha256: str = ""
    region: Region | None = None
    anchored: bool = False
    relaxed: float | None = None

    @property
    def scope(self) -> str:
        """Where the bounds hold, in words."""
        return place(self.region, self.anchored)

    @property
    def layers(self) -> tuple[LayerOnRegion, ...]:
        """What became of the layers on the region, as the method with the smallest bound took them."""
        return () if self.best.bound is None else self.best.bound.layers

    def facts(self) -> list[tuple[str, str]]:
        """What a prompt and a notebook show."""
        best = self.best
        rows = []
        for entry in self.entries:
            if entry.bound is None:
                rows.append((entry.method, f"-   {entry.reason}"))
            else:
                mark = "   smallest" if entry is best else ""
                rows.append((entry.method, f"{upward(entry.bound.upper)}   {duration(entry.bound.seconds)}{mark}"))
        if self.relaxed is not None:
            rows.append(("relaxed maximum", f"{downward(self.relaxed)}   at least"))
        return rows if self.lower is None else [*rows, ("lower bound", downward(self.lower))]

    @property
    def best(self) -> Entry:
        """The entry with the smallest bound."""
        proven = [entry for entry in self.entries if entry.bound is not None]
        return min(proven, key=lambda entry: entry.bound.upper if entry.bound else float("inf"))

    def to_dict(self) -> dict[str, Any]:
        """The object that `lipcert compare --json` prints."""
        return {
            "model": self.model,
            "sha256": self.sha256,
            "norm": str(self.norm),
            "output_norm": str(self.output_norm),
            "outputs": list(self.outputs),
            "scope": scope(self.region, self.anchored),
            "decided": sum(layer.decided for layer in self.layers),
            "layers": [layer.to_dict() for layer in self.layers],
            "lower": self.lower,
            "relaxed": self.relaxed,
            "best": self.best.method,
            "methods": [entry.to_dict() for entry in self.entries],
        }

    def plot(self, ax: Any = None) -> Any:
        """One bar a method, the smallest bound on top and marked, and the lower bound as a line.

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
        proven = [(entry.method, entry.bound) for entry in self.entries if entry.bound is not None]
        # from the bottom: the smallest is on top, of equal ones the first
        bounds = sorted(proven, key=lambda item: item[1].upper)[::-1]
        values = [b.upper for _, b in bounds]
        best = self.best.method
        bars = ax.barh(
            [name for name, _ in bounds], values, color=["C2" if name == best else "C0" for name, _ in bounds]
        )
        marks = [", smallest" if name == best else "" for name, _ in bounds]
        ax.bar_label(bars, [f" {b.upper:.5g} ({b.seconds:.1f} s{m})" for (_, b), m in zip(bounds, marks, strict=True)])
        if self.lower:
            ax.axvline(self.lower, color="black", linestyle="--", label=f"lower bound {self.lower:.5g}")
        if self.relaxed:
            label = f"below this only by which patterns occur, {self.relaxed:.5g}"
            ax.axvline(self.relaxed, color="C1", linestyle=":", label=label)
        if self.lower or self.relaxed:
            ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0))
        target = "|·|" if self.outputs else self.output_norm.symbol
        where = "" if self.region is None else f", {self.scope}"
        ax.set_xlabel(f"proven Lipschitz bound ({self.norm.symbol} → {target}{where})")
        if max(values) > 20.0 * (self.lower or min(values)) > 0.0:
            ax.set_xscale("log")
        ax.margins(x=0.25)
        return ax

    def plot_layers(self, ax: Any = None) -> Any:
        """On a region: the widths of the ranges layer by layer, and how many neurons are decided; as `plot`."""
        return plot_layers(self.layers, ax)

    def named(self, model: str, sha256: str) -> Comparison:
        """The same comparison with the model's file name and hash."""
        return replace(self, model=model, sha256=sha256)


def compare(
    model: Graph | str | Path,
    methods: str | Iterable[str] | None = None,
    *,
    norm: object = 2,
    output_norm: object = None,
    outputs: str | int | Iterable[str | int] = "all",
    solver: str = "auto",
    tolerance: float = 1e-8,
    time_limit: float | None = None,
    lower: bool = True,
    form: str = "comparators",
    jobs: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    solver_options: dict[str, object] | None = None,
    region: Region | None = None,
    anchored: bool = False,
) -> Comparison:
    """Bound a network by several methods.

    Parameters
    ----------
    model
        A graph, or the path of an ONNX file.
    methods
        Names from `lipcert methods`, or one text with commas between them; all by default. A
        method that does not apply to the network, or whose solver is
        not there, is listed with its reason.
    norm, output_norm, outputs, solver, tolerance, form, jobs, progress, solver_options, region, anchored
        As in `lipcert.bound`.
    time_limit
        Seconds for the solver of each method.
    lower
        Whether to look for a lower bound, and for the relaxed maximum.

    Returns
    -------
    Comparison
        With at least one bound.

    Raises
    ------
    InvalidModel, UnsupportedModel
        If a file cannot be read.
    InvalidRequest
        If the arguments do not fit.
    NotCertified
        If no method proved a bound.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]]))
    >>> [(entry.method, round(entry.bound.upper, 6)) for entry in compare(network, ["product", "neuron"]).entries]
    [('product', 10.0), ('neuron', 10.0)]
    """
    settings = Settings("auto", solver, tolerance, time_limit, form, jobs, solver_options or {})
    if isinstance(methods, str):
        methods = [name.strip() for name in methods.split(",") if name.strip()]
    chosen = list(METHODS) if methods is None else list(dict.fromkeys(methods))
    if unknown := [name for name in chosen if name not in METHODS]:
        raise InvalidRequest(f"the method {unknown[0]!r} is not known", advice=f"use {', '.join(METHODS)}")
    if not chosen:
        raise InvalidRequest("no methods to compare", advice=f"name some of {', '.join(METHODS)}")
    graph, name, digest = read_model(model)
    question = Question.parse(norm, output_norm, outputs, graph.output_size).on(region, anchored, graph.input_size)
    entries: list[Entry] = []
    interrupted = False
    for method in chosen:
        if interrupted:
            entries.append(Entry(method, None, "interrupted"))
            continue
        try:
            found = answer(graph, question, replace(settings, method=method), progress=within(progress, method))
        except (DoesNotApply, NotCertified, SolverUnavailable) as error:
            entries.append(Entry(method, None, error.what.removeprefix(f"the method {method} does not apply: ")))
        except MissingExtra as error:
            entries.append(Entry(method, None, str(error)))
        except MemoryError:
            entries.append(Entry(method, None, "not enough memory"))
        except KeyboardInterrupt:
            interrupted = True
            entries.append(Entry(method, None, "interrupted"))
        else:
            interrupted = found.status is Status.INTERRUPTED
            entries.append(Entry(method, found))
    if not any(entry.bound for entry in entries):
        raise NotCertified(
            "no method proved a bound", advice="; ".join(f"{entry.method}: {entry.reason}" for entry in entries)
        )
    searched = lower and not interrupted
    return Comparison(
        tuple(entries),
        _lower(graph, question, progress) if searched else None,
        question.norm,
        question.output_norm,
        question.outputs.labels,
        name,
        digest,
        question.region,
        question.anchored,
        _relaxed(graph, question, progress) if searched else None,
    )


def _lower(graph: Graph, question: Question, progress: Callable[[Progress], None] | None) -> float | None:
    from lipcert.bounds.inside import lower_inside
    from lipcert.bounds.lower_bound import lower_bound

    claim = question.claim
    about, norms = claim.select(graph), (claim.norm, claim.output_norm)
    try:
        if claim.region is None:
            return lower_bound(about, *norms, progress=progress).value
        return lower_inside(about, *norms, claim.region, anchored=claim.anchored, progress=progress).value
    except LipcertError:
        return None


def _relaxed(graph: Graph, question: Question, progress: Callable[[Progress], None] | None) -> float | None:
    from lipcert.bounds.relaxed import relaxed_maximum

    if progress is not None:
        progress(Progress("search for the relaxed maximum"))
    claim = question.claim
    try:
        return relaxed_maximum(posed(graph, claim, COMPARATORS).graph, claim.norm, claim.output_norm)
    except LipcertError:
        return None
