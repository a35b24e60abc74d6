"""Order before the walk: sorted nodes, no initialisers among the inputs, functions inlined."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

import onnx
from onnx import inliner

from lipcert.errors import InvalidModel, UnsupportedModel

OLDEST = 6
"""The oldest version of the operator set that is read."""

LIPCERT_DOMAINS = ("lipcert.fixedpoint", "lipcert.cell")

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
        if node.domain not in ("", "ai.onnx", *LIPCERT_DOMAINS):
            raise UnsupportedModel(
                f"the op {node.domain}.{node.op_type} is not part of ONNX",
                where=f"{file}, node {node.name!r}",
                advice="export with standard operators only, or write it as a model-local function",
            )
    return model, opset_of(model.opset_import, file), functions


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
