"""Networks by name, and images at a size that each takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision import transforms

from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.data.normalisation import IMAGENET
from pfv_widgets.engine.network.named_models import (
    declared_size,
    images_that_fit,
    named_models,
    normalisation_doubt,
)
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVTypeError, PFVValueError, PFVWarning
from pfv_widgets.methods.attribution.attribute import attribute
from tests.networks import blobs, tiny

HALVED = transforms.Compose([
    transforms.Resize((32, 32)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)
])  # fmt: skip


class Fixed(nn.Module):
    """Takes images of one size, and says so as torchvision's transformers do."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.image_size = side
        self.body = tiny()

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2:] != (self.image_size, self.image_size):
            raise ValueError("wrong size")
        return self.body(images)


def test_names_that_read_the_same_are_refused() -> None:
    with pytest.raises(PFVValueError, match="two of the names"):
        named_models({1: tiny(), "1": tiny()})
    with pytest.raises(PFVTypeError, match="Give names in a mapping"):
        named_models([("a", tiny()), ("b", tiny())])


def test_images_are_given_at_the_size_that_a_network_declares_where_it_refuses_theirs() -> None:
    images = load_images(list(blobs(3, 32, 48).pixels), (32, 48))
    assert images_that_fit("any", tiny(), images, "cpu") is images
    fitted = images_that_fit("fixed", Fixed(24), images, "cpu")
    assert (len(fitted), fitted.size, fitted.names) == (3, (24, 24), images.names)
    again = fitted.normalisation.undo(fitted.tensor).clamp(0, 1)
    pixels = torch.from_numpy(fitted.pixels).movedim(3, 1) / 255
    assert float((again - pixels).abs().max()) < 0.02
    means = images.pixels.mean((1, 2)), fitted.pixels.mean((1, 2))  # of all: nothing is cut off
    np.testing.assert_allclose(*means, atol=1)


def test_a_network_that_refuses_both_sizes_is_named() -> None:
    broken = Fixed(24)
    broken.body[0] = nn.Conv2d(7, 8, 3)
    with pytest.raises(PFVValueError, match=r"models\['odd'\]: images: the model failed"):
        images_that_fit("odd", broken, blobs(1), "cpu")
    silent = Fixed(24)
    silent.image_size = None
    with pytest.raises(PFVValueError, match=r"models\['silent'\]"):
        images_that_fit("silent", silent, blobs(1), "cpu")


def test_the_declared_size_is_read_where_it_is_one() -> None:
    network = tiny()
    assert declared_size(network) is None
    network.pretrained_cfg = {"input_size": (3, 20, 30)}
    assert declared_size(network) == (20, 30)
    network.pretrained_cfg = {"input_size": "large"}
    assert declared_size(network) is None


def test_photos_as_by_default_for_a_network_that_declares_another_way_are_told() -> None:
    network, photos = tiny(), list(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), "u1"))
    images = load_images(photos, size=32)
    assert not normalisation_doubt(network, images)
    network.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    doubt = normalisation_doubt(network, images)
    assert "declares photos normalised by mean 0.5 and deviation 0.5" in doubt
    assert doubt in PFV(network, images, "cpu").render().warnings
    with pytest.warns(PFVWarning, match="declares photos normalised"):
        attribute(network, images, device="cpu")
    own = load_images(photos, size=32, transform=HALVED)
    assert not normalisation_doubt(network, own)
    assert not normalisation_doubt(network, load_images(own.tensor))  # tensors: as they came
    network.pretrained_cfg = {"mean": IMAGENET.mean, "std": IMAGENET.std}
    assert not normalisation_doubt(network, images)
