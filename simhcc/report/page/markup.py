"""HTML as nested calls: everything that is not markup already is escaped, so names from outside stay text."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any

VOID = frozenset({"br", "hr", "img", "input", "meta", "link"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(content: Any) -> Markup:
    """Content as HTML: markup as it is, lists one after another, None as nothing, all else as escaped text."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, list | tuple) or (isinstance(content, Iterable) and not isinstance(content, str)):
        return Markup("".join(escaped(item) for item in content))
    return Markup(html.escape(str(content), quote=True))


def el(name: str, /, *content: Any, **attributes: Any) -> Markup:
    """An element. Attributes: `class_` for class, `data_x` for data-x; None and False are left out, True stands alone."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{html.escape(str(value), quote=True)}"')
    start = f"<{' '.join(parts)}>"
    return Markup(start if name in VOID else f"{start}{escaped(content)}</{name}>")


def json_script(content: Any, id_: str) -> Markup:
    """Data for the page's script, as JSON that cannot end the element it stands in."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(f'<script type="application/json" id="{html.escape(id_)}">{text}</script>')
