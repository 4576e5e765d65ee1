"""What fails is told, the last picture stays, and the next one is whole."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.errors import PFVValueError
from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
from pfv_widgets.widgets.gallery.render_loop import RenderLoop
from pfv_widgets.widgets.toolkit.geometry import Page, Spot
from tests.widgets.conftest import full_width
from tests.widgets.gallery.conftest import COARSE, FINE, Harness, OpenHarness, fail

pytestmark = full_width


def test_error_keeps_the_last_picture_and_marks_and_look_still_follow(harness: Harness) -> None:
    first = harness.with_(sigma=2.0, view="heatmap")
    harness.paint(first)
    before, frame = harness.picture, harness.loop.frame
    with harness.failing():
        wrong = replace(harness.with_(first, sigma=3.0), hover=Spot(0, 0.5, 0.5))
        assert harness.paint(wrong) == [None]
    assert harness.messages[-1] == ("ZeroDivisionError: no luck", "error")
    assert (harness.loop.state, harness.loop.frame) == (first, frame)
    changed = np.abs(harness.picture - before).max(axis=2) > 0
    rows, columns = np.nonzero(changed)
    box = harness.grid.grid.box(0)
    assert rows.mean() + 0.5 == pytest.approx(box[1] + 0.5 * box[3], abs=1)
    assert columns.mean() + 0.5 == pytest.approx(box[0] + 0.5 * box[2], abs=1)
    assert changed.sum() < 4000
    assert harness.paint(harness.with_(first, sigma=3.0)) == [COARSE, FINE]
    assert harness.messages[-1][1] == "ok"


def test_error_of_the_engine_is_told_in_its_own_words_also_under_a_pointer(
    harness: Harness,
) -> None:
    hovering = replace(harness.start, hover=Spot(1, 0.5, 0.5))
    harness.paint(hovering)
    harness.messages.clear()
    assert harness.paint(harness.with_(hovering, layer="nowhere")) == [None]
    (message,) = [message for message, kind in harness.messages if kind == "error"]
    assert "is not in this network" in message
    assert "then" not in message
    assert harness.grid.look.rings[-1].spot == Spot(1, 0.5, 0.5)


def test_settings_that_were_shown_before_an_error_are_painted_again(harness: Harness) -> None:
    wrong = harness.with_(pins=((9, 0.5, 0.5),))
    harness.paint(wrong)
    assert harness.messages[-1][1] == "error"
    assert harness.rejected == [(wrong.settings, harness.start.settings)]
    assert harness.paint(harness.start) == [COARSE, FINE]
    assert harness.messages[-1][1] == "ok"


def test_basis_of_no_image_waits_for_one_and_keeps_the_last_picture(harness: Harness) -> None:
    assert harness.paint(harness.with_(images=(0.0,) * 4)) == [None]
    assert harness.messages[-1] == (
        "No image is in the batch. Take one in under Batch, or with Space.",
        "warning",
    )
    assert harness.rejected == []
    assert harness.paint(harness.with_(images=(1.0, 0.0, 0.0, 0.0))) == [COARSE, FINE]


def test_stop_keeps_the_picture_that_is_on_show(harness: Harness) -> None:
    harness.stops = True
    other = harness.pfv.layers[1].name
    before = harness.picture
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pfv_widgets.widgets.gallery.render_loop._SOON", -1.0)
        harness.paint(harness.with_(layer=other))
    assert harness.rejected == [(harness.with_(layer=other).settings, harness.start.settings)]
    assert np.abs(harness.picture - before).max() < 1


def test_error_of_the_fine_picture_leaves_the_coarse_one(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = harness.pfv.render

    def coarse_only(*args: Any, size: tuple[int, int], **kwargs: Any) -> Frame:
        return fail() if size[1] > COARSE else render(*args, size=size, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(harness.pfv, "render", coarse_only)
        assert harness.paint(harness.with_(sigma=2.0)) == [COARSE, None]
    assert harness.messages[-1][1] == "error"
    assert harness.paint(harness.with_(sigma=2.0)) == [COARSE, FINE]


@pytest.mark.parametrize("times", [1, 2])
def test_error_while_sending_is_told_and_the_next_frame_is_whole(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    expected = harness.with_(sigma=2.0, view="heatmap")
    harness.paint(expected)
    before = harness.picture
    send, left = CanvasCommands.send, [times]

    def broken(commands: CanvasCommands, *arguments: Any) -> int:
        if left[0]:
            left[0] -= 1
            raise OSError("the line is broken")
        return send(commands, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CanvasCommands, "send", broken)
        harness.paint(harness.with_(expected, sigma=0.5))
    assert left == [0]
    assert harness.messages[-1][1] == "error"
    assert "the line is broken" in harness.messages[-1][0]
    harness.paint(expected)
    assert harness.messages[-1][1] == "ok"
    assert np.abs(harness.picture - before).max() < 1


def test_page_that_cannot_be_rendered_leaves_the_old_one_whole(open_harness: OpenHarness) -> None:
    harness = open_harness(number=6)
    start = replace(harness.start, page=Page(0, 2))
    harness.paint(start)
    before = harness.picture
    next_page = replace(start, page=Page(4, 2))
    with harness.failing():
        harness.paint(next_page)
    assert harness.messages[-1][1] == "error"
    assert harness.grid.on_page == range(4)
    assert (harness.picture == before).all()
    harness.paint(next_page)
    assert harness.grid.on_page == range(2, 6)
    assert harness.messages[-1][1] == "ok"
    harness.paint(start)
    assert np.abs(harness.picture - before).max() < 1


def test_page_that_cannot_be_sent_comes_with_the_next_frame(
    open_harness: OpenHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = open_harness(number=6)
    start, next_page = (replace(harness.start, page=Page(first, 2)) for first in (0, 4))
    harness.paint(next_page)
    expected = harness.picture
    harness.paint(start)
    with monkeypatch.context() as patch:
        patch.setattr(CanvasCommands, "send", fail)
        harness.paint(next_page)
    assert harness.messages[-1][1] == "error"
    harness.paint(next_page)
    assert harness.messages[-1][1] == "ok"
    assert np.abs(harness.picture - expected).max() < 1


def test_new_page_is_sent_everything_also_after_an_error(harness: Harness) -> None:
    harness.paint(harness.start)
    before = harness.picture
    with harness.failing():
        harness.paint(harness.with_(sigma=2.0))
        harness.fake_page.load_anew()
        harness.loop.page_ready(harness.with_(sigma=2.0))
        assert harness.loop.wait(30)
    assert harness.messages[-1][1] == "error"
    assert np.abs(harness.picture - before).max() < 1


def test_error_while_reading_the_numbers_is_told_and_the_picture_is_the_new_one(
    harness: Harness,
) -> None:
    harness.on_seen = fail
    harness.paint(harness.with_(sigma=2.0))
    assert harness.messages[-1][1] == "error"
    assert harness.loop.state == harness.with_(sigma=2.0)
    harness.on_seen = lambda: None
    harness.paint(harness.with_(sigma=3.0))
    assert harness.messages[-1][1] == "ok"


def test_first_picture_that_fails_is_raised(harness: Harness) -> None:
    loop = RenderLoop(harness.pfv, harness.grid, harness, *([lambda *_: None] * 2))
    with pytest.raises(PFVValueError, match="every weight is 0"):
        loop.draw(harness.with_(images=(0.0,) * 4))
    loop.close(1)


def test_whoever_waits_for_a_picture_that_fails_goes_on(harness: Harness) -> None:
    begin = time.monotonic()
    with harness.failing():
        harness.loop.submit(harness.with_(sigma=2.0), 20)
        assert time.monotonic() - begin < 10
        assert harness.loop.wait(30)
    assert harness.messages[-1][1] == "error"
