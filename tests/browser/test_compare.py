"""Two networks side by side in a browser: linked, aligned, stacked where it is narrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import ExplorerPage, settle, settling
from tests.browser.lab import LabPage
from tests.browser.widget_page import WidgetPage, box_of

OPEN = """
import pfv_widgets as pw
networks = list(pw.randomised(pw.demo_model()).items())
models = dict([networks[0], networks[1], networks[-1]])
explorer = pw.compare(models, pw.demo_images(4), second=list(models)[-1])
explorer
"""
ANOTHER = """([selector, index, before]) => {
  const canvas = document.querySelectorAll(selector)[index];
  if (!canvas || !canvas.width) return false;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let sum = 0, opaque = 0;
  for (let at = 0; at < data.length; at += 4 * 97) {
    sum += data[at] + data[at + 1] + data[at + 2];
    opaque += data[at + 3] === 255;
  }
  return opaque > 0.9 * data.length / (4 * 97) && Math.abs(sum - before) > 500 ? sum : false;
}"""
GALLERIES = "canvas.pfv-gallery"


class Sides(ExplorerPage):
    """A comparison on a page of JupyterLab."""

    def __init__(self, page: LabPage) -> None:
        super().__init__(page)
        self.galleries = self.box.locator(GALLERIES)

    def at(self, side: int, image: int, x: float, y: float) -> tuple[float, float]:
        """Point of the page of a point in an image, fractions of its width and height."""
        tiles = f"explorer.galleries[{side}].tiles"
        left, top, width, height = map(
            float, self.run(f"print(*{tiles}.grid.box({image}))").split()
        )
        canvas = self.galleries.nth(side)
        box = box_of(canvas)
        scale = box["width"] / int(canvas.get_attribute("width") or 1)
        return box["x"] + (left + x * width) * scale, box["y"] + (top + y * height) * scale

    def drawn(self, side: int) -> npt.NDArray[np.int16]:
        """All pixels of a gallery once everything rests."""
        assert self.run("print(explorer.wait(100))") == "True"
        assert isinstance(self.page, LabPage)
        self.page.wait_until_drawn()
        canvas = self.galleries.nth(side)
        width, height = (int(canvas.get_attribute(name) or 0) for name in ("width", "height"))
        return self.page.read(canvas, 0, 0, width, height).astype(np.int16)


def bounds_of(element: Locator) -> Any:
    box = element.bounding_box()
    assert box is not None
    return box


@pytest.fixture
def sides(lab: Callable[[list[str]], LabPage]) -> Sides:
    page = lab([OPEN])
    page.page.set_viewport_size({"width": 1600, "height": 1000})
    sides = Sides(page)
    expect(sides.galleries).to_have_count(2)
    sides.drawn(1)
    return sides


def test_sides_are_linked_slide_and_tell_where_they_differ(sides: Sides) -> None:
    page, mouse = sides.page.page, sides.page.page.mouse
    first, second = (bounds_of(sides.galleries.nth(index)) for index in range(2))
    assert abs(first["y"] - second["y"]) < 1
    assert first["x"] + first["width"] <= second["x"]

    # a position in one is the same position of the photo in the other
    before = sides.drawn(1)
    mouse.move(*sides.at(0, 2, 0.3, 0.6))
    sides.wait_until("explorer.galleries[1].view_state.hover.image", "2")
    assert np.abs(sides.drawn(1) - before).max() > 60
    mouse.click(*sides.at(1, 1, 0.7, 0.4))
    sides.wait_until("len(explorer.settings.pins)", "1")
    assert sides.run("print(*(round(v, 1) for v in explorer.settings.pins[0]))") == "1 0.7 0.4"
    sides.button("Undo").click()
    sides.wait_until("len(explorer.settings.pins)", "0")

    # the second slides through the sequence, to the network itself: the same picture
    mouse.move(1, 1)
    sides.page.press(sides.slider("Network 2"), "Home")
    sides.wait_until("explorer.names[1]", "trained")
    sides.wait_until("explorer.galleries[1].view_state.hover", "None")
    assert np.abs(sides.drawn(1) - sides.drawn(0)).max() <= 3
    expect(sides.box.get_by_text("Agreement: 1.000")).to_be_visible()
    sides.page.press(sides.slider("Network 2"), "End")
    sides.wait_until("explorer.names[1] != 'trained'", "True")
    assert np.abs(sides.drawn(1) - sides.drawn(0)).max() > 60

    # the numbers, on demand; a click on the map chooses both layers
    curve, layer_map = (sides.box.locator(f"canvas.pfv-{kind}") for kind in ("curve", "similarity"))
    place = box_of(sides.button("Compare all layers"))
    sides.button("Compare all networks").click()
    expect(curve).to_be_visible()
    assert box_of(sides.button("Compare all layers")) == place  # not pushed from under a pointer
    sides.button("Compare all layers").click()
    sides.wait_until("explorer.jobs.wait(100)", "True")
    corner = box_of(layer_map)
    mouse.click(corner["x"] + 3, corner["y"] + 3)
    sides.wait_until(
        "explorer.layers == (explorer.networks.layers('trained')[0].name,) * 2", "True"
    )
    sides.box.get_by_text("Show the difference", exact=True).click()
    expect(sides.galleries).to_have_count(3)
    assert sides.drawn(2).std() > 5

    # one below the other where there is no room
    page.set_viewport_size({"width": 683, "height": 1000})
    page.wait_for_function(
        """(selector) => {
          const [one, two] = [...document.querySelectorAll(selector)].map(
            (canvas) => canvas.getBoundingClientRect());
          return one.left === two.left && one.bottom < two.top;
        }""",
        arg=GALLERIES,
    )
    wide = "(box) => box.scrollWidth <= box.clientWidth + 1"
    assert sides.box.evaluate(wide)


@pytest.mark.all
def test_untrained_copy_opens_below_an_explorer(lab: Callable[[list[str]], LabPage]) -> None:
    page = lab(["import pfv_widgets as pw\nexplorer = pw.demo(4)\nexplorer"])
    explorer = ExplorerPage(page)
    explorer.button("Compare with an untrained copy").first.click()
    explorer.wait_until("explorer.jobs.wait(100) and explorer.comparison is not None", "True")
    explorer.wait_until("explorer.comparison.wait(100)", "True")
    page.wait_until_drawn()
    for index in range(3):
        page.wait_for(ANOTHER, [GALLERIES, index, -1000])
    explorer.button("Close the comparison").click()
    expect(page.page.locator(GALLERIES)).to_have_count(1)


TRAINING = """
import pfv_widgets as pw
import torch

