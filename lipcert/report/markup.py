"""Elements of an HTML page. Texts and attributes are escaped where the page is written, so no string can become markup."""

from __future__ import annotations

import re
from typing import TypeAlias
from xml.etree import ElementTree as ET

Element: TypeAlias = ET.Element
Content: TypeAlias = "Element | str"

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)


def tag(name: str, *content: Content, **attributes: object) -> Element:
    """An element; `class_` and `stroke_width` stand for the attributes class and stroke-width.

    Examples
    --------
    >>> render(tag("p", "a < b", tag("b", "!"), class_="x"))
    '<p class="x">a &lt; b<b>!</b></p>'
    """
    element = ET.Element(name, {key.rstrip("_").replace("_", "-"): clean(str(v)) for key, v in attributes.items()})
    for item in content:
        append(element, item)
    return element


def append(element: Element, item: Content) -> None:
    """Add an element or a text at the end."""
    if not isinstance(item, str):
        element.append(item)
    elif len(element):
        element[-1].tail = (element[-1].tail or "") + clean(item)
    else:
        element.text = (element.text or "") + clean(item)


def render(element: Element) -> str:
    """The element as HTML."""
    return ET.tostring(element, encoding="unicode", method="html")


def clean(text: str) -> str:
    """The text with control characters and marks of direction made visible."""
    return _INVISIBLE.sub("\ufffd", text)
