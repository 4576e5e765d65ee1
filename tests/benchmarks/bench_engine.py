"""Measure the engine on the real SqueezeNet: cold start, batch composition, other knobs.

    python tests/benchmarks/bench_engine.py [--images 16 64] [--device cpu] [--out FILE.json]

Needs the network and photos of ``PFV_ASSETS``. Every figure is a median; ratios are of runs
that alternate in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision

import pfv_widgets as pw
from pfv_widgets.engine.network.fingerprint import Fingerprint

ASSETS = Path(os.environ.get("PFV_ASSETS", Path(__file__).parents[3] / "shared" / "assets"))


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Wall time of one call, the device's queue included."""
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def photos(number: int) -> pw.ImageBatch:
    """Photos of ImageNet's classes, then of pets, 224 × 224."""
    paths = sorted((ASSETS / "photos/imagenet").glob("*.jpg"))
    paths += sorted((ASSETS / "pets/images").glob("*.jpg"))
    return pw.load_images(paths[:number])


def network() -> torch.nn.Module:
    model = torchvision.models.squeezenet1_0()
    path = ASSETS / "models/squeezenet1_0_imagenet.pth"
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def cold_start(images: pw.ImageBatch, device: torch.device, rounds: int) -> dict[str, float]:
    """From network and batch to the first heatmaps, beside one plain forward pass."""
    model = network().to(device)
    batch = images.tensor.to(device)

    def forward() -> None:
        with torch.no_grad():
            model(batch)

    def cold() -> None:
        _ = pw.PFV(model, images, device).render().heatmaps

    seconds(forward, device), seconds(cold, device)
    plain, first = [], []
    for _ in range(rounds):
        plain.append(seconds(forward, device))
        first.append(seconds(cold, device))
    ratio = statistics.median(b / a for a, b in zip(plain, first, strict=True))
    fingerprint = Fingerprint(model)
    seconds(fingerprint.state, device)
    states = [seconds(fingerprint.state, device) for _ in range(rounds)]
    return {
        "fingerprint_ms": 1e3 * statistics.median(states),
        "forward_ms": 1e3 * statistics.median(plain),
        "cold_ms": 1e3 * statistics.median(first),
        "cold_to_forward": ratio,
    }


def changes(images: pw.ImageBatch, device: torch.device, layer: str) -> dict[str, float]:
    """Milliseconds of a change of each knob, everything above it kept."""
    pfv = pw.PFV(network().to(device), images, device)
    number = len(images)
    state: dict[str, Any] = {"layer": layer}
    pfv.render(**state)

    def composition(step: int) -> dict[str, Any]:
        out = step % number
        return {"images": tuple(0.0 if i == out else 1.0 for i in range(number))}

    knobs: dict[str, Callable[[int], dict[str, Any]]] = {
        "composition": composition,
        "components": lambda step: {"components": 1 + step % 12},
        "sigma": lambda step: {"sigma": 0.5 + 0.05 * (step % 40)},
        "colour map": lambda step: {"colour_map": ("rgb", "safe")[step % 2]},
    }
    figures = {}
    for name, change in knobs.items():
        steps = [state | change(step) for step in range(24)]
        times = [seconds(lambda s=step: pfv.render(**s), device) for step in steps]
        figures[f"{name}_ms"] = 1e3 * statistics.median(times[4:])

    def basis_alone(step: int) -> None:
        weights = tuple(0.5 + 0.001 * step if i == step % number else 1.0 for i in range(number))
        pfv.store.scores(layer, weights, (1, 2, 3))

    times = [seconds(lambda k=k: basis_alone(k), device) for k in range(24)]
    figures["basis and projection_ms"] = 1e3 * statistics.median(times[4:])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--layers", nargs="+", default=["features.12", "features.10"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = torch.device(options.device)
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    report: dict[str, Any] = {
        "torch": torch.__version__,
        "device": f"{device} {named}",
        "threads": torch.get_num_threads(),
    }
    for number in options.images:
        images = photos(number)
        figures: dict[str, Any] = {"cold": cold_start(images, device, options.rounds)}
        for layer in options.layers:
            figures[layer] = changes(images, device, layer)
        report[f"{number} images"] = figures
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
