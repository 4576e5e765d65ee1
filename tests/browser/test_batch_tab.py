"""The page "Batch" alone in JupyterLab, driven by the real mouse."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.lab import LabPage
from tests.browser.widget_page import box_of

OpenLab = Callable[[list[str]], LabPage]
OpenBatch = Callable[..., "Batch"]
RED, GREEN = (200, 60, 60), (60, 160, 80)

# A page in a tab, as in the explorer, whose settings are kept here; every sweep finds the same.
OWNER = """
import numpy as np, torch, ipywidgets as w
from dataclasses import replace
from pfv_widgets.analysis.leave_one_out import Influence
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.batch.batch_tab import BatchTab
from pfv_widgets.widgets.toolkit.history import History

def batch(number):
    pixels = np.zeros((number, 64, 64, 3), np.uint8)
    pixels[::2], pixels[1::2] = (200, 60, 60), (60, 160, 80)
    pixels[:, 20:44, 20:44] = np.linspace(40, 250, number)[:, None, None, None]
    labels = tuple(("cat", "dog", "$o_w$")[index % 3] for index in range(number))
    names = tuple(f"{label}_{index:02}.jpg" for index, label in enumerate(labels))
    return ImageBatch(pixels, torch.zeros(number, 3, 64, 64), names, labels)

class Owner:
    def __init__(self, number):
        self.settings, self.history, self.number = Settings(), History(Settings()), number
        self.tab = BatchTab(batch(number), self.edit, self.sweep, self.gesture)

    def edit(self, change):
        self.settings = change(self.settings)
        self.history.record(self.settings)
        self.tab.show(self.settings)

    def gesture(self, begins):
        (self.history.begin if begins else self.history.end)()

    def sweep(self):
        weights = self.settings.weights(self.number)
        angles = np.where(np.array(weights) > 0, np.arange(self.number) * 37 % 50 / 1.0, np.nan)
        self.tab.show_progress(self.number, self.number)
        self.tab.show_influence(Influence(self.settings, angles, angles / 2, {}))

    @property
    def out(self):
        weights = self.settings.weights(self.number)
        return [index for index, weight in enumerate(weights) if weight == 0]
"""
SHOW = """
owner = Owner({number})
pages = w.Tab([w.VBox([w.HTML("first")]), owner.tab.widget], titles=["Picture", "Batch"])
pages.layout.width = "290px"
pages.selected_index = 1
pages
"""


class Batch:
    """The page, as a test sees it."""

    def __init__(self, page: LabPage, number: int) -> None:
        self.page = page
        corners = "[owner.tab.thumbnails.grid.corner(i) for i in range(owner.number)]"
        self.corners = json.loads(page.run(f"import json; print(json.dumps({corners}))"))
        self.side = int(page.run("print(owner.tab.thumbnails.grid.side)"))
        assert len(self.corners) == number
        page.canvas().scroll_into_view_if_needed()
        self.is_painted(1, GREEN)

    def is_painted(self, index: int, colour: tuple[int, int, int]) -> None:
        """Wait until a thumbnail's edge has a colour."""
        left, top = self.corners[index]
        self.page.wait_for_colour(left + 5, top + 5, colour, tolerance=12)

    def is_out(self, index: int) -> None:
        colour = RED if index % 2 == 0 else GREEN
        r, g, b = (round(0.28 * value + 0.72 * 128) for value in colour)
        self.is_painted(index, (r, g, b))

    def middle(self, index: int) -> tuple[float, float]:
        """Middle of a thumbnail on the screen."""
        box = box_of(self.page.canvas())
        scale = box["width"] / int(self.page.canvas().get_attribute("width") or 1)
        left, top = self.corners[index]
        half = self.side / 2
        return box["x"] + scale * (left + half), box["y"] + scale * (top + half)

    def drag(self, *indices: int) -> None:
        mouse, middles = self.page.page.mouse, [self.middle(index) for index in indices]
        mouse.move(*middles[0])
        mouse.down()
        for middle in middles[1:]:
            mouse.move(*middle, steps=4)
        mouse.up()

    def wait_for_out(self, *indices: int) -> None:
        self.page.wait_until("owner.out", str(list(indices)))

    def text(self, words: str) -> Locator:
        return self.page.page.get_by_text(words)

    def button(self, name: str) -> Locator:
        return self.page.page.get_by_role("button", name=name, exact=True)

    def screenshot(self, name: str) -> None:
        """Keep a picture of the page where PFV_ARTIFACTS says."""
        folder = os.environ.get("PFV_ARTIFACTS")
        if folder:
            self.page.screenshot(Path(folder) / f"batch-{name}.png")


@pytest.fixture
def open_batch(lab: OpenLab) -> OpenBatch:
    return lambda number, *cells: Batch(lab([OWNER, SHOW.format(number=number), *cells]), number)


