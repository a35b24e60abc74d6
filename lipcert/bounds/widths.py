"""How ranges grow through the layers on a region, and how many neurons they decide, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lipcert.bounds.axes import axes
from lipcert.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.ranges import LayerOnRegion


def plot_layers(layers: Sequence[LayerOnRegion], ax: Any = None) -> Any:
    """A box a layer of the widths of its ranges, input first, and the part of its neurons that is decided.

    Parameters
    ----------
    layers
        The layers of a bound on a region.
    ax
        A matplotlib Axes, or None for a new one.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidRequest
        If there are no layers: the bound is global, or nothing in the network is decided neuron by neuron.
    MissingExtra
        If matplotlib is not installed.
    """
    if not layers:
        raise InvalidRequest("there are no layers of scalar activations on a region to draw", advice="give a region")
    ax = axes(ax)
    names = [f"{layer.name or f'layer {k + 1}'}\n{layer.decided} of {layer.neurons}" for k, layer in enumerate(layers)]
    parts = ("whislo", "q1", "med", "q3", "whishi")
    spreads = [dict(zip(parts, layer.quantiles, strict=True)) for layer in layers]
    ax.bxp(
        [spread | {"label": name} for spread, name in zip(spreads, names, strict=True)], showfliers=False, widths=0.5
    )
    if any(spread["med"] > 0.0 for spread in spreads) and all(layer.bounded for layer in layers):
        ax.set_yscale("log", nonpositive="clip")
    ax.set(xlabel="layer, and its neurons that are decided", ylabel="width of the proven range")
    if len(names) > 6:
        ax.tick_params(axis="x", labelrotation=90)
    return ax
