"""Certificates of classes: one file for all samples of a run, the Lipschitz bounds that they share once.

For each sample the file holds the point, its class, a radius, and, where the shared bounds are not enough, the proof on the
ball around it (`lipcert.certificates.nearby`); multipliers of ellipsoids that several of them use stand there once. The
check evaluates the network at the point in ball arithmetic, proves the shared bounds, and proves the balls; it needs no
solver.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.arrays import from_text, to_text
from lipcert.certificates.certificate import Certificate, text_of
from lipcert.certificates.nearby import LocalProof, Nearby, written
from lipcert.certificates.shared import MarginBounds, SharedBound, smallest
from lipcert.certificates.values import margins_at
from lipcert.certificates.verify import verify
from lipcert.errors import CertificateRejected, InvalidCertificate, LipcertError
from lipcert.files import write
from lipcert.graph.heads import without_head
from lipcert.graph.normalised import normalised
from lipcert.graph.selection import Selection
from lipcert.norms import Norm
from lipcert.regions import Box, from_json
from lipcert.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array
    from lipcert.graph.nodes import Graph

FORMAT = "lipcert certificate of classes"
VERSION = 1
_FIELDS = {
    *("format", "version", "network", "norm", "domain", "form", "mean", "std"),
    *("shared", "ellipsoids", "samples", "tool"),
}


@dataclass(frozen=True, eq=False)
class Sample:
    """A point whose class holds within a radius; `local` proves it where the shared bounds do not."""

    point: Array
    c: int
    radius: float
    local: LocalProof | None = None


@dataclass(frozen=True, eq=False)
class ClassCertificate:
    """Classes that hold within radii.

    Attributes
    ----------
    network
        The hash of the graph that was read from the file.
    norm, domain
        Of the radii, and the box that inputs stay in.
    form
        How the network is prepared.
    mean, std
        The normalisation in front of the network, or None.
    shared
        Lipschitz bounds on the whole space.
    samples
        The samples.
    """

    network: str
    norm: Norm
    domain: Box | None
    form: str
    mean: Array | None
    std: Array | None
    shared: tuple[SharedBound, ...]
    samples: tuple[Sample, ...]

    def to_json(self) -> str:
        """The text of the file."""
        once = _Once()
        document = {
            "format": FORMAT,
            "version": VERSION,
            "network": self.network,
            "norm": str(self.norm),
            "domain": None if self.domain is None else self.domain.to_json(),
            "form": self.form,
            "mean": None if self.mean is None else to_text(self.mean),
            "std": None if self.std is None else to_text(self.std),
            "shared": [
                {"outputs": list(item.outputs), "certificate": json.loads(item.certificate.to_json())}
                for item in self.shared
            ],
            "samples": [
                {
                    "point": to_text(item.point),
                    "class": item.c,
                    "radius": item.radius.hex(),
                    "local": None if item.local is None else once.taken_out(item.local.to_json()),
                }
                for item in self.samples
            ],
            "ellipsoids": once.found,
            "tool": f"lipcert {__version__}",
        }
        return json.dumps(document, indent=1) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the file."""
        write(path, self.to_json().encode())

    @classmethod
    def from_json(cls, text: str, where: str = "certificate") -> ClassCertificate:
        """Parse the text of a file strictly.

        Raises
        ------
        InvalidCertificate
            If it is no such certificate; the message says why.
        """
        try:
            item = json.loads(text)
            if not isinstance(item, dict) or item.keys() != _FIELDS:
                raise ValueError("its fields are not those of a certificate of classes")
            if item["format"] != FORMAT or item["version"] != VERSION:
                raise ValueError("its format or version is not known")
            norms = {str(norm): norm for norm in Norm}
            domain = None if item["domain"] is None else from_json(item["domain"])
            if domain is not None and not isinstance(domain, Box):
                raise ValueError("the domain is no box")
            return cls(
                str(item["network"]),
                norms[item["norm"]],
                domain,
                str(item["form"]),
                None if item["mean"] is None else from_text(item["mean"]),
                None if item["std"] is None else from_text(item["std"]),
                tuple(_shared(entry) for entry in item["shared"]),
                tuple(_sample(entry, item["ellipsoids"]) for entry in item["samples"]),
            )
        except InvalidCertificate:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LipcertError) as error:
            raise InvalidCertificate(
                f"cannot be read as a certificate of classes: {error}",
                where=where,
                advice="write it anew with lipcert robustness --certificate",
            ) from None


def _shared(item: Any) -> SharedBound:
    if item.keys() != {"outputs", "certificate"} or not all(isinstance(label, str) for label in item["outputs"]):
        raise ValueError("a shared bound has outputs and a certificate")
    return SharedBound(tuple(item["outputs"]), Certificate.from_json(json.dumps(item["certificate"])))


