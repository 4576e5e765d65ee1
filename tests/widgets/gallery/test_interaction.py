"""Which positions a rectangle of the gallery takes."""

from __future__ import annotations

import numpy as np
import pytest

from pfv_widgets.widgets.gallery.interaction import brushed
from pfv_widgets.widgets.toolkit.geometry import Spot


def by_centres(start: Spot, end: Spot, map_size: tuple[int, int]) -> set[tuple[int, int]]:
    """Places whose centres are inside, one by one."""
    (left, right), (top, bottom) = (sorted(pair) for pair in ((start.x, end.x), (start.y, end.y)))
    rows, columns = map_size
    return {
        (row, column)
        for row in range(rows)
        for column in range(columns)
        if left <= (column + 0.5) / columns < right and top <= (row + 0.5) / rows < bottom
    }


@pytest.mark.parametrize("map_size", [(8, 8), (5, 9), (2, 3)])
def test_rectangle_takes_the_positions_whose_centres_are_inside(
    rng: np.random.Generator, map_size: tuple[int, int]
) -> None:
    for _ in range(200):
        x1, y1, x2, y2 = rng.uniform(0, 1, 4)
        start, end = Spot(2, x1, y1), Spot(2, x2, y2)
        mask = brushed(start, end, 4, map_size)
        assert mask.shape == (4, *map_size)
        assert not mask[[0, 1, 3]].any()
        expected = by_centres(start, end, map_size)
        actual = {(int(row), int(column)) for row, column in np.argwhere(mask[2])}
        assert actual >= expected
        if expected:
            assert actual == expected
        assert (brushed(end, start, 4, map_size) == mask).all()


@pytest.mark.parametrize("spot", [Spot(0, 0.0, 0.0), Spot(0, 1.0, 1.0), Spot(0, 0.5, 0.99)])
@pytest.mark.parametrize("map_size", [(1, 1), (4, 4), (3, 7)])
def test_rectangle_without_size_takes_one_place_near_it(
    spot: Spot, map_size: tuple[int, int]
) -> None:
    mask = brushed(spot, spot, 1, map_size)
    assert mask.sum() == 1
    ((_, row, column),) = np.argwhere(mask)
    assert abs(row + 0.5 - spot.y * map_size[0]) <= 1
    assert abs(column + 0.5 - spot.x * map_size[1]) <= 1


def test_whole_image_is_all_of_its_positions() -> None:
    mask = brushed(Spot(1, 0.0, 0.0), Spot(1, 1.0, 1.0), 2, (6, 5))
    assert mask[1].all()
    assert not mask[0].any()
