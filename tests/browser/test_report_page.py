"""The page of a transfer report in a browser: on any screen, light and dark, and in print."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

import pfv_widgets as pw
from tests.networks import blobs, tiny


@pytest.fixture(scope="module")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = ["<i>one</i>" if index % 2 else "the other" for index in range(20)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    pw.transfer_report(tiny(), blobs(20), labels, ["2", "10"], device="cpu").save(path)
    return path


def test_report_is_one_page_on_any_screen_and_prints(
    browser: Browser, report_file: Path, tmp_path: Path
) -> None:
    context = browser.new_context(color_scheme="dark")
    messages: list[str] = []
    context.on("console", lambda message: messages.append(message.text))
    context.on("request", lambda request: messages.append(request.url))
    page = context.new_page()
    page.goto(report_file.as_uri())
    expect(page.locator(".advice")).to_contain_text("photos that were held out")
    assert page.locator("i").count() == 0  # names are text
    for width in (390, 683, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == "rgb(21, 24, 27)"
    for image in page.locator("img").all():
        assert image.evaluate("image => image.naturalWidth") > 0
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    urls = [one for one in messages if not one.startswith("data:")]
    assert urls == [report_file.as_uri()]
    context.close()
