"""The grid of methods in JupyterLab: it fills in, stops half-way, goes on, repaints, fits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import LabPage

OpenLab = Callable[[list[str]], LabPage]

# Every map waits for a ticket, so that a test says how far the grid is.
SETUP = """
import threading
from dataclasses import replace
import pfv_widgets as pw
from pfv_widgets.demo import CLASSES, DemoNet
from pfv_widgets.methods.comparison.comparison import Comparison
from pfv_widgets.methods.core.method import step

tickets, compute = threading.Semaphore(0), Comparison.compute

def waiting(self, task, progress=None, cancelled=None):
    while not tickets.acquire(timeout=0.02):
        step(1, 2, progress, cancelled)
    return compute(self, task, progress, cancelled)

Comparison.compute = waiting
"""
SHOW = """
import ipywidgets as w
explorer = pw.explore_methods(
    {"trained": pw.demo_model(), "untrained": DemoNet().eval()}, pw.demo_images(3),
    ["guided_backprop", "grad_cam", "deconvnet"], classes=CLASSES,
)
w.VBox([explorer], layout=w.Layout(width="900px"))
"""
OPAQUE = """([part, wanted]) => {
  const canvas = document.querySelector(".pfv-methods canvas");
  if (!canvas || !canvas.width) return false;
  const [x, y, width, height] = part;
  const { data } = canvas.getContext("2d").getImageData(x, y, width, height);
  let sum = 0;
  for (let at = 3; at < data.length; at += 4) sum += data[at] == 255;
  return (sum > 0.99 * width * height) === wanted;
}"""


@pytest.fixture
def grid(lab: OpenLab) -> LabPage:
    """Three methods, two networks, two of three photos, in a cell 900 pixels wide."""
    opened = lab([SETUP, SHOW])
    opened.page.set_viewport_size({"width": 1440, "height": 1100})
    expect(box(opened.page).locator("canvas")).to_be_visible()
    return opened


def box(page: Page) -> Locator:
    return page.locator(".pfv-methods")


def status(page: Page) -> Locator:
    return box(page).locator("[role=status], [role=alert]:not(.pfv-away)").first


def press(page: Page, name: str) -> None:
    box(page).get_by_role("button", name=name, exact=True).click()


def release(grid: LabPage, count: int) -> None:
    grid.run(f"tickets.release({count})")


def part(grid: LabPage, row: int, column: int) -> list[int]:
    """Where a tile is on the canvas."""
    code = "explorer.page.layout(explorer.settings)"
    return [int(one) for one in grid.run(f"print(*{code}.box({row}, {column}))").split()]


def tile(grid: LabPage, row: int, column: int) -> np.ndarray:
    return grid.read(box(grid.page).locator("canvas"), *part(grid, row, column)).astype(np.int16)


def keep(grid: LabPage, name: str) -> None:
    """Keep a screenshot where PFV_SCREENSHOTS asks for them."""
    folder = os.environ.get("PFV_SCREENSHOTS")
    if folder:
        grid.page.mouse.move(1, 1)
        grid.page.screenshot(path=Path(folder) / f"methods-{name}.png")


def test_grid_stops_half_way_goes_on_and_follows_the_target(grid: LabPage) -> None:
    page = grid.page
    release(grid, 5)
    expect(status(page)).to_contain_text("5 of 12 maps. Computing")
    grid.wait_for(OPAQUE, [part(grid, 0, 3), True])
    keep(grid, "working")
    press(page, "Stop")
    expect(status(page)).to_contain_text("5 of 12 maps. Stopped")
    words = box(page).locator(".pfv-methods-words")
    expect(words.get_by_text("waiting", exact=True)).to_have_count(7)
    grid.wait_for(OPAQUE, [part(grid, 2, 3), False])
    keep(grid, "stopped")
    release(grid, 100)
    press(page, "Go on")
    expect(status(page)).to_contain_text("12 maps of the output.")
    expect(words.get_by_text("waiting", exact=True)).to_have_count(0)
    grid.wait_for(OPAQUE, [part(grid, 2, 3), True])
    grid.wait_until_drawn()
    keep(grid, "done")
    before = tile(grid, 0, 0)
    assert before[..., :3].std() > 10
    box(page).get_by_label("Unit", exact=True).select_option("3 · " + grid.run("print(CLASSES[3])"))
    grid.wait_until("explorer.settings.unit", "3")
    grid.wait_until("explorer.wait(10)", "True", timeout=120)
    expect(status(page)).to_contain_text("12 maps of the output.")
    name = grid.run("print(CLASSES[3])")
    expect(words.get_by_text(f"{name}, ")).to_have_count(4)
    grid.wait_for(OPAQUE, [part(grid, 2, 3), True])
    grid.wait_until_drawn()
    assert np.abs(tile(grid, 0, 0) - before).mean() > 0.5
    check_it_fits(page)


def check_it_fits(page: Page) -> None:
    """Nothing is wider than the cell, and no word of the grid is wider than its place."""
    scrolls = "(one) => one.scrollWidth - one.clientWidth"
    assert box(page).evaluate(scrolls) <= 0
    outer = box(page).bounding_box()
    assert outer is not None
    assert outer["width"] <= 900
    words = box(page).locator(".pfv-methods-words .at")
    narrow = "(one, width) => { one.style.width = width; }"
    box(page).evaluate(narrow, "400px")
    expect(words.locator("b").first).to_be_visible()  # each row keeps the name of its method
    box(page).evaluate(narrow, "")
    outside = """(all) => all.filter((one) => {
      const [a, b] = [one.getBoundingClientRect(), one.parentElement.getBoundingClientRect()];
      return a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1;
    }).length"""
    assert words.evaluate_all(outside) == 0


@pytest.mark.all
def test_grid_is_there_again_after_a_reload_and_in_the_dark(grid: LabPage) -> None:
    page = grid.page
    release(grid, 100)
    grid.run(
        "explorer.settings = replace(explorer.settings, layer='stage3.0', view='overlay', "
        "scale='each method')"
    )
    grid.wait_until("explorer.wait(10)", "True", timeout=120)
    expect(status(page)).to_contain_text("12 maps of stage3.0.")
    grid.wait_for(OPAQUE, [part(grid, 2, 3), True])
    grid.wait_until_drawn()
    before = tile(grid, 1, 2)
    grid.reload()
    grid.wait_for(OPAQUE, [part(grid, 2, 3), True])
    grid.wait_until_drawn()
    assert np.array_equal(tile(grid, 1, 2), before)
    expect(status(page)).to_contain_text("12 maps of stage3.0.")
    expect(box(page).get_by_label("Layer", exact=True).locator("option:checked")).to_have_text(
        "stage3.0"
    )
    grid.theme("JupyterLab Dark")
    keep(grid, "dark")
    colours = box(page).evaluate(
        """(one) => ["b", ".muted", "[role=status]", ".pfv-methods-legend"].map(
          (name) => getComputedStyle(one.querySelector(name)).color)"""
    )
    for colour in colours:
        numbers = colour[colour.index("(") + 1 : -1].split(",")[:3]
        assert min(float(number) for number in numbers) > 150, colours
    press(page, "Next")
    expect(status(page)).to_contain_text("6 maps of stage3.0.")
    box(page).locator("canvas").focus()
    page.keyboard.press("Tab")
    inside = "() => document.activeElement.tagName !== 'CANVAS'"
    grid.wait_for(inside)
