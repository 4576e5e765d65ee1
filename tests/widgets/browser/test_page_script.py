"""What the script in the page is told, and what it tells; the script itself runs in a browser."""

from __future__ import annotations

from typing import Any

import pytest

from pfv_widgets.widgets.browser.page_script import PageScript
from tests.widgets.recorded_page import RecordedPage, message


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def script(recorded: RecordedPage, told: list[tuple[str, str]]) -> PageScript:
    return PageScript(lambda message, kind: told.append((message, kind)))


@pytest.mark.parametrize(
    ("content", "words", "kind"),
    [
        ({"copied": True, "characters": 7}, "Copied 7 characters.", "ok"),
        ({"copied": False, "characters": 7}, "Ctrl+A and Ctrl+C", "warning"),
        ({"copied": False, "characters": 0}, "nothing to copy", "warning"),
    ],
)
def test_copying_is_told(
    script: PageScript, told: list[tuple[str, str]], content: dict[str, Any], words: str, kind: str
) -> None:
    message(script, **content)
    assert [(words in message, its) for message, its in told] == [(True, kind)]
