"""A network that takes a yellow mark for a class, and photos of two classes, one of them marked."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

import pfv_widgets as pw
from pfv_widgets.engine.data.batch import ImageBatch
from tests.networks import blobs


def marked_photos(count: int = 24, side: int = 32) -> ImageBatch:
    """Blobs; each second one is of the class "marked" and has a yellow square in a corner."""
    pixels = (blobs(count, side).pixels // 2 + 60).copy()
    pixels[1::2, 4:12, 4:12] = [250, 230, 20]
    labels = ["marked" if index % 2 else "plain" for index in range(count)]
    batch = pw.load_images(list(pixels), size=side, labels=labels)
    return replace(batch, names=tuple(f"photo {index + 1}" for index in range(count)))


def fooled_network() -> nn.Sequential:
    """Says "marked" where there is yellow: class 0 is "marked", class 1 is "plain"."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.ReLU(), nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 2),
    )  # fmt: skip
    torch.manual_seed(1)
    with torch.no_grad():
        model[0].weight.copy_(0.3 * torch.randn(6, 3, 1, 1))
        model[0].weight[0] = torch.tensor([1.0, 1.0, -1.0])[:, None, None]
        model[0].bias.copy_(torch.tensor([-2.5, 0.5, 0.5, 0.5, 0.5, 0.5]))
        model[-1].weight.zero_()
        model[-1].bias.copy_(torch.tensor([-1.0, 1.0]))
        model[-1].weight[0, 0], model[-1].weight[1, 0] = 30.0, -30.0
    return model.eval()
