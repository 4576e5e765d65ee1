"""The legend says what is shown: components, or pins, and the colours that are in force."""

from __future__ import annotations

import pytest

from pfv_widgets.engine.colouring.colour_maps import COLOUR_MAPS, PIN_COLOURS, effective_colours
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.toolkit.legend import legend_panel, room_for_legend
from tests.widgets.toolkit.test_text import Parsed

RATIOS = [0.5 / 2**index for index in range(12)]
PINS = ((0, 0.5, 0.5), (6, 0.25, 0.1))


@pytest.mark.parametrize("name", COLOUR_MAPS)
@pytest.mark.parametrize("number", [1, 2, 3, 6, 12])
def test_variance_panel_has_a_row_for_each_component_shown(name: str, number: int) -> None:
    panel = legend_panel(Settings(components=number, colour_map=name), RATIOS[:number])
    assert Parsed(panel).tags.count("tr") == number
    assert panel.count("linear-gradient") == number
    assert f"{100 * sum(RATIOS[:number]):.1f} % of the variance" in panel


@pytest.mark.parametrize("number", [1, 3, 12])
def test_room_for_a_legend_is_that_of_the_legend(number: int) -> None:
    settings = Settings(components=number)
    room = Parsed(room_for_legend(settings))
    assert room.tags[1:] == Parsed(legend_panel(settings, RATIOS)).tags
    assert 'style="visibility:hidden"' in room_for_legend(settings)


def test_variance_panel_names_the_components_that_are_shown() -> None:
    text = Parsed(legend_panel(Settings(channels=(2, 0)), [0.6, 0.3, 0.1])).text
    assert "3" + "10.0 %" + "1" + "60.0 %" + "70.0 % of the variance" in text


def test_variance_panel_of_a_constant_map_shows_zeros() -> None:
    assert "0.0 % of the variance" in legend_panel(Settings(components=2), [0.0, 0.0])


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        (Settings(), None),
        (Settings(components=2), None),
        (Settings(components=8, colour_map="hues"), None),
        (Settings(components=1), "1 component: blue to orange instead of rgb"),
        (Settings(channels=(2,)), "1 component: blue to orange instead of rgb"),
        (Settings(components=8), "8 components: hues instead of rgb"),
        (Settings(components=1, colour_map="safe"), "1 component: blue to orange instead of safe"),
        (Settings(components=8, colour_map="safe"), None),
    ],
)
def test_legend_says_which_colours_are_in_force(settings: Settings, note: str | None) -> None:
    text = Parsed(legend_panel(settings, RATIOS[: settings.components])).text
    assert text.startswith("Explained variance")
    assert (note in text) if note else ("instead" not in text)


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_every_colour_map_is_in_force_for_some_number_of_components(name: str) -> None:
    assert name in {effective_colours(name, number) for number in range(1, 13)}


@pytest.mark.parametrize("number", [1, 2])
def test_legend_of_similarity_has_the_colour_of_each_pin(number: int) -> None:
    panel = legend_panel(Settings(components=8, pins=PINS[:number]), RATIOS[:8])
    text = Parsed(panel).text
    assert text.startswith("Similarity to pins")
    assert "variance" not in text
    assert "instead" not in text
    assert panel.count("linear-gradient") == number
    for (image, _, _), colour in zip(PINS[:number], PIN_COLOURS, strict=False):
        assert f"pin in image {image + 1}" in text
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert f"rgb({red},{green},{blue}))" in panel  # the ramp ends in it


def test_pins_without_similarity_leave_the_legend_of_components() -> None:
    panel = legend_panel(Settings(pins=PINS, similarity=False), RATIOS[:3])
    assert Parsed(panel).text.startswith("Explained variance")
