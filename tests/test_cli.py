"""The command line: what it prints, exit codes, bad input, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

import lipcert
from lipcert import cli
from lipcert.graph import build as nn
from lipcert.report import progress

MODELS = Path(__file__).resolve().parents[1] / "models"
RELU = str(MODELS / "digits_relu.onnx")
MAXMIN = str(MODELS / "digits_maxmin.onnx")
CONTROLLER = str(MODELS / "oscillator_controller.onnx")
KEYS = {
    "model": str,
    "sha256": str,
    "inputs": int,
    "outputs": int,
    "channels": int,
    "norm": str,
    "output_norm": str,
    "scope": dict,
    "decided": int,
    "layers": list,
    "upper": float,
    "lower": (float, type(None)),
    "ratio": (float, type(None)),
    "gap": (float, type(None)),
    "leaves": int,
    "depth": int,
    "product": (float, type(None)),
    "verified": bool,
    "method": str,
    "solver": str,
    "status": str,
    "relative_gap": (float, type(None)),
    "proof_loss": (float, type(None)),
    "iterations": (int, type(None)),
    "seconds": float,
    "well_posed": bool,
    "idealisations": list,
    "notes": list,
    "certificate": (str, type(None)),
    "report": (str, type(None)),
    "each": list,
    "at_most": (dict, type(None)),
    "lipcert": str,
    "options": dict,
}

# the command line with a solver that is interrupted in its second step: a signal from outside may come before or after it
INTERRUPTED = """
import os, signal, sys
from lipcert import cli
from lipcert.sdp.solvers.interior_point import Search

report = Search.report

def interrupted(self):
    report(self)
    if self.iterations == 2:
        os.kill(os.getpid(), signal.SIGINT)

Search.report = interrupted
# a process that was started in the background inherits that it ignores the signal
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(cli.main())
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, arguments)


def bound(*arguments: str) -> dict[str, Any]:
    """The object that `lipcert bound … --json` prints, which must be all that it prints."""
    result = run("bound", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "lipcert", *arguments], capture_output=True, text=True, timeout=600, **options
    )


