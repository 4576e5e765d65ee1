"""The explorer in JupyterLab: pixels follow every control, and nothing stops it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import HELPERS, ExplorerPage
from tests.browser.lab import LabPage
from tests.browser.widget_page import box_of

OpenLab = Callable[[list[str]], LabPage]
DEMO = [HELPERS, "explorer = pw.demo()\nexplorer"]
TILE, GAP = 228, 12
DONE = re.compile(r"Up to date\.")


def changed_part(before: np.ndarray, after: np.ndarray) -> float:
    """Share of the pixels that differ by more than a JPEG does."""
    return float((np.abs(after - before).max(axis=2) > 12).mean())


def test_every_control_changes_the_pixels_as_the_engine_says(demo: ExplorerPage) -> None:
    steps = [
        (demo.slider("Layer"), "PageDown", "layer != explorer.pfv.default_layer", "True"),
        (demo.slider("Components"), "ArrowLeft", "components", "2"),
        (demo.slider("Opacity"), "End", "opacity", "1.0"),
        (demo.slider("Contrast σ"), "PageUp", "sigma > 1.04", "True"),
        (demo.choice("Weighting"), "none", "weighting", "none"),
        (demo.choice("Colours"), "safe", "colour_map", "safe"),
        (demo.choice("Scale"), "per component", "normalisation", "component"),
        (demo.choice("View"), "photo", "view", "photo"),
    ]
    before = demo.settled()
    for control, key, expression, expected in steps:
        if control.evaluate("one => one.tagName") == "SELECT":
            control.select_option(key)
        else:
            demo.page.press(control, key)
        demo.wait_until(f"explorer.settings.{expression}", expected)
        demo.wait_for_frame(0, 10)
        expect(demo.status).to_contain_text(DONE)
        after = demo.settled()
        assert changed_part(before, after) > 0.05, f"{expression}: nothing changed"
        before = after


@pytest.mark.all
def test_heat_and_class_weights_are_painted_exactly(demo: ExplorerPage) -> None:
    label = demo.run("print(explorer.pfv.images.labels[0])")
    before = demo.settled()
    demo.open_tab("Batch")
    demo.button("Weight of each class").click()
    demo.page.press(demo.slider(label), "Home")
    demo.wait_until("(explorer.settings.images or [None])[0]", "0.0")
    out = int(demo.run("print(explorer.settings.images.count(0.0))"))
    expect(
        demo.box.get_by_text(f"{16 - out} of 16 images are used to find the colours.")
    ).to_be_visible()
    assert changed_part(before, demo.settled()) > 0.05
    demo.button("All").click()
    demo.wait_until("explorer.settings.images", "None")

    demo.run("explorer.settings = replace(explorer.settings, weighting='gradual', view='heatmap')")
    demo.wait_for_frame(5, tolerance=30)  # finer than the heatmaps that are sent
    expected = painted_pixels(demo, 5)
    left, top = json.loads(demo.run("print([*explorer.gallery.tiles.grid.corner(5)])"))
    actual = demo.settled()[top : top + TILE, left : left + TILE, :3]
    assert np.abs(actual - expected).mean() < 2
    for edge in (np.s_[:4], np.s_[-4:], np.s_[:, :4], np.s_[:, -4:]):
        assert np.abs(actual[edge] - expected[edge]).mean() < 4
    gap = demo.settled()[:, TILE : TILE + GAP]
    assert gap.max() == 0


def painted_pixels(demo: ExplorerPage, index: int) -> np.ndarray:
    """What the engine paints, at half the size of a tile; enlarged as in the browser."""
    code = f"""
