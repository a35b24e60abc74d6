"""`lipcert bound`: prove an upper bound."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lipcert import budget
from lipcert.cli.group import NOT_PROVEN, REFUTED, cli
from lipcert.cli.options import (
    FILE,
    YEAR,
    json_option,
    limit,
    log_option,
    model_argument,
    norm_options,
    positive,
    quiet_option,
    read,
    region_options,
    seconds,
    solver_options,
    used,
)
from lipcert.errors import InvalidRequest
from lipcert.files import require_writable

if TYPE_CHECKING:
    from lipcert.samples import Place


@cli.command(short_help="Prove an upper bound for a model.")
@model_argument
@norm_options
@region_options
@solver_options
@click.option("--certificate", type=FILE, metavar="FILE", help="Write the certificate there, for `lipcert verify`.")
@click.option("--report", type=FILE, metavar="FILE", help="Write a self-contained HTML page with figures there.")
@click.option("--at-most", type=float, callback=limit, metavar="L",
              help="Only decide whether the constant is at most L; stops as soon as it is known.")  # fmt: skip
@click.option(
    "--branch",
    type=float,
    is_flag=False,
    flag_value=YEAR,
    callback=seconds,
    metavar="[SECONDS]",
    help="Branch and bound, that long or until the gap is closed.",
)
@click.option(
    "--branch-on",
    type=click.Choice(["auto", "neurons", "inputs", "channels"]),
    default="auto",
    show_default=True,
    help="What --branch cuts: sides of neurons (exact, piecewise linear networks), the inputs, or signs of channels.",
)
@click.option(
    "--gap",
    type=float,
    callback=positive,
    default=1e-3,
    show_default=True,
    metavar="G",
    help="The upper / lower − 1 at which --branch ends.",
)
@click.option("--lower/--no-lower", default=True, show_default=True, help="Look for a lower bound too.")
@click.option(
    "--lower-seconds",
    type=float,
    callback=seconds,
    metavar="SECONDS",
    help="Look for it that long.  [default: steps that depend on the network alone; what --time-limit leaves]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Seed of that search."
)
@click.option("--data", type=FILE, metavar="FILE",
              help="Samples to start the lower bound from: .npy, .npz or .csv, one a row.")  # fmt: skip
@json_option
@log_option
@quiet_option
def bound(
    model: Path,
    output: str | None,
    norm: str,
    output_norm: str | None,
    outputs: str,
    method: str,
    solver: str,
    tolerance: float,
    time_limit: float | None,
    extra: dict[str, object],
    form: str,
    jobs: int | None,
    certificate: Path | None,
    report: Path | None,
    at_most: float | None,
    branch: float | None,
    branch_on: str,
    gap: float,
    lower: bool,
    lower_seconds: float | None,
    seed: int,
    data: Path | None,
    as_json: bool,
    log: bool,
    quiet: bool,
    place: Place,
) -> None:
    """Prove an upper bound on the Lipschitz constant of MODEL, an ONNX file.

    Ctrl-C ends the search and reports the best bound that could be proven so far. With --at-most the exit code is 0
    where the constant is proven to be at most L, 1 where a witness refutes it, and 3 where neither is known.
    """
    from lipcert.bounds.api import bound as prove
    from lipcert.bounds.decide import decide
    from lipcert.graph.summary import summarise
    from lipcert.report import json, text
    from lipcert.report.progress import LiveLine
    from lipcert.samples import read_samples

    for path in (certificate, report):
        if path is not None:
            require_writable(path)
    # the limit is for reading too
    click.get_current_context().with_resource(budget.within(time_limit))
    graph = read(model, output, quiet, log)
    samples = None if data is None else read_samples(data, graph.input_size).T
    region = place.region(graph.input_size, norm)
    silent = as_json or quiet
    if not silent:
        click.echo(text.header(str(model), summarise(graph)))
    with LiveLine(enabled=not quiet, log=log) as line:
        compute = prove if at_most is None else partial(decide, limit=at_most)
        result = compute(
            graph,
            norm=norm,
            output_norm=output_norm,
            outputs=outputs,
            method=method,
            solver=solver,
            tolerance=tolerance,
            time_limit=time_limit,
            branch=False if branch is None else branch,
            branch_on=branch_on,
            gap=gap,
            lower=lower,
            lower_seconds=lower_seconds,
            seed=seed,
            data=samples,
            form=form,
            jobs=jobs,
            progress=line,
            solver_options=extra,
            region=region,
            anchored=place.anchored,
        ).named(str(model), hashlib.sha256(model.read_bytes()).hexdigest())
    written: dict[str, str | None] = {"certificate": None, "report": None}
    if certificate is not None:
        if result.certificate is None:
            raise InvalidRequest(
                "this bound has no certificate to write",
                advice="leave --certificate out, or name a method that has one, such as --method neuron",
            )
        result.certificate.save(certificate)
        written["certificate"] = str(certificate)
    if report is not None:
        from lipcert.report.html import save_report

        save_report(result, graph, report, written["certificate"] or "")
        written["report"] = str(report)
    click.echo(json.dumps(result.to_dict() | written | used()) if as_json else text.bound(result, **written))
    if at_most is not None and not result.holds:
        raise click.exceptions.Exit(NOT_PROVEN if result.holds is None else REFUTED)
