from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.feature_layout import Layout, guess_layout, possible_layouts

SQUARE = torch.zeros(2, 3, 32, 32)
WIDE = torch.zeros(2, 3, 32, 64)


def guessed(output: object, module: nn.Module | None = None, example: Tensor = SQUARE,
            grids: tuple[tuple[int, int], ...] = ()) -> Layout | str:  # fmt: skip
    return guess_layout(output, module or nn.ReLU(), example, grids)


def test_convolution_maps_are_taken_as_they_are() -> None:
    maps = torch.randn(2, 5, 4, 3)
    assert Layout().maps(maps) is maps


def test_channels_last_are_moved_first() -> None:
    output = torch.randn(2, 4, 3, 5)
    maps = Layout("channels_last").maps(output)
    assert maps.shape == (2, 5, 4, 3)
    assert torch.equal(maps[1, 2], output[1, :, :, 2])


def test_tokens_become_rows_of_positions_without_the_extra_ones() -> None:
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
def test_layout_is_guessed_from_shape_and_module(
    shape: tuple[int, ...], module: nn.Module, layout: Layout, of_maps: tuple[int, int, int]
) -> None:
    assert guessed(torch.zeros(shape), module) == layout
    assert tuple(layout.maps(torch.zeros(shape)).shape[1:]) == of_maps


def test_grid_of_tokens_follows_the_shape_of_the_images() -> None:
    assert guessed(torch.zeros(2, 33, 6), example=WIDE) == Layout("tokens", (4, 8), 1)


def test_grid_seen_last_is_the_first_guess_for_tokens() -> None:
    assert guessed(torch.zeros(2, 25, 6), grids=((3, 8),)) == Layout("tokens", (3, 8), 1)
    possible = possible_layouts((2, 25, 6), nn.ReLU(), (32, 32), [(3, 8), (4, 6)])
    assert [layout.grid for layout in possible] == [(4, 6), (3, 8), (5, 5), (4, 4)]


def test_grid_seen_before_settles_channels_last() -> None:
    assert guessed(torch.zeros(2, 4, 4, 16), grids=((4, 4),)) == Layout("channels_last")


def test_output_that_can_be_read_in_two_ways_has_both_layouts() -> None:
    both = possible_layouts((2, 8, 8, 8), nn.GELU(), (32, 32), [])
    assert both == [Layout(), Layout("channels_last")]
    assert possible_layouts((2, 8, 8, 8), nn.Conv2d(3, 8, 1), (32, 32), []) == [Layout()]


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
        (torch.zeros(2, 5, 1, 1), "one value per channel, no positions"),
        (torch.zeros(2, 1, 1, 5), "non-spatial"),
    ],
)
def test_output_without_positions_is_refused_with_the_reason(output: object, words: str) -> None:
    reason = guessed(output)
    assert isinstance(reason, str)
    assert words in reason
    assert "Choose" in reason
