"""A network on a region: neurons with one possible slope become linear, the others get narrower slopes.

What comes out has the increments of the network on the region: for all x, x′ there, or, where it is anchored, for x and the
centre. Constants are left out. Everything behind, from the elimination to the proof, takes it as any other network.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from lipcert.activations.record import Pointwise
from lipcert.errors import InvalidRequest
from lipcert.graph.linear_maps import Diagonal, Index, Sparse
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, GraphBuilder, Input, moved
from lipcert.graph.prepare import posed as prepared
from lipcert.graph.rewrite import Rewriting, Rule, rewrite
from lipcert.graph.sizes import activations
from lipcert.ranges.hints import NONE, Hint, Hints
from lipcert.ranges.propagate import Ranges, sweep, through
from lipcert.regions import everywhere, free
from lipcert.rounding import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lipcert.arrays import Array, BoolArray, IntArray
    from lipcert.graph.claim import Claim
    from lipcert.ranges.linear import Lines
    from lipcert.ranges.planes import Planes
    from lipcert.regions import Region

# slopes that differ by less than this part are one slope with a radius
_ONE_SLOPE = 2.0**-34


@dataclass(frozen=True, eq=False)
class Localised:
    """A network on a region.

    Attributes
    ----------
    graph
        The network there.
    hints
        With them it comes out the same elsewhere.
    layers
        For each layer of scalar activations what became of it.
    left
        By the position of an activation in the network before, its position in this one and which of its blocks are there.
    swept
        The ranges that it came from, where there are any.
    """

    graph: Graph
    hints: Hints = NONE
    layers: tuple[LayerOnRegion, ...] = ()
    left: Mapping[int, tuple[int, IntArray]] = field(default_factory=dict)
    swept: Swept | None = None

    @property
    def decided(self) -> int:
        """How many neurons are linear on the region."""
        return sum(layer.decided for layer in self.layers)


@dataclass(frozen=True, eq=False)
class Swept:
    """A network with its moduli written out, and what is known of it on a region.

    Attributes
    ----------
    graph, region
        The network, and where its input lies.
    found
        The ranges of its nodes.
    lines
        The lines and planes of its activations.
    """

    graph: Graph
    region: Region
    found: Ranges
    lines: dict[int, Lines | Planes]

    @classmethod
    def of(cls, graph: Graph, region: Region, hints: Hints = NONE) -> Swept:
        """What is known of a prepared network."""
        scalar = moduli(graph)
        region = region.fitted(scalar.input_size)
        return cls(scalar, region, *sweep(scalar, region, hints))


@dataclass(frozen=True, eq=False)
class LayerOnRegion:
    """A layer of scalar activations on a region: its neurons, how many are linear there, and the widths of its ranges."""

    name: str
    neurons: int
    decided: int
    widths: Array

    @property
    def bounded(self) -> bool:
        """Whether all ranges are bounded."""
        return bool(np.isfinite(self.widths).all())

    @property
    def quantiles(self) -> tuple[float, float, float, float, float]:
        """Least, quartiles and largest of the widths, each one that occurs."""
        parts = np.quantile(self.widths, (0.0, 0.25, 0.5, 0.75, 1.0), method="lower")
        least, first, median, third, largest = parts.tolist()
        return least, first, median, third, largest

    def to_dict(self) -> dict[str, Any]:
        """The entry of the JSON list `layers`."""
        least, _, median, _, largest = self.quantiles
        widths = {"width_least": least, "width_median": median, "width_largest": largest}
        return {"name": self.name, "neurons": self.neurons, "decided": self.decided, **widths}


def localise(graph: Graph, region: Region | None, *, anchored: bool = False, hints: Hints = NONE) -> Localised:
    """The network on a region; the network itself where that is the whole space.

    Parameters
    ----------
    graph
        A prepared network.
    region
        Where the bound is to hold.
    anchored
        Whether all increments start from the centre of the region.
    hints
        As of an earlier result.

    Raises
    ------
    InvalidRequest
        If the region has no centre, or does not fit.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.regions import Box
    >>> graph = nn.sequential(nn.linear([[1.0], [1.0]], [5.0, 0.0]), nn.relu())
    >>> found = localise(graph, Box(-1.0, 1.0))
    >>> found.decided, [node.blocks for _, node in found.graph.walk() if isinstance(node, Activation)]
    (1, [1])
    """
    if region is None or (region.is_everywhere and not anchored):
        if not any(node.needs_range for node in activations(graph)):
            return Localised(graph)
        region = everywhere()
    swept = Swept.of(graph, region, hints)
    scalar, region = swept.graph, swept.region
    around = None
    if anchored:
        if region.centre is None:
            raise InvalidRequest(
                "a box has no centre that a bound could start from", advice="give a centre and a radius"
            )
        around = through(scalar, [Interval.point(region.centre)])
    return replace(with_ranges(scalar, region, swept.found, around, hints), swept=swept)


def with_ranges(
    graph: Graph, region: Region, found: Ranges, around: Ranges | None = None, hints: Hints = NONE
) -> Localised:
    """The network with the slopes that given ranges of its signals allow.

    Parameters
    ----------
    graph
        A prepared network with its moduli written out.
    region
        Where the input lies.
    found
        Ranges of its signals there.
    around
        Enclosures of them at the centre, from which all increments start then; else they are between any two points.
    hints
        What was given for the ranges.
    """
    made = _Localised(graph, [free(region.fitted(graph.input_size))], hints)
    here = made.graph(graph, found, around)
    return Localised(here, made.found(), tuple(made.layers), made.left)


def posed(graph: Graph, claim: Claim, form: str, hints: Hints = NONE) -> Localised:
    """The graph of a claim's functionals in the form that is bounded, on its region: what certificates are about."""
    return localise(prepared(graph, claim, form), claim.region, anchored=claim.anchored, hints=hints)


