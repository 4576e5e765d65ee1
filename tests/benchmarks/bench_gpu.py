"""Measure on a GPU what the table of networks leaves out, one part after another.

    python tests/benchmarks/bench_gpu.py [--out FOLDER] [--parts forward wide fit …]

forward: the same network in float32, TF32, bfloat16 and with channels last: time of a forward
pass, and how far colours of one basis and its own eigenvalues are from those in float32.
wide: from a change of one image's weight to finished heatmaps in layers of 1,280 to 4,096 channels,
and how far these are from a decomposition from scratch in float64.
fit: `fit_basis` at 2,048 channels beside the plain forward pass over the same batches.
ranks: `torchrun --nproc-per-node 1 -m pfv_widgets fit`, which takes NCCL where there is CUDA.
memory: a picture where a small part of the card may be used, so that the chunk is halved.
profile: where the time of a first picture, of another layer and of a fit goes.

A part that fails is printed with its error, and the others run. `--device cpu` tries the script.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pfv_widgets as pw
from pfv_widgets.engine.colouring.heatmaps import Colouring, render_heatmaps
from pfv_widgets.engine.pca.batch_basis import fit_batch_basis
from pfv_widgets.engine.pca.features import features_of
from pfv_widgets.engine.pca.wide_fit import WideFit
from tests.benchmarks.bench_table import photos, seconds

Row = dict[str, object]
RGB = Colouring(channels=(0, 1, 2))


def network(name: str, device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    return getattr(torchvision.models, name)().eval().to(device)


def milliseconds(work: Callable[[], object], device: torch.device, rounds: int = 5) -> float:
    work()
    return 1e3 * statistics.median(seconds(work, device) for _ in range(rounds))


@contextmanager
def tf32(allowed: bool):
    """Let convolutions round to 10 bits, as PyTorch does by default, or not."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def forward(device: torch.device, small: bool) -> list[Row]:
    rows: list[Row] = []
    images = photos(4 if small else 64)
    batch = images.tensor.to(device)
    for name in ("squeezenet1_0",) if small else ("resnet50", "efficientnet_b0", "vit_b_16"):
        model = network(name, device)
        with tf32(False):
            exact = pw.PFV(model, images, device).render()
        for way, options, rounded in (
            ("float32", {}, False),
            ("TF32 convolutions", {}, True),
            ("channels last", {"channels_last": True}, True),
            ("bfloat16", {"autocast": True}, True),
            ("bfloat16, channels last", {"autocast": True, "channels_last": True}, True),
        ):
            with tf32(rounded):
                there = pw.PFV(model, images, device, basis=exact.basis, **options)
                run = there.store.forward.run
                form = torch.channels_last if "channels_last" in options else torch.preserve_format
                pixels = batch.to(memory_format=form)
                time_of = milliseconds(lambda r=run, m=model, g=pixels: r(m, g), device)
                frame = there.render()
                own = pw.PFV(model, images, device, **options).render().basis
            off = (frame.heatmaps - exact.heatmaps).abs().flatten()[:: 1 if small else 16]
            values = (own.variances / exact.basis.variances.to(own.variances) - 1).abs()
            rows.append({
                "network": name, "way": way, "forward, ms": round(time_of, 2),
                "RGB, mean": float(off.mean()), "RGB, 99.9 %": float(off.quantile(0.999)),
                "eigenvalues": float(values.max()),
            })  # fmt: skip
    return rows


def from_scratch(maps: Tensor, weights: tuple[float, ...], number: int) -> tuple[Tensor, Tensor]:
    """Return eigenvalues and vectors of the weighted covariance in float64, by its definition."""
    rows = maps.double().flatten(2).transpose(1, 2)
    shares = torch.tensor(weights, dtype=torch.float64, device=maps.device)
    shares = (shares / shares.sum() / rows.shape[1]).repeat_interleave(rows.shape[1])
    rows = rows.flatten(0, 1)
    rows = (rows - shares @ rows) * shares.sqrt()[:, None]
    if len(rows) < rows.shape[1]:
        values, left = torch.linalg.eigh(rows @ rows.T)
        vectors = left.flip(1)[:, :number].T @ rows
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
    else:
        values, vectors = torch.linalg.eigh(rows.T @ rows)
        vectors = vectors.flip(1)[:, :number].T
    return values.flip(0)[:number], vectors


