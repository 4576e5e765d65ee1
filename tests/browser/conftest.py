"""Fixtures of the browser tests: a Jupyter server, Chromium, the three front ends of notebooks."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect

from tests.browser.explorer_page import ExplorerPage
from tests.browser.lab import LabPage
from tests.browser.notebook7 import Notebook7Page
from tests.browser.server import JupyterServer
from tests.browser.shared_browser import BrowserSession
from tests.browser.widget_page import WidgetPage

HERE = Path(__file__).parent
numbers = count(1)
expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong
session_key = pytest.StashKey[BrowserSession]()
contexts_key = pytest.StashKey[list[BrowserContext]]()
failed_key = pytest.StashKey[bool]()
# What a report says of a page where nobody can open its screenshot.
ON_SHOW = """() => JSON.stringify({
  tabs: [...document.querySelectorAll(".jp-NotebookPanel, .jp-Launcher")].map(
    (panel) => [panel.className.match(/jp-(NotebookPanel|Launcher)/)[1], panel.checkVisibility()]),
  dialogs: [...document.querySelectorAll(".jp-Dialog")].map((dialog) => dialog.innerText),
  status: [...document.querySelectorAll(".pfv-status")].map((line) => line.innerText),
  outputs: [...document.querySelectorAll(".jp-OutputArea-output")].map(
    (output) => output.innerText.slice(0, 60)),
  galleries: [...document.querySelectorAll("canvas.pfv-gallery")].map((canvas) => [
    canvas.width, canvas.height, canvas.checkVisibility(),
    ...(canvas.width ? canvas.getContext("2d").getImageData(20, 20, 1, 1).data : []),
  ]),
})"""
SHARED = ("demo", "small_demo")  # fixtures


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.browser)
    ours.sort(key=lambda item: (shared_demo(item), str(item.path)))
    in_order = iter(ours)  # those of one demo follow each other
    items[:] = [next(in_order) if HERE in item.path.parents else item for item in items]


def shared_demo(item: pytest.Item) -> int:
    """Place of the demo that a test shares with others, behind that of the last one without."""
    names = getattr(item, "fixturenames", ())
    return next((order for order, name in enumerate(SHARED) if name in names), len(SHARED))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what the browser showed when a test fails, and say where."""
    report = yield
    contexts = item.stash.get(contexts_key, [])
    if report.when != "teardown" and report.failed:
        item.stash[failed_key] = True
        if contexts:
            folder, lines = keep_evidence(item, contexts)
            lines = [line[:300] for line in lines if not line.startswith("debug")][-20:]
            where = f"screenshots and console log: {folder}; the last of it:"
            report.sections.append(("browser", "\n".join([where, *lines])))
    return report


def keep_evidence(item: pytest.Item, contexts: list[BrowserContext]) -> tuple[Path, list[str]]:
    """Write down what the pages show and have said; return where, and the lines."""
    base = os.environ.get("PFV_ARTIFACTS")
    name = re.sub(r"\W+", "-", item.name)
    if base:
        Path(base).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
    lines = item.config.stash[session_key].console
    pages = [page for context in contexts for page in context.pages]
    for number, page in enumerate(pages):
        try:
            page.screenshot(path=folder / f"page-{number}.png", timeout=10_000)
            lines.append(f"page {number}: {page.evaluate(ON_SHOW)}")
        except Error as error:
            lines.append(f"no screenshot of page {number}: {error}")
    (folder / "console.log").write_text("\n".join(lines), "utf-8")
    return folder, lines


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Close the browser when other tests follow: Playwright's event loop stays in this thread."""
    follows = nextitem is not None and nextitem.get_closest_marker("browser") is not None
    session = item.config.stash.get(session_key, None)
    if session is not None and not follows:
        session.close()


@pytest.fixture(scope="session")
def browser_session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> BrowserSession:
    """The server and the browser of this process; closed when other tests follow."""
    session = BrowserSession(tmp_path_factory.mktemp("jupyter"))
    request.config.stash[session_key] = session
    return session


@pytest.fixture
def watched(
    request: pytest.FixtureRequest, browser_session: BrowserSession
) -> list[BrowserContext]:
    """The profiles that a test uses: what they show and say is kept where it fails."""
    browser_session.console.clear()
    return request.node.stash.setdefault(contexts_key, [])


