"""A small builder: graphs from layers, in the order in which they act.

>>> import numpy as np
>>> graph = sequential(linear(np.eye(4)), residual(maxmin(), linear(np.ones((4, 4)))), linear(np.ones((1, 4))))
>>> graph.input_size, graph.output_size
(4, 1)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import InvalidRequest
from lipcert.graph.linear_maps import Dense, LinearMap, identity
from lipcert.graph.nodes import Graph, GraphBuilder, Input, moved

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lipcert.arrays import Array


@dataclass(frozen=True)
class Layer:
    """A piece of a network: `add(builder, x)` adds its nodes after node x and returns the last one.

    Attributes
    ----------
    inputs
        The input size, or None where any fits.
    """

    add: Callable[[GraphBuilder, int], int]
    inputs: int | None = None


def sequential(*layers: Layer | Graph, inputs: int | None = None) -> Graph:
    """The network that applies the layers in order.

    Parameters
    ----------
    layers
        Layers or whole graphs.
    inputs
        Input size; needed only where the first layer does not fix it.

    Raises
    ------
    InvalidRequest
        If the input size is unknown, or sizes do not fit.

    Examples
    --------
    >>> sequential(linear([[1.0, -1.0]]), relu()).input_size
    2
    """
    chain = [_as_layer(layer) for layer in layers]
    size = inputs if inputs is not None else next((layer.inputs for layer in chain if layer.inputs), None)
    if size is None:
        raise InvalidRequest("the input size is not known", advice="pass inputs=… or begin with a linear layer")
    builder = GraphBuilder()
    x = builder.input(size)
    for layer in chain:
        x = layer.add(builder, x)
    return builder.finish(x)


def linear(weight: ArrayLike | LinearMap, bias: ArrayLike | None = None) -> Layer:
    """W x + b; `weight` is an array (outputs, inputs) or a linear map."""
    a = weight if isinstance(weight, LinearMap) else Dense(_matrix(weight))
    b = None if bias is None else np.asarray(bias, dtype=np.float64).reshape(-1)
    if b is not None and b.size != a.shape[0]:
        raise InvalidRequest(f"a bias of {b.size} numbers on {a.shape[0]} outputs")
    return Layer(lambda builder, x: builder.affine([x], [_fitting(a, builder, x)], b), a.shape[1])


def activation(kind: str, block: int = 1, **parameters: ArrayLike) -> Layer:
    """The activation `kind` of the table on consecutive groups of `block`; parameters have first axis 1 or groups."""
    arrays = {key: np.atleast_1d(np.asarray(value, dtype=np.float64)) for key, value in parameters.items()}
    return Layer(lambda builder, x: builder.activation(x, kind, block, arrays))


def relu() -> Layer:
    """max(x, 0)."""
    return activation("relu")


def tanh() -> Layer:
    """The hyperbolic tangent."""
    return activation("tanh")


def maxmin() -> Layer:
    """Sorts each pair of neighbours (2i, 2i + 1)."""
    return group_sort(2)


def group_sort(size: int) -> Layer:
    """Sorts each group of `size` neighbours, ascending."""
    return activation("sort", size)


def residual(*branch: Layer | Graph) -> Layer:
    """x + branch(x)."""
    chain = [_as_layer(layer) for layer in branch]

    def add(builder: GraphBuilder, x: int) -> int:
        y = x
        for layer in chain:
            y = layer.add(builder, y)
        size = builder.nodes[x].size
        if builder.nodes[y].size != size:
            raise InvalidRequest(f"a residual branch turns {size} numbers into {builder.nodes[y].size}")
        return builder.affine([x, y], [identity(size), identity(size)])

    return Layer(add, chain[0].inputs if chain else None)


def fixed_point(W: ArrayLike, U: ArrayLike, b: ArrayLike | None, phi: Layer) -> Layer:
    """The solution s of s = φ(W s + U x + b).

    Parameters
    ----------
    W, U, b
        Arrays (state, state), (state, inputs), (state,) or None.
    phi
        An activation layer, such as `relu()`.
    """
    w, u = _matrix(W), _matrix(U)
    cell = GraphBuilder()
    s = cell.input(w.shape[1], "state")
    x = cell.input(u.shape[1], "x")
    bias = None if b is None else np.asarray(b, dtype=np.float64).reshape(-1)
    z = cell.affine([s, x], [Dense(w), Dense(u)], bias)
    graph = cell.finish(phi.add(cell, z))
    if graph.output_size != w.shape[1]:
        raise InvalidRequest(f"the cell maps a state of {w.shape[1]} numbers to {graph.output_size}")
    return Layer(lambda builder, x: builder.fixed_point([x], graph), u.shape[1])


def inline(builder: GraphBuilder, graph: Graph, arguments: list[int]) -> int:
    """Add the nodes of `graph` to `builder` with its inputs replaced by `arguments`; the position of its output."""
    place = dict(zip(graph.inputs, arguments, strict=True))
    for position, node in graph.walk():
        if isinstance(node, Input):
            if builder.nodes[place[position]].size != node.size:
                raise InvalidRequest(
                    f"a network of {node.size} inputs is applied to {builder.nodes[place[position]].size} numbers"
                )
        else:
            place[position] = builder.add(moved(node, [place[p] for p in node.parents]))
    return place[graph.output]


def _as_layer(part: Layer | Graph) -> Layer:
    if isinstance(part, Layer):
        return part
    graph = part
    return Layer(lambda builder, x: inline(builder, graph, [x]), graph.input_size)


def _matrix(weight: ArrayLike) -> Array:
    matrix = np.asarray(weight, dtype=np.float64)
    if matrix.ndim != 2:
        raise InvalidRequest(f"a weight must be a matrix, this one has shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise InvalidRequest("a weight holds NaN or infinity")
    return matrix


def _fitting(a: LinearMap, builder: GraphBuilder, x: int) -> LinearMap:
    if a.shape[1] != builder.nodes[x].size:
        raise InvalidRequest(f"a map of {a.shape[1]} inputs is applied to {builder.nodes[x].size} numbers")
    return a
