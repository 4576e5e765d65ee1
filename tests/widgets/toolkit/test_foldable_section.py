"""A section that is folded away."""

from __future__ import annotations

import ipywidgets as w

from pfv_widgets.widgets.toolkit.controls import close_all
from pfv_widgets.widgets.toolkit.foldable_section import Fold
from tests.widgets.fake_page import FakePage, move


def test_button_shows_and_hides_the_content_and_says_which(fake_page: FakePage) -> None:
    fold = Fold("Weight of each class", [w.HTML("inside")])
    box = fold.widget.children[1]
    assert (fold.unfolded, box.layout.display) == (False, "none")
    assert fold.button.description == "Weight of each class"
    assert fold.button.tooltip == "Show: weight of each class"
    move(fold.button, value=True)
    assert (fold.unfolded, box.layout.display) == (True, None)
    assert fold.button.tooltip == "Hide: weight of each class"
    close_all(fold.widget)
    assert not fake_page.open_comms
