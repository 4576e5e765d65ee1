"""Fixtures of the widget tests: a page without a browser, and explorers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from typing import Any

import comm
import pytest
from ipycanvas import Canvas

import pfv_widgets as pw
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from pfv_widgets.widgets.gallery import render_loop
from pfv_widgets.widgets.toolkit import geometry
from tests.widgets.fake_page import FakeComm, FakePage

scenes = cache(pw.demo_images)
Open = Callable[..., PFVExplorer]


full_width = pytest.mark.parametrize("canvas_width", [geometry.WIDE], ids=["wide"])


@pytest.fixture
def canvas_width() -> int:
    """Pixels of a full row of a gallery: half as many as users see, which is quick to compare.

    Tests that depend on the width are marked `full_width`.
    """
    return geometry.WIDE // 2


@pytest.fixture(autouse=True)
def _no_time_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no network run for layers that nobody asked for: tests count what runs."""
    monkeypatch.setattr(render_loop, "_SPARE", 3600.0)


@pytest.fixture
def fake_page(monkeypatch: pytest.MonkeyPatch, canvas_width: int) -> Iterator[FakePage]:
    """Record what widgets send from here on; afterwards ipycanvas's own comm is back."""
    monkeypatch.setattr(geometry, "WIDE", canvas_width)
    page = FakePage()
    kind = type("Comm", (FakeComm,), {"page": page})
    monkeypatch.setattr(comm, "create_comm", kind)
    manager = Canvas._canvas_manager.default_value
    before = manager.comm
    manager.comm = kind(target_name="jupyter.widget", comm_id=manager.model_id)
    page.messages.clear()
    yield page
    manager.comm = before


@pytest.fixture
def open_explorer(fake_page: FakePage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open explorers, of the demo where nothing else is given; close them after the test."""
    monkeypatch.setattr(render_loop, "REST", 0.01)
    with ExitStack() as stack:

        def open_(count: int = 4, *, model: Any = None, batch: Any = None, **settings: Any) -> Any:
            images = scenes(count) if batch is None else batch
            start, network = pw.Settings(**settings), model or pw.demo_model()
            explorer = pw.explore(network, images, device="cpu", settings=start)
            assert stack.enter_context(closing(explorer)).wait(60)
            return explorer

        yield open_


@pytest.fixture
def explorer(open_explorer: Open) -> PFVExplorer:
    """The demo network on four labelled scenes."""
    return open_explorer()
