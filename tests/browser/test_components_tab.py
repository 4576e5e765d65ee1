"""The page "Components" in JupyterLab: brushed with the mouse, alive after a reload."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Locator, expect

from tests.browser.lab import LabPage
from tests.browser.widget_page import box_of

OpenLab = Callable[[list[str]], LabPage]
SCREE, PICTURES, CLOUD = 0, 1, 2  # canvases, in the order of the page
SETUP = """
import json
import numpy as np
import pfv_widgets as pw
from pfv_widgets.widgets.components.components_tab import ComponentsTab

pfv = pw.PFV(pw.demo_model(), pw.demo_images(16), device="cpu")
frame = pfv.render(components=6, channels=(0, 1, 2))
selected, hovered = [], []

def edit(change):
    global frame
    frame = pfv.render(change(frame.settings))
    tab.show(frame.settings)
    tab.show_frame(frame)

tab = ComponentsTab(edit, selected.append, hovered.append)
tab.show(frame.settings)
tab.show_frame(frame, 3)
tab.fold.unfolded = tab.scree_fold.unfolded = tab.visible = True
"""
COUNT = re.compile(r"(\d+) of 4096 positions selected, in (\d+) of 16 images\.")


@pytest.fixture
def tab(lab: OpenLab) -> LabPage:
    """The page of the demo with six components, of which three are painted."""
    page = lab([SETUP, "tab.widget"])
    for index in (SCREE, PICTURES, CLOUD):
        expect(page.canvas(index)).to_be_visible()
    page.wait_for(PAINTED)
    page.wait_until_drawn()
    return page


# Whether each canvas shows more than one colour.
PAINTED = """() => {
  const selector = ".jupyter-widgets canvas, canvas.jupyter-widgets";
  const canvases = [...document.querySelectorAll(selector)];
  return canvases.length == 3 && canvases.every((canvas) => {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const seen = new Set();
    for (let i = 0; i < data.length; i += 404) seen.add(data[i] + 256 * data[i + 1]);
    return seen.size > 4;
  });
}"""


def pixels(page: LabPage, index: int) -> np.ndarray:
    canvas = page.canvas(index)
    width, height = (int(canvas.get_attribute(side) or 0) for side in ("width", "height"))
    return page.pixels(0, 0, width, height, index).astype(int)


def drag(
    page: LabPage,
    canvas: Locator,
    start: tuple[float, float],
    end: tuple[float, float],
    on_the_way: Callable[[], None] = lambda: None,
) -> None:
    """Drag with the left button between two points, as shares of a canvas.

    `on_the_way` is called with the button still down, next to the end.
    """
    box = box_of(canvas)
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.page.mouse.move(*points[0])
    page.page.mouse.down()
    page.page.mouse.move(points[1][0] - 6, points[1][1] - 6, steps=7)
    on_the_way()
    page.page.mouse.move(*points[1])
    page.page.mouse.up()


def click(page: LabPage, index: int, x: float, y: float) -> None:
    """Click a point of a canvas, in CSS pixels, once it has been scrolled into view."""
    canvas = page.canvas(index)
    box_of(canvas)
    canvas.click(position={"x": x, "y": y})


def state(page: LabPage, expression: str) -> str:
    return page.run(f"print({expression})")


def wait_for_pixels(
    page: LabPage, index: int, expected: Callable[[np.ndarray], bool], timeout: float = 60
) -> None:
    """Read a canvas until it is as wanted."""
    deadline = time.monotonic() + timeout
    while not expected(pixels(page, index)):
        assert time.monotonic() < deadline, f"canvas {index} never becomes what it should"
        page.page.wait_for_timeout(100)


@pytest.mark.all
def test_mouse_brushes_the_cloud_and_toggles_components(tab: LabPage) -> None:
    check_that_brushing_selects_live_and_clears(tab)
    check_that_components_are_toggled_by_bars_buttons_and_pictures(tab)


def check_that_brushing_selects_live_and_clears(tab: LabPage) -> None:
    cloud, words = tab.canvas(CLOUD), tab.page.get_by_text(COUNT)
    clear = tab.page.get_by_role("button", name="Clear", exact=True)
    expect(clear).to_be_disabled()
    before = pixels(tab, CLOUD)
    drag(tab, cloud, (0.35, 0.1), (0.6, 0.45), expect(words).to_be_visible)
    tab.wait_until("tab.scatter.plot.start", "None")  # the button came up
    positions, images = json.loads(
        state(tab, "[int(selected[-1].sum()), int(selected[-1].any((1, 2)).sum())]")
    )
    text = f"{positions} of 4096 positions selected, in {images} of 16 images."
    expect(tab.page.get_by_text(text)).to_be_visible()
    tab.wait_until_drawn()
    after = pixels(tab, CLOUD)
    inside, outside = np.s_[60:236, 195:318, :3], np.s_[260:500, :, :3]
    assert np.abs(after - before)[inside].max() == 0
    assert after[outside].std() < 0.5 * before[outside].std()

    cloud.press("Escape")
    expect(words).to_have_count(0)
    tab.wait_until("selected[-1]", "None")
    drag(tab, cloud, (0.35, 0.1), (0.6, 0.45), expect(words).to_be_visible)
    tab.wait_until("tab.scatter.plot.start", "None")  # the button came up
    clear.click()
    expect(words).to_have_count(0)
    expect(clear).to_be_disabled()
    tab.page.mouse.move(0, 0)
    tab.run("tab.scatter.plot.hover(None)")
    wait_for_pixels(tab, CLOUD, lambda now: np.abs(now - before).max() == 0)


@pytest.mark.all
def test_pointing_rings_the_place_and_marks_come_from_elsewhere(tab: LabPage) -> None:
    before = pixels(tab, CLOUD)
    x, y = json.loads(state(tab, "json.dumps(tab.scatter.scatter.at((3, 8, 8)))"))
    cloud = tab.canvas(CLOUD)
    box_of(cloud)
    cloud.hover(position={"x": x / 2, "y": y / 2})
    tab.wait_until(
        "hovered[-1:] == [tab.scatter.scatter.nearest(*tab.scatter.scatter.at((3, 8, 8)))]", "True"
    )
    tab.run("tab.mark([(3, 8, 8), (5, 0, 0)])")
    tab.page.mouse.move(0, 0)
    tab.wait_until("hovered[-1]", "None")
    tab.wait_until_drawn()
    for image, row, column in ((3, 8, 8), (5, 0, 0)):
        point = f"tab.scatter.scatter.at(({image}, {row}, {column}))"
        x, y = (round(v) for v in json.loads(state(tab, f"json.dumps({point})")))
        ring = pixels(tab, CLOUD)[y - 14 : y + 15, x - 14 : x + 15, :3].min(axis=2)
        assert (ring > 240).sum() > (
            before[y - 14 : y + 15, x - 14 : x + 15, :3].min(2) > 240
        ).sum()


def check_that_components_are_toggled_by_bars_buttons_and_pictures(tab: LabPage) -> None:
    tab.page.get_by_role("button", name="4", exact=True).click()
    tab.wait_until("frame.settings.channels", "(0, 1, 2, 3)")
    click(tab, SCREE, 60, 60)
    tab.wait_until("frame.settings.channels", "(1, 2, 3)")
    tab.wait_until_drawn()
    before = pixels(tab, PICTURES)
    click(tab, PICTURES, 30, 30)
    tab.wait_until("frame.settings.channels", "(0, 1, 2, 3)")
    wait_for_pixels(tab, PICTURES, lambda now: np.abs(now - before).max() > 50)


@pytest.mark.all
def test_axes_are_chosen_by_name_and_with_the_keyboard(tab: LabPage) -> None:
    before = pixels(tab, CLOUD)
    tab.page.get_by_label("Across").select_option("2")
    tab.wait_until("tab.scatter.across.value", "1")
    expect(tab.page.get_by_text("stacked ↑")).to_be_visible()
    wait_for_pixels(tab, CLOUD, lambda now: (np.abs(now - before).max(axis=2) > 30).mean() > 0.02)
    tab.canvas(CLOUD).press("y")
    tab.wait_until("tab.scatter.up.value", "2")
    tab.canvas(CLOUD).press("Shift+X")
    expect(tab.page.get_by_text("component 1 →")).to_be_visible()
    expect(tab.page.get_by_text("component 3 ↑")).to_be_visible()


@pytest.mark.all
def test_labels_lie_on_the_canvas_and_nothing_is_wider_than_the_page(tab: LabPage) -> None:
    tab.run("tab.widget.layout.width = '250px'")
    narrow = 'document.querySelector(".jp-OutputArea-output .widget-vbox").clientWidth <= 250'
    tab.wait_for(f"() => {narrow}")
    tab.wait_for(f"() => ({OVERFLOWING})().length === 0")


# Texts that stand out of the page of components, or are cut in it.
OVERFLOWING = """() => {
  const page = document.querySelector(".jp-OutputArea-output .widget-vbox");
  const outer = page.getBoundingClientRect();
  return [...page.querySelectorAll("span, select, button, canvas")]
    .map((part) => [part.textContent, part.getBoundingClientRect()])
    .filter(([, box]) => box.width && (box.left < outer.left - 1 || box.right > outer.right + 1))
    .map(([text]) => text);
}"""
