"""A picture that grows in a widget, without a browser: started, stopped, told, closed."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from PIL import Image

import pfv_widgets as pw
from pfv_widgets.errors import PFVError
from pfv_widgets.methods.inversion.options import Reconstruct
from pfv_widgets.widgets.reconstruction.panel import Wish
from pfv_widgets.widgets.reconstruction.reconstruction_explorer import (
    ReconstructionExplorer,
    as_png,
)
from tests.methods.core.test_target import Two
from tests.networks import blobs, tiny
from tests.widgets.reading import words
from tests.widgets.recorded_page import move

Open = Callable[..., ReconstructionExplorer]


@pytest.fixture
def live() -> Iterator[Open]:
    """Open widgets of a small network; close them after the test."""
    opened: list[ReconstructionExplorer] = []

    def open_(**options: Any) -> ReconstructionExplorer:
        given = {"classes": ["cat", "<b>dog</b>"], "device": "cpu", "steps": 5, "jitter": 1}
        model = options.pop("model", None) or tiny()
        opened.append(pw.explore_reconstruction(model, blobs(3), **{**given, **options}))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def said(explorer: ReconstructionExplorer) -> str:
    return words(explorer.status.value).removeprefix("● ")


def picture(explorer: ReconstructionExplorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(explorer.picture.value)))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_start_makes_the_picture_that_the_controls_ask_for(live: Open, tmp_path: Path) -> None:
    explorer = live()
    assert said(explorer) == "Press Start to make a picture of a class."
    with pytest.raises(PFVError, match="There is no picture yet"):
        explorer.save(tmp_path / "none.png")
    move(explorer.panel.unit, value=3)
    move(explorer.panel.main["seed"], value=7)
    explorer.start_button.click()
    assert explorer.stop_button.disabled is False
    explorer.wait()
    right = pw.reconstruct(tiny(), unit=3, size=32, steps=5, jitter=1, seed=7)
    assert np.array_equal(explorer.reconstruction.pixels, right.pixels)
    assert np.array_equal(picture(explorer)[..., :3], right.pixels[0])
    assert said(explorer).startswith("Done after 5 of 5 steps: activation ")
    assert explorer.stop_button.disabled
    assert not explorer.start_button.disabled
    explorer.save(tmp_path / "made.png")
    assert (tmp_path / "made.png").stat().st_size > 1000


@pytest.mark.parametrize("kind", ["channel", "component", "photo"])
def test_each_kind_has_its_controls_and_its_picture(kind: str, live: Open) -> None:
    explorer = live()
    panel = explorer.panel
    move(panel.kind, index=[key for _, key in panel.kind.options].index(kind))
    assert panel.wish.kind == kind
    shown = {name for name, one in panel._fields.items() if one.layout.display != "none"}
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
    assert said(explorer).startswith("Done"), said(explorer)
    assert explorer.reconstruction.layer == panel.wish.layer
    known: dict[str, Any] = {"model": tiny(), "images": blobs(3)}
    exec(explorer.snippet(), known)
    assert np.array_equal(known["made"].pixels, explorer.reconstruction.pixels)
    if kind == "photo":  # its defaults, and the choices that a person made
        assert panel.options == Reconstruct.matching(steps=5)
        assert panel.more["p_norm"].value == 1.0
        move(panel.kind, index=0)
        assert panel.options == Reconstruct(steps=5)


def test_button_shows_and_hides_more_options(live: Open) -> None:
    panel = live().panel
    button, inside = panel.widget.children[-1].children
    assert panel.more["rate"] in inside.children
    assert inside.layout.display == "none"
    move(button, value=True)
    assert inside.layout.display is None
    move(button, value=False)
    assert inside.layout.display == "none"


def test_stop_keeps_the_best_and_nothing_can_be_changed_meanwhile(live: Open) -> None:
    explorer = live(steps=4000)
    explorer.start_button.click()
    until(lambda: "Step " in said(explorer) and "Step 0" not in said(explorer))
    assert explorer.running
    explorer.export.button.click()
    explorer.export.wait()
    assert "A picture is being made" in words(explorer.export.message.value)
    assert explorer.panel.unit.disabled
    assert explorer.start_button.disabled
    explorer.start()  # does nothing
    explorer.stop_button.click()
    explorer.wait()
    assert "Stopped after" in said(explorer)
    assert explorer.reconstruction.stopped
    assert not explorer.panel.unit.disabled
    assert not explorer.running


def test_errors_and_doubts_are_told_and_the_widget_lives_on(live: Open) -> None:
    explorer = live()
    move(explorer.panel.unit, value=77)
    explorer.start()
    explorer.wait()
    assert said(explorer).startswith("unit=77: the output has 5 units.")
    assert 'role="alert"' in explorer.status.value
    move(explorer.panel.unit, value=1)
    assert "<b>" not in explorer.panel.named.value
    assert words(explorer.panel.named.value) == "<b>dog</b>"
    explorer.start()
    explorer.wait()
    assert said(explorer).startswith("Done")
    for name, value in (("step", 3), ("steps", 0), ("argument", "photo")):
        with pytest.raises(PFVError, match=f"{name}="):
            pw.explore_reconstruction(tiny(), blobs(2), **{name: value})


@pytest.mark.parametrize("kind", ["class", "component", "photo"])
def test_other_inputs_of_the_network_are_passed_on(kind: str, live: Open) -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    inputs = {"mask": mask}
    explorer = live(model=Two().eval(), inputs=inputs, argument="photo")
    move(explorer.panel.kind, index=[key for _, key in explorer.panel.kind.options].index(kind))
    explorer.start()
    explorer.wait()
    assert said(explorer).startswith("Done"), said(explorer)
    known: dict[str, Any] = {"model": Two().eval(), "images": blobs(3), "inputs": inputs}
    exec(explorer.snippet(), known)
    assert np.array_equal(known["made"].pixels, explorer.reconstruction.pixels)
    with pytest.raises(PFVError, match="inputs lacks 'photo'"):
        live(model=Two().eval())


def test_closing_ends_the_work_and_frees_every_widget(live: Open) -> None:
    before = set(_instances)
    explorer = live(steps=4000)
    assert set(_instances) != before
    explorer.start()
    until(lambda: "Step " in said(explorer))
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
    assert Wish().kind == "class"
