"""The page "Export" in JupyterLab, on a stand-in for the explorer: files, progress, keys, looks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import LabPage

OpenLab = Callable[[list[str]], LabPage]

SETUP = """
import time
from dataclasses import replace
from pathlib import Path
import ipywidgets as w
import pfv_widgets as pw
from pfv_widgets.engine.export.sweep import save_sweep
from pfv_widgets.engine.export.formats import FILE_KINDS
from pfv_widgets.widgets.explorer.tabs import PFV_SECTIONS
from pfv_widgets.widgets.export.export_tab import ExportTab
from pfv_widgets.widgets.toolkit.jobs import Jobs

class Explorer:
    def __init__(self):
        self.pfv = pw.PFV(pw.demo_model(), pw.demo_images(4), "cpu")
        self.settings, self.status, self.stays_at = pw.Settings(), "", 0
        self.jobs, self.file_kinds, self.file_stem = Jobs(), FILE_KINDS, "pfv"
    def edit(self, change):
        self.settings = change(self.settings)
        return True
    def gesture(self, begins):
        pass
    def snippet(self):
        fields = ", ".join(f"{k}={v!r}" for k, v in self.settings.changed().items())
        return f"import pfv_widgets as pw\\n\\nsettings = pw.Settings({fields})\\n"
    def save(self, path, images="all"):
        self.pfv.render(self.settings).save(path)
    def save_sweep(self, path, over, *, label, progress, cancelled):
        def slowly(done, of):
            progress(done, of)
            while done == self.stays_at and not cancelled():
                time.sleep(0.02)
        return save_sweep(self.pfv, path, over, self.settings, label=label, progress=slowly,
                          cancelled=cancelled)
    def fail(self, error):
        self.status = str(error)
    def show_message(self, message, kind="ok"):
        self.status = message

