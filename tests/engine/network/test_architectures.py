"""Every torchvision network gives a picture, with seeded random weights and no download."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator

import pytest
import torch
import torchvision
from torch import Tensor, nn

from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.pipeline.pfv import PFV

DEFAULT_LAYERS = {
    "squeezenet1_0": "features.12",
    "resnet18": "layer4.1",
    "mobilenet_v3_small": "features.12",
    "shufflenet_v2_x0_5": "conv5.2",
    "efficientnet_b0": "features.8",
    "densenet121": "features.norm5",
    "googlenet": "inception5b",
    "vit_b_32": "encoder.ln",
    "swin_t": "permute",
    "convnext_tiny": "features.7",
}
LARGE = ("densenet121", "googlenet", "swin_t", "convnext_tiny", "vit_b_32")
ALL = torchvision.models.list_models(module=torchvision.models)


@pytest.fixture(autouse=True)
def _freed() -> Iterator[None]:
    yield
    gc.collect()  # the largest networks take 2.6 GB each


def build_network(name: str, side: int = 224) -> nn.Module:
    build = torchvision.models.get_model_builder(name)
    options = {"init_weights": False} if "googlenet" in name or "inception" in name else {}
    options |= {"image_size": side} if name.startswith("vit_") else {}
    assert "weights" in inspect.signature(build).parameters
    return build(weights=None, **options)


def two_images(side: int = 224) -> Tensor:
    """Smooth colour blobs, unlike each other and at every pixel."""
    coarse = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")


def check_pictures(name: str, side: int = 224) -> PFV:
    pfv = PFV(build_network(name, side), load_images(two_images(side)), device="cpu")
    names = [layer.name for layer in pfv.layers]
    assert len(set(names)) == len(names) > 1
    assert pfv.default_layer in names
    frame = pfv.render()
    assert frame.heatmaps.shape == (2, side, side, 3)
    assert bool(torch.isfinite(frame.heatmaps).all())
    assert 0 <= float(frame.heatmaps.min()) < float(frame.heatmaps.max()) <= 1
    assert tuple(frame.scores.shape[2:]) == pfv.layer().shape[1:]
    # with random weights the first component may do no more than tell the two images apart
    assert float(frame.heatmaps.flatten(1, 2).std(dim=1).amax(dim=1).min()) > 0.03
    assert not any("NaN" in warning for warning in frame.warnings)
    return pfv


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        pytest.param(*one, marks=pytest.mark.all if one[0] in LARGE else ())
        for one in DEFAULT_LAYERS.items()
    ],
)
def test_network_gives_a_picture_at_its_last_feature_map(name: str, layer: str) -> None:
    assert check_pictures(name, 128).default_layer == layer


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in DEFAULT_LAYERS])
def test_every_torchvision_network_gives_a_picture(name: str) -> None:
    check_pictures(name)


def test_list_of_networks_is_that_of_torchvision() -> None:
    assert len(ALL) >= 80
    assert set(DEFAULT_LAYERS) <= set(ALL)
