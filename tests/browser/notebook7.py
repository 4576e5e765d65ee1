"""A notebook in Notebook 7, opened and run through its application object as in Lab."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.browser.lab import NotebookPage
from tests.browser.server import JupyterServer

HAS_NOTEBOOK = "() => window.jupyterapp?.shell.currentWidget?.sessionContext !== undefined"

OPEN = """async () => {
  await window.jupyterapp.restored;
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.content.fullyRendered;
  window.testPanel = panel;
}"""


class Notebook7Page(NotebookPage):
    """One page of Notebook 7: the notebook has it for itself."""

    def __init__(self, page: Page, server: JupyterServer, name: str) -> None:
        super().__init__(page)
        self._address = server.url(f"notebooks/{name}")

    def open(self) -> None:
        """Open the notebook and wait for its kernel."""
        self.page.goto(self._address)
        self.open_notebook()

    def open_notebook(self) -> None:
        self.wait_for(HAS_NOTEBOOK, timeout=180)
        self._call(OPEN, timeout=180)
        self.wait_until_idle()
