"""Train the networks, write them as ONNX, and bring the tables in README.md up to date.

python -m models                    everything
python -m models digits_relu …      train only these
python -m models --table            train nothing, only the tables
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import onnx
import torch
from torch import nn
from torch.nn.utils import parametrize

import lipcert
from lipcert.figures import downward, upward
from lipcert.graph import build
from models.constrained import LdlResidual
from models.families import FAMILIES
from models.layers import FixedPoint
from models.networks import NETWORKS, Network
from models.picture import draw
from models.samples import write_digits

HERE = Path(__file__).parent
SCORES = HERE / "scores.json"
MARKS = "<!-- table: python -m models --table -->", "<!-- end of table -->"
FAMILY_MARKS = "<!-- table of families: python -m models --table -->", "<!-- end of table of families -->"
README = HERE / "README.md"


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--table", is_flag=True, help="Train nothing.")
def main(names: tuple[str, ...], table: bool) -> None:
    torch.set_num_threads(1)
    networks = [*NETWORKS, *FAMILIES]
    known = [network.name for network in networks]
    if unknown := set(names) - set(known):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; there are {', '.join(known)}")
    write_digits()
    for network in networks:
        if not table and network.name in (names or known):
            write(train(network), network)
            print(f"trained {network.name}", flush=True)
    renew_table([network for network in NETWORKS if file(network).exists()])
    renew_families([network for network in FAMILIES if file(network).exists()])


def renew_table(networks: list[Network]) -> None:
    """Bound the networks: the table of README.md, and the picture of the project's README."""
    rows = ["| file | network | test data | upper bound | lower bound | norm product |", "|---|---|---|---|---|---|"]
    points = []
    for network in networks:
        bound = lipcert.bound(file(network), lower_seconds=5.0)
        rows.append(row(network, figures(bound)))
        if bound.product is not None and bound.lower is not None:
            points.append((network.name, bound.upper, bound.lower, bound.product))
    replace(MARKS, rows)
    (HERE.parent / "docs" / "bounds.svg").write_text(draw(points))


def renew_families(networks: list[Network]) -> None:
    """Bound one network of each family where it is bounded, beside what its construction promises."""
    rows = ["| file | network | test data | where | upper bound | lower bound | norm product | promised |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for network in networks:
        region = None if network.region is None else network.region()
        bound = lipcert.bound(file(network), region=region, lower_seconds=5.0)
        promise = "" if network.promised is None else f"{network.promised:.5g}"
        where = "everywhere" if region is None else region.describe()
        rows.append(
            row(network, [where, *figures(bound), "; ".join(filter(None, (promise, network.why))) or "nothing"])
        )
    replace(FAMILY_MARKS, rows)


def replace(marks: tuple[str, str], rows: list[str]) -> None:
    """Put rows between two marks of README.md."""
    head, rest = README.read_text().split(marks[0])
    README.write_text("\n".join([head + marks[0], "", *rows, "", marks[1] + rest.split(marks[1])[1]]))


def file(network: Network) -> Path:
    folder = HERE if network in NETWORKS else HERE / "families"
    return folder / f"{network.name}.onnx"


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
        module = plain(module)
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


def plain(module: nn.Sequential) -> nn.Sequential:
    """The network with all weights as numbers: computed ones are written out."""
    for part in list(module.modules()):
        if parametrize.is_parametrized(part):
            for name in list(part.parametrizations):
                parametrize.remove_parametrizations(part, name)
    layers = [layer.plain() if isinstance(layer, LdlResidual) else layer for layer in module]
    return nn.Sequential(*layers).eval()


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


def figures(bound: lipcert.Bound) -> list[str]:
    """Upper bound, lower bound, norm product."""
    lower = "none" if bound.lower is None else downward(bound.lower, 5)
    product = "none" if bound.product is None else upward(bound.product, 5)
    return [upward(bound.upper, 5), lower, product]


def row(network: Network, cells: list[str]) -> str:
    """A line of a table; bounds are ℓ2 → ℓ2 over all outputs."""
    path = file(network).relative_to(HERE)
    text = [cell.replace("|", "\\|") for cell in (network.what, scores()[network.name], *cells)]
    return f"| {path} | {' | '.join(text)} |"


if __name__ == "__main__":
    main()
