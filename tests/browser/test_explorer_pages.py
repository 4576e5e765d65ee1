"""The pages of the panel in JupyterLab, together with the gallery."""

from __future__ import annotations

import json
import re

import numpy as np
from playwright.sync_api import expect

from tests.browser.explorer_page import ExplorerPage
from tests.browser.widget_page import box_of

COUNT = re.compile(r"\d+ of 4096 positions selected, in \d+ of 16 images\.")


def differing(before: np.ndarray, after: np.ndarray) -> float:
    return float((np.abs(after - before).max(axis=2) > 12).mean())


def test_brush_in_the_cloud_fades_the_gallery_and_the_other_way(demo: ExplorerPage) -> None:
    demo.open_tab("Components")
    words = demo.box.get_by_text(COUNT)
    cloud = demo.box.get_by_text("component 1 →").locator("xpath=ancestor::*[.//canvas][1]//canvas")
    before = demo.settled()
    box = box_of(cloud)
    mouse = demo.page.page.mouse
    mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.1 * box["height"])
    mouse.down()
    mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"], steps=6)
    mouse.up()
    expect(words).to_be_visible()
    demo.wait_until("explorer.tabs['Components'].scatter.plot.start", "None")  # the button is up
    demo.wait_until("explorer.gallery.view_state.selection is not None", "True")
    count = int(demo.run("print(int(explorer.gallery.view_state.selection.mask.sum()))"))
    expect(words).to_contain_text(f"{count} of 4096")
    assert 0 < count < 4096
    chip = demo.box.locator("button", has_text=re.compile("positions selected$"))
    expect(chip).to_have_text(f"× {count} positions selected")
    assert differing(before, demo.settled()) > 0.2

    demo.gallery.press("Escape")
    demo.wait_until("explorer.gallery.view_state.selection", "None")
    demo.drag((300, 60), (400, 160))
    demo.wait_until("explorer.gallery.view_state.selection is not None", "True")
    count = int(demo.run("print(int(explorer.gallery.view_state.selection.mask.sum()))"))
    expect(words).to_contain_text(f"{count} of 4096 positions selected, in 1 of 16 images.")
    expect(chip).to_have_text(f"× {count} positions selected")
    chip.click()
    demo.wait_until("explorer.gallery.view_state.selection", "None")
    expect(chip).to_be_hidden()


def test_pictures_of_the_components_follow_the_pointer_and_toggle(demo: ExplorerPage) -> None:
    demo.open_tab("Components")
    for part in ("Each component", "Explained variance"):
        demo.box.get_by_role("button", name=re.compile(f"{part}$")).click()
    demo.hover(3 * 240 + 100, 100)
    expect(demo.box.get_by_text("Each component in image 4")).to_be_visible()
    demo.box.get_by_role("button", name=re.compile("^2: Show or hide component 2")).click()
    demo.wait_until("explorer.settings.channels", "(0, 2)")
    demo.leave()
    demo.wait_for_frame(0, 9)
    demo.button("Undo").click()
    demo.wait_until("explorer.settings.channels", "None")
    demo.wait_for_frame(0, 9)


def test_toolbar_undoes_and_gives_safe_colours_in_one_click(demo: ExplorerPage) -> None:
    demo.button("Colour-blind-safe colours").click()
    demo.wait_until("explorer.settings.colour_map", "safe")
    expect(demo.choice("Colours")).to_have_value("safe")
    demo.wait_for_frame(2)
    demo.run("explorer.history.pause = 600")  # a slow machine rests between two presses
    demo.page.press(demo.slider("Contrast σ"), "ArrowRight", times=8)
    demo.wait_until("explorer.settings.sigma", "1.4")
    demo.button("Undo").click()
    demo.wait_until("explorer.settings.sigma", "1.0")
    demo.button("Undo").click()
    demo.wait_until("explorer.settings.colour_map", "rgb")
    expect(demo.button("Undo")).to_be_disabled()
    demo.button("Redo").click()
    demo.wait_until("explorer.settings.colour_map", "safe")
    demo.wait_for_frame(2)


def test_one_image_left_out_after_the_other_tells_the_heaviest(demo: ExplorerPage) -> None:
    demo.open_tab("Batch")
    demo.button("Which image matters most").click()
    demo.button("Leave one out").click()
    expect(demo.box.get_by_text(re.compile(r"the colours change by \d+°"))).to_be_visible()
    text = demo.box.get_by_text(re.compile("^Without")).first.text_content() or ""
    code = """
from pfv_widgets.analysis.leave_one_out import leave_one_out
print(leave_one_out(explorer.pfv, explorer.settings).most()[0])
"""
    assert f"Without {int(demo.run(code)) + 1}: " in text


def test_view_is_exported_as_files_code_settings_and_bookmark(demo: ExplorerPage) -> None:
    demo.open_tab("Export")
    demo.box.get_by_label("File").first.fill("view.html")
    demo.wait_until("explorer.tabs['Export'].sections['Picture'].file.name.value", "view.html")
    demo.button("Save").first.click()
    expect(demo.box.get_by_text(re.compile("view.html")).first).to_be_visible()
    demo.wait_until("__import__('os').path.exists('view.html')", "True")
    page = demo.run("print(open('view.html').read()[:15])")
    assert page.lower().startswith("<!doctype html>")

    export = demo.box.locator(".pfv-export")
    export.get_by_role("button", name="Bookmarks").click()
    export.get_by_label("Name").fill("plain")
    demo.wait_until("explorer.tabs['Export'].sections['Bookmarks'].name.value", "plain")
    export.get_by_role("button", name="Add", exact=True).click()
    demo.wait_until("explorer.bookmarks.names", "('plain',)")
    demo.run("explorer.settings = replace(explorer.settings, sigma=2.5, view='heatmap')")
    export.get_by_role("button", name="Go", exact=True).click()
    demo.wait_until("(explorer.settings.sigma, explorer.settings.view)", "(1.0, 'overlay')")
    demo.wait_for_frame(3)

    export.get_by_role("button", name="Settings", exact=True).click()
    text = json.dumps({"version": 99, "sigma": 2, "glow": 1})
    export.locator("textarea:visible").fill(text)
    demo.wait_until("explorer.tabs['Export'].sections['Settings'].json.value", text)
    export.get_by_role("button", name="Apply").click()
    demo.wait_until("explorer.settings.sigma", "2.0")
    expect(export.get_by_text(re.compile("glow")).first).to_be_visible()
