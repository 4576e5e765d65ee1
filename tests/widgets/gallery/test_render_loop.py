"""A state becomes pixels: coarse at once, fine after a rest, and no error ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pfv_widgets.engine.colouring.colour_maps import NEUTRAL_GREY
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import Cancelled, Progress
from pfv_widgets.errors import PFVValueError, named
from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
from pfv_widgets.widgets.browser.tile_compositing import Look
from pfv_widgets.widgets.gallery.render_loop import RenderLoop
from pfv_widgets.widgets.gallery.tile_canvas import TileCanvas
from pfv_widgets.widgets.gallery.view_state import Selection, ViewState
from pfv_widgets.widgets.toolkit.geometry import WIDE, Page, Spot
from tests.networks import blobs, tiny
from tests.widgets.recorded_page import RecordedPage

COARSE, FINE = 78, 117  # pixels of a heatmap of four images of 120 pixels


@pytest.fixture
def canvas_width() -> int:
    """The width that users see: sizes below are its."""
    return WIDE


class Studio:
    """A painter with all that it says and sends."""

    def __init__(self, recorded: RecordedPage, number: int = 4, side: int = 120) -> None:
        self.recorded = recorded
        self.pfv = PFV(tiny(), blobs(number, side), device="cpu")
        self.grid = TileCanvas(self.pfv.images.pixels)
        self.told: list[tuple[str, str]] = []
        self.rejected: list[tuple[Settings, Settings | None]] = []
        self.stops = False
        self.seen: list[ViewState] = []
        self.pointed: list[ViewState] = []
        self.widths: list[int | None] = []  # of the heatmaps of each frame; None: only a look
        self.on_paint: Callable[[], None] = lambda: None
        self.on_seen: Callable[[], None] = lambda: None
        paint = self.grid.paint

        def painted(tiles: np.ndarray | None, look: Look, *, quick: bool = False) -> int:
            sent = paint(tiles, look, quick=quick)
            self.widths.append(None if tiles is None else tiles.shape[2])
            self.on_paint()
            return sent

        self.grid.paint = painted  # type: ignore[method-assign]
        self.painter = RenderLoop(
            self.pfv,
            self.grid,
            self,  # type: ignore[arg-type] # as much of an explorer as the loop asks of it
            lambda state, _: (self.seen.append(state), self.on_seen()),
            lambda state, _: self.pointed.append(state),
        )
        self.start = ViewState(Settings(layer=self.pfv.default_layer), self.grid.page)
        self.painter.draw(self.start)

    def show_message(self, message: str, kind: str = "ok", _tip: str = "") -> None:
        self.told.append((message, kind))

    def report_progress(self, progress: Progress) -> None:
        self.told.append((str(progress), "busy"))
        if self.stops:
            raise Cancelled

    def reject(self, settings: Settings, error: Exception, shown: Settings | None) -> None:
        self.rejected.append((settings, shown))
        self.told.append((named(error), "error"))

    def with_(self, state: ViewState | None = None, **settings: Any) -> ViewState:
        state = state or self.start
        return replace(state, settings=replace(state.settings, **settings))

    def paint(self, state: ViewState) -> list[int | None]:
        """Submit a state; return the widths of the heatmaps that were painted for it."""
        self.widths.clear()
        self.painter.submit(state)
        assert self.painter.wait(30)
        return list(self.widths)

    @property
    def picture(self) -> np.ndarray:
        return self.recorded.picture(self.grid.widget).copy()

    def close(self) -> None:
        self.painter.close(10)
        self.grid.canvas.close()


Studios = Callable[..., Studio]


@pytest.fixture
def studios(recorded: RecordedPage) -> Iterator[Studios]:
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(closing(Studio(recorded, **more)))


@pytest.fixture
def studio(studios: Studios) -> Studio:
    return studios()


def fail(*_: object, **__: object) -> Frame:
    raise ZeroDivisionError("no luck")


def test_coarse_picture_comes_first_and_a_fine_one_after_a_rest(studio: Studio) -> None:
    assert studio.paint(studio.with_(sigma=2.0)) == [COARSE, FINE]
    assert studio.painter.frame is not None
    assert tuple(studio.painter.frame.heatmaps.shape[1:3]) == (FINE, FINE)
    assert studio.told[-1][1] == "ok"


def test_smooth_pictures_of_few_positions_are_coarser_while_a_hand_moves(
    studios: Studios,
) -> None:
    studio = studios(side=40)
    names = {layer.shape[2]: layer.name for layer in studio.pfv.layers}
    few, many = names[min(names)], names[max(names)]
    widths = {
        (layer, weighting): studio.painter.coarse(studio.with_(layer=layer, weighting=weighting))
        for layer in (few, many)
        for weighting in ("flat", "gradual")
    }
    assert widths[few, "flat"] < widths[few, "gradual"]
    assert widths[many, "flat"] == widths[many, "gradual"] == widths[few, "gradual"]
    pinned = studio.with_(layer=few, weighting="gradual", pins=((0, 0.5, 0.5),))
    assert studio.painter.coarse(pinned) == widths[few, "flat"]


def test_small_pictures_are_painted_on_one_core_and_networks_run_on_all(studio: Studio) -> None:
    many = torch.get_num_threads()
    counts: list[int] = []
    render = studio.pfv.render

    def counted(*args: Any, **kwargs: Any) -> Frame:
        counts.append(torch.get_num_threads())
        return render(*args, **kwargs)

    studio.pfv.render = counted  # type: ignore[method-assign]
    try:
        torch.set_num_threads(3)
        studio.paint(studio.with_(sigma=2.0))
        studio.paint(studio.with_(layer=studio.pfv.layers[0].name))
        assert counts[0] == 1
        assert counts[2] == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(many)


@pytest.mark.parametrize(("side", "finer"), [(120, True), (40, False)])
def test_picture_that_went_uncompressed_is_followed_by_one_with_all_its_colours(
    studios: Studios, side: int, finer: bool
) -> None:
    studio = studios(side=side)
    studio.grid.near = True
    state = studio.with_(sigma=2.0)
    studio.recorded.drawings.clear()
    coarse, fine = studio.paint(state)
    assert coarse is not None
    assert fine is not None
    assert (fine > coarse) == finer
    kinds = [file[:2] for drawing in studio.recorded.drawings for file in drawing.pictures]
    assert kinds == [b"BM", b"\xff\xd8"]
    assert not studio.grid.rough
    assert studio.paint(studio.with_(state, opacity=0.3)) == [None]


def test_fine_picture_is_that_of_the_engine(studio: Studio) -> None:
    state = studio.with_(sigma=2.0, view="heatmap", weighting="gradual")
    studio.paint(state)
    frame = studio.pfv.render(state.settings, size=(FINE, FINE))
    for place in range(4):
        left, top, width, height = studio.grid.grid.box(place)
        found = studio.picture[top : top + height, left : left + width]
        middles = found[2::4, 2::4]
        wanted = 255 * frame.heatmaps[place].numpy()
        assert np.abs(middles - wanted).mean() < 6


def test_no_second_picture_where_the_first_shows_all_there_is(studios: Studios) -> None:
    studio = studios(side=32)
    assert studio.paint(studio.with_(sigma=2.0)) == [COARSE]


def test_zoomed_image_gets_a_picture_as_fine_as_the_screen(studio: Studio) -> None:
    coarse, fine = studio.paint(replace(studio.start, page=Page(2, 1)))
    assert coarse is not None
    assert fine is not None
    assert coarse < 200
    assert fine >= 480


def test_wish_that_waits_already_drops_the_fine_picture(studio: Studio) -> None:
    second = studio.with_(sigma=3.0)

    def once() -> None:
        studio.on_paint = lambda: None
        studio.painter.submit(second)

    studio.on_paint = once
    assert studio.paint(studio.with_(sigma=2.0)) == [COARSE, COARSE, FINE]
    assert studio.painter.state == second


def test_wish_during_the_rest_drops_the_fine_picture(studio: Studio) -> None:
    second = studio.with_(sigma=3.0)

    def once() -> None:
        studio.on_seen = lambda: None
        threading.Timer(0.03, studio.painter.submit, [second]).start()

    studio.on_seen = once
    assert studio.paint(studio.with_(sigma=2.0)) == [COARSE, COARSE, FINE]
    assert studio.painter.state == second


def test_change_of_the_look_alone_keeps_the_fine_picture(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.paint(studio.with_(sigma=2.0))
    monkeypatch.setattr(studio.pfv, "render", fail)
    assert studio.paint(studio.with_(sigma=2.0, opacity=0.1)) == [None]
    assert studio.paint(replace(studio.with_(sigma=2.0, view="photo"), cursor=1)) == [None]


def test_look_that_comes_during_the_rest_is_followed_by_the_fine_picture(studio: Studio) -> None:
    second = studio.with_(sigma=2.0, opacity=0.3)

    def once() -> None:
        studio.on_paint = lambda: None
        studio.painter.submit(second)

    studio.on_paint = once
    assert studio.paint(studio.with_(sigma=2.0)) == [COARSE, None, FINE]


def test_error_keeps_the_last_picture_and_marks_and_look_still_follow(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = studio.with_(sigma=2.0, view="heatmap")
    studio.paint(first)
    before, frame = studio.picture, studio.painter.frame
    with monkeypatch.context() as patch:
        patch.setattr(studio.pfv, "render", fail)
        wrong = replace(studio.with_(first, sigma=3.0), hover=Spot(0, 0.5, 0.5))
        assert studio.paint(wrong) == [None]
    assert studio.told[-1] == ("ZeroDivisionError: no luck", "error")
    assert (studio.painter.state, studio.painter.frame) == (first, frame)
    changed = np.abs(studio.picture - before).max(axis=2) > 0
    rows, columns = np.nonzero(changed)
    box = studio.grid.grid.box(0)
    assert rows.mean() + 0.5 == pytest.approx(box[1] + 0.5 * box[3], abs=1)
    assert columns.mean() + 0.5 == pytest.approx(box[0] + 0.5 * box[2], abs=1)
    assert changed.sum() < 4000
    assert studio.paint(studio.with_(first, sigma=3.0)) == [COARSE, FINE]
    assert studio.told[-1][1] == "ok"


def test_what_is_said_beside_the_fine_picture_gives_way_at_its_end(studio: Studio) -> None:
    def beside() -> None:
        if len(studio.widths) == 2:
            studio.show_message("Naming …", "busy")
            with ThreadPoolExecutor(1) as another:
                another.submit(studio.painter.repeat).result()

    studio.on_paint = beside
    assert studio.paint(studio.with_(sigma=2.0)) == [COARSE, FINE]
    assert studio.told[-2:] == [("Naming …", "busy"), ("Up to date.", "ok")]


def test_error_of_the_engine_is_told_in_its_own_words_also_under_a_pointer(
    studio: Studio,
) -> None:
    hovering = replace(studio.start, hover=Spot(1, 0.5, 0.5))
    studio.paint(hovering)
    studio.told.clear()
    assert studio.paint(studio.with_(hovering, layer="nowhere")) == [None]
    (message,) = [message for message, kind in studio.told if kind == "error"]
    assert "is not in this network" in message
    assert "then" not in message
    assert studio.grid.look.rings[-1].spot == Spot(1, 0.5, 0.5)


def test_settings_that_were_shown_before_an_error_are_painted_again(studio: Studio) -> None:
    wrong = studio.with_(pins=((9, 0.5, 0.5),))
    studio.paint(wrong)
    assert studio.told[-1][1] == "error"
    assert studio.rejected == [(wrong.settings, studio.start.settings)]
    assert studio.paint(studio.start) == [COARSE, FINE]
    assert studio.told[-1][1] == "ok"


def test_basis_of_no_image_waits_for_one_and_keeps_the_last_picture(studio: Studio) -> None:
    assert studio.paint(studio.with_(images=(0.0,) * 4)) == [None]
    assert studio.told[-1] == ("No image is selected. Click one to start.", "warning")
    assert studio.rejected == []
    assert studio.paint(studio.with_(images=(1.0, 0.0, 0.0, 0.0))) == [COARSE, FINE]


def test_stop_keeps_the_picture_that_is_on_show(studio: Studio) -> None:
    studio.stops = True
    other = studio.pfv.layers[1].name
    before = studio.picture
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pfv_widgets.widgets.gallery.render_loop._SOON", -1.0)
        studio.paint(studio.with_(layer=other))
    assert studio.rejected == [(studio.with_(layer=other).settings, studio.start.settings)]
    assert np.abs(studio.picture - before).max() < 1


def test_progress_of_the_fine_picture_gives_way_to_the_report(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pfv_widgets.widgets.gallery.render_loop._SOON", -1.0)
    studio.told.clear()
    assert studio.paint(studio.with_(sigma=2.0)) == [COARSE, FINE]
    assert [kind for _, kind in studio.told].count("busy") >= 2  # of both pictures
    assert studio.told[-1][1] == "ok"
    assert studio.told[-1][0].startswith("Up to date")


def test_error_of_the_fine_picture_leaves_the_coarse_one(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = studio.pfv.render

    def coarse_only(*args: Any, size: tuple[int, int], **kwargs: Any) -> Frame:
        return fail() if size[1] > COARSE else render(*args, size=size, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(studio.pfv, "render", coarse_only)
        assert studio.paint(studio.with_(sigma=2.0)) == [COARSE, None]
    assert studio.told[-1][1] == "error"
    assert studio.paint(studio.with_(sigma=2.0)) == [COARSE, FINE]


@pytest.mark.parametrize("times", [1, 2])
def test_error_while_sending_is_told_and_the_next_frame_is_whole(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    wanted = studio.with_(sigma=2.0, view="heatmap")
    studio.paint(wanted)
    before = studio.picture
    send, left = CanvasCommands.send, [times]

    def broken(commands: CanvasCommands, *told: Any) -> int:
        if left[0]:
            left[0] -= 1
            raise OSError("the line is broken")
        return send(commands, *told)

    with monkeypatch.context() as patch:
        patch.setattr(CanvasCommands, "send", broken)
        studio.paint(studio.with_(wanted, sigma=0.5))
    assert left == [0]
    assert studio.told[-1][1] == "error"
    assert "the line is broken" in studio.told[-1][0]
    studio.paint(wanted)
    assert studio.told[-1][1] == "ok"
    assert np.abs(studio.picture - before).max() < 1


def test_page_that_cannot_be_rendered_leaves_the_old_one_whole(
    studios: Studios, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = studios(number=6)
    start = replace(studio.start, page=Page(0, 2))
    studio.paint(start)
    before = studio.picture
    turned = replace(start, page=Page(4, 2))
    with monkeypatch.context() as patch:
        patch.setattr(studio.pfv, "render", fail)
        studio.paint(turned)
    assert studio.told[-1][1] == "error"
    assert studio.grid.shown == range(4)
    assert (studio.picture == before).all()
    studio.paint(turned)
    assert studio.grid.shown == range(2, 6)
    assert studio.told[-1][1] == "ok"
    studio.paint(start)
    assert np.abs(studio.picture - before).max() < 1


def test_page_that_cannot_be_sent_comes_with_the_next_frame(
    studios: Studios, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = studios(number=6)
    start, turned = (replace(studio.start, page=Page(first, 2)) for first in (0, 4))
    studio.paint(turned)
    wanted = studio.picture
    studio.paint(start)
    with monkeypatch.context() as patch:
        patch.setattr(CanvasCommands, "send", fail)
        studio.paint(turned)
    assert studio.told[-1][1] == "error"
    studio.paint(turned)
    assert studio.told[-1][1] == "ok"
    assert np.abs(studio.picture - wanted).max() < 1


def test_only_the_images_of_the_page_are_rendered(studios: Studios) -> None:
    studio = studios(number=6)
    studio.paint(replace(studio.start, page=Page(4, 2)))
    assert studio.painter.frame is not None
    assert studio.painter.frame.indices == (2, 3, 4, 5)


def test_new_page_of_the_browser_gets_everything(studio: Studio) -> None:
    state = replace(studio.with_(sigma=2.0), cursor=1)
    studio.paint(state)
    before = studio.picture
    studio.recorded.load_anew()
    studio.recorded.drawings.clear()
    studio.painter.page_ready(state)
    assert studio.painter.wait(30)
    assert [len(drawing.pictures) for drawing in studio.recorded.drawings] == [2]
    assert np.abs(studio.picture - before).max() < 1


def test_new_page_is_sent_everything_also_after_an_error(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.paint(studio.start)
    before = studio.picture
    with monkeypatch.context() as patch:
        patch.setattr(studio.pfv, "render", fail)
        studio.paint(studio.with_(sigma=2.0))
        studio.recorded.load_anew()
        studio.painter.page_ready(studio.with_(sigma=2.0))
        assert studio.painter.wait(30)
    assert studio.told[-1][1] == "error"
    assert np.abs(studio.picture - before).max() < 1


def test_places_like_the_one_under_the_pointer_are_asked_for_once(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    nearest = studio.pfv.nearest

    def counted(*place: Any, **kwargs: Any) -> Any:
        asked.append(place)
        return nearest(*place, **kwargs)

    monkeypatch.setattr(studio.pfv, "nearest", counted)
    studio.paint(studio.start)
    assert asked == []
    here = replace(studio.start, hover=Spot(1, 0.3, 0.3))
    for state in (here, studio.with_(here, opacity=0.2), studio.with_(here, sigma=2.0)):
        studio.paint(state)
    assert asked == [(1, 0.3, 0.3)]
    studio.paint(replace(here, hover=Spot(1, 0.6, 0.3)))
    assert len(asked) == 2
    studio.paint(studio.with_(here, layer=studio.pfv.layers[2].name))
    assert len(asked) == 3


def test_places_outside_of_the_selection_fade_to_grey(studio: Studio) -> None:
    state = studio.with_(view="heatmap")
    studio.paint(state)
    whole = studio.picture
    _, rows, columns = studio.pfv.layer(state.settings.layer).shape
    mask = np.zeros((4, rows, columns), bool)
    mask[1, :, : columns // 2] = True
    assert studio.paint(replace(state, selection=Selection(mask))) == [COARSE, FINE]
    for place in range(4):
        left, top, width, height = studio.grid.grid.box(place)
        before, after = (
            p[top : top + height, left : left + width] for p in (whole, studio.picture)
        )
        half = width // 2
        faded = 0.2 * before + 0.8 * NEUTRAL_GREY * 255
        assert np.abs(after - faded)[:, half + 10 :].max() < 12
        wanted = before if place == 1 else faded
        assert np.abs(after - wanted)[:, : half - 10].max() < 12
    studio.paint(state)
    assert np.abs(studio.picture - whole).max() < 1


def test_images_out_of_the_basis_pins_and_cursor_are_in_the_look(studio: Studio) -> None:
    pins = ((0, 0.1, 0.2), (3, 0.5, 0.5))
    state = replace(studio.with_(images=(1, 0, 1, 0.5), pins=pins), cursor=2)
    studio.paint(state)
    look = studio.grid.look
    assert (look.out, look.cursor) == ({1}, 2)
    assert [(ring.spot, ring.bold) for ring in look.rings] == [
        (Spot(0, 0.1, 0.2), True),
        (Spot(3, 0.5, 0.5), True),
    ]
    assert len({ring.colour for ring in look.rings}) == 2


def test_pointer_is_read_when_it_moves_or_the_numbers_change(studio: Studio) -> None:
    studio.pointed.clear()
    here = replace(studio.start, hover=Spot(1, 0.3, 0.3))
    states = [here, studio.with_(here, sigma=2.0), replace(here, cursor=1)]
    for state in states:
        studio.paint(state)
    assert studio.pointed == states
    studio.paint(replace(states[-1], brush=(Spot(0, 0, 0), Spot(0, 1, 1))))
    assert studio.pointed == states
    studio.painter.refresh(states[-1])
    assert studio.painter.wait(30)
    assert studio.pointed == [*states, states[-1]]


def test_error_while_reading_the_numbers_is_told_and_the_picture_is_the_new_one(
    studio: Studio,
) -> None:
    studio.on_seen = fail
    studio.paint(studio.with_(sigma=2.0))
    assert studio.told[-1][1] == "error"
    assert studio.painter.state == studio.with_(sigma=2.0)
    studio.on_seen = lambda: None
    studio.paint(studio.with_(sigma=3.0))
    assert studio.told[-1][1] == "ok"


def test_layer_that_must_be_computed_is_announced(studio: Studio) -> None:
    studio.told.clear()
    layer = studio.pfv.layers[1].name
    studio.paint(studio.with_(layer=layer))
    assert studio.told[0] == (f"Computing {layer} …", "busy")
    studio.told.clear()
    studio.paint(studio.start)
    assert not any(kind == "busy" for _, kind in studio.told)


def test_warnings_of_a_frame_are_told(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    render = studio.pfv.render
    monkeypatch.setattr(
        studio.pfv, "render", lambda *a, **k: replace(render(*a, **k), warnings=("Mind this.",))
    )
    studio.paint(studio.with_(sigma=2.0))
    message, kind = studio.told[-1]
    assert kind == "warning"
    assert message.endswith("Mind this.")


def test_closed_painter_paints_no_more(studio: Studio) -> None:
    studio.painter.close(10)
    studio.widths.clear()
    studio.recorded.drawings.clear()
    assert studio.paint(studio.with_(sigma=2.0)) == []
    studio.painter.page_ready(studio.start)
    assert studio.recorded.drawings == []


def test_first_picture_that_fails_is_raised(studio: Studio) -> None:
    painter = RenderLoop(studio.pfv, studio.grid, studio, *([lambda *_: None] * 2))
    with pytest.raises(PFVValueError, match="every weight is 0"):
        painter.draw(studio.with_(images=(0.0,) * 4))
    painter.close(1)


def test_whoever_asks_may_wait_until_the_picture_is_drawn(studio: Studio) -> None:
    studio.on_paint = lambda: time.sleep(0.2)
    state = studio.with_(sigma=2.0)
    studio.painter.submit(state, 10)
    assert studio.painter.state is state
    assert studio.painter.wait(30)


def test_nobody_waits_behind_another_picture_or_longer_than_said(studio: Studio) -> None:
    free, entered = threading.Event(), threading.Event()
    studio.on_paint = lambda: (entered.set(), free.wait(20))
    begin = time.monotonic()
    studio.painter.submit(studio.with_(sigma=2.0), 0.05)
    assert entered.wait(20)
    last = studio.with_(sigma=3.0)
    studio.painter.submit(last, 15)
    assert time.monotonic() - begin < 10
    free.set()
    assert studio.painter.wait(30)
    assert studio.painter.state == last


def test_whoever_waits_for_a_picture_that_fails_goes_on(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(studio.pfv, "render", fail)
    begin = time.monotonic()
    studio.painter.submit(studio.with_(sigma=2.0), 20)
    assert time.monotonic() - begin < 10
    assert studio.painter.wait(30)
    assert studio.told[-1][1] == "error"
