"""A picture that grows in every front end: started, stopped, made of something else; its looks."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import LabPage
from tests.browser.test_appearance import CONTRASTS, READABLE
from tests.browser.widget_page import FRONT_ENDS

OpenLab = Callable[[list[str]], LabPage]

CELL = """
import ipywidgets as w
import pfv_widgets as pw
from pfv_widgets.demo import CLASSES
model, photos = pw.demo_model(), pw.demo_images(4)
explorer = pw.explore_reconstruction(model, photos, classes=CLASSES, steps=4000)
"""
BOXED = 'w.VBox([explorer], layout=w.Layout(width="760px"))'
PIXELS = """async (image) => {
  for (let attempt = 1; ; attempt++) {
    try {  // a new picture ends the address of the last one at any moment
      if (!image.src.startsWith("blob:")) throw new Error("no picture yet");
      const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
      let text = "";
      for (const one of bytes) text += String.fromCharCode(one);
      return btoa(text);
    } catch (error) {
      if (attempt == 300) throw error;
      await new Promise(requestAnimationFrame);
    }
  }
}"""

# Whether nothing sticks out to the right, of the page, the explorer, or the picture's column.
FITS = """() => {
  const box = document.querySelector(".pfv-reconstruct"), picture = box.querySelector("img");
  const right = (element) => element.getBoundingClientRect().right;
  const seen = [...box.querySelectorAll("*")].filter((element) => element.checkVisibility());
  return document.documentElement.scrollWidth <= innerWidth
    && right(picture) <= right(picture.parentElement)
    && Math.max(...seen.map(right)) <= right(box) + 1 && right(box) <= innerWidth;
}"""


def box(page: Page) -> Locator:
    return page.locator(".pfv-reconstruct")


def status(page: Page) -> Locator:
    return box(page).locator("[role=status], [role=alert]:not(.pfv-away)").first


def displayed_pixels(page: Page) -> np.ndarray:
    """Pixels of the picture as the browser has it."""
    import base64

    data = base64.b64decode(box(page).locator("img").evaluate(PIXELS))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


def keep(page: Page, name: str) -> None:
    """Keep a screenshot where PFV_SCREENSHOTS asks for them."""
    folder = os.environ.get("PFV_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"reconstruct-{name}.png")


def test_picture_grows_stops_and_is_kept(lab: OpenLab) -> None:
    notebook_page = lab([CELL + BOXED])
    page = notebook_page.page
    expect(status(page)).to_contain_text("Press Start to make an image of a class.")
    expect(box(page).get_by_role("button", name="Stop")).to_have_count(0)
    noise = displayed_pixels(page)  # where it begins
    assert noise[..., 3].min() == 255
    assert noise[..., :3].std() > 5
    keep(page, "idle")
    box(page).get_by_role("button", name="Start").click()
    expect(status(page)).to_contain_text(re.compile(r"Step [1-9]\d* of 4000, loss"))
    first = displayed_pixels(page)
    assert first[..., 3].min() == 255
    expect(box(page).get_by_role("button", name="Start")).to_be_disabled()
    expect(status(page)).to_contain_text(re.compile(r"Step \d\d+ of 4000, loss"))
    deadline = time.monotonic() + 90
    while np.abs(displayed_pixels(page) - first).mean() <= 1:  # until it moves
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)
    keep(page, "growing")
    box(page).get_by_role("button", name="Stop").click()
    expect(status(page)).to_contain_text(re.compile(r"Stopped after \d+ of 4000 steps: activation"))
    result = notebook_page.run(
        "print(explorer.reconstruction.pixels.sum(), explorer.running)"
    ).split()
    assert result[1] == "False"
    assert displayed_pixels(page)[..., :3].sum() == int(result[0])
    keep(page, "stopped")
    box(page).get_by_label("Image of", exact=True).select_option("a component")
    expect(box(page).get_by_label("Component", exact=True)).to_be_visible()
    expect(box(page).get_by_label("Class", exact=True)).to_be_hidden()
    fits = "one => one.scrollWidth <= one.clientWidth"
    page.wait_for_function(fits, arg=box(page).element_handle())
    keep(page, "component")
    assert "rate" not in notebook_page.run("print(explorer.snippet())")  # nobody moved it


@pytest.mark.all
def test_picture_is_kept_as_a_file_and_as_code(lab: OpenLab) -> None:
    notebook_page = lab([CELL.replace("4000", "20") + "explorer"])
    page = notebook_page.page
    save = box(page).get_by_role("button", name="Save")
    box(page).get_by_role("tab", name="Export").click()
    save.click()
    expect(box(page).get_by_role("alert").first).to_contain_text(
        "There is no image yet: press Start"
    )
    box(page).get_by_role("tab", name="Target").click()
    box(page).get_by_label("Class", exact=True).select_option("3 · cat")
    box(page).get_by_role("button", name="Start").click()
    expect(status(page)).to_contain_text("Done after 20 of 20 steps")
    box(page).get_by_role("tab", name="Export").click()
    box(page).get_by_label("File", exact=True).first.fill("made.npz")
    expect(box(page).get_by_label("Kind", exact=True).first).to_have_value("NPZ arrays of numbers")
    save.click()
    expect(box(page).get_by_text("made.npz", exact=False).first).to_be_visible()
    same = "np.array_equal(np.load('made.npz')['pixels'], explorer.reconstruction.pixels)"
    assert notebook_page.run(f"import numpy as np\nprint({same})") == "True"
    box(page).get_by_role("button", name="Code").click()
    text = box(page).locator("textarea:visible")
    expect(text).to_have_value(re.compile("made ="))  # it comes from the kernel
    code = text.input_value()
    again = notebook_page.run(
        f"{code.replace('import', 'images = photos; import')}\nprint(made.scores)"
    )
    assert again == notebook_page.run("print(explorer.reconstruction.scores)")


@pytest.mark.all
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_keys_errors_widths_and_colours_are_right(
    front_end: str, request: pytest.FixtureRequest
) -> None:
    unnamed = "explorer.settings = dataclasses.replace(explorer.settings, unit=77)\nexplorer"
    notebook_page = request.getfixturevalue(front_end)(["import dataclasses" + CELL + unnamed])
    page: Page = notebook_page.page
    if isinstance(notebook_page, LabPage):
        notebook_page.theme("JupyterLab Dark")
    names, number = (box(page).get_by_label(one, exact=True) for one in ("Class", "Number"))
    start = box(page).get_by_role("button", name="Start")
    expect(names).to_be_hidden()
    expect(number).to_have_value("77")
    start.press("Enter")
    expect(box(page).get_by_role("alert").first).to_contain_text(
        "Class 77: the output has 10 units."
    )
    keep(page, f"{front_end}-error")
    number.fill("3")
    number.press("Enter")
    expect(names.locator("option:checked")).to_have_text("3 · cat")
    start.press("Enter")
    expect(status(page)).to_contain_text(re.compile(r"Step [1-9]\d* of 4000, loss"))
    box(page).get_by_role("button", name="Stop").press("Enter")
    expect(status(page)).to_contain_text(re.compile(r"Stopped after \d+ of 4000 steps: activation"))
    if front_end == "notebook7":
        notebook_page.reload()
        expect(status(page)).to_contain_text("Stopped after")
    assert displayed_pixels(page)[..., 3].min() == 255
    last = box(page).get_by_label("Image basis", exact=True)
    expect(last).to_be_enabled()
    last.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(box(page).get_by_label("Optimiser", exact=True)).to_be_visible()
    expect(box(page).get_by_text("0.0005", exact=True)).to_be_visible()
    for width in (1400, 1000, 700):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(FITS)
        keep(page, f"{front_end}-{width}")
    faint = [one for one in box(page).evaluate(CONTRASTS) if one[2] < READABLE]
    assert not faint
