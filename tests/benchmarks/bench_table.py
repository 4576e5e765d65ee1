"""Measure what every network costs, in one table that is the same on a processor and a GPU.

    python tests/benchmarks/bench_table.py [--device cuda] [--networks resnet50] [--images 16 64]
                                           [--out table.json]
    python tests/benchmarks/bench_table.py --cold [--networks swin_t] [--images 16]

The second form prints for one network of each family what a first picture costs, in plain forward
passes that alternate with it: on a processor by processor time, so that others may use it too.

Rounds of a row end after ``--longest`` seconds, so that rows of many images end as well: the column
"rounds" says how many there were, one at least.

Networks have random weights, images are 16 drawn scenes, shifted where there are more. Times are
medians in milliseconds:
a plain forward pass; cold, from network and images to the first heatmaps at the size of the
images, and that over the forward pass (both alternate); then a change of one thing with warm
caches, to uint8 heatmaps on the processor at the size that a gallery shows; and the recipe of
Bakken et al. recomputed from the forward pass to the heatmaps. Memory is the most that was held,
beside that of a plain forward pass: by a process of its own, or by the allocator of a GPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate

import pfv_widgets as pw
from pfv_widgets.widgets.toolkit.geometry import Grid

NETWORKS = ("squeezenet1_0", "resnet50", "vgg16", "vit_b_16", "efficientnet_b0")
FAMILIES = (
    "alexnet", "vgg11", "resnet18", "resnet50", "densenet121", "squeezenet1_1", "googlenet",
    "inception_v3", "shufflenet_v2_x0_5", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5",
    "efficientnet_b0", "efficientnet_v2_s", "convnext_tiny", "regnet_y_400mf", "swin_t",
    "vit_b_32", "maxvit_t",
)  # fmt: skip
COLUMNS = (
    "network", "images", "rounds", "forward", "cold", "cold / forward", "layer", "batch",
    "components", "weighting", "opacity", "recomputed", "MB", "MB, forward",
)  # fmt: skip
Work = Callable[[], object]


@cache
def photos(number: int, size: int = 224) -> pw.ImageBatch:
    """Return 16 drawn scenes, which take long to draw, and shifted ones to make up the number."""
    scenes = pw.load_images(list(pw.demo_images(min(number, 16)).pixels), size=size).tensor
    shifted = [scenes.roll((7 * turn, 11 * turn), (2, 3)) for turn in range(-(-number // 16))]
    return pw.load_images(torch.cat(shifted)[:number])


def seconds(work: Work, device: torch.device) -> float:
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def memory(device: torch.device) -> float:
    """Return the most that was held, in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def begin_memory(device: torch.device) -> float:
    """Return what is held already and not counted, in MB."""
    gc.collect()
    if device.type != "cuda":
        return 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device) / 1e6


