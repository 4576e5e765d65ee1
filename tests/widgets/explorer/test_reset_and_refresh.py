"""Reset, Refresh, files of some of the images, names, and the wide mode."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pfv_widgets as pw
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from pfv_widgets.widgets.gallery import render_loop
from pfv_widgets.widgets.gallery.view_state import Selection
from tests.widgets.explorer_contents import press_button
from tests.widgets.fake_page import move


def save_indices(explorer: PFVExplorer, path: Path, images: object) -> list[int]:
    explorer.save(path, images)
    with np.load(path) as arrays:
        return arrays["indices"].tolist()


def test_files_hold_the_images_that_are_asked_for(explorer: PFVExplorer, tmp_path: Path) -> None:
    path = tmp_path / "view.npz"
    assert (
        save_indices(explorer, path, "all") == save_indices(explorer, path, "used") == [0, 1, 2, 3]
    )
    explorer.settings = replace(explorer.settings, images=(1, 0, 1, 0))
    assert save_indices(explorer, path, "used") == [0, 2]
    assert save_indices(explorer, path, [3]) == [3]
    with pytest.raises(pw.PFVValueError, match="No position is selected"):
        explorer.save(path, "selection")
    with pytest.raises(pw.PFVValueError, match=r"images='pages'.*Did you mean 'page'"):
        explorer.save(path, "pages")
    mask = np.zeros((4, *explorer.gallery.map_size), bool)
    mask[1, 0, 0] = True
    explorer.gallery.go(lambda state: replace(state, selection=Selection(mask)))
    assert save_indices(explorer, path, "selection") == [1]
    explorer.gallery.interaction.zoom(True)
    assert len(save_indices(explorer, path, "page")) == 1


def test_reset_goes_back_to_the_start_in_one_step_that_can_be_undone(explorer: PFVExplorer) -> None:
    first = explorer.settings
    assert explorer.status_line.reset_button.disabled
    explorer.settings = changed = replace(first, sigma=2.0, components=2)
    press_button(explorer.status_line.reset_button)
    assert explorer.settings == first
    assert explorer.status_line.reset_button.disabled
    explorer.undo()
    assert explorer.settings == changed
    assert not explorer.status_line.reset_button.disabled


def test_refresh_shows_what_training_has_changed(explorer: PFVExplorer) -> None:
    before = explorer.frame.scores.clone()
    for parameter in explorer.pfv.model.parameters():
        parameter.data.mul_(-1.5)
    press_button(explorer.status_line.refresh_button)
    assert not np.allclose(before, explorer.frame.scores)


def test_names_and_the_wide_mode_are_switched_by_the_toolbar(explorer: PFVExplorer) -> None:
    toggles = explorer.gallery.toolbar.toggles
    assert explorer.gallery.view_state.page.named
    assert toggles["names"].value
    move(toggles["names"], value=False)
    assert not explorer.gallery.view_state.page.named
    columns = explorer.gallery.view_state.page.columns
    move(toggles["wide"], value=True)
    assert "pfv-wide" in explorer.get_state("_dom_classes")["_dom_classes"]
    assert explorer.gallery.view_state.page.columns > columns
    move(toggles["wide"], value=False)
    assert "pfv-wide" not in explorer.get_state("_dom_classes")["_dom_classes"]
    assert explorer.gallery.view_state.page.columns == columns


def test_stop_at_the_end_of_a_picture_does_not_stop_the_next_one(
    explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_loop, "_SOON", -1.0)  # every progress is reported
    explorer.stop()
    explorer.refresh()
    assert explorer.wait(60)
    assert explorer.status.message == "Up to date."


def test_what_leave_one_out_found_is_dimmed_once_the_network_has_changed(
    explorer: PFVExplorer,
) -> None:
    tab = explorer.tabs["Batch"]
    tab.sweep_button.click()
    assert explorer.jobs.wait(60)
    assert tab.thumbnails.angles is not None
    for parameter in explorer.pfv.model.parameters():
        parameter.data.mul_(-1.5)
    explorer.refresh()
    assert explorer.wait(60)
    assert tab.thumbnails.angles is None
    assert "changed since" in tab.result.value
    tab.sweep_button.click()
    assert explorer.jobs.wait(60)
    assert tab.thumbnails.angles is not None
