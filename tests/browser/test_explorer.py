"""The explorer in JupyterLab: pixels follow every control, and nothing stops it."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import HELPERS, ExplorerPage
from tests.browser.lab import LabPage

OpenLab = Callable[[list[str]], LabPage]
DEMO = [HELPERS, "explorer = pw.demo()\nexplorer"]
TILE, GAP = 192, 8
DONE = re.compile(r"Updated in \d+ ms\.")


@pytest.fixture
def demo(lab: OpenLab) -> ExplorerPage:
    """The demo of 16 scenes, painted."""
    explorer = ExplorerPage(lab(DEMO))
    explorer.wait_for_frame(0, 5, 15)
    return explorer


def changed_part(before: np.ndarray, after: np.ndarray) -> float:
    """Share of the pixels that differ by more than a JPEG does."""
    return float((np.abs(after - before).max(axis=2) > 12).mean())


def test_every_control_changes_the_pixels_as_the_engine_says(demo: ExplorerPage) -> None:
    steps = [
        (demo.slider("Layer"), "PageDown", "layer != explorer.pfv.default_layer", "True"),
        (demo.slider("Components"), "ArrowLeft", "components", "2"),
        (demo.slider("Opacity"), "End", "opacity", "1.0"),
        (demo.slider("Contrast σ"), "PageUp", "sigma > 1.04", "True"),
        (demo.choice("Weighting"), "", "weighting", "none"),
        (demo.choice("Colours"), "", "colour_map", "safe"),
        (demo.choice("Normalise"), "", "normalisation", "component"),
        (demo.choice("View"), "", "view", "photo"),
    ]
    for control, key, expression, wanted in steps:
        before = demo.pixels()
        if key:
            demo.page.press(control, key)
        else:
            control.select_option(wanted)
        demo.wait_until(f"explorer.settings.{expression}", wanted)
        demo.wait_for_frame(0, 10)
        expect(demo.status).to_contain_text(DONE)
        share = changed_part(before, demo.pixels())
        assert share > 0.05, f"{expression}: nothing changed"


def test_heat_and_class_weights_are_painted_exactly(demo: ExplorerPage) -> None:
    label = demo.run("print(explorer.pfv.images.labels[0])")
    before = demo.pixels()
    demo.page.press(demo.slider(label), "Home")
    demo.wait_until("explorer.settings.images[0]", "0.0")
    out = int(demo.run("print(explorer.settings.images.count(0.0))"))
    expect(demo.box.get_by_text(f"{16 - out} of 16 images make the basis.")).to_be_visible()
    demo.run("assert explorer.wait(30)")
    assert changed_part(before, demo.pixels()) > 0.05
    demo.button("All").click()
    demo.wait_until("explorer.settings.images[0]", "1.0")

    demo.run("explorer.settings = replace(explorer.settings, weighting='gradual', view='heatmap')")
    demo.wait_for_frame(5, tolerance=30)  # the engine paints finer at the size of a tile
    wanted = painted_pixels(demo, 5)
    left, top = TILE + GAP, TILE + GAP
    found = demo.pixels()[top : top + TILE, left : left + TILE, :3]
    assert np.abs(found - wanted).mean() < 3
    for edge in (np.s_[:4], np.s_[-4:], np.s_[:, :4], np.s_[:, -4:]):
        assert np.abs(found[edge] - wanted[edge]).mean() < 4
    gap = demo.pixels()[:, TILE : TILE + GAP]
    assert gap.max() == 0


def painted_pixels(demo: ExplorerPage, index: int) -> np.ndarray:
    """What the engine paints at the size of a tile."""
    code = f"""
