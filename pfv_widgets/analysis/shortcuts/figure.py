"""The figure of a shortcut report: heatmaps of each suspect, and its evidence."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.analysis.core.highlighted_photos import peak, spotlight
from pfv_widgets.analysis.core.suspects import Suspect
from pfv_widgets.analysis.shortcuts.find_shortcuts import ShortcutReport
from pfv_widgets.engine.export.image_grid import SMALL, ImageGrid, Tile, draw_image_grid, fitting

PHOTOS, MOST = 4, 6
_SIZE, _WORDS = 1.3, 4.4  # inches
_LINE = 1.3 * SMALL / 72


def draw_shortcuts(report: ShortcutReport) -> Figure:
    """Draw a row for each suspect: photos where it is strongest, and what speaks for it."""
    suspects = report.suspects[:MOST]
    count = len(report.suspects)
    subtitle = f" · {count or 'no'} suspect{'s' * (count > 1)}"
    rows = [tile for suspect in suspects for tile in _row(report, suspect)]
    if not suspects:
        text = ["No mark of a class was found that makes the network name it on other photos."]
        rows = [Tile(draw=partial(_write, text))]
    columns = PHOTOS + 1 if suspects else 1
    side = max([_SIZE, *(_LINE * len(one.evidence.lines()) for one in suspects)])
    return draw_image_grid(
        ImageGrid(
            title=report.layer,
            subtitle=subtitle,
            tiles=rows,
            columns=columns,
            size=(side, side),
            labels=[
                f"{number}. {one.class_name}: score {one.score:.2f}"
                for number, one in enumerate(suspects, start=1)
            ],
            widths=[side] * (columns - 1) + [_WORDS],
            caption=" ".join(report.warnings),
        )
    )


def _row(report: ShortcutReport, suspect: Suspect) -> list[Tile]:
    maps = report.maps(suspect)
    labels = report.images.labels or ()
    order = maps.flatten(1).amax(1).argsort(descending=True).tolist()
    own = [index for index in order if not labels or labels[index] == suspect.class_name] or order
    strong = peak(maps)
    tiles = [
        Tile(spotlight(report.images.pixels[index], maps[index].numpy() / strong))
        for index in own[:PHOTOS]
    ]
    tiles += [Tile()] * (PHOTOS - len(tiles))
    return [*tiles, Tile(draw=partial(_write, list(suspect.evidence.lines())))]


def _write(lines: list[str], axis: Axes) -> None:
    axis.axis("off")
    height = axis.bbox.height / axis.figure.dpi  # inches
    for number, line in enumerate(lines):
        text = fitting(line, (_WORDS - 0.1) * 72, SMALL)
        axis.text(0.01, 1 - number * _LINE / height, text, fontsize=SMALL, va="top",
                  transform=axis.transAxes, parse_math=False)  # fmt: skip
