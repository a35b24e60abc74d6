"""Control flow that is fixed: the ONNX RNN, Scan, Loop with a constant trip count and no early exit, If on a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from lipcert.arrays import Array
from lipcert.importer.exact import exact_image, exact_parts
from lipcert.importer.normalise import sort
from lipcert.importer.registry import Context, Value, handles
from lipcert.importer.walk import run, step

MAX_STEPS = 1024
"""The longest recurrence that is unrolled."""

# of the nodes that are written here
_OPSET = 21

_IMPLICIT = "unroll it, or write the equation as an implicit layer (docs/implicit)"

# the activations of the RNN operator: their op, and the attributes that its lists of alpha and beta carry
_ACTIVATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "tanh": ("Tanh", ()),
    "relu": ("Relu", ()),
    "sigmoid": ("Sigmoid", ()),
    "softsign": ("Softsign", ()),
    "softplus": ("Softplus", ()),
    "leakyrelu": ("LeakyRelu", ("alpha",)),
    "thresholdedrelu": ("ThresholdedRelu", ("alpha",)),
    "elu": ("Elu", ("alpha",)),
    "hardsigmoid": ("HardSigmoid", ("alpha", "beta")),
}


def evaluated(ctx: Context, op: str, *inputs: Value, **attributes: Any) -> Value:
    """The first result of a node of the default domain on values."""
    names = [f"x{k}" for k in range(len(inputs))]
    node = helper.make_node(op, names, ["y"], name=ctx.node.name, **attributes)
    inner = replace(ctx.state, opset=_OPSET)
    inner.engine = ctx.state.engine
    result = step(node, inner, dict(zip(names, inputs, strict=True)))[0]
    ctx.state.steps = inner.steps
    return result


def stacked(ctx: Context, values: Sequence[Value], axis: int) -> Value:
    """The values along a new axis."""
    parts = [evaluated(ctx, "Unsqueeze", value, np.array([axis])) for value in values]
    return evaluated(ctx, "Concat", *parts, axis=axis)


@handles("RNN")
def rnn(ctx: Context) -> list[Value]:
    """H_t = f(X_t Wᵀ + H_(t−1) Rᵀ + b) over a fixed sequence length, unrolled, in one or both directions."""
    if ctx.attribute("clip") is not None:
        raise ctx.unsupported("it clips its cells", "export it without the attribute clip")
    inputs, axis = time_steps(ctx)
    direction = ctx.attribute("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    states: list[list[Value]] = []
    for d, activation in enumerate(activation_list(ctx, directions, ["Tanh"])):
        backwards = direction == "reverse" or d == 1
        chain = _unrolled(ctx, inputs[::-1] if backwards else inputs, d, axis, activation)
        states.append(chain[::-1] if backwards else chain)
    last = [chain[0] if direction == "reverse" or d == 1 else chain[-1] for d, chain in enumerate(states)]
    sequence = [stacked(ctx, together, axis) for together in zip(*states, strict=True)]
    return [stacked(ctx, sequence, axis), stacked(ctx, last, axis)]


def time_steps(ctx: Context) -> tuple[list[Value], int]:
    """The inputs of a recurrent operator step by step, and the axis of its states that counts directions."""
    x = ctx.tensor(0)
    axis = int(ctx.attribute("layout", 0))
    length = x.shape[1 if axis else 0]
    if ctx.has(4) and not (ctx.constant(4) == length).all():
        raise ctx.unsupported("its sequences differ in length", "export it with one fixed length and no sequence_lens")
    limited(ctx, length)
    return [evaluated(ctx, "Gather", x, np.array(t), axis=1 if axis else 0) for t in range(length)], axis


def activation_list(ctx: Context, count: int, default: Sequence[str]) -> list[tuple[str, dict[str, float]]]:
    """So many activations, each its op and attributes; the lists of alpha and beta are used up in order."""
    given = {key: list(ctx.attribute(f"activation_{key}", [])) for key in ("alpha", "beta")}
    found = []
    for name in ctx.attribute("activations", list(default) * (count // len(default))):
        if name.lower() not in _ACTIVATIONS:
            raise ctx.unsupported(f"its activation {name} is not supported", f"use one of {', '.join(_ACTIVATIONS)}")
        op, keys = _ACTIVATIONS[name.lower()]
        found.append((op, {key: float(given[key].pop(0)) for key in keys if given[key]}))
    if len(found) != count:
        raise ctx.invalid(f"it has {len(found)} activations where {count} are needed")
    return found


def _unrolled(
    ctx: Context, inputs: Sequence[Value], d: int, axis: int, activation: tuple[str, dict[str, float]]
) -> list[Value]:
    """The states of direction d in the order of its time."""
    W, R = ctx.constant(1)[d].T, ctx.constant(2)[d].T
    biases = exact_parts(np.moveaxis(biases_of(ctx, d, 1)[:, 0], 0, 1))
    state: Value | None = evaluated(ctx, "Gather", ctx.value(5), np.array(d), axis=axis) if ctx.has(5) else None
    op, attributes = activation
    states: list[Value] = []
    for x in inputs:
        parts = [*image(ctx, x, W), *([] if state is None else image(ctx, state, R))]
        state = evaluated(ctx, op, total(ctx, *parts, *biases), **attributes)
        states.append(state)
    return states


def biases_of(ctx: Context, d: int, gates: int) -> Array:
    """Wb and Rb of direction d: (2, gates, hidden)."""
    hidden = ctx.constant(2).shape[2]
    if not ctx.has(3):
        return np.zeros((2, gates, hidden))
    return ctx.constant(3)[d].astype(np.float64).reshape(2, gates, hidden)


def image(ctx: Context, x: Value, matrix: Array) -> list[Value]:
    """What sums up to x M exactly, x a signal or a constant."""
    if not isinstance(x, np.ndarray):
        return [evaluated(ctx, "MatMul", x, matrix)]
    parts = exact_image(matrix.T, x)
    if parts is None:
        raise ctx.unsupported("a product of its constants leaves the range of float64", "scale the weights")
    return list(parts)


def total(ctx: Context, *parts: Value | None) -> Value:
    """The sum of what is there; constants are added one by one to the signals, so that none is rounded."""
    given = [part for part in parts if part is not None]
    first, *rest = sorted(given, key=lambda part: isinstance(part, np.ndarray))
    for part in rest:
        if not isinstance(part, np.ndarray) or part.any():
            first = evaluated(ctx, "Add", first, part)
    return first


@handles("Loop")
def loop(ctx: Context) -> list[Value]:
    """Unrolled where the trip count is constant and no early exit depends on the input."""
    body = subgraph(ctx, "body")
    if not ctx.has(0) or not isinstance(ctx.value(0), np.ndarray):
        raise ctx.unsupported("its trip count is not constant", _IMPLICIT)
    trips = int(np.asarray(ctx.value(0)).ravel()[0])
    goes_on = _condition(ctx, ctx.value(1)) if ctx.has(1) else True
    carried = [ctx.value(k) for k in range(2, len(ctx.operands))]
    count = len(carried)
    if len(body.input) != 2 + count or len(body.output) < 1 + count:
        raise ctx.invalid("its body does not fit its inputs")
    names = [info.name for info in body.input]
    scans: list[list[Value]] = [[] for _ in range(len(body.output) - 1 - count)]
    for k in range(trips):
        if not goes_on:
            break
        limited(ctx, k)
        values = dict(ctx.scope)
        values |= dict(zip(names, (np.array(k), np.array(goes_on), *carried), strict=True))
        results = branch_results(ctx, body, values)
        goes_on = _condition(ctx, results[0])
        carried = results[1 : 1 + count]
        for scan, value in zip(scans, results[1 + count :], strict=True):
            scan.append(value)
    if not all(scans):
        raise ctx.unsupported("it runs zero times but gives a list", "remove it from the model")
    return [*carried, *(stacked(ctx, scan, 0) for scan in scans)]


@handles("Scan")
def scan(ctx: Context) -> list[Value]:
    """Unrolled over the slices of its inputs, in any direction and along any axis."""
    if ctx.state.opset < 9:
        raise ctx.unsupported("Scan had a batch axis in version 8", "export it for version 9 or newer")
    body = subgraph(ctx, "body")
    count = int(ctx.attribute("num_scan_inputs"))
    states = len(ctx.operands) - count
    outputs = len(body.output) - states
    if len(body.input) != len(ctx.operands) or states < 0 or outputs < 0:
        raise ctx.invalid("its body does not fit its inputs")
    carried = [ctx.value(k) for k in range(states)]
    given = [ctx.value(states + k) for k in range(count)]
    axes = [
        int(a) % max(len(x.shape), 1) for a, x in zip(ctx.attribute("scan_input_axes", [0] * count), given, strict=True)
    ]
    backward = [bool(d) for d in ctx.attribute("scan_input_directions", [0] * count)]
    lengths = {x.shape[a] for a, x in zip(axes, given, strict=True)}
    if len(lengths) != 1:
        raise ctx.invalid("its inputs differ in length")
    length = lengths.pop()
    limited(ctx, length)
    names = [info.name for info in body.input]
    found: list[list[Value]] = [[] for _ in range(outputs)]
    for k in range(length):
        slices = [
            evaluated(ctx, "Gather", x, np.array(length - 1 - k if back else k), axis=a)
            for x, a, back in zip(given, axes, backward, strict=True)
        ]
        values = dict(ctx.scope) | dict(zip(names, (*carried, *slices), strict=True))
        results = branch_results(ctx, body, values)
        carried = results[:states]
        for chain, value in zip(found, results[states:], strict=True):
            chain.append(value)
    if not all(found):
        raise ctx.unsupported("it runs zero times but gives a list", "remove it from the model")
    return [*carried, *_gathered(ctx, found)]


def _gathered(ctx: Context, found: list[list[Value]]) -> list[Value]:
    """The outputs of a scan along their axes, in their directions."""
    axes = ctx.attribute("scan_output_axes", [0] * len(found))
    backward = ctx.attribute("scan_output_directions", [0] * len(found))
    return [
        stacked(ctx, chain[::-1] if back else chain, int(a) % (len(chain[0].shape) + 1))
        for chain, a, back in zip(found, axes, backward, strict=True)
    ]


@handles("If")
def if_(ctx: Context) -> list[Value]:
    """The branch that a constant condition takes."""
    condition = ctx.value(0)
    if not isinstance(condition, np.ndarray):
        raise ctx.unsupported("it branches on the network's input", "export both branches with Where")
    branch = subgraph(ctx, "then_branch" if bool(condition.ravel()[0]) else "else_branch")
    return branch_results(ctx, branch, dict(ctx.scope))


def subgraph(ctx: Context, name: str) -> onnx.GraphProto:
    graph = onnx.GraphProto()
    graph.CopyFrom(ctx.attribute(name))
    sort(graph, ctx.where, outer=set(ctx.scope))
    return graph


def branch_results(ctx: Context, graph: onnx.GraphProto, values: dict[str, Value]) -> list[Value]:
    run(graph, ctx.state, values)
    missing = next((o.name for o in graph.output if o.name not in values), None)
    if missing is not None:
        raise ctx.invalid(f"its graph never computes {missing!r}")
    return [values[o.name] for o in graph.output]


def _condition(ctx: Context, value: Value) -> bool:
    if not isinstance(value, np.ndarray):
        raise ctx.unsupported("whether it goes on depends on the network's input", _IMPLICIT)
    return bool(value.ravel()[0])


def limited(ctx: Context, steps: int) -> None:
    """Refuse to unroll more steps than there may be."""
    if steps > MAX_STEPS:
        raise ctx.unsupported(f"it takes more than {MAX_STEPS} steps", "make the sequence shorter")
