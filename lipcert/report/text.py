"""The text that `lipcert` prints for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Sized
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.refine import CERTIFIED, OPEN, REFUTED, WRONG
from lipcert.figures import downward, duration, upward
from lipcert.sdp.outcome import Status

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.bounds.compare import Comparison
    from lipcert.bounds.jacobian import Jacobian
    from lipcert.bounds.methods import Method
    from lipcert.bounds.radii import Robustness
    from lipcert.bounds.types import Bound, OutputBound
    from lipcert.certificates import Certificate, Verdict
    from lipcert.certificates.classes import ClassVerdict
    from lipcert.graph.summary import Summary
    from lipcert.ranges import LayerOnRegion
    from lipcert.sdp.solvers import Availability

_SHOWN = 4
"""Numbers of a point that are shown."""
_ENTRIES = 200
"""Entries of a Jacobian that are shown one by one."""


_ANSWERS = {
    True: "yes, proven",
    False: "no, refuted by a witness: the lower bound is attained",
    None: "not known: the number lies between the bounds",
}


def header(model: str, summary: Summary) -> str:
    """The network in two lines: file, sizes, activations as recognised."""
    implicit = f", {summary.implicit} implicit" if summary.implicit else ""
    return (
        f"{model}\n"
        f"  {summary.inputs:,} inputs → {summary.outputs:,} outputs; "
        f"{', '.join(summary.activations) or 'no activations'}{implicit}; {summary.channels:,} channels"
    )


def bound(result: Bound, certificate: str | None = None, report: str | None = None) -> str:
    """The table of a bound; upper bounds are rounded up, lower bounds down.

    Parameters
    ----------
    result
        The bound.
    certificate, report
        The files that its certificate and its page were written to, or None.
    """
    what = f"the largest of {len(result.each)} below" if result.each else "all outputs together"
    partial = " so far" if result.status in (Status.TIME_LIMIT, Status.INTERRUPTED) else ""
    rows = [
        (f"upper bound{partial}", f"{upward(result.upper)}   {_norms(result, result.each)}, {what}, {result.scope}")
    ]
    if result.lower is not None:
        rows.append(("lower bound", downward(result.lower)))
    if result.region is not None:
        rows.append(("decided", _decided(result.layers)))
        if result.witness is not None and result.witness.witness is not None:
            rows.append(("attained at", _point(result.witness.witness.point)))
    if result.ratio is not None:
        rows.append(("upper / lower", upward(result.ratio, 5)))
    if result.product is not None:
        gain = f"   {downward(result.product / result.upper, 3)} times the bound" if result.upper > 0 else ""
        rows.append(("norm product", upward(result.product) + gain))
    if result.limit is not None:
        rows.insert(0, (f"at most {result.limit:g}", _ANSWERS[result.holds]))
    if result.leaves:
        rows.append(("branch and bound", tree_of(result)))
    rows.append(("method", result.method))
    rows.append(("solver", _effort(result)))
    rows.append(("status", f"{result.status.value}: {result.status.advice}"))
    rows.append(("time", duration(result.seconds)))
    rows.append(("proven in real arithmetic", "yes" if result.verified else "no"))
    rows += [(name, path) for name, path in (("certificate", certificate), ("report", report)) if path is not None]
    lines = columns(rows)
    if result.each:
        head = ("output", "upper bound", "lower bound", "norm product")
        by = [(item.method,) if result.region is not None else () for item in result.each]
        rows_of_each = [(*_functional(item), *more) for item, more in zip(result.each, by, strict=True)]
        lines += ["", *table((*head, "method") if by[0] else head, rows_of_each)]
    lines += _listed("idealisations", result.idealisations) + _listed("notes", result.notes)
    return "\n".join(lines)


def tree_of(result: Bound) -> str:
    """The tree that branch and bound left, and what is open between the bounds."""
    gap = "no lower bound" if result.gap is None else f"open gap {result.gap:.1e}"
    leaves = "1 leaf" if result.leaves == 1 else f"{result.leaves:,} leaves"
    cuts = "1 cut" if result.depth == 1 else f"{result.depth} cuts"
    return f"{leaves}, the deepest one after {cuts}, {gap}"


def _decided(layers: Sequence[LayerOnRegion]) -> str:
    """How many neurons have one slope on a region."""
    neurons = sum(layer.neurons for layer in layers)
    return f"{sum(layer.decided for layer in layers):,} of {neurons:,} neurons are linear there"


def _point(x: Array) -> str:
    """The first numbers of a point."""
    shown = ", ".join(f"{v:.6g}" for v in x[:_SHOWN].tolist())
    return f"({shown}{f', … {x.size - _SHOWN} more' if x.size > _SHOWN else ''})"


def jacobian(result: Jacobian, written: str | None = None) -> str:
    """The table of the entries of a Jacobian; of a large one the summary."""
    rows = result.facts() + ([("table", written)] if written else [])
    lines = columns(rows)
    if result.low.size <= _ENTRIES:
        lines += ["", *table(("output", "input", "low", "high", "output with input"), result.table())]
    return "\n".join(lines)


def verdict(result: Verdict, certificate: str) -> str:
    """The claim of a certificate that was found valid."""
    claim = result.certificate
    what = f"the largest of {', '.join(claim.outputs)}" if claim.outputs else "all outputs together"
    rows = [
        ("valid", certificate),
        ("proven bound", f"{upward(result.value)}   {_norms(claim, claim.outputs)}, {what}, {claim.claim.place}"),
        (
            "checked",
            "in rational arithmetic" if result.exact else "in floating point with all rounding errors accounted for",
        ),
    ]
    return "\n".join(columns(rows) + _listed("idealisations", claim.idealisations))


def classes(result: ClassVerdict, certificate: str) -> str:
    """The claim of a certificate of classes that was found valid."""
    rows = [("valid", certificate), ("certified samples", f"{result.samples:,}")]
    rows.append(("smallest radius", downward(result.radius)))
    return "\n".join(columns(rows))


def robustness(result: Robustness, radii: Sequence[float], written: Sequence[tuple[str, str]] = ()) -> str:
    """The summary of certified radii; radii are rounded down.

    Parameters
    ----------
    result
        The radii.
    radii
        Where the certified accuracy is shown.
    written
        What was written, and to which file.
    """
    samples = result.radii.size
    sides = f"{samples:,} samples"
    accuracy = "certified accuracy" if result.labels is not None else "certified samples"
    rows = [("data", f"{result.data}, {sides}" if result.data else sides)]
    if result.labels is not None:
        right = int((result.predictions == result.labels).sum())
        rows.append(("accuracy", f"{_percent(right, samples)}   {right:,} of {samples:,}"))
    rows.append(("median radius", f"{downward(result.median)}   {result.norm.symbol}, in units of the network's input"))
    rows.append(("largest radius", downward(float(result.radii.max()))))
    for radius in radii:
        certain = round(result.certified_accuracy(radius) * samples)
        rows.append((f"{accuracy} at {radius:g}", f"{_percent(certain, samples)}   {certain:,} of {samples:,}"))
    if result.at is not None or np.isfinite(result.distances).any():
        where = "" if result.at is None else f" at {result.at:g}"
        for name in (CERTIFIED, REFUTED, OPEN, WRONG):
            count = result.statuses.count(name)
            rows.append((f"{name}{where}" if name != WRONG else name, f"{_percent(count, samples)}   {count:,}"))
        sources = Counter(item.source for item in result.found if item.radius > 0.0)
        rows.append(
            ("radii rest on", ", ".join(f"{count:,} {name}" for name, count in sources.most_common()) or "nothing")
        )
    if result.margins:
        own = sum(item.source == "pair" for item in result.margins)
        joint = (
            f", {len(result.margins) - own} by √2 times the bound of all outputs" if own < len(result.margins) else ""
        )
        rows.append(("margins", f"{own} bounded one by one{joint}"))
        rows.append(("largest margin bound", upward(max(item.upper for item in result.margins))))
    rows.append(("status", f"{result.status.value}: {result.status.advice}"))
    rows.append(("time", duration(result.seconds)))
    rows.append(("proven in real arithmetic", "yes"))
    rows += written
    notes = (
        [f"the final {result.head.replace('_', '-')} is left out: it keeps the order of the outputs"]
        if result.head
        else []
    )
    return "\n".join(columns(rows) + _listed("idealisations", result.idealisations) + _listed("notes", notes))


def comparison(result: Comparison, written: Sequence[tuple[str, str]] = ()) -> str:
    """The table of methods, smallest bound marked; upper bounds are rounded up.

    Parameters
    ----------
    result
        The comparison.
    written
        What was written, and to which file.
    """
    best = result.best
    smallest = best.bound.upper if best.bound else 0.0
    rows = []
    for entry in result.entries:
        if entry.bound is not None:
            times = upward(entry.bound.upper / smallest, 4) if smallest > 0 else ""
            state = entry.bound.status.value.replace("_", " ")
            figures = (
                upward(entry.bound.upper),
                times,
                f"{entry.bound.channels:,}",
                duration(entry.bound.seconds),
                state,
            )
            rows.append((entry.method, *figures, "smallest" if entry is best else ""))
    lines = table(("method", "upper bound", "× smallest", "channels", "time", "status", ""), rows)
    what = f"the largest of {len(result.outputs)} outputs or margins" if result.outputs else "all outputs together"
    facts = [("constant", f"{_norms(result, result.outputs)}, {what}, {result.scope}")]
    if result.region is not None:
        facts.append(("decided", _decided(result.layers)))
    if result.lower is not None:
        facts.append(("lower bound", downward(result.lower)))
    if result.relaxed is not None:
        ranges = "" if result.region is None else ", with these ranges"
        what = f"no method that ignores which patterns occur can go below{ranges} (found by search)"
        facts.append(("relaxed maximum", f"{downward(result.relaxed)}   {what}"))
    facts.append(("proven in real arithmetic", "yes, every bound of the table"))
    lines += ["", *columns([*facts, *written])]
    return "\n".join(
        lines + _listed("not used", (f"{e.method}: {e.reason}" for e in result.entries if e.bound is None))
    )


def round_radii(result: Robustness, count: int = 5) -> list[float]:
    """About so many round radii up to the largest finite one: 1, 2 or 5 times a power of ten apart."""
    finite = result.radii[np.isfinite(result.radii)]
    largest = float(finite.max(initial=0.0))
    if largest <= 0.0:
        return []
    power = 10.0 ** np.floor(np.log10(largest / count))
    step = next(power * unit for unit in (1.0, 2.0, 5.0, 10.0) if power * unit * (count + 1) > largest)
    return [float(f"{k * step:.6g}") for k in range(1, int(largest / step) + 1)]


def _percent(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:.1f} %"


def methods(chosen: Iterable[Method], solvers: Iterable[Availability]) -> str:
    """The bound methods with their sources, and the solvers with what they lack."""
    names = [("auto", "chosen by the size of the network", ""), *((m.name, m.summary, m.source) for m in chosen)]
    lines = ["methods", *table(("name", "what it is", "source"), names)]
    solvers = list(solvers)
    state = [(s.name, s.version or "-", s.summary, "yes" if s.reason is None else "no") for s in solvers]
    lines += ["", "solvers", *table(("name", "version", "what it is", "runs here"), state)]
    return "\n".join(lines + _listed("why not", (f"{s.name}: {s.reason}" for s in solvers if s.reason is not None)))


def columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Names and values, one pair a line.

    Examples
    --------
    >>> columns([("method", "neuron"), ("time", "0.1 s")])
    ['  method   neuron', '  time     0.1 s']
    """
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}   {value}" for name, value in rows]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table with a head, its columns as wide as their entries.

    Examples
    --------
    >>> table(("a", "b"), [("1", "long")])
    ['  a  b', '  1  long']
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]


def _norms(claim: Bound | Certificate | Comparison, functionals: Sized) -> str:
    """The norms of a claim; scalar functionals need none of the output."""
    return f"{claim.norm.symbol} → {'|·|' if functionals else claim.output_norm.symbol}"


def _effort(result: Bound) -> str:
    parts = [result.solver]
    if result.iterations is not None:
        parts.append(f"{result.iterations} iterations")
    if result.relative_gap is not None:
        parts.append(f"relative gap {result.relative_gap:.1e}")
    if result.status is Status.PROOF_LOSS and result.proof_loss is not None:
        parts.append(f"the proof loses {result.proof_loss:.1e}")
    return ", ".join(parts)


def _functional(item: OutputBound) -> tuple[str, str, str, str]:
    lower = "" if item.lower is None else downward(item.lower)
    return item.output, upward(item.upper), lower, "" if item.product is None else upward(item.product)


def _listed(title: str, items: Iterable[str]) -> list[str]:
    lines = [f"  - {item}" for item in items]
    return ["", f"  {title}", *lines] if lines else []
