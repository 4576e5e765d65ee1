"""Grad-CAM takes the last map on the way to what is explained: networks of several ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from pfv_widgets.errors import PFVValueError, PFVWarning
from pfv_widgets.methods.attribution.attribute import attribute
from tests.networks import blobs, tiny


class Heads(nn.Module):
    """A stem, and two heads of their own convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.a, self.b = nn.Conv2d(6, 5, 3), nn.Conv2d(6, 4, 3)
        self.fa, self.fb = nn.Linear(5, 3), nn.Linear(4, 3)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        stem = self.stem(images)
        return {
            "a": self.fa(self.a(stem).relu().mean((2, 3))),
            "b": self.fb(self.b(stem).relu().mean((2, 3))),
        }


class Pair(nn.Module):
    """One network for two images, whose outputs are subtracted."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.maps = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 5, 3))
        self.read = nn.Linear(5, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        one, other = (self.maps(images).relu().mean((2, 3)) for images in (a, b))
        return self.read(one) - 2 * self.read(other)


def by_hand(
    maps: Tensor, score: Callable[[Tensor], Tensor], size: tuple[int, int], unit: int
) -> Tensor:
    """The slow oracle: the paper's equations for a map, image by image."""
    rows = []
    for one in maps.detach():
        place = one[None].clone().requires_grad_()
        (signal,) = torch.autograd.grad(score(place)[0, unit], place)
        weights = signal.mean((2, 3))[0]
        rows.append(sum(w * channel for w, channel in zip(weights, one, strict=True)).relu())
    stacked = torch.stack(rows)[:, None]
    return nn.functional.interpolate(stacked, size, mode="bilinear", align_corners=False)[:, 0]


@pytest.mark.parametrize("output", ["a", "b"])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_map_is_one_of_the_head_that_is_explained(output: str, frozen: bool) -> None:
    model, images = Heads().requires_grad_(not frozen), blobs(3, 20, 28)
    result = attribute(model, images, "grad_cam", unit=1, output=output)
    own, read = (getattr(model, name) for name in (output, f"f{output}"))
    right = by_hand(
        own(model.stem(images.tensor)), lambda maps: read(maps.relu().mean((2, 3))), (20, 28), 1
    )
    assert right.max() > 0
    torch.testing.assert_close(result.maps, right)
    named = attribute(model, images, "grad_cam", unit=1, output=output, at=output)
    torch.testing.assert_close(named.maps, right)


@pytest.mark.parametrize("argument", ["a", "b"])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_map_is_one_of_the_argument_that_takes_the_images(argument: str, frozen: bool) -> None:
    model, images, others = Pair().requires_grad_(not frozen), blobs(2, 24), blobs(2, 24, seed=7)
    other = "b" if argument == "a" else "a"
    arguments = {"inputs": {other: others.tensor}, "argument": argument, "unit": 2}
    result = attribute(model, images, "grad_cam", **arguments)
    factor = 1 if argument == "a" else -2

    def score(maps: Tensor) -> Tensor:
        return factor * model.read(maps.relu().mean((2, 3)))

    right = by_hand(model.maps(images.tensor), score, (24, 24), 2)
    assert right.max() > 0
    torch.testing.assert_close(result.maps, right)
    number = 1 if argument == "a" else 2
    named = attribute(model, images, "grad_cam", at=f"maps.2#{number}", **arguments)
    torch.testing.assert_close(named.maps, right)
    with pytest.raises(
        PFVValueError, match=rf"at='maps#{3 - number}' is not on the way.*#{number}"
    ):
        attribute(model, images, "grad_cam", at=f"maps#{3 - number}", **arguments)


def test_a_layer_of_another_head_is_told_with_one_that_can_be_taken() -> None:
    with pytest.raises(PFVValueError, match=r"at='b' is not on the way.*such as at='a'"):
        attribute(Heads(), blobs(2), "grad_cam", output="a", at="b")


