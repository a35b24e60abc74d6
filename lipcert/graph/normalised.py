"""A normalisation in front of a network whose file has none: (x − mean) / std, channel by channel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import InvalidRequest
from lipcert.graph.linear_maps import Diagonal, identity
from lipcert.graph.nodes import Affine, Graph, GraphBuilder, Input, moved

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lipcert.arrays import Array


def normalised(graph: Graph, mean: ArrayLike | None = None, std: ArrayLike | None = None) -> Graph:
    """The network as a function of images before (x − mean) / std.

    Bounds and radii of the result are in the units of x. The quotients 1/std are enclosed, so nothing is idealised.

    Parameters
    ----------
    graph
        A network with one input, the channels of images first.
    mean, std
        One number, one a channel, or one an input; 0 and 1 where not given.

    Raises
    ------
    InvalidRequest
        If the numbers do not fit the inputs, or are not finite, or a std is not positive.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.evaluate import forward
    >>> graph = normalised(nn.sequential(nn.linear([[1.0, 1.0]])), mean=[0.5, 0.25], std=[0.5, 0.25])
    >>> forward(graph, np.array([1.0, 0.5]))
    array([2.])
    """
    if mean is None and std is None:
        return graph
    if len(graph.inputs) != 1:
        raise InvalidRequest("a mean and a std are for networks of one input")
    n = graph.input_size
    shift = _spread(0.0 if mean is None else mean, n, "mean")
    scale = _spread(1.0 if std is None else std, n, "std")
    if (scale <= 0.0).any():
        raise InvalidRequest("a std is not positive", advice="give the standard deviation of each channel")
    inverse = 1.0 / scale
    # a quotient is exact for powers of two
    exact = bool((np.frexp(scale)[0] == 0.5).all())
    radii = None if exact else np.spacing(inverse)
    builder = GraphBuilder()
    x = builder.input(n, graph.nodes[graph.inputs[0]].name)
    centred = builder.add(Affine((x,), (identity(n),), -shift)) if shift.any() else x
    place = {graph.inputs[0]: builder.add(Affine((centred,), (Diagonal(inverse, radii),)))}
    for position, node in graph.walk():
        if not isinstance(node, Input):
            place[position] = builder.add(moved(node, [place[p] for p in node.parents]))
    return replace(graph, nodes=tuple(builder.nodes), inputs=(x,), output=place[graph.output])


def _spread(values: ArrayLike, n: int, what: str) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"the {what} is no list of numbers ({error})") from None
    if not array.size or n % array.size:
        raise InvalidRequest(
            f"{array.size} numbers of the {what} for {n} inputs",
            advice="give one number, one a channel or one an input",
        )
    if not np.isfinite(array).all():
        raise InvalidRequest(f"the {what} holds a number that is not finite")
    return np.repeat(array, n // array.size)
