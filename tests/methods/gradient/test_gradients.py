"""Integrated gradients, SmoothGrad and Grad-CAM against slow oracles of their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.errors import PFVTypeError, PFVValueError, PFVWarning
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.core.occluders import BASELINES
from tests.networks import blobs, tiny


def smooth(seed: int = 4) -> nn.Sequential:
    """A network without kinks, on which an integral converges quickly."""
    torch.manual_seed(seed)
    parts = [nn.Conv2d(3, 6, 3), nn.Softplus(), nn.Conv2d(6, 6, 3), nn.Tanh()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4)).eval()


def derivative(model: nn.Module, images: Tensor, units: Tensor) -> Tensor:
    pixels = images.clone().requires_grad_()
    model(pixels).gather(1, units[:, None]).sum().backward()
    assert pixels.grad is not None
    return pixels.grad


def test_saliency_is_the_gradient_and_its_map_the_largest_channel() -> None:
    model, images = tiny(), blobs(2)
    result = attribute(model, images, "saliency")
    right = derivative(model, images.tensor, result.units)
    torch.testing.assert_close(result.signed, right)
    torch.testing.assert_close(result.maps, right.abs().amax(1))


def test_gradient_times_input_is_their_product_summed_over_colours() -> None:
    model, images = tiny(), blobs(2)
    result = attribute(model, images, "gradient_times_input")
    right = derivative(model, images.tensor, result.units) * images.tensor
    torch.testing.assert_close(result.signed, right)
    torch.testing.assert_close(result.maps, right.sum(1))


@pytest.mark.parametrize("baseline", BASELINES)
def test_integrated_gradients_equal_a_slow_sum_and_add_up(baseline: str) -> None:
    model, images = smooth(), blobs(3, 20)
    result = attribute(model, images, "integrated_gradients", steps=24, baseline=baseline)
    start = BASELINES[baseline](images.tensor)
    slow = torch.zeros_like(start)
    for shares in ((torch.arange(400) + 0.5) / 400).split(40):
        on_the_way = start + shares[:, None, None, None, None] * (images.tensor - start)
        each = derivative(model, on_the_way.flatten(0, 1), result.units.repeat(40))
        slow += each.unflatten(0, (40, 3)).sum(0) / 400
    torch.testing.assert_close(result.signed, slow * (images.tensor - start), rtol=1e-3, atol=1e-5)
    rows = torch.arange(3)
    ways = model(images.tensor)[rows, result.units] - model(start)[rows, result.units]
    torch.testing.assert_close(result.signed.sum((1, 2, 3)), ways.detach(), rtol=1e-3, atol=1e-5)
    assert result.warnings == ()


def test_baselines_are_what_their_names_say() -> None:
    images = blobs(2, 24, 40).tensor
    assert not BASELINES["zero"](images).any()
    torch.testing.assert_close(
        BASELINES["own mean"](images)[1, :, 3, 5], images[1].mean((1, 2)), rtol=0, atol=1e-6
    )
    blurred = BASELINES["blurred"](images)
    assert blurred.shape == images.shape
    rough, calm = (float(one.diff(dim=3).abs().max()) for one in (images, blurred))
    assert 0 < calm < rough


def test_too_few_steps_are_told() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2), nn.Hardtanh(-30, 0.05)).eval()
    with torch.no_grad():
        model[1].weight.fill_(1.0)
        model[1].bias.fill_(-0.02)
    images = blobs(1, 8)
    images.tensor.abs_()
    with pytest.warns(PFVWarning) as record:
        attribute(model, images, "integrated_gradients", steps=2)
    assert any("adds up" in str(one.message) for one in record)


def test_smoothgrad_is_the_mean_of_gradients_under_seeded_noise() -> None:
    model, images = tiny(), blobs(3)
    result = attribute(model, images, "smoothgrad", samples=5, noise=0.2, seed=7)
    source = torch.Generator().manual_seed(7)
    span = images.tensor.flatten(1).amax(1) - images.tensor.flatten(1).amin(1)
    right = torch.zeros_like(images.tensor)
    for _ in range(5):
        noise = torch.randn(images.tensor.shape[1:], generator=source)
        noisy = images.tensor + 0.2 * span[:, None, None, None] * noise
        right += derivative(model, noisy, result.units) / 5
    torch.testing.assert_close(result.signed, right, rtol=1e-4, atol=1e-6)
    other = attribute(model, images, "smoothgrad", samples=5, noise=0.2, seed=8)
    assert not torch.allclose(result.signed, other.signed)
    calm = attribute(model, images, "smoothgrad", samples=2, noise=0.0)
    torch.testing.assert_close(calm.signed, attribute(model, images, "saliency").signed)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(("at", "until"), [("9", 10), ("4", 5), (None, 12)])
def test_grad_cam_weights_channels_by_their_mean_gradient(
    at: str | None, until: int, positive: bool
) -> None:
    model, images = tiny(inplace=True), blobs(3, 32, 48)
    result = attribute(model, images, "grad_cam", at=at, positive=positive)
    # the map as the layer gave it, before an operation in place
    maps = tiny(inplace=False)[:until](images.tensor).detach().requires_grad_()
    scores = tiny(inplace=False)[until:](maps).gather(1, result.units[:, None])
    (signal,) = torch.autograd.grad(scores.sum(), maps)
    weighted = torch.einsum("nc,nchw->nhw", signal.mean((2, 3)), maps.detach())[:, None]
    weighted = weighted.relu() if positive else weighted
    right = nn.functional.interpolate(weighted, (32, 48), mode="bilinear", align_corners=False)
    torch.testing.assert_close(result.maps, right[:, 0], rtol=1e-4, atol=1e-6)
    assert result.signed.shape == (3, 32, 48)


def test_grad_cam_of_a_unit_with_a_map_is_that_map() -> None:
    model, images = tiny(), blobs(2)
    result = attribute(model, images, "grad_cam", layer="4", unit=3, positive=False)
    own = model[:5](images.tensor)[:, 3:4].detach()
    right = nn.functional.interpolate(own, (32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(result.maps, right[:, 0])


def test_grad_cam_names_a_layer_that_is_unknown_or_too_late() -> None:
    with pytest.raises(PFVValueError, match=r"at='99' is not in this network"):
        attribute(tiny(), blobs(2), "grad_cam", at="99")
    with pytest.raises(PFVValueError, match=r"at='9' runs after the target's layer '4'"):
        attribute(tiny(), blobs(2), "grad_cam", at="9", layer="4")
    with pytest.raises(PFVTypeError, match="at=9"):
        attribute(tiny(), blobs(2), "grad_cam", at=9)


@pytest.mark.parametrize("method", ["saliency", "deconvnet", "guided_backprop"])
def test_a_unit_with_a_map_may_start_with_its_own_activation(method: str) -> None:
    torch.manual_seed(6)
    below = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3)).eval()
    model = nn.Sequential(*below, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    images = blobs(2)
    result = attribute(model, images, method, layer="2", unit=3, start="activation")
    even = attribute(model, images, method, layer="2", unit=3)
    torch.testing.assert_close(result.scores, even.scores)
    seen = below[0](images.tensor)
    own = torch.zeros_like(below(images.tensor))
    own[:, 3] = below(images.tensor)[:, 3]
    signal = torch.nn.functional.conv_transpose2d(own, below[2].weight)
    passed = {"saliency": seen > 0, "deconvnet": signal > 0}
    gate = passed.get(method, (seen > 0) & (signal > 0))
    right = torch.nn.functional.conv_transpose2d(signal * gate, below[0].weight)
    torch.testing.assert_close(result.signed, right.detach(), rtol=1e-4, atol=1e-5)
    assert (result.maps - even.maps).abs().max() > 0.1 * result.maps.max()


def test_an_unknown_start_is_named() -> None:
    with pytest.raises(PFVValueError, match=r"start='zeros'.*even"):
        attribute(tiny(), blobs(1), "deconvnet", start="zeros")
