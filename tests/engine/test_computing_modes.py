"""What a caller has chosen in PyTorch changes no result, and is there again afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pfv_widgets as pw
from tests.networks import blobs, tiny


@contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: default_device("meta"),  # where nothing can be computed
    "inference": torch.inference_mode,
}
LABELS = ["a", "b", "c"] * 2


def wide() -> nn.Sequential:
    """Return a network whose last maps have more channels than moments are kept for."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 300, 3, 2), nn.ReLU())


def fitted(network: nn.Module, images: pw.ImageBatch) -> pw.PrincipalBasis:
    return pw.fit_basis(network, images, "6", device="cpu", progress=False)


def tracked(network: nn.Module, images: pw.ImageBatch) -> pw.Tracker:
    tracker = pw.track(network, images, device="cpu")
    tracker.snapshot("now")
    return tracker


def explained_by(method: str) -> Callable[[nn.Module, pw.ImageBatch], Tensor]:
    return lambda network, images: pw.attribute(network, images, method, device="cpu").maps


WORK: dict[str, Callable[[nn.Module, pw.ImageBatch], object]] = {
    "PFV": lambda network, images: pw.PFV(network, images, "cpu").render().heatmaps,
    "pins": lambda network, images: pw.PFV(network, images, "cpu").similarity([(0, 0.5, 0.5)]),
    "legend": lambda network, images: pw.PFV(network, images, "cpu").render().legend()[0][1],
    "fit_basis": lambda network, images: fitted(network, images).components,
    "basis": lambda network, images: (
        pw.PFV(network, images, "cpu", basis=fitted(network, images)).render().heatmaps
    ),
    "activations": lambda _, images: pw.heatmaps_from_activations(images.tensor).heatmaps,
    "load_images": lambda _, images: pw.load_images(list(images.pixels)).tensor,
    "saliency": explained_by("saliency"),
    "occlusion": explained_by("occlusion"),
    "relevance": explained_by("relevance"),
    "reconstruct": lambda network, _: (
        pw.reconstruct(network, layer="6", unit=1, size=32, steps=3, device="cpu").tensor
    ),
    "similarity": lambda network, images: (
        pw.similarity({"a": network, "b": network}, images, device="cpu").cka
    ),
    "component_classes": lambda network, images: (
        pw.component_classes(pw.PFV(network, images, "cpu")).scores
    ),
    "find_shortcuts": lambda network, images: (
        pw.find_shortcuts(network, images, LABELS, classes=list("abcde")).basis.components
    ),
    "ablate": lambda network, images: pw.ablate(network, "6", fitted(network, images), [1]),
    "track": lambda network, images: tracked(network, images).frames()["now"].heatmaps,
}


def as_array(result: object) -> np.ndarray:
    result = result(blobs(6).tensor) if isinstance(result, nn.Module) else result
    return result.detach().numpy() if isinstance(result, Tensor) else np.asarray(result)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("work", WORK)
def test_results_are_those_without_the_mode(work: str, mode: str) -> None:
    network, images = tiny(), blobs(6)
    expected = as_array(WORK[work](network, images))
    with MODES[mode]():
        actual = WORK[work](network, images)
        device, autocast = torch.get_default_device(), torch.is_autocast_enabled("cpu")
    assert device.type == ("meta" if mode == "default device" else "cpu")
    assert autocast == (mode == "autocast")
    np.testing.assert_allclose(as_array(actual), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_wide_layers_are_those_without_the_mode(mode: str) -> None:
    network, images = wide(), blobs(6)
    expected = pw.PFV(network, images, "cpu").render(components=2).heatmaps
    with MODES[mode]():
        pfv = pw.PFV(network, images, "cpu")
        pfv.render(components=4)
        actual = pfv.render(components=2).heatmaps
    np.testing.assert_allclose(as_array(actual), as_array(expected), rtol=0, atol=1e-3)


class Counting(nn.Module):
    """Makes a tensor in its forward pass, where its owner has chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.seen = nn.Conv2d(3, 4, 3, device="cpu"), set[str]()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.add(torch.zeros(1).device.type)
        return self.conv(images)


def test_the_network_runs_on_the_device_that_its_owner_has_chosen() -> None:
    network, images = Counting(), blobs(3)
    with default_device("meta"):
        pw.PFV(network, images, "cpu").render()
    assert network.seen == {"meta"}
