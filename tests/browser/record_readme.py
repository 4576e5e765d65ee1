"""Record the README's animated picture from the real widget: python -m tests.browser.record_readme.

JupyterLab in a real Chromium, the demo's photos and network, a pointer drawn where the mouse is.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.explorer_page import ExplorerPage
from tests.browser.lab import LabPage
from tests.browser.shared_browser import BrowserSession
from tests.conftest import ROOT

OUT = ROOT / "notebooks" / "images" / "explorer.webp"
SIZE = {"width": 1240, "height": 1060}  # of the window, in CSS pixels
WIDTH = 860  # pixels of the picture
LARGEST = 4_000_000  # bytes
CELLS = ["import pfv_widgets as pw", "explorer = pw.demo(photos=True)\nexplorer"]
LAYERS = ("blocks.1.1", "blocks.2.1", "blocks.3.2", "blocks.4.2", "blocks.5.0", "blocks.5.2")
TIDY = """() => {
  const { shell } = window.jupyterapp;
  if (!shell.leftCollapsed) shell.collapseLeft();
}"""
POINTER = """([x, y]) => {
  let dot = document.getElementById("recorded-pointer");
  if (!dot) {
    dot = document.createElement("div");
    dot.id = "recorded-pointer";
    dot.style = "position:fixed;z-index:99999;width:18px;height:18px;border-radius:50%;"
      + "background:rgba(20,20,20,.55);border:2px solid #fff;pointer-events:none;"
      + "transform:translate(-50%,-50%)";
    document.body.append(dot);
  }
  dot.style.left = `${x}px`;
  dot.style.top = `${y}px`;
}"""


class Recorder:
    """Frames of the explorer, each with the time that it is shown."""

    def __init__(self, page: Page, box: Locator) -> None:
        self.page, self.box = page, box
        self.frames: list[tuple[Image.Image, int]] = []
        self.at = (300.0, 300.0)
        self.height = 0.0  # of all frames, in CSS pixels

    def take(self, milliseconds: int) -> None:
        clip = self.box.bounding_box()
        assert clip is not None
        if not self.height:
            self.height = min(clip["height"], 900)
        shot = self.page.screenshot(clip={**clip, "height": self.height})
        picture = Image.open(io.BytesIO(shot)).convert("RGB")
        size = WIDTH, round(self.height * WIDTH / clip["width"])
        self.frames.append((picture.resize(size, Image.Resampling.LANCZOS), milliseconds))

    def move(self, x: float, y: float, steps: int = 4) -> None:
        """Glide to a point, a frame a step."""
        (left, top), self.at = self.at, (x, y)
        for step in range(1, steps + 1):
            share = step / steps
            to = left + (x - left) * share, top + (y - top) * share
            self.page.mouse.move(*to)
            self.page.evaluate(POINTER, list(to))
            self.take(70)

    def move_to(self, what: Locator, x: float = 0.5, y: float = 0.5) -> None:
        box = what.bounding_box()
        assert box is not None
        self.move(box["x"] + x * box["width"], box["y"] + y * box["height"])

    def jump_to(self, what: Locator) -> None:
        """Be there at once, as a hand that holds a handle."""
        box = what.bounding_box()
        assert box is not None
        self.at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.evaluate(POINTER, list(self.at))

    def save(self, path: Path) -> None:
        first, *others = (frame for frame, _ in self.frames)
        first.save(
            path, save_all=True, append_images=others, loop=0, quality=62, method=4,
            duration=[time for _, time in self.frames],
        )  # fmt: skip


def record(lab: LabPage) -> Recorder:
    page, explorer = lab.page, ExplorerPage(lab)
    page.evaluate(TIDY)
    lab.run("explorer.wait(120)")
    recorder = Recorder(page, page.locator(".pfv-explorer").first)
    canvas, layer = page.locator("canvas.pfv-gallery").first, explorer.slider("Layer")

    def settled(milliseconds: int) -> None:
        lab.run("explorer.wait(120)")
        expect(explorer.status).to_contain_text("Up to date", timeout=120_000)
        lab.wait_until_drawn()
        recorder.take(milliseconds)

    recorder.box.evaluate("box => box.scrollIntoView({ block: 'start' })")
    settled(1800)
    recorder.move_to(layer)
    for name in LAYERS:
        lab.run(f"explorer.settings = pw.Settings(layer={name!r})\nexplorer.wait(120)")
        recorder.jump_to(layer)
        settled(800)
    recorder.take(900)
    recorder.move_to(canvas, 0.63, 0.17)  # the cup: what is alike is ringed
    settled(900)
    page.mouse.click(*recorder.at)
    settled(1800)
    recorder.move_to(canvas, 0.12, 0.2)  # and the cat
    page.mouse.click(*recorder.at)
    settled(1800)
    recorder.move_to(explorer.button("Remove all pins"))
    page.mouse.click(*recorder.at)
    settled(900)
    recorder.move_to(explorer.slider("Opacity"))
    for opacity in (0.4, 0.2, 0.0, 0.3, 0.65):
        lab.run(f"explorer.settings = pw.Settings(layer='blocks.5.2', opacity={opacity})")
        settled(160)
    recorder.move(30.0, 30.0)
    recorder.take(1200)
    return recorder


def main() -> None:
    session = BrowserSession(Path(tempfile.mkdtemp()))
    try:
        session.lab.set_viewport_size(SIZE)  # type: ignore[arg-type]
        session.server.write_notebook("readme.ipynb", CELLS)
        lab = LabPage(session.lab, session.server, "readme.ipynb")
        lab.open_notebook()
        lab.run_all()
        record(lab).save(OUT)
    finally:
        session.close()
    size = OUT.stat().st_size
    assert size < LARGEST, f"{size} bytes: take fewer frames"
    print(f"{OUT}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
