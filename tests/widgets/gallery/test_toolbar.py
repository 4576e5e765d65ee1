"""The row above the gallery tells what a person presses, and shows what is so."""

from __future__ import annotations

from typing import Any

import pytest

from pfv_widgets.widgets.gallery.toolbar import Toolbar
from tests.widgets.explorer_contents import press_button, words
from tests.widgets.fake_page import FakePage, move


class Bar:
    """A toolbar with what it tells."""

    def __init__(self, number: int = 9) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.toolbar = Toolbar(
            number,
            lambda columns: self.events.append(("columns", columns)),
            lambda pages: self.events.append(("turn", pages)),
            lambda name, expected: self.events.append((name, expected)),
        )

    def show(self, shown: range, columns: int = 3, **more: bool) -> None:
        flags = {"safe": False} | more
        self.toolbar.show(shown, columns, **flags)


@pytest.fixture
def bar(fake_page: FakePage) -> Bar:
    return Bar()


def test_buttons_and_toggles_tell_their_names(bar: Bar) -> None:
    for name in ("back", "forward"):
        press_button(bar.toolbar.buttons[name])
    move(bar.toolbar.toggles["zoom"], value=True)
    move(bar.toolbar.toggles["safe"], value=True)
    assert bar.events == [("turn", -1), ("turn", 1), ("zoom", True), ("safe", True)]


def test_slider_goes_from_small_tiles_to_one_large_one(bar: Bar) -> None:
    options = [columns for _, columns in bar.toolbar.size.options]
    assert options == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    bar.show(range(9))
    move(bar.toolbar.size, index=options.index(2))
    assert bar.events == [("columns", 2)]


def test_move_that_is_just_being_taken_in_is_not_undone_by_the_state_before_it(bar: Bar) -> None:
    bar.show(range(9), 3)
    for control, value in ((bar.toolbar.size, 5), (bar.toolbar.toggles["safe"], True)):
        with control.hold_trait_notifications():  # as a message of the page is taken in
            control.value = value
            bar.show(range(9), 3)
        assert control.value == value
    assert bar.events == [("columns", 5), ("safe", True)]
    bar.show(range(9), 3)  # both were refused
    assert (bar.toolbar.size.value, bar.toolbar.toggles["safe"].value) == (3, False)


@pytest.mark.parametrize(("number", "most"), [(1, 1), (2, 2), (16, 16), (200, 16)])
def test_row_holds_no_more_tiles_than_there_are_and_no_more_than_sixteen(
    fake_page: FakePage, number: int, most: int
) -> None:
    toolbar = Bar(number).toolbar
    assert max(columns for _, columns in toolbar.size.options) == most
    assert (toolbar.size.layout.visibility == "hidden") == (number == 1)


def test_showing_tells_nobody(bar: Bar) -> None:
    for columns in (1, 2, 9, 1):
        bar.show(range(4), columns, safe=columns == 2)
        assert bar.toolbar.size.value == columns
        assert bar.toolbar.toggles["zoom"].value == (columns == 1)
        assert bar.toolbar.toggles["safe"].value == (columns == 2)
    assert bar.events == []


@pytest.mark.parametrize(
    ("shown", "words_", "back", "forward"),
    [
        (range(4), "1–4 of 9", False, True),
        (range(4, 8), "5–8 of 9", True, True),
        (range(8, 9), "9 of 9", True, False),
        (range(9), "1–9 of 9", False, False),
    ],
)
def test_page_is_named_and_only_ways_that_lead_somewhere_are_open(
    bar: Bar, shown: range, words_: str, back: bool, forward: bool
) -> None:
    bar.show(shown)
    assert words(bar.toolbar.pages.value) == words_
    assert bar.toolbar.buttons["back"].disabled != back
    assert bar.toolbar.buttons["forward"].disabled != forward


def test_single_image_is_not_zoomed(fake_page: FakePage) -> None:
    bar = Bar(1)
    bar.show(range(1), 1)
    assert not bar.toolbar.toggles["zoom"].value


def test_row_of_more_tiles_than_the_slider_has_shows_its_end(fake_page: FakePage) -> None:
    bar = Bar(200)
    bar.show(range(200), 40)
    assert bar.toolbar.size.value == 16
    assert bar.events == []


def test_every_control_says_what_it_does(bar: Bar) -> None:
    toolbar = bar.toolbar
    for control in (*toolbar.buttons.values(), *toolbar.toggles.values(), toolbar.size):
        assert len(control.tooltip) > 8
