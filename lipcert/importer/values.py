"""What flows along the edges of an ONNX graph while it is walked, and what all nodes of one graph share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from lipcert.importer.elementwise import Elementwise
from lipcert.importer.lanes import coarser

if TYPE_CHECKING:
    from lipcert.graph.nodes import Graph, GraphBuilder


@dataclass(frozen=True, eq=False)
class Tensor:
    """A signal: the flat vector of a builder node, read as an array of `shape` in C order; the batch is 1.

    Attributes
    ----------
    position
        The node in the builder.
    shape
        Its shape as ONNX sees it.
    dtype
        Its ONNX element type; a boolean signal is a mask of zeros and ones.
    """

    position: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Deferred:
    """An elementwise op that has no meaning of its own yet, such as x · sigmoid(x) or a comparison.

    It becomes a `Tensor` when an op that is not elementwise uses it; then the whole expression must be recognised as one
    function with a proven normal form (importer/expressions.py), or the model is refused.

    Attributes
    ----------
    op
        ONNX op type.
    operands
        Tensors, constants (numpy arrays) and other deferred values.
    attributes
        Of the node.
    shape, dtype
        Of the result.
    where
        The node, for error messages.
    """

    op: str
    operands: tuple[Value, ...]
    attributes: Mapping[str, Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    where: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


Value = Tensor | Deferred | np.ndarray

Call = Callable[[onnx.NodeProto, "Sequence[Value | None]", "State"], "Sequence[Value]"]


@dataclass(frozen=True, eq=False)
class Equation:
    """An implicit layer of the main graph as the file names it: the solution, its parameters that are signals, the cell."""

    solution: str
    parameters: tuple[str, ...]
    cell: Graph


@dataclass(eq=False)
class State:
    """What all contexts of one graph share.

    Attributes
    ----------
    builder
        Collects the nodes.
    file
        Name of the model, for messages.
    opset
        Version of the default domain.
    calls
        What interprets the nodes of other domains.
    coarsest
        The coarsest type that a signal has.
    steps
        How many nodes were walked, those of unrolled loops each time.
    equations
        The implicit layers, for the comparison with ONNX Runtime.
    folded
        Bytes of all constants that were computed, the only item.
    idealisations
        Where the graph differs from the file.
    engine
        Reads elementwise operations; made of the builder.
    nodes
        The nodes that deferred values have become, or their constants, with the values themselves.
    """

    builder: GraphBuilder
    file: str
    opset: int
    calls: Mapping[str, Call] = field(default_factory=dict)
    coarsest: str = "float32"
    steps: int = 0
    equations: list[Equation] = field(default_factory=list)
    folded: list[float] = field(default_factory=lambda: [0.0])
    idealisations: list[str] = field(default_factory=list)
    engine: Elementwise = field(init=False)
    nodes: dict[int, tuple[Deferred, int | np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine = Elementwise(self.builder, self.idealise)

    def carries(self, dtype: str) -> None:
        """A signal has this type."""
        self.coarsest = coarser(self.coarsest, dtype)

    def idealise(self, text: str) -> None:
        """Note, once, where the graph differs from the file, whose name does not matter."""
        text = text.removeprefix(f"{self.file}, ")
        if text not in self.idealisations:
            self.idealisations.append(text)
