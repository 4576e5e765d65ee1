"""Comparisons of small networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest

import pfv_widgets as pw
from pfv_widgets.widgets.compare.compare_explorer import CompareExplorer
from tests.networks import blobs, tiny
from tests.widgets.fake_page import FakePage

OpenComparison = Callable[..., CompareExplorer]


@pytest.fixture
def open_comparison(fake_page: FakePage) -> Iterator[OpenComparison]:
    """Compared comparisons of small networks; close them after the test."""
    with ExitStack() as stack:

        def open_(models: Any = None, images: Any = None, **settings: Any) -> CompareExplorer:
            models = models or {"one": tiny(0), "two": tiny(1)}
            batch = blobs(4) if images is None else images
            explorer = pw.compare(models, batch, device="cpu", **settings)
            assert stack.enter_context(closing(explorer)).wait(60)
            return explorer

        yield open_


def change(explorer: CompareExplorer, **changes: Any) -> None:
    explorer.settings = replace(explorer.settings, **changes)
    assert explorer.wait(60)