class Walled(nn.Module):
    """A network whose forward pass has no gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.n = nn.ModuleDict({"c": nn.Conv2d(3, 4, 3), "r": nn.ReLU(), "d": nn.Conv2d(4, 4, 3)})
        self.fc = nn.Linear(4, 3)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        maps = self.n["r"](self.n["d"](self.n["r"](self.n["c"](images))))
        return self.fc(maps.mean((2, 3)))


@pytest.mark.parametrize("options", [{}, {"at": "n.r#2"}, {"layer": "n.d"}])
def test_a_network_without_gradients_is_told_as_for_other_methods(options: dict[str, str]) -> None:
    messages = []
    for method in ("saliency", "grad_cam"):
        arguments = (
            options if method == "grad_cam" else {k: options[k] for k in options if k != "at"}
        )
        with pytest.raises(PFVValueError, match="no gradient reaches the images") as error:
            attribute(Walled(), blobs(2, 12), method, **arguments)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    ("at", "reason"),
    [("nope", "is not in this network"), ("fc", "non-spatial"), ("n.r", "runs 2 times")],
)
def test_an_illegal_layer_is_told_by_the_name_of_its_option(at: str, reason: str) -> None:
    with pytest.raises(PFVValueError, match=rf"^at='{at}' .*{reason}"):
        attribute(Walled(), blobs(2, 12), "grad_cam", at=at)


class Backbone(nn.Module):
    """Maps without a gradient, and a head behind them with one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 3)

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            maps = self.first(images)
        return self.second(maps).relu().mean((2, 3))


def test_a_backbone_without_gradients_leaves_the_maps_of_the_head() -> None:
    model, images = Backbone(), blobs(2, 16)
    result = attribute(model, images, "grad_cam", unit=0)
    maps = model.second(model.first(images.tensor))
    right = by_hand(maps, lambda one: one.relu().mean((2, 3)), (16, 16), 0)
    torch.testing.assert_close(result.maps, right)


def transformer() -> VisionTransformer:
    torch.manual_seed(0)
    model = VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=4)
    nn.init.normal_(model.heads.head.weight)
    return model.eval()


def test_a_vision_transformer_is_read_where_its_patches_still_count() -> None:
    model, images = transformer(), blobs(3, 32)
    result = attribute(model, images, "grad_cam", unit=1, positive=False)
    named = attribute(
        model, images, "grad_cam", unit=1, positive=False, at="encoder.layers.encoder_layer_2.ln_1"
    )
    assert result.warnings == ()
    assert bool((result.maps.abs().amax((1, 2)) > 0).all())
    torch.testing.assert_close(result.maps, named.maps)
    activations: list[Tensor] = []
    norm = model.encoder.layers.encoder_layer_2.ln_1
    handle = norm.register_forward_hook(lambda *arguments: activations.append(arguments[2]))
    scores = model(images.tensor)
    handle.remove()
    (signal,) = torch.autograd.grad(scores[:, 1].sum(), activations[0])
    weights = signal[:, 1:].mean(1)
    coarse = torch.einsum("nc,ntc->nt", weights, activations[0][:, 1:]).detach().reshape(3, 1, 4, 4)
    right = nn.functional.interpolate(coarse, (32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(result.maps, right[:, 0], rtol=1e-4, atol=1e-6)
    for size in (1, 2):
        chunked = attribute(model, images, "grad_cam", unit=1, positive=False, chunk_size=size)
        torch.testing.assert_close(chunked.maps, result.maps)


def test_a_network_that_is_dead_gives_the_map_of_its_last_layer_and_a_warning() -> None:
    model = tiny()
    with torch.no_grad():
        model[-1].weight.zero_()
    with pytest.warns(PFVWarning, match="zero everywhere"):
        result = attribute(model, blobs(2), "grad_cam")
    assert not result.maps.any()


@pytest.mark.parametrize("options", [{"output": "a"}, {"output": "a", "at": "b"}])
def test_no_hook_stays_on_a_network_of_several_heads(options: dict[str, str]) -> None:
    model = Heads()
    try:
        attribute(model, blobs(2), "grad_cam", **options)
    except PFVValueError:
        assert "at" in options
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
