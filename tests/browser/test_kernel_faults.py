"""What the explorer does while its kernel is busy, interrupted, restarted or gone."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.explorer_page import HELPERS, ExplorerPage, settle, settling
from tests.browser.lab import LabPage, NotebookPage
from tests.browser.server import JupyterServer
from tests.browser.widget_page import WidgetPage

DEMO = [HELPERS, "explorer = pw.demo()\nexplorer"]
FOREVER = "import time\nfor _ in range(6000):\n    time.sleep(0.1)"

# every module takes its time as soon as `pause` is set: a layer stays in work for seconds
SLOW = """
import time
model, pause = pw.demo_model(), [0.0]
for module in model.modules():
    module.register_forward_hook(lambda *_: time.sleep(pause[0]))
explorer = pw.explore(model, pw.demo_images(16))
explorer
"""
ANOTHER_LAYER = """
pause[0] = 0.5
other = [layer.name for layer in explorer.pfv.layers if layer.same_as is None][-5]
explorer.settings = replace(explorer.settings, layer=other)
explorer.wait()
"""
# Whether a canvas shows something else than it did, told by some of its pixels.
MOVED = """([index, before]) => {
  const canvas = document.querySelectorAll("canvas.pfv-gallery")[index];
  const { data } = canvas.getContext("2d").getImageData(0, 0, 64, 64);
  return data[3] == 255 && data.some((value, i) => Math.abs(value - before[i]) > 12);
}"""
PAINTED = """index => {
  const canvas = document.querySelectorAll("canvas.pfv-gallery")[index];
  return canvas && canvas.getContext("2d").getImageData(20, 20, 1, 1).data[3] == 255;
}"""

# Decoding a picture takes a second.
LATE_PICTURES = """
  const { get, set } = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
  Object.defineProperty(HTMLImageElement.prototype, "src", { get, set(url) {
    setTimeout(() => set.call(this, url), String(url).startsWith("blob:") ? 1000 : 0);
  } });
"""


def corner(explorer: ExplorerPage) -> list[int]:
    """The first pixels of the gallery, as ``MOVED`` takes them."""
    return explorer.pixels()[:64, :64].ravel().tolist()


@pytest.fixture(params=["lab", pytest.param("notebook7", marks=pytest.mark.all)])
def open_notebook(request: pytest.FixtureRequest) -> Callable[[list[str]], NotebookPage]:
    """Open code cells and run them, in each kind of notebook."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.mark.all
def test_busy_kernel_follows_sliders_and_an_interrupt_in_a_flood_does_no_harm(
    demo: ExplorerPage,
) -> None:
    explorer, page = demo, demo.page
    assert isinstance(page, LabPage)
    # the first event of a widget goes to the main thread, later ones to a subshell beside it:
    # in Lab 4.6 and ipykernel 7.4 a slider follows while a cell runs once it was moved before
    for name in ("Opacity", "Contrast σ"):
        page.press(explorer.slider(name), "PageUp")
    explorer.wait_until("explorer.settings.sigma > 1.04", "True")
    explorer.wait_for_frame()
    page.begin(FOREVER)
    before = corner(explorer)
    page.press(explorer.slider("Opacity"), "Home")
    page.wait_for(MOVED, [0, before])
    for number in range(20):
        page.press(explorer.slider("Contrast σ"), "PageUp")
        if number == 10:
            page.interrupt()
    assert page.wait_for_end() == "error"  # it ran all the time until the interrupt
    explorer.wait_until("explorer.settings.sigma", "4.0")
    page.press(explorer.slider("Opacity"), "End")
    explorer.wait_until("explorer.settings.opacity", "1.0")
    explorer.wait_for_frame()


@pytest.mark.all
def test_interrupt_while_a_layer_is_computed_leaves_a_working_widget(
    lab: Callable[[list[str]], LabPage],
) -> None:
    page = lab([HELPERS, SLOW])
    explorer = ExplorerPage(page)
    explorer.wait_for_frame()
    page.begin(ANOTHER_LAYER)
    expect(explorer.status).to_contain_text("Computing")
    page.interrupt()
    assert page.wait_for_end() == "error"
    page.run("pause[0] = 0.0")
    explorer.wait_for_frame()
    explorer.wait_until("explorer.settings.layer == other", "True")
    page.press(explorer.slider("Components"), "ArrowLeft")
    explorer.wait_until("explorer.settings.components", "2")
    explorer.wait_for_frame()
    expect(explorer.status).to_have_role("status")