def moduli(graph: Graph) -> Graph:
    """The same function with every activation on vectors that is made of one modulus written with |·|.

    φ(z) = A z + C t + B |t| with t = Q z: the range of t decides, and t is one number.
    """

    def rule_for(work: Rewriting) -> Rule:
        def rule(_: int, node: Affine | Activation) -> int:
            return _as_modulus(work.builder, node) if isinstance(node, Activation) else work.builder.add(node)

        return rule

    return rewrite(graph, rule_for)


def _as_modulus(builder: GraphBuilder, node: Activation) -> int:
    parts = node.record.as_modulus(node.block, node.parameters)
    if parts is None:
        return builder.add(node)
    A, C, B, Q = (_blocks(part, node.blocks) for part in parts)
    z = node.parent
    t = builder.affine([z], [Sparse(Q)])
    modulus = builder.activation(t, "abs", channel=node.channel, name=node.name)
    terms = [(z, A), (t, C), (modulus, B)]
    kept = [(p, Sparse(a)) for p, a in terms if a.nnz]
    return builder.affine([p for p, _ in kept], [a for _, a in kept], name=node.name)


def _blocks(small: Array, blocks: int) -> sp.csr_array:
    """blkdiag of the given matrices (1 or blocks, out, in)."""
    count, rows, columns = small.shape
    if count == 1:
        return sp.csr_array(sp.kron(sp.eye_array(blocks), small[0]))
    at = np.arange(blocks)[:, None, None]
    row, column = at * rows + np.arange(rows)[:, None], at * columns + np.arange(columns)
    where = [np.broadcast_to(part, small.shape).ravel() for part in (row, column)]
    found = sp.csr_array((small.ravel(), (where[0], where[1])), shape=(blocks * rows, blocks * columns))
    found.eliminate_zeros()
    return found


