"""The blocks of a network: what belongs together, in forward order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.demo.images import demo_model
from pfv_widgets.engine.network.block_order import find_blocks
from tests.networks import tiny


class Unit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.norm(self.conv(maps))


class Stem(nn.Module):
    """Weights of its own, and a part without any."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 3, 1, 1))
        self.act = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.act(nn.functional.conv2d(images, self.weight))


class Whole(nn.Module):
    """Registered from the end; with a parameter of its own and a part that does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.unused = nn.Linear(3, 2)
        self.place = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.body = nn.Sequential(Unit(), Unit())
        self.norm = nn.GroupNorm(1, 3)
        self.stem = nn.Conv2d(3, 3, 1)
        self.slope = nn.PReLU(3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.body(self.slope(self.stem(images) + self.place)))
        return self.head(maps.mean((2, 3)))


def names(model: nn.Module) -> list[str]:
    return [block.name for block in find_blocks(model)]


def test_blocks_are_listed_in_forward_order_each_with_what_belongs_to_it() -> None:
    blocks = find_blocks(Whole())
    assert [block.name for block in blocks] == ["stem", "body.0", "body.1", "head"]
    assert blocks[0].modules == ("stem", "slope")
    assert blocks[0].parents == ("",)
    assert blocks[1].modules == ("body.0", "body.0.conv", "body.0.norm")
    assert blocks[2].modules[-1] == "norm"
    assert blocks[3].modules == ("head", "unused")


def test_a_module_whose_parts_have_no_parameters_is_a_block_where_it_runs() -> None:
    convolutions = nn.Sequential(Stem(), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    assert [block.modules[0] for block in find_blocks(convolutions)] == ["0", "1", "2"]
    assert names(Stem()) == [""]


def test_every_parameter_belongs_to_one_block() -> None:
    for model in (Whole(), Stem(), tiny(), demo_model(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(3)):
        modules = dict(model.named_modules())
        held = [
            id(one)
            for block in find_blocks(model)
            for name in (*block.modules, *block.parents)
            for one in modules[name].parameters(recurse=False)
        ]
        assert sorted(held) == sorted(id(one) for one in model.parameters())


def test_containers_are_looked_into_and_leaves_are_blocks() -> None:
    assert names(demo_model()) == [
        "stage1.0", "stage2.1", "stage3.1", "stage3.4", "stage4.1", "head",
    ]  # fmt: skip
    assert names(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))) == ["1"]


def test_without_a_forward_pass_the_order_is_that_of_registration() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return self.first(self.second(one + other))

    assert names(Pair()) == ["first", "second"]


@pytest.mark.parametrize(
    ("name", "first", "last", "count"),
    [
        ("resnet18", "conv1", "fc", 10),
        ("densenet121", "features.conv0", "classifier", 9),
        ("squeezenet1_0", "features.0", "classifier.1", 10),
    ],
)
def test_known_networks_have_the_blocks_of_their_papers(
    name: str, first: str, last: str, count: int
) -> None:
    from torchvision import models

    with torch.device("meta"):
        model = models.get_model(name, weights=None)
    result = names(model)
    assert (result[0], result[-1], len(result)) == (first, last, count)
