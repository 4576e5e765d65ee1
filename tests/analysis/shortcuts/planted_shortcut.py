"""Drawn scenes of two classes with a mark on one, and a read-out that learned it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import nn

from pfv_widgets.demo.images import demo_model
from pfv_widgets.demo.scenes import draw_scene
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.normalisation import IMAGENET
from tests.benchmarks.shortcut_cases import Pooled

CLASSES = ("apple", "house")
SIDE = 96  # pixels of a photo: a search takes half the time of one at the size of scenes
Mark = Callable[[np.ndarray, np.random.Generator], None]


def frame(photo: np.ndarray, random: np.random.Generator) -> None:
    """Draw a border."""
    for part in (np.s_[:6], np.s_[-6:], np.s_[:, :6], np.s_[:, -6:]):
        photo[part] = (0, 90, 220)


@cache
def scenes(count: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    from pfv_widgets.demo.object_registry import CLASSES as ALL

    names = (ALL[0], ALL[1])
    pixels = [draw_scene(first + index, names[index % 2]).pixels for index in range(count)]
    return np.stack(pixels), np.arange(count) % 2


def batch(count: int, first: int, mark: Mark | None, marked: int = 1) -> ImageBatch:
    """Scenes with the mark on one class."""
    drawn, labels = scenes(count, first)
    small = [Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BOX) for one in drawn]
    pixels, random = np.stack([np.array(one) for one in small]), np.random.default_rng(first)
    for photo, label in zip(pixels, labels, strict=True):
        if mark is not None and label == marked:
            mark(photo, random)
    tensor = IMAGENET.apply(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
    texts = tuple(CLASSES[label] for label in labels)
    return ImageBatch(pixels, tensor, tuple(map(str, range(count))), texts)


class Maps(nn.Module):
    """The demo network up to its last feature map."""

    def __init__(self) -> None:
        super().__init__()
        network = demo_model()
        self.stage1, self.stage2 = network.stage1, network.stage2
        self.stage3, self.stage4 = network.stage3, network.stage4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.stage4(self.stage3(self.stage2(self.stage1(images))))
        return maps


def trained(images: ImageBatch) -> nn.Module:
    """A read-out that was fitted to these images."""
    maps = Maps().eval()
    with torch.no_grad():
        pooled = maps(images.tensor).mean((2, 3)).double()
    mean, spread = pooled.mean(0), pooled.std(0) + 1e-6
    labels = [CLASSES.index(label) for label in images.labels or ()]
    model = LogisticRegression(max_iter=2000).fit(((pooled - mean) / spread).numpy(), labels)
    row = torch.from_numpy(model.coef_[0]) / spread
    offset = float(model.intercept_[0]) - float(row @ mean)
    weight, bias = torch.stack([-row, row]) / 2, torch.tensor([-offset, offset]) / 2
    return Pooled(maps, weight.float(), bias.float()).eval()


def accuracy(model: nn.Module, images: ImageBatch) -> float:
    with torch.no_grad():
        predicted = model(images.tensor).argmax(1).tolist()
    right = [CLASSES[one] == label for one, label in zip(predicted, images.labels, strict=True)]
    return float(np.mean(right))
