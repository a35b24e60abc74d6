"""One dialect before the walk: one opset, sorted nodes, no initialisers among the inputs, functions inlined."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import onnx
from onnx import inliner, version_converter

from lipcert.errors import InvalidModel, UnsupportedModel

OPSET = 21
LIPCERT_DOMAINS = ("lipcert.fixedpoint", "lipcert.cell")


def normalise(model: onnx.ModelProto, file: str) -> tuple[onnx.ModelProto, dict[tuple[str, str], onnx.FunctionProto]]:
    """The model at opset 21 or newer with sorted nodes, and the lipcert functions that were lifted out of it.

    `onnx.version_converter` drops model-local functions, so those of the lipcert domains are kept aside and all others
    are inlined before it runs.
    """
    functions = {(f.domain, f.name): f for f in model.functions if f.domain in LIPCERT_DOMAINS}
    others = [f for f in model.functions if f.domain not in LIPCERT_DOMAINS]
    del model.functions[:]
    if others:
        model.functions.extend(others)
        try:
            model = inliner.inline_local_functions(model)
        except Exception as error:  # the inliner raises whatever its C++ code throws
            raise InvalidModel(f"its functions cannot be inlined: {_line(error)}", where=file) from None
    known = {"", "ai.onnx", *LIPCERT_DOMAINS}
    sort(model.graph, file)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    # below IR version 4 an initialiser had to be an input as well
    model.ir_version = max(model.ir_version, 4)
    del model.graph.value_info[:]
    for node in model.graph.node:
        if node.domain not in known:
            raise UnsupportedModel(
                f"the op {node.domain}.{node.op_type} is not part of ONNX",
                where=f"{file}, node {node.name!r}",
                advice="export with standard operators only, or write it as a model-local function",
            )
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if version is None:
        raise InvalidModel("names no version of the ONNX operator set", where=file, advice="export the model again")
    if version < OPSET:
        model = _convert(model, file)
    return model, functions


def _convert(model: onnx.ModelProto, file: str) -> onnx.ModelProto:
    """Opset 21, the nodes of the lipcert domains left as they are."""
    calls = {tuple(node.output): node for node in model.graph.node if node.domain in LIPCERT_DOMAINS}
    if calls:
        # the converter knows no custom op: Identity-like stand-ins keep the edges
        return _convert_around(model, file)
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises whatever its C++ code throws
        raise InvalidModel(
            f"cannot be converted to opset {OPSET}: {_line(error)}", where=file, advice="export with opset 13 or newer"
        ) from None


def _convert_around(model: onnx.ModelProto, file: str) -> onnx.ModelProto:
    """Convert with each lipcert call cut out: its outputs become inputs, its inputs outputs, and it is put back."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    calls = [node for node in cut.graph.node if node.domain in LIPCERT_DOMAINS]
    plain = [node for node in cut.graph.node if node.domain not in LIPCERT_DOMAINS]
    del cut.graph.node[:]
    cut.graph.node.extend(plain)
    outputs = {o.name for o in cut.graph.output}
    produced = {name for node in plain for name in node.output}
    for call in calls:
        for name in call.output:
            cut.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        for name in call.input:
            if name in produced and name not in outputs:
                outputs.add(name)
                cut.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    kept = [o for o in cut.opset_import if o.domain not in LIPCERT_DOMAINS]
    del cut.opset_import[:]
    cut.opset_import.extend(kept)
    converted = _convert(cut, file)
    converted.graph.node.extend(calls)
    for field in ("input", "output"):
        original = [item.name for item in getattr(model.graph, field)]
        kept_infos = [item for item in getattr(converted.graph, field) if item.name in original]
        del getattr(converted.graph, field)[:]
        getattr(converted.graph, field).extend(kept_infos)
    sort(converted.graph, file)
    return converted


def sort(graph: onnx.GraphProto, file: str, outer: Set[str] = frozenset()) -> None:
    """Put the nodes into topological order; `outer` holds the names that a subgraph may read from outside."""
    available = outer | {i.name for i in graph.input} | {t.name for t in graph.initializer} | {""}
    available |= {t.values.name for t in graph.sparse_initializer}
    producers = {name: k for k, node in enumerate(graph.node) for name in node.output if name}
    waiting: list[set[str]] = []
    users: dict[str, list[int]] = {}
    for k, node in enumerate(graph.node):
        needs = {name for name in _reads(node) if name not in available}
        for name in needs:
            if name not in producers:
                raise InvalidModel(
                    f"the value {name!r} is used but never produced", where=f"{file}, node {node.name!r}"
                )
            users.setdefault(name, []).append(k)
        waiting.append(needs)
    ready = [k for k, needs in enumerate(waiting) if not needs]
    order: list[int] = []
    while ready:
        k = ready.pop()
        order.append(k)
        for name in graph.node[k].output:
            for user in users.get(name, []):
                waiting[user].discard(name)
                if not waiting[user]:
                    ready.append(user)
            users.pop(name, None)
    if len(order) != len(graph.node):
        raise InvalidModel("its nodes form a cycle", where=file)
    position = {k: i for i, k in enumerate(order)}
    if any(position[k] < position[j] for k, j in zip(range(1, len(order)), range(len(order)), strict=False)):
        nodes = [graph.node[k] for k in order]
        copies = [onnx.NodeProto() for _ in nodes]
        for copy, node in zip(copies, nodes, strict=True):
            copy.CopyFrom(node)
        del graph.node[:]
        graph.node.extend(copies)


def _reads(node: onnx.NodeProto) -> set[str]:
    """The outer names that a node reads, those of its subgraphs included."""
    names = set(node.input)
    for attribute in node.attribute:
        for sub in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
            inner = {i.name for i in sub.input} | {t.name for t in sub.initializer}
            inner |= {name for n in sub.node for name in n.output}
            names |= {name for n in sub.node for name in _reads(n)} - inner
            names |= {o.name for o in sub.output} - inner
    return names - {""}


def _line(error: BaseException) -> str:
    text: list[Any] = str(error).strip().splitlines()
    return str(text[0])[:200] if text else type(error).__name__
