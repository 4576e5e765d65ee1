"""What can be explained, and what is said where it cannot."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.model_guard import guarded
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.attribution.registry import METHODS
from pfv_widgets.methods.core.target import Target, gradient, score_function
from pfv_widgets.methods.inversion.reconstruct import reconstruct
from tests.networks import Function, Through, Tokens, blobs, tiny


class Pair(NamedTuple):
    kinds: Tensor
    places: Tensor


class Outputs(nn.Module):
    """Gives its two heads in any form."""

    def __init__(self, form: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.kinds, self.places = nn.Linear(4, 3), nn.Conv2d(4, 6, 1)
        self.form = form

    def forward(self, images: Tensor) -> Any:
        maps = self.stem(images).relu()
        kinds, places = self.kinds(maps.mean((2, 3))), self.places(maps)
        forms = {
            "dict": {"kinds": kinds, "places": places},
            "tuple": (kinds, places),
            "named": Pair(kinds, places),
            "dense": places,
            "one": [kinds, "text"],
            "nested": {"all": {"kinds": kinds}},
            "listed": [{"kinds": kinds}],
            "flat": kinds[:, 0],
            "labels": kinds.argmax(1),
            "none": None,
            "detached": kinds.detach(),
            "constant": torch.ones(len(images), 3, requires_grad=True),
            "wrong rows": kinds[:1].repeat(5, 1),
        }
        return forms[self.form]


@pytest.mark.parametrize(
    ("form", "output"),
    [("dict", "kinds"), ("dict", 0), ("tuple", 0), ("named", "kinds"), ("named", 0), ("one", None)],
)
def test_one_of_several_outputs_is_chosen_by_name_or_position(
    form: str, output: str | int | None
) -> None:
    model, images = Outputs(form).eval(), blobs(2, 16)
    result = attribute(model, images, "saliency", output=output)
    pixels = images.tensor.clone().requires_grad_()
    kinds = model.kinds(model.stem(pixels).relu().mean((2, 3)))
    assert torch.equal(result.units, kinds.argmax(1))
    (right,) = torch.autograd.grad(kinds.amax(1).sum(), pixels)
    torch.testing.assert_close(result.signed, right)


def test_a_single_logit_is_one_unit() -> None:
    result = attribute(Outputs("flat").eval(), blobs(2, 16), "saliency")
    assert result.units.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("form", "options", "match"),
    [
        ("dict", {}, r"output=None.*'kinds', 'places'"),
        ("dict", {"output": "kind"}, r"output='kind' is unknown.*'kinds', 'places'"),
        ("tuple", {"output": 2}, r"output=2 is unknown"),
        ("flat", {"output": "kinds"}, r"output='kinds'.*one tensor"),
        ("dense", {}, r"shape \(2, 6, 16, 16\), not \(N, K\).*layer=.*summed over its positions"),
        ("dict", {"output": "places"}, r"shape \(2, 6, 16, 16\), not \(N, K\)"),
        ("labels", {}, r"values of type torch.int64"),
        ("none", {}, r"NoneType without any tensor"),
        ("nested", {}, r"dict whose tensors lie inside other.*not searched. Wrap the network"),
        ("listed", {"output": 0}, r"list whose tensors lie inside other dicts"),
        ("wrong rows", {}, r"one row an image"),
        ("detached", {}, r"no gradient reaches the images"),
        ("constant", {}, r"no gradient reaches the images"),
    ],
)
def test_output_without_units_or_gradient_is_a_named_error(
    form: str, options: dict[str, Any], match: str
) -> None:
    model = Outputs(form).eval()
    with pytest.raises(PFVValueError, match=match):
        attribute(model, blobs(2, 16), "saliency", **options)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"layer": "44"}, PFVValueError, r"layer='44' is not in this network.*'4'"),
        ({"layer": ""}, PFVValueError, r"layer='' is not in this network"),
        ({"layer": 4}, PFVTypeError, r"layer=4: expected a layer's name"),
        ({"layer": "4#2"}, PFVValueError, r"layer='4#2' is not there. Choose one of '4#1'"),
        ({"layer": "4", "unit": 8}, PFVValueError, r"unit=8: layer '4' has 8 units"),
        ({"unit": 5}, PFVValueError, r"unit=5: the output has 5 units. Choose from 0 to 4"),
        ({"unit": -1}, PFVValueError, r"unit=-1: expected a whole number from 0"),
        ({"unit": 1.5}, PFVTypeError, r"unit=1.5: expected a whole number"),
        ({"unit": True}, PFVTypeError, r"unit=True"),
        ({"output": 1.5}, PFVTypeError, r"output=1.5"),
        ({"chunk_size": 0}, PFVValueError, r"chunk_size=0"),
        ({"chunk_size": "4"}, PFVTypeError, r"chunk_size='4'"),
        ({"method": "salience"}, PFVValueError, r"method='salience'.*mean 'saliency'"),
        ({"method": 3}, PFVTypeError, r"method=3: expected one of"),
        ({"device": "abacus"}, PFVValueError, r"device='abacus'"),
    ],
)
def test_what_is_not_there_is_a_named_error(
    options: dict[str, Any], error: type[PFVError], match: str
) -> None:
    with pytest.raises(error, match=match):
        attribute(tiny(), blobs(2), **({"method": "saliency"} | options))


@pytest.mark.filterwarnings("ignore:The map is zero")
def test_one_unit_an_image() -> None:
    model, images = tiny(), blobs(3)
    right = [attribute(model, images, "saliency", unit=unit) for unit in (1, 4, 0)]
    for units in ([1, 4, 0], (1, 4, 0), np.array([1, 4, 0]), torch.tensor([1, 4, 0])):
        for size in (1, 2, 3):
            result = attribute(model, images, "saliency", unit=units, chunk_size=size)
            assert result.units.tolist() == [1, 4, 0]
            for row, one in enumerate(right):
                torch.testing.assert_close(result.maps[row], one.maps[row])
                torch.testing.assert_close(result.scores[row], one.scores[row])
    assert result.of([2, 0]).target.unit == (0, 1)
    assert hash(result.target) == hash(Target(unit=(1, 4, 0)))
    for method in ("occlusion", "integrated_gradients", "smoothgrad", "rise", "grad_cam"):
        result = attribute(model, images, method, unit=[1, 4, 0])
        assert result.units.tolist() == [1, 4, 0]
    for units, error, words in (
        ([1, 2], PFVValueError, r"2 units for 3 images"),
        ([], PFVValueError, "one for each image"),
        ([1, -1, 0], PFVValueError, "one for each image"),
        ([1, True, 0], PFVTypeError, "one for each image"),
        ("012", PFVTypeError, "one for each image"),
        ([1, 9, 0], PFVValueError, "unit=9: the output has 5 units"),
    ):
        with pytest.raises(error, match=words):
            attribute(model, images, "saliency", unit=units)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_units() -> None:
    assert Target(unit=np.int64(3)) == Target(unit=3)  # type: ignore[arg-type]


def test_a_layer_is_read_before_an_operation_in_place_rewrites_it() -> None:
    model, images = tiny(inplace=True), blobs(2)
    maps = model[:2](images.tensor)
    result = attribute(model, images, "saliency", layer="1", unit=2)
    torch.testing.assert_close(result.scores, maps[:, 2].sum((1, 2)).detach())
    assert float(maps.detach().min()) < 0


def test_each_run_of_a_reused_module_is_a_layer() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            return self.conv(self.conv(images).relu()).mean((2, 3))

    model, images = Twice().eval(), blobs(2, 16)
    with pytest.raises(PFVValueError, match=r"runs 2 times.*'conv#1', 'conv#2'"):
        attribute(model, images, "saliency", layer="conv")
    for name, right in (
        ("conv#1", model.conv(images.tensor)),
        ("conv#2", model.conv(model.conv(images.tensor).relu())),
    ):
        result = attribute(model, images, "saliency", layer=name, unit=1)
        torch.testing.assert_close(result.scores, right[:, 1].sum((1, 2)).detach())


def test_tokens_and_channels_last_are_summed_over_positions() -> None:
    tokens, images = Tokens().eval(), blobs(2, 32)
    result = attribute(tokens, images, "saliency", layer="patches", unit=1)
    right = tokens.patches(images.tensor)[:, 1].sum((1, 2))
    torch.testing.assert_close(result.scores, right.detach())
    result = attribute(tokens, images, "saliency", layer="norm", unit=1)
    places = tokens.patches(images.tensor).flatten(2).transpose(1, 2)
    right = tokens.norm(places)[..., 1].sum(1)
    torch.testing.assert_close(result.scores, right.detach())
    last = Through(lambda maps: maps.permute(0, 2, 3, 1)).eval()
    result = attribute(last, images, "saliency", layer="change", unit=1)
    right = last.pool(last.stem(images.tensor))[:, 1].sum((1, 2))
    torch.testing.assert_close(result.scores, right.detach())


class Recurrent(nn.Module):
    """Reads the places of a map one after the other; gives a tuple of two tensors at ``pair``."""

    def __init__(self, kind: type[nn.RNNBase], *, batch_first: bool, stride: int) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv = nn.Conv2d(3, 4, 4, stride)
        self.steps = kind(4, 6, batch_first=batch_first)
        self.pair = Function(lambda maps: (maps, maps.mean((2, 3))))

    def forward(self, images: Tensor) -> Tensor:
        maps, _ = self.pair(self.conv(images))
        steps = maps.flatten(2).permute((0, 2, 1) if self.steps.batch_first else (2, 0, 1))
        return self.steps(steps)[0].sum(1 if self.steps.batch_first else 0)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("stride", [4, 28])  # a grid of places, or a single step
def test_a_number_chooses_from_a_layer_that_gives_a_tuple(
    kind: type[nn.RNNBase], batch_first: bool, stride: int
) -> None:
    model, images = Recurrent(kind, batch_first=batch_first, stride=stride).eval(), blobs(3, 32)
    with torch.no_grad():
        right = model(images.tensor)
    result = attribute(model, images, "saliency", layer="steps", output=0, unit=2)
    torch.testing.assert_close(result.scores, right[:, 2])
    made = reconstruct(model, layer="steps", output=0, unit=2, size=32, steps=2)
    assert made.names == ("channel 2 of steps",)


def test_each_tensor_of_a_layer_can_be_chosen() -> None:
    model, images = Recurrent(nn.GRU, batch_first=True, stride=4).eval(), blobs(2, 32)
    maps = model.conv(images.tensor).detach()
    for output, right in ((0, maps.sum((2, 3))), (1, maps.mean((2, 3)))):
        result = attribute(model, images, "saliency", layer="pair", output=output, unit=1)
        torch.testing.assert_close(result.scores, right[:, 1])
    with pytest.raises(PFVValueError, match=r"^output=None: layer 'pair' gives several tensors"):
        attribute(model, images, "saliency", layer="pair")
    with pytest.raises(PFVValueError, match=r"^output='p': layer 'conv' gives one tensor"):
        attribute(model, images, "saliency", layer="conv", output="p")


def test_a_layer_of_features_has_its_features_as_units() -> None:
    model, images = tiny(), blobs(2)
    result = attribute(model, images, "saliency", layer="12", unit=6)
    right = model[:13](images.tensor).flatten(1)[:, 6]
    torch.testing.assert_close(result.scores, right.detach())


def test_units_that_are_given_are_kept_for_other_images() -> None:
    model, batch = tiny(), blobs(3).tensor
    with guarded(model) as network:
        measured = score_function(network, Target())(batch, torch.tensor([4, 0, 2]))
    right = model(batch)[torch.arange(3), torch.tensor([4, 0, 2])]
    torch.testing.assert_close(measured.scores, right.detach())


def test_gradient_leaves_grad_alone_and_images_may_be_rewritten_in_place() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3), nn.Flatten()).eval()
    batch = blobs(2, 8).tensor.requires_grad_()
    before = batch.detach().clone()
    with guarded(model) as network, torch.enable_grad():
        result = gradient(score_function(network, Target())(batch), batch)
    assert result.shape == batch.shape
    assert batch.grad is None
    assert model[1].weight.grad is None
    assert torch.equal(batch.detach(), before)


def test_network_made_under_inference_mode_is_a_named_error() -> None:
    with torch.inference_mode():
        model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    with pytest.raises(PFVValueError, match=r"inference_mode.*method='occlusion'"):
        attribute(model, blobs(2, 8), "saliency")


@pytest.mark.filterwarnings("ignore:torch.ao.quantization:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", [name for name, kind in METHODS.items() if kind.needs_gradient])
def test_quantised_network_is_a_named_error(method: str) -> None:
    quantised = torch.ao.quantization.quantize_dynamic(tiny(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(PFVValueError, match="no gradient reaches the images"):
        attribute(quantised, blobs(2), method)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_scripted_network_is_a_named_error() -> None:
    with pytest.raises(PFVTypeError, match="traced or scripted"):
        attribute(torch.jit.script(tiny()), blobs(2), "saliency")


class Two(nn.Module):
    """Takes a mask beside, or before, the images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, mask: Tensor, photo: Tensor, power: float = 1.0) -> Tensor:
        return (self.conv(photo * mask) ** power).relu().mean((2, 3))


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "guided_backprop"])
def test_other_inputs_are_given_by_name_one_row_an_image(method: str) -> None:
    model, images = Two().eval(), blobs(3, 16)
    mask = torch.zeros(3, 1, 16, 16)
    for index in range(3):
        mask[index, :, 4 * index : 4 * index + 6] = 1
    inputs = {"mask": mask, "power": 1.0}
    result = attribute(model, images, method, layer="conv", unit=1, inputs=inputs, argument="photo")
    right = model.conv(images.tensor * mask)[:, 1].sum((1, 2))
    torch.testing.assert_close(result.scores, right.detach())
    outside = (mask[:, 0] == 0) & (result.maps != 0)
    assert not outside.any()
    assert not hasattr(model, "network")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"inputs": [1]}, "inputs="),
        ({"argument": 3}, "argument=3"),
        ({"inputs": {"photo": 1}, "argument": "photo"}, "inputs has 'photo'"),
        ({"inputs": {"veil": 1}}, "veil"),
    ],
)
def test_other_inputs_that_do_not_fit_are_named(options: dict[str, Any], match: str) -> None:
    with pytest.raises(PFVError, match=match):
        attribute(Two(), blobs(2, 16), "saliency", **options)


