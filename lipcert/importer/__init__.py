"""ONNX in and out. Nothing else in the package knows ONNX."""

from lipcert.importer import (  # noqa: F401  (they register their handlers)
    activations,
    attention,
    classical,
    contractions,
    contributed,
    functions,
    gated,
    linear,
    linear_attention,
    movement,
    normalisations,
    ordering,
    quantised,
    recurrent,
    reductions,
    refusals,
    sequences,
    spatial,
)
from lipcert.importer.load import from_model, load
from lipcert.importer.registry import supported_operators
from lipcert.importer.writer import save

__all__ = ["from_model", "load", "save", "supported_operators"]
