"""Small networks and batches on which the engine's behaviour shows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images

HOOKS = [name for name in vars(nn.Module()) if "hooks" in name and name != "_is_full_backward_hook"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(count: int, height: int = 32, width: int | None = None, seed: int = 0) -> ImageBatch:
    """Smooth colour blobs, another in each image."""
    coarse = torch.randn(count, 3, 5, 5, generator=seeded(seed))
    size = (height, width or height)
    return load_images(nn.functional.interpolate(coarse, size=size, mode="bicubic"))


def tiny(seed: int = 0, channels: int = 8, inplace: bool = True) -> nn.Sequential:
    """Conv, BatchNorm and ReLU at three resolutions, then a classifier."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    before = 3
    for _ in range(3):
        layers += [nn.Conv2d(before, channels, 3, padding=1), nn.BatchNorm2d(channels)]
        layers += [nn.ReLU(inplace=inplace), nn.MaxPool2d(2)]
        before = channels
    layers[-1] = nn.Identity()
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


class Through(nn.Module):
    """A convolution, then any function of its map as a layer of its own, then a read-out."""

    def __init__(self, change: Callable[[Tensor], object], channels: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.pool = nn.AvgPool2d(2)
        self.change = Function(change)
        self.head = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(self.stem(images))
        changed = self.change(maps)
        usable = isinstance(changed, Tensor) and changed.is_floating_point()
        return self.head(changed if usable and changed.shape == maps.shape else maps)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, value: Tensor) -> object:
        return self.function(value)


class Tokens(nn.Module):
    """Patches as tokens (N, T, C) behind class and register tokens, as in a vision transformer."""

    def __init__(self, channels: int = 8, patch: int = 4, extra: int = 5) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, patch, patch)
        self.extra = nn.Parameter(100 + torch.randn(1, extra, channels))
        self.norm = nn.LayerNorm(channels)
        self.block = nn.Linear(channels, channels)
        self.head = nn.Linear(channels, 2)

    def forward(self, images: Tensor) -> Tensor:
        places = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.extra.expand(len(places), -1, -1), places], dim=1)
        return self.head(self.block(self.norm(tokens))[:, 0])


@contextmanager
def counted(*modules: nn.Module) -> Iterator[list[nn.Module]]:
    """List the modules in the order in which they start to run inside the block."""
    calls: list[nn.Module] = []

    def note(module: nn.Module, _: object) -> None:
        calls.append(module)

    handles = [module.register_forward_pre_hook(note) for module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def about(parameter: nn.Parameter) -> tuple[object, ...]:
    """All but the values."""
    ids = id(parameter), id(parameter.grad), parameter.data_ptr()
    return *ids, parameter.requires_grad, parameter._version


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Compare everything of a network, and of PyTorch's state, before and after."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    hooks = [{name: dict(getattr(module, name) or {}) for name in HOOKS} for module in modules]
    parameters = list(map(about, model.parameters()))
    buffers = dict(model.named_buffers())
    state = copy.deepcopy(model.state_dict())
    grads, random = torch.is_grad_enabled(), torch.get_rng_state()
    yield
    assert list(model.modules()) == modules
    assert [module.training for module in modules] == modes
    now = [{name: dict(getattr(module, name) or {}) for name in HOOKS} for module in modules]
    assert now == hooks
    assert list(map(about, model.parameters())) == parameters
    assert all(buffer is buffers[name] for name, buffer in model.named_buffers())
    assert list(state) == list(model.state_dict())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.is_grad_enabled() == grads
    assert torch.equal(torch.get_rng_state(), random)
