"""Two galleries side by side under one explorer: each follows its own controls and pointer."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import HELPERS, ExplorerPage
from tests.browser.lab import LabPage

OpenLab = Callable[[list[str]], LabPage]
PANES = Path(__file__).parents[1] / "widgets" / "two_galleries.py"
OPEN = """
model, images = pw.demo_model(), pw.demo_images(10)
two = TwoPanes(pw.PFV(model, images.pixels[:4]), pw.PFV(model, images.pixels[4:10]))
two.widget
"""


class PanePage(ExplorerPage):
    """One of the panes on a page."""

    def __init__(self, page: LabPage, number: int) -> None:
        super().__init__(page, f"two.panes[{number}]")
        self.lab = page
        self.box = page.page.locator(".test-pane").nth(number)
        self.gallery = self.box.locator("canvas.pfv-gallery")

    def set(self, **changes: object) -> npt.NDArray[np.int16]:
        """What the kernel draws for some settings."""
        self.run(f"explorer.set(**{changes!r})")
        return self.settled()

    def wait_for(self, expected: npt.NDArray[np.int16]) -> None:
        """Wait until the gallery shows this, give or take the rounding of a mixture."""
        off = 256
        for _ in range(200):
            actual = self.pixels()
            off = int(np.abs(actual - expected).max()) if actual.shape == expected.shape else 256
            if off <= 2:
                return
            self.lab.page.wait_for_timeout(50)
        raise AssertionError(f"a pixel is off by {off}")


@pytest.fixture
def panes(lab: OpenLab) -> list[PanePage]:
    page = lab([HELPERS, PANES.read_text("utf-8").replace("from __future__", "# from"), OPEN])
    panes = [PanePage(page, number) for number in range(2)]
    for number, pane in enumerate(panes):
        expect(pane.gallery).to_have_count(1)
        page.wait_until(f"two.panes[{number}].gallery.tiles.near", "True")  # its script is there
        pane.settled()
    return panes


@contextmanager
def kernel_stopped(pane: PanePage) -> Iterator[None]:
    """Stop the process of the kernel: what changes meanwhile, the browser does by itself."""
    kernel = int(pane.lab.run("import os\nprint(os.getpid())"))
    os.kill(kernel, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kernel, signal.SIGCONT)


@pytest.mark.all
def test_two_galleries_share_nothing_and_one_outlives_the_other(panes: list[PanePage]) -> None:
    check_that_each_follows_its_own_controls_and_divider(panes)
    check_that_pointer_keys_and_pins_stay_with_the_gallery_they_are_over(panes)
    check_that_one_goes_on_whose_neighbour_has_closed(panes)


def check_that_each_follows_its_own_controls_and_divider(panes: list[PanePage]) -> None:
    first, second = panes
    photos = first.set(opacity=0.0)
    mixed, still = first.set(opacity=0.65), second.settled()
    assert np.abs(photos - mixed).max() > 30
    with kernel_stopped(first):
        first.page.press(first.slider("Opacity"), "Home")
        first.wait_for(photos)
        assert (second.pixels() == still).all()
    first.wait_until("explorer.settings.opacity", "0.0")

    moved = second.set(view="split", split=0.75)
    before = second.set(split=0.25)
    box = second.run("print([int(i) for i in explorer.gallery.tiles.grid.box(0)])")
    left, top, width, height = json.loads(box)
    with kernel_stopped(second):
        second.drag(
            (left + width // 4, top + height // 2), (left + 3 * width // 4, top + height // 2)
        )
        second.wait_for(moved)
        assert (first.pixels() == photos).all()
    second.wait_until("abs(explorer.settings.split - 0.75) <= 0.01", "True")
    assert np.abs(moved - before).max() > 30
    assert first.run("print(explorer.settings.split, explorer.settings.view)") == "0.5 overlay"


def check_that_pointer_keys_and_pins_stay_with_the_gallery_they_are_over(
    panes: list[PanePage],
) -> None:
    first, second = panes
    still = first.settled()
    x, y = json.loads(
        second.run(
            "b = explorer.gallery.tiles.grid.box(5)\nprint([int(b[0] + 40), int(b[1] + 40)])"
        )
    )
    second.hover(x, y)
    second.wait_until("explorer.gallery.view_state.hover.image", "5")
    second.click(x, y)
    second.wait_until("len(explorer.settings.pins)", "1")
    second.gallery.press("ArrowRight")
    second.wait_until("explorer.gallery.view_state.cursor is not None", "True")
    second.button("Zoom").click()
    second.wait_until("explorer.gallery.view_state.page.columns", "1")
    assert (
        first.run(
            "print(explorer.settings.pins, explorer.gallery.view_state.cursor, "
            "explorer.gallery.view_state.hover, explorer.gallery.view_state.page.columns)"
        )
        == "() None None 2"
    )
    assert (first.settled() == still).all()


def check_that_one_goes_on_whose_neighbour_has_closed(panes: list[PanePage]) -> None:
    first, second = panes
    photos = second.set(opacity=0.0)
    second.set(opacity=0.65)
    first.run("explorer.gallery.close()")
    second.lab.wait_until_drawn()
    with kernel_stopped(second):
        second.page.press(second.slider("Opacity"), "Home")
        second.wait_for(photos)
    second.wait_until("explorer.settings.opacity", "0.0")
    assert np.abs(second.set(sigma=2.0, opacity=1.0) - photos).max() > 30
