"""Checking a certificate against a network: no solver, and nothing but the graph and the file.

The steps: the hash of the graph; the shapes; for every case the scaled matrix B as an enclosure and ‖B‖₂ < 1; the value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipcert.certificates.certificate import BREAKPOINTS, HEAD, PROGRAMS, Certificate
from lipcert.certificates.claims import Entries, Evidence
from lipcert.certificates.exact import ExactProof
from lipcert.certificates.leaves import uncovered
from lipcert.certificates.proof import Proofs
from lipcert.certificates.prover import breakpoint_bound, entry_bounds
from lipcert.certificates.trees import grounds_of, unproven, unproven_case
from lipcert.errors import CertificateRejected, DoesNotApply, InvalidRequest
from lipcert.graph.claim import Claim
from lipcert.graph.heads import Head, head
from lipcert.graph.nodes import Graph
from lipcert.graph.prepare import FORMS
from lipcert.graph.selection import Selection
from lipcert.norms import Norm
from lipcert.ranges import posed

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Verdict:
    """A certificate that was checked and found valid.

    Attributes
    ----------
    certificate
        The certificate.
    well_posed
        Whether implicit layers are proven to have exactly one solution.
    exact
        Whether it was checked in rational arithmetic.
    """

    certificate: Certificate
    well_posed: bool
    exact: bool = False

    @property
    def value(self) -> float:
        """The proven bound."""
        return self.certificate.value


def verify(
    certificate: Certificate | str | Path, graph: Graph, *, exact: bool = False, jobs: int | None = None
) -> Verdict:
    """Prove a certificate against a network.

    Parameters
    ----------
    certificate
        A certificate or the path of its file.
    graph
        The network.
    exact
        Check it in rational arithmetic, without any floating point; for networks of up to about 200 channels.
    jobs
        Processes for the leaves of a tree.

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
    InvalidRequest
        If the network or the claim is none for the exact check.

    Examples
    --------
    >>> import numpy as np
    >>> from lipcert.certificates.prover import prove
    >>> from lipcert.constraints.multipliers import Multipliers
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.claim import Claim
    >>> graph = nn.sequential(nn.linear([[2.0]]), nn.relu())
    >>> certificate = prove(graph, Claim(), [Multipliers(np.array([0.5]), np.array([4.0]))])
    >>> verify(certificate, graph).well_posed
    True
    """
    where = "certificate" if isinstance(certificate, Certificate) else str(certificate)
    c = certificate if isinstance(certificate, Certificate) else Certificate.load(certificate)

    def reject(reason: str) -> CertificateRejected:
        return CertificateRejected(reason, where=where, advice="it proves nothing about this model")

    if (reason := _mismatch(c, graph)) is not None:
        raise reject(reason)
    if exact and (c.claim.region is not None or c.evidence == BREAKPOINTS):
        raise InvalidRequest("the exact check is for global claims", where=where, advice="check it without --exact")
    if exact and (c.leaves or c.parts):
        raise InvalidRequest(
            "the exact check is for claims without leaves", where=where, advice="check it without --exact"
        )
    try:
        # the labels are read anew, for this network
        outputs = Selection.parse(c.outputs, graph.output_size) if c.outputs else Selection()
        claim = replace(c.claim, outputs=outputs)
        if c.parts:
            return _by_parts(c, graph, jobs, reject)
        if c.leaves:
            return _by_leaves(c, graph, claim, jobs, reject)
        if c.evidence == BREAKPOINTS:
            return _by_breakpoints(c, graph, claim, reject)
        if c.evidence == HEAD:
            inside, before = _before_head(c, graph, claim, reject)
            return replace(verify(inside, before, exact=exact), certificate=c)
        local = posed(graph, claim, c.form, c.hints)
        prepared = local.graph
    except InvalidRequest as error:
        raise reject(str(error)) from None
    proofs = ExactProof(prepared, c.claim) if exact else Proofs(prepared, c.claim)
    entries: list[float] = []
    if any(isinstance(item, Entries) for item in c.scalings):
        try:
            entries = entry_bounds(local, claim)
        except DoesNotApply as error:
            raise reject(str(error)) from None
    _require_proven(proofs, c.scalings, c.value, reject, entries)
    return Verdict(c, True, exact)


def _before_head(
    c: Certificate, graph: Graph, claim: Claim, reject: Callable[[str], CertificateRejected]
) -> tuple[Certificate, Graph]:
    """What the certificate claims of the numbers that go into the last activation, and the network up to there."""
    found = head(graph, claim)
    if found is None:
        raise reject("the network does not end in an activation with an ℓ∞ constant of its own")
    inside = replace(
        c,
        claim=Head.inside(claim),
        value=c.value / found.factor,
        graph=found.graph.fingerprint.hex(),
        evidence=PROGRAMS,
    )
    return inside, found.graph


def _by_parts(c: Certificate, graph: Graph, jobs: int | None, reject: Callable[[str], CertificateRejected]) -> Verdict:
    """Raise where the parts are not about the outputs of the claim, or one of them is not proven."""
    if c.scalings or c.leaves:
        raise reject("it holds parts, and scalings or leaves for the whole")
    if not c.outputs:
        raise reject("it holds parts for outputs that count together")
    for k, part in enumerate(c.parts):
        alike = replace(part.claim, outputs=c.claim.outputs)
        if part.parts or not part.outputs or _said(alike) != _said(c.claim):
            raise reject(f"part {k} is about something else")
        try:
            verify(part, graph, jobs=jobs)
        except CertificateRejected as error:
            raise reject(f"part {k}: {error.what}") from None
    if missing := [label for label in c.outputs if not any(label in part.outputs for part in c.parts)]:
        raise reject(f"no part is about output {missing[0]}")
    if (value := max(c.values(len(c.outputs)))) > c.value:
        raise reject(f"its parts prove {value:.9g}, which is more than the claimed {c.value:.9g}")
    return Verdict(c, True)


def _said(claim: Claim) -> tuple[object, ...]:
    """What a claim says, to be compared."""
    where = None if claim.region is None else claim.region.to_json()
    return claim.norm, claim.output_norm, claim.outputs.labels, where, claim.anchored


def _by_leaves(
    c: Certificate,
    graph: Graph,
    claim: Claim,
    jobs: int | None,
    reject: Callable[[str], CertificateRejected],
) -> Verdict:
    """Raise where the leaves do not cover the claim, or one of them is not proven."""
    from joblib import Parallel, delayed, effective_n_jobs

    if c.scalings:
        raise reject("it holds leaves and scalings for the whole")
    try:
        grounds = grounds_of(c, graph, claim)
    except DoesNotApply as error:
        raise reject(f"its leaves are not for this claim: {error.what}") from None
    reason = uncovered([leaf.cuts for leaf in c.leaves], grounds.refused)
    if reason is not None:
        raise reject(f"its leaves do not cover the claim: {reason}")
    # neighbours in the tree share their way to it
    order = sorted(range(len(c.leaves)), key=lambda k: c.leaves[k].cuts)
    count = min(len(order), effective_n_jobs(jobs))
    parts = [[(k, c.leaves[k]) for k in part] for part in np.array_split(np.array(order), count)]
    if count == 1:
        reasons = [unproven(grounds, parts[0], c.value)]
    else:
        reasons = Parallel(n_jobs=jobs)(delayed(unproven)(grounds, part, c.value) for part in parts)
    for reason in reasons:
        if reason is not None:
            raise reject(reason)
    return Verdict(c, True)


def _require_proven(
    proofs: Proofs | ExactProof,
    scalings: tuple[Evidence, ...],
    value: float,
    reject: Callable[[str], CertificateRejected],
    entries: Sequence[float] = (),
) -> None:
    """Raise where the scalings, or what the entries of the Jacobian prove of each program, do not prove the value."""
    if len(proofs.cases) != len(scalings):
        raise reject(f"it holds {len(scalings)} scalings where its claim needs {len(proofs.cases)}")
    for k, (case, scaling) in enumerate(zip(proofs.cases, scalings, strict=True)):
        if isinstance(scaling, Entries):
            if (reason := _beyond(scaling, entries[k], value)) is not None:
                raise reject(reason)
            continue
        if (reason := unproven_case(proofs, case, scaling, value)) is not None:
            raise reject(f"scaling {k} {reason}")
        if isinstance(proofs, ExactProof) and not ExactProof.value_holds(scaling, value):
            raise reject(f"scaling {k} proves more than the claimed {value:.9g}")


def _beyond(claimed: Entries, proven: float, value: float) -> str | None:
    """Why the entries of the Jacobian, which prove `proven` of a program, do not prove the value, or None where they do."""
    if not claimed.bound <= value:
        return f"a program is claimed to have {claimed.bound:.9g}, which is more than the claimed {value:.9g}"
    if not proven <= claimed.bound:
        return f"the entries of the Jacobian prove {proven:.9g}, which is more than the claimed {claimed.bound:.9g}"
    return None


def _mismatch(c: Certificate, graph: Graph) -> str | None:
    """Why the certificate is not about this network, if it is not."""
    if c.graph != graph.fingerprint.hex():
        return "it was made for another network"
    if c.idealisations != graph.idealisations:
        return "it states other idealisations than the model has"
    if c.form not in FORMS:
        return "it names a form of the network that is not known"
    if c.outputs and c.output_norm is not Norm.LINF:
        return "selected outputs are bounded one by one, so its output norm must be inf"
    return None


def _by_breakpoints(
    c: Certificate, graph: Graph, claim: Claim, reject: Callable[[str], CertificateRejected]
) -> Verdict:
    """The same where the bound is found anew from nothing but the network and the region."""
    if c.scalings or c.leaves:
        raise reject("it holds scalings that its evidence does not need")
    try:
        value = breakpoint_bound(graph, claim, c.form)
    except DoesNotApply as error:
        raise reject(f"its evidence is not for this claim: {error.what}") from None
    if not value <= c.value:
        raise reject(f"the slopes between breakpoints prove {value:.9g}, which is more than the claimed {c.value:.9g}")
    return Verdict(c, True)
