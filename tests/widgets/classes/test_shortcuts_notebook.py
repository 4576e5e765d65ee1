"""The worked case: the notebook on shortcuts finds, cuts and repairs what was planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.notebook_cells import run_notebook


@pytest.mark.all
@pytest.mark.usefixtures("fake_page")
def test_the_planted_shortcut_is_found_cut_out_and_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    run_notebook("shortcuts.ipynb", scope)
    accuracy, swapped = scope["accuracy"], "stickers swapped"
    before, cut = accuracy(scope["network"]), accuracy(scope["without"])
    repaired = accuracy(scope["repaired"].model)
    lost = before["as in training"] - before[swapped]
    assert lost > 0.3
    (suspect,) = scope["report"].suspects
    assert (suspect.class_name, suspect.evidence.place) == ("butterfly", "anywhere")
    assert cut[swapped] - before[swapped] >= 0.7 * lost
    assert repaired[swapped] >= cut[swapped]
    assert repaired["without stickers"] > before["without stickers"]
    assert scope["transfer"].layer.startswith("stages.")
    assert (tmp_path / "report.html").stat().st_size > 50_000
    explorer = scope["explorer"]
    assert explorer.wait(60)
    explorer.close()
