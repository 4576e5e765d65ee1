"""A page without a browser: it plays what ipycanvas is sent, on arrays."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from comm.base_comm import BaseComm
from ipycanvas import Canvas
from ipycanvas.canvas import COMMANDS
from PIL import Image

NAMES = {number: name for name, number in COMMANDS.items()}
ATTRIBUTES = {number: name for name, number in Canvas.ATTRS.items()}
Picture = npt.NDArray[np.float32]


@dataclass
class Drawing:
    """One message to the page: commands by name, and the encoded pictures among them."""

    commands: list[tuple[str, list[Any]]]
    pictures: list[bytes]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.commands]


@dataclass
class State:
    """What ``save`` keeps of a canvas."""

    values: dict[str, Any] = field(default_factory=lambda: {"global_alpha": 1.0})
    clip: npt.NDArray[np.bool_] | None = None


class RecordedPage:
    """Canvases by id as float32 ``(H, W, 3)``, and every message that drew on them."""

    def __init__(self) -> None:
        self.drawings: list[Drawing] = []
        self.messages: list[tuple[str, str, Any]] = []
        self.closed: set[str] = set()
        self._canvases: dict[str, Picture] = {}
        self._states: dict[str, list[State]] = {}
        self._rectangles: dict[str, list[list[float]]] = {}
        self._current: str | None = None

    def picture(self, canvas: Canvas) -> Picture:
        return self._canvases[canvas.model_id]

    def load_anew(self, *canvases: Canvas) -> None:
        """Forget every pixel and which canvas was current, as a reload of the page does."""
        self._current = None
        for picture in self._canvases.values():
            picture[...] = 0
        for canvas in canvases:
            canvas._handle_frontend_event(canvas, {"event": "client_ready"}, [])

    def receive(self, comm: BaseComm, kind: str, data: Any, buffers: Any) -> None:
        self.messages.append((kind, comm.comm_id, data))
        state = (data or {}).get("state", {})
        if kind == "comm_open" and state.get("_model_name") == "CanvasModel":
            size = state["height"], state["width"], 3
            self._canvases[comm.comm_id] = np.zeros(size, np.float32)
            self._states[comm.comm_id] = [State()]
        elif comm.comm_id in self._canvases and state.keys() & {"width", "height"}:
            height, width, _ = self._canvases[comm.comm_id].shape  # another size is blank
            size = state.get("height", height), state.get("width", width), 3
            self._canvases[comm.comm_id] = np.zeros(size, np.float32)
        elif kind == "comm_close":
            self.closed.add(comm.comm_id)
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
        states = self._states[self._current]
        if name == "save":
            states.append(State(dict(states[-1].values), states[-1].clip))
        elif name == "restore":
            states.pop()
        elif name == "set":
            states[-1].values[ATTRIBUTES[arguments[0]]] = arguments[1]
        elif name == "beginPath":
            self._rectangles[self._current] = []
        elif name == "rect":
            self._rectangles[self._current].append(arguments)
        elif name == "clip":
            states[-1].clip = self._mask(self._rectangles[self._current])
        elif name == "putImageData":
            picture = np.asarray(Image.open(io.BytesIO(pictures.pop(0))), np.float32)
            self._blend(picture, arguments[0], arguments[1])
        elif name == "drawImage":
            store = self._canvases[arguments[0].removeprefix("IPY_MODEL_")]
            self._blend(_scaled(store, *arguments[3:5]), arguments[1], arguments[2])
        elif name == "fillRect":
            left, top, width, height = arguments
            colour = _colour(states[-1].values["fill_style"])
            self._blend(np.full((height, width, 3), colour, np.float32), left, top)
        elif name in ("clear", "clearRect"):
            left, top, width, height = np.array(arguments or [0, 0, 10**6, 10**6], int)
            canvas = self._canvases[self._current]
            canvas[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = 0
        else:
            assert name == "strokeRect", f"a page of this test cannot {name}"

    def _mask(self, rectangles: list[list[float]]) -> npt.NDArray[np.bool_]:
        assert self._current is not None
        mask = np.zeros(self._canvases[self._current].shape[:2], bool)
        for left, top, width, height in np.array(rectangles, int):
            bottom, right = max(0, top + height), max(0, left + width)
            mask[max(0, top) : bottom, max(0, left) : right] = True
        return mask

    def _blend(self, picture: Picture, left: int, top: int) -> None:
        assert self._current is not None
        canvas, state = self._canvases[self._current], self._states[self._current][-1]
        picture = picture[max(0, -top) :, max(0, -left) :]
        top, left = max(0, top), max(0, left)
        below = canvas[top : top + picture.shape[0], left : left + picture.shape[1]]
        picture = picture[: below.shape[0], : below.shape[1]]
        alpha: Any = state.values["global_alpha"]
        if state.clip is not None:
            window = (slice(top, top + below.shape[0]), slice(left, left + below.shape[1]))
            alpha = alpha * state.clip[window][..., None]
        below += alpha * (picture - below)


class RecordingComm(BaseComm):
    """A comm whose other end is a :class:`RecordedPage`."""

    page: RecordedPage

    def publish_msg(
        self, msg_type: str, data: Any = None, _: Any = None, buffers: Any = None, **more: Any
    ) -> None:
        del more  # the names of the target, which is always a widget
        self.page.receive(self, msg_type, data, buffers)


def move(control: Any, **state: Any) -> None:
    """Move a control as a page does: an update message from the front end."""
    data = {"method": "update", "state": state, "buffer_paths": []}
    control._handle_msg({"content": {"data": data}, "buffers": []})


def happen(canvas: Canvas, event: str, **content: Any) -> None:
    """Let an event of the mouse or the keyboard come from the page."""
    canvas._handle_frontend_event(canvas, {"event": event, **content}, [])


def _scaled(picture: Picture, width: float, height: float) -> Picture:
    size = round(width), round(height)
    if picture.shape[1::-1] == size:
        return picture
    image = Image.fromarray(np.rint(picture).astype(np.uint8))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)


def _colour(text: str) -> list[int]:
    return [int(text[start : start + 2], 16) for start in (1, 3, 5)]
