"""What the browser tests of one process share: a Jupyter server, Chromium, an open JupyterLab."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, sync_playwright

from tests.browser.explorer_page import ExplorerPage
from tests.browser.lab import LabPage, close_notebooks, open_lab, use_light_theme
from tests.browser.server import JupyterServer
from tests.browser.shared_explorer import SharedExplorer
from tests.run import NO_BROWSER, find_browser

VIEWPORT = {"width": 1280, "height": 900}
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)


class BrowserSession:
    """Each part starts when a test first needs it; ``close`` ends all of them.

    JupyterLab takes seconds to load: one page of it serves test after test, each with a notebook
    and a kernel of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.console: list[str] = []  # what the pages of the running test say
        self._folder = folder
        self._starts = 0
        self._server: JupyterServer | None = None
        self._answers = False  # whether the server has started
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._context: BrowserContext | None = None
        self._lab: Page | None = None
        self._shared: SharedExplorer | None = None

    @property
    def server(self) -> JupyterServer:
        server = self._start_server()
        if not self._answers:
            server.wait()
            self._answers = True
        return server

    def _start_server(self) -> JupyterServer:
        if self._server is None:
            self._starts += 1
            self._server, self._answers = JupyterServer(self._folder / str(self._starts)), False
            self._server.start()
        return self._server

    @property
    def browser(self) -> Browser:
        if self._browser is None:
            path = find_browser()
            if path is None and os.environ.get("CI"):
                pytest.fail(NO_BROWSER)
            if path is None:
                pytest.skip(NO_BROWSER)
            if self._playwright is None:
                self._playwright = sync_playwright().start()
            launch = partial(
                self._playwright.chromium.launch,
                executable_path=path,
                args=FLAGS,
                timeout=120_000,
            )
            try:
                self._browser = launch()
            except Error:  # Chromium crashed as it started: seen once in hundreds of starts
                self._browser = launch()
        return self._browser

    @property
    def context(self) -> BrowserContext:
        """The profile of all pages that Jupyter serves: its scripts are fetched once."""
        if self._context is None:
            self._start_server()  # beside the browser
            self._context = self.new_context()
        return self._context

    def new_context(self, density: float = 1) -> BrowserContext:
        """Return a profile without a page; what its pages say is written down."""
        context = self.browser.new_context(viewport=VIEWPORT, device_scale_factor=density)
        context.set_default_timeout(120_000)
        context.on("console", lambda message: self._note(f"{message.type}: {message.text}"))
        context.on("weberror", lambda error: self._note(f"uncaught: {error.error}"))
        return context

    def _note(self, line: str) -> None:
        self.console.append(line)

    @property
    def lab(self) -> Page:
        """The page of JupyterLab, without a notebook."""
        if self._lab is None:
            page = self.context.new_page()
            open_lab(page, self.server, "tests")
            self._lab = page
        return self._lab

    def explorer(self, images: int) -> ExplorerPage:
        """An open demo as it is at first; whoever asks next may have it too."""
        if self._shared is not None and self._shared.images == images:
            try:
                self._shared.restore()
                return self._shared.explorer
            except (Error, AssertionError) as error:
                self._note(f"The demo is opened anew, since that of before is another: {error}")
        self.tidy(spoilt=False)
        page = LabPage(self.lab, self.server, f"demo-{images}.ipynb")
        self.server.write_notebook(f"demo-{images}.ipynb", SharedExplorer.cells(images))
        page.open_notebook()
        page.run_all()
        self._shared = SharedExplorer(page, images)
        return self._shared.explorer

    def end_sharing(self) -> None:
        """Close the demo that tests share, if one is open."""
        if self._shared is not None:
            self.tidy(spoilt=False)

    def tidy(self, *, spoilt: bool, sharing: bool = False) -> None:
        """Close the notebooks of a test and the pages that it opened; a spoilt Lab goes too.

        With ``sharing`` the open demo stays.
        """
        for page in self.context.pages:
            if page is not self._lab:
                page.close()
        if self._lab is not None:
            try:
                if not spoilt:
                    self._lab.set_viewport_size(VIEWPORT)
                    self._lab.mouse.move(1, 1)
                    (use_light_theme if sharing else close_notebooks)(self._lab)
            except Error as error:
                spoilt = True
                self._note(f"JupyterLab could not be tidied: {error}")
            if spoilt:
                self._lab.close()
                self._lab = None
        self.context.clear_permissions()
        if spoilt or not sharing:
            self._shared = None
            self.server.end_kernels()

    def close(self) -> None:
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()
        if self._server is not None:
            self._server.stop()
        self._server = self._playwright = self._browser = None
        self._context = self._lab = self._shared = None
