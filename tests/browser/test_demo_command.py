"""The README's first command, from the address that it prints to a slider that paints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.widget_page import WidgetPage


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """What `pfv-widgets demo` prints."""
    command = [sys.executable, "-m", "pfv_widgets", "demo", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--notebook-dir", str(tmp_path / "demo")],
        env=os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path / "config")},  # as at a first start
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.communicate(timeout=60)


@pytest.mark.all
def test_notebook_opens_with_a_live_explorer_before_anything_is_run(
    address: str, page: Page, tmp_path: Path
) -> None:
    page.goto(address)
    widget = WidgetPage(page)
    first = page.locator(".pfv-explorer").first
    expect(first).to_be_visible(timeout=240_000)  # a first start is slow
    painted = """selector => {
      const canvas = document.querySelector(selector);
      return canvas && canvas.getContext("2d").getImageData(60, 60, 1, 1).data[3] == 255;
    }"""
    widget.wait_for(painted, WidgetPage.CANVASES)
    before = widget.pixels(0, 0, 192, 192).tobytes()
    widget.press(widget.slider("Opacity"), "Home")
    page.wait_for_function(
        """([selector, before]) => {
          const data = document.querySelector(selector).getContext("2d")
            .getImageData(0, 0, 192, 192).data;
          let sum = 0;
          for (const value of data) sum += value;
          return sum != before;
        }""",
        arg=[WidgetPage.CANVASES, sum(before)],
    )
    expect(page.locator(".Toastify__toast")).to_have_count(0)  # no question of Lab's own
    expect(page.locator("#jp-left-stack")).to_be_hidden()  # the list of its one file
    assert not (tmp_path / "config" / "lab" / "workspaces").exists()  # the user's own stay
