"""The figure of components named by classes: evidence on both sides, and the classes they move."""

from __future__ import annotations

import math
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.analysis.classes import ComponentClasses
from pfv_widgets.engine.export.figure_table import SMALL, Table, Tile, draw_table, fitting

EVIDENCE = 3  # crops a side
_NAMES = 3  # classes a side
_SIZE = 0.95  # inches of a crop
_BARS = 2.6
_RAISES, _LOWERS = "#3b6fb6", "#b5523b"


def draw_classes(result: ComponentClasses) -> Figure:
    """Draw a row for each component: crops where it is strongest, and bars of its shares."""
    components = range(result.image_shares.shape[1])
    ratios = result.basis.explained_variance_ratio.tolist()
    tiles = [tile for component in components for tile in _row(result, component)]
    headings = [""] * (2 * EVIDENCE + 1)
    headings[0], headings[EVIDENCE] = "+ side", "− side"
    headings[-1] = "score of a class per unit of the mean score"
    how = "" if result.exact else f" · error of the integral up to {result.completeness_error:.2g}"
    return draw_table(
        Table(
            title=result.layer,
            subtitle=f" · components by class{how}",
            tiles=tiles,
            columns=2 * EVIDENCE + 1,
            size=(_SIZE, _SIZE),
            headings=headings,
            labels=[f"component {one + 1} ({100 * ratios[one]:.0f} %)" for one in components],
            widths=[_SIZE] * (2 * EVIDENCE) + [_BARS],
            caption=" ".join(result.warnings),
        )
    )


def _row(result: ComponentClasses, component: int) -> list[Tile]:
    tiles = []
    for sign in (1, -1):
        crops = [] if result.pixels is None else _crops(result, component, sign)
        tiles += [*crops, *[Tile(note="none")] * (EVIDENCE - len(crops))]
    order = result.ranked(component)
    few = order if len(order) <= 2 * _NAMES else (*order[:_NAMES], *order[-_NAMES:])
    slopes = result.slopes[component]
    bars = [(result.classes[unit], float(slopes[unit])) for unit in few]
    return [*tiles, Tile(draw=partial(_draw_bars, bars))]


def _crops(result: ComponentClasses, component: int, sign: int) -> list[Tile]:
    assert result.pixels is not None
    tiles = []
    for one in result.evidence(component, sign, EVIDENCE):
        top, bottom, left, right = one.box
        tiles.append(Tile(result.pixels[one.image, top:bottom, left:right]))
    return tiles


def _draw_bars(bars: list[tuple[str, float]], axis: Axes) -> None:
    positions = range(len(bars))
    values = [value for _, value in bars]
    colours = [_RAISES if value > 0 else _LOWERS for value in values]
    axis.barh(positions, values, color=colours, height=0.6)
    largest = max([abs(value) for value in values if math.isfinite(value)], default=0.0) or 1.0
    axis.set(xlim=(-3.2 * largest, 1.6 * largest), ylim=(len(bars) - 0.4, -0.6))
    axis.axvline(0, color="#888888", linewidth=0.6)
    axis.axis("off")
    for position, (name, value) in zip(positions, bars, strict=True):
        text = fitting(name, 0.42 * _BARS * 72, SMALL)
        axis.text(-1.15 * largest, position, text, fontsize=SMALL, ha="right", va="center")
        words = "undefined" if math.isnan(value) else f"{value:+.2g}"
        axis.text(1.6 * largest, position, words, fontsize=SMALL, ha="right", va="center")
