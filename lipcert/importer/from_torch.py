"""`from_torch`: a PyTorch module as a Graph, by way of PyTorch's own ONNX exporters."""

from __future__ import annotations

import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx

from lipcert.errors import InvalidModel, InvalidRequest, LipcertError, MissingExtra, UnsupportedModel
from lipcert.importer.check import Rounding, agree
from lipcert.importer.load import load

if TYPE_CHECKING:
    from lipcert.graph.nodes import Graph

Module: TypeAlias = Any
"""A `torch.nn.Module`; PyTorch is imported only where it is needed."""
TorchTensor: TypeAlias = Any
"""A `torch.Tensor`."""

_SCALES = (0.1, 1.0, 10.0)
_BY_HAND = "let forward apply the same operations to every input, or export it to ONNX yourself and use lipcert.load"


def from_torch(
    module: Module,
    example: TorchTensor,
    *,
    exporter: str = "auto",
    functions: Iterable[str | onnx.FunctionProto] = (),
    output: str | None = None,
    check: bool = True,
) -> Graph:
    """The network that a PyTorch module computes in evaluation mode.

    The module is exported to a temporary ONNX file and read from there. Its parameters keep their type, so the weights of a
    float64 module are exact; parametrised weights, such as orthogonal ones, are those that PyTorch evaluates. The module
    itself is left as it was.

    Parameters
    ----------
    module
        A `torch.nn.Module` with one tensor in and one out.
    example
        A batch of inputs, shape (batch, ...), of which the first sample is used; or a single vector (inputs,). It is
        brought to the type and the device of the module's parameters.
    exporter
        'dynamo' (`torch.export`), 'legacy' (tracing), or 'auto': dynamo, and legacy where dynamo fails.
    functions
        For implicit layers written with `torch.onnx.ops.symbolic`: the equation and the solver of each, as ONNX functions or
        as their text (docs/implicit.md).
    output
        Name of the output, where the exported model has several.
    check
        Whether to compare the result with ONNX Runtime and with the module on random inputs.

    Returns
    -------
    Graph

    Raises
    ------
    MissingExtra
        If PyTorch or onnxscript is not installed.
    InvalidRequest
        If the arguments are not a module and an example for it.
    UnsupportedModel
        If PyTorch cannot export the module, or an op in it has no proven treatment.
    InvalidModel
        If the exported network differs from the module.

    Examples
    --------
    >>> torch = __import__("pytest").importorskip("torch")
    >>> module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> graph = from_torch(module, torch.zeros(1, 4))
    >>> graph.input_size, graph.output_size
    (4, 3)
    """
    torch = _torch()
    name = type(module).__name__
    if exporter not in _EXPORTERS:
        raise InvalidRequest(f"the exporter {exporter!r} is not known", advice=f"use {', '.join(_EXPORTERS)}")
    if not isinstance(module, torch.nn.Module):
        raise InvalidRequest(f"a torch.nn.Module is needed, this is of the type {name}")
    protos = [_function(item) for item in functions]
    with _evaluation_mode(module), torch.no_grad(), tempfile.TemporaryDirectory(prefix="lipcert") as folder:
        plain = _without_parametrisations(module)
        x = _sample(plain, example)
        path = Path(folder) / f"{name}.onnx"
        _export(plain, x, path, exporter)
        if protos:
            _attach(protos, path)
        try:
            graph = load(path, output=output, check=check)
            # a symbolic op has no value in PyTorch
            if check and not protos and output is None:
                _compare(plain, x, graph, name)
        except LipcertError as error:
            error.where = error.where.replace(f"{folder}/", "").replace(f"{name}.onnx", name)
            raise
    # there is no file of that name
    said = tuple(text.replace(f"{name}.onnx", name) for text in graph.idealisations)
    return replace(graph, source=name, idealisations=said)


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", "torch", purpose="reading a PyTorch module") from None
    return torch


def _function(item: str | onnx.FunctionProto) -> onnx.FunctionProto:
    if isinstance(item, onnx.FunctionProto):
        return item
    try:
        return onnx.parser.parse_function(item)
    except (onnx.parser.ParseError, TypeError) as error:
        raise InvalidRequest(f"the text of a function cannot be read: {error}", advice="see docs/implicit.md") from None


