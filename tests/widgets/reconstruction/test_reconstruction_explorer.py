"""A picture that grows in a widget, without a browser: started, stopped, told, closed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from PIL import Image
from torch import nn

import pfv_widgets as pw
from pfv_widgets.errors import PFVError
from pfv_widgets.methods.inversion.options import Reconstruct
from pfv_widgets.widgets.reconstruction.reconstruction_explorer import (
    ReconstructionExplorer,
    as_png,
)
from pfv_widgets.widgets.reconstruction.settings import ReconstructionSettings
from tests.methods.core.test_target import Two
from tests.networks import blobs, tiny
from tests.widgets.explorer_contents import run_code, until, words
from tests.widgets.fake_page import move

Open = Callable[..., ReconstructionExplorer]


@pytest.fixture
def open_explorer() -> Iterator[Open]:
    """Open widgets of a small network; close them after the test."""
    with ExitStack() as stack:

        def open_(**options: Any) -> ReconstructionExplorer:
            defaults = {"classes": ["cat", "<b>dog</b>"], "device": "cpu", "steps": 5, "jitter": 1}
            model = options.pop("model", None) or tiny()
            explorer = pw.explore_reconstruction(model, blobs(3), **{**defaults, **options})
            return stack.enter_context(closing(explorer))

        yield open_


def message(explorer: ReconstructionExplorer) -> str:
    return explorer.status.message


def picture(explorer: ReconstructionExplorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(explorer.picture.value)))


def test_start_makes_the_picture_that_the_controls_ask_for(
    open_explorer: Open, tmp_path: Path
) -> None:
    explorer = open_explorer()
    assert message(explorer) == "Press Start to make an image of a class."
    with pytest.raises(PFVError, match="There is no image yet"):
        explorer.save(tmp_path / "none.png")
    move(explorer.tabs["Target"].unit, value=3)
    move(explorer.tabs["Target"].main["seed"], value=7)
    explorer.start_button.click()
    assert explorer.status_line.stop_button.layout.visibility == "visible"
    explorer.wait()
    right = pw.reconstruct(tiny(), unit=3, size=32, steps=5, jitter=1, seed=7)
    assert np.array_equal(explorer.reconstruction.pixels, right.pixels)
    assert np.array_equal(picture(explorer)[..., :3], right.pixels[0])
    assert message(explorer).startswith("Done after 5 of 5 steps: activation ")
    assert explorer.status_line.stop_button.layout.visibility == "hidden"
    assert not explorer.start_button.disabled
    explorer.save(tmp_path / "made.png")
    assert (tmp_path / "made.png").stat().st_size > 1000


def test_a_picture_of_something_else_than_is_chosen_is_dimmed_and_named(
    open_explorer: Open,
) -> None:
    explorer = open_explorer()
    explorer.start()
    explorer.wait()
    done = message(explorer)
    assert "pfv-outdated" not in explorer.picture._dom_classes
    move(explorer.tabs["Target"].unit, value=1)
    (name,) = explorer.reconstruction.names
    assert message(explorer).startswith(f"The image on show is of {name}. Press Start")
    assert explorer.status.kind == "warning"
    assert "pfv-outdated" in explorer.picture._dom_classes
    explorer.undo()
    assert (message(explorer), explorer.status.kind) == (done, "ok")
    assert "pfv-outdated" not in explorer.picture._dom_classes
    explorer.redo()
    explorer.start()
    explorer.wait()
    assert message(explorer).startswith("Done after 5")
    assert "pfv-outdated" not in explorer.picture._dom_classes


@pytest.mark.parametrize("kind", ["channel", "component", "photo"])
def test_each_kind_has_its_controls_and_its_picture(kind: str, open_explorer: Open) -> None:
    explorer = open_explorer()
    panel = explorer.tabs["Target"]
    move(panel.fields["kind"], index=[key for _, key in panel.fields["kind"].options].index(kind))
    assert explorer.settings.kind == kind
    shown = {name for name, one in panel.fields.items() if one.layout.display != "none"}
    assert (
        shown
        == {
            "channel": {"kind", "layer", "unit"},
            "component": {"kind", "layer", "component", "sign"},
            "photo": {"kind", "layer", "photo"},
        }[kind]
    )
    explorer.start()
    explorer.wait()
    assert message(explorer).startswith("Done"), message(explorer)
    assert explorer.reconstruction.layer == explorer.settings.layer
    known: dict[str, Any] = {"model": tiny(), "images": blobs(3)}
    run_code(explorer.snippet(), known)
    assert np.array_equal(known["made"].pixels, explorer.reconstruction.pixels)
    if kind == "photo":  # its defaults, and the choices that a person made
        assert explorer.settings.options == Reconstruct.matching(steps=5)
        assert panel.more["p_norm"].value == 1.0
        move(panel.fields["kind"], index=0)
        assert explorer.settings.options == Reconstruct(steps=5)


def test_button_shows_and_hides_more_options(open_explorer: Open) -> None:
    panel = open_explorer().tabs["Target"]
    button, inside = panel.widget.children[-1].children
    assert panel.more["rate"] in inside.children
    assert inside.layout.display == "none"
    move(button, value=True)
    assert inside.layout.display is None
    move(button, value=False)
    assert inside.layout.display == "none"


def test_stop_keeps_the_best_and_nothing_can_be_changed_meanwhile(open_explorer: Open) -> None:
    explorer = open_explorer(steps=4000)
    explorer.start_button.click()
    until(lambda: "Step " in message(explorer) and "Step 0" not in message(explorer))
    assert explorer.running
    export = explorer.tabs["Export"].sections["Picture"]
    export.save.click()
    explorer.jobs.wait()
    assert "An image is being made" in words(export.message.value)
    before = explorer.settings
    explorer.settings = replace(before, unit=1)
    assert explorer.settings is before
    assert explorer.tabs["Target"].unit.disabled
    assert explorer.start_button.disabled
    explorer.start()  # does nothing
    explorer.status_line.stop_button.click()
    explorer.wait()
    assert "Stopped after" in message(explorer)
    assert explorer.reconstruction.stopped
    assert not explorer.tabs["Target"].unit.disabled
    assert not explorer.running


def test_errors_and_doubts_are_told_and_the_widget_lives_on(open_explorer: Open) -> None:
    explorer = open_explorer()
    move(explorer.tabs["Target"].unit, value=77)
    explorer.start()
    explorer.wait()
    assert message(explorer).startswith("Class 77: the output has 5 units.")
    assert explorer.status.kind == "error"
    move(explorer.tabs["Target"].unit, value=1)
    names = explorer.tabs["Target"].class_name
    assert names.label == "1 · <b>dog</b>"  # a list shows markup as it is
    explorer.start()
    explorer.wait()
    assert message(explorer).startswith("Done")
    for name, value in (("step", 3), ("steps", 0), ("argument", "photo")):
        with pytest.raises(PFVError, match=f"{name}="):
            pw.explore_reconstruction(tiny(), blobs(2), **{name: value})


@pytest.mark.parametrize("kind", ["class", "component", "photo"])
def test_other_inputs_of_the_network_are_passed_on(kind: str, open_explorer: Open) -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    inputs = {"mask": mask}
    explorer = open_explorer(model=Two().eval(), inputs=inputs, argument="photo")
    move(
        explorer.tabs["Target"].fields["kind"],
        index=[key for _, key in explorer.tabs["Target"].fields["kind"].options].index(kind),
    )
    explorer.start()
    explorer.wait()
    assert message(explorer).startswith("Done"), message(explorer)
    known: dict[str, Any] = {"model": Two().eval(), "images": blobs(3), "inputs": inputs}
    run_code(explorer.snippet(), known)
    assert np.array_equal(known["made"].pixels, explorer.reconstruction.pixels)
    with pytest.raises(PFVError, match="inputs lacks 'photo'"):
        open_explorer(model=Two().eval())


def test_closing_ends_the_work_and_frees_every_widget(open_explorer: Open) -> None:
    before = set(_instances)
    explorer = open_explorer(steps=4000)
    assert set(_instances) != before
    explorer.start()
    until(lambda: "Step " in message(explorer))
    explorer.close()
    explorer.wait()
    assert set(_instances) == before
    explorer.close()


def test_pictures_stand_on_one_sheet_with_gaps() -> None:
    pixels = np.arange(3 * 4 * 6 * 3, dtype=np.uint8).reshape(3, 4, 6, 3)
    sheet = np.asarray(Image.open(io.BytesIO(as_png(pixels))))
    assert sheet.shape == (12, 16, 4)
    assert np.array_equal(sheet[:4, 10:16, :3], pixels[1])
    assert np.array_equal(sheet[8:12, :6, :3], pixels[2])
    assert not sheet[8:12, 10:16].any()
    assert not sheet[:4, 6:10, 3].any()


OTHER = ReconstructionSettings(
    kind="component", unit=3, layer="4", component=2, sign=-1, photo=1,
    options=Reconstruct(seed=5, steps=7, rotation=0.5),
)  # fmt: skip


def test_settings_come_back_from_json_and_name_what_is_wrong() -> None:
    plain = ReconstructionSettings()
    assert all(getattr(OTHER, one.name) != getattr(plain, one.name) for one in fields(OTHER))
    assert ReconstructionSettings.read_json(OTHER.to_json()) == (OTHER, ())
    text = '{"unit": -1, "options": {"steps": 3, "stesp": 4}, "sign": 1}'
    settings, notes = ReconstructionSettings.read_json(text)
    assert settings == plain
    assert "unit=-1" in notes[0]
    assert "'steps'" in notes[1]
    for wrong in ({"kind": "cat"}, {"component": 8}, {"sign": 2}, {"photo": True}, {"layer": 3}):
        with pytest.raises(PFVError, match=f"{next(iter(wrong))}="):
            replace(plain, **wrong)


def test_settings_are_undone_and_go_out_as_bookmarks_and_code(open_explorer: Open) -> None:
    explorer = open_explorer()
    start = explorer.settings
    move(explorer.tabs["Target"].fields["kind"], index=3)
    assert explorer.settings.kind == "photo"
    assert explorer.settings.options == Reconstruct.matching(steps=5)
    explorer.status_line.undo_button.click()
    assert explorer.settings == start
    assert explorer.tabs["Target"].fields["kind"].value == "class"
    assert not explorer.can_undo
    explorer.redo()
    assert explorer.settings.kind == "photo"
    bookmarks = explorer.tabs["Export"].sections["Bookmarks"]
    bookmarks.name.value = "a photo"
    bookmarks.add.click()
    assert explorer.bookmarks.get("a photo") == explorer.settings
    explorer.undo()
    bookmarks.go.click()
    assert explorer.settings.kind == "photo"
    section = explorer.tabs["Export"].sections["Settings"]
    section.json.value = '{"layer": "nonsense"}'
    before = explorer.settings
    section.apply.click()
    assert explorer.settings == before
    assert "Not applied: layer='nonsense'" in words(section.message.value)
    assert explorer.status.kind == "error"


def test_one_of_several_outputs_is_chosen(open_explorer: Open) -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = tiny()

        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            scores = self.network(images)
            return {"logits": scores, "twice": 2 * scores}

    explorer = open_explorer(model=Several().eval(), output="twice")
    explorer.start()
    explorer.wait()
    assert message(explorer).startswith("Done"), message(explorer)
    known: dict[str, Any] = {"model": Several().eval(), "images": blobs(3)}
    run_code(explorer.snippet(), known)
    assert np.array_equal(known["made"].pixels, explorer.reconstruction.pixels)
