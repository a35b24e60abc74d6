"""The class of one sample on a ball around it: what proves it, and the check of that.

On the ball every margin y_c − y_j has to stay positive. It is shown to be by its own proven range, by an ellipsoid with
multipliers of its own (`lipcert.ranges.ellipsoid`), by multipliers of the lifted program (`lipcert.certificates.margin`), by
a Lipschitz bound L from the sample on, y_c − y_j > L r at the sample, or by its ranges on all cells that a tree of cuts at
neurons makes of the ball (`lipcert.ranges.cells`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from lipcert.arrays import from_text, to_text
from lipcert.certificates.certificate import Certificate
from lipcert.certificates.leaves import uncovered
from lipcert.certificates.margin import MarginSystem, lower_bound
from lipcert.certificates.trees import NeuronGrounds
from lipcert.certificates.verify import verify
from lipcert.constraints.lifted import FAMILIES
from lipcert.errors import CertificateRejected, DoesNotApply, LipcertError
from lipcert.graph.claim import Claim
from lipcert.graph.linear_maps import Sparse
from lipcert.graph.nodes import Activation
from lipcert.graph.prepare import prepare
from lipcert.graph.selection import Selection
from lipcert.norms import Norm
from lipcert.ranges.absolute import absolute
from lipcert.ranges.cells import NeuronCut, functionals
from lipcert.ranges.ellipsoid import Ellipsoid
from lipcert.ranges.hints import NONE, Hint, Hints, multipliers_from_json, multipliers_to_json
from lipcert.ranges.linear import refine
from lipcert.ranges.localise import Localised, moduli, with_ranges
from lipcert.ranges.propagate import ranges, through
from lipcert.regions import Ball, Box
from lipcert.rounding import UNIT, Interval, up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.arrays import Array
    from lipcert.graph.nodes import Graph
    from lipcert.ranges.cells import Cell
    from lipcert.ranges.hints import Multipliers
    from lipcert.ranges.propagate import Ranges

RANGE, LIFTED, ANCHORED, ELLIPSOID, BRANCHED = "range", "lifted", "anchored", "ellipsoid", "branched"


@dataclass(frozen=True, eq=False)
class Split:
    """The cells on which a margin is positive.

    Attributes
    ----------
    cells
        The cuts of each; together they cover the ball.
    weights
        Of each the weights of its half-spaces that prove it (`lipcert.ranges.cells`), or None where its range does.
    """

    cells: tuple[tuple[NeuronCut, ...], ...]
    weights: tuple[Array | None, ...]


MarginProof: TypeAlias = "str | Array | Multipliers | Split"
"""What shows that one margin is positive, as in `LocalProof`."""


@dataclass(frozen=True, eq=False)
class LocalProof:
    """The class of a sample holds within `radius`.

    Attributes
    ----------
    radius
        The radius of the ball.
    hints
        Its ranges.
    margins
        For each rival the multipliers of the lifted program, that of the ball last, those of an ellipsoid, or cells; RANGE
        or ANCHORED where the range of the margin, or `bound`, is enough.
    bound
        Lipschitz bounds of margins from the sample on.
    """

    radius: float
    hints: Hints
    margins: tuple[MarginProof, ...]
    bound: Certificate | None = None

    @property
    def source(self) -> str:
        """The strongest means that it took."""
        kinds = {_kind(item) for item in self.margins}
        # an ellipsoid of its own is a Lipschitz bound of the margin from the sample on
        names = {BRANCHED: BRANCHED, LIFTED: LIFTED, ELLIPSOID: ANCHORED, ANCHORED: ANCHORED, RANGE: RANGE}
        return next(name for kind, name in names.items() if kind in kinds)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "radius": self.radius.hex(),
            "hints": self.hints.to_json(),
            "margins": [_margin_to_json(item) for item in self.margins],
            "bound": None if self.bound is None else json.loads(self.bound.to_json()),
        }

    @classmethod
    def from_json(cls, item: Any) -> LocalProof:
        """The proof that `to_json` wrote, strictly.

        Raises
        ------
        ValueError
            If it is none; the message says why.
        """
        if not isinstance(item, dict) or item.keys() != {"radius", "hints", "margins", "bound"}:
            raise ValueError("a local proof has a radius, hints, margins and a bound")
        if not isinstance(item["radius"], str) or not isinstance(item["margins"], list):
            raise ValueError("the radius or the margins have the wrong type")
        radius = float.fromhex(item["radius"])
        if not 0.0 < radius < np.inf or radius.hex() != item["radius"]:
            raise ValueError("the radius is not a positive hexadecimal number")
        bound = None if item["bound"] is None else Certificate.from_json(json.dumps(item["bound"]))
        return cls(radius, Hints.from_json(item["hints"]), tuple(map(_margin, item["margins"])), bound)


def _kind(item: MarginProof) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, Split):
        return BRANCHED
    return LIFTED if isinstance(item, np.ndarray) else ELLIPSOID


def _margin_to_json(item: MarginProof) -> Any:
    if isinstance(item, str):
        return item
    if isinstance(item, Split):
        texts = [None if weights is None else to_text(weights) for weights in item.weights]
        return {BRANCHED: [[[list(cut) for cut in cuts], text] for cuts, text in zip(item.cells, texts, strict=True)]}
    if isinstance(item, np.ndarray):
        return {LIFTED: to_text(item)}
    return {ELLIPSOID: multipliers_to_json({0: item})["0"]}


def _margin(item: Any) -> MarginProof:
    if item in (RANGE, ANCHORED):
        return str(item)
    if isinstance(item, dict) and item.keys() == {BRANCHED}:
        cells = [(tuple(_cut(cut) for cut in cuts), text) for cuts, text in item[BRANCHED]]
        return Split(tuple(c for c, _ in cells), tuple(None if text is None else from_text(text) for _, text in cells))
    if isinstance(item, dict) and item.keys() == {ELLIPSOID}:
        return multipliers_from_json({"0": item[ELLIPSOID]})[0]
    if not isinstance(item, dict) or item.keys() != {LIFTED} or not isinstance(item[LIFTED], str):
        raise ValueError("the proof of a margin is a range, an ellipsoid, multipliers, cells, or a bound")
    theta = from_text(item[LIFTED])
    if not np.isfinite(theta).all():
        raise ValueError("a multiplier is not finite")
    return theta


def _cut(item: Any) -> NeuronCut:
    if not isinstance(item, list) or len(item) != 4 or not all(type(part) is int for part in item):
        raise ValueError("a cut has an activation, a neuron, a kink and a side")
    return NeuronCut(*item)


def written(graph: Graph, form: str) -> Graph:
    """The prepared classifier with its moduli written out, which is the same for all balls."""
    return moduli(prepare(graph, form))


@dataclass(frozen=True, eq=False)
class Nearby:
    """A classifier on the ball ‖x − centre‖ ≤ radius, cut with a domain, around a sample of class c.

    Attributes
    ----------
    graph
        The classifier, without its head.
    centre, radius, norm, domain
        The ball.
    c
        The class.
    form
        How the network is prepared.
    hints
        Ranges as they were found elsewhere.
    written
        The classifier as `written` gives it in this form, where it is at hand.
    """

    graph: Graph
    centre: Array
    radius: float
    norm: Norm
    domain: Box | None
    c: int
    form: str = "comparators"
    hints: Hints = NONE
    written: Graph | None = None

    @property
    def region(self) -> Ball:
        """The ball."""
        return Ball(self.centre, self.radius, self.norm, within=self.domain)

    @property
    def rivals(self) -> list[int]:
        """The other classes, in order; of a network with one output the other sign."""
        return [j for j in range(max(self.graph.output_size, 2)) if j != self.c]

    @cached_property
    def margins(self) -> Graph:
        """The prepared network of all margins y_c − y_j."""
        prepared = written(self.graph, self.form) if self.written is None else self.written
        n, rivals = self.graph.output_size, self.rivals
        if n == 1:
            rows = np.array([[1.0 if self.c == 1 else -1.0]])
        else:
            rows = np.zeros((len(rivals), n))
            rows[:, self.c] = 1.0
            rows[np.arange(len(rivals)), rivals] = -1.0
        return prepared.select(Sparse(sp.csr_array(rows)))

    @cached_property
    def ranges(self) -> Ranges:
        """Proven ranges of all signals on the ball."""
        return ranges(self.margins, self.region, self.hints, output=True)

    @cached_property
    def around(self) -> Ranges:
        """Enclosures of all signals at the centre."""
        return through(self.margins, [Interval.point(self.centre)])

    def found(self) -> Hints:
        """The hints with which these ranges come out elsewhere."""
        of = {p: Hint(self.ranges[node.parent]) for p, node in self.margins.walk() if isinstance(node, Activation)}
        return Hints(of, {}, self.hints.ellipsoids)

    def localised(self, k: int) -> Localised:
        """The network of the k-th margin with the slopes that are possible from the centre on."""
        return with_ranges(self.margins.select(self._row(k)), self.region, self.ranges, self.around)

    def by_ellipsoid(self, k: int, multipliers: Multipliers) -> float:
        """A proven lower bound of the k-th margin by an ellipsoid; −∞ where nothing is proven."""
        ellipsoid = Ellipsoid(self.margins, self.region, self.ranges.of, self.around.of, multipliers)
        found = ellipsoid.range(self.margins.output, np.array([k]))
        return -np.inf if found is None else float(found.low[0])

    @cached_property
    def cells(self) -> NeuronGrounds:
        """The cells of the ball.

        Raises
        ------
        DoesNotApply
            On use, if the network is not piecewise linear in single numbers.
        """
        return NeuronGrounds(self.margins, Claim.about(self.norm, self.norm, Selection(), self.region), self.shared)

    @property
    def shared(self) -> Hints:
        """The hints without the ranges of this ball."""
        return Hints(ellipsoids=self.hints.ellipsoids)

    def against(self, cell: Cell, k: int) -> tuple[Array, float]:
        """(a, t) with −margin ≤ a·x + t on the cell, of the k-th margin; t is infinite where nothing is known."""
        a, t = functionals(self.margins, cell, self.margins.output, -np.eye(self.low.size)[:, k : k + 1])
        return a[0], float(t[0])

    def on_cell(self, cell: Cell, k: int, weights: Array | None = None) -> float:
        """A proven lower bound of the k-th margin on a cell; ∞ where that is empty.

        Parameters
        ----------
        cell
            The cell.
        k
            Which margin.
        weights
            Of the half-spaces of the cell, by which the margin is bounded or the cell shown to be empty.
        """
        if cell.empty:
            return np.inf
        if weights is None:
            at = self.margins.output
            return float(refine(self.margins, cell.inside, at, np.array([k]), cell.ranges.of, cell.lines).low[k])
        if cell.contradicts(weights):
            return np.inf
        if not cell.inside.accepts(weights):
            return -np.inf
        a, t = self.against(cell, k)
        return -float(up(cell.inside.combined(a[None], weights[None])[0] + t))

    def by_cells(self, k: int, split: Split) -> bool:
        """Whether the k-th margin is positive on all cells, and these cover the ball."""
        try:
            if len(split.cells) != len(split.weights) or uncovered(split.cells, self.cells.refused) is not None:
                return False
            # in order, for a cell takes up where the one before it parts
            order = sorted(range(len(split.cells)), key=lambda i: split.cells[i])
            return all(self.on_cell(self.cells.cell(split.cells[i]), k, split.weights[i]) > 0.0 for i in order)
        except DoesNotApply:
            return False

    @property
    def low(self) -> Array:
        """(rivals,) proven lower bounds of the margins by their ranges."""
        return self.ranges[self.margins.output].low

    def system(self, k: int, most: float = np.inf) -> MarginSystem:
        """The lifted program of the k-th margin.

        Parameters
        ----------
        k
            Which margin.
        most
            The most unknowns that it may have.

        Raises
        ------
        DoesNotApply
            If it is not for this network or ball, or has more unknowns.
        """
        graph, on = absolute(self.margins.select(self._row(k)), self.ranges)
        if on.size + min(on.size, self.centre.size) > most:
            raise DoesNotApply("the lifted program has too many unknowns")
        radius = self.radius
        if self.norm is Norm.LINF:
            radius = float(up(np.sqrt(self.centre.size) * self.radius * (1.0 + 8.0 * UNIT)))
        return MarginSystem.of(graph, self.centre, radius, on)

    def _row(self, k: int) -> Sparse:
        row = np.zeros((1, len(self.rivals) if self.graph.output_size > 1 else 1))
        row[0, k] = 1.0
        return Sparse(sp.csr_array(row))

    def label(self, k: int) -> str:
        """The k-th margin as a selection of outputs."""
        return "0" if self.graph.output_size == 1 else f"{self.c}-{self.rivals[k]}"

    def claim(self, rivals: Sequence[int]) -> Claim:
        """The claim about these margins from the sample on."""
        labels = tuple(self.label(k) for k in rivals)
        return Claim.about(self.norm, self.norm, Selection(labels), self.region, True)

    def proven(self, proof: LocalProof, gaps: Array) -> bool:
        """Whether all margins are proven positive on the ball, with proven lower bounds of them at the sample."""
        if len(proof.margins) != len(self.rivals):
            return False
        bounds = self._bounds(proof.bound)
        return all(self._positive(k, item, gaps, bounds) for k, item in enumerate(proof.margins))

    def _positive(self, k: int, item: MarginProof, gaps: Array, bounds: dict[str, float]) -> bool:
        if isinstance(item, str):
            if item == RANGE:
                return bool(self.low[k] > 0.0)
            lipschitz = bounds.get(self.label(k), np.inf)
            return anchored_margin(float(gaps[self.rivals[k]]), lipschitz, self.radius)
        if isinstance(item, Split):
            return self.by_cells(k, item)
        if not isinstance(item, np.ndarray):
            return self.by_ellipsoid(k, item) > 0.0
        try:
            system = self.system(k)
        except LipcertError:
            return False
        if item.size != FAMILIES * system.channels + 1:
            return False
        return lower_bound(system, item[:-1].reshape(FAMILIES, system.channels), float(item[-1])) > 0.0

    def _bounds(self, bound: Certificate | None) -> dict[str, float]:
        """The Lipschitz bounds of margins that the certificate proves here."""
        if bound is None:
            return {}
        claim = bound.claim
        same = claim.region is not None and claim.region.to_json() == self.region.to_json()
        if not (same and claim.anchored and claim.norm is self.norm and not claim.outputs.joint):
            return {}
        try:
            verify(bound, self.graph)
        except CertificateRejected:
            return {}
        labels = claim.outputs.labels
        return dict(zip(labels, bound.values(len(labels)), strict=True))


def anchored_margin(margin: float, lipschitz: float, radius: float) -> bool:
    """Whether margin > lipschitz·radius, rounding included."""
    return bool(margin > np.nextafter(lipschitz * radius, np.inf) * (1.0 + 4.0 * UNIT))
