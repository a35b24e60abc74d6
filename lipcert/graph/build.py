"""A small builder: graphs from layers, in the order in which they act.

>>> import numpy as np
>>> graph = sequential(linear(np.eye(4)), residual(maxmin(), linear(np.ones((4, 4)))), linear(np.ones((1, 4))))
>>> graph.input_size, graph.output_size
(4, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import InvalidRequest
from lipcert.graph.linear_maps import Dense, Index, LinearMap, identity
from lipcert.graph.nodes import Graph, GraphBuilder, Input, moved
from lipcert.graph.windows import pooling_windows

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


def leaky_relu(alpha: ArrayLike = 0.01) -> Layer:
    """x for x > 0, alpha·x below; an array gives every input its own alpha (PReLU)."""
    return activation("leaky_relu", alpha=alpha)


def abs_() -> Layer:
    """|x|."""
    return activation("abs")


def clip(low: ArrayLike = -np.inf, high: ArrayLike = np.inf) -> Layer:
    """min(max(x, low), high)."""
    return activation("clip", low=low, high=high)


def elu(alpha: ArrayLike = 1.0) -> Layer:
    """x for x > 0, alpha(e^x − 1) below."""
    return activation("elu", alpha=alpha)


def tanh() -> Layer:
    """The hyperbolic tangent."""
    return activation("tanh")


def sigmoid() -> Layer:
    """1/(1 + e^(−x))."""
    return activation("sigmoid")


def softplus(beta: ArrayLike = 1.0) -> Layer:
    """log(1 + e^(beta·x))/beta."""
    return activation("softplus", beta=beta)


def gelu() -> Layer:
    """x·Φ(x), with the nearest number to √½ in Φ(x) = (1 + erf(√½ x))/2."""
    return activation("gelu", rate=np.sqrt(0.5))


def silu(beta: ArrayLike = 1.0) -> Layer:
    """x·σ(beta·x)."""
    return activation("silu", beta=beta)


def maxmin() -> Layer:
    """Sorts each pair of neighbours (2i, 2i + 1)."""
    return group_sort(2)


def group_sort(size: int) -> Layer:
    """Sorts each group of `size` neighbours, ascending."""
    return activation("sort", size)


def maximum(size: int) -> Layer:
    """The largest number of each group of `size` neighbours."""
    return activation("maximum", size)


def max_pool(
    channels: int,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
) -> Layer:
    """Maximum pooling of an image (channels, *size), padded with −∞.

    Parameters
    ----------
    channels, size
        Number of channels, spatial sizes.
    kernel, stride
        One number a spatial axis; the stride defaults to the kernel.
    pads
        Padding on both sides of each axis, zero by default.

    Examples
    --------
    >>> sequential(max_pool(2, [4, 4], [2, 2])).output_size
    8
    """
    step, pad = list(stride or kernel), list(pads or [0] * len(size))
    size_out = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, step, pad, strict=True)]
    window = pooling_windows(size, kernel, step, [1] * len(size), pad, size_out)
    inputs = channels * int(np.prod(size))
    index = (np.arange(channels)[:, None, None] * int(np.prod(size)) + window).ravel()
    channel = np.repeat(np.arange(channels), window.shape[0])

    def add(builder: GraphBuilder, x: int) -> int:
        gathered = builder.affine([x], [_fitting(Index(index, inputs), builder, x)])
        return builder.activation(gathered, "maximum", window.shape[1], channel=channel)

    return Layer(add, inputs)


def householder(v: ArrayLike) -> Layer:
    """x where vᵀx > 0, else the reflection (I − 2vvᵀ)x, on consecutive groups.

    Parameters
    ----------
    v
        Unit vectors, (group size,) for all groups alike or (groups, group size); used as they are.

    Raises
    ------
    InvalidRequest
        If a vector is not a unit vector to 1e-6.
    """
    c = np.atleast_2d(np.asarray(v, dtype=np.float64))
    if not (np.abs(np.linalg.norm(c, axis=1) - 1.0) <= 1e-6).all():
        raise InvalidRequest("a Householder reflection needs unit vectors", advice="divide v by its norm")
    return activation("householder", c.shape[1], u=2.0 * c, c=c)


def softmax(size: int) -> Layer:
    """e^x/Σe^x over each group of `size` neighbours."""
    return activation("softmax", size)


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
