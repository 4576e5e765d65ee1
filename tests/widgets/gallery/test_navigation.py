"""Where pages, zoom, cursor and marked position go by keys and buttons."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.gallery import navigation
from pfv_widgets.widgets.gallery.view_state import ViewState
from pfv_widgets.widgets.toolkit.geometry import Page, Spot

NINE = navigation.Batch(9, (100, 100))
START = ViewState(Settings(), Page(0, 2))  # pages of four


def images_on_page(state: ViewState, batch: navigation.Batch = NINE) -> list[int]:
    return list(state.page.indices(batch.number, batch.size))


def test_turning_shows_every_image_and_stops_at_both_ends() -> None:
    state, seen = START, [images_on_page(START)]
    for _ in range(3):
        state = navigation.with_page(state, NINE, 1)
        seen.append(images_on_page(state))
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [5, 6, 7, 8], [5, 6, 7, 8]]
    for _ in range(3):
        state = navigation.with_page(state, NINE, -1)
    assert images_on_page(state) == [0, 1, 2, 3]


def test_images_stay_on_the_page_while_the_size_of_the_tiles_slides() -> None:
    many = navigation.Batch(200, (100, 100))
    state = replace(START, page=Page(64, 8))
    for columns in (7, 6, 5, 4, 3, 4, 5):
        state = navigation.arranged(state, many, columns)
        assert 64 in images_on_page(state, many)
    assert images_on_page(state, many) == list(range(50, 75))
    state = navigation.arranged(navigation.with_page(state, many, 1), many, 3)
    assert 75 in images_on_page(state, many)


def test_turning_leaves_what_was_pointed_at_behind() -> None:
    state = replace(START, cursor=1, hover=Spot(2, 0.5, 0.5))
    after = navigation.with_page(state, NINE, 1)
    assert (after.cursor, after.hover) == (None, None)
    assert navigation.with_page(state, NINE, -1) is state


def test_turning_a_zoomed_image_goes_to_the_next_which_the_keys_then_act_on() -> None:
    state = navigation.arranged(replace(START, cursor=4), NINE, 1)
    assert (images_on_page(state), state.cursor) == ([4], 4)
    state = navigation.with_page(state, NINE, 1)
    assert (images_on_page(state), state.cursor) == ([5], 5)


def test_an_image_that_was_alone_is_marked_no_more_among_others() -> None:
    alone = navigation.arranged(START, NINE, 1)
    assert alone.cursor is not None
    assert navigation.arranged(alone, NINE, 2).cursor is None
    marked = navigation.arranged(replace(START, cursor=2), NINE, 3)
    assert navigation.arranged(marked, NINE, 2).cursor == 2


@pytest.mark.parametrize("columns", [1, 2, 3, 8])
@pytest.mark.parametrize("looked_at", ["cursor", "hover", "page"])
def test_another_size_of_tiles_keeps_what_is_looked_at_on_the_page(
    columns: int, looked_at: str
) -> None:
    state = replace(START, page=Page(4, 2))
    if looked_at == "cursor":
        state = replace(state, cursor=6, hover=Spot(5, 0.1, 0.1))
    elif looked_at == "hover":
        state = replace(state, hover=Spot(6, 0.1, 0.1))
    target = 4 if looked_at == "page" else 6
    after = navigation.arranged(state, NINE, columns)
    assert target in images_on_page(after)
    assert after.page.columns == columns
    assert after.hover is None
    if columns == 1:
        assert after.cursor == target


@pytest.mark.parametrize(
    ("start", "key", "end"),
    [
        (None, "ArrowRight", 4),
        (None, "ArrowUp", 4),
        (4, "ArrowLeft", 3),
        (7, "ArrowRight", 8),
        (5, "ArrowDown", 7),
        (6, "ArrowDown", 8),
        (7, "ArrowDown", 8),
        (5, "ArrowUp", 3),
        (0, "ArrowLeft", 0),
        (8, "ArrowRight", 8),
        (4, "Home", 0),
        (4, "End", 8),
        (None, "End", 8),
    ],
)
def test_arrow_keys_walk_through_all_pages(start: int | None, key: str, end: int) -> None:
    state = replace(START, page=Page(4, 2), cursor=start)
    after = navigation.walked(state, NINE, key, 2)
    assert after.cursor == end
    assert end in images_on_page(after)


def test_walk_over_a_page_of_panes_goes_by_the_rows_that_are_seen() -> None:
    state = replace(START, cursor=0)
    assert navigation.walked(state, NINE, "ArrowDown", 1).cursor == 1


def test_walking_forgets_the_marked_place() -> None:
    state = replace(START, cursor=0, hover=Spot(0, 0.5, 0.5))
    assert navigation.walked(state, NINE, "ArrowRight", 2).hover is None


def test_first_step_marks_the_middle_of_the_image_of_the_cursor() -> None:
    state = navigation.stepped(replace(START, cursor=2), "ArrowLeft", (5, 9))
    assert state.hover == Spot(2, pytest.approx(4.5 / 9), pytest.approx(2.5 / 5))
    assert navigation.stepped(START, "ArrowLeft", (5, 9)).cursor == 0


@pytest.mark.parametrize(
    ("key", "x", "y"),
    [
        ("ArrowLeft", 3.5 / 9, 0.5),
        ("ArrowRight", 5.5 / 9, 0.5),
        ("ArrowUp", 0.5, 1.5 / 5),
        ("ArrowDown", 0.5, 3.5 / 5),
    ],
)
def test_steps_go_from_place_to_place(key: str, x: float, y: float) -> None:
    state = navigation.stepped(replace(START, cursor=2), key, (5, 9))
    after = navigation.stepped(state, key, (5, 9))
    assert after.hover == Spot(2, pytest.approx(x), pytest.approx(y))


@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"])
@pytest.mark.parametrize("positions", [(1, 1), (3, 4)])
def test_steps_stay_in_the_image(key: str, positions: tuple[int, int]) -> None:
    state = replace(START, cursor=2)
    for _ in range(9):
        state = navigation.stepped(state, key, positions)
        assert state.hover is not None
        assert 0 < state.hover.x < 1
        assert 0 < state.hover.y < 1


def test_steps_begin_anew_in_another_image() -> None:
    state = replace(START, cursor=2, hover=Spot(1, 0.05, 0.05))
    after = navigation.stepped(state, "ArrowRight", (5, 5))
    assert after.hover == Spot(2, 0.5, 0.5)


def test_point_at_the_far_edge_counts_as_the_last_place() -> None:
    state = replace(START, cursor=2, hover=Spot(2, 1.0, 1.0))
    after = navigation.stepped(state, "ArrowRight", (4, 4))
    assert after.hover == Spot(2, 3.5 / 4, 3.5 / 4)


def test_keys_act_on_the_marked_place_or_on_the_middle_of_an_image() -> None:
    spot = Spot(3, 0.2, 0.9)
    assert navigation.spot_of(replace(START, hover=spot, cursor=1)) == spot
    assert navigation.spot_of(replace(START, cursor=1)) == Spot(1, 0.5, 0.5)
    assert navigation.spot_of(replace(START, page=Page(4, 2))) == Spot(4, 0.5, 0.5)


def test_look_alone_and_what_is_pointed_at_leave_the_heatmaps_as_they_are() -> None:
    for change in ({"opacity": 0.1}, {"view": "split"}, {"split": 0.1}):
        assert replace(START, settings=Settings(**change)).has_heat_of(START)
    moved = replace(START, cursor=1, hover=Spot(0, 0.5, 0.5), brush=(Spot(0, 0, 0),) * 2)
    assert moved.has_heat_of(START)
    assert not START.has_heat_of(None)
    assert not replace(START, page=Page(4, 2)).has_heat_of(START)
    for change in ({"sigma": 2.0}, {"images": (1, 0)}, {"pins": ((0, 0.5, 0.5),)}):
        assert not replace(START, settings=Settings(**change)).has_heat_of(START)


@pytest.mark.parametrize("number", [1, 5, 12, 16, 200])
def test_page_across_a_screen_has_larger_tiles_than_any_other(number: int) -> None:
    batch = navigation.Batch(number, (100, 100))
    state = ViewState(Settings(), Page.start(number, batch.size))
    wide = navigation.spread(state, batch, None)
    assert wide.page.aspect > 1 or number == 1
    columns = wide.page.columns
    tile = min(2.2 / columns, 1 / -(-number // columns))
    assert all(
        tile >= min(2.2 / other, 1 / -(-number // other)) for other in range(1, min(number, 16) + 1)
    )
    if number <= 16:
        assert len(images_on_page(wide, batch)) == number
    back = navigation.spread(wide, batch, state.page.columns)
    assert (back.page.columns, back.page.aspect) == (state.page.columns, 1.0)


def test_pages_across_a_screen_are_lower_than_wide() -> None:
    many = navigation.Batch(200, (100, 100))
    state = navigation.spread(replace(START, page=Page(0, 8)), many, None)
    assert len(images_on_page(state, many)) < state.page.columns**2
    both = images_on_page(state, many) + images_on_page(navigation.with_page(state, many, 1), many)
    assert set(both) == set(range(200))
