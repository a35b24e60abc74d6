"""What proves the leaves of a tree: one class for each kind of cuts, which the search and the check share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lipcert.certificates.certificate import JACOBIAN, PROGRAMS, Certificate
from lipcert.certificates.claims import LEAST
from lipcert.certificates.leaves import Kind, kind_of, signs_of
from lipcert.certificates.proof import Proofs
from lipcert.constraints.interconnection import signed_channels
from lipcert.errors import DoesNotApply, InvalidRequest, NotCertified
from lipcert.graph.nodes import Activation
from lipcert.graph.prepare import posed as prepared
from lipcert.ranges.cells import Cell, NeuronCut, breaks, part, whole, with_open
from lipcert.ranges.hints import NONE
from lipcert.ranges.jacobian import jacobian
from lipcert.ranges.localise import moduli, posed, with_ranges
from lipcert.ranges.rational import is_small, statements
from lipcert.regions import everywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lipcert.arrays import Array, BoolArray
    from lipcert.certificates.claims import Scaling
    from lipcert.certificates.exact import ExactProof
    from lipcert.certificates.leaves import Cuts, Leaf, Place
    from lipcert.graph.claim import Case, Claim
    from lipcert.graph.nodes import Graph
    from lipcert.ranges.cells import OpenNeuron
    from lipcert.ranges.hints import Hints
    from lipcert.regions import Region


class Grounds(Protocol):
    """What the leaves of a kind of tree rest on."""

    def refused(self, place: Place) -> str | None:
        """Why a place cannot be cut, or None where it can."""

    def unproven(self, leaf: Leaf, value: float) -> str | None:
        """Why a leaf does not prove the value, or None where it does."""


@dataclass(frozen=True, eq=False)
class ChannelGrounds:
    """Of signs of channels of a prepared graph, localised to the region of its claim."""

    graph: Graph
    claim: Claim

    def refused(self, place: Place) -> str | None:
        """A group that is one channel has a sign."""
        (group,) = place
        good = isinstance(group, int) and 0 <= group < self._signed.size and bool(self._signed[group])
        return None if good else f"channel {group} has no sign to cut at"

    def proofs(self, leaf: Leaf, case: int) -> Proofs | None:
        """Those of the network with the signs."""
        count = leaf.at[case] if leaf.at else len(leaf.cuts)
        cuts = [(int(cut[0]), int(cut[-1])) for cut in leaf.cuts[:count]]
        return Proofs(self.graph, self.claim, signs_of(cuts, self._signed.size) if cuts else None)

    def unproven(self, leaf: Leaf, value: float) -> str | None:
        """Why a leaf does not prove the value, or None where it does."""
        if leaf.weights is not None:
            return "its cuts do not contradict: every vector of signs is possible"
        return _unproven_programs(lambda case: self.proofs(leaf, case), leaf, value)

    @cached_property
    def _signed(self) -> BoolArray:
        return signed_channels(self.graph)


@dataclass(frozen=True, eq=False)
class NeuronGrounds:
    """Of sides of kinks of the neurons of a piecewise linear network.

    Attributes
    ----------
    graph
        The prepared network of the claim, with its moduli written out.
    claim
        The claim.
    hints
        Of the ranges on the whole region.
    """

    graph: Graph
    claim: Claim
    hints: Hints = NONE
    _cells: dict[Cuts, Cell] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, graph: Graph, claim: Claim, form: str) -> NeuronGrounds:
        """Those of a network that is not prepared.

        Raises
        ------
        DoesNotApply
            If the network is not piecewise linear in single numbers, or all increments start from a centre.
        """
        if claim.anchored:
            raise DoesNotApply("cuts at neurons are for any two points, not for those that start from a centre")
        return cls(moduli(prepared(graph, claim, form)), claim)

    @cached_property
    def region(self) -> Region:
        """Where the claim holds."""
        return everywhere().fitted(self.graph.input_size) if self.claim.region is None else self.claim.region

    @cached_property
    def rational(self) -> bool:
        """Whether emptiness is a question of rational numbers: where the region is unbounded."""
        return not bool(self.region.interval().bounded.all())

    @cached_property
    def root(self) -> Cell:
        """The whole region."""
        return whole(self.graph, self.region, self.hints)

    def refused(self, place: Place) -> str | None:
        """The kinks that there are can be cut."""
        position, neuron, kink = (int(part) for part in place)
        nodes = dict(self.graph.walk())
        node = nodes.get(position)
        if not isinstance(node, Activation):
            return f"node {position} is no activation"
        kinks = breaks(node)[0]
        inside = 0 <= neuron < kinks.shape[0] and 0 <= kink < kinks.shape[1]
        return None if inside and np.isfinite(kinks[neuron, kink]) else f"{place} is no kink"

    def cell(self, cuts: Cuts) -> Cell:
        """What these cuts leave; cells on the way to the last one are kept."""
        known = self._cells.get(cuts)
        if known is None:
            if cuts:
                parent, last = self.cell(cuts[:-1]), cuts[-1]
                assert isinstance(last, NeuronCut)
                known = parent if parent.empty else part(self.graph, parent, last)
            else:
                known = self.root
            for other in [other for other in self._cells if cuts[: len(other)] != other]:
                del self._cells[other]
            self._cells[cuts] = known
        return known

    def proofs(self, leaf: Leaf, case: int) -> Proofs | None:
        """Those of the network with the slopes that are left on the cell."""
        cell = self.cell(leaf.cuts[: leaf.at[case]] if leaf.at else leaf.cuts)
        return self.proofs_on(cell, leaf.open[case] if leaf.open else ())

    def proofs_on(self, cell: Cell, left: tuple[OpenNeuron, ...]) -> Proofs | None:
        """The same of a cell; `left` are the neurons that keep several slopes."""
        found = with_open(self.graph, cell.ranges, left)
        if found is None:
            return None
        return Proofs(with_ranges(self.graph, self.region, found).graph, replace(self.claim, region=None))

    def unproven(self, leaf: Leaf, value: float) -> str | None:
        """Why a leaf does not prove the value, or None where it does."""
        if leaf.weights is not None:
            empty = self.contradicts(self.cell(leaf.cuts), leaf.weights)
            return None if empty else "its cuts do not contradict"
        return _unproven_programs(lambda case: self.proofs(leaf, case), leaf, value)

    def contradicts(self, cell: Cell, weights: Array) -> bool:
        """Whether these weights show that a cell is empty."""
        if cell.empty:
            return True
        if not self.rational:
            return cell.contradicts(weights)
        if not is_small(self.graph):
            return False
        return statements(self.graph, cell.ranges, cell.cuts).contradict(weights)


@dataclass(frozen=True, eq=False)
class InputGrounds:
    """Of parts of a bounded region, each with the entries of the Jacobian there.

    Attributes
    ----------
    graph
        The prepared network of the claim.
    claim
        The claim.
    """

    graph: Graph
    claim: Claim

    @classmethod
    def of(cls, graph: Graph, claim: Claim, form: str) -> InputGrounds:
        """Those of a network that is not prepared.

        Raises
        ------
        DoesNotApply
            If the region is unbounded.
        """
        if claim.region is None or not claim.region.interval().bounded.all():
            raise DoesNotApply("parts of the inputs are for a bounded region")
        return cls(prepared(graph, claim, form), claim)

    def refused(self, place: Place) -> str | None:
        """Inputs are cut at numbers."""
        coordinate, at = place
        good = coordinate == int(coordinate) and 0 <= coordinate < self.graph.input_size and np.isfinite(at)
        return None if good else f"{place} is no number of an input"

    def part(self, cuts: Cuts) -> Region:
        """The part of the region on these sides.

        Raises
        ------
        InvalidRequest
            If a cut misses the part that it is for.
        """
        region = self.claim.region
        assert region is not None
        for cut in cuts:
            below, above = region.split(int(cut[0]), float(cut[1]))
            region = above if cut[-1] > 0 else below
        return region

    def bound(self, part: Region) -> float:
        """What the entries of the Jacobian prove there.

        Raises
        ------
        DoesNotApply
            If there is an implicit layer.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return max(jacobian(self.graph, part).norm(self.claim.norm, self.claim.output_norm), LEAST)

    def unproven(self, leaf: Leaf, value: float) -> str | None:
        """Why a leaf does not prove the value, or None where it does."""
        if leaf.scalings or leaf.weights is not None:
            return "it holds scalings or weights that a part of the inputs does not need"
        try:
            found = self.bound(self.part(leaf.cuts[: leaf.at[0]] if leaf.at else leaf.cuts))
        except (DoesNotApply, InvalidRequest) as error:
            return error.what
        return None if found <= value else f"the entries of the Jacobian prove {found:.9g}, not {value:.9g}"


