"""A grid of methods without a browser: filled in, stopped, resumed, repainted, closed."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pfv_widgets as pw
from pfv_widgets.methods.attribution.registry import METHODS
from pfv_widgets.methods.comparison.compared_methods import names
from pfv_widgets.methods.comparison.comparison import Comparison, Task
from pfv_widgets.methods.core.method import step
from pfv_widgets.widgets.methods.grid_layout import Layout
from pfv_widgets.widgets.methods.methods_explorer import MethodsExplorer
from tests.networks import blobs, tiny
from tests.notebook_cells import run_notebook
from tests.widgets.explorer_contents import press_button, threads_have_ended, words
from tests.widgets.fake_page import FakePage, happen, move
from tests.widgets.methods.conftest import (
    Open,
    expected,
    layout,
    shown_words,
    shows_its_maps,
    status,
    tile,
)

ROOT = Path(__file__).resolve().parents[3]


class Gate:
    """Lets a few cells be computed; the others wait at the gate, where they can be cancelled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tickets, self.began, self.computed = threading.Semaphore(0), threading.Event(), []
        self.left = 0
        original = Comparison.compute

        def compute(comparison: Comparison, task: Task, progress: Any, cancelled: Any) -> Any:
            self.began.set()
            while not self.tickets.acquire(timeout=0.005):
                step(1, 2, progress, cancelled)
            self.computed.append(task)
            try:
                return original(comparison, task, progress, cancelled)
            finally:
                self.left += 1

        monkeypatch.setattr(Comparison, "compute", compute)

    def let(self, count: int) -> None:
        """Let so many cells through, and wait until they are computed."""
        target = self.left + count
        for _ in range(count):
            self.tickets.release()
        deadline = time.monotonic() + 20
        while self.left < target:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        self.began.clear()


def test_grid_is_a_public_widget_with_every_method_in_it(open_grid: Open) -> None:
    explorer = open_grid(methods=None)
    explorer.stop()
    assert isinstance(explorer, pw.MethodsExplorer)
    assert list(explorer.tabs["Methods"].methods) == names() == ["pfv", *METHODS]
    kinds = [type(method).__name__ for method in explorer.settings.methods]
    assert kinds[:4] == ["PrincipalFeatures", "Saliency", "Deconvnet", "GuidedBackprop"]


def test_cells_fill_in_and_look_as_their_maps(fake_page: FakePage, open_grid: Open) -> None:
    explorer = open_grid({"a": tiny(), "b": tiny(1)}, across=4)
    assert status(explorer) == "12 maps of the output."
    assert len(layout(explorer).columns) == 4
    assert shows_its_maps(explorer)
    actual = shown_words(explorer)
    for word in (
        "PFV",
        "Gradient",
        "Gradient × input",
        "a",
        "b",
        *explorer.comparison.images.names,
    ):
        assert word in actual
    head = layout(explorer).photo(1)
    left, top, width, height = (int(one) for one in head)
    photo = fake_page.picture(explorer.page.canvas.widget)[top : top + height, left : left + width]
    right = Image.fromarray(explorer.comparison.images.pixels[1])
    target = np.asarray(right.resize((width, height), Image.Resampling.LANCZOS), np.float32)
    assert np.abs(photo - target).mean() < 6
    legend = words(explorer.page.legend.value)
    assert "against" in legend
    assert "Each map has its own scale" in legend


