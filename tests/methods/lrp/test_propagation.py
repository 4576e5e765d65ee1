"""Relevance at the level of operations: every form of them, and what it says of others."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows
from torch.utils.checkpoint import checkpoint
from torchvision import models

from pfv_widgets.errors import PFVError, PFVWarning
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.attribution.result import Attribution
from pfv_widgets.methods.lrp.relevance import Relevance
from tests.networks import Function, blobs, tiny
from tests.slow_oracles import agreement

warns = pytest.mark.filterwarnings("ignore::pfv_widgets.errors.PFVWarning")


def sums(result: Attribution) -> list[float]:
    shares: list[float] = (result.signed.double().flatten(1).sum(1) / result.scores).tolist()
    return shares


def around(
    change: Callable[[Tensor], Tensor], channels: int = 4, after: int | None = None
) -> nn.Sequential:
    """A convolution, any function of its map, another convolution and a dense layer."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), Function(change),
        nn.Conv2d(after or channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 3),
    ).eval()  # fmt: skip


def test_sum_splits_in_proportion_to_its_parts() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            out = self.conv(images)
            out += images
            return out[:, 0].flatten(1).sum(1, keepdim=True)

    model, images = Residual(), blobs(1, 4)
    result = attribute(model, images, "relevance", rule="epsilon", epsilon=0.0).signed[0]
    pixels = images.tensor[0]
    right = pixels * model.conv.weight[0, :, 0, 0].detach()[:, None, None]  # the branch's part
    right[0] += pixels[0]  # its own
    assert agreement(result, right) < 1e-5


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "function": F.relu,
    "method": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "checkpoint": lambda x: checkpoint(F.relu, x, use_reentrant=False),
}


@pytest.mark.parametrize("relu", ["backpropagation", "deconvnet", "guided"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_relu_gives_the_same_map(form: str, relu: str) -> None:
    images = blobs(2, 12)
    maps = [
        attribute(around(change), images, "relevance", relu=relu).signed
        for change in (FORMS[form], F.relu)
    ]
    assert torch.equal(*maps)


@warns
def test_guided_relevance_passes_what_is_positive_only() -> None:
    model, images = around(F.relu), blobs(2, 12)
    options = {"rule": "epsilon", "epsilon": 0.0, "unit": 0}
    result = attribute(model, images, "relevance", relu="guided", **options)
    again = attribute(model, images, "relevance", relu="deconvnet", **options)
    assert torch.equal(result.signed, again.signed)
    options["bias"] = "absorbed"
    plain = attribute(model, images, "relevance", **options)
    result = attribute(model, images, "relevance", relu="guided", **options)
    pixels = images.tensor.clone().requires_grad_()
    guided = copy.deepcopy(model)
    for module in guided:  # the rule by hand: signals below zero end at each ReLU
        if isinstance(module, nn.ReLU | Function):
            module.register_forward_hook(
                lambda _, __, out: out.register_hook(lambda signal: signal.clamp(min=0)) and None
            )
    guided(pixels)[:, 0].sum().backward()
    assert agreement(result.signed, pixels.grad * images.tensor) < 1e-5
    assert agreement(plain.signed, result.signed) > 0.1


@pytest.mark.parametrize(
    "change", [nn.ReLU6(), nn.ReLU6(inplace=True), lambda x: torch.clamp(x, 0, 6)]
)
def test_a_relu_with_an_upper_limit_passes_relevance_whole(
    change: Callable[[Tensor], Tensor],
) -> None:
    images = blobs(2, 12)
    model = around(lambda x: change(x * 20))  # most values lie above the limit
    result = attribute(model, images, "relevance")
    assert sums(result) == pytest.approx([1, 1], abs=1e-3)
    gradient = attribute(model, images, "gradient_times_input")
    assert agreement(gradient.signed, result.signed) > 0.5
    assert result.warnings == ()


def halves(maps: Tensor) -> Tensor:
    return torch.cat([maps[:, :2] * 2, F.avg_pool2d(maps[:, 2:], 3, 1, 1)], dim=1)


LINEAR: dict[str, Callable[[Tensor], Tensor]] = {
    "concatenation": halves,
    "maximum": lambda x: F.max_pool2d(x, 3, 2, 1),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 5),
    "interpolation": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "reflection": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "dropout": nn.Dropout2d(),
    "a constant": lambda x: x + 0.3,
    "a constant in place": lambda x: x.add_(0.3),
    "a constant taken away": lambda x: x - torch.linspace(0, 1, 4)[:, None, None],
    "transposed": nn.ConvTranspose2d(4, 4, 2, 2),
    "depthwise": nn.Conv2d(4, 4, 3, groups=4),
    "dilated": nn.Conv2d(4, 4, 3, dilation=2, padding="same"),
    "circular": nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    "batch statistics": nn.BatchNorm2d(4, track_running_stats=False),
    "preactivated": nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4), nn.ReLU()),
    "a dense layer at each place": lambda x: F.linear(
        x.movedim(1, -1), torch.eye(4) - 0.2, torch.ones(4)
    ).movedim(-1, 1),
    "weight norm": nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
}


