"""The Axes that a result draws itself on."""

from __future__ import annotations

from typing import Any

from lipcert.errors import MissingExtra


def axes(ax: Any = None) -> Any:
    """The given matplotlib Axes, or those of a new figure.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise MissingExtra("matplotlib", "plot", purpose="a plot") from None
    return plt.subplots()[1] if ax is None else ax
