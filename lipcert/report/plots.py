"""Plots as files: anything with a method `plot(ax)`."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Protocol

from lipcert.errors import InvalidRequest, MissingExtra
from lipcert.files import write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMATS = (".png", ".svg", ".pdf")


class Plottable(Protocol):
    """A result that can draw itself."""

    def plot(self, ax: Any = None) -> Any:
        """Draw on a matplotlib Axes."""


def require(path: Path) -> None:
    """Fail before the long computation: the ending must be known, and matplotlib there.

    Raises
    ------
    InvalidRequest
        If the format is not known.
    MissingExtra
        If matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise InvalidRequest(
            f"plots of the format {path.suffix!r} are not known", where=str(path), advice=f"use {', '.join(FORMATS)}"
        )
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingExtra("matplotlib", "plot", purpose="a plot") from None


def save(result: Plottable, path: Path, title: str = "", below: Callable[[Any], Any] | None = None) -> None:
    """Draw a result and write the picture, in the format of the ending of `path`; `below` draws a second one under it."""
    require(path)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.4 if below is None else 8.4), layout="constrained")
    ax = figure.subplots(1 if below is None else 2, squeeze=False)[:, 0]
    result.plot(ax[0])
    ax[0].set_title(title, loc="left")
    if below is not None:
        below(ax[1])
    content = io.BytesIO()
    # no date and no random names: the same result gives the same file
    with mpl.rc_context({"svg.hashsalt": "lipcert"}):
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(content, format=path.suffix[1:].lower(), dpi=150, metadata=metadata)
    write(path, content.getvalue())
