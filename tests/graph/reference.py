"""A plain evaluator and a plain SDP, written for the tests only."""

from __future__ import annotations

import cvxpy as cp
import numpy as np

from lipcert.constraints.interconnection import lower
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Activation, Affine, Graph, Input
from lipcert.sdp.problem import subproblems


def forward(graph: Graph, x: np.ndarray) -> np.ndarray:
    """f(x) for columns x; fixed points by plain iteration."""
    return run(graph, [x])


def run(graph: Graph, inputs: list[np.ndarray]) -> np.ndarray:
    value = dict(zip(graph.inputs, inputs, strict=True))
    for position, node in graph.walk():
        if isinstance(node, Input):
            continue
        parents = [value[p] for p in node.parents]
        if isinstance(node, Affine):
            y = sum(a @ p for a, p in zip(node.maps, parents, strict=True))
            value[position] = y if node.bias is None else y + node.bias[:, None]
        elif isinstance(node, Activation):
            w = node.record.value(node.split(parents[0]), node.parameters)
            value[position] = w.reshape(node.size, -1)
        else:
            s = np.zeros((node.size, parents[0].shape[1]))
            for _ in range(300):
                s = run(node.cell, [s, *parents])
            value[position] = s
    return value[graph.output]


def optimum(graph: Graph) -> float:
    """The ℓ2 bound of (C) by Clarabel."""
    (problem,) = subproblems(lower(graph), Claim())
    y = cp.Variable(problem.variables, nonneg=True)
    R, Y = problem.R, problem.Y
    n = R.shape[1]
    column = np.eye(problem.variables)[problem.column]
    Z = cp.diag(column @ y) - Y.T @ Y
    if R.shape[0]:
        row = np.eye(problem.variables)[problem.row]
        Z = Z - R.T @ cp.diag(row @ y) @ R
    S = cp.Variable((n, n), PSD=True)
    task = cp.Problem(cp.Minimize(problem.cost @ y), [S == 0.5 * (Z + Z.T)])
    task.solve(solver=cp.CLARABEL)
    return float(np.sqrt(task.value))


def latents(graph: Graph) -> int:
    """Scalar channels after lowering."""
    return lower(graph).groups.channels
