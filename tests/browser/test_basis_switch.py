"""The switch between the basis of a data set and that of the images, in JupyterLab."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import HELPERS, ExplorerPage
from tests.browser.lab import LabPage

OPEN = """
model, images = pw.demo_model(False), pw.demo_images(40, seed=5, photos=False)
layer = pw.PFV(model, images).layer().name
basis = pw.fit_basis(model, images, layer, components=5, progress=False)
explorer = pw.explore(model, pw.demo_images(4, photos=False), basis=basis)
explorer
"""


@pytest.mark.all
def test_switch_of_the_basis_changes_colours_and_back(lab: Callable[[list[str]], LabPage]) -> None:
    page = lab([HELPERS, OPEN])
    explorer = ExplorerPage(page)
    explorer.wait_for_frame()
    expect(explorer.box.get_by_text("% of the variance of the data set")).to_be_visible()
    of_data = explorer.settled()
    screenshot(page, "data-set")
    switch = explorer.choice("Basis of")
    switch.select_option("this batch")
    explorer.wait_until("explorer.settings.basis_of", "this batch")
    explorer.wait_for_frame()
    expect(explorer.box.get_by_text(re.compile("% of the variance$"))).to_be_visible()
    assert abs(explorer.settled() - of_data).mean() > 3
    explorer.open_tab("Components")
    explorer.box.get_by_role("button", name=re.compile("Explained variance")).click()
    switch_back(explorer)
    expect(explorer.box.get_by_text("Of these images' variance, all")).to_be_visible()
    screenshot(page, "components")
    assert (explorer.settled() == of_data).all()


def switch_back(explorer: ExplorerPage) -> None:
    explorer.run("explorer.edit(lambda one: replace(one, basis_of='data set'))")
    explorer.wait_until("explorer.settings.basis_of", "data set")


def screenshot(page: LabPage, name: str) -> None:
    """Keep a picture of the page where PFV_ARTIFACTS says."""
    folder = os.environ.get("PFV_ARTIFACTS")
    if folder:
        page.screenshot(Path(folder) / f"basis-{name}.png")
