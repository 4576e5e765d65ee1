"""Pages, zoom, and undo and redo of every setting."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pfv_widgets.validation import MOST_PINS
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.networks import blobs, tiny
from tests.non_default_settings import other_values
from tests.widgets.conftest import Open
from tests.widgets.explorer_contents import (
    click,
    drag,
    focus_has_left,
    hint,
    hover,
    is_error,
    load_anew,
    press,
    press_button,
    shows_its_frame,
    spot,
)
from tests.widgets.fake_page import FakePage, happen, move


@pytest.fixture
def nine(open_explorer: Open) -> PFVExplorer:
    """Nine images, two in a row: pages of four."""
    explorer = open_explorer(model=tiny(), batch=blobs(9))
    load_anew(explorer)
    size(explorer, 2)
    assert explorer.wait(60)
    return explorer


def size(explorer: PFVExplorer, columns: int) -> None:
    slider = explorer.gallery.toolbar.size
    move(slider, index=[one for _, one in slider.options].index(columns))


def button(explorer: PFVExplorer, name: str) -> None:
    press_button(explorer.gallery.toolbar.buttons[name])


def shown_images(explorer: PFVExplorer) -> list[int]:
    assert explorer.wait(60)
    assert not is_error(explorer)
    return list(explorer.gallery.tiles.on_page)


def twice(explorer: PFVExplorer, index: int) -> None:
    explorer.gallery.interaction.gestures.forget_click()
    for event in ("mouse_down", "mouse_up") * 2:
        happen(explorer.gallery.tiles.widget, event, **spot(explorer, index))


def test_pages_are_turned_by_buttons_and_keys(nine: PFVExplorer) -> None:
    assert shown_images(nine) == [0, 1, 2, 3]
    for turn, expected in [
        (lambda: button(nine, "forward"), [4, 5, 6, 7]),
        (lambda: press(nine, "PageDown"), [5, 6, 7, 8]),
        (lambda: press(nine, "PageDown"), [5, 6, 7, 8]),
        (lambda: button(nine, "back"), [4, 5, 6, 7]),
        (lambda: press(nine, "PageUp"), [0, 1, 2, 3]),
    ]:
        turn()
        assert shown_images(nine) == expected
        assert shows_its_frame(nine)
        assert f"{expected[0] + 1}–{expected[-1] + 1} of 9" in nine.gallery.toolbar.pages.value


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 9])
def test_every_size_of_tiles_shows_its_frame(nine: PFVExplorer, columns: int) -> None:
    size(nine, columns)
    assert len(shown_images(nine)) == min(9, columns * columns)
    assert shows_its_frame(nine)


def test_basis_is_that_of_all_images_on_every_page(nine: PFVExplorer) -> None:
    before = nine.frame.basis.components
    button(nine, "forward")
    assert (nine.frame.basis.components == before).all()
    assert nine.frame.heatmaps.shape[0] == 9


def test_walk_by_keys_turns_the_pages(nine: PFVExplorer) -> None:
    press(nine, "Home", *["ArrowRight"] * 4)
    assert shown_images(nine) == [4, 5, 6, 7]
    assert nine.gallery.tiles.look.cursor == 4
    press(nine, "End", " ")
    assert shown_images(nine) == [5, 6, 7, 8]
    assert nine.settings.images == (1,) * 8 + (0,)


def test_what_is_pointed_at_on_a_later_page_is_read_there(nine: PFVExplorer) -> None:
    button(nine, "forward")
    assert shown_images(nine) == [4, 5, 6, 7]
    hover(nine, 6, 0.4, 0.8)
    values = nine.frame.at(6, 0.4, 0.8).tolist()
    shown = re.findall(r"[+−][\d.]+", hint(nine))
    rounding = min(5e-3, 0.051 * max(map(abs, values)))  # two decimals, or two digits
    read = [float(one.replace("−", "-")) for one in shown]
    np.testing.assert_allclose(read, values, rtol=0, atol=rounding)
    assert hint(nine).startswith("7: ")
    click(nine, 6, 0.25, 0.5)
    assert nine.settings.pins == ((6, 0.25, 0.5),)


@pytest.mark.parametrize("how", ["double click", "toolbar", "key", "slider"])
def test_image_is_zoomed_and_back_in_every_way(nine: PFVExplorer, how: str) -> None:
    toggle = nine.gallery.toolbar.toggles["zoom"]
    press(nine, "Home", "ArrowRight", "ArrowRight")
    ways: dict[str, Callable[[bool], None]] = {
        "double click": lambda _: twice(nine, 2),
        "toolbar": lambda expected: move(toggle, value=expected),
        "key": lambda _: press(nine, "z"),
        "slider": lambda expected: size(nine, 1 if expected else 2),
    }
    ways[how](True)
    assert shown_images(nine) == [2]
    assert toggle.value
    assert shows_its_frame(nine)
    assert nine.gallery.render_loop.frame is not None
    assert nine.gallery.render_loop.frame.heatmaps.shape[1] > 400  # crisp
    ways[how](False)
    assert shown_images(nine) == [0, 1, 2, 3]
    assert not toggle.value
    assert nine.settings.pins == ()


def test_double_click_zooms_into_the_image_that_is_clicked(nine: PFVExplorer) -> None:
    press(nine, "Home")
    button(nine, "forward")
    assert shown_images(nine) == [4, 5, 6, 7]
    twice(nine, 7)
    assert shown_images(nine) == [7]


def test_arrow_keys_walk_through_zoomed_images(nine: PFVExplorer) -> None:
    press(nine, "End", "z")
    assert shown_images(nine) == [8]
    press(nine, "ArrowLeft")
    assert shown_images(nine) == [7]
    assert shows_its_frame(nine)
    press(nine, "Escape")
    assert shown_images(nine) == [4, 5, 6, 7]


def test_double_click_leaves_pins_and_similarity_as_they_were(explorer: PFVExplorer) -> None:
    pins = ((0, 0.2, 0.2), (1, 0.3, 0.3))
    explorer.settings = replace(explorer.settings, pins=pins, similarity=False)
    assert explorer.wait(60)
    twice(explorer, 2)
    assert shown_images(explorer) == [2]
    assert explorer.settings.pins == pins
    assert not explorer.settings.similarity


def test_double_click_with_all_pins_set_takes_none_away(explorer: PFVExplorer) -> None:
    pins = tuple((0, index / 10, 0.5) for index in range(MOST_PINS))
    explorer.settings = replace(explorer.settings, pins=pins)
    assert explorer.wait(60)
    twice(explorer, 1)
    assert explorer.settings.pins == pins
    assert explorer.wait(60)
    assert list(explorer.gallery.tiles.on_page) == [1]


def test_escape_leaves_selection_zoom_and_canvas_in_turn(
    fake_page: FakePage, explorer: PFVExplorer
) -> None:
    press(explorer, "Home", "z")
    assert shown_images(explorer) == [0]
    drag(explorer, 0, (0.1, 0.1), (0.6, 0.6))
    assert explorer.gallery.view_state.selection is not None
    fake_page.messages.clear()
    press(explorer, "Escape")
    assert explorer.gallery.view_state.selection is None
    assert shown_images(explorer) == [0]
    press(explorer, "Escape")
    assert shown_images(explorer) == [0, 1, 2, 3]
    assert not focus_has_left(explorer)
    press(explorer, "Escape")
    assert focus_has_left(explorer)
    assert explorer.gallery.view_state.cursor is None


def test_every_setting_is_undone_and_redone(
    explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_anew(explorer)
    states = [explorer.settings]
    for name, value in {**other_values(), "layer": explorer.pfv.layers[2].name}.items():
        explorer.settings = replace(explorer.settings, **{name: value})
        states.append(explorer.settings)
    line = explorer.status_line
    buttons = {"undo": line.undo_button, "redo": line.redo_button}
    for way, back in [(lambda: press_button(line.undo_button), True), (explorer.redo, False)]:
        for expected in states[-2::-1] if back else states[1:]:
            assert not buttons["undo" if back else "redo"].disabled
            way()
            assert explorer.settings == expected
            assert explorer.knobs["sigma"].value == expected.sigma
            assert explorer.panel.layer.value == expected.layer
        assert buttons["undo" if back else "redo"].disabled
        assert explorer.frame.settings == explorer.settings
    assert shows_its_frame(explorer)


@pytest.mark.parametrize(("undo", "redo"), [("ctrl+z", "ctrl+y"), ("meta+z", "meta+shift+Z")])
def test_keys_undo_and_redo(explorer: PFVExplorer, undo: str, redo: str) -> None:
    start = explorer.settings
    explorer.settings = replace(start, sigma=2.0)
    press(explorer, undo)
    assert explorer.settings == start
    press(explorer, redo)
    assert explorer.settings.sigma == 2.0
    press(explorer, redo, undo, undo, undo)
    assert explorer.settings == start
    assert not is_error(explorer)


def test_drag_of_a_slider_is_one_step(explorer: PFVExplorer) -> None:
    start = explorer.settings
    for step in range(20):
        move(explorer.knobs["sigma"], value=1.5 + step / 10)
    move(explorer.knobs["opacity"], value=0.1)
    explorer.undo()
    assert explorer.settings == replace(start, sigma=3.4)
    explorer.undo()
    assert explorer.settings == start


def test_stroke_over_thumbnails_is_one_step(explorer: PFVExplorer) -> None:
    thumbnails = explorer.tabs["Batch"].thumbnails
    start = explorer.settings
    positions = [thumbnails.grid.corner(index) for index in (0, 1, 2)]
    (x, y), *others = [(left + 9, top + 9) for left, top in positions]
    happen(thumbnails.widget, "mouse_down", x=x, y=y)
    for x, y in others:
        happen(thumbnails.widget, "mouse_move", x=x, y=y)
    happen(thumbnails.widget, "mouse_up", x=x, y=y)
    assert explorer.settings.images == (0, 0, 0, 1)
    explorer.undo()
    assert explorer.settings == start


def test_change_after_an_undo_forgets_what_was_undone(explorer: PFVExplorer) -> None:
    explorer.settings = replace(explorer.settings, sigma=2.0)
    explorer.undo()
    explorer.settings = replace(explorer.settings, components=2)
    explorer.redo()
    assert explorer.settings.components == 2
    assert explorer.settings.sigma == 1.0
    assert explorer.status_line.redo_button.disabled


def test_looking_around_is_no_change_of_settings(nine: PFVExplorer) -> None:
    start = nine.settings
    button(nine, "forward")
    press(nine, "End", "z", "Escape")
    hover(nine, 8)
    drag(nine, 8, (0.1, 0.1), (0.9, 0.9))
    assert nine.settings == start
    assert nine.status_line.undo_button.disabled
