"""The ground that our widgets stand on: sliders and canvases in a real browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.lab import LabPage
from tests.browser.widget_page import WidgetPage

GREY, RED, GREEN = (90, 90, 90), (200, 30, 30), (30, 160, 60)

CELLS = [
    f"""
from ipycanvas import Canvas, hold_canvas
from ipywidgets import IntSlider, Layout, VBox

COLOURS = {[GREY, RED, GREEN]}
canvas = Canvas(width=120, height=80, layout=Layout(width="120px", height="80px"))
slider = IntSlider(description="Shade", value=0, min=0, max=2)

def paint(*_):
    other = Canvas(width=1, height=1)
    with hold_canvas():
        other.clear()  # makes ipycanvas name the displayed canvas again: a new page needs it
        canvas.fill_style = "rgb({{}}, {{}}, {{}})".format(*COLOURS[slider.value])
        canvas.fill_rect(0, 0, 120, 80)

slider.observe(paint, "value")
canvas.on_client_ready(paint)
""",
    "VBox([slider, canvas])",
]

Open = Callable[[list[str]], WidgetPage]
OpenLab = Callable[[list[str]], LabPage]


@pytest.fixture(params=["lab", "voila"])
def widget_page(request: pytest.FixtureRequest) -> WidgetPage:
    serve: Open = request.getfixturevalue(request.param)
    return serve(CELLS)


@pytest.mark.all
def test_key_presses_on_a_slider_repaint_the_canvas(widget_page: WidgetPage) -> None:
    widget_page.wait_for_colour(60, 40, GREY)
    handle = widget_page.slider("Shade")
    widget_page.press(handle, "ArrowRight", times=2)
    widget_page.wait_for_colour(60, 40, GREEN)
    expect(handle).to_have_attribute("aria-valuenow", "2.0")
    assert widget_page.pixels(10, 20, 30, 5).shape == (5, 30, 4)
    assert (widget_page.pixels(0, 0, 120, 80) == (*GREEN, 255)).all()


@pytest.mark.all
def test_code_runs_in_the_kernel_and_what_fails_there_fails_the_test(lab: OpenLab) -> None:
    page = lab(["number = 1", "number + 1"])
    assert page.run("number") == "1"
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        page.run("1 / 0")
    with pytest.raises(AssertionError, match="no_such_name"):
        lab(["no_such_name"])


@pytest.mark.all
def test_second_page_and_first_page_show_the_same(lab: OpenLab) -> None:
    first = lab(CELLS)
    first.wait_for_colour(60, 40, GREY)
    second = first.second_page()
    second.press(second.slider("Shade"), "ArrowRight")
    second.wait_for_colour(60, 40, RED)
    first.wait_for_colour(60, 40, RED)
