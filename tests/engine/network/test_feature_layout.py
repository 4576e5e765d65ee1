from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.feature_layout import Layout, find_layout

SQUARE = torch.zeros(2, 3, 32, 32)
WIDE = torch.zeros(2, 3, 32, 64)


def found(output: object, module: nn.Module | None = None, example: Tensor = SQUARE,
          grids: tuple[tuple[int, int], ...] = (), moved: bool = False) -> object:  # fmt: skip
    return find_layout(output, module or nn.ReLU(), example, grids, moved=moved)


def test_convolution_maps_are_taken_as_they_are() -> None:
    maps = torch.randn(2, 5, 4, 3)
    assert Layout().maps(maps) is maps


def test_channels_last_are_moved_first() -> None:
    output = torch.randn(2, 4, 3, 5)
    maps = Layout("channels_last").maps(output)
    assert maps.shape == (2, 5, 4, 3)
    assert torch.equal(maps[1, 2], output[1, :, :, 2])


def test_tokens_become_rows_of_places_without_the_extra_ones() -> None:
    output = torch.randn(2, 5 + 12, 7)
    maps = Layout("tokens", (3, 4), 5).maps(output)
    assert maps.shape == (2, 7, 3, 4)
    assert torch.equal(maps[1, :, 2, 1], output[1, 5 + 2 * 4 + 1])


@pytest.mark.parametrize(
    ("shape", "module", "layout", "of_maps"),
    [
        ((2, 5, 8, 8), nn.ReLU(), Layout(), (5, 8, 8)),
        ((2, 8, 8, 96), nn.GELU(), Layout("channels_last"), (96, 8, 8)),
        ((2, 8, 8, 96), nn.LayerNorm(96), Layout("channels_last"), (96, 8, 8)),
        ((2, 7, 7, 7), nn.Linear(7, 7), Layout("channels_last"), (7, 7, 7)),
        ((2, 7, 7, 7), nn.BatchNorm2d(7), Layout(), (7, 7, 7)),
        ((2, 8, 5, 40), nn.Conv2d(3, 8, 3), Layout(), (8, 5, 40)),
        ((2, 16, 6), nn.ReLU(), Layout("tokens", (4, 4), 0), (6, 4, 4)),
        ((2, 17, 6), nn.ReLU(), Layout("tokens", (4, 4), 1), (6, 4, 4)),
        ((2, 21, 6), nn.ReLU(), Layout("tokens", (4, 4), 5), (6, 4, 4)),
    ],
)
def test_layout_is_found_from_shape_and_module(
    shape: tuple[int, ...], module: nn.Module, layout: Layout, of_maps: tuple[int, int, int]
) -> None:
    assert found(torch.zeros(shape), module) == (layout, of_maps)


def test_grid_of_tokens_follows_the_shape_of_the_images() -> None:
    assert found(torch.zeros(2, 33, 6), example=WIDE) == (Layout("tokens", (4, 8), 1), (6, 4, 8))


def test_grid_that_was_seen_before_settles_the_tokens() -> None:
    seen = found(torch.zeros(2, 25, 6), grids=((3, 8),))
    assert seen == (Layout("tokens", (3, 8), 1), (6, 3, 8))


def test_grid_that_was_seen_before_settles_channels_last() -> None:
    output = torch.zeros(2, 4, 4, 16)
    assert found(output, grids=((4, 4),)) == (Layout("channels_last"), (16, 4, 4))


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (None, "gives a NoneType, not one tensor"),
        ((torch.zeros(2, 3, 4, 4),), "gives a tuple, not one tensor"),
        ({"out": 1}, "gives a dict, not one tensor"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.long), "values of type torch.int64"),
        (torch.zeros(2, 10), "non-spatial output of shape (2, 10)"),
        (torch.zeros(2, 3, 4, 4, 4), "non-spatial"),
        (torch.zeros(9, 3, 4, 4), "non-spatial output of shape (9, 3, 4, 4)"),
        (torch.zeros(2, 0, 4, 4), "non-spatial"),
        (torch.zeros(2, 40, 3, 40), "non-spatial"),
        (torch.zeros(2, 5, 1, 1), "one value a channel, no places"),
    ],
)
def test_output_without_places_is_refused_with_the_reason(output: object, words: str) -> None:
    reason = found(output)
    assert isinstance(reason, str)
    assert words in reason
    assert "Choose" in reason


def test_rearranged_input_on_a_new_grid_is_windows() -> None:
    output = torch.zeros(2, 5, 8, 8)
    assert "windows" in str(found(output, nn.Identity(), moved=True))
    assert found(output, nn.Identity(), grids=((8, 8),), moved=True) == (Layout(), (5, 8, 8))
    assert found(output, nn.PixelShuffle(2), moved=True) == (Layout(), (5, 8, 8))
