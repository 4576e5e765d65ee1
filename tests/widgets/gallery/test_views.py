"""Each view paints in the browser what the engine composes for a file."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pfv_widgets.engine.colouring.compositing import VIEWS, compose
from pfv_widgets.widgets.browser.tile_compositing import Look
from pfv_widgets.widgets.gallery.tile_canvas import TileCanvas
from pfv_widgets.widgets.toolkit.geometry import GAP, Page
from tests.widgets.conftest import full_width
from tests.widgets.fake_page import FakePage

SIDE = 120  # of the photos
DIVIDER = 4  # pixels from the cut that the line of the split view covers, and smooth edges


def smooth(number: int, height: int, width: int, seed: int) -> np.ndarray:
    """Pictures of low frequencies in all three colours, other ones in each image."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    waves = np.random.default_rng(seed).uniform(1, 5, (number, 3, 3))
    pictures = [
        [127 + 110 * np.sin(a * rows + b * columns + c) for a, b, c in image] for image in waves
    ]
    return np.moveaxis(np.array(pictures), 1, 3).astype(np.uint8)


@pytest.fixture
def grid(fake_page: FakePage) -> TileCanvas:
    grid = TileCanvas(smooth(5, SIDE, SIDE, 1))
    grid.paint(None, Look())
    return grid


def painted_tiles(
    fake_page: FakePage, grid: TileCanvas, look: Look, step: int = 1
) -> tuple[list[np.ndarray], np.ndarray]:
    """Tiles on the page in a look, and the heatmaps at the size of the stored tiles."""
    side = grid.tile_size(grid.page, 1e9)[0]
    heat = smooth(len(grid.on_page), side, side, 2)
    grid.paint(heat[:, ::step, ::step] if step > 1 else heat, look)
    picture = fake_page.picture(grid.widget)
    boxes = [grid.grid.box(place) for place in range(len(grid.on_page))]
    tiles = [picture[y : y + h, x : x + w].copy() for x, y, w, h in np.array(boxes, int)]
    return tiles, heat


