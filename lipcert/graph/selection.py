"""Which outputs a bound is about: all together, or single outputs and margins one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lipcert.errors import InvalidRequest
from lipcert.graph.linear_maps import Sparse

if TYPE_CHECKING:
    from lipcert.graph.nodes import Graph


@dataclass(frozen=True)
class Selection:
    """Scalar functionals of the output: rows e_i for an output i, e_i − e_j for a margin; none means all together.

    Attributes
    ----------
    labels
        '3' for an output, '3-5' for the margin y₃ − y₅; empty where all outputs count together.
    """

    labels: tuple[str, ...] = ()

    @classmethod
    def parse(cls, spec: str | int | Iterable[str | int], outputs: int) -> Selection:
        """The selection meant by 'all', 'each', 'pairs', '3', '0,4,7', '3-5', or a sequence of outputs and margins.

        Parameters
        ----------
        spec
            The specification.
        outputs
            Number of outputs of the network.

        Raises
        ------
        InvalidRequest
            If an output does not exist or a part cannot be read.

        Examples
        --------
        >>> Selection.parse("0,2-1", 3).labels
        ('0', '2-1')
        >>> Selection.parse("pairs", 3).labels
        ('0-1', '0-2', '1-2')
        """
        if spec == "all":
            return cls()
        if spec == "each":
            return cls(tuple(str(i) for i in range(outputs)))
        if spec == "pairs":
            if outputs < 2:
                raise InvalidRequest("the network has one output, so there are no pairs", advice="use --outputs each")
            return cls(tuple(f"{i}-{j}" for i, j in combinations(range(outputs), 2)))
        if isinstance(spec, str):
            parts = spec.split(",")
        else:
            parts = [str(spec)] if isinstance(spec, (int, np.integer)) else [str(part) for part in spec]
        labels = tuple(part.strip() for part in parts)
        for label in labels:
            indices = label.split("-")
            if not 1 <= len(indices) <= 2 or not all(i.isascii() and i.isdigit() for i in indices):
                raise InvalidRequest(
                    f"the output selection {label!r} is not understood",
                    advice="use all, each, pairs, or a list such as 0,4,7 or 3-5",
                )
            # Python refuses to read thousands of digits
            if max(map(len, indices)) > 18 or max(map(int, indices)) >= outputs:
                raise InvalidRequest(
                    f"the output selection {label[:40]!r} goes beyond the last output {outputs - 1}",
                    advice=f"the outputs are numbered 0 to {outputs - 1}",
                )
            if len(indices) == 2 and int(indices[0]) == int(indices[1]):
                raise InvalidRequest(f"the margin {label!r} is of an output with itself")
        if not labels:
            raise InvalidRequest("the output selection is empty", advice="use all, each, pairs, or a list")
        return cls(tuple("-".join(str(int(i)) for i in label.split("-")) for label in labels))

    @property
    def joint(self) -> bool:
        """Whether all outputs count together."""
        return not self.labels

    def apply(self, graph: Graph) -> Graph:
        """The graph with the functionals as its outputs; the graph itself where all outputs count together."""
        if self.joint:
            return graph
        entries = [
            (row, int(i), sign)
            for row, label in enumerate(self.labels)
            for i, sign in zip(label.split("-"), (1.0, -1.0), strict=False)
        ]
        rows, columns, values = zip(*entries, strict=True)
        shape = (len(self.labels), graph.output_size)
        return graph.select(Sparse(sp.csr_array((np.array(values), (rows, columns)), shape=shape)))
