"""The demo network: a small convolutional classifier, and its weights on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pfv_widgets.demo.object_registry import CLASSES
from pfv_widgets.engine.data.normalisation import IMAGENET

WEIGHTS = Path(__file__).with_name("weights.npz")
_MEASURED = "measured."


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


class DemoNet(nn.Module):
    """Say which of the objects are in a scene: four stages, each at half the last resolution.

    The receptive field at the end is 46 pixels, about a part of an object, and the last map of a
    128-pixel scene has 16×16 cells: enough to see parts apart.
    """

    classes = CLASSES
    """Names of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(*_convolution(3, 8))
        self.stage2 = nn.Sequential(nn.MaxPool2d(2), *_convolution(8, 16))
        self.stage3 = nn.Sequential(nn.MaxPool2d(2), *_convolution(16, 32), *_convolution(32, 48))
        self.stage4 = nn.Sequential(nn.MaxPool2d(2), *_convolution(48, 96))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(96, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes), above 0 where an object is seen, of images (N, 3, H, W)."""
        return self.classify(self.maps(images))

    def maps(self, images: Tensor) -> Tensor:
        """Return the last feature maps (N, 96, H/8, W/8)."""
        maps: Tensor = self.stage4(self.stage3(self.stage2(self.stage1(images))))
        return maps

    def classify(self, maps: Tensor) -> Tensor:
        """Return the logits (N, classes) of the last feature maps."""
        logits: Tensor = self.head(self.pool(maps).flatten(1))
        return logits


def normalise(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Return the network's input (N, 3, H, W), float32, of pictures (N, H, W, 3).

    The weights expect the normalisation of ImageNet, as every loader here applies it.
    """
    return IMAGENET.apply(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255.0)


def save_weights(model: nn.Module, path: Path, measured: dict[str, float] | None = None) -> None:
    """Write the weights as float16 arrays, with the metrics measured on fresh scenes."""
    arrays = {
        name: value.detach().numpy().astype(np.float16)
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
    metrics = {_MEASURED + name: np.array(value) for name, value in (measured or {}).items()}
    with path.open("wb") as file:
        # NumPy's stub takes any keyword for its own flag `allow_pickle`
        np.savez_compressed(file, **arrays, **metrics)  # type: ignore[arg-type]


def load_weights(path: Path = WEIGHTS) -> DemoNet:
    """Return the network in eval mode with the weights of a file; nothing is unpickled."""
    model = DemoNet()
    with np.load(path, allow_pickle=False) as arrays:
        state = {
            name: torch.from_numpy(arrays[name].astype(np.float32))
            for name in arrays.files
            if not name.startswith(_MEASURED)
        }
    # BatchNorm's step counters are not shipped: they matter only to training
    counters = {name for name in model.state_dict() if name.endswith("num_batches_tracked")}
    model.load_state_dict(state | {name: torch.tensor(0) for name in counters})
    return model.eval()


def measured(path: Path = WEIGHTS) -> dict[str, float]:
    """Return the metrics, each in 0…1, that the shipped weights reached on fresh scenes."""
    with np.load(path, allow_pickle=False) as arrays:
        names = [name for name in arrays.files if name.startswith(_MEASURED)]
        return {name.removeprefix(_MEASURED): float(arrays[name]) for name in names}
