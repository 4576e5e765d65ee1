"""Compare maps with those of captum, pytorch-grad-cam and zennit: same network, photos, classes.

    pip install captum grad-cam zennit
    python tests/benchmarks/bench_other_tools.py

EfficientNet-Lite0 and four photos of the demo, the class that the network sees in each.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pfv_widgets as pw
from pfv_widgets.demo.imagenet import LAYER

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


def captum_rows(model: nn.Module, images: pw.ImageBatch, units: Tensor) -> Iterator[Row]:
    from captum import attr

    baseline = torch.zeros_like(images.tensor)
    for name, method, made, options, more in (
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
    ):

        def theirs(made: type = made, more: dict[str, object] = more) -> Tensor:
            pixels = images.tensor.clone().requires_grad_()
            return made(model).attribute(pixels, target=units, **more).detach().sum(1)

        yield "captum", name, own(model, images, method, **options), theirs


def grad_cam_rows(model: nn.Module, images: pw.ImageBatch, units: Tensor) -> Iterator[Row]:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def theirs() -> Tensor:
        with GradCAM(model, [model.get_submodule(LAYER)]) as cam:
            targets = [ClassifierOutputTarget(unit) for unit in units.tolist()]
            return torch.from_numpy(cam(images.tensor, targets))

    yield "pytorch-grad-cam", "Grad-CAM", own(model, images, "grad_cam", at=LAYER), theirs


def zennit_rows(model: nn.Module, images: pw.ImageBatch, units: Tensor) -> Iterator[Row]:
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


def main() -> None:
    model, images = pw.demo_model(photos=True), pw.demo_images(photos=True).subset([0, 2, 4, 6])
    with torch.no_grad():
        units = model(images.tensor).argmax(1)
    print("| tool | method | lowest correlation | ours, s | theirs, s |\n|---|---|---|---|---|")
    rows = {"captum": captum_rows, "pytorch_grad_cam": grad_cam_rows, "zennit": zennit_rows}
    for package, of in rows.items():
        if find_spec(package) is None:
            print(f"| {package} | not installed | | | |")
            continue
        for tool, method, ours, theirs in of(model, images, units):
            (mine, own_time), (other, time_of_others) = timed(ours), timed(theirs)
            fit = agreement(mine, other)
            print(f"| {tool} | {method} | {fit:.4f} | {own_time:.1f} | {time_of_others:.1f} |")


if __name__ == "__main__":
    main()
