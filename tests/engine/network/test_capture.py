from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.activity import channel_sum
from pfv_widgets.engine.network.capture import (
    before_each_leaf,
    capture,
    hooked,
    modules_by_name,
    run_captured,
)
from pfv_widgets.engine.network.feature_layout import Layout
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.progress import Cancelled
from pfv_widgets.errors import PFVValueError
from tests.networks import Tokens, blobs, counted, tiny

MAPS = (Layout(), None)


class Repeating(nn.Module):
    """One ReLU that runs three times."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.third = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.first(images))
        maps = self.relu(self.second(nn.functional.avg_pool2d(maps, 2)))
        return self.relu(self.third(maps))


def hooks_of(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


@torch.no_grad()
def test_map_before_an_in_place_relu_is_kept_as_it_was() -> None:
    network, images = tiny(inplace=True), blobs(2).tensor
    with capture(network, {"1": MAPS, "2": MAPS}, stop=False) as activations:
        network(images)
    assert torch.equal(activations["1"], network[:2](images))
    assert float(activations["1"].min()) < -0.1
    assert torch.equal(activations["2"], activations["1"].clamp_min(0))


def test_scores_of_a_map_before_an_in_place_relu_are_those_without_it() -> None:
    network, images = tiny(inplace=True), blobs(2)
    frame = PFV(network, images, device="cpu").render(layer="5")
    with torch.no_grad():
        maps = network[:6](images.tensor)
    assert float(maps.min()) < -0.1
    torch.testing.assert_close(frame.basis.mean, maps.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(frame.scores, frame.basis.project(maps), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_reduced_map_is_taken_at_once() -> None:
    network, images = tiny(inplace=True), blobs(2).tensor
    with capture(network, {"1": (Layout(), channel_sum)}, stop=False) as activations:
        network(images)
    assert torch.equal(activations["1"], channel_sum(network[:2](images)))


@torch.no_grad()
def test_pass_ends_once_all_is_seen_and_leaves_no_hook() -> None:
    network, images = tiny(), blobs(2).tensor
    with counted(*network) as calls:
        before = hooks_of(network)
        with capture(network, {"4": MAPS, "2": MAPS}) as activations:
            run_captured(lambda: network(images))
        assert hooks_of(network) == before
    assert calls == list(network[:5])
    assert set(activations) == {"2", "4"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_hooks_are_removed_after_an_error(error: type[BaseException]) -> None:
    network = tiny()
    everywhere = hooked(modules_by_name(network), lambda *_: None)
    for block, hooks in ((capture(network, {"4": MAPS}), 2), (everywhere, 16)):
        with pytest.raises(error):
            fail_within(block, network, hooks, error)
        assert hooks_of(network) == 0


def fail_within(
    block: AbstractContextManager[object],
    network: nn.Module,
    hooks: int,
    error: type[BaseException],
) -> None:
    with block:
        assert hooks_of(network) == hooks
        raise error


@torch.no_grad()
def test_each_pass_fills_the_results_anew() -> None:
    network, images = Repeating(), blobs(3).tensor
    with capture(network, {"relu#2": MAPS}) as activations:
        run_captured(lambda: network(images))
        first = activations["relu#2"]
        run_captured(lambda: network(images[:1]))
    assert first.shape == (3, 4, 16, 16)
    assert activations["relu#2"].shape == (1, 4, 16, 16)
    torch.testing.assert_close(activations["relu#2"], first[:1])


def test_module_that_runs_several_times_is_chosen_by_its_run() -> None:
    network, images = Repeating(), blobs(2)
    pfv = PFV(network, images, device="cpu")
    with pytest.raises(PFVValueError, match=r"runs 3 times .*'relu#1', 'relu#2', 'relu#3'"):
        pfv.render(layer="relu")
    with torch.no_grad():
        maps = network.first(images.tensor).relu()
        maps = network.second(nn.functional.avg_pool2d(maps, 2)).relu()
    frame = pfv.render(layer="relu#2")
    torch.testing.assert_close(frame.scores, frame.basis.project(maps), rtol=1e-3, atol=1e-4)
    assert frame.layer == "relu#2"


@pytest.mark.parametrize("extra", [0, 1, 5])
def test_tokens_are_decomposed_without_class_and_register_tokens(extra: int) -> None:
    network, images = Tokens(extra=extra), blobs(2, 32, 48)
    frame = PFV(network, images, device="cpu").render(layer="block")
    with torch.no_grad():
        patches = network.patches(images.tensor).permute(0, 2, 3, 1)
        expected = network.block(network.norm(patches)).permute(0, 3, 1, 2)
    assert frame.scores.shape == (2, 3, 8, 12)
    torch.testing.assert_close(frame.basis.mean, expected.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(frame.scores, frame.basis.project(expected), rtol=1e-3, atol=1e-4)


def test_channels_last_outputs_are_decomposed_along_their_channels() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 4, 4), _Permute(), nn.LayerNorm(8), nn.Linear(8, 8))
    images = blobs(2)
    frame = PFV(network, images, device="cpu").render(layer="3")
    with torch.no_grad():
        expected = network(images.tensor).permute(0, 3, 1, 2)
    torch.testing.assert_close(frame.basis.mean, expected.mean(dim=(0, 2, 3)))
    assert frame.scores.shape == (2, 3, 8, 8)


class _Permute(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value.permute(0, 2, 3, 1)


def test_layer_that_does_not_run_for_some_images_is_named() -> None:
    class Skipping(nn.Module):
        """Leaves its second convolution out for dark images."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.first(images)
            return self.second(maps) if float(images.mean()) > 0 else maps

    images = torch.rand(5, 3, 16, 16)
    images[4] *= -1
    pfv = PFV(Skipping(), images, device="cpu", chunk_size=2)
    with pytest.raises(PFVValueError, match="'second' did not run for the images from 4 on"):
        pfv.render(layer="second")


@pytest.mark.parametrize("error", [Cancelled(), KeyError("own")])
def test_what_is_raised_before_a_module_ends_the_block_whatever_the_network_makes_of_it(
    error: Exception,
) -> None:
    class Cautious(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            try:
                return super().forward(images)
            except Exception as reason:
                if isinstance(reason, KeyError):
                    return images
                raise ValueError("something is wrong") from reason

    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise error

    network, ended = Cautious(nn.Conv2d(3, 4, 3)).eval(), []

    def run_thrice() -> None:
        for _ in range(3):
            run_captured(lambda: network(torch.rand(1, 3, 8, 8)))
            ended.append(asked)

    with pytest.raises(type(error)) as raised, before_each_leaf(network, stop):
        run_thrice()
    assert raised.value is error
    assert ended == [1]
    assert not any(module._forward_pre_hooks for module in network.modules())
