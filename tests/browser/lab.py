"""A notebook in JupyterLab, opened and run through Lab's own application object."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from playwright.sync_api import Page

from tests.browser.server import JupyterServer
from tests.browser.widget_page import WidgetPage

RESTORED = """async () => { await window.jupyterapp.restored; }"""

OPEN = """async (path) => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = await app.commands.execute("docmanager:open", { path, factory: "Notebook" });
  window.testOpened?.(panel);
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.content.fullyRendered;
  window.testPanel = panel;
}"""

# Closes what is open without a question, and answers those that are asked.
CLOSE = """() => {
  const { shell } = window.jupyterapp;
  document.querySelectorAll(".jp-Dialog .jp-mod-reject").forEach((button) => button.click());
  for (const widget of [...shell.widgets("main")]) {
    if (widget.context) widget.context.model.dirty = false;
    widget.dispose();
  }
  window.testPanel = null;
}"""

LIGHT = "JupyterLab Light"
IS_IDLE = """() => window.testPanel?.sessionContext.session?.kernel?.status === "idle" """

RUN_ALL = """async () => {
  await window.jupyterapp.commands.execute("notebook:run-all-cells");
  const cells = window.testPanel.content.widgets.filter((cell) => cell.model.type === "code");
  const outputs = cells.flatMap((cell) => cell.model.outputs.toJSON());
  return outputs
    .filter((output) => output.output_type === "error")
    .map((output) => output.traceback.join("\\n"));
}"""

RUN_CODE = """async (code) => {
  const { kernel } = window.testPanel.sessionContext.session;
  const future = kernel.requestExecute({ code, store_history: false, stop_on_error: false });
  let text = "";
  future.onIOPub = ({ header, content }) => {
    if (header.msg_type === "stream") text += content.text;
    if (header.msg_type === "execute_result") text += content.data["text/plain"];
    if (header.msg_type === "error") text += content.traceback.join("\\n");
  };
  const reply = await future.done;
  return { status: reply.content.status, text };
}"""

RESTART = """() => {
  // fulfilled once the dialog is answered and the new kernel is there
  window.testRestart = window.jupyterapp.commands.execute("notebook:restart-kernel");
}"""

INTERRUPT = """() => window.jupyterapp.commands.execute("notebook:interrupt-kernel")"""

RUN_BESIDE = """code => {
  const { kernel } = window.testPanel.sessionContext.session;
  window.testRun = kernel.requestExecute({ code, store_history: false, stop_on_error: false });
  window.testRunEnd = null;
  window.testRun.done.then((reply) => { window.testRunEnd = reply.content.status; });
}"""

THEME = """async (theme) => {
  if (document.body.dataset.jpThemeName !== theme)
    await window.jupyterapp.commands.execute("apputils:change-theme", { theme });
}"""

# The command "Save" saves nothing, and says nothing, where another part of Lab has the focus.
SAVE = """() => window.testPanel.context.save()"""

NEW_VIEW = """async (index) => {
  const { content } = window.testPanel;
  content.activeCellIndex = index < 0 ? content.widgets.length + index : index;
  await window.jupyterapp.commands.execute("notebook:create-output-view");
}"""


# A canvas that comes last in the one queue in which a page draws: when its pixel is back, all
# that was sent before is drawn, decoded pictures too.
PROBE = """
if "probe" not in globals():
    import io
    from ipycanvas import Canvas
    from PIL import Image
    from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands

    class Probe:
        def __init__(self):
            self.number, self.canvas = 0, Canvas(width=1, height=1, sync_image_data=True)

        def ask(self):
            self.number += 1
            commands = CanvasCommands(self.canvas)
            commands.fill(f"#{self.number:06x}", (0, 0, 1, 1))
            commands.send()

        @property
        def answered(self):
            if not self.canvas.image_data:
                return False
            picture = Image.open(io.BytesIO(self.canvas.image_data)).convert("RGB")
            r, g, b = picture.getpixel((0, 0))
            return (r << 16) + (g << 8) + b == self.number

    probe = Probe()
