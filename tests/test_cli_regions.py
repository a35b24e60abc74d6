"""Regions on the command line: what is taken, and that what is wrong gets one clear line and the exit code 2."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lipcert import cli

MODELS = Path(__file__).resolve().parents[1] / "models"
CONTROLLER = str(MODELS / "oscillator_controller.onnx")
COMMANDS = ("bound", "compare", "jacobian")


def run(command: str, *arguments: str) -> Result:
    quick = {"bound": ["--no-lower"], "compare": ["--no-lower", "--methods", "layer"], "jacobian": []}[command]
    return CliRunner().invoke(cli.cli, [command, CONTROLLER, *arguments, *quick, "--quiet"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Regions in all formats, right and wrong ones."""
    folder = tmp_path_factory.mktemp("regions")
    np.savez(folder / "box.npz", low=[-0.5, -0.5], high=[0.5, 0.5])
    np.savez(folder / "ball.npz", center=[0.1, 0.2], radius=0.3)
    np.savez(folder / "ball0.npz", center=[0.1, 0.2], radius=0.0)
    np.savez(folder / "centre.npz", centre=[0.1, 0.2])
    np.savez(folder / "other.npz", lower=[0.0, 0.0], upper=[1.0, 1.0])
    np.savez(folder / "half.npz", low=[0.0, 0.0])
    np.savez(folder / "crossed.npz", low=[0.0, 1.0], high=[1.0, 0.0])
    np.savez(folder / "unequal.npz", low=[0.0, 0.0], high=[1.0, 1.0, 1.0])
    np.savez(folder / "nan.npz", low=[0.0, np.nan], high=[1.0, 1.0])
    np.savez(folder / "words.npz", low=["a", "b"], high=["c", "d"])
    np.savez(folder / "nanball.npz", center=[0.1, np.nan], radius=0.3)
    np.savez(folder / "wordy.npz", center=[0.1, 0.2], radius="big")
    np.savez(folder / "infball.npz", center=[0.1, np.inf], radius=0.3)
    np.savez(folder / "radii.npz", center=[0.1, 0.2], radius=[0.3, 0.4])
    np.save(folder / "rows.npy", np.array([[-0.5, -0.5], [0.5, 0.5]]))
    np.save(folder / "point.npy", np.array([0.1, 0.2]))
    np.save(folder / "points.npy", np.zeros((3, 2)))
    (folder / "rows.csv").write_text("-0.5,-0.5\n0.5,0.5\n")
    (folder / "point.csv").write_text("0.1,0.2\n")
    (folder / "long.csv").write_text("0.1,0.2,0.3\n")
    (folder / "ragged.csv").write_text("0.1,0.2\n0.3\n")
    (folder / "empty.csv").write_text("")
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 and nothing more")
    (folder / "broken.npy").write_bytes(b"\x93NUMPY\x01")
    (folder / "region.toml").write_text("low = 0\n")
    return folder


