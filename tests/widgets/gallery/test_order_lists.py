"""Sorting and filtering the gallery."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ipywidgets import Dropdown

from pfv_widgets.engine.colouring.compositing import VIEWS
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from pfv_widgets.widgets.gallery import navigation
from pfv_widgets.widgets.gallery.order_lists import ALL, SIMILARITY, ordered
from pfv_widgets.widgets.toolkit.geometry import Page
from tests.networks import blobs
from tests.widgets.explorer_contents import is_error
from tests.widgets.fake_page import move

IMAGES = replace(blobs(4), names=("b10", "b9", "a", "c"), labels=("y", "x", "y", "x"))


@pytest.mark.parametrize(
    ("sort", "only", "order"),
    [
        ("as loaded", ALL, None),
        ("as loaded", "x", (1, 3)),
        ("name", ALL, (2, 1, 0, 3)),
        ("class", ALL, (1, 3, 0, 2)),
        ("component 1", ALL, (3, 0, 2, 1)),
        ("component 1", "y", (0, 2)),
        ("as loaded", "", ()),
    ],
)
def test_images_are_in_the_order_that_is_asked_for(
    sort: str, only: str, order: tuple[int, ...] | None
) -> None:
    assert ordered(IMAGES, sort, only, lambda _: [0.5, np.nan, 0.1, 2.0]) == order


def test_what_is_shown_moves_nothing_beside_the_gallery(explorer: PFVExplorer) -> None:
    before = explorer.gallery.widget.layout.max_width
    widths = {before}
    for view in VIEWS:
        explorer.settings = replace(explorer.settings, view=view)
        widths.add(explorer.gallery.widget.layout.max_width)
    for order in ((1,), (1, 0), None):
        explorer.gallery.viewport.go(lambda old, order=order: navigation.ordered(old, order))
        widths.add(explorer.gallery.widget.layout.max_width)
    assert widths == {before}


def test_pages_go_through_the_order() -> None:
    page = Page(0, 2, order=(5, 3, 4, 1, 0))
    assert list(page.indices(6, (10, 10))) == [5, 3, 4, 1]
    assert list(page.holding(0, (10, 10)).indices(6, (10, 10))) == [3, 4, 1, 0]
    assert (page.rank(4), page.image(2), page.rank(2), page.count(6)) == (2, 4, 0, 5)


def shown_images(explorer: PFVExplorer) -> list[int]:
    assert explorer.wait(60)
    return list(explorer.gallery.tiles.on_page)


def test_gallery_is_sorted_by_scores_and_similarity_and_shows_one_class(
    explorer: PFVExplorer,
) -> None:
    row = explorer.gallery.order
    assert row is not None
    choose(row.sort, "component 2")
    means = explorer.pfv.render(explorer.settings).scores[:, 1].mean(dim=(1, 2))
    order = means.argsort(descending=True).tolist()
    assert shown_images(explorer) == order
    assert explorer.gallery.render_loop.frame.indices == tuple(order)
    assert explorer.frame.indices == (0, 1, 2, 3)
    label = explorer.pfv.images.labels[order[-1]]
    names = [value for _, value in row.only.options]
    move(row.only, index=names.index(label))
    assert shown_images(explorer) == [i for i in order if explorer.pfv.images.labels[i] == label]
    move(row.only, index=0)
    explorer.settings = replace(explorer.settings, pins=((2, 0.5, 0.5),))
    choose(row.sort, SIMILARITY)
    assert shown_images(explorer)[0] == 2
    explorer.settings = replace(explorer.settings, pins=())
    move(row.only, index=names.index(label))
    assert is_error(explorer)
    assert "no pin to sort by" in explorer.status.message
    assert (row.sort.value, row.sort.options) == ("as loaded", offered(3))


def test_what_can_be_sorted_by_is_offered_and_what_is_on_show_stays(explorer: PFVExplorer) -> None:
    row = explorer.gallery.order
    assert row is not None
    assert row.sort.options == offered(explorer.settings.components)
    choose(row.sort, "component 2")
    before = shown_images(explorer)
    explorer.settings = replace(explorer.settings, components=1, pins=((2, 0.5, 0.5),))
    assert row.sort.options == (*offered(2), SIMILARITY)
    assert (row.sort.value, shown_images(explorer)) == ("component 2", before)
    choose(row.sort, "name")
    explorer.settings = replace(explorer.settings, pins=())
    assert row.sort.options == offered(1)
    assert row.sort.value == "name"


def offered(components: int) -> tuple[str, ...]:
    numbers = (f"component {number + 1}" for number in range(components))
    return ("as loaded", "name", "class", *numbers)


def choose(control: Dropdown, option: str) -> None:
    move(control, index=list(control.options).index(option))
