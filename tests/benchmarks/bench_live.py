"""Measure the explorer in JupyterLab: from a control to changed pixels, in a real browser.

    python tests/benchmarks/bench_live.py --out live.json [--network resnet50]

Prints a Markdown table: milliseconds from the event in the page to the first changed pixel of
the gallery (median and 95th percentile), kB that the server sends for it, and how long the
picture goes on changing after the last key of a flood. The rows "bare" are the same way without
an explorer, a slider whose handler fills a canvas of that size or puts one ready picture on it
with ipycanvas: what a machine can do at all, to compare figures of different machines.

A second table is of the layer's slider, dragged by the mouse from the last layer to the first
where only those are computed that came in the ``--rest`` before: the first picture after the
press, pictures until the release, and the last one after it (the fine picture, which follows a
coarse one, counts as well). With ``--compare`` it is the first of two networks side by side.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, BrowserContext, Locator, Page, WebSocket, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pfv_widgets.engine.colouring.compositing import VIEWS
from tests.browser.explorer_page import HELPERS, ExplorerPage
from tests.browser.lab import LabPage
from tests.browser.server import JupyterServer
from tests.browser.widget_page import box_of
from tests.run import find_browser

# One row of pixels through the first tiles is read until it changes, then until it rests.
PROBE = """
const canvas = document.querySelector(".pfv-explorer canvas");
const context = canvas.getContext("2d");
const look = () => context.getImageData(0, 40, canvas.width, 1).data;
const differ = (a, b) => { for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return true; };
const tick = () => new Promise((resolve) => setTimeout(resolve, 0));
const move = (control, key) => {
  if (control.tagName === "SELECT") {
    control.selectedIndex = key;
    control.dispatchEvent(new Event("change", { bubbles: true }));
  } else control.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
};
const rest = async (quiet) => {
  let last = look(), changed = performance.now();
  while (performance.now() - changed < quiet) {
    await tick();
    const now = look();
    if (differ(last, now)) { last = now; changed = performance.now(); }
  }
  return changed;
};
"""
ONE_MOVE = f"""async (control, key) => {{ {PROBE}
  const before = look(), begin = performance.now();
  move(control, key);
  while (!differ(before, look())) {{
    if (performance.now() - begin > 10000) throw new Error("no pixel changed in 10 s");
    await tick();
  }}
  const took = performance.now() - begin;
  await rest(400);  // the fine picture follows the coarse one
  return took;
}}"""
FLOOD = f"""async (control, seconds) => {{ {PROBE}
  const begin = performance.now();
  let count = 0, last = begin;
  while (last - begin < 1000 * seconds) {{
    move(control, Math.floor(count++ / 20) % 2 ? "ArrowLeft" : "ArrowRight");
    last = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }}
  return Math.max(0, (await rest(2000)) - last);
}}"""

WATCH = f"""() => {{ {PROBE}
  let last = look();
  window.changes = [];
  clearInterval(window.watching);
  window.watching = setInterval(() => {{
    const now = look();
    if (differ(last, now)) window.changes.push(performance.now());
    last = now;
  }}, 10);
}}"""

BARE = """
import ipywidgets as w
import numpy as np
from ipycanvas import Canvas, hold_canvas
from PIL import Image

rng = np.random.default_rng(0)
coarse = [Image.fromarray(rng.integers(0, 255, (56, 56, 3)).astype(np.uint8)) for _ in range(2)]
pictures = [np.asarray(one.resize((948, 948), Image.Resampling.BICUBIC)) for one in coarse]
canvas = Canvas(width=948, height=948, layout=w.Layout(width="600px"))
moves = [0]

def fill(_):
    moves[0] += 1
    with hold_canvas():
        canvas.fill_style = ("#336699", "#996633")[moves[0] % 2]
        canvas.fill_rect(0, 0, 948, 948)

def put(_):
    moves[0] += 1
    with hold_canvas():
        canvas.put_image_data(pictures[moves[0] % 2])

sliders = [w.FloatSlider(description=one, max=1, step=0.01, value=0.5) for one in ("Fill", "Put")]
for slider, handler in zip(sliders, (fill, put)):
    slider.observe(handler, "value")
