"""The figure of a similarity: a map of layers × layers, and a curve along those of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.analysis.compare.similarity_result import Similarity
from pfv_widgets.engine.export.image_grid import LARGE, PLAIN, SMALL, fitting
from pfv_widgets.engine.export.notebook_figure import NotebookFigure

_LABELS = 26  # names along an axis at most
_LABEL_ROOM = 82  # points
_MUTED = "#666666"
_LINE, _BAND, _UNDEFINED = "#1f5fa8", "#c9c9c9", "#e4e4e4"


def draw_similarity(similarity: Similarity) -> Figure:
    """Draw the map of CKA; beside it, where both have layers of one name, its curve."""
    common = similarity.common_layers()
    figure = NotebookFigure(figsize=(10.4 if len(common) > 1 else 6.0, 5.4), layout="constrained")
    ratios = [1.15, 1] if len(common) > 1 else [1]
    axes = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
    _draw_map(figure, axes[0], similarity)
    if len(common) > 1:
        _draw_curve(axes[1], similarity, common)
    first, second = similarity.networks
    figure.suptitle(
        fitting(f"{first} and {second}: similarity of layers", 72 * 5.6, LARGE, middle=True),
        size=LARGE, parse_math=False,
    )  # fmt: skip
    figure.supxlabel(_caption(similarity), size=SMALL, color=_MUTED, parse_math=False)
    return figure


def _draw_map(figure: Figure, axis: Axes, similarity: Similarity) -> None:
    first, second = similarity.layers
    image = axis.imshow(
        np.ma.masked_invalid(similarity.cka), vmin=0, vmax=1, cmap="viridis", aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axis.set_facecolor(_UNDEFINED)
    rows, columns = np.nonzero(~similarity.is_distinguishable & np.isfinite(similarity.cka))
    axis.scatter(columns, rows, s=4, c="white", marker="x", linewidths=0.5)
    _name_layers(axis, "y", first)
    _name_layers(axis, "x", second)
    axis.set_ylabel(fitting(similarity.networks[0], 300, PLAIN), size=PLAIN, parse_math=False)
    axis.set_xlabel(fitting(similarity.networks[1], 300, PLAIN), size=PLAIN, parse_math=False)
    bar = figure.colorbar(image, ax=axis, shrink=0.7, pad=0.02)
    bar.set_label("CKA, debiased", size=SMALL)
    bar.ax.tick_params(labelsize=SMALL)


def _draw_curve(axis: Axes, similarity: Similarity, common: Sequence[str]) -> None:
    rows = [similarity.layers[0].index(name) for name in common]
    columns = [similarity.layers[1].index(name) for name in common]
    ticks = np.arange(len(common))
    low, high = similarity.null[:, rows, columns]
    axis.fill_between(ticks, low, high, color=_BAND, lw=0, label="with shuffled photos, 5–95 %")
    by_photo = similarity.cka_by_photo[rows, columns]
    axis.plot(ticks, by_photo, color=_LINE, lw=0.4, alpha=0.35)
    axis.plot([], [], color=_LINE, lw=0.4, alpha=0.6, label="each photo alone")
    axis.plot(
        ticks, similarity.cka[rows, columns], color=_LINE, lw=1.6, marker="o", ms=2.5,
        label="all photos",
    )  # fmt: skip
    axis.axhline(0, color=_MUTED, lw=0.5)
    axis.set_ylim(-0.15, 1.05)
    _name_layers(axis, "x", common)
    axis.tick_params(axis="y", labelsize=SMALL)
    axis.set_ylabel("CKA of layers of the same name", size=PLAIN)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=SMALL, frameon=False, loc="lower left")


def _name_layers(axis: Axes, which: Literal["x", "y"], names: Sequence[str]) -> None:
    step = -(-len(names) // _LABELS)
    ticks = range(0, len(names), step)
    labels = [fitting(names[index], _LABEL_ROOM, SMALL, middle=True) for index in ticks]
    if which == "x":
        axis.set_xticks(list(ticks), labels, rotation=90, size=SMALL, parse_math=False)
    else:
        axis.set_yticks(list(ticks), labels, size=SMALL, parse_math=False)
    axis.tick_params(axis=which, length=2, pad=2)


def _caption(similarity: Similarity) -> str:
    height, width = similarity.grid
    photos = f"{len(similarity.photos)} photos, {height} × {width} positions each"
    marks = "× no more alike than with shuffled photos"
    words = [f"{photos}. {marks}; grey: undefined.", *similarity.warnings]
    return "\n".join(fitting(line, 72 * 5.8, SMALL) for line in words[:3])