class Pooling(nn.Module):
    """A fully convolutional classifier that ends in a mean; its ReLU runs twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.stem, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.relu(self.head(self.relu(self.stem(images)))).mean((2, 3))}


@pytest.mark.filterwarnings("ignore::pfv_widgets.errors.PFVWarning")
@pytest.mark.parametrize("method", ["saliency", "deconvnet", "guided_backprop"])
def test_signal_starts_from_the_map_that_an_output_is_the_mean_of(method: str) -> None:
    model, images = Pooling().eval(), blobs(3, 16)
    pooled = attribute(model, images, method, unit=[1, 0, 3], start="activation")
    inside = attribute(model, images, method, layer="relu#2", unit=[1, 0, 3], start="activation")
    positions = 14 * 14
    torch.testing.assert_close(pooled.maps, inside.maps / positions)
    torch.testing.assert_close(pooled.scores, attribute(model, images, unit=[1, 0, 3]).scores)
    plain = attribute(model, images, method, unit=[1, 0, 3]).maps
    assert not torch.allclose(plain / plain.amax(), pooled.maps / pooled.maps.amax(), atol=0.01)


def test_an_output_that_is_no_mean_of_maps_starts_with_one() -> None:
    for method in ("saliency", "guided_backprop"):
        even, own = (
            attribute(tiny(), blobs(2), method, unit=2, start=start).maps
            for start in ("even", "activation")
        )
        torch.testing.assert_close(even, own)
