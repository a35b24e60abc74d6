"""One self-contained HTML page about a bound: no scripts, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.branch.tree import STAGE
from lipcert.bounds.layers import layers
from lipcert.figures import downward, duration, upward
from lipcert.files import write
from lipcert.graph.summary import summarise
from lipcert.norms import Norm
from lipcert.report.charts import Bar, Box, Line, bars, boxes, lines, pairs
from lipcert.report.markup import Content, Element, render, tag
from lipcert.report.text import tree_of
from lipcert.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lipcert.bounds.layers import Layers
    from lipcert.bounds.types import Bound
    from lipcert.graph.nodes import Graph
    from lipcert.sdp.outcome import Progress

EMBEDDED = 2**20
"""Certificates up to this size in bytes are part of the page."""
_ROWS = 100
"""Rows of a table that are shown."""
_TOLD_APART = 5
"""Programs whose lines look different."""
_LAYERS = 40
"""Layers that are drawn."""
_STEPS, _MOMENTS = 300, 12
"""Rounds of branch and bound that are drawn, and that stand in the table."""

# what the browser may load: the styles in the page
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #57606a; --paper: #fff; --rule: #d0d7de; --box: #f6f8fa;
  --ours: #0b7a53; --theirs: #b3471b; --below: #5b5fc7 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3; --paper: #0d1117; --rule: #3d444d;
  --box: #161b22; --ours: #3fb58b; --theirs: #f0894d; --below: #9a9df5 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; border-bottom: 1px solid var(--rule); padding-bottom: .3rem }
p { margin: .5rem 0; max-width: 46rem }
.claim { font-size: 1.15rem; padding: .9rem 1.1rem; background: var(--box); border-left: .3rem solid var(--ours) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; margin: .75rem 0; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--rule); vertical-align: top;
  overflow-wrap: anywhere }
th { font-weight: 600 }
th[scope=col] { overflow-wrap: normal }
td.number { text-align: right; white-space: nowrap }
code, pre { font: .9em ui-monospace, monospace; overflow-wrap: anywhere }
pre { background: var(--box); padding: .8rem 1rem; overflow-x: auto }
a { color: var(--ours) }
:focus-visible { outline: 2px solid var(--ours); outline-offset: 2px }
figure { margin: 1rem 0 }
figcaption { color: var(--soft); font-size: .92rem }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, sans-serif }
svg text { fill: var(--ink) }
svg .end { text-anchor: end }
svg .middle { text-anchor: middle }
svg .grid { stroke: var(--rule) }
svg .ours { fill: var(--ours) }
svg .theirs { fill: var(--theirs) }
svg .below { fill: var(--below) }
svg .ink { fill: var(--ink) }
svg .line { fill: none; stroke-width: 2 }
svg .line.ours { stroke: var(--ours) }
svg .line.run1 { stroke-dasharray: 9 3 }
svg .line.run2 { stroke-dasharray: 3 3 }
svg .line.run3 { stroke-dasharray: 9 3 2 3 }
svg .line.run4 { stroke-width: 4; opacity: .6 }
svg .line.rest { stroke-width: 1; opacity: .35 }
svg .line.theirs { stroke: var(--theirs); stroke-dasharray: 7 4 }
svg .line.below { stroke: var(--below); stroke-dasharray: 2 3 }
svg .line.ink { stroke: var(--ink) }
footer { margin-top: 3rem; color: var(--soft); font-size: .9rem }
"""


def save_report(bound: Bound, graph: Graph, path: str | Path, certificate: str = "") -> None:
    """Write a self-contained HTML page about a bound; an existing file is replaced atomically.

    Parameters
    ----------
    bound
        A bound of this network.
    graph
        The network.
    path
        The file.
    certificate
        The file that the certificate was written to, if it was.

    Examples
    --------
    >>> import tempfile
    >>> import lipcert
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_report(lipcert.bound(network), network, f"{folder}/report.html")
    ...     Path(f"{folder}/report.html").read_text()[:15]
    '<!DOCTYPE html>'
    """
    write(path, page(bound, graph, certificate, date.today().isoformat()).encode())


