"""What the script in the page is told, and what it tells; the script itself runs in a browser."""

from __future__ import annotations

import json
from typing import Any

import pytest

import pfv_widgets as pw
from pfv_widgets.engine.pipeline.settings import VIEWS
from pfv_widgets.widgets.browser.page_script import InPage, following
from tests.widgets.recorded_page import RecordedPage


def came(script: InPage, **content: Any) -> None:
    script._handle_custom_msg(content, [])


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def script(recorded: RecordedPage, told: list[tuple[str, str]]) -> InPage:
    return InPage(lambda message, kind: told.append((message, kind)))


@pytest.mark.parametrize(
    ("content", "words", "kind"),
    [
        ({"copied": True, "characters": 7}, "Copied 7 characters.", "ok"),
        ({"copied": False, "characters": 7}, "Ctrl+A and Ctrl+C", "warning"),
        ({"copied": False, "characters": 0}, "nothing to copy", "warning"),
    ],
)
def test_copying_is_told(
    script: InPage, told: list[tuple[str, str]], content: dict[str, Any], words: str, kind: str
) -> None:
    came(script, **content)
    assert [(words in message, its) for message, its in told] == [(True, kind)]


def test_all_pages_have_to_be_near(recorded: RecordedPage, told: list[tuple[str, str]]) -> None:
    heard: list[bool] = []
    script = InPage(lambda *said: told.append(said), near=heard.append)
    for near in (True, True, False, True):
        came(script, near=near)
    assert heard == [True, True, False, False]
    assert not told


def test_script_is_told_where_it_finds_what_it_follows(recorded: RecordedPage) -> None:
    explorer = pw.demo(2)
    surface, knobs = explorer._grid.surface, explorer._panel.knobs
    live = following(surface, knobs.by_name)
    assert live["gallery"] == surface.canvas.model_id
    assert live["knobs"] == {one: knobs[one].model_id for one in ("opacity", "view", "split")}
    assert tuple(live["views"]) == VIEWS
    assert live["constants"]["whole"] == {"heatmap": 1.0, "photo": 0.0}
    assert set(live["constants"]["panes"]) == {"side by side", "rgb split"}
    json.dumps(live)
    explorer.close()


def test_explorer_sends_uncompressed_pictures_once_its_page_is_near(
    recorded: RecordedPage,
) -> None:
    explorer = pw.demo(2)
    scripts = [one for one in explorer._parts.children if isinstance(one, InPage)]
    assert [one.stores for one in scripts] == [
        [store.model_id for store in explorer._grid.surface.stores]
    ]
    assert not explorer._grid.near
    came(scripts[0], near=True)
    assert explorer._grid.near
    explorer.close()
