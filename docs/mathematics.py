"""Formulas in TeX as MathML, which browsers draw without a script: a hook of mkdocs."""

from __future__ import annotations

import re
from html import unescape

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">(?:\\\((.*?)\\\)|\\\[(.*?)\\\])</\1>', re.DOTALL)


def on_page_content(html: str, **_: object) -> str:
    """The page, with the formulas that arithmatex has marked as MathML."""
    return FORMULA.sub(_formula, html)


def _formula(match: re.Match[str]) -> str:
    tag, inline, block = match.groups()
    formula = convert(unescape(inline or block).strip(), display="inline" if inline else "block")
    return f'<{tag} class="formula">{formula}</{tag}>'