class _Localised:
    """The nodes of a network on a region.

    Parameters
    ----------
    moving
        For each input of the network which numbers can change.
    """

    def __init__(self, graph: Graph, moving: list[BoolArray], hints: Hints) -> None:
        self.builder = GraphBuilder()
        self.moving = dict(zip(graph.inputs, moving, strict=True))
        self.given = hints
        self.used: dict[int, Hint] = {}
        self.cells: dict[int, Hints] = {}
        self.layers: list[LayerOnRegion] = []
        self.left: dict[int, tuple[int, IntArray]] = {}

    def found(self) -> Hints:
        """The hints that lead to the same network."""
        return Hints(self.used, self.cells, self.given.ellipsoids)

    def graph(self, graph: Graph, on: Ranges, around: Ranges | None) -> Graph:
        """The graph, with the ranges of its nodes and, where it is anchored, of their values at the centre."""
        builder = self.builder
        place: dict[int, int] = {}
        inputs: list[int] = []
        for position, node in graph.walk():
            parents = [place[p] for p in node.parents]
            match node:
                case Input():
                    place[position] = builder.input(node.size, node.name)
                    inputs.append(place[position])
                    moving = self.moving[position]
                    if not moving.all():
                        mask = Diagonal(moving.astype(np.float64))
                        place[position] = builder.affine([place[position]], [mask])
                case Affine():
                    place[position] = builder.affine(parents, node.maps, None, node.name)
                case Activation():
                    hint = self._hint(position, node, on, around)
                    place[position] = self._activation(position, replace(node, parent=parents[0]), hint)
                case FixedPoint():
                    # that a solution is the only one is a statement on any two points
                    everything = [np.ones(node.cell.nodes[i].size, dtype=bool) for i in node.cell.inputs]
                    inner = _Localised(node.cell, everything, self.given.cells.get(position, NONE))
                    cell = inner.graph(node.cell, on.cells[position], None)
                    self.cells[position] = inner.found()
                    self.layers += inner.layers
                    place[position] = builder.add(moved(replace(node, cell=cell), parents))
        return replace(graph, nodes=tuple(builder.nodes), inputs=tuple(inputs), output=place[graph.output])

    def _hint(self, position: int, node: Activation, on: Ranges, around: Ranges | None) -> Hint:
        """The range of an activation, and where it is at the centre, a point of its range."""
        given = self.given.of.get(position, Hint())
        centre = None if around is None else given.centre(around[node.parent])
        used = Hint(on[node.parent], centre, given.lines(node.size))
        self.used[position] = used
        return used

    def _activation(self, position: int, node: Activation, hint: Hint) -> int:
        builder = self.builder
        node = replace(node, on=hint.on, around=hint.around)
        everything = np.arange(node.blocks)
        if not isinstance(node.record, Pointwise):
            return self._kept(position, node, everything)
        form, n, on = node.normal_form, node.size, hint.on
        assert on is not None
        K = np.broadcast_to(form.K[:, 0, 0], n)
        P = np.broadcast_to(form.P[:, 0, 0], n) if form.groups else np.zeros(n)
        linear = _ONE_SLOPE * np.abs(K) >= P
        self.layers.append(LayerOnRegion(node.name, n, int(linear.sum()), on.high - on.low))
        if not linear.any():
            return self._kept(position, node, everything)
        radii = np.where(linear, P, 0.0)
        known = Diagonal(np.where(linear, K, 0.0), radii if radii.any() else None)
        left = np.flatnonzero(~linear).astype(np.int64)
        if linear.all():
            return builder.affine([node.parent], [known], name=node.name)
        z = builder.affine([node.parent], [Index(left, n)])
        rest = self._kept(position, replace(node.take(left), parent=z), left)
        back = np.full(n, -1)
        back[left] = np.arange(left.size)
        if not (known.entries.any() or radii.any()):
            return builder.affine([rest], [Index(back, left.size)], name=node.name)
        return builder.affine([node.parent, rest], [known, Index(back, left.size)], name=node.name)

    def _kept(self, position: int, node: Activation, blocks: IntArray) -> int:
        """The position of what is left of an activation."""
        at = self.builder.add(node)
        self.left[position] = (at, blocks)
        return at
