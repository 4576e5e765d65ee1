"""Thumbnails: what is painted, and what the mouse, a finger and the keys do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt
import pytest

from pfv_widgets.widgets.batch.thumbnail_layout import BAR, WIDTH, ThumbnailGrid
from pfv_widgets.widgets.batch.thumbnails import Thumbnails
from tests.widgets.fake_page import FakePage, happen

RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (26, 115, 232)
NUMBERS = [1, 2, 7, 16, 24, 25, 54, 55, 64, 70, 71, 120, 200]


class Harness:
    """Thumbnails on a fake page, and the weights that they edit."""

    def __init__(self, fake_page: FakePage, number: int = 16) -> None:
        self.fake_page = fake_page
        self.calls: list[tuple[tuple[int, ...], bool]] = []
        self.gestures: list[bool] = []
        self.pointed: list[int | None] = []
        self.weights = [1.0] * number
        pixels = np.zeros((number, 20, 20, 3), np.uint8)
        pixels[::2], pixels[1::2] = RED, GREEN
        self.thumbs = Thumbnails(pixels, self._changed, self.gestures.append, self.pointed.append)
        self.grid = self.thumbs.grid
        self.show()

    def _changed(self, indices: tuple[int, ...], inside: bool) -> None:
        self.calls.append((indices, inside))
        for index in indices:
            self.weights[index] = float(inside)
        self.show()

    def show(self) -> None:
        self.thumbs.show(tuple(self.weights))

    def middle(self, index: int) -> dict[str, float]:
        left, top = self.grid.corner(index)
        return {"x": left + self.grid.side / 2, "y": top + self.grid.side / 2}

    def event(self, name: str, index: int) -> None:
        happen(self.thumbs.widget, name, **self.middle(index))

    def key(self, key: str, **held: bool) -> None:
        flags = {"shift_key": False, "ctrl_key": False, "meta_key": False} | held
        happen(self.thumbs.widget, "key_down", key=key, **flags)

    def click(self, index: int) -> None:
        self.event("mouse_down", index)
        self.event("mouse_up", index)

    @property
    def page(self) -> npt.NDArray[np.float32]:
        return self.fake_page.picture(self.thumbs.widget)

    def colour(self, index: int, top: int = 0) -> npt.NDArray[np.float32]:
        middle = self.middle(index)
        return self.page[int(middle["y"]) - top, int(middle["x"])]

    def bar(self, index: int) -> int:
        """Number of pixels of the bar that are full."""
        left, top = self.grid.corner(index)
        row = self.page[top + self.grid.side + 4 + BAR // 2, left : left + self.grid.side]
        return int((row.max(axis=1) > 100).sum())

    def out(self) -> list[int]:
        return [index for index, weight in enumerate(self.weights) if weight == 0]


Open = Callable[..., Harness]


@pytest.fixture
def open_thumbnails(fake_page: FakePage) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_(number: int = 16) -> Harness:
            harness = Harness(fake_page, number)
            stack.callback(harness.thumbs.canvas.close)
            return harness

        yield open_


@pytest.fixture
def harness(open_thumbnails: Open) -> Harness:
    return open_thumbnails()


@pytest.mark.parametrize("number", NUMBERS)
def test_every_thumbnail_is_found_where_it_stands(number: int) -> None:
    grid = ThumbnailGrid.of(number)
    for index in range(number):
        left, top = grid.corner(index)
        assert 0 <= left <= grid.size[1] - grid.side
        assert 0 <= top <= grid.size[0] - grid.side - BAR - 4
        assert grid.at(left, top) == grid.at(left + grid.side, top + grid.side) == index
    assert grid.at(-1, 5) is None
    assert grid.at(5, grid.size[0] + 1) is None
    assert grid.at(grid.size[1] + 1, 5) is None


@pytest.mark.parametrize("number", NUMBERS)
def test_grid_keeps_its_width_and_a_height_that_fits(number: int) -> None:
    grid = ThumbnailGrid.of(number)
    assert grid.size[1] <= WIDTH
    assert grid.visible <= 464
    assert (grid.furthest > 0) == (number > 70)
    assert grid.side >= 40  # 20 pixels of the page


def test_photos_are_cut_to_their_middle_square() -> None:
    pixels = np.full((1, 20, 60, 3), RED, np.uint8)
    pixels[:, :, 20:40] = GREEN
    grid = ThumbnailGrid.of(1)
    left, top = grid.corner(0)
    result = grid.picture(pixels)[top : top + grid.side, left : left + grid.side]
    assert (result == GREEN).all()


def test_photos_are_shown_and_dimmed_to_grey_when_out(harness: Harness) -> None:
    np.testing.assert_allclose(harness.colour(2), RED, atol=6)
    np.testing.assert_allclose(harness.colour(3), GREEN, atol=6)
    harness.weights[2] = 0.0
    harness.show()
    np.testing.assert_allclose(harness.colour(2), np.array(RED) * 0.28 + 128 * 0.72, atol=6)
    np.testing.assert_allclose(harness.colour(3), GREEN, atol=6)


def test_bars_are_as_long_as_the_weights(harness: Harness) -> None:
    harness.weights[:5] = [0.0, 0.5, 1.0, 2.0, 7.0]
    harness.show()
    shares = [harness.bar(index) / harness.grid.side for index in range(5)]
    np.testing.assert_allclose(shares, [0, 0.25, 0.5, 1, 1], atol=0.02)


def test_influence_takes_the_place_of_the_weights_until_it_is_gone(harness: Harness) -> None:
    harness.thumbs.show_influence([np.nan, 10.0, 40.0, *[0.0] * 13])
    shares = [harness.bar(index) / harness.grid.side for index in range(4)]
    np.testing.assert_allclose(shares, [0, 0.25, 1, 0], atol=0.02)
    outlined = [c for c in harness.fake_page.drawings[-1].commands if c[0] == "strokeRect"]
    assert [command[1][:2] for command in outlined] == [list(harness.grid.corner(2))]
    harness.thumbs.show_influence(None)
    assert harness.bar(2) == harness.grid.side // 2
    assert "strokeRect" not in harness.fake_page.drawings[-1].names


@pytest.mark.parametrize("angles", [[np.nan] * 16, [0.0] * 16])
def test_influence_without_a_largest_outlines_nothing(
    harness: Harness, angles: list[float]
) -> None:
    harness.thumbs.show_influence(angles)
    assert "strokeRect" not in harness.fake_page.drawings[-1].names


def test_click_takes_an_image_out_and_in_again(harness: Harness) -> None:
    harness.click(5)
    harness.click(5)
    assert harness.calls == [((5,), False), ((5,), True)]
    assert harness.gestures == [True, False, True, False]


def test_drag_brings_all_that_it_passes_into_the_state_of_the_first(harness: Harness) -> None:
    harness.weights[2] = 0.0
    harness.show()
    harness.event("mouse_down", 0)
    for index in (1, 2, 3, 2, 1, 0):
        harness.event("mouse_move", index)
    harness.event("mouse_up", 0)
    harness.event("mouse_move", 9)
    assert harness.out() == [0, 1, 2, 3]
    assert harness.calls == [((0,), False), ((1,), False), ((3,), False)]
    assert harness.gestures == [True, False]


def test_drag_from_an_image_that_is_out_takes_in(harness: Harness) -> None:
    harness.weights[:6] = [0.0] * 6
    harness.show()
    harness.event("mouse_down", 1)
    harness.event("mouse_move", 4)
    assert harness.out() == [0, 5]


def test_fast_drag_leaves_no_gap(harness: Harness) -> None:
    harness.event("mouse_down", 6)
    harness.event("mouse_move", 11)
    assert harness.out() == [6, 7, 8, 9, 10, 11]


def test_change_that_is_refused_is_asked_for_once_in_a_drag(harness: Harness) -> None:
    harness.show = lambda: None  # type: ignore[method-assign] # the weights that are shown stay
    harness.event("mouse_down", 0)
    for index in (1, 0, 1, 1):
        harness.event("mouse_move", index)
    assert harness.calls == [((0,), False), ((1,), False)]


def test_leaving_the_canvas_ends_the_drag(harness: Harness) -> None:
    harness.event("mouse_down", 0)
    happen(harness.thumbs.widget, "mouse_out", x=-1, y=0)
    harness.event("mouse_move", 3)
    assert harness.out() == [0]
    assert harness.gestures == [True, False]


def test_press_after_an_end_that_got_lost_is_a_gesture_of_its_own(harness: Harness) -> None:
    harness.event("mouse_down", 0)
    harness.event("mouse_down", 1)
    assert harness.gestures == [True, False, True]


def test_finger_paints_like_a_mouse(harness: Harness) -> None:
    for name, index in (("touch_start", 0), ("touch_move", 2)):
        happen(harness.thumbs.widget, name, touches=[harness.middle(index)])
    happen(harness.thumbs.widget, "touch_end", touches=[])
    assert harness.out() == [0, 1, 2]
    assert harness.gestures == [True, False]


def test_press_beside_the_thumbnails_does_nothing(harness: Harness) -> None:
    happen(harness.thumbs.widget, "mouse_down", x=WIDTH - 10, y=harness.grid.row * 3 - 10)
    assert harness.calls == []
    assert harness.gestures == []


def test_pointer_tells_each_thumbnail_once(harness: Harness) -> None:
    for index in (3, 3, 3, 4):
        harness.event("mouse_move", index)
    happen(harness.thumbs.widget, "mouse_out", x=-1, y=0)
    assert harness.pointed == [3, 4, None]


def test_keys_walk_and_toggle(harness: Harness) -> None:
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", " "):
        harness.key(key)
    assert harness.pointed == [0, 1, 7, 6]
    assert harness.calls == [((6,), False)]
    harness.key("End")
    harness.key("ArrowRight")
    harness.key("Enter")
    assert harness.calls[-1] == ((15,), False)
    harness.key("Escape")
    assert harness.pointed[-1] is None


@pytest.mark.parametrize(("key", "blurs"), [("Leave", 0), ("Tab", 1), ("Escape", 1)])
def test_leaving_hides_the_cursor_and_takes_the_focus_only_where_the_page_has_not(
    harness: Harness, key: str, blurs: int
) -> None:
    harness.key("ArrowRight")
    harness.fake_page.messages.clear()
    harness.key(key)
    assert harness.pointed == [0, None]
    sent = [data.get("content") for _, _, data in harness.fake_page.messages if data]
    assert sent.count({"do": "blur"}) == blurs


def test_keys_with_control_are_left_to_others(harness: Harness) -> None:
    harness.key("ArrowRight")
    harness.key(" ", ctrl_key=True)
    assert harness.calls == []


def test_cursor_is_drawn_for_keys_and_not_for_the_mouse(harness: Harness) -> None:
    harness.click(3)
    assert "strokeRect" not in harness.fake_page.drawings[-1].names
    harness.key("ArrowRight")
    stroked = [c[1][:2] for c in harness.fake_page.drawings[-1].commands if c[0] == "strokeRect"]
    assert stroked == [list(harness.grid.corner(4))] * 2


def test_wheel_scrolls_many_rows_and_stops_at_the_ends(open_thumbnails: Open) -> None:
    assert (
        "pfv-wheel"
        not in open_thumbnails(4).thumbs.widget.get_state("_dom_classes")["_dom_classes"]
    )
    harness = open_thumbnails(200)
    assert "pfv-wheel" in harness.thumbs.widget.get_state("_dom_classes")["_dom_classes"]
    happen(harness.thumbs.widget, "mouse_wheel", x=0, y=-50)
    np.testing.assert_allclose(harness.colour(0), RED, atol=6)
    happen(harness.thumbs.widget, "mouse_wheel", x=0, y=harness.grid.row)  # of the page: two rows
    np.testing.assert_allclose(harness.colour(20, 2 * harness.grid.row), RED, atol=6)
    harness.click(3)  # a row of ten: this is now the place of image 23
    assert harness.out() == [23]
    happen(harness.thumbs.widget, "mouse_wheel", x=0, y=10**6)
    below = harness.grid.furthest
    np.testing.assert_allclose(harness.colour(199, below), GREEN, atol=6)


def test_wheel_brings_another_thumbnail_under_the_pointer(open_thumbnails: Open) -> None:
    harness = open_thumbnails(200)
    harness.event("mouse_move", 4)
    happen(harness.thumbs.widget, "mouse_wheel", x=0, y=harness.grid.row / 2)
    assert harness.pointed == [4, 14]


def test_cursor_stays_in_view(open_thumbnails: Open) -> None:
    harness = open_thumbnails(200)
    harness.key("ArrowRight")
    harness.key("End")
    assert harness.pointed[-1] == 199
    np.testing.assert_allclose(harness.colour(198, harness.grid.furthest), RED, atol=6)
    harness.key("Home")
    np.testing.assert_allclose(harness.colour(2), RED, atol=6)


def test_scroll_bar_is_dragged(open_thumbnails: Open) -> None:
    harness = open_thumbnails(200)
    happen(harness.thumbs.widget, "mouse_down", x=WIDTH - 5, y=harness.grid.visible - 2)
    np.testing.assert_allclose(harness.colour(198, harness.grid.furthest), RED, atol=6)
    happen(harness.thumbs.widget, "mouse_move", x=20, y=0)
    happen(harness.thumbs.widget, "mouse_up", x=20, y=0)
    np.testing.assert_allclose(harness.colour(0), RED, atol=6)
    assert harness.calls == []


def test_few_rows_do_not_scroll(harness: Harness) -> None:
    before = harness.page.copy()
    happen(harness.thumbs.widget, "mouse_wheel", x=0, y=500)
    assert (harness.page == before).all()


def test_page_that_is_loaded_anew_is_painted_again(harness: Harness) -> None:
    harness.click(2)
    before = harness.page.copy()
    harness.fake_page.load_anew(harness.thumbs.widget, *harness.thumbs.canvas.buffers)
    assert (harness.page == before).all()


def test_photos_are_sent_once(harness: Harness) -> None:
    sent = sum(len(drawing.pictures) for drawing in harness.fake_page.drawings)
    harness.click(1)
    harness.thumbs.show_influence([1.0] * 16)
    harness.key("ArrowRight")
    assert sum(len(drawing.pictures) for drawing in harness.fake_page.drawings) == sent == 1


def test_same_weights_again_send_nothing(harness: Harness) -> None:
    count = len(harness.fake_page.drawings)
    harness.show()
    assert len(harness.fake_page.drawings) == count


def test_nothing_is_drawn_after_closing(harness: Harness) -> None:
    harness.thumbs.canvas.close()
    count = len(harness.fake_page.drawings)
    harness.weights[0] = 0.0
    harness.show()
    harness.thumbs.show_influence(None)
    harness.thumbs.repaint()
    assert len(harness.fake_page.drawings) == count
