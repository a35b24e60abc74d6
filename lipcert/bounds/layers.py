"""Where a bound comes from, layer by layer: what the multipliers say a change at each layer can do to the output.

The root s = √lam of a multiplier, in units of the activation's output, bounds how much a unit change of that channel moves
the output. The norm product has the product of the norms behind a layer in the same place. From the input, where s is the
bound itself, to the output, where it is 1, the quotients of neighbours multiply to the bound: they are the layers' factors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations import TABLE
from lipcert.bounds.product import norm_product
from lipcert.certificates.claims import Scaling
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input, Node
from lipcert.graph.prepare import prepare
from lipcert.graph.selection import Selection
from lipcert.graph.sizes import activations
from lipcert.ranges import localise

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.bounds.types import Bound


@dataclass(frozen=True, eq=False)
class LayerReport:
    """One layer of activations in the form that was bounded.

    Attributes
    ----------
    name
        Of its node in the file, which may be empty.
    what
        Such as '48 MaxMin pairs'.
    sensitivity
        (groups,) how much a unit change of each channel can move the output, by the multipliers.
    product
        The same by the norm product, for all channels alike; None in implicit networks.
    """

    name: str
    what: str
    sensitivity: Array
    product: float | None

    @property
    def typical(self) -> float:
        """The median sensitivity."""
        return float(np.median(self.sensitivity))


@dataclass(frozen=True, eq=False)
class Layers:
    """The layers of a bound, input first.

    Attributes
    ----------
    layers
        The layers.
    bound, product
        The bound, and the norm product of the network as it is written (None in implicit networks): their sensitivities at
        the input.
    """

    layers: tuple[LayerReport, ...]
    bound: float
    product: float | None

    def factors(self) -> list[tuple[str, float | None, float]]:
        """The steps from the input over the layers to the output: name, factor in the norm product (or None), factor in the
        bound. The factors multiply to the norm product and to the bound."""
        names = [layer.name or layer.what for layer in self.layers]
        places = ["input", *names, "output"]
        ours = [self.bound, *(layer.typical for layer in self.layers), 1.0]
        theirs = [self.product, *(layer.product for layer in self.layers), 1.0]
        steps = []
        for k in range(len(places) - 1):
            before, after = theirs[k], theirs[k + 1]
            norm = before / after if before is not None and after else None
            steps.append((f"{places[k]} → {places[k + 1]}", norm, ours[k] / ours[k + 1]))
        return steps


def layers(bound: Bound, graph: Graph) -> Layers | None:
    """The layers of a bound of this network, by the program with the largest value; None without a certificate.

    Examples
    --------
    >>> import lipcert
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]]))
    >>> found = layers(lipcert.bound(network, lower=False), network)
    >>> [[round(factor, 3) for factor in step[1:]] for step in found.factors()]
    [[5.0, 5.0], [2.0, 2.0]]
    """
    certificate = bound.certificate
    scaling = None if certificate is None else certificate.decisive
    if certificate is None or not isinstance(scaling, Scaling):
        return None
    if scaling.value() < bound.upper * (1.0 - 1e-6):
        # the norm product, reported as it is although its multipliers prove less
        return None
    origins: dict[str, Activation] = {}
    selected = _tagged(Selection(certificate.outputs).apply(graph), origins)
    # of the network as it is written and of the same output, like Bound.product
    largest = max(bound.each, key=lambda item: item.upper) if bound.each else None
    alone = selected if largest is None else _tagged(Selection((largest.output,)).apply(graph), {})
    written = prepare(alone, "blocks")
    # that of a bound on a region is of other slopes
    compared = bound.product is not None and bound.region is None
    product = norm_product(written) if compared else None
    weights = {} if product is None else {written.nodes[k].name: weight for k, weight in product.weights().items()}
    # the output norm ℓ1 weighs the outputs by 1/n
    spread = 1.0 if scaling.n is None else float(np.linalg.norm(scaling.n))
    parts: dict[str, list[Array]] = {}
    at = 0
    claim = certificate.claim
    here = localise(prepare(selected, certificate.form), claim.region, anchored=claim.anchored, hints=certificate.hints)
    for node in activations(here.graph):
        groups, unit = _groups_and_unit(node)
        if groups:
            # the stages of a sorting network have one origin
            origins.setdefault(node.name, node)
            parts.setdefault(node.name, []).append(spread * scaling.d[at : at + groups] / unit)
            at += groups
    if at != scaling.d.size:
        return None
    found = [
        LayerReport(
            origins[key].name,
            TABLE[origins[key].kind].describe(origins[key].blocks, origins[key].block),
            np.concatenate(arrays),
            float(np.sqrt(weights[key])) if key in weights else None,
        )
        for key, arrays in parts.items()
    ]
    whole = bound.product if largest is None else largest.product
    return Layers(tuple(found), scaling.value(), whole if compared else None)


def _tagged(graph: Graph, origins: dict[str, Activation], prefix: str = "") -> Graph:
    """The graph with its activations named by their places, which `origins` leads back from."""
    nodes: list[Node] = []
    for position, node in enumerate(graph.nodes):
        key = f"{prefix}{position}"
        match node:
            case Input() | Affine():
                nodes.append(node)
            case Activation():
                origins[key] = node
                nodes.append(replace(node, name=key))
            case FixedPoint():
                nodes.append(replace(node, cell=_tagged(node.cell, origins, f"{key}.")))
    return replace(graph, nodes=tuple(nodes))


def _groups_and_unit(node: Activation) -> tuple[int, float]:
    """Multiplier groups, and √lam of a layer behind which nothing grows: the unit of its sensitivity."""
    form = node.normal_form
    if not form.P.size:
        return 0, 1.0
    p, q = (float(np.linalg.norm(x, 2, axis=(1, 2)).max()) for x in (form.P, form.Q))
    return node.blocks * form.groups, float(np.sqrt(node.lipschitz * p / q))
