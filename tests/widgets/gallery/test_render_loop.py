"""A state becomes pixels: coarse at once, fine after a rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from pfv_widgets.engine.colouring.colour_maps import NEUTRAL_GREY
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.widgets.gallery.view_state import Selection
from pfv_widgets.widgets.toolkit.geometry import Page, Spot
from tests.widgets.conftest import full_width
from tests.widgets.gallery.conftest import COARSE, FINE, Harness, OpenHarness, fail

pytestmark = full_width


def test_coarse_picture_comes_first_and_a_fine_one_after_a_rest(harness: Harness) -> None:
    assert harness.paint(harness.with_(sigma=2.0)) == [COARSE, FINE]
    assert harness.loop.frame is not None
    assert tuple(harness.loop.frame.heatmaps.shape[1:3]) == (FINE, FINE)
    assert harness.messages[-1][1] == "ok"


def test_smooth_pictures_of_few_positions_are_coarser_while_a_hand_moves(
    open_harness: OpenHarness,
) -> None:
    harness = open_harness(side=40)
    names = {layer.shape[2]: layer.name for layer in harness.pfv.layers}
    few, many = names[min(names)], names[max(names)]
    widths = {
        (layer, weighting): harness.loop.coarse(harness.with_(layer=layer, weighting=weighting))
        for layer in (few, many)
        for weighting in ("flat", "gradual")
    }
    assert widths[few, "flat"] < widths[few, "gradual"]
    assert widths[many, "flat"] == widths[many, "gradual"] == widths[few, "gradual"]
    pinned = harness.with_(layer=few, weighting="gradual", pins=((0, 0.5, 0.5),))
    assert harness.loop.coarse(pinned) == widths[few, "flat"]


def test_small_pictures_are_painted_on_one_core_and_networks_run_on_all(harness: Harness) -> None:
    many = torch.get_num_threads()
    counts: list[int] = []
    render = harness.pfv.render

    def counted(*args: Any, **kwargs: Any) -> Frame:
        counts.append(torch.get_num_threads())
        return render(*args, **kwargs)

    harness.pfv.render = counted  # type: ignore[method-assign]
    try:
        torch.set_num_threads(3)
        harness.paint(harness.with_(sigma=2.0))
        harness.paint(harness.with_(layer=harness.pfv.layers[0].name))
        assert counts[0] == 1
        assert counts[2] == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(many)


@pytest.mark.parametrize(("side", "finer"), [(120, True), (40, False)])
def test_picture_that_went_uncompressed_is_followed_by_one_with_all_its_colours(
    open_harness: OpenHarness, side: int, finer: bool
) -> None:
    harness = open_harness(side=side)
    harness.grid.near = True
    state = harness.with_(sigma=2.0)
    harness.fake_page.drawings.clear()
    coarse, fine = harness.paint(state)
    assert coarse is not None
    assert fine is not None
    assert (fine > coarse) == finer
    kinds = [file[:2] for drawing in harness.fake_page.drawings for file in drawing.pictures]
    assert kinds == [b"BM", b"\xff\xd8"]
    assert not harness.grid.rough
    assert harness.paint(harness.with_(state, opacity=0.3)) == [None]


def test_fine_picture_is_that_of_the_engine(harness: Harness) -> None:
    state = harness.with_(sigma=2.0, view="heatmap", weighting="gradual")
    harness.paint(state)
    frame = harness.pfv.render(state.settings, size=(FINE, FINE))
    for place in range(4):
        left, top, width, height = harness.grid.grid.box(place)
        actual = harness.picture[top : top + height, left : left + width]
        middles = actual[2::4, 2::4]
        expected = 255 * frame.heatmaps[place].numpy()
        assert np.abs(middles - expected).mean() < 6


def test_no_second_picture_where_the_first_shows_all_there_is(open_harness: OpenHarness) -> None:
    harness = open_harness(side=32)
    assert harness.paint(harness.with_(sigma=2.0)) == [COARSE]


def test_zoomed_image_gets_a_picture_as_fine_as_the_screen(harness: Harness) -> None:
    coarse, fine = harness.paint(replace(harness.start, page=Page(2, 1)))
    assert coarse is not None
    assert fine is not None
    assert coarse < 200
    assert fine >= 480


def test_request_that_waits_already_drops_the_fine_picture(harness: Harness) -> None:
    second = harness.with_(sigma=3.0)
    harness.on_paint = cache(lambda: harness.loop.submit(second))
    assert harness.paint(harness.with_(sigma=2.0)) == [COARSE, COARSE, FINE]
    assert harness.loop.state == second


def test_request_during_the_rest_drops_the_fine_picture(harness: Harness) -> None:
    second = harness.with_(sigma=3.0)
    harness.on_seen = cache(threading.Timer(0.03, harness.loop.submit, [second]).start)
    assert harness.paint(harness.with_(sigma=2.0)) == [COARSE, COARSE, FINE]
    assert harness.loop.state == second


def test_change_of_the_look_alone_keeps_the_fine_picture(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.paint(harness.with_(sigma=2.0))
    monkeypatch.setattr(harness.pfv, "render", fail)
    assert harness.paint(harness.with_(sigma=2.0, opacity=0.1)) == [None]
    assert harness.paint(replace(harness.with_(sigma=2.0, view="photo"), cursor=1)) == [None]


def test_look_that_comes_during_the_rest_is_followed_by_the_fine_picture(harness: Harness) -> None:
    second = harness.with_(sigma=2.0, opacity=0.3)
    harness.on_paint = cache(lambda: harness.loop.submit(second))
    assert harness.paint(harness.with_(sigma=2.0)) == [COARSE, None, FINE]


def test_what_is_said_beside_the_fine_picture_gives_way_at_its_end(harness: Harness) -> None:
    def beside() -> None:
        if len(harness.widths) == 2:
            harness.show_message("Naming …", "busy")
            with ThreadPoolExecutor(1) as another:
                another.submit(harness.loop.repeat).result()

    harness.on_paint = beside
    assert harness.paint(harness.with_(sigma=2.0)) == [COARSE, FINE]
    assert harness.messages[-2:] == [("Naming …", "busy"), ("Up to date.", "ok")]


def test_progress_of_the_fine_picture_gives_way_to_the_report(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pfv_widgets.widgets.gallery.render_loop._SOON", -1.0)
    harness.messages.clear()
    assert harness.paint(harness.with_(sigma=2.0)) == [COARSE, FINE]
    assert [kind for _, kind in harness.messages].count("busy") >= 2  # of both pictures
    assert harness.messages[-1][1] == "ok"
    assert harness.messages[-1][0].startswith("Up to date")


def test_only_the_images_of_the_page_are_rendered(open_harness: OpenHarness) -> None:
    harness = open_harness(number=6)
    harness.paint(replace(harness.start, page=Page(4, 2)))
    assert harness.loop.frame is not None
    assert harness.loop.frame.indices == (2, 3, 4, 5)


def test_new_page_of_the_browser_gets_everything(harness: Harness) -> None:
    state = replace(harness.with_(sigma=2.0), cursor=1)
    harness.paint(state)
    before = harness.picture
    harness.fake_page.load_anew()
    harness.fake_page.drawings.clear()
    harness.loop.page_ready(state)
    assert harness.loop.wait(30)
    assert [len(drawing.pictures) for drawing in harness.fake_page.drawings] == [2]
    assert np.abs(harness.picture - before).max() < 1


def test_positions_like_the_one_under_the_pointer_are_asked_for_once(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    nearest = harness.pfv.nearest

    def counted(*place: Any, **kwargs: Any) -> Any:
        calls.append(place)
        return nearest(*place, **kwargs)

    monkeypatch.setattr(harness.pfv, "nearest", counted)
    harness.paint(harness.start)
    assert calls == []
    here = replace(harness.start, hover=Spot(1, 0.3, 0.3))
    for state in (here, harness.with_(here, opacity=0.2), harness.with_(here, sigma=2.0)):
        harness.paint(state)
    assert calls == [(1, 0.3, 0.3)]
    harness.paint(replace(here, hover=Spot(1, 0.6, 0.3)))
    assert len(calls) == 2
    harness.paint(harness.with_(here, layer=harness.pfv.layers[2].name))
    assert len(calls) == 3


def test_positions_outside_of_the_selection_fade_to_grey(harness: Harness) -> None:
    state = harness.with_(view="heatmap")
    harness.paint(state)
    whole = harness.picture
    _, rows, columns = harness.pfv.layer(state.settings.layer).shape
    mask = np.zeros((4, rows, columns), bool)
    mask[1, :, : columns // 2] = True
    assert harness.paint(replace(state, selection=Selection(mask))) == [COARSE, FINE]
    for place in range(4):
        left, top, width, height = harness.grid.grid.box(place)
        before, after = (
            p[top : top + height, left : left + width] for p in (whole, harness.picture)
        )
        half = width // 2
        faded = 0.2 * before + 0.8 * NEUTRAL_GREY * 255
        assert np.abs(after - faded)[:, half + 10 :].max() < 12
        expected = before if place == 1 else faded
        assert np.abs(after - expected)[:, : half - 10].max() < 12
    harness.paint(state)
    assert np.abs(harness.picture - whole).max() < 1


def test_images_out_of_the_basis_pins_and_cursor_are_in_the_look(harness: Harness) -> None:
    pins = ((0, 0.1, 0.2), (3, 0.5, 0.5))
    state = replace(harness.with_(images=(1, 0, 1, 0.5), pins=pins), cursor=2)
    harness.paint(state)
    look = harness.grid.look
    assert (look.out, look.cursor) == ({1}, 2)
    assert [(ring.spot, ring.bold) for ring in look.rings] == [
        (Spot(0, 0.1, 0.2), True),
        (Spot(3, 0.5, 0.5), True),
    ]
    assert len({ring.colour for ring in look.rings}) == 2


def test_pointer_is_read_when_it_moves_or_the_numbers_change(harness: Harness) -> None:
    harness.pointed.clear()
    here = replace(harness.start, hover=Spot(1, 0.3, 0.3))
    states = [here, harness.with_(here, sigma=2.0), replace(here, cursor=1)]
    for state in states:
        harness.paint(state)
    assert harness.pointed == states
    harness.paint(replace(states[-1], brush=(Spot(0, 0, 0), Spot(0, 1, 1))))
    assert harness.pointed == states
    harness.loop.refresh(states[-1])
    assert harness.loop.wait(30)
    assert harness.pointed == [*states, states[-1]]


def test_layer_that_must_be_computed_is_announced(harness: Harness) -> None:
    harness.messages.clear()
    layer = harness.pfv.layers[1].name
    harness.paint(harness.with_(layer=layer))
    assert harness.messages[0] == (f"Computing {layer} …", "busy")
    harness.messages.clear()
    harness.paint(harness.start)
    assert not any(kind == "busy" for _, kind in harness.messages)


def test_warnings_of_a_frame_are_told(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    render = harness.pfv.render
    monkeypatch.setattr(
        harness.pfv, "render", lambda *a, **k: replace(render(*a, **k), warnings=("Mind this.",))
    )
    harness.paint(harness.with_(sigma=2.0))
    message, kind = harness.messages[-1]
    assert kind == "warning"
    assert message.endswith("Mind this.")


def test_closed_painter_paints_no_more(harness: Harness) -> None:
    harness.loop.close(10)
    harness.widths.clear()
    harness.fake_page.drawings.clear()
    assert harness.paint(harness.with_(sigma=2.0)) == []
    harness.loop.page_ready(harness.start)
    assert harness.fake_page.drawings == []


def test_whoever_asks_may_wait_until_the_picture_is_drawn(harness: Harness) -> None:
    harness.on_paint = lambda: time.sleep(0.2)
    state = harness.with_(sigma=2.0)
    harness.loop.submit(state, 10)
    assert harness.loop.state is state
    assert harness.loop.wait(30)


def test_nobody_waits_behind_another_picture_or_longer_than_said(harness: Harness) -> None:
    free, entered = threading.Event(), threading.Event()
    harness.on_paint = lambda: (entered.set(), free.wait(20))
    begin = time.monotonic()
    harness.loop.submit(harness.with_(sigma=2.0), 0.05)
    assert entered.wait(20)
    last = harness.with_(sigma=3.0)
    harness.loop.submit(last, 15)
    assert time.monotonic() - begin < 10
    free.set()
    assert harness.loop.wait(30)
    assert harness.loop.state == last


@pytest.mark.parametrize(("idle", "slow"), [(True, True), (False, True), (True, False)])
def test_slow_network_runs_for_other_layers_in_time_to_spare(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, idle: bool, slow: bool
) -> None:
    asked = threading.Event()
    capture_along = harness.pfv.capture_along

    def noted(is_wanted: Callable[[], bool]) -> bool:
        try:
            return capture_along(is_wanted)
        finally:
            asked.set()

    monkeypatch.setattr(harness.pfv, "capture_along", noted)
    monkeypatch.setattr("pfv_widgets.widgets.gallery.render_loop._SPARE", 0.01)
    monkeypatch.setattr("pfv_widgets.widgets.gallery.render_loop._IDLE", 1e9 if idle else -1.0)
    monkeypatch.setattr(
        "pfv_widgets.widgets.gallery.render_loop._SOON", -1.0 if slow else float("inf")
    )
    harness.paint(harness.with_(sigma=2.0))
    assert asked.wait(30 if idle and slow else 0.1) == (idle and slow)
    said = harness.messages[-1]
    assert all(harness.pfv.is_ready(layer.name) for layer in harness.pfv.layers) == (idle and slow)
    assert said == ("Up to date.", "ok")
    assert ("In spare time" in harness.tooltip) == slow
