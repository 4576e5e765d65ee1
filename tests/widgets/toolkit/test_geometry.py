"""Where the tiles stand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pfv_widgets.widgets.toolkit.geometry import GAP, STEPS, Grid, Page, square

NUMBERS = [*range(1, 18), 31, 64, 99, 200]
SIZES = [(224, 224), (128, 128), (32, 32), (1, 1), (100, 300), (300, 100), (7, 1000), (1000, 7)]
LARGEST = 16_384  # pixels: a larger canvas stays blank in browsers


@pytest.fixture(params=SIZES, ids=str)
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


def test_tiles_lie_on_the_canvas_and_apart(size: tuple[int, int]) -> None:
    for number in NUMBERS:
        grid = Grid.of(number, size)
        height, width = grid.size
        tally = np.zeros((height, width), np.uint8)
        for index in range(number):
            left, top = grid.corner(index)
            assert left + grid.tile[1] <= width
            assert top + grid.tile[0] <= height
            tally[top : top + grid.tile[0], left : left + grid.tile[1]] += 1
        assert tally.max() == 1
        assert tally.sum() == number * grid.tile[0] * grid.tile[1]
        assert max(height, width) <= LARGEST


def test_gaps_are_all_of_the_canvas_that_no_tile_covers(size: tuple[int, int]) -> None:
    for number in NUMBERS:
        grid = Grid.of(number, size)
        free = np.ones(grid.size, bool)
        for index in range(number):
            left, top, width, height = grid.box(index)
            free[top : top + height, left : left + width] = False
        gaps = np.zeros(grid.size, bool)
        for left, top, width, height in np.array(grid.gaps(), int).reshape(-1, 4):
            assert left >= 0
            assert top >= 0
            gaps[top : top + height, left : left + width] = True
        assert (gaps == free).all()


@pytest.mark.parametrize("view", ["overlay", "side by side", "rgb split"])
def test_panes_share_a_tile_between_them(view: str) -> None:
    for number in NUMBERS:
        grid = Grid.of(number, (60, 100))
        across, down = {"overlay": (1, 1), "side by side": (2, 1), "rgb split": (2, 2)}[view]
        for index in {0, number // 2, number - 1}:
            left, top, width, height = grid.box(index)
            tally = np.zeros((height, width), int)
            panes = grid.panes(index, view)
            assert len(panes) == across * down
            for x, y, wide, high in panes:
                assert (wide, high) == (width / across, height / down)
                assert (wide % 1, high % 1) == (0, 0)
                tally[int(y - top) : int(y - top + high), int(x - left) : int(x - left + wide)] += 1
            assert (tally == 1).all()
            assert panes == sorted(panes, key=lambda box: (box[1], box[0]))


@pytest.mark.parametrize("view", ["overlay", "side by side", "rgb split"])
def test_point_has_the_same_fractions_in_every_pane(view: str) -> None:
    grid = Grid.of(5, (60, 100))
    for index in range(5):
        for left, top, width, height in grid.panes(index, view):
            result = grid.at(left + 0.25 * width, top + 0.75 * height, view)
            assert result is not None
            assert result == (index, pytest.approx(0.25), pytest.approx(0.75))


def test_point_on_a_tile_gives_its_index_and_beside_it_none(size: tuple[int, int]) -> None:
    for number in NUMBERS:
        grid = Grid.of(number, size)
        height, width = grid.tile
        for index in range(number):
            left, top = grid.corner(index)
            inside = [(0, 0), (width - 0.01, height - 0.01), (width / 2, height / 2)]
            result = [grid.at(left + x, top + y) for x, y in inside]
            assert [one and one[0] for one in result] == [index] * 3
            for (x, y), one in zip(inside, result, strict=True):
                assert one is not None
                assert one[1:] == (pytest.approx(x / width), pytest.approx(y / height))
                assert max(one[1:]) < 1
            beside = [(width, 0), (0, height), (-1, 0), (0, -1), (width + GAP - 0.1, 0)]
            assert [grid.at(left + x, top + y) for x, y in beside] == [None] * 5


def test_tiles_and_gaps_are_divided_evenly_by_every_step(size: tuple[int, int]) -> None:
    for number in NUMBERS:
        sides = (*Grid.of(number, size).tile, GAP)
        assert {side % step for side in sides for step in STEPS} == {0}
        assert {side % 4 for side in sides} == {0}  # two panes of whole pixels, at half a step


@pytest.mark.parametrize("expected", [1, 52, 90, 152, 480, 2000])
def test_step_is_the_largest_that_leaves_the_pixels_that_are_wanted(expected: int) -> None:
    for number in NUMBERS:
        grid = Grid.of(number, (100, 100))
        step = grid.step(expected)
        enough = [one for one in STEPS if grid.tile[1] / one >= expected]
        assert step == max(enough, default=1)


def test_tiles_keep_the_shape_of_the_photos() -> None:
    for number in NUMBERS:
        for height, width in [(224, 224), (128, 128), (100, 300), (300, 100)]:
            tile = Grid.of(number, (height, width)).tile
            assert tile[0] / tile[1] == pytest.approx(height / width, rel=0.06)


def test_gallery_is_about_as_high_as_wide_and_small_photos_are_enlarged() -> None:
    assert Grid.of(16, (128, 128)) == Grid(16, 4, (228, 228))
    assert Grid.of(64, (224, 224)).columns == 8
    assert Grid.of(1, (32, 32)).tile == (960, 960)
    assert Grid.of(12, (100, 300)).columns == 2
    assert Grid.of(9, (32, 32), 4).columns == 4
    assert Grid.of(2, (32, 32), 4).tile == Grid.of(9, (32, 32), 4).tile  # on the last page too


@pytest.mark.parametrize("columns", range(1, 17))
def test_row_fills_the_width_of_the_gallery(columns: int) -> None:
    grid = Grid.of(40, (100, 100), columns)
    assert 960 - (columns + 1) * GAP - 2 * GAP * columns < grid.size[1] <= 960


def test_tall_images_alone_on_a_page_are_no_higher_than_wide() -> None:
    for size in [(300, 100), (100, 300)]:
        tile = Grid.of(1, size, 1).tile
        assert 900 <= max(tile) <= 960
        assert tile[0] / tile[1] == pytest.approx(size[0] / size[1], rel=0.02)


@pytest.mark.parametrize("scale", STEPS)
@pytest.mark.parametrize("number", [1, 3, 4, 7])
def test_atlas_enlarged_and_shifted_by_half_a_gap_covers_each_tile(number: int, scale: int) -> None:
    grid = Grid.of(number, (40, 60))
    height, width = (side // scale for side in grid.tile)
    ramp = np.linspace(0, 200, width, dtype=np.uint8)
    tiles = np.stack([np.broadcast_to(ramp[None, :, None], (height, width, 3))] * number)
    tiles = tiles + np.arange(number, dtype=np.uint8)[:, None, None, None]
    atlas = grid.atlas(tiles)
    enlarged = Image.fromarray(atlas).resize(
        (atlas.shape[1] * scale, atlas.shape[0] * scale), Image.Resampling.BILINEAR
    )
    half = GAP // scale // 2 * scale
    canvas = np.asarray(enlarged)[half:, half:]
    for index in range(number):
        left, top = grid.corner(index)
        actual = canvas[top : top + grid.tile[0], left : left + grid.tile[1]].astype(int)
        expected = Image.fromarray(tiles[index]).resize(grid.tile[::-1], Image.Resampling.BILINEAR)
        assert np.abs(actual - np.asarray(expected)).max() <= 1


def test_atlas_fills_the_gaps_with_the_edges_of_the_tiles() -> None:
    grid = Grid(2, 2, (32, 32))
    tiles = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (50, 200)])
    atlas = grid.atlas(tiles)
    assert atlas.shape == (32 + GAP, 2 * (32 + GAP), 3)
    assert (atlas[:, : 32 + GAP] == 50).all()
    assert (atlas[:, 32 + GAP :] == 200).all()


@pytest.mark.parametrize("size", [(128, 128), (48, 96), (100, 300), (300, 100), (30, 300)])
def test_first_page_shows_several_images_and_at_most_eight_in_a_row(size: tuple[int, int]) -> None:
    for number in NUMBERS:
        page = Page.start(number, size)
        assert page.first == 0
        assert page.columns <= 8
        order = page.indices(number, size)
        assert len(order) >= min(number, 2)
        if square(number, size) <= 8:
            assert len(order) >= 0.8 * number  # few of tall ones may stand on a second page
        if size[0] <= size[1] and square(number, size) <= 8:
            assert len(order) == number


@pytest.mark.parametrize(
    ("number", "room", "columns"),
    [
        (12, (1346, 700), 6),  # two full rows, and larger tiles than three of four
        (16, (1346, 700), 8),  # two full rows rather than three with gaps
        (12, (816, 600), 4),  # it fits as it is
        (16, (816, 600), 4),  # more columns would make the tiles small
        (12, (902, 468), 6),  # the third row would lie below the window
        (12, (1145, 700), 6),  # and here: with the files of Lab beside it
        (12, (436, 600), 4),
        (64, (436, 600), 8),
        (200, (1346, 700), 8),  # pages
        (1, (1346, 700), 1),
    ],
)
def test_first_page_fits_a_wide_window_where_tiles_stay_large(
    number: int, room: tuple[float, float], columns: int
) -> None:
    page = Page.start(number, (100, 100))
    fitted = page.fitting(number, (100, 100), room)
    assert fitted.columns == columns
    assert (fitted == page) == (columns == page.columns)
    assert fitted.indices(number, (100, 100)) == page.indices(number, (100, 100))


@pytest.mark.parametrize("columns", range(1, 17))
@pytest.mark.parametrize("size", [(128, 128), (48, 96), (96, 48)])
def test_pages_show_every_image_once_in_order(columns: int, size: tuple[int, int]) -> None:
    number, seen = 50, []
    capacity = Page(0, columns).capacity(size)
    for first in range(0, number, capacity):
        order = Page(first, columns).indices(number, size)
        new = [index for index in order if index >= first]
        seen += new
        assert len(order) == min(capacity, number)  # the last page is as full as the others
        for index in new:
            assert Page(0, columns).holding(index, size) == Page(first, columns)
    assert seen == list(range(number))
    assert capacity % columns == 0
    assert (capacity == 1) == (columns == 1)


def test_page_of_nine_images_two_in_a_row_holds_four() -> None:
    size = (128, 128)
    page = Page(0, 2)
    assert page.indices(9, size) == range(4)
    assert page.holding(7, size).indices(9, size) == range(4, 8)
    assert page.holding(8, size).indices(9, size) == range(5, 9)
    assert Page(3, 1).indices(9, size) == range(3, 4)
