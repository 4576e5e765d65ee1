"""The figure of a shortcut report: heatmaps of each suspect, and its evidence."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.analysis.shortcuts import ShortcutReport
from pfv_widgets.analysis.suspects import Suspect
from pfv_widgets.engine.export.figure_table import PLAIN, Table, Tile, draw_table, fitting

PHOTOS, MOST = 4, 6
_SIZE, _WORDS = 1.3, 4.4  # inches
_COLOUR = np.array([255, 60, 0])


def draw_shortcuts(report: ShortcutReport) -> Figure:
    """Draw a row for each suspect: photos where it is strongest, and what speaks for it."""
    shown = report.suspects[:MOST]
    count = len(report.suspects)
    subtitle = f" · {count or 'no'} suspect{'s' * (count > 1)}"
    rows = [tile for suspect in shown for tile in _row(report, suspect)]
    if not shown:
        text = ["Nothing that the photos of one class have in common takes over other photos."]
        rows = [Tile(draw=partial(_write, text))]
    columns = PHOTOS + 1 if shown else 1
    return draw_table(
        Table(
            title=report.layer,
            subtitle=subtitle,
            tiles=rows,
            columns=columns,
            size=(_SIZE, _SIZE),
            labels=[f"{number}. {one.class_name}" for number, one in enumerate(shown, start=1)],
            widths=[_SIZE] * (columns - 1) + [_WORDS],
            caption=" ".join(report.warnings),
        )
    )


def _row(report: ShortcutReport, suspect: Suspect) -> list[Tile]:
    maps = report.maps(suspect)
    labels = report.images.labels or ()
    order = maps.flatten(1).amax(1).argsort(descending=True).tolist()
    own = [index for index in order if not labels or labels[index] == suspect.class_name] or order
    top = float(maps.max()) or 1.0
    tiles = [
        Tile(_mixed(report.images.pixels[index], maps[index].numpy() / top))
        for index in own[:PHOTOS]
    ]
    tiles += [Tile()] * (PHOTOS - len(tiles))
    return [*tiles, Tile(draw=partial(_write, list(suspect.evidence.lines())))]


def _mixed(photo: np.ndarray, heat: np.ndarray) -> np.ndarray:
    strength = 0.75 * np.clip(heat, 0, 1)[..., None]
    grey = 0.5 * photo + 0.5 * photo.mean(2, keepdims=True)
    mixed: np.ndarray = np.rint((1 - strength) * grey + strength * _COLOUR).astype(np.uint8)
    return mixed


def _write(lines: list[str], axis: Axes) -> None:
    axis.axis("off")
    for number, line in enumerate(lines):
        text = fitting(line, (_WORDS - 0.1) * 72, PLAIN)
        axis.text(0.01, 0.97 - 0.125 * number, text, fontsize=PLAIN, va="top",
                  transform=axis.transAxes)  # fmt: skip
