"""`lipcert compare`: all methods side by side."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lipcert.cli.group import cli
from lipcert.cli.options import (
    FILE,
    NAMES,
    complete_methods,
    effort_options,
    json_option,
    known_methods,
    log_option,
    model_argument,
    norm_options,
    quiet_option,
    read,
    region_options,
    used,
)
from lipcert.files import require_writable

if TYPE_CHECKING:
    from lipcert.samples import Place


@cli.command(short_help="Bound a model by all methods, side by side.")
@model_argument
@click.option(
    "--methods",
    type=NAMES,
    metavar="LIST",
    shell_complete=complete_methods,
    callback=known_methods,
    help="Names that `lipcert methods` lists, with commas between.  [default: all]",
)
@norm_options
@region_options
@effort_options
@click.option("--lower/--no-lower", default=True, show_default=True, help="Look for a lower bound too.")
@click.option("--plot", type=FILE, metavar="FILE", help="Draw the bounds: .png, .svg or .pdf.")
@json_option
@log_option
@quiet_option
def compare(
    model: Path,
    output: str | None,
    methods: tuple[str, ...] | None,
    norm: str,
    output_norm: str | None,
    outputs: str,
    solver: str,
    tolerance: float,
    time_limit: float | None,
    extra: dict[str, object],
    form: str,
    jobs: int | None,
    lower: bool,
    plot: Path | None,
    as_json: bool,
    log: bool,
    quiet: bool,
    place: Place,
) -> None:
    """Bound MODEL by several methods and show the bounds side by side.

    Methods that are not for this network are listed with the reason. The time limit is for each method.
    """
    from lipcert.bounds.compare import compare as run
    from lipcert.graph.summary import summarise
    from lipcert.report import json, plots, text
    from lipcert.report.progress import LiveLine

    if plot is not None:
        require_writable(plot)
        plots.require(plot)
    graph = read(model, output, quiet, log)
    region = place.region(graph.input_size, norm)
    if not (as_json or quiet):
        click.echo(text.header(str(model), summarise(graph)))
    with LiveLine(enabled=not quiet, log=log) as line:
        result = run(
            graph,
            methods,
            norm=norm,
            output_norm=output_norm,
            outputs=outputs,
            solver=solver,
            tolerance=tolerance,
            time_limit=time_limit,
            lower=lower,
            form=form,
            jobs=jobs,
            progress=line,
            solver_options=extra,
            region=region,
            anchored=place.anchored,
        ).named(str(model), hashlib.sha256(model.read_bytes()).hexdigest())
    if plot is not None:
        plots.save(result, plot, model.name, result.plot_layers if result.layers else None)
    written = None if plot is None else str(plot)
    if as_json:
        click.echo(json.dumps(result.to_dict() | {"plot": written} | used()))
    else:
        click.echo(text.comparison(result, [("plot", written)] if written else []))
