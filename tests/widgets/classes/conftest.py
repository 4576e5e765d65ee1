"""Explorers whose tab "Classes" is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from torch import nn

import pfv_widgets as pw
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.widgets.fake_page import FakePage, move


class Harness:
    """An explorer whose tab "Classes" is open."""

    def __init__(self, explorer: PFVExplorer) -> None:
        self.explorer, self.tab = explorer, explorer.tabs["Classes"]
        self.explorer.tabs.open("Classes")
        self.wait()

    def wait(self) -> None:
        assert self.explorer.wait(60)
        assert self.tab.wait(60)
        assert self.explorer.wait(60)

    def press(self, component: int, cut: bool = True) -> None:
        move(self.tab.buttons[component], value=cut)
        self.wait()

    @property
    def status(self) -> str:
        return str(self.explorer.status)


OpenTab = Callable[..., Harness]


@pytest.fixture
def open_tab(fake_page: FakePage) -> Iterator[OpenTab]:
    """Open explorers with the tab; close them after the test."""
    with ExitStack() as stack:

        def open_(model: nn.Module, images: ImageBatch, **more: Any) -> Harness:
            explorer = pw.explore(model, images, device="cpu", **more)
            return Harness(stack.enter_context(closing(explorer)))

        yield open_
