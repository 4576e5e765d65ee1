from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.models import SqueezeNet1_0_Weights

from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.errors import PFVTypeError, PFVValueError

MEAN = np.array((0.485, 0.456, 0.406))


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, np.uint8)


def test_tensor_within_0_and_1_is_taken_as_normalised_too() -> None:
    colour = load_images(torch.zeros(3, 4, 4)).pixels[0, 0, 0]
    np.testing.assert_array_equal(colour, np.rint(MEAN * 255))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_tensor_of_any_float_is_run_as_float32(dtype: torch.dtype) -> None:
    tensor = torch.ones(2, 3, 4, 4, dtype=dtype, requires_grad=True)
    batch = load_images(tensor)
    assert (batch.tensor.dtype, batch.tensor.requires_grad) == (torch.float32, False)


def test_list_of_tensors_is_a_batch() -> None:
    assert len(load_images([torch.zeros(3, 4, 4)] * 2)) == 2
    with pytest.raises(PFVValueError, match="one shape"):
        load_images([torch.zeros(3, 4, 4), torch.zeros(3, 5, 5)])


def test_tensor_with_a_transform_is_taken_as_0_to_1() -> None:
    tensor = torch.full((2, 3, 6, 6), 0.4)
    batch = load_images(tensor, transform=transforms.Normalize((0.5,) * 3, (0.1,) * 3))
    assert torch.allclose(batch.tensor, torch.tensor(-1.0))
    assert (batch.pixels == 102).all()


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(4, 4), "expected"),
        (torch.zeros(2, 1, 4, 4), "expand"),
        (torch.zeros(2, 4, 4, 3), "permute"),
        (torch.zeros(0, 3, 4, 4), "none of them 0"),
        (torch.full((3, 4, 4), torch.nan), "NaN"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "divide by 255"),
    ],
)
def test_unusable_tensor_names_the_fix(tensor: Tensor, message: str) -> None:
    with pytest.raises((PFVValueError, PFVTypeError), match=rf"source.*{message}"):
        load_images(tensor)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(2, 3, 4, 4, device="meta"), "meta device holds no numbers"),
        (lambda: torch.ones(2, 3, 4, 4).to_sparse(), r"to_dense\(\)"),
        (lambda: torch.ones(4, 4).to_sparse_csr(), r"to_dense\(\)"),
        (lambda: torch.nested.nested_tensor([torch.ones(3, 4, 4), torch.ones(3, 5, 5)]), "nested"),
        (
            lambda: torch.nested.nested_tensor(
                [torch.ones(3, 4, 4), torch.ones(3, 4, 5)], layout=torch.jagged
            ),
            "nested",
        ),
        (
            lambda: torch.quantize_per_tensor(torch.ones(1, 3, 4, 4), 0.1, 0, torch.quint8),
            r"dequantize\(\)",
        ),
    ],
)
def test_tensors_without_plain_numbers_name_the_fix(
    make: Callable[[], Tensor], message: str, listed: bool
) -> None:
    tensor = make()
    with pytest.raises((PFVValueError, PFVTypeError), match=rf"source.*{message}"):
        load_images([tensor, tensor] if listed else tensor)
    with pytest.raises((PFVValueError, PFVTypeError), match="transform gave"):
        load_images(np.zeros((4, 4), np.uint8), transform=lambda _: tensor)


def test_pixels_are_what_the_transform_of_torchvision_saw(rng: np.random.Generator) -> None:
    array = noise(rng, 300, 256, 3)
    transform = SqueezeNet1_0_Weights.DEFAULT.transforms()
    batch = load_images(array, transform=transform)
    assert torch.equal(batch.tensor[0], transform(Image.fromarray(array)))
    np.testing.assert_array_equal(batch.pixels[0], array[38:262, 16:240])


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([], 51, id="no normalisation"),
        pytest.param([transforms.Normalize((0.9,) * 3, (2.0,) * 3)], 51, id="last step"),
        pytest.param(
            [torch.nn.Sequential(transforms.Normalize((0.9,) * 3, (2.0,) * 3))], 51, id="nested"
        ),
        pytest.param([transforms.Normalize(0.9, 2.0), transforms.Compose([])], 51, id="empty end"),
        pytest.param([lambda t: t * 10], 255, id="clipped"),
    ],
)
def test_normalisation_of_a_composed_transform_is_undone(steps: list, expected: int) -> None:
    transform = transforms.Compose([transforms.ToTensor(), *steps])
    batch = load_images(np.full((4, 4, 3), 51, np.uint8), transform=transform)
    assert (batch.pixels == expected).all()


def test_function_is_taken_to_normalise_as_for_imagenet() -> None:
    batch = load_images(np.zeros((4, 4, 3), np.uint8), transform=lambda _: torch.zeros(3, 2, 2))
    np.testing.assert_array_equal(batch.pixels[0, 0, 0], np.rint(MEAN * 255))


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (3, "callable"),
        (lambda image: image, "gave Image"),
        (lambda _: torch.zeros(1, 3, 4, 4), r"\(1, 3, 4, 4\)"),
        (lambda _: torch.zeros(3, 4, 4, dtype=torch.uint8), "uint8"),
        (lambda _: torch.full((3, 4, 4), torch.inf), "infinite"),
        (lambda _: {}["key"], "KeyError"),
        (lambda image: torch.zeros(3, *image.size), "one size"),
    ],
)
def test_unusable_transform_names_the_fix(transform: object, message: str) -> None:
    pictures = [np.zeros((4, 5), np.uint8), np.zeros((6, 5), np.uint8)]
    with pytest.raises((PFVValueError, PFVTypeError), match=rf"transform.*{message}"):
        load_images(pictures, transform=transform)  # type: ignore[arg-type]


def test_tensor_is_taken_as_normalised_and_copied(rng: np.random.Generator) -> None:
    batch = load_images(noise(rng, 3, 20, 30, 3), size=16)
    before = batch.tensor.clone()
    again = load_images(batch.tensor, size=224)
    assert torch.equal(again.tensor, batch.tensor)
    np.testing.assert_array_equal(again.pixels, batch.pixels)
    again.tensor.zero_()
    assert torch.equal(batch.tensor, before)
