"""`Prover`: multipliers in, certificate out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lipcert.certificates.certificate import BREAKPOINTS, HEAD, Certificate
from lipcert.certificates.claims import LEAST, Entries, Evidence
from lipcert.certificates.proof import Proofs
from lipcert.errors import DoesNotApply, NotCertified
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import FixedPoint
from lipcert.graph.prepare import posed as prepared
from lipcert.graph.sizes import nodes
from lipcert.ranges import posed
from lipcert.ranges.jacobian import from_ranges
from lipcert.ranges.line import Steepest, steepest
from lipcert.ranges.localise import moduli

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.constraints.multipliers import Multipliers
    from lipcert.graph.nodes import Graph
    from lipcert.ranges import Localised


# relative
_ROOM = 2.0**-34


class Prover:
    """Proves bounds of one network; its enclosure is computed once.

    Parameters
    ----------
    graph
        The network, not prepared.
    claim
        What the bounds are about.
    form
        As in `Certificate`.
    posed
        The graph of the claim in this form where it is at hand.

    Examples
    --------
    >>> import numpy as np
    >>> from lipcert.constraints.multipliers import Multipliers
    >>> from lipcert.graph import build as nn
    >>> graph = nn.sequential(nn.linear([[2.0]]), nn.relu())
    >>> certificate = Prover(graph).prove([Multipliers(np.array([0.5]), np.array([4.0]))])
    >>> 2.0 <= certificate.value < 2.000001
    True
    """

    def __init__(
        self, graph: Graph, claim: Claim | None = None, form: str = "comparators", posed: Localised | None = None
    ) -> None:
        self.graph = graph
        self.claim = claim or Claim()
        self.form = form
        self._posed = posed

    @cached_property
    def posed(self) -> Localised:
        """The graph that the proof is about, on the region of the claim."""
        return self._posed or posed(self.graph, self.claim, self.form)

    @cached_property
    def proofs(self) -> Proofs:
        """The proofs that there are."""
        return Proofs(self.posed.graph, self.claim)

    @cached_property
    def entries(self) -> list[float]:
        """What the entries of the Jacobian prove of each program.

        Raises
        ------
        DoesNotApply
            If there is an implicit layer, or the claim is about the whole space.
        """
        return entry_bounds(self.posed, self.claim)

    def require_memory(self) -> None:
        """Raise where no proof fits into memory.

        Raises
        ------
        NotEnoughMemory
            With what it would take.
        """
        self.proofs.require_memory()

    def seconds(self) -> float:
        """About how long the proof of one case takes, rather too much than too little."""
        return self.proofs.first.seconds()

    def prove(
        self,
        proposals: Sequence[Multipliers],
        tell: Callable[[int, int], None] | None = None,
        *,
        briefly: bool = False,
    ) -> Certificate:
        """The certificate with the smallest proven value for the proposed multipliers.

        Parameters
        ----------
        proposals
            One a case of the claim, in its order.
        tell
            Called before each case with the number of cases that are proven and of all.
        briefly
            Whether one way of proof is enough, as for points on the way of a solver.

        Raises
        ------
        NotCertified
            If some case cannot be proven.
        """
        scalings: list[Evidence] = []
        for case, proposal in zip(self.proofs.cases, proposals, strict=True):
            if tell is not None:
                tell(len(scalings), len(proposals))
            scaling = self.proofs.improve(case, proposal, briefly=briefly)
            if scaling is None:
                raise self._failure()
            scalings.append(scaling)
        return self._certificate(scalings)

    def by_breakpoints(self) -> tuple[Certificate, Array]:
        """The certificate by the slopes between all breakpoints of the one moving input, and about where it is attained.

        Raises
        ------
        DoesNotApply
            If more inputs can move, or the network is not piecewise linear.
        """
        found = along_line(self.graph, self.claim, self.form)
        bare = Certificate.bare(self.graph, self.claim, self.form, claimed(found.value))
        return replace(bare, evidence=BREAKPOINTS), found.point

    def by_jacobian(self, other: Certificate | None = None) -> Certificate:
        """The certificate by the entries of the Jacobian on the region of the claim.

        Parameters
        ----------
        other
            What is proven already: program by program the smaller bound is kept.

        Raises
        ------
        DoesNotApply
            If there is an implicit layer.
        """
        own = [Entries(claimed(value)) for value in self.entries]
        if other is None:
            return self._certificate(own)
        pairs = zip(other.scalings, own, strict=True)
        return self._certificate([min(pair, key=lambda evidence: evidence.value()) for pair in pairs])

    def _certificate(self, evidence: Sequence[Evidence]) -> Certificate:
        value = max((item.value() for item in evidence), default=0.0)
        bare = Certificate.bare(self.graph, self.claim, self.form, value)
        return replace(bare, scalings=tuple(evidence), hints=self.posed.hints)

    def _failure(self) -> NotCertified:
        if any(isinstance(node, FixedPoint) for node in nodes(self.posed.graph)):
            return NotCertified(
                "well-posedness of the implicit layers could not be certified", advice="no bound can be given"
            )
        return NotCertified(
            "the proposed multipliers could not be proven", advice="try another method or a longer time limit"
        )


def claimed(value: float) -> float:
    """A little more: who checks finds other last digits."""
    return float(np.nextafter(max(value, LEAST) * (1.0 + _ROOM), np.inf))


def along_line(graph: Graph, claim: Claim, form: str) -> Steepest:
    """The steepest slope where one input can move; of outputs that are bounded one by one the largest.

    Raises
    ------
    DoesNotApply
        If more inputs can move, or the network is not piecewise linear.
    """
    return steepest(moduli(prepared(graph, claim, form)), claim.region, claim.output_norm)


def breakpoint_bound(graph: Graph, claim: Claim, form: str) -> float:
    """What the slopes between breakpoints prove of a claim: any two points are joined by pieces of the line."""
    return max(along_line(graph, claim, form).value, LEAST)


def entry_bounds(posed: Localised, claim: Claim) -> list[float]:
    """What the entries of the Jacobian prove of each program of a claim.

    On a convex region the norm of the Jacobian, at every point, bounds all chords, those from the centre too.

    Raises
    ------
    DoesNotApply
        If there is an implicit layer, or the graph is that of the whole space.
    """
    if posed.swept is None:
        raise DoesNotApply("on the whole space there are no entries of the Jacobian to bound")
    with np.errstate(over="ignore", invalid="ignore"):
        found = from_ranges(posed.swept)
        cases = claim.cases(posed.graph.input_size, posed.graph.output_size)
        parts = [found.part(case.outputs, case.inputs).norm(claim.norm, claim.output_norm) for case in cases]
    return [max(part, LEAST) for part in parts]


def through_head(inside: Certificate, graph: Graph, claim: Claim, factor: float) -> Certificate:
    """The certificate for a network from that of what goes into its last activation (`lipcert.graph.heads.head`)."""
    # a product with a power of two is exact
    return replace(
        inside, claim=claim, value=max(factor * inside.value, LEAST), graph=graph.fingerprint.hex(), evidence=HEAD
    )


def prove(graph: Graph, claim: Claim, proposals: Sequence[Multipliers]) -> Certificate:
    """As `Prover(graph, claim).prove`."""
    return Prover(graph, claim).prove(proposals)
