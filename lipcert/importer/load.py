"""`load`: an ONNX file as a Graph, checked against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike

from lipcert.errors import InvalidModel, InvalidRequest, UnsupportedModel
from lipcert.graph.nodes import Graph, GraphBuilder
from lipcert.importer.check import Imported, compare
from lipcert.importer.expressions import constant, materialise, settle
from lipcert.importer.fixed_point import calls
from lipcert.importer.inputs import Choice, declared
from lipcert.importer.lanes import EPSILON
from lipcert.importer.normalise import begin, cut, normalise
from lipcert.importer.reader import read
from lipcert.importer.values import Deferred, State, Value
from lipcert.importer.walk import contradictions, run
from lipcert.regions import Box


def load(
    path: str | Path,
    *,
    output: str | None = None,
    check: bool = True,
    dims: Mapping[str, int] | None = None,
    strict: bool = False,
    inputs: str | Sequence[str] = (),
    hold: Mapping[str, ArrayLike | Box] | None = None,
) -> Graph:
    """Read a network from an ONNX file.

    Several inputs are one vector, in the order of the file.

    Parameters
    ----------
    path
        The file. External data must lie in its folder.
    output
        Name of the output, where the model has several, or of any value inside: what it does not need is left out before
        anything of it is looked at.
    check
        Whether to compare the result with ONNX Runtime, at random inputs and on both sides of every switch.
    dims
        Sizes of the inputs' free axes other than the batch, by name or, as text, by number.
    strict
        Whether to refuse a network that differs from the file by any idealisation.
    inputs
        Names of the inputs that move; the others are held. By default all move that `hold` does not name. A value inside is
        an input of the part of the network behind it: what computes it is not looked at.
    hold
        By name the value that an input is held at, or a `lipcert.Box` of all values that it may have. A held input without
        an entry may have any value: a bound is then for every one of them.

    Returns
    -------
    Graph
        Its idealisations say where it differs from the file.

    Raises
    ------
    InvalidModel
        If the file cannot be read or contradicts itself.
    UnsupportedModel
        If an op has no proven treatment; the message names the node.
    """
    model = read(path)
    name = Path(path).name
    chosen = _output(model, name, output)
    choice = Choice((inputs,) if isinstance(inputs, str) else tuple(inputs), hold or {}, dims or {})
    with contradictions(name):
        read_ = _imported(model, name, chosen, choice)
        graph = read_.graph
        if strict and graph.idealisations:
            raise UnsupportedModel(
                f"the bound would not be for the file itself: {'; '.join(graph.idealisations)}",
                where=name,
                advice="leave out strict, or change the model",
            )
        if check:
            note = compare(path, read_, chosen, choice.moving)
            graph = replace(graph, notes=(*graph.notes, note)) if note else graph
    return graph


def from_model(model: onnx.ModelProto, name: str, *, output: str | None = None) -> Graph:
    """The graph of a model in memory, which is used up; nothing is compared."""
    return _imported(model, name, _output(model, name, output), Choice()).graph


def _imported(model: onnx.ModelProto, name: str, chosen: str, choice: Choice) -> Imported:
    begin(model, choice.moving, name)
    cut(model, chosen)
    model, opset, functions = normalise(model, name)
    builder = GraphBuilder()
    state = State(builder, name, opset, calls(functions))
    inputs = declared(model.graph, name, choice)
    values: dict[str, Value] = inputs.place(builder)
    for signal in inputs.moving:
        state.carries(signal.dtype.name)
    for text in inputs.idealisations():
        state.idealise(text)
    run(model.graph, state, values)
    result = values.get(chosen)
    if result is None:
        raise InvalidModel(f"its output {chosen!r} is never computed", where=name)
    if isinstance(result, np.ndarray):
        result = constant(result, state)
    last = materialise(result, state) if isinstance(result, Deferred) else result
    if not last.size:
        raise UnsupportedModel(
            f"its output {chosen!r} holds no numbers", where=name, advice="choose another output, or export it again"
        )
    graph = settle(builder.finish(last.position, state.idealisations, name), state)
    graph = replace(graph, notes=(*graph.notes, *inputs.notes()))
    # half a unit in the last place
    unit = max(0.5 * EPSILON[state.coarsest], 2.0**-24)
    return Imported(graph, state.equations, inputs, unit, state.engine.cancelled)


def _output(model: onnx.ModelProto, name: str, wanted: str | None) -> str:
    names = [o.name for o in model.graph.output]
    if not names:
        raise InvalidModel("it has no outputs", where=name, advice="export the model again")
    if wanted is not None:
        inside = [value for node in model.graph.node for value in node.output if value]
        if wanted not in names and wanted not in inside:
            close = get_close_matches(wanted, inside, 3)
            similar = f"; values inside with a like name are {', '.join(map(repr, close))}" if close else ""
            raise InvalidRequest(
                f"it has no output {wanted!r}",
                where=name,
                advice=f"its outputs are {', '.join(map(repr, names))}{similar}",
            )
        return wanted
    if len(names) > 1:
        raise UnsupportedModel(
            f"it has {len(names)} outputs ({', '.join(map(repr, names))})",
            where=name,
            advice="choose one with --to NAME, or load(path, output=NAME); what it does not need is left out first",
        )
    return names[0]
