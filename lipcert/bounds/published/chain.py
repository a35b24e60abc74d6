"""Networks that are chains of weights and slopes, which GeoLip and ECLipsE are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.graph.nodes import Activation, Affine, FixedPoint, Input

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.graph.nodes import Graph


@dataclass(frozen=True, eq=False)
class Chain:
    """x → W₀ → φ → W₁ → … → W_l with slopes [0, slope] a neuron.

    Attributes
    ----------
    weights
        W₀, …, W_l, each (outputs, inputs); layers without an activation between them are multiplied.
    slopes
        The largest slope of each neuron, an array a layer.
    """

    weights: list[Array]
    slopes: list[Array]


def refuses_chain(graph: Graph) -> str | None:
    """Why a graph is not a `Chain`, or None."""
    nodes = [node for _, node in graph.walk()]
    if any(isinstance(node, FixedPoint) for node in nodes) or any(len(node.parents) > 1 for node in nodes):
        return "it is for feedforward networks, layer after layer"
    blocks = sorted({node.kind for node in nodes if isinstance(node, Activation) and node.block > 1})
    if blocks:
        return f"it is for slope-restricted activations, and {', '.join(blocks)} acts on groups"
    for node in nodes:
        if isinstance(node, Activation):
            form = node.normal_form
            if not form.groups or not np.array_equal(form.K, form.P):
                return f"it is for activations with slopes between 0 and a positive number, which {node.kind} is not"
    return None


def feedforward(graph: Graph) -> Chain:
    """The weights and slopes of a feedforward network.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> chain = feedforward(nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]])))
    >>> [w.shape for w in chain.weights], [float(s[0]) for s in chain.slopes]
    ([(1, 2), (1, 1)], [1.0])
    """
    weights: list[Array] = []
    slopes: list[Array] = []
    matrix = np.eye(graph.input_size)
    for _, node in graph.walk():
        match node:
            case Input():
                pass
            case Affine():
                matrix = node.maps[0] @ matrix
            case Activation():
                form = node.normal_form
                weights.append(matrix)
                slopes.append(np.broadcast_to(2.0 * form.P[:, 0, 0], (node.blocks,)))
                matrix = np.eye(node.size)
            case FixedPoint():
                raise AssertionError("`refuses_chain` comes first")
    return Chain([*weights, matrix], slopes)
