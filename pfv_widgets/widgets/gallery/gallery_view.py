"""The left side of an explorer: status line, toolbar, tiles, pins, and what hands do there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import ipywidgets as w
import numpy as np

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import MOST_PINS, Pin
from pfv_widgets.widgets.gallery import navigation
from pfv_widgets.widgets.gallery.composition import toggled, weights_of
from pfv_widgets.widgets.gallery.gestures import Meanings, Pointer
from pfv_widgets.widgets.gallery.host import Host
from pfv_widgets.widgets.gallery.pins import PinRow
from pfv_widgets.widgets.gallery.tile_canvas import ImageGrid
from pfv_widgets.widgets.gallery.toolbar import Toolbar
from pfv_widgets.widgets.gallery.view_state import Scene, Selection
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.geometry import Spot

_HOW_TO = (
    "Point at a place to read it, click to pin it, drag to select places, double-click to zoom."
)
_ARROWS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown")


class GalleryHost(Host, Protocol):
    """What the gallery asks of its explorer besides."""

    @property
    def scene(self) -> Scene:
        """What is asked for."""

    def places(self) -> tuple[int, int]:
        """Height and width of the feature map on show."""


class Gallery:
    """Tiles of a batch, and everything that a pointer or a key does to them.

    Parameters
    ----------
    grid
        Draws the tiles.
    images
        Names and labels.
    host
        The explorer.
    scene
        What is looked at first.
    """

    def __init__(
        self, grid: ImageGrid, images: ImageBatch, host: GalleryHost, scene: Scene
    ) -> None:
        self._grid, self._images, self._host = grid, images, host
        self._batch = navigation.Batch(len(images), grid.image_size)
        self._columns = scene.page.columns  # to go back to from a zoomed image
        self._dividing = False  # whether the divider is being dragged
        self._unpinned: tuple[tuple[Pin, ...], bool] | None = None  # before the last click
        self.status, self.hint = w.HTML(), w.HTML(text.hint(_HOW_TO))
        safely = host.safely
        self.toolbar = Toolbar(
            len(images), safely(self.arrange), safely(self._press), safely(self._toggle)
        )
        self.pins = PinRow(images.names, safely(self.unpin))
        self._listen()
        self.widget = self._laid_out()

    def tell(self, message: str, kind: str, done: float | None = None) -> None:
        """Say something in the status line; an error takes the hint's place.

        ``done`` in [0, 1] draws a bar of how far the work is.
        """
        self.status.value = text.status(message, kind=kind, done=done)
        self.hint.layout.display = "none" if kind == "error" else None

    def point(self, line: str | None) -> None:
        """Show what is under the pointer, HTML that is safe; None: how to begin."""
        self.hint.value = text.hint(_HOW_TO) if line is None else line

    def show(self, scene: Scene, *, undo: bool, redo: bool) -> None:
        """Show which images are on the page, the pins, and what can be done."""
        shown = self._grid.indices(scene.page)
        safe = scene.settings.colour_map == "safe"
        self.toolbar.show(shown, scene.page.columns, safe=safe, undo=undo, redo=redo)
        self.pins.show(scene.settings.pins)

    def arrange(self, columns: int) -> None:
        """Show so many tiles in a row."""
        if columns > 1:
            self._columns = columns
        self._host.go(lambda scene: navigation.arranged(scene, self._batch, columns))

    def zoom(self, wanted: bool) -> None:
        """Show one image large, or the tiles again."""
        if not wanted:
            self.arrange(self._columns)
            return
        if self._host.scene.page.columns > 1:
            self._columns = self._host.scene.page.columns
        self._host.go(lambda scene: navigation.arranged(scene, self._batch, 1))

    def pin(self, spot: Spot) -> None:
        """Paint how alike every place is to this one."""
        if len(self._host.scene.settings.pins) >= MOST_PINS:
            raise PFVValueError(f"pins: there are {MOST_PINS} already; remove one first.")
        pin = (spot.image, round(spot.x, 4), round(spot.y, 4))
        self._host.gesture(False)  # each pin is a step of its own, however quickly they follow
        self._host.edit(lambda old: replace(old, pins=(*old.pins, pin), similarity=True))

    def unpin(self, number: int | None) -> None:
        """Take a pin away, counted from the first, or all of them."""

        def without(old: Settings) -> Settings:
            if number is None:
                return replace(old, pins=())
            kept = [pin for place, pin in enumerate(old.pins) if place != number % len(old.pins)]
            return replace(old, pins=tuple(kept))

        if self._host.scene.settings.pins:
            self._host.gesture(False)
            self._host.edit(without)

    def pressed(self, key: str, shift: bool, ctrl: bool) -> None:
        """Do what a key means; every control has a pointer's way too."""
        acts: dict[str, Callable[[], None]] = {
            " ": self._in_or_out,
            "Enter": lambda: self.pin(navigation.spot_of(self._host.scene)),
            "z": lambda: self._host.travel("undo") if ctrl else self._zoom_or_back(),
            "y": lambda: self._host.travel("redo") if ctrl else None,
            "Z": lambda: self._host.travel("redo") if ctrl else self._zoom_or_back(),
            "Delete": lambda: self.unpin(-1),
            "Backspace": lambda: self.unpin(-1),
            "PageUp": lambda: self._turn(-1),
            "PageDown": lambda: self._turn(1),
            "Tab": self._grid.blur,  # the canvas swallows the key: the next one goes on from here
            "Escape": self._escape,
        }
        if key in _ARROWS and shift:
            self._host.go(lambda scene: navigation.stepped(scene, key, self._host.places()))
        elif key in (*_ARROWS, "Home", "End"):
            columns = self._grid.grid.columns
            self._host.go(lambda scene: navigation.walked(scene, self._batch, key, columns))
        elif key in acts:
            acts[key]()

    def _listen(self) -> None:
        meanings = Meanings(self._hover, self._once, self._twice, self._drag, self._dropped)
        self.pointer = pointer = Pointer(self._grid.spot, self._grid.pane_size, meanings)
        safely = self._host.safely
        self._grid.surface.on_pointer(
            down=safely(pointer.down),
            move=safely(pointer.move),
            up=safely(pointer.up),
            out=safely(pointer.out),
        )
        self._grid.surface.on_key(safely(self.pressed))

    def _hover(self, spot: Spot | None) -> None:
        if self._place(spot) != self._place(self._host.scene.hover):
            self._host.go(lambda scene: replace(scene, hover=spot), quiet=True)

    def _place(self, spot: Spot | None) -> tuple[int, int, int] | None:
        rows, columns = self._host.places()
        return None if spot is None else (spot.image, int(spot.y * rows), int(spot.x * columns))

    def _once(self, spot: Spot) -> None:
        before, self._unpinned = self._host.scene.settings, None
        self.pin(spot)
        self._unpinned = before.pins, before.similarity

    def _twice(self, spot: Spot) -> None:
        if self._unpinned is not None:  # take back what the first of the two clicks did
            pins, similarity = self._unpinned
            self._host.edit(lambda old: replace(old, pins=pins, similarity=similarity))
        self._host.go(lambda scene: replace(scene, cursor=spot.image), quiet=True)
        self._zoom_or_back()

    def _drag(self, start: Spot, end: Spot) -> None:
        if self._host.scene.settings.view == "split":
            if not self._dividing:
                self._dividing = True
                self._host.gesture(True)
                self._hover(None)  # nothing is pointed at while the divider moves
            self._host.edit(lambda old: replace(old, split=round(end.x, 2)))
        else:
            self._host.go(lambda scene: replace(scene, brush=(start, end), hover=None), quiet=True)

    def _dropped(self, start: Spot, end: Spot) -> None:
        if self._host.scene.settings.view == "split":
            self._drag(start, end)
        else:
            mask = brushed(start, end, self._batch.number, self._host.places())
            self._host.go(lambda scene: replace(scene, brush=None, selection=Selection(mask)))
        if self._dividing:
            self._dividing = False
            self._host.gesture(False)

    def _press(self, name: str) -> None:
        if name in ("undo", "redo"):
            self._host.travel(name)
        else:
            self._turn(-1 if name == "back" else 1)

    def _turn(self, step: int) -> None:
        self._host.go(lambda scene: navigation.turned(scene, self._batch, step))

    def _toggle(self, name: str, wanted: bool) -> None:
        if name == "zoom":
            self.zoom(wanted)
        else:
            self._host.edit(lambda old: replace(old, colour_map="safe" if wanted else "rgb"))

    def _zoom_or_back(self) -> None:
        self.zoom(self._host.scene.page.columns > 1)

    def _in_or_out(self) -> None:
        index, labels = navigation.spot_of(self._host.scene).image, self._images.labels

        def changed(old: Settings) -> Settings:
            weights = weights_of(old.images, self._batch.number)
            return replace(old, images=toggled(weights, index, labels))

        self._host.gesture(False)
        self._host.edit(changed)

    def _escape(self) -> None:
        """Leave one thing after another: selection, marks, zoom, the canvas."""
        scene = self._host.scene
        if scene.selection is not None or scene.brush is not None:
            self._host.go(lambda scene: replace(scene, selection=None, brush=None))
        elif scene.page.columns == 1 and self._columns > 1:
            self.zoom(False)
        else:
            self._host.go(lambda scene: replace(scene, hover=None, cursor=None))
            self._grid.blur()

    def _laid_out(self) -> w.VBox:
        # of one height, so that no message moves the pictures
        head = w.VBox([self.status, self.hint], layout=w.Layout(height="62px", overflow="auto"))
        parts: list[Any] = [head, self.toolbar.widget, self._grid.canvas, self.pins.widget]
        widest = self._grid.canvas.layout.max_width
        layout = w.Layout(flex="1 1 420px", min_width="260px", max_width=widest)
        return w.VBox(parts, layout=layout)


def brushed(start: Spot, end: Spot, number: int, places: tuple[int, int]) -> np.ndarray:
    """Places ``(N, h, w)`` of one image whose centres are within a rectangle, at least one."""
    rows, columns = places
    mask = np.zeros((number, rows, columns), bool)
    spans = []
    for one, other, count in ((start.y, end.y, rows), (start.x, end.x, columns)):
        low, high = sorted((one, other))
        first = min(int(low * count + 0.5), count - 1)
        spans.append(slice(first, max(first + 1, int(high * count + 0.5))))
    mask[start.image, spans[0], spans[1]] = True
    return mask
