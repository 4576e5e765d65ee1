from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.pca.moments import Moments
from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from tests import slow_oracles
from tests.networks import Function, blobs, seeded, tiny

BAD = pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])


def activations(images: int = 3) -> list[Tensor]:
    shapes = [(images, 4, 20, 16), (images, 6, 10, 8), (images, 9, 5, 4)]
    return [torch.randn(shape, generator=seeded(i)) + 0.5 for i, shape in enumerate(shapes)]


def test_wide_activations_hold_few_gram_matrices_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.randn(60, 700, 4, 4, generator=seeded())
    at_once: list[int] = []
    of_maps = Moments.of_maps
    monkeypatch.setattr(Moments, "of_maps", lambda part: at_once.append(len(part)) or of_maps(part))
    frame = heatmaps_from_activations([maps], Settings(weighting="none"), size=(4, 4))
    assert max(at_once) * 700**2 <= 1 << 24
    vectors = maps.permute(0, 2, 3, 1).reshape(-1, 700).double()
    values = torch.linalg.svdvals(vectors - vectors.mean(0))[:3] ** 2 / len(vectors)
    torch.testing.assert_close(frame.basis.variances.double(), values, rtol=1e-4, atol=0)


def test_one_tensor_stands_for_a_list_of_one() -> None:
    maps = activations()[-1]
    expected, actual = heatmaps_from_activations([maps]), heatmaps_from_activations(maps)
    torch.testing.assert_close(actual.heatmaps, expected.heatmaps, rtol=0, atol=0)


def spoiling(network: nn.Sequential, step: int, image: int, bad: float) -> nn.Sequential:
    """Let one layer give one bad number in one image, whatever the chunks are."""
    marked = blobs(4).tensor[image]

    def spoil(maps: Tensor) -> Tensor:
        maps = maps.clone()
        for index, one in enumerate(seen[-1]):
            if torch.equal(one, marked):
                maps[index, 0, 1, 1] = bad
        return maps

    seen: list[Tensor] = []
    network.insert(step, Function(spoil))
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    return network


