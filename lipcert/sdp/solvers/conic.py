"""Conic solvers through cvxpy: Clarabel, SCS, MOSEK. A backend is data; the translation of the problem is one.

They get (C) in its transposed form (see `transposed`), which is only as large as [R; Y] has rows,

    A(theta) = Diag(theta[row]; 1) − W Diag(theta[column]) Wᵀ ⪰ 0,    minimise Σ inverse/theta + Σ linear·theta,

in variables relative to the native solver's start, where each of them is about 1.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from lipcert.errors import InvalidRequest, MissingExtra, SolverUnavailable
from lipcert.sdp.outcome import Outcome, SolverOptions, Status
from lipcert.sdp.solvers import interior_point
from lipcert.sdp.solvers.start import starting_point
from lipcert.sdp.solvers.transposed import TransposedProgram, reduced

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.sdp.problem import Problem

# how far a variable may move from the start; beyond, it has no influence
_REACH = 1e8


@dataclass(frozen=True)
class Backend:
    """A solver that cvxpy can call.

    Attributes
    ----------
    name, title
        Its name here, and in cvxpy.
    package, extra
        The package to import, and the extra of lipcert that installs it.
    tolerances
        The options that take the relative tolerance.
    time_limit, max_iterations
        The names of these options.
    objectives
        Primal and dual objective from the solver's own result, or None.
    fixed
        Options that are always passed on.
    nested
        The keyword under which cvxpy wants the options, or '' for plain keywords.
    """

    name: str
    title: str
    package: str
    extra: str
    tolerances: tuple[str, ...]
    time_limit: str
    max_iterations: str
    objectives: Callable[[Any], tuple[float, float] | None]
    fixed: Mapping[str, object] = field(default_factory=dict)
    nested: str = ""

    def keywords(self, options: SolverOptions) -> dict[str, object]:
        """The keyword arguments of cvxpy for these options."""
        chosen: dict[str, object] = dict.fromkeys(self.tolerances, options.tolerance)
        if options.time_limit is not None:
            chosen[self.time_limit] = max(options.time_limit, 1e-3)
        if options.max_iterations is not None:
            chosen[self.max_iterations] = options.max_iterations
        chosen |= options.extra
        return {**self.fixed, **({self.nested: chosen} if self.nested else chosen)}


CLARABEL = Backend(
    "clarabel",
    "CLARABEL",
    "clarabel",
    "solvers",
    ("tol_gap_rel", "tol_gap_abs", "tol_feas"),
    "time_limit",
    "max_iter",
    lambda raw: (raw.obj_val, raw.obj_val_dual),
    {"accept_unknown": True},
)
SCS = Backend(
    "scs",
    "SCS",
    "scs",
    "solvers",
    ("eps_rel", "eps_abs"),
    "time_limit_secs",
    "max_iters",
    lambda raw: (raw["info"]["pobj"], raw["info"]["dobj"]),
)
MOSEK = Backend(
    "mosek",
    "MOSEK",
    "mosek",
    "mosek",
    ("MSK_DPAR_INTPNT_CO_TOL_REL_GAP", "MSK_DPAR_INTPNT_CO_TOL_PFEAS", "MSK_DPAR_INTPNT_CO_TOL_DFEAS"),
    "MSK_DPAR_OPTIMIZER_MAX_TIME",
    "MSK_IPAR_INTPNT_MAX_ITERATIONS",
    lambda raw: None,
    {"accept_unknown": True},
    "mosek_params",
)
BACKENDS = {backend.name: backend for backend in (CLARABEL, SCS, MOSEK)}


def solve(problem: Problem, options: SolverOptions, *, backend: Backend) -> Outcome:
    """Solve with a backend of cvxpy; the raw multipliers come back whatever its status.

    Parameters
    ----------
    problem
        The semidefinite program.
    options
        `extra` is passed on to the backend by its own option names; a start is not, since cvxpy cannot.
    backend
        Which one.

    Raises
    ------
    MissingExtra
        If cvxpy or the solver's package is not installed.
    SolverUnavailable
        If the solver has no licence here.
    InvalidRequest
        If the backend refuses an option.

    Examples
    --------
    >>> from lipcert.constraints.interconnection import lower
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.claim import Claim
    >>> from lipcert.sdp.problem import subproblems
    >>> network = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]]))
    >>> (problem,) = subproblems(lower(network), Claim())
    >>> round(solve(problem, SolverOptions(), backend=CLARABEL).bound, 5)
    10.0
    """
    cp = load_cvxpy(backend)
    started = time.perf_counter()
    form, restore = reduced(problem)
    base = starting_point(form, solve=interior_point.solve)
    if base is None:
        base = np.ones(form.variables)
    if not form.inverse.any():
        constant = restore.variables(base)
        return Outcome(constant, Status.CLOSED_FORM, problem.bound(constant), 0.0, 0, time.perf_counter() - started)
    options.tell(f"{backend.name} is solving", 0, time.perf_counter() - started)
    program, theta = _program(cp, form, base)
    raw, message = run(cp, program, backend, options)
    seconds = time.perf_counter() - started
    iterations = int(getattr(program.solver_stats, "num_iters", None) or 0) if program.solver_stats else 0
    y: Array | None = None
    if theta.value is not None and np.isfinite(theta.value).all():
        y = restore.variables(base * np.clip(theta.value, 1.0 / _REACH, _REACH))
    objectives = backend.objectives(raw) if raw is not None and y is not None else None
    gap = None if objectives is None else abs(objectives[0] - objectives[1]) / max(abs(objectives[0]), 1e-300)
    return Outcome(
        y,
        status_of(cp, program.status, options, seconds),
        np.inf if y is None else problem.bound(y),
        gap,
        iterations,
        seconds,
        message=message,
    )


clarabel = partial(solve, backend=CLARABEL)
scs = partial(solve, backend=SCS)
mosek = partial(solve, backend=MOSEK)


def unavailable(backend: Backend) -> str | None:
    """Why a backend cannot run here, or None; asks for the licence where there is one to ask for."""
    try:
        cp = load_cvxpy(backend)
        if backend is MOSEK:
            x = cp.Variable()
            run(cp, cp.Problem(cp.Minimize(x), [x >= 1]), backend, SolverOptions())
    except (MissingExtra, SolverUnavailable) as error:
        return str(error)
    return None


def load_cvxpy(backend: Backend) -> Any:
    """The module cvxpy, with the backend's package at hand."""
    for package in ("cvxpy", backend.package):
        try:
            __import__(package)
        except ImportError:
            raise MissingExtra(package, backend.extra, purpose=f"the solver {backend.name}") from None
    import cvxpy

    return cvxpy