def grounds_of(c: Certificate, graph: Graph, claim: Claim) -> Grounds:
    """What the leaves of a certificate rest on.

    Parameters
    ----------
    c
        A certificate with leaves.
    graph, claim
        The network, and what is claimed about it.

    Raises
    ------
    DoesNotApply
        If there is no tree of this kind for the claim.
    """
    kind = kind_of(c.leaves)
    if kind is None:
        raise DoesNotApply("its cuts are not of one kind")
    if (kind is Kind.INPUTS) != (c.evidence == JACOBIAN) or c.evidence not in (PROGRAMS, JACOBIAN):
        raise DoesNotApply(f"its evidence {c.evidence!r} is not that of such cuts")
    match kind:
        case Kind.CHANNELS:
            return ChannelGrounds(posed(graph, claim, c.form, c.hints).graph, claim)
        case Kind.NEURONS:
            return NeuronGrounds.of(graph, claim, c.form)
        case Kind.INPUTS:
            return InputGrounds.of(graph, claim, c.form)


def unproven(grounds: Grounds, leaves: Sequence[tuple[int, Leaf]], value: float) -> str | None:
    """Why some numbered leaf does not prove the value, or None where all of them do."""
    for number, leaf in leaves:
        if (reason := grounds.unproven(leaf, value)) is not None:
            return f"leaf {number}: {reason}"
    return None


def _unproven_programs(proofs: Callable[[int], Proofs | None], leaf: Leaf, value: float) -> str | None:
    """The same of a leaf whose scalings have proofs, case by case."""
    found = proofs(0)
    count = 1 if found is None else len(found.cases)
    if found is not None and count != len(leaf.scalings):
        return f"it holds {len(leaf.scalings)} scalings where its claim needs {count}"
    for k in range(count):
        own = proofs(k)
        if own is None:
            return f"scaling {k}: what it says about open neurons could not be shown"
        if (reason := unproven_case(own, own.cases[k], leaf.scalings[k], value)) is not None:
            return f"scaling {k} {reason}"
    return None


def unproven_case(proofs: Proofs | ExactProof, case: Case, scaling: Scaling, value: float) -> str | None:
    """Why a scaling does not prove the value of a case, or None where it does."""
    sizes = proofs.sizes(case)
    if scaling.sizes != sizes:
        return f"does not have the sizes {sizes} of the network"
    if not scaling.value() <= value:
        return f"proves {scaling.value():.9g}, which is more than the claimed {value:.9g}"
    try:
        proven = proofs.holds(case, scaling)
    except NotCertified as error:
        return f"does not prove its bound: {error.what}"
    return None if proven else "does not prove its bound: ‖B‖ < 1 could not be shown"
