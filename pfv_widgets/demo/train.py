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

from pfv_widgets.demo.evaluation import evaluate, targets
from pfv_widgets.demo.network import WEIGHTS, DemoNet, load_weights, normalise, save_weights
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


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the images (N, 3, H, W) mirrored, moved and tinted a little, by lot."""
    count = len(images)
    if torch.rand(1, generator=generator) < 0.5:
        images = images.flip(3)
    top, left = torch.randint(0, 9, (2,), generator=generator).tolist()
    height, width = images.shape[2:]
    padded = nn.functional.pad(images, (4, 4, 4, 4), mode="replicate")
    moved = padded[:, :, top : top + height, left : left + width]
    gain = 1.0 + 0.3 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    offset = 0.3 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    return moved * gain + offset


def train(scenes: Sequence[Scene], epochs: int, seed: int = 0, batch: int = 64) -> DemoNet:
    """Return a network trained on the scenes, in eval mode.

    Binary cross-entropy per class, AdamW, one cycle of the learning rate.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = DemoNet().to(memory_format=torch.channels_last)
    pixels = np.stack([scene.pixels for scene in scenes])
    truth = targets(scenes)
    steps = epochs * -(-len(scenes) // batch)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=steps)
    for epoch in range(epochs):
        losses = []
        order = torch.randperm(len(scenes), generator=generator)
        for chosen in torch.split(order, batch):
            images = augment(normalise(pixels[chosen.numpy()]), generator)
            images = images.contiguous(memory_format=torch.channels_last)
            loss = nn.functional.binary_cross_entropy_with_logits(model(images), truth[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        log.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, sum(losses) / len(losses))
    return model.to(memory_format=torch.contiguous_format).eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, train, save, and measure what was saved on scenes that were not trained on."""
    parser = argparse.ArgumentParser(prog="python -m pfv_widgets.demo.train", description=__doc__)
    parser.add_argument("--scenes", type=int, default=10_000, help="scenes to train on")
    parser.add_argument("--fresh", type=int, default=1_000, help="scenes to measure on")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the scenes")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw scenes")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file of the weights")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    scenes = draw_scenes(options.scenes, TRAINING_SEEDS, options.workers)
    log.info("drew %d scenes", len(scenes))
    save_weights(train(scenes, options.epochs, options.seed), options.out)
    fresh = draw_scenes(options.fresh, FRESH_SEEDS, options.workers)
    figures = evaluate(load_weights(options.out), fresh)
    save_weights(load_weights(options.out), options.out, figures)
    log.info("on %d fresh scenes: %s", len(fresh), figures)


if __name__ == "__main__":
    main()