@contextmanager
def _evaluation_mode(module: Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _without_parametrisations(module: Module) -> Module:
    """The module, or a copy whose parametrised weights are plain tensors: the exporters know no matrix factorisations."""
    import torch
    from torch.nn.utils import parametrize

    if not any(parametrize.is_parametrized(part) for part in module.modules()):
        return module
    try:
        plain = copy.deepcopy(module)
    except RuntimeError:
        return module
    for part in list(plain.modules()):
        if parametrize.is_parametrized(part):
            weights = {name: getattr(part, name) for name in part.parametrizations}
            # remove_parametrizations would alter the class, which the copy shares with the original
            part.__class__ = parametrize.type_before_parametrizations(part)
            del part.parametrizations
            for name, weight in weights.items():
                part.register_parameter(name, torch.nn.Parameter(weight, requires_grad=False))
    return plain


def _sample(module: Module, example: TorchTensor) -> TorchTensor:
    """The first sample of the example, in the type and on the device of the parameters."""
    import torch

    if isinstance(example, (tuple, list)) and len(example) == 1:
        example = example[0]
    if isinstance(example, np.ndarray):
        example = torch.as_tensor(example)
    if not isinstance(example, torch.Tensor) or example.ndim == 0 or example.numel() == 0:
        raise InvalidRequest(
            "the example must be one tensor with at least one sample",
            where=type(module).__name__,
            advice="give a batch such as torch.zeros(1, 784); several inputs have to be concatenated into one",
        )
    kinds = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
    if kinds:
        example = example.to(dtype=kinds[0].dtype, device=kinds[0].device)
    x = (example if example.ndim == 1 else example[:1]).detach()
    try:
        module(x)
    except Exception as error:  # forward may raise anything
        raise InvalidRequest(
            f"forward fails on the example of shape {tuple(x.shape)}: {_reason(error)}",
            where=type(module).__name__,
            advice="give a batch of inputs as forward takes it",
        ) from None
    return x


def _export(module: Module, x: TorchTensor, path: Path, exporter: str) -> None:
    """Write the module to `path` by the first exporter that can."""
    reasons = []
    for name in _EXPORTERS[exporter]:
        try:
            with _quiet():
                _export_with[name](module, x, path)
        except ImportError as error:
            if error.name not in ("onnxscript", "onnx_ir"):
                raise
            raise MissingExtra("onnxscript", "torch", purpose="exporting a PyTorch module") from None
        except Exception as error:  # the exporters pass on whatever forward and their own stages raise
            reasons.append(f"{name}: {_reason(error)}")
        else:
            return
    raise UnsupportedModel(
        f"PyTorch cannot export the module ({'; '.join(reasons)})", where=type(module).__name__, advice=_BY_HAND
    )


def _dynamo(module: Module, x: TorchTensor, path: Path) -> None:
    import onnxscript  # noqa: F401  (an error that names it)
    import torch

    torch.onnx.export(module, (x,), path, dynamo=True, verbose=False, input_names=["x"])


def _legacy(module: Module, x: TorchTensor, path: Path) -> None:
    import torch

    with warnings.catch_warnings():
        # a trace keeps only the branch that the example took, and says so by this warning alone
        warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        torch.onnx.export(module, (x,), path, dynamo=False, verbose=False, input_names=["x"])


_export_with: dict[str, Callable[[Module, TorchTensor, Path], None]] = {"dynamo": _dynamo, "legacy": _legacy}
_EXPORTERS = {"auto": ("dynamo", "legacy"), "dynamo": ("dynamo",), "legacy": ("legacy",)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing that the exporters print, log or warn of: what matters becomes an error."""
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        threshold = logging.root.manager.disable
        logging.disable(logging.ERROR)
        stack.callback(logging.disable, threshold)
        yield


def _reason(error: BaseException) -> str:
    """The first sentence of the error at the root of an exporter's chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text.split(". ")[0].rstrip(".")[:300]


def _attach(functions: list[onnx.FunctionProto], path: Path) -> None:
    """Add model-local functions, and their domains, to the file."""
    model = onnx.load(path)
    model.functions.extend(functions)
    known = {item.domain for item in model.opset_import}
    wanted = {f.domain for f in functions} | {item.domain for f in functions for item in f.opset_import}
    model.opset_import.extend(onnx.helper.make_opsetid(domain, 1) for domain in sorted(wanted - known))
    onnx.save(model, path)


def _compare(module: Module, x: TorchTensor, graph: Graph, name: str) -> None:
    """The graph against the module on random inputs: an exporter, too, can be wrong."""
    import torch

    generator = torch.Generator().manual_seed(0)
    columns, outputs = [], []
    for scale in _SCALES:
        point = (scale * torch.randn(x.shape, generator=generator, dtype=torch.float64)).to(x)
        result = module(point)
        if not isinstance(result, torch.Tensor):
            raise InvalidModel(f"forward returns a {type(result).__name__}", where=name, advice="return one tensor")
        columns.append(point.double().cpu().numpy().ravel())
        outputs.append(result.double().cpu().numpy().ravel())
    unit = float(torch.finfo(x.dtype).eps) / 2
    agree(name, "PyTorch", graph, np.stack(columns, axis=1), np.stack(outputs, axis=1), Rounding(unit))
