"""The figure of a training: heatmaps of a few photos, snapshot by snapshot, and the curves."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.analysis.curve_figure import draw_lines_on
from pfv_widgets.analysis.curve_result import Array
from pfv_widgets.analysis.tracker import Tracker
from pfv_widgets.engine.export.figure_table import Table, Tile, draw_table

_COLUMNS = 8
_PLOT = 2.2  # inches


def draw_training(tracker: Tracker, layer: str, photos: int) -> Figure:
    """Draw up to 8 snapshots of some photos, spread over the training, and all in the curves."""
    curve = tracker.curve(layer)
    names = curve.names
    last = len(names) - 1
    shown = sorted({round(place) for place in np.linspace(0, last, min(_COLUMNS, len(names)))})
    frames = tracker.frames(layer)
    photos = min(photos, len(tracker.images))
    pictures = {
        name: frame.composite()[:photos] for name, frame in frames.items()
        if names.index(name) in shown
    }  # fmt: skip
    tiles = [
        Tile(pictures[names[place]][photo]) if names[place] in pictures else Tile(note="undefined")
        for photo in range(photos)
        for place in shown
    ]
    height, width = tracker.images.size
    side = min(1.3, 9.0 / len(shown))
    size = side * min(1, width / height), side * min(1, height / width)
    lines = _lines(tracker, layer)

    def draw(axis: Axes) -> None:
        draw_lines_on(axis, names, lines, labels=_COLUMNS)

    caption = [f"{curve.photos} photos; colours aligned from snapshot to snapshot."]
    caption += [f"{name}: {note}" for name, note in list(curve.notes.items())[:2]]
    return draw_table(
        Table(
            f"{layer} through the training", tiles, len(shown), size,
            headings=[names[place] for place in shown], labels=tracker.images.names[:photos],
            plot=(_PLOT, draw), caption=" ".join(caption),
        )
    )  # fmt: skip


def _lines(tracker: Tracker, layer: str) -> dict[str, Array]:
    curve = tracker.curve(layer)
    lines = {
        f"CKA to {curve.fixed}": curve.cka,
        "CKA to the snapshot before": np.array(list(tracker.cka_to_last(layer).values())),
        f"rank correlation of heatmaps to {curve.fixed}": curve.rank_correlation,
    }
    for key in dict.fromkeys(key for one in tracker.figures.values() for key in one):
        values = np.array([one.get(key, np.nan) for one in tracker.figures.values()])
        largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
        lines[f"{key} / {largest:.3g}" if largest > 1 else key] = values / max(largest, 1)
    return lines
