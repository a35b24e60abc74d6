"""The command `lipcert`, and how its errors end: in one line and an exit code."""

from __future__ import annotations

import signal
import sys
import warnings
from typing import Any, NoReturn

import click

from lipcert import __version__
from lipcert.errors import LipcertError, short

REFUTED = 1
NOT_PROVEN = 3
INTERNAL_ERROR = 70
"""EX_SOFTWARE of sysexits.h."""
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


class Commands(click.Group):
    """All commands: an error leaves as one line on standard error and an exit code, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if ctx.params["debug"]:
            return super().invoke(ctx)
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        try:
            return super().invoke(ctx)
        except LipcertError as error:
            _fail(str(error), error.exit_code)
        except MemoryError:
            _fail("the memory does not suffice; try --method layer or --method product", NOT_PROVEN)
        except KeyboardInterrupt:
            _fail("interrupted before a bound was proven", INTERRUPTED)
        except click.UsageError as error:
            error.__dict__["message"] = short(error.message)
            raise
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            _fail(
                f"internal error: {type(error).__name__}: {error}; this is a defect of lipcert, please report it "
                "with the output of the same command under LIPCERT_DEBUG=1",
                INTERNAL_ERROR,
            )


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"lipcert: error: {' '.join(message.split())}", err=True)
    raise click.exceptions.Exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lipcert", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, envvar="LIPCERT_DEBUG", help="Show the traceback of errors.")
def cli(debug: bool) -> None:
    """Proven Lipschitz bounds for neural networks, from an ONNX file.

    Exit codes: 0 a proven bound or a valid certificate; 1 an invalid certificate, or --at-most refuted; 2 wrong usage, or a
    model that is unreadable or not supported; 3 no bound could be proven, or --at-most not decided.
    """


def main() -> None:
    """The entry point of the command `lipcert`."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    # a scheduler that ends a job gets the best bound so far, as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli(prog_name="lipcert")
