"""Measure how soon each of eight networks is on the page: from a key on the slider to pixels.

    python tests/benchmarks/bench_slide.py --out slide.json

Eight networks of one size, 16 photos, each visited once before, in JupyterLab in a real browser:
milliseconds from the key on the slider of the second network to the first changed pixel of its
gallery, and to the last one (the fine picture), by layer and weighting; beside it the processor
time of the kernel.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_live import PROBE, notebook

from tests.browser.explorer_page import ExplorerPage
from tests.browser.server import JupyterServer
from tests.run import find_browser

SECOND = PROBE.replace(
    'document.querySelector(".pfv-explorer canvas")',
    'document.querySelectorAll("canvas.pfv-gallery")[1]',
)
ONE_SLIDE = f"""async (control, key) => {{ {SECOND}
  const before = look(), begin = performance.now();
  move(control, key);
  while (!differ(before, look())) {{
    if (performance.now() - begin > 10000) throw new Error("no pixel changed in 10 s");
    await tick();
  }}
  const first = performance.now() - begin;
  const last = (await rest(600)) - begin;
  return [first, last];
}}"""
OPEN = """
import copy, time
import pfv_widgets as pw
import torch
from torch import nn

def resnet():
    import torchvision
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()

def varied(model, seed):
    torch.manual_seed(seed)
    model = copy.deepcopy(model)
    with torch.no_grad():
        for values in model.parameters():
            values.add_(0.1 * seed * values.std(correction=0) * torch.randn_like(values))
    return model

model, size = {MODEL}
images = pw.load_images(list(pw.demo_images(16).pixels), size=size)
models = {{f"network {{seed}}": varied(model, seed) for seed in range(8)}}
explorer = pw.compare(models, images, layer={LAYER!r}, weighting={WEIGHTING!r})
for name in models:
    explorer.choose_network("second", name)
    explorer.wait()
explorer.choose_network("second", "network 0")
explorer.wait()
explorer
"""
CASES = [
    ("pw.demo_model(), 64", "stage4", "flat"),
    ("pw.demo_model(), 64", "stage2", "hierarchical"),
    ("resnet(), 224", "layer4", "flat"),
    ("resnet(), 224", "layer4", "none"),
]


def slide(browser: Browser, server: JupyterServer, case: int, rounds: int) -> dict[str, Any]:
    model, layer, weighting = CASES[case]
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(180_000)
    code = OPEN.format(MODEL=model, LAYER=layer, WEIGHTING=weighting)
    lab, _ = notebook(server, context, f"slide-{case}", [code])
    explorer = ExplorerPage(lab)
    explorer.run("explorer.wait_for_numbers(60); begin = time.process_time(); print()")
    handle = explorer.slider("Network 2").element_handle()
    keys = (["ArrowRight"] * 7 + ["ArrowLeft"] * 7) * rounds
    times = np.array([handle.evaluate(ONE_SLIDE, key) for key in keys])
    spent = float(explorer.run("print(time.process_time() - begin)"))
    context.close()
    server.end_kernels()
    first, last = np.median(times, axis=0)
    return {
        "model": model, "layer": layer, "weighting": weighting, "first_ms": float(first),
        "first_p95_ms": float(np.percentile(times[:, 0], 95)), "last_ms": float(last),
        "processor_ms": 1000 * spent / len(keys),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cases", type=int, nargs="*", default=list(range(len(CASES))))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = JupyterServer(Path(folder))
        server.start()
        server.wait()
        try:
            arguments = ["--no-sandbox", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=find_browser(), args=arguments)
            rows = [slide(browser, server, case, options.rounds) for case in options.cases]
        finally:
            server.stop()
    print("| network | layer | weighting | first pixel ms | p95 | last | processor ms a slide |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        numbers = " | ".join(f"{value:.0f}" for value in list(row.values())[3:])
        print(f"| {row['model']} | {row['layer']} | {row['weighting']} | {numbers} |")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1), "utf-8")


if __name__ == "__main__":
    main()
