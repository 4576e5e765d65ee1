"""Undo and redo: what is one step, and what is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.toolkit.history import History

START = Settings()


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def history(clock: Clock) -> History[Settings]:
    return History(START, clock=clock)


def drag(history: History[Settings], clock: Clock, *sigmas: float, every: float = 0.1) -> None:
    for sigma in sigmas:
        history.record(replace(history.now, sigma=sigma))
        clock.now += every


def test_undo_and_redo_walk_the_values(history: History[Settings], clock: Clock) -> None:
    values = [replace(START, sigma=2.0), replace(START, sigma=2.0, opacity=0.1)]
    for value in values:
        history.record(value)
    assert history.can_undo
    assert not history.can_redo
    assert [history.undo(), history.undo()] == [values[0], START]
    assert not history.can_undo
    assert [history.redo(), history.redo()] == values
    assert not history.can_redo


def test_at_either_end_undo_and_redo_stay(history: History[Settings]) -> None:
    assert history.undo() == history.redo() == history.now == START
    assert (history.can_undo, history.can_redo) == (False, False)


def test_drag_of_one_slider_is_one_step(history: History[Settings], clock: Clock) -> None:
    drag(history, clock, *(1 + step / 20 for step in range(1, 60)))  # six seconds without a rest
    assert history.undo() == START
    assert not history.can_undo


def test_rest_begins_another_step(history: History[Settings], clock: Clock) -> None:
    drag(history, clock, 1.1, 1.2)
    clock.now += 0.9
    drag(history, clock, 1.3, 1.4)
    assert history.undo().sigma == 1.2
    assert history.undo() == START


def test_another_field_begins_another_step(history: History[Settings], clock: Clock) -> None:
    drag(history, clock, 1.1, 1.2)
    history.record(replace(history.now, opacity=0.1))
    history.record(replace(history.now, opacity=0.2))
    assert history.undo() == replace(START, sigma=1.2)
    assert history.undo() == START


def test_several_fields_at_once_are_one_step(history: History[Settings]) -> None:
    history.record(replace(START, sigma=2.0, opacity=0.1, view="photo"))
    assert history.undo() == START
    assert not history.can_undo


def test_change_after_an_undo_drops_what_was_undone(
    history: History[Settings], clock: Clock
) -> None:
    drag(history, clock, 2.0)
    history.undo()
    drag(history, clock, 3.0)
    assert not history.can_redo
    assert history.redo().sigma == 3.0
    assert history.undo() == START


def test_change_right_after_an_undo_is_a_step_of_its_own(
    history: History[Settings], clock: Clock
) -> None:
    drag(history, clock, 1.5, every=1)
    drag(history, clock, 2.0)
    history.undo()
    drag(history, clock, 2.5)
    assert history.undo().sigma == 1.5


def test_value_that_is_there_already_is_no_step(history: History[Settings], clock: Clock) -> None:
    drag(history, clock, 2.0)
    history.record(history.undo())  # as an observer of the settings does
    assert not history.can_undo
    assert history.redo().sigma == 2.0


def test_drag_back_to_where_it_began_leaves_no_step(
    history: History[Settings], clock: Clock
) -> None:
    drag(history, clock, 1.5, every=1)
    drag(history, clock, 2.0, 2.5, 2.0, 1.5, every=0.1)
    assert history.undo() == START
    drag(history, clock, 1.2)
    assert history.undo() == START


def test_gesture_is_one_step_however_slow(history: History[Settings], clock: Clock) -> None:
    history.begin()
    drag(history, clock, 1.5, 1.6, every=5)
    history.record(replace(history.now, opacity=0.3))
    history.end()
    drag(history, clock, 1.7, every=0)
    assert history.undo() == replace(START, sigma=1.6, opacity=0.3)
    assert history.undo() == START


def test_two_quick_gestures_are_two_steps(history: History[Settings], clock: Clock) -> None:
    for sigma in (1.5, 1.6):
        history.begin()
        drag(history, clock, sigma, every=0.01)
        history.end()
    assert history.undo().sigma == 1.5
    assert history.undo() == START


def test_gesture_that_comes_back_leaves_no_step_and_goes_on(
    history: History[Settings], clock: Clock
) -> None:
    history.begin()
    drag(history, clock, 1.5, 1.0, 1.7)
    history.end()
    assert history.undo() == START
    assert not history.can_undo


def test_history_is_bounded(clock: Clock) -> None:
    history = History(0, limit=5, clock=clock)
    for value in range(1, 20):
        clock.now += 1
        history.record(value)
    assert [history.undo() for _ in range(6)] == [18, 17, 16, 15, 14, 14]


def test_plain_values_have_runs_too(clock: Clock) -> None:
    history = History("", clock=clock)
    for text in ("a", "ab", "abc"):
        history.record(text)
    assert history.undo() == ""


def test_value_that_could_not_be_is_amended_without_a_step(
    history: History[Settings], clock: Clock
) -> None:
    drag(history, clock, 2.0)
    clock.now += 10
    drag(history, clock, 3.0)
    history.amend(replace(START, sigma=2.0))
    assert history.now == replace(START, sigma=2.0)
    assert history.undo() == START
    assert not history.can_undo


def test_amended_value_in_the_middle_of_a_drag_is_one_step(
    history: History[Settings], clock: Clock
) -> None:
    drag(history, clock, 2.0, 2.5, 3.0)
    history.amend(replace(START, sigma=2.5))
    assert history.undo() == START
    assert history.redo() == replace(START, sigma=2.5)
