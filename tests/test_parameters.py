from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest

from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.parameters import (
    Choice,
    Slider,
    Toggle,
    choice,
    listed,
    parameters_of,
    slider,
    suggestion,
    toggle,
    validate,
)

KINDS = {"smooth": 1, "rough": 2}


@dataclass(frozen=True)
class Knobs:
    plain: str = "not declared"
    radius: float = slider(1.5, 0.5, 3, 0.1, label="Radius", help="In pixels.")
    steps: int = slider(4, 1, 9, 1, label="Steps", help="How many.")
    kind: str = choice("smooth", KINDS, label="Kind", help="Which.")
    loud: bool = toggle(False, label="Loud", help="Or quiet.", page="Sound")

    def __post_init__(self) -> None:
        validate(self)


def test_declarations_stand_beside_their_fields_in_order() -> None:
    result = parameters_of(Knobs)
    assert list(result) == ["radius", "steps", "kind", "loud"]
    assert result["radius"] == Slider(0.5, 3, 0.1, "Radius", "In pixels.")
    assert result["kind"] == Choice(KINDS, "Kind", "Which.")
    assert result["loud"] == Toggle("Loud", "Or quiet.", "Sound")
    assert parameters_of(Knobs()) == result


def test_a_knob_is_on_the_page_that_it_declares() -> None:
    assert list(parameters_of(Knobs, "Sound")) == ["loud"]
    assert parameters_of(Knobs, "Picture") == {}


def test_defaults_are_those_of_the_declaration() -> None:
    assert dataclasses.astuple(Knobs()) == ("not declared", 1.5, 4, "smooth", False)


def test_parameters_of_anything_but_a_dataclass_are_refused() -> None:
    with pytest.raises(PFVTypeError, match="owner=3"):
        parameters_of(3)


@pytest.mark.parametrize("value", [1, 9, 4.0, np.int64(3), np.float32(2)])
def test_whole_numbers_become_ints(value: float) -> None:
    steps = Knobs(steps=value).steps
    assert type(steps) is int
    assert steps == value


@pytest.mark.parametrize("value", [0.5, 3, np.float32(1.25)])
def test_numbers_become_floats_and_both_ends_are_legal(value: float) -> None:
    radius = Knobs(radius=value).radius
    assert type(radius) is float
    assert radius == value


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"radius": 0.49}, PFVValueError, ["radius=0.49", "a number from 0.5 to 3"]),
        ({"radius": math.nan}, PFVValueError, ["radius=nan", "0.5 to 3"]),
        ({"radius": math.inf}, PFVValueError, ["radius=inf"]),
        ({"radius": "2"}, PFVTypeError, ["radius='2'", "got str"]),
        ({"radius": None}, PFVTypeError, ["radius=None"]),
        ({"radius": True}, PFVTypeError, ["radius=True", "got bool"]),
        ({"steps": 2.5}, PFVValueError, ["steps=2.5", "a whole number from 1 to 9"]),
        ({"steps": 10}, PFVValueError, ["steps=10", "1 to 9"]),
        ({"steps": 10**400}, PFVValueError, ["steps", "1 to 9"]),
        ({"kind": "smoth"}, PFVValueError, ["Did you mean 'smooth'", "'smooth', 'rough'"]),
        ({"kind": 1}, PFVTypeError, ["kind=1", "'smooth', 'rough'"]),
        ({"kind": ["smooth"]}, PFVTypeError, ["kind=['smooth']"]),
        ({"loud": 1}, PFVTypeError, ["loud=1", "True or False"]),
        ({"loud": "no"}, PFVTypeError, ["loud='no'"]),
    ],
)
def test_error_names_the_field_its_value_and_what_is_legal(
    changes: dict[str, object], kind: type[PFVError], words: list[str]
) -> None:
    with pytest.raises(kind) as excinfo:
        Knobs(**changes)  # type: ignore[arg-type]
    assert [word for word in words if word not in str(excinfo.value)] == []


def test_choice_follows_a_registry_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "new", 3)
    assert Knobs(kind="new").kind == "new"


def test_suggestion_gives_the_nearest_names_first_and_all_of_them() -> None:
    text = suggestion("flatt", ["none", "flat", "gradual"])
    assert text == "Did you mean 'flat'? Choose one of 'none', 'flat', 'gradual'."
    assert suggestion("xyz", ["flat"]) == "Choose one of 'flat'."
    assert suggestion(3, ["flat"]) == "Choose one of 'flat'."


def test_long_list_is_cut_and_its_length_told() -> None:
    text = listed([f"name{index}" for index in range(50)])
    assert "'name19' … (50 in all)" in text
    assert "name20" not in text
