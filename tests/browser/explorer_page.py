"""An explorer in a browser, as a test sees it: tiles, controls, status line."""

from __future__ import annotations

import json
import re
import time

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Locator, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.browser.lab import PROBE, NotebookPage
from tests.browser.widget_page import WidgetPage, box_of

SIDE = 12  # blocks along a tile that are compared

# Runs in the kernel: what a tile should show, as the mean colours of its blocks.
HELPERS = f"""
import json
import numpy as np
import pfv_widgets as pw
from dataclasses import replace
from PIL import Image

def rests(explorer):
    return explorer.wait(100)

def expected(explorer, indices, side={SIDE}):
    assert rests(explorer)
    grid, tiles = explorer.gallery.tiles, []
    frame = explorer.pfv.render(explorer.gallery.view_state.settings, only=indices)
    for index, heat in zip(indices, frame.composite()):
        tile, corner = grid.grid.tile, grid.grid.corner(index - grid.on_page.start)
        one = Image.fromarray(heat).resize(tile[::-1], 3)
        means = np.asarray(one.resize((side, side), Image.Resampling.BOX)).ravel().tolist()
        tiles.append([*corner, tile[1], tile[0], means])
    print(json.dumps(tiles))
"""

# Whether the blocks of tiles have these mean colours, give or take a tolerance.
MATCHES = """([index, tiles, side, tolerance]) => {
  const canvas = document.querySelectorAll("canvas.pfv-gallery")[index];
  if (!canvas || !canvas.width) return false;
  return tiles.every(([x, y, width, height, means]) => {
    const { data } = canvas.getContext("2d").getImageData(x, y, width, height);
    const sums = new Float64Array(3 * side * side);
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++) {
        const from = 4 * (row * width + column);
        if (data[from + 3] != 255) return false;
        const block = Math.floor(row * side / height) * side + Math.floor(column * side / width);
        for (let k = 0; k < 3; k++) sums[3 * block + k] += data[from + k];
      }
    const each = width * height / (side * side);
    const off = means.map((mean, i) => Math.abs(sums[i] / each - mean));
    return Math.max(...off) <= tolerance;
  });
}"""


class ExplorerPage:
    """One explorer on a page; ``name`` is its variable in the kernel.

    ``canvas`` counts the explorers of the page; the gallery is the first canvas of its explorer.
    In notebooks the expected picture comes from the kernel; Voila has none to ask.
    """

    def __init__(self, page: WidgetPage, name: str = "explorer", canvas: int = 0) -> None:
        self.page = page
        self._name = name
        self._canvas = canvas
        self.box = page.page.locator(".pfv-explorer").nth(canvas)
        self.gallery = self.box.locator("canvas.pfv-gallery")

    def run(self, code: str) -> str:
        assert isinstance(self.page, NotebookPage)
        return self.page.run(code.replace("explorer", self._name))

    def wait_until(self, expression: str, expected: str, timeout: float = 60) -> None:
        """Wait until an expression in the kernel is printed as ``expected``."""
        assert isinstance(self.page, NotebookPage)
        self.page.wait_until(expression.replace("explorer", self._name), expected, timeout)

    def wait_for_frame(self, *tiles: int, tolerance: float = 12) -> None:
        """Wait until tiles look as the engine says."""
        deadline = time.monotonic() + 90
        while True:  # what is expected is asked again: a late event may have changed it
            expected = json.loads(self.run(f"expected(explorer, {sorted(tiles or (0, 3))})"))
            try:
                self.page.wait_for(MATCHES, [self._canvas, expected, SIDE, tolerance], 10)
                break
            except PlaywrightTimeout:
                if time.monotonic() > deadline:
                    raise

    def settled(self) -> npt.NDArray[np.int16]:
        """All pixels once the finest picture is painted, and drawn by the page."""
        assert isinstance(self.page, NotebookPage)
        self.page.wait_until_drawn(f"assert rests({self._name})")
        return self.pixels()

    def pixels(self) -> npt.NDArray[np.int16]:
        """All pixels of the gallery, RGBA, signed so that differences come out right."""
        return self.page.read(self.gallery).astype(np.int16)

    def open_tab(self, title: str) -> None:
        """Bring a page of the panel to the front."""
        tab = self.box.get_by_role("tab", name=title, exact=True)
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")

    def click(self, x: int, y: int) -> None:
        """Click a point in pixels of the canvas, whatever its size on the screen."""
        self.page.page.mouse.click(*self._point(x, y))

    def double_click(self, x: int, y: int) -> None:
        """Click a point twice."""
        self.page.page.mouse.dblclick(*self._point(x, y))

    def hover(self, x: int, y: int) -> None:
        """Bring the pointer to a point in pixels of the canvas."""
        self.page.page.mouse.move(*self._point(x, y))

    def leave(self) -> None:
        """Take the pointer away from the gallery, and wait until its marks are gone."""
        self.page.page.mouse.move(1, 1)
        self.wait_until("explorer.gallery.view_state.hover", "None")
        assert self.run("print(rests(explorer))") == "True"

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Press at a point, move to another and let go there."""
        mouse = self.page.page.mouse
        mouse.move(*self._point(*start))
        mouse.down()
        mouse.move(*self._point(*end), steps=8)
        mouse.up()

    def _point(self, x: int, y: int) -> tuple[float, float]:
        """Point of the page of a point in pixels of the canvas."""
        canvas = self.gallery
        box = box_of(canvas)
        scale = box["width"] / int(canvas.get_attribute("width") or 1)
        return box["x"] + x * scale, box["y"] + y * scale

    def slider(self, label: str) -> Locator:
        described = self.box.locator(
            ".widget-slider", has=self.page.page.get_by_text(label, exact=True)
        )
        return described.locator("[role=slider]").first

    def choice(self, label: str) -> Locator:
        described = self.box.locator(
            ".widget-dropdown", has=self.page.page.get_by_text(label, exact=True)
        )
        return described.locator("select")

    def button(self, name: str) -> Locator:
        return self.box.get_by_role("button", name=name, exact=True)

    @property
    def status(self) -> Locator:
        """The status line of the picture: an error has the role of an alert."""
        return self.box.locator("[role=status], [role=alert]:not(.pfv-away)").first


def settling(*names: str) -> str:
    """Return a cell with a button that tells when explorers rest and all is drawn.

    It is for Voila, whose kernel cannot be asked.
    """
    return (
        PROBE
        + f"""
import threading, time
import ipywidgets as w
button, told = w.Button(description="Settle"), w.Label("0")
told.add_class("test-settled")

def settle(_):
    def job():
        for one in ({", ".join(names)},):
            one.wait()
        probe.ask()
        while not probe.answered:
            time.sleep(0.02)
        told.value = str(probe.number)
    threading.Thread(target=job, daemon=True).start()

button.on_click(settle)
w.HBox([button, told])
"""
    )


def settle(page: WidgetPage) -> None:
    """Press that button and wait for its answer."""
    number_line = page.page.locator(".test-settled")
    expect(number_line).to_have_text(re.compile(r"^\d+$"))
    # The text in the page, drawn or not: `inner_text` is empty where Jupyter skips a cell that is
    # out of sight. Only this function changes it.
    number = int(number_line.text_content() or "")
    page.page.get_by_role("button", name="Settle", exact=True).click()
    expect(number_line).to_have_text(str(number + 1))
