"""Frames come in the background: floods, reports, stops, several threads and explorers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.networks import blobs, tiny
from tests.widgets.conftest import Open
from tests.widgets.explorer_contents import (
    drawn,
    is_error,
    load_anew,
    press,
    press_button,
    shows_its_frame,
    until,
)
from tests.widgets.fake_page import FakePage, move


def test_flood_of_changes_paints_few_frames_and_ends_in_the_last(
    fake_page: FakePage, explorer: PFVExplorer
) -> None:
    load_anew(explorer)
    assert explorer.wait(60)
    fake_page.answers = False  # by itself, at once
    answer_each_frame(explorer, late=0.03)
    fake_page.drawings.clear()
    begin = time.monotonic()
    for step in range(300):
        explorer.settings = replace(explorer.settings, sigma=1 + step / 299)
    assert explorer.wait(60)
    most = (time.monotonic() - begin) / 0.03 + 3  # one after the answer to another
    assert explorer.settings.sigma == explorer.frame.settings.sigma == 2
    assert len(drawn(explorer)) < min(most, 300)
    assert shows_its_frame(explorer)


def answer_each_frame(explorer: PFVExplorer, late: float = 0.01) -> None:
    """Answer as a page does that takes a while to draw."""
    acknowledgement = explorer.gallery.render_loop.acknowledgement
    acknowledgement.answered = True

    def answer(number: int) -> None:
        time.sleep(late)
        move(acknowledgement.back, value=number)

    def sent(change: dict[str, int]) -> None:
        threading.Thread(target=answer, args=(change["new"],)).start()

    acknowledgement.out.observe(sent, "value")


def test_changes_from_two_threads_are_all_kept(explorer: PFVExplorer) -> None:
    """Sliders and clicks come in different threads with ipykernel 7."""

    def click() -> None:
        for _ in range(25):
            press(explorer, " ")

    press(explorer, "ArrowRight", "ArrowRight", "ArrowRight")
    clicking = threading.Thread(target=click)
    clicking.start()
    for step in range(25):
        move(explorer.knobs["sigma"], value=0.5 + step / 25)
        move(explorer.knobs["components"], value=1 + step % 5)
    clicking.join()
    assert explorer.settings.images == (1, 1, 0, 1)
    assert explorer.settings.sigma == 1.46
    assert explorer.settings.components == 5
    assert explorer.frame.settings == explorer.settings
    assert explorer.knobs["sigma"].value == 1.46


def test_progress_that_someone_else_wants_stays_his(fake_page: FakePage) -> None:
    calls: list[tuple[int, int]] = []

    def mine(done: int, of: int) -> None:
        calls.append((done, of))

    pfv = PFV(tiny(), blobs(3), device="cpu", progress=mine)
    explorer = PFVExplorer(pfv)
    assert explorer.wait(60)
    explorer.close()
    assert pfv.progress is mine
    assert calls[-1] == (3, 3)


def test_two_explorers_do_not_disturb_each_other(fake_page: FakePage, open_explorer: Open) -> None:
    one, other = open_explorer(), open_explorer(model=tiny(), batch=blobs(5))
    fake_page.load_anew(one.gallery.tiles.widget, other.gallery.tiles.widget)
    assert one.wait(60)
    assert other.wait(60)
    untouched = fake_page.picture(other.gallery.tiles.widget).copy()
    start = other.settings
    press(one, "Home", "ArrowRight", " ", "Enter")
    one.settings = replace(one.settings, view="split", sigma=2.0)
    assert shows_its_frame(one)
    assert other.settings == start
    assert (fake_page.picture(other.gallery.tiles.widget) == untouched).all()
    threads = [
        threading.Thread(target=flood, args=(explorer, sigma))
        for explorer, sigma in ((one, 1.5), (other, 2.5))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (one.frame.settings.sigma, other.frame.settings.sigma) == (1.5, 2.5)
    assert shows_its_frame(one)
    assert shows_its_frame(other)
    one.close()
    other.settings = replace(other.settings, sigma=0.5)
    assert shows_its_frame(other)
    assert not is_error(other)


def flood(explorer: PFVExplorer, last: float) -> None:
    for step in range(100):
        explorer.settings = replace(explorer.settings, sigma=0.5 + step / 100)
    explorer.settings = replace(explorer.settings, sigma=last)


class Slow(torch.nn.Module):
    """A network whose runs wait for a signal, and are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = tiny()
        self.ran: list[int] = []  # one list, also in copies that share the parameters
        self.may_run = threading.Event()
        self.may_run.set()

    @property
    def runs(self) -> int:
        return len(self.ran)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.ran.append(len(images))
        assert self.may_run.wait(30)
        return self.layers(images)


