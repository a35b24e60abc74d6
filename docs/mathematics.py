"""Formulas in TeX as MathML, which browsers draw without a script: a hook of mkdocs."""

from __future__ import annotations

import re
from html import unescape

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">(?:\\\((.*?)\\\)|\\\[(.*?)\\\])</\1>', re.DOTALL)
NUMBER = re.compile(r"\\tag\{(.*?)\}")
# the pages write operators as they look; MathML wants to know that they are operators, for their spacing
COMMANDS = {"−": "-", "·": r"\cdot ", "‖": r"\Vert ", "⟹": r"\Longrightarrow "}
OPERATORS = re.compile("<mi>([±∘≤≥≈→↦∈∩≻⪰⪯⟹⟨⟩]|&#x027F9;)</mi>")


def on_page_content(html: str, **_: object) -> str:
    """The page, with the formulas that arithmatex has marked as MathML."""
    return FORMULA.sub(_formula, html)


def _formula(match: re.Match[str]) -> str:
    tag, inline, block = match.groups()
    tex = NUMBER.sub(r"\\qquad \\text{(\1)}", unescape(inline or block).strip()).translate(str.maketrans(COMMANDS))
    formula = OPERATORS.sub(r"<mo>\1</mo>", convert(tex, display="inline" if inline else "block"))
    return f'<{tag} class="formula">{formula}</{tag}>'
