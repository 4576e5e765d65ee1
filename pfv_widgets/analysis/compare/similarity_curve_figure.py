"""The figure of a sequence of networks, or of the epochs of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.analysis.compare.similarity_curve_result import Array, SimilarityCurve
from pfv_widgets.engine.export.image_grid import LARGE, SMALL, fitting, points
from pfv_widgets.engine.export.notebook_figure import NotebookFigure

_LABELS, _LONGEST = 30, 110  # names at most; points of one
_MUTED = "#666666"
_STYLES = (("#1f5fa8", "o"), ("#c1601a", "s"), ("#3b8a3f", "^"), ("#7a4fa3", "D"), ("#555555", "v"))


def draw_curve(curve: SimilarityCurve) -> Figure:
    """Draw CKA, rank correlation and SSIM of each network to the fixed one."""
    lines = {
        "CKA, debiased": curve.cka,
        "rank correlation of heatmaps": curve.rank_correlation,
        "the same, borders counted": curve.plain_rank_correlation,
        "SSIM of heatmaps": curve.ssim,
    }
    caption = [f"{curve.photos} photos, layer {curve.layer}; a gap: undefined."]
    caption += [f"{name}: {note}" for name, note in curve.notes.items()]
    width = max(5.6, min(11.0, 2 + 0.3 * len(curve.names)))
    figure = NotebookFigure(figsize=(width, 3.9), layout="constrained")
    axis = figure.subplots()
    draw_lines_on(axis, curve.names, lines)
    room = 72 * (width - 0.6)
    title = fitting(f"Similarity to {curve.fixed}", room, LARGE, middle=True)
    axis.set_title(title, size=LARGE, parse_math=False)
    words = "\n".join(fitting(line, room, SMALL) for line in caption[:3])
    figure.supxlabel(words, size=SMALL, color=_MUTED, parse_math=False)
    return figure


def draw_lines_on(
    axis: Axes,
    names: Sequence[str],
    lines: Mapping[str, Array],
    labels: int = _LABELS,
    *,
    rotate: bool = True,
) -> None:
    """Draw lines over names on axes, with some names below and a legend.

    Names that have no room side by side are cut, or stand upright where they may ``rotate``.

    Numbers lie in about [0, 1]; NaN is a gap.
    """
    ticks = np.arange(len(names))
    for (label, values), (colour, marker) in zip(lines.items(), cycle(_STYLES), strict=False):
        axis.plot(ticks, values, color=colour, marker=marker, ms=3.5, lw=1.4, label=label)
    numbers = [one for values in lines.values() for one in values if np.isfinite(one)]
    axis.set_ylim(min([-0.05, *(one - 0.05 for one in numbers)]), 1.05)
    axis.axhline(0, color=_MUTED, lw=0.5)
    step = -(-len(names) // labels)
    labels_below = [fitting(names[index], _LONGEST, SMALL, middle=True) for index in ticks[::step]]
    width = 72 * axis.bbox.width / axis.figure.dpi
    axis.tick_params(labelsize=SMALL, length=2)
    if not rotate:  # those at the ends have a tenth of the width before they leave the figure
        room = width * min(1 / len(labels_below), 0.1) - SMALL
        labels_below = [fitting(name, room, SMALL, middle=True) for name in labels_below]
    elif max(points(name, SMALL) for name in labels_below) > width / len(labels_below) - SMALL:
        axis.tick_params(axis="x", rotation=90)
    axis.set_xticks(ticks[::step], labels_below, size=SMALL, parse_math=False)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=SMALL, frameon=False, loc="best")
