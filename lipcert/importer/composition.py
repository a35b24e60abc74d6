"""Chains of elementwise operations on one number as one function: first its range, then its own slopes.

The parts of e^(−x²) have no bounded slope, those of σ(x)² and sin x · cos x have too large ones: what counts is the slope of
the whole. A function is composed where an operation is part of it that has a slope on bounded ranges only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.composed import UNARY, Program
from lipcert.activations.table import RANGED
from lipcert.graph.linear_maps import Index
from lipcert.graph.nodes import Activation, Affine, Graph, GraphBuilder, Input, moved
from lipcert.importer.lanes import Lanes, Resolver

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray

_RANGED = {record.name for record in RANGED}
_MOST = 48
"""The most steps of a function."""


@dataclass(frozen=True, eq=False)
class Expression:
    """A function of one number x, for each of several numbers.

    Attributes
    ----------
    op
        'x', 'times', 'plus', 'sum', 'product', or a record.
    of
        What it takes.
    constant
        One number each, of 'times' and 'plus'.
    parameters
        Of a record, or the 'radius' of the constant.
    """

    op: str
    of: tuple[Expression, ...] = ()
    constant: Array | None = None
    parameters: Mapping[str, Array] | None = None

    def taken(self, index: IntArray, known: dict[int, Expression]) -> Expression:
        """The functions of some of the numbers."""
        if id(self) not in known:
            of = tuple(part.taken(index, known) for part in self.of)
            constant = None if self.constant is None else self.constant[index]
            own = {key: value if len(value) == 1 else value[index] for key, value in (self.parameters or {}).items()}
            known[id(self)] = replace(self, of=of, constant=constant, parameters=own)
        return known[id(self)]

    @cached_property
    def parts(self) -> dict[int, Expression]:
        """Everything in it once, what is taken first."""
        found: dict[int, Expression] = {}
        for part in self.of:
            found |= part.parts
        return found | {id(self): self}

    @property
    def calls(self) -> list[str]:
        """The records and products in it."""
        return [part.op for part in self.parts.values() if part.op == "product" or part.op in UNARY]


@dataclass(frozen=True, eq=False)
class Function:
    """An expression in the numbers `index` of a node."""

    base: int
    index: IntArray
    body: Expression

    def taken(self, index: IntArray) -> Function:
        """Some of its numbers."""
        return Function(self.base, self.index[index], self.body.taken(index, {}))

    def beside(self, other: Function) -> bool:
        """Whether another one is of the same numbers."""
        return self.base == other.base and np.array_equal(self.index, other.index)

    @property
    def worth(self) -> bool:
        """Whether it is more than its parts."""
        calls = self.body.calls
        return (
            len(calls) > 1 and any(op == "product" or op in _RANGED for op in calls) and len(self.body.parts) <= _MOST
        )


def composed(graph: Graph) -> Graph:
    """The graph with such chains as single activations; the graph itself where there are none."""
    if not any(isinstance(node, Activation) and node.kind in _RANGED for _, node in graph.walk()):
        return graph
    reader = _Reader(graph)
    builder = GraphBuilder()
    place = {
        position: builder.input(graph.nodes[position].size, graph.nodes[position].name) for position in graph.inputs
    }
    waiting = [graph.output]
    while waiting:
        top = waiting[-1]
        if top in place:
            waiting.pop()
            continue
        found = reader.worthwhile(top)
        needs = [p for p in ((found.base,) if found is not None else graph.nodes[top].parents) if p not in place]
        if needs:
            waiting += needs
            continue
        if found is None:
            node = graph.nodes[top]
            assert not isinstance(node, Input)
            place[top] = builder.add(moved(node, [place[p] for p in node.parents]))
        else:
            place[top] = _written(builder, found, place[found.base], graph.nodes[top].name)
    inputs = tuple(place[i] for i in graph.inputs)
    return replace(graph, nodes=tuple(builder.nodes), inputs=inputs, output=place[graph.output])


def _written(builder: GraphBuilder, found: Function, base: int, name: str) -> int:
    """The activation, of constants that are one number where all agree."""
    program = Program()
    number: dict[int, int] = {}
    known: dict[object, int] = {}
    for key, part in found.body.parts.items():
        if part.op == "x":
            number[key] = 0
            continue
        of = tuple(number[id(p)] for p in part.of)
        constant = None if part.constant is None else _one(part.constant)
        own = {name: _one(value) for name, value in (part.parameters or {}).items()}
        values = (b"" if constant is None else constant.tobytes(), *((k, v.tobytes()) for k, v in sorted(own.items())))
        # the same twice is one step
        same = (part.op, of, values)
        if same not in known:
            known[same] = program.add(part.op, of, constant, own)
        number[key] = known[same]
    x = builder.affine([base], [Index(found.index, builder.nodes[base].size)])
    return builder.activation(x, "composed", 1, program.parameters, name=name)


def _one(values: Array) -> Array:
    return values[:1] if (values == values[0]).all() else np.array(values, dtype=np.float64)


class _Reader:
    """Reads the nodes of a graph as functions of one number of a node before them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        builder = GraphBuilder()
        builder.nodes, builder.inputs = list(graph.nodes), list(graph.inputs)
        self._resolve = Resolver(builder)
        self._known: dict[tuple[int, bool], Function] = {}

    def worthwhile(self, position: int) -> Function | None:
        """What a node is where that is worth an activation of its own.

        It is a function of what goes into its innermost calls, where that is one node; where these take different multiples
        of one signal, of that signal.
        """
        for deep in (False, True):
            found = self._read(position, deep)
            if found is not None and found.worth and found.base != position:
                return found
        return None

    def _read(self, position: int, deep: bool) -> Function | None:
        node = self.graph.nodes[position]
        if isinstance(node, Activation):
            return self.function(position, deep)
        if not isinstance(node, Affine):
            return None
        lanes = self._resolve(position)
        several = sum(isinstance(self.graph.nodes[term.node], Activation) for term in lanes.terms) > 1
        return self._summed(lanes, deep) if several else None

    def function(self, position: int, deep: bool) -> Function:
        """What a node is: a function of other numbers, or of its own."""
        if (position, deep) not in self._known:
            node = self.graph.nodes[position]
            own = self._activation(node, deep) if isinstance(node, Activation) else None
            if own is None or len(own.body.parts) > _MOST:
                own = _itself(position, node.size)
            self._known[position, deep] = own
        return self._known[position, deep]

    def _activation(self, node: Activation, deep: bool) -> Function | None:
        lanes = self._resolve(node.parent)
        if node.kind == "product":
            one, two = (self._summed(lanes.taken(np.arange(k, lanes.size, 2)), deep) for k in (0, 1))
            if one is None or two is None or not one.beside(two):
                return None
            return Function(one.base, one.index, Expression("product", (one.body, two.body)))
        if node.kind not in UNARY or node.block != 1:
            return None
        x = self._summed(lanes, deep)
        if x is None or not (deep or x.body.calls):
            x = _itself(node.parent, node.size)
        return Function(x.base, x.index, Expression(node.kind, (x.body,), None, dict(node.parameters)))

    def _summed(self, lanes: Lanes, deep: bool) -> Function | None:
        """Σ scale·f(x) + shift of one x."""
        total: Function | None = None
        # of a pair each number has but one of the two terms
        for term in (term for term in lanes.terms if not term.scale.zero):
            part = self.function(term.node, deep).taken(term.index)
            body = part.body
            if not term.scale.equals(1.0):
                body = Expression("times", (body,), term.scale.mid, _radius(term.scale.rad))
            if total is not None and not total.beside(part):
                return None
            total = Function(part.base, part.index, body if total is None else Expression("sum", (total.body, body)))
        if total is None or lanes.shift.zero:
            return total
        shifted = Expression("plus", (total.body,), lanes.shift.mid, _radius(lanes.shift.rad))
        return Function(total.base, total.index, shifted)


def _itself(position: int, size: int) -> Function:
    return Function(position, np.arange(size, dtype=np.int64), Expression("x"))


def _radius(radius: Array) -> dict[str, Array]:
    return {"radius": np.array(radius)} if np.any(radius) else {}
