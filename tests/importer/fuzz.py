"""Load mutants of the models in a folder: `python fuzz.py FOLDER FIRST COUNT`; a program, for it watches its own memory.

Exits with an error where a load raises anything but a LipcertError of one line, takes longer than 20 s, or where the
memory of the process passes 2 GiB.
"""

from __future__ import annotations

import faulthandler
import random
import resource
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from lipcert.errors import LipcertError
from lipcert.importer import load

OPS = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})
NUMBERS = [0, -1, 1, 2, 3, 7, 2**31, 2**31 - 1, 2**40, 2**62, -(2**31), -(2**63), 10**6]
SECONDS = 20


def bytes_changed(content: bytes, rng: random.Random) -> bytes:
    """The file cut off, or with bytes replaced, removed and inserted."""
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(rng.choice([1, 2, 4, 16])):
        at, kind = rng.randrange(len(changed)), rng.random()
        if kind < 0.6:
            changed[at] = rng.randrange(256)
        elif kind < 0.8:
            del changed[at : at + rng.randrange(1, 20)]
        else:
            changed[at:at] = rng.randbytes(rng.randrange(1, 20))
    return bytes(changed)


def fields_changed(content: bytes, rng: random.Random) -> bytes:
    """The model with fields replaced by what does not belong there."""
    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.choice([1, 1, 2, 3])):
        try:
            rng.choice(CHANGES)(model, rng)
        except (IndexError, ValueError):
            continue
    return model.SerializeToString()


def _dims(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)


def _raw_data(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data))]


def _data_type(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.initializer).data_type = rng.randrange(26)


def _op(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.node).op_type = rng.choice(OPS)


def _attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    attribute = rng.choice(rng.choice(model.graph.node).attribute)
    attribute.i, attribute.f = rng.choice(NUMBERS), rng.choice([float("nan"), 1e38, -1.0, 0.0])
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)


def _no_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    attributes = rng.choice(model.graph.node).attribute
    del attributes[rng.randrange(len(attributes))]


def _edge(model: onnx.ModelProto, rng: random.Random) -> None:
    names = [name for node in model.graph.node for name in node.input]
    node = rng.choice(model.graph.node)
    kind = rng.random()
    if kind < 0.6:
        node.input[rng.randrange(len(node.input))] = rng.choice([*names, "", "nowhere"])
    elif kind < 0.8:
        node.input.append(rng.choice(names))
    else:
        del node.input[-1]


def _node(model: onnx.ModelProto, rng: random.Random) -> None:
    if rng.random() < 0.5:
        del model.graph.node[rng.randrange(len(model.graph.node))]
    else:
        rng.choice(model.graph.node).output.append("extra")


def _opset(model: onnx.ModelProto, rng: random.Random) -> None:
    model.opset_import[0].version = rng.choice([1, 5, 6, 7, 9, 11, 13, 17, 20, 21, 25, 100, 2**40, -1])


def _shape(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.input[0].type.tensor_type.shape.dim).dim_value = rng.choice(NUMBERS)


def _integer(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice([t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT64])
    array = numpy_helper.to_array(tensor).copy()
    array.flat[rng.randrange(array.size)] = rng.choice(NUMBERS)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


CHANGES = [_dims, _raw_data, _data_type, _op, _attribute, _no_attribute, _edge, _node, _opset, _shape, _integer]


def main() -> None:
    """Load the mutants."""
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    contents = [path.read_bytes() for path in sorted(folder.glob("*.onnx"))]
    target = folder / "mutant.onnx"
    results = {True: 0, False: 0}
    for seed in range(first, first + count):
        rng = random.Random(seed)
        change = bytes_changed if rng.random() < 0.3 else fields_changed
        target.write_bytes(change(rng.choice(contents), rng))
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        sys.stdout.write(f"mutant {seed}\n")
        sys.stdout.flush()
        try:
            load(target)
            results[True] += 1
        except LipcertError as error:
            results[False] += 1
            if "\n" in str(error) or error.exit_code != 2:
                sys.exit(f"mutant {seed}: {error!r} is not one line with exit code 2")
        except Exception as error:  # the point of this program
            sys.exit(f"mutant {seed}: {error!r}")
        finally:
            faulthandler.cancel_dump_traceback_later()
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 2 * 2**20:
            sys.exit(f"mutant {seed}: more than 2 GiB of memory")
    if not (results[True] and results[False]):
        sys.exit(f"the mutants are of one kind: {results}")


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
