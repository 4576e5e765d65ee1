from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVValueError
from tests.networks import Function, Through, Tokens, blobs, tiny


def pfv_of(network: nn.Module, side: int = 32) -> PFV:
    return PFV(network.eval(), blobs(1, side), device="cpu")


def blank(name: str) -> nn.Module:
    """A network of torchvision whose weights are all alike: random ones take seconds to draw."""
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    network.to_empty(device="cpu")
    for values in (*network.parameters(), *network.buffers()):
        values.detach().fill_(0.01)
    return network


def chain(pfv: PFV, layer: str | None = None) -> list[str]:
    return [one.name for one in pfv.store.chain(pfv.layer(layer).name)]


def test_layers_stand_in_forward_order_with_kind_and_shape() -> None:
    result = [(one.name, one.kind, one.shape) for one in pfv_of(tiny()).layers[:6]]
    assert result == [
        ("0", "Conv2d", (8, 32, 32)),
        ("1", "BatchNorm2d", (8, 32, 32)),
        ("2", "ReLU", (8, 32, 32)),
        ("3", "MaxPool2d", (8, 16, 16)),
        ("4", "Conv2d", (8, 16, 16)),
        ("5", "BatchNorm2d", (8, 16, 16)),
    ]


def test_default_is_the_last_map_before_the_read_out() -> None:
    assert pfv_of(tiny()).default_layer == "10"
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 10, 1), nn.ReLU())
    assert pfv_of(network).default_layer == "1"
    assert pfv_of(Tokens()).default_layer == "block"


@pytest.mark.parametrize(
    ("name", "default", "levels"),
    [
        ("squeezenet1_0", "features.12", ["features.1", "features.5", "features.10"]),
        ("resnet18", "layer4.1", ["relu", "layer1.1", "layer2.1", "layer3.1"]),
        ("vgg11", "features.20", [f"features.{i}" for i in (1, 4, 9, 14, 19)]),
        pytest.param("vit_b_32", "encoder.ln", [], marks=pytest.mark.all),
    ],
)
def test_default_and_chain_of_usual_networks(name: str, default: str, levels: list[str]) -> None:
    side = 224 if name == "vit_b_32" else 96
    # constant weights leave nothing of an image behind a layer norm
    network = torchvision.models.get_model(name) if name == "vit_b_32" else blank(name)
    pfv = pfv_of(network, side)
    assert pfv.default_layer == default
    assert chain(pfv) == levels


def test_container_and_its_last_block_are_one_map() -> None:
    pfv = pfv_of(torchvision.models.resnet18(weights=None), 64)
    assert pfv.layer("layer4").same_as == "layer4.1"
    assert pfv.layer("layer4.1").same_as is None
    frames = [pfv.render(layer=name) for name in ("layer4", "layer4.1")]
    assert torch.equal(frames[0].heatmaps, frames[1].heatmaps)
    assert frames[0].layer == "layer4"


def test_chain_is_the_last_map_of_each_other_resolution_before_the_layer() -> None:
    pfv = pfv_of(tiny())
    assert chain(pfv) == ["2", "6"]
    assert chain(pfv, "4") == ["2"]
    assert chain(pfv, "2") == []


class Hourglass(nn.Module):
    """Down, up and down again: resolutions come twice."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 2, 2)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.last = nn.Conv2d(4, 4, 4, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.up(self.down(self.wide(images))))


def test_resolution_that_comes_again_counts_once_where_it_was_last() -> None:
    assert chain(pfv_of(Hourglass()), "last") == ["down", "up"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: (x, x), "gives a tuple, not one tensor"),
        (lambda x: {"maps": x}, "gives a dict, not one tensor"),
        (lambda _: None, "gives a NoneType, not one tensor"),
        (lambda x: x.mean(dim=(2, 3)), "non-spatial output of shape"),
        (lambda x: x.flatten(), "non-spatial output of shape"),
        (lambda x: x.argmax(dim=1, keepdim=True), "values of type torch.int64"),
        (lambda x: x.amax(dim=(2, 3), keepdim=True), "one value per channel"),
        (lambda x: x[:1] * 0 + 1, "non-spatial output of shape"),
    ],
)
def test_layer_without_a_map_is_refused_with_the_reason(
    change: Callable[[Tensor], object], words: str
) -> None:
    pfv = pfv_of(Through(change))
    with pytest.raises(PFVValueError) as excinfo:
        pfv.render(layer="change")
    assert "layer='change'" in str(excinfo.value)
    assert words in str(excinfo.value)


def test_embedding_of_positions_is_no_map_of_the_images() -> None:
    # one for all images: in the chain its batch would be 1 where the others have N
    table = torch.randn(1, 6, 32, 32)

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = Function(lambda _: table)
            self.stem = nn.Conv2d(3, 6, 3, padding=1)
            self.head = nn.Conv2d(6, 6, 4, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.stem(images) + self.table(images))

    pfv = PFV(Positions(), blobs(3), device="cpu")
    assert [layer.name for layer in pfv.layers] == ["stem", "head"]
    assert pfv.render(layer="head").heatmaps.shape == (3, 32, 32, 3)


def test_layer_that_did_not_run_is_told_apart_from_an_unknown_one() -> None:
    network = Through(nn.ReLU())
    network.spare = nn.Conv2d(3, 3, 1)
    pfv = pfv_of(network)
    with pytest.raises(PFVValueError, match=r"layer='spare' did not run in the forward pass"):
        pfv.render(layer="spare")
    with pytest.raises(PFVValueError, match=r"'steam' is not in this.*'stem'.*; it has 5 in all"):
        pfv.render(layer="steam")
    with pytest.raises(PFVValueError, match=r"'zzz' is not in this network. Its last .*'head'"):
        pfv.render(layer="zzz")


def test_network_without_any_map_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    with pytest.raises(PFVValueError, match="none of its layers gives a spatial feature map"):
        pfv_of(network)


def test_module_that_runs_twice_has_a_name_for_each_run() -> None:
    block = nn.Conv2d(3, 3, 3, padding=1)
    pfv = pfv_of(nn.Sequential(block, nn.MaxPool2d(2), block))
    assert [layer.name for layer in pfv.layers] == ["0#1", "1", "0#2"]
    with pytest.raises(PFVValueError, match=r"runs 2 times .*'0#1', '0#2'"):
        pfv.layer("0")
