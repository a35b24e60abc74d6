"""Proven ranges of every signal of a network on a region, and the network with the slopes that are possible there."""

from lipcert.ranges.localise import localise
from lipcert.ranges.propagate import Hints, Ranges, ranges

__all__ = ["Hints", "Ranges", "localise", "ranges"]