class _Once:
    """Multipliers of ellipsoids, each once."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    def taken_out(self, local: dict[str, Any]) -> dict[str, Any]:
        """A local proof with the number of its multipliers in place of them."""
        hints = local["hints"]
        if "ellipsoids" not in hints:
            return local
        if hints["ellipsoids"] not in self.found:
            self.found.append(hints["ellipsoids"])
        return local | {"hints": hints | {"ellipsoids": self.found.index(hints["ellipsoids"])}}


def _put_back(local: Any, shared: Any) -> Any:
    """A local proof with its multipliers."""
    hints = local["hints"]
    if not isinstance(hints, dict) or "ellipsoids" not in hints:
        return local
    number = hints["ellipsoids"]
    if not isinstance(shared, list) or not isinstance(number, int) or not 0 <= number < len(shared):
        raise ValueError("a local proof names ellipsoids that are not there")
    return local | {"hints": hints | {"ellipsoids": shared[number]}}


def _sample(item: Any, shared: Any) -> Sample:
    if item.keys() != {"point", "class", "radius", "local"} or not isinstance(item["class"], int):
        raise ValueError("a sample has a point, a class, a radius and a local proof")
    radius = float.fromhex(item["radius"])
    if not radius > 0.0:
        raise ValueError("a radius is not positive")
    point = from_text(item["point"])
    if not np.isfinite(point).all():
        raise ValueError("a point is not finite")
    local = None if item["local"] is None else LocalProof.from_json(_put_back(item["local"], shared))
    return Sample(point, item["class"], radius, local)


@dataclass(frozen=True)
class ClassVerdict:
    """A certificate of classes that was checked: how many samples, and the smallest radius."""

    samples: int
    radius: float


def verify_classes(
    certificate: ClassCertificate,
    graph: Graph,
    where: str = "certificate",
    tell: Callable[[int, int], None] | None = None,
) -> ClassVerdict:
    """Prove a certificate of classes against the network of a file.

    Raises
    ------
    CertificateRejected
        If a sample is not proven; the message names it.
    """

    def reject(reason: str) -> CertificateRejected:
        return CertificateRejected(reason, where=where, advice="it proves nothing about this model")

    if certificate.network != graph.fingerprint.hex():
        raise reject("it was made for another network")
    try:
        logits = without_head(normalised(graph, certificate.mean, certificate.std))[0]
        bounds = _bounds(certificate, logits)
        form = written(logits, certificate.form) if any(sample.local for sample in certificate.samples) else None
    except LipcertError as error:
        raise reject(str(error)) from None
    classes = max(logits.output_size, 2)
    for k, sample in enumerate(certificate.samples):
        if tell is not None:
            tell(k, len(certificate.samples))
        if sample.point.size != logits.input_size or not 0 <= sample.c < classes:
            raise reject(f"sample {k} does not fit the network")
        predictions, gaps = margins_at(logits, sample.point[None])
        if predictions[0] != sample.c:
            raise reject(f"sample {k} is of another class")
        if not _proven(certificate, logits, form, sample, gaps[0], bounds):
            raise reject(f"the class of sample {k} is not proven within {sample.radius:.6g}")
    radii = [sample.radius for sample in certificate.samples]
    return ClassVerdict(len(radii), min(radii, default=0.0))


def _bounds(certificate: ClassCertificate, logits: Graph) -> MarginBounds:
    """The shared bounds, proven."""
    for item in certificate.shared:
        claim = item.certificate.claim
        if claim.norm is not certificate.norm or claim.region is not None:
            raise CertificateRejected("a shared bound is about another norm or a region")
        about = Selection.parse(item.outputs, logits.output_size) if item.outputs else Selection()
        if not claim.outputs.joint:
            verify(item.certificate, logits)
            continue
        # of one margin, or of all outputs in ℓ2
        if about.labels != item.outputs or len(about.labels) > 1 or (about.joint and claim.output_norm is not Norm.L2):
            raise CertificateRejected("a shared bound is about several outputs together")
        verify(item.certificate, about.apply(logits))
    return MarginBounds(logits.output_size, smallest(*(item.values() for item in certificate.shared)))


def _proven(
    certificate: ClassCertificate, logits: Graph, form: Graph | None, sample: Sample, gaps: Array, bounds: MarginBounds
) -> bool:
    if sample.local is not None:
        if not sample.radius <= sample.local.radius:
            return False
        ball = Nearby(
            logits,
            sample.point,
            sample.local.radius,
            certificate.norm,
            certificate.domain,
            sample.c,
            certificate.form,
            sample.local.hints,
            form,
        )
        return ball.proven(sample.local, gaps)
    distances = bounds.distances(np.array([sample.c]), gaps[None])[0]
    return bool((gaps > 0.0).all() and (sample.radius <= distances).all())


def is_of_classes(path: Path) -> bool:
    """Whether a file says that it is a certificate of classes; what cannot be read is none."""
    try:
        with path.open("rb") as file:
            return FORMAT.encode() in file.read(200)
    except OSError:
        return False


def load(path: Path) -> ClassCertificate:
    """Read the file of a certificate of classes.

    Raises
    ------
    InvalidCertificate
        If it is none.
    """
    return ClassCertificate.from_json(text_of(path), str(path))
