"""Pins, the selection of positions, and the divider of the split view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pfv_widgets.validation import MOST_PINS
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.widgets.explorer_contents import (
    click,
    drag,
    is_error,
    load_anew,
    pictures_sent,
    press,
    press_button,
    shows_its_frame,
    spot,
    status,
    tile,
)
from tests.widgets.fake_page import FakePage, happen, move


def test_pins_are_painted_and_their_chips_remove_them(explorer: PFVExplorer) -> None:
    load_anew(explorer)
    positions = [(0, 0.25, 0.25), (2, 0.75, 0.5), (3, 0.5, 0.75)]
    for position in positions:
        click(explorer, *position)
    assert explorer.settings.pins == tuple(positions)
    assert explorer.frame.settings.shows_similarity
    chips = explorer.gallery.pins.chips
    assert [chip.layout.display for chip in chips] == [None] * 3
    press_button(chips[1])
    assert explorer.settings.pins == (positions[0], positions[2])
    press_button(explorer.gallery.pins.clear)
    assert explorer.settings.pins == ()
    assert shows_its_frame(explorer)


def test_pins_that_follow_quickly_are_undone_one_by_one(explorer: PFVExplorer) -> None:
    positions = [(0, 0.25, 0.25), (2, 0.75, 0.5), (3, 0.5, 0.75)]
    for position in positions:
        click(explorer, *position)
    press_button(explorer.gallery.pins.chips[0])
    seen = [explorer.settings.pins]
    for _ in range(4):
        explorer.undo()
        seen.append(explorer.settings.pins)
    first, second, third = positions
    assert seen == [(second, third), tuple(positions), (first, second), (first,), ()]


def test_pin_paints_how_alike_all_positions_are(explorer: PFVExplorer) -> None:
    load_anew(explorer)
    explorer.settings = replace(explorer.settings, view="heatmap")
    before = tile(explorer, 3).copy()
    click(explorer, 1, 0.5, 0.5)
    assert shows_its_frame(explorer)
    assert np.abs(tile(explorer, 3) - before).mean() > 10
    toggle = explorer.knobs["similarity"]
    assert not toggle.disabled
    of_scores = [explorer.knobs[name] for name in ("weighting", "sigma", "colour_map", "sharing")]
    of_scores += [explorer.gallery.toolbar.toggles["safe"]]
    assert all(knob.disabled for knob in of_scores)  # they would change nothing
    move(toggle, value=False)
    assert not any(knob.disabled for knob in of_scores)
    assert np.abs(tile(explorer, 3) - before).mean() < 1
    assert explorer.gallery.tiles.look.rings != ()


def test_pin_without_an_image_in_the_batch_shows_what_is_alike(explorer: PFVExplorer) -> None:
    explorer.settings = replace(explorer.settings, images=(0.0,) * 4)
    click(explorer, 1, 0.5, 0.5)
    assert explorer.wait(60)
    assert status(explorer) == "Up to date."
    frame = explorer.frame
    assert frame.weights == (0.0,) * 4
    assert torch.equal(frame.heatmaps, explorer.pfv.render(frame.settings, images=None).heatmaps)
    explorer.settings = replace(explorer.settings, pins=())
    assert status(explorer).startswith("No image is in the batch.")


def test_click_at_the_position_of_a_pin_removes_it(explorer: PFVExplorer) -> None:
    rows, columns = explorer.gallery.map_size
    here, there = (1, 0.5 / columns, 0.5 / rows), (1, 1.5 / columns, 0.5 / rows)
    for position in (here, there):
        click(explorer, *position)
    assert len(explorer.settings.pins) == 2
    click(explorer, 1, 0.9 / columns, 0.1 / rows)  # elsewhere in the same cell of the map
    assert [round(x * columns, 2) for _, x, _ in explorer.settings.pins] == [1.5]
    explorer.undo()
    assert len(explorer.settings.pins) == 2
    explorer.redo()
    click(explorer, 2, 1.5 / columns, 0.5 / rows)  # the same position of another image
    assert [image for image, _, _ in explorer.settings.pins] == [1, 2]
    click(explorer, *there)
    click(explorer, 2, 1.5 / columns, 0.5 / rows)
    assert explorer.settings.pins == ()
    assert not is_error(explorer)


def test_key_pins_a_position_and_takes_its_pin_away(explorer: PFVExplorer) -> None:
    press(explorer, "ArrowRight", "shift+ArrowUp", "Enter")
    assert len(explorer.settings.pins) == 1
    press(explorer, "Enter")
    assert explorer.settings.pins == ()


def test_pin_at_the_edge_of_an_image_is_removed_too(explorer: PFVExplorer) -> None:
    explorer.settings = replace(explorer.settings, pins=((0, 1.0, 1.0),))
    click(explorer, 0, 0.999, 0.999)
    assert explorer.settings.pins == ()


def test_one_pin_too_many_is_told_and_the_others_stay(explorer: PFVExplorer) -> None:
    pins = tuple((0, index / 10, 0.5) for index in range(MOST_PINS))
    explorer.settings = replace(explorer.settings, pins=pins)
    assert explorer.wait(60)
    click(explorer, 1)
    assert "Eight pins are the most; remove one first." in status(explorer)
    assert MOST_PINS == 8
    assert explorer.settings.pins == pins
    press_button(explorer.gallery.pins.chips[0])
    assert explorer.settings.pins == pins[1:]
    click(explorer, 1)
    assert explorer.settings.pins == (*pins[1:], (1, 0.5, 0.5))
    assert not is_error(explorer)


@pytest.mark.parametrize("view", ["side by side", "rgb split", "split"])
def test_click_in_any_view_pins_the_same_place(explorer: PFVExplorer, view: str) -> None:
    explorer.settings = replace(explorer.settings, view=view)
    assert explorer.wait(60)
    grid = explorer.gallery.tiles.grid
    for number, (left, top, width, height) in enumerate(grid.panes(3, view)):
        explorer.gallery.interaction.gestures.forget_click()
        point = {"x": left + 0.25 * width, "y": top + 0.75 * height}
        for event in ("mouse_down", "mouse_up"):
            happen(explorer.gallery.tiles.widget, event, **point)
        # a second click at the same position, in another of its pictures, removes the pin
        assert explorer.settings.pins == (((3, 0.25, 0.75),) if number % 2 == 0 else ())


def test_drag_selects_positions_and_the_others_fade(explorer: PFVExplorer) -> None:
    load_anew(explorer)
    explorer.settings = replace(explorer.settings, view="heatmap")
    before = tile(explorer, 2).copy()
    drag(explorer, 1, (0.0, 0.0), (0.5, 1.0))
    selection = explorer.gallery.view_state.selection
    assert selection is not None
    rows, columns = explorer.gallery.map_size
    assert selection.mask.shape == (4, rows, columns)
    assert selection.mask[1, :, : columns // 2].all()
    assert selection.mask.sum() == rows * (columns // 2)
    after = tile(explorer, 2)
    assert after.std() < 0.4 * before.std()
    assert explorer.gallery.tiles.look.frame is None
    assert explorer.settings.pins == ()
    row = explorer.gallery.pins
    assert row.selection.description == f"× {rows * (columns // 2)} positions selected"
    press(explorer, "Escape")
    assert np.abs(tile(explorer, 2) - before).max() < 1
    assert row.selection.layout.display == "none"
    drag(explorer, 1, (0.0, 0.0), (0.5, 1.0))
    press_button(row.selection)
    assert np.abs(tile(explorer, 2) - before).max() < 1
    assert row.hint.layout.display is None


def test_keys_select_positions_as_a_drag_does(explorer: PFVExplorer) -> None:
    rows, columns = explorer.gallery.map_size
    press(explorer, "Home", "ArrowRight", "shift+ArrowUp", "s")
    press(explorer, "shift+ArrowLeft", "shift+ArrowLeft", "shift+ArrowDown")
    corners = explorer.gallery.view_state.brush
    assert corners is not None
    assert corners[1].x - corners[0].x == pytest.approx(3 / columns)
    press(explorer, "s")
    selection = explorer.gallery.view_state.selection
    assert selection is not None
    expected = np.zeros_like(selection.mask)
    expected[1, rows // 2 : rows // 2 + 2, columns // 2 - 2 : columns // 2 + 1] = True
    assert np.array_equal(selection.mask, expected)
    press(explorer, "Escape", "s", "Escape")  # one that was begun is left
    state = explorer.gallery.view_state
    assert state.brush is state.selection is None
    press(explorer, "shift+ArrowUp")
    assert explorer.gallery.view_state.brush is None


def test_rectangle_is_seen_while_it_is_drawn_and_sends_no_picture(
    fake_page: FakePage, explorer: PFVExplorer
) -> None:
    canvas = explorer.gallery.tiles.widget
    fake_page.load_anew(canvas)
    assert explorer.wait(60)
    fake_page.drawings.clear()
    happen(canvas, "mouse_down", **spot(explorer, 1, 0.2, 0.2))
    happen(canvas, "mouse_move", **spot(explorer, 1, 0.6, 0.7))
    assert explorer.wait(60)
    assert explorer.gallery.tiles.look.frame is not None
    start, end = explorer.gallery.tiles.look.frame
    assert (start.image, round(start.x, 2), round(end.y, 2)) == (1, 0.2, 0.7)
    assert pictures_sent(explorer) == 0
    happen(canvas, "mouse_out", x=0, y=0)
    assert explorer.wait(60)
    assert explorer.gallery.view_state.selection is not None
    assert explorer.gallery.tiles.look.frame is None


def test_selection_is_dropped_on_another_layer_and_kept_otherwise(explorer: PFVExplorer) -> None:
    drag(explorer, 1, (0.0, 0.0), (0.5, 1.0))
    assert explorer.gallery.view_state.selection is not None
    explorer.settings = replace(explorer.settings, sigma=2.0)
    assert explorer.gallery.view_state.selection is not None
    explorer.settings = replace(explorer.settings, layer=explorer.pfv.layers[2].name)
    assert explorer.gallery.view_state.selection is None
    assert not is_error(explorer)


def test_drag_in_the_split_view_moves_the_divider_and_is_one_step_to_undo(
    fake_page: FakePage, explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_anew(explorer)
    explorer.settings = replace(explorer.settings, view="split", opacity=1.0)
    assert explorer.wait(60)
    explorer.history.pause = -1  # as if the hand rested at each move
    fake_page.drawings.clear()
    drag(explorer, 1, (0.5, 0.5), (0.2, 0.6))
    assert explorer.settings.split == 0.2
    assert shows_its_frame(explorer)
    assert pictures_sent(explorer) == 0
    assert explorer.gallery.view_state.selection is None
    drag(explorer, 0, (0.2, 0.5), (0.9, 0.6))
    assert explorer.settings.split == 0.9
    explorer.undo()
    assert explorer.settings.split == 0.2
    explorer.undo()
    assert explorer.settings.split == 0.5
    explorer.redo()
    assert explorer.settings.split == 0.2