@pytest.mark.all
def test_after_a_restart_the_old_widget_is_marked_and_the_cell_paints_anew(
    open_notebook: Callable[[list[str]], NotebookPage],
) -> None:
    page = open_notebook(DEMO)
    explorer = ExplorerPage(page)
    explorer.wait_for_frame()
    page.restart()
    expect(explorer.box).to_contain_class("jupyter-widgets-disconnected")
    expect(explorer.box.get_by_text(re.compile("run .*cell", re.IGNORECASE))).to_be_visible()
    page.run_all()
    explorer.wait_for_frame()
    expect(page.page.locator(".pfv-explorer")).to_have_count(1)
    page.press(explorer.slider("Opacity"), "Home")
    explorer.wait_until("explorer.settings.opacity", "0.0")
    explorer.wait_for_frame()


@pytest.mark.all
def test_notebook_opened_on_a_new_kernel_shows_the_saved_picture(
    open_notebook: Callable[[list[str]], NotebookPage], jupyter: JupyterServer
) -> None:
    page = open_notebook(DEMO)
    ExplorerPage(page).wait_for_frame()
    picture = page.page.locator(".jp-OutputArea-output img")
    expect(picture).to_be_attached()  # hidden while the widget lives, and drawn once it rests
    page.save()
    jupyter.end_kernels()
    page.reload()
    expect(picture).to_be_visible()
    loaded = "image => image.complete && image.naturalWidth > 300"
    page.page.wait_for_function(loaded, arg=picture.element_handle())
    expect(page.page.get_by_text("model not found")).not_to_be_visible()


@pytest.mark.all
def test_two_explorers_on_a_voila_page_do_not_disturb_each_other(
    voila: Callable[[list[str]], WidgetPage],
) -> None:
    page = voila(
        [
            "import pfv_widgets as pw\nfirst = pw.demo(4)\nfirst",
            "second = pw.demo(4, seed=1)\nsecond",
            settling("first", "second"),
        ]
    )
    both: list[Any] = [ExplorerPage(page), ExplorerPage(page, canvas=1)]
    for number, explorer in enumerate(both):
        page.wait_for(PAINTED, number, timeout=120)
        expect(explorer.status).to_contain_text("Up to date")
    for number, explorer in enumerate(both):
        other = both[1 - number]
        settle(page)
        before, kept = corner(explorer), other.pixels()
        page.press(explorer.slider("Opacity"), "Home")
        page.wait_for(MOVED, [number, before])
        expect(explorer.slider("Opacity")).to_have_attribute("aria-valuenow", "0.0")
        settle(page)
        assert (other.pixels() == kept).all()


def late_scripts(page: Page) -> None:
    """Let what draws arrive after the first explorer is gone."""

    def late(route: Route) -> None:
        time.sleep(2)
        route.continue_()

    page.route("**/labextensions/ipycanvas/static/*.js", late)


def late_pictures(page: Page) -> None:
    """Let what is drawn be there after the first explorer is gone."""
    page.add_init_script(LATE_PICTURES)


@pytest.mark.own_page
@pytest.mark.all
@pytest.mark.parametrize("late", [late_scripts, late_pictures])
def test_explorer_that_was_closed_unseen_does_not_stop_the_next(
    page: Page, lab: Callable[[list[str]], LabPage], late: Callable[[Page], None]
) -> None:
    late(page)
    unseen = "gone = pw.demo(4)\ngone.wait(20)\ngone.close()"
    explorer = ExplorerPage(lab([HELPERS, unseen, "explorer = pw.demo(4)\nexplorer"]))
    explorer.wait_for_frame()
    explorer.wait_until("gone.gallery.tiles.canvas.displayed.comm is None", "True")


# A control of which the answer to one change was lost, and another change waited for it.
RELEASED = """async source => {
  const { release } = await import("data:text/javascript," + encodeURIComponent(source));
  const shown = { KEY: 1.15 }, sent = [], model = {
    _pending_msgs: 1, _msg_buffer: BUFFER,
    _expectedEchoMsgIds: new Map([["KEY", "old"]]),
    has: (key) => key in shown, get: (key) => shown[key],
    comm: { send: ({ state }) => { sent.push(state); return "new"; } },
  };
  release(model);
  release(model);  // lost again before the answer
  return [sent, Object.fromEntries(model._expectedEchoMsgIds), model._pending_msgs];
}"""


