"""The certificate and its file."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.arrays import Array, from_text, to_text
from lipcert.certificates.claims import LEAST, Entries, Evidence, Scaling
from lipcert.certificates.leaves import Cut, Leaf
from lipcert.errors import InvalidCertificate
from lipcert.figures import upward
from lipcert.files import write
from lipcert.graph.claim import Claim
from lipcert.graph.selection import Selection
from lipcert.norms import Norm
from lipcert.ranges.cells import NeuronCut, OpenNeuron
from lipcert.ranges.hints import NONE, Hints
from lipcert.regions import from_json
from lipcert.shown import Shown
from lipcert.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lipcert.graph.nodes import Graph
    from lipcert.regions import Region

FORMAT = "lipcert certificate"
VERSION = 2
PROGRAMS = "programs"
JACOBIAN = "jacobian"
HEAD = "head"
BREAKPOINTS = "breakpoints"
MAX_BYTES = 256 * 2**20
# with no more digits than a float64 has, so that nothing is rounded
_HEXADECIMAL = re.compile(r"0x[01](\.[0-9a-f]{1,13})?p[+-]?[0-9]{1,4}")


@dataclass(frozen=True, eq=False, repr=False)
class Certificate(Shown):
    """A claim ‖Δy‖ ≤ value · ‖Δx‖ about one network, with the scalings that prove it.

    Attributes
    ----------
    claim
        What is claimed.
    value
        The bound.
    form
        How the graph is prepared: 'comparators' or 'blocks'.
    graph
        SHA-256 of the network (hexadecimal), before selection and preparation.
    scalings
        What proves each semidefinite program of docs/theory.md 4: a scaling, or the entries of the Jacobian.
    idealisations
        Where the network differs from the file it was read from.
    tool
        The version of lipcert that wrote it.
    hints
        On a region, what leads to the same ranges elsewhere.
    evidence
        What the scalings are about: the claim itself, or what goes into the last activation, whose own ℓ∞ constant is known.
    leaves
        The leaves of a tree of branch and bound, in place of the scalings; empty without branching.
    parts
        Certificates about some of the outputs each, in place of the scalings: of every output the best one counts. Empty
        unless outputs have trees of their own.
    """

    claim: Claim
    value: float
    form: str
    graph: str
    scalings: tuple[Evidence, ...]
    idealisations: tuple[str, ...] = ()
    tool: str = __version__
    hints: Hints = NONE
    evidence: str = PROGRAMS
    leaves: tuple[Leaf, ...] = ()
    parts: tuple[Certificate, ...] = ()

    @classmethod
    def bare(cls, graph: Graph, claim: Claim, form: str, value: float) -> Certificate:
        """A claim about a network whose proof is still to come."""
        return cls(claim, value, form, graph.fingerprint.hex(), (), graph.idealisations)

    def facts(self) -> list[tuple[str, str]]:
        """What a prompt and a notebook show."""
        which = ", ".join(self.outputs[:6]) + ", …" * (len(self.outputs) > 6)
        target = f"|·|, the largest of {which}" if self.outputs else f"{self.output_norm.symbol}, all outputs together"
        return [
            ("claim", f"{upward(self.value)}   {self.norm.symbol} → {target}, {self.claim.place}"),
            ("programs", f"{len(self.scalings)}, of the network as {self.form}"),
            ("network", f"SHA-256 {self.graph[:16]}…"),
            ("written by", f"lipcert {self.tool}"),
        ]

    @property
    def norm(self) -> Norm:
        """The norm of the input."""
        return self.claim.norm

    @property
    def output_norm(self) -> Norm:
        """The norm of the output; for selected outputs ℓ∞, the largest of them."""
        return self.claim.output_norm

    @property
    def outputs(self) -> tuple[str, ...]:
        """Labels of the selected outputs and margins ('3', '3-5'); empty where all outputs count together."""
        return self.claim.outputs.labels

    @property
    def multipliers(self) -> tuple[Scaling, ...]:
        """The scalings, where every program of the claim itself has one; else none."""
        found = tuple(item for item in self.scalings if isinstance(item, Scaling))
        return found if self.evidence == PROGRAMS and len(found) == len(self.scalings) else ()

    @property
    def decisive(self) -> Evidence | None:
        """What proves the program with the largest bound; None where leaves do, or all is about another output."""
        return None if self.evidence == HEAD else max(self.scalings, key=lambda item: item.value(), default=None)

    def decisive_of_each(self, outputs: int) -> list[Evidence | None]:
        """The same of each of the outputs of the claim."""
        if self.claim.output_norm is not Norm.LINF or self.decisive is None:
            return [self.decisive] * outputs
        return [max(self.scalings[i::outputs], key=lambda item: item.value()) for i in range(outputs)]

    def values(self, outputs: int) -> list[float]:
        """The bound of each of the outputs of the claim."""
        if self.parts:
            found: dict[str, float] = {}
            for part in self.parts:
                for label, value in zip(part.outputs, part.values(len(part.outputs)), strict=True):
                    found[label] = min(value, found.get(label, value))
            return [found[label] for label in self.outputs]
        if self.evidence in (JACOBIAN, HEAD, BREAKPOINTS):
            return [self.value] * outputs
        parts: list[tuple[Evidence, ...]] = [leaf.scalings for leaf in self.leaves if leaf.scalings]
        parts = parts or [self.scalings]
        values = [max(case) for case in zip(*([scaling.value() for scaling in part] for part in parts), strict=True)]
        return self.claim.value_of_each(values, outputs)

    def to_json(self) -> str:
        """The text of the certificate file."""
        return json.dumps(self._document(), indent=1, ensure_ascii=False) + "\n"

    def _document(self) -> dict[str, Any]:
        parts = {"parts": [part._document() for part in self.parts]} if self.parts else {}
        return {
            "format": FORMAT,
            "version": VERSION,
            "claim": {
                "norm": str(self.norm),
                "output_norm": str(self.output_norm),
                "region": None if self.claim.region is None else self.claim.region.to_json(),
                "increments": _ANCHORED[self.claim.anchored],
                "outputs": list(self.outputs),
                "value": self.value.hex(),
            },
            "network": {"sha256": self.graph, "form": self.form},
            "evidence": self.evidence,
            "hints": self.hints.to_json(),
            "scalings": _encoded(self.scalings),
            "leaves": [_written(leaf) for leaf in self.leaves],
            "idealisations": list(self.idealisations),
            "tool": f"lipcert {self.tool}",
        } | parts

    def save(self, path: str | Path) -> None:
        """Write the certificate file; an existing one is replaced atomically."""
        write(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Read a certificate file.

        Raises
        ------
        InvalidCertificate
            If it cannot be read as a certificate; the message says why.
        """
        return cls.from_json(text_of(path), str(path))

    @classmethod
    def from_json(cls, text: str, where: str = "certificate") -> Certificate:
        """Parse the text of a certificate file strictly: no field may be missing, unknown or of another type."""
        read = _Reader(where)
        return cls._read(read.json(text), read)

    @classmethod
    def _read(cls, document: Any, read: _Reader, inside: bool = False) -> Certificate:
        # version 1 had no regions and leaves, and one more field, which could hold one value
        first = isinstance(document, dict) and repr(document.get("version")) == "1"
        later: dict[str, type] = {} if first else {"hints": dict, "evidence": str, "leaves": list}
        # the one field that is there only where it is needed
        if not first and not inside and isinstance(document, dict) and "parts" in document:
            later["parts"] = list
        top = read.fields(document, _TOP | later, "the certificate")
        version = top["version"]
        if top["format"] != FORMAT:
            raise read.fail(f"the format is {top['format']!r}, not {FORMAT!r}")
        if version not in (1, VERSION):
            raise read.fail(f"the version {version} is not known to this lipcert")
        claim = read.fields(top["claim"], _CLAIM | (_GLOBAL if first else _LOCAL), "claim")
        # it named the model's file in its idealisations too
        network = read.fields(top["network"], _NETWORK | ({"normal_form": str} if version == 1 else {}), "network")
        if network.get("normal_form", "default") != "default":
            raise read.fail(f"the normal form {network['normal_form']!r} is not known")
        if claim.get("scope", "global") != "global":
            raise read.fail(f"the scope {claim['scope']!r} is not known")
        region, anchored = read.region(claim.get("region"), claim.get("increments", _ANCHORED[False]))
        norms = {str(norm): norm for norm in Norm}
        if claim["norm"] not in norms or claim["output_norm"] not in norms:
            raise read.fail("a norm is not 1, 2 or inf")
        for place, items in (("outputs", claim["outputs"]), ("idealisations", top["idealisations"])):
            if not all(isinstance(item, str) for item in items):
                raise read.fail(f"{place} holds something that is not a text")
        return cls(
            Claim(
                norms[claim["norm"]], norms[claim["output_norm"]], Selection(tuple(claim["outputs"])), region, anchored
            ),
            read.value(claim["value"]),
            network["form"],
            network["sha256"],
            tuple(read.proof(item, f"scaling {k}") for k, item in enumerate(top["scalings"])),
            tuple(map(_without_file, top["idealisations"]) if version == 1 else top["idealisations"]),
            top["tool"].removeprefix("lipcert "),
            NONE if first else read.hints(top["hints"]),
            PROGRAMS if first else read.evidence(top["evidence"]),
            tuple(read.leaf(item, f"leaf {k}") for k, item in enumerate(top.get("leaves", []))),
            tuple(cls._read(item, read, inside=True) for item in top.get("parts", [])),
        )


