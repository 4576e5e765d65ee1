"""What is drawn and what is sent, on a page without a browser."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
from pfv_widgets.widgets.browser.tile_compositing import Look, Ring
from pfv_widgets.widgets.gallery.tile_canvas import TileCanvas
from pfv_widgets.widgets.toolkit.geometry import Page, Spot
from tests.widgets.conftest import full_width
from tests.widgets.fake_page import FakePage, happen

SIZE = 468  # of the tiles of four images
pytestmark = full_width


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
def grid(fake_page: FakePage, photos: np.ndarray) -> TileCanvas:
    grid = TileCanvas(photos)
    assert grid.grid.tile == (SIZE, SIZE)
    grid.paint(None, Look())
    return grid


def tile(fake_page: FakePage, grid: TileCanvas, index: int) -> np.ndarray:
    left, top = grid.grid.corner(index - grid.on_page.start)
    height, width = grid.grid.tile
    return fake_page.picture(grid.widget)[top : top + height, left : left + width]


def enlarged(one: np.ndarray, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    image = Image.fromarray(one).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def test_each_tile_mixes_its_photo_with_its_heat_by_the_opacity(
    fake_page: FakePage, grid: TileCanvas, photos: np.ndarray, heat: np.ndarray
) -> None:
    grid.paint(heat, Look(opacity=0.25))
    for index in range(3):
        expected = 0.75 * photos[index] + 0.25 * enlarged(heat[index])
        assert np.abs(tile(fake_page, grid, index) - expected).max() < 6


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6])
def test_heat_of_any_step_lies_exactly_on_its_tile(
    fake_page: FakePage, grid: TileCanvas, step: int
) -> None:
    side = SIZE // step
    heat = np.zeros((3, side, side, 3), np.uint8)
    heat[:, : side // 2, : side // 2] = 255
    grid.paint(heat, Look(view="heatmap"))
    for index in range(3):
        result = tile(fake_page, grid, index)
        assert np.abs(result - enlarged(heat[index])).max() < 30
        assert np.abs(result - enlarged(heat[index])).mean() < 1


def test_views_show_the_heat_alone_or_the_photo_alone(
    fake_page: FakePage, grid: TileCanvas, photos: np.ndarray, heat: np.ndarray
) -> None:
    grid.paint(heat, Look(view="heatmap"))
    assert np.abs(tile(fake_page, grid, 1) - enlarged(heat[1])).max() < 6
    grid.paint(None, Look(view="photo"))
    assert np.abs(tile(fake_page, grid, 1) - photos[1]).max() < 6


def test_image_that_is_out_is_dimmed_and_the_others_are_not(
    fake_page: FakePage, grid: TileCanvas, photos: np.ndarray
) -> None:
    grid.paint(None, Look(view="photo", out=frozenset([1])))
    assert np.abs(tile(fake_page, grid, 0) - photos[0]).max() < 6
    grey = 0.28 * photos[1] + 0.72 * 128
    assert np.abs(tile(fake_page, grid, 1) - grey).max() < 6


@pytest.mark.parametrize("view", ["overlay", "heatmap", "photo", "split", "rgb split"])
def test_gaps_stay_transparent_and_tiles_are_opaque(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray, view: str
) -> None:
    grid.paint(heat, Look(view=view, out=frozenset([0])))
    cover = fake_page.cover(grid.widget).copy()
    for index in range(3):
        left, top, width, height = grid.grid.box(index)
        one = cover[top : top + height, left : left + width]
        assert one.min() > 0.99
        one[...] = 0
    assert cover.max() == 0


def test_marks_of_the_last_frame_do_not_stay(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray
) -> None:
    grid.paint(heat, Look())
    before = fake_page.picture(grid.widget).copy()
    corner = Spot(0, 0.01, 0.01)
    rings = (Ring(corner, "#ff0000", bold=True),)
    grid.paint(None, Look(cursor=1, rings=rings, frame=(corner, Spot(0, 0.5, 0.5))))
    assert np.abs(fake_page.picture(grid.widget) - before).max() > 50
    grid.paint(None, Look())
    assert np.abs(fake_page.picture(grid.widget) - before).max() < 1


def test_frame_is_one_message_with_one_jpeg_of_full_colour(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray
) -> None:
    fake_page.drawings.clear()
    sent = grid.paint(heat, Look())
    assert len(fake_page.drawings) == 1
    (picture,) = fake_page.drawings[0].pictures
    assert len(picture) == sent
    image = Image.open(io.BytesIO(picture))
    assert image.format == "JPEG"
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    height, width = grid.grid.size
    assert image.size == ((width + 12) // 2, (height + 12) // 2)


@pytest.mark.parametrize(
    "look",
    [
        Look(opacity=0.1),
        *(Look(view=view) for view in ("photo", "heatmap", "side by side", "split", "rgb split")),
        Look(view="split", split=0.2),
        Look(out=frozenset([1, 2])),
        Look(cursor=2),
        Look(rings=(Ring(Spot(0, 0.2, 0.2), "#ff0000"),)),
        Look(frame=(Spot(0, 0.1, 0.1), Spot(0, 0.4, 0.5))),
    ],
    ids=str,
)
def test_change_of_the_look_sends_one_message_and_no_picture(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray, look: Look
) -> None:
    grid.paint(heat, Look())
    fake_page.drawings.clear()
    assert grid.paint(None, look) == 0
    assert [drawing.pictures for drawing in fake_page.drawings] == [[]]


def test_no_heat_is_drawn_before_there_is_one(
    fake_page: FakePage, grid: TileCanvas, photos: np.ndarray
) -> None:
    for view in ("overlay", "split"):
        grid.paint(None, Look(opacity=1.0, view=view, split=0.0))
        assert np.abs(tile(fake_page, grid, 2)[:, 5:] - photos[2][:, 5:]).max() < 6
    assert all(drawing.pictures != [b""] for drawing in fake_page.drawings)


@pytest.mark.parametrize("fine", [False, True])
def test_page_that_is_loaded_anew_shows_the_same_again(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray, fine: bool
) -> None:
    heat = heat.repeat(2, 1).repeat(2, 2) if fine else heat
    look = Look(opacity=0.4, out=frozenset([2]), cursor=0)
    grid.paint(heat, look)
    before = fake_page.picture(grid.widget).copy()
    fake_page.load_anew()
    grid.forget()
    grid.paint(None, look)
    assert np.abs(fake_page.picture(grid.widget) - before).max() < 1


def test_finer_heat_leaves_nothing_of_the_coarser_one(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray
) -> None:
    grid.paint(heat.repeat(2, 1).repeat(2, 2), Look(view="heatmap"))
    grid.paint(255 - heat, Look(view="heatmap"))
    assert np.abs(tile(fake_page, grid, 2) - enlarged(255 - heat[2])).max() < 6


def test_every_frame_names_its_canvas_first_and_restores_what_it_saved(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray
) -> None:
    fake_page.drawings.clear()
    looks = [Look(), Look(out=frozenset([0]), cursor=1), Look(view="photo"), Look(view="split")]
    for look in looks:
        grid.paint(heat, look)
        grid.paint(None, look)
    assert len(fake_page.drawings) == 8
    for drawing in fake_page.drawings:
        assert drawing.names[0] == "switchCanvas"
        assert drawing.names.count("save") == drawing.names.count("restore")
        assert "clear" not in drawing.names  # it would flicker


def test_cursor_is_a_frame_around_its_tile_alone(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray
) -> None:
    grid.paint(heat, Look())
    before = fake_page.picture(grid.widget).copy()
    grid.paint(None, Look(cursor=1))
    changed = np.abs(fake_page.picture(grid.widget) - before).max(axis=2) > 0
    left, top, width, height = grid.grid.box(1)
    assert changed[top, left : left + width].all()
    assert changed[top : top + height, left].all()
    assert not changed[top + 6 : top + height - 6, left + 6 : left + width - 6].any()
    around = changed.copy()
    around[max(0, top - 6) : top + height + 6, left - 6 : left + width + 6] = False
    assert not around.any()
    assert tuple(fake_page.picture(grid.widget)[top, left + 50]) == (0x1A, 0x73, 0xE8)


def test_ring_is_where_its_spot_is_and_only_on_its_page(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray
) -> None:
    rings = (Ring(Spot(1, 0.25, 0.75), "#ff0000"), Ring(Spot(77, 0.5, 0.5), "#00ff00"))
    grid.paint(255 * np.ones_like(heat), Look(view="heatmap", rings=rings))
    red = (fake_page.picture(grid.widget) == (255, 0, 0)).all(axis=2)
    left, top, width, height = grid.grid.box(1)
    rows, columns = np.nonzero(red)
    assert rows.mean() + 0.5 == pytest.approx(top + 0.75 * height, abs=0.5)
    assert columns.mean() + 0.5 == pytest.approx(left + 0.25 * width, abs=0.5)
    assert 14 <= np.ptp(rows) <= 50
    assert not (fake_page.picture(grid.widget) == (0, 255, 0)).all(axis=2).any()


@pytest.mark.parametrize(
    ("view", "copies"), [("overlay", 1), ("side by side", 2), ("rgb split", 4)]
)
def test_ring_is_seen_in_every_picture_of_its_image(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray, view: str, copies: int
) -> None:
    grid.paint(heat, Look(view=view, rings=(Ring(Spot(1, 0.3, 0.6), "#123456"),)))
    inked = (fake_page.picture(grid.widget) == (0x12, 0x34, 0x56)).all(axis=2)
    panes = grid.grid.panes(1, view)
    assert len(panes) == copies
    count = []
    for left, top, width, height in panes:
        rows = slice(int(top), int(top + height))
        count.append(int(inked[rows, int(left) : int(left + width)].sum()))
    assert min(count) > 50
    assert sum(count) == inked.sum()


def test_rectangle_that_is_brushed_is_drawn_from_any_corner(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray
) -> None:
    pictures = []
    for one, other in [((0.2, 0.3), (0.6, 0.5)), ((0.6, 0.5), (0.2, 0.3))]:
        grid.paint(heat, Look(frame=(Spot(2, *one), Spot(2, *other))))
        pictures.append(fake_page.picture(grid.widget).copy())
    assert (pictures[0] == pictures[1]).all()
    left, top, width, height = grid.grid.box(2)
    x, y = round(left + 0.4 * width), round(top + 0.3 * height)
    assert (pictures[0][y, x] == 255).all()
    assert not (pictures[0][y + 10, x] == 255).all()


def test_point_of_the_canvas_is_a_spot_of_an_image(grid: TileCanvas) -> None:
    left, top = grid.grid.corner(2)
    result = grid.spot(left + 0.5 * SIZE, top + 0.25 * SIZE)
    assert result == Spot(2, 0.5, 0.25)
    assert grid.spot(left - 3, top + 5) is None
    assert grid.pane_size() == (SIZE, SIZE)
    grid.paint(None, Look(view="rgb split"))
    assert grid.spot(left + 0.75 * SIZE, top + 0.125 * SIZE) == Spot(2, 0.5, 0.25)
    assert grid.pane_size() == (SIZE / 2, SIZE / 2)


def test_another_page_shows_its_photos_and_its_heat_and_finds_its_images(
    fake_page: FakePage, grid: TileCanvas, photos: np.ndarray
) -> None:
    grid.turn(Page(1, 1))
    grid.paint(None, Look())
    assert grid.on_page == range(1, 2)
    size = grid.grid.tile[::-1]
    assert np.abs(tile(fake_page, grid, 1) - enlarged(photos[1], size)).max() < 6
    assert grid.spot(5, 5) == Spot(1, pytest.approx(5 / size[0]), pytest.approx(5 / size[1]))
    heat = np.full((1, *grid.tile_size(grid.page, 80), 3), 77, np.uint8)
    grid.paint(heat, Look(view="heatmap"))
    assert np.abs(tile(fake_page, grid, 1) - 77).max() < 4


def test_page_is_told_all_that_it_needs_to_draw_the_picture_itself(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray
) -> None:
    def description() -> dict[str, Any]:
        contents = [(data or {}).get("content") or {} for _, _, data in fake_page.messages]
        return [one["description"] for one in contents if one.get("description")][-1]

    rings = (Ring(Spot(0, 0.1, 0.2), "#111111"), Ring(Spot(1, 0.3, 0.4), "#222222", bold=True))
    frame = (Spot(1, 0.1, 0.2), Spot(1, 0.3, 0.4))
    look = Look(0.3, "split", 0.4, frozenset([1, 2]), 1, rings, frame)
    grid.paint(None, look)
    assert description()["step"] == 0  # there are no heatmaps yet
    grid.paint(heat, look)
    assert description()["look"] == {"opacity": 0.3, "view": "split", "split": 0.4}
    assert (description()["gallery"], description()["step"]) == (grid.widget.model_id, 2)
    assert description()["grids"] == {1: [3, 2, SIZE, SIZE, 24], 2: [3, 1, 480, 960, 24]}
    assert (description()["out"], description()["cursor"]) == ([1, 2], 1)
    assert description()["rings"] == [
        [0, 0.1, 0.2, "#111111", False],
        [1, 0.3, 0.4, "#222222", True],
    ]
    assert description()["frame"] == [[1, 0.1, 0.2], [1, 0.3, 0.4]]
    assert not description()["enlarged"]
    grid.paint(None, look)
    assert description()["enlarged"]
    json.dumps(description())

    grid.turn(Page(1, 1))
    grid.paint(None, look)
    assert (description()["step"], description()["grids"][1][:2]) == (0, [1, 1])
    assert description()["out"] == [0]
    assert description()["cursor"] is None  # a single tile needs no frame
    assert description()["rings"] == [[0, 0.3, 0.4, "#222222", True]]
    assert description()["frame"] == [[0, 0.1, 0.2], [0, 0.3, 0.4]]
    grid.turn(Page(2, 1))
    grid.paint(None, look)
    assert (description()["out"], description()["rings"], description()["frame"]) == ([0], [], [])


def test_photos_of_a_page_are_sent_once_while_it_is_shown(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray
) -> None:
    fake_page.drawings.clear()
    for _ in range(3):
        grid.paint(heat, Look())
    assert [len(drawing.pictures) for drawing in fake_page.drawings] == [1, 1, 1]
    grid.turn(Page(0, 1))
    grid.paint(np.zeros((1, *grid.tile_size(grid.page, 80), 3), np.uint8), Look())
    assert len(fake_page.drawings[-1].pictures) == 2


def test_point_that_is_no_longer_on_a_page_that_turns_is_none(grid: TileCanvas) -> None:
    left, top = grid.grid.corner(2)
    grid.turn(Page(2, 1))
    assert grid.spot(left + 5, top + 5) is None  # between two frames, in another thread


def test_frame_that_could_not_be_sent_leaves_nothing_to_build_on(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid.paint(heat, Look(view="heatmap"))

    def fail(*_: object) -> int:
        raise OSError("the line is broken")

    fine = 255 - heat.repeat(2, 1).repeat(2, 2)
    with monkeypatch.context() as patch:
        patch.setattr(CanvasCommands, "send", fail)
        with pytest.raises(OSError, match="broken"):
            grid.paint(fine, Look(view="heatmap"))
    grid.paint(None, Look(view="heatmap"))  # as after every error
    assert np.abs(tile(fake_page, grid, 1) - fine[1]).max() < 6


def test_page_that_is_ready_is_told_by_each_canvas(fake_page: FakePage, grid: TileCanvas) -> None:
    calls: list[int] = []
    grid.canvas.on_ready(lambda: calls.append(1))
    fake_page.load_anew(grid.widget, *grid.canvas.buffers)
    assert calls == [1, 1, 1, 1]


def test_canvas_that_is_blurred_gives_the_keys_back(fake_page: FakePage, grid: TileCanvas) -> None:
    fake_page.messages.clear()
    grid.widget.blur()
    sent = [(comm, data.get("content")) for _, comm, data in fake_page.messages if data]
    assert (grid.widget.model_id, {"do": "blur"}) in sent


def test_close_closes_the_stores_too(fake_page: FakePage, grid: TileCanvas) -> None:
    ids = {one.model_id for one in (grid.widget, *grid.canvas.buffers)}
    grid.canvas.close()
    assert ids <= fake_page.closed
    happen(grid.widget, "mouse_move", x=1, y=1)


def test_look_that_changes_is_drawn_from_heatmaps_that_are_enlarged_once(
    fake_page: FakePage, grid: TileCanvas, heat: np.ndarray
) -> None:
    large = f"IPY_MODEL_{grid.canvas.buffers[2].model_id}"

    def uses() -> tuple[bool, bool]:
        """Whether the last message drew on the large buffer, and from it."""
        commands = fake_page.drawings[-1].commands
        sources = [where[0] for name, where in commands if name == "drawImage"]
        return ("switchCanvas", [large]) in commands, large in sources

    grid.paint(heat, Look(opacity=0.5))
    direct = fake_page.picture(grid.widget).astype(int)
    assert uses() == (False, False)
    for look, expected in ((0.9, (True, True)), (0.5, (False, True))):
        grid.paint(None, Look(opacity=look))
        assert uses() == expected
    assert np.abs(fake_page.picture(grid.widget).astype(int) - direct).max() <= 1
    grid.paint(255 - heat, Look(opacity=0.5))
    assert uses() == (False, False)
    assert np.abs(fake_page.picture(grid.widget).astype(int) - direct).max() > 50
    grid.paint(None, Look(opacity=0.4))
    fake_page.load_anew(grid.widget, *grid.canvas.buffers)
    grid.forget()
    grid.paint(None, Look(opacity=0.4))
    again = fake_page.picture(grid.widget).copy()
    grid.paint(None, Look(opacity=0.4))
    assert uses() == (True, True)
    assert np.abs(fake_page.picture(grid.widget).astype(int) - again).max() <= 1