@pytest.mark.parametrize("weighting", ["none", "flat", "hierarchical"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_activations_give_the_picture_of_the_slow_oracle(weighting: str, number: int) -> None:
    maps = activations()
    settings = Settings(weighting=weighting, components=3, channels=tuple(range(3)))
    frame = heatmaps_from_activations(maps, settings, size=(24, 20))
    expected = slow_oracles.heatmaps(maps, frame.scores, weighting, (24, 20))
    np.testing.assert_allclose(frame.heatmaps, expected, atol=1e-4)

    fewer = Settings(weighting=weighting, components=number)
    fewer_frame = heatmaps_from_activations(maps, fewer, size=(24, 20))
    np.testing.assert_allclose(fewer_frame.scores, frame.scores[:, :number], atol=1e-4)


def test_channels_choose_and_order_what_is_painted() -> None:
    maps = activations()
    plain = heatmaps_from_activations(maps, Settings())
    permuted = heatmaps_from_activations(maps, Settings(channels=(2, 0, 1)))
    torch.testing.assert_close(permuted.heatmaps, plain.heatmaps[..., [2, 0, 1]])
    assert torch.equal(permuted.scores, plain.scores)


def test_size_is_that_of_the_first_activations_unless_given() -> None:
    assert heatmaps_from_activations(activations()).heatmaps.shape == (3, 20, 16, 3)
    assert heatmaps_from_activations(activations(), size=(7, 9)).heatmaps.shape == (3, 7, 9, 3)


def test_activations_are_left_as_they_were() -> None:
    maps = [one.requires_grad_() for one in activations()]
    before = [one.detach().clone() for one in maps]
    frame = heatmaps_from_activations(maps, Settings(weighting="gradual"))
    frame.heatmaps.zero_()
    frame.scores.zero_()
    assert all(torch.equal(a, b) for a, b in zip(maps, before, strict=True))
    assert all(one.grad is None for one in maps)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (torch.zeros(3, 4, 4), PFVValueError, r"activations\[0\] has shape \(3, 4, 4\)"),
        ([], PFVValueError, "activations is empty"),
        (None, PFVTypeError, "activations=None"),
        (3, PFVTypeError, "activations=3"),
        ([torch.zeros(1, 2, 3, 3, device="meta")], PFVError, "activations"),
        ([np.zeros((2, 3, 4, 4))], PFVTypeError, r"activations\[0\] is ndarray"),
        ([torch.zeros(2, 3, 4, 4).int()], PFVTypeError, r"activations\[0\] is torch.int32"),
        ([torch.zeros(3, 4, 4)], PFVValueError, r"activations\[0\] has shape \(3, 4, 4\)"),
        ([torch.zeros(0, 3, 4, 4)], PFVValueError, "no empty side"),
        ([torch.zeros(3, 3, 4, 4), torch.zeros(2, 3, 4, 4)], PFVValueError, "the same N"),
    ],
)
def test_activations_that_cannot_be_used_are_named(
    value: Any, kind: type[PFVError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        heatmaps_from_activations(value)


@pytest.mark.parametrize("value", [0.0, 5.0, -3e3])
def test_constant_activations_are_an_error(value: float) -> None:
    with pytest.raises(PFVValueError, match="the same activations at every position"):
        heatmaps_from_activations([torch.full((2, 5, 4, 4), value)])


@pytest.mark.parametrize(
    ("shape", "words"),
    [((2, 2, 4, 4), "has 2 channels .* at most 2"), ((1, 9, 1, 3), "3 positions in 1 image:.* 2")],
)
def test_fewer_channels_or_positions_than_components_are_told(
    shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(PFVValueError, match=rf"components=3, but activations {words}|{words}"):
        heatmaps_from_activations([torch.randn(shape)])


@BAD
def test_bad_number_in_the_layer_names_the_image_and_weight_0_helps(bad: float) -> None:
    network = spoiling(tiny(), 9, 2, bad)
    pfv = PFV(network, blobs(4), device="cpu")
    with pytest.raises(PFVValueError, match=r"layer='9' is NaN or infinite in image 2 .*weight 0"):
        pfv.render(layer="9")
    frame = pfv.render(layer="9", images=(1, 1, 0, 1))
    assert bool(torch.isfinite(frame.heatmaps).all())
    assert bool(torch.isfinite(frame.scores).all())
    alone = PFV(tiny(), blobs(4).subset([0, 1, 3]), device="cpu").render(layer="8")
    assert float((frame.heatmaps[[0, 1, 3]] - alone.heatmaps).abs().max()) < 1e-4


@BAD
@pytest.mark.parametrize("weighting", ["flat", "hierarchical", "gradual"])
def test_bad_number_in_an_earlier_layer_spoils_no_other_image(weighting: str, bad: float) -> None:
    clean = activations()
    spoilt = [one.clone() for one in clean]
    spoilt[1][2, 0, 3, 3] = bad
    frame = heatmaps_from_activations(spoilt, Settings(weighting=weighting))
    assert bool(torch.isfinite(frame.heatmaps).all())
    (warning,) = frame.warnings
    assert "activations[1] is NaN or infinite in image 3: it has no effect" in warning

    # the position has no effect, as it would where the layer is silent there
    silent = [one.clone() for one in clean]
    silent[1][2, :, 3, 3] = 0
    expected = heatmaps_from_activations(silent, Settings(weighting=weighting))
    torch.testing.assert_close(frame.heatmaps, expected.heatmaps)
    assert expected.warnings == ()
    assert heatmaps_from_activations(spoilt, Settings(weighting="none")).warnings == ()


def test_bad_number_in_an_earlier_layer_of_a_network_is_told() -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bad = Function(spoiled)
            self.down = nn.Conv2d(3, 6, 2, 2)

        def forward(self, images: Tensor) -> Tensor:
            self.bad(images)
            return self.down(images)

    def spoiled(images: Tensor) -> Tensor:
        marked = images[:, :1, :1, :1] == 7
        return torch.where(marked & (images == images.amax()), float("nan"), images)

    images, network = blobs(3), Split()
    plain = PFV(network, images, device="cpu").render(layer="down")
    assert plain.warnings == ()
    images.tensor[1, 0, 0, 0] = 7
    frame = PFV(network, images, device="cpu", chunk_size=1).render(layer="down")
    assert any("bad is NaN or infinite in image 2:" in warning for warning in frame.warnings)
    assert bool(torch.isfinite(frame.heatmaps).all())


def test_weighting_without_earlier_layers_is_told() -> None:
    (warning,) = heatmaps_from_activations(activations()[-1:]).warnings
    assert "weighting 'flat' does nothing" in warning


@pytest.mark.parametrize("weighting", ["flat", "hierarchical", "gradual"])
def test_silent_earlier_layer_weights_nothing_and_is_told(weighting: str) -> None:
    last = activations()[-1]
    settings = Settings(weighting=weighting)
    frame = heatmaps_from_activations([torch.zeros(3, 4, 8, 8), last], settings, size=(8, 8))
    plain = heatmaps_from_activations([last], Settings(weighting="none"), size=(8, 8))
    torch.testing.assert_close(frame.heatmaps, plain.heatmaps)
    (warning,) = frame.warnings
    assert warning.startswith("Without a part in the weighting: activations[0]. The channels add")


def test_all_images_broken_is_blamed_on_the_network_and_not_on_the_images() -> None:
    network = tiny()
    with torch.no_grad():
        network[0].weight.fill_(float("nan"))
    with pytest.raises(PFVValueError, match="check its weights") as excinfo:
        PFV(network, blobs(3), device="cpu").render()
    assert "weight 0" not in str(excinfo.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_activations_are_summed_in_float32(dtype: torch.dtype) -> None:
    early = (3600 * torch.rand(2, 512, 12, 12, generator=seeded())).to(dtype)
    last = (3600 * torch.rand(2, 512, 6, 6, generator=seeded(1))).to(dtype)
    frame = heatmaps_from_activations([early, last])
    exact = heatmaps_from_activations([early.float(), last.float()])
    assert frame.heatmaps.dtype == frame.scores.dtype == torch.float32
    torch.testing.assert_close(frame.heatmaps, exact.heatmaps)
    expected = slow_oracles.heatmaps([early.float(), last.float()], frame.scores, "flat", (12, 12))
    np.testing.assert_allclose(frame.heatmaps, expected, atol=1e-3)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float16, 0.01), (torch.bfloat16, 0.08)])
def test_network_in_half_precision_gives_nearly_the_picture_of_float32(
    dtype: torch.dtype, limit: float
) -> None:
    half = PFV(tiny().to(dtype), blobs(3), device="cpu").render()
    full = PFV(tiny(), blobs(3), device="cpu").render()
    signs = slow_oracles.aligned(half.scores, full.scores)
    assert (signs > 0).all()
    assert half.heatmaps.dtype == torch.float32
    assert float((half.heatmaps - full.heatmaps).abs().mean()) < limit


def test_double_precision_is_kept() -> None:
    maps = [one.double() for one in activations()]
    frame = heatmaps_from_activations(maps)
    assert frame.basis.components.dtype == torch.float64
    assert frame.heatmaps.dtype == torch.float32
    expected = slow_oracles.heatmaps(maps, frame.scores, "flat", (20, 16))
    np.testing.assert_allclose(frame.heatmaps, expected, atol=1e-9)
