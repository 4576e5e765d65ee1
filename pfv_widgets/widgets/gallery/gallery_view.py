"""One gallery: toolbar, tiles and pins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import ipywidgets as w

from pfv_widgets.engine.colouring.colour_maps import COLOUR_MAPS
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.browser.gallery_script import GalleryScript
from pfv_widgets.widgets.gallery import navigation
from pfv_widgets.widgets.gallery.batch_weights import weights_of
from pfv_widgets.widgets.gallery.captions import Captions
from pfv_widgets.widgets.gallery.interaction import Interaction
from pfv_widgets.widgets.gallery.order_lists import Measure, OrderLists
from pfv_widgets.widgets.gallery.pins import PinRow
from pfv_widgets.widgets.gallery.renderer import Renderer
from pfv_widgets.widgets.gallery.toolbar import Toolbar
from pfv_widgets.widgets.gallery.view_state import ViewState
from pfv_widgets.widgets.gallery.viewport import OnFrame, Viewport
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import close_all
from pfv_widgets.widgets.toolkit.protocols import GalleryOwner

_HOW_TO = "Point to read scores, click to see what is alike, drag to select, double-click to zoom."
# components → height of their scores in a narrow gallery, below the line of the image
_PLAIN = "overlay"  # the view that explorers open in
_HEIGHTS = ((4, "40px"), (8, "56px"), (12, "74px"))


class GalleryView:
    """The tiles of a batch, drawn live, with everything that a pointer or a key does to them.

    An explorer may have several: each has photos, canvases, a view state (page, zoom, hover,
    selection) and a script in the browser of its own. Whoever makes one calls ``start``
    where it is on the page, and :meth:`close` at the end.

    Parameters
    ----------
    owner
        Holds the settings, and is asked to change them; ``settings`` are shown first.
    knobs
        Controls by the name of their setting; the gallery follows those of opacity, view and
        divider in the browser, without the kernel.
    on_frame
        Called with the view state and its frame when the browser has drawn it and no newer one
        waits.
    on_point
        Called with the same at once, for what shows the position under the pointer.
    on_wide
        Called with whether a person wants the gallery across the page; None: this is not offered.
    measure
        Returns a number for each image by a key such as ``"component 1"``, to sort by; None: the
        images are neither sorted nor filtered.
    bars
        Whether toolbar, sorting and pins stand around the tiles; else whoever made the gallery
        shows them.
    distance
        Whether what it shows is a distance rather than scores.
    """

    def __init__(
        self,
        pfv: Renderer,
        owner: GalleryOwner[Settings],
        settings: Settings,
        knobs: Mapping[str, w.Widget] | None = None,
        *,
        on_frame: OnFrame = lambda *_: None,
        on_point: OnFrame = lambda *_: None,
        on_wide: Callable[[bool], None] | None = None,
        measure: Measure | None = None,
        bars: bool = True,
        distance: bool = False,
    ) -> None:
        self.images, self._on_point, self._distance = pfv.images, on_point, distance
        self._on_wide = on_wide or (lambda _: None)
        self.hint = w.HTML(text.hint(_HOW_TO))
        self._head = w.Layout(overflow="hidden")
        self.viewport = Viewport(pfv, owner, settings, on_frame=on_frame, on_point=self._pointed)
        self.tiles, self.render_loop = self.viewport.tiles, self.viewport.render_loop
        self.go, self.wait, self.start = self.viewport.go, self.viewport.wait, self.viewport.start
        self.show_settings = self.viewport.show_settings
        self.interaction = act = Interaction(self.viewport, owner)
        safely = owner.safely
        self.order = None
        if measure is not None:
            self.order = OrderLists(pfv.images, self._arrange, measure, safely)
        self.toolbar = Toolbar(
            len(pfv.images), safely(act.arrange), safely(act.turn_page), safely(self._toggle),
            () if self.order is None else (self.order.widget,),
        )  # fmt: skip
        self.toolbar.toggles["wide"].layout.display = None if on_wide else "none"
        self.pins = PinRow(pfv.images.names, safely(act.unpin), safely(act.deselect))
        self.captions = Captions(pfv.images)
        room = (lambda *_: None) if on_wide is None else safely(self.viewport.fit)
        ready = self.viewport.script_ready
        self.script = GalleryScript(self.tiles.canvas, knobs or {}, ready, room)
        self.widget = self._laid_out(bars)

    @property
    def view_state(self) -> ViewState:
        """What is asked for: the settings, and what a person looks at and points to."""
        return self.viewport.state

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the feature map on show."""
        return self.viewport.map_size

    def show(self) -> None:
        """Show which images are on the page, and the pins."""
        state = self.view_state
        safe = COLOUR_MAPS[state.settings.colour_map].colour_blind_safe
        indices = self.tiles.indices(state.page)
        number, size = len(self.images), self.tiles.image_size
        ranks = state.page.ranks(number, size)
        self.toolbar.show(
            ranks, state.page.columns, safe=safe, number=state.page.count(number),
            named=state.page.named,
        )  # fmt: skip
        # pins have colours of their own
        self.toolbar.toggles["safe"].disabled = state.settings.shows_similarity
        grid = self.tiles.grid_of(state.page, state.settings.view)
        widest = self.tiles.widest(grid)
        self.captions.show(indices, grid, widest)
        # of all images as they are, so that the controls beside do not move with what is shown
        whole = self.tiles.grid_of(replace(state.page, order=None, first=0), _PLAIN)
        self.widget.layout.max_width = self.tiles.widest(whole)
        selected = 0 if state.selection is None else int(state.selection.mask.sum())
        self.pins.show(state.settings.pins, selected)
        if self.order is not None:
            self.order.show(state.settings)
        # room for all scores, in one row or in three: pointing moves no picture
        components = state.settings.components
        self._head.height = next(height for most, height in _HEIGHTS if components <= most)

    def close(self, timeout: float = 10.0) -> None:
        """Remove it from the browser, once the picture in work is drawn; frees nothing else."""
        self.viewport.close(timeout)
        for part in (self.widget, *self.bars[0], *self.bars[1]):
            close_all(part)

    @property
    def bars(self) -> tuple[list[w.Widget], list[w.Widget]]:
        """What stands above and below the tiles."""
        return [self.toolbar.widget], [self.pins.widget]

    def _arrange(self, order: tuple[int, ...] | None) -> None:
        self.go(lambda state: navigation.ordered(state, order))

    def _toggle(self, name: str, is_on: bool) -> None:
        if name == "names":
            self.go(lambda state: navigation.named(state, is_on))
        elif name == "wide":
            self._on_wide(is_on)
            self.interaction.spread(is_on)
        elif name == "zoom":
            self.interaction.zoom(is_on)
        else:
            self.interaction.choose_colours(is_on)

    def _pointed(self, state: ViewState, frame: Frame) -> None:
        """Describe the position under the pointer, or the image of the cursor."""
        self._on_point(state, frame)
        self.hint.value = self._description(state, frame) or text.hint(_HOW_TO)

    def _description(self, state: ViewState, frame: Frame) -> str | None:
        spot = state.hover
        index = state.cursor if spot is None else spot.image
        if index is None:
            return None
        images, settings = self.images, state.settings
        weight = weights_of(settings.images, len(images))[index]
        label = images.labels[index] if images.labels else None
        read = spot is not None and index in frame.indices  # the scatter plot shows other pages too
        values = frame.at(index, spot.x, spot.y).tolist() if spot and read else ()
        return text.position_line(
            index, images.names[index], label, weight, values=values, visible=settings.shown,
            distance=self._distance,
        )  # fmt: skip

    def _laid_out(self, bars: bool) -> w.VBox:
        head = w.VBox([self.hint], layout=self._head)
        head.add_class("pfv-hint")
        canvas = self.tiles.widget
        above, below = self.bars if bars else ([], [])
        box = w.VBox(
            [head, *above, self.captions.html, canvas, *below, self.script],
            layout=w.Layout(overflow="visible"),
        )
        box.add_class("pfv-gallery-view")
        return box
