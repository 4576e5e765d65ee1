"""Clicks, double clicks and drags are told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pfv_widgets.widgets.gallery.gestures import GestureHandlers, Gestures
from pfv_widgets.widgets.toolkit.geometry import Spot

A, B = Spot(0, 0.1, 0.5), Spot(1, 0.1, 0.5)


class Hand:
    """A pointer over two images of 100 × 50 pixels side by side, 20 apart; time stands still."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.now = 0.0
        names = ("hover", "click", "double_click", "drag", "dropped")
        self.pointer = Gestures(
            self,
            GestureHandlers(*(self.hearing(name) for name in names)),
            clock=lambda: self.now,
        )

    def hearing(self, name: str) -> Any:
        return lambda *spots: self.heard.append((name, *spots))

    @staticmethod
    def spot(x: float, y: float) -> Spot | None:
        image, left = divmod(x, 120)
        inside = left < 100 and 0 <= y < 50 and image in (0, 1)
        return Spot(int(image), left / 100, y / 50) if inside else None

    @staticmethod
    def pane_size() -> tuple[float, float]:
        return 100.0, 50.0

    def click(self, x: float, y: float) -> None:
        self.pointer.down(x, y)
        self.pointer.up(x, y)


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_second_click_counts_from_the_end_of_what_the_first_one_did(hand: Hand) -> None:
    def slowly(*spots: Any) -> None:
        hand.heard.append(("click", *spots))
        hand.now += 5.0

    hand.pointer.handlers = replace(hand.pointer.handlers, click=slowly)
    for _ in range(2):
        hand.click(10, 25)
    assert [name for name, *_ in hand.heard] == ["click", "double_click"]


def test_clicks_on_two_positions_that_come_at_once_are_two_clicks(hand: Hand) -> None:
    hand.click(10, 25)
    hand.click(90, 25)
    assert [name for name, *_ in hand.heard] == ["click", "click"]


def test_moving_hovers_on_images_and_beside_them(hand: Hand) -> None:
    for x in (10, 110, 130):
        hand.pointer.move(x, 25)
    hand.pointer.out()
    assert hand.heard == [("hover", A), ("hover", None), ("hover", B), ("hover", None)]


def test_press_and_release_is_a_click_where_it_was_pressed(hand: Hand) -> None:
    hand.pointer.down(10, 25)
    assert hand.heard == []
    hand.pointer.up(12, 25)
    assert hand.heard == [("click", A)]


def test_slip_of_a_few_pixels_is_still_a_click(hand: Hand) -> None:
    hand.pointer.down(10, 25)
    for x, y in [(13, 27), (18, 33), (10, 17)]:
        hand.pointer.move(x, y)
    hand.pointer.up(18, 25)
    assert hand.heard == [("click", A)]


def test_drag_tells_where_it_is_and_once_where_it_ended(hand: Hand) -> None:
    hand.pointer.down(10, 25)
    hand.pointer.move(30, 25)
    hand.pointer.move(40, 35)
    hand.pointer.up(50, 40)
    assert [name for name, *_ in hand.heard] == ["drag", "drag", "dropped"]
    assert {start for _, start, _ in hand.heard} == {A}
    ends = [(end.image, end.x, end.y) for *_, end in hand.heard]
    assert ends == [
        (0, pytest.approx(0.3), pytest.approx(0.5)),
        (0, pytest.approx(0.4), pytest.approx(0.7)),
        (0, pytest.approx(0.5), pytest.approx(0.8)),
    ]


def test_drag_that_comes_back_is_no_click(hand: Hand) -> None:
    hand.pointer.down(10, 25)
    hand.pointer.move(60, 25)
    hand.pointer.move(10, 25)
    hand.pointer.up(10, 25)
    assert [name for name, *_ in hand.heard] == ["drag", "drag", "dropped"]


def test_drag_stays_in_the_image_that_it_began_in(hand: Hand) -> None:
    hand.pointer.down(10, 25)
    hand.pointer.move(190, -300)
    hand.pointer.up(-80, 900)
    (_, _, first), (_, _, last) = hand.heard
    assert (first.image, first.x, first.y) == (0, 1.0, 0.0)
    assert (last.image, last.x, last.y) == (0, 0.0, 1.0)


def test_drag_that_leaves_the_canvas_ends_where_it_was(hand: Hand) -> None:
    hand.pointer.down(10, 25)
    hand.pointer.move(60, 25)
    hand.pointer.out()
    hand.pointer.move(20, 25)
    hand.pointer.up(20, 25)
    names = [name for name, *_ in hand.heard]
    assert names == ["drag", "dropped", "hover", "hover"]
    assert hand.heard[1][2] == Spot(0, pytest.approx(0.6), pytest.approx(0.5))


def test_press_that_leaves_the_canvas_without_a_drag_does_nothing(hand: Hand) -> None:
    hand.pointer.down(10, 25)
    hand.pointer.out()
    hand.pointer.up(10, 25)
    assert hand.heard == [("hover", None)]


def test_press_beside_the_images_does_nothing(hand: Hand) -> None:
    hand.click(110, 25)
    hand.pointer.down(110, 25)
    hand.pointer.move(10, 25)
    hand.pointer.up(10, 25)
    assert hand.heard == [("hover", A)]


def test_release_without_a_press_does_nothing(hand: Hand) -> None:
    hand.pointer.up(10, 25)
    assert hand.heard == []


def test_second_press_without_a_release_begins_anew(hand: Hand) -> None:
    hand.pointer.down(10, 25)
    hand.pointer.move(60, 25)
    hand.pointer.down(130, 25)
    hand.pointer.up(130, 25)
    assert [name for name, *_ in hand.heard] == ["drag", "click"]
    assert hand.heard[1][1] == B


def test_second_click_soon_on_the_same_image_is_a_double_click(hand: Hand) -> None:
    hand.click(10, 25)
    hand.now = 0.2
    hand.click(40, 25)
    assert [name for name, *_ in hand.heard] == ["click", "double_click"]
    assert hand.heard[1][1].image == 0


@pytest.mark.parametrize(("x", "seconds"), [(10, 0.5), (130, 0.1)])
def test_click_later_or_on_another_image_is_another_click(
    hand: Hand, x: float, seconds: float
) -> None:
    hand.click(10, 25)
    hand.now = seconds
    hand.click(x, 25)
    assert [name for name, *_ in hand.heard] == ["click", "click"]


def test_third_click_is_a_new_one(hand: Hand) -> None:
    for _ in range(4):
        hand.click(10, 25)
    names = [name for name, *_ in hand.heard]
    assert names == ["click", "double_click", "click", "double_click"]


def test_click_after_a_drag_is_no_double_click(hand: Hand) -> None:
    hand.pointer.down(10, 25)
    hand.pointer.move(60, 25)
    hand.pointer.up(60, 25)
    hand.click(60, 25)
    assert [name for name, *_ in hand.heard] == ["drag", "dropped", "click"]


def test_error_in_a_click_does_not_leave_the_pointer_pressed(hand: Hand) -> None:
    def fail(_: Spot) -> None:
        raise ZeroDivisionError

    quiet = hand.hearing
    meanings = GestureHandlers(
        quiet("hover"), fail, quiet("double_click"), quiet("drag"), quiet("end")
    )
    hand.pointer.handlers = meanings
    hand.pointer.down(10, 25)
    with pytest.raises(ZeroDivisionError):
        hand.pointer.up(10, 25)
    hand.pointer.move(60, 25)
    assert hand.heard == [("hover", Spot(0, 0.6, 0.5))]
