"""One of each kind, added at run time, goes all the way: bound, save, load, verify."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest

import lipcert
from lipcert.activations import TABLE, Pointwise, balls
from lipcert.bounds import run
from lipcert.bounds.methods import Job, Method, Proposal, propose_product
from lipcert.bounds.table import METHODS
from lipcert.constraints.multipliers import tie_groups
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Activation, Graph
from lipcert.importer.registry import HANDLERS, Context, Tensor
from lipcert.sdp.outcome import Outcome, SolverOptions, Status
from lipcert.sdp.problem import OperatorProblem
from lipcert.sdp.solvers import SOLVERS, Registration, Takes

W1, W2 = np.array([[1.0, 2.0], [-1.0, 0.5], [0.25, -1.0]]), np.array([[1.0, -1.0, 2.0]])
NETWORK = nn.sequential(nn.linear(W1), nn.relu(), nn.linear(W2))


def proven(graph: Graph, folder: Path, **request: str) -> lipcert.Bound:
    """A bound whose certificate was saved, read and verified."""
    found = lipcert.bound(graph, lower=False, **request)
    assert found.certificate is not None
    found.certificate.save(folder / "proof.json")
    assert lipcert.verify(folder / "proof.json", graph).value == found.upper
    return found


def test_a_new_activation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Pointwise(
        name="leaky_tanh",
        title="leaky tanh",
        function=lambda z, p: np.tanh(z) + z / 8,
        gradient=lambda z, p: 1 - np.tanh(z) ** 2 + 0.125,
        slopes=lambda p: (np.array([0.125]), np.array([1.125])),
        enclosure=lambda x, p: balls.tanh(x) + x / 8,
        source="tanh' lies in (0, 1]",
        spelling=lambda pen, x, p: pen.op("Add", pen.op("Tanh", x), pen.op("Mul", x, pen.number(0.125))),
    )
    with pytest.raises(lipcert.InvalidRequest, match="leaky_tanh"):
        nn.sequential(nn.linear(W1), nn.activation("leaky_tanh"), nn.linear(W2))
    monkeypatch.setitem(TABLE, "leaky_tanh", record)
    graph = nn.sequential(nn.linear([[3.0, 4.0]]), nn.activation("leaky_tanh"), nn.linear([[2.0]]))
    assert 11.25 <= proven(graph, tmp_path).upper < 11.2501
    lipcert.save(graph, tmp_path / "net.onnx")
    assert [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node][:4] == ["Gemm", "Tanh", "Mul", "Add"]
    monkeypatch.setitem(TABLE, "leaky_tanh", replace(record, spelling=None))
    with pytest.raises(lipcert.InvalidRequest, match=r"leaky_tanh.*no spelling"):
        lipcert.save(nn.sequential(nn.activation("leaky_tanh"), inputs=1), tmp_path / "net.onnx")


def test_a_new_op(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compress(ctx: Context) -> Tensor:
        """Data movement; the condition must be constant."""
        x, condition = ctx.tensor(0), ctx.constant(1).astype(bool)
        positions = np.arange(x.size).reshape(x.shape)
        return ctx.index(x, np.compress(condition, positions, axis=ctx.attribute("axis")))

    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["": 18]>
        selected (float[1, 3] x) => (float[1, 2] y)
        <bool[3] condition = {1, 0, 1}> {
            scaled = Relu (x)
            y = Compress <axis = 1> (scaled, condition)
        }""")
    onnx.save(model, tmp_path / "net.onnx")
    monkeypatch.setitem(HANDLERS, "Compress", compress)
    assert 1.0 <= proven(lipcert.load(tmp_path / "net.onnx"), tmp_path).upper < 1.0001


def test_a_new_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def propose(job: Job) -> Proposal:
        return propose_product(job)

    monkeypatch.setitem(METHODS, "telescope", Method("telescope", "the telescoping sum", "folklore", propose))
    found = proven(NETWORK, tmp_path, method="telescope")
    assert lipcert.bound(NETWORK, lower=False).upper <= found.upper <= found.product * (1.0 + 1e-6)


def one_multiplier(problem: OperatorProblem, options: SolverOptions) -> Outcome:
    """All multipliers alike, the best of a grid: products with unit vectors give the matrices."""
    operator = problem.operator
    stacked = operator @ np.eye(operator.shape[1])
    R, Y, n = stacked[: operator.rows], stacked[operator.rows :], operator.channels
    best = Outcome(None, Status.STALLED, np.inf, None, 0, 0.0)
    for t in np.geomspace(1e-3, 1e3, 200):
        Z = -t * R.T @ R - Y.T @ Y
        Z[np.arange(n), np.arange(n)] += t
        if np.linalg.eigvalsh(Z[:n, :n])[0] <= 0.0:
            continue
        rho = np.linalg.eigvalsh(Z[n:, :n] @ np.linalg.solve(Z[:n, :n], Z[:n, n:]) - Z[n:, n:])[-1]
        if np.sqrt(rho) < best.bound:
            count = int(tie_groups(operator.groups, problem.tie).max(initial=-1)) + 1
            y = np.append(np.full(count, t), rho)
            best = Outcome(y, Status.OPTIMAL, float(np.sqrt(rho)), None, 200, 0.0)
    return best


def test_a_new_solver_that_takes_an_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Registration(
        "grid", "one multiplier", "lipcert", __name__, "one_multiplier", takes=Takes.OPERATOR, euclidean=True
    )
    monkeypatch.setitem(SOLVERS, "grid", entry)
    monkeypatch.setattr(Registration, "load", lambda self: one_multiplier)
    found = proven(NETWORK, tmp_path, solver="grid", method="layer")
    assert found.solver == "grid"
    assert found.product is not None
    assert found.upper < found.product
    with pytest.raises(lipcert.NotCertified, match="ℓ2 to ℓ2"):
        lipcert.bound(NETWORK, norm="inf", solver="grid", method="layer", lower=False)


@pytest.mark.parametrize("region", [None, lipcert.Box(-1.0, 1.0)])
@pytest.mark.parametrize(("layer", "expands"), [(nn.relu, False), (lambda: nn.group_sort(3), True)])
def test_a_bound_prepares_once_a_form_and_makes_each_normal_form_once(
    layer: Callable[[], object], expands: bool, region: lipcert.Box | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms: Counter[str] = Counter()
    made: list[Activation] = []
    swept: list[Graph] = []
    # the package has a function of the name of the module
    localise = import_module("lipcert.ranges.localise")
    posed, of, normal_form = run.posed, localise.Swept.of.__func__, Activation.normal_form.func

    def counted(graph: Graph, claim: Claim, form: str, *rest: object) -> object:
        forms[form] += 1
        return posed(graph, claim, form, *rest)

    def ranged(cls: type, graph: Graph, *rest: object) -> object:
        swept.append(graph)
        return of(cls, graph, *rest)

    def form_of(node: Activation) -> object:
        made.append(node)
        return normal_form(node)

    monkeypatch.setattr(run, "posed", counted)
    monkeypatch.setattr(localise.Swept, "of", classmethod(ranged))
    # each bound is doubted, so that all that it has is tried
    monkeypatch.setattr(run, "least", lambda proposal, claim: 0.0)
    monkeypatch.setattr(Activation.normal_form, "func", form_of)
    graph = nn.sequential(nn.linear(W1), layer(), nn.linear(W2))
    lipcert.bound(graph, lower=False, region=region)
    assert set(forms) == ({"blocks", "comparators"} if expands else {"blocks"})
    assert set(forms.values()) == {1}
    assert len(swept) == (0 if region is None else len(forms))
    assert made
    assert len(set(map(id, made))) == len(made)
