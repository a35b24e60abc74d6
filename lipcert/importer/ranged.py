"""Operations without a slope bound on all numbers as records that state one on a range.

What is left when the switches are settled and nothing else was recognised: products of two signals, quotients, powers,
exponentials, logarithms and roots. Behind gates, clips and normalisations their inputs are bounded on the whole space,
elsewhere a region bounds them. x/√(c Σ x² + ε) is one normalisation, √(κ Σ x²) a Euclidean norm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.graph.linear_maps import Diagonal, Index
from lipcert.graph.nodes import Activation, Affine, Graph, GraphBuilder, Input, moved
from lipcert.importer.elementwise import Unproven
from lipcert.importer.exact import Rounded

if TYPE_CHECKING:
    import scipy.sparse as sp

    from lipcert.arrays import Array, IntArray

KINDS = ("product", "quotient", "power", "exp", "log", "sqrt")
"""What has a record."""


def ranged(graph: Graph) -> Graph:
    """The graph with its operations as records; other kinds are left."""
    if not any(_unproven(node) for _, node in graph.walk()):
        return graph
    builder = GraphBuilder()
    place: dict[int, int] = {}
    reader = _Normalisations(graph)
    for position, node in graph.walk():
        if isinstance(node, Input):
            place[position] = builder.input(node.size, node.name)
            continue
        unproven = _unproven(node)
        if unproven is None:
            place[position] = builder.add(moved(node, [place[p] for p in node.parents]))
            continue
        found = reader.at(position) or reader.length_at(position)
        if found is not None:
            place[position] = found.write(builder, place)
        else:
            place[position] = _written(builder, unproven, [place[p] for p in unproven.parents])
    inputs = tuple(place[i] for i in graph.inputs)
    return replace(graph, nodes=tuple(builder.nodes), inputs=inputs, output=place[graph.output])


def _unproven(node: object) -> Unproven | None:
    return node if isinstance(node, Unproven) and node.kind in KINDS else None


def _written(builder: GraphBuilder, node: Unproven, parents: list[int]) -> int:
    match node.kind, parents:
        case "product", [x, y] if x == y:
            return builder.activation(x, "power", parameters={"exponent": np.array([2.0])}, name=node.name)
        case "product", [x, y]:
            return _product(builder, x, y, node.name)
        case "quotient", [x, y]:
            return _product(builder, x, builder.activation(y, "reciprocal", name=node.name), node.name)
        case "quotient", [x]:
            return builder.activation(x, "reciprocal", name=node.name)
        case "power", [x]:
            return builder.activation(x, "power", parameters={"exponent": np.array([node.exponent])}, name=node.name)
        case kind, _:
            return builder.activation(parents[0], kind, name=node.name)


def _product(builder: GraphBuilder, x: int, y: int, name: str) -> int:
    """Pairs (x_i, y_i) and their products."""
    n = builder.nodes[x].size
    first, second = np.full(2 * n, -1, dtype=np.int64), np.full(2 * n, -1, dtype=np.int64)
    first[::2] = second[1::2] = np.arange(n)
    pairs = builder.affine([x, y], [Index(first, n), Index(second, n)])
    return builder.activation(pairs, "product", 2, name=name)


@dataclass(frozen=True, eq=False)
class _Normalised:
    """Rows of numbers of a node divided by their lengths, by the record `kind`, and which of them are wanted."""

    node: int
    rows: IntArray
    wanted: IntArray
    kind: str
    parameters: dict[str, Array]
    name: str

    def write(self, builder: GraphBuilder, place: dict[int, int]) -> int:
        """The node of the wanted numbers."""
        x = place[self.node]
        inside = builder.affine([x], [Index(self.rows.ravel(), builder.nodes[x].size)])
        normed = builder.activation(inside, self.kind, self.rows.shape[1], self.parameters, name=self.name)
        return builder.affine([normed], [Index(self.wanted, self.rows.size)])


@dataclass(frozen=True, eq=False)
class _Length:
    """√κ times the lengths of rows of numbers of a node, and which of them are wanted."""

    node: int
    rows: IntArray
    wanted: IntArray
    factor: Rounded
    name: str

    def write(self, builder: GraphBuilder, place: dict[int, int]) -> int:
        """The node of the wanted numbers."""
        x = place[self.node]
        inside = builder.affine([x], [Index(self.rows.ravel(), builder.nodes[x].size)])
        lengths = builder.activation(inside, "norm", self.rows.shape[1], name=self.name)
        wanted = builder.affine([lengths], [Index(self.wanted, len(self.rows))])
        if self.factor.equals(1.0):
            return wanted
        radii = None if self.factor.exact else self.factor.rad
        return builder.affine([wanted], [Diagonal(self.factor.mid, radii)])


class _Normalisations:
    """Reads x/√(c Σ x² + ε) back, however it is spelled: by a quotient, a reciprocal root, or a power; and √(κ Σ x²)."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def at(self, position: int) -> _Normalised | None:
        """The normalisation at a node, or None."""
        node = _unproven(self.graph.nodes[position])
        if node is None or len(node.parents) != 2 or node.kind not in ("quotient", "product"):
            return None
        x, y = node.parents
        if node.kind == "quotient":
            root = self._root(y, ("sqrt", 0.5))
            return self._floored(x, *self._moved(y), node.name) if root is None else self._read(x, *root, node.name)
        for signal, scale in ((x, y), (y, x)):
            root = self._inverse_root(scale)
            inverse = self._inverse(scale)
            found = None if root is None else self._read(signal, *root, node.name)
            if found is None and inverse is not None:
                found = self._floored(signal, *inverse, node.name)
            if found is not None:
                return found
        return None

    def length_at(self, position: int) -> _Length | None:
        """√(κ Σ x²) at a node, or None; κ > 0 may be enclosed only."""
        root = _unproven(self.graph.nodes[position])
        if root is None or not (root.kind == "sqrt" or (root.kind == "power" and root.exponent == 0.5)):
            return None
        at = root.parents[0]
        index = np.arange(root.size, dtype=np.int64)
        factor = Rounded.of(1.0, root.size)
        while True:
            node = self.graph.nodes[at]
            if not isinstance(node, Affine) or len(node.maps) != 1 or node.bias is not None:
                return None
            a = node.maps[0]
            if isinstance(a, Diagonal):
                radii = np.zeros(a.entries.size) if a.radii is None else a.radii
                factor = factor * Rounded(a.entries[index], radii[index])
            elif isinstance(a, Index) and (a.index[index] >= 0).all():
                index = a.index[index]
            else:
                break
            at = node.parents[0]
        square = _unproven(self.graph.nodes[node.parents[0]])
        if square is None or not self._is_square(square) or a.radius is not None or not (factor.low > 0.0).all():
            return None
        matrix = a.to_sparse()
        counts = np.diff(matrix.indptr)
        if not counts.size or not counts[0] or (counts != counts[0]).any() or not (matrix.data == 1.0).all():
            return None
        base, numbers = self._moved(square.parents[0])
        rows = numbers[matrix.indices.reshape(-1, counts[0])].astype(np.int64)
        return _Length(base, rows, index, factor.root(), root.name)

    def _moved(self, position: int) -> tuple[int, IntArray]:
        """The node that data movement starts from, and where each number comes from."""
        index = np.arange(self.graph.nodes[position].size, dtype=np.int64)
        while True:
            node = self.graph.nodes[position]
            if not isinstance(node, Affine) or len(node.maps) != 1 or node.bias is not None:
                return position, index
            a = node.maps[0]
            if not isinstance(a, Index) or (a.index[index] < 0).any():
                return position, index
            position, index = node.parents[0], a.index[index]

    def _root(self, position: int, kind: tuple[str, float]) -> tuple[int, IntArray] | None:
        """The argument of a square root (or a power) behind data movement."""
        base, index = self._moved(position)
        node = _unproven(self.graph.nodes[base])
        if node is None or not (node.kind == kind[0] or (node.kind == "power" and node.exponent == kind[1])):
            return None
        return node.parents[0], index

    def _inverse_root(self, position: int) -> tuple[int, IntArray] | None:
        """The argument of 1/√t."""
        base, index = self._moved(position)
        node = _unproven(self.graph.nodes[base])
        if node is None:
            return None
        if node.kind == "power" and node.exponent == -0.5:
            return node.parents[0], index
        if node.kind == "quotient" and len(node.parents) == 1:
            root = self._root(node.parents[0], ("sqrt", 0.5))
            return None if root is None else (root[0], root[1][index])
        return None

    def _inverse(self, position: int) -> tuple[int, IntArray] | None:
        """The node that 1/t divides by, behind data movement."""
        base, index = self._moved(position)
        node = _unproven(self.graph.nodes[base])
        if node is None or node.kind != "quotient" or len(node.parents) != 1:
            return None
        inner, at = self._moved(node.parents[0])
        return inner, at[index]

    def _floored(self, signal: int, position: int, index: IntArray, name: str) -> _Normalised | None:
        """x/max(‖x‖, floor) for the clipped lengths t[index]: a unit vector, or the projection onto a ball for floor 1."""
        clip = self.graph.nodes[position]
        if not isinstance(clip, Activation) or clip.kind != "clip":
            return None
        low, high = clip.parameters["low"], clip.parameters["high"]
        if not (low > 0.0).all() or not np.isposinf(high).all():
            return None
        lengths = self._lengths(clip.parents[0])
        if lengths is None:
            return None
        base, members = lengths
        wanted = self._wanted(signal, base, members, index)
        return None if wanted is None else _Normalised(base, members, wanted, "unit_vector", {"floor": low}, name)

    def _lengths(self, position: int) -> tuple[int, IntArray] | None:
        """The node whose numbers have these Euclidean lengths, and the numbers of each."""
        at, index = self._moved(position)
        node: object = self.graph.nodes[at]
        if isinstance(node, Activation) and node.kind == "norm":
            base, numbers = self._moved(node.parents[0])
            return base, numbers.reshape(-1, node.block)[index]
        root = self._root(position, ("sqrt", 0.5))
        found = None if root is None else self._sum_of_squares(root[0])
        if root is None or found is None:
            return None
        base, members, count, eps, exact = found
        return (base, members[root[1]]) if count == 1.0 and exact and not eps.any() else None

    def _wanted(self, signal: int, base: int, members: IntArray, index: IntArray) -> IntArray | None:
        """Where each number of the signal stands among the members of the sum of its own; None where one does not."""
        u, wanted = self._moved(signal)
        own = members[index]
        hit = own == wanted[:, None]
        if u != base or not hit.any(axis=1).all():
            return None
        return np.asarray(index * members.shape[1] + hit.argmax(axis=1), dtype=np.int64)

    def _read(self, signal: int, total: int, index: IntArray, name: str) -> _Normalised | None:
        """The normalisation with the length √t[index] for t = c Σ x² + ε."""
        found = self._sum_of_squares(total)
        if found is None:
            return None
        base, members, count, eps, _ = found
        wanted = self._wanted(signal, base, members, index)
        if wanted is None or (eps < 0.0).any():
            return None
        return _Normalised(base, members, wanted, "rms_norm", {"eps": eps, "count": np.array([count])}, name)

    def _sum_of_squares(self, position: int) -> tuple[int, IntArray, float, Array, bool] | None:
        """x, its numbers in each sum, 1/c, ε and whether c is exact, for t = c Σ x² + ε, one c, sums of equal length."""
        matrix: sp.csr_array | None = None
        spread = 0.0
        eps = np.zeros(self.graph.nodes[position].size)
        while isinstance(node := self.graph.nodes[position], Affine):
            if len(node.maps) != 1 or (node.bias is not None and matrix is not None):
                return None
            a = node.maps[0]
            if a.radius is not None and not isinstance(a, Diagonal):
                return None
            if isinstance(a, Diagonal) and a.radii is not None:
                with np.errstate(divide="ignore", invalid="ignore"):
                    spread += float(np.where(a.radii == 0.0, 0.0, a.radii / np.abs(a.entries)).max(initial=0.0))
            eps = node.bias if node.bias is not None else eps
            matrix = a.to_sparse() if matrix is None else (matrix @ a.to_sparse()).tocsr()
            position = node.parents[0]
        square = _unproven(node)
        if square is None or matrix is None or not self._is_square(square):
            return None
        lengths = np.diff(matrix.indptr)
        if not lengths.size or (lengths != lengths[0]).any() or lengths[0] == 0:
            return None
        c = matrix.data
        count = float(np.round(1.0 / c[0])) if c[0] > 0.0 else 0.0
        off = abs(float(c[0]) * count - 1.0) + spread
        # products of factors round, and the record takes a count that is known to 2⁻⁵⁰
        if count < 1.0 or (c != c[0]).any() or off > 2.0**-50 - 2.0**-52:
            return None
        base, index = self._moved(square.parents[0])
        members = index[matrix.indices.reshape(-1, lengths[0])]
        if any(np.unique(row).size != row.size for row in members):
            return None
        return base, members.astype(np.int64), count, np.asarray(eps, dtype=np.float64), off == 0.0

    def _is_square(self, node: Unproven) -> bool:
        if node.kind == "power":
            return node.exponent == 2.0
        return node.kind == "product" and len(node.parents) == 2 and node.parents[0] == node.parents[1]
