"""Order before the walk: what the output needs, sorted, no initialisers among the inputs, functions inlined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from difflib import get_close_matches
from typing import Any

import onnx
from onnx import inliner

from lipcert.errors import InvalidModel, InvalidRequest, UnsupportedModel

OLDEST = 6
"""The oldest version of the operator set that is read."""

LIPCERT_DOMAINS = ("lipcert.fixedpoint", "lipcert.cell")

OTHER_DOMAINS = ("ai.onnx.ml", "com.microsoft")
"""Domains whose operators are named with their domain: those of classical models, and those that ONNX Runtime adds."""

ONNX_DOMAINS = ("", "ai.onnx", *OTHER_DOMAINS)

Functions = dict[tuple[str, str], onnx.FunctionProto]


def normalise(model: onnx.ModelProto, file: str) -> tuple[onnx.ModelProto, int, Functions]:
    """The model with its nodes sorted and its functions inlined; its opset; the lipcert functions, lifted out of it."""
    functions = {(f.domain, f.name): f for f in model.functions if f.domain in LIPCERT_DOMAINS}
    others = [f for f in model.functions if f.domain not in LIPCERT_DOMAINS]
    del model.functions[:]
    if others:
        model.functions.extend(others)
        try:
            model = inliner.inline_local_functions(model)
        except Exception as error:  # the inliner raises whatever its C++ code throws
            raise InvalidModel(f"its functions cannot be inlined: {_line(error)}", where=file) from None
    sort(model.graph, file)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for node in model.graph.node:
        if node.domain not in (*ONNX_DOMAINS, *LIPCERT_DOMAINS):
            raise UnsupportedModel(
                f"the op {node.domain}.{node.op_type} is not part of ONNX",
                where=f"{file}, node {node.name!r}",
                advice="export with standard operators only, or write it as a model-local function",
            )
    return model, opset_of(model.opset_import, file), functions


def begin(model: onnx.ModelProto, names: Sequence[str], file: str) -> None:
    """Make values inside inputs of the graph: what computes them is not needed any more.

    Raises
    ------
    InvalidRequest
        If there is no such value.
    UnsupportedModel
        If its shape is not known.
    """
    graph = model.graph
    inputs = {i.name for i in graph.input}
    inner = [name for name in names if name not in inputs]
    if not inner:
        return
    producers = {name: node for node in graph.node for name in node.output if name}
    known = _shapes(model, inner)
    for name in inner:
        if name not in producers:
            close = get_close_matches(name, [*producers], 3)
            like = f"; values inside with a like name are {', '.join(map(repr, close))}" if close else ""
            similar = f"its inputs are {', '.join(map(repr, sorted(inputs)))}{like}"
            raise InvalidRequest(
                f"it has no input and no value inside of the name {name!r}", where=file, advice=similar
            )
        if name not in known:
            raise UnsupportedModel(
                f"the shape of {name!r} is not known",
                where=file,
                advice="add it with onnx.shape_inference.infer_shapes",
            )
        node = producers[name]
        node.output[list(node.output).index(name)] = f"{name}.before"
        graph.input.append(known[name])


def _shapes(model: onnx.ModelProto, names: Sequence[str]) -> dict[str, onnx.ValueInfoProto]:
    """Type and shape of values inside, as the file has them or as they follow from those of its inputs."""

    def found(graph: onnx.GraphProto) -> dict[str, onnx.ValueInfoProto]:
        infos = (*graph.value_info, *graph.output)
        return {i.name: i for i in infos if i.type.tensor_type.elem_type and i.type.tensor_type.HasField("shape")}

    known = found(model.graph)
    if not all(name in known for name in names):
        try:
            known |= found(onnx.shape_inference.infer_shapes(model, data_prop=True).graph)
        except Exception as error:  # shape inference raises whatever its C++ code throws
            del error
    return {name: known[name] for name in names if name in known}


def cut(model: onnx.ModelProto, output: str) -> bool:
    """Keep only what the value `output` needs, which becomes the only output; whether anything was left out."""
    graph = model.graph
    producers: dict[str, list[int]] = {}
    for k, node in enumerate(graph.node):
        for name in filter(None, node.output):
            producers.setdefault(name, []).append(k)
    kept: set[int] = set()
    read = {output}
    waiting = [output]
    while waiting:
        for k in producers.get(waiting.pop(), []):
            if k not in kept:
                kept.add(k)
                fresh = _reads(graph.node[k]) - read
                read |= fresh
                waiting += fresh
    constants = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    inputs = [i for i in graph.input if i.name in read]
    if all(i.name in constants for i in inputs):
        inputs += [i for i in graph.input if i.name not in constants][:1]
    infos = [o for o in graph.output if o.name == output][:1] or [onnx.ValueInfoProto(name=output)]
    parts: list[tuple[Any, list[Any]]] = [
        (graph.node, [graph.node[k] for k in sorted(kept)]),
        (graph.input, inputs),
        (graph.output, infos),
        (graph.initializer, [t for t in graph.initializer if t.name in read]),
        (graph.sparse_initializer, [t for t in graph.sparse_initializer if t.values.name in read]),
        (model.functions, _called(model, [graph.node[k] for k in kept])),
    ]
    smaller = [(held, wanted) for held, wanted in parts if len(held) != len(wanted)]
    if graph.output[0].name != output and len(graph.output) == 1:
        smaller.append((graph.output, infos))
    for held, wanted in smaller:
        copies = [type(item)() for item in wanted]
        for copy, item in zip(copies, wanted, strict=True):
            copy.CopyFrom(item)
        del held[:]
        held.extend(copies)
    return bool(smaller)


def _called(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> list[onnx.FunctionProto]:
    """The functions that the nodes call, by way of others too; implicit layers are kept as they are."""
    own = {(f.domain, f.name): f for f in model.functions}
    called = {key for key in own if key[0] in LIPCERT_DOMAINS}
    waiting = [*nodes, *(node for key in called for node in own[key].node)]
    while waiting:
        node = waiting.pop()
        for attribute in node.attribute:
            for sub in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
                waiting += sub.node
        key = (node.domain, node.op_type)
        if key in own and key not in called:
            called.add(key)
            waiting += own[key].node
    return [f for key, f in own.items() if key in called]


def opset_of(imports: Iterable[onnx.OperatorSetIdProto], where: str) -> int:
    """The version of the default domain."""
    version = next((o.version for o in imports if o.domain in ("", "ai.onnx")), None)
    if version is None:
        raise InvalidModel("names no version of the ONNX operator set", where=where, advice="export the model again")
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST <= version <= newest:
        raise UnsupportedModel(
            f"it uses version {version} of the ONNX operator set",
            where=where,
            advice=f"versions {OLDEST} to {newest} are supported",
        )
    return version


def sort(graph: onnx.GraphProto, file: str, outer: Set[str] = frozenset()) -> None:
    """Put the nodes into topological order; `outer` holds the names that a subgraph may read from outside."""
    own = {i.name for i in graph.input} | {t.name for t in graph.initializer}
    own |= {t.values.name for t in graph.sparse_initializer}
    available = outer | own | {""}
    producers: dict[str, int] = {}
    for k, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in producers or name in own:
                raise InvalidModel(f"the value {name!r} is produced twice", where=f"{file}, node {node.name!r}")
            producers[name] = k
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
