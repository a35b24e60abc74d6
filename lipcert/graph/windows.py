"""Windows of a pooling layer as index maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import InvalidRequest

if TYPE_CHECKING:
    from lipcert.arrays import IntArray


def pooling_windows(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
    size_out: Sequence[int],
) -> IntArray:
    """The inputs in each window of one channel, flat positions, shape (outputs, taps).

    Parameters
    ----------
    size, size_out
        Spatial sizes of input and output.
    kernel, stride, dilation
        One number a spatial axis.
    pads
        Padding before each axis (further numbers are not needed).

    Returns
    -------
    IntArray
        A tap outside the image is replaced by the first tap inside: for a maximum that is padding with −∞.

    Raises
    ------
    InvalidRequest
        If a window lies in the padding altogether.

    Examples
    --------
    >>> pooling_windows([3], [2], [2], [1], [1], [2])
    array([[0, 0],
           [1, 2]])
    """
    flat = np.zeros((1, 1), dtype=np.int64)
    inside = np.ones((1, 1), dtype=bool)
    for a in range(len(size)):
        start = np.arange(size_out[a], dtype=np.int64)[:, None] * stride[a] - pads[a]
        tap = start + np.arange(kernel[a], dtype=np.int64) * dilation[a]
        valid = (tap >= 0) & (tap < size[a])
        shape = (flat.shape[0] * size_out[a], flat.shape[1] * kernel[a])
        flat = (flat[:, None, :, None] * size[a] + tap[None, :, None, :]).reshape(shape)
        inside = (inside[:, None, :, None] & valid[None, :, None, :]).reshape(shape)
    if not inside.any(axis=1).all():
        raise InvalidRequest("a pooling window lies in the padding altogether")
    first = np.take_along_axis(flat, inside.argmax(axis=1)[:, None], axis=1)
    return np.where(inside, flat, first)
