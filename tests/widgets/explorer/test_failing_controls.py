"""Whatever raises under a hand is told in the status line, and the next change works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ipycanvas import Canvas

from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from pfv_widgets.widgets.gallery import interaction, navigation
from pfv_widgets.widgets.toolkit import text
from tests.widgets.conftest import Open
from tests.widgets.explorer_contents import (
    click,
    drag,
    hover,
    is_error,
    load_anew,
    press,
    press_button,
    shows_its_frame,
    status,
)
from tests.widgets.fake_page import FakePage, happen, move

MANAGER = Canvas._canvas_manager.default_value


def fail(*_: object, **__: object) -> Any:
    raise ZeroDivisionError("no luck")


def toolbar(explorer: PFVExplorer, name: str) -> None:
    press_button(explorer.gallery.toolbar.buttons[name])


Where = Callable[[PFVExplorer], tuple[object, str]]
Act = Callable[[PFVExplorer], None]


def submit(explorer: PFVExplorer) -> tuple[object, str]:
    return explorer.gallery.render_loop, "submit"


def arranged(_: PFVExplorer) -> tuple[object, str]:
    return navigation, "arranged"


def slide(explorer: PFVExplorer) -> None:
    move(explorer.knobs["sigma"], value=3.0)


# what raises, and what a person does that leads there
FAULTS: dict[str, tuple[Where, Act]] = {
    "hover": (lambda e: (e.gallery.tiles, "spot"), lambda e: hover(e, 1)),
    "nearest positions": (lambda e: (e.pfv, "nearest"), lambda e: hover(e, 1)),
    "values of a position": (lambda _: (text, "position_line"), lambda e: hover(e, 1)),
    "click": (lambda _: (interaction, "replace"), lambda e: click(e, 1)),
    "brush": (lambda _: (interaction, "brushed"), lambda e: drag(e, 1, (0.1, 0.1), (0.4, 0.4))),
    "arrow key": (lambda _: (navigation, "walked"), lambda e: press(e, "ArrowRight")),
    "shift and arrow": (lambda _: (navigation, "stepped"), lambda e: press(e, "shift+ArrowUp")),
    "space": (lambda _: (interaction, "toggled"), lambda e: press(e, " ")),
    "enter": (lambda _: (navigation, "spot_of"), lambda e: press(e, "Enter")),
    "tab": (lambda e: (e.gallery.tiles.widget, "blur"), lambda e: press(e, "Escape")),
    "turning": (lambda _: (navigation, "with_page"), lambda e: toolbar(e, "forward")),
    "tile size": (arranged, lambda e: move(e.gallery.toolbar.size, index=0)),
    "zoom": (arranged, lambda e: press(e, "z")),
    "zoom by the toolbar": (
        arranged,
        lambda e: move(e.gallery.toolbar.toggles["zoom"], value=True),
    ),
    "undo": (lambda e: (e.history, "undo"), lambda e: press(e, "ctrl+z")),
    "redo": (lambda e: (e.history, "redo"), lambda e: press_button(e.status_line.redo_button)),
    "remembering": (lambda e: (e.history, "record"), slide),
    "a knob": (submit, slide),
    "layer": (submit, lambda e: move(e.panel.layer, index=4)),
    "painting": (lambda e: (e.pfv, "render"), slide),
    "sending": (lambda _: (CanvasCommands, "send"), lambda e: move(e.knobs["opacity"], value=0.1)),
    "reading the numbers": (lambda e: (e.panel, "show_frame"), slide),
    "safe colours": (submit, lambda e: move(e.gallery.toolbar.toggles["safe"], value=True)),
    "preset": (submit, lambda e: press_button(e.tabs["Batch"].buttons["Invert"])),
    "class weight": (
        submit,
        lambda e: move(next(iter(e.tabs["Batch"].classes.values())), value=0.5),
    ),
    "removing a pin": (submit, lambda e: press_button(e.gallery.pins.clear)),
    "showing the settings": (lambda e: (e.panel, "show"), slide),
    "showing the pages": (lambda e: (e.tabs["Batch"], "show"), slide),
}


# in a few explorers: each lives through one fault after the other
@pytest.mark.parametrize("names", [list(FAULTS)[start::4] for start in range(4)])
def test_fault_under_a_hand_is_told_and_the_next_change_works(
    explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    load_anew(explorer)
    start, state = explorer.settings, explorer.gallery.view_state
    for name in names:
        check_fault(explorer, monkeypatch, name)
        explorer.settings = start
        explorer.gallery.go(lambda _: state)
        assert explorer.wait(60)


def check_fault(explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    where, act = FAULTS[name]
    explorer.settings = replace(explorer.settings, pins=((0, 0.5, 0.5),))
    assert explorer.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(*where(explorer), fail)
        act(explorer)
        assert is_error(explorer), name
        assert "ZeroDivisionError: no luck" in status(explorer), name
    assert not MANAGER._caching
    explorer.settings = replace(explorer.settings, pins=(), images=None)
    move(explorer.knobs["sigma"], value=2.0)
    assert explorer.frame.settings.sigma == 2.0, name
    assert not is_error(explorer), name
    assert shows_its_frame(explorer), name
    assert explorer.knobs["sigma"].value == 2.0


def test_error_stays_while_marks_move_and_goes_with_the_next_change(
    explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer.settings = replace(explorer.settings, sigma=2.0)  # in work meanwhile
    with monkeypatch.context() as patch:
        patch.setattr(navigation, "walked", fail)
        press(explorer, "ArrowRight")
    assert "no luck" in status(explorer)
    hover(explorer, 1, 0.2, 0.2)
    assert "no luck" in status(explorer)
    later = time.monotonic() + 5
    monkeypatch.setattr("pfv_widgets.widgets.explorer.status_line.time.monotonic", lambda: later)
    hover(explorer, 1, 0.7, 0.7)
    assert status(explorer).startswith("Up to date")
    with monkeypatch.context() as patch:
        patch.setattr(navigation, "walked", fail)
        press(explorer, "ArrowRight")
    assert is_error(explorer)
    explorer.settings = replace(explorer.settings, sigma=3.0)
    assert status(explorer).startswith("Up to date")


def test_paint_that_fails_half_way_leaves_ipycanvas_usable(
    fake_page: FakePage, explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_anew(explorer)
    assert explorer.wait(60)
    before = fake_page.picture(explorer.gallery.tiles.widget).copy()
    with monkeypatch.context() as patch:
        patch.setattr(CanvasCommands, "alpha", fail)
        explorer.settings = replace(explorer.settings, sigma=2.0)
        assert is_error(explorer)
    assert (fake_page.picture(explorer.gallery.tiles.widget) == before).all()
    assert not MANAGER._caching
    assert (MANAGER._commands_cache, MANAGER._buffers_cache) == ([], [])
    other = Canvas(width=10, height=10)
    other.fill_style = "#00ff00"
    other.fill_rect(0, 0, 10)
    assert (fake_page.picture(other) == (0, 255, 0)).all()
    explorer.settings = replace(explorer.settings, sigma=3.0)
    assert not is_error(explorer)
    assert shows_its_frame(explorer)


def test_drag_during_which_something_fails_ends_with_the_next_press(
    explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer.settings = replace(explorer.settings, view="split")
    assert explorer.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(explorer.gallery.render_loop, "submit", fail)
        drag(explorer, 1, (0.5, 0.5), (0.2, 0.5))
    drag(explorer, 1, (0.5, 0.5), (0.7, 0.5))
    assert explorer.settings.split == 0.7
    assert not explorer.gallery.interaction.dividing
    explorer.settings = replace(explorer.settings, sigma=2.0)
    explorer.undo()
    assert explorer.settings.sigma == 1.0
    assert explorer.settings.split == 0.7


@pytest.mark.parametrize("event", ["mouse_up", "mouse_out", "mouse_move"])
def test_events_of_the_mouse_without_a_press_are_harmless(
    explorer: PFVExplorer, event: str
) -> None:
    before = explorer.settings
    for x, y in [(-5, -5), (1e6, 1e6), (0, 0)]:
        happen(explorer.gallery.tiles.widget, event, x=x, y=y)
    assert not is_error(explorer)
    assert explorer.settings == before


@pytest.mark.parametrize("wrong", [(7, 0.5, 0.5), (4, 0.0, 0.0)])
def test_pin_on_an_image_that_is_not_there_is_refused(
    explorer: PFVExplorer, wrong: tuple[int, float, float]
) -> None:
    load_anew(explorer)
    explorer.settings = replace(explorer.settings, pins=((0, 0.5, 0.5), wrong))
    assert is_error(explorer)
    assert f"pins[1]={wrong}" in status(explorer)
    assert explorer.settings.pins == ()
    assert shows_its_frame(explorer)


def test_leaving_one_out_goes_on_in_the_background_and_is_told(explorer: PFVExplorer) -> None:
    batch = explorer.tabs["Batch"]
    press_button(batch.sweep_button)
    explorer.settings = replace(explorer.settings, sigma=2.0)  # meanwhile
    assert explorer.wait(60)
    explorer.jobs.wait()
    assert not batch.sweep_button.disabled
    assert batch.progress.layout.visibility == "hidden"
    assert "the colours change by" in batch.result.value or "no single image" in batch.result.value
    assert not is_error(explorer)


def test_leaving_one_out_of_nothing_is_told_on_its_page(explorer: PFVExplorer) -> None:
    explorer.settings = replace(explorer.settings, images=(0.0,) * 4)
    batch = explorer.tabs["Batch"]
    press_button(batch.sweep_button)
    explorer.jobs.wait()
    assert "every weight is 0" in batch.result.value
    assert not batch.sweep_button.disabled


def test_closing_while_one_is_left_out_ends_cleanly(
    fake_page: FakePage, open_explorer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    explorer = open_explorer(12)
    batch, begun = explorer.tabs["Batch"], threading.Event()
    show = batch.show_progress
    reported: list[object] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)

    def slow(done: int, of: int) -> None:
        begun.set()
        threading.Event().wait(0.05)
        show(done, of)

    monkeypatch.setattr(batch, "show_progress", slow)
    press_button(batch.sweep_button)
    assert begun.wait(30)
    explorer.close()
    assert set(threading.enumerate()) <= before
    assert batch.progress.value < 12
    assert len(explorer.pfv.store.cache) == 0
    assert reported == []
    assert not fake_page.open_comms
