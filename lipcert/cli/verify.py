"""`lipcert verify`: check a certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lipcert.cli.group import cli
from lipcert.cli.options import FILE, json_option, model_argument, processes, read, used

if TYPE_CHECKING:
    from pathlib import Path


@cli.command(short_help="Check a certificate against a model.")
@click.argument("certificate", type=FILE)
@model_argument
@click.option("--exact", is_flag=True, help="Check it in rational arithmetic; for networks of about 200 channels.")
@click.option(
    "--jobs", type=int, callback=processes, metavar="N", help="Processes for the leaves of a tree; -1 for all cores."
)
@json_option
def verify(certificate: Path, model: Path, output: str | None, exact: bool, jobs: int | None, as_json: bool) -> None:
    """Check that CERTIFICATE proves its bound, or its classes, for MODEL; needs no solver."""
    from lipcert.certificates import verify as check
    from lipcert.certificates.classes import is_of_classes, load, verify_classes
    from lipcert.report import json, text
    from lipcert.report.progress import LiveLine
    from lipcert.sdp.outcome import Progress

    graph = read(model, output)
    with LiveLine() as line:
        line(Progress("checking the certificate"))
        if is_of_classes(certificate):

            def told(done: int, total: int) -> None:
                line(Progress("checking samples", done, total=total))

            found = verify_classes(load(certificate), graph, str(certificate), told)
            click.echo(
                json.dumps(json.classes(found, str(certificate), str(model)) | used())
                if as_json
                else text.classes(found, str(certificate))
            )
            return
        verdict = check(certificate, graph, exact=exact, jobs=jobs)
    if as_json:
        click.echo(json.dumps(json.verdict(verdict, str(certificate), str(model)) | used()))
    else:
        click.echo(text.verdict(verdict, str(certificate)))