def nudge():
    with torch.no_grad():
        for values in model.parameters():
            values.add_(0.2 * values.std(correction=0) * torch.randn_like(values))

model = pw.demo_model()
tracker = pw.track(model, pw.demo_images(4), ["stage4", "stage3"])
for epoch in range(3):
    tracker.snapshot(f"epoch {epoch}", accuracy=0.4 + epoch / 5)
    nudge()
explorer = tracker.explore()
explorer
"""
BROKEN = """
with torch.no_grad():
    model.stage1[0].weight.fill_(torch.nan) if hasattr(model.stage1[0], "weight") else next(
        model.parameters()).fill_(torch.nan)
tracker.snapshot("broken")
"""


@pytest.mark.all
def test_training_is_slid_through_and_what_breaks_leaves_the_other_side(
    lab: Callable[[list[str]], LabPage],
) -> None:
    page = lab([TRAINING])
    page.page.set_viewport_size({"width": 1600, "height": 1000})
    sides = Sides(page)
    expect(sides.galleries).to_have_count(2)
    assert np.abs(sides.drawn(1) - sides.drawn(0)).max() > 60
    expect(sides.box.locator("canvas.pfv-curve")).to_be_visible()
    expect(sides.box.get_by_text("accuracy 0.80")).to_be_visible()

    sides.page.press(sides.slider("Snapshot 2"), "Home")
    sides.wait_until("explorer.names[1]", "epoch 0")
    assert np.abs(sides.drawn(1) - sides.drawn(0)).max() <= 3
    corner = box_of(sides.box.locator("canvas.pfv-curve"))
    page.page.mouse.click(corner["x"] + corner["width"] - 8, corner["y"] + 40)
    sides.wait_until("explorer.names[1]", "epoch 2")

    # the training goes on, and breaks
    sides.run("tracker.snapshot('epoch 3'); print()")
    sides.wait_until("explorer.names[1]", "epoch 3")
    before = sides.drawn(0)
    sides.run(BROKEN)
    expect(sides.box.locator(".pfv-side-second").get_by_text("NaN").first).to_be_visible()
    page.page.get_by_role("tab", name="Picture", exact=True).click()
    sides.page.press(sides.slider("Opacity"), "Home")
    sides.wait_until("explorer.settings.opacity", "0.0")
    assert np.abs(sides.drawn(0) - before).max() > 60


UNLIKE = """
import torch
from torch import nn
import pfv_widgets as pw
def stack(number):
    torch.manual_seed(number)
    network = nn.Sequential()
    for at in range(number):
        network.add_module(f"part{at}", nn.Conv2d(8 if at else 3, 8, 3, padding=1))
    return network.eval()
models = {"long": stack(12), "short": stack(5)}
explorer = pw.compare(models, pw.demo_images(4), second="long", layer="part8")
explorer
"""


def test_network_with_fewer_layers_leaves_the_other_side_as_it_is(
    lab: Callable[[list[str]], LabPage],
) -> None:
    sides = Sides(lab([UNLIKE]))
    expect(sides.galleries).to_have_count(2)
    sides.drawn(1)
    sides.box.get_by_label("Network 2").select_option("short")
    sides.wait_until("explorer.names[1]", "short")
    sides.drawn(1)
    first, second = sides.run("print(*explorer.layers)").split()
    assert first == "part8"  # whose network nobody has touched
    assert second in {"part2", "part3"}  # as deep, where no layer has that name
    sides.button("Undo").click()
    sides.wait_until("explorer.names[1]", "long")
    sides.drawn(1)
    assert sides.run("print(*explorer.layers)") == "part8 part8"
    assert sides.run("print(explorer.can_undo)") == "False"


@pytest.mark.all
@pytest.mark.parametrize("front_end", ["notebook7", "voila"])
def test_both_sides_are_painted_and_follow_a_knob(
    request: pytest.FixtureRequest, front_end: str
) -> None:
    page: WidgetPage = request.getfixturevalue(front_end)([OPEN, settling("explorer")])
    settle(page)  # before that, photos without heatmaps are on show
    before = [
        page.page.wait_for_function(ANOTHER, arg=[GALLERIES, index, -1000]).json_value()
        for index in range(2)
    ]
    page.page.get_by_role("tab", name="Picture", exact=True).click()
    page.press(page.slider("Opacity"), "Home")
    for index, one in enumerate(before):
        page.wait_for(ANOTHER, [GALLERIES, index, one])
