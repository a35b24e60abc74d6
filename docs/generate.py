"""Fill the generated parts of the documentation: `python docs/generate.py`; with --check, only say what is out of date."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from lipcert.activations import TABLE
from lipcert.cli import cli
from lipcert.importer import supported_operators

HERE = Path(__file__).parent


def operators() -> str:
    """The table of ONNX operators, and those that are refused with a reason of their own."""
    known = supported_operators()
    rows = [(f"`{op}`", text) for op, text in known if not text.startswith("Refused")]
    refused = ", ".join(f"`{op}`" for op, text in known if text.startswith("Refused"))
    return f"{table(('op', 'what is covered'), rows)}\n\nRefused with a reason of their own: {refused}."


def activations() -> str:
    """The table of activations."""
    return table(("activation", "source"), [(f"`{name}`", record.source) for name, record in sorted(TABLE.items())])


def commands() -> str:
    """The help of every command."""
    parts = []
    with click.Context(cli, info_name="lipcert") as top:
        for name in cli.list_commands(top):
            command = cli.get_command(top, name)
            assert command is not None
            with click.Context(command, info_name=name, parent=top, terminal_width=100, max_content_width=100) as ctx:
                parts.append(f"## lipcert {name}\n\n{described(command, ctx)}")
    return "\n\n".join(parts)


def described(command: click.Command, ctx: click.Context) -> str:
    """The help of a command as Markdown, which a narrow page can wrap: usage, text, one item an option."""
    usage = " ".join(command.get_usage(ctx).removeprefix("Usage: ").split())
    text = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    records = filter(None, (param.get_help_record(ctx) for param in command.get_params(ctx)))
    items = [f"- `{option}`: {' '.join(said.split())}" for option, said in records if said]
    return "\n".join([f"`{usage}`", "", text, "", *items])


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    cells = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


PARTS = {"operators.md": [operators, activations], "cli.md": [commands]}


def main() -> None:
    """Renew or check the generated parts."""
    stale = []
    for name, makers in PARTS.items():
        page = HERE / name
        old = new = page.read_text()
        for maker in makers:
            pattern = f"(<!-- generated: {maker.__name__} -->\n).*?(<!-- end of generated -->)"
            body = f"\n{maker()}\n\n"
            new = re.sub(pattern, lambda match, body=body: match[1] + body + match[2], new, flags=re.DOTALL)
        if new != old:
            stale.append(name)
            if "--check" not in sys.argv:
                page.write_text(new)
    if "--check" in sys.argv and stale:
        sys.exit(f"out of date: {', '.join(stale)}; run python docs/generate.py")


if __name__ == "__main__":
    main()
