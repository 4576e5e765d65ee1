"""Where the tiles stand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pfv_widgets.widgets.canvas import GAP, Grid

NUMBERS = [*range(1, 18), 31, 64, 99, 200]
SIZES = [(224, 224), (128, 128), (32, 32), (1, 1), (100, 300), (300, 100), (7, 1000), (1000, 7)]
LARGEST = 16_384  # pixels: a larger canvas stays blank in browsers


@pytest.fixture(params=SIZES, ids=str)
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


@pytest.mark.parametrize("number", NUMBERS)
def test_tiles_lie_on_the_canvas_and_apart(number: int, size: tuple[int, int]) -> None:
    grid = Grid.of(number, size)
    height, width = grid.size
    taken = np.zeros((height, width), np.uint8)
    for index in range(number):
        left, top = grid.corner(index)
        assert left + grid.tile[1] <= width
        assert top + grid.tile[0] <= height
        taken[top : top + grid.tile[0], left : left + grid.tile[1]] += 1
    assert taken.max() == 1
    assert taken.sum() == number * grid.tile[0] * grid.tile[1]
    assert max(height, width) <= LARGEST


@pytest.mark.parametrize("number", NUMBERS)
def test_point_on_a_tile_gives_its_index_and_beside_it_none(
    number: int, size: tuple[int, int]
) -> None:
    grid = Grid.of(number, size)
    height, width = grid.tile
    for index in range(number):
        left, top = grid.corner(index)
        inside = [(0, 0), (width - 0.01, height - 0.01), (width / 2, height / 2)]
        assert [grid.at(left + x, top + y) for x, y in inside] == [index] * 3
        beside = [(width, 0), (0, height), (-1, 0), (0, -1), (width + GAP - 0.1, 0)]
        assert [grid.at(left + x, top + y) for x, y in beside] == [None] * 5


@pytest.mark.parametrize("number", NUMBERS)
def test_tiles_halve_evenly(number: int, size: tuple[int, int]) -> None:
    assert [side % 2 for side in Grid.of(number, size).tile] == [0, 0]


@pytest.mark.parametrize("number", NUMBERS)
def test_tiles_keep_the_shape_of_the_photos(number: int) -> None:
    for height, width in [(224, 224), (128, 128), (100, 300), (300, 100)]:
        tile = Grid.of(number, (height, width)).tile
        assert tile[0] / tile[1] == pytest.approx(height / width, rel=0.06)


def test_gallery_is_about_as_high_as_wide_and_small_photos_are_enlarged() -> None:
    assert Grid.of(16, (128, 128)) == Grid(16, 4, (192, 192))
    assert Grid.of(64, (224, 224)).columns == 8
    assert Grid.of(1, (32, 32)).tile == (192, 192)
    assert Grid.of(12, (100, 300)).columns == 2


@pytest.mark.parametrize("scale", [1, 2])
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
    canvas = np.asarray(enlarged)[GAP // 2 :, GAP // 2 :]
    for index in range(number):
        left, top = grid.corner(index)
        found = canvas[top : top + grid.tile[0], left : left + grid.tile[1]].astype(int)
        wanted = Image.fromarray(tiles[index]).resize(grid.tile[::-1], Image.Resampling.BILINEAR)
        assert np.abs(found - np.asarray(wanted)).max() <= 1


def test_atlas_fills_the_gaps_with_the_edges_of_the_tiles() -> None:
    grid = Grid(2, 2, (32, 32))
    tiles = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (50, 200)])
    atlas = grid.atlas(tiles)
    assert atlas.shape == (32 + GAP, 2 * (32 + GAP), 3)
    assert (atlas[:, : 32 + GAP] == 50).all()
    assert (atlas[:, 32 + GAP :] == 200).all()
