"""BLAS threads for the size of the work.

NumPy and SciPy bring a BLAS each, with threads of its own that spin while they wait. Work that alternates between the
two, or consists of many short calls on a machine that is busy, then takes several times longer than with one thread.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

from threadpoolctl import ThreadpoolController

# multiplications from which several threads gain more than they lose
_WORTH = 4e9


def threads_for(multiplications: float) -> AbstractContextManager[object]:
    """A context with one BLAS thread where the longest products and factorisations in it are short.

    Examples
    --------
    >>> import numpy as np
    >>> with threads_for(1e6):
    ...     float(np.ones(3) @ np.ones(3))
    3.0
    """
    if multiplications >= _WORTH:
        return nullcontext()
    return _controller().limit(limits=1, user_api="blas")


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    # looking for the libraries takes milliseconds
    return ThreadpoolController()
