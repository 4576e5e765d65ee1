"""The line at the top of an explorer: messages, a sticky error, and its three buttons."""

from __future__ import annotations

import pytest

from pfv_widgets.errors import PFVValueError
from pfv_widgets.widgets.explorer.status_line import Status, StatusLine
from tests.widgets.explorer_contents import press_button, words


@pytest.fixture
def presses() -> list[str]:
    return []


@pytest.fixture
def line(presses: list[str]) -> StatusLine:
    acts = [lambda name=name: presses.append(name) for name in ("stop", "undo", "redo", "reset")]
    return StatusLine(*acts)


def message_text(line: StatusLine) -> str:
    return words(line.widget.children[0].value)


def test_message_is_shown_as_text_with_its_kind(line: StatusLine) -> None:
    line.show("<b>half</b>", "busy", 0.5, stoppable=True)
    assert line.status == Status("<b>half</b>", "busy", 0.5)
    assert str(line.status) == "<b>half</b>"
    assert message_text(line) == "● <b>half</b>"
    assert line.stop_button.layout.visibility == "visible"
    line.show("Done.")
    assert line.stop_button.layout.visibility == "hidden"


def test_error_comes_back_until_something_else_is_asked_for_or_it_is_read(
    line: StatusLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 10.0
    monkeypatch.setattr("pfv_widgets.widgets.explorer.status_line.time.monotonic", lambda: now)
    line.fail(PFVValueError("no such layer."))
    line.report("Half way.", "busy", 0.5)  # never in between: whoever looks sees the error
    assert line.status == Status("no such layer.", "error")
    line.show("Up to date.")
    line.repeat()
    assert line.status == Status("no such layer.", "error")
    line.outdate()
    line.report("Half way.", "busy", 0.5)
    assert line.status == Status("Half way.", "busy", 0.5)
    assert line.stop_button.layout.visibility == "visible"
    line.show("Up to date.")
    line.repeat()
    assert line.status.message == "Up to date."
    line.fail(ZeroDivisionError("x"))
    assert line.status.message == "ZeroDivisionError: x"
    now = 15.0
    line.show("Up to date.")
    line.repeat()
    assert line.status.kind == "ok"


def test_work_in_the_background_is_said_again_after_a_message_until_it_ends(
    line: StatusLine,
) -> None:
    with line.background("Naming components …", stoppable=True) as say:
        line.show("Up to date.")
        line.repeat()
        assert line.status == Status("Naming components …", "busy")
        assert line.stop_button.layout.visibility == "visible"
        say("Half way.", 0.5)
        with line.background("Making a copy …"):
            line.show("Up to date.")
            line.repeat()
            assert line.status == Status("Making a copy …", "busy")
            assert line.stop_button.layout.visibility == "hidden"
        line.show("Up to date.")
        line.repeat()
        assert line.status == Status("Half way.", "busy", 0.5)
    line.show("Up to date.")
    line.repeat()
    assert line.status == Status("Up to date.")


def test_buttons_do_what_they_say_and_say_what_they_do(
    line: StatusLine, presses: list[str]
) -> None:
    buttons = line.stop_button, line.undo_button, line.redo_button
    for button in buttons:
        press_button(button)
        assert len(button.tooltip) > 8
    assert presses == ["stop", "undo", "redo"]
    line.allow(undo=True, redo=False, reset=False)
    assert not line.undo_button.disabled
    assert line.redo_button.disabled
