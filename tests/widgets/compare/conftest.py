"""Comparisons of small networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import pfv_widgets as pw
from pfv_widgets.widgets.compare.compare_explorer import CompareExplorer
from tests.networks import blobs, tiny
from tests.widgets.recorded_page import RecordedPage

Compared = Callable[..., CompareExplorer]


@pytest.fixture
def compared(recorded: RecordedPage) -> Iterator[Compared]:
    """Compared comparisons of small networks; close them after the test."""
    opened: list[CompareExplorer] = []

    def open_(models: Any = None, images: Any = None, **settings: Any) -> CompareExplorer:
        models = models or {"one": tiny(0), "two": tiny(1)}
        batch = blobs(4) if images is None else images
        opened.append(pw.compare(models, batch, device="cpu", **settings))
        assert opened[-1].wait(60)
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def change(explorer: CompareExplorer, **changes: Any) -> None:
    explorer.settings = replace(explorer.settings, **changes)
    assert explorer.wait(60)
