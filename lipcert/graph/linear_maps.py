"""Linear maps between flat vectors: dense, sparse, index, diagonal and convolution.

A map acts on one vector ``(n,)`` or on the columns of a matrix ``(n, columns)``. Entries are exact float64 numbers;
only a `Diagonal` may carry a radius (its true entries lie within it), which is how constants such as 1/9 or a batch
normalisation enter as enclosures.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray


class LinearMap(ABC):
    """A real matrix with a structure that products can use.

    Attributes
    ----------
    shape
        (rows, columns).
    """

    shape: tuple[int, int]

    @abstractmethod
    def __matmul__(self, x: Array) -> Array:
        """A x for x of shape (columns,) or (columns, k)."""

    @abstractmethod
    def adjoint(self, y: Array) -> Array:
        """Aᵀ y for y of shape (rows,) or (rows, k)."""

    @abstractmethod
    def magnitude(self) -> LinearMap:
        """|A| entrywise, for error bounds."""

    @abstractmethod
    def to_sparse(self) -> sp.csr_array:
        """The same matrix as CSR."""

    @property
    @abstractmethod
    def terms(self) -> int:
        """The largest number of products that are added up for one entry of A x."""

    @property
    def adjoint_terms(self) -> int:
        """The largest number of products that are added up for one entry of Aᵀ y."""
        return self.shape[0]

    @abstractmethod
    def _content(self) -> tuple[object, ...]:
        """The arrays and numbers that define the map, for `fingerprint`."""

    @property
    def radius(self) -> LinearMap | None:
        """An entrywise bound on |A_true − A|, or None where the entries are exact."""
        return None

    def to_dense(self) -> Array:
        """The same matrix as a dense array."""
        return np.asarray(self.to_sparse().toarray())

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of the kind, the shape and the entries."""
        digest = hashlib.sha256(f"{type(self).__name__}{self.shape}".encode())
        for item in self._content():
            if isinstance(item, np.ndarray):
                digest.update(f"{item.dtype.str}{item.shape}".encode())
                digest.update(np.ascontiguousarray(item).tobytes())
            else:
                digest.update(repr(item).encode())
        return digest.digest()


@dataclass(frozen=True, eq=False)
class Dense(LinearMap):
    """A dense matrix.

    Examples
    --------
    >>> Dense(np.array([[1.0, 2.0]])) @ np.array([3.0, 4.0])
    array([11.])
    """

    matrix: Array

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return self.matrix.shape  # type: ignore[return-value]

    @property
    def terms(self) -> int:
        return self.matrix.shape[1]

    def __matmul__(self, x: Array) -> Array:
        return self.matrix @ x

    def adjoint(self, y: Array) -> Array:
        return self.matrix.T @ y

    def magnitude(self) -> LinearMap:
        return Dense(np.abs(self.matrix))

    def to_sparse(self) -> sp.csr_array:
        return sp.csr_array(self.matrix)

    def to_dense(self) -> Array:
        return self.matrix

    def _content(self) -> tuple[object, ...]:
        return (self.matrix,)


@dataclass(frozen=True, eq=False)
class Sparse(LinearMap):
    """A sparse matrix in canonical CSR form."""

    matrix: sp.csr_array

    def __post_init__(self) -> None:
        self.matrix.sum_duplicates()
        self.matrix.sort_indices()

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return self.matrix.shape  # type: ignore[no-any-return]

    @cached_property
    def terms(self) -> int:  # type: ignore[override]
        return int(np.diff(self.matrix.indptr).max(initial=0))

    @cached_property
    def adjoint_terms(self) -> int:  # type: ignore[override]
        return int(np.bincount(self.matrix.indices, minlength=1).max())

    @cached_property
    def _transpose(self) -> sp.csr_array:
        return self.matrix.T.tocsr()

    def __matmul__(self, x: Array) -> Array:
        return np.asarray(self.matrix @ x)

    def adjoint(self, y: Array) -> Array:
        return np.asarray(self._transpose @ y)

    def magnitude(self) -> LinearMap:
        return Sparse(abs(self.matrix))

    def to_sparse(self) -> sp.csr_array:
        return self.matrix

    def _content(self) -> tuple[object, ...]:
        return (self.matrix.data, self.matrix.indices.astype(np.int64), self.matrix.indptr.astype(np.int64))


