"""Final activations: those that keep the order of the outputs, and those whose ℓ∞ constant alone bounds the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lipcert.graph.claim import ALL, Claim
from lipcert.graph.linear_maps import Index
from lipcert.graph.nodes import Activation, Affine, Graph
from lipcert.norms import Norm

HEADS = ("softmax", "log_softmax", "sigmoid")


def without_head(graph: Graph) -> tuple[Graph, str]:
    """The graph without a final activation over all outputs that keeps their order, and the name of that.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph, head = without_head(nn.sequential(nn.linear([[2.0], [1.0]]), nn.softmax(2)))
    >>> len(graph.nodes), head
    (3, 'softmax')
    """
    node = graph.nodes[graph.output]
    if isinstance(node, Activation) and node.kind in HEADS and (node.kind == "sigmoid" or node.blocks == 1):
        return replace(graph, output=node.parent), node.kind
    return graph, ""


@dataclass(frozen=True, eq=False)
class Head:
    """A network cut before its last activation: ‖Δy‖_∞ ≤ factor · ‖Δz‖_∞ for what goes in, z.

    Attributes
    ----------
    graph
        The network up to z.
    factor
        A power of two.
    """

    graph: Graph
    factor: float

    @staticmethod
    def inside(claim: Claim) -> Claim:
        """The claim about z from which that about the outputs follows."""
        return replace(claim, output_norm=Norm.LINF, outputs=ALL)


def head(graph: Graph, claim: Claim) -> Head | None:
    """The head of a network for a claim on ℓ∞, or None where its last activation has no ℓ∞ constant of its own.

    A margin y_i − y_j changes by the sum of what its two outputs change by.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[1.0], [2.0]]), nn.softmax(2))
    >>> head(network, Claim.about(Norm.L2, Norm.LINF, ALL)).factor
    0.5
    """
    if claim.output_norm is not Norm.LINF:
        return None
    node = graph.nodes[graph.output]
    while isinstance(node, Affine) and len(node.maps) == 1 and isinstance(node.maps[0], Index):
        # data movement, and a bias
        node = graph.nodes[node.parents[0]]
    constant = node.record.largest_row if isinstance(node, Activation) else None
    if constant is None:
        return None
    assert isinstance(node, Activation)
    margins = any("-" in label for label in claim.outputs.labels)
    return Head(replace(graph, output=node.parent), (2.0 if margins else 1.0) * constant)
