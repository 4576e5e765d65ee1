"""Settings and controls are two ends of one road, and the picture follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pfv_widgets as pw
from pfv_widgets.engine.colouring.compositing import DARKENED, GREYED, VIEWS
from pfv_widgets.parameters import parameters_of
from pfv_widgets.widgets.browser.gallery_script import FOLLOWED
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.networks import blobs, counted, tiny
from tests.non_default_settings import other_values
from tests.widgets.conftest import Open, scenes
from tests.widgets.explorer_contents import (
    drawn,
    expected,
    is_error,
    load_anew,
    pictures_sent,
    press,
    shows_its_frame,
    status,
    tile,
)
from tests.widgets.fake_page import FakePage, move

# another value of each knob that changes the picture by itself
CHANGES = {
    name: value
    for name, value in other_values().items()
    if name in parameters_of(pw.Settings) and name not in ("split", "similarity")
}


def by_page(control: Any, value: Any) -> dict[str, Any]:
    """The message of a page that sets a control to a value."""
    options = getattr(control, "options", None)
    if options is None:
        return {"value": value}
    names = [one[1] if isinstance(one, tuple) else one for one in options]
    return {"index": names.index(value)}


def test_first_picture_is_painted_before_anything_is_asked(explorer: PFVExplorer) -> None:
    load_anew(explorer)
    assert shows_its_frame(explorer)
    assert status(explorer).startswith("Up to date")


def test_settings_from_code_and_controls_on_the_page_reach_each_other_and_the_picture(
    fake_page: FakePage, explorer: PFVExplorer
) -> None:
    load_anew(explorer)
    start = explorer.settings
    for name, value in CHANGES.items():
        assert explorer.wait(60)
        fake_page.drawings.clear()
        changed, control = replace(start, **{name: value}), explorer.knobs[name]
        explorer.settings = changed
        assert control.value == value
        assert explorer.frame.settings == explorer.settings == changed
        assert shows_its_frame(explorer), name
        frames = [len(drawing.pictures) for drawing in drawn(explorer)]
        if name in FOLLOWED:  # which the browser applies by itself
            assert frames == [0], name
        else:  # a coarse frame at once, a finer one after a rest where it shows more
            assert frames in ([1], [1, 1]), name

        explorer.settings = start
        assert explorer.wait(60)
        move(control, **by_page(control, value))
        assert explorer.settings == changed
        assert shows_its_frame(explorer), name
        explorer.settings = start


@pytest.mark.parametrize("value", [None, 3, {}])
def test_settings_of_another_type_are_a_named_error(explorer: PFVExplorer, value: object) -> None:
    before = explorer.settings
    with pytest.raises(pw.PFVTypeError, match=r"settings=.*expected Settings, such as dataclasses"):
        explorer.settings = value
    assert explorer.settings is before


def test_layer_slider_shows_every_layer_once_in_order_and_takes_it(explorer: PFVExplorer) -> None:
    load_anew(explorer)
    slider = explorer.panel.layer
    layers = [layer for layer in explorer.pfv.layers if layer.same_as is None]
    assert [value for _, value in slider.options] == [layer.name for layer in layers]
    move(slider, index=4)
    assert explorer.settings.layer == layers[4].name
    channels, height, width = layers[4].shape
    line = f"{channels} channels · {height} × {width}"
    assert line in explorer.panel.layer_line.value
    assert explorer.frame.layer == layers[4].name
    assert shows_its_frame(explorer)


def test_layer_that_stands_for_the_same_map_is_shown_under_its_own_name(
    explorer: PFVExplorer,
) -> None:
    twin = next(layer for layer in explorer.pfv.layers if layer.same_as)
    explorer.settings = replace(explorer.settings, layer=twin.name)
    assert explorer.panel.layer.value == twin.same_as
    assert f'title="{twin.name} · ' in explorer.panel.layer_line.value
    assert explorer.settings.layer == explorer.frame.layer == twin.name


def test_start_settings_reach_the_controls(open_explorer: Open) -> None:
    layer = pw.PFV(pw.demo_model(), scenes(1)).layers[2].name
    explorer = open_explorer(layer=layer, components=5, opacity=0.2, images=(1, 0, 1, 0.5))
    knobs = explorer.knobs
    assert (knobs["components"].value, knobs["opacity"].value) == (5, 0.2)
    assert explorer.panel.layer.value == layer
    assert explorer.frame.weights == (1, 0, 1, 0.5)
    assert "3 of 4 images are used to find the colours." in explorer.tabs["Batch"].summary.value


def test_printed_an_explorer_names_its_settings_and_what_it_says(explorer: PFVExplorer) -> None:
    explorer.settings = replace(explorer.settings, opacity=0.5)
    assert explorer.wait(60)
    shown = repr(explorer)
    assert shown.startswith("<PFVExplorer: layer='")
    assert "opacity=0.5; " in shown
    assert shown.endswith(f"{explorer.status.message}>")


def test_only_another_layer_runs_the_network(explorer: PFVExplorer) -> None:
    assert explorer.wait(60)
    with counted(explorer.pfv.model) as calls:
        for name, value in CHANGES.items():
            explorer.settings = replace(explorer.settings, **{name: value})
            assert explorer.wait(60)
        explorer.settings = replace(explorer.settings, images=(1, 0, 1, 1))
        assert explorer.wait(60)
        assert calls == []
        early = explorer.pfv.layers[1].name
        explorer.settings = replace(explorer.settings, layer=early)
        assert explorer.wait(60)
        assert len(calls) == 1


def test_frame_waits_for_what_was_asked_last_and_has_the_size_of_the_images(
    explorer: PFVExplorer,
) -> None:
    for sigma in (0.5, 1.5, 2.5, 3.5):
        explorer.settings = replace(explorer.settings, sigma=sigma)
    frame = explorer.frame
    assert frame.settings.sigma == 3.5
    assert tuple(frame.heatmaps.shape) == (4, 128, 128, 3)
    assert frame.composite().shape == (4, 128, 128, 3)


def test_legend_shows_the_pins_while_similarity_is_shown(explorer: PFVExplorer) -> None:
    explorer.settings = replace(explorer.settings, pins=((2, 0.5, 0.5),))
    assert explorer.wait(60)
    assert "pin in image 3" in explorer.panel.legend.value
    assert explorer.gallery.tiles.look.dimming == DARKENED
    explorer.settings = replace(explorer.settings, similarity=False)
    assert explorer.wait(60)
    assert "of the variance" in explorer.panel.legend.value
    assert explorer.gallery.tiles.look.dimming == GREYED


def test_legend_follows_the_frame(explorer: PFVExplorer) -> None:
    explorer.settings = replace(explorer.settings, components=5)
    ratios = explorer.frame.basis.explained_variance_ratio
    assert f"{100 * float(ratios.sum()):.1f} % of the variance" in explorer.panel.legend.value
    assert explorer.panel.legend.value.count("<tr>") == 5


def test_every_view_is_painted_without_a_picture(
    fake_page: FakePage, explorer: PFVExplorer
) -> None:
    load_anew(explorer)
    assert explorer.wait(60)
    for view in reversed(VIEWS):
        fake_page.drawings.clear()
        move(explorer.knobs["view"], **by_page(explorer.knobs["view"], view))
        assert explorer.frame.settings.view == view
        assert shows_its_frame(explorer), view
        assert pictures_sent(explorer) == 0, view


def test_divider_is_moved_by_its_slider_only_where_there_is_one(explorer: PFVExplorer) -> None:
    load_anew(explorer)
    slider = explorer.knobs["split"]
    assert slider.disabled
    explorer.settings = replace(explorer.settings, view="split", opacity=1.0)
    assert not slider.disabled
    move(slider, value=0.2)
    assert explorer.settings.split == 0.2
    assert shows_its_frame(explorer)
    explorer.settings = replace(explorer.settings, view="photo")
    assert slider.disabled


def test_safe_colours_are_one_click_away_and_back(explorer: PFVExplorer) -> None:
    toggle = explorer.gallery.toolbar.toggles["safe"]
    move(toggle, value=True)
    assert explorer.settings.colour_map == "safe"
    assert explorer.knobs["colour_map"].value == "safe"
    move(toggle, value=False)
    assert explorer.settings.colour_map == "rgb"
    explorer.settings = replace(explorer.settings, colour_map="safe")
    assert toggle.value


@pytest.mark.parametrize("index", [0, 7, 15])
def test_colours_stay_when_an_image_is_left_out(open_explorer: Open, index: int) -> None:
    explorer = open_explorer(16)
    before = explorer.frame
    press(explorer, "Home", *["ArrowRight"] * index, " ")
    after = explorer.frame
    assert after.weights[index] == 0
    products = (before.basis.components * after.basis.components).sum(dim=1)
    assert (products > 0.8).all()
    assert np.corrcoef(before.heatmaps.flatten(), after.heatmaps.flatten())[0, 1] > 0.7


@pytest.mark.parametrize("count", [1, 2, pytest.param(64, marks=pytest.mark.all)])
def test_any_number_of_images_is_painted(open_explorer: Open, count: int) -> None:
    explorer = open_explorer(count)
    load_anew(explorer)
    for index in {0, count // 2, count - 1}:
        assert np.abs(tile(explorer, index) - expected(explorer, index)).mean() < 5
    assert not is_error(explorer)


def test_batch_of_other_than_square_images_is_painted_in_its_shape(open_explorer: Open) -> None:
    explorer = open_explorer(model=tiny(), batch=blobs(5, 48, 96), weighting="gradual")
    load_anew(explorer)
    height, width = explorer.gallery.tiles.grid.tile
    assert width == 2 * height
    assert shows_its_frame(explorer)


def test_unknown_setting_is_refused_before_anything_opens() -> None:
    with pytest.raises(pw.PFVTypeError, match="Did you mean 'sigma'"):
        pw.explore(tiny(), blobs(2), sigam=2)
    with pytest.raises(pw.PFVValueError, match="Its last layers"):
        pw.explore(tiny(), blobs(2), layer="none")
