"""The page "Keep" in JupyterLab, on a stand-in for the explorer: files, progress, keys, looks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import LabPage

OpenLab = Callable[[list[str]], LabPage]

SETUP = """
import threading, time
from dataclasses import replace
from pathlib import Path
import ipywidgets as w
import pfv_widgets as pw
from pfv_widgets.engine.page import write_page
from pfv_widgets.engine.sweep import save_sweep
from pfv_widgets.widgets.keep import KeepTab

class Explorer:
    def __init__(self):
        self.pfv = pw.PFV(pw.demo_model(), pw.demo_images(4), "cpu")
        self.settings, self.told, self.slow = pw.Settings(), [], 0
    @property
    def classes(self):
        return self.pfv.images.classes
    def edit(self, change):
        self.settings = change(self.settings)
    def snippet(self):
        fields = ", ".join(f"{k}={v!r}" for k, v in self.settings.changed().items())
        return f"import pfv_widgets as pw\\n\\nsettings = pw.Settings({fields})\\n"
    def save(self, path):
        frame = self.pfv.render(self.settings)
        write_page(frame, path) if path.endswith(".html") else frame.save(path)
    def save_sweep(self, path, over, *, label, progress, cancelled):
        def slowly(done, of):
            progress(done, of)
            time.sleep(self.slow)
        return save_sweep(self.pfv, path, over, self.settings, label=label, progress=slowly,
                          cancelled=cancelled)
    def run(self, job):
        threading.Thread(target=job, daemon=True).start()
    def tell(self, message, kind):
        self.told.append((kind, message))

explorer = Explorer()
tab = KeepTab(explorer)
"""
SHOW = 'w.VBox([tab.widget], layout=w.Layout(width="270px"))'


@pytest.fixture
def keep(lab: OpenLab) -> LabPage:
    """The page alone, 270 pixels wide."""
    opened = lab([SETUP, SHOW])
    expect(box(opened.page)).to_be_visible()
    return opened


def box(page: Page) -> Locator:
    return page.locator(".pfv-keep")


def section(page: Page, name: str) -> Locator:
    """Open a section; return what is in it."""
    box(page).get_by_role("button", name=name, exact=True).click()
    contents = box(page).locator(".pfv-keep-section")
    expect(contents).to_be_visible()
    return contents


def said(part: Locator) -> Locator:
    return part.locator(".pfv-keep-said [role=status], .pfv-keep-said [role=alert]")


def press(part: Locator, name: str) -> None:
    part.get_by_role("button", name=name, exact=True).click()


def test_picture_is_saved_under_the_name_that_was_typed(keep: LabPage) -> None:
    part = section(keep.page, "Picture")
    part.get_by_label("Kind").select_option("HTML page with values")
    expect(part.get_by_label("File")).to_have_value("pfv.html")
    part.get_by_label("File").fill("mine.svg")
    expect(part.get_by_label("Kind")).to_have_value("SVG drawing")
    press(part, "Save")
    expect(said(part)).to_contain_text("Saved")
    expect(said(part)).to_contain_text("mine.svg")
    assert keep.run("print(Path('mine.svg').read_text()[:5])") == "<?xml"
    part.get_by_label("File").fill("absent/<img src=x>.png")
    press(part, "Save")
    expect(said(part)).to_have_role("alert")
    expect(said(part)).to_contain_text("there is no folder")
    expect(part.get_by_label("File")).to_have_value("absent/<img src=x>.png")
    expect(part.locator("img")).to_have_count(0)


def test_animation_shows_progress_and_can_be_cancelled(keep: LabPage) -> None:
    part = section(keep.page, "Animation")
    expect(part.get_by_label("Class")).to_be_hidden()
    part.get_by_label("Vary").select_option("Class weight, 0 to 2")
    expect(part.get_by_label("Class")).to_be_visible()
    keep.run("explorer.slow = 0.3")
    press(part, "Save")
    expect(part.get_by_role("button", name="Save")).to_be_disabled()
    expect(said(part)).to_contain_text("Picture 3 of 21")
    press(part, "Cancel")
    expect(said(part)).to_contain_text("Cancelled: nothing was written.")
    assert keep.run("print(Path('pfv-sweep.gif').exists())") == "False"
    keep.run("explorer.slow = 0")
    part.get_by_label("Vary").select_option("Components 1, 2, 3 …")
    press(part, "Save")
    expect(said(part)).to_contain_text("6 pictures")
    assert keep.run("print(Path('pfv-sweep.gif').read_bytes()[:6])") == "b'GIF89a'"


def test_code_can_be_selected_and_copied_by_keys(keep: LabPage) -> None:
    keep.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    keep.run("explorer.settings = replace(explorer.settings, sigma=2.0)")
    part = section(keep.page, "Code")
    area = part.locator("textarea")
    wanted = keep.run("print(explorer.snippet())")
    expect(area).to_have_value(wanted + "\n")
    area.click()
    keep.page.keyboard.press("Control+a")
    keep.page.keyboard.press("Control+c")
    copied = keep.page.evaluate("() => navigator.clipboard.readText()")
    assert copied.strip() == wanted
    keep.page.keyboard.type("x")
    area.blur()
    expect(area).to_have_value(wanted + "\n")


def test_settings_are_pasted_and_applied(keep: LabPage) -> None:
    part = section(keep.page, "Settings")
    press(part, "Show")
    expect(part.locator("textarea")).to_have_value(
        keep.run("print(explorer.settings.to_json())") + "\n"
    )
    part.locator("textarea").fill('{"sigma": 2, "glow": "</textarea><img src=x>"}')
    press(part, "Apply")
    expect(said(part)).to_contain_text("'glow' is no setting")
    assert keep.run("print(explorer.settings.sigma)") == "2.0"
    part.locator("textarea").fill("{")
    press(part, "Apply")
    expect(said(part)).to_have_role("alert")
    expect(part.locator("textarea")).to_have_value("{")


def test_bookmarks_bring_a_view_back(keep: LabPage) -> None:
    part = section(keep.page, "Bookmarks")
    expect(part.get_by_role("button", name="Go")).to_be_disabled()
    part.get_by_label("Name").fill("<b>$x$</b>")
    press(part, "Add")
    expect(said(part)).to_contain_text("Added")
    expect(part.get_by_label("Go to")).to_have_value("<b>＄x＄</b>")
    keep.run("explorer.settings = replace(explorer.settings, sigma=2.0)")
    press(part, "Go")
    expect(said(part)).to_contain_text("This is")
    assert keep.run("print(explorer.settings.sigma)") == "1.0"


@pytest.mark.parametrize("name", ["Picture", "Animation", "Code", "Settings", "Bookmarks"])
def test_nothing_is_wider_than_the_page(keep: LabPage, name: str) -> None:
    part = section(keep.page, name)
    outer = box(keep.page).bounding_box()
    assert outer is not None
    assert outer["width"] <= 270
    for control in part.locator("input, select, textarea, button").all():
        if control.is_visible():
            inner = control.bounding_box()
            assert inner is not None
            assert inner["x"] + inner["width"] <= outer["x"] + outer["width"]
    scrolls = "(one) => one.scrollWidth - one.clientWidth"
    assert box(keep.page).evaluate(scrolls) <= 0
    assert part.evaluate(scrolls) <= 0