explorer = Explorer()
tab = ExportTab(explorer, PFV_SECTIONS)
"""
CONTROLS = "input, select, textarea, button"
# How many controls each section shows.
SECTIONS = {"Picture": 5, "Animation": 6, "Code": 2, "Settings": 8, "Bookmarks": 10}
# Whether a section shows all its controls, none hidden late, and nothing sticks out.
FITS = """([controls, number]) => {
  const box = document.querySelector(".pfv-export");
  const part = box.querySelector(".pfv-export-section"), outer = box.getBoundingClientRect();
  const shown = [...part.querySelectorAll(controls)]
    .filter((one) => one.checkVisibility()).map((one) => one.getBoundingClientRect());
  return outer.width <= 270 && shown.length === number
    && shown.every((one) => one.width && one.right <= outer.right)
    && [box, part].every((one) => one.scrollWidth <= one.clientWidth);
}"""
SHOW = 'w.VBox([tab.widget], layout=w.Layout(width="270px"))'


@pytest.fixture
def narrow_page(lab: OpenLab) -> LabPage:
    """The page alone, 270 pixels wide."""
    page = lab([SETUP, SHOW])
    expect(box(page.page)).to_be_visible()
    return page


def box(page: Page) -> Locator:
    return page.locator(".pfv-export")


def section(page: Page, name: str) -> Locator:
    """Open a section; return what is in it."""
    box(page).get_by_role("button", name=name, exact=True).click()
    contents = box(page).locator(".pfv-export-section")
    expect(contents).to_be_visible()
    return contents


def said(part: Locator) -> Locator:
    return part.locator(".pfv-export-message [role=status], .pfv-export-message [role=alert]")


def press(part: Locator, name: str) -> None:
    part.get_by_role("button", name=name, exact=True).click()


@pytest.mark.all
def test_sections_fit_save_show_progress_and_apply_what_is_pasted(narrow_page: LabPage) -> None:
    check_that_nothing_is_wider_than_the_page(narrow_page)
    check_that_a_picture_is_saved_under_the_name_that_was_typed(narrow_page)
    check_that_an_animation_shows_progress_and_can_be_cancelled(narrow_page)
    check_that_settings_are_pasted_and_applied(narrow_page)


def check_that_a_picture_is_saved_under_the_name_that_was_typed(narrow_page: LabPage) -> None:
    part = section(narrow_page.page, "Picture")
    part.get_by_label("Kind").select_option("HTML page with values")
    expect(part.get_by_label("File")).to_have_value("pfv.html")
    part.get_by_label("File").fill("mine.svg")
    expect(part.get_by_label("Kind")).to_have_value("SVG drawing")
    press(part, "Save")
    expect(said(part)).to_contain_text("Saved")
    expect(said(part)).to_contain_text("mine.svg")
    assert narrow_page.run("print(Path('mine.svg').read_text()[:5])") == "<?xml"
    part.get_by_label("File").fill("absent/<img src=x>.png")
    narrow_page.wait_until("tab.sections['Picture'].file.name.value", "absent/<img src=x>.png")
    press(part, "Save")
    expect(said(part)).to_have_role("alert")
    expect(said(part)).to_contain_text("there is no folder")
    expect(part.get_by_label("File")).to_have_value("absent/<img src=x>.png")
    expect(part.locator("img")).to_have_count(0)


def check_that_an_animation_shows_progress_and_can_be_cancelled(narrow_page: LabPage) -> None:
    part = section(narrow_page.page, "Animation")
    expect(part.get_by_label("Class")).to_be_hidden()
    part.get_by_label("Vary").select_option("Class weight, 0 to 2")
    expect(part.get_by_label("Class")).to_be_visible()
    narrow_page.run("explorer.stays_at = 3")
    press(part, "Save")
    expect(part.get_by_role("button", name="Save")).to_be_disabled()
    expect(said(part)).to_contain_text("Rendering the pictures: 13 %")
    press(part, "Cancel")
    expect(said(part)).to_contain_text("Cancelled: nothing was written.")
    assert narrow_page.run("print(Path('pfv-sweep.gif').exists())") == "False"
    narrow_page.run("explorer.stays_at = 0")
    part.get_by_label("Vary").select_option("Components 1, 2, 3 …")
    narrow_page.wait_until("tab.sections['Animation'].over.value", "components")
    press(part, "Save")
    expect(said(part)).to_contain_text("6 pictures")
    assert narrow_page.run("print(Path('pfv-sweep.gif').read_bytes()[:6])") == "b'GIF89a'"


@pytest.mark.all
def test_code_can_be_selected_and_copied_by_keys(narrow_page: LabPage) -> None:
    narrow_page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    narrow_page.run("explorer.settings = replace(explorer.settings, sigma=2.0)")
    part = section(narrow_page.page, "Code")
    area = part.locator("textarea")
    expected = narrow_page.run("print(explorer.snippet())")
    expect(area).to_have_value(expected + "\n")
    area.click()
    narrow_page.page.keyboard.press("Control+a")
    narrow_page.page.keyboard.press("Control+c")
    copied = narrow_page.page.evaluate("() => navigator.clipboard.readText()")
    assert copied.strip() == expected
    narrow_page.page.keyboard.type("x")
    area.blur()
    expect(area).to_have_value(expected + "\n")


def check_that_settings_are_pasted_and_applied(narrow_page: LabPage) -> None:
    part = section(narrow_page.page, "Settings")
    press(part, "Show")
    expect(part.locator("textarea")).to_have_value(
        narrow_page.run("print(explorer.settings.to_json())") + "\n"
    )
    pasted = '{"sigma": 2, "glow": "</textarea><img src=x>"}'
    part.locator("textarea").fill(pasted)
    narrow_page.wait_until("tab.sections['Settings'].json.value", pasted)
    press(part, "Apply")
    expect(said(part)).to_contain_text("'glow' is no setting")
    assert narrow_page.run("print(explorer.settings.sigma)") == "2.0"
    part.locator("textarea").fill("{")
    narrow_page.wait_until("tab.sections['Settings'].json.value", "{")
    press(part, "Apply")
    expect(said(part)).to_have_role("alert")
    expect(part.locator("textarea")).to_have_value("{")


@pytest.mark.all
def test_bookmarks_bring_a_view_back(narrow_page: LabPage) -> None:
    part = section(narrow_page.page, "Bookmarks")
    expect(part.get_by_role("button", name="Go")).to_be_disabled()
    part.get_by_label("Name").fill("<b>$x$</b>")
    narrow_page.wait_until("tab.sections['Bookmarks'].name.value", "<b>$x$</b>")
    press(part, "Add")
    expect(said(part)).to_contain_text("Added")
    expect(part.get_by_label("Go to")).to_have_value("<b>$x$</b>")
    narrow_page.run("explorer.settings = replace(explorer.settings, sigma=2.0)")
    press(part, "Go")
    expect(said(part)).to_contain_text("This is")
    assert narrow_page.run("print(explorer.settings.sigma)") == "1.0"


def check_that_nothing_is_wider_than_the_page(narrow_page: LabPage) -> None:
    for name, controls in SECTIONS.items():
        section(narrow_page.page, name)
        narrow_page.wait_for(FITS, [CONTROLS, controls])