def page(bound: Bound, graph: Graph, certificate: str = "", day: str = "") -> str:
    """The text of the page; arguments as in `save_report`, and the day when it is written."""
    name = Path(bound.model).name or graph.source or "a network"
    shares = layers(bound, graph)
    body = tag(
        "main",
        tag("h1", "Lipschitz bound of ", tag("bdi", name)),
        *_claim(bound),
        *_summary(bound, graph),
        *_bounds(bound),
        *_each(bound),
        *_region(bound),
        *_convergence(bound),
        *_branching(bound),
        *_layers(bound, shares),
        *_remarks(bound),
        *_proof(bound, graph, certificate),
        tag("footer", f"Written by lipcert {__version__}{f' on {day}' if day else ''}. The page loads nothing."),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Lipschitz bound of {name}"),
        tag("style", _STYLE),
    )
    return f"<!DOCTYPE html>\n{render(tag('html', head, tag('body', body), lang='en'))}\n"


def _claim(bound: Bound) -> list[Element]:
    changed = {Norm.L1: "‖x − x′‖₁", Norm.L2: "‖x − x′‖₂", Norm.LINF: "‖x − x′‖∞"}[bound.norm]
    moved = {Norm.L1: "‖f(x) − f(x′)‖₁", Norm.L2: "‖f(x) − f(x′)‖₂", Norm.LINF: "‖f(x) − f(x′)‖∞"}[bound.output_norm]
    if bound.each:
        moved = "|g(x) − g(x′)|"
    if bound.anchored:
        changed, moved = (text.replace("x′", "c") for text in (changed, moved))
    claim = tag(
        "p", tag("strong", f"{moved} ≤ {upward(bound.upper)} · {changed}"), f" for {_where(bound)}", class_="claim"
    )
    which = f", for each g of the {len(bound.each)} outputs and margins below" if bound.each else ""
    proof = "This is proven in exact real arithmetic for the weights in the file, all rounding errors accounted for"
    return [
        claim,
        tag("p", f"{proof}{which}. The larger the number, the more the network can amplify a change of its input."),
    ]


def _where(bound: Bound) -> str:
    """Which points a bound is about."""
    if bound.region is None:
        return "all inputs x and x′"
    which = "every x, from the centre c on," if bound.anchored else "all x and x′"
    return f"{which} {bound.region.describe()}"


def _summary(bound: Bound, graph: Graph) -> list[Element]:
    summary = summarise(graph)
    effort = [bound.solver]
    if bound.iterations is not None:
        effort.append(f"{bound.iterations} iterations")
    if bound.relative_gap is not None:
        effort.append(f"relative gap {bound.relative_gap:.1e}")
    rows: list[tuple[str, str]] = [
        ("inputs → outputs", f"{bound.inputs:,} → {bound.outputs:,}"),
        ("activations", ", ".join(summary.activations) or "none"),
        ("parameters", f"{summary.parameters:,}"),
        ("channels of the program", f"{bound.channels:,}"),
        ("upper bound", upward(bound.upper)),
    ]
    if summary.implicit:
        rows.insert(3, ("implicit layers", f"{summary.implicit}, proven to have exactly one solution"))
    if bound.lower is not None:
        rows.append(("lower bound", downward(bound.lower)))
    if bound.ratio is not None:
        rows.append(("upper / lower", upward(bound.ratio, 5)))
    if bound.product is not None:
        rows.append(("norm product", upward(bound.product)))
    if bound.leaves:
        rows.append(("branch and bound", tree_of(bound)))
    rows += [
        ("norms", f"{bound.norm.symbol} → {'|·|' if bound.each else bound.output_norm.symbol}"),
        ("method", bound.method),
        ("solver", ", ".join(effort)),
        ("status", f"{bound.status.value}: {bound.status.advice}"),
        ("time", duration(bound.seconds)),
    ]
    body = [tag("tr", tag("th", key, scope="row"), tag("td", tag("bdi", value))) for key, value in rows]
    return [tag("h2", "Summary"), tag("div", tag("table", tag("tbody", *body)), class_="scroll")]


