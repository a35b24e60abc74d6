"""Sweeps through networks of layers Δw = K Δz + P s Q Δz: what searches over the slopes s have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, assert_never

import numpy as np

from lipcert.constraints.interconnection import apply_blocks
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.activations.record import NormalForm
    from lipcert.arrays import Array


@dataclass(frozen=True, eq=False)
class _Form:
    """The matrices of one layer, and their transposes."""

    K: Array
    P: Array
    Q: Array
    Kt: Array
    Pt: Array
    Qt: Array

    @classmethod
    def of(cls, form: NormalForm) -> _Form:
        parts = (form.K, form.P, form.Q)
        return cls(*parts, *(np.ascontiguousarray(x.swapaxes(1, 2)) for x in parts))


class Sweeps:
    """Products with the Jacobian that the slopes make, and with its adjoint.

    Parameters
    ----------
    graph
        The prepared network, without implicit layers.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @cached_property
    def _forms(self) -> dict[int, _Form]:
        walk = self.graph.walk()
        return {position: _Form.of(node.normal_form) for position, node in walk if isinstance(node, Activation)}

    def forward(self, x: Array, between: Callable[[int, Array], Array], biased: int = 0) -> Array:
        """The output for columns at the input; the first `biased` of them are values, which biases move.

        `between` gives for a layer what P is multiplied by, from its position and Q z.
        """
        values: dict[int, Array] = {}
        for position, node in self.graph.walk():
            match node:
                case Input():
                    values[position] = x
                case Affine():
                    total = np.array(node.maps[0] @ values[node.parents[0]])
                    for a, parent in zip(node.maps[1:], node.parents[1:], strict=True):
                        total = total + a @ values[parent]
                    if biased and node.bias is not None:
                        total[:, :biased] += node.bias[:, None]
                    values[position] = total
                case Activation():
                    form, z = self._forms[position], values[node.parent]
                    inner = between(position, apply_blocks(form.Q, z))
                    values[position] = apply_blocks(form.K, z) + apply_blocks(form.P, inner)
                case FixedPoint():
                    raise AssertionError("no sweep over slopes goes through an implicit layer")
                case other:
                    assert_never(other)
        return values[self.graph.output]

    def backward(self, c: Array, between: Callable[[int, Array], Array]) -> Array:
        """The adjoints at the input for columns at the output; `between` as in `forward`, for Qᵀ, from Pᵀ c."""
        adjoint = {self.graph.output: c}
        for position, node in reversed(list(self.graph.walk())):
            if position not in adjoint or isinstance(node, Input):
                continue
            at = adjoint[position]
            if isinstance(node, Affine):
                parts = [a.adjoint(at) for a in node.maps]
            elif isinstance(node, FixedPoint):
                raise AssertionError("no sweep over slopes goes through an implicit layer")
            else:
                form = self._forms[position]
                inner = between(position, apply_blocks(form.Pt, at))
                parts = [apply_blocks(form.Kt, at) + apply_blocks(form.Qt, inner)]
            for parent, part in zip(node.parents, parts, strict=True):
                adjoint[parent] = adjoint[parent] + part if parent in adjoint else part
        return adjoint.get(self.graph.inputs[0], np.zeros((self.graph.input_size, c.shape[1])))
