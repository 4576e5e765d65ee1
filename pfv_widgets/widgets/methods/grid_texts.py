"""The words of a grid of methods: HTML upon its canvas, crisp and in the colours of the theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.methods.comparison.cells import Cell
from pfv_widgets.methods.comparison.rows import PrincipalFeatures
from pfv_widgets.methods.comparison.scales import MEANING
from pfv_widgets.methods.comparison.table import Bar
from pfv_widgets.methods.comparison.tiles import ZERO, Classes, note_of, reach, said
from pfv_widgets.methods.core.target import Target
from pfv_widgets.widgets.methods.grid_canvas import Place, Shown
from pfv_widgets.widgets.methods.grid_layout import LABEL, Layout
from pfv_widgets.widgets.methods.view_state import MethodsSettings
from pfv_widgets.widgets.toolkit.geometry import Box
from pfv_widgets.widgets.toolkit.text import safe

# The words lie upon the canvas and follow its width; the wheel over them scrolls the page.
STYLE = """<style>
.pfv-methods-sheet { position: relative; container-type: inline-size; overflow: hidden; }
.pfv-methods-sheet canvas { pointer-events: none; display: block; margin: 0; height: auto; }
.pfv-methods-sheet canvas:focus-visible { outline: 2px solid #1a73e8; outline-offset: -2px; }
.pfv-methods-sheet > .pfv-methods-words { position: absolute; inset: 0; margin: 0;
  width: auto; height: auto; }
.pfv-methods-words > .widget-html-content { position: absolute; inset: 0;
  font-size: clamp(8px, 1.9cqi, 13px); line-height: 1.25; }
.pfv-methods-words .at { position: absolute; box-sizing: border-box; overflow: hidden;
  display: flex; overflow-wrap: anywhere;
  flex-direction: column; justify-content: center; }
.pfv-methods-words .line { white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
  max-width: 100%; }
.pfv-methods-words .middle { align-items: center; text-align: center; padding: 0 4px; }
.pfv-methods-words .muted { opacity: .72; font-size: 92%; }
.pfv-methods-words .cut { display: -webkit-box; -webkit-box-orient: vertical;
  -webkit-line-clamp: 6; overflow: hidden; }
.pfv-methods-words .note { background: rgba(255,255,255,.85); color: #222; padding: 0 4px;
  border-radius: 2px; }
.pfv-methods-legend { display: flex; flex-wrap: wrap; gap: 4px 24px; align-items: end;
  line-height: 1.3; font-size: 92%; }
.pfv-methods-bar { flex: 0 1 230px; }
.pfv-methods-ends { display: flex; justify-content: space-between; gap: 8px; }
.pfv-methods .widget-checkbox { height: 22px; }
.pfv-methods .widget-readout { min-width: 46px; max-width: 46px; }
</style>"""


def words(
    layout: Layout,
    settings: MethodsSettings,
    cells: Mapping[Place, Shown],
    *,
    images: ImageBatch,
    networks: Sequence[str],
    classes: Classes,
    layers: Mapping[Place, str],
) -> str:
    """Return all words of the grid, each at its place.

    Parameters
    ----------
    layers
        Name of the layer that PFV shows, by the place of its first cell.
    """
    target = settings.target
    parts = [
        _at(layout, layout.group(group), _line(images.names[image], "b"), "middle")
        for group, image in enumerate(layout.images)
    ]
    for column, (_, network) in enumerate(layout.columns):
        found = [one.cell for (_, place), one in cells.items() if place == column]
        below = [_line(networks[network], "span")] if layout.networks > 1 else []
        below.append(_line(said(found, target, classes), "span", "muted"))
        parts += [
            _at(layout, layout.below(column, number), line, "middle")
            for number, line in enumerate(below)
        ]
    for row, method in enumerate(settings.methods):
        more = _about_row(row, settings, cells, layers)
        box = (0, layout.top(row), LABEL - 16, layout.tile[0])
        parts.append(_at(layout, box, f"<b>{safe(method.label)}</b>{more}"))
    for place, shown in cells.items():
        parts.append(
            _cell(layout, place, shown, _spoken(layout, place, settings, images, networks))
        )
    return "".join(parts)


def legend(settings: MethodsSettings, bars: Sequence[Bar]) -> str:
    """Return the bars of the colours in use, and what may be compared."""
    parts = [_bar(bar) for bar in bars]
    meaning = MEANING[settings.scale]
    if any(isinstance(method, PrincipalFeatures) for method in settings.methods):
        meaning += " PFV: its principal components as colours, for all images of one network."
    parts.append(f'<div style="flex:1 1 260px;opacity:.72">{safe(meaning)}</div>')
    return f'<div class="pfv-methods-legend">{"".join(parts)}</div>'


def _bar(bar: Bar) -> str:
    ramp = (255 * mpl.colormaps[bar.colours](np.linspace(0, 1, 17))[:, :3]).round().astype(int)
    stops = ",".join(f"rgb({r},{g},{b})" for r, g, b in ramp.tolist())
    return (
        '<div class="pfv-methods-bar"><div class="pfv-methods-ends">'
        f"<span>{safe(bar.low)}</span><span>{safe(bar.high)}</span></div>"
        '<div aria-hidden="true" style="height:12px;border-radius:2px;background:'
        f'linear-gradient(to right,{stops})"></div></div>'
    )


def _about_row(
    row: int,
    settings: MethodsSettings,
    cells: Mapping[Place, Shown],
    layers: Mapping[Place, str],
) -> str:
    """Return the layer of PFV, or where the colours of a method end."""
    named = dict.fromkeys(layer for (place, _), layer in sorted(layers.items()) if place == row)
    about = ", ".join(named)
    if settings.scale == "each method":
        reaches = [
            reach(one.cell, one.ink)
            for (place, _), one in sorted(cells.items())
            if place == row and one.cell is not None
        ]
        about = about or next(filter(None, reaches), "")
    return f'<span class="muted cut">{safe(about, 60)}</span>' if about else ""


def _cell(layout: Layout, place: Place, shown: Shown, spoken: str) -> str:
    inside = ""
    if shown.running:
        inside, spoken = "<span>working …</span>", f"{spoken}: in work"
    elif shown.cell is None:
        inside, spoken = '<span class="muted">waiting</span>', f"{spoken}: waiting"
    else:
        note = note_of(shown.cell)
        about = " · ".join(filter(None, [note, reach(shown.cell, shown.ink), *shown.cell.told]))
        spoken = f"{spoken}: {about}" if about else spoken
        if note:
            kind = "note" if note == ZERO else "cut"
            inside = f'<span class="{kind}">{safe(note, 160)}</span>'
    title = f'role="img" aria-label="{safe(spoken)}" title="{safe(spoken)}"'
    return _at(layout, layout.box(*place), inside, "middle", title)


def _spoken(
    layout: Layout,
    place: Place,
    settings: MethodsSettings,
    images: ImageBatch,
    networks: Sequence[str],
) -> str:
    image, network = layout.columns[place[1]]
    return f"{settings.methods[place[0]].label}, {networks[network]}, {images.names[image]}"


def _line(text: str, tag: str, kind: str = "") -> str:
    return f'<{tag} class="line {kind}" title="{safe(text)}">{safe(text, 60)}</{tag}>'


def _at(layout: Layout, box: Box, inside: str, kind: str = "", more: str = "") -> str:
    """Put HTML at a box of the canvas, whatever its width on the page."""
    high, wide = layout.size
    left, top, width, height = box
    style = (
        f"left:{100 * left / wide:.2f}%;top:{100 * top / high:.2f}%;"
        f"width:{100 * width / wide:.2f}%;height:{100 * height / high:.2f}%"
    )
    return f'<div class="at {kind}" style="{style}" {more}>{inside}</div>'


def progress_line(done: int, total: int, running: str, share: float) -> str:
    """Return what is being computed, for the status line."""
    part = f" ({100 * share:.0f} %)" if 0 < share < 1 else ""
    return f"{done} of {total} maps. Computing {running}{part} …"


def outcome_line(found: Sequence[Cell | None], target: Target, *, stopped: bool) -> tuple[str, str]:
    """Return how the grid stands, and the kind of that message."""
    cells = [cell for cell in found if cell is not None]
    errors = [cell.error for cell in cells if cell.error is not None]
    told = list(dict.fromkeys(text for cell in cells for text in cell.told))
    counted = f"{len(cells)} of {len(found)} maps"
    every = f"{len(cells)} map{'s' * (len(cells) != 1)} of {target.layer or 'the output'}"
    if len(cells) < len(found):
        rest = "Stopped: Go on computes the rest." if stopped else "The rest is waiting."
        return f"{counted}. {rest}", "warning"
    if errors:
        return f"{len(errors)} of {len(found)} maps failed: {errors[0]}", "error"
    if told:
        marked = sum(bool(cell.told) for cell in cells)
        return f"{every}; {marked} with a remark: {told[0]}", "warning"
    return f"{every}.", "ok"
