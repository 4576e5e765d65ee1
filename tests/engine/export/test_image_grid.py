"""The grid that every figure is drawn with: sizes in inches, and room for every word."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pfv_widgets.engine.export.image_grid import Bar, ImageGrid, Ring, Tile, draw_image_grid
from tests.figure_layout import assert_words_have_room, texts

LONG = "a name so long that it cannot stand below a tile without being cut.jpeg"
RAMP = np.linspace(0, 1, 64)[:, None].repeat(3, axis=1)


def grid_of_tiles(
    number: int, columns: int, size: tuple[float, float], **changes: object
) -> ImageGrid:
    tiles = [
        Tile(np.full((4, 6, 3), index / number), (LONG, f"score {index}"))
        for index in range(number)
    ]
    return ImageGrid(LONG, tiles, columns, size, **changes)  # type: ignore[arg-type] # fields of it


SIZES = [(1.5, 1.0), (0.4, 2.0), (4.0, 0.5)]


@pytest.mark.parametrize(
    ("number", "columns", "size"),
    [
        *((number, columns, size) for number, columns in ((1, 1), (7, 3)) for size in SIZES),
        pytest.param(40, 8, (1.5, 1.0), marks=pytest.mark.all),
    ],
)
def test_words_stay_inside_and_cover_nothing(
    number: int, columns: int, size: tuple[float, float]
) -> None:
    rows = -(-number // columns)
    figure = draw_image_grid(
        grid_of_tiles(
            number, columns, size, subtitle=" · flat", headings=[LONG] * columns,
            labels=[LONG] * rows, bars=[Bar(RAMP, "−  component  +")] * 3, caption=f"{LONG} " * 4,
        )
    )  # fmt: skip
    assert sum("cut.jpeg" in one.get_text() for one in texts(figure)) > number
    assert_words_have_room(figure)


def test_words_of_colour_bars_stay_apart() -> None:
    bars = [Bar(RAMP, f"−  component {number} (24.7 %)  +") for number in (1, 2, 3)]
    figure = draw_image_grid(grid_of_tiles(1, 1, (1.0, 1.0), bars=bars))
    boxes = [one.get_window_extent() for one in texts(figure) if "component" in one.get_text()]
    edges = [0.0, *(edge for box in boxes for edge in (box.x0, box.x1)), figure.bbox.x1]
    gaps = np.diff(edges)[::2] / figure.dpi
    assert len(boxes) == 3
    assert gaps.min() > 0.08  # inches


def test_words_below_tiles_stand_level_whatever_their_letters() -> None:
    tiles = [Tile(np.zeros((4, 4, 3)), (name,)) for name in ("espresso", "Hl", "xx", "gyp")]
    figure = draw_image_grid(ImageGrid("", tiles, 4, (1.0, 1.0)))
    figure.set_dpi(300)
    FigureCanvasAgg(figure).draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].min(axis=2)
    lines = []
    for axis in figure.axes[:4]:
        box = axis.get_window_extent()
        below = pixels[round(len(pixels) - box.y0) + 2 :, round(box.x0) : round(box.x1)]
        lines.append(np.flatnonzero((below < 128).any(axis=1)))
    espresso, tall, flat, hanging = lines
    assert abs(flat[-1] - tall[-1]) <= 1  # on one line
    assert abs(flat[0] - espresso[0]) <= 1
    assert abs(flat[0] - hanging[0]) <= 1


@pytest.mark.parametrize("size", [(1.5, 1.0), (0.9, 2.0)])
def test_every_tile_has_the_size_asked_for(size: tuple[float, float]) -> None:
    figure = draw_image_grid(grid_of_tiles(5, 2, size, labels=["a", "b", "c"], caption=LONG))
    for axis in figure.axes:
        box = axis.get_position(original=True)
        width, height = figure.get_size_inches()
        assert (box.width * width, box.height * height) == pytest.approx(size)


def test_title_is_cut_in_the_middle_and_keeps_what_follows() -> None:
    figure = draw_image_grid(grid_of_tiles(1, 1, (1.0, 1.0), subtitle=" · flat weighting"))
    assert figure.get_suptitle().startswith("a name")
    assert figure.get_suptitle().endswith("cut.jpeg · flat weighting")
    assert "…" in figure.get_suptitle()


def test_tiles_hold_pictures_notes_rings_or_what_they_draw() -> None:
    drawn: list[Axes] = []
    tiles = [
        Tile(np.zeros((2, 2, 3)), rings=(Ring(0.25, 0.25, "#ff0000"),)),
        Tile(note="no map for $this"),
        Tile(draw=drawn.append),
    ]
    plotted: list[Axes] = []
    figure = draw_image_grid(
        ImageGrid("t", tiles, 3, (1, 1), widths=(1, 1, 2.5), plot=(0.7, plotted.append))
    )
    first, second, third, plot = figure.axes
    assert (drawn, plotted) == ([third], [plot])
    assert [line.get_markeredgecolor() for line in first.lines][-1] == "#ff0000"
    assert first.lines[0].get_xydata().tolist() == [[0.25, 0.75]]
    assert second.texts[0].get_text() == "no map for $this"
    assert not second.images
    width, height = figure.get_size_inches()
    assert third.get_position().width * width == pytest.approx(2.5)
    assert plot.get_position().height * height == pytest.approx(0.7)
