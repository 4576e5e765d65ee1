"""A picture that grows in JupyterLab: started, stopped, made of something else."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import LabPage

OpenLab = Callable[[list[str]], LabPage]

CELL = """
import ipywidgets as w
import pfv_widgets as pw
from pfv_widgets.demo import CLASSES
model, photos = pw.demo_model(), pw.demo_images(4)
explorer = pw.explore_reconstruction(model, photos, classes=CLASSES, steps=4000)
w.VBox([explorer], layout=w.Layout(width="760px"))
"""
PIXELS = """async (source) => {
  const bytes = new Uint8Array(await (await fetch(source)).arrayBuffer());
  let text = "";
  for (const one of bytes) text += String.fromCharCode(one);
  return btoa(text);
}"""


def box(page: Page) -> Locator:
    return page.locator(".pfv-reconstruct")


def status(page: Page) -> Locator:
    return box(page).locator("[role=status], [role=alert]").first


def shown(page: Page) -> np.ndarray:
    """Pixels of the picture as the browser has it."""
    import base64

    source = box(page).locator("img").get_attribute("src")
    data = base64.b64decode(page.evaluate(PIXELS, source))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


def keep(page: Page, name: str) -> None:
    """Keep a screenshot where PFV_SCREENSHOTS asks for them."""
    folder = os.environ.get("PFV_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"reconstruct-{name}.png")


def test_picture_grows_stops_and_is_kept(lab: OpenLab) -> None:
    opened = lab([CELL])
    page = opened.page
    expect(status(page)).to_contain_text("Press Start to make a picture of a class.")
    expect(box(page).get_by_role("button", name="Stop")).to_be_disabled()
    empty = shown(page)
    assert empty[..., 3].max() < 100
    keep(page, "idle")
    box(page).get_by_role("button", name="Start").click()
    expect(status(page)).to_contain_text(re.compile(r"Step [1-9]\d* of 4000, loss"))
    first = shown(page)
    assert first[..., 3].min() == 255
    expect(box(page).get_by_role("button", name="Start")).to_be_disabled()
    expect(status(page)).to_contain_text(re.compile(r"Step \d\d+ of 4000, loss"))
    deadline = time.monotonic() + 30
    while np.abs(shown(page) - first).mean() <= 1:  # until it moves
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)
    keep(page, "growing")
    box(page).get_by_role("button", name="Stop").click()
    expect(status(page)).to_contain_text(re.compile(r"Stopped after \d+ of 4000 steps: activation"))
    kept = opened.run("print(explorer.reconstruction.pixels.sum(), explorer.running)").split()
    assert kept[1] == "False"
    assert shown(page)[..., :3].sum() == int(kept[0])
    keep(page, "stopped")
    box(page).get_by_label("Picture of", exact=True).select_option("a component of PFV")
    expect(box(page).get_by_label("Colour", exact=True)).to_be_visible()
    expect(box(page).get_by_label("Class", exact=True)).to_be_hidden()
    wide = box(page).evaluate("one => [one.scrollWidth, one.clientWidth]")
    assert wide[0] <= wide[1]
    keep(page, "component")
