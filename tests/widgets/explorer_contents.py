"""Read what an explorer shows: its status, its tiles, and what they should be."""

from __future__ import annotations

import ast
import html
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.widgets.fake_page import Drawing, happen, page_of


def words(markup: str) -> str:
    """The text of a piece of HTML."""
    return html.unescape(re.sub(r"<[^>]+>", "", markup)).strip()


def run_code(code: str, scope: dict[str, Any]) -> None:
    """Run code that an explorer gives to copy, which says above which names must be there."""
    names = [one for one in ast.walk(ast.parse(code)) if isinstance(one, ast.Name)]
    bound = {one.id for one in names if isinstance(one.ctx, ast.Store)} | {"pw"}
    message = re.findall(r"\w+", code.splitlines()[2].partition(":")[0].replace(" and ", " "))
    assert set(message) == {one.id for one in names} - bound
    exec(code, scope)


def status(explorer: PFVExplorer) -> str:
    """The words of the status line, once nothing is being painted."""
    assert explorer.wait(60)
    return explorer.status.message


def is_error(explorer: PFVExplorer) -> bool:
    assert explorer.wait(60)
    return explorer.status.kind == "error"


def hint(explorer: PFVExplorer) -> str:
    """The words about what is pointed at."""
    assert explorer.wait(60)
    return words(explorer.gallery.hint.value)


def tile(explorer: PFVExplorer, index: int) -> npt.NDArray[np.float32]:
    """Pixels of the tile of an image on the page, once nothing is being painted."""
    assert explorer.wait(60)
    grid = explorer.gallery.tiles.grid
    left, top = grid.corner(index - explorer.gallery.tiles.on_page.start)
    picture = page_of(explorer).picture(explorer.gallery.tiles.widget)
    return picture[top : top + grid.tile[0], left : left + grid.tile[1]]


def expected(explorer: PFVExplorer, index: int) -> npt.NDArray[np.float32]:
    """Pixels of a tile as the engine composes it, at the size of the tile."""
    return _at_size(explorer, explorer.frame.composite()[index])


def _at_size(explorer: PFVExplorer, composite: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    one = Image.fromarray(composite).resize(
        explorer.gallery.tiles.grid.tile[::-1], Image.Resampling.BICUBIC
    )
    return np.asarray(one, np.float32)


def shows_its_frame(explorer: PFVExplorer) -> bool:
    """Whether every tile on the page that is in the basis looks as the engine says."""
    frame = explorer.frame
    composites = frame.composite()
    differences = [
        np.abs(tile(explorer, index) - _at_size(explorer, composites[index])).mean()
        for index in explorer.gallery.tiles.on_page
        if frame.weights[index] > 0
    ]
    return bool(max(differences) < 5)


def pictures_sent(explorer: PFVExplorer) -> int:
    """Number of pictures among what was drawn on the gallery."""
    return sum(len(drawing.pictures) for drawing in drawn(explorer))


def drawn(explorer: PFVExplorer) -> list[Drawing]:
    """The messages that drew on the gallery: other canvases are the business of others."""
    name = f"IPY_MODEL_{explorer.gallery.tiles.widget.model_id}"
    return [one for one in page_of(explorer).drawings if ("switchCanvas", [name]) in one.commands]


def load_anew(explorer: PFVExplorer) -> None:
    """Load the page of the gallery anew: nothing is drawn on it yet."""
    page_of(explorer).load_anew(explorer.gallery.tiles.widget)


def spot(explorer: PFVExplorer, index: int, x: float = 0.5, y: float = 0.5) -> dict[str, float]:
    """Where a point of an image is on the canvas, in the first of its pictures."""
    place = index - explorer.gallery.tiles.on_page.start
    left, top, width, height = explorer.gallery.tiles.grid.panes(
        place, explorer.gallery.tiles.look.view
    )[0]
    return {"x": left + x * width, "y": top + y * height}


def click(explorer: PFVExplorer, index: int, x: float = 0.5, y: float = 0.5) -> None:
    """Press and let go, long after the last click."""
    explorer.gallery.interaction.gestures.forget_click()
    for event in ("mouse_down", "mouse_up"):
        happen(explorer.gallery.tiles.widget, event, **spot(explorer, index, x, y))


def drag(
    explorer: PFVExplorer, index: int, start: tuple[float, float], end: tuple[float, float]
) -> None:
    """Press, move in steps, and let go, within an image."""
    canvas = explorer.gallery.tiles.widget
    happen(canvas, "mouse_down", **spot(explorer, index, *start))
    for share in (0.25, 0.5, 0.75, 1.0):
        x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
        happen(canvas, "mouse_move", **spot(explorer, index, x, y))
    happen(canvas, "mouse_up", **spot(explorer, index, *end))


def hover(explorer: PFVExplorer, index: int, x: float = 0.5, y: float = 0.5) -> None:
    happen(explorer.gallery.tiles.widget, "mouse_move", **spot(explorer, index, x, y))


def press(explorer: PFVExplorer, *keys: str) -> None:
    """Press keys on the gallery; ``ctrl+z`` and ``shift+ArrowUp`` hold another one."""
    for key in keys:
        *held, name = key.split("+") if len(key) > 1 else [key]
        modifiers = {f"{one}_key": one in held for one in ("shift", "ctrl", "meta")}
        happen(explorer.gallery.tiles.widget, "key_down", key=name, **modifiers)


def focus_has_left(explorer: PFVExplorer) -> bool:
    """Whether the page was told to take the focus from the gallery."""
    sent = [(comm, data.get("content")) for _, comm, data in page_of(explorer).messages if data]
    return (explorer.gallery.tiles.widget.model_id, {"do": "blur"}) in sent


def until(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def threads_have_ended(before: set[threading.Thread]) -> bool:
    """Whether all threads that were begun since have ended, or end soon."""
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    return set(threading.enumerate()) <= before


def press_button(button: object) -> None:
    button._handle_button_msg(None, {"event": "click"}, [])  # type: ignore[attr-defined]
