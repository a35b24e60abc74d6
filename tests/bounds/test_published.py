"""Published methods: their figures, what they refuse, and that nothing they report is below the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipcert.bounds.api import bound
from lipcert.bounds.methods import Job, Prepared
from lipcert.bounds.published.nsr import free_multipliers
from lipcert.bounds.table import METHODS
from lipcert.certificates import verify
from lipcert.constraints.quadratic import group_sort_constraint
from lipcert.errors import InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.evaluate import forward
from lipcert.graph.prepare import FORMS, prepare
from lipcert.ranges import Localised
from lipcert.sdp.outcome import SolverOptions

PUBLISHED = ("lipsdp-nsr", "lipsdp-nsr-full", "lipsdp-rr", "geolip", "eclipse", "eclipse-fast", "liplt")
LAYERWISE = ("eclipse", "eclipse-fast", "liplt")


def relu_network(seed, layer=nn.relu, sizes=(5, 7, 6, 3)):
    rng = np.random.default_rng(seed)
    layers = [nn.linear(rng.standard_normal((sizes[1], sizes[0])), rng.standard_normal(sizes[1]))]
    for n, m in ((sizes[1], sizes[2]), (sizes[2], sizes[3])):
        layers += [layer(), nn.linear(rng.standard_normal((m, n)) / np.sqrt(n), rng.standard_normal(m))]
    return nn.sequential(*layers)


def maxmin_network(seed):
    return relu_network(seed, nn.maxmin, (5, 8, 6, 3))


def upper(graph, method, **request):
    return bound(graph, method=method, lower=False, **request).upper


def proposed(graph, method, tolerance=1e-8):
    job = Job(Prepared(Localised(prepare(graph, METHODS[method].form))), Claim(), "native", SolverOptions(tolerance))
    return METHODS[method].propose(job)


def own_value(graph, method):
    return float(proposed(graph, method).message.split()[2])


def sampled(graph, seed, norm=2, samples=3000):
    """The largest ratio found on random pairs, near and far."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((graph.input_size, samples))
    d = rng.standard_normal((graph.input_size, samples)) * 10.0 ** rng.uniform(-3, 1, samples)
    if norm == np.inf:
        d = np.sign(d) * np.abs(d).max(axis=0)
    dy = forward(graph, x + d) - forward(graph, x)
    return float((np.linalg.norm(dy, axis=0) / np.linalg.norm(d, norm, axis=0)).max())


def mnist(shared_data, name):
    with np.load(shared_data / "maxmin_mnist" / f"{name}.npz") as file:
        return [file[f"W{k}"] for k in range(len(file.files))]


def feedforward(weights):
    layers = [part for w in weights[1:] for part in (nn.maxmin(), nn.linear(w))]
    return nn.sequential(nn.linear(weights[0]), *layers)


@pytest.mark.parametrize(
    ("name", "nsr", "ours"),
    [
        ("l2_2fc_16", 22.594364, 22.074381),
        ("l2_2fc_32", 38.548286, 38.075035),
        ("l2_5fc_32", 224.525954, 193.179587),
        pytest.param("l2_8fc_32", 401.033093, 309.193498, marks=pytest.mark.slow),
    ],
)
def test_the_table_of_the_paper(shared_data, name, nsr, ours):
    graph = feedforward(mnist(shared_data, name))
    assert upper(graph, "lipsdp-nsr") == pytest.approx(nsr, rel=1e-6)
    assert upper(graph, "neuron") == pytest.approx(ours, rel=1e-6)


def test_the_residual_network_of_the_paper(shared_data):
    first, *hidden, last = mnist(shared_data, "res_5_32")
    middle = nn.sequential(*(nn.residual(nn.linear(w), nn.maxmin()) for w in hidden))
    norms = np.linalg.norm(first, 2) * np.linalg.norm(last, 2)
    assert norms * upper(middle, "lipsdp-nsr") == pytest.approx(33.04245, rel=1e-5)
    ours = norms * upper(middle, "neuron")
    assert ours == pytest.approx(29.747643, rel=1e-6)
    full = norms * upper(middle, "lipsdp-nsr-full")
    assert full == pytest.approx(29.749, rel=1e-4)
    assert ours <= full * (1 + 1e-6)


