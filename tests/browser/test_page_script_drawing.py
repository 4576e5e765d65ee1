"""What the script in the page draws by itself is what the kernel draws, and is there at once."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import expect

from pfv_widgets.engine.colouring.compositing import VIEWS
from tests.browser.explorer_page import HELPERS, ExplorerPage, settle, settling
from tests.browser.lab import LabPage
from tests.browser.widget_page import WidgetPage

OpenLab = Callable[[list[str]], LabPage]

DEMO = [HELPERS, "explorer = pw.demo(4)\nexplorer"]
NO_SCRIPT = """
from pfv_widgets.widgets.browser.gallery_script import GalleryScript
GalleryScript._esm = "export default { render() {} }"
"""
# What a picture shows while a hand moves stays: no fine one follows.
ONLY_QUICK = """
explorer.gallery.render_loop.gains = lambda state: False
explorer.settings = replace(explorer.settings, sigma=2.0)
print(rests(explorer), explorer.gallery.tiles.rough)
"""
# Counts the pictures that the page loads as files from now on, with the script and without.
COUNT_LOADS = """() => {
  window.loads = 0;
  for (const [owner, name] of [[URL, "createObjectURL"], [window, "createImageBitmap"]]) {
    const load = (owner[name].before ??= owner[name]);  // a test before this one may have counted
    owner[name] = (file) => { window.loads++; return load.call(owner, file); };
    owner[name].before = load;
  }
}"""
# Each of these stops a page of ipycanvas for good: a canvas that is gone, a picture that is none.
BREAK = """
from ipycanvas import Canvas
from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
def broken(gone):
    canvas = Canvas() if gone else explorer.gallery.tiles.canvas.buffers[0]
    commands = CanvasCommands(canvas)
    commands.put(b"no picture")
    if gone:
        canvas.close()
    commands.send()
