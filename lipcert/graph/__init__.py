"""The graph IR."""

from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, GraphBuilder, Input
from lipcert.graph.summary import Summary

__all__ = ["Activation", "Affine", "FixedPoint", "Graph", "GraphBuilder", "Input", "Summary"]
