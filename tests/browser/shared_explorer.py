"""The demo in one notebook of JupyterLab, for test after test: brought back, and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.browser.explorer_page import HELPERS, ExplorerPage

if TYPE_CHECKING:
    from tests.browser.lab import LabPage

# Brings an explorer back to how it was opened.
RESTORE = """
from pfv_widgets.widgets.gallery.view_state import ViewState
from pfv_widgets.widgets.toolkit.history import History

def restore(explorer, opened={}):
    if not opened:
        opened.update(settings=explorer.settings, page=explorer.gallery.view_state.page)
    for name in explorer.bookmarks.names:
        explorer.bookmarks.delete(name)
    sections = explorer.tabs["Export"].formats
    sections.value = sections.options[0]
    explorer.tabs.open("Picture")
    explorer.settings = opened["settings"]
    explorer.gallery.go(lambda _: ViewState(opened["settings"], opened["page"]))
    explorer.refresh()
    explorer.history = History(opened["settings"])
    explorer.show_state()
    return rests(explorer)
"""

# All controls that are seen, with what they say.
CONTROLS = """box => [...box.querySelectorAll("input, select, textarea, button, [role=slider]")]
  .filter((one) => one.checkVisibility({ visibilityProperty: true }))
  .map((one) => [
    one.tagName, one.title, one.value, one.checked, one.disabled, one.textContent,
    one.ariaValueNow, one.ariaSelected,
  ].join(" "))"""
TO_THE_START = """() => {
  document.activeElement?.blur();
  window.testPanel.content.node.querySelector(".jp-WindowedPanel-outer")?.scrollTo(0, 0);
}"""


class SharedExplorer:
    """An open demo of some images; a test that leaves something changed behind ends it."""

    def __init__(self, page: LabPage, images: int) -> None:
        self.images = images
        self._page = page
        self.explorer = ExplorerPage(page)
        self.explorer.wait_for_frame(0, images - 1)
        self.explorer.wait_until("explorer.gallery.tiles.near", "True")  # the script is there
        self.explorer.run(RESTORE)
        self._pixels, self._controls = self._as_opened()

    @staticmethod
    def cells(images: int) -> list[str]:
        """Code of the notebook."""
        return [HELPERS, f"explorer = pw.demo({images})\nexplorer"]

    def restore(self) -> None:
        """Bring everything back to how it was opened.

        Raises
        ------
        AssertionError
            If it does not look so.
        """
        pixels, controls = self._as_opened()
        assert pixels.shape == self._pixels.shape
        assert np.abs(pixels - self._pixels).max() <= 2
        assert controls == self._controls

    def _as_opened(self) -> tuple[np.ndarray, list[str]]:
        self._page.page.evaluate(TO_THE_START)
        self._page.wait_until_drawn("assert restore(explorer)")
        return self.explorer.pixels(), self.explorer.box.evaluate(CONTROLS)
