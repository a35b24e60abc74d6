"""Activations: one record each."""

from lipcert.activations.record import ActivationRecord, NormalForm, Pointwise
from lipcert.activations.table import TABLE

__all__ = ["TABLE", "ActivationRecord", "NormalForm", "Pointwise"]
