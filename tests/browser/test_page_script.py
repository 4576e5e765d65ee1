"""What the script in the page does in every front end: names, copying, Tab, the wheel."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import HELPERS, ExplorerPage
from tests.browser.lab import LabPage
from tests.browser.widget_page import FRONT_ENDS, WidgetPage, box_of

OpenLab = Callable[[list[str]], LabPage]

DEMO = [HELPERS, "explorer = pw.demo()\nexplorer"]
CLIPBOARD = "() => navigator.clipboard.readText()"
NO_CLIPBOARD = "Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined });"


# Keeps all that status lines say: the next message may come at once.
HEAR = """() => {
  window.heard = new Set();
  const listen = () => document.querySelectorAll("[role=status], [role=alert]:not(.pfv-away)")
    .forEach((one) => window.heard.add(one.textContent));
  new MutationObserver(listen).observe(document.body, { childList: true, subtree: true });
}"""
SAID = "words => [...window.heard].some((one) => one.includes(words))"


def press_copy(explorer: ExplorerPage, characters: int) -> None:
    """Press Copy and wait for the message."""
    explorer.page.page.evaluate(HEAR)
    explorer.button("Copy").click()
    explorer.page.wait_for(SAID, f"Copied {characters} characters.")


def opened_code(explorer: ExplorerPage) -> Locator:
    """The field with the code, once it is filled."""
    explorer.open_tab("Export")
    explorer.button("Code").click()
    field = explorer.box.locator(".pfv-export-code textarea")
    expect(field).not_to_have_value("")
    return field


@pytest.mark.all
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_code_is_copied_a_download_opens_and_sliders_are_named_everywhere(
    request: pytest.FixtureRequest, front_end: str
) -> None:
    page: WidgetPage = request.getfixturevalue(front_end)(DEMO)
    explorer = ExplorerPage(page)
    expect(explorer.status).to_contain_text("Up to date", timeout=60_000)
    expect(explorer.slider("Opacity")).to_have_attribute("aria-label", "Opacity")
    expect(explorer.gallery).to_have_accessible_name(re.compile("^Gallery: "))
    layer = explorer.slider("Layer")
    expect(layer).to_have_attribute("aria-valuetext", "stage4.3")
    layer.press("PageDown")
    expect(layer).to_have_attribute("aria-valuetext", re.compile(r"^stage[123]\.\d$"))
    explorer.open_tab("Export")
    with page.page.expect_download() as download:
        explorer.button("Download").first.click()
    assert download.value.suggested_filename == "pfv.png"
    with Image.open(download.value.path()) as picture:
        assert (picture.format, picture.width > 300) == ("PNG", True)
    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = opened_code(explorer).input_value()
    press_copy(explorer, len(code))
    assert page.page.evaluate(CLIPBOARD) == code


@pytest.mark.own_page
@pytest.mark.all
def test_where_there_is_no_clipboard_the_text_is_selected_and_copied(lab: OpenLab) -> None:
    page = lab(DEMO)  # the clipboard is taken away once it is open: Lab wants it as well
    explorer = ExplorerPage(page)
    page.page.context.grant_permissions(["clipboard-read"])
    page.page.evaluate("window.clipboard = navigator.clipboard")
    page.page.evaluate(NO_CLIPBOARD)
    code = opened_code(explorer).input_value()
    press_copy(explorer, len(code))
    assert page.page.evaluate("() => window.clipboard.readText()") == code

    page.page.evaluate("document.execCommand = () => false")
    explorer.button("Copy").click()
    expect(explorer.status).to_contain_text("then Ctrl+A and Ctrl+C")


@pytest.mark.all
def test_buttons_that_copy_are_hidden_where_no_script_runs(lab: OpenLab) -> None:
    explorer = ExplorerPage(lab(DEMO))
    opened_code(explorer)
    expect(explorer.button("Copy")).to_be_visible()
    explorer.box.evaluate("box => box.classList.remove('pfv-scripted')")
    expect(explorer.button("Copy")).to_be_hidden()


@pytest.mark.all
def test_tab_leaves_the_gallery_while_the_kernel_works(demo: ExplorerPage) -> None:
    explorer, page = demo, demo.page
    assert isinstance(page, LabPage)
    expect(explorer.gallery).to_have_role("application")  # the script is there
    page.begin("import time\nfor _ in range(6000):\n    time.sleep(0.1)")
    explorer.gallery.focus()
    keys = ("Tab", False), ("Shift+Tab", True), ("Shift+Tab", False), ("Tab", True)
    for key, focused in keys:
        page.page.keyboard.press(key)
        assert (explorer.gallery.evaluate("one => one === document.activeElement")) is focused
    assert page.page.evaluate("() => window.testRunEnd") is None
    page.interrupt()
    assert page.wait_for_end() == "error"
    page.wait_until_drawn()  # the kernel has worked on the keys: it takes no focus away
    expect(explorer.gallery).to_be_focused()
    page.page.keyboard.press("Shift+Tab")
    expect(explorer.choice("Show")).to_be_focused()


@pytest.mark.all
def test_empty_field_leaves_the_clipboard_alone(demo: ExplorerPage) -> None:
    explorer, page = demo, demo.page
    assert isinstance(page, LabPage)
    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.page.evaluate("() => navigator.clipboard.writeText('kept')")
    explorer.open_tab("Export")
    explorer.button("Settings").click()
    explorer.button("Copy").click()
    expect(explorer.status).to_contain_text("There is nothing to copy yet.")
    assert page.page.evaluate(CLIPBOARD) == "kept"
    explorer.button("Show").click()
    expect(explorer.box.locator(".pfv-export-json textarea")).not_to_have_value("")
    explorer.button("Copy").click()
    expect(explorer.button("Copy – done")).to_be_visible()
    expected = page.run("print(explorer.settings.to_json())")
    assert page.page.evaluate(CLIPBOARD).strip() == expected


@pytest.mark.all
def test_a_copy_of_each_widget_takes_its_own_text(lab: OpenLab) -> None:
    cell = """
import pfv_widgets as pw
model, photos = pw.demo_model(), pw.demo_images(2)
grid = pw.explore_methods(model, photos)
made = pw.explore_reconstruction(model, photos, steps=20)
"""
    page = lab([cell, "grid", "made"])
    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for number, name in enumerate(("grid", "made")):
        widget = ExplorerPage(page, name, canvas=number)
        expected = page.run(f"print({name}.snippet())")
        expect(widget.box.locator("canvas, img").first).to_have_role("img")
        press_copy(widget, len(opened_code(widget).input_value()))
        assert page.page.evaluate(CLIPBOARD).strip() == expected


def test_wheel_over_the_gallery_scrolls_the_notebook(demo: ExplorerPage) -> None:
    page = demo.page.page
    page.set_viewport_size({"width": 1280, "height": 500})
    demo.gallery.evaluate("canvas => canvas.scrollIntoView({ block: 'start' })")
    top = box_of(demo.gallery)["y"]
    demo.hover(300, 300)
    page.mouse.wheel(0, -80)
    above = "(top) => document.querySelector('canvas.pfv-gallery').getBoundingClientRect().y > top"
    demo.page.wait_for(above, top + 40, 10)
