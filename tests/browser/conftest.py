"""Fixtures of the browser tests: a Jupyter server, Chromium, the three places of notebooks."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from itertools import count
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.browser.lab import LabPage
from tests.browser.notebook7 import Notebook7Page
from tests.browser.server import JupyterServer
from tests.browser.widget_page import WidgetPage
from tests.run import NO_BROWSER, find_browser

HERE = Path(__file__).parent
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
numbers = count(1)
expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong
console_key = pytest.StashKey[list[str]]()
context_key = pytest.StashKey[BrowserContext]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what the browser showed when a test fails, and say where."""
    report = yield
    context = item.stash.get(context_key, None)
    if report.when != "teardown" and report.failed and context is not None:
        folder = keep_evidence(item, context)
        report.sections.append(("browser", f"screenshots and console log: {folder}"))
    return report


def keep_evidence(item: pytest.Item, context: BrowserContext) -> Path:
    base = os.environ.get("PFV_ARTIFACTS")
    name = re.sub(r"\W+", "-", item.name)
    if base:
        Path(base).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
    lines = item.stash[console_key]
    for number, page in enumerate(context.pages):
        try:
            page.screenshot(path=folder / f"page-{number}.png", timeout=10_000)
        except Error as error:
            lines.append(f"no screenshot of page {number}: {error}")
    (folder / "console.log").write_text("\n".join(lines), "utf-8")
    return folder


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """One Jupyter server for all browser tests."""
    server = JupyterServer(tmp_path_factory.mktemp("jupyter"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all browser tests."""
    path = find_browser()
    if path is None and os.environ.get("CI"):
        pytest.fail(NO_BROWSER)
    if path is None:
        pytest.skip(NO_BROWSER)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=120_000)
        yield chromium
        chromium.close()


@pytest.fixture
def density() -> float:
    """Pixels of the screen for one of the page; a test asks for others as its parameter."""
    return 1


@pytest.fixture
def browser_context(
    browser: Browser, request: pytest.FixtureRequest, density: float
) -> Iterator[BrowserContext]:
    """The tabs of one test; what their consoles say is kept for a failure."""
    lines = request.node.stash.setdefault(console_key, [])
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, device_scale_factor=density
    )
    request.node.stash[context_key] = context
    context.set_default_timeout(120_000)
    context.on("console", lambda message: lines.append(f"{message.type}: {message.text}"))
    context.on("weberror", lambda error: lines.append(f"uncaught: {error.error}"))
    yield context
    context.close()


@pytest.fixture
def page(browser_context: BrowserContext) -> Page:
    """A tab of 1280 × 900 pixels."""
    return browser_context.new_page()


@pytest.fixture
def notebook(jupyter: JupyterServer) -> Iterator[Callable[[list[str]], str]]:
    """Write a notebook of code cells where the server finds it; afterwards end its kernel."""

    def write(cells: list[str]) -> str:
        name = f"test-{next(numbers)}.ipynb"
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(book, jupyter.notebooks / name)
        return name

    yield write
    jupyter.end_kernels()


@pytest.fixture
def lab(
    jupyter: JupyterServer, page: Page, notebook: Callable[[list[str]], str]
) -> Callable[[list[str]], LabPage]:
    """Open code cells as a notebook in JupyterLab and run them: `lab(["1 + 1"])`."""

    def open_and_run(cells: list[str]) -> LabPage:
        name = notebook(cells)
        opened = LabPage(page, jupyter, name)
        opened.open(name.removesuffix(".ipynb"))
        opened.run_all()
        return opened

    return open_and_run


@pytest.fixture
def notebook7(
    jupyter: JupyterServer, page: Page, notebook: Callable[[list[str]], str]
) -> Callable[[list[str]], Notebook7Page]:
    """Open code cells as a notebook in Notebook 7 and run them."""

    def open_and_run(cells: list[str]) -> Notebook7Page:
        opened = Notebook7Page(page, jupyter, notebook(cells))
        opened.open()
        opened.run_all()
        return opened

    return open_and_run


@pytest.fixture
def voila(
    jupyter: JupyterServer, page: Page, notebook: Callable[[list[str]], str]
) -> Callable[[list[str]], WidgetPage]:
    """Serve code cells as a Voila page and wait until its widgets are there."""

    def serve(cells: list[str]) -> WidgetPage:
        page.goto(jupyter.url(f"voila/render/{notebook(cells)}"), timeout=120_000)
        page.locator(".jupyter-widgets").first.wait_for(state="attached", timeout=120_000)
        return WidgetPage(page)

    return serve
