"""The demo notebook as a web page, in Lab, and as a saved document."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.explorer_page import ExplorerPage, settle, settling
from tests.browser.lab import LabPage
from tests.browser.server import JupyterServer
from tests.browser.widget_page import WidgetPage, box_of
from tests.conftest import ROOT

NOTEBOOK = ROOT / "notebooks" / "demo.ipynb"
PAINTED = """([selector, index]) => {
  const canvas = document.querySelectorAll(selector)[index];
  if (!canvas || !canvas.width) return false;
  const context = canvas.getContext("2d");
  const corners = [[20, 20], [canvas.width - 20, Math.round(0.9 * canvas.height)]];  // above names
  return corners.every(([x, y]) => context.getImageData(x, y, 1, 1).data[3] == 255);
}"""

DIFFERS = """([selector, x, y, colour]) => {
  const context = document.querySelector(selector).getContext("2d");
  const pixel = context.getImageData(x, y, 1, 1).data;
  return pixel[3] == 255 && colour.some((value, i) => Math.abs(value - pixel[i]) > 12);
}"""


@pytest.fixture
def cells() -> list[str]:
    """The code of the demo notebook."""
    book = json.loads(NOTEBOOK.read_text("utf-8"))
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]


def wait_until_painted(page: WidgetPage) -> ExplorerPage:
    page.wait_for(PAINTED, [page.CANVASES, 0], timeout=120)
    explorer = ExplorerPage(page)
    expect(explorer.status).to_contain_text("Up to date")
    return explorer


@pytest.mark.all
def test_demo_notebook_is_live_in_voila_and_repainted_after_a_reload(
    voila: Callable[[list[str]], WidgetPage], cells: list[str]
) -> None:
    explorer = wait_until_painted(voila([*cells, settling("explorer")]))
    settle(explorer.page)
    before = explorer.pixels()
    page = explorer.page
    page.press(explorer.slider("Opacity"), "Home")
    changed = [page.CANVASES, 30, 30, before[30, 30, :3].tolist()]
    page.wait_for(DIFFERS, changed)
    expect(explorer.slider("Opacity")).to_have_attribute("aria-valuenow", "0.0")
    explorer.open_tab("Batch")
    thumbnails = explorer.box.locator("canvas.pfv-thumbnails")
    box_of(thumbnails)
    thumbnails.click(position={"x": 20, "y": 20})
    expect(
        explorer.box.get_by_text("11 of 12 images are used to find the colours.")
    ).to_be_visible()
    page.page.reload(timeout=180_000)
    again = wait_until_painted(page)
    settle(page)
    assert np.abs(again.pixels() - before).mean() < 2
    page.press(again.slider("Components"), "Home")
    page.wait_for(DIFFERS, changed)


@pytest.mark.all
def test_demo_notebook_runs_in_lab_and_is_saved_with_a_picture(
    lab: Callable[[list[str]], LabPage], jupyter: JupyterServer, cells: list[str]
) -> None:
    import nbformat  # seconds, for this test alone
    from nbconvert import HTMLExporter, MarkdownExporter

    page = lab(cells)
    wait_until_painted(page)
    assert page.run("print(explorer.wait(100) and scenes.wait(100))") == "True"
    expect(page.page.locator(".jp-OutputArea-output img")).to_have_count(2)  # hidden meanwhile
    page.save()
    newest = max(jupyter.notebooks.glob("test-*.ipynb"), key=lambda path: path.stat().st_mtime)
    book = nbformat.read(newest, as_version=4)
    book.metadata.pop("widgets", None)
    pictures = [
        output.data["image/png"]
        for cell in book.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2
    for one in pictures:
        with Image.open(io.BytesIO(base64.b64decode(one))) as picture:
            assert np.asarray(picture.convert("RGB")).std() > 20
            assert picture.width > 300

    html, _ = HTMLExporter().from_notebook_node(book)
    markdown, resources = MarkdownExporter().from_notebook_node(book)
    names = [name for name in resources["outputs"] if name.endswith(".png")]
    assert sorted(resources["outputs"][name] for name in names) == sorted(
        base64.b64decode(one) for one in pictures
    )
    for one, name in zip(pictures, names, strict=True):
        assert "data:image/png;base64," + one.strip()[:60] in html.replace("\n", "")
        assert f"]({name})" in markdown
