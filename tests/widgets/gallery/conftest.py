"""A render loop on a fake page, with all that it says and sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import Cancelled, Progress
from pfv_widgets.errors import named
from pfv_widgets.widgets.browser.tile_compositing import Look
from pfv_widgets.widgets.gallery.render_loop import RenderLoop
from pfv_widgets.widgets.gallery.tile_canvas import TileCanvas
from pfv_widgets.widgets.gallery.view_state import ViewState
from tests.networks import blobs, tiny
from tests.widgets.fake_page import FakePage

COARSE, FINE = 78, 117  # pixels of a heatmap of four images of 120 pixels


class Harness:
    """A render loop with all that it says and sends."""

    def __init__(self, fake_page: FakePage, number: int = 4, side: int = 120) -> None:
        self.fake_page = fake_page
        self.pfv = PFV(tiny(), blobs(number, side), device="cpu")
        self.grid = TileCanvas(self.pfv.images.pixels)
        self.messages: list[tuple[str, str]] = []
        self.tooltip = ""  # of the last message
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
        self.loop = RenderLoop(
            self.pfv,
            self.grid,
            self,  # type: ignore[arg-type] # as much of an explorer as the loop asks of it
            lambda state, _: (self.seen.append(state), self.on_seen()),
            lambda state, _: self.pointed.append(state),
        )
        self.start = ViewState(Settings(layer=self.pfv.default_layer), self.grid.page)
        self.loop.draw(self.start)

    def show_message(self, message: str, kind: str = "ok", tip: str = "") -> None:
        self.messages.append((message, kind))
        self.tooltip = tip

    def report_progress(self, progress: Progress) -> None:
        self.messages.append((str(progress), "busy"))
        if self.stops:
            raise Cancelled

    def reject(self, settings: Settings, error: Exception, shown: Settings | None) -> None:
        self.rejected.append((settings, shown))
        self.messages.append((named(error), "error"))

    def with_(self, state: ViewState | None = None, **settings: Any) -> ViewState:
        state = state or self.start
        return replace(state, settings=replace(state.settings, **settings))

    def paint(self, state: ViewState) -> list[int | None]:
        """Submit a state; return the widths of the heatmaps that were painted for it."""
        self.widths.clear()
        self.loop.submit(state)
        assert self.loop.wait(30)
        return list(self.widths)

    @property
    def picture(self) -> np.ndarray:
        return self.fake_page.picture(self.grid.widget).copy()

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Within it, rendering raises an error."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.pfv, "render", fail)
            yield

    def close(self) -> None:
        self.loop.close(10)
        self.grid.canvas.close()


OpenHarness = Callable[..., Harness]


@pytest.fixture
def open_harness(fake_page: FakePage) -> Iterator[OpenHarness]:
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(closing(Harness(fake_page, **more)))


@pytest.fixture
def harness(open_harness: OpenHarness) -> Harness:
    return open_harness()


def fail(*_: object, **__: object) -> Frame:
    raise ZeroDivisionError("no luck")
