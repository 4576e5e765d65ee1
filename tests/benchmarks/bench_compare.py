"""Measure what fine-tuning changes, and how pictures fall when weights are drawn anew.

    python tests/benchmarks/bench_compare.py --assets ../shared/assets

On ants and bees with SqueezeNet: the cascade of :func:`randomised` (rank correlation, SSIM, CKA of
the picture of each step, by weighting), then pretrained, head trained and fine-tuned networks: CKA
layer by layer, the layer from which they part, and what a linear probe says of each layer.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pfv_widgets as pw
from pfv_widgets.analysis.compare.common_grid import on_grid
from pfv_widgets.analysis.transfer.probes import linear_probe
from pfv_widgets.engine.network.capture import capture
from pfv_widgets.engine.network.feature_layout import Layout

LAYERS = [f"features.{index}" for index in (0, 3, 4, 5, 7, 8, 9, 10, 12)]


def squeezenet(assets: Path) -> nn.Module:
    model: nn.Module = torchvision.models.squeezenet1_0()
    path = assets / "models" / "squeezenet1_0_imagenet.pth"
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def photos(assets: Path, part: str, size: int, most: int) -> tuple[pw.ImageBatch, Tensor]:
    paths = [
        path
        for kind in ("ants", "bees")
        for path in sorted((assets / "ants_bees" / part / kind).iterdir())[:most]
    ]
    images = pw.load_images(paths, size=size, labels=[path.parent.name for path in paths])
    return images, torch.tensor([label == "bees" for label in images.labels or ()]).long()


def tuned(model: nn.Module, images: Tensor, targets: Tensor, first: int, epochs: int) -> nn.Module:
    """Train a new head and the features from ``first`` on; the rest stays."""
    model = copy.deepcopy(model)
    torch.manual_seed(0)
    model.classifier[1] = nn.Conv2d(512, 2, 1)
    with torch.no_grad():
        early = torch.cat([model.features[:first](part) for part in images.split(16)])
    rest = nn.Sequential(model.features[first:], model.classifier, nn.Flatten())
    optimiser = torch.optim.Adam(rest.parameters(), 3e-4)
    for _ in range(epochs):
        for indices in torch.randperm(len(early)).split(16):
            loss = cross_entropy(rest(early[indices]), targets[indices])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model


def accuracies(model: nn.Module, images: Tensor, targets: Tensor) -> list[float]:
    """Of cross-validated linear probes, by layer."""
    expected = {layer: (Layout(), lambda maps: on_grid(maps, 1)) for layer in LAYERS}
    parts = []
    with torch.no_grad(), capture(model, expected, stop=False) as activations:
        for part in images.split(16):
            model(part)
            parts.append([activations[layer].flatten(1) for layer in LAYERS])
    labels = [str(int(target)) for target in targets]
    features = [torch.cat(of_layer).double().numpy() for of_layer in zip(*parts, strict=True)]
    return [linear_probe(one, labels).accuracy.value for one in features]


def row(name: str, values: object) -> str:
    return f"| {name} | " + " | ".join(f"{value:.3f}" for value in np.asarray(values)) + " |"


def cascade(model: nn.Module, images: pw.ImageBatch) -> None:
    for weighting in ("none", "flat"):
        begin = time.process_time()
        curve = pw.similarity_curve(
            pw.randomised(model), images, layer="features.12", weighting=weighting
        )
        print(f"\nweighting {weighting}, {time.process_time() - begin:.0f} s of processor time")
        print("| | " + " | ".join(name.removeprefix("down to ") for name in curve.names) + " |")
        print(row("rank correlation", curve.rank_correlation))
        print(row("the same, borders counted", curve.plain_rank_correlation))
        print(row("SSIM", curve.ssim))
        print(row("CKA", curve.cka))


def fine_tuning(model: nn.Module, assets: Path, size: int, epochs: int) -> None:
    images, targets = photos(assets, "train", size, 60)
    held_out, truth = photos(assets, "val", size, 40)
    networks = {
        "pretrained": model,
        "head trained": tuned(model, images.tensor, targets, 13, epochs),
        "from features.9": tuned(model, images.tensor, targets, 9, epochs),
        "all": tuned(model, images.tensor, targets, 0, epochs),
    }
    compared = held_out.subset(range(0, len(held_out), 4))
    print("\n| | " + " | ".join(LAYERS) + " |")
    for name, network in networks.items():
        result = pw.similarity({"pretrained": model, "other": network}, compared, LAYERS)
        print(row(f"{name}: CKA", np.diag(result.cka)), "parts at", result.parting_layer(0.999))
        print(row(f"{name}: probe", accuracies(network, held_out.tensor, truth)))
        with torch.no_grad():
            outputs = torch.cat([network(part) for part in held_out.tensor.split(16)])
        if outputs.shape[1] == 2:
            print(f"{name}: accuracy {float((outputs.argmax(1) == truth).float().mean()):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, default=Path("../shared/assets"))
    parser.add_argument("--size", type=int, default=224, help="pixels of the photos")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    model = squeezenet(options.assets)
    images, _ = photos(options.assets, "val", options.size, 8)
    cascade(model, images)
    fine_tuning(model, options.assets, options.size, options.epochs)


if __name__ == "__main__":
    main()
