"""A commands sends what ipycanvas would, and disturbs nobody; fingers and keys arrive."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ipycanvas import Canvas, hold_canvas
from ipywidgets import VBox
from ipywidgets.widgets.widget import _instances
from PIL import Image

from pfv_widgets.widgets.browser import canvas as module
from pfv_widgets.widgets.browser.canvas import LayeredCanvas
from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
from pfv_widgets.widgets.toolkit.controls import close_all
from tests.widgets.fake_page import FakePage, happen, move

MANAGER = Canvas._canvas_manager.default_value
RED = "#ff0000"


@pytest.fixture
def canvas(fake_page: FakePage) -> LayeredCanvas:
    return LayeredCanvas("gallery", (20, 30), buffers=1)


def png(colour: tuple[int, ...], size: tuple[int, int] = (30, 20)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def fill(canvas: LayeredCanvas, colour: str = RED) -> None:
    commands = canvas.commands()
    commands.fill(colour, (0, 0, 30, 20))
    commands.send()


def pen(canvas: Canvas, width: int) -> None:
    canvas.stroke_style, canvas.line_width = RED, width


PAIRS: dict[str, tuple[Callable[[CanvasCommands], None], Callable[[Canvas], None]]] = {
    "fill": (
        lambda commands: commands.fill(RED, (1, 2, 10, 5), (12, 3, 4, 4)),
        lambda c: (setattr(c, "fill_style", RED), c.fill_rect(1, 2, 10, 5), c.fill_rect(12, 3, 4)),
    ),
    "stroke": (
        lambda commands: commands.stroke(RED, 3, (4, 4, 10, 8)),
        lambda c: (pen(c, 3), c.stroke_rect(4, 4, 10, 8)),
    ),
    "ring": (
        lambda commands: commands.ring(RED, 2, 15, 10, 6),
        lambda c: (pen(c, 2), c.stroke_circle(15, 10, 6)),
    ),
    "disc": (
        lambda commands: commands.disc(RED, 15, 10, 6),
        lambda c: (setattr(c, "fill_style", RED), c.fill_circle(15, 10, 6)),
    ),
    "line": (
        lambda commands: commands.line(RED, 2, 1, 1, 20, 15),
        lambda c: (pen(c, 2), c.stroke_line(1, 1, 20, 15)),
    ),
    "clear": (lambda commands: commands.clear(), lambda c: c.clear()),
    "clear a box": (
        lambda commands: commands.clear((1, 2, 5, 6)),
        lambda c: c.clear_rect(1, 2, 5, 6),
    ),
    "alpha": (lambda commands: commands.alpha(0.25), lambda c: setattr(c, "global_alpha", 0.25)),
    "blend": (
        lambda commands: commands.blend("multiply"),
        lambda c: setattr(c, "global_composite_operation", "multiply"),
    ),
}


def inside_by_ipycanvas(canvas: Canvas) -> None:
    canvas.save()
    canvas.begin_path()
    canvas.rect(1, 2, 3, 4)
    canvas.rect(5, 6, 7, 8)
    canvas.clip()
    canvas.restore()


def inside(commands: CanvasCommands) -> None:
    with commands.inside([(1, 2, 3, 4), (5, 6, 7, 8)]):
        pass


@pytest.mark.parametrize(
    ("own", "by_ipycanvas"),
    [*PAIRS.values(), (inside, inside_by_ipycanvas)],
    ids=[*PAIRS, "inside"],
)
def test_commands_are_those_that_ipycanvas_sends(
    fake_page: FakePage,
    canvas: LayeredCanvas,
    own: Callable[[CanvasCommands], None],
    by_ipycanvas: Callable[[Canvas], Any],
) -> None:
    commands = canvas.commands()
    own(commands)
    commands.send()
    *sent, last = fake_page.drawings[-1].commands
    assert last == ("switchCanvas", [f"IPY_MODEL_{canvas.buffers[0].model_id}"])
    MANAGER._current_canvas = None
    with hold_canvas():
        by_ipycanvas(canvas.displayed)
    assert [(name, list(numbers)) for name, numbers in fake_page.drawings[-1].commands] == sent


def test_image_of_a_store_is_sent_as_ipycanvas_sends_it(
    fake_page: FakePage, canvas: LayeredCanvas
) -> None:
    buffer = canvas.buffers[0]
    commands = canvas.commands()
    commands.image(buffer, (1, 2, 60, 40))
    commands.send()
    sent = fake_page.drawings[-1].commands[:-1]
    MANAGER._current_canvas = None
    with hold_canvas():
        canvas.displayed.draw_image(buffer, 1, 2, 60, 40)
    assert fake_page.drawings[-1].commands == sent


def test_picture_is_drawn_as_it_was_encoded_with_its_transparency(
    fake_page: FakePage, canvas: LayeredCanvas
) -> None:
    commands = canvas.commands()
    commands.put(png((0, 200, 0)))
    commands.put(png((200, 0, 0, 51), (10, 10)), 5, 5)
    assert commands.send() == len(png((0, 200, 0))) + len(png((200, 0, 0, 51), (10, 10)))
    picture = fake_page.picture(canvas.displayed)
    assert tuple(picture[0, 0]) == (0, 200, 0)
    assert picture[7, 7] == pytest.approx((40, 160, 0), abs=1)


def test_message_names_first_on_which_canvas_it_draws(
    fake_page: FakePage, canvas: LayeredCanvas
) -> None:
    buffer = canvas.buffers[0]
    commands = canvas.commands()
    commands.on(buffer)
    commands.fill(RED, (0, 0, 30, 20))
    commands.on(canvas.displayed)
    commands.image(buffer, (0, 0, 15, 10))
    commands.send()
    assert len(fake_page.drawings) == 1
    assert fake_page.drawings[0].names[0] == "switchCanvas"
    assert (fake_page.picture(canvas.displayed)[:10, :15] == (255, 0, 0)).all()
    assert fake_page.cover(canvas.displayed)[10:].max() == 0


def test_nothing_is_sent_before_send_and_an_error_leaves_nothing_behind(
    fake_page: FakePage, canvas: LayeredCanvas
) -> None:
    def draw_and_fail() -> None:
        commands = canvas.commands()
        with commands.inside([(0, 0, 5, 5)]):
            commands.fill(RED, (0, 0, 5, 5))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw_and_fail()
    assert fake_page.drawings == []
    assert not MANAGER._caching
    assert MANAGER._commands_cache == []
    assert MANAGER._buffers_cache == []
    fill(canvas)
    assert (fake_page.picture(canvas.displayed) == (255, 0, 0)).all()


def test_error_while_sending_leaves_ipycanvas_usable(
    fake_page: FakePage, canvas: LayeredCanvas, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the line is broken")

    with monkeypatch.context() as patch:
        patch.setattr(type(MANAGER), "send", fail)
        commands = canvas.commands()
        commands.clear()
        with pytest.raises(OSError, match="broken"):
            commands.send()
    assert not MANAGER._caching
    other = Canvas(width=10, height=10)
    other.fill_style = RED
    other.fill_rect(0, 0, 10)
    assert (fake_page.picture(other) == (255, 0, 0)).all()
    fill(canvas)
    assert (fake_page.picture(canvas.displayed) == (255, 0, 0)).all()


def test_empty_picture_is_never_sent(fake_page: FakePage, canvas: LayeredCanvas) -> None:
    commands = canvas.commands()
    commands.put(b"")
    assert commands.send() == 0
    assert fake_page.drawings == []
    commands.clear()
    assert commands.send() == 0
    assert fake_page.drawings[-1].pictures == []


def test_message_ends_on_a_canvas_that_is_not_displayed_and_comes_to_each_once(
    fake_page: FakePage, canvas: LayeredCanvas
) -> None:
    buffer = canvas.buffers[0]
    commands = canvas.commands()
    commands.on(buffer)
    commands.on(canvas.displayed)
    commands.clear()
    commands.on(canvas.displayed)
    commands.clear((1, 2, 3, 4))
    commands.send()
    switches = [where for name, where in fake_page.drawings[-1].commands if name == "switchCanvas"]
    assert switches == [[f"IPY_MODEL_{one.model_id}"] for one in (canvas.displayed, buffer)]


def test_drawing_that_someone_else_holds_is_not_sent_and_not_lost(
    fake_page: FakePage, canvas: LayeredCanvas
) -> None:
    other = Canvas(width=10, height=10)
    with hold_canvas():
        other.fill_style = "#0000ff"
        other.fill_rect(0, 0, 10)
        commands = canvas.commands()
        commands.clear((0, 0, 5, 5))
        commands.send()
        assert len(fake_page.drawings) == 1
        other.fill_rect(0, 0, 5)
    assert len(fake_page.drawings) == 2
    assert (fake_page.picture(other) == [0, 0, 255]).all()
    assert "fillRect" not in fake_page.drawings[0].names
    assert fake_page.cover(canvas.displayed).max() == 0


def test_other_canvas_can_draw_after_a_message(fake_page: FakePage, canvas: LayeredCanvas) -> None:
    other = Canvas(width=10, height=10)
    other.fill_style = RED
    other.fill_rect(0, 0, 10)
    fill(canvas, "#0000ff")
    before = fake_page.picture(canvas.displayed).copy()
    other.fill_style = "#00ff00"
    other.fill_rect(0, 0, 10)
    assert (fake_page.picture(other) == [0, 255, 0]).all()
    assert (fake_page.picture(canvas.displayed) == before).all()


def test_opacity_and_blending_come_back_after_drawing_inside_boxes(
    fake_page: FakePage, canvas: LayeredCanvas
) -> None:
    commands = canvas.commands()
    commands.alpha(1.0)
    with commands.inside([(0, 0, 10, 10)]):
        commands.alpha(0.1)
        commands.blend("multiply")
    commands.fill(RED, (0, 0, 30, 20))
    commands.send()
    assert (fake_page.picture(canvas.displayed) == (255, 0, 0)).all()


def test_messages_of_several_threads_stay_whole(fake_page: FakePage) -> None:
    canvases = [LayeredCanvas("gallery", (8, 8)) for _ in range(4)]
    colours = ["#ff0000", "#00ff00", "#0000ff", "#ffff00"]

    def draw(number: int) -> None:
        for _ in range(50):
            commands = canvases[number].commands()
            commands.fill(colours[number], (0, 0, 8, 8))
            commands.send()

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fake_page.drawings) == 200
    for one, colour in zip(canvases, colours, strict=True):
        expected = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (fake_page.picture(one.displayed) == expected).all()


def test_another_size_is_one_message_and_the_same_size_none(
    fake_page: FakePage, canvas: LayeredCanvas
) -> None:
    fake_page.messages.clear()
    canvas.resize((40, 50))
    assert len(fake_page.messages) == 1
    assert fake_page.picture(canvas.displayed).shape == (40, 50, 3)
    assert canvas.size == (40, 50)
    canvas.resize((40, 50))
    assert len(fake_page.messages) == 1
    canvas.resize((4, 5), canvas.buffers[0])
    assert fake_page.picture(canvas.buffers[0]).shape == (4, 5, 3)
    assert canvas.size == (40, 50)


Events = list[tuple[str, float, float]]


@pytest.fixture
def events(canvas: LayeredCanvas) -> Events:
    events: Events = []
    canvas.on_pointer(
        down=lambda x, y: events.append(("down", x, y)),
        move=lambda x, y: events.append(("move", x, y)),
        up=lambda x, y: events.append(("up", x, y)),
        out=lambda: events.append(("out", 0, 0)),
    )
    return events


def test_mouse_is_heard_in_pixels_of_the_canvas(canvas: LayeredCanvas, events: Events) -> None:
    for event in ("mouse_move", "mouse_down", "mouse_up", "mouse_out"):
        happen(canvas.displayed, event, x=5, y=6)
    assert events == [("move", 5, 6), ("down", 5, 6), ("up", 5, 6), ("out", 0, 0)]


def test_finger_is_heard_as_the_mouse_and_lifted_where_it_was_last(
    canvas: LayeredCanvas, events: Events
) -> None:
    canvas = canvas.displayed
    happen(canvas, "touch_start", touches=[{"x": 5, "y": 6}])
    happen(canvas, "touch_move", touches=[{"x": 7, "y": 8}, {"x": 90, "y": 90}])
    happen(canvas, "touch_end", touches=[])
    assert events == [("down", 5, 6), ("move", 7, 8), ("up", 7, 8)]
    happen(canvas, "touch_cancel", touches=[])
    assert events[-1] == ("out", 0, 0)


def test_only_what_is_asked_for_is_heard(canvas: LayeredCanvas) -> None:
    events: list[float] = []
    canvas.on_pointer(move=lambda x, y: events.append(x + y))
    for event in ("mouse_move", "mouse_down", "mouse_up", "mouse_out"):
        happen(canvas.displayed, event, x=1, y=2)
    assert events == [3]


@pytest.mark.parametrize("held", ["", "shift", "ctrl", "meta"])
def test_key_comes_with_shift_and_with_control_or_command(canvas: LayeredCanvas, held: str) -> None:
    events: list[tuple[str, bool, bool]] = []
    canvas.on_key(lambda *key: events.append(key))
    modifiers = {f"{one}_key": one == held for one in ("shift", "ctrl", "meta")}
    happen(canvas.displayed, "key_down", key="z", **modifiers)
    assert events == [("z", held == "shift", held in ("ctrl", "meta"))]


def test_page_is_ready_for_the_canvas_and_for_each_store(
    fake_page: FakePage, canvas: LayeredCanvas
) -> None:
    calls: list[int] = []
    canvas.on_ready(lambda: calls.append(1))
    fake_page.load_anew(canvas.displayed, *canvas.buffers)
    assert calls == [1, 1]


def test_close_closes_all_canvases(fake_page: FakePage, canvas: LayeredCanvas) -> None:
    canvas.close()
    assert not fake_page.open_comms


@pytest.fixture
def in_kernel(fake_page: FakePage, monkeypatch: pytest.MonkeyPatch) -> LayeredCanvas:
    monkeypatch.setattr(module, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    return LayeredCanvas("gallery", (20, 30), buffers=1)


def newest(fake_page: FakePage) -> Canvas:
    """The canvas that was opened last."""
    opened_ids = [comm for kind, comm, _ in fake_page.messages if kind == "comm_open"]
    canvases = [_instances[comm] for comm in opened_ids if comm in _instances]
    return next(widget for widget in reversed(canvases) if isinstance(widget, Canvas))


def test_in_a_kernel_canvases_stay_until_a_page_has_drawn_what_it_was_sent(
    fake_page: FakePage, in_kernel: LayeredCanvas
) -> None:
    canvases = {in_kernel.displayed.model_id, in_kernel.buffers[0].model_id}
    in_kernel.close()
    in_kernel.close()
    last = newest(fake_page)
    assert last.model_id not in canvases
    empty, filled = (memoryview(png((0, 0, 0, alpha), (1, 1))) for alpha in (0, 255))
    move(last, image_data=empty)  # more is to be drawn before it
    assert not canvases & fake_page.closed
    fake_page.load_anew(last)
    assert fake_page.drawings[-1].commands[-1][0] == "fillRect"
    assert (fake_page.picture(last) == 0).all()
    assert (fake_page.cover(last) == 1).all()
    move(last, image_data=filled)
    assert canvases <= fake_page.closed
    assert not fake_page.open_comms


def test_what_is_closed_is_tiny_and_hears_and_draws_nothing(
    fake_page: FakePage, in_kernel: LayeredCanvas
) -> None:
    calls: list[Any] = []
    in_kernel.on_ready(lambda: calls.append("ready"))
    in_kernel.on_pointer(down=lambda *at: calls.append(at), out=lambda: calls.append("out"))
    in_kernel.on_wheel(lambda *by: calls.append(by))
    in_kernel.on_key(lambda *key: calls.append(key))
    late = in_kernel.commands()
    late.fill(RED, (0, 0, 5, 5))
    in_kernel.close()
    for canvas in (in_kernel.displayed, *in_kernel.buffers):
        assert fake_page.picture(canvas).shape == (1, 1, 3)
        fake_page.load_anew(canvas)
    for event in ("mouse_down", "mouse_out", "mouse_wheel", "touch_cancel"):
        happen(in_kernel.displayed, event, x=1, y=2, touches=[])
    happen(
        in_kernel.displayed, "key_down", key="z", shift_key=False, ctrl_key=False, meta_key=False
    )
    assert not calls
    assert late.send() == 0
    assert not fake_page.drawings


def test_garbage_collector_may_close_a_surface_while_one_is_drawn(
    canvas: LayeredCanvas, in_kernel: LayeredCanvas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Widgets close themselves as they are deleted, in whatever thread that comes."""
    sent, send = threading.Event(), MANAGER.send

    def deleting(*arguments: Any) -> None:
        in_kernel.close()
        send(*arguments)
        sent.set()

    monkeypatch.setattr(MANAGER, "send", deleting)
    commands = canvas.commands()
    commands.fill(RED, (0, 0, 5, 5))
    threading.Thread(target=commands.send, daemon=True).start()
    assert sent.wait(20)


def test_whoever_closes_the_canvas_closes_its_buffers(
    fake_page: FakePage, in_kernel: LayeredCanvas
) -> None:
    box = VBox([in_kernel.displayed])
    parts = {in_kernel.displayed.model_id, in_kernel.displayed.layout.model_id}
    close_all(box)
    assert not parts & fake_page.closed
    assert in_kernel.displayed.width == 1
