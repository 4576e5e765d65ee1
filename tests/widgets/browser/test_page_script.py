"""What the script in the page is told, and what it tells; the script itself runs in a browser."""

from __future__ import annotations

from typing import Any

import pytest

from pfv_widgets.widgets.browser.page_script import PageScript
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.widgets.fake_page import FakePage, message


@pytest.fixture
def notifications() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def script(fake_page: FakePage, notifications: list[tuple[str, str]]) -> PageScript:
    return PageScript(lambda message, kind: notifications.append((message, kind)))


@pytest.mark.parametrize(
    ("content", "words", "kind"),
    [
        ({"copied": True, "characters": 7}, "Copied 7 characters.", "ok"),
        ({"copied": False, "characters": 7}, "Ctrl+A and Ctrl+C", "warning"),
        ({"copied": False, "characters": 0}, "nothing to copy", "warning"),
    ],
)
def test_copying_is_told(
    script: PageScript,
    notifications: list[tuple[str, str]],
    content: dict[str, Any],
    words: str,
    kind: str,
) -> None:
    message(script, **content)
    assert [(words in message, its) for message, its in notifications] == [(True, kind)]


def test_page_that_is_ready_is_sent_what_it_may_have_missed(
    fake_page: FakePage, explorer: PFVExplorer
) -> None:
    """All but what hands have set, and pictures: a slider may just be dragged."""
    script = next(one for one in explorer.children if isinstance(one, PageScript))
    knobs, tabs, panel = explorer.knobs, explorer.tabs.widget, explorer.panel
    page = {
        tabs.model_id: {"selected_index": 0},
        knobs["sigma"].model_id: {"value": 3.0},  # it was never told of 1.0
        knobs["opacity"].model_id: {"value": knobs["opacity"].value + 1e-12},
    }
    drawn = len(fake_page.drawings)
    fake_page.messages.clear()
    message(script, ready=page)
    sent = {model: data["state"] for _, model, data in fake_page.messages}
    assert len(sent) == len(fake_page.messages) > 40
    assert sent[panel.legend.model_id]["value"] == panel.legend.value
    stop = explorer.status_line.stop_button
    assert sent[stop.layout.model_id]["visibility"] == "hidden"
    assert sent[stop.style.model_id].keys() >= {"button_color"}
    assert sent[knobs["sigma"].model_id]["value"] == knobs["sigma"].value
    for one in (tabs, knobs["opacity"], knobs["components"], panel.layer):
        assert not sent[one.model_id].keys() & {"value", "index", "selected_index"}
    assert script.model_id not in sent
    assert explorer.gallery.tiles.widget.model_id not in sent
    assert sum(len(str(state)) for state in sent.values()) < 150_000
    assert len(fake_page.drawings) == drawn
    message(script, back=page)  # a connection that was lost: pictures as well
    assert explorer.wait(60)
    assert len(fake_page.drawings) > drawn
