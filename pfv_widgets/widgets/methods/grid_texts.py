"""The words of a grid of methods: HTML upon its canvas, crisp and in the colours of the theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pfv_widgets.engine.export.image_grid import Bar
from pfv_widgets.methods.comparison.cell_tiles import range_label, score_label, why_empty
from pfv_widgets.methods.comparison.compared_methods import labels
from pfv_widgets.methods.comparison.comparison import Cell, Comparison
from pfv_widgets.methods.core.target import Target
from pfv_widgets.widgets.methods.grid_canvas import CellPicture, Slot
from pfv_widgets.widgets.methods.grid_layout import LABEL, WIDTH, Layout
from pfv_widgets.widgets.methods.settings import MethodsSettings
from pfv_widgets.widgets.toolkit.geometry import CanvasBox
from pfv_widgets.widgets.toolkit.text import parted, safe

# The words lie upon the canvas and follow its width; the wheel over them scrolls the page. Bar
# and headings stay in sight above them, for which no box around them may scroll by itself.
STYLE = """<style>
.pfv-methods-grid { position: relative; overflow: clip; }
.pfv-methods-page { container-type: inline-size; }
.pfv-methods-bar, .pfv-methods-heads { position: sticky; z-index: 4; margin: 0;
  background: var(--pfv-page); }