def test_all_multipliers_reach_our_optimum_but_do_not_attain_it(shared_data):
    graph = feedforward(mnist(shared_data, "l2_2fc_16"))
    assert 22.074381 * (1 - 1e-7) <= upper(graph, "lipsdp-nsr-full") <= 22.0745 * (1 + 1e-5)


@pytest.mark.parametrize("size", [2, 3])
def test_free_multipliers_satisfy_the_published_constraints(size):
    """The published matrix, built from the paper's formula in Δx, Δw₁, Δw₂, is positive definite at our point."""
    rng = np.random.default_rng(size)
    n, width = 4, 6
    W = [rng.standard_normal(shape) for shape in ((width, n), (width, width), (3, width))]
    layers = [part for w in W[:2] for part in (nn.linear(w), nn.group_sort(size))]
    graph = nn.sequential(*layers, nn.linear(W[2]))
    # nearer to the optimum nu is so large that rounding hides whether the matrix is positive definite
    case = proposed(graph, "lipsdp-nsr-full", 1e-4).cases[0].plain()
    lam, rho = case.lam, float(case.mu[0])
    nu = free_multipliers(graph, lam, rho)
    assert (nu > 0).all()
    # our rows are (z₁ − z₂) for pairs and of unit length beyond, so are the sums
    across, along = (2.0, 1.0) if size == 2 else (1.0, 1.0 / size)
    z = [
        np.hstack([W[0], np.zeros((width, 2 * width))]),
        np.hstack([np.zeros((width, n)), W[1], np.zeros((width,) * 2)]),
    ]
    w = [np.eye(n + 2 * width)[n : n + width], np.eye(n + 2 * width)[n + width :]]
    y = np.hstack([np.zeros((3, n + width)), W[2]])
    M = np.diag(np.r_[np.full(n, rho), np.zeros(2 * width)]) - y.T @ y
    blocks = width // size
    for k in range(2 * blocks):
        layer, block = divmod(k, blocks)
        rows = slice(block * size, (block + 1) * size)
        stacked = np.vstack([z[layer][rows], w[layer][rows]])
        lam_k, nu_k = across * lam[k], along * nu[k]
        M -= stacked.T @ group_sort_constraint(size, lam_k, -lam_k / size, nu_k, nu_k) @ stacked
    assert np.linalg.eigvalsh(M).min() > -1e-9 * np.abs(M).max()


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
def test_the_published_program_by_a_conic_solver(solver):
    pytest.importorskip(solver)
    graph = maxmin_network(1)
    ours = upper(graph, "neuron")
    proven = bound(graph, method="lipsdp-nsr-full", solver=solver, tolerance=1e-6, lower=False)
    assert proven.solver == solver
    assert ours * (1 - 1e-6) <= proven.upper <= 1.05 * ours


def test_linf_to_one_output_of_the_paper(shared_data):
    graph = feedforward(mnist(shared_data, "l2_2fc_16"))
    assert upper(graph, "neuron", norm="inf", outputs="8") == pytest.approx(166.1295, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_order_of_the_methods_on_maxmin(seed):
    graph = maxmin_network(seed)
    ours, nsr, full = (upper(graph, m) for m in ("neuron", "lipsdp-nsr", "lipsdp-nsr-full"))
    # (C) is the infimum with P and S free (docs/theory.md 3); P = S = 0 is worse
    assert ours <= full * (1 + 1e-6)
    assert full == pytest.approx(ours, rel=1e-3)
    assert ours < nsr * (1 - 1e-6)


def test_nsr_gains_nothing_on_slope_restricted_networks():
    graph = relu_network(1)
    for method in ("lipsdp-nsr", "lipsdp-rr"):
        assert upper(graph, method) == pytest.approx(upper(graph, "neuron"), rel=1e-7)


def test_geolip_is_our_program_for_linf():
    graph = relu_network(2)
    theirs, ours = (upper(graph, m, norm="inf", outputs="each") for m in ("geolip", "neuron"))
    assert theirs == pytest.approx(ours, rel=1e-6)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), method=st.sampled_from(("lipsdp-nsr", "lipsdp-nsr-full", "lipsdp-rr", "liplt")))
