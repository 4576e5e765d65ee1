"""Texts and small panels as HTML in which nothing foreign comes alive."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence

_LAST_WORD = re.compile(r"[\W_][^\W_]{1,8}$")  # with what parts it from the one before
_WHOLE, _END = 8, 5  # letters of a name in one part, and of the end of a longer one
MUTED = "opacity:.72"
_CUT = (  # to whole lines, where there is no room for all
    "display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:var(--pfv-lines,none);"
    "overflow:hidden"
)
NO_IMAGE = "No image is in the batch. Take one in under Batch, or with Space."

# Lab pads the pages of a tab by 15 pixels and gives every tab the same width: a narrow panel
# needs both for itself. A widget whose kernel is gone is marked by ipywidgets with a sign in
# every control, which moves them all: words in one place say more. The content of a line of HTML
# is never narrower than its text, unless one says so: nothing would be cut short. Arrows are drawn:
# fonts may lack their letters.
STYLE = """<style>
.pfv-explorer .widget-tab .lm-TabBar-tab { flex: 1 1 auto !important; min-width: 0 !important;
  padding: 0 2px !important; font-size: 12px; color: var(--jp-ui-font-color0, inherit) !important; }
.pfv-explorer .widget-tab .lm-TabBar-tabLabel { text-align: center; }
.pfv-explorer .widget-tab-contents { padding: 8px 6px !important; overflow: hidden auto; }
.pfv-explorer .widget-html-content { min-width: 0; }
.pfv-explorer .widget-readout { min-width: 46px; max-width: 46px; }
.pfv-explorer .pfv-toolbar .widget-readout { min-width: 62px; max-width: 62px; }
.pfv-status { --pfv-lines: 2; }
.pfv-scores { display: flex; gap: 8px; font-size: 12px; line-height: 17px; }
.pfv-scores > div { flex: 1; min-width: 0; display: grid; white-space: nowrap;
  grid-template-columns: repeat(auto-fill, minmax(70px, 1fr)); }
