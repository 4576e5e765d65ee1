"""The scree plot: bars to scale, in the colours of the legend, that show or hide components."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pfv_widgets.engine.colouring.colour_maps import legend
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.components.scree_plot import Scree, toggled, tones
from tests.widgets.fake_page import FakePage, happen, move

RATIOS = (0.32, 0.16, 0.08, 0.04)


class Harness:
    """Settings that a scree plot edits, as an explorer holds them."""

    def __init__(self, **settings: object) -> None:
        self.settings = Settings(**settings)  # type: ignore[arg-type]
        self.scree = Scree(self.edit)
        self.scree.show(self.settings, RATIOS)

    def edit(self, change: Callable[[Settings], Settings]) -> None:
        self.settings = change(self.settings)
        self.scree.show(self.settings, RATIOS)


@pytest.fixture
def harness(fake_page: FakePage) -> Harness:
    return Harness(components=4, channels=(0, 1, 2))


def click(scree: Scree, component: int) -> None:
    left, top, width, _ = scree.bar(component)
    happen(scree.canvas.displayed, "mouse_down", x=left + width / 2, y=top - 20)


def test_hiding_and_showing_keeps_the_order_and_none_means_all() -> None:
    settings = Settings(components=3)
    hidden = toggled(settings, 1)
    assert hidden.channels == (0, 2)
    assert toggled(hidden, 1).channels is None
    assert toggled(Settings(components=4, channels=(3, 0)), 2).channels == (3, 0, 2)


def test_last_component_stays_and_one_that_is_not_computed_does_not_come() -> None:
    only = Settings(components=3, channels=(2,))
    assert toggled(only, 2) == only
    assert toggled(only, 5) == only
    assert toggled(Settings(components=1), 0).channels is None


@pytest.mark.parametrize(("colour_map", "channels"), [("rgb", (2, 0)), ("safe", (1,))])
def test_shown_ones_have_the_high_end_of_their_legend(
    colour_map: str, channels: tuple[int, ...]
) -> None:
    result = tones(Settings(components=4, channels=channels, colour_map=colour_map))
    ends = legend(colour_map, len(channels))[:, -1] * 255
    assert tuple(result) == channels
    for text, end in zip(result.values(), ends.tolist(), strict=True):
        parts = [int(text[start : start + 2], 16) for start in (1, 3, 5)]
        assert np.abs(np.array(parts) - end).max() <= 0.5


def test_bars_are_as_high_as_their_shares_and_in_their_colours(
    fake_page: FakePage, harness: Harness
) -> None:
    heights = [harness.scree.bar(component)[3] for component in range(4)]
    assert np.allclose(np.array(heights) / heights[0], np.array(RATIOS) / RATIOS[0])
    picture = fake_page.picture(harness.scree.canvas.displayed)
    for component, text in tones(harness.settings).items():
        left, top, width, height = harness.scree.bar(component)
        colour = picture[int(top + 0.7 * height), int(left + 0.2 * width), :3]
        assert "#{:02x}{:02x}{:02x}".format(*np.rint(colour).astype(int)) == text


def test_click_on_a_bar_and_on_a_button_toggle_the_component(harness: Harness) -> None:
    click(harness.scree, 1)
    assert harness.settings.channels == (0, 2)
    assert [button.value for button in harness.scree.buttons] == [True, False, True, False]
    move(harness.scree.buttons[3], value=True)
    assert harness.settings.channels == (0, 2, 3)
    move(harness.scree.buttons[3], value=False)
    assert harness.settings.channels == (0, 2)
    happen(harness.scree.canvas.displayed, "mouse_down", x=10, y=100)  # on the labels of the axis
    assert harness.settings.channels == (0, 2)


def test_button_of_the_last_component_comes_back(fake_page: FakePage) -> None:
    harness = Harness(components=4, channels=(2,))
    move(harness.scree.buttons[2], value=False)
    assert harness.settings.channels == (2,)
    assert harness.scree.buttons[2].value is True


def test_press_that_is_just_being_taken_in_is_not_undone_by_the_state_before_it(
    harness: Harness,
) -> None:
    button = harness.scree.buttons[1]
    with button.hold_trait_notifications():  # as a message of the page is taken in
        button.value = False
        harness.scree.show(harness.settings, RATIOS)  # a picture has just been drawn
    assert harness.settings.channels == (0, 2)
    assert button.value is False
    harness.scree.show(Settings(components=4, channels=(0, 1, 2)), RATIOS)  # it was undone
    assert button.value is True


def test_showing_settings_calls_nobody_and_sends_only_what_changed(
    fake_page: FakePage, harness: Harness
) -> None:
    before = harness.settings
    sent = len(fake_page.drawings)
    harness.scree.show(Settings(components=4, channels=(1,)), RATIOS)
    assert harness.settings is before
    assert len(fake_page.drawings) == sent + 1
    harness.scree.show(Settings(components=4, channels=(1,), sigma=2.0), RATIOS)
    assert len(fake_page.drawings) == sent + 1
    assert fake_page.drawings[-1].pictures == []


@pytest.mark.parametrize("ratios", [(1.0,), (0.0, 0.0), (0.6, 0.4), (0.08,) * 12, (0.3, 0.0)])
def test_any_number_of_components_fits(fake_page: FakePage, ratios: tuple[float, ...]) -> None:
    scree = Scree(lambda _: None)
    scree.show(Settings(components=len(ratios)), ratios)
    height, width = scree.canvas.size
    assert len([b for b in scree.row.children if b.description]) == len(ratios)
    for component in range(len(ratios)):
        left, top, across, down = scree.bar(component)
        assert 0 <= left < left + across <= width
        assert 0 <= top <= top + down <= height
    scree.show(Settings(components=2), (0.5, 0.2))
    assert len(scree.row.children) == 2


def test_closing_leaves_no_widget_open(fake_page: FakePage, harness: Harness) -> None:
    button, canvas = harness.scree.buttons[3], harness.scree.canvas.displayed
    harness.scree.show(Settings(components=2), RATIOS[:2])  # buttons 3 and 4 are out of sight
    harness.scree.close()
    assert button.comm is None
    assert canvas.comm is None
