"""Measure a change of the batch in wide layers: the basis from scratch beside the one that follows.

    python tests/benchmarks/bench_wide.py [--images 16 64] [--channels 1280 2048 4096]
    python tests/benchmarks/bench_wide.py --models resnet50 efficientnet_b0

The first form takes random feature maps of 7 × 7 positions, the second whole networks with random
weights, from a change of one image's weight to finished heatmaps. Both ways alternate in one
process; milliseconds are medians of wall time, and of processor time in brackets.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch
import torchvision

import pfv_widgets as pw
from pfv_widgets.engine.pca.batch_basis import fit_batch_basis
from pfv_widgets.engine.pca.features import features_of
from pfv_widgets.engine.pca.wide_fit import WideFit

Times = list[tuple[float, float]]


def timed(work: Callable[[], object], times: Times) -> None:
    begin, used = time.perf_counter(), time.process_time()
    work()
    times.append((1e3 * (time.perf_counter() - begin), 1e3 * (time.process_time() - used)))


def median(times: Times) -> str:
    wall, used = (statistics.median(one) for one in zip(*times, strict=True))
    return f"{wall:.0f} ({used:.0f})"


def weights_of(number: int, rounds: int) -> Iterator[tuple[float, ...]]:
    """Leave another image out at each step."""
    for step in range(rounds):
        yield tuple(float(index != step % number) for index in range(number))


def bases(number: int, channels: int, rounds: int) -> str:
    """Return a row: from scratch, following, and following a slider of a quarter of the images."""
    directions = torch.randn(60, channels) * torch.linspace(1, 0.1, 60)[:, None]
    vectors = torch.randn(number, 49, 60) @ directions + 0.2 * torch.randn(number, 49, channels)
    features = features_of(vectors.transpose(1, 2).reshape(number, channels, 7, 7).relu())
    follow, along = WideFit(features.maps), WideFit(features.maps)
    for fit in (follow, along):
        fit_batch_basis(features, fit, (1.0,) * number, 3)
    before: Times = []
    after: Times = []
    slider: Times = []
    for step, weights in enumerate(weights_of(number, rounds)):
        timed(lambda w=weights: fit_batch_basis(features, None, w, 3), before)
        timed(lambda w=weights: fit_batch_basis(features, follow, w, 3), after)
        level = 1 - 0.02 * step
        group = tuple(level if index < number // 4 else 1.0 for index in range(number))
        timed(lambda w=group: fit_batch_basis(features, along, w, 3), slider)
    cells = [str(number), str(channels), *map(median, (before, after, slider))]
    return f"| {' | '.join(cells)} |"


def pictures(name: str, number: int, rounds: int) -> str:
    """Return a row: from a change of one image's weight to finished heatmaps."""
    torch.manual_seed(0)
    pfv = pw.PFV(
        getattr(torchvision.models, name)().eval(),
        pw.load_images(list(pw.demo_images(number).pixels), size=224),
        "cpu",
    )
    channels = pfv.render().basis.mean.shape[0]
    times: Times = []
    for weights in weights_of(number, rounds):
        timed(lambda w=weights: pfv.render(images=w), times)
    return f"| {name} | {number} | {channels} | {median(times)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--channels", type=int, nargs="+", default=[1280, 2048, 4096])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--models", nargs="+", help="names of torchvision's networks")
    options = parser.parse_args()
    with torch.no_grad():
        if options.models:
            print("| network | images | channels | change to heatmaps, ms |\n|---|---|---|---|")
            for name in options.models:
                for number in options.images:
                    print(pictures(name, number, options.rounds))
            return
        print(
            "| images | channels | from scratch, ms | following | a slider |\n|---|---|---|---|---|"
        )
        for number in options.images:
            for channels in options.channels:
                print(bases(number, channels, options.rounds))


if __name__ == "__main__":
    main()
