"""Parts of HTML pages: texts that nothing foreign comes alive in, templates, digests."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from importlib.resources import files

_JOINERS = "\u200c\u200d"  # in Persian and in compound emoji: no letter, but seen


def one_line(text: object, most: int = 200) -> str:
    """One line without control characters that affect its neighbours, cut to ``most`` letters."""
    letters = (c if c.isprintable() or c in _JOINERS else " " for c in str(text))
    line = " ".join("".join(letters).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def escaped(text: object) -> str:
    """Return one line of text for HTML, also inside of quoted attributes."""
    return html.escape(one_line(text, 1000))


def asset(package: str, name: str) -> str:
    """Return a text file of the folder ``assets`` in a package."""
    return files(package).joinpath("assets", name).read_text("utf-8").strip()


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Put the parts in at one go, so that none is taken for a part of another."""
    return re.sub(r"@@(\w+)@@", lambda match: parts[match[1]], template)


def digest(code: str) -> str:
    """Return what lets a browser run this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