"""
# All that can be marked, at once.
MARKS = """
from pfv_widgets.widgets.toolkit.geometry import Spot
explorer.settings = replace(
    explorer.settings, images=(1.0, 0.0, 1.0, 1.0, 1.0), pins=((0, 0.3, 0.6), (4, 0.9, 0.1)),
    similarity=False, sigma=2.5,
)
brush = Spot(2, 0.2, 0.1), Spot(2, 0.7, 0.9)
explorer.gallery.go(lambda state: replace(state, cursor=3, brush=brush))
"""
# Notes each height that the gallery takes.
SIZES = """canvas => {
  window.sizes = [];
  const note = () => window.sizes.push(canvas.height);
  new MutationObserver(note).observe(canvas, { attributeFilter: ["height"] });
}"""
# Reads a pixel before each picture of the screen, while a key is pressed again and again.
SAMPLED = """async (handle, [key, times, x, y]) => {
  const canvas = document.querySelector("canvas.pfv-gallery"), seen = [];
  const look = () => {
    seen.push([...canvas.getContext("2d").getImageData(x, y, 1, 1).data.slice(0, 3)]);
    ahead = requestAnimationFrame(look);
  };
  let ahead = requestAnimationFrame(look);
  for (let i = 0; i < times; i++) {
    handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
  cancelAnimationFrame(ahead);
  return seen;
}"""


def open_demo(lab: OpenLab) -> ExplorerPage:
    """A demo of four scenes for one test alone."""
    explorer = ExplorerPage(lab(DEMO))
    explorer.wait_for_frame()
    explorer.wait_until("explorer.gallery.tiles.near", "True")  # the script is there
    return explorer


def process(explorer: ExplorerPage) -> int:
    """The number of the kernel's process."""
    return int(explorer.run("import os\nprint(os.getpid())"))


@contextmanager
def standing_still(kernel: int) -> Iterator[None]:
    """Stop the process of a kernel for a while."""
    os.kill(kernel, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kernel, signal.SIGCONT)


def kernel_pixels(explorer: ExplorerPage, **settings: object) -> npt.NDArray[np.int16]:
    """What the kernel draws for some settings."""
    changes = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    explorer.run(f"explorer.settings = replace(explorer.settings, {changes})")
    return explorer.settled()


def wait_for_pixels(explorer: ExplorerPage, expected: npt.NDArray[np.int16]) -> None:
    """Wait until the gallery shows this, give or take the rounding of a mixture."""
    off = 256
    for _ in range(200):
        actual = explorer.pixels()
        off = int(np.abs(actual - expected).max()) if actual.shape == expected.shape else 256
        if off <= 2:
            return
        explorer.page.page.wait_for_timeout(50)
    raise AssertionError(f"a pixel is off by {off}")


@pytest.mark.all
@pytest.mark.parametrize("quick", [False, True])
def test_every_view_is_drawn_by_the_page_as_by_the_kernel(lab: OpenLab, quick: bool) -> None:
    explorer = ExplorerPage(lab([HELPERS, "explorer = pw.demo(5)\nexplorer"]))
    explorer.wait_for_frame()
    explorer.wait_until("explorer.gallery.tiles.near", "True")
    if quick:
        explorer.run("explorer.gallery.render_loop.gains = lambda state: False")
    explorer.run(MARKS)
    looks = {view: kernel_pixels(explorer, view=view) for view in VIEWS}
    split = kernel_pixels(explorer, view="split", split=1.0)
    kernel_pixels(explorer, view="overlay", opacity=0.65, split=0.5)
    assert len({one.tobytes() for one in (*looks.values(), split)}) == len(VIEWS) + 1
    with standing_still(process(explorer)):
        for view, expected in reversed(looks.items()):
            explorer.choice("View").select_option(view)
            wait_for_pixels(explorer, expected)
        for key, view in (("Home", "photo"), ("End", "heatmap")):
            explorer.page.press(explorer.slider("Opacity"), key)
            wait_for_pixels(explorer, looks[view])
    explorer.wait_until("(explorer.settings.opacity, explorer.settings.view)", "(1.0, 'overlay')")
    assert np.abs(explorer.settled() - looks["heatmap"]).max() <= 2
    kernel_pixels(explorer, view="split", opacity=0.65)
    with standing_still(process(explorer)):
        explorer.page.press(explorer.slider("Divider"), "End")
        wait_for_pixels(explorer, split)
    explorer.wait_until("explorer.settings.split", "1.0")
    assert np.abs(explorer.settled() - split).max() <= 2


@pytest.mark.all
def test_divider_is_dragged_without_the_kernel(small_demo: ExplorerPage) -> None:
    explorer = small_demo
    kernel_pixels(explorer, view="split", split=0.8)
    explorer.run("x, y, w, h = explorer.gallery.tiles.grid.box(0)")
    left, top, width, height = json.loads(explorer.run("print([int(i) for i in (x, y, w, h)])"))
    start, end = (left + width // 4, top + height // 2), (left + width // 2, top + height // 3)
    expected = kernel_pixels(explorer, split=round(0.25 + (end[0] - start[0]) / width, 2))
    before = kernel_pixels(explorer, split=0.8)
    with standing_still(process(explorer)):
        explorer.click(*start)  # no drag: the kernel pins the position when it goes on
        explorer.page.page.wait_for_timeout(200)
        assert (explorer.pixels() == before).all()
        explorer.drag(start, end)
        wait_for_pixels(explorer, expected)
        explorer.page.page.wait_for_timeout(1500)
        assert np.abs(explorer.pixels() - expected).max() <= 2  # it does not jump back
    explorer.wait_until("explorer.settings.split", "0.5")
    explorer.run("explorer.gallery.interaction.unpin(None)")
    explorer.page.page.mouse.move(1, 1)
    kernel_pixels(explorer, similarity=False)
    assert np.abs(explorer.settled() - expected).max() <= 2
    assert np.abs(kernel_pixels(explorer, split=0.8) - before).max() <= 2  # the kernel has it again


@pytest.mark.all
def test_what_the_kernel_takes_back_is_shown_at_once(small_demo: ExplorerPage) -> None:
    explorer = small_demo
    before = kernel_pixels(explorer, view="split", split=0.2)
    left, top, width, height = json.loads(
        explorer.run("print([*explorer.gallery.tiles.grid.box(0)])")
    )
    for undone in range(2):
        explorer.drag((left + width // 3, top + 20), (left + 2 * width // 3, top + height // 2))
        explorer.wait_until("abs(explorer.settings.split - 0.66) < 0.02", "True")
        explorer.leave()
        if undone:  # with the pointer away, and with it where the divider was let go
            explorer.page.page.wait_for_timeout(800)
        explorer.run("explorer.undo()")
        assert np.abs(explorer.settled() - before).max() <= 2
    explorer.page.press(explorer.slider("Divider"), "Home")
    explorer.wait_until("explorer.settings.split", "0.0")
    assert np.abs(explorer.settled() - before).max() > 50


@pytest.mark.all
def test_undo_of_a_view_of_another_size_resizes_once(small_demo: ExplorerPage) -> None:
    explorer = small_demo
    before = explorer.settled()
    explorer.choice("View").select_option("side by side")
    explorer.wait_until("explorer.settings.view", "side by side")
    assert explorer.settled().shape != before.shape
    explorer.page.page.wait_for_timeout(2000)  # then nothing older is on its way
    explorer.gallery.evaluate(SIZES)
    explorer.run("explorer.undo()")
    assert np.abs(explorer.settled() - before).max() <= 2
    assert explorer.page.page.evaluate("[...new Set(window.sizes)]") == [before.shape[0]]


@pytest.mark.all
def test_gallery_follows_after_the_page_was_loaded_anew(lab: OpenLab) -> None:
    explorer = open_demo(lab)
    page = explorer.page
    assert isinstance(page, LabPage)
    page.reload()
    explorer.wait_for_frame()
    photo = kernel_pixels(explorer, opacity=0.0)
    kernel_pixels(explorer, opacity=0.5)
    with standing_still(process(explorer)):
        explorer.page.press(explorer.slider("Opacity"), "Home")
        wait_for_pixels(explorer, photo)


@pytest.mark.all
def test_gallery_is_painted_anew_after_a_command_that_fails(lab: OpenLab) -> None:
    explorer = open_demo(lab)
    explorer.run(BREAK)
    for gone in (True, False):
        explorer.run("explorer.gallery.tiles.near = False")
        explorer.run(f"broken({gone})")
        explorer.wait_until("explorer.gallery.tiles.near", "True")  # it has asked for everything
        explorer.wait_for_frame()
    kernel_pixels(explorer, sigma=2.0)
    explorer.wait_for_frame()


@pytest.mark.all
@pytest.mark.parametrize("front_end", ["notebook7", "voila"])
def test_gallery_follows_everywhere(request: pytest.FixtureRequest, front_end: str) -> None:
    cells = ["import os\nprint('kernel', os.getpid())"]
    cells += ["import pfv_widgets as pw\nexplorer = pw.demo(4)\nexplorer", settling("explorer")]
    page: WidgetPage = request.getfixturevalue(front_end)(cells)
    explorer = ExplorerPage(page)
    expect(explorer.status).to_contain_text("Up to date")
    expect(explorer.box).to_contain_class("pfv-scripted")
    text = page.page.get_by_text(re.compile(r"^kernel \d+")).text_content() or ""
    number = text.split()[1]
    looks = {}
    for view in ("rgb split", "overlay"):
        explorer.choice("View").select_option(view)
        settle(page)
        looks[view] = explorer.pixels()
    for key in ("Home", "End"):
        explorer.page.press(explorer.slider("Opacity"), key)
        settle(page)
        looks[key] = explorer.pixels()
    assert np.abs(looks["Home"] - looks["End"]).max() > 50
    with standing_still(int(number)):
        explorer.page.press(explorer.slider("Opacity"), "Home")
        wait_for_pixels(explorer, looks["Home"])
        explorer.choice("View").select_option("rgb split")
        wait_for_pixels(explorer, looks["rgb split"])


@pytest.mark.all
def test_no_picture_of_an_older_opacity_comes_between(small_demo: ExplorerPage) -> None:
    explorer = small_demo
    photo, heat = kernel_pixels(explorer, opacity=0.0), kernel_pixels(explorer, opacity=1.0)
    apart = np.abs(heat - photo).max(2)
    y, x = np.unravel_index(int(apart.argmax()), apart.shape)
    channel = int(np.abs(heat - photo)[y, x].argmax())
    handle = explorer.slider("Opacity").element_handle()
    assert handle is not None
    for start, towards, key in ((heat, photo, "PageDown"), (photo, heat, "PageUp")):
        explorer.settled()
        seen = np.array(handle.evaluate(SAMPLED, [key, 24, int(x), int(y)]))[:, channel]
        steps = np.diff(seen) * np.sign(int(towards[y, x, channel]) - int(start[y, x, channel]))
        assert steps.min() >= -1  # it never goes back
        assert len(np.unique(seen)) > 5
        assert abs(int(seen[-1]) - int(towards[y, x, channel])) <= 2


@pytest.mark.all
def test_uncompressed_pictures_are_drawn_as_they_are(lab: OpenLab) -> None:
    explorer = open_demo(lab)
    explorer.settled()
    explorer.page.page.evaluate(COUNT_LOADS)
    assert explorer.run(ONLY_QUICK) == "True True"
    explorer.wait_for_frame(0, 1, 2, 3)
    assert explorer.page.page.evaluate("window.loads") == 0


@pytest.mark.all
def test_uncompressed_pictures_need_no_script(lab: OpenLab) -> None:
    explorer = ExplorerPage(lab([HELPERS, NO_SCRIPT, "explorer = pw.demo(4)\nexplorer"]))
    explorer.wait_for_frame()
    assert explorer.run("print(explorer.gallery.tiles.near)") == "False"
    explorer.settled()
    explorer.page.page.evaluate(COUNT_LOADS)
    explorer.run("explorer.gallery.tiles.near = True")
    assert explorer.run(ONLY_QUICK) == "True True"
    explorer.wait_for_frame(0, 1, 2, 3)
    assert explorer.page.page.evaluate("window.loads") == 1
