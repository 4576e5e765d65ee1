"""A problem is told in the status line; the picture and the widget stay alive."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pfv_widgets as pw
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.networks import Through, blobs, tiny
from tests.widgets.conftest import Open
from tests.widgets.explorer_contents import is_error, load_anew, press, shows_its_frame, status
from tests.widgets.fake_page import FakePage, move, page_of
from tests.widgets.toolkit.test_text import HOSTILE, Parsed


def with_nan(maps: Tensor) -> Tensor:
    return maps * math.nan


def with_infinity_in_one_image(maps: Tensor) -> Tensor:
    maps = maps.clone()
    maps[0, :, 0, 0] = math.inf
    return maps


def constant(maps: Tensor) -> Tensor:
    return torch.ones_like(maps)


def status_markup(explorer: PFVExplorer) -> str:
    """The HTML of the status line."""
    markup: str = explorer.status_line.widget.children[0].value
    return markup


def still_works(explorer: PFVExplorer) -> bool:
    """Whether the next change of a control is painted."""
    explorer.settings = replace(explorer.settings, layer=None, images=None)
    move(explorer.knobs["sigma"], value=2.0)
    assert explorer.frame.settings.sigma == 2.0
    return not is_error(explorer) and shows_its_frame(explorer)


def test_long_and_narrow_photos_are_said_to_be_cut_until_something_is_changed(
    fake_page: FakePage,
) -> None:
    photos = [np.full((100, 8000 if long else 100, 3), 9 + long, np.uint8) for long in (0, 1, 1)]
    explorer = pw.explore(tiny(), pw.load_images(photos, size=32), device="cpu")
    try:
        assert "2 long, narrow photos are cut to their middle" in status(explorer)
        assert "image 2, image 3." in status(explorer)
        move(explorer.knobs["sigma"], value=2.0)
        assert "cut" not in status(explorer)
    finally:
        explorer.close()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"layer": "stage1.9"}, "The nearest layers: "),
        ({"layer": "head"}, "layer='head'"),
        ({"images": (1.0, 1.0)}, "2 weights for a batch of 4 images"),
        ({"images": ()}, "0 weights for a batch of 4 images"),
    ],
)
def test_settings_that_do_not_fit_are_told_and_the_picture_stays(
    explorer: PFVExplorer, wrong: dict[str, Any], words: str
) -> None:
    load_anew(explorer)
    before = explorer.frame
    explorer.settings = replace(explorer.settings, **wrong)
    assert is_error(explorer)
    assert words in status(explorer)
    assert (explorer.frame.heatmaps == before.heatmaps).all()
    assert still_works(explorer)


def everything(explorer: PFVExplorer) -> list[object]:
    """All that a person sees of the settings: controls, legend, picture, history."""
    assert explorer.wait(60)
    return [
        explorer.settings,
        explorer.panel.layer.value,
        explorer.panel.layer_line.value,
        explorer.panel.legend.value,
        {name: control.value for name, control in explorer.knobs.by_name.items()},
        explorer.gallery.view_state.settings,
        explorer.can_undo,
        explorer.can_redo,
        page_of(explorer).picture(explorer.gallery.tiles.widget).tobytes(),
    ]


@pytest.mark.parametrize("how", ["code", "control", "JSON"])
def test_settings_that_fail_leave_everything_as_it_was(explorer: PFVExplorer, how: str) -> None:
    load_anew(explorer)
    explorer.settings = replace(explorer.settings, sigma=2.0)
    explorer.settings = replace(explorer.settings, components=4)
    explorer.undo()
    events: list[object] = []
    explorer.observe(events.append, "settings")
    before = everything(explorer)
    for wrong in WRONG:
        explorer.show_message("no error yet")
        try_settings(explorer, replace(explorer.settings, **wrong, sigma=3.0), how)
        assert is_error(explorer), wrong
        assert everything(explorer) == before, wrong
        assert is_error(explorer), wrong  # no report of an older picture takes its place
    assert events == []


WRONG: tuple[dict[str, Any], ...] = (
    {"layer": "nonsense"}, {"images": (1.0, 1.0)}, {"pins": ((9, 0.5, 0.5),)},
)  # fmt: skip


def try_settings(explorer: PFVExplorer, expected: Settings, how: str) -> None:
    """Ask for settings that cannot be shown."""
    if how == "code":
        explorer.settings = expected
    elif how == "control":
        assert not explorer.edit(lambda _: expected)
    else:
        section = explorer.tabs["Export"].sections["Settings"]
        section.json.value = expected.to_json()
        section.apply.click()
        assert "Not applied: " in section.message.value
        assert "Applied." not in section.message.value


def test_layer_that_fails_while_it_is_computed_gives_way_to_the_one_before(
    open_explorer: Open,
) -> None:
    explorer = open_explorer(model=Through(constant), batch=blobs(3), layer="stem")
    load_anew(explorer)
    before = everything(explorer)
    explorer.settings = replace(explorer.settings, layer="change")
    assert is_error(explorer)
    after = everything(explorer)
    assert after[:-1] == before[:-1]
    assert shows_its_frame(explorer)
    assert is_error(explorer)


def test_fewer_components_leave_out_the_channels_that_are_gone(explorer: PFVExplorer) -> None:
    explorer.settings = replace(explorer.settings, components=4, channels=(0, 3))
    assert explorer.wait(60)
    move(explorer.knobs["components"], value=2)
    assert explorer.settings.components == 2
    assert explorer.settings.channels == (0,)
    assert not is_error(explorer)


@pytest.mark.parametrize("change", [with_nan, constant])
def test_layer_without_variance_or_numbers_does_not_end_the_explorer(
    open_explorer: Open, change: Callable[[Tensor], Tensor]
) -> None:
    explorer = open_explorer(model=Through(change), batch=blobs(3), layer="stem")
    load_anew(explorer)
    explorer.settings = replace(explorer.settings, layer="change")
    assert is_error(explorer)
    explorer.settings = replace(explorer.settings, layer="pool")
    assert not is_error(explorer)
    assert shows_its_frame(explorer)
    explorer.settings = replace(explorer.settings, layer="change")
    assert is_error(explorer)


def test_layer_with_a_few_infinities_is_painted_or_told(open_explorer: Open) -> None:
    model = Through(with_infinity_in_one_image)
    explorer = open_explorer(model=model, batch=blobs(3), layer="stem")
    load_anew(explorer)
    explorer.settings = replace(explorer.settings, layer="change")
    assert explorer.wait(60)
    assert np.isfinite(explorer.frame.heatmaps.numpy()).all()
    assert is_error(explorer) or explorer.frame.layer == "change"


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ZeroDivisionError("<b>x</b>")])
def test_any_error_of_the_engine_is_told_and_the_next_change_is_painted(
    explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    load_anew(explorer)

    def fail(*_: object, **__: object) -> Frame:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(explorer.pfv, "render", fail)
        explorer.settings = replace(explorer.settings, sigma=3.0)
        assert is_error(explorer)
        assert f"{type(error).__name__}: {error} – the last picture stays." in status(explorer)
        assert "<b>" not in status_markup(explorer)
    assert still_works(explorer)


@pytest.mark.parametrize("foreign", HOSTILE.values(), ids=HOSTILE)
def test_foreign_names_and_labels_come_alive_nowhere(open_explorer: Open, foreign: str) -> None:
    images = replace(blobs(2), names=(foreign, "b"), labels=(foreign, "b"))
    explorer = open_explorer(model=tiny(), batch=images)
    press(explorer, "Home")
    assert explorer.wait(60)
    hint = explorer.gallery.hint
    explorer.settings = replace(explorer.settings, layer=foreign)
    assert is_error(explorer)
    for shown in (hint.value, status_markup(explorer)):
        parsed = Parsed(shown)
        assert set(parsed.tags) == ({"div"} if shown == hint.value else {"div", "span"})
        assert parsed.attributes <= {"style", "role", "aria-live", "aria-hidden", "title"}
        assert parsed.text.isprintable()
    slider = explorer.tabs["Batch"].classes[foreign]
    for label in (slider.description, slider.tooltip):
        assert label.isprintable()
    sent = slider.get_state()["description"]  # HTML that Jupyter's sanitizer and MathJax read
    assert not {"$", "\\"} & set(sent)
    parsed = Parsed(sent)
    assert (parsed.tags, parsed.text) == (["span"], slider.description)
    assert parsed.attributes == {"class", "title"}


def test_foreign_names_of_layers_come_alive_nowhere(open_explorer: Open) -> None:
    model = tiny()
    hostile = "<img src=x onerror=alert(1)> $x^2$"
    model.add_module(hostile, torch.nn.Identity())
    model[0].add_module(hostile, torch.nn.Identity())
    branch = torch.nn.Sequential()
    branch.add_module(hostile, model[0])
    model[0] = branch
    explorer = open_explorer(model=model, batch=blobs(2))
    explorer.settings = replace(explorer.settings, layer=f"0.{hostile}")
    assert not is_error(explorer)
    assert "<img" not in explorer.panel.layer_line.value
