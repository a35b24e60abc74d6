"""`Prover`: multipliers in, certificate out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lipcert.certificates.certificate import Certificate
from lipcert.certificates.claims import cases
from lipcert.certificates.enclosure import Enclosure, EnclosureArithmetic
from lipcert.certificates.repair import repair
from lipcert.constraints.interconnection import Interconnection, lower
from lipcert.errors import NotCertified
from lipcert.graph.prepare import prepare
from lipcert.graph.selection import Selection

if TYPE_CHECKING:
    from lipcert.certificates.claims import Scaling
    from lipcert.constraints.multipliers import Multipliers
    from lipcert.graph.nodes import Graph
    from lipcert.norms import Norm


class Prover:
    """Proves bounds of one network; its enclosure is computed once.

    Parameters
    ----------
    graph
        The network, not prepared.
    selection
        The outputs that the bounds are about.
    form, normal_form
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
        normal_form: str = "default",
    ) -> None:
        self.graph = graph
        self.selection = selection or Selection()
        self.form = form
        self.normal_form = normal_form

    @cached_property
    def system(self) -> Interconnection[Enclosure]:
        """The enclosure of R and Y."""
        return enclose(self.graph, self.selection, self.form, self.normal_form)

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
        for case, proposal in zip(cases(self.system, norm, output_norm), proposals, strict=True):
            if tell is not None:
                tell(len(scalings), len(proposals))
            scaling = repair(self.system, case, proposal)
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
        return Certificate(
            norm,
            output_norm,
            self.selection.labels,
            max((scaling.value() for scaling in scalings), default=0.0),
            self.form,
            self.normal_form,
            self.graph.fingerprint.hex(),
            tuple(scalings),
            self.graph.idealisations,
        )


def enclose(graph: Graph, selection: Selection, form: str, normal_form: str) -> Interconnection[Enclosure]:
    """The enclosure of the prepared network, from the graph alone."""
    prepared = prepare(selection.apply(graph), form)
    with np.errstate(over="ignore", invalid="ignore"):
        return lower(prepared, EnclosureArithmetic())


def prove(graph: Graph, norm: Norm, output_norm: Norm, proposals: Sequence[Multipliers]) -> Certificate:
    """As `Prover(graph).prove`."""
    return Prover(graph).prove(norm, output_norm, proposals)
