"""A browser page with widgets, as a test sees it: canvases, pixels, sliders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from playwright.sync_api import FloatRect, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.browser.posted_pixels import receiver

# Where explorers are driven; JupyterLab in each run.
FRONT_ENDS = ["lab", "notebook7", "voila"]

_PAUSE = 60  # milliseconds between two looks: at each frame they would cost more than what changes

# Posted as a Blob: of any other body Playwright asks the browser for a copy.
READ_PIXELS = """async (canvas, [url, x, y, width, height]) => {
  width ??= canvas.width;
  height ??= canvas.height;
  const { data } = canvas.getContext("2d").getImageData(x, y, width, height);
  await fetch(url, { method: "POST", mode: "no-cors", body: new Blob([data]) });
  return [width, height];
}"""

HAS_COLOUR = """([selector, index, x, y, colour, tolerance]) => {
  const canvas = document.querySelectorAll(selector)[index];
  if (!canvas || !canvas.width) return false;
  const pixel = canvas.getContext("2d").getImageData(x, y, 1, 1).data;
  return pixel[3] == 255 && colour.every((v, i) => Math.abs(v - pixel[i]) <= tolerance);
}"""


# Fulfilled once an element has stayed for twenty frames: a slow machine has slow frames. Three are
# enough where it has rested before.
STILL = """async (element) => {
  const box = () => JSON.stringify(element.getBoundingClientRect());
  const rested = (window.testRested ??= new WeakMap());
  let last = "";
  const enough = () => (last === rested.get(element) ? 3 : 20);
  for (let frame = 0, same = 0; same < enough(); frame++) {
    if (frame > 3600) throw new Error("it never comes to rest");
    await new Promise(requestAnimationFrame);
    const now = box();
    same = now === last ? same + 1 : 0;
    last = now;
  }
  rested.set(element, box());
}"""


def box_of(element: Locator) -> FloatRect:
    """Where an element is, scrolled into view, once nothing moves it any more."""
    element.scroll_into_view_if_needed()
    element.evaluate(STILL)
    box = element.bounding_box()
    assert box is not None
    return box


class WidgetPage:
    """What Lab and Voila pages have in common."""

    CANVASES = ".jupyter-widgets canvas, canvas.jupyter-widgets"

    def __init__(self, page: Page) -> None:
        self.page = page

    def canvas(self, index: int = 0) -> Locator:
        """Return a displayed ipycanvas canvas, in the order of the page."""
        return self.page.locator(self.CANVASES).nth(index)

    def pixels(
        self, x: int, y: int, width: int = 1, height: int = 1, index: int = 0
    ) -> npt.NDArray[np.uint8]:
        """Return what is painted: (height, width, 4) RGBA, in canvas pixels."""
        return self.read(self.canvas(index), x, y, width, height)

    def read(
        self,
        canvas: Locator,
        x: int = 0,
        y: int = 0,
        width: int | None = None,
        height: int | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Return what is painted on a canvas, all of it by default, as :meth:`pixels` does."""
        url = receiver().new_url()
        width, height = canvas.evaluate(READ_PIXELS, [url, x, y, width, height])
        return np.frombuffer(receiver().posted_to(url), np.uint8).reshape(height, width, 4)

    def wait_for(self, predicate: str, argument: object = None, timeout: float = 60) -> None:
        """Wait until a JavaScript function of the page returns something true; seconds."""
        self.page.wait_for_function(predicate, arg=argument, timeout=1000 * timeout, polling=_PAUSE)

    def wait_for_colour(
        self,
        x: int,
        y: int,
        colour: tuple[int, int, int],
        *,
        index: int = 0,
        tolerance: int = 6,
        timeout: float = 60,
    ) -> None:
        """Wait until a canvas pixel has a colour, give or take what a JPEG changes."""
        argument = [self.CANVASES, index, x, y, list(colour), tolerance]
        try:
            self.wait_for(HAS_COLOUR, argument, timeout)
        except PlaywrightTimeout as error:
            count = self.page.locator(self.CANVASES).count()
            result = self.pixels(x, y, index=index)[0, 0] if index < count else "not there"
            message = f"pixel ({x}, {y}) of canvas {index} is {result}, not {colour}"
            raise AssertionError(f"{message}, after {timeout} s") from error

    def slider(self, label: str) -> Locator:
        """Return the handle of the slider with this description."""
        described = self.page.locator(
            ".widget-slider, .widget-inline-hbox", has=self.page.get_by_text(label, exact=True)
        )
        return described.locator("[role=slider]").first

    def press(self, control: Locator, key: str, times: int = 1) -> None:
        """Press a key on a control, as often as is said, once it is there to be seen.

        A key that is pressed before goes to whatever has the focus.
        """
        expect(control).to_be_visible()
        for _ in range(times):
            control.press(key)

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=path)
