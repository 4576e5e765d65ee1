"""The tab "Classes" in JupyterLab: from the names to a cut and back; the report's page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

import pfv_widgets as pw
from tests.browser.explorer_page import ExplorerPage
from tests.networks import blobs, tiny

WITHOUT = re.compile(r"Without component 1: \d+ of 16 predictions change, \d+ → \d+ % right\.")


def test_components_are_named_cut_out_and_taken_in_again(demo: ExplorerPage) -> None:
    demo.open_tab("Classes")
    tab = demo.box.locator(".pfv-classes")
    expect(tab.get_by_text("raises")).to_have_count(3)
    expect(tab.get_by_text("Nothing is cut")).to_be_visible()
    expect(tab.locator(".pfv-strip img").first).to_be_visible()
    for image in tab.locator(".pfv-strip img").all():
        assert image.evaluate("image => image.naturalWidth") > 0

    first = tab.get_by_role("button", name=re.compile(r"^1 · \d+ %"))
    first.click()
    demo.wait_until("explorer.settings.cut", "(0,)")
    expect(demo.status).to_contain_text(WITHOUT)
    expect(tab.get_by_text("Without 1", exact=True)).to_be_visible()
    expect(tab.locator("tr", has_text="all").first).to_have_text(
        re.compile(r"all\s*16\s*\d+ %\s*\d+ %")
    )
    demo.hover(240 + 100, 100)
    expect(tab.get_by_text(re.compile("^Image 2: "))).to_be_visible()
    expect(tab.locator("tr.pfv-sum")).to_contain_text("score")
    demo.leave()
    demo.choice("Chosen ones").select_option("Keep them alone")
    demo.wait_until("explorer.settings.cut_mode", "keep")
    demo.button("Undo").click()
    demo.button("Undo").click()
    demo.wait_until("explorer.settings.cut", "()")
    expect(tab.get_by_text("Nothing is cut")).to_be_visible()
    demo.run("exec(explorer.snippet().splitlines()[2])")  # the settings as code
    demo.choice("Class").select_option(index=1)
    expect(tab.get_by_text(re.compile(", component 3: "))).to_be_visible()
    wide = "box => box.scrollWidth - box.clientWidth"
    assert tab.first.evaluate(wide) <= 1


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
    asked = [one for one in messages if not one.startswith("data:")]
    assert asked == [report_file.as_uri()]
    context.close()
