"""The norm product: what every other method must beat (docs/theory.md 2, last paragraph).

Chain: product of operator norms. Residual: sum over the branches. Concatenation: root of the sum of squares. Activation:
its Lipschitz constant. There is none for implicit layers.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from lipcert import budget
from lipcert.certificates.chains import is_close, multiplied
from lipcert.certificates.enclosure import EnclosureArithmetic, inflation
from lipcert.certificates.spectral import cheap_norm, norm_upper, seconds_needed
from lipcert.definite import norm_bound
from lipcert.errors import OutOfTime
from lipcert.graph.linear_maps import Dense
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input
from lipcert.norms import Norm

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.certificates.enclosure import Enclosure
    from lipcert.graph.claim import Claim
    from lipcert.graph.linear_maps import LinearMap
    from lipcert.graph.nodes import Node

# largest matrix that a chain of affine nodes is multiplied out to
_COMPOSED_ENTRIES = 2**22
SHARE = 0.3
"""The part of what is left of a time limit that the norms may take."""
# the norms of maps that are in use, which the forms of a network and its segments share
_KNOWN: WeakKeyDictionary[LinearMap, float] = WeakKeyDictionary()
# what a product that underflows is rounded up to
_LEAST = 2.0**-1000
# one unit in the last place upward after every multiplication and addition of positive numbers
_UP = 1.0 + 2.0**-51


@dataclass(frozen=True, eq=False)
class NormProduct:
    """Proven ℓ2 bounds on the increment of every node, for an input increment of norm one.

    Attributes
    ----------
    value
        The bound on the output, rounded up: the norm product.
    increments
        For each node of the graph the bound on its increment; zero for nodes that the output does not need.
    norms
        For each affine node the operator norms of its maps.
    """

    graph: Graph
    value: float
    increments: Array
    norms: dict[int, tuple[float, ...]]

    def conversion(self, claim: Claim) -> float:
        """The norm product as a bound for other norms: ‖x‖₂ ≤ √n‖x‖_∞, ‖y‖₁ ≤ √m‖y‖₂; in ℓ∞ the largest output's own."""
        if claim.output_norm is Norm.LINF:
            return max(self.of_each(claim))
        factor = self._factor(claim)
        if claim.output_norm is Norm.L1:
            factor *= np.sqrt(self.graph.output_size) * _UP
        return float(self.value * factor)

    def of_each(self, claim: Claim) -> list[float]:
        """The norm product of each output by itself."""
        factor = self._factor(claim)
        return [float(v) if factor == 1.0 else times(float(v), factor) for v in self.each]

    def _factor(self, claim: Claim) -> float:
        return float(np.sqrt(self.graph.input_size) * _UP) if claim.norm is Norm.LINF else 1.0

    @cached_property
    def each(self) -> Array:
        """(outputs,) the norm product of each output: the last layer enters by its row. None is above `value`."""
        if self._rows is None:
            return np.full(self.graph.output_size, self.value)
        node = self.graph.nodes[self.graph.output]
        branches = self._rows * self.increments[self._starts(node)]
        own = branches.sum(axis=1) * _UP ** (2 * branches.shape[1]) + _LEAST
        return np.where(self._rows.any(axis=1), np.minimum(own, self.value), 0.0)

    @cached_property
    def _rows(self) -> Array | None:
        """(outputs, branches) the norms of the rows of the last layer, or None where it is not affine or too large."""
        node = self.graph.nodes[self.graph.output]
        if not isinstance(node, Affine):
            return None
        arithmetic = EnclosureArithmetic()
        norms = []
        for a, parent in zip(node.maps, node.parents, strict=True):
            chain = [a, *(below.maps[0] for below in self._chain(parent))]
            columns = chain[-1].shape[1]
            if columns * max(columns, *(link.shape[0] for link in chain)) > _COMPOSED_ENTRIES:
                return None
            matrix = arithmetic.unit(columns, columns, 0)
            for link in reversed(chain):
                matrix = arithmetic.apply(link, matrix)
            norms.append(_row_norms(matrix))
        return np.stack(norms, axis=1)

    def _chain(self, position: int) -> list[Affine]:
        """The affine nodes with one map each from here down."""
        found = []
        node = self.graph.nodes[position]
        while isinstance(node, Affine) and len(node.maps) == 1:
            found.append(node)
            node = self.graph.nodes[node.parents[0]]
        return found

    def _starts(self, node: Node) -> list[int]:
        """Where the chains below the branches of a node begin."""
        chains = [self._chain(parent) for parent in node.parents]
        return [chain[-1].parents[0] if chain else p for chain, p in zip(chains, node.parents, strict=True)]

    def weights(self) -> dict[int, float]:
        """For each activation node the weight t with Σ t (L²‖Δz‖² − ‖Δw‖²) + value²‖Δx‖² ≥ ‖Δy‖².

        A chain telescopes with t = the squared norms behind it. A sum of branches is split by Cauchy–Schwarz:
        (Σ_k a_k)² ≤ Σ_k (S/(a_k p_k)) a_k² with S = Σ a_k p_k and p_k the bound on the branch.
        """
        nodes = self.graph.nodes
        weight = np.zeros(len(nodes))
        weight[self.graph.output] = 1.0
        result = {}
        for position, node in reversed(list(self.graph.walk())):
            t = weight[position]
            match node:
                case Input():
                    pass
                case Affine():
                    branches = [a * self.increments[p] for a, p in zip(self.norms[position], node.parents, strict=True)]
                    total = sum(branches)
                    for a, parent in zip(self.norms[position], node.parents, strict=True):
                        if a > 0 and self.increments[parent] > 0:
                            weight[parent] += t * total * a / self.increments[parent]
                case Activation():
                    result[position] = float(t)
                    weight[node.parent] += t * node.lipschitz**2
                case FixedPoint():
                    raise AssertionError("an implicit layer has no norm product")
        return result