def linear_model(weight: np.ndarray, path: Path, op: str | None = None, outputs: int = 1) -> Path:
    """y = W x, with one more op behind it if wanted."""
    nodes = [helper.make_node("MatMul", ["x", "W"], ["h" if op else "y0"], name="layer")]
    if op:
        nodes.append(helper.make_node(op, ["h"], ["y0"], name="strange"))
    names = [f"y{i}" for i in range(outputs)]
    nodes += [helper.make_node("Identity", ["y0"], [name]) for name in names[1:]]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, weight.shape[0]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, weight.shape[1]]) for name in names],
        [numpy_helper.from_array(weight.astype(np.float32), "W")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def large(path: Path) -> None:
    """A network that takes a solver more than a few seconds."""
    random = np.random.default_rng(0)
    weights = [random.standard_normal((b, a)) / a**0.5 for a, b in pairwise([400, 300, 300, 300, 10])]
    layers = [item for weight in weights for item in (nn.linear(weight), nn.relu())]
    lipcert.save(nn.sequential(*layers), path)


class TestBound:
    def test_json_has_the_documented_keys(self) -> None:
        data = bound(CONTROLLER)
        assert list(data) == list(KEYS)
        for key, kind in KEYS.items():
            assert isinstance(data[key], kind), key
        assert data["verified"]
        assert 0 < data["lower"] <= data["upper"] <= data["product"]
        assert data["ratio"] == data["upper"] / data["lower"]

    def test_docs_describe_every_key(self) -> None:
        text = (MODELS.parent / "docs" / "json.md").read_text()
        assert [key for key in KEYS if f"| `{key}` |" not in text] == []

    def test_the_exact_constant_of_a_linear_map(self, tmp_path: Path) -> None:
        weight = np.array([[3.0, 0.0], [4.0, 5.0]])
        path = str(linear_model(weight, tmp_path / "w.onnx"))
        for norm, exact in (("2", np.linalg.norm(weight, 2)), ("inf", 7.0), ("1", 9.0)):
            data = bound(path, "--norm", norm)
            assert (data["norm"], data["output_norm"]) == (norm, norm)
            assert exact <= data["upper"] <= exact * (1 + 1e-6)

    def test_outputs(self) -> None:
        each = bound(RELU, "--outputs", "3,3-5", "--no-lower", "--method", "product")
        assert [item["output"] for item in each["each"]] == ["3", "3-5"]
        assert each["upper"] == max(item["upper"] for item in each["each"])
        assert each["lower"] is None

    def test_methods_are_ordered(self) -> None:
        upper = [bound(CONTROLLER, "--no-lower", "--method", m)["upper"] for m in ("neuron", "layer", "product")]
        assert upper[0] < upper[1] < upper[2]

    def test_text_never_understates(self) -> None:
        data = bound(CONTROLLER)
        lines = run("bound", CONTROLLER).stdout.splitlines()
        assert lines[0] == CONTROLLER
        assert "32 tanh" in lines[1]
        table = {line[2:28].strip(): line[28:].strip() for line in lines[2:]}
        printed = Decimal(table["upper bound"].split()[0])
        assert Decimal(data["upper"]) <= printed <= Decimal(data["upper"] * (1 + 1e-6))
        assert table["proven in real arithmetic"] == "yes"
        assert table["status"].startswith("optimal")

    def test_quiet_leaves_the_header_out(self) -> None:
        assert run("bound", CONTROLLER, "--quiet", "--no-lower").stdout.startswith("  upper bound")

    @pytest.mark.parametrize("suffix", [".npy", ".csv"])
    def test_data_starts_the_lower_bound(self, tmp_path: Path, suffix: str) -> None:
        points = np.random.default_rng(0).uniform(-1, 1, (5, 2))
        file = tmp_path / f"points{suffix}"
        np.save(file, points) if suffix == ".npy" else np.savetxt(file, points, delimiter=",")
        assert bound(CONTROLLER, "--data", str(file))["lower"] > 0

    def test_report(self, tmp_path: Path) -> None:
        page, proof = tmp_path / "report.html", tmp_path / "proof.json"
        data = bound(CONTROLLER, "--no-lower", "--report", str(page), "--certificate", str(proof))
        assert data["report"] == str(page)
        text = page.read_text(encoding="utf-8")
        assert "lipcert verify proof.json oscillator_controller.onnx" in text
        assert data["sha256"] in text
        result = run("bound", CONTROLLER, "--no-lower", "--report", str(page))
        assert result.stdout.splitlines()[-1].split() == ["report", str(page)]
        assert_refused(run("bound", CONTROLLER, "--report", str(tmp_path / "no" / "r.html")), 2, "cannot be written")

    def test_time_limit(self) -> None:
        data = bound(RELU, "--time-limit", "0.001", "--no-lower")
        assert data["verified"]
        assert data["status"] in ("time_limit", "closed_form")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificates") / "controller.json"
    assert bound(CONTROLLER, "--no-lower", "--certificate", str(path))["certificate"] == str(path)
    return path


class TestVerify:
    def test_valid(self, certificate: Path) -> None:
        result = run("verify", str(certificate), CONTROLLER)
        assert result.exit_code == 0
        assert "ℓ2 → ℓ2, all outputs together, global" in result.stdout
        verdict = json.loads(run("verify", str(certificate), CONTROLLER, "--json").stdout)
        assert verdict["valid"]
        assert verdict["upper"] == bound(CONTROLLER, "--no-lower")["upper"]

    def test_another_model(self, certificate: Path) -> None:
        assert_refused(run("verify", str(certificate), RELU), 1, "another network")

    def test_a_smaller_claim(self, certificate: Path, tmp_path: Path) -> None:
        document = json.loads(certificate.read_text())
        document["claim"]["value"] = (0.9 * float.fromhex(document["claim"]["value"])).hex()
        forged = tmp_path / "forged.json"
        forged.write_text(json.dumps(document))
        assert_refused(run("verify", str(forged), CONTROLLER), 1, "more than the claimed")

    def test_no_certificate(self, tmp_path: Path) -> None:
        assert_refused(run("verify", RELU, RELU), 2, RELU)
        assert_refused(run("verify", str(tmp_path / "none.json"), RELU), 2, "none.json")

    def test_a_place_that_cannot_be_written_is_found_at_once(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "no folder" / "c.json"):
            assert_refused(run("bound", RELU, "--certificate", str(path)), 2, "cannot be written")


DIGITS = str(MODELS / "digits_test.csv")


class TestRobustness:
    def test_files_text_and_json_agree(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        table, plot = tmp_path / "radii.csv", tmp_path / "curve.svg"
        arguments = (
            "robustness",
            MAXMIN,
            DIGITS,
            "--label-column",
            "label",
            "--margins",
            "joint",
            "--radii",
            "0.1,0.2",
        )
        shown = run(*arguments, "--csv", str(table), "--plot", str(plot))
        assert shown.exit_code == 0, shown.stderr
        result = run(*arguments, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        data = json.loads(result.stdout)
        assert data["samples"] == len(data["each"]) == 100
        assert data["accuracy"] == np.mean([item["label"] == item["prediction"] for item in data["each"]])
        rows = [line.split(",") for line in table.read_text().splitlines()]
        assert rows[0] == list(data["each"][0])
        assert [row[6:] for row in rows[1:]] == [[item["status"], item["source"], ""] for item in data["each"]]
        assert [float(row[3]) for row in rows[1:]] == [item["radius"] for item in data["each"]]
        assert all((item["radius"] > 0) == (item["label"] == item["prediction"]) for item in data["each"])
        part = np.mean([item["radius"] >= 0.2 for item in data["each"]])
        assert data["certified"][1] == {"radius": 0.2, "certified": part}
        assert f"{100 * part:.1f} %" in shown.stdout
        assert "in units of the network's input" in shown.stdout
        assert plot.read_text().startswith("<?xml")
        median = next(line.split()[2] for line in shown.stdout.splitlines() if "median radius" in line)
        assert Decimal(median) <= Decimal(data["median_radius"]) <= Decimal(median) * Decimal("1.000001")

    def test_docs_describe_every_key(self) -> None:
        text = (MODELS.parent / "docs" / "json.md").read_text().split("## lipcert robustness")[1]
        data = json.loads(
            run("robustness", MAXMIN, DIGITS, "--label-column", "0", "--method", "product", "--json").stdout
        )
        keys = {*data, *data["each"][0], *data["margins"][0]}
        assert [key for key in keys if f"`{key}`" not in text] == []

    def test_scale(self, tmp_path: Path) -> None:
        points = np.loadtxt(DIGITS, delimiter=",", skiprows=1)[:3, 1:]
        np.save(tmp_path / "bytes.npy", 16 * points)
        options = ("--margins", "joint", "--json")
        large = run("robustness", MAXMIN, str(tmp_path / "bytes.npy"), "--scale", "1/16", *options)
        np.save(tmp_path / "units.npy", points)
        small = run("robustness", MAXMIN, str(tmp_path / "units.npy"), *options)
        assert json.loads(large.stdout)["each"] == json.loads(small.stdout)["each"]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((), "--label-column"),
            (("--label-column", "colour"), "colour"),
            (("--label-column", "0", "--labels", DIGITS), "not both"),
            (("--label-column", "0", "--plot", "curve.jpeg"), ".png, .svg, .pdf"),
            (("--label-column", "0", "--csv", "no folder/t.csv"), "cannot be written"),
        ],
    )
    def test_wrong_requests(self, arguments: tuple[str, ...], words: str) -> None:
        assert_refused(run("robustness", MAXMIN, DIGITS, *arguments), 2, words)

    def test_wrong_numbers(self) -> None:
        for option, value in (("--scale", "1/0"), ("--scale", "-1"), ("--radii", "0.1,x"), ("--margins", "guess")):
            assert run("robustness", MAXMIN, DIGITS, option, value).exit_code == 2


class TestCompare:
    METHODS = ("--methods", "product,layer,neuron,geolip")

    def test_text_json_and_plot(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        result = run("compare", CONTROLLER, *self.METHODS, "--plot", str(tmp_path / "c.png"))
        assert result.exit_code == 0, result.stderr
        lines = result.stdout.splitlines()
        assert [line.split()[0] for line in lines[3:6]] == ["product", "layer", "neuron"]
        assert lines[5].endswith("smallest")
        assert "  - geolip: it is for inputs in ℓ∞" in lines
        assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
        data = json.loads(run("compare", CONTROLLER, *self.METHODS, "--no-lower", "--json").stdout)
        assert data["best"] == "neuron"
        assert data["lower"] is None
        assert [item["verified"] for item in data["methods"]] == [True, True, True, False]
        printed = [Decimal(line.split()[1]) for line in lines[3:6]]
        for figure, item in zip(printed, data["methods"], strict=False):
            assert Decimal(item["upper"]) <= figure <= Decimal(item["upper"] * (1 + 1e-6))

    def test_docs_describe_every_key(self) -> None:
        text = (MODELS.parent / "docs" / "json.md").read_text().split("## lipcert compare")[1]
        data = json.loads(run("compare", CONTROLLER, "--methods", "product", "--no-lower", "--json").stdout)
        assert [key for key in {*data, *data["methods"][0]} if f"`{key}`" not in text] == []

    def test_wrong_requests(self) -> None:
        assert_refused(run("compare", CONTROLLER, "--methods", "guess", "--quiet"), 2, "guess", "neuron")
        assert_refused(
            run("compare", CONTROLLER, "--methods", "geolip", "--quiet"), 3, "geolip: it is for inputs in ℓ∞"
        )
        assert run("compare", CONTROLLER, "--methods", "product,,layer").exit_code == 2


def test_inspect() -> None:
    text = run("inspect", RELU).stdout
    assert "96 ReLU" in text
    data = json.loads(run("inspect", RELU, "--json").stdout)
    assert (data["inputs"], data["outputs"], data["channels"]) == (64, 10, 96)


def test_methods() -> None:
    text = run("methods").stdout
    data = json.loads(run("methods", "--json").stdout)
    names = [item["name"] for item in data["methods"]]
    assert {"product", "layer", "channel", "neuron"} <= set(names)
    assert all(name in text for name in names)
    assert next(s for s in data["solvers"] if s["name"] == "native")["reason"] is None


class TestErrors:
    """Each is one line on standard error that names the file, nothing on standard output, and an exit code."""

    def test_files_that_are_no_models(self, tmp_path: Path) -> None:
        whole = Path(RELU).read_bytes()
        cases = {
            "empty.onnx": b"",
            "truncated.onnx": whole[: len(whole) // 2],
            "text.onnx": b"this is not a network\n" * 40,
            "claim.onnx": b"\x3a\xff\xff\xff\xff\x07" + whole[:100],
        }
        for name, content in cases.items():
            (tmp_path / name).write_bytes(content)
            for verb in ("bound", "inspect"):
                assert_refused(run(verb, str(tmp_path / name)), 2, name)

    def test_places_that_are_no_files(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "missing.onnx", Path()):
            assert_refused(run("bound", str(path)), 2)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, tmp_path: Path) -> None:
        path = linear_model(np.eye(2), tmp_path / "locked.onnx")
        path.chmod(0)
        assert_refused(run("bound", str(path)), 2, "locked.onnx")

    def test_an_op_without_a_proof(self, tmp_path: Path) -> None:
        path = linear_model(np.eye(2), tmp_path / "floor.onnx", op="Floor")
        assert_refused(run("bound", str(path)), 2, "strange", "Floor")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_weights_that_are_not_finite(self, tmp_path: Path, value: float) -> None:
        path = linear_model(np.array([[1.0, value]]), tmp_path / "bad.onnx")
        assert_refused(run("bound", str(path)), 2, "bad.onnx")

    def test_two_outputs_need_a_choice(self, tmp_path: Path) -> None:
        path = str(linear_model(np.eye(2), tmp_path / "two.onnx", outputs=2))
        assert_refused(run("bound", path), 2, "--to")
        assert bound(path, "--output", "y1")["upper"] == pytest.approx(1.0)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--norm", "3"),
            ("--tolerance", "0"),
            ("--tolerance", "nan"),
            ("--time-limit", "-1"),
            ("--time-limit", "soon"),
            ("--method", "guess"),
            ("--solver", "guess"),
            ("--outputs", "10"),
            ("--outputs", "a-b"),
            ("--data", "missing.npy"),
            ("--data", CONTROLLER),
            ("--frobnicate",),
        ],
    )
    def test_wrong_usage(self, arguments: tuple[str, ...]) -> None:
        result = run("bound", RELU, "--json", *arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "rror: " in result.stderr

    def test_samples_that_do_not_fit(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((3, 7)))
        assert_refused(run("bound", RELU, "--data", str(tmp_path / "x.npy")), 2, "7 numbers", "64 inputs")

    def test_nothing_proven(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for error, code in ((lipcert.NotCertified("no"), 3), (MemoryError(), 3), (KeyboardInterrupt(), 130)):
            fail_with(error, monkeypatch)
            assert_refused(run("bound", RELU, "--quiet"), code)

    def test_a_defect_is_one_line_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fail_with(ZeroDivisionError("two\nlines"), monkeypatch)
        assert_refused(run("bound", RELU, "--quiet"), 70, "ZeroDivisionError: two lines", "LIPCERT_DEBUG")
        assert isinstance(run("--debug", "bound", RELU, "--quiet").exception, ZeroDivisionError)


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("lipcert.bounds.api.bound", fail)


def assert_refused(result: Result, code: int, *words: str) -> None:
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert result.stderr.startswith("lipcert: error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


class TestProcess:
    """What only a process of its own shows."""

    def test_module_and_version(self) -> None:
        result = command("--version")
        assert (result.returncode, result.stdout) == (0, f"lipcert {lipcert.__version__}\n")

    def test_help_imports_no_numpy(self) -> None:
        code = "import sys; from lipcert import cli; cli.cli(['--help'], standalone_mode=False); print(sorted(sys.modules))"
        modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert "Commands:" in modules
        assert not [name for name in ("numpy", "scipy", "onnx", "cvxpy", "torch") if f"'{name}'" in modules]

    def test_exit_codes_and_streams(self, tmp_path: Path) -> None:
        good = command("bound", CONTROLLER, "--json")
        assert (good.returncode, good.stderr) == (0, "")
        json.loads(good.stdout)
        bad = command("bound", str(tmp_path / "missing.onnx"), "--json")
        assert (bad.returncode, bad.stdout) == (2, "")
        assert bad.stderr.startswith("lipcert: error: ")
        assert "Traceback" not in bad.stderr

    def test_a_terminal_without_unicode(self) -> None:
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        assert command("bound", CONTROLLER, "--no-lower", env=environment).returncode == 0

    def test_shell_completion(self) -> None:
        for words, last, wanted in (
            ("lipcert bound --method ne", 3, "neuron"),
            ("lipcert compare --methods product,ne", 3, "product,neuron"),
            ("lipcert robustness --margins j", 3, "joint"),
            ("lipcert rob", 1, "robustness"),
            ("lipcert comp", 1, "compare"),
        ):
            environment = {
                **os.environ,
                "_LIPCERT_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(last),
            }
            assert command("", env=environment).stdout.endswith(f"{wanted}\n")

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_completion_script_that_the_docs_name(self, shell: str) -> None:
        script = command("", env={**os.environ, "_LIPCERT_COMPLETE": f"{shell}_source"})
        assert (script.returncode, script.stderr) == (0, "")
        assert f"_LIPCERT_COMPLETE={shell}_complete" in script.stdout

    @pytest.mark.skipif(sys.platform == "win32", reason="no signals between processes")
    def test_interrupt_gives_the_best_bound_so_far(self, tmp_path: Path) -> None:
        large(tmp_path / "large.onnx")
        process = subprocess.run(
            [sys.executable, "-c", INTERRUPTED, "bound", str(tmp_path / "large.onnx"), "--solver", "native", "--json"],
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert process.returncode == 0, process.stderr
        data = json.loads(process.stdout)
        assert data["verified"]
        assert data["status"] == "interrupted"

    def test_a_terminated_job_gives_the_best_bound_so_far(self, tmp_path: Path) -> None:
        large(tmp_path / "large.onnx")
        options = ("--tolerance", "1e-15", "--solver", "native", "--json", "--log")
        process = subprocess.Popen(
            [sys.executable, "-m", "lipcert", "bound", str(tmp_path / "large.onnx"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        seen = next((line for line in process.stderr if line.startswith("lipcert: interior point: ")), None)
        if seen is None:
            pytest.skip("the solver is done before it says a word")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        assert json.loads(out)["verified"]


class TestAtMost:
    def test_proven_refuted_and_not_known(self) -> None:
        data = bound(CONTROLLER, "--no-lower")
        for limit, holds, code in ((1e3, True, 0), (data["upper"], True, 0), (0.1, False, 1)):
            result = run("bound", CONTROLLER, "--at-most", str(limit), "--json")
            assert result.exit_code == code
            answer = json.loads(result.stdout)
            assert answer["at_most"] == {"limit": limit, "holds": holds}
            assert answer["upper"] <= limit if holds else answer["lower"] > limit
        unknown = run("bound", CONTROLLER, "--at-most", str(0.999 * data["upper"]), "--no-lower")
        assert unknown.exit_code == 3
        assert unknown.stdout.splitlines()[2].split(maxsplit=2)[2].split(maxsplit=1)[1].startswith("not known")

    def test_a_limit_that_is_none(self) -> None:
        for limit in ("-1", "inf", "nan", "x"):
            assert run("bound", CONTROLLER, "--at-most", limit).exit_code == 2

    def test_the_certificate_proves_the_answer(self, tmp_path: Path) -> None:
        path = str(tmp_path / "c.json")
        assert run("bound", MAXMIN, "--at-most", "50", "--certificate", path, "--quiet").exit_code == 0
        assert json.loads(run("verify", path, MAXMIN, "--json").stdout)["upper"] <= 50.0


class TestRequests:
    @pytest.mark.parametrize(
        "arguments",
        [("bound", "--method", "nuron"), ("bound", "--solver", "nativ"), ("compare", "--methods", "layer,nuron")],
    )
    def test_typos_are_found_before_the_model_is_read(self, arguments: tuple[str, ...]) -> None:
        command, option, value = arguments
        names = ("matrix-free", "scs") if option == "--solver" else ("neuron", "liplt")
        assert_refused(run(command, "no such file.onnx", option, value), 2, "is not known", *names)

    def test_json_says_what_was_asked_by_which_version(self) -> None:
        data = bound(CONTROLLER, "--no-lower", "--norm", "inf", "--solver-option", "a=1", "--method", "product")
        assert data["lipcert"] == lipcert.__version__
        assert data["options"] == {
            "output": None, "norm": "inf", "output_norm": None, "outputs": "all", "method": "product", "solver": "auto",
            "tolerance": 1e-8, "time_limit": None, "solver_option": {"a": 1}, "form": "comparators", "jobs": None,
            "lower": False, "lower_seconds": None, "seed": 0, "branch": None,
            "branch_on": "auto", "gap": 1e-3, "box": None, "center": None,
            "radius": None, "ball": None, "domain": None, "anchored": False,
        }  # fmt: skip


class TestProgress:
    @pytest.fixture
    def told(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What the live lines are given."""
        lines: list[str] = []
        monkeypatch.setattr(progress.LiveLine, "__call__", lambda self, step: lines.append(progress.describe(step)))
        return lines

    def test_every_command_says_what_it_does(self, told: list[str], tmp_path: Path) -> None:
        name, certificate = Path(CONTROLLER).name, str(tmp_path / "c.json")
        commands = {
            ("bound", CONTROLLER, "--certificate", certificate): ("interior point: ", "search for a lower bound: "),
            ("verify", certificate, CONTROLLER): ("checking the certificate: ",),
            ("inspect", CONTROLLER): (),
            ("compare", CONTROLLER, "--methods", "product,layer"): (
                "product: ",
                "layer: ",
                "search for a lower bound: ",
            ),
            ("robustness", RELU, str(MODELS / "digits_test.csv"), "--label-column", "label", "--margins", "joint"): (
                "evaluating samples: ",
                "all outputs: ",
            ),
        }
        for arguments, beginnings in commands.items():
            told.clear()
            assert run(*arguments).exit_code == 0, arguments
            model = Path(RELU).name if arguments[0] == "robustness" else name
            assert told[0] == f"reading {model}: 0.00 s"
            for beginning in beginnings:
                assert any(line.startswith(beginning) for line in told), (arguments, beginning)

    def test_no_number_is_called_proven_that_is_not(self, told: list[str]) -> None:
        upper = bound(CONTROLLER, "--no-lower")["upper"]
        shown = [line for line in told if "interior point" in line]
        assert any("not yet proven" in line for line in shown)
        for line in shown:
            proven = Decimal(line.partition("proven ≤ ")[2].partition(",")[0])
            assert proven >= Decimal(upper)

    @pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
    def test_a_terminal_shows_it_and_keeps_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "large.onnx"
        large(path)
        ours, theirs = os.openpty()
        arguments = [
            sys.executable,
            "-m",
            "lipcert",
            "bound",
            str(path),
            "--time-limit",
            "60",
            "--tolerance",
            "1e-2",
            "--no-lower",
            "--solver",
            "native",
            "--json",
        ]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=theirs, text=True)
        os.close(theirs)
        shown = b""
        with suppress(OSError):
            while part := os.read(ours, 4096):
                shown += part
        os.close(ours)
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0
        lines = [line.removesuffix("\x1b[K") for line in shown.decode().split("\r")]
        assert any(line.startswith("interior point: ") and "proven ≤ " in line and "s left" in line for line in lines)
        assert lines[-1] == ""
        assert json.loads(out)["verified"]


class TestSolverOptions:
    def test_are_passed_on_under_their_own_names(self) -> None:
        pytest.importorskip("clarabel")
        arguments = (CONTROLLER, "--no-lower", "--method", "layer", "--solver", "clarabel")
        free, short = bound(*arguments), bound(*arguments, "--solver-option", "max_iter=8")
        assert free["status"] == "optimal"
        assert (short["iterations"], short["status"]) == (8, "iteration_limit")
        assert short["upper"] > free["upper"]
        # a point so early is above the norm product, which is then the answer
        early = bound(*arguments, "--solver-option", "max_iter=2")
        assert (early["method"], early["upper"]) == ("product", early["product"])
        assert any("layer (clarabel)" in note for note in early["notes"])

    def test_an_unknown_one_is_told(self) -> None:
        pytest.importorskip("clarabel")
        result = run("bound", CONTROLLER, "--quiet", "--solver", "clarabel", "--solver-option", "patience=3")
        assert_refused(result, 2, "clarabel", "patience")

    def test_must_be_assignments(self) -> None:
        result = run("bound", CONTROLLER, "--solver-option", "max_iter")
        assert result.exit_code == 2
        assert "NAME=VALUE" in result.stderr

    def test_jobs_and_form_do_not_change_what_is_meant(self) -> None:
        model = str(MODELS / "digits_groupsort.onnx")
        plain = bound(model, "--no-lower", "--outputs", "0,1")
        spread = bound(model, "--no-lower", "--outputs", "0,1", "--jobs", "2")
        blocks = bound(model, "--no-lower", "--outputs", "0,1", "--form", "blocks")
        assert spread["upper"] == pytest.approx(plain["upper"], rel=1e-7)
        assert blocks["upper"] >= plain["upper"] * (1 - 1e-7)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--jobs", "0"], "0 processes"),
        (["--outputs", "each", "--jobs", "0"], "0 processes"),
        (["--outputs", "9" * 5000], "beyond the last output"),
        (["--outputs", "0-" + "9" * 5000], "beyond the last output"),
        (["--tolerance", "1e-320"], "float64 numbers"),
        (["--certificate", "a" * 300], "cannot be written"),
        (["--report", "missing/page.html"], "cannot be written"),
        (["--certificate", "/"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(tmp_path, options, reason):
    model = tmp_path / "net.onnx"
    lipcert.save(nn.sequential(nn.linear([[1.0, 2.0]]), nn.relu()), model)
    result = CliRunner().invoke(cli.cli, ["bound", str(model), "--no-lower", "--quiet", *options])
    assert result.exit_code == 2
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) < 400


@pytest.mark.parametrize("value", ["1e400", "nan", "-1", "abc"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("bound", name) for name in ("--lower-seconds", "--time-limit", "--branch", "--gap", "--tolerance")),
        *(("bound", name) for name in ("--at-most", "--seed")),
        *(("robustness", name) for name in ("--at", "--scale", "--radii", "--seed")),
    ],
)
def test_absurd_numbers_are_refused_before_the_file_is_read(command, option, value):
    files = ["missing.onnx", "missing.npz"] if command == "robustness" else ["missing.onnx"]
    result = CliRunner().invoke(cli.cli, [command, *files, f"{option}={value}"])
    assert result.exit_code == 2
    assert option in result.stderr or value in result.stderr
    assert sum(line.startswith("Error") for line in result.stderr.splitlines()) == 1


@pytest.mark.parametrize("value", ["9" * 30, "-" + "9" * 30, "1e400"])
def test_processes_are_a_few(value):
    result = CliRunner().invoke(cli.cli, ["bound", "missing.onnx", "--jobs", value])
    assert result.exit_code == 2
    assert "--jobs" in result.stderr
