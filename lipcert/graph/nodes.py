"""The graph IR: a DAG of few node types on flat vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from lipcert.activations.table import TABLE
from lipcert.errors import InvalidModel, InvalidRequest
from lipcert.graph.linear_maps import Index, LinearMap
from lipcert.rounding import Interval
from lipcert.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.activations.record import ActivationRecord, NormalForm
    from lipcert.arrays import Array, IntArray
    from lipcert.graph.summary import Summary


@dataclass(frozen=True, eq=False)
class Input:
    """An input vector of `size` numbers."""

    size: int
    name: str = ""
    parents: tuple[int, ...] = ()

    def fingerprint(self) -> bytes:
        """SHA-256 of what the node computes, its parents left out; names do not count."""
        return _digest("input", self.size)


@dataclass(frozen=True, eq=False)
class Affine:
    """Σ_k A_k x_k + b over the parents x_k."""

    parents: tuple[int, ...]
    maps: tuple[LinearMap, ...]
    bias: Array | None = None
    name: str = ""

    @property
    def size(self) -> int:
        """Length of the output vector."""
        return self.maps[0].shape[0]

    def fingerprint(self) -> bytes:
        """SHA-256 of what the node computes, its parents left out; names do not count."""
        return _digest("affine", *(a.fingerprint for a in self.maps), self.bias)


@dataclass(frozen=True, eq=False)
class Activation:
    """Blocks of one activation: the parent, read as (blocks, block), goes through the record block by block.

    Attributes
    ----------
    kind
        Name of the record in the table of activations.
    parameters
        Arrays with first axis 1 or `blocks`.
    channel
        For each block the convolution channel that it belongs to, or None where a block is its own channel; the tie of
        the method `channel`.
    on, around
        The range of its inputs on a region, and an enclosure of those at its centre where all increments start there: the
        normal form holds for these. None for everywhere, and for any two points.
    """

    parent: int
    kind: str
    blocks: int
    block: int
    parameters: Mapping[str, Array] = field(default_factory=dict)
    channel: IntArray | None = None
    name: str = ""
    on: Interval | None = None
    around: Interval | None = None

    @property
    def parents(self) -> tuple[int, ...]:
        """The one parent, as a tuple."""
        return (self.parent,)

    def take(self, chosen: IntArray) -> Activation:
        """The activation on some of its numbers, for one that acts on single ones."""
        parameters = {key: value if len(value) == 1 else value[chosen] for key, value in self.parameters.items()}
        return replace(
            self,
            blocks=chosen.size,
            parameters=parameters,
            channel=None if self.channel is None else self.channel[chosen],
            on=None if self.on is None else self.on.take(chosen),
            around=None if self.around is None else self.around.take(chosen),
        )

    @cached_property
    def record(self) -> ActivationRecord:
        """The record in the table."""
        if self.kind not in TABLE:
            raise InvalidRequest(
                f"the activation {self.kind!r} is not known",
                where=self.name,
                advice="add its record to lipcert.activations.TABLE before the graph is built",
            )
        return TABLE[self.kind]

    @cached_property
    def normal_form(self) -> NormalForm:
        """Δw = K Δz + P Δv of its blocks."""
        return self.record.normal_form(self.block, self.parameters, self.on, self.around)

    @cached_property
    def needs_range(self) -> bool:
        """Whether it has a normal form on bounded ranges of its inputs only."""
        return self.on is None and self.record.needs_range(self.parameters)

    @cached_property
    def form_sizes(self) -> tuple[int, int, int]:
        """Channels, rows and groups of the normal form of one block; they do not depend on the range."""
        if self.needs_range:
            return self.record.sizes_on_ranges(self.blocks, self.block, self.parameters)
        form = self.normal_form
        return form.P.shape[2], form.Q.shape[1], form.groups

    @cached_property
    def lipschitz(self) -> float:
        """A proven ℓ2 Lipschitz constant of its blocks."""
        return self.record.lipschitz(self.block, self.parameters, self.on, self.around)

    @cached_property
    def size(self) -> int:
        """Length of the output vector."""
        return self.blocks * self.record.output_size(self.block, self.parameters)

    def split(self, z: Array) -> Array:
        """(blocks·block, columns) as (blocks, block, columns)."""
        return z.reshape(self.blocks, self.block, -1)

    def fingerprint(self) -> bytes:
        """SHA-256 of what the node computes, its parents left out; names do not count."""
        parameters = (item for key in sorted(self.parameters) for item in (key, self.parameters[key]))
        ranges = (end for part in (self.on, self.around) if part is not None for end in (part.low, part.high))
        return _digest("activation", self.kind, self.blocks, self.block, *parameters, self.channel, *ranges)


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """The solution s of s = cell(s, p₁, p₂, …), with the parents as parameters p_k.

    The first input of `cell` is the state s; the others are the parameters, in the order of the parents.
    """

    parents: tuple[int, ...]
    cell: Graph
    name: str = ""

    @property
    def size(self) -> int:
        """Length of the state."""
        return self.cell.nodes[self.cell.output].size

    def fingerprint(self) -> bytes:
        """SHA-256 of what the node computes, its parents left out; names do not count."""
        return _digest("fixed point", self.cell.fingerprint)


Node = Input | Affine | Activation | FixedPoint


@dataclass(frozen=True, eq=False, repr=False)
class Graph(Shown):
    """A network: nodes in topological order and the node that is its output.

    Attributes
    ----------
    nodes
        The nodes; parents come before their children.
    inputs
        Positions of the input nodes, in the order of the arguments. A network has one; the cell of a fixed point more.
    output
        Position of the output node.
    idealisations
        Statements on where the graph differs from the file it was read from, one line each.
    source
        Where it was read from (a file name), for messages.
    notes
        What else there is to say of how it was read, one line each.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    output: int
    idealisations: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()

    # what needs the passes on graphs is given by `lipcert.graph.summary`, which stands on them
    summary: ClassVar[Callable[[Graph], Summary]]

    def __post_init__(self) -> None:
        for position, node in enumerate(self.nodes):
            if any(not 0 <= parent < position for parent in node.parents):
                raise InvalidModel(f"node {position} comes before one of its parents", where=self.source)
            if isinstance(node, Affine):
                for parent, a in zip(node.parents, node.maps, strict=True):
                    if a.shape != (node.size, self.nodes[parent].size):
                        raise InvalidModel(
                            f"an affine node of size {node.size} applies a map of shape {a.shape} "
                            f"to a vector of size {self.nodes[parent].size}",
                            where=node.name or self.source,
                        )
                if node.bias is not None and node.bias.shape != (node.size,):
                    raise InvalidModel(
                        f"a bias of shape {node.bias.shape} on {node.size} outputs", where=node.name or self.source
                    )
            elif isinstance(node, Activation) and node.blocks * node.block != self.nodes[node.parent].size:
                raise InvalidModel(
                    f"{node.blocks} blocks of {node.block} do not fit a vector of size {self.nodes[node.parent].size}",
                    where=node.name or self.source,
                )

    def facts(self) -> list[tuple[str, str]]:
        """What a prompt and a notebook show."""
        nodes = [node for _, node in self.walk()]
        rows = [("source", self.source)] if self.source else []
        rows.append(("sizes", f"{self.input_size:,} inputs → {self.output_size:,} outputs"))
        found = [node.record.describe(node.blocks, node.block) for node in nodes if isinstance(node, Activation)]
        found += [f"an implicit layer of {node.size}" for node in nodes if isinstance(node, FixedPoint)]
        rows.append(("activations", ", ".join(found[:6]) + f", … ({len(found)} layers)" * (len(found) > 6) or "none"))
        return rows + [("idealisation", text) for text in self.idealisations[:3]]

    @property
    def input_size(self) -> int:
        """Length of the input vector; of all of them together where there are several."""
        return sum(self.nodes[i].size for i in self.inputs)

    @property
    def output_size(self) -> int:
        """Length of the output vector."""
        return self.nodes[self.output].size

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of the function as written: nodes, maps, parameters; names and idealisations do not count."""
        parts: list[bytes] = []
        for position, node in enumerate(self.nodes):
            ordinal = self.inputs.index(position) if isinstance(node, Input) else -1
            parts.append(_digest(node.fingerprint(), ordinal, *(parts[parent] for parent in node.parents)))
        return _digest("graph", *(parts[i] for i in self.inputs), parts[self.output])

    def walk(self) -> Iterator[tuple[int, Node]]:
        """The nodes that the output depends on, with their positions, in topological order; inputs always."""
        needed = {*self.inputs, self.output}
        for position in range(self.output, -1, -1):
            if position in needed:
                needed.update(self.nodes[position].parents)
        return ((i, node) for i, node in enumerate(self.nodes) if i in needed)

    def select(self, functionals: LinearMap) -> Graph:
        """The graph of C y for a map C on the outputs, such as one output or a margin y_i − y_j."""
        if functionals.shape[1] != self.output_size:
            raise InvalidRequest(
                f"the selection is for {functionals.shape[1]} outputs, the network has {self.output_size}"
            )
        node = Affine((self.output,), (functionals,), name="selection")
        return replace(self, nodes=(*self.nodes, node), output=len(self.nodes))


N = TypeVar("N", bound=Node)


def moved(node: N, parents: Sequence[int]) -> N:
    """The same node with other parents."""
    if isinstance(node, Activation):
        return replace(node, parent=parents[0])
    return replace(node, parents=tuple(parents))


class GraphBuilder:
    """Collects nodes; equal nodes (same kind, parents and numbers) are shared, and index maps are composed.

    Examples
    --------
    >>> builder = GraphBuilder()
    >>> x = builder.input(2)
    >>> builder.activation(x, "relu") == builder.activation(x, "relu")
    True
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: list[int] = []
        self._known: dict[bytes, int] = {}

    def input(self, size: int, name: str = "") -> int:
        """Add an input."""
        self.nodes.append(Input(size, name))
        self.inputs.append(len(self.nodes) - 1)
        return len(self.nodes) - 1

    def add(self, node: Node) -> int:
        """The position of `node`, which is added unless an equal one is there."""
        key = _digest(node.fingerprint(), *node.parents)
        if key not in self._known:
            self.nodes.append(node)
            self._known[key] = len(self.nodes) - 1
        return self._known[key]

    def affine(
        self, parents: Sequence[int], maps: Sequence[LinearMap], bias: Array | None = None, name: str = ""
    ) -> int:
        """Σ_k A_k x_k + b.

        An index map after an index map is composed, index maps of one parent that write different outputs are merged
        (a concatenation of its parts), and an identity without bias adds no node.
        """
        parents, maps = list(parents), list(maps)
        for k, (parent, a) in enumerate(zip(parents, maps, strict=True)):
            below = self.nodes[parent]
            if isinstance(a, Index) and isinstance(below, Affine) and below.bias is None and len(below.maps) == 1:
                first = below.maps[0]
                if isinstance(first, Index):
                    parents[k], maps[k] = below.parents[0], a.after(first)
        parents, maps = _merged(parents, maps)
        only = maps[0]
        if bias is None and len(maps) == 1 and isinstance(only, Index) and only.is_identity:
            return parents[0]
        return self.add(Affine(tuple(parents), tuple(maps), bias, name))

    def activation(
        self,
        parent: int,
        kind: str,
        block: int = 1,
        parameters: Mapping[str, Array] | None = None,
        channel: IntArray | None = None,
        name: str = "",
    ) -> int:
        """The activation `kind` on consecutive blocks of `block` numbers."""
        size = self.nodes[parent].size
        if block < 1 or size % block:
            raise InvalidRequest(f"{kind} on groups of {block} does not divide a vector of size {size}")
        return self.add(Activation(parent, kind, size // block, block, dict(parameters or {}), channel, name))

    def fixed_point(self, parents: Sequence[int], cell: Graph, name: str = "") -> int:
        """The solution s of s = cell(s, parents…)."""
        return self.add(FixedPoint(tuple(parents), cell, name))

    def finish(self, output: int, idealisations: Sequence[str] = (), source: str = "") -> Graph:
        """The graph with `output` as its output."""
        return Graph(tuple(self.nodes), tuple(self.inputs), output, tuple(idealisations), source)


def _merged(parents: list[int], maps: list[LinearMap]) -> tuple[list[int], list[LinearMap]]:
    """The terms with index maps of one parent put together where no output is written twice."""
    at: dict[int, int] = {}
    new_parents: list[int] = []
    new_maps: list[LinearMap] = []
    for parent, a in zip(parents, maps, strict=True):
        k = at.get(parent)
        if isinstance(a, Index) and k is not None:
            other = new_maps[k]
            assert isinstance(other, Index)
            if not ((a.index >= 0) & (other.index >= 0)).any():
                new_maps[k] = Index(np.maximum(a.index, other.index), a.columns)
                continue
        elif isinstance(a, Index):
            at[parent] = len(new_maps)
        new_parents.append(parent)
        new_maps.append(a)
    return new_parents, new_maps


def _digest(*items: object) -> bytes:
    digest = hashlib.sha256()
    for item in items:
        if isinstance(item, np.ndarray):
            head = f"{item.dtype.str}{item.shape}".encode()
            body = np.ascontiguousarray(item).tobytes()
        elif isinstance(item, bytes):
            head, body = b"bytes", item
        else:
            head, body = type(item).__name__.encode(), repr(item).encode()
        digest.update(len(head).to_bytes(8, "big") + head + len(body).to_bytes(8, "big") + body)
    return digest.digest()
