"""What the script of a gallery is sent and answers; the script itself runs in a browser."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from pfv_widgets.engine.colouring.compositing import VIEWS
from pfv_widgets.widgets.browser.gallery_script import FOLLOWED, GalleryScript
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.widgets.fake_page import FakePage, message, move


def test_all_pages_have_to_be_near(explorer: PFVExplorer) -> None:
    events: list[bool] = []
    script = GalleryScript(explorer.gallery.tiles.canvas, {}, events.append)
    for near in (True, True, False, True):
        message(script, near=near)
    assert events == [True, True, False, False]


def test_script_is_told_where_it_finds_what_it_follows(explorer: PFVExplorer) -> None:
    canvas, knobs = explorer.gallery.tiles.canvas, explorer.knobs
    script = explorer.gallery.script
    assert script.live["gallery"] == canvas.displayed.model_id
    assert script.live["knobs"] == {one: knobs[one].model_id for one in FOLLOWED}
    assert script.live["views"] == list(VIEWS)
    views = script.live["constants"]["views"]
    assert list(views) == list(VIEWS)
    for name, view in VIEWS.items():
        assert [len(layers) for layers in views[name]["panes"]] == [len(p) for p in view.panes]
    json.dumps(script.live)


def test_gallery_without_controls_follows_none(explorer: PFVExplorer) -> None:
    tiles = explorer.gallery.tiles
    assert not GalleryScript(tiles.canvas, {}).live
    assert GalleryScript(tiles.canvas, {}).buffers == [one.model_id for one in tiles.canvas.buffers]


def test_explorer_sends_uncompressed_pictures_once_its_page_is_near(explorer: PFVExplorer) -> None:
    gallery = explorer.gallery
    assert gallery.script.buffers == [buffer.model_id for buffer in gallery.tiles.canvas.buffers]
    assert not gallery.tiles.near
    message(gallery.script, near=True)
    assert gallery.tiles.near


def test_a_script_that_asks_is_sent_everything(fake_page: FakePage, explorer: PFVExplorer) -> None:
    gallery = explorer.gallery
    assert explorer.wait(60)
    before = fake_page.picture(gallery.tiles.widget).copy()
    fake_page.load_anew()  # what was drawn is lost, and no canvas says so
    for canvas in (gallery.tiles.widget, *gallery.tiles.canvas.buffers):
        fake_page.lose_size(canvas)
    assert fake_page.picture(gallery.tiles.widget).shape != before.shape
    message(gallery.script, near=False)
    assert explorer.wait(60)
    assert np.array_equal(fake_page.picture(gallery.tiles.widget), before)


def test_gallery_is_arranged_for_its_page_until_somebody_arranges_it(explorer: PFVExplorer) -> None:
    gallery = explorer.gallery
    first, width = gallery.view_state.page, gallery.tiles.grid.size[1]
    message(gallery.script, room=[1600, 340])
    assert explorer.wait(60)
    page, grid = gallery.view_state.page, gallery.tiles.grid
    assert page.columns == gallery.toolbar.size.value == grid.columns > first.columns
    assert grid.size[1] > width  # as many pixels, in fewer rows
    move(gallery.toolbar.toggles["names"], value=False)  # that is no arrangement
    message(gallery.script, room=[300, 600])  # another window
    assert gallery.view_state.page == replace(first, named=False)
    move(gallery.toolbar.toggles["names"], value=True)
    move(gallery.toolbar.size, index=0)
    own = gallery.view_state.page
    message(gallery.script, room=[1600, 340])
    assert gallery.view_state.page == own
