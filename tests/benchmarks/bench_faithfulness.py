"""Measure how faithful methods are, and whether they pass the randomisation check.

    python tests/benchmarks/bench_faithfulness.py --assets ../shared/assets \\
        --methods occlusion relevance relevance:rule=epsilon grad_cam

On photos that the network knows (SqueezeNet, 128 pixels), as a Markdown table: insertion, the mean
probability of the class while pixels come back to the blurred or grey photo, the strongest first
(higher is better); deletion, while they go to grey (lower is better); Spearman's rank correlation
of the map with the one of the network whose classifier was drawn anew (Adebayo et al. 2018: low
is right); Σ|map| / |score|; and seconds a photo.
"""

from __future__ import annotations

import argparse
import ast
import copy
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.attribution.registry import METHODS
from pfv_widgets.methods.attribution.result import Attribution

STEPS = 16  # shares of the pixels that are moved


def squeezenet(assets: Path) -> nn.Module:
    model: nn.Module = torchvision.models.squeezenet1_0()
    model.load_state_dict(torch.load(assets / "models" / "squeezenet1_0_imagenet.pth"))
    return model.eval()


def known(model: nn.Module, assets: Path, size: int, most: int) -> tuple[ImageBatch, list[int]]:
    """Photos that the network puts in the class of their names."""
    images = load_images(sorted((assets / "photos" / "imagenet").glob("*.jpg")), size=size)
    classes = torch.tensor([int(name[:3]) for name in images.names])
    with torch.no_grad():
        right = (model(images.tensor).argmax(1) == classes).nonzero().flatten().tolist()[:most]
    return images.subset(right), classes[right].tolist()


def classifier_drawn_anew(model: nn.Module) -> nn.Module:
    other = copy.deepcopy(model)
    torch.manual_seed(0)
    last = [one for one in other.modules() if isinstance(one, nn.Conv2d | nn.Linear)][-1]
    last.reset_parameters()
    return other


def curve(model: nn.Module, batch: Tensor, start: Tensor, maps: Tensor, classes: Tensor) -> Tensor:
    """Mean probability ``(N,)`` while the pixels of ``batch`` take the place of ``start``."""
    noise = 1e-9 * torch.rand(maps.shape, generator=torch.Generator().manual_seed(0))
    rank = (maps + noise * maps.abs().amax()).flatten(1).argsort(1, descending=True).argsort(1)
    share = (rank.view_as(maps) / rank.shape[1])[:, None]
    result = []
    for step in range(STEPS + 1):
        mixed = torch.where(share < step / STEPS, batch, start)
        with torch.no_grad():
            result.append(model(mixed).softmax(1).gather(1, classes[:, None])[:, 0])
    return torch.trapezoid(torch.stack(result, 1), dx=1 / STEPS, dim=1)


def spearman(one: Tensor, other: Tensor) -> Tensor:
    ranks = [maps.flatten(1).argsort(1).argsort(1).double() for maps in (one, other)]
    first, second = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))


def measured(
    model: nn.Module,
    images: ImageBatch,
    classes: list[int],
    name: str,
    options: dict[str, Any],
    *,
    start: str,
) -> list[float]:
    def explained(network: nn.Module) -> Attribution:
        return attribute(network, images, name, unit=classes, **options)

    begin = time.perf_counter()
    own = explained(model)
    seconds = (time.perf_counter() - begin) / len(images)
    other = explained(classifier_drawn_anew(model))
    batch, units = images.tensor, torch.tensor(classes)
    sigma = 0.08 * min(images.size)
    hidden = torch.zeros_like(batch)
    if start == "blurred":
        hidden = torchvision.transforms.functional.gaussian_blur(
            batch, [2 * round(3 * sigma) + 1] * 2, [sigma] * 2
        )
    figures = [
        curve(model, batch, hidden, own.maps, units),
        curve(model, torch.zeros_like(batch), batch, own.maps, units),
        spearman(own.maps, other.maps),
        own.maps.abs().flatten(1).sum(1) / own.scores.abs(),
    ]
    return [float(one.mean()) for one in figures[:3]] + [float(figures[3].median()), seconds]


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """Read ``name:option=value:option=value``."""
    name, *options = text.split(":")
    pairs = [one.split("=", 1) for one in options]
    literal: dict[str, Any] = dict(pairs)
    for key, value in pairs:
        try:
            literal[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):  # a name
            literal[key] = value
    return name, literal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, required=True, help="folder of photos and models")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="name:option=value")
    parser.add_argument("--size", type=int, default=128, help="of the photos in pixels")
    parser.add_argument("--images", type=int, default=45)
    parser.add_argument("--start", default="blurred", choices=("blurred", "grey"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    model = squeezenet(options.assets)
    images, classes = known(model, options.assets, options.size, options.images)
    print(f"{len(images)} photos of {options.size} pixels")
    print("| method | insertion | deletion | randomised | Σ|map| / |score| | s a photo |")
    print("|---|---|---|---|---|---|")
    for text in options.methods:
        figures = measured(model, images, classes, *parsed(text), start=options.start)
        cells = [f"{one:.3f}" for one in figures[:3]] + [f"{one:.3g}" for one in figures[3:]]
        print(f"| {text} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
