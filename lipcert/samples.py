"""Reading sample points, and their labels, from a file: one sample a row."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import InvalidRequest
from lipcert.regions import Ball, Box

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from lipcert.arrays import Array, IntArray
    from lipcert.regions import Region

FORMATS = ".npy, .npz or .csv"


@dataclass(frozen=True, eq=False)
class Samples:
    """Points and, where they were given, labels.

    Attributes
    ----------
    points
        (samples, inputs).
    labels
        (samples,), class numbers from 0; or None.
    """

    points: Array
    labels: IntArray | None = None


def read_samples(path: Path, inputs: int) -> Array:
    """The samples of a file, flattened, as rows: `read_labelled` without labels."""
    return read_labelled(path, inputs).points


def read_labelled(
    path: Path, inputs: int, *, labels: Path | None = None, column: str | None = None, array: str | None = None
) -> Samples:
    """The samples of a file, flattened, as rows, and their labels.

    Parameters
    ----------
    path
        A .npy or .npz array with the samples along its first axis, or a .csv of numbers, one sample a line, with or without
        a line of names in front.
    inputs
        Numbers a sample must have.
    labels
        A file with one class number a sample, in the same formats; of several arrays in an .npz file the one called y or
        labels, or the only one of that length.
    column
        Where the labels are in the file itself: the name of a column or of an .npz array, or the number of a column, from 0,
        or from −1 at the end.
    array
        Name of the array of samples in an .npz file. Without it, the one called x, or the first that is not the labels.

    Returns
    -------
    Samples

    Raises
    ------
    InvalidRequest
        If a file cannot be read, or does not hold finite samples of that length and one whole number a sample.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "data.csv"
    ...     _ = path.write_text("a,b,class\\n0.5,1,1\\n2,3,0\\n")
    ...     read_labelled(path, 2, column="class").labels.tolist()
    [1, 0]
    """
    if labels is not None and column is not None:
        raise InvalidRequest("the labels are in a file of their own or in a column, not both")
    table = _table(path)
    values, found = table.split(column, array)
    rows = values.reshape(-1, inputs) if values.ndim == 1 and values.size == inputs else values.reshape(len(values), -1)
    if rows.shape[1] != inputs:
        surplus = found is None and rows.shape[1] == inputs + 1
        raise InvalidRequest(
            f"samples of {rows.shape[1]} numbers for a network of {inputs} inputs",
            where=str(path),
            advice="if one of the columns is the label, name it (lipcert robustness --label-column)"
            if surplus
            else "give the inputs of one sample in a row, flattened in the order of the network",
        )
    if not np.isfinite(rows).all():
        raise InvalidRequest("the samples hold numbers that are not finite", where=str(path))
    if labels is not None:
        found, path = _table(labels).labels(len(rows)), labels
    return Samples(rows, None if found is None else whole_labels(found, len(rows), str(path)))


def whole_labels(values: ArrayLike, samples: int, where: str = "") -> IntArray:
    """Labels as whole numbers, one a sample.

    Raises
    ------
    InvalidRequest
        If they are not.
    """
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    if array.size != samples:
        raise InvalidRequest(f"{array.size} labels for {samples} samples", where=where)
    # beyond, float64 holds no neighbouring whole numbers
    wrong = np.flatnonzero(~((array == np.round(array)) & (np.abs(array) < 2.0**53)))
    if wrong.size:
        raise InvalidRequest(
            f"the label {array[wrong[0]]} of sample {wrong[0]} is no whole number",
            where=where,
            advice="number the classes from 0 in the order of the network's outputs",
        )
    return array.astype(np.int64)


@dataclass(frozen=True)
class Place:
    """A region as people write it down: a file, or LOW,HIGH for every input.

    Attributes
    ----------
    box, domain
        A .npz file with `low` and `high`, a .npy or .csv file of two rows, or 'LOW,HIGH'.
    center
        A .npz file with `center`, and perhaps `radius`, or a .npy or .csv file of one row.
    radius, ball
        The radius and the norm of the ball.
    anchored
        Whether changes start from the centre.
    """

    box: str | None = None
    center: str | None = None
    radius: float | None = None
    ball: str | None = None
    domain: str | None = None
    anchored: bool = False

    def region(self, inputs: int, norm: object) -> Region | None:
        """The region of a network of so many inputs, with the norm of the ball unless it has its own; None for everywhere.

        Raises
        ------
        InvalidRequest
            If a file cannot be read or the parts do not fit.

        Examples
        --------
        >>> Place(box="-1,1").region(3, 2).describe()
        'on the box [-1, 1]'
        """
        if self.box is not None and (self.center is not None or self.radius is not None):
            raise InvalidRequest("a region is a box or a ball, not both", advice="leave --box or --center out")
        if self.center is None:
            if self.radius is not None or self.ball is not None:
                raise InvalidRequest("a ball needs a centre", advice="give --center FILE with one row of inputs")
            boxes = [_box(text, inputs) for text in (self.box, self.domain) if text is not None]
            return boxes[0].cut(boxes[-1]) if boxes else None
        centre, radius = _centre(Path(self.center), inputs)
        radius = self.radius if self.radius is not None else radius
        if radius is None:
            raise InvalidRequest("a ball needs a radius", advice="give --radius R")
        within = None if self.domain is None else _box(self.domain, inputs)
        return Ball(centre, radius, self.ball or norm, within)


def held(text: str) -> Array | Box:
    """What an input is held at: 'VALUE' for all its numbers, those of a file, a range 'LOW,HIGH', or a .npz file of one.

    Raises
    ------
    InvalidRequest
        If a file cannot be read.

    Examples
    --------
    >>> held("0.5").tolist(), held("0,1").describe()
    ([0.5], 'on the box [0, 1]')
    """
    ends = text.split(",")
    if len(ends) <= 2 and all(map(_is_number, ends)):
        return Box(*map(float, ends)) if len(ends) == 2 else np.array([float(text)])
    arrays = _table(Path(text)).arrays
    if {"low", "high"} <= arrays.keys():
        return Box(arrays["low"].reshape(-1), arrays["high"].reshape(-1))
    if len(arrays) != 1:
        raise InvalidRequest(f"it holds {', '.join(arrays)}", where=text, advice="give one array, or low and high")
    return next(iter(arrays.values())).reshape(-1)


def _box(text: str, inputs: int) -> Box:
    """The box of a file or of 'LOW,HIGH'."""
    ends = text.split(",")
    if len(ends) == 2 and all(map(_is_number, ends)):
        return Box(*map(float, ends)).fitted(inputs)
    path = Path(text)
    if all(map(_is_number, ends)):
        raise InvalidRequest(
            f"{text} is no box", advice="give LOW,HIGH, the same for every input, or a file with two rows"
        )
    arrays = _table(path).arrays
    if path.suffix == ".npz":
        if not {"low", "high"} <= arrays.keys():
            raise InvalidRequest(
                f"it holds {', '.join(arrays)}, no low and high", where=text, advice="a ball is given by --center"
            )
        return Box(arrays["low"].reshape(-1), arrays["high"].reshape(-1)).fitted(inputs)
    rows = arrays[""]
    if len(rows) != 2:
        raise InvalidRequest(f"it holds {len(rows)} rows", where=text, advice="give the low ends and the high ends")
    return Box(rows[0].reshape(-1), rows[1].reshape(-1)).fitted(inputs)


def _centre(path: Path, inputs: int) -> tuple[Array, float | None]:
    """The centre of a ball and, where the file holds it, its radius."""
    arrays = _table(path).arrays
    name = next((name for name in ("center", "centre", "") if name in arrays), None)
    if name is None:
        raise InvalidRequest(
            f"it holds {', '.join(arrays)}, no center", where=str(path), advice="a box is given by --box"
        )
    centre = arrays[name].reshape(-1)
    if centre.size != inputs:
        raise InvalidRequest(
            f"the centre has {centre.size} numbers, the network {inputs} inputs", where=str(path), advice="give one row"
        )
    radius = arrays.get("radius")
    if radius is not None and radius.size != 1:
        raise InvalidRequest(f"the radius has {radius.size} numbers", where=str(path), advice="give one")
    return centre, None if radius is None else float(radius.item())


@dataclass(frozen=True, eq=False)
class _Table:
    """The arrays of a file by name, or one array with the names of its columns."""

    path: Path
    arrays: Mapping[str, Array]
    columns: tuple[str, ...] = ()

    def split(self, column: str | None, array: str | None) -> tuple[Array, Array | None]:
        """The samples and the labels."""
        names = list(self.arrays)
        if self.path.suffix == ".npz":
            for wanted in (column, array):
                if wanted is not None and wanted not in names:
                    raise self._fail(f"there is no array {wanted!r}", f"its arrays are {', '.join(names)}")
            others = [name for name in names if name != column]
            if not others:
                raise self._fail("it holds no array besides the labels", "add the samples")
            chosen = array or next((name for name in others if name.lower() == "x"), others[0])
            return self.arrays[chosen], None if column is None else self.arrays[column]
        if array is not None:
            raise self._fail("arrays have names in .npz files only", "leave the name out")
        values = self.arrays[names[0]]
        if column is None:
            return values, None
        if values.ndim != 2:
            raise self._fail("the array has no columns", "give the labels in a file of their own")
        at = self._index(column, values.shape[1])
        return np.delete(values, at, axis=1), values[:, at]

    def labels(self, samples: int) -> Array:
        """The labels of a file that is named for them."""
        named = [name for name in self.arrays if name.lower() in ("y", "label", "labels", "target", "targets")]
        fitting = [name for name, values in self.arrays.items() if values.size == samples]
        for choice in (list(self.arrays), named, fitting):
            if len(choice) == 1:
                return self.arrays[choice[0]].reshape(-1)
        raise self._fail(
            f"which of its arrays are the labels is not clear: {', '.join(self.arrays)}",
            "call it y, or keep it in a file alone",
        )

    def _index(self, column: str, count: int) -> int:
        if column in self.columns:
            return self.columns.index(column)
        known = f"its columns are {', '.join(self.columns)}" if self.columns else "it has no line of names"
        try:
            at = int(column)
        except ValueError:
            raise self._fail(f"there is no column {column!r}", known) from None
        if not -count <= at < count:
            raise self._fail(f"there is no column {at}", f"it has {count} columns, numbered from 0")
        return at % count

    def _fail(self, what: str, advice: str) -> InvalidRequest:
        return InvalidRequest(what, where=str(self.path), advice=advice)


def _table(path: Path) -> _Table:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                if not archive.files:
                    raise ValueError("the archive is empty")
                return _Table(path, {name: _numbers(archive[name]) for name in archive.files})
        if path.suffix == ".npy":
            return _Table(path, {"": _numbers(np.load(path, allow_pickle=False))})
        if path.suffix in (".csv", ".txt"):
            return _csv(path)
        raise ValueError(f"unknown ending {path.suffix!r}")
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidRequest(
            f"the samples cannot be read ({reason})", where=str(path), advice=f"give a file {FORMATS}"
        ) from error


def _csv(path: Path) -> _Table:
    """Numbers separated by commas, semicolons, tabs or blanks; the first line may hold names."""
    text = path.read_text(encoding="utf-8-sig")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((mark for mark in (",", ";", "\t") if mark in first), None)
    cells = next(csv.reader([first], delimiter=delimiter)) if delimiter else first.split()
    names = tuple(cell.strip() for cell in cells)
    header = not all(map(_is_number, names))
    skipped = text.index(first) + len(first) if header else 0
    values = np.loadtxt(io.StringIO(text[skipped:]), delimiter=delimiter, ndmin=2, quotechar='"')
    if header and values.size and values.shape[1] != len(names):
        raise ValueError(f"{len(names)} names for {values.shape[1]} columns")
    return _Table(path, {"": _numbers(values)}, names if header else ())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(values: np.ndarray) -> Array:
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.size == 0:
        raise ValueError("it is empty")
    return array