_TOP: dict[str, type] = {
    "format": str,
    "version": int,
    "claim": dict,
    "network": dict,
    "scalings": list,
    "idealisations": list,
    "tool": str,
}
_CLAIM: dict[str, type | tuple[type, ...]] = {"norm": str, "output_norm": str, "outputs": list, "value": str}
_GLOBAL: dict[str, type | tuple[type, ...]] = {"scope": str}
_LOCAL: dict[str, type | tuple[type, ...]] = {"region": (dict, type(None)), "increments": str}
# where increments start
_ANCHORED = {False: "anywhere", True: "centre"}
_LEAF: dict[str, type | tuple[type, ...]] = {
    "cuts": list,
    "scalings": list,
    "at": list,
    "open": list,
    "weights": (str, type(None)),
}
_NETWORK: dict[str, type] = {"sha256": str, "form": str}


def text_of(path: str | Path) -> str:
    """The text of the file of a certificate.

    Raises
    ------
    InvalidCertificate
        If it cannot be read, or is too large for one; the message says why.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1) if file.stat().st_size <= MAX_BYTES else None
        if content is None or len(content) > MAX_BYTES:
            raise InvalidCertificate(f"it is larger than {MAX_BYTES >> 20} MiB", where=str(path))
        return content.decode()
    except OSError as error:
        raise InvalidCertificate(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise InvalidCertificate("is not a text file", where=str(path)) from None


class _Reader:
    """The parts of a certificate file; each one fails with the place.

    Parameters
    ----------
    where
        The file.
    """

    def __init__(self, where: str) -> None:
        self.where = where

    def fail(self, reason: str) -> InvalidCertificate:
        return InvalidCertificate(reason, where=self.where, advice="write it anew with lipcert bound --certificate")

    def json(self, text: str) -> Any:
        try:
            return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError):
            raise self.fail("is not valid JSON") from None

    def fields(self, value: Any, names: Mapping[str, type | tuple[type, ...]], place: str) -> dict[str, Any]:
        """An object with these fields and no others."""
        if not isinstance(value, dict):
            raise self.fail(f"{place} is not an object")
        if missing := sorted(names.keys() - value.keys()):
            raise self.fail(f"{place} lacks {', '.join(missing)}")
        if surplus := sorted(value.keys() - names.keys()):
            raise self.fail(f"{place} has the unknown field {', '.join(map(repr, surplus))}")
        for name, kind in names.items():
            if not isinstance(value[name], kind) or isinstance(value[name], bool):
                raise self.fail(f"{place}: {name} has the wrong type")
        return value

    def value(self, text: str, what: str = "the claimed value") -> float:
        """A nonnegative number, exactly as it is written."""
        if not _HEXADECIMAL.fullmatch(text):
            raise self.fail(f"{what} is not a nonnegative number of the form 0x…p…")
        try:
            value = float.fromhex(text)
        except OverflowError:
            raise self.fail(f"{what} is beyond float64") from None
        if value != 0.0 and value < LEAST:
            raise self.fail(f"{what} is smaller than any that can be proven")
        return value

    def region(self, item: Any, increments: str) -> tuple[Region | None, bool]:
        """Where the claim holds, and whether increments start from the centre."""
        if increments not in _ANCHORED.values():
            raise self.fail(f"the increments {increments!r} are not known")
        anchored = increments == _ANCHORED[True]
        try:
            region = None if item is None else from_json(item)
        except ValueError as error:
            raise self.fail(f"the region cannot be read: {error}") from None
        if anchored and (region is None or region.centre is None):
            raise self.fail("the region has no centre that increments could start from")
        return region, anchored

    def evidence(self, text: str) -> str:
        if text not in (PROGRAMS, JACOBIAN, HEAD, BREAKPOINTS):
            raise self.fail(f"the evidence {text!r} is not known")
        return text

    def proof(self, item: Any, place: str) -> Evidence:
        """A scaling, or the value that the entries of the Jacobian prove."""
        if not isinstance(item, dict) or "jacobian" not in item:
            return self.scaling(item, place)
        return Entries(self.value(self.fields(item, {"jacobian": str}, place)["jacobian"], place))

    def hints(self, item: Any) -> Hints:
        try:
            return Hints.from_json(item)
        except ValueError as error:
            raise self.fail(f"the hints cannot be read: {error}") from None

    def leaf(self, item: Any, place: str) -> Leaf:
        entry = self.fields(item, _LEAF, place)
        cuts = tuple(self.cut(cut, place) for cut in entry["cuts"])
        scalings = tuple(self.scaling(part, f"{place}: scaling {k}") for k, part in enumerate(entry["scalings"]))
        at, opened = entry["at"], entry["open"]
        if not all(type(count) is int and 0 <= count <= len(cuts) for count in at) or (
            scalings and len(at) != len(scalings)
        ):
            raise self.fail(f"{place}: a scaling does not say how many of the cuts it needs")
        if opened and len(opened) != len(scalings):
            raise self.fail(f"{place}: it has {len(opened)} lists of open neurons for {len(scalings)} scalings")
        left = (
            tuple(OpenNeuron(*self.integers(some, 4, f"{place}: an open neuron")) for some in self.listed(part, place))
            for part in opened
        )
        return Leaf(
            cuts,
            scalings,
            tuple(at),
            tuple(left),
            None if entry["weights"] is None else self.weights(entry["weights"], place),
        )

    def cut(self, item: Any, place: str) -> Cut:
        """A channel and a sign, an input, a number and a side, or a neuron with its kink and a side."""
        if not isinstance(item, list) or len(item) not in (2, 3, 4):
            raise self.fail(f"{place}: a cut is not of a known kind")
        if len(item) == 3:
            coordinate, side = self.integers([item[0], item[2]], 2, f"{place}: a cut")
            try:
                return coordinate, float.fromhex(item[1]), side
            except (ValueError, TypeError, OverflowError):
                raise self.fail(f"{place}: a cut at an input has no number") from None
        numbers = self.integers(item, len(item), f"{place}: a cut")
        return NeuronCut(*numbers) if len(numbers) == 4 else (numbers[0], numbers[1])

    def listed(self, item: Any, place: str) -> list[Any]:
        if not isinstance(item, list):
            raise self.fail(f"{place}: a list of open neurons is none")
        return item

    def integers(self, item: Any, count: int, place: str) -> list[int]:
        if not isinstance(item, list) or len(item) != count or any(type(part) is not int for part in item):
            raise self.fail(f"{place} is not made of {count} whole numbers")
        return item

    def weights(self, text: Any, place: str) -> Array:
        """Nonnegative float64 numbers."""
        try:
            found = from_text(text)
        except (ValueError, TypeError):
            raise self.fail(f"{place}: its weights are not base64 of 8-byte numbers") from None
        if not (np.isfinite(found) & (found >= 0.0)).all():
            raise self.fail(f"{place}: a weight is negative or not finite")
        return found

    def scaling(self, item: Any, place: str) -> Scaling:
        entry = self.fields(item, {"d": str, "m": str, "n": (str, type(None))}, place)
        d, m = (self.numbers(entry[name], f"{place}: {name}") for name in ("d", "m"))
        return Scaling(d, m, None if entry["n"] is None else self.numbers(entry["n"], f"{place}: n"))

    def numbers(self, text: str, place: str) -> Array:
        """Positive float64 numbers."""
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError:
            raise self.fail(f"{place} is not base64") from None
        if len(raw) % 8:
            raise self.fail(f"{place} is not a list of 8-byte numbers")
        x = np.frombuffer(raw, dtype="<f8").astype(np.float64)
        if not np.isfinite(x).all() or (x <= 0.0).any():
            raise self.fail(f"{place} holds a number that is not positive and finite")
        return x


def _without_file(idealisation: str) -> str:
    """'net.onnx, node 'n' (Mul): …' without the name of the file."""
    return re.sub(r"^.*?, (?=node '.*' \([\w.]+\): )", "", idealisation)


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field occurs twice")
    return fields


def _encoded(scalings: tuple[Evidence, ...]) -> list[dict[str, str | None]]:
    return [
        {"jacobian": s.bound.hex()}
        if isinstance(s, Entries)
        else {"d": _encode(s.d), "m": _encode(s.m), "n": None if s.n is None else _encode(s.n)}
        for s in scalings
    ]


def _written(leaf: Leaf) -> dict[str, Any]:
    return {
        "cuts": [[part.hex() if isinstance(part, float) else part for part in cut] for cut in leaf.cuts],
        "scalings": _encoded(leaf.scalings),
        "at": list(leaf.at),
        "open": leaf.open,
        "weights": None if leaf.weights is None else to_text(leaf.weights),
    }


def _encode(x: Array) -> str:
    """Base64 of little-endian float64: compact and exact."""
    return base64.b64encode(np.ascontiguousarray(x, dtype="<f8").tobytes()).decode()
