"""Figures and files of attributions, and what is told beside them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pfv_widgets as pw
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, PFVWarning
from pfv_widgets.methods.attribution.colours import heatmap_colours, limits
from pfv_widgets.methods.gradient.backprop import Saliency
from tests.networks import blobs, tiny


def test_attribute_is_public_and_takes_what_load_images_takes() -> None:
    result = pw.attribute(tiny(), blobs(2).tensor, method=Saliency())
    assert isinstance(result, pw.Attribution)
    assert result.method == "saliency"
    assert "2 images of 32 × 32 pixels, saliency of the output" in repr(result)
    with pytest.raises(PFVTypeError, match=r"use dataclasses\.replace"):
        pw.attribute(tiny(), blobs(2), method=Saliency(), steps=3)


def test_half_precision_and_frozen_networks_are_explained() -> None:
    model, images = tiny().requires_grad_(False), blobs(2)
    right = pw.attribute(model, images, "saliency")
    half = pw.attribute(tiny().to(torch.bfloat16), images, "saliency")
    assert half.signed.dtype == torch.float32
    assert torch.corrcoef(torch.stack([half.maps.flatten(), right.maps.flatten()]))[0, 1] > 0.9


def test_a_signal_that_dies_on_the_way_is_told() -> None:
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 1)).eval()
    with torch.no_grad():
        model[3].weight.fill_(-1.0)
    with pytest.warns(PFVWarning, match=r"zero everywhere in 2 of 2 images"):
        result = pw.attribute(model, blobs(2, 8), "deconvnet")
    assert not result.maps.any()
    result.figure()
    images = blobs(3, 8)
    images.tensor[1] = torch.nan
    with (
        pytest.warns(PFVWarning, match=r"NaN .* in 1 of 3 images \(image 2\)"),
        pytest.warns(PFVWarning, match=r"zero everywhere in 2 of 3 images \(image 1, image 3\)"),
    ):
        pw.attribute(model, images, "deconvnet")


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_an_attribution_is_copied_and_pickled(again: Callable[[Any], Any]) -> None:
    result = pw.attribute(tiny(), blobs(2), "occlusion")
    new = again(result)
    assert torch.equal(new.maps, result.maps)
    assert new.options == result.options
    assert (new.target, new.names, new.details) == (result.target, result.names, result.details)


@pytest.mark.parametrize("method", ["guided_backprop", "gradient_times_input"])
@pytest.mark.parametrize("suffix", ["png", "svg", "npz"])
def test_attribution_is_saved(method: str, suffix: str, tmp_path: Path) -> None:
    images = dataclasses.replace(blobs(3, 24, 40), names=("a$b$", "x\n\x07y", "日本" * 40))
    result = pw.attribute(tiny(), images, method)
    path = tmp_path / f"maps.{suffix}"
    result.save(path)
    if suffix == "npz":
        arrays = np.load(path)
        assert np.array_equal(arrays["signed"], result.signed.numpy())
        assert set(arrays) == {"maps", "signed", "scores", "units", "names"}
    elif suffix == "png":
        assert len(np.unique(np.asarray(Image.open(path).convert("L")))) > 50
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_figure_shows_each_photo_beside_its_map(tmp_path: Path) -> None:
    result = pw.attribute(tiny(), blobs(3, 24, 40), "saliency")
    tiles = [axis.images[0].get_array() for axis in result.figure().axes[:3]]
    for tile, photo, colours in zip(
        tiles, result.pixels, heatmap_colours(result.maps), strict=True
    ):
        assert np.allclose(tile[:, :40], photo / 255)
        assert np.allclose(tile[:, 40:], colours)
    assert len(result.figure(columns=1).axes) == 4
    for columns in (0, 1.5, True):
        with pytest.raises(PFVError, match="columns="):
            result.figure(columns=columns)  # type: ignore[arg-type]
    with pytest.raises(PFVValueError, match=r"\.npz"):
        result.save(tmp_path / "maps.txt")


def test_what_a_map_depends_on_is_printed_and_stands_below_the_figure() -> None:
    images = blobs(2)
    for method, options, words in (
        ("occlusion", {"size": 8, "stride": 4}, "boxes of 8 × 8 every 4 × 4 pixels"),
        ("occlusion", {"size": 8, "stride": 4}, "the sum of the score's drops under up to 4 boxes"),
        ("relevance", {"rule": "epsilon", "epsilon": 0.25}, "ε 0.25"),
        ("integrated_gradients", {"steps": 9}, "9 steps"),
    ):
        result = pw.attribute(tiny(), images, method, **options)
        assert words in repr(result)
        assert words in " ".join(result.details)
        foot = " ".join(one.get_text() for one in result.figure().texts).replace("\n", " ")
        assert words in foot


def test_images_that_are_not_there_are_named() -> None:
    result = pw.attribute(tiny(), blobs(3), "saliency")
    for rows in ([2, 0], np.array([2, 0]), torch.tensor([2, 0]), (-1, 0)):
        some = result.of(rows)
        assert torch.equal(some.maps, result.maps[[2, 0]])
        assert some.names == (result.names[2], result.names[0])
    for images, error in (
        ([5], PFVValueError), ([-4], PFVValueError), ([], PFVValueError), ([1.5], PFVTypeError),
        ("1", PFVTypeError), (1, PFVTypeError), ([True, False, True], PFVTypeError),
    ):  # fmt: skip
        with pytest.raises(error, match=r"images=.*whole numbers from 0 to 2"):
            result.of(images)  # type: ignore[arg-type]


def test_grey_networks_are_explained_behind_a_mean_of_the_channels() -> None:
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = blobs(2, 16)
    for call in (
        lambda: pw.attribute(grey, images, "saliency"),
        lambda: pw.PFV(grey, images),
        lambda: pw.reconstruct(grey, unit=1, size=16, steps=1),
    ):
        with pytest.raises(PFVValueError, match=r"takes one channel") as one:
            call()
    fix = str(one.value).rpartition("first: ")[2].rstrip(".")
    network = eval(fix, {"nn": nn, "model": grey})
    result = pw.attribute(network, images, "saliency", unit=1)
    right = grey(images.tensor.mean(1, keepdim=True))[:, 1].detach()
    torch.testing.assert_close(result.scores, right)
    with pytest.raises(PFVValueError, match=r"expand\(-1, 3, -1, -1\).*AvgPool3d"):
        pw.attribute(grey, images.tensor[:, :1], "saliency")
    three = images.tensor[:, :1].expand(-1, 3, -1, -1)
    result = pw.attribute(network, three, "saliency", unit=1)
    torch.testing.assert_close(result.scores, grey(images.tensor[:, :1])[:, 1].detach())


class LeavesEvaluation(nn.BatchNorm2d):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        self.training = True
        return super().forward(maps)


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(8, track_running_stats=False), LeavesEvaluation(8)]
)
def test_a_network_whose_maps_depend_on_the_chunk_says_so(norm: nn.Module) -> None:
    model, images = tiny(), blobs(4)
    model[1] = norm.eval()
    with pytest.warns(PFVWarning, match=r"^1 normalises by all images .* chunk_size"):
        together = pw.attribute(model, images, "saliency", unit=1)
    assert len(together.warnings) == 1
    alone = pw.attribute(model, images, "saliency", unit=1, chunk_size=1)
    assert not torch.allclose(alone.maps, together.maps, rtol=0.01)
    first = pw.attribute(model, images.tensor[:1], "saliency", unit=1)
    torch.testing.assert_close(alone.maps[:1], first.maps)


def test_colours_follow_the_values() -> None:
    maps = torch.zeros(2, 20, 20)
    maps[0, 3, 4] = 2.0  # less than 0.5 % of the pixels: the largest is the end
    maps[1] = torch.arange(400.0).reshape(20, 20)
    assert limits(maps)[0] == 2.0
    assert float(limits(maps)[1]) == pytest.approx(0.995 * 399, rel=1e-3)
    positive = heatmap_colours(maps)
    assert np.allclose(positive[0, 0, 0], positive[1, 0, 0])  # nothing is the same everywhere
    brightness = positive[1].sum(-1).ravel()
    assert (np.diff(brightness[::40]) > 0).all()
    both = heatmap_colours(torch.stack([maps[1] - 200, 200 - maps[1]]))
    assert both[0, 0, 0, 2] > both[0, 0, 0, 0]  # against: blue
    assert both[1, 0, 0, 0] > both[1, 0, 0, 2]  # for: red
