"""The legend of what is shown: components with their variance, or the similarity to pins."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pfv_widgets.engine.colouring.colour_maps import effective_colours, legend, pin_legend
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.toolkit.text import MUTED, heading, safe

_RAMP_STEPS = 9
_THREE_ROWS = "60px"  # as many as components usually have: what is below stays where it is
_TABLE = 'style="border-spacing:0 3px;width:100%;line-height:1.1"'


def legend_panel(settings: Settings, ratios: Sequence[float], whose: str = "") -> str:
    """Return the legend of the heatmaps that these settings ask for, as HTML.

    Of each component computed ``ratios`` has the explained variance ratio, in [0, 1]; ``whose`` are
    words behind "of the variance".
    """
    if settings.shows_similarity:
        return heading("Similarity to pins") + _similarity(settings)
    return heading("Explained variance") + _variance(settings, ratios, whose) + _colours(settings)


def legend_of(frame: Frame) -> str:
    """Return the legend of a picture."""
    ratios = frame.basis.explained_variance_ratio.tolist()
    whose = "" if frame.basis.data is None else " of the data set"
    return legend_panel(frame.settings, ratios, whose)


def room_for_legend(settings: Settings) -> str:
    """Return what takes the room of the legend before there is one, so that nothing moves then."""
    ratios = [0.0] * (1 + max(settings.shown))
    return f'<div style="visibility:hidden">{legend_panel(settings, ratios)}</div>'


def _variance(settings: Settings, ratios: Sequence[float], whose: str) -> str:
    """Return a row for each component shown: its colours and its share of the variance."""
    components = settings.shown
    ramps = legend(settings.colour_map, len(components), _RAMP_STEPS)
    largest = max((ratios[index] for index in components), default=1) or 1
    rows = "".join(
        _variance_row(index, ratios[index], largest, ramp)
        for index, ramp in zip(components, ramps, strict=True)
    )
    total = sum(ratios[index] for index in components)
    return (
        f'<table role="table" aria-label="Explained variance" {_TABLE}>{rows}</table>'
        f"{_note(f'{100 * total:.1f} % of the variance{whose}')}"
    )


def _similarity(settings: Settings) -> str:
    """Return a row for each pin: from the grey of no similarity to its colour."""
    rows = "".join(
        f'<tr><td style="width:1.6em;text-align:right;padding-right:6px">{number}</td>'
        f'<td style="width:76px">{_ramp(ramp, "not similar to similar")}</td>'
        f'<td style="padding:0 6px 0 8px">{safe(f"pin in image {image + 1}")}</td></tr>'
        for number, ((image, _, _), ramp) in enumerate(
            zip(settings.pins, pin_legend(len(settings.pins), _RAMP_STEPS), strict=True), start=1
        )
    )
    return (
        f'<div style="min-height:{_THREE_ROWS}"><table role="table" '
        f'aria-label="Similarity to pins" {_TABLE}>{rows}</table></div>'
        f"{_note('Cosine: 0 is grey, 1 full colour')}"
    )


def _colours(settings: Settings) -> str:
    """Say which colours are in force where they are others than those chosen."""
    number = len(settings.shown)
    used = effective_colours(settings.colour_map, number)
    if used == settings.colour_map:
        return ""
    components = "component" if number == 1 else "components"
    line = f"{number} {components}: {used} instead of {settings.colour_map}"
    return _note(line)


def _variance_row(index: int, ratio: float, largest: float, ramp: Tensor) -> str:
    bar = f"width:{100 * ratio / largest:.0f}%;height:8px;background:currentColor;opacity:.35"
    return (
        f'<tr><td style="width:1.6em;text-align:right;padding-right:6px">{index + 1}</td>'
        f'<td style="width:76px">{_ramp(ramp, "low to high")}</td>'
        f'<td class="pfv-bar" style="padding:0 6px 0 8px"><div style="{bar}"></div></td>'
        f'<td style="width:3.6em;text-align:right;white-space:nowrap">{100 * ratio:.1f} %</td></tr>'
    )


def _note(line: str) -> str:
    return f'<div style="{MUTED};line-height:1.35">{safe(line)}</div>'


def _ramp(colours: Tensor, title: str) -> str:
    """Return a bar that runs through colours ``(steps, 3)`` in [0, 1]."""
    rows = (255 * colours).round().int().tolist()
    stops = ",".join(f"rgb({r},{g},{b})" for r, g, b in rows)
    style = f"height:14px;border-radius:3px;background:linear-gradient(to right,{stops})"
    return f'<div title="{title}" style="{style}"></div>'