def norm_product(graph: Graph) -> NormProduct | None:
    """The norm product of a graph, or None where it has an implicit layer or the product overflows.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> round(norm_product(nn.sequential(nn.linear([[3.0]]), nn.relu(), nn.linear([[2.0]]))).value, 9)
    6.0
    """
    increments = np.zeros(len(graph.nodes))
    norms: dict[int, tuple[float, ...]] = {}
    dear = _most_seconds(graph, SHARE * budget.left())
    chains = _Chains(graph)
    for position, node in graph.walk():
        if isinstance(node, FixedPoint):
            return None
        match node:
            case Input():
                increments[position] = 1.0
            case Activation():
                lipschitz = node.lipschitz
                increments[position] = times(increments[node.parent], lipschitz)
            case Affine():
                norms[position] = tuple(_norm(a, dear) for a in node.maps)
                branches = [times(a, increments[p]) for a, p in zip(norms[position], node.parents, strict=True)]
                increments[position] = _together(branches, len(branches) > 1 and _disjoint_rows(node))
                composed = chains.norm(position)
                if composed is not None:
                    norm, start = composed
                    increments[position] = min(increments[position], times(norm, increments[start]))
    if not np.isfinite(increments[graph.output]):
        return None
    return NormProduct(graph, float(increments[graph.output]), increments, norms)


def _row_norms(x: Enclosure) -> Array:
    """Upper bounds on the Euclidean norms of the rows."""
    columns = x.mid.shape[1]
    entries = np.abs(x.mid) + x.radius()
    # squares may underflow, each by 2⁻¹⁰²²
    squares = np.einsum("ij,ij->i", entries, entries) + columns * 2.0**-1000
    return np.where(entries.any(axis=1), np.sqrt(squares) * inflation(columns + 4), 0.0)


def _most_seconds(graph: Graph, seconds: float) -> float:
    """What one map may take, so that all that take no more fit into so many seconds together."""
    costs = np.sort([seconds_needed(a) for _, node in graph.walk() if isinstance(node, Affine) for a in node.maps])
    fitting = costs[np.cumsum(costs) <= seconds]
    return np.inf if fitting.size == costs.size else float(fitting[-1]) if fitting.size else 0.0


