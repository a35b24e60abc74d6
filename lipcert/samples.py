"""Reading sample points from a file: one sample a row."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import InvalidRequest

if TYPE_CHECKING:
    from lipcert.arrays import Array

FORMATS = ".npy, .npz (its first array) or .csv"


def read_samples(path: Path, inputs: int) -> Array:
    """The samples of a file, flattened, as rows.

    Parameters
    ----------
    path
        A .npy or .npz array with the samples along its first axis, or a .csv of numbers, one sample a line.
    inputs
        Numbers a sample must have.

    Returns
    -------
    Array
        Shape (samples, inputs).

    Raises
    ------
    InvalidRequest
        If the file cannot be read, or does not hold finite samples of that length.
    """
    try:
        values = _read(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidRequest(
            f"the samples cannot be read ({error})", where=str(path), advice=f"give a file {FORMATS}"
        ) from error
    rows = values.reshape(-1, inputs) if values.ndim == 1 and values.size == inputs else values.reshape(len(values), -1)
    if rows.shape[1] != inputs:
        raise InvalidRequest(f"samples of {rows.shape[1]} numbers for a network of {inputs} inputs", where=str(path))
    if not np.isfinite(rows).all():
        raise InvalidRequest("the samples hold numbers that are not finite", where=str(path))
    return rows


def _read(path: Path) -> Array:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            if not archive.files:
                raise ValueError("the archive is empty")
            values = archive[archive.files[0]]
    elif path.suffix == ".npy":
        values = np.load(path, allow_pickle=False)
    elif path.suffix == ".csv":
        values = np.loadtxt(path, delimiter=",", ndmin=2)
    else:
        raise ValueError(f"unknown ending {path.suffix!r}")
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("it is empty")
    return np.atleast_1d(array)
