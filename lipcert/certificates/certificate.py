"""The certificate and its file."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lipcert.arrays import Array
from lipcert.certificates.claims import Scaling
from lipcert.errors import InvalidCertificate
from lipcert.norms import Norm
from lipcert.version import __version__

FORMAT = "lipcert certificate"
VERSION = 1
MAX_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Certificate:
    """A claim ‖Δy‖ ≤ value · ‖Δx‖ about one network, with the scalings that prove it.

    Attributes
    ----------
    norm, output_norm
        The norms of the claim; for selected outputs the output norm is ℓ∞, the largest of the selected ones.
    outputs
        Labels of the selected outputs and margins ('3', '3-5'); empty where all outputs count together.
    value
        The bound.
    form
        How the graph is prepared: 'comparators' or 'blocks'.
    normal_form
        Which normal form the activations take: 'default', or 'published' for the ICLR 2024 constraints.
    graph
        SHA-256 of the network (hexadecimal), before selection and preparation.
    scalings
        One a semidefinite program of THEORY.md 4.
    idealisations
        Where the network differs from the file it was read from.
    tool
        The version of lipcert that wrote it.
    """

    norm: Norm
    output_norm: Norm
    outputs: tuple[str, ...]
    value: float
    form: str
    normal_form: str
    graph: str
    scalings: tuple[Scaling, ...]
    idealisations: tuple[str, ...] = ()
    tool: str = __version__

    def values(self, rows: int) -> list[float]:
        """For the output norm ℓ∞ the bound of each of the `rows` outputs."""
        each = [scaling.value() for scaling in self.scalings]
        return [max(each[i::rows]) for i in range(rows)]

    def to_json(self) -> str:
        """The text of the certificate file."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "claim": {
                "norm": str(self.norm),
                "output_norm": str(self.output_norm),
                "scope": "global",
                "outputs": list(self.outputs),
                "value": self.value.hex(),
            },
            "network": {"sha256": self.graph, "form": self.form, "normal_form": self.normal_form},
            "scalings": [
                {
                    "d": _encode(scaling.d),
                    "m": _encode(scaling.m),
                    "n": None if scaling.n is None else _encode(scaling.n),
                }
                for scaling in self.scalings
            ],
            "idealisations": list(self.idealisations),
            "tool": f"lipcert {self.tool}",
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the certificate file; an existing one is replaced atomically."""
        write_atomically(Path(path), self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Read a certificate file.

        Raises
        ------
        InvalidCertificate
            If it cannot be read as a certificate; the message says why.
        """
        file = Path(path)
        try:
            with file.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1) if file.stat().st_size <= MAX_BYTES else None
            if content is None or len(content) > MAX_BYTES:
                raise InvalidCertificate(f"it is larger than {MAX_BYTES >> 20} MiB", where=str(path))
            text = content.decode()
        except OSError as error:
            raise InvalidCertificate(f"cannot be read: {error.strerror}", where=str(path)) from None
        except UnicodeDecodeError:
            raise InvalidCertificate("is not a text file", where=str(path)) from None
        return cls.from_json(text, str(path))

    @classmethod
    def from_json(cls, text: str, where: str = "certificate") -> Certificate:
        """Parse the text of a certificate file strictly: no field may be missing, unknown or of another type."""

        def fail(reason: str) -> InvalidCertificate:
            return InvalidCertificate(reason, where=where, advice="write it anew with lipcert bound --certificate")

        try:
            document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError):
            raise fail("is not valid JSON") from None

        def fields(value: Any, names: dict[str, type | tuple[type, ...]], place: str) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise fail(f"{place} is not an object")
            if missing := sorted(names.keys() - value.keys()):
                raise fail(f"{place} lacks {', '.join(missing)}")
            if surplus := sorted(value.keys() - names.keys()):
                raise fail(f"{place} has the unknown field {', '.join(map(repr, surplus))}")
            for name, kind in names.items():
                if not isinstance(value[name], kind) or isinstance(value[name], bool):
                    raise fail(f"{place}: {name} has the wrong type")
            return value

        top = fields(
            document,
            {
                "format": str,
                "version": int,
                "claim": dict,
                "network": dict,
                "scalings": list,
                "idealisations": list,
                "tool": str,
            },
            "the certificate",
        )
        if top["format"] != FORMAT:
            raise fail(f"the format is {top['format']!r}, not {FORMAT!r}")
        if top["version"] != VERSION:
            raise fail(f"the version {top['version']} is not known to this lipcert")
        claim = fields(
            top["claim"], {"norm": str, "output_norm": str, "scope": str, "outputs": list, "value": str}, "claim"
        )
        network = fields(top["network"], {"sha256": str, "form": str, "normal_form": str}, "network")
        if claim["scope"] != "global":
            raise fail(f"the scope {claim['scope']!r} is not known")
        norms = {str(norm): norm for norm in Norm}
        if claim["norm"] not in norms or claim["output_norm"] not in norms:
            raise fail("a norm is not 1, 2 or inf")
        for place, items in (("outputs", claim["outputs"]), ("idealisations", top["idealisations"])):
            if not all(isinstance(item, str) for item in items):
                raise fail(f"{place} holds something that is not a text")
        try:
            value = float.fromhex(claim["value"])
        except (ValueError, OverflowError):
            raise fail("the claimed value is not a hexadecimal number") from None
        if not 0.0 <= value < np.inf:
            raise fail("the claimed value is not a nonnegative number")
        scalings = []
        for k, item in enumerate(top["scalings"]):
            entry = fields(item, {"d": str, "m": str, "n": (str, type(None))}, f"scaling {k}")
            arrays = {
                name: None if v is None else _decode(v, fail, f"scaling {k}: {name}") for name, v in entry.items()
            }
            scalings.append(Scaling(**arrays))  # type: ignore[arg-type]
        return cls(
            norms[claim["norm"]],
            norms[claim["output_norm"]],
            tuple(claim["outputs"]),
            value,
            network["form"],
            network["normal_form"],
            network["sha256"],
            tuple(scalings),
            tuple(top["idealisations"]),
            top["tool"].removeprefix("lipcert "),
        )


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path` and move it there."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field occurs twice")
    return fields


def _encode(x: Array) -> str:
    """Base64 of little-endian float64: compact and exact."""
    return base64.b64encode(np.ascontiguousarray(x, dtype="<f8").tobytes()).decode()


def _decode(text: str, fail: Any, place: str) -> Array:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise fail(f"{place} is not base64") from None
    if len(raw) % 8:
        raise fail(f"{place} is not a list of 8-byte numbers")
    x = np.frombuffer(raw, dtype="<f8").astype(np.float64)
    if not np.isfinite(x).all() or (x <= 0.0).any():
        raise fail(f"{place} holds a number that is not positive and finite")
    return x
