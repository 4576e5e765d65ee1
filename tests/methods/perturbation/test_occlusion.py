"""Occlusion against its definition, written slowly, and against captum."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision import transforms

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.errors import PFVTypeError, PFVValueError, PFVWarning
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.core.method import CancelledError
from pfv_widgets.methods.core.occluders import OCCLUDERS, OccluderOptions
from pfv_widgets.methods.perturbation import occluded_scores
from pfv_widgets.methods.perturbation.incremental_inference import Window
from pfv_widgets.methods.perturbation.occlusion import Occlusion
from pfv_widgets.methods.perturbation.sliding_windows import heat, normalised, sliding_boxes
from tests.networks import Function, blobs, tiny

# photos of which all colours are known, normalised as ImageNet's are
MEANS, DEVIATIONS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def photos(count: int, height: int = 24, width: int = 32) -> ImageBatch:
    source = np.random.default_rng(0)
    coarse = torch.from_numpy(source.uniform(0, 255, (count, 3, 4, 4)))
    fine = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return load_images(
        fine.permute(0, 2, 3, 1).round().numpy().astype(np.uint8), size=(height, width)
    )


def slow(
    model: nn.Module, images: Tensor, size: tuple[int, int], stride: tuple[int, int], fill: float
) -> tuple[Tensor, Tensor]:
    """Heat and cover of each pixel, box by box and pixel by pixel."""
    height, width = images.shape[2:]
    scores = model(images).detach()
    units = scores.argmax(1)
    result, cover = torch.zeros(len(images), height, width), torch.zeros(height, width)
    top = 0
    while True:
        left = 0
        while True:
            rows = range(top, min(top + size[0], height))
            columns = range(left, min(left + size[1], width))
            for image in range(len(images)):
                hidden = images[image : image + 1].clone()
                for row in rows:
                    for column in columns:
                        hidden[0, :, row, column] = fill
                unit = units[image]
                drop = float((scores[image, unit] - model(hidden)[0, unit]).detach())
                for row in rows:
                    for column in columns:
                        result[image, row, column] += drop
            for row in rows:
                for column in columns:
                    cover[row, column] += 1
            if left + size[1] >= width:
                break
            left += stride[1]
        if top + size[0] >= height:
            return result, cover
        top += stride[0]


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize(("size", "stride"), [((8, 8), (8, 8)), ((7, 10), (5, 3))])
def test_heat_is_the_sum_of_the_drops_of_the_boxes_that_cover_a_pixel(
    size: tuple[int, int], stride: tuple[int, int], mean: bool
) -> None:
    model, images = tiny(), blobs(2, 16, 24)
    result = attribute(model, images, "occlusion", size=size, stride=stride, fill="zero", mean=mean)
    right, cover = slow(model, images.tensor, size, stride, 0.0)
    right = right / cover if mean else right
    torch.testing.assert_close(result.maps, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), [((8, 8), (4, 4)), ((9, 6), (5, 4))])
def test_mean_of_boxes_is_captums_occlusion(size: tuple[int, int], stride: tuple[int, int]) -> None:
    captum = pytest.importorskip("captum.attr")
    model, images = tiny(), blobs(3, 26, 34)
    result = attribute(model, images, "occlusion", size=size, stride=stride, fill="zero", mean=True)
    right = captum.Occlusion(model).attribute(
        images.tensor, (3, *size), (3, *stride), target=result.units
    )
    torch.testing.assert_close(result.maps, right[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.assets
@pytest.mark.all
def test_real_squeezenet_agrees_with_captum_and_loses_the_things(
    assets: Path, squeezenet: nn.Module
) -> None:
    captum = pytest.importorskip("captum.attr")
    stems = ("014_indigo_bunting", "106_wombat")
    images = load_images([assets / "photos" / "imagenet" / f"{stem}.jpg" for stem in stems])
    options = {"size": 72, "stride": 60, "fill": "zero", "mean": True}
    result = attribute(squeezenet, images, "occlusion", **options)
    right = captum.Occlusion(squeezenet).attribute(
        images.tensor, (3, 72, 72), (3, 60, 60), target=result.units
    )
    scale = float(right.abs().max())
    torch.testing.assert_close(result.maps, right[:, 0], rtol=1e-4, atol=1e-4 * scale)
    row, column = divmod(int(result.maps[0].argmax()), 224)
    assert row < 130
    assert 100 <= column <= 200


def test_several_tests_are_divided_by_their_maximum_and_averaged() -> None:
    model, images = tiny(), blobs(2, 20)
    tests = [(8, 4), ((4, 10), (4, 5)), ([5, 5], 5)]
    result = attribute(model, images, "occlusion", tests=tests)
    alone = [
        attribute(model, images, "occlusion", size=size, stride=stride).maps
        for size, stride in tests
    ]
    right = sum(one / one.amax((1, 2), keepdim=True) for one in alone) / 3
    torch.testing.assert_close(result.maps, right, rtol=1e-4, atol=1e-5)
    one = attribute(model, images, "occlusion", tests=[(8, 4)])
    torch.testing.assert_close(one.maps, alone[0], rtol=1e-4, atol=1e-5)
    assert result.options["tests"] == (((8, 8), (4, 4)), ((4, 10), (4, 5)), ((5, 5), (5, 5)))


def test_a_map_that_speaks_only_against_is_divided_by_its_size() -> None:
    maps = torch.tensor([[[2.0, -1]], [[-4, -2]], [[0, 0]], [[1e-9, -3]]])
    right = torch.tensor([[[1, -0.5]], [[-1, -0.5]], [[0, 0]], [[0, -1]]])
    torch.testing.assert_close(normalised(maps), right)


def test_shares_are_of_the_image_and_of_the_box() -> None:
    shares = Occlusion(width=50, height=20, step_x=25, step_y=100)
    assert shares.tests_of((100, 200)) == (((20, 100), (20, 25)),)
    assert Occlusion(size=8).tests_of((100, 200)) == (((8, 8), (4, 4)),)
    assert Occlusion(width=1, height=1, step_x=5, step_y=5).tests_of((8, 8)) == (((1, 1), (1, 1)),)


def test_boxes_cover_the_whole_image_once_the_last_is_cut_off() -> None:
    for size, stride, image in (((5, 3), (2, 3), (12, 10)), ((4, 4), (4, 4), (4, 9))):
        boxes = sliding_boxes(size, stride, image)
        assert len(set(boxes)) == len(boxes)
        ones = torch.ones(1, len(boxes))
        assert float(heat(ones, boxes, image).min()) >= 1
        assert torch.equal(heat(ones, boxes, image, mean=True), torch.ones(1, *image))
        assert all(0 <= top < bottom <= image[0] for top, bottom, _, _ in boxes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 25}, r"size=\(25, 25\).*larger than the image of 24 × 32"),
        ({"size": (4, 33)}, r"size=\(4, 33\).*larger than the image"),
        ({"tests": [(4, 4), (40, 4)]}, r"size=\(40, 40\).*larger than the image"),
        ({"size": 8, "tests": [(4, 4)]}, r"size=\(8, 8\) with tests=.*Leave one of the two out"),
        ({"stride": 8, "tests": [(4, 4)]}, r"stride=\(8, 8\) with tests="),
        ({"size": 0}, "size=0: expected pixels"),
        ({"size": -3}, "size=-3: expected pixels"),
        ({"stride": 0}, "stride=0: expected pixels"),
        ({"stride": (4, -1)}, r"stride=\(4, -1\): expected pixels"),
        ({"tests": []}, r"tests=\[\] is empty"),
        ({"tests": [(4, 0)]}, r"tests\[0\] stride=0: expected pixels"),
        ({"colour": (0, 0, 2)}, r"colour=\(0, 0, 2\): expected red, green and blue"),
        ({"colour": (0, 0)}, r"colour=\(0, 0\): expected red, green and blue"),
        ({"fill": "colour"}, "colour=None: fill='colour' needs one"),
        ({"fill": "pink"}, "fill='pink' is unknown"),
        ({"size": 4.5}, "size=4.5: expected pixels"),
        ({"size": "large"}, "size='large': expected pixels"),
        ({"size": (1, 2, 3)}, r"size=\(1, 2, 3\): expected pixels"),
        ({"stride": True}, "stride=True: expected pixels"),
        ({"tests": 5}, "tests=5: expected pairs"),
        ({"tests": [5]}, r"tests\[0\]=5: expected pairs"),
        ({"tests": [(4, None)]}, r"tests\[0\] stride=None: expected pixels"),
        ({"colour": "red"}, "colour='red': expected red, green and blue"),
    ],
)
def test_boxes_that_make_no_sense_are_named_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises((PFVValueError, PFVTypeError), match=message):
        attribute(tiny(), photos(1), "occlusion", **options)


def test_strides_beyond_the_box_are_told_and_leave_zeros() -> None:
    with pytest.warns(PFVWarning, match=r"stride \(8, 8\) is larger than the box \(4, 4\)"):
        result = attribute(tiny(), blobs(1), "occlusion", size=4, stride=8)
    assert not bool(result.maps[0, 4:8].any())
    assert bool(result.maps[0, :4, :4].all())


def test_each_occluder_is_what_its_name_says() -> None:
    images = photos(2)
    batch = images.tensor
    box = (5, 15, 8, 20)

    def of(name: str) -> Tensor:
        options = OccluderOptions((1.0, 0.5, 0.0), images.normalisation, 3)
        return OCCLUDERS[name].make(batch, options)(box)

    means, deviations = (torch.tensor(one).view(3, 1, 1) for one in (MEANS, DEVIATIONS))
    occluders = {name: of(name) * deviations + means for name in OCCLUDERS}
    for name, right in (
        ("black", (0, 0, 0)), ("grey", (0.5, 0.5, 0.5)), ("white", (1, 1, 1)), ("zero", MEANS),
        ("colour", (1, 0.5, 0)),
    ):  # fmt: skip
        full = torch.tensor(right, dtype=torch.float32).view(1, 3, 1, 1).expand(2, 3, 10, 12)
        torch.testing.assert_close(occluders[name], full, rtol=0, atol=2e-3)
    own = torch.from_numpy(images.pixels / 255).float().mean((1, 2))[:, :, None, None]
    torch.testing.assert_close(occluders["own mean"], own.expand(2, 3, 10, 12), rtol=0, atol=1e-3)
    noise = occluders["random"]
    assert float(noise.std()) > 0.1
    assert torch.equal(of("random"), of("random"))
    assert not torch.equal(
        of("random"), OCCLUDERS["random"].make(batch, OccluderOptions(seed=4))(box)
    )
    rough, calm = (one.diff(dim=3).abs().max() for one in (batch, of("blurred")))
    assert 0 < calm < 0.8 * rough


@pytest.mark.parametrize("box", [(5, 15, 8, 20), (0, 9, 20, 32), (0, 24, 3, 9), (23, 24, 0, 1)])
def test_an_in_painted_box_is_the_mean_of_its_neighbours_everywhere(
    box: tuple[int, int, int, int],
) -> None:
    batch = photos(2).tensor.double()
    top, bottom, left, right = box
    filled = batch.clone()
    filled[:, :, top:bottom, left:right] = OCCLUDERS["in-painted"].make(batch, OccluderOptions())(
        box
    )
    for row in range(top, bottom):
        for column in range(left, right):
            beside = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            inside = [(y, x) for y, x in beside if 0 <= y < 24 and 0 <= x < 32]
            around = [filled[:, :, y, x] for y, x in inside]
            middle = torch.stack(around).mean(0)
            torch.testing.assert_close(filled[:, :, row, column], middle, rtol=0, atol=1e-9)


def test_a_box_over_the_whole_image_can_be_filled() -> None:
    images = photos(1)
    for fill in OCCLUDERS:
        result = attribute(
            tiny(), images, "occlusion", size=(24, 32), stride=9, fill=fill,
            colour=(1, 0, 0) if fill == "colour" else None,
        )  # fmt: skip
        assert float(result.maps.std()) == pytest.approx(0, abs=1e-6)


def test_a_colour_that_changes_nothing_is_a_warning() -> None:
    waiting = Occlusion(fill="zero", colour=(1, 0, 0), size=8, stride=8)
    with pytest.warns(PFVWarning, match=r"colour=\(1.* changes nothing with fill='zero': choose"):
        result = attribute(tiny(), photos(1), waiting)
    assert torch.equal(
        result.maps, attribute(tiny(), photos(1), dataclasses.replace(waiting, colour=None)).maps
    )


def test_arrays_are_pairs() -> None:
    assert Occlusion(size=np.array([8, 6]), stride=torch.tensor(4)) == Occlusion(
        size=(8, 6), stride=4
    )
    tests = np.array([[8, 4], [6, 3]])
    assert Occlusion(tests=tests) == Occlusion(tests=[(8, 4), (6, 3)])
    with pytest.raises(PFVTypeError, match=r"size=.*expected pixels"):
        Occlusion(size=np.array([8.0, 6.0]))


def test_a_shown_colour_needs_the_normalisation_of_the_images() -> None:
    with pytest.raises(PFVValueError, match=r"fill: the normalisation .* normalisation=images"):
        OCCLUDERS["grey"].make(photos(1).tensor, OccluderOptions())


def test_a_shown_colour_is_taken_by_the_normalisation_of_the_batch() -> None:
    images = load_images(photos(2), transform=transforms.Compose([transforms.ToTensor()]))
    assert (images.mean, images.std) == ((0, 0, 0), (1, 1, 1))
    result = attribute(tiny(), images, "occlusion", size=8, fill="white")
    right, _ = slow(tiny(), images.tensor, (8, 8), (4, 4), 1.0)
    torch.testing.assert_close(result.maps, right, rtol=1e-4, atol=1e-5)


def test_whole_passes_give_the_same_map(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = tiny(), blobs(3, 40)
    parts = [attribute(model, images, "occlusion", batch_size=size).maps for size in (1, 2, 64)]
    monkeypatch.setattr(occluded_scores, "_WIDE", ())
    for size in (1, 7, 64):
        whole = attribute(model, images, "occlusion", batch_size=size).maps
        for part in parts:
            torch.testing.assert_close(part, whole, rtol=1e-4, atol=1e-5)


def test_parts_are_passed_where_the_network_takes_them() -> None:
    taken: list[type] = []

    def note(values: Tensor) -> Tensor:
        taken.append(type(values))
        return values

    network = nn.Sequential(Function(note), tiny())
    attribute(network, blobs(1), "occlusion", size=8, stride=8, batch_size=4)
    assert taken.count(Window) == 4 + 2  # four boxes at a time
    assert taken.count(Tensor) == 1 + 2  # the image itself, and two boxes that are checked


def test_networks_that_read_the_numbers_themselves_get_whole_images() -> None:
    def outside(values: Tensor) -> Tensor:
        return torch.from_numpy(values.data.numpy().mean((2, 3)))

    def wrong(values: Tensor) -> Tensor:
        return values.part.mean((2, 3)) if isinstance(values, Window) else values.mean((2, 3))

    images = blobs(2, 16)
    right, _ = slow(Function(outside), images.tensor, (8, 8), (4, 4), 0.0)
    for read in (outside, wrong):
        result = attribute(Function(read), images, "occlusion", size=8, stride=4, fill="zero")
        torch.testing.assert_close(result.maps, right, rtol=1e-4, atol=1e-5)


def test_occlusion_stops_between_boxes_and_tells_how_many_are_done() -> None:
    calls: list[tuple[int, int]] = []
    with pytest.raises(CancelledError, match="after 6 of 49 steps"):
        attribute(
            tiny(), blobs(2, 32), "occlusion", size=8, stride=4, batch_size=2,
            progress=lambda *step: calls.append(step), cancelled=lambda: len(calls) > 5,
        )  # fmt: skip
    assert calls == [(done, 49) for done in range(6)]


def test_other_inputs_of_the_network_belong_to_their_image() -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor, weight: Tensor) -> Tensor:
            return (images.mean((2, 3)) * weight)[:, :1]

    images = blobs(2, 16)
    weight = torch.tensor([[1.0], [3.0]])
    result, alone = (
        attribute(Two(), images, "occlusion", inputs={"weight": one}, size=8, stride=8)
        for one in (weight, torch.ones(2, 1))
    )
    torch.testing.assert_close(result.maps, alone.maps * weight[:, :, None])