def wide(device: torch.device, small: bool) -> list[Row]:
    rows: list[Row] = []
    size = (56, 56) if small else (179, 179)
    for number in (4,) if small else (16, 64):
        for channels in (320,) if small else (1280, 2048, 4096):
            generator = torch.Generator().manual_seed(0)
            directions = torch.randn(60, channels, generator=generator)
            directions *= torch.linspace(1, 0.1, 60)[:, None]
            vectors = torch.randn(number, 49, 60, generator=generator) @ directions
            vectors += 0.2 * torch.randn(number, 49, channels, generator=generator)
            maps = vectors.transpose(1, 2).reshape(number, channels, 7, 7).relu().to(device)
            features = features_of(maps)
            fit = WideFit(features.maps)
            fit_batch_basis(features, fit, (1.0,) * number, 3)

            def pictures(weights: tuple[float, ...], basis: pw.PrincipalBasis) -> Tensor:
                scores = features.scores(basis)  # noqa: B023 # called at once
                return render_heatmaps(scores, (), weights, RGB, size)

            times, values, colours = [], 0.0, 0.0
            for step in range(12):
                weights = tuple(float(index != step % number) for index in range(number))
                results: list[Any] = []

                def change(w: tuple[float, ...] = weights, to: list[Any] = results) -> None:
                    basis = fit_batch_basis(features, fit, w, 3)  # noqa: B023 # called at once
                    heatmaps = pictures(w, basis)
                    to += [basis, heatmaps, (heatmaps * 255).round().to(torch.uint8).cpu()]

                times.append(1e3 * seconds(change, device))
                basis, heatmaps, _ = results
                exact, best = from_scratch(maps, weights, 3)
                values = max(values, float((basis.variances.to(exact) / exact - 1).abs().max()))
                best *= (best * basis.components.double()).sum(1, keepdim=True).sign()
                truth = replace(basis, components=best.to(maps))
                colours = max(colours, float((pictures(weights, truth) - heatmaps).abs().max()))
            rows.append({
                "images": number, "channels": channels, "median, ms": statistics.median(times[2:]),
                "most, ms": max(times[2:]), "eigenvalues off": values, "RGB off": colours,
            })  # fmt: skip
    return rows