def _bounds(bound: Bound) -> list[Element]:
    rows = [Bar("proven bound", bound.upper, upward(bound.upper))]
    if bound.product is not None:
        rows.insert(0, Bar("norm product", bound.product, upward(bound.product), "theirs"))
    if bound.lower is not None:
        rows.append(Bar("lower bound", bound.lower, downward(bound.lower), "below"))
    if len(rows) < 2 or bound.upper <= 0:
        return []
    positive = [row.value for row in rows if row.value > 0]
    log = max(positive) > 50.0 * min(positive)
    text = "; ".join(f"{row.label} {row.text}" for row in rows)
    caption = "The true constant lies between the lower bound and the proven bound."
    if log:
        caption += " The axis is logarithmic."
    return [tag("h2", "Bounds"), _figure(bars("The bounds", text, rows, log=log), caption)]


def _each(bound: Bound) -> list[Element]:
    if not bound.each:
        return []
    ranked = sorted(bound.each, key=lambda item: -item.upper)
    head: tuple[str, ...] = ("output", "upper bound", "lower bound", "norm product")
    rows: list[tuple[str, ...]] = [
        (
            i.output,
            upward(i.upper),
            "" if i.lower is None else downward(i.lower),
            "" if i.product is None else upward(i.product),
        )
        for i in ranked[:_ROWS]
    ]
    if bound.region is not None:
        head = (*head, "method")
        rows = [(*row, i.method) for row, i in zip(rows, ranked, strict=False)]
    more = f", the largest {_ROWS} of {len(ranked)}" if len(ranked) > _ROWS else ""
    return [tag("h2", "Outputs and margins"), _table(f"One bound each{more}; 3-5 is the margin y₃ − y₅", head, rows)]


def _region(bound: Bound) -> list[Element]:
    """What became of the layers on the region: neurons with one slope, and the widths of what goes into them."""
    if bound.region is None:
        return []
    neurons = sum(layer.neurons for layer in bound.layers)
    found = [tag("h2", "On the region")]
    intro = (
        f"The bound holds {bound.region.describe()}. A neuron whose input stays on one linear piece there is decided: it "
        "has one slope and takes no channel of the program. The others have the slopes that are possible on their range."
    )
    found.append(tag("p", intro))
    if not neurons:
        return found
    everything = [(layer.name or f"layer {k + 1}", layer) for k, layer in enumerate(bound.layers)]
    named = everything[:_LAYERS]
    text = "; ".join(f"{name}: {layer.decided} of {layer.neurons}" for name, layer in named)
    rows = [(name, float(layer.neurons), float(layer.decided)) for name, layer in named]
    chart = pairs("Neurons decided", text, rows, ("neurons", "of which decided"))
    found.append(_figure(chart, f"{bound.decided:,} of {neurons:,} neurons are linear on the region."))
    finite = [(name, layer.quantiles) for name, layer in named if layer.bounded and layer.quantiles[-1] > 0.0]
    if finite:
        # zero has no place on a logarithmic axis
        least = min(q for _, quantiles in finite for q in quantiles if q > 0.0)
        spreads = [
            Box(name, (max(q[0], least), max(q[1], least), max(q[2], least), max(q[3], least), max(q[4], least)))
            for name, q in finite
        ]
        text = "; ".join(f"{name}: median {q[2]:.4g}, largest {q[4]:.4g}" for name, q in finite)
        chart = boxes("Widths of the ranges", text, spreads, mark="")
        caption = (
            "How far apart the ends of the proven ranges are, layer by layer, input first: boxes hold the middle half of a "
            "layer's neurons, lines reach to the extremes. The axis is logarithmic."
        )
        found.append(_figure(chart, caption))
    numbers = [
        (name, f"{layer.neurons:,}", f"{layer.decided:,}", *(f"{layer.quantiles[k]:.4g}" for k in (0, 2, 4)))
        for name, layer in everything[:_ROWS]
    ]
    head = ("layer", "neurons", "decided", "least width", "median", "largest")
    found.append(_table("The same as numbers", head, numbers))
    return found