box = w.VBox([*sliders, canvas])
box.add_class("pfv-explorer")
fill(0)
box
"""


Keys = tuple[str, str] | tuple[int, int]  # that move a slider, or choices of a drop-down
ARROWS = ("ArrowLeft", "ArrowRight")


class Traffic:
    """Bytes that the page has received."""

    def __init__(self, page: Page) -> None:
        self.count = 0
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._add)

    def _add(self, payload: str | bytes) -> None:
        self.count += len(payload)


def notebook(
    server: JupyterServer, context: BrowserContext, name: str, code: list[str]
) -> tuple[LabPage, Traffic]:
    """Open a notebook of code cells and run them."""
    server.write_notebook(f"{name}.ipynb", code)
    page = context.new_page()
    traffic = Traffic(page)
    lab = LabPage(page, server, f"{name}.ipynb")
    lab.open(name)
    lab.run_all()
    return lab, traffic


NETWORK = """
import torchvision
scenes = pw.demo_images({tiles}, photos=False)
images = pw.load_images(list(scenes.pixels), size=224, labels=scenes.labels)
explorer = pw.explore(torchvision.models.{network}().eval(), images)
explorer
"""


COMPARED = """
single = explorer
single.close()
networks = pw.randomised(single.pfv.model)
models = {"trained": single.pfv.model, "untrained": networks[list(networks)[-1]]}
explorer = pw.compare(models, single.pfv.images)
explorer
"""
# the demo's real network on its real photos, where the package has them
DEMO = """
explorer = pw.demo({tiles}, photos={photos})
explorer
"""


def opened(
    server: JupyterServer, context: BrowserContext, tiles: int, options: argparse.Namespace
) -> tuple[ExplorerPage, Traffic]:
    cell = NETWORK if options.network else DEMO
    cell = cell.format(tiles=tiles, network=options.network, photos=options.photos)
    code = [HELPERS, cell + COMPARED * options.compare]
    lab, traffic = notebook(server, context, f"bench-{tiles}", code)
    explorer = ExplorerPage(lab)
    if not options.compare:
        explorer.wait_for_frame(0, tolerance=40)  # small tiles are sharper in the browser
    explorer.run("explorer.wait()")
    return explorer, traffic


def measured(
    explorer: ExplorerPage, traffic: Traffic, moves: int, only: str
) -> list[dict[str, Any]]:
    label = explorer.run("print(explorer.pfv.images.labels[0])")
    controls: dict[str, tuple[Locator, Keys]] = {
        "opacity": (explorer.slider("Opacity"), ARROWS),
        "sigma": (explorer.slider("Contrast σ"), ARROWS),
        "components": (explorer.slider("Components"), ARROWS),
        "weighting": (explorer.choice("Weighting"), (0, 1)),
        "colour map": (explorer.choice("Colours"), (1, 0)),
    }
    for index, view in enumerate(list(VIEWS)[1:], 1):
        controls[f"view: {view}"] = (explorer.choice("View"), (index, 0))
    selection = {name: control for name, control in controls.items() if only in name}
    rows = timed(selection, traffic, moves)
    if only in "class weight":
        explorer.open_tab("Batch")
        rows += timed({"class weight": (explorer.slider(label), ARROWS)}, traffic, moves)
        explorer.open_tab("Picture")
    return rows


def timed(
    controls: dict[str, tuple[Locator, Keys]], traffic: Traffic, moves: int
) -> list[dict[str, Any]]:
    rows = []
    for name, (control, keys) in controls.items():
        handle = control.element_handle()
        for key in keys:  # the first visit fills the caches
            handle.evaluate(ONE_MOVE, key)
        before = traffic.count
        times = [handle.evaluate(ONE_MOVE, keys[number % 2]) for number in range(moves)]
        rows.append(
            {
                "control": name,
                "median_ms": float(np.median(times)),
                "p95_ms": float(np.percentile(times, 95)),
                "kB": (traffic.count - before) / moves / 1000,
            }
        )
    return rows


def flooded(explorer: ExplorerPage, seconds: float) -> dict[str, float]:
    controls = {"sigma": "Contrast σ", "components": "Components"}
    return {
        name: explorer.slider(label).element_handle().evaluate(FLOOD, seconds)
        for name, label in controls.items()
    }


def dragged(
    explorer: ExplorerPage, seconds: float, times: int, rest: float
) -> list[dict[str, float]]:
    """Drag the layer's slider from its last layer to its first, ``rest`` s after a refresh."""
    page, slider = explorer.page.page, explorer.slider("Layer")
    rows = []
    for _ in range(times):
        slider.press("End")
        explorer.run("explorer.wait(120)")
        explorer.run("explorer.refresh()\nexplorer.wait(120)")
        page.wait_for_timeout(1000 * rest)  # the page draws what was sent
        box, track = box_of(slider), box_of(slider.locator("xpath=../.."))
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.evaluate(WATCH)
        page.mouse.down()
        begin = page.evaluate("performance.now()")
        while (passed := page.evaluate("performance.now()") - begin) < 1000 * seconds:
            page.mouse.move(x + (track["x"] - x) * passed / (1000 * seconds), y)
            page.wait_for_timeout(30)
        page.mouse.up()
        release = page.evaluate("performance.now()")
        explorer.run("explorer.wait(120)")
        page.wait_for_timeout(2000)
        changes = page.evaluate("window.changes")
        row = {
            "first_ms": min((at - begin for at in changes), default=float("nan")),
            "pictures": sum(at < release for at in changes),
            "last_ms": max((at - release for at in changes), default=float("nan")),
        }
        rows.append(row)
    return rows


