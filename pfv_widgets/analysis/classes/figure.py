"""The figure of components named by classes: evidence on both sides, and the classes they move."""

from __future__ import annotations

import math
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pfv_widgets.analysis.classes.component_classes import ComponentClasses
from pfv_widgets.engine.export.image_grid import (
    NO_BREAK,
    SMALL,
    ImageGrid,
    Tile,
    draw_image_grid,
    fitting,
)

EVIDENCE = 3  # crops a side
_NAMES = 3  # classes a side
_SIZE = 0.95  # inches of a crop
_BARS = 2.6
_HOW = (
    "Crops around the positions where a component is highest and lowest. Bars: what one standard "
    "deviation of its mean score over the photos adds to the score of a class."
)
_RAISES, _LOWERS = "#3b6fb6", "#b5523b"


def draw_classes(result: ComponentClasses) -> Figure:
    """Draw a row for each component: crops where it is strongest, and bars of its effects."""
    components = range(result.image_shares.shape[1])
    ratios = result.basis.explained_variance_ratio.tolist()
    effects = result.effects
    finite = effects[effects.isfinite()]
    largest = float(finite.abs().max()) if len(finite) else 0.0
    tiles = [tile for one in components for tile in _row(result, one, effects[one], largest)]
    headings = [""] * (2 * EVIDENCE + 1)
    headings[EVIDENCE // 2], headings[EVIDENCE + EVIDENCE // 2] = "highest", "lowest"
    headings[-1] = "what it adds to a class's score where it is high"
    how = "" if result.exact else f" · error of the integral up to {result.completeness_error:.2g}"
    return draw_image_grid(
        ImageGrid(
            title=result.layer,
            subtitle=f" · components by class{how}",
            tiles=tiles,
            columns=2 * EVIDENCE + 1,
            size=(_SIZE, _SIZE),
            headings=headings,
            labels=[_label(one, ratios[one]) for one in components],
            widths=[_SIZE] * (2 * EVIDENCE) + [_BARS],
            caption=" ".join([_HOW, *result.warnings]),
        )
    )


def _label(component: int, ratio: float) -> str:
    words = f"component {component + 1}", f"({100 * ratio:.0f} %)"
    return " ".join(one.replace(" ", NO_BREAK) for one in words)


def _row(result: ComponentClasses, component: int, effects: Tensor, largest: float) -> list[Tile]:
    tiles = []
    for sign in (1, -1):
        crops = [] if result.pixels is None else _crops(result, component, sign)
        tiles += [*crops, *[Tile(note="none")] * (EVIDENCE - len(crops))]
    order = effects.argsort(descending=True).tolist()
    few = order if len(order) <= 2 * _NAMES else (*order[:_NAMES], *order[-_NAMES:])
    bars = [(result.classes[unit], float(effects[unit])) for unit in few]
    return [*tiles, Tile(draw=partial(_draw_bars, bars, largest or 1.0))]


def _crops(result: ComponentClasses, component: int, sign: int) -> list[Tile]:
    assert result.pixels is not None
    tiles = []
    for one in result.evidence(component, sign, EVIDENCE):
        top, bottom, left, right = one.box
        tiles.append(Tile(result.pixels[one.image, top:bottom, left:right]))
    return tiles


def _draw_bars(bars: list[tuple[str, float]], largest: float, axis: Axes) -> None:
    positions = range(len(bars))
    values = [value for _, value in bars]
    colours = [_RAISES if value > 0 else _LOWERS for value in values]
    axis.barh(positions, values, color=colours, height=min(0.6, 0.15 * len(bars)))
    axis.set(xlim=(-3.0 * largest, 1.8 * largest), ylim=(len(bars) - 0.4, -0.6))
    axis.axvline(0, color="#888888", linewidth=0.6)
    axis.axis("off")
    for position, (name, value) in zip(positions, bars, strict=True):
        text = fitting(name, 0.4 * _BARS * 72, SMALL, middle=True)
        axis.text(-1.1 * largest, position, text, fontsize=SMALL, ha="right", va="center",
                  parse_math=False)  # fmt: skip
        words = "undefined" if math.isnan(value) else f"{value:+.2f}".replace("-", "−")
        axis.text(1.8 * largest, position, words, fontsize=SMALL, ha="right", va="center")