def _convergence(bound: Bound) -> list[Element]:
    solved = [p for p in bound.trace if p.stage != STAGE]
    steps = [p for p in solved if p.bound is not None and math.isfinite(p.bound) and p.bound > 0]
    if len(steps) < 2:
        return []
    runs = _runs(steps)
    named = _named(runs, [item.output for item in bound.each])
    values = [float(p.bound or 0.0) for p in steps]
    series = [
        Line(label, [p.seconds for p in run], [float(p.bound or 0.0) for p in run], kind)
        for run, (label, kind) in zip(runs, named, strict=True)
    ]
    proven = [Line("", *_stairs(run), "ink") for run in runs if len({p.proven for p in run}) > 1]
    if proven:
        series += [replace(proven[0], label="proven by then"), *proven[1:]]
    if bound.product is not None:
        series.append(Line("norm product", [], [bound.product], "theirs", flat=True))
    if bound.lower:
        series.append(Line("lower bound", [], [bound.lower], "below", flat=True))
    log = max(values) > 20.0 * min(values)
    first, last = (f"{run.bound:.5g} after {run.seconds:.3g} s" for run in (steps[0], steps[-1]))
    many = f", {len(runs)} programs in the order of the legend, a line each" if len(runs) > 1 else ""
    text = f"From {first} to {last} in {len(steps)} steps{many}."
    which = "last ones are" if many else "last one is"
    caption = f"The bound that the solver's best feasible point stands for{many}. Only the {which} proven."
    if proven:
        caption += " The stairs are what was proven on the way."
    found: list[Element] = [
        tag("h2", "Convergence"),
        _figure(lines("Bound over time", text, series, across="seconds", log=log), caption),
    ]
    gaps = [
        [(p.seconds, float(p.gap)) for p in run if p.gap is not None and math.isfinite(p.gap) and p.gap > 0]
        for run in runs
    ]
    drawn = [
        Line(label if len(runs) > 1 else "relative gap", [x for x, _ in run], [y for _, y in run], kind)
        for run, (label, kind) in zip(gaps, named, strict=True)
        if len(run) > 1
    ]
    if drawn:
        text = f"From {drawn[0].y[0]:.1e} to {drawn[-1].y[-1]:.1e}{many}."
        chart = lines("Relative duality gap over time", text, drawn, across="seconds", log=True)
        found.append(_figure(chart, "How far the solver was from the optimum, as far as it knows."))
    return found


def _branching(bound: Bound) -> list[Element]:
    """The tree that branch and bound left, and how it brought the two bounds together."""
    if not bound.leaves:
        return []
    found = [tag("h2", "Branch and bound"), tag("p", f"{tree_of(bound).capitalize()}.")]
    steps = [p for p in bound.branching if p.proven is not None and math.isfinite(p.proven)]
    if len(steps) < 2:
        return found
    shown = _thinned(steps, _STEPS)
    series = [Line("upper bound", *_stairs(shown), "ours")]
    below = [(p.seconds, p.below) for p in shown if p.below is not None]
    if below:
        series.append(Line("lower bound", *_corners(below), "below"))
    first, last = (
        f"{p.proven:.5g}{'' if p.below is None else f' over {p.below:.5g}'} after {p.seconds:.3g} s"
        for p in (steps[0], steps[-1])
    )
    text = f"From {first} to {last} in {len(steps)} rounds."
    caption = (
        "Both bounds are proven at every moment: the largest of the leaves, and the steepest place that was found."
    )
    found.append(_figure(lines("Both bounds over time", text, series, across="seconds"), caption))
    rows = [
        (
            f"{p.seconds:.3g}",
            f"{p.iteration:,}",
            upward(p.proven or 0.0),
            "" if p.below is None else downward(p.below),
            "" if not p.below or p.proven is None else f"{p.proven / p.below - 1.0:.1e}",
        )
        for p in _thinned(steps, _MOMENTS)
    ]
    head = ("seconds", "leaves", "upper bound", "lower bound", "open gap")
    return [*found, _table("The same as numbers", head, rows, left=0)]


