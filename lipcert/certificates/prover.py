"""`Prover`: multipliers in, certificate out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lipcert.certificates.block_cholesky import BlockSystem, prove_by_blocks
from lipcert.certificates.certificate import Certificate
from lipcert.certificates.claims import cases
from lipcert.certificates.enclosure import Enclosure, EnclosureArithmetic
from lipcert.certificates.memory import require
from lipcert.certificates.repair import repair
from lipcert.constraints.interconnection import Interconnection, lower
from lipcert.errors import NotCertified
from lipcert.graph.prepare import prepare
from lipcert.graph.selection import Selection
from lipcert.graph.summary import channels, rows
from lipcert.norms import Norm
from lipcert.threads import threads_for

if TYPE_CHECKING:
    from lipcert.certificates.claims import Scaling
    from lipcert.constraints.multipliers import Multipliers
    from lipcert.graph.nodes import Graph


WEAK = 1e-6
"""Relative loss from which the proof by blocks is tried on smaller networks too."""
LARGE = 3000
"""Rows of [R; Y] from which the proof by blocks comes first."""
TRIES = 4.0
"""Factorisations that a proof takes, and"""
SPEED = 1e10
"""operations a second, for a guess of its time."""


class Prover:
    """Proves bounds of one network; its enclosure is computed once.

    Parameters
    ----------
    graph
        The network, not prepared.
    selection
        The outputs that the bounds are about.
    form
        As in `Certificate`.

    Examples
    --------
    >>> import numpy as np
    >>> from lipcert.constraints.multipliers import Multipliers
    >>> from lipcert.graph import build as nn
    >>> from lipcert.norms import Norm
    >>> graph = nn.sequential(nn.linear([[2.0]]), nn.relu())
    >>> certificate = Prover(graph).prove(Norm.L2, Norm.L2, [Multipliers(np.array([0.5]), np.array([4.0]))])
    >>> 2.0 <= certificate.value < 2.000001
    True
    """

    def __init__(
        self,
        graph: Graph,
        selection: Selection | None = None,
        form: str = "comparators",
    ) -> None:
        self.graph = graph
        self.selection = selection or Selection()
        self.form = form

    @cached_property
    def prepared(self) -> Graph:
        """The graph that the proof is about."""
        return prepare(self.selection.apply(self.graph), self.form)

    @cached_property
    def blocks(self) -> BlockSystem | None:
        """The network by blocks, where the proof by blocks applies to it."""
        return BlockSystem.of(self.prepared)

    @cached_property
    def large(self) -> bool:
        """Whether the proof by blocks comes first."""
        return is_large(self.prepared)

    def _first(self, norm: Norm, output_norm: Norm) -> BlockSystem | None:
        """The network by blocks, where the proof by blocks comes first."""
        return self.blocks if (norm, output_norm) == (Norm.L2, Norm.L2) and self.large else None

    def require_memory(self, norm: Norm, output_norm: Norm) -> None:
        """Raise where no proof of such a bound fits into memory.

        Raises
        ------
        NotEnoughMemory
            With what it would take.
        """
        blocks = self._first(norm, output_norm)
        if blocks is not None:
            require(blocks.bytes_needed(), "the proof")
        else:
            require_dense(self.prepared)

    def seconds(self, norm: Norm, output_norm: Norm) -> float:
        """About how long the proof of one case takes, rather too much than too little."""
        blocks = self._first(norm, output_norm)
        if blocks is not None:
            return TRIES * blocks.operations() / SPEED
        n, m = self.prepared.input_size, self.prepared.output_size
        height, width = rows(self.prepared) + m, channels(self.prepared) + n
        return TRIES * height * width * (height + min(height, width)) / SPEED

    @cached_property
    def system(self) -> Interconnection[Enclosure]:
        """The enclosure of R and Y."""
        require_dense(self.prepared)
        return enclose(self.prepared)

    def prove(
        self,
        norm: Norm,
        output_norm: Norm,
        proposals: Sequence[Multipliers],
        tell: Callable[[int, int], None] | None = None,
    ) -> Certificate:
        """The certificate with the smallest proven value for the proposed multipliers.

        Parameters
        ----------
        norm, output_norm
            The norms of the claim.
        proposals
            One a case of `claims.cases`, in its order.
        tell
            Called before each case with the number of cases that are proven and of all.

        Raises
        ------
        NotCertified
            If some case cannot be proven.
        """
        scalings: list[Scaling] = []
        euclidean = (norm, output_norm) == (Norm.L2, Norm.L2)
        blocks = self._first(norm, output_norm)
        if blocks is not None:
            scaling = prove_by_blocks(blocks, proposals[0])
            if scaling is not None:
                return self._certificate(norm, output_norm, [scaling])
        for case, proposal in zip(cases(self.system, norm, output_norm), proposals, strict=True):
            if tell is not None:
                tell(len(scalings), len(proposals))
            scaling = repair(self.system, case, proposal)
            if euclidean and not self.large and _is_weak(scaling, proposal) and self.blocks is not None:
                # the rounding of R, which the other proof does not form, decides
                other = prove_by_blocks(self.blocks, proposal)
                if scaling is None or (other is not None and other.value() < scaling.value()):
                    scaling = other
            if scaling is None:
                raise NotCertified(
                    "well-posedness of the implicit layers could not be certified"
                    if self.system.implicit
                    else "the proposed multipliers could not be proven",
                    advice="no bound can be given"
                    if self.system.implicit
                    else "try another method or a longer time limit",
                )
            scalings.append(scaling)
        return self._certificate(norm, output_norm, scalings)

    def _certificate(self, norm: Norm, output_norm: Norm, scalings: Sequence[Scaling]) -> Certificate:
        return Certificate(
            norm,
            output_norm,
            self.selection.labels,
            max((scaling.value() for scaling in scalings), default=0.0),
            self.form,
            self.graph.fingerprint.hex(),
            tuple(scalings),
            self.graph.idealisations,
        )


def enclose(prepared: Graph) -> Interconnection[Enclosure]:
    """The enclosure of R and Y of a prepared graph."""
    m = prepared.output_size
    multiplications = float(rows(prepared) + m) ** 2 * (channels(prepared) + prepared.input_size)
    with np.errstate(over="ignore", invalid="ignore"), threads_for(multiplications):
        return lower(prepared, EnclosureArithmetic())


def require_dense(prepared: Graph) -> None:
    """Raise where the matrices of the dense proof do not fit into memory: seven of the size of [R; Y] at its peak."""
    m = prepared.output_size
    require(56 * (rows(prepared) + m) * (channels(prepared) + prepared.input_size), "the dense proof")


def is_large(prepared: Graph) -> bool:
    """Whether the proof by blocks comes before the dense one."""
    return rows(prepared) + prepared.output_size > LARGE


def _is_weak(scaling: Scaling | None, proposal: Multipliers) -> bool:
    """Whether a proof loses more than rounding of B explains."""
    if scaling is None:
        return True
    with np.errstate(invalid="ignore"):
        claimed = float(np.sqrt(np.sum(proposal.mu))) * proposal.input_scale
    return not scaling.value() <= claimed * (1.0 + WEAK)


def prove(graph: Graph, norm: Norm, output_norm: Norm, proposals: Sequence[Multipliers]) -> Certificate:
    """As `Prover(graph).prove`."""
    return Prover(graph).prove(norm, output_norm, proposals)
