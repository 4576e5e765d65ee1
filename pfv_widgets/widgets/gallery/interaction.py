"""What a person does to a gallery by pointer, keys and toolbar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pfv_widgets.engine.colouring.colour_maps import SAFE_COLOUR_MAP, USUAL_COLOUR_MAP
from pfv_widgets.engine.colouring.compositing import VIEWS
from pfv_widgets.engine.colouring.similarity import cell_of
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import MOST_PINS, Pin
from pfv_widgets.widgets.gallery import navigation
from pfv_widgets.widgets.gallery.batch_weights import as_setting, toggled, weights_of
from pfv_widgets.widgets.gallery.gestures import GestureHandlers, Gestures
from pfv_widgets.widgets.gallery.view_state import Selection, ViewState
from pfv_widgets.widgets.gallery.viewport import Viewport
from pfv_widgets.widgets.toolkit.geometry import Spot
from pfv_widgets.widgets.toolkit.protocols import GalleryOwner

_ARROWS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown")


class Interaction:
    """Turns gestures, keys and buttons into changes of the view state and of the settings."""

    def __init__(self, viewport: Viewport, owner: GalleryOwner[Settings]) -> None:
        self._viewport, self._owner = viewport, owner
        self._tiles, self._go = viewport.tiles, viewport.go
        self._columns = viewport.columns  # to go back to from the whole width of a screen
        self._corner: Spot | None = None  # of the positions that are being selected by keys
        self.dividing = False  # whether the divider is being dragged
        self._unpinned: tuple[tuple[Pin, ...], bool] | None = None  # before the last click
        self.gestures = self._listen()

    @property
    def _state(self) -> ViewState:
        return self._viewport.state

    def arrange(self, columns: int) -> None:
        """Show so many tiles in a row."""
        self._go(lambda state: navigation.arranged(state, self._viewport.batch, columns))

    def zoom(self, is_on: bool) -> None:
        """Show one image large, or the tiles again."""
        self.arrange(1 if is_on else self._viewport.columns)

    def spread(self, is_on: bool) -> None:
        """Show the tiles over the whole width of a screen, or as before."""
        if is_on and self._state.page.columns > 1:
            self._columns = self._state.page.columns
        columns = None if is_on else self._columns
        self._go(lambda state: navigation.spread(state, self._viewport.batch, columns))

    def pin(self, spot: Spot) -> None:
        """Show how similar every position is to this one; at a position with a pin, remove it."""
        pins = self._state.settings.pins
        positions = [self._position(Spot(*pin)) for pin in pins]
        if self._position(spot) in positions:
            self.unpin(positions.index(self._position(spot)))
            return
        if len(pins) >= MOST_PINS:
            raise PFVValueError("Eight pins are the most; remove one first.")
        pin = (spot.image, round(spot.x, 4), round(spot.y, 4))
        self._owner.gesture(False)  # each pin is a step of its own, however quickly they follow
        self._owner.edit(lambda old: replace(old, pins=(*old.pins, pin), similarity=True))

    def unpin(self, number: int | None) -> None:
        """Take a pin away, counted from the first, or all of them."""

        def without(old: Settings) -> Settings:
            if number is None:
                return replace(old, pins=())
            left = [pin for index, pin in enumerate(old.pins) if index != number % len(old.pins)]
            return replace(old, pins=tuple(left))

        if self._state.settings.pins:
            self._owner.gesture(False)
            self._owner.edit(without)

    def deselect(self) -> None:
        """Clear the selection of positions: none of them fades."""
        self._go(lambda state: replace(state, selection=None, brush=None))

    def pressed(self, key: str, shift: bool, ctrl: bool) -> None:
        """Do what a key means; every control has a pointer's way too."""
        acts: dict[str, Callable[[], None]] = {
            " ": self._in_or_out,
            "Enter": lambda: self.pin(navigation.spot_of(self._state)),
            "s": self._select,
            "S": self._select,
            "z": self._owner.undo if ctrl else self._zoom_or_back,
            "y": self._owner.redo if ctrl else lambda: None,
            "Z": self._owner.redo if ctrl else self._zoom_or_back,
            "Delete": lambda: self.unpin(-1),
            "Backspace": lambda: self.unpin(-1),
            "PageUp": lambda: self.turn_page(-1),
            "PageDown": lambda: self.turn_page(1),
            "Escape": self._escape,
        }
        size = self._viewport.map_size
        if key in _ARROWS and shift:
            self._go(lambda state: self._framed(navigation.stepped(state, key, size)))
        elif key in (*_ARROWS, "Home", "End"):
            columns = self._tiles.grid.columns
            self._go(lambda state: navigation.walked(state, self._viewport.batch, key, columns))
        elif key in acts:
            acts[key]()

    def _listen(self) -> Gestures:
        handlers = GestureHandlers(self._hover, self._once, self._twice, self._drag, self._dropped)
        gestures = Gestures(self._tiles, handlers)
        safely = self._owner.safely
        self._tiles.canvas.on_pointer(
            down=safely(gestures.down),
            move=safely(gestures.move),
            up=safely(gestures.up),
            out=safely(gestures.out),
        )
        self._tiles.canvas.on_key(safely(self.pressed))
        return gestures

    def _hover(self, spot: Spot | None) -> None:
        if self._position(spot) != self._position(self._state.hover):
            self._go(lambda state: replace(state, hover=spot), quiet=True)

    def _position(self, spot: Spot | None) -> tuple[int, int, int] | None:
        if spot is None:
            return None
        return spot.image, *cell_of(spot.x, spot.y, self._viewport.map_size)

    def _once(self, spot: Spot) -> None:
        before, self._unpinned = self._state.settings, None
        self.pin(spot)
        self._unpinned = before.pins, before.similarity

    def _twice(self, spot: Spot) -> None:
        if self._unpinned is not None:  # take back what the first of the two clicks did
            pins, similarity = self._unpinned
            self._owner.edit(lambda old: replace(old, pins=pins, similarity=similarity))
        self._go(lambda state: replace(state, cursor=spot.image), quiet=True)
        self._zoom_or_back()

    def _drag(self, start: Spot, end: Spot) -> None:
        if VIEWS[self._state.settings.view].divided:
            if not self.dividing:
                self.dividing = True
                self._owner.gesture(True)
                self._hover(None)  # nothing is pointed at while the divider moves
            self._owner.edit(lambda old: replace(old, split=round(end.x, 2)))
        else:
            self._go(lambda state: replace(state, brush=(start, end), hover=None), quiet=True)

    def _dropped(self, start: Spot, end: Spot) -> None:
        if VIEWS[self._state.settings.view].divided:
            self._drag(start, end)
        else:
            self._select_within(start, end)
        if self.dividing:
            self.dividing = False
            self._owner.gesture(False)

    def turn_page(self, step: int) -> None:
        """Go ``step`` pages on."""
        self._go(lambda state: navigation.with_page(state, self._viewport.batch, step))

    def choose_colours(self, safe: bool) -> None:
        """Switch the safe colours on or off."""
        chosen = SAFE_COLOUR_MAP if safe else USUAL_COLOUR_MAP
        self._owner.edit(lambda old: replace(old, colour_map=chosen))

    def _zoom_or_back(self) -> None:
        self.zoom(self._state.page.columns > 1)

    def _in_or_out(self) -> None:
        index, labels = navigation.spot_of(self._state).image, self._viewport.pfv.images.labels

        def changed(old: Settings) -> Settings:
            weights = weights_of(old.images, self._viewport.batch.number)
            return replace(old, images=as_setting(toggled(weights, index, labels)))

        self._owner.gesture(False)
        self._owner.edit(changed)

    def _select(self) -> None:
        """Begin to select positions at the marked one, or select those from there to here."""
        spot = navigation.spot_of(self._state)
        if self._state.brush is None or self._corner is None:
            self._corner = spot
            self._go(lambda state: self._framed(replace(state, hover=spot)))
        else:
            self._corner = None
            self._select_within(*self._state.brush)

    def _framed(self, state: ViewState) -> ViewState:
        """Draw the rectangle of the positions that keys are selecting up to the marked one."""
        corner, spot = self._corner, state.hover
        if corner is None or spot is None or spot.image != corner.image:
            return state
        brush = navigation.rectangle(corner, spot, self._viewport.map_size)
        return replace(state, brush=brush)

    def _select_within(self, start: Spot, end: Spot) -> None:
        mask = brushed(start, end, self._viewport.batch.number, self._viewport.map_size)
        self._go(lambda state: replace(state, brush=None, selection=Selection(mask)))

    def _escape(self) -> None:
        """Leave one thing after another: selection, marks, zoom, the canvas."""
        state, self._corner = self._state, None
        if state.selection is not None or state.brush is not None:
            self.deselect()
        elif state.page.columns == 1 and self._viewport.columns > 1:
            self.zoom(False)
        else:
            self._go(lambda state: replace(state, hover=None, cursor=None))
            self._tiles.widget.blur()


def brushed(start: Spot, end: Spot, number: int, shape: tuple[int, int]) -> np.ndarray:
    """Positions ``(N, h, w)`` of one image whose centres are within a rectangle, at least one."""
    rows, columns = shape
    mask = np.zeros((number, rows, columns), bool)
    spans = []
    for one, other, count in ((start.y, end.y, rows), (start.x, end.x, columns)):
        low, high = sorted((one, other))
        first = min(int(low * count + 0.5), count - 1)
        spans.append(slice(first, max(first + 1, int(high * count + 0.5))))
    mask[start.image, spans[0], spans[1]] = True
    return mask
