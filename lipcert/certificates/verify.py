"""Checking a certificate against a network: no solver, and nothing but the graph and the file.

The steps: the hash of the graph; the shapes; for every case the scaled matrix B as an enclosure and ‖B‖₂ < 1; the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipcert.certificates.block_cholesky import BlockSystem
from lipcert.certificates.certificate import Certificate
from lipcert.certificates.claims import cases, holds
from lipcert.certificates.prover import enclose, is_large, require_dense
from lipcert.errors import CertificateRejected, InvalidRequest, NotCertified
from lipcert.graph.prepare import FORMS, prepare
from lipcert.graph.selection import Selection
from lipcert.norms import Norm

if TYPE_CHECKING:
    from lipcert.certificates.claims import Scaling
    from lipcert.graph.nodes import Graph


@dataclass(frozen=True)
class Verdict:
    """A certificate that was checked and found valid."""

    certificate: Certificate
    well_posed: bool

    @property
    def value(self) -> float:
        """The proven bound."""
        return self.certificate.value


def verify(certificate: Certificate | str | Path, graph: Graph) -> Verdict:
    """Prove a certificate against a network.

    Parameters
    ----------
    certificate
        A certificate or the path of its file.
    graph
        The network.

    Returns
    -------
    Verdict

    Raises
    ------
    InvalidCertificate
        If the file cannot be read as a certificate.
    CertificateRejected
        If it does not prove its claim for this network; the message says why.
    NotEnoughMemory
        If the check needs more memory than there is.

    Examples
    --------
    >>> import numpy as np
    >>> from lipcert.certificates.prover import prove
    >>> from lipcert.constraints.multipliers import Multipliers
    >>> from lipcert.graph import build as nn
    >>> graph = nn.sequential(nn.linear([[2.0]]), nn.relu())
    >>> certificate = prove(graph, Norm.L2, Norm.L2, [Multipliers(np.array([0.5]), np.array([4.0]))])
    >>> verify(certificate, graph).well_posed
    True
    """
    where = "certificate" if isinstance(certificate, Certificate) else str(certificate)
    c = certificate if isinstance(certificate, Certificate) else Certificate.load(certificate)

    def reject(reason: str) -> CertificateRejected:
        return CertificateRejected(reason, where=where, advice="it proves nothing about this model")

    if c.graph != graph.fingerprint.hex():
        raise reject("it was made for another network")
    if c.idealisations != graph.idealisations:
        raise reject("it states other idealisations than the model has")
    if c.form not in FORMS:
        raise reject("it names a form of the network that is not known")
    if c.outputs and c.output_norm is not Norm.LINF:
        raise reject("selected outputs are bounded one by one, so its output norm must be inf")
    try:
        selection = Selection.parse(c.outputs, graph.output_size) if c.outputs else Selection()
    except InvalidRequest as error:
        raise reject(str(error)) from None

    def require_match(k: int, scaling: Scaling, shapes: tuple[int, int, int | None]) -> None:
        if (scaling.d.size, scaling.m.size, None if scaling.n is None else scaling.n.size) != shapes:
            raise reject(f"scaling {k} does not have the sizes {shapes} of the network")
        if not scaling.value() <= c.value:
            raise reject(f"scaling {k} proves {scaling.value():.9g}, which is more than the claimed {c.value:.9g}")

    def holds_by_blocks() -> bool:
        if (c.norm, c.output_norm) != (Norm.L2, Norm.L2) or len(c.scalings) != 1:
            return False
        blocks = BlockSystem.of(prepared)
        if blocks is None:
            return False
        require_match(0, c.scalings[0], (blocks.groups, 1, None))
        return blocks.holds(c.scalings[0])

    prepared = prepare(selection.apply(graph), c.form)
    large = is_large(prepared)
    if large and holds_by_blocks():
        return Verdict(c, True)
    require_dense(prepared)
    try:
        system = enclose(prepared)
    except NotCertified as error:
        raise reject(str(error)) from None
    wanted = list(cases(system, c.norm, c.output_norm))
    if len(wanted) != len(c.scalings):
        raise reject(f"it holds {len(c.scalings)} scalings where its claim needs {len(wanted)}")
    for k, (case, scaling) in enumerate(zip(wanted, c.scalings, strict=True)):
        shapes = (
            system.groups.count,
            system.inputs if c.norm is Norm.LINF else 1,
            case.outputs.size if c.output_norm is Norm.L1 else None,
        )
        require_match(k, scaling, shapes)
        if not holds(system, case, scaling) and (large or not holds_by_blocks()):
            raise reject(f"scaling {k} does not prove its bound: ‖B‖ < 1 could not be shown")
    return Verdict(c, True)
