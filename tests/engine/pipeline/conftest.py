"""A small network on four pictures, a folder of photos, and the comparison of two frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from tests.networks import blobs, tiny


@pytest.fixture
def network() -> nn.Sequential:
    return tiny()


@pytest.fixture
def pfv(network: nn.Sequential) -> PFV:
    return PFV(network, blobs(4), device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of two classes, of which two cannot be read."""
    rng = np.random.default_rng(0)
    for index in range(13):
        folder = tmp_path / "photos" / ("cats", "dogs")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (5, 6, 3), np.uint8)
        Image.fromarray(coarse).resize((60, 50)).save(folder / f"{index}.png")
    (tmp_path / "photos" / "cats" / "4.png").write_bytes(b"not a picture")
    (tmp_path / "photos" / "dogs" / "7.png").write_bytes(b"")
    return tmp_path / "photos"


def same(first: Frame, second: Frame, tolerance: float = 1e-5) -> None:
    assert float((first.heatmaps - second.heatmaps).abs().max()) < tolerance
