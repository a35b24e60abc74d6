"""The graph IR."""

from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, GraphBuilder, Input

__all__ = ["Activation", "Affine", "FixedPoint", "Graph", "GraphBuilder", "Input"]
