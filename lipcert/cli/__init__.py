"""The command line, a file a command. Commands import what they need when they run, so that `lipcert --help` is quick.

A new command is one more file with a function under `@cli.command()`, named here; `Commands` turns every error into one line
and an exit code.
"""

from lipcert.cli import bound, compare, jacobian, look, robustness, verify
from lipcert.cli.group import cli, main

__all__ = ["bound", "cli", "compare", "jacobian", "look", "main", "robustness", "verify"]
