"""Compare maps with those of captum, pytorch-grad-cam and zennit: same networks, photos, classes.

    pip install captum grad-cam zennit
    python tests/benchmarks/bench_other_tools.py

Four photos of the demo, the strongest class of each; EfficientNet-Lite0, and a plain network.
Prints a Markdown table: how far the maps agree (correlation over the pixels of each photo, the
worst of them) and the seconds of each for all photos. What is not installed is left out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pfv_widgets as pw
from pfv_widgets.demo.imagenet_network import LAYER

Maps = Callable[[], Tensor]
Row = tuple[str, str, Maps, Maps]


def agreement(ours: Tensor, theirs: Tensor) -> float:
    """Return the lowest correlation of the maps ``(N, H, W)`` of a photo."""
    pairs = zip(ours.flatten(1).double(), theirs.flatten(1).double(), strict=True)
    return min(float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs)


def own(model: nn.Module, images: pw.ImageBatch, method: str, **options: object) -> Maps:
    def maps() -> Tensor:
        signed = pw.attribute(model, images, method=method, device="cpu", **options).signed
        return signed.sum(1) if signed.ndim == 4 else signed

    return maps


def captum_rows(
    model: nn.Module, images: pw.ImageBatch, units: Tensor, layer: str
) -> Iterator[Row]:
    from captum import attr

    baseline = torch.zeros_like(images.tensor)
    for name, method, captum_class, options, more in (
        ("gradient", "saliency", attr.Saliency, {}, {"abs": False}),
        ("gradient × input", "gradient_times_input", attr.InputXGradient, {}, {}),
        ("guided backpropagation", "guided_backprop", attr.GuidedBackprop, {}, {}),
        ("deconvnet", "deconvnet", attr.Deconvolution, {}, {}),
        (
            "integrated gradients, 32 steps",
            "integrated_gradients",
            attr.IntegratedGradients,
            {"steps": 32},
            {"n_steps": 32, "internal_batch_size": 16, "baselines": baseline},
        ),
        (
            "occlusion, 64 pixels",
            "occlusion",
            attr.Occlusion,
            {"size": 64, "stride": 32, "fill": "zero", "mean": True},
            {"sliding_window_shapes": (3, 64, 64), "strides": (3, 32, 32)},
        ),
    ):

        def theirs(captum_class: type = captum_class, more: dict[str, object] = more) -> Tensor:
            pixels = images.tensor.clone().requires_grad_()
            return captum_class(model).attribute(pixels, target=units, **more).detach().sum(1)

        yield "captum", name, own(model, images, method, **options), theirs


def grad_cam_rows(
    model: nn.Module, images: pw.ImageBatch, units: Tensor, layer: str
) -> Iterator[Row]:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def theirs() -> Tensor:
        with GradCAM(model, [model.get_submodule(layer)]) as cam:
            targets = [ClassifierOutputTarget(unit) for unit in units.tolist()]
            return torch.from_numpy(cam(images.tensor, targets))

    yield "pytorch-grad-cam", "Grad-CAM", own(model, images, "grad_cam", at=layer), theirs


def zennit_rows(
    model: nn.Module, images: pw.ImageBatch, units: Tensor, layer: str
) -> Iterator[Row]:
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import EpsilonPlus

    def theirs() -> Tensor:
        composite = EpsilonPlus(canonizers=[SequentialMergeBatchNorm()])
        with Gradient(model, composite) as attributor:
            start = torch.eye(1000)[units]
            return attributor(images.tensor.clone(), start)[1].detach().sum(1)

    ours = own(model, images, "relevance", rule="epsilon-plus", bias="absorbed", epsilon=1e-6)
    yield "zennit", "LRP, ε-plus", ours, theirs


def timed(maps: Maps) -> tuple[Tensor, float]:
    begin = time.perf_counter()
    return maps(), time.perf_counter() - begin


def networks() -> Iterator[tuple[str, nn.Module, str]]:
    """Name, network and layer: one with ReLU6 and BatchNorm, one that every tool can treat."""
    yield "EfficientNet-Lite0", pw.demo_model(photos=True), LAYER
    torch.manual_seed(0)
    plain = models.squeezenet1_1(weights=None).eval()
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # whose hooks some tools need
    yield "SqueezeNet, random weights", plain, "features.12"


def main() -> None:
    images = pw.demo_images(photos=True).subset([0, 2, 4, 6])
    print("| network | tool | method | lowest correlation | ours, s | theirs, s |")
    print("|---|---|---|---|---|---|")
    rows = {"captum": captum_rows, "pytorch_grad_cam": grad_cam_rows, "zennit": zennit_rows}
    for name, model, layer in networks():
        with torch.no_grad():
            units = model(images.tensor).argmax(1)
        for package, of in rows.items():
            if find_spec(package) is None:
                print(f"| {name} | {package} | not installed | | | |")
                continue
            for tool, method, ours, theirs in of(model, images, units, layer):
                (mine, own_time), (other, their_time) = timed(ours), timed(theirs)
                fit = agreement(mine, other)
                line = f"{fit:.4f} | {own_time:.1f} | {their_time:.1f} |"
                print(f"| {name} | {tool} | {method} | {line}", flush=True)


if __name__ == "__main__":
    main()
