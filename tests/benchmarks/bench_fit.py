"""Measure a fit over a data set: throughput, memory, kills, and the parts of a large one.

    python tests/benchmarks/bench_fit.py throughput [--model resnet50] [--images 96] [--rounds 5]
    python tests/benchmarks/bench_fit.py memory [--numbers 1000 20000]
    python tests/benchmarks/bench_fit.py kills [--kills 6]
    python tests/benchmarks/bench_fit.py parts

Networks have random weights, images are noise. Throughput is that of the plain forward pass over
the same loader, batch by batch in turn. Memory is the most that a process of its own has held.
Kills end a run with SIGKILL at random moments and resume it, until it is complete; its result is
compared with that of a run that nobody has killed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

import pfv_widgets as pw
from pfv_widgets.engine.data.photo_stream import PhotoStream
from pfv_widgets.engine.pca.array_file import write_arrays
from pfv_widgets.engine.pca.streamed_moments import StreamedMoments


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 64, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ).eval()  # fmt: skip


def noise(number: int, size: int, batch: int) -> Iterator[Tensor]:
    """Yield the same batches in every process."""
    for start in range(0, number, batch):
        generator = torch.Generator().manual_seed(start)
        count = min(batch, number - start)
        yield torch.randn(count, 3, size, size, generator=generator)


def throughput(options: argparse.Namespace) -> None:
    """Let a timed forward pass and the fit take each batch in turn, several times."""
    model = getattr(torchvision.models, options.model)().eval()
    batches = list(noise(options.images, 224, options.batch))
    with torch.no_grad():
        model(batches[0])
    layer = pw.PFV(model, batches[0], "cpu").layer().name
    whole, each, rates = [], [], []
    for _ in range(options.rounds):
        plain, steps, total, basis = alternated(model, batches, layer)
        whole.append(sum(plain) / total)
        each.append(statistics.median(a / b for a, b in zip(plain[1:], steps[1:], strict=True)))
        rates.append((options.images / sum(plain), options.images / total))
    print(f"{options.model}, {layer}: {basis.mean.shape[0]} channels, {options.images} images")
    one, other = (statistics.median(rate) for rate in zip(*rates, strict=True))
    print(f"plain {one:.2f} images/s, fit {other:.2f}: {spread_of(whole)}")
    print(f"each further batch of {options.batch}: {spread_of(each)}")


def alternated(
    model: nn.Module, batches: list[Tensor], layer: str
) -> tuple[list[float], list[float], float, pw.PrincipalBasis]:
    """Return seconds of the pass and of the fit for each batch, and of the whole fit."""
    plain: list[float] = []
    steps: list[float] = []

    def loader() -> Iterator[Tensor]:
        for batch in batches:
            begin = time.process_time()
            with torch.no_grad():
                model(batch)
            end = time.process_time()
            yield batch
            plain.append(end - begin)
            steps.append(time.process_time() - end)

    begin = time.process_time()
    basis = pw.fit_basis(model, loader(), layer, device="cpu", progress=False)
    return plain, steps, time.process_time() - begin - sum(plain), basis


def spread_of(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def memory(options: argparse.Namespace) -> None:
    for number in options.numbers:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import bench_fit as b; "
            f"b.pw.fit_basis(b.small(), b.noise({number}, 32, 50), '2', device='cpu', "
            "progress=False); import resource; "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000)"
        )
        here = str(Path(__file__).parent)
        out = subprocess.run([sys.executable, "-c", code, here], check=True, capture_output=True)
        print(f"{number} images: at most {int(out.stdout)} MB", flush=True)


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
import bench_fit as b
b.torch.set_num_threads(1)
basis = b.pw.fit_basis(b.small(), b.noise(int(sys.argv[3]), 64, 20), "2", device="cpu",
                       progress=False, checkpoint=sys.argv[2], every=0.05, resume=True)
basis.save(sys.argv[4])
"""


def kills(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = [Path(folder) / f"{name}.npz" for name in ("killed", "whole")]
        random.seed(0)
        killed = 0
        for result, most in zip(results, (options.kills, 0), strict=True):
            checkpoint = str(Path(folder) / f"{result.stem}-checkpoint.npz")
            command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), checkpoint]
            while not result.exists():
                run = subprocess.Popen([*command, "1500", str(result)])
                if killed < most:
                    while not Path(checkpoint).exists() and run.poll() is None:
                        time.sleep(0.05)
                    time.sleep(random.uniform(0, 1.0))
                    killed += run.poll() is None
                    run.kill()
                run.wait()
        bases = [pw.PrincipalBasis.load(one) for one in results]
        off = [
            float((getattr(bases[0], name) - getattr(bases[1], name)).abs().max())
            for name in ("mean", "components", "variances")
        ]
        left = sorted(one.name for one in Path(folder).iterdir())
        print(f"killed {killed} times: off by {off} in mean, components, variances; left: {left}")


def parts(_: argparse.Namespace) -> None:
    """Print what a data set costs beside the network: decoding, moments, checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for index in range(64):
            coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
            coarse.resize((500, 375)).save(Path(folder) / f"{index}.jpg", quality=90)
        begin = time.process_time()
        for _batch in PhotoStream(folder, 224, None, 32).batches(0, 0, 1):
            pass
        print(f"decoding {64 / (time.process_time() - begin):.0f} images/s a core")
    maps = torch.randn(32, 2048, 7, 7).relu()
    moments = StreamedMoments.like(maps)
    moments.add(maps)
    begin = time.process_time()
    moments.add(maps)
    print(f"moments of 2,048 channels: {1e3 * (time.process_time() - begin) / 32:.1f} ms an image")
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        write_arrays(Path(folder) / "one.npz", moments.arrays())
        size = (Path(folder) / "one.npz").stat().st_size / 1e6
        print(f"a checkpoint of 2,048 channels: {time.perf_counter() - begin:.2f} s, {size:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["throughput", "memory", "kills", "parts"])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--numbers", type=int, nargs="+", default=[1000, 20000])
    parser.add_argument("--kills", type=int, default=6)
    options = parser.parse_args()
    {"throughput": throughput, "memory": memory, "kills": kills, "parts": parts}[options.what](
        options
    )


if __name__ == "__main__":
    main()
