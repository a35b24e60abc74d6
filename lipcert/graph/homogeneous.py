"""A graph in absolute coordinates: the constant 1 becomes an input, so that lowering keeps biases and a centre.

Increments forget biases; the signs of a network on a region do not. Over u = [1; x − c] every affine map is linear, and
`lower` of the result gives the pre-activations themselves as linear forms of u and of the channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lipcert.errors import DoesNotApply
from lipcert.graph.linear_maps import Index, LinearMap, Sparse
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, GraphBuilder, Input, moved

if TYPE_CHECKING:
    from lipcert.arrays import Array


def homogeneous(graph: Graph, centre: Array) -> Graph:
    """The graph as a function of [1; x − centre], without biases.

    Parameters
    ----------
    graph
        A network with one input and without implicit layers.
    centre
        (inputs,).

    Raises
    ------
    DoesNotApply
        If the network has an implicit layer or several inputs.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.evaluate import forward
    >>> graph = nn.sequential(nn.linear([[2.0]], [1.0]), nn.relu())
    >>> float(forward(homogeneous(graph, np.array([3.0])), np.array([[1.0], [0.5]]))[0, 0])
    8.0
    """
    if len(graph.inputs) != 1:
        raise DoesNotApply("a network of several inputs has no single centre")
    builder = GraphBuilder()
    n = graph.input_size
    constant = builder.input(n + 1)
    place: dict[int, int] = {}
    for position, node in graph.walk():
        match node:
            case Input():
                offset = Index(np.arange(1, n + 1), n + 1)
                maps: list[LinearMap] = [offset, _column(np.asarray(centre, dtype=np.float64), n + 1)]
                place[position] = builder.affine([constant] * 2, maps)
            case Affine():
                parents, maps = [place[p] for p in node.parents], list(node.maps)
                if node.bias is not None and node.bias.any():
                    parents.append(constant)
                    maps.append(_column(node.bias, n + 1))
                place[position] = builder.affine(parents, maps)
            case Activation():
                place[position] = builder.add(moved(node, [place[node.parent]]))
            case FixedPoint():
                raise DoesNotApply("an implicit layer has no quadratic constraints in absolute coordinates")
    return builder.finish(place[graph.output], graph.idealisations, graph.source)


def _column(values: Array, columns: int) -> Sparse:
    """The map that multiplies the first number by `values`."""
    (rows,) = np.nonzero(values)
    entries = (values[rows], (rows, np.zeros(rows.size, dtype=np.int64)))
    return Sparse(sp.csr_array(entries, shape=(values.size, columns)))
