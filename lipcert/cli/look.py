"""`lipcert inspect` and `lipcert methods`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lipcert.cli.group import cli
from lipcert.cli.options import json_option, model_argument, read

if TYPE_CHECKING:
    from pathlib import Path


@cli.command(short_help="Show a model as recognised.")
@model_argument
@json_option
def inspect(model: Path, output: str | None, as_json: bool) -> None:
    """Show the inputs, outputs, layers and activations of MODEL as recognised."""
    from lipcert.graph.summary import summarise
    from lipcert.report import json

    summary = summarise(read(model, output))
    click.echo(json.dumps(summary.to_dict()) if as_json else str(summary))


@cli.command(short_help="List the methods and the solvers.")
@json_option
def methods(as_json: bool) -> None:
    """List the bound methods, and the solvers with what keeps them from running here."""
    from lipcert.bounds.table import METHODS
    from lipcert.report import json, text
    from lipcert.sdp.solvers import available

    chosen, solvers = list(METHODS.values()), available()
    click.echo(json.dumps(json.methods(chosen, solvers)) if as_json else text.methods(chosen, solvers))