def _thinned(steps: Sequence[Progress], most: int) -> list[Progress]:
    """About evenly chosen ones, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int))
    return [steps[k] for k in chosen.tolist()]


def _named(runs: Sequence[Sequence[Progress]], outputs: Sequence[str]) -> list[tuple[str, str]]:
    """The label and the kind of the line of each run; the first few are told apart, the others share one look."""
    if len(runs) == 1:
        return [("feasible point of the solver", "ours")]
    found = []
    for k, run in enumerate(runs):
        whole = run[0].stage.rpartition(": ")[0]
        # the programs of selected outputs come in their order
        label = f"output {outputs[k]}" if len(runs) == len(outputs) else whole or f"program {k + 1}"
        if k < _TOLD_APART:
            found.append((label, f"ours run{k}"))
        else:
            found.append((f"{len(runs) - _TOLD_APART} more" if k == _TOLD_APART else "", "ours rest"))
    return found


def _stairs(steps: Sequence[Progress]) -> tuple[list[float], list[float]]:
    """The corners of what is proven over time."""
    return _corners([(p.seconds, p.proven) for p in steps if p.proven is not None])


def _corners(known: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The corners of what changes at moments."""
    corners = list(known[:1])
    for seconds, value in known[1:]:
        if value != corners[-1][1]:
            corners += [(seconds, corners[-1][1]), (seconds, value)]
    corners.append((known[-1][0], corners[-1][1]))
    return [x for x, _ in corners], [y for _, y in corners]


def _runs(steps: Sequence[Progress]) -> list[list[Progress]]:
    """The steps cut where another program begins."""
    runs: list[list[Progress]] = []
    for step in steps:
        before = runs[-1][-1] if runs else None
        if before is None or step.stage != before.stage or step.iteration < before.iteration:
            runs.append([])
        runs[-1].append(step)
    return runs


def _layers(bound: Bound, shares: Layers | None) -> list[Element]:
    if shares is None or not shares.layers:
        return []
    steps = shares.factors()
    compared = all(norm is not None for _, norm, _ in steps)
    found = [tag("h2", "Layer by layer")]
    of_all = f" of {max(bound.each, key=lambda item: item.upper).output}, the largest bound" if bound.each else ""
    intro = (
        "A multiplier of the semidefinite program says how much a unit change of a channel can move the output. Its median "
        "over a layer, divided by that of the next layer, is the layer's factor: from the input to the output the factors "
        f"multiply to the bound{of_all}."
    )
    if compared:
        intro += " In the norm product the layer has its norm as a factor; where the bound has a smaller one, it gains."
    found.append(tag("p", intro))
    shown = steps[:_LAYERS]
    text = "; ".join(f"{name}: {f'{norm:.4g} and ' if norm else ''}{ours:.4g}" for name, norm, ours in shown)
    labelled = [(f"→{name.rpartition('→')[2]}", norm, ours) for name, norm, ours in shown]
    if compared:
        chart = pairs("Factors of the layers", text, labelled, ("in the norm product", "in the proven bound"))
    else:
        chart = bars("Factors of the layers", text, [Bar(name, ours, f"{ours:.4g}") for name, _, ours in labelled])
    some = f"The first {_LAYERS} steps." if len(steps) > _LAYERS else f"{len(steps)} steps, input first."
    found.append(_figure(chart, some))
    head = ("step", "proven bound", *(("norm product", "quotient") if compared else ()))
    rows = [
        (name, f"{ours:.5g}", *((f"{norm:.5g}", f"{norm / ours:.3g}") if compared and norm else ()))
        for name, norm, ours in steps[:_ROWS]
    ]
    found.append(_table("The same as numbers", head, rows))
    found += [tag("h2", "Multipliers"), tag("p", "How they differ within a layer, as changes of the output.")]
    drawn = shares.layers[:_LAYERS]
    spreads = [
        Box(layer.name or layer.what, _quantiles(layer.sensitivity, (0.0, 0.25, 0.5, 0.75, 1.0)), layer.product)
        for layer in drawn
    ]
    text = "; ".join(f"{layer.what}: median {layer.typical:.4g}" for layer in drawn)
    chart = boxes("Distribution of the multipliers", text, spreads, mark="the same by the norm product")
    caption = "Boxes hold the middle half of a layer's channels, lines reach to the extremes. The axis is logarithmic."
    found.append(_figure(chart, caption))
    rows4 = [
        (
            layer.name,
            layer.what,
            f"{layer.sensitivity.size:,}",
            *(f"{q:.4g}" for q in _quantiles(layer.sensitivity, (0, 0.5, 1))),
        )
        for layer in shares.layers[:_ROWS]
    ]
    found.append(
        _table("The same as numbers", ("node", "layer", "multipliers", "least", "median", "largest"), rows4, left=2)
    )
    return found


