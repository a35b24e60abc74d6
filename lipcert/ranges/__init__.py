"""Proven ranges of every signal of a network on a region, and the network with the slopes that are possible there."""

from lipcert.ranges.hints import Hint, Hints
from lipcert.ranges.localise import LayerOnRegion, Localised, localise, posed
from lipcert.ranges.propagate import Ranges, ranges

__all__ = ["Hint", "Hints", "LayerOnRegion", "Localised", "Ranges", "localise", "posed", "ranges"]
