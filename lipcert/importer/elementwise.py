"""Elementwise operations by meaning: the nodes that stand for them, and what reads an expression back.

x², e^x, x·y or a comparison have no global slope bound, but x·σ(x), log(1 + e^x), x + sin²(x) or a switch between two
branches that agree on its surface have one. Such an operation becomes an `Unproven` node; what combines into a record of
the table is recognised where it appears (importer/products.py), switches at the end (importer/switches.py), and an
`Unproven` node that the output still depends on refuses the model with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from lipcert.errors import UnsupportedModel
from lipcert.graph.linear_maps import Diagonal, Index, LinearMap, identity
from lipcert.graph.nodes import Activation, GraphBuilder, Node
from lipcert.importer.exact import Rounded
from lipcert.importer.lanes import EPSILON, Lanes, Resolver, Term, finer, map_of

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray


class Site(NamedTuple):
    """Where an operation stands in the file.

    Attributes
    ----------
    where
        The node, for messages.
    channel
        The convolution channel of each number, for ties; or None.
    dtype
        The element type there.
    """

    where: str
    channel: IntArray | None = None
    dtype: str = "float32"


@dataclass(frozen=True, eq=False)
class Unproven:
    """An elementwise operation without a bounded slope.

    Attributes
    ----------
    kind
        'power', 'exp', 'log', 'sqrt', 'product', 'quotient', 'sign', 'step' ([t > 0] of its parent t), 'gate'
        ([t > 0]·d of its parents d and t).
    reason
        Why there is no bound, in words for the user.
    exponent
        Of a power.
    dtype
        The element type at that place of the file.
    """

    parents: tuple[int, ...]
    kind: str
    size: int
    reason: str
    exponent: float = 0.0
    name: str = ""
    dtype: str = "float32"

    def fingerprint(self) -> bytes:
        """SHA-256 of what the node computes."""
        return hashlib.sha256(f"unproven {self.kind} {self.size} {self.exponent} {self.dtype}".encode()).digest()


class Elementwise:
    """Elementwise operations on nodes of equal size, which add to a builder.

    Parameters
    ----------
    builder
        Where nodes are added.
    idealise
        Called with a line on what was taken as equal although it holds only up to rounding.
    finest
        The finest type in which a constant is stored that acts on signals.
    """

    def __init__(
        self, builder: GraphBuilder, idealise: Callable[[str], None], finest: str = next(iter(EPSILON))
    ) -> None:
        self.builder = builder
        self.idealise = idealise
        self.finest = finest
        self._resolvers: dict[str, Resolver] = {}

    @property
    def cancelled(self) -> float:
        """The most that coefficients have shrunk by adding them up, so that the file's arithmetic loses as much."""
        return max((resolver.cancelled for resolver in self._resolvers.values()), default=1.0)

    def stored(self, dtype: str) -> None:
        """A constant of this type acts on signals."""
        self.finest = finer(self.finest, dtype)

    def resolver(self, dtype: str = "float32") -> Resolver:
        """What folds the nodes, with constants of this type or of a finer one that occurs."""
        dtype = finer(self.finest, dtype)
        if dtype not in self._resolvers:
            self._resolvers[dtype] = Resolver(self.builder, dtype)
        return self._resolvers[dtype]

    def resolve(self, position: int, stop: frozenset[int] = frozenset()) -> Lanes:
        """A node through all affine nodes that act number by number."""
        return self.resolver()(position, stop)

    def size(self, position: int) -> int:
        """How many numbers a node has."""
        return self.builder.nodes[position].size

    # ---- nodes

    def scaled(self, x: int, scale: Rounded | Array | float, shift: Array | float = 0.0, name: str = "") -> int:
        """scale·x + shift; a rounded scale enters as an enclosure."""
        size = self.size(x)
        if not isinstance(scale, Rounded):
            scale = Rounded.of(scale, size)
        shift = np.broadcast_to(shift, size)
        one = scale.equals(1.0)
        if one and not shift.any():
            return x
        radii = None if scale.exact else np.broadcast_to(scale.rad, size).copy()
        a = identity(size) if one else Diagonal(np.broadcast_to(scale.mid, size).astype(np.float64), radii)
        return self.builder.affine([x], [a], np.array(shift, dtype=np.float64) if shift.any() else None, name)

    def gather(self, x: int, index: IntArray, name: str = "") -> int:
        """x[index]."""
        return self.builder.affine([x], [Index(index, self.size(x))], None, name)

    def added(self, x: int, y: int, sign: float = 1.0) -> int:
        """x + sign·y."""
        size = self.size(x)
        second: LinearMap = identity(size) if sign == 1.0 else Diagonal(np.full(size, sign))
        return self.builder.affine([x, y], [identity(size), second])

    def apply(self, kind: str, x: int, site: Site, **parameters: Rounded | Array | float) -> int:
        """A pointwise record of the table; parameters are one number or one a number of x."""
        size = self.size(x)
        arrays = {}
        for key, value in parameters.items():
            number = Rounded.of(value)
            if not number.exact:
                self.idealise(f"{site.where}: constants of this activation are rounded to float64")
            array = number.mid.reshape(-1)
            arrays[key] = array[:1] if array.size and (array == array[0]).all() else np.broadcast_to(array, size).copy()
        return self.builder.activation(x, kind, 1, arrays, site.channel, site.where)

    def unproven(self, kind: str, parents: Sequence[int], reason: str, site: Site, exponent: float = 0.0) -> int:
        """A node that is refused unless it combines with others."""
        node = Unproven(tuple(parents), kind, self.size(parents[0]), reason, exponent, site.where, site.dtype)
        return self.builder.add(cast("Node", node))

    def node(self, lanes: Lanes) -> int:
        """A node that computes the lanes."""
        if not lanes.terms:
            raise UnsupportedModel("an activation acts on a constant", advice="fold it into the next layer")
        if not lanes.shift.exact:
            self.idealise("biases next to activations are rounded to float64")
        parents: list[int] = []
        maps: list[LinearMap] = []
        for term in lanes.terms:
            first, *rest = map_of(term, self.size(term.node))
            parent = term.node
            if rest:
                parent, first = self.builder.affine([parent], [first]), rest[0]
            parents.append(parent)
            maps.append(first)
        return self.builder.affine(parents, maps, lanes.shift.mid if lanes.shift.mid.any() else None)

    # ---- reading back

    def unproven_at(self, position: int, kind: str) -> Unproven | None:
        """The operation of this kind at a node, or None."""
        node: object = self.builder.nodes[position]
        return node if isinstance(node, Unproven) and node.kind == kind else None

    def kind(self, position: int) -> str:
        """The kind of an activation or of an operation; '' for others."""
        node: object = self.builder.nodes[position]
        return node.kind if isinstance(node, (Activation, Unproven)) else ""

    def argument(self, lanes: Lanes, *kinds: str, stop: frozenset[int] = frozenset()) -> Argument | None:
        """For γ·f(z) + ζ with f one of `kinds`: what is in it, z as lanes over the nodes `stop` or lower ones."""
        term = lanes.single()
        if term is None or self.kind(term.node) not in kinds:
            return None
        node: object = self.builder.nodes[term.node]
        assert isinstance(node, (Activation, Unproven))
        if node.size != self.size(node.parents[0]):
            return None
        inner = self.resolve(node.parents[0], stop).taken(term.index)
        return Argument(node, term.index, inner, term.scale)

    def multiple(self, a: int, of: Term | None) -> Rounded | None:
        """α where a = α times the numbers of the term `of`."""
        if of is None:
            return None
        lanes = self.resolve(a, frozenset({of.node}))
        term = lanes.single()
        if term is None or not lanes.shift.zero or not term.on(of):
            return None
        return term.scale

    def base(self, term: Term) -> int:
        """x[index] of a term."""
        return self.gather(term.node, term.index)


class Argument(NamedTuple):
    """γ·f(z) + ζ, read back."""

    node: Activation | Unproven
    at: IntArray
    inner: Lanes
    gamma: Rounded

    def parameter(self, key: str) -> Rounded:
        """A parameter of f for each number."""
        assert isinstance(self.node, Activation)
        values = np.broadcast_to(self.node.parameters[key], self.node.size)
        return Rounded.of(values[self.at])

    @property
    def exponent(self) -> float:
        """Of a power."""
        assert isinstance(self.node, Unproven)
        return self.node.exponent
