"""Run the notebooks from start to end: python notebooks/run.py [NAME…]; with --store, keep their outputs in the files."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run in its own folder; an exception in a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.clear()
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(HERE)}},
    ).execute()
    # which Python ran it is not part of the notebook
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--store", is_flag=True, help="Keep the outputs in the files.")
def main(names: tuple[str, ...], store: bool) -> None:
    known = {path.stem: path for path in sorted(HERE.glob("*.ipynb"))}
    if unknown := set(names) - set(known):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in names or known:
        notebook = execute(known[name])
        if store:
            nbformat.write(notebook, known[name])
        sys.stdout.write(f"ran {name}\n")


if __name__ == "__main__":
    main()
