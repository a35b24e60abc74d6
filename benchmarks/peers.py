"""Every method that installs from the package index on the same networks, each in a process of its own.

    python benchmarks/peers.py                       the networks of models/
    python benchmarks/peers.py --shared              those of ../shared/data
    python benchmarks/peers.py net.onnx weights.npz  networks of your own

Writes peers.csv, where new figures replace those of the same network, and from it the table in benchmarks.md.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import click
from common import DOCS, ROOT, SHARED, renew

from lipcert.figures import upward

FOLDER = Path(__file__).parent
# the parent imports no method: on Linux a child's peak memory begins with its parent's
PEERS = (
    "norm product",
    "native",
    "matrix-free",
    "native, solver alone",
    "Clarabel",
    "SCS",
    "ECLipsE",
    "ECLipsE-Fast",
)
CHOSEN = (
    "maxmin_mnist/*.npz",
    "onnx/ACASXU*.onnx",
    "onnx/mnist-net*.onnx",
    "onnx/cartpole.onnx",
    "onnx/gcas.onnx",
    "onnx/lindex.onnx",
    "onnx/NN_rul*.onnx",
    "onnx/mlp_L5_W32.onnx",
    "onnx/tllBench*.onnx",
)
"""Of ../shared/data: what is small enough for the matrices of an interior-point method."""


@dataclass(frozen=True)
class Row:
    """One method on one network; without a bound, `note` says why."""

    network: str
    peer: str
    bound: float | None
    proven: bool
    seconds: float
    memory: int
    note: str


def measure(peer: str, path: Path, limit: float, options: Sequence[str] = ()) -> Row:
    """Start the process, and end it after `limit` seconds."""
    command = [sys.executable, str(FOLDER / "peer.py"), peer, str(path), *options]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, start_new_session=True)
        late = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
        late.start()
        # the usage of this child alone, also where it was killed
        _, status, usage = os.wait4(process.pid, 0)
        late.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        out.seek(0)
        err.seek(0)
        printed, said = out.read(), err.read().decode(errors="replace").strip().splitlines()
    memory = 1024 * usage.ru_maxrss
    if process.returncode == 0:
        return Row(path.stem, peer, **json.loads(printed.splitlines()[-1]))
    if seconds >= limit:
        return Row(path.stem, peer, None, False, limit, memory, f"no answer within {limit:g} s")
    return Row(path.stem, peer, None, False, seconds, memory, said[-1] if said else f"ended by {process.returncode}")


def read(path: Path) -> list[Row]:
    """The figures so far."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(
                line["network"],
                line["peer"],
                float(line["bound"]) if line["bound"] else None,
                line["proven"] == "True",
                float(line["seconds"]),
                int(line["memory"]),
                line["note"],
            )
            for line in csv.DictReader(file)
        ]


def write(rows: Iterable[Row], path: Path) -> None:
    """All figures in full."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Old and new figures, the new ones instead of the old ones of the same network and method."""
    found = {(row.network, row.peer): row for row in [*old, *new]}
    networks = dict.fromkeys(network for network, _ in found)
    return [found[network, peer] for network in networks for peer in PEERS if (network, peer) in found]


def table(rows: Sequence[Row]) -> list[str]:
    """One line a network and method, then the ratios."""
    lines = ["| network | method | bound | proven | seconds | peak memory |", "|---|---|---|---|---|---|"]
    for row in rows:
        if "does not apply" in row.note:
            continue
        if row.bound is None:
            cells = [f"– ({row.note})", "–", f"{row.seconds:.3g}" if row.seconds else "–"]
        else:
            bound = upward(row.bound, 7) if row.proven else f"{row.bound:.7g}"
            note = f" ({row.note})" if "fell back" in row.note else ""
            cells = [bound + note, "yes" if row.proven else "no", f"{row.seconds:.3g}"]
        lines.append(f"| {row.network} | {row.peer} | {' | '.join(cells)} | {row.memory / 2**20:.0f} MiB |")
    return lines


def ratios(rows: Sequence[Row]) -> list[str]:
    """Times and bounds relative to ours, which a slower or busier machine changes less than seconds."""
    lines = [
        "| network | Clarabel : solver alone | SCS : native, proof included | ECLipsE : native, proof included "
        "| norm product / bound | ECLipsE / bound | ECLipsE-Fast / bound | difference from Clarabel |",
        "|---" * 8 + "|",
    ]
    for network in dict.fromkeys(row.network for row in rows):
        by = {row.peer: row for row in rows if row.network == network}
        if "native" not in by or by["native"].bound is None:
            continue
        alone, native = by.get("native, solver alone"), by["native"]
        cells = [
            _times(by.get("Clarabel"), alone),
            _times(by.get("SCS"), native),
            _times(by.get("ECLipsE"), native),
            *(_wider(by.get(peer), native) for peer in ("norm product", "ECLipsE", "ECLipsE-Fast")),
            _difference(by.get("Clarabel"), alone),
        ]
        lines.append(f"| {network} | {' | '.join(cells)} |")
    return lines


def _times(theirs: Row | None, ours: Row | None) -> str:
    if theirs is None or ours is None or ours.bound is None:
        return "–"
    ratio = theirs.seconds / ours.seconds
    if theirs.bound is not None:
        return f"{ratio:.3g}"
    return f"over {ratio:.3g}" if theirs.note.startswith("no answer within") else "–"


def _wider(theirs: Row | None, ours: Row) -> str:
    return "–" if theirs is None or not theirs.bound or not ours.bound else f"{theirs.bound / ours.bound:.5g}"


def _difference(theirs: Row | None, ours: Row | None) -> str:
    if theirs is None or ours is None or not theirs.bound or not ours.bound:
        return "–"
    return f"{abs(theirs.bound - ours.bound) / ours.bound:.1e}"


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--shared", is_flag=True, help="The networks of ../shared/data, where that folder exists.")
@click.option("--peer", "peers", multiple=True, type=click.Choice(PEERS), help="Only these; repeat it for several.")
@click.option("--limit", default=240.0, show_default=True, help="Seconds for each method on each network.")
@click.option("--tolerance", default=1e-6, show_default=True, help="Relative gap that every solver is asked for.")
@click.option(
    "--seconds", default=10.0, show_default=True, help="For the matrix-free method, which improves all along."
)
@click.option("--memory", default=16.0, show_default=True, help="Address space in GiB for each process.")
@click.option("--csv", "record", type=click.Path(dir_okay=False, path_type=Path), default=DOCS / "peers.csv")
@click.option("--page", type=click.Path(exists=True, path_type=Path), default=DOCS / "benchmarks.md")
def main(
    files: tuple[Path, ...],
    shared: bool,
    peers: tuple[str, ...],
    limit: float,
    tolerance: float,
    seconds: float,
    memory: float,
    record: Path,
    page: Path,
) -> None:
    chosen = list(files)
    if shared:
        chosen += [path for pattern in CHOSEN for path in sorted(SHARED.glob(pattern))]
    elif not files:
        chosen = sorted((ROOT / "models").glob("*.onnx"))
    options = [f"--tolerance={tolerance}", f"--seconds={seconds}", f"--memory={memory}"]
    for path in chosen:
        for peer in peers or PEERS:
            row = measure(peer, path.resolve(), limit, options)
            # at once, since what follows may take long
            rows = merged(read(record), [row])
            write(rows, record)
            renew("peers.py", [*table(rows), "", *ratios(rows)], page)
            click.echo(f"{row.network}, {row.peer}: {row.bound or row.note}, {row.seconds:.3g} s")


if __name__ == "__main__":
    main()
