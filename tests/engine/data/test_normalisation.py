"""Mean and deviation of a transform: declared, measured or assumed."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.data.normalisation import IMAGENET, NONE, Normalisation, normalisation_of
from pfv_widgets.engine.data.preprocessing import normalised, to_pixels

MEAN, STD = (0.1, 0.5, 0.9), (0.2, 0.4, 2.0)
STEPS = transforms.Compose(
    [transforms.Resize(16), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
)


def caffe(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image) - np.array([104.0, 117, 123])).permute(2, 0, 1)


def function(image: Image.Image) -> Tensor:
    return STEPS(image)


def noisy(image: Image.Image) -> Tensor:
    return transforms.functional.to_tensor(image) * random.random() + torch.rand(3, 1, 1)


@pytest.mark.parametrize(
    ("transform", "mean", "std"),
    [
        pytest.param(STEPS, MEAN, STD, id="declared"),
        pytest.param(function, MEAN, STD, id="function"),
        pytest.param(transforms.ToTensor().__call__, NONE.mean, NONE.std, id="no normalisation"),
        pytest.param(caffe, [m / 255 for m in (104, 117, 123)], [1 / 255] * 3, id="0 to 255"),
        pytest.param(lambda image: STEPS(image) ** 3, IMAGENET.mean, IMAGENET.std, id="curved"),
        pytest.param(lambda image: STEPS(image).flip(0), IMAGENET.mean, IMAGENET.std, id="mixed"),
        pytest.param(noisy, IMAGENET.mean, IMAGENET.std, id="random"),
        pytest.param(lambda _: torch.zeros(3, 4, 4), IMAGENET.mean, IMAGENET.std, id="constant"),
        pytest.param(lambda image: image.nothing, IMAGENET.mean, IMAGENET.std, id="raises"),
    ],
)
def test_normalisation_of_a_transform_is_declared_or_measured_or_assumed(
    transform: Callable[[Image.Image], Tensor], mean: list[float], std: list[float]
) -> None:
    result = normalisation_of(transform)
    assert result.mean == pytest.approx(mean, rel=1e-4, abs=1e-6)
    assert result.std == pytest.approx(std, rel=1e-4)


def test_a_function_shows_the_photo_that_it_was_given(rng: np.random.Generator) -> None:
    photo = rng.integers(0, 256, (16, 16, 3), np.uint8)
    batch = load_images(photo, transform=function)
    np.testing.assert_array_equal(batch.pixels[0], photo)
    images = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    batch = load_images(images, transform=lambda image: (image - 0.5) / 0.25)
    np.testing.assert_array_equal(batch.pixels[0], photo)


def test_measuring_a_function_leaves_random_numbers_as_they_were() -> None:
    states = random.getstate(), np.random.get_state()[2], torch.get_rng_state()  # noqa: NPY002 - the global state is meant
    normalisation_of(noisy)
    assert states[:2] == (random.getstate(), np.random.get_state()[2])  # noqa: NPY002 - as above
    assert torch.equal(states[2], torch.get_rng_state())


def test_undo_is_the_inverse_of_apply() -> None:
    by = Normalisation(MEAN, STD)
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(to_pixels(normalised(pixels, by), by), pixels)
