"""What a certificate on a region holds beside its scalings: proposals that need not be right.

Ranges are computed anew by whoever checks, on another machine with other last digits. So the ranges that were used are
written down, a little wider than they came out, and the check takes the hull of these and its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.arrays import from_text, to_text
from lipcert.rounding import Interval

if TYPE_CHECKING:
    from lipcert.arrays import Array

Multipliers = Mapping[int, "Array"]
"""By the position of an activation, one number a group of each block: lam over the largest entry of the block's P."""

# what ranges are widened by: of their width, and of the numbers in them
_WIDTH, _SIZE = 2.0**-36, 2.0**-43


@dataclass(frozen=True, eq=False)
class Hint:
    """Of one activation.

    Attributes
    ----------
    on, around
        The range of its inputs, and that of their values at the centre.
    slopes
        The slopes of its lines below and above.
    """

    on: Interval | None = None
    around: Interval | None = None
    slopes: tuple[Array, Array] | None = None

    def range(self, found: Interval) -> Interval:
        """A range around `found` that others will find too."""
        return _agreed(found, self.on)

    def centre(self, found: Interval) -> Interval:
        """The same of the values at the centre."""
        return _agreed(found, self.around)

    def lines(self, size: int) -> tuple[Array, Array] | None:
        """The slopes, where they are for so many neurons."""
        fits = self.slopes is not None and all(part.shape == (size,) for part in self.slopes)
        return self.slopes if fits else None


@dataclass(frozen=True, eq=False)
class Hints:
    """The hints of a network: by the position of an activation, and, for the cells of fixed points, by theirs.

    Positions are those in the prepared network with its moduli written out.

    Attributes
    ----------
    of
        By the position of an activation.
    cells
        By the position of a fixed point.
    ellipsoids
        By the position of a signal the multipliers of the activations in front of it (`lipcert.ranges.ellipsoid`).
    """

    of: Mapping[int, Hint] = field(default_factory=dict)
    cells: Mapping[int, Hints] = field(default_factory=dict)
    ellipsoids: Mapping[int, Multipliers] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        found: dict[str, Any] = {
            "activations": {str(position): _written(hint) for position, hint in self.of.items()},
            "cells": {str(position): cell.to_json() for position, cell in self.cells.items()},
        }
        return found | ({"ellipsoids": multipliers_to_json(self.ellipsoids)} if self.ellipsoids else {})

    @classmethod
    def from_json(cls, item: Any) -> Hints:
        """The hints that `to_json` wrote, strictly.

        Raises
        ------
        ValueError
            If they are none.
        """
        if not isinstance(item, dict) or item.keys() - {"ellipsoids"} != {"activations", "cells"}:
            raise ValueError("hints hold activations and cells")
        if not all(isinstance(part, dict) for part in item.values()):
            raise ValueError("activations and cells are objects")
        of = {_position(key): _read(hint) for key, hint in item["activations"].items()}
        cells = {_position(key): cls.from_json(cell) for key, cell in item["cells"].items()}
        return cls(of, cells, multipliers_from_json(item.get("ellipsoids", {})))


NONE = Hints()


def multipliers_to_json(ellipsoids: Mapping[int, Multipliers]) -> dict[str, dict[str, str]]:
    """What `multipliers_from_json` reads."""
    return {
        str(target): {str(position): to_text(numbers) for position, numbers in found.items()}
        for target, found in ellipsoids.items()
    }


def multipliers_from_json(item: Any) -> dict[int, Multipliers]:
    """The multipliers of ellipsoids that `multipliers_to_json` wrote, strictly.

    Raises
    ------
    ValueError
        If they are none.
    """
    if not isinstance(item, dict) or not all(isinstance(found, dict) for found in item.values()):
        raise ValueError("ellipsoids are objects of multipliers")
    if not all(isinstance(text, str) for found in item.values() for text in found.values()):
        raise ValueError("multipliers are no text")
    return {
        _position(target): {_position(position): from_text(text) for position, text in found.items()}
        for target, found in item.items()
    }


def _agreed(found: Interval, given: Interval | None) -> Interval:
    if given is not None and given.low.shape == found.low.shape:
        return found.hull(given)
    with np.errstate(invalid="ignore"):
        width = np.where(found.bounded, found.high - found.low, 0.0)
        size = np.where(found.bounded, found.magnitude(), 0.0)
        room = _WIDTH * width + _SIZE * size
        low, high = found.low - room, found.high + room
    # no sign is given up: it decides what a kink at zero does
    low = np.where((found.low >= 0.0) & (low < 0.0), 0.0, low)
    high = np.where((found.high <= 0.0) & (high > 0.0), 0.0, high)
    return found.hull(Interval(low, high))


def _written(hint: Hint) -> dict[str, str]:
    parts: dict[str, str] = {}
    for name, pair in (("on", hint.on), ("around", hint.around)):
        if pair is not None:
            parts |= {f"{name}_low": to_text(pair.low), f"{name}_high": to_text(pair.high)}
    if hint.slopes is not None:
        parts |= {"slope_below": to_text(hint.slopes[0]), "slope_above": to_text(hint.slopes[1])}
    return parts


def _read(item: Any) -> Hint:
    names = [("on_low", "on_high"), ("around_low", "around_high"), ("slope_below", "slope_above")]
    if not isinstance(item, dict) or not all(isinstance(text, str) for text in item.values()):
        raise ValueError("a hint is an object of texts")
    found: list[tuple[Array, Array] | None] = []
    for pair in names:
        held = [name for name in pair if name in item]
        if len(held) == 1:
            raise ValueError(f"{held[0]} stands alone")
        parts = [from_text(item[name]) for name in held]
        if parts and (parts[0].shape != parts[1].shape or any(np.isnan(part).any() for part in parts)):
            raise ValueError(f"{held[0]} holds NaN or another number of numbers than {held[1]}")
        found.append((parts[0], parts[1]) if parts else None)
    if surplus := sorted(item.keys() - {name for pair in names for name in pair}):
        raise ValueError(f"a hint has the unknown field {surplus[0]!r}")
    on, around, slopes = found
    return Hint(_interval(on), _interval(around), slopes)


def _interval(pair: tuple[Array, Array] | None) -> Interval | None:
    if pair is None:
        return None
    if not (pair[0] <= pair[1]).all():
        raise ValueError("a range ends before it begins")
    return Interval(*pair)


def _position(key: str) -> int:
    if not (key.isascii() and key.isdigit()):
        raise ValueError(f"{key!r} is not the position of a node")
    return int(key)
