"""Inputs at which a network and its file are compared beside random ones: on both sides of every switch.

Along a few rays with lengths over 12 decades the inputs of every neuron are followed. A few of these points are chosen that
see the kinks of each from both sides, where a ray crosses them, and each bias at its own scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.graph.evaluate import record
from lipcert.graph.nodes import Activation, Affine, Graph

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.graph.evaluate import Tape

_LENGTHS = 10.0 ** np.arange(-3.0, 9.0)
# the most products that are computed along the rays, and at the points that are chosen there
_ALONG, _CHOSEN = 2**25, 2**23
_MOST = 8
"""The most points that are chosen along the rays."""


def telling(graph: Graph) -> Array:
    """The points along rays that see most sides of switches, until no other sees one more; as columns.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> far = nn.sequential(nn.linear([[1.0]], [-1e4]), nn.relu())
    >>> x = telling(far)
    >>> bool((x > 1e4).any()), bool((np.abs(np.abs(x) - 1e4) < 6e4).any())
    (True, True)
    """
    rng = np.random.default_rng(1)
    # what moves a number takes as long as some products
    cost = sum(16 * node.size + sum(a.shape[0] * a.terms for a in getattr(node, "maps", ())) for node in graph.nodes)
    lengths = _LENGTHS[:: -(-4 * _LENGTHS.size * cost // _ALONG)]
    most = min(_MOST, _CHOSEN // max(cost, 1))
    if lengths.size < 3 or most < 2:
        return np.zeros((graph.input_size, 0))
    directions = rng.standard_normal((2, graph.input_size))
    # one ray through the origin into one orthant, and one into any
    directions[0] = np.abs(directions[0])
    x = np.concatenate([sign * np.outer(d, lengths) for d in directions for sign in (1.0, -1.0)], axis=1)
    with np.errstate(all="ignore"):
        seen = _sides(record(graph, [x]))
    chosen: list[int] = []
    while len(chosen) < most and seen.size:
        counts = seen.sum(axis=0)
        best = int(counts.argmax())
        if not counts[best]:
            break
        chosen.append(best)
        seen = seen[~seen[:, best]]
    return x[:, chosen]


def _sides(tape: Tape) -> np.ndarray:
    """For each side of a switch that some point is on and some other is not: which points are."""
    graph = tape.graph
    found: list[np.ndarray] = []
    for position, node in graph.walk():
        if isinstance(node, Affine) and node.bias is not None and node.bias.any():
            found.append(_biased(tape, position, node))
        elif isinstance(node, Activation):
            value = tape.values[node.parent]
            assert value is not None
            t = _switching(node, value)
            found += [t > 0.0, t < 0.0]
    if not found:
        return np.zeros((0, 0), dtype=bool)
    # points are few: each side is a number of as many bits
    bits = 1 << np.arange(found[0].shape[1], dtype=np.int64)
    sides = np.unique(np.concatenate([side @ bits for side in found]))
    sides = sides[(sides != 0) & (sides != bits.sum())]
    return (sides[:, None] & bits) > 0


def _switching(node: Activation, value: Array) -> Array:
    """Numbers whose signs say on which side of its kinks a neuron is."""
    record_ = node.record
    breaks = getattr(record_, "breaks", None)
    if node.block == 1:
        kinks = np.zeros((1, 1)) if breaks is None else breaks(node.parameters)[0]
        kinks = np.broadcast_to(kinks, (value.shape[0], kinks.shape[1]))
        return (value[:, None, :] - kinks[:, :, None]).reshape(-1, value.shape[1])
    # of a block every pair of neighbours
    z = node.split(value)
    return (z[:, 1:] - z[:, :-1]).reshape(-1, value.shape[1])


def _biased(tape: Tape, position: int, node: Affine) -> np.ndarray:
    """Whether the signal is as large as the bias, within half a decade."""
    value = tape.values[position]
    assert value is not None
    assert node.bias is not None
    signal = np.abs(value - node.bias[:, None]).max(axis=0)
    size = np.abs(node.bias).max()
    return ((signal > 0.5 * size) & (signal < 5.0 * size))[None, :]