RIGHT = [
    (["--box", "-0.5,0.5"], "on the box [-0.5, 0.5]"),
    (["--box", "box.npz"], "on the box [-0.5, 0.5]"),
    (["--box", "rows.npy"], "on the box [-0.5, 0.5]"),
    (["--box", "rows.csv"], "on the box [-0.5, 0.5]"),
    (["--center", "ball.npz"], "‖x − c‖₂ ≤ 0.3"),
    (["--center", "ball.npz", "--radius", "0.2", "--ball", "inf"], "‖x − c‖∞ ≤ 0.2"),
    (["--center", "centre.npz", "--radius", "0.2", "--ball", "1"], "‖x − c‖₁ ≤ 0.2"),
    (["--center", "point.csv", "--radius", "0.2", "--domain", "0,1"], "within [0, 1]"),
    (["--center", "point.npy", "--radius", "0.2", "--domain", "box.npz"], "within [-0.5, 0.5]"),
    (["--domain", "0,1"], "on the box [0, 1]"),
    (["--box", "-1,1", "--domain", "0,2"], "on the box [0, 1]"),
]
WRONG = [
    (["--box", "1,0"], "empty at input 0"),
    (["--box", "nan,1"], "NaN"),
    (["--box", "inf,inf"], "no number lies between"),
    (["--box", "0,1,2"], "0,1,2"),
    (["--box", "missing.npz"], "No such file"),
    (["--box", "other.npz"], "no low and high"),
    (["--box", "half.npz"], "no low and high"),
    (["--box", "ball.npz"], "no low and high"),
    (["--box", "crossed.npz"], "empty at input 1"),
    (["--box", "unequal.npz"], "2 low and 3 high"),
    (["--box", "nan.npz"], "NaN at input 1"),
    (["--box", "words.npz"], "cannot be read"),
    (["--box", "broken.npz"], "cannot be read"),
    (["--box", "broken.npy"], "cannot be read"),
    (["--box", "empty.csv"], "cannot be read"),
    (["--box", "ragged.csv"], "cannot be read"),
    (["--box", "region.toml"], "unknown ending"),
    (["--box", "points.npy"], "3 rows"),
    (["--box", "point.csv"], "1 rows"),
    (["--box", "-1,1", "--center", "point.csv", "--radius", "1"], "not both"),
    (["--box", "0,1", "--domain", "2,3"], "empty"),
    (["--center", "point.csv"], "needs a radius"),
    (["--radius", "1"], "needs a centre"),
    (["--ball", "2"], "needs a centre"),
    (["--center", "point.csv", "--radius", "0"], "radius of the ball is 0"),
    (["--center", "point.csv", "--radius", "-1"], "radius of the ball is -1"),
    (["--center", "point.csv", "--radius", "nan"], "radius of the ball is nan"),
    (["--center", "point.csv", "--radius", "inf"], "radius of the ball is inf"),
    (["--center", "ball0.npz"], "radius of the ball is 0"),
    (["--center", "wordy.npz"], "cannot be read"),
    (["--center", "radii.npz"], "2 numbers"),
    (["--center", "box.npz", "--radius", "1"], "no center"),
    (["--center", "nanball.npz"], "NaN at input 1"),
    (["--center", "infball.npz"], "infinite at input 1"),
    (["--center", "long.csv", "--radius", "1"], "3 numbers"),
    (["--center", "points.npy", "--radius", "1"], "6 numbers"),
    (["--center", "missing.csv", "--radius", "1"], "No such file"),
    (["--center", "point.csv", "--radius", "1", "--domain", "5,6"], "outside the domain"),
    (["--center", "point.csv", "--radius", "1", "--domain", "1,0"], "empty"),
    (["--center", "point.csv", "--radius", "one"], "not a valid float"),
    (["--center", "point.csv", "--radius", "1", "--ball", "3"], "is not one of"),
]


def placed(options: Sequence[str], folder: Path) -> list[str]:
    """The options with the paths of the files."""
    return [str(folder / text) if "." in text and text.rsplit(".")[-1].isalpha() else text for text in options]


@pytest.mark.parametrize(("options", "where"), RIGHT, ids=lambda item: " ".join(item) if isinstance(item, list) else "")
def test_regions_are_taken(options: list[str], where: str, files: Path) -> None:
    found = run("bound", *placed(options, files))
    assert found.exit_code == 0, found.stderr
    assert where in found.stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("options", "reason"), WRONG, ids=lambda item: " ".join(item) if isinstance(item, list) else ""
)
def test_what_is_wrong_gets_one_line(command: str, options: list[str], reason: str, files: Path) -> None:
    found = run(command, *placed(options, files))
    assert found.exit_code == 2
    assert found.stdout == ""
    assert reason in found.stderr
    lines = [line for line in found.stderr.splitlines() if "rror" in line]
    assert len(lines) == 1, found.stderr


def test_increments_from_the_centre() -> None:
    refused = run("bound", "--box", "-1,1", "--anchored")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "no centre" in refused.stderr
    assert run("compare", "--anchored").exit_code == 2
    assert "no centre" in run("jacobian", "--box", "-1,1", "--anchored").stderr


def test_compare_on_a_region(files: Path) -> None:
    options = placed(["--center", "ball.npz", "--anchored"], files)
    text = run("compare", *options)
    assert text.exit_code == 0, text.stderr
    assert "on the ball ‖x − c‖₂ ≤ 0.3, from its centre" in text.stdout
    assert "neurons are linear there" in text.stdout
    found = json.loads(run("compare", *options, "--json").stdout)
    assert found["scope"]["anchored"] is True
    assert found["decided"] == sum(layer["decided"] for layer in found["layers"])


def test_only_a_decision_on_a_box() -> None:
    arguments = ["bound", CONTROLLER, "--box", "-0.1,0.1", "--quiet", "--at-most"]
    assert CliRunner().invoke(cli.cli, [*arguments, "100"]).exit_code == 0
    assert CliRunner().invoke(cli.cli, [*arguments, "1"]).exit_code == 1
