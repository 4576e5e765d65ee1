"""Batch composition by mouse, keyboard, buttons and class sliders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pfv_widgets.widgets.explorers import PFVExplorer
from tests.widgets.conftest import Open
from tests.widgets.reading import is_error, status, tile
from tests.widgets.recorded_page import RecordedPage, happen, move


def click(explorer: PFVExplorer, index: int) -> None:
    left, top = explorer._grid.grid.corner(index)
    happen(explorer._grid.canvas, "mouse_down", x=left + 20, y=top + 20)


def press(explorer: PFVExplorer, *keys: str) -> None:
    for key in keys:
        no = dict.fromkeys(("shift_key", "ctrl_key", "meta_key"), False)
        happen(explorer._grid.canvas, "key_down", key=key, **no)


def inside(explorer: PFVExplorer) -> list[int]:
    assert explorer.wait(60)
    return [index for index, weight in enumerate(explorer.frame.weights) if weight > 0]


def test_click_takes_an_image_out_and_dims_it_and_another_click_brings_it_back(
    recorded: RecordedPage, explorer: PFVExplorer
) -> None:
    recorded.load_anew(explorer._grid.canvas)
    before = tile(recorded, explorer, 1).copy()
    click(explorer, 1)
    assert inside(explorer) == [0, 2, 3]
    assert tile(recorded, explorer, 1).std() < 0.5 * before.std()
    assert "3 of 4 images make the basis." in explorer._panel._summary.value
    click(explorer, 1)
    assert inside(explorer) == [0, 1, 2, 3]
    assert np.abs(tile(recorded, explorer, 1) - before).mean() < 1


def test_click_beside_the_tiles_changes_nothing(explorer: PFVExplorer) -> None:
    left, _ = explorer._grid.grid.corner(1)
    happen(explorer._grid.canvas, "mouse_down", x=left - 2, y=20)
    assert explorer.settings.images is None


def test_buttons_take_all_none_or_the_others(explorer: PFVExplorer) -> None:
    buttons = explorer._panel.buttons
    click(explorer, 0)
    move_button(explorer, "Invert")
    assert inside(explorer) == [0]
    move_button(explorer, "All")
    assert inside(explorer) == [0, 1, 2, 3]
    move_button(explorer, "None")
    assert explorer.settings.images == (0, 0, 0, 0)
    assert set(buttons) == {"All", "None", "Invert"}


def move_button(explorer: PFVExplorer, name: str) -> None:
    explorer._panel.buttons[name]._handle_button_msg(None, {"event": "click"}, [])


def test_all_images_out_is_told_and_the_next_click_paints_again(
    recorded: RecordedPage, explorer: PFVExplorer
) -> None:
    recorded.load_anew(explorer._grid.canvas)
    last = explorer.frame
    move_button(explorer, "None")
    assert is_error(explorer)
    assert "every weight is 0" in status(explorer)
    assert "0 of 4 images" in explorer._panel._summary.value
    assert (explorer.frame.heatmaps == last.heatmaps).all()
    assert all(tile(recorded, explorer, index).std() < 30 for index in range(4))
    click(explorer, 2)
    assert not is_error(explorer)
    assert inside(explorer) == [2]
    assert tile(recorded, explorer, 2).std() > 30


def test_class_slider_weighs_the_images_of_its_class(opened: Open) -> None:
    explorer = opened(20)
    images = explorer.pfv.images
    label = images.classes[0]
    move(explorer._panel.classes[label], value=0.25)
    weights = explorer.frame.weights
    assert {weights[index] for index, own in enumerate(images.labels) if own == label} == {0.25}
    assert {weights[index] for index, own in enumerate(images.labels) if own != label} == {1.0}
    move(explorer._panel.classes[label], value=0)
    assert len(inside(explorer)) == 20 - images.labels.count(label)


def test_class_sliders_show_weights_that_come_from_code(explorer: PFVExplorer) -> None:
    labels = explorer.pfv.images.labels
    explorer.settings = replace(explorer.settings, images=(0.5, 0, 7, 1))
    values = {label: slider.value for label, slider in explorer._panel.classes.items()}
    assert len(set(labels)) == 4
    assert [values[label] for label in labels] == [0.5, 0, 2, 1]
    assert explorer.settings.images == (0.5, 0, 7, 1)


def test_pointer_on_a_tile_tells_which_image_it_is(explorer: PFVExplorer) -> None:
    images = explorer.pfv.images
    left, top = explorer._grid.grid.corner(3)
    happen(explorer._grid.canvas, "mouse_move", x=left + 5, y=top + 5)
    assert images.names[3] in explorer._hint.value
    assert "weight 1 in the basis" in explorer._hint.value
    happen(explorer._grid.canvas, "mouse_out", x=-1, y=-1)
    assert "Click a tile" in explorer._hint.value


def test_hint_under_the_pointer_follows_a_click(explorer: PFVExplorer) -> None:
    left, top = explorer._grid.grid.corner(0)
    happen(explorer._grid.canvas, "mouse_move", x=left + 5, y=top + 5)
    click(explorer, 0)
    assert "not in the basis" in explorer._hint.value
    click(explorer, 0)
    assert "weight 1 in the basis" in explorer._hint.value


@pytest.mark.parametrize(
    ("keys", "cursor"),
    [
        (["ArrowRight"], 0),
        (["ArrowRight", "ArrowRight"], 1),
        (["ArrowLeft", "ArrowLeft"], 0),
        (["ArrowDown", "ArrowDown"], 2),
        (["ArrowDown", "ArrowDown", "ArrowUp"], 0),
        (["ArrowDown", *["ArrowRight"] * 9], 3),
        (["x", "Shift"], None),
        (["ArrowDown", "Escape"], None),
    ],
)
def test_arrow_keys_walk_the_tiles_and_stay_inside(
    explorer: PFVExplorer, keys: list[str], cursor: int | None
) -> None:
    press(explorer, *keys)
    assert explorer.wait(60)
    assert explorer._grid.look.cursor == cursor
    assert explorer.settings.images is None


@pytest.mark.parametrize("key", [" ", "Enter"])
def test_space_and_enter_toggle_the_tile_of_the_cursor(explorer: PFVExplorer, key: str) -> None:
    press(explorer, key)
    assert explorer.settings.images is None
    press(explorer, "ArrowRight", "ArrowRight", key)
    assert inside(explorer) == [0, 2, 3]
    press(explorer, key)
    assert inside(explorer) == [0, 1, 2, 3]


@pytest.mark.parametrize("key", ["Tab", "Escape"])
def test_tab_and_escape_leave_the_canvas(
    recorded: RecordedPage, explorer: PFVExplorer, key: str
) -> None:
    recorded.messages.clear()
    press(explorer, key)
    sent = [(comm, data.get("content")) for _, comm, data in recorded.messages if data]
    assert (explorer._grid.canvas.model_id, {"do": "blur"}) in sent
