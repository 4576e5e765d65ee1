"""From a state to pixels on the page: quickly while a control moves, finely once it rests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache, partial

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from pfv_widgets.engine.colouring.colour_maps import NEUTRAL_GREY, PIN_COLOURS
from pfv_widgets.engine.colouring.compositing import DARKENED, GREYED, Dimming
from pfv_widgets.engine.colouring.similarity import Position
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS
from pfv_widgets.engine.device_transfer import read
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import RUNNING, Cancelled, OnProgress, Progress
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.browser.frame_acknowledgement import Acknowledgement
from pfv_widgets.widgets.browser.tile_compositing import Look, Ring
from pfv_widgets.widgets.gallery.renderer import CaptureAlong, Renderer
from pfv_widgets.widgets.gallery.tile_canvas import TileCanvas
from pfv_widgets.widgets.gallery.view_state import Selection, ViewState
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.geometry import Spot
from pfv_widgets.widgets.toolkit.latest_wins import LatestWins
from pfv_widgets.widgets.toolkit.protocols import GalleryOwner

_PATIENCE = 1.0  # seconds that a frame may take to be drawn by the page
REST = 0.15  # seconds without a newer state after which the fine picture is painted
_SOON = 0.15  # seconds of work from which its progress is worth a word
_LIVE = 2.0  # seconds of work that are finished though a control moves on: else none is seen
_SPARE = 1.0  # seconds without work from which time counts as spare
_IDLE = 0.25  # of a processor that this process may use meanwhile: else something else computes
_SELDOM = 0.3  # seconds between two readings of the numbers while a control moves
_LEAST, _COARSE, _FINEST = 34.0, 52.0, 480.0  # pixels of a heatmap: while a control moves, at most
_SAMPLES = (
    2.3  # pixels for each position of the map while a control moves: 35 dB and more if smooth
)
_ENOUGH = 0.8  # of the pixels of the finest map: enlarged smoothly, nobody tells the difference
_NEAREST = 6  # positions elsewhere that are ringed
_ALIKE = 0.5  # cosine from which a position elsewhere is worth a ring
_DIMMED = Dimming(NEUTRAL_GREY, 0.8)  # of positions outside the selection
_DIMMED_SIMILARITY = Dimming(0.0, 0.65)
_LINE = "#ffffff"

thread_pools = cache(ThreadpoolController)  # to look through all libraries takes 15 ms


class RenderLoop:
    """Paints the latest state in the background; no error ends it, none clears the picture.

    Parameters
    ----------
    explorer
        Says what happens in its status line, and goes back where a state cannot be rendered.
    on_frame
        Called with the state and its frame when the page has drawn it, and no newer one waits.
    pointed
        Called with the same at once, for what the pointer reads.
    """

    def __init__(
        self,
        pfv: Renderer,
        tiles: TileCanvas,
        explorer: GalleryOwner[Settings],
        on_frame: Callable[[ViewState, Frame], None],
        pointed: Callable[[ViewState, Frame], None],
    ) -> None:
        self._pfv, self._tiles, self._explorer = pfv, tiles, explorer
        self._began = 0.0
        self._capturing = self._longest = 0.0  # seconds of the last forward pass, of the longest
        self._on_frame, self._pointed = on_frame, pointed
        self.acknowledgement = Acknowledgement()
        self._worker = LatestWins(self._work, self._look_ahead)
        self._painting = threading.Lock()  # of the canvas
        self._new_page, self._drawn = threading.Event(), threading.Event()
        self._version = self._drawn_version = 0  # one higher where the same state is to look new
        self._reported = 0.0  # when the numbers were read last
        self._took = 0.0  # milliseconds that the last picture took
        self._busy = False  # whether the status line shows progress of the picture in work
        self._standing = ("Opening …", "busy", "")  # how the picture stands: what is said, and how
        self._near: tuple[object, tuple[Position, ...]] = (None, ())
        self.state: ViewState | None = None
        self.frame: Frame | None = None

    def submit(self, state: ViewState, patience: float = 0.0) -> None:
        """Ask for a state; return at once, or wait up to ``patience`` s until it is drawn.

        Whoever goes on working in Python would slow the drawing down. While another state is in
        work nobody waits: events would pile up.
        """
        idle = not self._worker.is_own_thread and self._worker.wait(0)
        self._drawn.clear()
        self._worker.submit(state)
        self._drawn.wait(patience if idle else 0.0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is asked for is painted; False where ``timeout`` seconds passed."""
        return self._worker.wait(timeout)

    def page_ready(self, state: ViewState) -> None:
        """Paint everything again: a page of the browser has appeared and shows nothing."""
        self.acknowledgement.answered = True
        self._new_page.set()
        if not self._worker.wait(0):  # a picture in work may take long: show the last one
            self.paint_last(state)
        self.submit(state)

    def script_ready(self, state: ViewState, *, near: bool) -> None:
        """Send a page all that is on show; ``near``: all pages are on this computer."""
        self._tiles.near = near
        self._new_page.set()
        self.submit(state)

    def refresh(self, state: ViewState) -> None:
        """Render a state anew, though it looks the same."""
        self._version += 1
        self.submit(state)

    def paint_last(self, state: ViewState) -> None:
        """Draw the photos, and the last heatmaps, if any, with the look of a state."""
        with self._painting:
            self._forget_for_a_new_page()
            self._tiles.paint(None, self._look(state, near=False))

    def _forget_for_a_new_page(self) -> None:
        if self._new_page.is_set():
            self._new_page.clear()
            self._tiles.forget()

    def close(self, timeout: float) -> None:
        """End the painting; wait for the picture in work: a canvas that is gone draws no more."""
        self._worker.close()
        self._worker.wait(timeout)
        self.acknowledgement.close()

    def draw(self, state: ViewState, width: float | None = None) -> None:
        """Paint a state with heatmaps ``width`` pixels wide; None: as a moving control needs."""
        begin = time.perf_counter()
        self._began = time.monotonic()
        frame, tiles = self.frame, None
        version = self._version  # a refresh that comes meanwhile counts for the next picture
        stale = version != self._drawn_version
        size = self._tiles.tile_size(state.page, width or self.coarse(state))
        same = not stale and state.has_heat_of(self.state)
        if frame is None or not same or size[1] > frame.heatmaps.shape[2]:
            frame = self._rendered(state, size, quick=width is None)
            tiles = _bytes(frame, state.selection)
        elif width is not None and self._tiles.rough:
            tiles = _bytes(frame, state.selection)
        look = self._look(state)
        with self._painting:
            self._forget_for_a_new_page()
            self._tiles.turn(state.page)
            self._tiles.paint(tiles, look, quick=width is None)
        pointed = stale or self.state is None or (
            (state.hover, state.cursor, state.settings)
            != (self.state.hover, self.state.cursor, self.state.settings)
        )  # fmt: skip
        self.state, self.frame, self._drawn_version = state, frame, version
        self._took = 1000 * (time.perf_counter() - begin)
        if pointed:
            self._pointed(state, frame)

    def _rendered(self, state: ViewState, size: tuple[int, int], *, quick: bool) -> Frame:
        settings = state.settings
        report = partial(self._progressed, settings.layer, quick)
        if not self._pfv.is_ready(settings.layer):
            self._capture(settings.layer, report)
        self._pfv.anchor(settings.layer, on_progress=report)
        page = tuple(self._tiles.indices(state.page))
        only = None if page == tuple(range(len(self._pfv.images))) else page
        return self._pfv.render(settings, size=size, only=only, on_progress=report)

    def _capture(self, layer: str | None, report: OnProgress) -> None:
        """Run the network: also for the layers around, once a person moves from layer to layer."""
        self._explorer.show_message(f"Computing {self._pfv.layer(layer).name} …", "busy")
        before = None if self.state is None else self.state.settings.layer
        self._pfv.capture(layer, before=before if before != layer else None, on_progress=report)
        now = time.monotonic()
        self._began, self._capturing = now, now - self._began
        self._longest = max(self._longest, self._capturing)
        newer = self._passing(layer)
        if newer is not None and self._pfv.is_ready(newer):
            raise Cancelled  # the same pass has brought what is wanted by now

    def _passing(self, layer: str | None) -> str | None:
        """Return the layer that is wanted by now, where it is another one."""
        waiting = self._worker.waiting
        newer = layer if waiting is None else waiting.settings.layer
        return None if newer == layer else newer

    def _is_passed_over(self, layer: str | None, progress: Progress, *, quick: bool) -> bool:
        """Whether work on a layer is to be left for that on another one.

        Where that one is ready, there is a picture at once. What soon shows a picture is finished:
        whoever moves on and on would see none.
        """
        newer = self._passing(layer)
        if newer is None:
            return False
        took = time.monotonic() - self._began
        if quick and progress.stage == RUNNING:
            if self._pfv.is_ready(newer):
                return True
            slow = max(took, self._capturing) > _LIVE
            return slow and not self._pfv.is_ready(newer, soon=True)
        return not quick or took > _LIVE

    def _progressed(self, layer: str | None, quick: bool, progress: Progress) -> None:
        """Report work that takes a while; leave a layer that somebody has passed over."""
        if self._is_passed_over(layer, progress, quick=quick):
            raise Cancelled
        if time.monotonic() - self._began > _SOON:
            self._busy = True
            self._explorer.report_progress(progress)
        if self._pfv.on_progress is not None:
            self._pfv.on_progress(progress)
        elif self._pfv.progress is not None and progress.stage == RUNNING:
            self._pfv.progress(progress.done, progress.total)

    def _work(self, state: ViewState) -> None:
        """Paint in the background; no error ends the thread."""
        settings, images = state.settings, state.settings.images
        if images is not None and not any(images) and not settings.shows_similarity:
            self._wait_for_images(state)
            return
        with self._lean(state):
            try:
                try:
                    self.draw(state)
                finally:
                    self._drawn.set()
            except Cancelled as stop:
                if self._worker.waiting is None:  # nothing else is asked for: a person stopped it
                    self._fail(state, stop)
            except Exception as error:
                self._fail(state, error)
            else:
                self._settle(state)

    @property
    def _capture_along(self) -> CaptureAlong | None:
        """What runs a network that takes its time in spare time; None: another one."""
        return self._pfv.capture_along if self._longest >= _SOON else None

    def _look_ahead(self) -> None:
        """Run a network that takes its time for layers that somebody may go to, in spare time.

        The picture on show is up to date meanwhile: the tooltip of the status line says it.
        """
        capture_along = self._capture_along
        if self.state is None or capture_along is None:
            return
        used = time.process_time()
        while not self._worker.newer(_SPARE):
            before, used = used, time.process_time()
            if used - before < _IDLE * _SPARE:
                try:
                    if capture_along(lambda: not self._worker.newer()):
                        return
                except PFVError:  # told where such a layer is chosen
                    return

    def _wait_for_images(self, state: ViewState) -> None:
        """Keep the last picture, dimmed: a basis needs an image."""
        self._version += 1
        self._drawn.set()
        self._standing = text.NO_IMAGE, "warning", ""
        self._explorer.show_message(*self._standing)
        self.paint_last(state)
        if self.frame is not None:
            self._pointed(state, self.frame)  # images have other weights

    def _lean(self, state: ViewState) -> AbstractContextManager[object]:
        """Keep this thread to one core, unless a network has to run.

        The parts of such small pictures wait for one another longer than they are worked on
        where a browser wants a core as well.
        """
        with suppress(PFVError):  # painting meets the same error, and tells it
            if self._pfv.is_ready(state.settings.layer):
                torch.get_num_threads()  # sets up a new thread, which would undo the limit
                return thread_pools().limit(limits=1, user_api="openmp")
        return nullcontext()

    def _settle(self, state: ViewState) -> None:
        """Wait for the page, then read the numbers and paint finely, unless a control moves on."""
        self._await_page()
        moving = self._worker.newer()
        if moving and time.monotonic() - self._reported < _SELDOM:
            return
        try:
            self.report(state)
            if not moving and self.gains(state) and not self._worker.newer(REST):
                self.draw(state, self._finest(state))
                self._await_page()
                if self._busy:
                    self.report(state)
        except Cancelled:  # what is on show is only less fine
            self.report(state)
        except Exception as error:
            self._fail(state, error)

    def _await_page(self) -> None:
        """Wait until the page has drawn what it was sent, where there is one that answers."""
        if self.acknowledgement.answered:
            self.acknowledgement.wait(_PATIENCE)

    def report(self, state: ViewState) -> None:
        """Say that a state is painted, and let its numbers be read."""
        assert self.frame is not None  # it is drawn
        self._reported, self._busy = time.monotonic(), False
        self._say(self.frame)
        self._on_frame(state, self.frame)

    def repeat(self) -> None:
        """Say again how the picture stands; where one is in work, at its end."""
        self._worker.at_rest(lambda: self._explorer.show_message(*self._standing))

    def _say(self, frame: Frame) -> None:
        message = " ".join(frame.warnings) or "Up to date."
        kind = "warning" if frame.warnings else "ok"
        tooltip = f"Updated in {self._took:.0f} ms."
        if self._capture_along is not None:
            tooltip += " In spare time, other layers are computed, so that they are there sooner."
        self._standing = message, kind, tooltip
        self._explorer.show_message(*self._standing)

    def _fail(self, state: ViewState, error: Exception) -> None:
        """Keep the last picture, whose settings come back; look and marks still follow."""
        self._version += 1
        previous = None if self.state is None else self.state.settings
        try:
            self.paint_last(state)
        except Exception as second:  # the first one is the cause
            error.add_note(repr(second))
        self._explorer.reject(state.settings, error, previous)

    def coarse(self, state: ViewState) -> float:
        """Pixels of a heatmap that are enough for the moment: fewer are there sooner."""
        if not WEIGHTINGS[self._weighting(state)].smooth:
            return _COARSE
        width = self._pfv.layer(state.settings.layer).shape[2]
        return min(max(_SAMPLES * width, _LEAST), _COARSE)

    def _finest(self, state: ViewState) -> float:
        """Pixels of a heatmap beyond which there is nothing more to see."""
        if state.page.columns == 1:
            return _FINEST
        return _ENOUGH * self._pfv.detail(state.settings.layer, self._weighting(state))

    def _weighting(self, state: ViewState) -> str:
        """Return what decides on the detail of a picture; similarity uses no earlier layer."""
        similarity = state.settings.pinned(len(self._pfv.images))
        plain = next(name for name, one in WEIGHTINGS.items() if not one.uses_layers)
        return plain if similarity else state.settings.weighting

    def gains(self, state: ViewState) -> bool:
        """Whether a finer picture than the one on show would show more."""
        if self._tiles.rough:
            return True
        fine = self._tiles.tile_size(state.page, self._finest(state))
        return self.frame is not None and fine[1] > self.frame.heatmaps.shape[2]

    def _look(self, state: ViewState, *, near: bool = True) -> Look:
        settings = state.settings
        weights = settings.images or ()
        out = frozenset(index for index, weight in enumerate(weights) if weight == 0)
        rings = [
            Ring(Spot(*pin), PIN_COLOURS[number % len(PIN_COLOURS)], bold=True)
            for number, pin in enumerate(settings.pins)
        ]
        if state.hover is not None:
            positions = self._nearest(state) if near else ()
            rings += [Ring(Spot(p.image, p.x, p.y), _LINE) for p in positions]
            rings.append(Ring(state.hover, _LINE, bold=True))
        return Look(
            settings.opacity, settings.view, settings.split, out, state.cursor, tuple(rings),
            state.brush, DARKENED if settings.shows_similarity else GREYED,
        )  # fmt: skip

    def _nearest(self, state: ViewState) -> tuple[Position, ...]:
        """Positions in other images that are most like the one under the pointer."""
        spot, layer = state.hover, state.settings.layer
        assert spot is not None  # it is asked for where there is one
        key = spot, layer, self._version
        if self._near[0] != key:
            found = self._pfv.nearest(spot.image, spot.x, spot.y, number=_NEAREST, layer=layer)
            self._near = key, tuple(p for p in found if p.similarity > _ALIKE)
        return self._near[1]


def _bytes(frame: Frame, selection: Selection | None) -> np.ndarray:
    """Heatmaps as uint8 ``(n, h, w, 3)``; positions that are not selected are dimmed."""
    heat = frame.heatmaps
    if selection is not None:
        mask = torch.from_numpy(selection.mask)[list(frame.indices)].to(heat)[:, None]
        inside = torch.nn.functional.interpolate(mask, size=heat.shape[1:3], mode="nearest")
        similar = frame.settings.shows_similarity  # its colours stay: grey has a meaning there
        grey, strength = _DIMMED_SIMILARITY if similar else _DIMMED
        faded = (1 - strength) * heat + strength * grey
        heat = torch.where(inside.permute(0, 2, 3, 1) > 0, heat, faded)
    pixels = torch.empty(heat.shape, dtype=torch.uint8, device=heat.device)
    # image by image, which stays in a processor's cache
    step = 1 if heat.device.type == "cpu" else len(heat)
    for part, out in zip(heat.split(step), pixels.split(step), strict=True):
        out.copy_((part * 255).round_())
    return read(pixels)[0]