@pytest.mark.parametrize(
    ("key", "buffer"), [("value", "{ value: 1.15 }"), ("selected_index", "null")]
)
def test_only_the_answer_to_what_is_sent_after_a_lost_connection_moves_a_control(
    page: Page, key: str, buffer: str
) -> None:
    script = files("pfv_widgets.widgets.browser") / "connection_script.js"
    source = script.read_text("utf-8") + "export { release };"
    released = RELEASED.replace("KEY", key).replace("BUFFER", buffer)
    assert page.evaluate(released, source) == [2 * [{key: 1.15}], {key: "new"}, 0]


# A manager that reads states of a kernel that has not yet heard what the page shows.
KEPT = """async source => {
  const { keepValues } = await import("data:text/javascript," + encodeURIComponent(source));
  class Model {
    state = { value: 1.15, max: 4 };
    get(name) { return this.state[name]; }
    set_state(state) { Object.assign(this.state, state); }
  }
  const model = new Model(), shown = [];
  let differed = 0;
  const read = (state) => {
    model.set_state(state);
    shown.push({ ...model.state, differed });
  };
  for (const time of [1, 2]) keepValues([model], () => { differed += time; });
  read({ _model_name: "FloatSliderModel", value: 1.05, max: 5 });
  read({ value: 3 });  // the kernel has changed it
  read({ _model_name: "FloatSliderModel", value: 3, max: 6 });
  return shown;
}"""


def test_states_read_anew_move_no_control_and_tell_where_they_differ(page: Page) -> None:
    script = files("pfv_widgets.widgets.browser") / "connection_script.js"
    source = script.read_text("utf-8") + "export { keepValues };"
    read, changed, same = page.evaluate(KEPT, source)
    assert (read["value"], read["max"], read["differed"]) == (1.15, 5, 1)
    assert (changed["value"], changed["differed"]) == (3, 1)
    assert (same["value"], same["max"], same["differed"]) == (3, 6, 1)


# Ends the socket to the kernel, as a server does that goes away.
HANG_UP = "() => window.testPanel.sessionContext.session.kernel._ws.close()"


@pytest.mark.all
@pytest.mark.own_page
def test_lost_connection_is_said_and_what_was_set_meanwhile_is_caught_up_with(
    lab: Callable[[list[str]], LabPage],
) -> None:
    page = lab(DEMO)
    explorer = ExplorerPage(page)
    explorer.wait_for_frame()
    away = explorer.box.get_by_text("The connection to the kernel is lost")
    expect(away).to_be_hidden()
    page.page.context.set_offline(True)
    page.page.evaluate(HANG_UP)
    expect(away).to_be_visible()
    lab_says_so = page.page.get_by_role("dialog")
    lab_says_so.get_by_role("checkbox").check()  # else it comes again, between two keys
    lab_says_so.get_by_role("button", name="Close").click()
    slider = explorer.slider("Contrast σ")
    for _ in range(3):
        slider.press("ArrowRight")
    readout = explorer.box.get_by_label("Contrast σ, as a number")
    expect(readout).to_have_text("1.15")
    picture = os.environ.get("PFV_SCREENSHOTS")
    if picture:
        page.page.screenshot(path=Path(picture) / "connection-lost.png")
    page.page.context.set_offline(False)
    expect(away).to_be_hidden(timeout=60_000)
    explorer.wait_until("explorer.settings.sigma", "1.15")
    explorer.wait_for_frame()
    slider.press("ArrowRight")  # and the slider lives
    explorer.wait_until("explorer.settings.sigma", "1.2")
    explorer.run("explorer.settings = replace(explorer.settings, sigma=2.0)")
    expect(readout).to_have_text("2.00")
    explorer.wait_for_frame()


# A page too busy to look for a widget's model for three seconds at a time: ipywidgets looks each
# tenth of a second, gives up after two seconds, and does not look once more.
BUSY = """(() => {
  const { setTimeout } = window;
  window.setTimeout = (call, delay, ...rest) =>
    setTimeout(call, delay === 100 ? 3000 : delay, ...rest);
})()"""


@pytest.mark.all
@pytest.mark.own_page
def test_page_that_gave_up_on_the_explorer_while_it_loaded_shows_it_after_all(
    page: Page, lab: Callable[[list[str]], LabPage]
) -> None:
    explorer = ExplorerPage(lab(DEMO))
    explorer.wait_for_frame()
    page.add_init_script(BUSY)
    explorer.page.reload()
    explorer.wait_for_frame()
    expect(explorer.status).to_contain_text("Up to date")