def recomputed(model: nn.Module, batch: Tensor, names: list[str], layer: str) -> Tensor:
    """Do what the paper does at every change: forward pass, SVD, weighting, colours."""
    activations: dict[str, Tensor] = {}
    runs: Counter[str] = Counter()
    modules = dict(model.named_modules())

    def hook(name: str, output: Tensor) -> None:
        runs[name] += 1
        activations[name] = activations[f"{name}#{runs[name]}"] = output

    handles = [model.register_forward_pre_hook(lambda *_: runs.clear())] + [
        modules[name].register_forward_hook(lambda _, __, out, name=name: hook(name, out))
        for name in {name.partition("#")[0] for name in [*names, layer]}
    ]
    maps = torch.cat([activations[layer] for part in batch.split(16) if model(part) is not None])
    for handle in handles:
        handle.remove()
    if maps.ndim == 3:  # tokens
        side = int((maps.shape[1] - 1) ** 0.5)
        maps = maps[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
    left, values, _ = torch.linalg.svd(rows - rows.mean(dim=0), full_matrices=False)
    scores = (left[:, :3] * values[:3]).view(len(maps), *maps.shape[2:], 3).permute(0, 3, 1, 2)
    size = tuple(batch.shape[2:])
    picture = interpolate(scores, size=size, mode="bilinear")
    std, mean = torch.std_mean(picture, correction=0)
    picture = picture.clamp(mean - std, mean + std)
    return (picture - picture.min()) / (picture.max() - picture.min())


def changes(pfv: pw.PFV, device: torch.device, longest: float) -> dict[str, float]:
    """Return milliseconds of a change of each knob, everything above it cached.

    Layers are changed as long as they take ``longest`` seconds in all, once at least.
    """
    number, layers = len(pfv.images), [one.name for one in pfv.layers if one.same_as is None]
    layer = pfv.layer().name
    grid = Grid.of(min(number, 64), pfv.images.size)  # of a gallery's first page
    step = grid.step(0.8 * pfv.detail(layer, "flat"))
    size = grid.tile[0] // step, grid.tile[1] // step

    def show(**settings: Any) -> None:
        heatmaps = pfv.render(**settings, size=size).heatmaps
        (heatmaps * 255).round().to(torch.uint8).cpu()

    def out(step: int) -> dict[str, Any]:
        return {"images": tuple(float(index != step % number) for index in range(number))}

    knobs: dict[str, Callable[[int], dict[str, Any]]] = {
        "batch": out,
        "components": lambda step: {"components": 1 + step % 12},
        "weighting": lambda step: {"weighting": ("none", "flat", "hierarchical")[step % 3]},
        "opacity": lambda step: {"opacity": step / 40},
    }
    times: dict[str, float] = {}
    for name, knob in knobs.items():
        pfv.anchor()
        states = [knob(step) for step in range(16)]
        all_times = [seconds(lambda s=state: show(**s), device) for state in states]
        times[name] = 1e3 * statistics.median(all_times[4:])
    others = layers[len(layers) // 2 :: max(1, len(layers) // 8)][:3]
    taken: list[float] = []
    for name in others:
        if not taken or sum(taken) < longest:
            taken.append(seconds(lambda n=name: show(layer=n), device))
    times["layer"] = 1e3 * statistics.median(taken)
    return times


def row(
    name: str, number: int, device: torch.device, rounds: int, longest: float
) -> Mapping[str, object]:
    """Measure a row, in as many rounds as take ``longest`` seconds, ``rounds`` at most."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)().eval().to(device)
    images = photos(number)
    batch = images.tensor.to(device)
    before = begin_memory(device)

    def forward() -> None:
        for part in batch.split(64):
            model(part)

    def first() -> None:
        nonlocal pfv
        pfv = None  # else two would be held at once
        pfv = pw.PFV(model, images, device)
        pfv.render()

    model(batch[:16])
    pw.PFV(model, photos(2), device).render()  # libraries and kernels are loaded once
    pfv: pw.PFV | None = None
    plain, cold = [seconds(forward, device)], []
    held = memory(device) - before
    cold.append(seconds(first, device))
    while len(cold) < rounds and sum(plain) + sum(cold) < longest:
        plain.append(seconds(forward, device))
        cold.append(seconds(first, device))
    assert pfv is not None
    layer = pfv.layer().name
    chain = [one.name for one in pfv.store.chain(layer)]
    result = changes(pfv, device, longest)
    most = memory(device) - before
    again = seconds(lambda: recomputed(model, batch, chain, layer), device)
    ratio = statistics.median(b / a for a, b in zip(plain, cold, strict=True))
    return {
        "network": name, "images": number, "rounds": len(cold),
        "forward": 1e3 * statistics.median(plain),
        "cold": 1e3 * statistics.median(cold), "cold / forward": f"{ratio:.2f}", **result,
        "recomputed": 1e3 * again, "MB": most, "MB, forward": held,
    }  # fmt: skip


def cold_row(name: str, number: int, device: torch.device, rounds: int) -> str:
    """Return a row: forward pass and first picture in ms, and their ratios with their ranges."""
    torch.manual_seed(0)
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = getattr(torchvision.models, name)(**options).eval().to(device)
    images = photos(number, 299 if name == "inception_v3" else 224)
    batch = images.tensor.to(device)

    def took(work: Work) -> tuple[float, float]:
        begin, used = time.perf_counter(), time.process_time()
        seconds(work, device)
        return time.perf_counter() - begin, time.process_time() - used

    def forward() -> None:
        for part in batch.split(64):
            model(part)

    def first() -> None:
        pw.PFV(model, images, device).render()

    took(forward), took(first)  # libraries and kernels are loaded once
    pairs = [(took(forward), took(first)) for _ in range(rounds)]
    plain, cold = (
        1e3 * statistics.median(wall for wall, _ in one) for one in zip(*pairs, strict=True)
    )
    ratios = [[cold[clock] / plain[clock] for plain, cold in pairs] for clock in (0, 1)]
    spread = " | ".join(
        f"{statistics.median(one):.2f} ({min(one):.2f} to {max(one):.2f})" for one in ratios
    )
    return f"| {name} | {number} | {plain:.0f} | {cold:.0f} | {spread} |"


def line(cells: Mapping[str, object]) -> str:
    texts = (
        f"{one:.0f}" if isinstance(one, float) else str(one) for one in map(cells.get, COLUMNS)
    )
    return f"| {' | '.join(texts)} |"


def rows(options: argparse.Namespace) -> Iterator[Mapping[str, object]]:
    """Yield the rows: on a processor each from a process of its own, whose memory is measured."""
    device = torch.device(options.device)
    for name in options.networks:
        for number in options.images:
            if device.type == "cuda":
                with torch.no_grad():
                    yield row(name, number, device, options.rounds, options.longest)
                continue
            cell = ["--networks", name, "--images", str(number), "--cell"]
            more = ["--device", options.device, "--rounds", str(options.rounds)]
            more += ["--longest", str(options.longest)]
            command = [sys.executable, __file__, *cell, *more]
            yield json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+")
    parser.add_argument("--cold", action="store_true", help="only the first picture")
    parser.add_argument("--images", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--longest", type=float, default=20.0, help="seconds of a row's rounds")
    parser.add_argument("--out", type=Path, help="a JSON file to write as well")
    parser.add_argument("--cell", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.networks = options.networks or (FAMILIES if options.cold else NETWORKS)
    device = torch.device(options.device)
    if options.cold:
        print(
            "| network | images | forward, ms | first picture | ratio | of processor time |"
            "\n|---|---|---|---|---|---|"
        )
        for name in options.networks:
            for number in options.images:
                with torch.no_grad():
                    print(cold_row(name, number, device, options.rounds), flush=True)
        return
    if options.cell:
        with torch.no_grad():
            of = options.networks[0], options.images[0], device, options.rounds, options.longest
            print(json.dumps(row(*of)))
        return
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    machine = f"{card}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}"
    print(f"{machine}\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    table: list[Mapping[str, object]] = []
    for one in rows(options):
        print(line(one), flush=True)
        table.append(one)
        if options.out is not None:  # after each row: a run that is stopped has written the others
            options.out.write_text(json.dumps({"machine": machine, "rows": table}, indent=1))


if __name__ == "__main__":
    main()
