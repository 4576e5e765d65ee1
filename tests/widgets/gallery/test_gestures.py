"""Clicks, double clicks and drags are told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pfv_widgets.widgets.gallery.gestures import GestureHandlers, Gestures
from pfv_widgets.widgets.toolkit.geometry import Spot

A, B = Spot(0, 0.1, 0.5), Spot(1, 0.1, 0.5)


class Mouse:
    """A pointer over two images of 100 × 50 pixels side by side, 20 apart; time stands still."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.now = 0.0
        names = ("hover", "click", "double_click", "drag", "dropped")
        self.pointer = Gestures(
            self, GestureHandlers(*(self.record(name) for name in names)), clock=lambda: self.now
        )

    def record(self, name: str) -> Any:
        return lambda *spots: self.events.append((name, *spots))

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
def mouse() -> Mouse:
    return Mouse()


def test_second_click_counts_from_the_end_of_what_the_first_one_did(mouse: Mouse) -> None:
    def slowly(*spots: Any) -> None:
        mouse.events.append(("click", *spots))
        mouse.now += 5.0

    mouse.pointer.handlers = replace(mouse.pointer.handlers, click=slowly)
    for _ in range(2):
        mouse.click(10, 25)
    assert [name for name, *_ in mouse.events] == ["click", "double_click"]


def test_moving_hovers_on_images_and_beside_them(mouse: Mouse) -> None:
    for x in (10, 110, 130):
        mouse.pointer.move(x, 25)
    mouse.pointer.out()
    assert mouse.events == [("hover", A), ("hover", None), ("hover", B), ("hover", None)]


# what a pointer does, one step after another, and what that means
CLICK = ["down 10 25", "up 10 25"]
MEANINGS: dict[str, tuple[list[str], list[tuple[str, Spot | None]]]] = {
    "a click is where it was pressed": (["down 10 25", "up 12 25"], [("click", A)]),
    "a slip of a few pixels is still a click": (
        ["down 10 25", "move 13 27", "move 18 33", "move 10 17", "up 18 25"], [("click", A)],
    ),
    "a drag that comes back is no click": (
        ["down 10 25", "move 60 25", "move 10 25", "up 10 25"],
        [("drag", A), ("drag", A), ("dropped", A)],
    ),
    "a press that leaves without a drag does nothing": (
        ["down 10 25", "out", "up 10 25"], [("hover", None)],
    ),
    "a press beside the images does nothing": (
        ["down 110 25", "up 110 25", "down 110 25", "move 10 25", "up 10 25"], [("hover", A)],
    ),
    "a release without a press does nothing": (["up 10 25"], []),
    "a second press without a release begins anew": (
        ["down 10 25", "move 60 25", "down 130 25", "up 130 25"], [("drag", A), ("click", B)],
    ),
    "a second click soon on the same image is a double click": (
        [*CLICK, "wait 0.2", "down 40 25", "up 40 25"],
        [("click", A), ("double_click", Spot(0, 0.4, 0.5))],
    ),
    "a second click later is another click": ([*CLICK, "wait 0.5", *CLICK], [("click", A)] * 2),
    "a click on another image is another click": (
        [*CLICK, "wait 0.1", "down 130 25", "up 130 25"], [("click", A), ("click", B)],
    ),
    "clicks on two positions that come at once are two": (
        [*CLICK, "down 90 25", "up 90 25"], [("click", A), ("click", Spot(0, 0.9, 0.5))],
    ),
    "a third click is a new one": (CLICK * 4, [("click", A), ("double_click", A)] * 2),
    "a click after a drag is no double click": (
        ["down 10 25", "move 60 25", "up 60 25", "down 60 25", "up 60 25"],
        [("drag", A), ("dropped", A), ("click", Spot(0, 0.6, 0.5))],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "events"), MEANINGS.values(), ids=MEANINGS)
def test_meaning_of_what_a_pointer_does(
    mouse: Mouse, steps: list[str], events: list[tuple[str, Spot | None]]
) -> None:
    for step in steps:
        name, *numbers = step.split()
        if name == "wait":
            mouse.now += float(numbers[0])
        else:
            getattr(mouse.pointer, name)(*map(float, numbers))
    assert [one[:2] for one in mouse.events] == events


def test_drag_tells_where_it_is_and_once_where_it_ended(mouse: Mouse) -> None:
    mouse.pointer.down(10, 25)
    mouse.pointer.move(30, 25)
    mouse.pointer.move(40, 35)
    mouse.pointer.up(50, 40)
    assert [name for name, *_ in mouse.events] == ["drag", "drag", "dropped"]
    assert {start for _, start, _ in mouse.events} == {A}
    ends = [(end.image, end.x, end.y) for *_, end in mouse.events]
    assert ends == [
        (0, pytest.approx(0.3), pytest.approx(0.5)),
        (0, pytest.approx(0.4), pytest.approx(0.7)),
        (0, pytest.approx(0.5), pytest.approx(0.8)),
    ]


def test_drag_stays_in_the_image_that_it_began_in(mouse: Mouse) -> None:
    mouse.pointer.down(10, 25)
    mouse.pointer.move(190, -300)
    mouse.pointer.up(-80, 900)
    (_, _, first), (_, _, last) = mouse.events
    assert (first.image, first.x, first.y) == (0, 1.0, 0.0)
    assert (last.image, last.x, last.y) == (0, 0.0, 1.0)


def test_drag_that_leaves_the_canvas_ends_where_it_was(mouse: Mouse) -> None:
    mouse.pointer.down(10, 25)
    mouse.pointer.move(60, 25)
    mouse.pointer.out()
    mouse.pointer.move(20, 25)
    mouse.pointer.up(20, 25)
    names = [name for name, *_ in mouse.events]
    assert names == ["drag", "dropped", "hover", "hover"]
    assert mouse.events[1][2] == Spot(0, pytest.approx(0.6), pytest.approx(0.5))


def test_error_in_a_click_does_not_leave_the_pointer_pressed(mouse: Mouse) -> None:
    def fail(_: Spot) -> None:
        raise ZeroDivisionError

    quiet = mouse.record
    meanings = GestureHandlers(
        quiet("hover"), fail, quiet("double_click"), quiet("drag"), quiet("end")
    )
    mouse.pointer.handlers = meanings
    mouse.pointer.down(10, 25)
    with pytest.raises(ZeroDivisionError):
        mouse.pointer.up(10, 25)
    mouse.pointer.move(60, 25)
    assert mouse.events == [("hover", Spot(0, 0.6, 0.5))]
