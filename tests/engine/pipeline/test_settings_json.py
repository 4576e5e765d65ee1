from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

import pytest

from pfv_widgets.engine.colouring.colour_maps import COLOUR_MAPS
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVTypeError, PFVValueError, PFVWarning
from tests.non_default_settings import other_values

# numbers that only their exact value gives back, and letters that JSON escapes
EXACT: dict[str, Any] = {
    "layer": "features.1\u00fc'\"\n",
    "channels": (3, 0),
    "images": (0.1, 0.0, 1e-300, 1e300),
    "sigma": 0.1 + 0.2,
    "opacity": 1 / 3,
    "split": 0.123456789012345,
    "pins": ((3, 1 / 3, 0.0), (0, 1.0, 0.7)),
}
OTHER = Settings(**{**other_values(), **EXACT})


def test_every_field_comes_back_exactly() -> None:
    assert set(OTHER.changed()) == {field.name for field in fields(Settings)}
    for settings in (OTHER, Settings()):
        assert Settings.read_json(settings.to_json()) == (settings, ())
        assert Settings.from_json(settings.to_json()) == settings


def test_text_is_plain_json_with_its_version_and_a_field_a_line() -> None:
    text = OTHER.to_json()
    entries = json.loads(text)
    assert entries["version"] == 1
    assert entries["pins"] == [[3, 1 / 3, 0.0], [0, 1.0, 0.7]]
    assert len(text.splitlines()) == len(fields(Settings)) + 3
    assert text.isascii()


def test_missing_fields_take_their_defaults_without_a_word() -> None:
    assert Settings.read_json('{"sigma": 2}') == (Settings(sigma=2), ())
    assert Settings.read_json("{}") == (Settings(), ())


def test_unknown_fields_are_left_out_and_told_with_the_nearest_name() -> None:
    settings, notes = Settings.read_json('{"sigmma": 3, "opacity": 0.5}')
    assert settings == Settings(opacity=0.5)
    assert len(notes) == 1
    assert "'sigmma'" in notes[0]
    assert "'sigma'" in notes[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layer", 3),
        ("components", 13),
        ("components", 2.5),
        ("channels", [7]),
        ("channels", "rgb"),
        ("images", [-1]),
        ("images", {"a": 1}),
        ("weighting", "flatt"),
        ("sigma", float("nan")),
        ("sigma", "1"),
        ("sigma", 10**400),
        ("opacity", None),
        ("view", ["overlay"]),
        ("view", "sepia"),
        ("split", -1),
        ("sharing", "some"),
        ("stable_colours", 1),
        ("pins", [[0, 2, 0]]),
        ("similarity", "yes"),
    ],
)
def test_illegal_value_keeps_the_default_and_is_told(name: str, value: Any) -> None:
    text = json.dumps({"version": 1, name: value, "colour_map": "hues"})
    settings, notes = Settings.read_json(text)
    assert settings == Settings(colour_map="hues")
    assert len(notes) == 1
    assert notes[0].startswith(name)
    assert re.search(r"\. The default .*stays\.$", notes[0])
    with pytest.warns(PFVWarning, match=re.escape(notes[0])):
        assert Settings.from_json(text) == settings


def test_channels_are_judged_by_the_components_that_were_taken() -> None:
    settings, notes = Settings.read_json('{"channels": [4], "components": 5}')
    assert (settings.channels, notes) == ((4,), ())
    settings, notes = Settings.read_json('{"channels": [4], "components": 50}')
    assert (settings, len(notes)) == (Settings(), 2)


@pytest.mark.parametrize(("version", "words"), [(2, "newer"), (0, "format 0"), ("x", "format 'x'")])
def test_another_version_is_told_and_what_is_known_is_taken(version: Any, words: str) -> None:
    settings, notes = Settings.read_json(json.dumps({"version": version, "sigma": 2}))
    assert settings == Settings(sigma=2)
    assert len(notes) == 1
    assert words in notes[0]


@pytest.mark.parametrize(
    "text", ["", "sigma=2", "{", "[1]", "3", "null", '"a"', "[" * 100_000, "1" * 10_000, "{'a': 1}"]
)
def test_text_that_holds_no_settings_is_refused_with_what_to_give(text: str) -> None:
    with pytest.raises(PFVValueError, match=r"to_json\(\)") as excinfo:
        Settings.read_json(text)
    assert len(str(excinfo.value)) < 300


def test_what_is_no_json_or_no_text_is_refused() -> None:
    with pytest.raises(PFVValueError, match=r"^This is not valid JSON\. Paste what Show displays"):
        Settings.read_json("sigma=2")
    with pytest.raises(PFVTypeError, match="expected a text"):
        Settings.from_json({"sigma": 2})  # type: ignore[arg-type]


def test_notes_stay_short_and_on_one_line() -> None:
    huge = {"view": "x" * 10_000, "y\n" * 5_000: 1, "layer": list(range(5_000))}
    _, notes = Settings.read_json(json.dumps(huge))
    assert len(notes) == 3
    assert all(len(note) <= 300 and "\n" not in note for note in notes)


def test_registries_are_the_legal_names() -> None:
    for name in COLOUR_MAPS:
        assert Settings.from_json(json.dumps({"colour_map": name})).colour_map == name
