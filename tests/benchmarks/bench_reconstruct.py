"""Measure a step of a reconstruction beside a plain forward and backward pass, in one run.

    python tests/benchmarks/bench_reconstruct.py --assets ../shared/assets --threads 1

Prints a Markdown table: milliseconds of each (medians of interleaved rounds) and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
import torchvision
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pfv_widgets.methods.inversion.reconstruct import reconstruct

_STEPS = 17  # two looks at the pictures as they are among them


def step_of_ours(model: nn.Module, pictures: int, size: int) -> float:
    ends: list[float] = []
    units = list(range(pictures))
    reconstruct(
        model, unit=units, size=size, steps=_STEPS, quiet=True,
        progress=lambda *_: ends.append(time.perf_counter()),
    )  # fmt: skip
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def plain_step(model: nn.Module, pictures: int, size: int) -> float:
    batch = torch.randn(pictures, 3, size, size, requires_grad=True)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        torch.autograd.grad(model(batch).diagonal().sum(), batch)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = torchvision.models.squeezenet1_0()
    weights = arguments.assets / "models" / "squeezenet1_0_imagenet.pth"
    model.load_state_dict(torch.load(weights))
    model.eval()
    print("| pictures | ms a step | ms forward and backward | ratio |\n|---|---|---|---|")
    for pictures in (1, 4):
        rounds = [
            (step_of_ours(model, pictures, arguments.size),
             plain_step(model, pictures, arguments.size))
            for _ in range(arguments.rounds)
        ]  # fmt: skip
        ours, plain = (1000 * statistics.median(times) for times in zip(*rounds, strict=True))
        print(f"| {pictures} | {ours:.0f} | {plain:.0f} | {ours / plain:.2f} |")


if __name__ == "__main__":
    main()