def test_stop_half_way_keeps_what_is_done_and_go_on_computes_only_the_rest(
    open_grid: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    explorer = open_grid(
        methods=("saliency", "gradient_times_input"), images=blobs(3), classes=None
    )
    gate.let(2)
    press_button(explorer.status_line.stop_button)
    assert "2 of 6 maps. Stopped: Go on computes the rest." in status(explorer)
    assert explorer.status_line.stop_button.layout.visibility == "hidden"
    assert not explorer.bar.go_on.disabled
    assert shown_words(explorer).count("waiting") == 4
    assert sum(cell is not None for cell in explorer.cells().values()) == 2
    assert np.ptp(tile(explorer, 0, 0)) > 50
    assert np.ptp(tile(explorer, 1, 2)) < 50
    first = list(gate.computed)
    gate.tickets.release(10)
    press_button(explorer.bar.go_on)
    assert status(explorer) == "6 maps of the output."
    assert len(gate.computed) == len(set(gate.computed)) == 6
    assert gate.computed[:2] == first
    assert shows_its_maps(explorer)
    assert explorer.status_line.stop_button.layout.visibility == "hidden"


def test_time_left_is_guessed_once_a_map_of_each_method_is_timed_by_what_these_took(
    open_grid: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, told = Gate(monkeypatch), []
    explorer = open_grid(
        methods=("saliency", "gradient_times_input"), images=blobs(3), classes=None
    )
    report = explorer.status_line.report

    def note(*about: Any, guess: bool = True) -> None:
        told.append((about[2:], guess))
        report(*about, guess=guess)

    monkeypatch.setattr(explorer.status_line, "report", note)
    gate.let(3)  # all maps of the first method; that of the second waits half way
    labels = [method.label for method in explorer.settings.methods]
    assert {guess for done, guess in told if done} == {False}
    assert list(explorer._seconds) == labels[:1]
    explorer._seconds = {labels[0]: 1.0, labels[1]: 9.0}
    deadline = time.monotonic() + 20
    while told[-1] != ((pytest.approx((3 * 1 + 9 / 2) / 30),), True):
        assert time.monotonic() < deadline, told[-1]
        time.sleep(0.01)
    gate.tickets.release(3)


def test_cell_in_work_says_so_and_goes_on_where_only_its_looks_change(
    open_grid: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    explorer = open_grid(methods=("saliency", "smoothgrad"), images=blobs(1))
    assert gate.began.wait(20)
    gate.began.clear()
    explorer.settings = replace(explorer.settings, scale="all alike", methods=("saliency",))
    explorer.painting.wait(20)
    assert "working …" in words(explorer.page.words.value)
    assert "Computing Gradient of" in explorer.status.message
    assert not gate.began.wait(0.05)  # it was not begun anew
    explorer.settings = replace(explorer.settings, unit=1)
    assert gate.began.wait(20)  # another target: what was in work is left at once
    gate.tickets.release(10)
    assert status(explorer) == "1 map of the output."
    assert [task.target.unit for task in gate.computed] == [1]


def test_another_target_repaints_and_going_back_computes_nothing(
    open_grid: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = open_grid(classes=["one", "two", "three", "four", "five"])
    first = tile(explorer, 1, 0).copy()
    explorer.settings = replace(explorer.settings, layer="4", unit=3)
    assert "unit 3, " in shown_words(explorer)
    assert shows_its_maps(explorer)
    assert np.abs(tile(explorer, 1, 0) - first).mean() > 5
    monkeypatch.setattr(Comparison, "compute", lambda *_: pytest.fail("computed anew"))
    explorer.settings = replace(explorer.settings, layer=None, unit=None)
    assert np.array_equal(tile(explorer, 1, 0), first)
    assert any(name in shown_words(explorer) for name in ("one, ", "two, ", "three, ", "four, "))


@pytest.mark.parametrize("scale", ["each method", "all alike"])
def test_scales_and_the_overlay_are_painted(
    fake_page: FakePage, open_grid: Open, scale: str
) -> None:
    strength = torch.tensor([1.0, 6.0])[:, None, None, None]
    explorer = open_grid(images=dataclasses.replace(blobs(2), tensor=blobs(2).tensor * strength))
    assert explorer.wait(60)
    before = expected(explorer, 2, 0)
    move(
        explorer.tabs["Methods"].look["scale"],
        index=["each map", "each method", "all alike"].index(scale),
    )
    assert explorer.settings.scale == scale
    assert shows_its_maps(explorer)
    actual = tile(explorer, 2, 0)
    now = np.abs(actual - expected(explorer, 2, 0)).mean()
    assert now < np.abs(actual - before).mean() / 2
    if scale == "each method":
        assert "±" in shown_words(explorer)
    move(explorer.tabs["Methods"].look["view"], index=1)
    assert explorer.wait(20)
    explorer.settings = replace(explorer.settings, opacity=0.0)
    photo = explorer.comparison.images.pixels[1]
    size = layout(explorer).tile[::-1]
    target = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS), np.float32)
    assert np.abs(tile(explorer, 2, 1) - target).mean() < 6
    before = len(fake_page.drawings)
    move(explorer.tabs["Methods"].look["opacity"], value=0.5)
    mixed = (target + expected(explorer, 2, 1)) / 2
    assert np.abs(tile(explorer, 2, 1) - mixed).mean() < 6
    assert not any(one.pictures for one in fake_page.drawings[before:])  # the browser has them


def test_error_of_one_cell_is_told_there_and_the_rest_goes_on(open_grid: Open) -> None:
    explorer = open_grid(
        {"has it": tiny(), "has not": nn.Sequential(nn.Conv2d(3, 5, 3))}, layer="4"
    )
    assert "maps failed: layer='4' is not in this network" in status(explorer)
    assert explorer.status.kind == "error"
    failed = [cell for cell in explorer.cells().values() if cell.error is not None]
    assert len(failed) == 6
    assert shown_words(explorer).count("layer='4' is not in this") >= 6
    assert "last layers" not in shown_words(explorer)
    assert not explorer.bar.go_on.disabled  # it may be tried once more
    press_button(explorer.bar.go_on)
    assert "6 of 12 maps failed" in status(explorer)


def test_what_failed_is_tried_once_more_by_going_on(
    open_grid: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, failing = Comparison.compute, threading.Event()

    def compute(comparison: Comparison, task: Task, *more: Any) -> Any:
        if not failing.is_set() and task.image == 1:
            raise MemoryError
        return original(comparison, task, *more)

    monkeypatch.setattr(Comparison, "compute", compute)
    explorer = open_grid(methods=("saliency", "guided_backprop"))
    assert "2 of 4 maps failed: There is not enough memory" in status(explorer)
    failing.set()
    press_button(explorer.bar.go_on)
    assert status(explorer) == "4 maps of the output."
    assert explorer.bar.go_on.disabled


def test_what_failed_is_computed_once_the_network_is_repaired(open_grid: Open) -> None:
    model = tiny()
    weight = model[0].weight
    before = weight.detach().clone()
    weight.data[0, 0, 0, 0] = torch.nan
    explorer = open_grid(model, methods=("saliency",))
    assert "NaN or infinite values" in status(explorer)
    weight.data.copy_(before)
    explorer.settings = replace(explorer.settings, scale="all alike")
    assert explorer.wait(60)
    assert explorer.status.kind == "ok"
    assert all(cell.error is None for cell in explorer.cells().values())


def test_page_that_is_loaded_anew_shows_everything_again(
    fake_page: FakePage, open_grid: Open
) -> None:
    explorer = open_grid()
    assert explorer.wait(60)
    canvas = explorer.page.canvas.canvas
    before = fake_page.picture(canvas.displayed).copy()
    fake_page.load_anew(canvas.displayed, *canvas.buffers)
    assert explorer.wait(60)
    assert np.array_equal(fake_page.picture(canvas.displayed), before)
    assert before.std() > 20


def test_two_grids_do_not_disturb_each_other(open_grid: Open) -> None:
    model = tiny()
    first, second = open_grid(model), open_grid(model, layer="4")
    first.settings = replace(first.settings, unit=1)
    assert shows_its_maps(first)
    assert shows_its_maps(second)
    second.close()
    first.settings = replace(first.settings, unit=2)
    assert status(first) == "6 maps of the output."
    assert shows_its_maps(first)


def test_closing_stops_the_work_and_frees_everything(
    fake_page: FakePage, open_grid: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    model = tiny().train()
    running = set(threading.enumerate())
    explorer = open_grid(model)
    assert gate.began.wait(20)
    explorer.close()
    assert not fake_page.open_comms
    assert threads_have_ended(running)
    assert not gate.computed
    assert all(module.training for module in model.modules())
    explorer.close()


def test_foreign_names_stay_words(open_grid: Open) -> None:
    name = '<img src=x onerror="alert(1)">$x$'
    images = dataclasses.replace(blobs(2), names=(name, name))
    explorer = open_grid(
        {name: tiny(), "b": tiny(1)}, images, methods=("saliency",), classes=[name] * 5
    )
    assert explorer.wait(60)
    page = explorer.page
    for markup in (page.heads.value, page.words.value, explorer.status.message):
        assert "<img" not in markup
    assert "$x$" in explorer.page.words.value


def test_tab_and_escape_leave_the_canvas(fake_page: FakePage, open_grid: Open) -> None:
    canvas = open_grid().page.canvas.widget
    before = len(fake_page.messages)
    happen(canvas, "key_down", key="Tab", shift_key=False, ctrl_key=False, meta_key=False)
    assert any(one == canvas.comm.comm_id for _, one, _ in fake_page.messages[before:])


def test_closing_a_grid_leaves_what_another_one_has_computed(
    open_grid: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_grid()
    assert first.wait(60)
    second = MethodsExplorer(first.comparison, first.settings)
    first.close()
    monkeypatch.setattr(Comparison, "compute", lambda *_: pytest.fail("computed anew"))
    assert second.wait(60)
    assert second.status.message == "6 maps of the output."
    second.close()
    assert not any(
        second.comparison.cached(task) for task in second.settings.tasks(second.comparison)
    )


@pytest.mark.parametrize("networks", [1, 2, 5])
@pytest.mark.parametrize("size", [(24, 60), (60, 24), (32, 32)])
def test_tiles_lie_apart_on_the_canvas(networks: int, size: tuple[int, int]) -> None:
    place = Layout.of(range(2), networks, 3, size, across=4)
    high, wide = place.size
    boxes = [place.box(row, column) for row in range(3) for column in range(2 * networks)]
    boxes += [place.photo(group) for group in range(2)]
    cells = np.zeros((high, wide), int)
    for left, top, width, height in boxes if networks < 5 else boxes[:5]:
        assert left >= 0
        assert left + width <= wide
        assert top + height <= high
        cells[top : top + height, left : left + width] += 1
    assert cells.max() == 1


def test_two_photos_fill_most_of_the_canvas() -> None:
    place = Layout.of(range(2), 1, 3, (32, 32), across=2)
    assert place.left(1) + place.tile[1] > 0.85 * place.size[1]


@pytest.mark.all
def test_notebook_runs_from_top_to_bottom(fake_page: FakePage) -> None:
    _, methods, networks, explorer = run_notebook("featurevis.ipynb", {})
    assert len(methods.axes) > 12
    assert len(networks.axes) > 6
    assert explorer.wait(120)
    assert not any(cell.error for cell in explorer.cells().values())
    assert shows_its_maps(explorer, tolerance=15)
    explorer.close()


@pytest.mark.assets
@pytest.mark.slow
def test_notebook_draws_its_figures_on_real_photos(assets: Path, fake_page: FakePage) -> None:
    import torchvision

    network = torchvision.models.squeezenet1_0()
    network.load_state_dict(torch.load(assets / "models/squeezenet1_0_imagenet.pth"))
    names = ("014_indigo_bunting", "776_sax", "106_wombat", "812_space_shuttle")
    images = pw.load_images([assets / "photos/imagenet" / f"{name}.jpg" for name in names])
    untrained = torchvision.models.squeezenet1_0()
    networks = {"SqueezeNet": network, "untrained": untrained}
    actual = {"pw": pw, "network": network, "networks": networks, "images": images}
    _, drawn, explorer = run_notebook("featurevis.ipynb", actual | {"classes": "imagenet"}, first=1)
    assert any(one.get_text().startswith("wombat, ") for one in drawn.texts)
    assert explorer.wait(300)
    assert not any(cell.error for cell in explorer.cells().values())
    explorer.close()
