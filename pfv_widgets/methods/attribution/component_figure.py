"""The figure of an attribution that is split by component, drawn without pyplot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.engine.export.figure_table import fitting
from pfv_widgets.methods.attribution.figures import has_sign, limits, painted

if TYPE_CHECKING:
    from pfv_widgets.methods.attribution.component_split import ComponentSplit

# in inches
_SIDE, _GAP, _EDGE, _HEAD, _NAME, _FOOT, _BARS = 1.5, 0.08, 0.15, 0.62, 0.2, 0.4, 2.3
_LETTERS = 0.55  # left of the bars, for their names
_PALE = 0.25  # how much of the photo is left under the evidence
_SIZE = 7  # points


def draw_split(split: ComponentSplit) -> Figure:
    """Draw a row an image: photo, map, the evidence on each component's regions, and bars.

    A tile of a component shows the evidence for the unit where it leads, in the colours of its two
    sides, on the pale photo; bars to the
    right are shares of the evidence for the unit, to the left of that against it, and a tick
    says how much of the image the region covers.
    """
    attribution = split.attribution
    number, high, wide = attribution.maps.shape
    tiles = _tiles(split)
    broad, pitch = _SIDE * wide / high, _SIDE + _NAME + _GAP
    left = _EDGE + len(tiles) * (broad + _GAP)
    width = left + _LETTERS + _BARS + _EDGE
    height = _HEAD + number * pitch + _FOOT
    figure = Figure(figsize=(width, height))

    def axes(x: float, y: float, across: float, down: float) -> Axes:
        return figure.add_axes((x / width, 1 - (y + down) / height, across / width, down / height))

    _title(figure, split)
    for row in range(number):
        top = _HEAD + row * pitch
        for column, (heading, pictures) in enumerate(tiles):
            axis = axes(_EDGE + column * (broad + _GAP), top, broad, _SIDE)
            axis.imshow(pictures[row], aspect="auto")
            axis.set_axis_off()
            if row == 0:
                axis.set_title(fitting(heading, 72 * broad, _SIZE), size=_SIZE, pad=3)
        _name(figure, split, row, 1 - (top + _SIDE + 0.03) / height)
        bars = axes(left + _LETTERS, top, _BARS, _SIDE)
        _draw_bars(bars, split, row)
        if row == 0:
            bars.set_title("share of the evidence", size=_SIZE, pad=3)
    _draw_key(figure, split)
    return figure


def _tiles(split: ComponentSplit) -> list[tuple[str, np.ndarray]]:
    """Heading and pictures ``(N, H, W, 3)`` of each column."""
    attribution = split.attribution
    tiles = [("map", painted(attribution.maps))]
    pale = np.full((*attribution.maps.shape, 3), 0.96)
    if attribution.pixels is not None:
        photos = attribution.pixels / 255
        tiles.insert(0, ("photo", photos))
        grey = photos @ np.array([0.299, 0.587, 0.114])
        pale = 1 - _PALE * (1 - grey[..., None].repeat(3, -1))
    ends = limits(attribution.maps)[:, None, None]
    strength = (attribution.maps / ends.clamp(min=1e-30)).clamp(0, 1).sqrt().numpy()
    regions = split.regions.numpy()
    for index, number in enumerate(split.components):
        picture = pale
        for side in (0, 1):
            cover = (strength * (regions == 2 * index + side))[..., None]
            picture = picture + cover * (split.colours[index, side] - picture)
        tiles.append((f"component {number}", picture))
    return tiles


def _draw_bars(axis: Axes, split: ComponentSplit, row: int) -> None:
    labels, colours = split.labels, split.colours.reshape(-1, 3).tolist()
    positive, negative, areas = (
        one[row].flatten().tolist()
        for one in (split.evidence_for, split.evidence_against, split.areas)
    )
    least = -1.24 if has_sign(split.attribution.maps) else 0.0
    axis.set(xlim=(least, 1.24), ylim=(len(labels) - 0.5, -0.5), yticks=range(len(labels)))
    axis.set_yticklabels(labels, size=_SIZE)
    axis.tick_params(left=False, bottom=False, labelbottom=False)
    axis.spines[:].set_visible(False)
    axis.axvline(0, color="0.6", lw=0.6)
    if not np.isfinite([*positive, *negative]).any():
        axis.text(0.5, 0.5, "no evidence in the map", ha="center", va="center", size=_SIZE,
                  transform=axis.transAxes)  # fmt: skip
    for shares, sign in ((positive, 1), (negative, -1)):
        if not np.isfinite(shares).any():
            continue
        for line, (share, area) in enumerate(zip(shares, areas, strict=True)):
            axis.barh(line, sign * share, height=0.72, color=colours[line], ec="0.35", lw=0.4)
            axis.text(sign * (max(share, area) + 0.03), line, f"{100 * share:.0f} %", va="center",
                      size=_SIZE - 1, ha="left" if sign > 0 else "right")  # fmt: skip
            axis.plot([sign * area] * 2, [line - 0.36, line + 0.36], color="black", lw=1.2)


def _title(figure: Figure, split: ComponentSplit) -> None:
    where = split.attribution.target.layer or "output"
    text = f"{split.attribution.method} of {where}, by components of {split.layer}"
    width, height = figure.get_size_inches()
    room = 72 * (width - 2 * _EDGE)
    figure.suptitle(fitting(text, room, 10), size=10, y=1 - 0.1 / height, va="top",
                    parse_math=False)  # fmt: skip


def _name(figure: Figure, split: ComponentSplit, row: int, y: float) -> None:
    attribution = split.attribution
    name = attribution.names[row] if attribution.names else f"image {row + 1}"
    unit, score = int(attribution.units[row]), float(attribution.scores[row])
    width = figure.get_size_inches()[0]
    room = 72 * (width - _BARS - _LETTERS - 2 * _EDGE)
    label = fitting(f"{name} · unit {unit}, score {score:.3g}", room, _SIZE - 1)
    figure.text(_EDGE / width, y, label, size=_SIZE - 1, va="top", parse_math=False)


def _draw_key(figure: Figure, split: ComponentSplit) -> None:
    signed = has_sign(split.attribution.maps)
    parts = "← against the unit   |   for it →" if signed else "evidence →"
    width, height = figure.get_size_inches()
    text = f"{parts}\nblack tick: the region's share of the image"
    right = 1 - (_EDGE + _BARS / 2) / width
    figure.text(right, (_FOOT - 0.05) / height, text, size=_SIZE, ha="center", va="top")
    tiles = "tiles: evidence for the unit where a component leads, in the colour of its side"
    figure.text(_EDGE / width, (_FOOT - 0.05) / height, tiles, size=_SIZE, va="top")