def fit(device: torch.device, small: bool) -> list[Row]:
    rows: list[Row] = []
    number, size, turns = (8, 4, 1) if small else (1024, 64, 8)
    images = torch.randn(number, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    batches, number = list(images.split(size)) * turns, number * turns
    for name in ("squeezenet1_0",) if small else ("resnet50", "efficientnet_b0"):
        model = network(name, device)
        layer = pw.PFV(model, batches[0][:2], device).layer().name

        @torch.no_grad()
        def plain() -> None:
            for batch in batches:
                model(batch.to(device))  # noqa: B023 # called at once

        def fitted() -> pw.PrincipalBasis:
            return pw.fit_basis(model, batches, layer, device=device, progress=False)  # noqa: B023

        def begun() -> pw.PrincipalBasis:
            first = batches[:2]  # what a fit costs before and after its batches
            return pw.fit_basis(model, first, layer, device=device, progress=False)  # noqa: B023

        channels = len(begun().mean)
        start = seconds(begun, device)
        ratios, times = [], []
        for _ in range(1 if small else 3):
            one, other = seconds(plain, device), seconds(fitted, device)
            ratios.append(one / other)
            times.append((one, other))
        one, other = (number / statistics.median(column) for column in zip(*times, strict=True))
        rows.append({
            "network": name, "layer": layer, "channels": channels,
            "forward, images/s": round(one), "fit, images/s": round(other),
            "fit / forward": statistics.median(ratios), "s for two batches": start,
        })  # fmt: skip
    return rows


BACKEND = """
import runpy, sys
import torch.distributed as dist
start, used = dist.init_process_group, []
def noted(*args, **options):
    start(*args, **options)
    used.append(dist.get_backend())
dist.init_process_group = noted
sys.argv = ["pfv-widgets", *sys.argv[1:]]
try:
    runpy.run_module("pfv_widgets", run_name="__main__")
finally:
    print("backend:", used)
"""


def ranks(device: torch.device, small: bool) -> list[Row]:
    """Compare a fit through the process group of one rank with one in this process."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "photos").mkdir()
        rng = np.random.default_rng(0)
        for index in range(6 if small else 40):
            coarse = Image.fromarray(rng.integers(0, 256, (8, 10, 3), np.uint8))
            coarse.resize((200, 160)).save(place / "photos" / f"{index}.jpg")
        (place / "noted.py").write_text(BACKEND)
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", "noted.py",
            "fit", "photos", "--model", "demo", "--size", "128", "--batch-size", "8",
            "--device", device.type, "--every", "0", "--out", "one.npz",
        ]  # fmt: skip
        begin = time.perf_counter()
        way = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        run = subprocess.run(
            command,
            check=False,
            cwd=place,
            env=os.environ | {"PYTHONPATH": way},
            capture_output=True,
            text=True,
        )
        took = time.perf_counter() - begin
        if run.returncode:
            raise RuntimeError(run.stdout[-2000:] + run.stderr[-4000:])
        basis = pw.PrincipalBasis.load(place / "one.npz")
        alone = pw.fit_basis(
            pw.demo_model(), place / "photos", basis.layer, components=12, size=128, batch_size=8,
            device=device, progress=False,
        )  # fmt: skip
    off = float((basis.variances / alone.variances - 1).abs().max())
    lines = [one for one in run.stdout.splitlines() if one]
    return [{"output": lines, "seconds": took, "eigenvalues off": off}]


def memory(device: torch.device, small: bool) -> list[Row]:
    """Let a picture of many images run where half of one chunk's memory is there."""
    if device.type != "cuda":
        return []
    device = torch.device("cuda", torch.cuda.current_device())  # a share is that of one card
    model, images = network("vgg16", device), photos(64)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    share = (torch.cuda.memory_allocated(device) + 1.0e9) / total
    torch.cuda.set_per_process_memory_fraction(share, device)
    try:
        pfv = pw.PFV(model, images, device, chunk_size=64)
        frame = pfv.render()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    whole = pw.PFV(model, images, device, chunk_size=64).render()
    off = float((frame.basis.variances / whole.basis.variances - 1).abs().max())
    lines = [one for one in frame.warnings if "Memory" in one]
    return [{"chunk": pfv.store.capture.chunk_size, "warnings": lines, "eigenvalues off": off}]


def profile(device: torch.device, small: bool) -> list[Row]:
    """Say where the time of a first picture, of another layer and of a fit goes."""
    model, images = network("squeezenet1_0" if small else "resnet50", device), photos(16)
    pfv = pw.PFV(model, images, device)
    pfv.render()
    other, last = pfv.layers[len(pfv.layers) // 2].name, pfv.layer().name
    batches = [images.tensor] * (1 if small else 8)
    works: dict[str, Callable[[], object]] = {
        "cold": lambda: pw.PFV(model, images, device).render(),
        "another layer": lambda: pw.PFV.render(pfv, layer=other),
        "fit": lambda: pw.fit_basis(model, batches, last, device=device, progress=False),
    }
    rows: list[Row] = []
    for name, work in works.items():
        if name != "another layer":
            work()
        profiler = cProfile.Profile()
        profiler.enable()
        took = seconds(work, device)
        profiler.disable()
        rows.append({"work": name, "seconds": took})
        print(f"### {name}")
        for order in ("cumulative", "tottime"):
            text = io.StringIO()
            pstats.Stats(profiler, stream=text).sort_stats(order).print_stats(40)
            lines = [one for one in text.getvalue().splitlines() if one.strip()]
            print("\n".join(one.replace(str(Path.cwd()), "") for one in lines[4:]))
    return rows


PARTS = {
    "forward": forward,
    "wide": wide,
    "fit": fit,
    "ranks": ranks,
    "memory": memory,
    "profile": profile,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="as little as tries the script")
    parser.add_argument("--out", type=Path, help="a folder for gpu.json")
    options = parser.parse_args()
    device = torch.device(options.device)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    print(f"{card}, PyTorch {torch.__version__}", flush=True)
    results: dict[str, object] = {"card": card, "torch": torch.__version__}
    for name in options.parts:
        begin = time.perf_counter()
        print(f"\n## {name}", flush=True)
        try:
            with torch.no_grad():
                rows = PARTS[name](device, options.small)
        except Exception:  # the others are to run: the machine is lent for minutes
            traceback.print_exc(file=sys.stdout)
            rows = [{"error": traceback.format_exc()}]
        for row in () if "error" in next(iter(rows), ()) else rows:
            cells = (
                f"{k}: {v:.3g}" if isinstance(v, float) else f"{k}: {v}" for k, v in row.items()
            )
            print("; ".join(cells))
        print(f"({time.perf_counter() - begin:.0f} s)", flush=True)
        results[name] = rows
        if options.out is not None:
            (options.out / "gpu.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
