"""Train the demo network from nothing: ``python -m pfv_widgets.demo.train --out weights.npz``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pfv_widgets.demo.evaluation import evaluate, targets
from pfv_widgets.demo.network import WEIGHTS, DemoNet, load_weights, normalise, save_weights
from pfv_widgets.demo.object_registry import CLASSES
from pfv_widgets.demo.scenes import Scene, draw_scene

log = logging.getLogger(__name__)

# far above the seeds of the demo images, so that those are never trained on
TRAINING_SEEDS = 3_000_000_000
FRESH_SEEDS = 3_500_000_000


def draw_scenes(count: int, first_seed: int, workers: int = 1) -> list[Scene]:
    """Return the scenes of `count` seeds in a row, drawn by `workers` processes."""
    seeds = range(first_seed, first_seed + count)
    if workers == 1:
        return [draw_scene(seed) for seed in seeds]
    # spawned, because a fork of a process that runs torch's threads may hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(draw_scene, seeds, chunksize=64))


def augment(images: Tensor, cells: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the images (N, 3, H, W) tinted and, with cells (N, K, h, w), mirrored at random."""
    if torch.rand(1, generator=generator) < 0.5:
        images, cells = images.flip(3), cells.flip(3)
    gain = 1.0 + 0.3 * (torch.rand(len(images), 3, 1, 1, generator=generator) - 0.5)
    offset = 0.3 * (torch.rand(len(images), 3, 1, 1, generator=generator) - 0.5)
    tinted = images * gain + offset
    return tinted.contiguous(memory_format=torch.channels_last), cells


def cell_targets(scenes: Sequence[Scene]) -> Tensor:
    """Return (N, classes, 16, 16): the share in 0…1 of each cell that a class covers."""
    covered = torch.zeros(len(scenes), len(CLASSES), 16, 16)
    for index, scene in enumerate(scenes):
        masks = torch.from_numpy(scene.masks).float()[None]
        classes = [CLASSES.index(name) for name in scene.objects]
        covered[index, classes] = nn.functional.adaptive_avg_pool2d(masks, 16)[0]
    return covered


class Guide(nn.Module):
    """Add to the network's loss that of a second head, which names the object in every cell.

    It is thrown away after training. It makes the last map keep to the outlines of the objects,
    where the loss of the scene alone lets it spread into blobs.
    """

    def __init__(self, model: DemoNet) -> None:
        super().__init__()
        self.model = model
        # two layers, so that the parts of an object need not look alike to the network
        self.cells = nn.Sequential(
            nn.Conv2d(model.head.in_features, 64, 1),
            nn.ReLU(),
            nn.Conv2d(64, model.head.out_features, 1),
        )

    def forward(self, images: Tensor, truth: Tensor, covered: Tensor) -> Tensor:
        """Return the loss, binary cross-entropy, of the scenes plus that of their cells."""
        maps = self.model.maps(images)
        of_scenes = binary_cross_entropy_with_logits(self.model.classify(maps), truth)
        return of_scenes + 4.0 * binary_cross_entropy_with_logits(self.cells(maps), covered)


def train(scenes: Sequence[Scene], epochs: int, seed: int = 0, batch: int = 32) -> DemoNet:
    """Return a network trained on the scenes (AdamW, one cycle of the rate), in eval mode."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    guide = Guide(DemoNet()).to(memory_format=torch.channels_last)
    pixels = np.stack([scene.pixels for scene in scenes])
    truth, covered = targets(scenes), cell_targets(scenes)
    steps = epochs * -(-len(scenes) // batch)
    optimiser = torch.optim.AdamW(guide.parameters(), lr=1e-2, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=steps)
    for epoch in range(epochs):
        losses = []
        order = torch.randperm(len(scenes), generator=generator)
        for indices in torch.split(order, batch):
            inputs = normalise(pixels[indices.numpy()])
            images, cells = augment(inputs, covered[indices], generator)
            loss = guide(images, truth[indices], cells)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        log.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, sum(losses) / len(losses))
    return guide.model.to(memory_format=torch.contiguous_format).eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, train, save, and measure what was saved on scenes that were not trained on."""
    parser = argparse.ArgumentParser(prog="python -m pfv_widgets.demo.train", description=__doc__)
    parser.add_argument("--scenes", type=int, default=3_000, help="scenes to train on")
    parser.add_argument("--fresh", type=int, default=1_000, help="scenes to measure on")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the scenes")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw scenes")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file of the weights")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    scenes = draw_scenes(options.scenes, TRAINING_SEEDS, options.workers)
    log.info("drew %d scenes", len(scenes))
    save_weights(train(scenes, options.epochs, options.seed), options.out)
    fresh = draw_scenes(options.fresh, FRESH_SEEDS, options.workers)
    metrics = evaluate(load_weights(options.out), fresh)
    save_weights(load_weights(options.out), options.out, metrics)
    log.info("on %d fresh scenes: %s", len(fresh), metrics)


if __name__ == "__main__":
    main()