@pytest.fixture
def jupyter(browser_session: BrowserSession) -> JupyterServer:
    """The Jupyter server of all browser tests."""
    return browser_session.server


@pytest.fixture
def browser(browser_session: BrowserSession) -> Browser:
    """The Chromium of all browser tests."""
    return browser_session.browser


@pytest.fixture
def density() -> float:
    """Pixels of the screen for one of the page; a test asks for others as its parameter."""
    return 1


@pytest.fixture
def browser_context(
    browser_session: BrowserSession, watched: list[BrowserContext], density: float
) -> Iterator[BrowserContext]:
    """A profile for one test alone."""
    context = browser_session.new_context(density)
    watched.append(context)
    yield context
    context.close()


@pytest.fixture
def page(browser_context: BrowserContext) -> Page:
    """A page of 1280 × 900 pixels, in a profile of its own."""
    return browser_context.new_page()


@pytest.fixture
def shared_context(
    request: pytest.FixtureRequest, browser_session: BrowserSession, watched: list[BrowserContext]
) -> Iterator[BrowserContext]:
    """The profile of all pages that Jupyter serves.

    Afterwards only an empty Lab is open in it, or the demo that tests share.
    """
    sharing = shared_demo(request.node) < len(SHARED)
    watched.append(browser_session.context)
    if not sharing:
        browser_session.end_sharing()
    yield browser_session.context
    browser_session.tidy(spoilt=request.node.stash.get(failed_key, False), sharing=sharing)


@pytest.fixture
def demo(browser_session: BrowserSession, shared_context: BrowserContext) -> ExplorerPage:
    """The demo of 16 scenes in JupyterLab, as it is when it has just been opened.

    It is that of the test before, restored: a test that leaves traces which no picture and no
    control shows (a name that it changed in the kernel, say) opens one of its own by ``lab``.
    """
    return browser_session.explorer(16)


@pytest.fixture
def small_demo(browser_session: BrowserSession, shared_context: BrowserContext) -> ExplorerPage:
    """The same of four scenes."""
    return browser_session.explorer(4)


@pytest.fixture
def notebook(jupyter: JupyterServer) -> Callable[[list[str]], str]:
    """Write a notebook of code cells where the server finds it."""

    def write(cells: list[str]) -> str:
        name = f"test-{next(numbers)}.ipynb"
        jupyter.write_notebook(name, cells)
        return name

    return write


@pytest.fixture
def lab(
    request: pytest.FixtureRequest,
    browser_session: BrowserSession,
    shared_context: BrowserContext,
    notebook: Callable[[list[str]], str],
    density: float,
) -> Callable[[list[str]], LabPage]:
    """Open code cells as a notebook in JupyterLab and run them: `lab(["1 + 1"])`.

    The page of Lab is that of the test before; a test marked `own_page` has one of its own.
    """
    own = density != 1 or request.node.get_closest_marker("own_page") is not None
    page = request.getfixturevalue("page") if own else None

    def open_and_run(cells: list[str]) -> LabPage:
        name = notebook(cells)
        opened = LabPage(page or browser_session.lab, browser_session.server, name)
        if page:
            opened.open(name.removesuffix(".ipynb"))
        else:
            opened.open_notebook()
        opened.run_all()
        return opened

    return open_and_run


@pytest.fixture
def notebook7(
    jupyter: JupyterServer, shared_context: BrowserContext, notebook: Callable[[list[str]], str]
) -> Callable[[list[str]], Notebook7Page]:
    """Open code cells as a notebook in Notebook 7 and run them."""

    def open_and_run(cells: list[str]) -> Notebook7Page:
        opened = Notebook7Page(shared_context.new_page(), jupyter, notebook(cells))
        opened.open()
        opened.run_all()
        return opened

    return open_and_run


@pytest.fixture
def voila(
    jupyter: JupyterServer, shared_context: BrowserContext, notebook: Callable[[list[str]], str]
) -> Callable[[list[str]], WidgetPage]:
    """Serve code cells as a Voila page and wait until its widgets are there."""

    def serve(cells: list[str]) -> WidgetPage:
        page = shared_context.new_page()
        page.goto(jupyter.url(f"voila/render/{notebook(cells)}"), timeout=120_000)
        page.locator(".jupyter-widgets").first.wait_for(state="attached", timeout=120_000)
        return WidgetPage(page)

    return serve