def resized(pictures: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (
        np.minimum((np.arange(most) + 0.5) * pictures.shape[axis] / most, 1e9).astype(int)
        for axis, most in ((1, size[0]), (2, size[1]))
    )
    return pictures[:, rows][:, :, columns]


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("opacity", [0.65, 1.0])
@pytest.mark.parametrize("view", VIEWS)
def test_view_is_what_the_engine_composes(
    fake_page: FakePage, grid: TileCanvas, view: str, opacity: float, step: int
) -> None:
    tiles, heat = painted_tiles(fake_page, grid, Look(opacity, view, 0.3), step)
    height, width = tiles[0].shape[:2]
    assert width == (2 * height if view == "side by side" else height)
    size = (height, height)
    photos = resized(grid.pixels, size)
    expected = 255 * compose(resized(heat, size) / np.float32(255), photos, view, opacity, 0.3)
    keep = np.ones(width, bool)
    if view == "split":
        cut = round(0.3 * width)
        keep[cut - DIVIDER : cut + DIVIDER] = False
    for actual, one in zip(tiles, expected, strict=True):
        difference = np.abs(actual - one)[:, keep]
        assert difference.mean() < 3
        # two of the small pictures meet: their pixels at the edge are half of each
        assert np.quantile(difference, 0.995) < 16


def test_split_shows_the_photo_left_and_the_heat_right_of_a_white_line(
    fake_page: FakePage, grid: TileCanvas
) -> None:
    look = Look(1.0, "split", 0.3)
    tiles, heat = painted_tiles(fake_page, grid, look)
    width = tiles[0].shape[1]
    cut = round(0.3 * width)
    photos = resized(grid.pixels, tiles[0].shape[:2])
    for result, photo, warm in zip(tiles, photos, heat, strict=True):
        assert np.abs(result - photo)[:, : cut - DIVIDER].max() < 14
        assert np.abs(result - warm)[:, cut + DIVIDER :].max() < 14
        assert (result[:, cut] == 255).all()


@pytest.mark.parametrize("split", [0.0, 1.0])
def test_divider_at_an_end_leaves_one_of_the_two(
    fake_page: FakePage, grid: TileCanvas, split: float
) -> None:
    tiles, heat = painted_tiles(fake_page, grid, Look(1.0, "split", split))
    photos = resized(grid.pixels, tiles[0].shape[:2])
    for result, one in zip(tiles, photos if split else heat, strict=True):
        assert np.abs(result - one)[:, DIVIDER:-DIVIDER].max() < 14


def test_rgb_split_has_the_heat_and_each_of_its_colours_alone(
    fake_page: FakePage, grid: TileCanvas
) -> None:
    tiles, _ = painted_tiles(fake_page, grid, Look(0.3, "rgb split"))
    half = tiles[0].shape[0] // 2
    for result in tiles:
        whole = result[2 : half - 2, 2 : half - 2]
        for channel, (row, column) in enumerate([(0, half), (half, 0), (half, half)]):
            pane = result[row + 2 : row + half - 2, column + 2 : column + half - 2]
            assert np.abs(pane[..., channel] - whole[..., channel]).max() < 4
            assert np.delete(pane, channel, axis=2).max() < 1


@pytest.mark.parametrize("view", VIEWS)
def test_image_that_is_out_fades_as_the_engine_fades_it(
    fake_page: FakePage, grid: TileCanvas, view: str
) -> None:
    plain, _ = painted_tiles(fake_page, grid, Look(0.65, view, 0.3))
    faded, _ = painted_tiles(fake_page, grid, Look(0.65, view, 0.3, frozenset([1])))
    keep = np.ones(plain[0].shape[1], bool)
    keep[round(0.3 * len(keep)) - 3 : round(0.3 * len(keep)) + 3] = False
    for place, (before, after) in enumerate(zip(plain, faded, strict=True)):
        expected = 0.28 * before + 0.72 * 127.5 if place == 1 else before
        assert np.abs(after - expected)[:, keep].max() < 2


@pytest.mark.parametrize(
    ("one", "other"), [*itertools.pairwise(VIEWS), *itertools.pairwise(reversed(VIEWS))]
)
def test_view_after_another_is_as_if_it_came_first(
    fake_page: FakePage, grid: TileCanvas, one: str, other: str
) -> None:
    painted_tiles(fake_page, grid, Look(0.65, other, 0.3))
    expected = fake_page.picture(grid.widget).copy()
    grid.paint(None, Look(0.65, one, 0.7, cursor=2))
    grid.paint(None, Look(0.65, other, 0.3))
    assert np.array_equal(fake_page.picture(grid.widget), expected)


@pytest.mark.parametrize("view", ["side by side", "rgb split"])
def test_pictures_of_several_panes_leave_the_gaps_transparent(
    fake_page: FakePage, grid: TileCanvas, view: str
) -> None:
    painted_tiles(fake_page, grid, Look(0.65, view))
    cover = fake_page.cover(grid.widget).copy()
    assert cover.shape == grid.grid.size
    for place in range(5):
        left, top, width, height = grid.grid.box(place)
        assert cover[top : top + height, left : left + width].min() > 0.99
        cover[top : top + height, left : left + width] = 0
    assert cover.max() == 0
    assert grid.grid.corner(1)[0] in (0, grid.grid.tile[1] + GAP)


@full_width
@pytest.mark.parametrize(
    "view",
    [
        one if one in ("overlay", "side by side") else pytest.param(one, marks=pytest.mark.all)
        for one in VIEWS
    ],
)
def test_view_shows_the_images_of_a_later_page(
    fake_page: FakePage, grid: TileCanvas, view: str
) -> None:
    grid.turn(Page(4, 2))
    tiles, heat = painted_tiles(fake_page, grid, Look(0.65, view, 0.3))
    assert grid.on_page == range(1, 5)
    size = (tiles[0].shape[0],) * 2
    expected = compose(
        resized(heat, size) / np.float32(255), resized(grid.pixels[1:], size), view, 0.65, 0.3
    )
    for tile, one in zip(tiles, expected, strict=True):
        assert np.abs(tile - 255 * one).mean() < 3
