"""ONNX in and out. Nothing else in the package knows ONNX."""

from importlib.util import find_spec

from lipcert.importer import linear, movement, refusals  # noqa: F401  (they register their handlers)
from lipcert.importer.load import from_model, load
from lipcert.importer.registry import supported_operators

if find_spec("lipcert.importer.activations") is not None:
    from lipcert.importer import activations  # noqa: F401

__all__ = ["from_model", "load", "supported_operators"]