.pfv-name { display: flex; }
.pfv-begin { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: pre; }
.pfv-end { flex: none; white-space: pre; }
.pfv-name + i { font-style: normal; }
@container tile (max-width: 110px) {
  .pfv-name:has(+ [data-label]) { display: none; }
  .pfv-name + [data-label]::after { content: attr(data-label); }
}
@container tile (max-width: 60px) {
  .pfv-name { display: none; }
  .pfv-name + i::after { content: attr(data-number) !important; }
}
.pfv-outdated { opacity: .35; transition: opacity .15s .1s; }
.pfv-explorer canvas { cursor: crosshair; }
.pfv-explorer canvas:focus { outline: none; }
.pfv-explorer canvas:focus-visible { outline: 2px solid #1a73e8; outline-offset: -2px; }
.pfv-explorer .jupyter-widgets-disconnected::before,
.pfv-explorer.jupyter-widgets-disconnected::before { display: none; }
.pfv-explorer:not(.pfv-scripted) .pfv-copy { display: none; }
.pfv-copied::after { content: " – done"; }
.pfv-explorer .pfv-fold::before { content: ""; display: inline-block; margin-right: 7px;
  border: 4px solid transparent; border-width: 4px 0 4px 6px; border-left-color: currentColor; }
.pfv-explorer .pfv-fold.mod-active::before { border-width: 6px 4px 0 4px;
  border-color: currentColor transparent; margin-right: 5px; vertical-align: middle; }
.pfv-lost, .pfv-away { display: none; }
.pfv-explorer.pfv-offline:not(.jupyter-widgets-disconnected) .pfv-away { display: block; }
.pfv-explorer.jupyter-widgets-disconnected .pfv-lost { display: block; }
.pfv-explorer.jupyter-widgets-disconnected .pfv-status { visibility: hidden; }
</style>
<div class="pfv-lost" style="font-weight:600;padding:6px 0"><span aria-hidden="true"
style="color:#d93025">●</span> The kernel of this picture is gone: run the cell again to make it
live.</div>
<div class="pfv-away" aria-live="assertive" style="font-weight:600;padding:6px 0"><span
aria-hidden="true"
style="color:#d93025">●</span> The connection to the kernel is lost: the picture stays as it is.
What you set now is sent when it is back.</div>"""


# Outputs of a saved notebook: a widget that lives no more, this, and then the picture. While the
# widget lives this and the picture are hidden; afterwards the message that a model is not found.
_CELL, _OUT = ".jp-OutputArea", ".jp-OutputArea-child"
SAVED = (
    f"<style>{_CELL}:has(.pfv-explorer) {_OUT}:has(.pfv-still),"
    f"{_CELL}:has(.pfv-explorer) {_OUT}:has(.pfv-still) + {_OUT},"
    f"{_CELL}:not(:has(.pfv-explorer)) {_OUT}:has(+ {_OUT} .pfv-still)"
    '{display:none}</style><p class="pfv-still">The picture that was shown last: run the cell to '
    "make it live.</p>"
)


def plain(text: object, most: int = 40) -> str:
    """Return one line of text for a label: no control characters, cut to ``most``.

    Jupyter sets mathematics in the label of a control, and there alone: foreign text in one needs
    a control of ``toolkit/tooltips.py``.

    >>> plain("two  words, $5")
    'two words, $5'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def safe(text: object, most: int = 400) -> str:
    """Return text for an HTML widget, escaped."""
    return html.escape(plain(text, most))


def parted(text: str) -> str:
    """Return a name as HTML that loses its middle where there is no room: see ``.pfv-name``.

    Names of a series differ at their end.

    >>> parted("cat")
    '<span class="pfv-begin">cat</span>'
    """
    line = plain(text, len(text))
    last = _LAST_WORD.search(line)
    end = 0 if len(line) <= _WHOLE else len(last[0]) if last else _END
    begin, rest = line[: len(line) - end], line[len(line) - end :]
    parts = {"pfv-begin": begin, "pfv-end": rest}
    spans = [
        f'<span class="{kind}">{html.escape(part)}</span>' for kind, part in parts.items() if part
    ]
    return "".join(spans)


def in_digits(value: float, form: str = ".2f") -> str:
    """Return a number as people read it, or that it is undefined.

    >>> in_digits(-0.126), in_digits(0.126, "+.1f"), in_digits(math.nan)
    ('−0.13', '+0.1', 'undefined')
    """
    return format(value, form).replace("-", "−") if math.isfinite(value) else "undefined"


def status(text: str, *, kind: str = "ok", done: float | None = None, tip: str = "") -> str:
    """Return the status line: ``"ok"``, ``"busy"``, ``"warning"`` or ``"error"``.

    ``done`` in [0, 1] draws a bar below it. The whole text, which may be cut to the lines that have
    room, and ``tip`` are shown where it is pointed at.
    """
    colours = {"ok": "#2e9e5b", "busy": "#1a73e8", "warning": "#c27500", "error": "#d93025"}
    dot = f'<span aria-hidden="true" style="color:{colours[kind]}">●</span>'
    role = "alert" if kind == "error" else "status"
    whole = safe(f"{text} {tip}".strip())
    more = f'title="{whole}" style="line-height:1.35;min-height:1.4em"'
    return (
        f'<div role="{role}" aria-live="polite" {more}><div style="{_CUT}">'
        f"{dot} {safe(text)}</div>{_bar(done) if done is not None else ''}</div>"
    )


def _bar(done: float) -> str:
    stops = f"#1a73e8 {100 * done:.0f}%, rgba(128,128,128,.3) 0"
    return (
        '<div aria-hidden="true" style="height:4px;border-radius:2px;max-width:320px;'
        f'background:linear-gradient(to right,{stops})"></div>'
    )


def layer_line(name: str, kind: str, shape: tuple[int, int, int]) -> str:
    """Return what the chosen layer is: its name and class, and below them its shape.

    Of a name that is too long its end stays, which tells layers of one block apart.
    """
    channels, height, width = shape
    noun, rest = f"channel{'s' * (channels != 1)}", '<span class="pfv-more"> positions</span>'
    line = "white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
    return (
        f'<div style="line-height:1.35"><div title="{safe(name)} · {safe(kind)}" '
        f'style="display:flex;column-gap:.4em"><span style="flex:0 1 auto;min-width:0;'
        f'direction:rtl;font-weight:600;{line}"><bdi dir="ltr">{safe(name)}</bdi></span>'
        f'<span style="flex:1 1000 0;min-width:0;{MUTED};{line}">{safe(kind)}</span></div>'
        f'<div style="{MUTED};{line}">{channels} {noun} · {height} × {width}{rest}</div></div>'
    )


def one_line(text: str, style: str) -> str:
    """Return text that never wraps; what does not fit is in its tooltip."""
    line = f"white-space:nowrap;overflow:hidden;text-overflow:ellipsis;line-height:1.35;{style}"
    return f'<div title="{safe(text)}" style="{line}">{safe(text)}</div>'


def hint(text: str) -> str:
    """Return a quiet line of explanation."""
    return f'<div style="{MUTED};line-height:1.35;min-height:1.4em">{safe(text)}</div>'


def adds_to(name: str, label: str) -> bool:
    """Return whether a label says what the name of its image does not say already."""
    return label.casefold() not in name.casefold()


def about_image(index: int, name: str, label: str | None, weight: float, most: int = 40) -> str:
    """Return number and name of an image, its label where that says more, and its weight."""
    labels = [plain(label, most)] if label and adds_to(name, label) else []
    used = f"weight {weight:g}" if weight > 0 else "not used to find the colours"
    return " · ".join([f"{index + 1}: {plain(name)}", *labels, used])


def position_line(
    index: int,
    name: str,
    label: str | None,
    weight: float,
    *,
    values: Sequence[float],
    visible: Sequence[int],
    distance: bool = False,
) -> str:
    """Return what is known about an image, and the component scores at a position in it.

    Of the ``values``, one for each component where a position is pointed at, those of
    ``visible`` stand out: they are in the heatmaps. ``distance`` says that the only one is that of
    two networks.
    """
    line = one_line(about_image(index, name, label, weight), MUTED)
    if not values:
        return line
    if distance:
        noun, parts = "Difference", f"<span><b>{in_digits(values[0])}</b></span>"
    else:
        noun, form = "Scores", _signed_form(values)
        parts = "".join(
            _score(index, in_digits(value, form), index in visible)
            for index, value in enumerate(values)
        )
    return f'{line}<div class="pfv-scores"><span>{noun}</span><div>{parts}</div></div>'


def _signed_form(values: Sequence[float]) -> str:
    """Return a format in which the largest of the values has two digits at least.

    >>> _signed_form([0.5, -3.1]), _signed_form([0.0012, -0.0062]), _signed_form([2e-9])
    ('+.2f', '+.4f', '+.1e')
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest >= 0.1 or not largest:
        return "+.2f"
    return f"+.{1 - math.floor(math.log10(largest))}f" if largest >= 1e-4 else "+.1e"


def _score(number: int, value: str, visible: bool) -> str:
    style = "" if visible else f' style="{MUTED}"'
    return f"<span{style}>{number + 1}:&#8239;<b>{value}</b></span> "


def heading(text: str) -> str:
    """Return the title of a group of controls."""
    style = "font-weight:600;margin-top:4px;padding:5px 0;line-height:1.35"
    return f'<div class="pfv-heading" style="{style}">{safe(text)}</div>'
