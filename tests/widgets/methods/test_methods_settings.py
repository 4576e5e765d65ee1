"""The settings of a grid of methods: controls, pages, JSON, bookmarks, code."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pfv_widgets.errors import PFVError
from pfv_widgets.methods.comparison.compared_methods import names
from pfv_widgets.methods.gradient.path_and_noise import SmoothGrad
from pfv_widgets.parameters import parameters_of
from pfv_widgets.widgets.methods.methods_explorer import MethodsExplorer
from pfv_widgets.widgets.methods.settings import MethodsSettings
from tests.networks import blobs, tiny
from tests.widgets.explorer_contents import press_button, run_code, words
from tests.widgets.fake_page import move
from tests.widgets.methods.conftest import Open, layout, shown_words, shows_its_maps, status


def test_every_method_has_controls_for_its_options(open_grid: Open) -> None:
    explorer = open_grid(methods=names())
    explorer.stop()
    panel = explorer.tabs["Methods"]
    for _, name in panel.menu.options:
        panel.menu.value = name
        declared = parameters_of(explorer_methods(explorer)[name])
        assert list(panel.options.by_name) == list(declared)
        assert [one.description for one in panel.options_box.children] == [
            one.label for one in declared.values()
        ]
    assert len(panel.menu.options) > 4


def explorer_methods(explorer: MethodsExplorer) -> dict[str, Any]:
    return dict(zip(names(), explorer.settings.methods, strict=True))


def test_controls_follow_the_settings_and_set_them(open_grid: Open) -> None:
    explorer = open_grid(classes={2: "cat"})
    panel = explorer.tabs["Methods"]
    labels = [label for label, _ in panel.unit.options]
    assert labels == ["the strongest", "0", "1", "2 · cat", "3", "4"]
    assert panel.layer.options[0] == ("Output", (None,))
    move(panel.unit, index=3)
    assert explorer.settings.unit == 2
    move(panel.layer, index=2)
    assert explorer.settings.layer == panel.layer.options[2][1][0]
    assert explorer.settings.unit is None  # a unit of one layer says nothing about another
    assert len(panel.unit.options) == 9
    explorer.settings = replace(explorer.settings, layer="14", unit=4, scale="all alike")
    assert panel.layer.value == ("14",)
    assert panel.unit.value == (4,)
    assert panel.look["scale"].value == "all alike"
    move(panel.methods["pfv"], value=False)
    move(panel.methods["smoothgrad"], value=True)
    kinds = [type(method).__name__ for method in explorer.settings.methods]
    assert kinds == ["Saliency", "GradientTimesInput", "SmoothGrad"]
    assert panel.menu.options == (("Gradient", "saliency"), ("SmoothGrad", "smoothgrad"))
    panel.menu.value = "smoothgrad"
    move(panel.options["samples"], value=5)
    assert explorer.settings.methods[2] == SmoothGrad(samples=5)
    move(panel.methods["smoothgrad"], value=False)
    move(panel.methods["smoothgrad"], value=True)
    assert explorer.settings.methods[2] == SmoothGrad(samples=5)  # its options stayed
    assert explorer.wait(60)


def test_settings_of_one_method_have_rows_and_controls_of_their_own(
    open_grid: Open, tmp_path: Path
) -> None:
    methods = (SmoothGrad(samples=2), "saliency", SmoothGrad(samples=3))
    explorer = open_grid(methods=methods, unit=[3, 1])
    assert shows_its_maps(explorer)
    actual, panel = shown_words(explorer), explorer.tabs["Methods"]
    assert "SmoothGrad, 2 samples" in actual
    assert "SmoothGrad, 3 samples" in actual
    assert [cell.unit for cell in explorer.cells().values()] == [3, 1] * 3
    assert [label for label, _ in panel.menu.options][1:] == ["Gradient", "SmoothGrad, 3 samples"]
    panel.menu.value = panel.menu.options[2][1]
    move(panel.options["samples"], value=5)
    kinds = [getattr(one, "samples", None) for one in explorer.settings.methods]
    assert kinds == [2, None, 5]
    move(panel.options["samples"], value=2)  # the same twice is no comparison
    assert "'smoothgrad' twice with the same options" in status(explorer)
    assert [getattr(one, "samples", None) for one in explorer.settings.methods] == kinds
    move(panel.methods["smoothgrad"], value=False)
    assert len(explorer.settings.methods) == 1
    move(panel.methods["smoothgrad"], value=True)
    assert len(explorer.settings.methods) == 3
    assert explorer.wait(60)
    explorer.save(tmp_path / "grid.npz")
    keys = list(np.load(tmp_path / "grid.npz"))
    assert keys[:3] == ["saliency", "smoothgrad samples=2", "smoothgrad samples=5"]
    with pytest.raises(PFVError, match="3 units for 2 images"):
        open_grid(unit=[1, 2, 3])


def test_an_illegal_change_is_told_and_the_picture_stays(open_grid: Open) -> None:
    explorer = open_grid()
    before = explorer.settings
    explorer.edit(lambda old: replace(old, unit=-1))
    assert "unit=-1" in status(explorer)
    assert explorer.settings is before
    explorer.settings = replace(before, scale="all alike")
    assert status(explorer) == "6 maps of the output."
    for wrong in ({"unti": 3}, {"scale": "x"}, {"methods": "x"}, {"first": -1}):
        with pytest.raises(PFVError):
            open_grid(**wrong)


def test_pages_of_images_are_turned(open_grid: Open) -> None:
    explorer = open_grid({"a": tiny(), "b": tiny(1)}, blobs(3), methods=("saliency",), across=2)
    assert explorer.wait(20)
    assert words(explorer.bar.pages.value) == "Image 1 of 3"
    assert layout(explorer).images == (0,)
    press_button(explorer.bar.forward)
    press_button(explorer.bar.forward)
    assert layout(explorer).images == (2,)
    assert status(explorer) == "2 maps of the output."
    assert words(explorer.bar.pages.value) == "Image 3 of 3"
    assert explorer.bar.forward.disabled
    press_button(explorer.bar.back)
    assert layout(explorer).images == (1,)
    explorer.settings = replace(explorer.settings, across=8)
    assert layout(explorer).images == (0, 1, 2)
    assert status(explorer) == "6 maps of the output."


def test_snippet_brings_the_view_back_and_the_figure_is_written(
    open_grid: Open, tmp_path: Path
) -> None:
    names = ["ant", "bee", "cat", "dog", "emu"]
    options = {"classes": names, "argument": "input", "inputs": {}}
    explorer = open_grid(
        methods=("pfv", SmoothGrad(samples=3)), unit=2, scale="each method", **options
    )
    actual: dict[str, Any] = {"models": tiny(), "images": blobs(2)} | options
    run_code(explorer.snippet(), actual)
    again = actual["explorer"]
    assert again.settings == explorer.settings
    assert again.comparison.given == ("classes", "inputs", "argument")
    again.close()
    assert explorer.wait(60)
    explorer.save(tmp_path / "grid.png")
    assert np.asarray(Image.open(tmp_path / "grid.png").convert("L")).std() > 20
    with pytest.raises(PFVError, match=r"\.txt"):
        explorer.save(tmp_path / "grid.txt")
    export = explorer.tabs["Export"]
    export.formats.value = "Code"
    assert export.sections["Code"].code.value == explorer.snippet()
    picture = export.sections["Picture"]
    picture.file.name.value = str(tmp_path / "grid.npz")
    press_button(picture.save)
    explorer.jobs.wait()
    assert "Saved" in words(picture.message.value)
    saved = np.load(tmp_path / "grid.npz")
    cells = explorer.cells()
    assert saved["pfv"].shape == (2, 1, 32, 32, 3)
    for task, cell in cells.items():
        name = "pfv" if task.method == explorer.settings.methods[0] else "smoothgrad"
        assert np.array_equal(saved[name][task.image, 0], cell.values.numpy())
    picture.file.name.value = str(tmp_path / "absent" / "grid.png")
    press_button(picture.save)
    explorer.jobs.wait()
    assert "there is no folder" in words(picture.message.value)
    assert not picture.save.disabled


def test_settings_come_back_from_json_and_as_bookmarks(open_grid: Open) -> None:
    other = MethodsSettings(
        methods=("pfv", {"method": "pfv", "components": 5}, SmoothGrad(samples=3)),
        layer="4", unit=(1, 2), output=0, view="overlay", opacity=0.2, scale="all alike",
        across=2, first=1,
    )  # fmt: skip
    plain = MethodsSettings()
    changed = [one.name for one in dataclasses.fields(other)]
    assert all(getattr(other, name) != getattr(plain, name) for name in changed)
    assert MethodsSettings.read_json(other.to_json()) == (other, ())
    explorer = open_grid()
    start = explorer.settings
    bookmarks = explorer.tabs["Export"].sections["Bookmarks"]
    bookmarks.name.value = "start"
    press_button(bookmarks.add)
    explorer.settings = other
    assert explorer.bookmarks.names == ("start",)
    press_button(bookmarks.go)
    assert explorer.settings == start
    press_button(explorer.status_line.undo_button)
    assert explorer.settings == other
    assert explorer.tabs["Methods"].look["scale"].value == "all alike"
    section = explorer.tabs["Export"].sections["Settings"]
    section.json.value = '{"methods": ["saliency", {"method": "smoothgrad", "smaples": 3}]}'
    press_button(section.apply)
    assert "'smoothgrad' has no option 'smaples'. Did you mean 'samples'" in explorer.status.message
    assert explorer.settings.methods == plain.methods
    explorer.settings = replace(other, unit=(1, 2, 3))  # for two images
    assert explorer.settings.unit != (1, 2, 3)
    assert explorer.status.kind == "error"


def test_settings_name_what_is_wrong() -> None:
    settings = MethodsSettings(methods=("saliency",))
    assert settings == replace(settings, methods=tuple(settings.methods))
    assert settings.page(10, 2) == range(2)
    assert replace(settings, first=99).page(10, 1) == range(8, 10)
    with pytest.raises(PFVError, match="first="):
        replace(settings, first=1.5)
