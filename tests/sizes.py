"""Functions of the package that are longer than a page: python tests/sizes.py [LINES]; `make lint` runs it.

Lines of code count: no docstrings, no comments, no blank lines. Commands and what `import lipcert` offers are let off:
most of their lines are parameters, which are the user's.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "lipcert"
LINES = 60
FACADE = {"bound", "compare", "robustness", "lower_bound"}


def functions(source: str) -> Iterator[tuple[str, int, int]]:
    """Name, first line and lines of code of every function.

    Examples
    --------
    >>> list(functions("def f():\\n    '''Nothing.'''\\n    # a comment\\n\\n    return [\\n        1]\\n"))
    [('f', 1, 3)]
    """
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in quiet:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_command(node):
            assert node.end_lineno is not None
            own = set(range(node.lineno, node.end_lineno + 1))
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                assert first.end_lineno is not None
                own -= set(range(first.lineno, first.end_lineno + 1))
            yield node.name, node.lineno, len(own & code)


def _is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("command(" in ast.unparse(decorator) for decorator in node.decorator_list)


def main(limit: int) -> int:
    """Name every function above the limit; their number."""
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {name} has {lines} lines of code, more than {limit}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, line, lines in functions(path.read_text(encoding="utf-8"))
        if lines > limit and name not in FACADE
    ]
    print("\n".join(found) or f"no function has more than {limit} lines of code")
    return len(found)


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]) if len(sys.argv) > 1 else LINES), 1))
