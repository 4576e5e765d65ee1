"""What is drawn and what is sent, on a page without a browser."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ipycanvas import Canvas, hold_canvas
from PIL import Image

from pfv_widgets.widgets.canvas import ImageGrid, Look, _held
from tests.widgets.recorded_page import RecordedPage, happen

MANAGER = Canvas._canvas_manager.default_value
SIZE = 192


@pytest.fixture
def photos() -> np.ndarray:
    """Three photos of one colour each, as large as their tiles."""
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]], np.uint8)
    return np.broadcast_to(colours[:, None, None], (3, SIZE, SIZE, 3)).copy()


@pytest.fixture
def heat() -> np.ndarray:
    """Three heatmaps, dark on the left and light on the right, at half of the size."""
    ramp = np.linspace(20, 220, SIZE // 2).astype(np.uint8)
    return np.broadcast_to(ramp[None, None, :, None], (3, SIZE // 2, SIZE // 2, 3)).copy()


@pytest.fixture
def grid(recorded: RecordedPage, photos: np.ndarray) -> ImageGrid:
    grid = ImageGrid(photos)
    grid.repaint()
    return grid


def tile(recorded: RecordedPage, grid: ImageGrid, index: int) -> np.ndarray:
    left, top = grid.grid.corner(index)
    height, width = grid.grid.tile
    return recorded.picture(grid.canvas)[top : top + height, left : left + width]


def enlarged(one: np.ndarray) -> np.ndarray:
    image = Image.fromarray(one).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def test_each_tile_mixes_its_photo_with_its_heat_by_the_opacity(
    recorded: RecordedPage, grid: ImageGrid, photos: np.ndarray, heat: np.ndarray
) -> None:
    grid.paint(heat, Look(opacity=0.25))
    for index in range(3):
        wanted = 0.75 * photos[index] + 0.25 * enlarged(heat[index])
        assert np.abs(tile(recorded, grid, index) - wanted).max() < 6


def test_views_show_the_heat_alone_or_the_photo_alone(
    recorded: RecordedPage, grid: ImageGrid, photos: np.ndarray, heat: np.ndarray
) -> None:
    grid.paint(heat, Look(view="heatmap"))
    assert np.abs(tile(recorded, grid, 1) - enlarged(heat[1])).max() < 6
    grid.paint(None, Look(view="photo"))
    assert np.abs(tile(recorded, grid, 1) - photos[1]).max() < 6


def test_image_that_is_out_is_dimmed_and_the_others_are_not(
    recorded: RecordedPage, grid: ImageGrid, photos: np.ndarray
) -> None:
    grid.paint(None, Look(view="photo", out=(1,)))
    assert np.abs(tile(recorded, grid, 0) - photos[0]).max() < 6
    grey = 0.28 * photos[1] + 0.72 * 128
    assert np.abs(tile(recorded, grid, 1) - grey).max() < 6


def test_gaps_stay_transparent(recorded: RecordedPage, grid: ImageGrid, heat: np.ndarray) -> None:
    grid.paint(heat, Look(out=(0,), cursor=1))
    picture = recorded.picture(grid.canvas).copy()
    for index in range(3):
        tile(recorded, grid, index)[...] = 0
    assert recorded.picture(grid.canvas).max() == 0
    assert picture.max() > 0


def test_frame_is_one_message_with_one_jpeg_of_full_colour(
    recorded: RecordedPage, grid: ImageGrid, heat: np.ndarray
) -> None:
    recorded.drawings.clear()
    sent = grid.paint(heat, Look())
    assert len(recorded.drawings) == 1
    (picture,) = recorded.drawings[0].pictures
    assert len(picture) == sent
    image = Image.open(io.BytesIO(picture))
    assert image.format == "JPEG"
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    height, width = grid.grid.size
    assert image.size == ((width + 8) // 2, (height + 8) // 2)


@pytest.mark.parametrize(
    "look", [Look(opacity=0.1), Look(view="photo"), Look(out=(1, 2)), Look(cursor=2)], ids=str
)
def test_change_of_the_look_sends_one_message_and_no_picture(
    recorded: RecordedPage, grid: ImageGrid, heat: np.ndarray, look: Look
) -> None:
    grid.paint(heat, Look())
    recorded.drawings.clear()
    assert grid.paint(None, look) == 0
    assert [drawing.pictures for drawing in recorded.drawings] == [[]]


def test_no_heat_is_drawn_before_there_is_one(
    recorded: RecordedPage, grid: ImageGrid, photos: np.ndarray
) -> None:
    grid.paint(None, Look(opacity=1.0))
    assert np.abs(tile(recorded, grid, 2) - photos[2]).max() < 6
    assert all(drawing.pictures != [b""] for drawing in recorded.drawings)


@pytest.mark.parametrize("fine", [False, True])
def test_page_that_is_loaded_anew_shows_the_same_again(
    recorded: RecordedPage, grid: ImageGrid, heat: np.ndarray, fine: bool
) -> None:
    heat = heat.repeat(2, 1).repeat(2, 2) if fine else heat
    grid.paint(heat, Look(opacity=0.4, out=(2,), cursor=0))
    before = recorded.picture(grid.canvas).copy()
    recorded.load_anew()
    grid.repaint()
    assert np.abs(recorded.picture(grid.canvas) - before).max() < 1


def test_finer_heat_leaves_nothing_of_the_coarser_one(
    recorded: RecordedPage, grid: ImageGrid, heat: np.ndarray
) -> None:
    grid.paint(heat.repeat(2, 1).repeat(2, 2), Look(view="heatmap"))
    grid.paint(255 - heat, Look(view="heatmap"))
    assert np.abs(tile(recorded, grid, 2) - enlarged(255 - heat[2])).max() < 6


def test_every_frame_names_its_canvas_first_and_restores_what_it_saved(
    recorded: RecordedPage, grid: ImageGrid, heat: np.ndarray
) -> None:
    recorded.drawings.clear()
    for look in (Look(), Look(out=(0,), cursor=1), Look(view="photo")):
        grid.paint(heat, look)
        grid.paint(None, look)
    grid.repaint()
    assert len(recorded.drawings) == 7
    for drawing in recorded.drawings:
        assert drawing.names[0] == "switchCanvas"
        assert drawing.names.count("save") == drawing.names.count("restore") == 1
        assert "clear" not in drawing.names


def test_callbacks_get_the_index_of_the_tile(grid: ImageGrid) -> None:
    clicked: list[int] = []
    hovered: list[int | None] = []
    pressed: list[str] = []
    grid.on_click(clicked.append)
    grid.on_hover(hovered.append)
    grid.on_key(pressed.append)
    left, top = grid.grid.corner(2)
    happen(grid.canvas, "mouse_down", x=left + 5, y=top + 5)
    happen(grid.canvas, "mouse_down", x=left - 3, y=top - 3)
    happen(grid.canvas, "touch_start", touches=[{"x": 5, "y": 5}])
    happen(grid.canvas, "touch_start", touches=[])
    assert clicked == [2, 0]
    for x in (5, 6, 7, SIZE + 2, SIZE + 3):
        happen(grid.canvas, "mouse_move", x=x, y=5)
    happen(grid.canvas, "mouse_move", x=5, y=5)
    happen(grid.canvas, "mouse_out", x=0, y=0)
    assert hovered == [0, None, 0, None]
    happen(grid.canvas, "key_down", key="a", shift_key=False, ctrl_key=False, meta_key=False)
    assert pressed == ["a"]


def test_page_that_is_ready_is_told_by_each_canvas(recorded: RecordedPage, grid: ImageGrid) -> None:
    calls: list[int] = []
    grid.on_ready(lambda: calls.append(1))
    recorded.load_anew(grid.canvas, grid._photos, grid._heat)
    assert calls == [1, 1, 1]


def test_error_while_drawing_leaves_ipycanvas_as_it_was(
    recorded: RecordedPage, grid: ImageGrid
) -> None:
    recorded.drawings.clear()

    def draw_and_fail() -> None:
        with _held():
            grid.canvas.fill_rect(0, 0, 5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw_and_fail()
    assert recorded.drawings == []
    assert not MANAGER._caching
    assert MANAGER._commands_cache == []
    assert MANAGER._buffers_cache == []
    grid.paint(None, Look(view="photo"))
    assert len(recorded.drawings) == 1


def test_drawing_that_someone_else_holds_is_not_sent_and_not_lost(
    recorded: RecordedPage, grid: ImageGrid
) -> None:
    other = Canvas(width=10, height=10)
    recorded.drawings.clear()
    with hold_canvas():
        other.fill_style = "#0000ff"
        other.fill_rect(0, 0, 10)
        grid.paint(None, Look(view="photo"))
        assert len(recorded.drawings) == 1
        other.fill_rect(0, 0, 5)
    assert len(recorded.drawings) == 2
    assert (recorded.picture(other) == [0, 0, 255]).all()
    assert "fillRect" not in recorded.drawings[0].names


def test_other_canvas_can_draw_after_a_frame(recorded: RecordedPage, grid: ImageGrid) -> None:
    other = Canvas(width=10, height=10)
    other.fill_style = "#ff0000"
    other.fill_rect(0, 0, 10)
    before = recorded.picture(grid.canvas).copy()
    grid.paint(None, Look(view="photo"))
    other.fill_style = "#00ff00"
    other.fill_rect(0, 0, 10)
    assert (recorded.picture(other) == [0, 255, 0]).all()
    assert (recorded.picture(grid.canvas) == before).all()


def test_close_closes_the_stores_too(recorded: RecordedPage, grid: ImageGrid) -> None:
    ids = {one.model_id for one in (grid.canvas, grid._photos, grid._heat)}
    grid.close()
    assert ids <= recorded.closed
