"""A figure of reconstructions: images beside their photos, and the losses."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.engine.export.image_grid import SMALL, ImageGrid, Tile, draw_image_grid, tile_size
from pfv_widgets.methods.inversion.reconstruction import Reconstruction
from pfv_widgets.validation import checked_columns

_LOSSES = 1.2  # height of their plot in inches


def draw_reconstruction(result: Reconstruction, columns: int | None = None) -> Figure:
    """Draw images, each beside its photo where there is one, and the losses of the steps."""
    pictures = result.pixels
    what = result.names[0] if len(set(result.names)) == 1 else "Reconstruction"
    if result.originals is not None:
        pictures = np.concatenate([result.originals, pictures], axis=2)
        what = "Photo and reconstruction"
    captions = [
        (name, f"{result.score_name} {score:.4g}".replace("-", "−"))
        for name, score in zip(result.images.names, result.scores.tolist(), strict=True)
    ]
    number, height, width = pictures.shape[:3]
    square = math.ceil(math.sqrt(number * height / width))
    columns = min(checked_columns(columns, "images") or square, number)

    def draw_losses(axis: Axes) -> None:
        for row in result.losses.numpy():
            axis.plot(np.arange(1, len(row) + 1), row, lw=0.9)
        axis.tick_params(labelsize=SMALL, length=2, pad=2)
        axis.set_xlabel("step", size=SMALL, labelpad=1)
        axis.set_ylabel("loss", size=SMALL, labelpad=2)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.01)

    title = f"{what} · {result.layer or 'output'}"
    tiles = [Tile(one, lines) for one, lines in zip(pictures, captions, strict=True)]
    size = tile_size((height, width), math.ceil(number / columns), columns, smallest=2.1)
    return draw_image_grid(ImageGrid(title, tiles, columns, size, plot=(_LOSSES, draw_losses)))