def test_bounds_on_maxmin_hold_on_samples(seed, method):
    graph = maxmin_network(seed)
    assert upper(graph, method) >= sampled(graph, seed)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), method=st.sampled_from(LAYERWISE))
def test_layerwise_bounds_hold_and_are_no_worse_than_the_methods_own(seed, method):
    graph = relu_network(seed, (nn.relu, nn.tanh, nn.sigmoid)[seed % 3])
    proven = upper(graph, method)
    assert proven >= sampled(graph, seed)
    assert proven >= upper(graph, "neuron") * (1 - 1e-7)
    assert proven <= own_value(graph, method) * (1 + 1e-5)


@pytest.mark.parametrize("size", [3, 4])
def test_the_norm_product_is_that_of_the_network_as_written(size):
    graph = relu_network(3, lambda: nn.group_sort(size), (5, 12, 12, 3))
    product = bound(graph, lower=False).product
    assert product == pytest.approx(bound(graph, lower=False, form="blocks").product, rel=1e-12)
    assert upper(graph, "product") == product
    expected = np.prod([np.linalg.norm(node.maps[0].matrix, 2) for _, node in graph.walk() if hasattr(node, "maps")])
    assert product == pytest.approx(expected, rel=1e-9)


def test_liplt_by_hand():
    # one hidden ReLU layer: W₁(½ W₀ + ½ …): L = ½‖W₁W₀‖ + ½‖W₁‖‖W₀‖
    rng = np.random.default_rng(0)
    W0, W1 = rng.standard_normal((6, 4)), rng.standard_normal((3, 6))
    graph = nn.sequential(nn.linear(W0), nn.relu(), nn.linear(W1))
    expected = 0.5 * np.linalg.norm(W1 @ W0, 2) + 0.5 * np.linalg.norm(W0, 2) * np.linalg.norm(W1, 2)
    assert own_value(graph, "liplt") == pytest.approx(expected, rel=1e-8)
    assert upper(graph, "liplt") <= expected * (1 + 1e-5)


def test_eclipse_fast_by_hand():
    # Λ = λI with λ = 1/(2‖½W₀W₀ᵀ½‖) = 2/‖W₀‖², X = λI − λ²W₀W₀ᵀ/4, L² = ‖W₁X⁻¹W₁ᵀ‖
    rng = np.random.default_rng(0)
    W0, W1 = rng.standard_normal((6, 4)), rng.standard_normal((3, 6))
    graph = nn.sequential(nn.linear(W0), nn.relu(), nn.linear(W1))
    lam = 2.0 / np.linalg.norm(W0, 2) ** 2
    X = lam * np.eye(6) - lam**2 * W0 @ W0.T / 4.0
    expected = np.sqrt(np.linalg.norm(W1 @ np.linalg.solve(X, W1.T), 2))
    assert own_value(graph, "eclipse-fast") == pytest.approx(expected, rel=1e-6)


def test_eclipse_tells_of_its_layers_and_shares_the_time():
    steps = []
    bound(relu_network(0), method="eclipse", lower=False, time_limit=30.0, progress=steps.append)
    inner = [step for step in steps if step.stage.endswith(": interior point")]
    assert {step.stage for step in inner} == {f"layer {k} of 2: interior point" for k in (1, 2)}
    # the value of a layer's program is none of the network's
    assert {step.bound for step in inner} == {None}
    assert [step.iteration for step in steps if step.stage == "layers"] == [0, 1]
    assert max(step.at_most for step in inner if "1 of 2" in step.stage) <= 15.0


