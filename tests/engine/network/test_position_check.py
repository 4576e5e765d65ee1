"""Where outputs answer to a change of the picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pfv_widgets.engine.network.position_check import PositionCheck, changed_pictures, sectors
from tests.networks import seeded

IMAGE = torch.randn(1, 3, 40, 60, generator=seeded(1))


@pytest.mark.parametrize(("height", "width"), [(40, 60), (7, 7), (1, 9)])
def test_sectors_divide_the_picture(height: int, width: int) -> None:
    masks = sectors(height, width)
    assert masks.shape == (3, height, width)
    assert torch.equal(masks.sum(0), torch.ones(height, width, dtype=torch.float64))
    assert height == 1 or float(masks.mean((1, 2)).min()) > 0.2


def test_each_picture_is_changed_a_little_in_one_sector() -> None:
    pictures = changed_pictures(IMAGE)
    assert torch.equal(pictures[:1], IMAGE)
    changes = (pictures[1:] - IMAGE).abs().amax(1)
    assert torch.equal(changes > 0, sectors(40, 60) > 0)
    assert float(changes.max()) < 0.2


@pytest.mark.parametrize("grid", [(2, 3), (3, 3), (4, 6), (5, 7), (40, 60), (80, 120)])
def test_smaller_pictures_answer_where_they_were_changed(grid: tuple[int, int]) -> None:
    test = PositionCheck(IMAGE)
    answer = test.answer_of(torch.nn.functional.adaptive_avg_pool2d(test.pictures, grid))
    assert answer is not None
    assert answer.agrees
    assert answer.agreement > 0.85


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x.transpose(2, 3).reshape(4, 3, 10, 15),  # rows read as columns
        lambda x: x.flip(2),
        lambda x: x.flip(3),
        lambda x: x.flatten(2)[:, :, torch.randperm(150, generator=seeded())].unflatten(
            2, (10, 15)
        ),
        lambda x: x.roll((5, 7), (2, 3)),
    ],
    ids=["transposed", "upside_down", "mirrored", "shuffled", "shifted"],
)
def test_positions_in_another_order_do_not_agree(wrong: object) -> None:
    test = PositionCheck(IMAGE)
    maps: Tensor = torch.nn.functional.avg_pool2d(test.pictures, 4)
    answer = test.answer_of(wrong(maps))  # type: ignore[operator]
    assert answer is not None
    assert not answer.agrees
    assert not answer.undecided
    assert not answer.says_little


def test_global_answer_on_top_of_the_local_one_still_agrees() -> None:
    test = PositionCheck(IMAGE)
    maps = torch.nn.functional.avg_pool2d(test.pictures, 4)
    answer = test.answer_of(maps + 20 * maps.mean((2, 3), keepdim=True))
    assert answer is not None
    assert answer.agrees


@pytest.mark.parametrize(
    "maps",
    [
        torch.ones(4, 5, 6, 6),
        torch.full((4, 5, 6, 6), float("nan")),
        torch.cat([torch.ones(3, 5, 6, 6), torch.ones(1, 5, 6, 6) * 2]),
    ],
    ids=["constant", "nan", "one_change_without_answer"],
)
def test_maps_without_an_answer_say_nothing(maps: Tensor) -> None:
    assert PositionCheck(IMAGE).answer_of(maps) is None


def test_change_of_the_size_of_rounding_is_no_answer() -> None:
    test = PositionCheck(IMAGE)
    maps = torch.nn.functional.avg_pool2d(test.pictures, 4)
    assert test.answer_of(1e7 + maps) is None
    assert test.answer_of(1e7 + maps.double()) is not None
