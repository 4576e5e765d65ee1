"""A page without a browser: it plays what ipycanvas is sent, on arrays."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from comm.base_comm import BaseComm
from ipycanvas import Canvas
from ipycanvas.canvas import COMMANDS
from ipywidgets import Widget

from tests.widgets.raster_canvas import COMMANDS_PLAYED, Picture, Raster

NAMES = {number: name for name, number in COMMANDS.items()}
ATTRIBUTES = {number: name for name, number in Canvas.ATTRS.items()}


@dataclass
class Drawing:
    """One message to the page: commands by name, and the encoded pictures among them."""

    commands: list[tuple[str, list[Any]]]
    pictures: list[bytes]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.commands]


class FakePage:
    """Canvases by id, and every message that drew on them.

    Commands are checked as they come, and drawn once a test asks for pixels.
    """

    def __init__(self) -> None:
        self.drawings: list[Drawing] = []
        self.messages: list[tuple[str, str, Any]] = []
        self.closed: set[str] = set()
        self.answers = True  # whether it is as quick as to link numbers at once
        self._canvases: dict[str, Raster] = {}
        self._current: str | None = None
        self._saved: Counter[str] = Counter()  # how often each canvas has saved its state
        self._comms: dict[str, BaseComm] = {}
        self._links: dict[str, str] = {}  # widget → the one that the page gives the same value

    @property
    def open_comms(self) -> set[str]:
        """Identities of the comms that were opened and are not closed."""
        return {comm for kind, comm, _ in self.messages if kind == "comm_open"} - self.closed

    def picture(self, canvas: Canvas) -> Picture:
        """Pixels as they lie on black, float32 ``(H, W, 3)`` from 0 to 255."""
        return self._drawn(canvas)[..., :3]

    def cover(self, canvas: Canvas) -> Picture:
        """Opacity of the pixels, ``(H, W)`` from 0 to 1."""
        return self._drawn(canvas)[..., 3]

    def _drawn(self, canvas: Canvas) -> Picture:
        return self._canvases[canvas.model_id].pixels

    def _resize(self, identity: str, **size: int) -> None:
        self._saved[identity] = 0
        self._canvases[identity].resize(**size)

    def load_anew(self, *canvases: Canvas) -> None:
        """Forget every pixel and which canvas was current, as a reload of the page does."""
        self._current = None
        for identity in self._canvases:
            self._resize(identity)
        for canvas in canvases:
            canvas._handle_frontend_event(canvas, {"event": "client_ready"}, [])

    def lose_size(self, canvas: Canvas) -> None:
        """Have a canvas of another size, as a page that missed a change."""
        self._resize(canvas.model_id, width=8, height=8)

    def receive(self, comm: BaseComm, kind: str, data: Any, buffers: Any) -> None:
        self.messages.append((kind, comm.comm_id, data))
        self._comms[comm.comm_id] = comm
        state = (data or {}).get("state", {})
        if kind == "comm_open" and state.get("_model_name") == "CanvasModel":
            self._canvases[comm.comm_id] = Raster((state["height"], state["width"]))
        elif comm.comm_id in self._canvases and state.keys() & {"width", "height"}:
            size = {name: state[name] for name in ("width", "height") if name in state}
            self._resize(comm.comm_id, **size)
        elif kind == "comm_open" and state.get("_model_name") == "LinkModel":
            ends = (state[end][0].removeprefix("IPY_MODEL_") for end in ("source", "target"))
            self._links |= dict([ends])
        elif self.answers and comm.comm_id in self._links and "value" in state:
            self._comms[self._links[comm.comm_id]].handle_msg(update(value=state["value"]))
        elif kind == "comm_close":
            self.closed.add(comm.comm_id)
            del self._comms[comm.comm_id]
        elif (data or {}).get("method") == "custom" and buffers:
            self._draw(json.loads(bytes(buffers[0])), [bytes(one) for one in buffers[1:]])

    def _draw(self, commands: list[Any], pictures: list[bytes]) -> None:
        if not isinstance(commands[0], list):
            commands = [commands]
        named = [(NAMES[command[0]], list(command[1])) for command in commands]
        self.drawings.append(Drawing(named, list(pictures)))
        for name, arguments in named:
            self._play(name, arguments, pictures)

    def _play(self, name: str, arguments: list[Any], pictures: list[bytes]) -> None:
        if name == "switchCanvas":
            self._current = arguments[0].removeprefix("IPY_MODEL_")
            assert self._current in self._canvases
            assert self._current not in self.closed, "drew on a canvas that is gone"
            return
        assert self._current is not None, "drew before the page knew on which canvas"
        raster = self._canvases[self._current]
        if name == "set":
            attribute, value = ATTRIBUTES[arguments[0]], arguments[1]
            raster.check(attribute, value)
            raster.set(attribute, value)
        elif name == "putImageData":
            file = pictures.pop(0)
            assert file, "an empty picture stops every canvas of the page"
            raster.put(file, arguments[0], arguments[1])
        elif name == "drawImage":
            store = self._canvases[arguments[0].removeprefix("IPY_MODEL_")]
            raster.draw(store, *arguments[1:5])
        else:
            assert name in COMMANDS_PLAYED, f"a page of this test cannot {name}"
            self._saved[self._current] += {"save": 1, "restore": -1}.get(name, 0)
            assert self._saved[self._current] >= 0, "restored what was not saved"
            raster.play(name, arguments)


class FakeComm(BaseComm):
    """A comm whose other end is a :class:`FakePage`."""

    page: FakePage

    def publish_msg(
        self, msg_type: str, data: Any = None, _: Any = None, buffers: Any = None, **more: Any
    ) -> None:
        del more  # the names of the target, which is always a widget
        self.page.receive(self, msg_type, data, buffers)


def move(control: Any, **state: Any) -> None:
    """Move a control as a page does: an update message from the front end."""
    control._handle_msg(update(**state))


def update(**state: Any) -> dict[str, Any]:
    """Return the message in which a page tells of another state."""
    data = {"method": "update", "state": state, "buffer_paths": []}
    return {"content": {"data": data}, "buffers": []}


def happen(canvas: Canvas, event: str, **content: Any) -> None:
    """Let an event of the mouse or the keyboard come from the page."""
    canvas._handle_frontend_event(canvas, {"event": event, **content}, [])


def message(widget: Any, **content: Any) -> None:
    """Let a message of a script come from the page."""
    widget._handle_custom_msg(content, [])


def page_of(widget: Widget) -> FakePage:
    """The page that shows a widget."""
    page: FakePage = widget.comm.page
    return page