"""

WITHIN = """([argument, seconds]) => Promise.race([
  (FUNCTION)(argument),
  new Promise((_, reject) => setTimeout(
    () => reject(new Error(`not finished after ${seconds} s`)), 1000 * seconds)),
])"""


def call(page: Page, function: str, argument: object = None, timeout: float = 120) -> Any:
    """Call a JavaScript function of a page; raise where its promise stays open."""
    return page.evaluate(WITHIN.replace("FUNCTION", function), [argument, timeout])


def open_lab(page: Page, server: JupyterServer, workspace: str) -> None:
    """Load JupyterLab with nothing open, whatever was open in this workspace before."""
    page.goto(server.url(f"lab/workspaces/{workspace}?reset"))
    page.wait_for_function("() => window.jupyterapp !== undefined", timeout=180_000)
    call(page, RESTORED, timeout=180)


def close_notebooks(page: Page) -> None:
    """Close all that is open in JupyterLab."""
    call(page, CLOSE, timeout=30)
    use_light_theme(page)


def use_light_theme(page: Page) -> None:
    use_theme(page, LIGHT)


def use_theme(page: Page, name: str) -> None:
    """Change the theme of JupyterLab, and wait until its colours are there."""
    call(page, THEME, name, timeout=30)
    page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)


class NotebookPage(WidgetPage):
    """A notebook with a kernel, driven through the application object that its page exposes."""

    def run_all(self, timeout: float = 240) -> None:
        """Run all cells; raise with the traceback where one fails."""
        errors = self._call(RUN_ALL, timeout=timeout)
        assert not errors, "\n".join(errors)
        self.wait_until_idle(timeout)

    def run(self, code: str, timeout: float = 120) -> str:
        """Run code in the notebook's kernel, beside its cells; return what it prints."""
        succeeded, printed = self._run(code, timeout)
        assert succeeded, printed
        return printed

    def _run(self, code: str, timeout: float) -> tuple[bool, str]:
        """Whether code succeeded, and what it printed or its traceback."""
        result = self._call(RUN_CODE, code, timeout)
        return result["status"] == "ok", str(result["text"]).strip()

    def wait_until(self, expression: str, expected: str, timeout: float = 60) -> None:
        """Wait until an expression in the kernel is printed as ``expected``.

        It may fail until then: what it reads need not be there yet. It is asked less and less
        often: each time keeps kernel, server and page from their work.
        """
        deadline, pause = time.monotonic() + timeout, 20.0
        while (actual := self._run(f"print({expression})", timeout=120)[1]) != expected:
            assert time.monotonic() < deadline, f"{expression} is {actual}, not {expected}"
            self.page.wait_for_timeout(pause)
            pause = min(1.4 * pause, 250)

    def wait_until_drawn(self, code: str = "") -> None:
        """Run code in the kernel, and wait until the page has drawn all that was sent by then.

        It is asked again after a while: a page that begins anew may have lost the question.
        """
        self.run(f"{PROBE}\n{code}")
        for seconds in (15, 15):
            self.run("probe.ask()")
            with suppress(AssertionError):
                self.wait_until("probe.answered", "True", seconds)
                return
        self.run("probe.ask()")
        self.wait_until("probe.answered", "True")

    def begin(self, code: str) -> None:
        """Run code in the kernel, beside its cells, and go on meanwhile."""
        self.page.evaluate(RUN_BESIDE, code)

    def wait_for_end(self, timeout: float = 120) -> str:
        """Wait until what was begun has ended; return ``"ok"``, ``"error"`` or ``"aborted"``."""
        self.wait_for("() => window.testRunEnd", timeout=timeout)
        return str(self.page.evaluate("() => window.testRunEnd"))

    def wait_until_idle(self, timeout: float = 120) -> None:
        self.wait_for(IS_IDLE, timeout=timeout)

    def save(self) -> None:
        self._call(SAVE)

    def reload(self, script: str = "") -> None:
        """Save, load the page anew and open the notebook again; the kernel lives on.

        The page runs a script before its own.
        """
        self.save()
        session = self.page.context.new_cdp_session(self.page)
        session.send("Page.enable")
        name = "ScriptToEvaluateOnNewDocument"  # one of Playwright's own stays for all that follows
        added = session.send(f"Page.add{name}", {"source": script})
        self._load()
        session.send(f"Page.remove{name}", added)
        session.detach()
        self.open_notebook()

    def interrupt(self) -> None:
        """Interrupt the kernel as the stop button does."""
        self._call(INTERRUPT)

    def restart(self) -> None:
        """Restart the kernel as the button does, with its question; no cell is run."""
        self._call(RESTART)
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self._call("() => window.testRestart")
        self.wait_until_idle()

    def open_notebook(self) -> None:
        """Show the notebook in the application that is loaded, and wait for its kernel."""
        raise NotImplementedError

    def _load(self) -> None:
        """Load the page anew."""
        self.page.reload()

    def _call(self, function: str, argument: object = None, timeout: float = 120) -> Any:
        return call(self.page, function, argument, timeout)


class LabPage(NotebookPage):
    """One page of JupyterLab, in a workspace of its own, with one notebook."""

    def __init__(self, page: Page, server: JupyterServer, name: str) -> None:
        super().__init__(page)
        self._server = server
        self._name = name
        self._workspace = "tests"

    def open(self, workspace: str) -> None:
        """Load Lab, open the notebook and wait for its kernel."""
        self._workspace = workspace
        self._load()
        self.open_notebook()

    def open_notebook(self) -> None:
        self._call(OPEN, self._name, timeout=180)  # the first kernel waits for torch
        self.wait_until_idle()

    def second_view(self, cell: int = -1) -> None:
        """Show the output of a cell once more, beside the notebook; the last cell by default."""
        self._call(NEW_VIEW, cell)

    def second_page(self) -> LabPage:
        """Open the same notebook, on the same kernel, in another tab of the browser."""
        self.save()
        other = LabPage(self.page.context.new_page(), self._server, self._name)
        other.open(f"{self._name.removesuffix('.ipynb')}-second")
        return other

    def theme(self, name: str) -> None:
        """Change the theme, such as ``"JupyterLab Dark"``, and wait until its colours are there."""
        use_theme(self.page, name)

    def _load(self) -> None:
        open_lab(self.page, self._server, self._workspace)
