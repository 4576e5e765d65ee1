"""Measure occlusion beside captum's default, on the same boxes and network, in one run.

    python tests/benchmarks/bench_methods.py --assets ../shared/assets --threads 2

Prints a Markdown table: seconds of each (median of interleaved rounds), their ratio, the same in
plain forward passes of the batch, and how far the maps lie apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.methods.attribution.attribute import attribute


def seconds(work: Callable[[], Any]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def compared(
    model: nn.Module, images: ImageBatch, size: int, stride: int, rounds: int
) -> dict[str, float]:
    from captum.attr import Occlusion  # slow to import, and only compared with

    device = next(model.parameters()).device
    batch = images.tensor.to(device)
    with torch.no_grad():
        units = model(batch).argmax(1)
    result: dict[str, Any] = {}

    def ours() -> None:
        options = {"size": size, "stride": stride, "fill": "zero", "mean": True}
        result["ours"] = attribute(model, images, "occlusion", device=device, **options).maps

    def captums() -> None:
        windows = (3, size, size), (3, stride, stride)
        result["captum"] = Occlusion(model).attribute(batch, *windows, target=units)[:, 0].cpu()

    def plain() -> None:
        with torch.no_grad():
            model(batch)

    work = {"ours": ours, "captum": captums, "forward": plain}
    for one in work.values():
        one()
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, one in work.items():
            times[name].append(seconds(one))
    medians = {name: statistics.median(each) for name, each in times.items()}
    scale = float(result["captum"].abs().max())
    ratios = [theirs / own for own, theirs in zip(times["ours"], times["captum"], strict=True)]
    return medians | {
        "ratio": statistics.median(ratios),
        "difference": float((result["ours"] - result["captum"]).abs().max()) / scale,
    }


def loaded(name: str, assets: Path | None) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = getattr(torchvision.models, name)()
    if assets and name == "squeezenet1_0":
        path = assets / "models" / "squeezenet1_0_imagenet.pth"
        model.load_state_dict(torch.load(path, map_location="cpu"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.eval().to(device)


def pictures(assets: Path | None, count: int) -> ImageBatch:
    if assets:
        return load_images(sorted((assets / "photos" / "imagenet").glob("*.jpg"))[:count])
    source = torch.Generator().manual_seed(0)
    return load_images(torch.randn((count, 3, 224, 224), generator=source))


def table(rows: list[dict[str, Any]]) -> str:
    head = ("network", "boxes", "ours, s", "captum, s", "ratio", "ours, passes", "captum, passes")
    lines = [f"| {' | '.join((*head, 'difference'))} |", "|" + "---|" * (len(head) + 1)]
    for row in rows:
        cells = (
            row["network"], f"{row['size']}/{row['stride']}", f"{row['ours']:.2f}",
            f"{row['captum']:.2f}", f"{row['ratio']:.2f}", f"{row['ours'] / row['forward']:.1f}",
            f"{row['captum'] / row['forward']:.1f}", f"{row['difference']:.1e}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, help="folder of photos and models; none: noise")
    parser.add_argument("--networks", nargs="+", default=["squeezenet1_0"])
    parser.add_argument("--boxes", nargs="+", default=["64/32"], help="size/stride in pixels")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="that torch uses")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    images = pictures(options.assets, options.images)
    rows = []
    for name in options.networks:
        model = loaded(name, options.assets)
        for boxes in options.boxes:
            size, stride = map(int, boxes.split("/"))
            result = compared(model, images, size, stride, options.rounds)
            rows.append({"network": name, "size": size, "stride": stride, **result})
    print(f"{options.images} images, {torch.get_num_threads()} threads")
    print(table(rows))
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1), "utf-8")


if __name__ == "__main__":
    main()
