"""Measure how well shortcuts are found and repaired, on cases with known truth.

    python tests/benchmarks/bench_shortcuts.py --assets ../shared/assets [--other] [--quick]

Real SqueezeNet, ants and bees, marks of four kinds on 95 % of one class, and a logistic read-out
of pooled features. A line for each plant: accuracy on clean and swapped photos, before and after
the first suspect is cut; whether it speaks for the marked class; the share of marked photos in
which its map points at the mark. Then read-outs of unmarked photos, which should have no suspect.
``--other`` takes marks that the finder was not made with.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pfv_widgets as pw
from tests.benchmarks.shortcut_cases import (
    MARKS,
    OTHER_MARKS,
    RATE,
    Mark,
    Photos,
    Pooled,
    ants_and_bees,
    batch_of,
    pooled_features,
    read_out,
    squeezenet_features,
)


def accuracy(model: nn.Module, images: pw.ImageBatch, labels: np.ndarray) -> float:
    with torch.no_grad():
        parts = [model(part).argmax(1) for part in images.tensor.split(16)]
    return float((torch.cat(parts).numpy() == labels).mean())


def plant(features: nn.Module, photos: Photos, mark: Mark | None, marked: int, seed: int) -> None:
    pixels, labels, classes = photos.train.copy(), photos.train_labels, photos.classes
    where = np.zeros(pixels.shape[:3], bool)
    if mark is not None:
        own = np.random.default_rng(seed).permutation(np.flatnonzero(labels == marked))
        chosen = own[: round(RATE * len(own))]
        pixels[chosen], where[chosen] = mark.put(pixels[chosen], seed)
    images = batch_of(pixels, labels, classes)
    pooled = pooled_features(features, images.tensor)
    model = Pooled(features, *read_out(pooled, labels)).eval()
    report = pw.find_shortcuts(model, images)
    name = "clean" if mark is None else f"{mark.name} on {classes[marked]}"
    if mark is None or not report.suspects:
        print(f"{name}: {report!r}", flush=True)
        return
    first = report.suspects[0]
    other = photos.test.copy()
    there = photos.test_labels != marked
    other[there], _ = mark.put(other[there], seed)
    tests = [batch_of(one, photos.test_labels, classes) for one in (photos.test, other)]
    cut = pw.ablate(model, report.layer, report.basis, first.component)
    figures = [
        accuracy(one, images, photos.test_labels) for one in (model, cut) for images in tests
    ]
    seen = np.flatnonzero(where.any((1, 2)))
    maps = report.maps(first, images.subset(seen.tolist())).flatten(1).argmax(1)
    hits = np.mean([where[index].flat[int(at)] for index, at in zip(seen, maps, strict=True)])
    print(
        f"{name}: clean {figures[0]:.2f} → {figures[2]:.2f}, swapped {figures[1]:.2f} → "
        f"{figures[3]:.2f}, right class {first.unit == marked}, pointing {hits:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--other", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one class, every second mark")
    options = parser.parse_args()
    features, photos = squeezenet_features(options.assets), ants_and_bees(options.assets)
    marks = OTHER_MARKS if options.other else MARKS
    for seed, mark in enumerate(marks[:: 2 if options.quick else 1]):
        for marked in (1,) if options.quick else (0, 1):
            plant(features, photos, mark, marked, seed)
    plant(features, photos, None, 0, 0)


if __name__ == "__main__":
    main()
