"""The tab "Classes" in JupyterLab: from the names to a cut and back."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.explorer_page import ExplorerPage

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
    expect(tab.get_by_text("Without component 1", exact=True)).to_be_visible()
    expect(tab.locator("tr", has_text=re.compile(r"^\s*all\s*16"))).to_have_text(
        re.compile(r"all\s*16\s*\d+ %\s*\d+ %")
    )
    demo.hover(240 + 100, 100)
    expect(tab.get_by_text(re.compile("^Image 2: "))).to_be_visible()
    expect(tab.locator("tr.pfv-sum")).to_contain_text("score")
    demo.leave()
    demo.choice("Selected").select_option("Keep only them")
    demo.wait_until("explorer.settings.cut_mode", "keep")
    demo.button("Undo").click()
    demo.button("Undo").click()
    demo.wait_until("explorer.settings.cut", "()")
    expect(tab.get_by_text("Nothing is cut")).to_be_visible()
    demo.run("exec(explorer.snippet().splitlines()[3])")  # the settings as code
    demo.button("A class's own components").click()
    demo.choice("Class").select_option(index=1)
    expect(tab.get_by_text(re.compile(", component 3: "))).to_be_visible()
    demo.button("Shortcuts").click()
    tab.get_by_role("button", name=re.compile("^Find shortcuts")).click()
    expect(tab.get_by_text("Too few photos to tell")).to_be_visible()
    wide = "box => box.scrollWidth - box.clientWidth"
    assert tab.first.evaluate(wide) <= 1
