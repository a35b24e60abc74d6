"""Options and arguments that several commands have, and how their text is read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from lipcert import __version__, budget
from lipcert.errors import InvalidRequest

if TYPE_CHECKING:
    from lipcert.graph.nodes import Graph

F = TypeVar("F", bound=Callable[..., Any])

YEAR = 366 * 86400.0
"""The longest time that an option takes, in seconds; no limit is to leave the option out."""
MOST_PROCESSES = 1024


def positive(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A finite number above zero."""
    if value is not None and not 0.0 < value < float("inf"):
        raise click.BadParameter(f"{value} is not above zero" if not value > 0.0 else f"{value} is not finite")
    return value


def seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A time above zero, and no longer than a year."""
    if value is not None and value > YEAR:
        raise click.BadParameter(f"{value} s are more than a year")
    return positive(ctx, param, value)


def processes(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    """A number of processes, or how many of the cores to leave free as a negative one."""
    if value is not None and not -MOST_PROCESSES <= value <= MOST_PROCESSES:
        raise click.BadParameter(f"{value} is no number of processes from -{MOST_PROCESSES} to {MOST_PROCESSES}")
    return value


def _assignments(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, object]:
    """NAME=VALUE, repeated; numbers and true/false are read as such."""
    found: dict[str, object] = {}
    for item in value:
        name, equals, text = item.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{item!r} is not NAME=VALUE")
        found[name] = {"true": True, "false": False}.get(text.lower(), text)
        for number in (float, int):
            with suppress(ValueError):
                found[name] = number(text)
    return found


def _known_method(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """The name of a method, before a model is loaded for it."""
    from lipcert.bounds.table import METHODS

    if value != "auto" and value not in METHODS:
        raise InvalidRequest(f"the method {value!r} is not known", advice=f"use auto, {', '.join(METHODS)}")
    return value


def known_methods(ctx: click.Context, param: click.Parameter, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Names of methods, before a model is loaded for them."""
    from lipcert.bounds.table import METHODS

    for name in value or ():
        if name not in METHODS:
            raise InvalidRequest(f"the method {name!r} is not known", advice=f"use {', '.join(METHODS)}")
    return value