def run(cp: Any, program: Any, backend: Backend, options: SolverOptions) -> tuple[Any, str]:
    """Solve and fill the variables; the solver's own result and words."""
    raw = None
    keywords = backend.keywords(options)
    try:
        data, chain, inverse = program.get_problem_data(backend.title, solver_opts=dict(keywords))
        raw = chain.solve_via_data(program, data, False, False, dict(keywords))
        with warnings.catch_warnings():
            # 'may be inaccurate': the proof judges
            warnings.simplefilter("ignore", UserWarning)
            program.unpack_results(raw, chain, inverse)
    except cp.SolverError as error:
        return raw, f"{backend.name}: {error}"
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if backend is MOSEK and type(error).__module__.startswith("mosek") and "license" in text.lower():
            raise SolverUnavailable(
                f"MOSEK has no usable licence here ({str(error).splitlines()[0]})",
                advice="put a licence at ~/mosek/mosek.lic or name it in MOSEKLM_LICENSE_FILE, or use --solver native",
            ) from None
        if isinstance(error, (TypeError, ValueError, KeyError, AttributeError)) and options.extra:
            raise InvalidRequest(
                f"the solver {backend.name} refuses the options {sorted(options.extra)} ({text})",
                advice="use its own option names",
            ) from None
        return raw, f"{backend.name}: {text}"
    return raw, f"{backend.name}: {program.status}"


def status_of(cp: Any, status: str | None, options: SolverOptions, seconds: float) -> Status:
    """Our name for a status of cvxpy."""
    if status == cp.OPTIMAL:
        return Status.OPTIMAL
    if options.time_limit is not None and seconds >= 0.95 * options.time_limit:
        return Status.TIME_LIMIT
    return Status.ITERATION_LIMIT if status == cp.USER_LIMIT else Status.STALLED


def _program(cp: Any, form: TransposedProgram, base: Array) -> tuple[Any, Any]:
    """The problem of cvxpy in theta/base, and this variable."""
    diagonal = np.sqrt(form.diagonal(base))
    V = form.W * np.sqrt(base[form.column]) / diagonal[:, None]
    n = form.size
    theta = cp.Variable(form.variables)
    free = np.flatnonzero(form.row >= 0)
    pivot = sp.csr_array((np.ones(free.size), (free * (n + 1), form.row[free])), shape=(n * n, form.variables))
    constant = np.zeros(n * n)
    constant[np.flatnonzero(form.row < 0) * (n + 1)] = 1.0
    A = sp.csc_array(pivot - outer_products(V, form.column, form.variables))
    constraints = [
        cp.reshape(A @ theta + constant, (n, n), order="F") >> 0,
        theta >= 1.0 / _REACH,
        theta <= _REACH,
    ]
    inverse, linear = form.inverse / base, form.linear * base
    scale = inverse.sum() + linear.sum()
    inputs = np.flatnonzero(inverse)
    if inputs.size == 1 and not linear.any():
        return cp.Problem(cp.Maximize(theta[int(inputs[0])]), constraints), theta
    # t theta ≥ 1 as ‖(t − theta, 2)‖ ≤ t + theta
    t, s = cp.Variable(inputs.size), theta[inputs]
    constraints.append(cp.SOC(t + s, cp.vstack([t - s, np.full(inputs.size, 2.0)]), axis=0))
    return cp.Problem(cp.Minimize((inverse[inputs] / scale) @ t + (linear / scale) @ theta), constraints), theta


def outer_products(V: Array, variable: IntArray, variables: int) -> sp.csr_array:
    """Column i: Σ over the columns c of V with variable i of vec(c cᵀ)."""
    n = V.shape[0]
    upper = np.triu_indices(n)
    pairs = upper[0].size
    # a variable of many columns is one Gram matrix, the others share a product with the indicator of their columns
    shared = np.flatnonzero(np.bincount(variable, minlength=variables) > n)
    alone = np.flatnonzero(~np.isin(variable, shared))
    member = sp.csr_array(
        (np.ones(alone.size), (np.arange(alone.size), variable[alone])), shape=(alone.size, variables)
    )
    narrow = sp.csr_array(V[:, alone])
    products = sp.csr_array(narrow[upper[0]].multiply(narrow[upper[1]]) @ member)
    for i in shared:
        gram = (V[:, variable == i] @ V[:, variable == i].T)[upper]
        products = products + sp.csr_array((gram, (np.arange(pairs), np.full(pairs, i))), shape=products.shape)
    place = np.empty((n, n), dtype=np.int64)
    place[upper] = place[upper[::-1]] = np.arange(pairs)
    return sp.csr_array(products[place.ravel()])