@dataclass(frozen=True, eq=False)
class Index(LinearMap):
    """Data movement: row i is the unit row ``index[i]``, or zero where ``index[i]`` is −1.

    Examples
    --------
    >>> Index(np.array([2, -1, 0]), 3) @ np.array([5.0, 6.0, 7.0])
    array([7., 0., 5.])
    """

    index: IntArray
    columns: int

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return (self.index.size, self.columns)

    @property
    def terms(self) -> int:
        return 1

    @cached_property
    def adjoint_terms(self) -> int:  # type: ignore[override]
        used = self.index[self.index >= 0]
        return int(np.bincount(used, minlength=1).max())

    @cached_property
    def is_identity(self) -> bool:
        """Whether the map leaves every vector as it is."""
        return self.index.size == self.columns and bool(np.array_equal(self.index, np.arange(self.columns)))

    @cached_property
    def _padded(self) -> bool:
        return bool((self.index < 0).any())

    def __matmul__(self, x: Array) -> Array:
        if not self._padded:
            return np.take(x, self.index, axis=0)
        y = np.take(x, np.maximum(self.index, 0), axis=0)
        y[self.index < 0] = 0.0
        return y

    def adjoint(self, y: Array) -> Array:
        if self.adjoint_terms > 1:
            return np.asarray(self._transpose @ y)
        x = np.zeros((self.columns, *y.shape[1:]))
        used = self.index >= 0
        x[self.index[used]] = y[used]
        return x

    @cached_property
    def _transpose(self) -> sp.csr_array:
        return self.to_sparse().T.tocsr()

    def magnitude(self) -> LinearMap:
        return self

    def to_sparse(self) -> sp.csr_array:
        rows = np.flatnonzero(self.index >= 0)
        return sp.csr_array((np.ones(rows.size), (rows, self.index[rows])), shape=self.shape)

    def after(self, first: Index) -> Index:
        """The composition: `first`, then this map.

        Examples
        --------
        >>> Index(np.array([1, -1]), 2).after(Index(np.array([4, 3]), 5)).index
        array([ 3, -1])
        """
        index = np.where(self.index >= 0, first.index[np.maximum(self.index, 0)], -1)
        return Index(index, first.columns)

    def _content(self) -> tuple[object, ...]:
        return (self.index.astype(np.int64), self.columns)


@dataclass(frozen=True, eq=False)
class Diagonal(LinearMap):
    """A diagonal matrix whose true entries lie in ``entries ± radii``."""

    entries: Array
    radii: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return (self.entries.size, self.entries.size)

    @property
    def terms(self) -> int:
        return 1

    @property
    def adjoint_terms(self) -> int:
        return 1

    def __matmul__(self, x: Array) -> Array:
        return self.entries * x if x.ndim == 1 else self.entries[:, None] * x

    def adjoint(self, y: Array) -> Array:
        return self @ y

    def magnitude(self) -> LinearMap:
        return Diagonal(np.abs(self.entries))

    @property
    def radius(self) -> LinearMap | None:
        return None if self.radii is None else Diagonal(self.radii)

    def to_sparse(self) -> sp.csr_array:
        return sp.csr_array(sp.diags_array(self.entries))

    def _content(self) -> tuple[object, ...]:
        return (self.entries, self.radii if self.radii is not None else 0)