size = tuple(side // 2 for side in explorer.gallery.tiles.grid.tile)
heat = explorer.pfv.render(explorer.settings, size=size).heatmaps[{index}]
one = Image.fromarray((heat * 255).round().byte().numpy())
print(one.resize(({TILE}, {TILE}), Image.Resampling.BILINEAR).tobytes().hex())
"""
    return np.frombuffer(bytes.fromhex(demo.run(code)), np.uint8).reshape(TILE, TILE, 3)


def test_buttons_thumbnails_and_keys_compose_the_batch(demo: ExplorerPage) -> None:
    before = demo.settled()
    summary = demo.box.get_by_text(re.compile(r"\d+ of 16 images are used to find the colours\."))
    demo.open_tab("Batch")
    thumbnails = demo.box.locator("canvas.pfv-thumbnails")
    box_of(thumbnails)
    thumbnails.click(position={"x": 20, "y": 20})
    expect(summary).to_have_text("15 of 16 images are used to find the colours.")
    demo.wait_for_frame(1, 15)
    inner = np.s_[16 : TILE - 16, 16 : TILE - 16, :3]
    first, dimmed = before[inner], demo.settled()[inner]
    assert dimmed.std() < 0.5 * first.std()
    thumbnails.click(position={"x": 20, "y": 20})
    expect(summary).to_have_text("16 of 16 images are used to find the colours.")
    demo.wait_for_frame(1, 15)
    assert changed_part(before[TILE:], demo.settled()[TILE:]) < 0.02

    demo.button("None").click()
    expect(demo.status).to_contain_text(
        "No image is in the batch. Take one in under Batch, or with Space."
    )
    demo.button("Invert").click()
    expect(demo.status).to_contain_text(DONE)
    expect(summary).to_have_text("16 of 16 images are used to find the colours.")

    gallery = demo.gallery
    gallery.press("ArrowRight")
    gallery.press(" ")
    expect(summary).to_have_text("15 of 16 images are used to find the colours.")
    demo.wait_until("explorer.settings.images.index(0.0)", "0")
    expect(demo.box.get_by_text("not used to find the colours")).to_be_visible()
    gallery.press("Control+z")
    expect(summary).to_have_text("16 of 16 images are used to find the colours.")
    gallery.press("Tab")
    expect(gallery).not_to_be_focused()


def test_hover_reads_a_place_and_pins_paint_what_is_like_it(demo: ExplorerPage) -> None:
    before = demo.settled()
    demo.hover(60, 60)
    expect(demo.box.get_by_text(re.compile(r"^1: scene"))).to_be_visible()
    line = demo.box.get_by_text(re.compile(r"Scores\s*1:"))
    expect(line).to_be_visible()
    values = demo.run("print(explorer.frame.at(0, 60 / 228, 60 / 228).tolist())")
    first = f"{float(values.strip('[]').split(',')[0]):+.2f}".replace("-", "−")
    expect(line).to_contain_text(first)
    rings = np.abs(demo.settled() - before).max(axis=2) > 60
    tiles = {
        (row, column)
        for row in range(4)
        for column in range(4)
        if rings[row * (TILE + GAP) :, column * (TILE + GAP) :][:TILE, :TILE].sum() > 50
    }
    assert (0, 0) in tiles
    assert len(tiles) > 2, "no ring on similar positions elsewhere"

    demo.click(60, 60)
    demo.wait_until("len(explorer.settings.pins)", "1")
    demo.leave()
    demo.wait_for_frame(5, 10)
    assert changed_part(before, demo.settled()) > 0.3
    demo.click(60 + TILE + GAP, 160)
    demo.wait_until("len(explorer.settings.pins)", "2")
    demo.leave()
    demo.wait_for_frame(6, 11)
    demo.box.get_by_role("button", name=re.compile("^× 1: ")).click()
    demo.wait_until("[pin[0] for pin in explorer.settings.pins]", "[1]")
    expect(demo.box.get_by_role("button", name=re.compile("^× 1: "))).to_have_count(0)
    last = demo.box.get_by_role("button", name=re.compile("^× 2: "))
    expect(last).to_have_count(1)
    last.click()
    demo.wait_until("explorer.settings.pins", "()")
    demo.leave()
    demo.wait_for_frame(0, 15)
    assert changed_part(before, demo.settled()) < 0.02


def test_views_are_put_together_in_the_browser_and_the_divider_is_dragged(
    demo: ExplorerPage,
) -> None:
    weighting = demo.choice("Weighting")
    place = weighting.bounding_box()
    for view in ("side by side", "rgb split"):
        demo.choice("View").select_option(view)
        demo.wait_until("explorer.settings.view", view)
        demo.wait_for_frame(0, 9, tolerance=24)  # quadrants are scaled down by another filter
        assert weighting.bounding_box() == place
    demo.choice("View").select_option("split")
    demo.wait_until("explorer.settings.view", "split")
    photo = demo.settled()
    demo.drag((114, 100), (190, 100))
    demo.wait_until("explorer.settings.split", "0.83")
    after = demo.settled()
    left = np.s_[20 : TILE - 20, 10:100]
    assert changed_part(photo[left], after[left]) == 0
    between = np.s_[20 : TILE - 20, 122:180]
    assert changed_part(photo[between], after[between]) > 0.2
    demo.gallery.press("Control+z")
    demo.wait_until("explorer.settings.split", "0.5")


def test_zoom_walks_the_batch_and_comes_back(demo: ExplorerPage) -> None:
    before = demo.settled()
    demo.double_click(300, 60)
    demo.wait_until(
        "(explorer.gallery.view_state.page.columns, explorer.gallery.view_state.page.first)",
        "(1, 1)",
    )
    demo.wait_for_frame(1, tolerance=16)
    assert demo.run("print(explorer.settings.pins)") == "()"
    demo.gallery.press("ArrowRight")
    demo.wait_until("explorer.gallery.view_state.page.first", "2")
    demo.wait_for_frame(2, tolerance=16)
    heat = int(demo.run("print(explorer.gallery.render_loop.frame.heatmaps.shape[2])"))
    assert heat >= 400, "the zoomed picture is no finer than a tile"
    demo.gallery.press("Escape")
    demo.wait_until("explorer.gallery.view_state.page.columns", "4")
    demo.gallery.press("Escape")
    demo.leave()
    demo.wait_for_frame(0, 15)
    assert changed_part(before, demo.settled()) < 0.02


@pytest.mark.all
def test_brushed_positions_stay_and_the_others_fade(demo: ExplorerPage) -> None:
    before = demo.settled()
    demo.drag((300, 60), (400, 160))
    demo.wait_until("explorer.gallery.view_state.selection is not None", "True")
    mask = "explorer.gallery.view_state.selection.mask"
    demo.wait_until(f"{mask}.any(axis=(1, 2)).nonzero()[0].tolist()", "[1]")
    demo.leave()
    after = demo.settled()
    inside = np.s_[80:140, 320:380]
    assert changed_part(before[inside], after[inside]) < 0.1
    assert after[:TILE, :TILE, :3].std() < 0.7 * before[:TILE, :TILE, :3].std()
    demo.gallery.press("Escape")
    demo.wait_until("explorer.gallery.view_state.selection", "None")
    assert changed_part(before, demo.settled()) < 0.02


@pytest.mark.all
def test_two_hundred_images_are_paged(lab: OpenLab) -> None:
    explorer = ExplorerPage(lab([HELPERS, "explorer = pw.demo(200)\nexplorer"]))
    explorer.wait_for_frame(0, 63, tolerance=40)  # small tiles are sharper in the browser
    expect(explorer.box.get_by_text("1–64 of 200")).to_be_visible()
    explorer.button("Next").click()
    expect(explorer.box.get_by_text("65–128 of 200")).to_be_visible()
    explorer.wait_for_frame(64, 127, tolerance=40)
    explorer.page.press(explorer.slider("Tiles"), "ArrowRight", times=3)
    expect(explorer.box.get_by_text("51–75 of 200")).to_be_visible()
    explorer.wait_for_frame(50, 74, tolerance=30)


def drawn_tabs(demo: ExplorerPage) -> list[np.ndarray]:
    """Pixels of what the tabs have drawn, of Components first."""
    drawn = []
    for title in ("Components", "Batch"):
        demo.open_tab(title)
        demo.settled()
        canvases = demo.box.locator("canvas:visible:not(.pfv-gallery)").all()
        drawn += [demo.page.read(canvas).astype(np.int16) for canvas in canvases]
    assert len(drawn) > 1
    assert min(one[..., :3].std() for one in drawn) > 5
    return drawn


# The page is given states of a moment before these changes, of which it never hears: so it goes
# where a kernel changes something while a page is loading, and has not made the models yet.
MISSED = """
def miss(widget, **old):
    current = widget.get_state
    def get_state(*arguments, **options):
        asked = "drop_defaults" in options  # by a page that is loading, for all states
        return current(*arguments, **options) | (old if asked else {})
    widget.get_state = get_state

miss(explorer.panel.legend, value="missed")
miss(explorer.knobs["sigma"], value=3.0)
miss(explorer.gallery.hint.layout, display="none")
miss(explorer.gallery.toolbar.toggles["safe"], description="missed", value=True)
"""


# Lab puts a cell into the page when it has time: here once the tabs in it are rendered.
LATE_CELL = """(() => {
  const { insertBefore } = Node.prototype;
  const rendered = new Promise((resolve) => {
    Node.prototype.insertBefore = function (node, before) {
      if (node.matches?.(".widget-tab")) resolve({ attached: this.isConnected });
      return insertBefore.call(this, node, before);
    };
  });
  window.testOpened = ({ content }) => {
    const put = content._updateForDeferMode;
    content._updateForDeferMode = async function (cell, index) {
      if (index > 0) window.testRendered = await rendered;
      await put.call(this, cell, index);
    };
  };
})()"""


def test_reload_and_second_view_are_painted_and_alive(lab: OpenLab) -> None:
    demo = ExplorerPage(lab(DEMO))
    demo.wait_for_frame(0, 5, 15)
    demo.page.press(demo.slider("Components"), "ArrowLeft")
    demo.wait_until("explorer.settings.components", "2")
    demo.wait_for_frame()
    demo.open_tab("Batch")
    demo.box.locator("canvas.pfv-thumbnails").click(position={"x": 20, "y": 20})
    demo.wait_until("(explorer.settings.images or [None])[0]", "0.0")
    before, pages = demo.settled(), drawn_tabs(demo)
    assert isinstance(demo.page, LabPage)
    demo.run(MISSED)
    demo.page.reload(LATE_CELL)
    demo.page.wait_for("() => window.testRendered?.attached === false")
    demo.wait_for_frame()
    expect(demo.box.get_by_role("table", name="Explained variance")).to_be_visible()
    expect(demo.box.get_by_text("missed")).to_have_count(0)
    expect(demo.box.get_by_text("Point to read scores")).to_be_visible()
    assert changed_part(before, demo.settled()) < 0.001
    for old, new in zip(pages, drawn_tabs(demo), strict=True):
        assert np.abs(new - old).max() == 0
    demo.open_tab("Picture")
    expect(demo.slider("Contrast σ")).to_have_attribute("aria-valuenow", "1.0")
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


@pytest.mark.all
def test_two_explorers_are_independent_and_one_survives_the_other(lab: OpenLab) -> None:
    cells = [HELPERS, "first = pw.demo(4)\nfirst", "second = pw.demo(4, seed=1)\nsecond"]
    page = lab(cells)
    first, second = ExplorerPage(page, "first"), ExplorerPage(page, "second", canvas=1)
    for one in (first, second):
        one.wait_for_frame()
    kept = second.settled()
    first.page.press(first.slider("Components"), "ArrowLeft")
    first.wait_until("explorer.settings.components", "2")
    first.wait_for_frame()
    assert changed_part(kept, second.settled()) == 0
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
    demo.page.press(demo.slider("Contrast σ"), "ArrowRight", times=20)
    demo.page.press(demo.slider("Opacity"), "ArrowLeft", times=20)
    demo.wait_until("round(explorer.settings.sigma, 2)", "2.0")
    demo.wait_until("round(explorer.settings.opacity, 2)", "0.45")
    demo.wait_for_frame()

    loop = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass"
    demo.page.page.evaluate(
        "code => { window.testPanel.sessionContext.session.kernel.requestExecute({ code }) }", loop
    )
    demo.page.press(demo.slider("Components"), "ArrowLeft", times=2)
    demo.page.press(demo.slider("Opacity"), "End")
    demo.wait_until("explorer.settings.components", "1")
    demo.wait_until("explorer.settings.opacity", "1.0")
    demo.wait_for_frame()


@pytest.mark.all
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
        row, column = divmod(index, 2)  # two tiles in a row, each twice as wide
        explorer.click(30 + column * 2 * (TILE + GAP), 30 + row * 2 * (TILE + GAP))
        expect(explorer.box.get_by_text(re.compile(f"^{index + 1}: .* · weight 1"))).to_be_visible()
        expect(explorer.box.get_by_role("button", name=f"× {index + 1}: ")).to_be_visible()
    explorer.run("explorer.settings = replace(explorer.settings, pins=())")
    explorer.open_tab("Batch")
    explorer.run("explorer.settings = replace(explorer.settings, layer=hostile[0])")
    expect(explorer.status).to_contain_text("<img src=x onerror=alert(1)>")
    assert explorer.box.locator("img, script, mjx-container, .MathJax").count() == 0
    assert dialogs == []


# every pass takes its time, so that other layers are worth computing in time to spare
SLOW = """
import time
model, images, passes, pause = pw.demo_model(), pw.demo_images(16), [], [0.2]
def begin(*_):
    passes.append(1)
    time.sleep(pause[0])
model.register_forward_pre_hook(begin)
explorer = pw.explore(model, images)
explorer
"""
READY = "all(explorer.pfv.is_ready(layer.name) for layer in explorer.pfv.layers)"


@pytest.mark.all
def test_slider_of_the_layer_shows_what_was_computed_in_time_to_spare(lab: OpenLab) -> None:
    explorer = ExplorerPage(lab([HELPERS, SLOW]))
    explorer.wait_for_frame()
    explorer.wait_until(READY, "True")
    expect(explorer.status).to_contain_text(DONE)
    explorer.run("pause[0], begun = 60.0, len(passes)")
    slider, before = explorer.slider("Layer"), explorer.settled()
    for key in ("Home", "ArrowRight"):
        explorer.page.press(slider, key)
        explorer.wait_for_frame()
        after = explorer.settled()
        assert changed_part(before, after) > 0.05
        before = after
    assert explorer.run("print(len(passes) - begun)").strip() == "0"
    expect(explorer.status).not_to_contain_text("Computing")
