"""Nothing foreign comes alive in a text, wherever it is shown."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from pfv_widgets.widgets.toolkit import text

HOSTILE = {
    "tag": "<img src=x onerror=alert(1)>",
    "script": "</div></b><script>alert(1)</script>",
    "attribute": "\"' onmouseover=alert(1) x='\"",
    "entity": "&lt;img src=x onerror=alert(1)&gt;",
    "dollar": "$x^2$ and $$y$$",
    "parentheses": r"\(x\) \[y\] \begin{equation}z\end{equation}",
    "newlines": "one\ntwo\r\nthree\u2028four",
    "bidi": "\u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "control": "a\x00b\x1b[31mc\x7f",
    "zero width": "a\u200bb\ufeffc",
    "surrogate": "file-\udce9.jpg",
    "empty": "",
    "long": "x" * 10_000,
}
OUTPUTS: dict[str, Callable[[str], str]] = {
    "status": lambda foreign: text.status(foreign, kind="error"),
    "hint": text.hint,
    "heading": text.heading,
    "name of a layer": lambda foreign: text.layer_line(foreign, "Conv2d", (8, 4, 4)),
    "kind of a layer": lambda foreign: text.layer_line("conv", foreign, (8, 4, 4)),
}


class Parsed(HTMLParser):
    """Tags, attributes and text of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.mark.parametrize("foreign", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_foreign_text_adds_no_tag_and_no_attribute(
    output: Callable[[str], str], foreign: str
) -> None:
    harmless, hostile = Parsed(output("word")), Parsed(output(foreign))
    assert hostile.tags == harmless.tags
    assert hostile.attributes == harmless.attributes


@pytest.mark.parametrize("foreign", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_foreign_text_holds_nothing_invisible(output: Callable[[str], str], foreign: str) -> None:
    assert Parsed(output(foreign)).text.isprintable()


@pytest.mark.parametrize("foreign", HOSTILE.values(), ids=HOSTILE)
def test_label_is_one_printable_line_of_limited_length(foreign: str) -> None:
    label = text.plain(foreign, 18)
    assert len(label) <= 18
    assert label.isprintable()
    label.encode()


def test_harmless_text_of_any_language_stays_as_it_is() -> None:
    words = r"Ärger & Zoë – 猫 кот قط 🐈 100 % $5 C:\a"
    assert text.plain(words) == words
    assert Parsed(text.hint(words)).text == words


def test_cut_text_ends_in_an_ellipsis_within_the_limit() -> None:
    assert text.plain("abcdefgh", 5) == "abcd…"
    assert text.plain("abcde", 5) == "abcde"


def test_error_is_announced_as_an_alert_and_all_else_as_a_status() -> None:
    assert 'role="alert"' in text.status("no", kind="error")
    assert 'title="no"' in text.status("no")  # all of it, where there is room for two lines
    assert 'title="no more"' in text.status("no", tip="more")
    for kind in ("ok", "busy", "warning"):
        assert 'role="status"' in text.status("yes", kind=kind)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.234, -0.051], ["+1.23", "−0.05"]),
        ([0.0123, -0.000456, 0.0], ["+0.012", "−0.000", "+0.000"]),
        ([-0.00619, 0.0027], ["−0.0062", "+0.0027"]),
        ([3e-7, -2e-9], ["+3.0e−07", "−2.0e−09"]),
        ([0.0, 0.0], ["+0.00"]),
        ([float("nan"), 0.05], ["undefined", "+0.050"]),
    ],
)
def test_scores_have_two_digits_however_small_they_are(
    values: list[float], shown: list[str]
) -> None:
    line = text.position_line(0, "a", None, 1.0, values=values, visible=(0,))
    assert all(f"<b>{one}</b>" in line for one in shown)


def test_a_distance_is_called_one() -> None:
    line = text.position_line(0, "a", None, 1.0, values=[1.64], visible=(0,), distance=True)
    assert Parsed(line).text.endswith("Difference1.64")