def _norm(a: LinearMap, dear: float) -> float:
    """The norm of a map, or what two products say of it where it would take too long."""
    if a not in _KNOWN and seconds_needed(a) <= dear:
        with suppress(OutOfTime):
            _KNOWN[a] = norm_upper(a)
    return _KNOWN[a] if a in _KNOWN else cheap_norm(a)


def times(a: float, b: float) -> float:
    """a·b for nonnegative numbers, rounded up whether it underflows or not."""
    # those of Python become infinite without a warning
    a, b = float(a), float(b)
    return 0.0 if a == 0.0 or b == 0.0 else max(a * b * _UP, _LEAST)


def _together(branches: list[float], disjoint: bool) -> float:
    """The sum of the branches, or the root of the sum of their squares, rounded up."""
    return (math.hypot(*branches) if disjoint else sum(branches)) * _UP ** len(branches)


@dataclass(frozen=True, eq=False)
class _Chain:
    """A chain of affine nodes with one map each, multiplied out: from where it starts, its largest node, its matrix."""

    start: int
    largest: int
    matrix: Enclosure


class _Chains:
    """Multiplies chains out link by link, and takes norms where a chain ends."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.ends = {graph.output}
        self._arithmetic = EnclosureArithmetic()
        self._open: dict[int, _Chain] = {}
        readers = [0] * len(graph.nodes)
        for _, node in graph.walk():
            for parent in node.parents:
                readers[parent] += 1
                if not _is_link(node) or readers[parent] > 1:
                    self.ends.add(parent)

    def norm(self, position: int) -> tuple[float, int] | None:
        """The norm of the chain that ends at a node, and the node it starts from; None where none ends there."""
        node = self.graph.nodes[position]
        if not isinstance(node, Affine) or not _is_link(node) or budget.left() <= 0.0:
            return None
        parent, a = node.parents[0], node.maps[0]
        below = self.graph.nodes[parent]
        linked = _is_link(below)
        found = self._open.pop(parent, None) if linked and parent not in self.ends else self._open.get(parent)
        if found is None:
            # a first link; a chain that has become too large goes on being so
            if not linked and a.shape[1] * max(a.shape) <= _COMPOSED_ENTRIES:
                self._open[position] = _Chain(parent, node.size, self._applied(a, None))
            return None
        largest = max(found.largest, node.size)
        if found.matrix.mid.shape[1] * largest > _COMPOSED_ENTRIES:
            return None
        chain = _Chain(found.start, largest, self._applied(a, found.matrix))
        self._open[position] = chain
        return (self._norm(position, chain), chain.start) if position in self.ends else None

    def _norm(self, position: int, chain: _Chain) -> float:
        norm = composed_norm(chain.matrix)
        if is_close(chain.matrix):
            return norm
        maps: list[LinearMap] = []
        while position != chain.start:
            node = self.graph.nodes[position]
            assert isinstance(node, Affine)
            maps.append(node.maps[0])
            position = node.parents[0]
        exact = multiplied(maps[::-1])
        # what is infinite may be NaN
        return norm if exact is None else float(np.fmin(norm, composed_norm(exact)))

    def _applied(self, a: LinearMap, matrix: Enclosure | None) -> Enclosure:
        return self._arithmetic.apply(a, self._arithmetic.unit(a.shape[1], a.shape[1], 0) if matrix is None else matrix)


def _is_link(node: Node) -> bool:
    return isinstance(node, Affine) and len(node.maps) == 1


def composed_norm(matrix: Enclosure) -> float:
    """The norm of an enclosed matrix, rounded up."""
    return (norm_upper(Dense(matrix.mid)) + norm_bound(matrix.radius())) * _UP


def _disjoint_rows(node: Affine) -> bool:
    """Whether no two maps write the same output: a concatenation."""
    if any(a.radius is not None for a in node.maps):
        return False
    used = np.zeros(node.size, dtype=np.int64)
    for a in node.maps:
        used += np.diff(a.to_sparse().indptr) > 0
    return bool((used <= 1).all())
