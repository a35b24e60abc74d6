"""Write the MaxMin networks of arXiv 2401.14033 as ONNX, with MaxMin in one of the ways in which it is written.

python -m models.maxmin_mnist WEIGHTS.npz OUT.onnx --spelling slices
python -m models.maxmin_mnist WEIGHTS.npz OUT.onnx --spelling topk --residual

WEIGHTS.npz holds W0, W1, … (outputs, inputs), as https://github.com/ppauli/QCs_MaxMin does; there are no biases. MaxMin
sorts the pairs (2i, 2i + 1), the smaller number first; the other order changes signs that no bound sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import lipcert
from lipcert.graph import build

OPSET, IR_VERSION = 20, 9


class Nodes:
    """The nodes of one ONNX graph; arrays and lists of integers among the operands become its constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def op(self, kind: str, *operands: str | list[int] | np.ndarray, **attributes: Any) -> str:
        """Add a node; the name of its first output."""
        return self.ops(kind, 1, *operands, **attributes)[0]

    def ops(self, kind: str, outputs: int, *operands: str | list[int] | np.ndarray, **attributes: Any) -> list[str]:
        """Add a node; the names of its outputs."""
        names = [f"{kind.lower()}{len(self.nodes)}_{k}" for k in range(outputs)]
        inputs = [name if isinstance(name, str) else self.constant(np.asarray(name)) for name in operands]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def constant(self, array: np.ndarray) -> str:
        """Add a constant; its name."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def slices(net: Nodes, x: str, width: int) -> str:
    """Max and Min of x[:, 0::2] and x[:, 1::2]."""
    a, b = neighbours(net, x, width)
    return interleaved(net, net.op("Min", a, b), net.op("Max", a, b), width)


def halves(net: Nodes, x: str, width: int) -> str:
    """Max and Min of the two halves of x: pairs (i, i + width/2)."""
    a, b = net.ops("Split", 2, x, axis=1, num_outputs=2)
    return net.op("Concat", net.op("Min", a, b), net.op("Max", a, b), axis=1)


def reductions(net: Nodes, x: str, width: int) -> str:
    """ReduceMax and ReduceMin over the last axis of (batch, pairs, 2)."""
    pairs = net.op("Reshape", x, [-1, width // 2, 2])
    ends = (net.op(kind, pairs, [2], keepdims=1) for kind in ("ReduceMin", "ReduceMax"))
    return net.op("Reshape", net.op("Concat", *ends, axis=2), [-1, width])


def topk(net: Nodes, x: str, width: int) -> str:
    """A sort of the last axis of (batch, pairs, 2), as PyTorch writes it."""
    values, _indices = net.ops("TopK", 2, net.op("Reshape", x, [-1, width // 2, 2]), [2], axis=2, largest=0)
    return net.op("Reshape", values, [-1, width])


def relu(net: Nodes, x: str, width: int) -> str:
    """b − relu(b − a) and b + relu(a − b): MaxMin as a residual ReLU layer."""
    a, b = neighbours(net, x, width)
    low = net.op("Sub", b, net.op("Relu", net.op("Sub", b, a)))
    high = net.op("Add", b, net.op("Relu", net.op("Sub", a, b)))
    return interleaved(net, low, high, width)


def one_relu(net: Nodes, x: str, width: int) -> str:
    """a − relu(a − b) and b + relu(a − b)."""
    a, b = neighbours(net, x, width)
    gap = net.op("Relu", net.op("Sub", a, b))
    return interleaved(net, net.op("Sub", a, gap), net.op("Add", b, gap), width)


def neighbours(net: Nodes, x: str, width: int) -> list[str]:
    """x[:, 0::2] and x[:, 1::2]."""
    return [net.op("Slice", x, [start], [width], [1], [2]) for start in (0, 1)]


def interleaved(net: Nodes, even: str, odd: str, width: int) -> str:
    """The inverse of `neighbours`."""
    columns = (net.op("Unsqueeze", part, [2]) for part in (even, odd))
    return net.op("Reshape", net.op("Concat", *columns, axis=2), [-1, width])


@dataclass(frozen=True)
class Spelling:
    """One way to write MaxMin.

    Attributes
    ----------
    maxmin
        Adds the nodes of MaxMin on (batch, width) and gives the name of their output.
    halved
        Whether its pairs are (i, i + width/2): the hidden neurons are then stored in the order 0, 2, …, 1, 3, ….
    """

    maxmin: Callable[[Nodes, str, int], str]
    halved: bool = False


SPELLINGS = {
    "slices": Spelling(slices),
    "halves": Spelling(halves, halved=True),
    "reductions": Spelling(reductions),
    "topk": Spelling(topk),
    "relu": Spelling(relu),
    "one-relu": Spelling(one_relu),
}
SAVED = "lipcert"
"""The spelling of `lipcert.save`."""


def as_model(weights: Sequence[np.ndarray], spelling: Spelling, residual: bool = False) -> onnx.ModelProto:
    """The network as ONNX: W_l σ(… σ(W₁ σ(W₀ x))), or with x + σ(W_k x) for the hidden layers."""
    net, width = Nodes(), len(weights[0])
    order = np.concatenate([np.arange(0, width, 2), np.arange(1, width, 2)]) if spelling.halved else np.arange(width)
    first, *hidden, last = (np.asarray(w, dtype=np.float32) for w in weights)
    x = net.op("Gemm", "x", first[order], transB=1)
    for w in hidden:
        y = x if residual else spelling.maxmin(net, x, width)
        z = net.op("Gemm", y, w[order][:, order], transB=1)
        x = net.op("Add", x, spelling.maxmin(net, z, width)) if residual else z
    x = x if residual else spelling.maxmin(net, x, width)
    net.nodes.append(helper.make_node("Gemm", [x, net.constant(last[:, order])], ["y"], transB=1))
    graph = helper.make_graph(
        net.nodes,
        "maxmin",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", first.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", len(last)])],
        net.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def as_graph(weights: Sequence[np.ndarray], residual: bool = False) -> lipcert.Graph:
    """The network through lipcert's builder."""
    first, *hidden, last = (build.linear(w) for w in weights)
    if residual:
        return build.sequential(first, *(build.residual(w, build.maxmin()) for w in hidden), last)
    return build.sequential(first, *(part for w in (*hidden, last) for part in (build.maxmin(), w)))


def write(weights: Sequence[np.ndarray], path: Path, spelling: str, residual: bool = False) -> None:
    """Write the network as an ONNX file in the spelling of this name."""
    if spelling == SAVED:
        lipcert.save(as_graph(weights, residual), path)
    else:
        onnx.save(as_model(weights, SPELLINGS[spelling], residual), path)


def read(path: Path) -> list[np.ndarray]:
    """The weights W0, W1, … of an .npz file."""
    with np.load(path, allow_pickle=False) as file:
        return [file[f"W{k}"] for k in range(len(file.files))]


@click.command(help=__doc__)
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--spelling", type=click.Choice([*SPELLINGS, SAVED]), default="slices", show_default=True)
@click.option("--residual", is_flag=True, help="The hidden layers are x + MaxMin(W x), as in res_5_32.")
def main(weights: Path, out: Path, spelling: str, residual: bool) -> None:
    write(read(weights), out, spelling, residual)


if __name__ == "__main__":
    main()
