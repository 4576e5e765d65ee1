"""The page that a frame is saved as, opened from a file: pointer, keys, slider, foreign names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from playwright.sync_api import BrowserContext, Locator, Page, expect

from pfv_widgets.engine.export.html_page import write_page
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations
from pfv_widgets.engine.pipeline.settings import Settings
from tests.networks import seeded

ROWS, COLUMNS, COUNT = 4, 6, 5
HOSTILE = (
    "</script><img src=x onerror=window.alive=1>",
    '" onmouseover="window.alive=1" x="',
    "<svg onload=window.alive=1>$x$",
    "'><iframe srcdoc='<script>parent.alive=1</script>'>",
    "犬 \u202e\0",
)
Open = Callable[..., Page]


@pytest.fixture
def frame() -> Frame:
    """Five pictures with a grid of 4 × 6 positions."""
    maps = torch.randn(COUNT, 7, ROWS, COLUMNS, generator=seeded())
    painted = heatmaps_from_activations([maps], Settings(weighting="none"), size=(80, 120))
    pixels = (torch.rand(COUNT, 80, 120, 3, generator=seeded(1)) * 255).to(torch.uint8).numpy()
    names = tuple(f"picture {index}" for index in range(COUNT))
    return replace(painted, pixels=pixels, names=names)


@pytest.fixture
def open_frame(page: Page, browser_context: BrowserContext, tmp_path: Path) -> Open:
    """Write a frame as a page and open the file, cut off from every network."""

    def open_(frame: Frame) -> Page:
        write_page(frame, tmp_path / "page.html")
        browser_context.set_offline(True)
        page.goto((tmp_path / "page.html").as_uri())
        expect(page.locator(".controls")).to_be_visible()
        return page

    return open_


def picture(page: Page, index: int) -> Locator:
    return page.locator(".picture").nth(index)


def point_at(page: Page, index: int, row: int, column: int) -> None:
    box = picture(page, index).bounding_box()
    assert box is not None
    x, y = box["width"] * (column + 0.5) / COLUMNS, box["height"] * (row + 0.5) / ROWS
    picture(page, index).hover(position={"x": x, "y": y})


def scores_at(frame: Frame, index: int, row: int, column: int) -> list[float]:
    return [float(value) for value in frame.scores[index, :, row, column]]


def expect_values(page: Page, values: list[float]) -> None:
    for k, value in enumerate(values):
        cell = page.locator(".legend .value").nth(k)
        sign = "−" if value < 0 else "+"
        expect(cell).to_have_text(re.compile(rf"^{re.escape(sign)}"))
        number = float((cell.text_content() or "").replace("−", "-"))
        assert abs(number - value) <= 0.006 * abs(value) + 1e-3


def heat_opacity(page: Page) -> float:
    return float(
        page.locator(".heat").first.evaluate("(one) => Number(getComputedStyle(one).opacity)")
    )


def test_pointer_shows_name_label_place_and_values(frame: Frame, open_frame: Open) -> None:
    page = open_frame(replace(frame, labels=("cat", "dog", "cat", "dog", "cat")))
    expect(page.locator("#position")).to_contain_text("Point at a position")
    point_at(page, 3, 2, 4)
    expect(page.locator("#position")).to_have_text("picture 3 · dog · row 3 of 4, column 5 of 6")
    expect_values(page, scores_at(frame, 3, 2, 4))
    point_at(page, 0, 0, 0)
    expect(page.locator("#position")).to_contain_text("picture 0 · cat · row 1 of 4, column 1 of 6")
    expect_values(page, scores_at(frame, 0, 0, 0))
    page.mouse.move(2, 2)
    expect(page.locator("#position")).to_contain_text("Point at a position")
    expect(page.locator(".ring:visible")).to_have_count(0)


def test_rings_mark_the_most_similar_place_of_each_other_picture(
    frame: Frame, open_frame: Open
) -> None:
    page = open_frame(frame)
    point_at(page, 1, 3, 2)
    expect(page.locator(".ring:visible")).to_have_count(COUNT)
    target = frame.scores[1, :, 3, 2]
    for index in range(COUNT):
        away = (frame.scores[index] - target[:, None, None]).square().sum(dim=0)
        row, column = divmod(int(away.argmin()), COLUMNS)
        ring, box = picture(page, index).locator(".ring"), picture(page, index).bounding_box()
        ring_box = ring.bounding_box()
        assert box is not None
        assert ring_box is not None
        x = (ring_box["x"] + ring_box["width"] / 2 - box["x"]) / box["width"]
        y = (ring_box["y"] + ring_box["height"] / 2 - box["y"]) / box["height"]
        assert abs(x - (column + 0.5) / COLUMNS) < 0.01
        assert abs(y - (row + 0.5) / ROWS) < 0.01
        expect(ring).to_have_class("ring" if index == 1 else "ring like")


def test_opacity_and_views_change_the_pictures(frame: Frame, open_frame: Open) -> None:
    page = open_frame(frame)
    assert heat_opacity(page) == pytest.approx(0.65)
    page.locator("#opacity").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#percent")).to_have_text("1 %")
    assert heat_opacity(page) == pytest.approx(0.01)
    page.get_by_text("Heatmap", exact=True).click()
    assert heat_opacity(page) == 1
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Photo", exact=True)).to_be_checked()
    assert heat_opacity(page) == 0
    page.get_by_text("Overlay", exact=True).click()
    assert heat_opacity(page) == pytest.approx(0.01)


def test_keys_walk_positions_and_pictures_and_hold(frame: Frame, open_frame: Open) -> None:
    page = open_frame(frame)
    for _ in range(4):  # view, opacity, tile size, then the pictures at one stop
        page.keyboard.press("Tab")
    line = page.locator("#position")
    expect(line).to_contain_text("picture 0 · row 3 of 4, column 4 of 6")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    expect(line).to_contain_text("picture 0 · row 2 of 4, column 5 of 6")
    expect_values(page, scores_at(frame, 0, 1, 4))
    expect(page.locator("#spoken")).to_contain_text("picture 0 · row 2 of 4, column 5 of 6")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(line).to_contain_text("picture 1 · row 2 of 4, column 1 of 6")
    expect(page.locator("figure").nth(1)).to_be_focused()
    page.keyboard.press("Shift+ArrowRight")
    expect(line).to_contain_text("picture 2 · row 2 of 4, column 1 of 6")
    page.keyboard.press("Enter")
    expect(line).to_contain_text("held")
    point_at(page, 0, 0, 0)
    expect(line).to_contain_text("picture 2")
    page.keyboard.press("Escape")
    expect(line).to_contain_text("Point at a position")
    page.keyboard.press("End")
    expect(line).to_contain_text("picture 4")
    page.keyboard.press("Tab")
    expect(page.locator("figure:focus")).to_have_count(0)


def test_click_holds_the_place_and_another_lets_go(frame: Frame, open_frame: Open) -> None:
    page = open_frame(frame)
    point_at(page, 2, 1, 1)
    page.mouse.down()
    page.mouse.up()
    point_at(page, 0, 0, 0)
    expect(page.locator("#position")).to_contain_text("picture 2")
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#position")).to_have_text("picture 0 · row 1 of 4, column 1 of 6")


def test_finger_shows_the_place_that_it_taps(
    frame: Frame, browser_context: BrowserContext, tmp_path: Path
) -> None:
    browser = browser_context.browser
    assert browser is not None
    write_page(frame, tmp_path / "page.html")
    context = browser.new_context(has_touch=True, viewport={"width": 380, "height": 700})
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    picture(page, 1).tap(position={"x": 5, "y": 5})
    expect(page.locator("#position")).to_contain_text("picture 1 · row 1 of 4, column 1 of 6")
    picture(page, 0).tap(position={"x": 5, "y": 5})
    expect(page.locator("#position")).to_contain_text("picture 0 · row 1 of 4, column 1 of 6")
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= 380
    context.close()


def test_hostile_names_do_not_come_alive(frame: Frame, open_frame: Open) -> None:
    settings = replace(frame.settings, layer=HOSTILE[0])
    urls: list[str] = []
    refused: list[str] = []
    hostile = replace(frame, names=HOSTILE, settings=settings, warnings=HOSTILE)
    page = open_frame(frame)
    page.on("request", lambda request: urls.append(request.url))
    page.on("console", lambda message: refused.append(message.text))
    open_frame(replace(hostile, labels=HOSTILE))
    for index in range(COUNT):
        point_at(page, index, 1, 1)
        expect(page.locator("#position b")).to_be_visible()
    expect(page.locator("#position b")).to_have_text("犬")
    point_at(page, 0, 1, 1)
    expect(page.locator("#position b")).to_have_text(HOSTILE[0])
    assert page.evaluate("() => window.alive") is None
    assert page.locator("iframe, svg").count() == 0
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []
    assert refused == []


def test_script_from_outside_is_refused_by_the_page_itself(frame: Frame, open_frame: Open) -> None:
    page = open_frame(frame)
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.alive = 1";
      document.body.append(script);
      document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.alive = 2'>");
    }""")
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.alive") is None


def test_pictures_show_without_javascript(
    frame: Frame, browser_context: BrowserContext, tmp_path: Path
) -> None:
    browser = browser_context.browser
    assert browser is not None
    write_page(frame, tmp_path / "page.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    expect(page.locator(".heat").first).to_be_visible()
    expect(page.locator(".controls")).to_be_hidden()
    expect(page.get_by_text("Without JavaScript")).to_be_visible()
    context.close()


# Margins of a printed page, which a print to a file may have none of by itself.
MARGINS = """() => [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
  .filter((rule) => rule instanceof CSSPageRule).map((rule) => rule.style.margin)"""


def test_page_follows_the_theme_and_prints_without_controls(frame: Frame, open_frame: Open) -> None:
    page = open_frame(frame)
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(21, 24, 27)")
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(page.locator(".controls")).to_be_hidden()
    expect(page.locator(".ramp").first).to_be_visible()
    assert page.evaluate(MARGINS) == ["14mm"]
