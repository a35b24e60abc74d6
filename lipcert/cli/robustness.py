"""`lipcert robustness`: certify the radius of every sample."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from lipcert.cli.group import cli
from lipcert.cli.options import (
    FACTOR,
    FILE,
    NORMS,
    NUMBERS,
    PAIR,
    VALUES,
    json_option,
    log_option,
    model_argument,
    positive,
    quiet_option,
    read,
    solver_options,
    used,
)
from lipcert.files import require_writable, write


@cli.command(short_help="Certify the radius of every sample of a classifier.")
@model_argument
@click.argument("data", type=FILE)
@click.option("--norm", type=NORMS, default="2", show_default=True, help="Norm of the radii.")
@click.option("--labels", type=FILE, metavar="FILE", help="The true classes: .npy, .npz or .csv, one number a sample.")
@click.option(
    "--label-column",
    metavar="NAME",
    help="The column of DATA with the true classes, by name or number; in .npz the name of their array.",
)
@click.option("--array", metavar="NAME", help="The array of samples in an .npz file.  [default: x, or the first]")
@click.option(
    "--scale",
    type=FACTOR,
    default=1.0,
    metavar="FACTOR",
    help="Multiply the data by this first, such as 1/255.  [default: 1]",
)
@click.option("--radii", type=NUMBERS, metavar="LIST", help="Show the certified accuracy there, such as 0.1,0.5.")
@click.option(
    "--margins",
    type=click.Choice(["auto", "pairs", "joint"]),
    default="auto",
    show_default=True,
    help="Bound each margin, or only all outputs together (looser, faster); auto bounds those that matter.",
)
@click.option(
    "--at",
    type=float,
    callback=positive,
    metavar="R",
    help="Decide at this radius, with bounds around the samples that the global ones leave open.",
)
@click.option("--local/--no-local", default=None, help="Use bounds around the samples.  [default: with --at]")
@click.option(
    "--branch",
    type=float,
    callback=positive,
    metavar="SECONDS",
    help="Cut the ball around a sample at neurons, that long for each margin that nothing else proves.",
)
@click.option("--attack", is_flag=True, help="Look for a counterexample around every sample.")
@click.option("--domain", type=PAIR, metavar="LOW,HIGH", help="Inputs stay between these ends: 0,1 for images.")
@click.option("--mean", type=VALUES, metavar="LIST", help="Mean of a normalisation that the file lacks, one a channel.")
@click.option("--std", type=VALUES, metavar="LIST", help="Its standard deviations: radii are in the units before it.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Seed of the attack."
)
@click.option(
    "--stream",
    type=FILE,
    metavar="FILE",
    help="Write JSON lines there as they come; a run that was interrupted goes on from them.",
)
@click.option("--certificate", type=FILE, metavar="FILE", help="Write the proofs of all radii, for `lipcert verify`.")
@solver_options
@click.option("--csv", type=FILE, metavar="FILE", help="Write a table there, one line a sample.")
@click.option("--plot", type=FILE, metavar="FILE", help="Draw the certified accuracy: .png, .svg or .pdf.")
@json_option
@log_option
@quiet_option
def robustness(
    model: Path,
    output: str | None,
    data: Path,
    norm: str,
    labels: Path | None,
    label_column: str | None,
    array: str | None,
    scale: float,
    radii: tuple[float, ...] | None,
    margins: str,
    at: float | None,
    local: bool | None,
    branch: float | None,
    attack: bool,
    domain: tuple[float, float] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    seed: int,
    stream: Path | None,
    certificate: Path | None,
    method: str,
    solver: str,
    tolerance: float,
    time_limit: float | None,
    extra: dict[str, object],
    form: str,
    jobs: int | None,
    csv: Path | None,
    plot: Path | None,
    as_json: bool,
    log: bool,
    quiet: bool,
) -> None:
    """Certify, for every sample of DATA, a radius within which the class that MODEL gives it cannot change.

    DATA is .npy, .npz or .csv, one sample a row: the inputs flattened in the order of the network and in its own units, as
    after any preprocessing but --scale, --mean and --std. Radii are in the units behind --scale and before --mean and
    --std. With true classes, samples of another class have the radius 0.
    """
    from lipcert.bounds.robustness import robustness as certify
    from lipcert.graph.summary import summarise
    from lipcert.report import csv as tables
    from lipcert.report import json, plots, text
    from lipcert.report.progress import LiveLine
    from lipcert.samples import read_labelled

    for path in (csv, plot, stream, certificate):
        if path is not None:
            require_writable(path)
    if plot is not None:
        plots.require(plot)
    graph = read(model, output, quiet, log)
    samples = read_labelled(data, graph.input_size, labels=labels, column=label_column, array=array)
    if not (as_json or quiet):
        click.echo(text.header(str(model), summarise(graph)))
    with LiveLine(enabled=not quiet, log=log) as line:
        result = certify(
            graph,
            samples.points * scale,
            samples.labels,
            norm=norm,
            margins=margins,
            method=method,
            solver=solver,
            tolerance=tolerance,
            time_limit=time_limit,
            form=form,
            jobs=jobs,
            progress=line,
            solver_options=extra,
            at=at,
            local=local,
            branch=branch or 0.0,
            attack=attack,
            domain=domain,
            mean=mean,
            std=std,
            seed=seed,
            stream=stream,
        ).named(str(model), hashlib.sha256(model.read_bytes()).hexdigest(), str(data))
    if certificate is not None and result.certificate is not None:
        result.certificate.save(certificate)
    if csv is not None:
        write(csv, tables.robustness(result).encode())
    if plot is not None:
        plots.save(result, plot, model.name)
    outputs = (("table", csv), ("plot", plot), ("certificate", certificate))
    written = [(name, str(path)) for name, path in outputs if path is not None]
    if as_json:
        named = (("csv", csv), ("plot", plot), ("certificate", certificate))
        files = {name: None if path is None else str(path) for name, path in named}
        chosen = [{"radius": r, "certified": result.certified_accuracy(r)} for r in radii or ()]
        click.echo(json.dumps(result.to_dict() | {"certified": chosen} | files | used()))
    else:
        click.echo(text.robustness(result, text.round_radii(result) if radii is None else radii, written))
