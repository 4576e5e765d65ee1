"""The gallery and the batch page by mouse, finger, keyboard, buttons and sliders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.widgets.conftest import Open, full_width
from tests.widgets.explorer_contents import (
    click,
    focus_has_left,
    hint,
    hover,
    is_error,
    load_anew,
    press,
    press_button,
    spot,
    status,
    tile,
    words,
)
from tests.widgets.fake_page import FakePage, happen, move


def inside(explorer: PFVExplorer) -> list[int]:
    assert explorer.wait(60)
    return [index for index, weight in enumerate(explorer.frame.weights) if weight > 0]


def walk_to(explorer: PFVExplorer, index: int) -> None:
    press(explorer, "Home", *["ArrowRight"] * index)


def press_preset(explorer: PFVExplorer, name: str) -> None:
    press_button(explorer.tabs["Batch"].buttons[name])


@full_width
def test_space_takes_an_image_out_and_dims_it_and_brings_it_back(explorer: PFVExplorer) -> None:
    load_anew(explorer)
    walk_to(explorer, 1)
    before = tile(explorer, 1).copy()
    press(explorer, " ")
    assert inside(explorer) == [0, 2, 3]
    assert tile(explorer, 1).std() < 0.6 * before.std()
    assert "3 of 4 images are used to find the colours." in explorer.tabs["Batch"].summary.value
    press(explorer, " ")
    assert inside(explorer) == [0, 1, 2, 3]
    assert np.abs(tile(explorer, 1) - before).mean() < 1


def test_click_pins_a_place_and_leaves_the_composition_alone(explorer: PFVExplorer) -> None:
    click(explorer, 1, 0.25, 0.75)
    assert explorer.settings.pins == ((1, 0.25, 0.75),)
    assert explorer.settings.images is None
    assert explorer.frame.settings.shows_similarity


def test_tap_of_a_finger_pins_as_a_click_does(explorer: PFVExplorer) -> None:
    canvas = explorer.gallery.tiles.widget
    happen(canvas, "touch_start", touches=[spot(explorer, 2, 0.5, 0.25)])
    happen(canvas, "touch_end", touches=[])
    assert explorer.settings.pins == ((2, 0.5, 0.25),)


def test_click_beside_the_tiles_changes_nothing(explorer: PFVExplorer) -> None:
    before = explorer.settings
    left, _ = explorer.gallery.tiles.grid.corner(1)
    for event in ("mouse_down", "mouse_up"):
        happen(explorer.gallery.tiles.widget, event, x=left - 2, y=20)
    assert explorer.settings == before


def test_all_images_out_is_told_and_the_next_one_in_paints_again(explorer: PFVExplorer) -> None:
    load_anew(explorer)
    last = explorer.frame
    press_preset(explorer, "None")
    assert not is_error(explorer)
    assert status(explorer) == "No image is in the batch. Take one in under Batch, or with Space."
    assert "0 of 4 images" in explorer.tabs["Batch"].summary.value
    assert (explorer.frame.heatmaps == last.heatmaps).all()
    assert all(tile(explorer, index).std() < 30 for index in range(4))
    walk_to(explorer, 2)
    press(explorer, " ")
    assert not is_error(explorer)
    assert inside(explorer) == [2]
    assert tile(explorer, 2).std() > 30


def test_class_slider_weighs_the_images_of_its_class(open_explorer: Open) -> None:
    explorer = open_explorer(20)
    images = explorer.pfv.images
    label = images.classes[0]
    move(explorer.tabs["Batch"].classes[label], value=0.25)
    weights = explorer.frame.weights
    assert {weights[index] for index, own in enumerate(images.labels) if own == label} == {0.25}
    assert {weights[index] for index, own in enumerate(images.labels) if own != label} == {1.0}
    move(explorer.tabs["Batch"].classes[label], value=0)
    assert len(inside(explorer)) == 20 - images.labels.count(label)


def test_pointer_on_a_tile_tells_which_image_it_is_and_the_values_there(
    explorer: PFVExplorer,
) -> None:
    images = explorer.pfv.images
    hover(explorer, 3, 0.3, 0.6)
    line = hint(explorer)
    assert images.names[3] in line
    assert "weight 1" in line
    values = explorer.frame.at(3, 0.3, 0.6).tolist()
    for value in values:
        assert f"{value:+.2f}".replace("-", "−") in line
    happen(explorer.gallery.tiles.widget, "mouse_out", x=-1, y=-1)
    assert "Point to read scores" in hint(explorer)


def test_values_under_the_pointer_follow_the_settings(explorer: PFVExplorer) -> None:
    hover(explorer, 0, 0.5, 0.5)
    assert "weight 1" in hint(explorer)
    explorer.settings = replace(explorer.settings, images=(0, 1, 1, 1), components=5)
    line = hint(explorer)
    assert "not used to find the colours" in line
    values = explorer.frame.at(0, 0.5, 0.5).tolist()
    assert len(values) == 5
    assert all(f"{value:+.2f}".replace("-", "−") in line for value in values)
    explorer.settings = replace(explorer.settings, layer=explorer.pfv.layers[2].name)
    deeper = [f"{value:+.2f}" for value in explorer.frame.at(0, 0.5, 0.5).tolist()]
    assert all(value.replace("-", "−") in hint(explorer) for value in deeper)


def test_hint_about_the_image_of_the_cursor_follows_a_key(explorer: PFVExplorer) -> None:
    walk_to(explorer, 1)
    assert hint(explorer).startswith(f"2: {explorer.pfv.images.names[1][:20]}")
    press(explorer, " ")
    assert "not used to find the colours" in hint(explorer)
    press(explorer, " ")
    assert "weight 1" in hint(explorer)


def test_hint_about_an_image_follows_when_all_are_taken_out(explorer: PFVExplorer) -> None:
    walk_to(explorer, 1)
    press_preset(explorer, "None")
    assert "not used to find the colours" in hint(explorer)
    press_preset(explorer, "All")
    assert "weight 1" in hint(explorer)


def test_place_under_the_pointer_and_its_like_are_ringed(explorer: PFVExplorer) -> None:
    hover(explorer, 1, 0.4, 0.4)
    assert explorer.wait(60)
    *near, own = explorer.gallery.tiles.look.rings
    assert (own.spot.image, own.bold) == (1, True)
    result = explorer.pfv.nearest(1, own.spot.x, own.spot.y, number=6)
    close = [one for one in result if one.similarity > 0.5]
    assert [(ring.spot.image, ring.spot.x, ring.spot.y) for ring in near] == [
        (one.image, one.x, one.y) for one in close
    ]
    happen(explorer.gallery.tiles.widget, "mouse_out", x=-1, y=-1)
    assert explorer.wait(60)
    assert explorer.gallery.tiles.look.rings == ()


def test_arrow_keys_walk_the_tiles_and_stay_inside(explorer: PFVExplorer) -> None:
    walks = [
        (["ArrowRight"], 0),
        (["ArrowRight", "ArrowRight"], 1),
        (["ArrowLeft", "ArrowLeft"], 0),
        (["ArrowDown", "ArrowDown"], 2),
        (["ArrowDown", "ArrowDown", "ArrowUp"], 0),
        (["ArrowDown", *["ArrowRight"] * 9], 3),
        (["End"], 3),
        (["End", "Home"], 0),
        (["x", "Shift"], None),
    ]
    for keys, cursor in walks:
        press(explorer, *keys)
        assert explorer.wait(60)
        assert explorer.gallery.tiles.look.cursor == cursor, keys
        assert explorer.settings.images is None
        assert explorer.settings.pins == ()
        press(explorer, "Escape")
        assert explorer.wait(60)
        assert explorer.gallery.tiles.look.cursor is None


def test_shift_and_arrows_mark_a_place_that_enter_pins(explorer: PFVExplorer) -> None:
    rows, columns = explorer.gallery.map_size
    walk_to(explorer, 2)
    press(explorer, "shift+ArrowUp", "shift+ArrowUp", "shift+ArrowRight", "Enter")
    ((image, x, y),) = explorer.settings.pins
    assert image == 2
    assert int(y * rows) == rows // 2 - 1
    assert int(x * columns) == columns // 2 + 1
    assert "Scores" in hint(explorer)


def test_enter_without_a_mark_pins_the_middle_of_the_image(explorer: PFVExplorer) -> None:
    walk_to(explorer, 3)
    press(explorer, "Enter")
    assert explorer.settings.pins == ((3, 0.5, 0.5),)
    press(explorer, "Delete")
    assert explorer.settings.pins == ()
    press(explorer, "Delete", "Backspace")
    assert not is_error(explorer)


@pytest.mark.parametrize("key", ["Tab", "Escape"])
def test_tab_and_escape_leave_the_canvas(
    fake_page: FakePage, explorer: PFVExplorer, key: str
) -> None:
    fake_page.messages.clear()
    press(explorer, key)
    assert focus_has_left(explorer)


def test_how_to_begin_is_told_at_the_start(explorer: PFVExplorer) -> None:
    assert "click to see what is alike" in hint(explorer)
    assert "double-click to zoom" in words(explorer.gallery.hint.value)
