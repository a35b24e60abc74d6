"""Train the networks, write them as ONNX, and bring the table in README.md up to date.

python -m models                    everything
python -m models digits_relu …      train only these
python -m models --table            train nothing, only the table
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import onnx
import torch
from torch import nn

import lipcert
from lipcert.figures import downward, upward
from lipcert.graph import build
from models.layers import FixedPoint
from models.networks import NETWORKS, Network
from models.picture import draw
from models.samples import write_digits

HERE = Path(__file__).parent
SCORES = HERE / "scores.json"
MARKS = "<!-- table: python -m models --table -->", "<!-- end of table -->"


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--table", is_flag=True, help="Train nothing.")
def main(names: tuple[str, ...], table: bool) -> None:
    torch.set_num_threads(1)
    known = [network.name for network in NETWORKS]
    if unknown := set(names) - set(known):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for network in NETWORKS:
        if not table and network.name in (names or known):
            write(train(network), network)
            print(f"trained {network.name}", flush=True)
    write_digits()
    renew_table([network for network in NETWORKS if file(network).exists()])


def renew_table(networks: list[Network]) -> None:
    """Bound the networks: the table of README.md, and the picture of the project's README."""
    rows = ["| file | network | test data | upper bound | lower bound | norm product |", "|---|---|---|---|---|---|"]
    points = []
    for network in networks:
        bound = lipcert.bound(file(network), lower_seconds=5.0)
        rows.append(row(network, bound))
        if bound.product is not None and bound.lower is not None:
            points.append((network.name, bound.upper, bound.lower, bound.product))
    readme = HERE / "README.md"
    head, rest = readme.read_text().split(MARKS[0])
    readme.write_text("\n".join([head + MARKS[0], "", *rows, "", MARKS[1] + rest.split(MARKS[1])[1]]))
    (HERE.parent / "docs" / "bounds.svg").write_text(draw(points))


def file(network: Network) -> Path:
    return HERE / f"{network.name}.onnx"


def train(network: Network) -> nn.Sequential:
    """The trained network; the seed is its name, so that each can be trained alone."""
    seed = int.from_bytes(network.name.encode()[-6:], "big")
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    module, task = network.layers(), network.task()
    optimiser = torch.optim.AdamW(module.parameters(), lr=4e-3, weight_decay=network.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, network.steps)
    for _ in range(network.steps):
        optimiser.zero_grad()
        task.loss(lambda x: network.scale * module(x), random).backward()
        optimiser.step()
        schedule.step()
    return module.eval()


def write(module: nn.Sequential, network: Network) -> None:
    """Write the network as ONNX, and note its score."""
    task = network.task()
    with torch.no_grad():
        score = task.score(module)
    if any(isinstance(layer, FixedPoint) for layer in module):
        lipcert.save(as_graph(module), file(network))
    else:
        for layer in module:
            if hasattr(layer, "parametrizations"):
                nn.utils.parametrize.remove_parametrizations(layer, "weight")
        program = torch.onnx.export(
            module,
            (torch.zeros(1, task.inputs),),
            dynamo=True,
            verbose=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
        onnx.save(stripped(program.model_proto), file(network))
    SCORES.write_text(json.dumps(scores() | {network.name: score}, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the exporter's notes, which name files of this machine."""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
    return model


def scores() -> dict[str, str]:
    """What each network scored on test data when it was trained."""
    known: dict[str, str] = json.loads(SCORES.read_text()) if SCORES.exists() else {}
    return known


def as_graph(module: nn.Sequential) -> lipcert.Graph:
    """An implicit network through lipcert's builder, in double precision."""
    layers = []
    for layer in module:
        if isinstance(layer, FixedPoint):
            weight, bias = layer.drive.weight, layer.drive.bias
            arrays = (x.detach().double().numpy() for x in (layer.weight(), weight, bias))
            layers.append(build.fixed_point(*arrays, build.relu()))
        else:
            layers.append(build.linear(*(x.detach().double().numpy() for x in (layer.weight, layer.bias))))
    return build.sequential(*layers)


def row(network: Network, bound: lipcert.Bound) -> str:
    """The line of the table: bounds ℓ2 → ℓ2 over all outputs."""
    lower = "none" if bound.lower is None else downward(bound.lower, 5)
    product = "none" if bound.product is None else upward(bound.product, 5)
    figures = (upward(bound.upper, 5), lower, product)
    return f"| {file(network).name} | {network.what} | {scores()[network.name]} | {' | '.join(figures)} |"


if __name__ == "__main__":
    main()