@dataclass(frozen=True, eq=False)
class Convolution(LinearMap):
    """A grouped, strided, padded, dilated convolution of one image, of any spatial rank, without its matrix.

    Parameters
    ----------
    kernel
        (channels out, channels in / groups, *kernel sizes), ONNX order (a cross-correlation).
    size
        Spatial sizes of the input.
    stride, dilation
        One number a spatial axis.
    pads
        Zeros before and after each spatial axis: (begin…, end…); negative numbers crop.
    groups
        Number of channel groups.
    """

    kernel: Array
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    groups: int = 1

    @cached_property
    def channels_in(self) -> int:
        """Channels of the input."""
        return int(self.kernel.shape[1] * self.groups)

    @cached_property
    def size_out(self) -> tuple[int, ...]:
        """Spatial sizes of the output."""
        rank = len(self.size)
        return tuple(
            (self.size[a] + self.pads[a] + self.pads[a + rank] - self.dilation[a] * (self.kernel.shape[2 + a] - 1) - 1)
            // self.stride[a]
            + 1
            for a in range(rank)
        )

    @cached_property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return (
            int(self.kernel.shape[0] * np.prod(self.size_out)),
            int(self.channels_in * np.prod(self.size)),
        )

    @property
    def terms(self) -> int:
        return int(np.prod(self.kernel.shape[1:]))

    @property
    def adjoint_terms(self) -> int:
        return int(self.kernel.shape[0] // self.groups * np.prod(self.kernel.shape[2:]))

    @cached_property
    def _taps(self) -> list[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
        """For each kernel tap that meets the image: its position, the inputs it reads, the outputs it writes."""
        rank = len(self.size)
        taps = []
        for tap in np.ndindex(*self.kernel.shape[2:]):
            reads: list[slice] = []
            writes: list[slice] = []
            for a in range(rank):
                # output o reads input o·stride + offset, which must lie in [0, size)
                offset = tap[a] * self.dilation[a] - self.pads[a]
                first = max(0, -(offset // self.stride[a]))
                last = min(self.size_out[a] - 1, (self.size[a] - 1 - offset) // self.stride[a])
                if last < first:
                    break
                start = first * self.stride[a] + offset
                reads.append(slice(start, start + (last - first) * self.stride[a] + 1, self.stride[a]))
                writes.append(slice(first, last + 1))
            else:
                taps.append((tap, tuple(reads), tuple(writes)))
        return taps

    def __matmul__(self, x: Array) -> Array:
        columns = x.shape[1:]
        image = x.reshape(self.groups, -1, *self.size, *columns)
        kernel = self.kernel.reshape(self.groups, -1, *self.kernel.shape[1:])
        out = np.zeros((self.groups, kernel.shape[1], *self.size_out, *columns))
        for tap, reads, writes in self._taps:
            part = image[(slice(None), slice(None), *reads)]
            product = _tap(kernel, tap) @ part.reshape(self.groups, part.shape[1], -1)
            out[(slice(None), slice(None), *writes)] += product.reshape(self.groups, -1, *part.shape[2:])
        return out.reshape(self.shape[0], *columns)

    def adjoint(self, y: Array) -> Array:
        columns = y.shape[1:]
        kernel = self.kernel.reshape(self.groups, -1, *self.kernel.shape[1:])
        image = y.reshape(self.groups, -1, *self.size_out, *columns)
        out = np.zeros((self.groups, kernel.shape[2], *self.size, *columns))
        for tap, reads, writes in self._taps:
            part = image[(slice(None), slice(None), *writes)]
            product = _tap(kernel, tap).swapaxes(1, 2) @ part.reshape(self.groups, part.shape[1], -1)
            out[(slice(None), slice(None), *reads)] += product.reshape(self.groups, -1, *part.shape[2:])
        return out.reshape(self.shape[1], *columns)

    def patches(self) -> IntArray:
        """The input that each kernel entry meets at each output position, −1 for padding.

        Shape (groups, channels in / groups · taps, output positions): the kernel, as a matrix, times these inputs.
        """
        source = np.arange(self.shape[1]).reshape(self.groups, -1, *self.size)
        index = np.full((*source.shape[:2], *self.kernel.shape[2:], *self.size_out), -1, dtype=np.int64)
        for tap, reads, writes in self._taps:
            at: tuple[int | slice, ...] = (slice(None), slice(None), *tap, *writes)
            index[at] = source[(slice(None), slice(None), *reads)]
        return index.reshape(self.groups, self.kernel[0].size, -1)

    def magnitude(self) -> LinearMap:
        return Convolution(np.abs(self.kernel), self.size, self.stride, self.dilation, self.pads, self.groups)

    def to_sparse(self) -> sp.csr_array:
        # nothing beside the result is as large: rows of a group differ in their values alone
        kernel = self.kernel.reshape(self.groups, -1, self.kernel[0].size)
        indices, values, counts = [], [], []
        for weights, source in zip(kernel, self.patches(), strict=True):
            position, entry = np.nonzero(source.T >= 0)
            indices.append(np.tile(source[entry, position].astype(np.int32), len(weights)))
            values.append(weights[:, entry].ravel())
            counts.append(np.tile(np.bincount(position, minlength=source.shape[1]), len(weights)))
        ends = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        parts = [x[0] if self.groups == 1 else np.concatenate(x) for x in (values, indices)]
        return sp.csr_array((*parts, ends.astype(np.int32 if ends[-1] < 2**31 else np.int64)), shape=self.shape)

    def _content(self) -> tuple[object, ...]:
        return (self.kernel, self.size, self.stride, self.dilation, self.pads, self.groups)


def _tap(kernel: Array, tap: tuple[int, ...]) -> Array:
    """The channel matrix of one kernel position."""
    index: tuple[int | slice, ...] = (*[slice(None)] * (kernel.ndim - len(tap)), *tap)
    return np.asarray(kernel[index])


def identity(n: int) -> Index:
    """The identity on n numbers."""
    return Index(np.arange(n), n)
