"""The figure of a training: heatmaps of a few photos, snapshot by snapshot, and the curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.analysis.compare.similarity_curve_figure import draw_lines_on
from pfv_widgets.analysis.compare.similarity_curve_result import Array
from pfv_widgets.analysis.training.tracker import Tracker
from pfv_widgets.engine.export.animation import ANIMATIONS, Animation, checked_animation
from pfv_widgets.engine.export.image_grid import ImageGrid, Tile, draw_image_grid
from pfv_widgets.engine.export.output_paths import FIGURE_FORMATS, checked_path, write_figure
from pfv_widgets.errors import PFVValueError

_COLUMNS = 8
_PLOT = 2.2  # inches


def draw_training(tracker: Tracker, layer: str, photos: int) -> Figure:
    """Draw up to 8 snapshots of some photos, spread over the training, and all in the curves."""
    curve = tracker.curve(layer)
    names = curve.names
    last = len(names) - 1
    columns = sorted({round(index) for index in np.linspace(0, last, min(_COLUMNS, len(names)))})
    photos = min(photos, len(tracker.images))
    pictures = {
        name: tracker.frame(name, layer, only=range(photos)).composite()
        for name in tracker.names_with_pictures(layer)
        if names.index(name) in columns
    }
    tiles = [
        Tile(pictures[names[index]][photo]) if names[index] in pictures else Tile(note="undefined")
        for photo in range(photos)
        for index in columns
    ]
    height, width = tracker.images.size
    side = min(1.3, 9.0 / len(columns))
    size = side * min(1, width / height), side * min(1, height / width)
    lines = _lines(tracker, layer)

    def draw(axis: Axes) -> None:
        draw_lines_on(axis, names, lines, labels=_COLUMNS, rotate=False)

    caption = [f"{curve.photos} photos; colours aligned from snapshot to snapshot."]
    caption += [f"{name}: {note}" for name, note in list(curve.notes.items())[:2]]
    return draw_image_grid(
        ImageGrid(
            f"{layer} through the training", tiles, len(columns), size,
            headings=[names[index] for index in columns], labels=tracker.images.names[:photos],
            plot=(_PLOT, draw), caption=" ".join(caption),
        )
    )  # fmt: skip


def save_training(tracker: Tracker, path: str | Path, layer: str, duration: int) -> None:
    """Write an animation over the snapshots that have a picture, or the figure."""
    target = checked_path(path, {**ANIMATIONS, **FIGURE_FORMATS}, "for an animation or a figure")
    if target.suffix.lower() in FIGURE_FORMATS:
        write_figure(target, lambda: tracker.figure(layer))
        return
    checked_animation(target)
    names = tracker.names_with_pictures(layer)
    if not names:
        raise PFVValueError(f"tracker: no snapshot of {layer} has a picture to save.")
    animation = Animation(len(tracker.names))
    for name in names:
        metrics = [f"{key} {value:.3g}" for key, value in tracker.metrics[name].items()]
        pictures = tracker.frame(name, layer).composite()
        animation.add(pictures, ", ".join([name, *metrics]), tracker.names.index(name) + 1)
    animation.write(target, duration, lambda: False)


def _lines(tracker: Tracker, layer: str) -> dict[str, Array]:
    curve = tracker.curve(layer)
    lines = {
        f"CKA to {curve.fixed}": curve.cka,
        "CKA to the snapshot before": np.array(list(tracker.cka_to_last(layer).values())),
        f"rank correlation of heatmaps to {curve.fixed}": curve.rank_correlation,
    }
    for key in dict.fromkeys(key for one in tracker.metrics.values() for key in one):
        values = np.array([one.get(key, np.nan) for one in tracker.metrics.values()])
        largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
        lines[f"{key} / {largest:.3g}" if largest > 1 else key] = values / max(largest, 1)
    return lines