def _remarks(bound: Bound) -> list[Element]:
    idealisations = tag("ul", *(tag("li", tag("bdi", text)) for text in bound.idealisations))
    found: list[Element] = [tag("h2", "What the bound is about")]
    if bound.idealisations:
        found += [tag("p", "The function that is bounded differs from the file in this:"), idealisations]
    else:
        found.append(
            tag(
                "p",
                f"The function in the file, in exact real arithmetic, for {_where(bound)}. Inference in float32 rounds.",
            )
        )
    if bound.notes:
        found += [
            tag("p", "Tried and given up on the way:"),
            tag("ul", *(tag("li", tag("bdi", text)) for text in bound.notes)),
        ]
    return found


def _proof(bound: Bound, graph: Graph, certificate: str) -> list[Element]:
    found: list[Element] = [tag("h2", "Proof")]
    model = Path(bound.model).name if bound.model.endswith(".onnx") else "MODEL.onnx"
    rows = [("network", graph.fingerprint.hex())]
    if bound.sha256:
        rows.insert(0, (f"file {model}", bound.sha256))
    if bound.certificate is None:
        found.append(
            tag("p", "The bound is a closed form without a certificate: run the same command to get it again.")
        )
    else:
        text = bound.certificate.to_json().encode()
        rows.append(("certificate", hashlib.sha256(text).hexdigest()))
        name = Path(certificate).name or f"{Path(model).stem}.lipcert.json"
        found.append(tag("p", "Anybody can check the bound with the model and the certificate, without a solver:"))
        found.append(tag("pre", f"lipcert verify {name} {model}"))
        if len(text) <= EMBEDDED:
            link = f"data:application/json;base64,{base64.b64encode(text).decode()}"
            found.append(
                tag("p", tag("a", "Save the certificate", href=link, download=name), f" ({len(text):,} bytes)")
            )
        elif not certificate:
            found.append(tag("p", "It is too large for this page: lipcert bound --certificate writes it."))
    body = [tag("tr", tag("th", key, scope="row"), tag("td", tag("code", value))) for key, value in rows]
    found.append(tag("div", tag("table", tag("caption", "SHA-256"), tag("tbody", *body)), class_="scroll"))
    return found


def _quantiles(values: np.ndarray, parts: Sequence[float]) -> tuple[float, ...]:
    return tuple(map(float, np.quantile(values, parts)))


def _figure(chart: Element, caption: str) -> Element:
    return tag("figure", chart, tag("figcaption", caption))


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> Element:
    """A table whose first `left` columns are texts and whose others are numbers."""
    body = [
        tag("tr", *(tag("td", tag("bdi", v)) if k < left else tag("td", v, class_="number") for k, v in enumerate(row)))
        for row in rows
    ]
    top: list[Content] = [tag("th", title, scope="col") for title in head]
    table = tag("table", tag("caption", caption), tag("thead", tag("tr", *top)), tag("tbody", *body))
    return tag("div", table, class_="scroll")
