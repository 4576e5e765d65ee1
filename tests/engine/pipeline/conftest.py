"""A small network on four pictures, and the comparison of two frames."""

from __future__ import annotations

import pytest
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


def same(first: Frame, second: Frame, tolerance: float = 1e-5) -> None:
    assert float((first.heatmaps - second.heatmaps).abs().max()) < tolerance
