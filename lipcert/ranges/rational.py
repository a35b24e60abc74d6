"""Cells of small networks in rational numbers: where a region is unbounded, rounding would cost an infinite range.

On a cell every neuron is linear, or a variable w of its own that lies above (below) the segments that are left, where these
are convex (concave). Cuts and these statements are affine in u = (x, w); nonnegative weights with

    Σ weight · normal = 0,   Σ weight · constant < 0

prove that no u satisfies them all. Floating-point weights say which of them count; the rest follows exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lipcert.errors import DoesNotApply
from lipcert.graph.nodes import Activation, Affine, Graph, Input
from lipcert.ranges.cells import breaks, segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.arrays import Array
    from lipcert.graph.linear_maps import LinearMap
    from lipcert.ranges.cells import NeuronCut
    from lipcert.ranges.propagate import Ranges

Exact: TypeAlias = Any
"""A matrix of `flint.fmpq`; the first column is the constant."""

MOST_ENTRIES = 200_000
"""Of the forms of a network that is small enough."""


@dataclass(frozen=True, eq=False)
class Statements:
    """What holds on a cell: constant + normal·u ≥ 0, row by row, the cuts first.

    Attributes
    ----------
    rows
        (statements, 1 + inputs + w).
    inputs
        How many of the variables are inputs.
    cuts
        How many of the rows are cuts.
    """

    rows: Exact
    inputs: int
    cuts: int

    def floats(self) -> Array:
        """The same in floating point, the normals of unit length."""
        found = np.array([[_float(v) for v in row] for row in self.rows.tolist()]).reshape(self.rows.nrows(), -1)
        size = np.abs(found[:, 1:]).max(axis=1, initial=0.0)
        return found / np.where(size > 0.0, size, 1.0)[:, None]

    def contradict(self, weights: Array) -> bool:
        """Whether weights near these prove that nothing satisfies all statements.

        They are those of `floats`. Of those that are not zero, the dependent ones follow from Σ weight · normal = 0.
        """
        from flint import fmpq, fmpq_mat

        count = self.rows.nrows()
        if weights.shape != (count,) or not (np.isfinite(weights) & (weights >= 0.0)).all():
            return False
        chosen = np.flatnonzero(weights).tolist()
        if not chosen:
            return False
        table = self.rows.tolist()
        size = [max((abs(v) for v in table[k][1:]), default=fmpq(0)) or fmpq(1) for k in chosen]
        wanted = [_fraction(float(weights[k])) / s for k, s in zip(chosen, size, strict=True)]
        normals = fmpq_mat([[table[k][j] for k in chosen] for j in range(1, self.rows.ncols())])
        reduced, rank = normals.rref()
        exact = list(wanted)
        for row in reduced.tolist()[:rank]:
            pivot = next(j for j, v in enumerate(row) if v)
            exact[pivot] = -sum((v * wanted[c] for c, v in enumerate(row) if c != pivot), start=fmpq(0))
        if any(v < 0 for v in exact):
            return False
        return bool(sum((v * table[k][0] for k, v in zip(chosen, exact, strict=True)), start=fmpq(0)) < 0)


def is_small(graph: Graph) -> bool:
    """Whether the forms of a network are few enough for rational numbers, and its constants exact."""
    neurons = sum(node.size for _, node in graph.walk() if isinstance(node, Activation))
    widest = max((node.size for _, node in graph.walk()), default=0)
    exact = all(a.radius is None for _, node in graph.walk() if isinstance(node, Affine) for a in node.maps)
    return exact and widest * (1 + graph.input_size + neurons) <= MOST_ENTRIES


def statements(graph: Graph, found: Ranges, cuts: Sequence[NeuronCut]) -> Statements:
    """What holds on a cell of a small network.

    Parameters
    ----------
    graph
        A prepared network with its moduli written out, that `is_small` takes.
    found
        Ranges of its signals on the cell, or wider ones: they say which segments neurons have.
    cuts
        The cuts of the cell.

    Raises
    ------
    DoesNotApply
        If a piecewise linear function is not exact in its own constants.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.ranges.cells import NeuronCut, part, whole
    >>> from lipcert.regions import everywhere
    >>> graph = nn.sequential(nn.linear([[1.0], [-1.0]], [-1.0, -1.0]), nn.relu(), nn.linear([[1.0, 1.0]]))
    >>> cell = whole(graph, everywhere())
    >>> for neuron in (0, 1):
    ...     cell = part(graph, cell, NeuronCut(2, neuron, 0, 1))
    >>> statements(graph, cell.ranges, cell.cuts).contradict(np.array([1.0, 1.0]))
    True
    """
    return _Forms(graph, found, cuts).run()


class _Forms:
    def __init__(self, graph: Graph, found: Ranges, cuts: Sequence[NeuronCut]) -> None:
        self.graph, self.found, self.cuts = graph, found, cuts
        self.inputs = graph.input_size
        self.open = 0
        for _, node in graph.walk():
            if isinstance(node, Activation):
                first, last = segments(node, found[node.parent])
                self.open += int((first < last).sum())
        self.width = 1 + self.inputs + self.open
        self.next = 1 + self.inputs
        self.rows: dict[int, list[Any]] = {}
        self.others: list[list[Any]] = []

    def run(self) -> Statements:
        from flint import fmpq, fmpq_mat

        value: dict[int, Exact] = {}
        for position, node in self.graph.walk():
            match node:
                case Input():
                    at = fmpq_mat(node.size, self.width)
                    for i in range(node.size):
                        at[i, 1 + i] = fmpq(1)
                    value[position] = at
                case Affine():
                    total = _exact(node.maps[0]) * value[node.parents[0]]
                    for a, p in zip(node.maps[1:], node.parents[1:], strict=True):
                        total = total + _exact(a) * value[p]
                    for i, b in enumerate([] if node.bias is None else node.bias.tolist()):
                        total[i, 0] = total[i, 0] + _fraction(b)
                    value[position] = total
                case Activation():
                    value[position] = self._activation(position, node, value[node.parent].tolist())
                case _:
                    raise DoesNotApply("neurons of an implicit layer are not cut")
        table = [self.rows[k] for k in range(len(self.cuts))] + self.others
        rows = fmpq_mat(table) if table else fmpq_mat(0, self.width)
        return Statements(rows, self.inputs, len(self.cuts))

    def _activation(self, position: int, node: Activation, z: list[list[Any]]) -> Exact:
        from flint import fmpq, fmpq_mat

        pieces = _pieces(node)
        first, last = segments(node, self.found[node.parent])
        out = []
        for i, row in enumerate(z):
            own = pieces[i if len(pieces) > 1 else 0]
            if first[i] == last[i]:
                out.append(_line(own[first[i]], row))
                continue
            w = [fmpq(0)] * self.width
            w[self.next] = fmpq(1)
            self.next += 1
            out.append(w)
            slopes = [own[j][0] for j in range(first[i], last[i] + 1)]
            lines = [_line(own[j], row) for j in range(first[i], last[i] + 1)]
            if all(a <= b for a, b in pairwise(slopes)):
                self.others += [[a - b for a, b in zip(w, line, strict=True)] for line in lines]
            elif all(a >= b for a, b in pairwise(slopes)):
                self.others += [[b - a for a, b in zip(w, line, strict=True)] for line in lines]
        for k, cut in enumerate(self.cuts):
            if cut.position == position:
                row = [v * cut.side for v in z[cut.neuron]]
                row[0] -= _fraction(float(breaks(node)[0][cut.neuron, cut.kink])) * cut.side
                self.rows[k] = row
        return fmpq_mat(out)


def _line(piece: tuple[Any, Any], row: list[Any]) -> list[Any]:
    """slope·z + constant."""
    slope, constant = piece
    line = [slope * v for v in row]
    line[0] += constant
    return line


def _pieces(node: Activation) -> list[list[tuple[Any, Any]]]:
    """Slope and constant of each segment of each neuron, or of one for all of them."""
    kinks, values, slopes = (part.tolist() for part in breaks(node))
    alike = all(len(value) == 1 for value in node.parameters.values())
    found = []
    for k, v, s in list(zip(kinks, values, slopes, strict=True))[: 1 if alike else None]:
        finite = [j for j in range(len(k)) if np.isfinite(k[j])]
        for a, b in pairwise(finite):
            if Fraction(v[b]) - Fraction(v[a]) != Fraction(s[b]) * (Fraction(k[b]) - Fraction(k[a])):
                raise DoesNotApply(f"a constant of {node.record.name} is not exact")
        pieces = []
        for j, slope in enumerate(s):
            at = next((i for i in (j - 1, j) if i in finite), None)
            constant = Fraction(0) if at is None else Fraction(v[at]) - Fraction(slope) * Fraction(k[at])
            pieces.append((_fraction(slope), _fraction(constant)))
        found.append(pieces)
    return found


def _exact(a: LinearMap) -> Exact:
    from flint import fmpq_mat

    rows, columns = a.shape
    return fmpq_mat(rows, columns, [_fraction(v) for v in a.to_dense().ravel().tolist()])


def _fraction(value: float | Fraction) -> Any:
    from flint import fmpq

    exact = Fraction(value)
    return fmpq(exact.numerator, exact.denominator)


def _float(value: Any) -> float:
    return float(Fraction(int(value.p), int(value.q)))
