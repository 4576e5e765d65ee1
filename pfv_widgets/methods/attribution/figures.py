"""The figures of an attribution and of its split by component, as grids of images."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.engine.export.image_grid import (
    PLAIN,
    SMALL,
    Bar,
    ImageGrid,
    Tile,
    draw_image_grid,
    tile_size,
)
from pfv_widgets.methods.attribution.colours import has_sign, heatmap_colours, limits, ramp
from pfv_widgets.methods.attribution.result import Attribution, ComponentSplit
from pfv_widgets.validation import checked_columns

_PALE = 0.25  # how much of the photo is left under the evidence
_LETTERS, _BARS = 0.4, 2.3  # widths in inches: names of the regions, their bars
_MOST_BARS = 12  # of an image: more have no room for their names
_REST = (0.85, 0.85, 0.85)  # colour of the bar of all other regions
_KEY = (
    "Tiles: evidence for the unit where a component leads, in the colour of its side. Bars: shares "
    "of the evidence; a black tick says how much of the image the region covers."
)


def draw_attribution(attribution: Attribution, columns: int | None = None) -> Figure:
    """Draw each photo beside its map, and a bar of the colours."""
    maps, pixels = attribution.maps, attribution.pixels
    pictures = heatmap_colours(maps)
    abreast = 1 if pixels is None else 2  # pictures on a tile
    if pixels is not None:
        pictures = np.concatenate([pixels / 255, pictures], axis=2)
    number, high, wide = pictures.shape[:3]
    columns = min(
        checked_columns(columns, "pairs") or math.ceil(math.sqrt(number / abreast)), number
    )
    size = tile_size((high, wide // abreast), math.ceil(number / columns), columns * abreast)
    signed = has_sign(maps)
    ends = "−  against      for the unit  +" if signed else "0      each image's strongest pixels"
    return draw_image_grid(
        ImageGrid(
            title=attribution.title,
            tiles=[
                Tile(one, (label,)) for one, label in zip(pictures, attribution.labels, strict=True)
            ],
            columns=columns,
            size=(abreast * size[0], size[1]),
            bars=[Bar(ramp(signed), ends)],
            caption=", ".join(attribution.details),
        )
    )


def draw_split(split: ComponentSplit) -> Figure:
    """Draw a row an image: photo, map, the evidence on each component's regions, and bars.

    A tile of a component shows the evidence for the unit where it leads, in the colours of its two
    sides, on the pale photo; bars to the right are shares of the evidence for the unit, to the
    left of that against it, and a tick says how much of the image the region covers.
    """
    number, maps = len(split), split.attribution.maps
    headings, pictures = zip(*_columns(split), strict=True)
    size = tile_size(maps.shape[1:], number, len(pictures), smallest=1.5, largest=1.5)
    signed = has_sign(maps)
    tiles = [
        tile
        for row in range(number)
        for tile in (
            *(Tile(one[row]) for one in pictures),
            Tile(draw=lambda axis: axis.set_axis_off()),  # room for the names of the regions
            Tile(draw=partial(_draw_bars, split=split, row=row)),
        )
    ]
    return draw_image_grid(
        ImageGrid(
            title=f"{split.attribution.title}, by components of {split.layer}",
            tiles=tiles,
            columns=len(pictures) + 2,
            size=size,
            headings=[*headings, "", "← against   |   for the unit →" if signed else "evidence →"],
            labels=split.attribution.labels,
            widths=[*[size[0]] * len(pictures), _LETTERS, _BARS],
            caption=_KEY,
        )
    )


def _columns(split: ComponentSplit) -> list[tuple[str, np.ndarray]]:
    """Heading and pictures ``(N, H, W, 3)`` of each column."""
    maps, pixels = split.attribution.maps, split.attribution.pixels
    columns = [("map", heatmap_colours(maps))]
    pale = np.full((*maps.shape, 3), 0.96)
    if pixels is not None:
        photos = pixels / 255
        columns.insert(0, ("photo", photos))
        grey = photos @ np.array([0.299, 0.587, 0.114])
        pale = 1 - _PALE * (1 - grey[..., None].repeat(3, -1))
    ends = limits(maps)[:, None, None]
    strength = (maps / ends.clamp(min=1e-30)).clamp(0, 1).sqrt().numpy()
    regions = split.regions.numpy()
    for index, number in enumerate(split.components):
        picture = pale
        for side in (0, 1):
            cover = (strength * (regions == 2 * index + side))[..., None]
            picture = picture + cover * (split.colours[index, side] - picture)
        columns.append((f"component {number}", picture))
    return columns


def _draw_bars(axis: Axes, split: ComponentSplit, row: int) -> None:
    names, shares, areas, colours = _bars(split, row)
    least = -1.24 if has_sign(split.attribution.maps) else 0.0
    axis.set(xlim=(least, 1.24), ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)))
    axis.set_yticklabels(names, size=PLAIN)
    axis.tick_params(left=False, bottom=False, labelbottom=False)
    axis.spines[:].set_visible(False)
    axis.axvline(0, color="0.6", lw=0.6)
    if not np.isfinite(shares).any():
        axis.text(0.5, 0.5, "no evidence in the map", ha="center", va="center", size=PLAIN,
                  transform=axis.transAxes)  # fmt: skip
    for values, sign in zip(shares, (1, -1), strict=True):
        if not np.isfinite(values).any():
            continue
        for line, (share, area) in enumerate(zip(values, areas, strict=True)):
            axis.barh(line, sign * share, height=0.72, color=colours[line], ec="0.35", lw=0.4)
            axis.text(sign * (max(share, area) + 0.03), line, f"{100 * share:.0f} %", va="center",
                      size=SMALL, ha="left" if sign > 0 else "right")  # fmt: skip
            axis.plot([sign * area] * 2, [line - 0.36, line + 0.36], color="black", lw=1.2)


def _bars(split: ComponentSplit, row: int) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Name, shares for and against ``(2, n)``, area and colour of each bar of an image.

    Where there are too many regions, those with the least evidence are one bar.
    """
    evidence = (split.evidence_for, split.evidence_against)
    shares = np.stack([one[row].flatten().numpy() for one in evidence])
    areas, colours = split.areas[row].flatten().numpy(), split.colours.reshape(-1, 3)
    if len(areas) <= _MOST_BARS:
        return list(split.labels), shares, areas, colours
    falling = np.argsort(-np.nan_to_num(shares).max(axis=0), kind="stable")
    first, others = np.sort(falling[: _MOST_BARS - 1]), falling[_MOST_BARS - 1 :]
    return (
        [*(split.labels[index] for index in first), "rest"],
        np.c_[shares[:, first], shares[:, others].sum(axis=1)],
        np.r_[areas[first], areas[others].sum()],
        np.r_[colours[first], [_REST]],
    )
