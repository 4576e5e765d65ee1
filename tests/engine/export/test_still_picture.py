from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pfv_widgets.engine.export.still_picture import still
from pfv_widgets.engine.pipeline.pfv import PFV
from tests.networks import blobs, tiny


def decode_png(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image)


@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_still_holds_every_tile_and_the_legend(count: int) -> None:
    frame = PFV(tiny(), blobs(count), device="cpu").render(components=4)
    picture = decode_png(still(frame))
    tile = frame.composite()[0]
    np.testing.assert_array_equal(picture[:32, :32], tile)
    assert picture.shape[1] <= 840
    below = picture[-16:]
    assert len(np.unique(below.reshape(-1, 3), axis=0)) > 100  # ramps, not white


def test_still_shrinks_large_tiles() -> None:
    frame = PFV(tiny(), blobs(9, height=512), device="cpu").render()
    assert decode_png(still(frame)).shape[1] <= 840
