"""One declaration gives one control, in both directions."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields, replace
from typing import Any

import ipywidgets as w
import pytest

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.parameters import Choice, Slider, Toggle, choice, parameters_of, slider, toggle
from pfv_widgets.widgets.toolkit.controls import Controls, Watched, close_all, control_for
from tests.widgets.fake_page import FakePage, move

DECLARED = parameters_of(Settings)


@dataclass(frozen=True)
class Knobs:
    amount: float = slider(0.5, 0.0, 1.0, 0.1, label="Amount", help="How much.")
    number: int = slider(2, 1, 5, 1, label="Number", help="How many.")
    kind: str = choice("b", ("a", "b"), label="Kind", help="Which.")
    on: bool = toggle(False, label="On", help="Whether.")


class Changes(list[tuple[str, Any]]):
    """What a person has changed."""

    def __call__(self, name: str, value: Any) -> None:
        self.append((name, value))


@pytest.mark.parametrize("name", DECLARED)
def test_every_declared_setting_gets_the_control_of_its_declaration(name: str) -> None:
    declared, value = DECLARED[name], getattr(Settings(), name)
    control = control_for(declared, value)
    assert (control.description, control.tooltip) == (declared.label, declared.help)
    assert control.value == value
    assert type(control.value) is type(value)
    if isinstance(declared, Slider):
        assert (control.min, control.max) == (declared.minimum, declared.maximum)
        assert control.step == declared.step
    elif isinstance(declared, Choice):
        words = {name: declared.words.get(name, name) for name in declared.choices}
        offered = [one if isinstance(one, tuple) else (one, one) for one in control.options]
        assert offered == [(shown, name) for name, shown in words.items()]
    else:
        assert isinstance(declared, Toggle)
        assert isinstance(control, w.Checkbox)


def test_controls_start_from_the_values_of_the_state_and_not_the_defaults() -> None:
    state = Knobs(amount=0.9, number=4, kind="a", on=True)
    controls = Controls(state, ("on", "kind", "number", "amount"), Changes())
    assert list(controls.by_name) == ["on", "kind", "number", "amount"]
    assert [control.value for control in controls.by_name.values()] == [True, "a", 4, 0.9]


def test_making_controls_changes_no_default() -> None:
    before = {field.name: field.default for field in fields(Settings)}
    changes = Changes()
    controls = Controls(Settings(), DECLARED, changes)
    controls.show(replace(Settings(), sigma=2.0, opacity=0.1))
    assert {field.name: field.default for field in fields(Settings)} == before
    assert Settings().sigma == 1.0
    assert changes == []


def test_value_outside_of_the_grid_of_steps_is_kept_as_it_is() -> None:
    changes = Changes()
    controls = Controls(Knobs(amount=0.1234), ("amount",), changes)
    assert controls["amount"].value == 0.1234
    assert changes == []


def test_message_from_the_page_is_heard_once(fake_page: FakePage) -> None:
    changes = Changes()
    controls = Controls(Knobs(), ("amount", "number", "kind", "on"), changes)
    move(controls["amount"], value=0.7)
    move(controls["number"], value=5)
    move(controls["kind"], index=0)
    move(controls["on"], value=True)
    assert changes == [("amount", 0.7), ("number", 5), ("kind", "a"), ("on", True)]


def test_sum_of_steps_that_a_page_sends_has_no_noise(fake_page: FakePage) -> None:
    changes = Changes()
    controls = Controls(Knobs(), ("amount",), changes)
    move(controls["amount"], value=0.1 + 0.2)
    assert changes == [("amount", 0.3)]
    move(controls["amount"], value=0.3)  # a page that is loaded again, with another sum
    controls.show(Knobs(amount=0.3))
    move(controls["amount"], value=0.1 + 0.2)
    assert changes == [("amount", 0.3)]
    move(controls["amount"], value=0.4)
    assert changes[1:] == [("amount", 0.4)]


@pytest.mark.parametrize("amount", [0.333, 0.1234, 0.98765])
def test_value_between_two_steps_stays_where_a_page_shows_the_nearer_one(
    fake_page: FakePage, amount: float
) -> None:
    changes = Changes()
    controls = Controls(Knobs(amount=amount), ("amount",), changes)
    step = controls["amount"].step
    move(controls["amount"], value=round(round(amount / step) * step, 9))
    assert changes == []
    moved = round((5 if amount > 0.5 else 6) * step, 9)
    move(controls["amount"], value=moved)
    controls.show(Knobs(amount=amount))
    move(controls["amount"], value=amount + 0.001)  # typed
    assert changes == [("amount", moved), ("amount", round(amount + 0.001, 9))]


def test_showing_a_state_moves_the_controls_and_tells_nobody(fake_page: FakePage) -> None:
    changes = Changes()
    controls = Controls(Knobs(), ("amount", "kind"), changes)
    controls.show(Knobs(amount=0.2, kind="a"))
    assert (controls["amount"].value, controls["kind"].value) == (0.2, "a")
    assert changes == []
    sent = [data["state"] for kind, _, data in fake_page.messages if kind == "comm_msg"]
    assert {"value": 0.2} in sent


def test_move_of_a_person_counts_while_another_thread_shows_a_state() -> None:
    changes = Changes()
    controls = Controls(Knobs(), ("amount", "number"), changes)

    def moved_meanwhile(_: object) -> None:
        person = threading.Thread(target=lambda: setattr(controls["number"], "value", 3))
        person.start()
        person.join()

    controls["amount"].observe(moved_meanwhile, "value")
    controls.show(Knobs(amount=0.2))
    assert ("number", 3) in changes
    assert "amount" not in dict(changes)


def test_move_that_is_just_being_taken_in_is_not_undone_by_the_state_before_it() -> None:
    changes = Changes()
    controls = Controls(Knobs(amount=0.2), ("amount", "number"), changes)
    with controls["amount"].hold_trait_notifications():  # as a message of the page is taken in
        controls["amount"].value = 0.9
        controls.show(Knobs(amount=0.2, number=4))
    assert (controls["amount"].value, controls["number"].value) == (0.9, 4)
    assert changes == [("amount", 0.9)]
    controls.show(Knobs(amount=0.2, number=4))  # it was refused
    assert controls["amount"].value == 0.2


def test_error_while_showing_does_not_make_the_controls_deaf() -> None:
    changes = Changes()
    controls = Controls(Knobs(), ("amount", "number"), changes)
    with pytest.raises(AttributeError):
        controls.show(object())
    controls["number"].value = 4
    assert changes == [("number", 4)]


def test_close_all_closes_everything_inside(fake_page: FakePage) -> None:
    inner = w.IntSlider()
    box = w.VBox([w.HBox([inner])])
    ids = [one.model_id for one in (box, box.layout, inner, inner.layout, inner.style)]
    close_all(box)
    assert fake_page.closed >= set(ids)
    close_all(box)


def test_a_slider_goes_to_the_start_before_it_gets_fewer_steps() -> None:
    control, acts = w.SelectionSlider(options=["a", "b", "c"], value="c"), []
    watched, sent = Watched(), []
    watched.watch(control, acts.append)
    control.observe(lambda change: sent.append((change["name"], change["new"])))
    watched.offer(control, ["d", "e"])
    names = [name for name, _ in sent]
    assert sent[names.index("index")] == ("index", 0)
    assert names.index("index") < names.index("_options_labels")
    assert not acts
    assert control.value == "d"
