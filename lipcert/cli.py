"""The command line. Commands import what they need when they run, so that `lipcert --help` is quick.

A new command is one more function under `@cli.command()`; `Commands` turns every error into one line and an exit code.
"""

from __future__ import annotations

import hashlib
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click

from lipcert import __version__, budget
from lipcert.errors import InvalidRequest, LipcertError
from lipcert.files import require_writable, write

if TYPE_CHECKING:
    from lipcert.graph.nodes import Graph
    from lipcert.samples import Place

F = TypeVar("F", bound=Callable[..., Any])

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


def _positive(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise click.BadParameter(f"{value} is not above zero")
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


def _known_methods(ctx: click.Context, param: click.Parameter, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Names of methods, before a model is loaded for them."""
    from lipcert.bounds.table import METHODS

    for name in value or ():
        if name not in METHODS:
            raise InvalidRequest(f"the method {name!r} is not known", advice=f"use {', '.join(METHODS)}")
    return value


def _known_solver(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """The name of a solver, before a model is loaded for it."""
    from lipcert.sdp.solvers import SOLVERS

    names = ("auto", "matrix-free", *SOLVERS)
    if value not in names:
        raise InvalidRequest(f"the solver {value!r} is not known", advice=f"use {', '.join(names)}")
    return value


def _limit(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
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


def _used() -> dict[str, object]:
    """The version and the options of this run, for its JSON object."""
    given = click.get_current_context().params
    options = {"solver_option" if key == "extra" else key: value for key, value in given.items() if key not in _FILES}
    return {"lipcert": __version__, "options": options}


def _complete_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from lipcert.bounds.table import METHODS

    return [name for name in ("auto", *METHODS) if name.startswith(incomplete)]


def _complete_method_list(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from lipcert.bounds.table import METHODS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in METHODS if name.startswith(last) and name not in before.split(",")]


def _complete_solvers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
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
    return tuple(map(float, text.split(",")))


def _pair(text: str) -> tuple[float, float]:
    low, high = map(float, text.split(","))
    if not low <= high:
        raise ValueError
    return low, high


VALUES = _Parsed("a list of numbers", _values)
PAIR = _Parsed("two numbers, the smaller one first", _pair)
NAMES = _Parsed("a list of names", _names)
FACTOR = _Parsed("a positive number or quotient", _factor)
NUMBERS = _Parsed("a list of numbers from 0", _radii)
NORMS = click.Choice(["2", "inf", "1"])
FILE = click.Path(path_type=Path)


def model_argument(command: F) -> F:
    """MODEL and --to: the file, and which output of it is meant."""
    option = click.option("--to", "--output", "output", metavar="TENSOR",
                          help="The output, or a value inside, that is meant; the rest is left out.")  # fmt: skip
    for reading in (
        click.option("--dim", "dims", multiple=True, metavar="NAME=N", expose_value=False, callback=_remembered,
                     help="The size of a free axis of the input other than the batch, by name or number; repeatable."),
        click.option("--strict", is_flag=True, expose_value=False, callback=_remembered,
                     help="Refuse every idealisation."),
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
        click.option("--jobs", type=int, metavar="N",
                     help="Processes for independent programs, as of --outputs pairs; -1 for all cores."),
        click.option("--form", type=click.Choice(["comparators", "blocks"]), default="comparators", show_default=True,
                     help="Sorting of groups up to 8 as networks of MaxMin pairs, or as blocks."),
        click.option("--solver-option", "extra", multiple=True, callback=_assignments, metavar="NAME=VALUE",
                     help="An option for Clarabel, SCS or MOSEK by its own name; may be repeated."),
        click.option("--time-limit", type=float, callback=_positive, metavar="SECONDS",
                     help="Seconds for a bound, proof included; the best by then is the answer."),
        click.option("--tolerance", type=float, callback=_positive, metavar="T", default=1e-8, show_default=True,
                     help="Relative duality gap to reach."),
        click.option("--solver", default="auto", metavar="SOLVER", shell_complete=_complete_solvers, show_default=True,
                     callback=_known_solver,
                     help="auto or a solver that `lipcert methods` lists."),
    ):  # fmt: skip
        command = option(command)
    return command


def solver_options(command: F) -> F:
    """--method and what it is given."""
    option = click.option("--method", default="auto", metavar="METHOD", shell_complete=_complete_methods,
                          callback=_known_method, show_default=True,
                          help="auto or a method that `lipcert methods` lists.")  # fmt: skip
    return option(effort_options(command))


def _read(model: Path, output: str | None, quiet: bool = False, log: bool = False) -> Graph:
    """The network of a file; a large one takes a while to read and to check."""
    from lipcert.importer import load
    from lipcert.report.progress import LiveLine
    from lipcert.sdp.outcome import Progress

    with LiveLine(enabled=not quiet, log=log) as line:
        line(Progress(f"reading {model.name}"))
        meta = click.get_current_context().meta
        return load(
            model, output=output, dims=meta.get("lipcert.dims", {}), strict=bool(meta.get("lipcert.strict", False))
        )


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
log_option = click.option(
    "--log", is_flag=True, help="Progress as plain lines, as where no terminal is and the work is long."
)
quiet_option = click.option("--quiet", is_flag=True, help="No header and no progress, only the result.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lipcert", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, envvar="LIPCERT_DEBUG", help="Show the traceback of errors.")
def cli(debug: bool) -> None:
    """Proven Lipschitz bounds for neural networks, from an ONNX file.

    Exit codes: 0 a proven bound or a valid certificate; 1 an invalid certificate, or --at-most refuted; 2 wrong usage, or a
    model that is unreadable or not supported; 3 no bound could be proven, or --at-most not decided.
    """


@cli.command(short_help="Prove an upper bound for a model.")
@model_argument
@norm_options
@region_options
@solver_options
@click.option("--certificate", type=FILE, metavar="FILE", help="Write the certificate there, for `lipcert verify`.")
@click.option("--report", type=FILE, metavar="FILE", help="Write a self-contained HTML page with figures there.")
@click.option("--at-most", type=float, callback=_limit, metavar="L",
              help="Only decide whether the constant is at most L; stops as soon as it is known.")  # fmt: skip
@click.option(
    "--branch",
    type=float,
    is_flag=False,
    flag_value=float("inf"),
    callback=_positive,
    metavar="[SECONDS]",
    help="Branch on the signs of channels, that long or until the gap is closed.",
)
@click.option(
    "--gap",
    type=float,
    callback=_positive,
    default=1e-3,
    show_default=True,
    metavar="G",
    help="The upper / lower − 1 at which --branch ends.",
)
@click.option("--lower/--no-lower", default=True, show_default=True, help="Look for a lower bound too.")
@click.option(
    "--lower-seconds",
    type=float,
    callback=_positive,
    metavar="SECONDS",
    help="Look for it that long.  [default: steps that depend on the network alone]",
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
    graph = _read(model, output, quiet, log)
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
    click.echo(json.dumps(result.to_dict() | written | _used()) if as_json else text.bound(result, **written))
    if at_most is not None and not result.holds:
        raise click.exceptions.Exit(NOT_PROVEN if result.holds is None else REFUTED)


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
    callback=_positive,
    metavar="R",
    help="Decide at this radius, with bounds around the samples that the global ones leave open.",
)
@click.option("--local/--no-local", default=None, help="Use bounds around the samples.  [default: with --at]")
@click.option("--attack", is_flag=True, help="Look for a counterexample around every sample.")
@click.option("--domain", type=PAIR, metavar="LOW,HIGH", help="Inputs stay between these ends: 0,1 for images.")
@click.option("--mean", type=VALUES, metavar="LIST", help="Mean of a normalisation that the file lacks, one a channel.")
@click.option("--std", type=VALUES, metavar="LIST", help="Its standard deviations: radii are in the units before it.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the attack.")
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
    graph = _read(model, output, quiet, log)
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
        click.echo(json.dumps(result.to_dict() | {"certified": chosen} | files | _used()))
    else:
        click.echo(text.robustness(result, text.round_radii(result) if radii is None else radii, written))


@cli.command(short_help="Bound a model by all methods, side by side.")
@model_argument
@click.option(
    "--methods",
    type=NAMES,
    metavar="LIST",
    shell_complete=_complete_method_list,
    callback=_known_methods,
    help="Names that `lipcert methods` lists, with commas between.  [default: all]",
)
@norm_options
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
    graph = _read(model, output, quiet, log)
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
        ).named(str(model), hashlib.sha256(model.read_bytes()).hexdigest())
    if plot is not None:
        plots.save(result, plot, model.name)
    written = None if plot is None else str(plot)
    if as_json:
        click.echo(json.dumps(result.to_dict() | {"plot": written} | _used()))
    else:
        click.echo(text.comparison(result, [("plot", written)] if written else []))


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
    graph = _read(model, output, quiet)
    if not (as_json or quiet):
        click.echo(text.header(str(model), summarise(graph)))
    result = prove(graph, place.region(graph.input_size, "2"))
    if csv is not None:
        write(csv, tables.jacobian(result).encode())
    if as_json:
        click.echo(
            json.dumps(result.to_dict() | {"model": str(model), "csv": None if csv is None else str(csv)} | _used())
        )
    else:
        click.echo(text.jacobian(result, None if csv is None else str(csv)))


@cli.command(short_help="Check a certificate against a model.")
@click.argument("certificate", type=FILE)
@model_argument
@click.option("--exact", is_flag=True, help="Check it in rational arithmetic; for networks of about 200 channels.")
@json_option
def verify(certificate: Path, model: Path, output: str | None, exact: bool, as_json: bool) -> None:
    """Check that CERTIFICATE proves its bound, or its classes, for MODEL; needs no solver."""
    from lipcert.certificates import verify as check
    from lipcert.certificates.classes import is_of_classes, load, verify_classes
    from lipcert.report import json, text
    from lipcert.report.progress import LiveLine
    from lipcert.sdp.outcome import Progress

    graph = _read(model, output)
    with LiveLine() as line:
        line(Progress("checking the certificate"))
        if is_of_classes(certificate):

            def told(done: int, total: int) -> None:
                line(Progress("checking samples", done, total=total))

            found = verify_classes(load(certificate), graph, str(certificate), told)
            click.echo(
                json.dumps(json.classes(found, str(certificate), str(model)) | _used())
                if as_json
                else text.classes(found, str(certificate))
            )
            return
        verdict = check(certificate, graph, exact=exact)
    if as_json:
        click.echo(json.dumps(json.verdict(verdict, str(certificate), str(model)) | _used()))
    else:
        click.echo(text.verdict(verdict, str(certificate)))


@cli.command(short_help="Show a model as recognised.")
@model_argument
@json_option
def inspect(model: Path, output: str | None, as_json: bool) -> None:
    """Show the inputs, outputs, layers and activations of MODEL as recognised."""
    from lipcert.graph.summary import summarise
    from lipcert.report import json

    summary = summarise(_read(model, output))
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


def main() -> None:
    """The entry point of the command `lipcert`."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    # a scheduler that ends a job gets the best bound so far, as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli(prog_name="lipcert")