def bare(context: BrowserContext, server: JupyterServer, moves: int) -> list[dict[str, Any]]:
    lab, traffic = notebook(server, context, "bench-bare", [BARE])
    fill, put = (lab.page.get_by_role("slider").nth(index) for index in (0, 1))
    return timed({"bare: fill": (fill, ARROWS), "bare: picture": (put, ARROWS)}, traffic, moves)


def bench(browser: Browser, server: JupyterServer, options: argparse.Namespace) -> list[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    results = []
    if not options.compare:
        results.append({"tiles": 0, "moves": bare(context, server, options.moves), "lag_ms": {}})
    context.close()
    server.end_kernels()
    for tiles in options.tiles:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(120_000)
        explorer, traffic = opened(server, context, tiles, options)
        result: dict[str, Any] = {"tiles": tiles, "moves": [], "lag_ms": {}}
        if not options.compare:
            result["moves"] = measured(explorer, traffic, options.moves, options.only)
            result["lag_ms"] = flooded(explorer, options.flood) if options.flood else {}
        if options.only in "layer":
            result["drags"] = dragged(explorer, 3.0, options.drags, options.rest)
        results.append(result)
        context.close()
        server.end_kernels()
    return results


def table(results: list[Any]) -> str:
    lines = ["| tiles | control | median ms | p95 ms | kB | lag after a flood, ms |"]
    lines += ["|---|---|---|---|---|---|"]
    for result in results:
        for row in result["moves"]:
            lag = result["lag_ms"].get(row["control"])
            cells = (
                result["tiles"] or "", row["control"],
                f"{row['median_ms']:.0f}", f"{row['p95_ms']:.0f}",
                f"{row['kB']:.1f}", "" if lag is None else f"{lag:.0f}",
            )  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "| tiles | layer dragged for 3 s: first picture ms | pictures | last ms after |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {one['tiles']} | {row['first_ms']:.0f} | {row['pictures']} | {row['last_ms']:.0f} |"
        for one in results
        for row in one.get("drags", ())
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    parser.add_argument("--tiles", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--moves", type=int, default=40, help="of each control")
    parser.add_argument("--only", default="", help="what is in the names of the controls")
    parser.add_argument("--network", default="", help="of torchvision, with random weights")
    parser.add_argument("--photos", action="store_true", help="the demo's photos and network")
    parser.add_argument("--compare", action="store_true", help="drag the layer of a comparison")
    parser.add_argument("--drags", type=int, default=3, help="of the layer's slider")
    parser.add_argument("--rest", type=float, default=1.0, help="seconds before each drag")
    parser.add_argument("--flood", type=float, default=10.0, help="seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = JupyterServer(Path(folder))
        server.start()
        server.wait()
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=find_browser(), args=flags)
        try:
            results = bench(browser, server, options)
        finally:
            browser.close()
            server.stop()
    print(table(results))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1), "utf-8")


if __name__ == "__main__":
    main()
