"""Galleries beside one another have everything of their own, and close alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pfv_widgets.engine.pipeline.pfv import PFV
from tests.networks import blobs, tiny
from tests.widgets.fake_page import FakePage, happen, message, move
from tests.widgets.two_galleries import Pane, TwoPanes

Pictures = list[npt.NDArray[np.float32]]


@pytest.fixture
def two(fake_page: FakePage) -> Iterator[TwoPanes]:
    """One of four square images, one of six that are wider than high."""
    wide = np.stack([np.roll(np.arange(24 * 36 * 3), 131 * n).reshape(24, 36, 3) for n in range(6)])
    two = TwoPanes(
        PFV(tiny(), blobs(4), device="cpu"),
        PFV(tiny(), (wide % 251).astype(np.uint8), device="cpu"),
    )
    wait(two)
    canvases = [pane.gallery.tiles.canvas for pane in two.panes]
    fake_page.load_anew(
        *(one for canvas in canvases for one in (canvas.displayed, *canvas.buffers))
    )
    wait(two)
    yield two
    for pane in two.panes:
        pane.gallery.close()


def wait(two: TwoPanes) -> None:
    for pane in two.panes:
        assert pane.gallery.wait(60)
        assert not pane.errors


def pictures(two: TwoPanes, fake_page: FakePage) -> Pictures:
    wait(two)
    return [fake_page.picture(pane.gallery.tiles.widget).copy() for pane in two.panes]


def on(pane: Pane, image: int, event: str, x: float = 0.5, y: float = 0.5) -> None:
    """Let the pointer do something at a point of an image."""
    tiles = pane.gallery.tiles
    left, top, width, height = tiles.grid.panes(image, tiles.look.view)[0]
    happen(tiles.widget, event, x=left + x * width, y=top + y * height)


def click(pane: Pane, image: int, x: float = 0.5) -> None:
    on(pane, image, "mouse_down", x)
    on(pane, image, "mouse_up", x)


def shows_its_images(fake_page: FakePage, pane: Pane) -> bool:
    """Whether each tile is what the engine says of this pane's network, images and settings."""
    frame = pane.pfv.render(pane.settings)
    tiles = pane.gallery.tiles
    picture, (height, width) = fake_page.picture(tiles.widget), tiles.grid.tile
    off = []
    for index in tiles.on_page:
        left, top = tiles.grid.corner(index - tiles.on_page.start)
        one = Image.fromarray(frame.composite()[index]).resize((width, height))
        expected = np.asarray(one, np.float32)
        off.append(np.abs(picture[top : top + height, left : left + width] - expected).mean())
    return max(off) < 8


def test_each_shows_its_own_images(fake_page: FakePage, two: TwoPanes) -> None:
    first, second = two.panes
    pictures(two, fake_page)
    assert shows_its_images(fake_page, first)
    assert shows_its_images(fake_page, second)
    assert (len(first.gallery.tiles.on_page), len(second.gallery.tiles.on_page)) == (4, 6)


# What is done to the first pane → what of its state is then so; the second one has none of it.
CHANGES: dict[str, Any] = {
    "hover": (lambda p: on(p, 1, "mouse_move"), lambda p: p.gallery.view_state.hover),
    "pin": (lambda p: click(p, 1), lambda p: p.settings.pins),
    "cursor": (
        lambda p: happen(
            p.gallery.tiles.widget, "key_down", key="ArrowRight", shift_key=False, ctrl_key=False,
            meta_key=False,
        ),
        lambda p: p.gallery.view_state.cursor is not None,
    ),
    "opacity": (
        lambda p: move(p.controls["opacity"], value=0.2), lambda p: p.settings.opacity == 0.2
    ),
    "divider": (
        lambda p: (p.set(view="split"), on(p, 0, "mouse_down"), on(p, 0, "mouse_move", 0.8),
                   on(p, 0, "mouse_up", 0.8)),
        lambda p: p.settings.split == 0.8,
    ),
    "zoom": (
        lambda p: move(p.gallery.toolbar.toggles["zoom"], value=True),
        lambda p: p.gallery.view_state.page.columns == 1,
    ),
}  # fmt: skip  # the zoom comes last, since it moves the tiles


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_done_to_one_leaves_the_other_as_it_was(
    fake_page: FakePage, two: TwoPanes, number: int
) -> None:
    changed, other = two.panes[number], two.panes[1 - number]
    before = pictures(two, fake_page)
    for name, (act, done) in CHANGES.items():
        act(changed)
        after = pictures(two, fake_page)
        assert done(changed), name
        assert not done(other), name
        shapes = before[number].shape, after[number].shape
        assert shapes[0] != shapes[1] or (before[number] != after[number]).any(), name
        assert (before[1 - number] == after[1 - number]).all(), name
        before = after


def test_script_of_each_knows_its_own_canvas_buffers_and_controls(two: TwoPanes) -> None:
    first, second = (pane.gallery.script for pane in two.panes)
    assert first.live["gallery"] != second.live["gallery"]
    assert not set(first.buffers) & set(second.buffers)
    assert not set(first.live["knobs"].values()) & set(second.live["knobs"].values())
    message(first, near=True)
    assert [pane.gallery.tiles.near for pane in two.panes] == [True, False]


def test_one_that_closes_takes_nothing_from_the_other(fake_page: FakePage, two: TwoPanes) -> None:
    first, second = two.panes
    mine = [second.gallery.tiles.widget, *second.gallery.tiles.canvas.buffers]
    first.gallery.close()
    assert not fake_page.closed & {canvas.model_id for canvas in mine}
    second.set(sigma=2.0)
    assert second.gallery.wait(60)
    assert shows_its_images(fake_page, second)
    assert not second.errors


def test_galleries_of_one_network_and_batch_close_alone(fake_page: FakePage) -> None:
    pfv = PFV(tiny(), blobs(4), device="cpu")
    two = TwoPanes(pfv, pfv)
    try:
        wait(two)
        two.panes[0].gallery.close()
        second = two.panes[1]
        canvas = second.gallery.tiles.canvas
        fake_page.load_anew(canvas.displayed, *canvas.buffers)
        second.set(components=2)
        assert second.gallery.wait(60)
        assert shows_its_images(fake_page, second)
    finally:
        two.panes[1].gallery.close()
