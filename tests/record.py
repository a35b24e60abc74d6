"""Record what lipcert proves about networks, and compare two recordings to the last digit.

    python tests/record.py record FOLDER [NETWORK …] [--channels N]    bounds, statuses and certificates into FOLDER
    python tests/record.py compare BEFORE AFTER                         what differs between two recordings
    python tests/record.py verify FOLDER                                the certificates of a recording, with this lipcert

Without networks those of models/ and of ../shared/data are taken, if their programs have at most N channels. A rebuild that
changes no behaviour leaves every recording as it is; one BLAS thread and one machine are understood.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
CHANNELS = 100
SHORT = 40
"""Channels up to which methods, solvers and forms are tried as well."""


def networks() -> Iterator[Path]:
    """The files that are there, the package's own first; those made to hang a reader are left out."""
    yield from sorted((ROOT / "models").glob("*.onnx"))
    yield from (file for file in sorted(SHARED.rglob("*.onnx")) if "adversarial" not in file.parts)


def requests(channels: int, inputs: int, outputs: int) -> Iterator[dict[str, Any]]:
    """What is asked of a network of this size."""
    from lipcert.bounds.table import METHODS

    yield {}
    if channels > SHORT:
        return
    for norm in ("2", "inf", "1"):
        for output_norm in ("2", "inf", "1"):
            if (inputs if norm == "1" else 1) * (outputs if output_norm == "inf" else 1) <= 20:
                yield {"norm": norm, "output_norm": output_norm}
    for method in METHODS:
        yield {"method": method}
    yield {"method": "geolip", "norm": "inf", "output_norm": "inf"}
    for solver in ("matrix-free", "clarabel", "scs"):
        yield {"solver": solver, "tolerance": 1e-6}
    yield {"form": "blocks"}
    if outputs <= 10:
        yield {"outputs": "each"}
        yield {"outputs": "0", "norm": "inf"}
    if 2 <= outputs <= 4:
        yield {"outputs": "pairs"}


def fingerprint(certificate: Any) -> str | None:
    """SHA-256 of all that a certificate claims and holds, whatever its format."""
    if certificate is None:
        return None
    digest = hashlib.sha256(repr((str(certificate.norm), str(certificate.output_norm), certificate.form)).encode())
    digest.update(repr((certificate.outputs, certificate.value.hex(), certificate.graph)).encode())
    for scaling in certificate.scalings:
        for part in (scaling.d, scaling.m, scaling.n):
            digest.update(b"-" if part is None else np.ascontiguousarray(part, dtype="<f8").tobytes())
    return digest.hexdigest()


def one(graph: Any, request: dict[str, Any], certificate: Path) -> dict[str, Any]:
    """The answer to one request; its certificate goes into a file."""
    import lipcert

    try:
        found = lipcert.bound(graph, lower=False, **request)
    except lipcert.LipcertError as error:
        return {"error": type(error).__name__, "message": str(error)}
    if found.certificate is not None:
        found.certificate.save(certificate)
    return {
        "upper": found.upper.hex(),
        "product": None if found.product is None else found.product.hex(),
        "each": [item.upper.hex() for item in found.each],
        "status": found.status.value,
        "method": found.method,
        "solver": found.solver,
        "iterations": found.iterations,
        "notes": list(found.notes),
        "certificate": fingerprint(found.certificate),
    }


def record(folder: Path, files: list[Path], limit: int) -> None:
    """Ask everything of every network."""
    import lipcert
    from lipcert.bounds import watch
    from lipcert.graph.summary import summarise

    # a proof on the way depends on the clock
    watch.PATIENCE = np.inf
    folder.mkdir(parents=True)
    found: dict[str, dict[str, Any]] = {}
    for file in files or networks():
        name = str(file.resolve())
        for root in (ROOT, ROOT.parent):
            name = name.removeprefix(f"{root}/")
        began = time.perf_counter()
        try:
            graph = lipcert.load(file)
        except lipcert.LipcertError as error:
            found[name] = {"load": {"error": type(error).__name__}}
            continue
        channels = summarise(graph).channels
        if channels > limit:
            continue
        found[name] = {"load": {"fingerprint": graph.fingerprint.hex()}}
        for k, request in enumerate(requests(channels, graph.input_size, graph.output_size)):
            certificate = folder / f"{name.replace('/', '__')}.{k}.json"
            found[name][json.dumps(request)] = one(graph, request, certificate)
        print(f"{name}: {len(found[name])} answers in {time.perf_counter() - began:.1f} s", file=sys.stderr)
        (folder / "answers.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))


def differences(before: Path, after: Path) -> list[str]:
    """One line for each answer that is not the same."""
    old, new = (json.loads((folder / "answers.json").read_text()) for folder in (before, after))
    lines = []
    for name in sorted(old.keys() | new.keys()):
        for key in dict.fromkeys([*old.get(name, {}), *new.get(name, {})]):
            a, b = old.get(name, {}).get(key), new.get(name, {}).get(key)
            fields = sorted({*(a or {}), *(b or {})})
            changed = [
                f"{f} {(a or {}).get(f)!r} → {(b or {}).get(f)!r}"
                for f in fields
                if (a or {}).get(f) != (b or {}).get(f)
            ]
            lines += [f"{name} {key}: {'; '.join(changed)}"] if changed else []
    return lines


def unverified(folder: Path) -> list[str]:
    """One line for each certificate of a recording that this lipcert does not accept."""
    import lipcert

    lines = []
    for name in json.loads((folder / "answers.json").read_text()):
        file = next((path for path in (ROOT / name, ROOT.parent / name) if path.is_file()), None)
        certificates = sorted(folder.glob(f"{name.replace('/', '__')}.*.json"))
        if file is None or not certificates:
            continue
        graph = lipcert.load(file)
        for certificate in certificates:
            try:
                lipcert.verify(certificate, graph)
            except lipcert.LipcertError as error:
                lines.append(f"{certificate.name}: {error}")
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("folder", type=Path)
    recording.add_argument("networks", nargs="*", type=Path)
    recording.add_argument("--channels", type=int, default=CHANNELS)
    comparing = commands.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    commands.add_parser("verify").add_argument("folder", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "record":
        record(chosen.folder, chosen.networks, chosen.channels)
        return
    lines = differences(chosen.before, chosen.after) if chosen.command == "compare" else unverified(chosen.folder)
    print("\n".join(lines) or "no difference" if chosen.command == "compare" else "\n".join(lines) or "all valid")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
