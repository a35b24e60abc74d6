"""`lipcert jacobian`: intervals of all partial derivatives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lipcert.cli.group import cli
from lipcert.cli.options import FILE, json_option, model_argument, quiet_option, read, region_options, used
from lipcert.errors import InvalidRequest
from lipcert.files import require_writable, write

if TYPE_CHECKING:
    from lipcert.samples import Place


@cli.command(short_help="Bound every partial derivative of a model on a region.")
@model_argument
@region_options
@click.option("--csv", type=FILE, metavar="FILE", help="Write a table there, one line an entry.")
@json_option
@quiet_option
def jacobian(model: Path, output: str | None, csv: Path | None, as_json: bool, quiet: bool, place: Place) -> None:
    """Prove an interval of every ∂y/∂x of MODEL on a region, and tell with which inputs the outputs rise or fall.

    At kinks all elements of Clarke's generalised Jacobian are covered. Without a region it is about the whole space.
    """
    from lipcert.bounds.jacobian import jacobian as prove
    from lipcert.graph.summary import summarise
    from lipcert.report import csv as tables
    from lipcert.report import json, text

    if csv is not None:
        require_writable(csv)
    if place.anchored:
        raise InvalidRequest("derivatives start from no centre", advice="leave --anchored out")
    graph = read(model, output, quiet)
    if not (as_json or quiet):
        click.echo(text.header(str(model), summarise(graph)))
    result = prove(graph, place.region(graph.input_size, "2"))
    if csv is not None:
        write(csv, tables.jacobian(result).encode())
    if as_json:
        click.echo(
            json.dumps(result.to_dict() | {"model": str(model), "csv": None if csv is None else str(csv)} | used())
        )
    else:
        click.echo(text.jacobian(result, None if csv is None else str(csv)))
