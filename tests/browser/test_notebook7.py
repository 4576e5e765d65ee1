"""The explorer in Notebook 7: painted, moved, reloaded, closed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import HELPERS, ExplorerPage
from tests.browser.notebook7 import Notebook7Page


@pytest.mark.all
def test_demo_follows_its_controls_survives_a_reload_and_closes(
    notebook7: Callable[[list[str]], Notebook7Page],
) -> None:
    page = notebook7([HELPERS, "explorer = pw.demo()\nexplorer"])
    explorer = ExplorerPage(page)
    explorer.wait_for_frame()
    # Page Up and Home, since arrow keys do not move a focused slider in Notebook 7
    for control, key, expression, expected in (
        (explorer.slider("Opacity"), "PageUp", "opacity > 0.65", "True"),
        (explorer.slider("Contrast σ"), "PageUp", "sigma > 1.04", "True"),
        (explorer.slider("Layer"), "PageDown", "layer != explorer.pfv.default_layer", "True"),
        (explorer.slider("Components"), "Home", "components", "1"),
    ):
        before = explorer.settled()
        page.press(control, key)
        explorer.wait_until(f"explorer.settings.{expression}", expected)
        explorer.wait_for_frame()
        assert np.abs(explorer.settled() - before).max() > 12, expression
    explorer.choice("Weighting").select_option("none")
    explorer.wait_until("explorer.settings.weighting", "none")
    explorer.wait_for_frame()

    page.reload()
    explorer.wait_for_frame()
    page.press(explorer.slider("Opacity"), "Home")
    explorer.wait_until("explorer.settings.opacity", "0.0")
    explorer.wait_for_frame()

    page.run("explorer.close()")
    expect(explorer.box).to_have_count(0)
    assert page.run("print('alive')") == "alive"