def test_eclipse_is_lipsdp_on_one_hidden_layer():
    rng = np.random.default_rng(3)
    graph = nn.sequential(nn.linear(rng.standard_normal((6, 4))), nn.sigmoid(), nn.linear(rng.standard_normal((3, 6))))
    assert upper(graph, "eclipse") == pytest.approx(upper(graph, "neuron"), rel=1e-5)


@pytest.mark.parametrize(
    ("method", "graph", "request_", "reason"),
    [
        ("lipsdp-rr", nn.sequential(nn.group_sort(4), inputs=4), {}, "MaxMin pairs"),
        ("geolip", relu_network(0), {}, "ℓ∞"),
        ("geolip", relu_network(0), {"norm": "inf", "output_norm": 2}, "scalar output"),
        ("eclipse", maxmin_network(0), {}, "slope-restricted"),
        ("eclipse", relu_network(0), {"norm": "inf"}, "ℓ2"),
        ("eclipse-fast", relu_network(0, nn.abs_), {}, "slopes between 0"),
        ("eclipse-fast", nn.sequential(nn.residual(nn.relu()), inputs=3), {}, "feedforward"),
        ("liplt", nn.sequential(nn.fixed_point([[0.5]], [[1.0]], None, nn.relu())), {}, "implicit"),
        ("lipsdp-nsr", nn.sequential(nn.fixed_point([[0.5]], [[1.0]], None, nn.relu())), {}, "implicit"),
        ("lipsdp-nsr-full", maxmin_network(0), {"norm": "inf", "solver": "clarabel"}, "ℓ2"),
    ],
)
def test_refusals_say_why(method, graph, request_, reason):
    with pytest.raises(InvalidRequest, match=reason):
        bound(graph, method=method, lower=False, **request_)


@pytest.mark.parametrize("method", ["lipsdp-nsr", "lipsdp-rr", "liplt"])
def test_certificates_are_verified_in_their_form(method):
    graph = maxmin_network(4)
    result = bound(graph, method=method, lower=False)
    assert result.certificate.form == METHODS[method].form
    assert verify(result.certificate, graph).well_posed


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_the_same_function(form):
    rng = np.random.default_rng(0)
    v = rng.standard_normal(3)
    graph = nn.sequential(
        nn.linear(rng.standard_normal((8, 5)), rng.standard_normal(8)),
        nn.residual(nn.linear(rng.standard_normal((8, 8))), nn.maxmin()),
        nn.group_sort(4),
        nn.linear(rng.standard_normal((6, 8))),
        nn.householder(v / np.linalg.norm(v)),
    )
    x = rng.standard_normal((5, 20))
    np.testing.assert_allclose(forward(prepare(graph, form), x), forward(graph, x), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_relations_between_norms(seed):
    graph = (relu_network, maxmin_network)[seed % 2](seed)
    n, m = graph.input_size, graph.output_size
    L = {
        (a, b): upper(graph, "neuron", norm=a, output_norm=b)
        for a, b in ((2, 2), ("inf", 2), (2, "inf"), ("inf", "inf"), (2, 1), (1, 2))
    }
    slack = 1 + 1e-6
    assert L[2, 2] <= L["inf", 2] * slack
    assert L[2, "inf"] <= L[2, 2] * slack
    assert L[2, 2] <= np.sqrt(m) * L[2, "inf"] * slack
    assert L["inf", "inf"] <= np.sqrt(n) * L[2, "inf"] * slack
    assert L[2, 2] <= L[2, 1] * slack <= np.sqrt(m) * L[2, 2] * slack**2
    assert L[1, 2] <= L[2, 2] * slack
    assert L["inf", 2] >= sampled(graph, seed, np.inf)
    # outputs one by one are never above all of them together
    each = bound(graph, norm=2, outputs="each", lower=False).each
    assert max(item.upper for item in each) <= L[2, 2] * slack
