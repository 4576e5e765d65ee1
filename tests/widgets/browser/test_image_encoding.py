"""Pictures keep their colours on the way, and what should be quick is not compressed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pfv_widgets.widgets.browser.image_encoding import bitmap, encode


def decoded(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"), float)


@pytest.fixture
def smooth(rng: np.random.Generator) -> np.ndarray:
    coarse = Image.fromarray(rng.integers(0, 255, (12, 12, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((96, 96), Image.Resampling.BICUBIC))


def noise(picture: np.ndarray, again: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB."""
    return float(10 * np.log10(255**2 / ((again - picture) ** 2).mean()))


def test_encoded_heatmaps_keep_their_colours(smooth: np.ndarray) -> None:
    assert noise(smooth, decoded(encode(smooth))) > 38


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 5), (160, 160)])
def test_uncompressed_picture_is_where_it_was(
    rng: np.random.Generator, size: tuple[int, int]
) -> None:
    picture = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    again = decoded(bitmap(picture))
    assert again.shape == picture.shape
    assert (np.abs(again - picture).max((0, 1)) <= (5, 3, 5)).all()


def test_uncompressed_picture_keeps_black_white_and_pure_colours() -> None:
    corners = np.array(np.meshgrid(*[[0, 255]] * 3), np.uint8).reshape(3, 2, 4).transpose(1, 2, 0)
    assert (decoded(bitmap(corners)) == corners).all()


def test_uncompressed_heatmaps_keep_40_db(smooth: np.ndarray) -> None:
    assert noise(smooth, decoded(bitmap(smooth))) > 40


@pytest.mark.parametrize(
    ("side", "near", "start"),
    [(178, True, b"BM"), (178, False, b"\xff\xd8"), (179, True, b"\xff\xd8")],
)
def test_only_small_pictures_for_a_near_page_go_uncompressed(
    side: int, near: bool, start: bytes
) -> None:
    file = encode(np.zeros((side, side, 3), np.uint8), near=near)
    assert file.startswith(start)
    assert decoded(file).shape == (side, side, 3)