@pytest.mark.parametrize("rule", ["epsilon", "alpha-beta"])
@pytest.mark.parametrize("name", LINEAR)
def test_linear_operations_and_maxima_keep_the_sum(name: str, rule: str) -> None:
    change = LINEAR[name]
    if isinstance(change, nn.Module):
        change = change.eval()
    size = 1 if name == "batch statistics" else 2  # else a warning says that images mix
    result = attribute(around(change), blobs(2, 12), "relevance", rule=rule, chunk_size=size)
    assert sums(result) == pytest.approx([1, 1], abs=1e-3)
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("change", "name"),
    [(nn.GELU(), "GELU × 1"), (nn.SiLU(), "SiLU × 1"), (nn.SiLU(inplace=True), "SiLU × 1"),
     (nn.Hardswish(inplace=True), "Hardswish × 1"), (nn.LeakyReLU(0.1, inplace=True), "LeakyReLU"),
     (nn.ELU(), "ELU × 1"), (nn.PReLU(), "PReLU × 1"), (nn.Tanh(), "Tanh × 1"),
     (nn.GroupNorm(2, 4), "statistics of GroupNorm count as constants"),
     (nn.LayerNorm(12), "statistics of LayerNorm count as constants"),
     (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), "a gate counts as a constant"),
     (lambda x: x * F.relu(x), "factors of a product get half each")],
)  # fmt: skip
def test_what_is_no_network_of_relus_passes_relevance_whole_and_is_told(
    change: Callable[[Tensor], Tensor], name: str
) -> None:
    with pytest.warns(
        PFVWarning, match=f"Not every operation is one of a network of ReLUs.*{name}"
    ):
        result = attribute(around(change), blobs(2, 12), "relevance", epsilon=0.0)
    assert sums(result) == pytest.approx([1, 1], abs=1e-3)
    assert len(result.warnings) == 1


@warns
@pytest.mark.parametrize(
    ("change", "name"),
    [(lambda x: x.softmax(1), "softmax × 1"), (torch.square, "Pow × 1"),
     (lambda x: x / x.norm(), "division by an activation × 1"),
     (lambda x: x @ x.transpose(2, 3), "product of matrices × 1"),
     (lambda x: F.scaled_dot_product_attention(x, x, x), "attention × 1")],
)  # fmt: skip
def test_operations_without_a_rule_are_named(change: Callable[[Tensor], Tensor], name: str) -> None:
    result = attribute(around(change), blobs(2, 12), "relevance")
    assert name in result.warnings[0]
    assert "gradient × input there" in result.warnings[0]


@warns
def test_layers_inside_a_scripted_part_are_told() -> None:
    inner = torch.jit.script(nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()).eval())
    result = attribute(around(inner), blobs(2, 12), "relevance")
    assert "1 layers lie inside traced, scripted or fused parts" in result.warnings[0]


def test_relevance_of_a_layer_inside_starts_with_its_activations() -> None:
    model, images = tiny(), blobs(2)
    result = attribute(model, images, "relevance", layer="6", unit=2)  # a ReLU with maps
    assert torch.equal(result.scores, model[:7](images.tensor)[:, 2].sum((1, 2)).detach())
    assert sums(result) == pytest.approx([1, 1], abs=1e-3)
    short = nn.Sequential(*model[:7], Function(lambda x: x.sum((2, 3))))
    right = attribute(short.eval(), images, "relevance", unit=2)
    assert agreement(result.signed, right.signed) < 1e-5


@warns
def test_a_first_layer_that_is_not_there_is_told() -> None:
    model = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    result = attribute(model.eval(), blobs(1, 12), "relevance", first="box")
    assert "first='box' found no layer that reads the pixels" in result.warnings[0]


def test_the_box_of_an_image_of_one_colour_is_finite() -> None:
    images = blobs(2, 12)
    images.tensor[0] = 0.5
    result = attribute(around(F.relu), images, "relevance", first="box")
    assert sums(result) == pytest.approx([1, 1], abs=1e-3)


def test_memory_efficient_densenet_gives_the_same_map() -> None:
    maps = []
    for efficient in (False, True):
        torch.manual_seed(0)
        model = models.DenseNet(8, (2, 2), 8, num_classes=4, memory_efficient=efficient).eval()
        maps.append(attribute(model, blobs(2, 32), "relevance").signed)
    assert torch.equal(*maps)


@pytest.mark.parametrize("learning", [True, False])
def test_other_inputs_count_as_constants(learning: bool) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.other, self.head = nn.Conv2d(3, 4, 3), nn.Linear(5, 4), nn.Linear(4, 2)

        def forward(self, images: Tensor, extra: Tensor) -> Tensor:
            return self.head(self.conv(images).relu().mean((2, 3)) + self.other(extra).relu())

    torch.manual_seed(0)
    model = Two().requires_grad_(learning).eval()
    result = attribute(model, blobs(2, 8), "relevance", inputs={"extra": torch.ones(2, 5)})
    assert sums(result) == pytest.approx([1, 1], abs=1e-3)
    assert all(one.requires_grad is learning for one in model.parameters())


def test_half_precision_sums_in_float32() -> None:
    model, images = around(F.relu), blobs(2, 12)
    right = attribute(model, images, "relevance")
    result = attribute(model.bfloat16(), images, "relevance")
    assert np.corrcoef(result.signed.flatten(), right.signed.flatten())[0, 1] > 0.98


def test_illegal_options_are_named() -> None:
    for option, value in {"rule": "lrp", "epsilon": -1, "alpha": 0.5, "bias": "lost"}.items():
        with pytest.raises(PFVError, match=option):
            Relevance(**{option: value})