def _known_solver(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """The name of a solver, before a model is loaded for it."""
    from lipcert.sdp.solvers import SOLVERS

    names = ("auto", *SOLVERS)
    if value not in names:
        raise InvalidRequest(f"the solver {value!r} is not known", advice=f"use {', '.join(names)}")
    return value


def limit(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A limit that a Lipschitz constant may have."""
    if value is not None and not 0.0 <= value < float("inf"):
        raise click.BadParameter(f"{value} is no limit of a Lipschitz constant")
    return value


_FILES = (
    "model",
    "data",
    "certificate",
    "report",
    "labels",
    "csv",
    "plot",
    "stream",
    "as_json",
    "quiet",
    "log",
    "at_most",
)


def used() -> dict[str, object]:
    """The version and the options of this run, for its JSON object."""
    given = click.get_current_context().params
    options = {"solver_option" if key == "extra" else key: value for key, value in given.items() if key not in _FILES}
    return {"lipcert": __version__, "options": options}


def _complete_method(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from lipcert.bounds.table import METHODS

    return [name for name in ("auto", *METHODS) if name.startswith(incomplete)]


def complete_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from lipcert.bounds.table import METHODS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in METHODS if name.startswith(last) and name not in before.split(",")]


def _complete_solver(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from lipcert.sdp.solvers import SOLVERS

    return [name for name in ("auto", *SOLVERS) if name.startswith(incomplete)]


class _Parsed(click.ParamType):  # type: ignore[type-arg]
    """An option whose text is read by a function that raises ValueError where it cannot."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self.read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value that the text stands for."""
        try:
            return self.read(value) if isinstance(value, str) else value
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is not {self.name}", param, ctx)


def _factor(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    value = float(numerator) / float(denominator or 1.0)
    if not 0.0 < value < float("inf"):
        raise ValueError
    return value


def _radii(text: str) -> tuple[float, ...]:
    values = tuple(map(float, text.split(",")))
    if not all(0.0 <= value < float("inf") for value in values):
        raise ValueError
    return values


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError
    return names


def _values(text: str) -> tuple[float, ...]:
    values = tuple(map(float, text.split(",")))
    if not all(abs(value) < float("inf") for value in values):
        raise ValueError
    return values


def _pair(text: str) -> tuple[float, float]:
    low, high = map(float, text.split(","))
    if not low <= high:
        raise ValueError
    return low, high


VALUES = _Parsed("a list of finite numbers", _values)
PAIR = _Parsed("two numbers, the smaller one first", _pair)
NAMES = _Parsed("a list of names", _names)
FACTOR = _Parsed("a positive number or quotient", _factor)
NUMBERS = _Parsed("a list of numbers from 0", _radii)
NORMS = click.Choice(["2", "inf", "1"])
FILE = click.Path(path_type=Path)


def model_argument(command: F) -> F:
    """MODEL, --from and --to: the file, and which part of it is meant."""
    option = click.option("--to", "--output", "output", metavar="TENSOR",
                          help="The output, or a value inside, that is meant; the rest is left out.")  # fmt: skip
    for reading in (
        click.option("--dim", "dims", multiple=True, metavar="NAME=N", expose_value=False, callback=_remembered,
                     help="The size of a free axis of the input other than the batch, by name or number; repeatable."),
        click.option("--strict", is_flag=True, expose_value=False, callback=_remembered,
                     help="Refuse every idealisation."),
        click.option("--hold", multiple=True, metavar="NAME=FILE|VALUE|LOW,HIGH", expose_value=False, callback=_remembered,
                     help="Hold an input at a value, or anywhere in a range; repeatable."),
        click.option("--inputs", multiple=True, metavar="NAME", expose_value=False, callback=_remembered,
                     help="Of several inputs the one that moves; the others may have any value.  Repeatable."),
        click.option("--from", "begin", multiple=True, metavar="TENSOR", expose_value=False, callback=_remembered,
                     help="A value inside that the part in question begins at; what is before it is left out."),
    ):  # fmt: skip
        command = reading(command)
    return click.argument("model", type=FILE)(option(command))


def _remembered(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """How MODEL is read, for `_load`."""
    if param.name == "dims":
        found = _assignments(ctx, param, value)
        wrong = next((key for key, size in found.items() if not isinstance(size, int)), None)
        if wrong is not None:
            raise click.BadParameter(f"the size of {wrong} is no whole number")
        value = found
    if param.name == "hold":
        from lipcert.samples import held

        wrong = next((item for item in value if not all(item.partition("="))), None)
        if wrong is not None:
            raise click.BadParameter(f"{wrong!r} is not NAME=FILE, NAME=VALUE or NAME=LOW,HIGH")
        value = {name: held(text) for name, _, text in (item.partition("=") for item in value)}
    ctx.meta[f"lipcert.{param.name}"] = value
    return value


def norm_options(command: F) -> F:
    """--norm, --output-norm, --outputs: which constant is meant."""
    for option in (
        click.option("--outputs", default="all", metavar="all|each|pairs|LIST", show_default=True,
                     help="All outputs together, each one, all margins, or a list such as 0,4,7 or 3-5."),
        click.option("--output-norm", type=NORMS, help="Norm of the output.  [default: the input's]"),
        click.option("--norm", type=NORMS, default="2", show_default=True, help="Norm of the input."),
    ):  # fmt: skip
        command = option(command)
    return command


def region_options(command: F) -> F:
    """--box, --center and the like, handed on as one `Place`."""

    @wraps(command)
    def placed(*args: Any, **options: Any) -> Any:
        from lipcert.samples import Place

        names = [part.name for part in fields(Place)]
        return command(*args, place=Place(**{name: options.pop(name) for name in names}), **options)

    for option in (
        click.option("--anchored", is_flag=True, help="Changes start from the centre: ‖f(x) − f(c)‖ ≤ L·‖x − c‖."),
        click.option("--domain", metavar="FILE|LOW,HIGH", help="Cut the region with a box: 0,1 for images."),
        click.option("--ball", type=NORMS, help="Norm of the ball.  [default: that of the input]"),
        click.option("--radius", type=float, metavar="R", help="Radius of the ball around --center."),
        click.option("--center", metavar="FILE", help="The bound is to hold on a ball around this point, one row."),
        click.option("--box", metavar="FILE|LOW,HIGH",
                     help="The bound is to hold on a box: .npz (low, high), .npy or .csv (two rows), or LOW,HIGH."),
    ):  # fmt: skip
        placed = option(placed)
    return cast("F", placed)


def effort_options(command: F) -> F:
    """--solver, --tolerance, --time-limit and the like: how hard it is tried."""
    for option in (
        click.option("--jobs", type=int, callback=processes, metavar="N",
                     help="Processes for independent programs, as of --outputs pairs; -1 for all cores."),
        click.option("--form", type=click.Choice(["comparators", "blocks"]), default="comparators", show_default=True,
                     help="Sorting of groups up to 8 as networks of MaxMin pairs, or as blocks."),
        click.option("--solver-option", "extra", multiple=True, callback=_assignments, metavar="NAME=VALUE",
                     help="An option for Clarabel, SCS or MOSEK by its own name; may be repeated."),
        click.option("--time-limit", type=float, callback=seconds, metavar="SECONDS",
                     help="Seconds for a bound, proof included; the best by then is the answer."),
        click.option("--tolerance", type=float, callback=positive, metavar="T", default=1e-8, show_default=True,
                     help="Relative duality gap to reach."),
        click.option("--solver", default="auto", metavar="SOLVER", shell_complete=_complete_solver, show_default=True,
                     callback=_known_solver,
                     help="auto or a solver that `lipcert methods` lists."),
    ):  # fmt: skip
        command = option(command)
    return command


def solver_options(command: F) -> F:
    """--method and what it is given."""
    option = click.option("--method", default="auto", metavar="METHOD", shell_complete=_complete_method,
                          callback=_known_method, show_default=True,
                          help="auto or a method that `lipcert methods` lists.")  # fmt: skip
    return option(effort_options(command))


def read(model: Path, output: str | None, quiet: bool = False, log: bool = False) -> Graph:
    """The network of a file; a large one takes a while to read and to check."""
    from lipcert.importer import load
    from lipcert.report.progress import LiveLine
    from lipcert.sdp.outcome import Progress

    with LiveLine(enabled=not quiet, log=log) as line:
        line(Progress(f"reading {model.name}"))
        context = click.get_current_context()
        meta = context.meta
        # the limit is for reading too
        with budget.within(context.params.get("time_limit")):
            return load(
                model,
                output=output,
                dims=meta.get("lipcert.dims", {}),
                strict=bool(meta.get("lipcert.strict", False)),
                inputs=(*meta.get("lipcert.begin", ()), *meta.get("lipcert.inputs", ())),
                hold=meta.get("lipcert.hold", {}),
            )


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
log_option = click.option(
    "--log", is_flag=True, help="Progress as plain lines, as where no terminal is and the work is long."
)
quiet_option = click.option("--quiet", is_flag=True, help="No header and no progress, only the result.")