@pytest.mark.all
def test_drags_presets_and_buttons_compose_the_batch(open_batch: OpenBatch) -> None:
    batch = open_batch(16, 'w.FloatSlider(description="$x$")')
    check_that_a_drag_over_thumbnails_takes_them_out_as_one_step(batch)
    check_that_presets_and_buttons_can_be_pressed_again(batch)
    check_that_no_mathematics_is_set_in_the_names_of_classes(batch)


def check_that_a_drag_over_thumbnails_takes_them_out_as_one_step(batch: Batch) -> None:
    batch.drag(2, 5, 11)
    batch.wait_for_out(2, 3, 4, 5, 11)
    for index in (2, 5, 11):
        batch.is_out(index)
    expect(batch.text("11 of 16 images are used to find the colours.")).to_be_visible()
    expect(batch.text("12: $o_w$_11")).to_be_visible()
    assert batch.page.run("print(owner.history.undo() == Settings())") == "True"


def check_that_presets_and_buttons_can_be_pressed_again(batch: Batch) -> None:
    preset = batch.page.page.locator(".widget-dropdown select")
    preset.select_option("Only $o_w$")
    batch.wait_for_out(*(index for index in range(16) if index % 3 != 2))
    batch.is_out(0)
    expect(preset.locator("option:checked")).to_have_text("Choose …")
    halves = set()
    for _ in range(4):
        before = batch.page.run("print(owner.out)")
        preset.select_option("Random half")
        batch.text("8 of 16 images are used to find the colours.").wait_for()
        batch.page.wait_until(f"owner.out != {before}", "True")
        expect(preset.locator("option:checked")).to_have_text("Choose …")
        halves.add(batch.page.run("print(owner.out)"))
    assert len(halves) == 4
    batch.button("All").click()
    batch.wait_for_out()
    batch.is_painted(0, RED)


def check_that_no_mathematics_is_set_in_the_names_of_classes(batch: Batch) -> None:
    batch.button("Weight of each class").click()
    page = batch.page.page
    expect(page.locator("mjx-container")).to_have_count(1)  # in a slider that is not of the tab
    expect(page.locator(".widget-slider label").nth(2)).to_have_text("$o_w$")


@pytest.mark.all
def test_keys_toggle_and_leave_the_canvas(open_batch: OpenBatch) -> None:
    batch = open_batch(16)
    batch.drag(7)
    batch.wait_for_out(7)
    for key in ("ArrowRight", "Space"):
        batch.page.page.keyboard.press(key)
    batch.wait_for_out(7, 8)
    batch.is_out(8)


@pytest.mark.all
def test_result_of_a_sweep_is_drawn_and_fades_with_the_next_change(open_batch: OpenBatch) -> None:
    batch = open_batch(16)
    batch.screenshot("16-light")
    batch.button("Which image matters most").click()
    batch.button("Leave one out").click()
    expect(batch.text("the colours change by 48°")).to_be_visible()
    batch.screenshot("16-influence")
    batch.drag(0)
    expect(batch.text("press again")).to_be_visible()
    batch.screenshot("16-stale")


@pytest.mark.all
def test_hundreds_fit_and_scroll_with_the_wheel(open_batch: OpenBatch) -> None:
    batch = open_batch(200)
    box = batch.page.canvas().locator("xpath=..")
    fits = "(box) => box.scrollWidth <= box.clientWidth"
    batch.page.page.wait_for_function(fits, arg=box.element_handle())  # else it scrolls sideways
    batch.page.page.mouse.move(*batch.middle(12))
    batch.page.page.mouse.wheel(0, 5000)
    far = int(batch.page.run("print(owner.tab.thumbnails.grid.furthest)"))
    left, top = batch.corners[199]
    batch.page.wait_for_colour(left + 5, top + 5 - far, GREEN, tolerance=12)
    batch.screenshot("200-end")


@pytest.mark.all
def test_it_reads_well_on_a_dark_page(open_batch: OpenBatch) -> None:
    batch = open_batch(16)
    theme = "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: '%s'})"
    batch.page.page.evaluate(theme % "JupyterLab Dark")
    try:
        batch.page.wait_for("() => document.body.dataset.jpThemeLight === 'false'")
        batch.drag(1, 2)
        batch.wait_for_out(1, 2)
        batch.button("Which image matters most").click()
        batch.button("Leave one out").click()
        expect(batch.text("the colours change by")).to_be_visible()
        batch.page.wait_until_drawn()
        batch.screenshot("16-dark")
        background = batch.page.pixels(1, 1)[0, 0]
        assert background[3] == 0, "the canvas has paper of its own"
    finally:
        batch.page.page.evaluate(theme % "JupyterLab Light")
