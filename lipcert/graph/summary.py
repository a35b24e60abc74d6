"""What `lipcert inspect` shows: a network in the words of a person."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lipcert.activations import TABLE
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal, Index, LinearMap, Sparse
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input
from lipcert.graph.prepare import prepare
from lipcert.graph.sizes import channels, nodes


@dataclass(frozen=True)
class LayerSummary:
    """One node: its name in the file, what it does, the length of its output, its stored numbers."""

    name: str
    what: str
    size: int
    parameters: int


@dataclass(frozen=True)
class Summary:
    """A network in numbers and words; `str` gives the text that people read.

    Attributes
    ----------
    source
        The file that it was read from.
    inputs, outputs
        Lengths.
    parameters
        Numbers stored in linear maps, biases and activations.
    activations
        Such as '512 MaxMin pairs', one line a kind, as written in the file.
    channels
        Scalar channels of the semidefinite program, after sorts and maxima were written with pairs and shared.
    implicit
        Number of implicit layers.
    layers
        The nodes in order.
    idealisations
        Where the network as bounded differs from the file.
    """

    source: str
    inputs: int
    outputs: int
    parameters: int
    activations: tuple[str, ...]
    channels: int
    implicit: int
    layers: tuple[LayerSummary, ...]
    idealisations: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [
            ("inputs", f"{self.inputs:,}"),
            ("outputs", f"{self.outputs:,}"),
            ("parameters", f"{self.parameters:,}"),
            ("activations", ", ".join(self.activations) or "none"),
            ("channels", f"{self.channels:,}"),
        ]
        if self.implicit:
            rows.append(("implicit layers", f"{self.implicit}"))
        lines = [self.source] if self.source else []
        lines += [f"{key:<17}{value}" for key, value in rows]
        lines.append("layers")
        name = min(max((len(layer.name) for layer in self.layers), default=0), 40)
        number = len(str(len(self.layers)))
        lines += [
            f"  {k:>{number}}  {layer.what:<44} {layer.size:>9,}  {layer.name[:name]}".rstrip()
            for k, layer in enumerate(self.layers, 1)
        ]
        if self.idealisations:
            lines.append("idealisations")
            lines += [f"  - {text}" for text in self.idealisations]
        return "\n".join(lines)


def summarise(graph: Graph) -> Summary:
    """The summary of a network as it was written, before preparation.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> summarise(nn.sequential(nn.linear([[1.0, 2.0], [3.0, 4.0]]), nn.maxmin())).activations
    ('1 MaxMin pair',)
    """
    layers = tuple(
        LayerSummary(node.name, _describe(node, graph, position), node.size, _parameters(node))
        for position, node in graph.walk()
        if not isinstance(node, Input)
    )
    return Summary(
        graph.source,
        graph.input_size,
        graph.output_size,
        sum(layer.parameters for layer in layers),
        _texts(_blocks(graph)),
        channels(prepare(graph)),
        sum(isinstance(node, FixedPoint) for node in nodes(graph)),
        layers,
        graph.idealisations,
    )


def _blocks(graph: Graph) -> Counter[tuple[str, int]]:
    """How many blocks there are of each kind and size, those of cells included."""
    total: Counter[tuple[str, int]] = Counter()
    for position, node in graph.walk():
        match node:
            case Input() | Affine():
                pass
            case Activation():
                total += _kinds(node, graph, position)
            case FixedPoint():
                total += _blocks(node.cell)
    return total


def _kinds(node: Activation, graph: Graph, position: int) -> Counter[tuple[str, int]]:
    """The blocks of an activation; a pair of which only one number is used is a maximum or minimum."""
    if (node.kind, node.block) != ("sort", 2):
        return Counter({(node.kind, node.block): node.blocks})
    used = np.zeros(node.size, dtype=bool)
    for _, other in graph.walk():
        for k, parent in enumerate(other.parents):
            if parent == position:
                used |= _columns(other.maps[k]) if isinstance(other, Affine) else True
    used |= position == graph.output
    low, high = used[0::2], used[1::2]
    one = {("maximum", 2): int((high & ~low).sum()), ("minimum", 2): int((low & ~high).sum())}
    return +Counter({("sort", 2): node.blocks - sum(one.values()), **one})


def _columns(a: LinearMap) -> np.ndarray | bool:
    """Which columns a map reads; all of them where that takes long to say."""
    if not isinstance(a, (Index, Sparse)):
        return True
    read = a.index[a.index >= 0] if isinstance(a, Index) else a.matrix.indices
    return np.bincount(read, minlength=a.shape[1]) > 0


def _texts(blocks: Counter[tuple[str, int]]) -> tuple[str, ...]:
    return tuple(
        f"{count} {'minimum' if count == 1 else 'minima'} over {block}"
        if kind == "minimum"
        else TABLE[kind].describe(count, block)
        for (kind, block), count in blocks.items()
    )


def _describe(node: Affine | Activation | FixedPoint, graph: Graph, position: int) -> str:
    match node:
        case Activation():
            return ", ".join(_texts(_kinds(node, graph, position)))
        case FixedPoint():
            return f"fixed point of a cell of {sum(1 for _ in node.cell.walk()) - len(node.cell.inputs)} nodes"
        case Affine():
            if node.bias is None and all(isinstance(a, Index) for a in node.maps):
                return _movement(node)
            text = " + ".join(_describe_map(a) for a in node.maps)
            return text if node.bias is None else f"{text} + bias"


def _movement(node: Affine) -> str:
    if len(node.maps) == 1:
        return "data movement"
    overlap = sum((a.index >= 0).astype(int) for a in node.maps if isinstance(a, Index))
    return f"{'concatenation' if np.max(overlap) <= 1 else 'sum'} of {len(node.maps)} branches"


def _describe_map(a: LinearMap) -> str:
    if isinstance(a, Dense):
        return f"linear {a.shape[1]} → {a.shape[0]}"
    if isinstance(a, Convolution):
        kernel = "×".join(map(str, a.kernel.shape[2:]))
        sizes = "×".join(map(str, (a.channels_in, *a.size))), "×".join(map(str, (a.kernel.shape[0], *a.size_out)))
        return f"convolution {kernel}, {sizes[0]} → {sizes[1]}"
    if isinstance(a, Diagonal):
        return "scaling"
    if isinstance(a, Index):
        return "identity" if a.is_identity else "data movement"
    return f"sparse linear {a.shape[1]} → {a.shape[0]}"


def _parameters(node: Affine | Activation | FixedPoint) -> int:
    match node:
        case Activation():
            return sum(value.size for value in node.parameters.values())
        case FixedPoint():
            return sum(_parameters(inner) for inner in nodes(node.cell) if not isinstance(inner, Input))
        case Affine():
            return sum(_stored(a) for a in node.maps) + (0 if node.bias is None else node.bias.size)


def _stored(a: LinearMap) -> int:
    if isinstance(a, Index):
        return 0
    if isinstance(a, Dense):
        return a.matrix.size
    if isinstance(a, Convolution):
        return a.kernel.size
    return int(a.to_sparse().nnz)


Graph.summary = summarise
