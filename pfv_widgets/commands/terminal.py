"""Text for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return ``text`` as one line that cannot steer a terminal.

    >>> print(printable("a\x1b]0;b\n犬"))
    a\x1b]0;b 犬
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text.replace("\n", " ")
    )