tile = explorer._grid.grid.tile
heat = explorer.pfv.render(explorer.settings, size=tile).heatmaps[{index}]
print((heat * 255).round().byte().numpy().tobytes().hex())
"""
    return np.frombuffer(bytes.fromhex(demo.run(code)), np.uint8).reshape(TILE, TILE, 3)


def test_clicks_buttons_and_keys_compose_the_batch(demo: ExplorerPage) -> None:
    before = demo.pixels()
    summary = demo.box.get_by_text(re.compile(r"\d+ of 16 images make the basis\."))
    demo.click(30, 30)
    expect(summary).to_have_text("15 of 16 images make the basis.")
    demo.wait_for_frame(1, 15)
    inner = np.s_[16 : TILE - 16, 16 : TILE - 16, :3]
    first, dimmed = before[inner], demo.pixels()[inner]
    assert dimmed.std() < 0.5 * first.std()
    expect(demo.box.get_by_text("not in the basis")).to_be_visible()
    demo.click(30, 30)
    expect(summary).to_have_text("16 of 16 images make the basis.")
    demo.wait_for_frame(1, 15)
    assert changed_part(before[TILE:], demo.pixels()[TILE:]) < 0.02

    demo.button("None").click()
    expect(demo.status).to_have_role("alert")
    expect(demo.status).to_contain_text("every weight is 0")
    demo.click(30, 230)
    demo.page.canvas().press("Escape")  # the ring around the tile goes
    expect(demo.status).to_contain_text(DONE)
    expect(summary).to_have_text("1 of 16 images make the basis.")
    demo.wait_for_frame(4)
    demo.button("Invert").click()
    expect(summary).to_have_text("15 of 16 images make the basis.")
    demo.button("All").click()
    expect(summary).to_have_text("16 of 16 images make the basis.")

    demo.page.canvas().press("ArrowRight")
    demo.page.canvas().press(" ")
    expect(summary).to_have_text("15 of 16 images make the basis.")
    demo.wait_until("explorer.settings.images.index(0.0)", "0")
    demo.page.canvas().press("Tab")
    expect(demo.page.canvas()).not_to_be_focused()
    demo.page.page.keyboard.press("Tab")
    expect(demo.slider("Layer")).to_be_focused()


def test_reload_and_second_view_are_painted_and_alive(demo: ExplorerPage) -> None:
    demo.page.press(demo.slider("Components"), "ArrowLeft")
    demo.wait_until("explorer.settings.components", "2")
    demo.wait_for_frame()
    before = demo.pixels()
    assert isinstance(demo.page, LabPage)
    demo.page.reload()
    demo.wait_for_frame()
    assert changed_part(before, demo.pixels()) < 0.001
    demo.page.press(demo.slider("Contrast σ"), "PageUp")
    demo.wait_until("explorer.settings.sigma > 1.04", "True")
    demo.wait_for_frame()

    demo.page.second_view()
    second = ExplorerPage(demo.page, canvas=1)
    second.wait_for_frame()
    second.page.press(second.slider("Opacity"), "Home")
    demo.wait_until("explorer.settings.opacity", "0.0")
    demo.wait_for_frame()
    second.wait_for_frame()


def test_two_explorers_are_independent_and_one_survives_the_other(lab: OpenLab) -> None:
    cells = [HELPERS, "first = pw.demo(4)\nfirst", "second = pw.demo(4, seed=1)\nsecond"]
    page = lab(cells)
    first, second = ExplorerPage(page, "first"), ExplorerPage(page, "second", canvas=1)
    for one in (first, second):
        one.wait_for_frame()
    kept = second.pixels()
    first.page.press(first.slider("Components"), "ArrowLeft")
    first.wait_until("explorer.settings.components", "2")
    first.wait_for_frame()
    assert changed_part(kept, second.pixels()) == 0
    first.run(
        "for step in range(100):\n"
        "    explorer.settings = replace(explorer.settings, sigma=1 + step / 100)\n"
        "explorer.close()"
    )
    expect(page.page.locator(".pfv-explorer")).to_have_count(1)
    only = ExplorerPage(page, "second")
    only.page.press(only.slider("Components"), "ArrowLeft")
    only.wait_until("explorer.settings.components", "2")
    only.wait_for_frame()


def test_flood_and_busy_kernel_end_in_the_right_picture(demo: ExplorerPage) -> None:
    demo.page.press(demo.slider("Contrast σ"), "ArrowRight", times=40)
    demo.page.press(demo.slider("Opacity"), "ArrowLeft", times=60)
    demo.wait_until("round(explorer.settings.sigma, 2)", "3.0", timeout=10)
    demo.wait_until("round(explorer.settings.opacity, 2)", "0.05", timeout=10)
    demo.wait_for_frame()

    loop = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass"
    demo.page.page.evaluate(
        "code => { window.testPanel.sessionContext.session.kernel.requestExecute({ code }) }", loop
    )
    demo.page.press(demo.slider("Components"), "ArrowLeft", times=2)
    demo.page.press(demo.slider("Opacity"), "End")
    demo.wait_until("explorer.settings.components", "1")
    demo.wait_for_frame()


def test_foreign_names_and_labels_do_not_come_alive(lab: OpenLab) -> None:
    batch = r"""
hostile = ["<img src=x onerror=alert(1)>", "$x^2$ $$y$$", r"\(z\) \[w\]", "a\n\u202eb"]
images = replace(pw.demo_images(4), names=tuple(hostile), labels=tuple(hostile))
explorer = pw.explore(pw.demo_model(), images)
explorer
"""
    page = lab([HELPERS, batch])
    dialogs: list[str] = []
    page.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    explorer = ExplorerPage(page)
    explorer.wait_for_frame()
    for index in range(4):
        row, column = divmod(index, 2)
        explorer.click(30 + column * (TILE + GAP), 30 + row * (TILE + GAP))
        hint = explorer.box.get_by_text(f"{index}: ")
        expect(hint).to_contain_text("not in the basis")
    expect(explorer.status).to_have_role("alert")
    explorer.run("explorer.settings = replace(explorer.settings, layer=hostile[0])")
    expect(explorer.status).to_contain_text("<img src=x onerror=alert(1)>")
    assert explorer.box.locator("img, script, mjx-container, .MathJax").count() == 0
    assert dialogs == []
