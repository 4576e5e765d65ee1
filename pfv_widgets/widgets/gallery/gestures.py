"""What a person means by pointer and keys over the gallery."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pfv_widgets.widgets.browser.canvas import STILL
from pfv_widgets.widgets.gallery.tile_canvas import TileCanvas
from pfv_widgets.widgets.toolkit.geometry import Spot

_TWICE = 0.35  # seconds between the clicks of a double click
_NEAR = 40.0  # pixels of the canvas between them


@dataclass(frozen=True)
class GestureHandlers:
    """What is called for each gesture, with spots of images."""

    hover: Callable[[Spot | None], None]  # under the pointer; None: beside the tiles
    click: Callable[[Spot], None]
    double_click: Callable[[Spot], None]  # the second; ``click`` was called for the first
    drag: Callable[[Spot, Spot], None]  # where it began and where it is now, in one image
    dropped: Callable[[Spot, Spot], None]  # the same, once, at the end


class Gestures:
    """Tells clicks, double clicks and drags apart; ``clock`` returns seconds, for double clicks."""

    def __init__(
        self,
        tiles: TileCanvas,
        handlers: GestureHandlers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tiles, self.handlers, self._clock = tiles, handlers, clock
        self._pressed: tuple[float, float, Spot] | None = None
        self._dragging = False
        self._clicked: tuple[float, Spot | None] = (float("-inf"), None)

    def down(self, x: float, y: float) -> None:
        """Note where the pointer is pressed."""
        spot = self._tiles.spot(x, y)
        self._pressed = None if spot is None else (x, y, spot)
        self._dragging = False

    def move(self, x: float, y: float) -> None:
        """Hover, or drag where the pointer is pressed."""
        if self._pressed is None:
            self.handlers.hover(self._tiles.spot(x, y))
            return
        left, top, start = self._pressed
        self._dragging = self._dragging or max(abs(x - left), abs(y - top)) > STILL
        if self._dragging:
            self.handlers.drag(start, self._towards(x, y))

    def up(self, x: float, y: float) -> None:
        """End a drag, or click."""
        if self._pressed is None:
            return
        start, end = self._pressed[2], self._towards(x, y)
        dragging, self._dragging = self._dragging, False
        self._pressed = None
        if dragging:
            self.handlers.dropped(start, end)
        else:
            self._click(start)

    def out(self) -> None:
        """Leave the canvas: a drag ends where it was."""
        if self._pressed is not None and self._dragging:
            self.handlers.dropped(self._pressed[2], self._last)
        self._pressed, self._dragging = None, False
        self.handlers.hover(None)

    def forget_click(self) -> None:
        """Make the next click a single one, however soon it comes."""
        self._clicked = (float("-inf"), None)

    def _click(self, spot: Spot) -> None:
        when, last = self._clicked
        again = self._clock() - when < _TWICE and last is not None and self._near(spot, last)
        try:
            (self.handlers.double_click if again else self.handlers.click)(spot)
        finally:  # from here: the second click has waited while the first one was worked on
            self._clicked = (float("-inf"), None) if again else (self._clock(), spot)

    def _near(self, one: Spot, other: Spot) -> bool:
        """Whether two clicks are at one point: those of a busy kernel come back to back."""
        width, height = self._tiles.pane_size()
        apart = max(abs(one.x - other.x) * width, abs(one.y - other.y) * height)
        return one.image == other.image and apart <= _NEAR

    def _towards(self, x: float, y: float) -> Spot:
        """Point in the image where the press began, held within it."""
        assert self._pressed is not None  # there is a press to go on from
        left, top, start = self._pressed
        width, height = self._tiles.pane_size()
        across = min(max(start.x + (x - left) / width, 0.0), 1.0)
        down = min(max(start.y + (y - top) / height, 0.0), 1.0)
        self._last = Spot(start.image, across, down)
        return self._last
