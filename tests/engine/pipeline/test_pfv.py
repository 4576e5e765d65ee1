from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pfv_widgets.engine.network import capture_layers, forward
from pfv_widgets.engine.network.capture_layers import images_at_once
from pfv_widgets.engine.pipeline import cache as caches
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from tests.engine.pipeline.conftest import same
from tests.networks import blobs, counted, tiny


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the stages that computed something, in order of their ends."""
    computed: list[str] = []
    get = caches.ByteBoundedCache.get

    def spied(self: caches.ByteBoundedCache, key: Any, make: Any) -> Any:
        def noted() -> Any:
            value = make()
            computed.append(key[0])
            return value

        return get(self, key, noted)

    monkeypatch.setattr(caches.ByteBoundedCache, "get", spied)
    return computed


def test_frame_has_the_size_of_the_images_and_tells_where_it_is_from(pfv: PFV) -> None:
    frame = pfv.render(components=4)
    assert frame.heatmaps.shape == (4, 32, 32, 3)
    assert frame.heatmaps.dtype == torch.float32
    assert bool(((frame.heatmaps >= 0) & (frame.heatmaps <= 1)).all())
    assert frame.scores.shape == (4, 4, 8, 8)
    assert frame.basis.components.shape == (4, 8)
    assert frame.layer == frame.basis.layer == pfv.default_layer
    assert frame.pixels is pfv.images.pixels
    assert frame.names == pfv.images.names
    assert frame.settings == Settings(components=4, layer=pfv.default_layer)


@pytest.mark.parametrize("weighting", ["none", "flat", "hierarchical"])
def test_frame_is_that_of_the_activations_caught_by_hand(
    network: nn.Sequential, weighting: str
) -> None:
    images = blobs(3, 32, 40)
    actual = PFV(network, images, device="cpu").render(layer="8", weighting=weighting)
    with torch.no_grad():
        first = network[:3](images.tensor)
        second = network[3:7](first)
        last = network[7:9](second)
    expected = heatmaps_from_activations(
        [first, second, last], Settings(weighting=weighting), size=(32, 40)
    )
    same(actual, expected, 1e-4)


@pytest.mark.parametrize(
    ("changes", "below"),
    [
        ({"opacity": 0.1}, []),
        ({"view": "photo"}, []),
        ({"sigma": 2.0}, []),
        ({"colour_map": "safe"}, []),
        ({"normalisation": "component"}, []),
        ({"channels": (2, 1, 0)}, []),
        ({"weighting": "hierarchical"}, ["factors", "pixel_sums"]),
        ({"weighting": "gradual"}, ["brightness", "factors", "pixel_sums"]),
        ({"components": 5}, ["basis", "projections", "scores"]),
        ({"images": (1, 0, 2, 1)}, ["basis", "projections", "scores"]),
        (
            {"layer": "4"},
            ["captured", "moments", "basis", "projections", "scores", "factors", "pixel_sums"],
        ),
    ],
)
def test_change_runs_the_stages_below_it_and_nothing_above(
    network: nn.Sequential, pfv: PFV, stages: list[str], changes: dict[str, Any], below: list[str]
) -> None:
    settings = Settings()
    pfv.render(settings)
    every = {"captured", "moments", "basis", "projections", "scores", "factors", "pixel_sums"}
    assert set(stages) == every
    stages.clear()
    with counted(network) as passes:
        pfv.render(replace(settings, **changes))
    assert stages == below
    assert len(passes) == ("captured" in below)


def test_going_back_to_what_was_shown_computes_nothing(pfv: PFV, stages: list[str]) -> None:
    first = pfv.render()
    pfv.render(layer="4")
    pfv.render(images=(1, 1, 1, 0))
    stages.clear()
    assert torch.equal(pfv.render().heatmaps, first.heatmaps)
    assert stages == []


def test_new_layer_takes_one_forward_pass_that_ends_at_the_layer(
    network: nn.Sequential, pfv: PFV
) -> None:
    with counted(*network) as calls:
        pfv.render(layer="5")
    assert list(map(repr, calls)) == list(map(repr, network[:6]))  # those of a replica


def test_every_chunk_is_one_forward_pass_and_changes_nothing(network: nn.Sequential) -> None:
    images = blobs(5)
    frames = []
    for chunk_size, passes in ((1, 3), (2, 2), (5, 1), (64, 1)):  # the listing ran two of five
        pfv = PFV(network, images, device="cpu", chunk_size=chunk_size)
        with counted(network) as calls:
            frames.append(pfv.render())
        assert len(calls) == passes
    for frame in frames[1:]:
        same(frame, frames[0])


def test_images_with_large_maps_run_few_at_a_time_with_the_same_result(
    network: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, passes = blobs(7), []
    expected = PFV(network, images, device="cpu").render()
    fitted = fit_basis(network, [images.tensor], device="cpu", progress=False)
    monkeypatch.setattr(capture_layers, "_CACHED", 1)
    network.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
    actual = PFV(network, images, device="cpu").render()
    assert passes == [2, 2, 2, 1]  # the first two are those that the layers were listed with
    torch.testing.assert_close(actual.heatmaps, expected.heatmaps, rtol=0, atol=1e-5)
    in_parts = fit_basis(network, [images.tensor], device="cpu", progress=False)
    torch.testing.assert_close(in_parts.variances, fitted.variances)
    layers = PFV(network, images, device="cpu").layers
    assert images_at_once(layers, torch.device("cpu"), 16) == 2
    assert images_at_once(layers, torch.device("cuda"), 16) == 16


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *(("chunk_size", one, ".*a whole number from 1") for one in (0, -1, 1.5, True, "2")),
        ("memory", -1, ""),
        ("memory", 0.5, ""),
        ("progress", 3, ""),
    ],
)
def test_arguments_are_checked_at_once(
    network: nn.Sequential, name: str, value: Any, words: str
) -> None:
    with pytest.raises(PFVError, match=f"{name}={words}"):
        PFV(network, blobs(1), device="cpu", **{name: value})


@pytest.mark.parametrize("memory", [0, 20_000])
def test_little_memory_gives_the_same_pictures_within_its_bound(
    network: nn.Sequential, memory: int
) -> None:
    images = blobs(4)
    rich, poor = (PFV(network, images, device="cpu", memory=m) for m in (2 << 30, memory))
    for changes in ({}, {"layer": "4"}, {"components": 5}, {"images": (1, 0, 1, 1)}, {}):
        same(poor.render(**changes), rich.render(**changes))
        assert poor.store.cache.nbytes <= memory or len(poor.store.cache) == 1
    assert rich.store.cache.nbytes > 20_000


def test_closing_frees_all_and_the_next_picture_is_the_same(pfv: PFV) -> None:
    before = pfv.render()
    pfv.close()
    assert (len(pfv.store.cache), pfv.store.cache.nbytes) == (0, 0)
    same(pfv.render(), before)


def test_ready_is_a_layer_whose_maps_are_kept(pfv: PFV) -> None:
    assert not pfv.is_ready(None)
    pfv.render()
    assert pfv.is_ready(None)
    assert pfv.is_ready(pfv.default_layer)
    assert not pfv.is_ready("4")


def test_layers_around_one_come_with_its_pass_and_give_the_same_pictures(
    network: nn.Sequential,
) -> None:
    plain = PFV(network, blobs(4), "cpu")
    pfv = PFV(network, blobs(4), "cpu", memory=12 * 4 * 4 * 8 * 16**2)  # a quarter: 3 such
    soon: list[bool] = []
    with counted(network) as passes:
        pfv.capture(
            "4", before="3", on_progress=lambda _: soon.append(pfv.is_ready("5", soon=True))
        )
        ready = {layer.name for layer in pfv.layers if pfv.is_ready(layer.name)}
        frames = [pfv.render(layer=name) for name in ("5", "4")]
    assert len(passes) == 1
    assert any(soon)
    assert ready == {"4", "5", "6"}
    assert pfv.store.cache.nbytes <= pfv.store.cache.limit
    assert not pfv.is_ready("8", soon=True)
    for frame in frames:
        expected = plain.render(layer=frame.layer)
        assert torch.equal(frame.heatmaps, expected.heatmaps)
        assert torch.equal(frame.scores, expected.scores)


def test_size_is_that_of_the_heatmaps_alone(pfv: PFV) -> None:
    frame = pfv.render(size=(20, 50))
    assert frame.heatmaps.shape == (4, 20, 50, 3)
    assert frame.scores.shape == pfv.render().scores.shape


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (3, PFVTypeError),
        ((3,), PFVTypeError),
        ((2.5, 3), PFVTypeError),
        ((0, 3), PFVValueError),
        ((9000, 3), PFVValueError),
    ],
)
def test_size_that_cannot_be_used_is_named(pfv: PFV, size: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"size="):
        pfv.render(size=size)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": (1, 1)}, "2 weights for a batch of 4 images"),
        ({"images": (0, 0, 0, 0)}, "every weight is 0"),
        ({"components": 9}, "has 8 channels and .* choose at most 8"),
        ({"layer": "conv1"}, "'conv1' is not in this network"),
        ({"colormap": "rgb"}, "Did you mean 'colour_map'"),
    ],
)
def test_failure_is_named_and_loses_nothing_that_was_kept(
    network: nn.Sequential, pfv: PFV, changes: dict[str, Any], words: str
) -> None:
    before = pfv.render()
    with counted(network) as passes:
        with pytest.raises((PFVValueError, PFVTypeError), match=words):
            pfv.render(**changes)
        assert torch.equal(pfv.render().heatmaps, before.heatmaps)
    assert passes == []


def test_one_image_that_is_not_square_gives_a_picture(network: nn.Sequential) -> None:
    frame = PFV(network, blobs(1, 24, 56), device="cpu").render(components=1, colour_map="safe")
    assert frame.heatmaps.shape == (1, 24, 56, 3)
    assert float(frame.heatmaps.std()) > 0.05


def test_layer_of_one_channel_gives_one_component() -> None:
    pfv = PFV(nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU()), blobs(1), device="cpu")
    assert float(pfv.render(layer="0", components=1).heatmaps.std()) > 0.05
    with pytest.raises(PFVValueError, match=r"has 1 channel and .*at most 1, or another layer"):
        pfv.render(layer="0")


def test_components_are_bounded_by_the_positions_of_the_images_with_a_weight() -> None:
    network = nn.Sequential(nn.Conv2d(3, 9, 16, 16), nn.ReLU())
    pfv = PFV(network, blobs(2), device="cpu")
    assert pfv.render(layer="0", components=7).scores.shape == (2, 7, 2, 2)
    with pytest.raises(PFVValueError, match="in 1 image: choose at most 3, another layer, or"):
        pfv.render(layer="0", components=4, images=(1, 0))


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_layer_is_an_error_that_says_so(value: float) -> None:
    convolution = nn.Conv2d(3, 4, 1)
    nn.init.zeros_(convolution.weight)
    nn.init.constant_(convolution.bias, value)
    pfv = PFV(nn.Sequential(convolution, nn.Tanh()), blobs(2), device="cpu")
    with pytest.raises(
        PFVValueError, match=r"layer='0' has the same activations at every position"
    ):
        pfv.render(layer="0")


def test_images_are_loaded_where_no_batch_is_given(network: nn.Sequential) -> None:
    arrays = (np.random.default_rng(0).random((2, 40, 40, 3)) * 255).astype(np.uint8)
    assert PFV(network, arrays, device="cpu").render().heatmaps.shape == (2, 224, 224, 3)


def test_images_seen_while_listing_layers_are_not_run_again(network: nn.Sequential) -> None:
    pfv = PFV(network, blobs(2), device="cpu")
    with counted(network) as calls:
        first = pfv.render()
        assert len(calls) == 0
        pfv.close()
        again = pfv.render()
        assert len(calls) == 1
    torch.testing.assert_close(first.heatmaps, again.heatmaps)


def test_weights_changed_since_the_layers_were_listed_are_seen(network: nn.Sequential) -> None:
    images = blobs(3)
    pfv = PFV(network, images, device="cpu")
    with torch.no_grad():
        network[0].weight.mul_(-1)
    fresh = PFV(network, images, device="cpu").render()
    torch.testing.assert_close(pfv.render().heatmaps, fresh.heatmaps)


def test_detail_is_that_of_the_layers_that_the_network_has_now(
    network: nn.Sequential, pfv: PFV
) -> None:
    assert pfv.detail(None, "flat") == 32
    network[0].stride = (2, 2)
    assert pfv.detail(None, "flat") == 16


def test_channels_last_changes_nothing_and_autocast_little() -> None:
    network, images = tiny(), blobs(6)
    plain = PFV(network, images, "cpu", channels_last=False).render(weighting="none")
    last = PFV(network, images, "cpu", channels_last=True).render(weighting="none")
    torch.testing.assert_close(last.heatmaps, plain.heatmaps, rtol=0, atol=1e-4)
    short = PFV(network, images, "cpu", autocast=True).render(weighting="none")
    assert short.scores.dtype == torch.float32
    off = (short.scores - plain.scores).norm() / plain.scores.norm()
    assert 1e-4 < float(off) < 2e-2  # it did compute in 8 bits


class Viewing(nn.Module):
    """Norms that look at all channels and positions in a row, as older networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm = tiny()[:11], nn.LayerNorm(8 * 8 * 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.body(images)
        return self.norm(maps.view(len(maps), -1)).view_as(maps)


@pytest.mark.parametrize("channels_last", [None, True, False])
@pytest.mark.parametrize("view", [False, True])
def test_network_gets_channels_last_on_a_processor_where_it_takes_them_so(
    channels_last: bool | None, view: bool
) -> None:
    network, images, strides = Viewing().eval() if view else tiny(), blobs(5), []
    expected = PFV(network, images, "cpu", channels_last=False).render()
    network.register_forward_pre_hook(lambda _, inputs: strides.append(inputs[0].stride(1) == 1))
    frame = PFV(network, images, "cpu", channels_last=channels_last).render()
    tried, used = channels_last is not False, channels_last is not False and not view
    assert strides == [tried, *[False] * (view and tried), used]
    torch.testing.assert_close(frame.heatmaps, expected.heatmaps, rtol=0, atol=1e-5)


class Striding(nn.Module):
    """Every second row and column by strides, as if channels were never last."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.grid = tiny()[:11], nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.body(images)
        return self.grid(torch.as_strided(maps, (len(maps), 8, 4, 4), (512, 64, 16, 2)))


def test_network_that_counts_on_strides_gets_the_format_that_it_was_written_for() -> None:
    network, images = Striding().eval(), blobs(5)
    shown = PFV(network, images, "cpu").render(weighting="none")
    right = PFV(network, images, "cpu", channels_last=False).render(weighting="none")
    assert torch.equal(shown.heatmaps, right.heatmaps)
    wrong = PFV(network, images, "cpu", channels_last=True).render(weighting="none")
    assert float((wrong.heatmaps - right.heatmaps).abs().max()) > 0.1


NO_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError("Unable to allocate 9 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
)


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_half_of_the_images_run_at_a_time_where_memory_runs_out_and_that_is_said(
    error: Exception,
) -> None:
    class Small(nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if len(images) > 3:
                raise error
            return super().forward(images)

    network, images = tiny(), blobs(11)
    frame = PFV(Small(*network).eval(), images, "cpu").render()
    assert frame.warnings == ("Memory ran out: images run 2 at a time.",)
    expected = PFV(network, images, "cpu").render()
    torch.testing.assert_close(frame.heatmaps, expected.heatmaps, rtol=0, atol=1e-4)


def test_memory_error_in_a_model_is_told_as_such() -> None:
    class Greedy(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise MemoryError

    with pytest.raises(PFVValueError, match="chunk_size"):
        PFV(Greedy(), blobs(2), device="cpu")


def test_first_layer_comes_alone_where_memory_runs_out_for_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, images = tiny(), blobs(4)
    pfv, plain = (PFV(network, images, "cpu") for _ in range(2))
    left, frame = [2 * 4 * 24 * 16**2], plain.render(layer="5")  # numbers: for one layer

    def allocate(like: torch.Tensor, *shape: int) -> torch.Tensor:
        left[0] -= math.prod(shape)
        if left[0] < 0:
            left[0] = 1 << 30  # what was allocated is given back
            raise NO_MEMORY[2]
        return like.new_empty(*shape)

    monkeypatch.setattr(forward, "large_empty", allocate)
    pfv.capture("5", before="4")
    assert left[0] > 1 << 20  # it ran out
    assert pfv.is_ready("5")
    assert not pfv.is_ready("6")
    result = pfv.render(layer="5")
    assert result.warnings == frame.warnings  # no image runs later: nothing to say
    assert torch.equal(result.heatmaps, frame.heatmaps)
