"""What a gallery looks at: the view state, rendered live onto its tiles."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.gallery.navigation import Batch
from pfv_widgets.widgets.gallery.render_loop import RenderLoop
from pfv_widgets.widgets.gallery.renderer import Renderer
from pfv_widgets.widgets.gallery.tile_canvas import TileCanvas
from pfv_widgets.widgets.gallery.view_state import ViewState
from pfv_widgets.widgets.toolkit.geometry import Page
from pfv_widgets.widgets.toolkit.protocols import GalleryOwner

_PATIENCE = 0.06  # seconds that a control waits for its picture before it shows the settings

OnFrame = Callable[[ViewState, Frame], None]


class Viewport:
    """The view state of one gallery, with the tiles that show it: as of :class:`GalleryView`."""

    def __init__(
        self,
        pfv: Renderer,
        owner: GalleryOwner[Settings],
        settings: Settings,
        *,
        on_frame: OnFrame,
        on_point: OnFrame,
    ) -> None:
        self.pfv, self._owner = pfv, owner
        self._map_size = (1, 1)
        self.tiles = TileCanvas(pfv.images.pixels)
        self.batch = Batch(len(pfv.images), self.tiles.image_size)
        self.state = ViewState(settings, self.tiles.page)
        self.columns = self.state.page.columns  # to go back to from a zoomed image
        self._first = self._arranged = self.state.page  # as it begins, and as it was fitted last
        self.linked: list[Viewport] = []  # of other galleries of the same photos
        self.render_loop = RenderLoop(pfv, self.tiles, owner, on_frame, on_point)

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the feature map on show."""
        with suppress(PFVError):  # rendering meets the same error, and reports it
            self._map_size = self.pfv.layer(self.state.settings.layer).shape[1:]
        return self._map_size

    def start(self) -> None:
        """Show the photos at once, and render the first picture in the background."""
        self.render_loop.paint_last(self.state)
        self.tiles.canvas.on_ready(lambda: self.render_loop.page_ready(self.state))
        self.render_loop.submit(self.state)

    def go(self, change: Callable[[ViewState], ViewState], *, quiet: bool = False) -> None:
        """Change what is looked at; ``quiet`` leaves the controls as they are."""
        with self._owner.lock:
            if not quiet:
                self._owner.outdate_error()
            self._look_at(change(self.state))
            for other in self.linked:
                other.follow(self)
            # first: a control that fails stops no picture
            self.render_loop.submit(self.state, 0.0 if quiet else _PATIENCE)
            if not quiet:
                self._owner.show_state()

    def fit(self, width: float, height: float) -> None:
        """Arrange the tiles for the room of a page, unless somebody has arranged them already."""
        fitting = self._first.fitting(self.batch.number, self.batch.size, (width, height))

        def here(page: Page) -> Page:
            return replace(page, named=self.state.page.named)  # names are no arrangement

        with self._owner.lock:
            if self.state.page == here(self._arranged) != here(fitting):
                self._arranged = fitting
                self.go(lambda state: replace(state, page=here(fitting)))

    def follow(self, other: Viewport) -> None:
        """Look at the same positions of the same photos as another gallery."""
        theirs, selection = other.state, other.state.selection
        if selection is not None:
            selection = selection.on_grid(self.map_size)
        self._look_at(
            replace(
                self.state, page=theirs.page, cursor=theirs.cursor, hover=theirs.hover,
                brush=theirs.brush, selection=selection,
            )
        )  # fmt: skip
        self.render_loop.submit(self.state)

    def _look_at(self, state: ViewState) -> None:
        self.state = state
        if state.page.columns > 1:
            self.columns = state.page.columns

    def show_settings(self, settings: Settings) -> None:
        """Render other settings; a selection of positions stays as long as the layer does.

        The explorer, which asks for it, sets the controls.
        """
        with self._owner.lock:
            same = settings.layer == self.state.settings.layer
            selection = self.state.selection if same else None
            self.state = replace(self.state, settings=settings, selection=selection)
            self.render_loop.submit(self.state, _PATIENCE)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is asked for is rendered; False where ``timeout`` seconds passed."""
        with self._owner.lock:  # a change that another thread is making is submitted by then
            pass
        return self.render_loop.wait(timeout)

    def script_ready(self, near: bool) -> None:
        """Send everything to a page that can hear it; ``near``: all pages are on this computer."""
        self.render_loop.script_ready(self.state, near=near)

    def close(self, timeout: float) -> None:
        """Remove the canvases, once the picture in work is drawn."""
        self.render_loop.close(timeout)
        self.tiles.canvas.close()