@pytest.fixture
def slow() -> Iterator[Slow]:
    model = Slow().eval()
    yield model
    model.may_run.set()


def test_photos_and_status_are_there_while_the_first_picture_is_computed(
    fake_page: FakePage, open_explorer: Open, slow: Slow
) -> None:
    pfv = PFV(slow, blobs(3), "cpu", chunk_size=1)
    slow.may_run.clear()
    explorer = PFVExplorer(pfv)
    canvas = explorer.gallery.tiles.widget
    fake_page.load_anew(canvas, *explorer.gallery.tiles.canvas.buffers)
    assert explorer.status.kind == "busy"
    assert not explorer.wait(0.05)
    assert fake_page.picture(canvas).std() > 20  # the photos
    slow.may_run.set()
    assert explorer.wait(60)
    assert shows_its_frame(explorer)
    assert explorer.status.message.startswith("Up to date")
    explorer.close()


def test_work_is_reported_and_stops_where_a_person_says_so(fake_page: FakePage, slow: Slow) -> None:
    explorer = PFVExplorer(PFV(slow, blobs(16), "cpu", chunk_size=1))
    assert explorer.wait(60)
    start, runs = explorer.settings, slow.runs
    slow.may_run.clear()
    explorer.settings = replace(start, layer=explorer.pfv.layers[0].name)
    until(lambda: slow.runs > runs)
    time.sleep(0.2)
    slow.may_run.set()
    slow.may_run.clear()
    until(lambda: "Running the network" in explorer.status.message)
    assert explorer.status.kind == "busy"
    assert explorer.status.done is not None
    button = explorer.status_line.stop_button
    assert button.layout.visibility == "visible"
    press_button(button)
    slow.may_run.set()
    assert explorer.wait(60)
    assert explorer.status.message == "Stopped: the last picture stays."
    assert explorer.settings == start
    assert button.layout.visibility == "hidden"
    assert slow.runs - runs < 16
    explorer.settings = replace(start, layer=explorer.pfv.layers[0].name)
    assert explorer.frame.layer == explorer.pfv.layers[0].name
    explorer.close()


@pytest.mark.parametrize(
    ("memory", "live", "expected"),
    [
        (3 << 20, 0.0, (range(17, 32), [1])),  # a slow pass is left
        (3 << 20, 1000.0, (range(32, 33), [0, 1])),  # a quick one gives a picture first
        (2 << 30, 0.0, (range(16, 17), [1])),  # one that brings the newest layer goes on
    ],
)
@pytest.mark.usefixtures("fake_page")
def test_layer_that_is_passed_over_is_finished_only_where_it_shows_something_soon(
    slow: Slow,
    monkeypatch: pytest.MonkeyPatch,
    memory: int,
    live: float,
    expected: tuple[range, list[int]],
) -> None:
    runs, shown = expected
    monkeypatch.setattr("pfv_widgets.widgets.gallery.render_loop._LIVE", live)
    explorer = PFVExplorer(PFV(slow, blobs(16), "cpu", chunk_size=1, memory=memory))
    assert explorer.wait(60)
    before, layers = slow.runs, [layer.name for layer in explorer.pfv.layers]
    render, rendered = explorer.pfv.render, []

    def noting(*args: Any, **kwargs: Any) -> Frame:
        frame = render(*args, **kwargs)
        rendered.append(layers.index(frame.layer))
        return frame

    monkeypatch.setattr(explorer.pfv, "render", noting)
    slow.may_run.clear()
    explorer.settings = replace(explorer.settings, layer=layers[0])
    until(lambda: slow.runs > before)
    explorer.settings = replace(explorer.settings, layer=layers[1])
    slow.may_run.set()
    assert explorer.wait(60)
    assert list(dict.fromkeys(rendered)) == shown
    assert slow.runs - before in runs
    assert explorer.settings.layer == explorer.frame.layer == layers[1]
    assert not is_error(explorer)
    explorer.close()


@pytest.mark.usefixtures("fake_page")
def test_pass_is_left_at_once_for_a_layer_that_is_ready(slow: Slow) -> None:
    explorer = PFVExplorer(PFV(slow, blobs(16), "cpu", chunk_size=1))
    assert explorer.wait(60)
    layers = [layer.name for layer in explorer.pfv.layers]
    explorer.pfv.capture(layers[1])
    before = slow.runs
    slow.may_run.clear()
    explorer.settings = replace(explorer.settings, layer=layers[0])
    until(lambda: slow.runs > before)
    explorer.settings = replace(explorer.settings, layer=layers[1])
    slow.may_run.set()
    assert explorer.wait(60)
    assert explorer.frame.layer == layers[1]
    assert slow.runs == before + 1
    assert not is_error(explorer)
    explorer.close()
