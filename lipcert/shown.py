"""How results show themselves: a few lines at a prompt, a table in a notebook."""

from __future__ import annotations

from html import escape


class Shown:
    """A result that says what it is in pairs of a name and a text."""

    def facts(self) -> list[tuple[str, str]]:
        """What is to be shown, the most important first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        facts = self.facts()
        width = max((len(name) for name, _ in facts), default=0)
        return "\n".join([type(self).__name__, *(f"  {name:<{width}}   {value}" for name, value in facts)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self.facts()
        )
        return f"<table><caption>{escape(type(self).__name__)}</caption><tbody>{rows}</tbody></table>"