.pfv-methods-bar { top: 0; height: 34px; }
.pfv-methods-heads { top: 34px; font-size: clamp(8px, 1.9cqi, 13px); }
.pfv-methods-heads .widget-html-content { font-size: inherit; line-height: 1.4; }
.pfv-methods-heads .row { position: relative; height: 1.4em; }
.pfv-methods-heads .row > * { position: absolute; text-align: center; }
.pfv-methods-grid canvas { pointer-events: none; display: block; margin: 0; height: auto; }
.pfv-methods-grid canvas:focus-visible { outline: 2px solid #1a73e8; outline-offset: -2px; }
.pfv-methods-grid > .pfv-methods-words { position: absolute; inset: 0; margin: 0;
  width: auto; height: auto; }
.pfv-methods-words > .widget-html-content { position: absolute; inset: 0;
  font-size: clamp(8px, 1.9cqi, 13px); line-height: 1.25; }
.pfv-methods-words .at { position: absolute; box-sizing: border-box; overflow: hidden;
  display: flex; overflow-wrap: anywhere; hyphens: auto;
  flex-direction: column; justify-content: center; }
:is(.pfv-methods-words, .pfv-methods-heads) .line { white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; max-width: 100%; }
.pfv-methods-heads .pfv-name { justify-content: center; }
.pfv-methods-words .middle { align-items: center; text-align: center; padding: 0 4px; }
.pfv-methods-words .muted { opacity: .72; font-size: 92%; }
@container (max-width: 420px) { .pfv-methods-words span.cut { display: none !important; } }
@container (max-width: 300px) { .pfv-methods-words .line { display: none; } }
.pfv-methods-words .cut { display: -webkit-box; -webkit-box-orient: vertical;
  --more: 1; -webkit-line-clamp: calc(var(--lines) * var(--more)); overflow: hidden; }
.pfv-methods-words b + .cut {
  -webkit-line-clamp: max(1, var(--lines) * var(--more) - var(--head)); }
@container (min-width: 800px) { .pfv-methods-words .cut { --more: 1.17; } }
@container (min-width: 950px) { .pfv-methods-words .cut { --more: 1.39; } }
.pfv-methods-words .note { background: rgba(255,255,255,.85); color: #222; padding: 0 4px;
  border-radius: 2px; }
.pfv-methods-legend { display: flex; flex-wrap: wrap; gap: 4px 24px; align-items: end;
  line-height: 1.3; font-size: 92%; }
.pfv-methods-ramp { flex: 0 1 230px; }
.pfv-methods-ends { display: flex; justify-content: space-between; gap: 8px; }
.pfv-methods .widget-checkbox { height: 22px; }
.pfv-methods .widget-readout { min-width: 46px; max-width: 46px; }
</style>"""


_LINE = 1.9 * 1.25  # height of a line of words, in hundredths of the page's width
_ONE_LINE = 14  # characters of a method's name


def heads(layout: Layout, comparison: Comparison) -> str:
    """Return the headings of the columns: the names of the images, and of several networks."""
    images, networks = comparison.images.names, comparison.networks
    rows = [
        [
            _head(layout.span(group), _line(images[image], "b"))
            for group, image in enumerate(layout.images)
        ]
    ]
    if layout.networks > 1:
        rows.append([
            _head((layout.left(column), layout.tile[1]), _line(networks[network].name, "span"))
            for column, (_, network) in enumerate(layout.columns)
        ])  # fmt: skip
    return "".join(f'<div class="row">{"".join(row)}</div>' for row in rows)


def _head(span: tuple[int, int], inside: str) -> str:
    left, width = (f"{100 * side / WIDTH:.2f}%" for side in span)
    return f'<div class="line" style="left:{left};width:{width}">{inside}</div>'


def words(
    layout: Layout,
    settings: MethodsSettings,
    cells: Mapping[Slot, CellPicture],
    *,
    comparison: Comparison,
    layers: Mapping[Slot, str],
) -> str:
    """Return all words upon the grid, each in its slot.

    ``layers`` has the name of the layer that PFV shows, by the slot of its first cell.
    """
    images, networks = comparison.images, comparison.networks
    parts = []
    for column, (_, network) in enumerate(layout.columns):
        found = [one.cell for (_, slot), one in cells.items() if slot == column]
        score = score_label(found, settings.target, networks[network].classes)
        line = _line(score, "span", "muted")
        parts.append(_at(layout, layout.below(column), line, "middle"))
    named = labels(settings.methods)
    for row, label in enumerate(named):
        more = _about_row(row, settings, cells, layers, images.size)
        box = (0, layout.top(row), LABEL - 16, layout.tile[0])
        words_of_row = f'<b class="cut">{safe(label)}</b>{more}'
        lines = 1 + len(label) // _ONE_LINE
        parts.append(_at(layout, box, f'<div style="--head:{lines}">{words_of_row}</div>'))
    for slot, tile in cells.items():
        image, network = layout.columns[slot[1]]
        spoken = f"{named[slot[0]]}, {networks[network].name}, {images.names[image]}"
        parts.append(_cell(layout, slot, tile, spoken))
    return "".join(parts)


def legend(bars: Sequence[Bar], caption: str) -> str:
    """Return the bars of the colours in use, and the words below the grid."""
    parts = [_bar(bar) for bar in bars]
    parts.append(f'<div style="flex:1 1 100%;opacity:.72">{safe(caption, 2000)}</div>')
    return f'<div class="pfv-methods-legend">{"".join(parts)}</div>'


def _bar(bar: Bar) -> str:
    ramp = (255 * bar.ramp[::4]).round().astype(int)
    stops = ",".join(f"rgb({r},{g},{b})" for r, g, b in ramp.tolist())
    return (
        '<div class="pfv-methods-ramp"><div class="pfv-methods-ends">'
        f"<span>{safe(bar.low)}</span><span>{safe(bar.high)}</span></div>"
        '<div aria-hidden="true" style="height:12px;border-radius:2px;background:'
        f'linear-gradient(to right,{stops})"></div></div>'
    )


def _about_row(
    row: int,
    settings: MethodsSettings,
    cells: Mapping[Slot, CellPicture],
    layers: Mapping[Slot, str],
    size: tuple[int, int],
) -> str:
    """Return the layer of PFV, where the colours of a method end, and its options."""
    named = dict.fromkeys(layer for (slot, _), layer in sorted(layers.items()) if slot == row)
    about = list(named)
    if settings.scale == "each method":
        reaches = [
            range_label(one.cell, one.colours)
            for (slot, _), one in sorted(cells.items())
            if slot == row and one.cell is not None
        ]
        about = about or list(filter(None, reaches))[:1]
    about += settings.methods[row].details(size)
    line = safe(", ".join(about), 200)
    tooltip = safe(", ".join(filter(None, [*about, settings.methods[row].evidence])), 700)
    return f'<span class="muted cut" title="{tooltip}">{line}</span>' if tooltip else ""


def _cell(layout: Layout, slot: Slot, tile: CellPicture, spoken: str) -> str:
    inside = ""
    if tile.running:
        inside, spoken = "<span>working …</span>", f"{spoken}: in work"
    elif tile.cell is None:
        inside, spoken = '<span class="muted">waiting</span>', f"{spoken}: waiting"
    else:
        note, warnings = why_empty(tile.cell), tile.cell.warnings
        about = " · ".join(filter(None, [note, range_label(tile.cell, tile.colours), *warnings]))
        spoken = f"{spoken}: {about}" if about else spoken
        if note:
            kind = "cut" if tile.cell.error else "note cut"
            inside = f'<span class="{kind}">{safe(note, 160)}</span>'
    title = f'role="img" aria-label="{safe(spoken)}" title="{safe(spoken)}"'
    return _at(layout, layout.box(*slot), inside, "middle", title)


def _line(text: str, tag: str, kind: str = "") -> str:
    names = f'class="line pfv-name {kind}" dir="auto" title="{safe(text)}"'
    return f"<{tag} {names}>{parted(text)}</{tag}>"


def _at(layout: Layout, box: CanvasBox, inside: str, kind: str = "", more: str = "") -> str:
    """Put HTML at a box of the canvas, whatever its width on the page."""
    high, wide = layout.size
    left, top, width, height = box
    style = (
        f"left:{100 * left / wide:.2f}%;top:{100 * top / high:.2f}%;"
        f"width:{100 * width / wide:.2f}%;height:{100 * height / high:.2f}%;"
        f"--lines:{max(1, int(100 * height / wide / _LINE))}"
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
    warnings = list(dict.fromkeys(text for cell in cells for text in cell.warnings))
    counted = f"{len(cells)} of {len(found)} maps"
    every = f"{len(cells)} map{'s' * (len(cells) != 1)} of {target.layer or 'the output'}"
    if len(cells) < len(found):
        rest = "Stopped: Go on computes the rest." if stopped else "The rest is waiting."
        return f"{counted}. {rest}", "warning"
    if errors:
        return f"{len(errors)} of {len(found)} maps failed: {errors[0]}", "error"
    if warnings:
        marked = sum(bool(cell.warnings) for cell in cells)
        if len(warnings) > 1:
            each = f"{marked} with a warning (point at one to read its own)"
            return f"{every}; {each}. The first: {warnings[0]}", "warning"
        return f"{every}; {marked} with a warning: {warnings[0]}", "warning"
    return f"{every}.", "ok"
