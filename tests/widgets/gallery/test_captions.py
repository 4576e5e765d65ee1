"""What the tiles are called, and where that stands."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pfv_widgets.widgets.gallery.captions import Captions
from pfv_widgets.widgets.toolkit.geometry import Grid
from tests.networks import blobs
from tests.widgets.conftest import full_width
from tests.widgets.explorer_contents import words
from tests.widgets.fake_page import FakePage


def captions() -> Captions:
    images = replace(
        blobs(3), names=("tabby cat", "<b>x</b> $y$", "n02"), labels=("cat", "dog", "dog")
    )
    return Captions(images)


def test_label_comes_before_a_name_that_does_not_hold_it(fake_page: FakePage) -> None:
    assert [captions().line(index) for index in range(3)] == [
        "tabby cat",
        "dog · <b>x</b> $y$",
        "dog · n02",
    ]


@full_width
def test_names_stand_below_their_tiles_and_nothing_in_them_comes_alive(fake_page: FakePage) -> None:
    made, grid = captions(), Grid.of(3, (100, 100), 2, named=True)
    made.show(range(3), grid, "632px")
    text = made.html.value
    assert "&lt;b&gt;x" in text
    assert "<b>" not in text
    assert words(text) == "tabby catdog · <b>x</b> $y$dog · n02"
    left, top = (
        [float(one) for one in re.findall(rf"[;\"]{side}:([\d.]+)%", text)]
        for side in ("left", "top")
    )
    assert left[0] == left[2] == 0.0
    assert 50 < left[1] < 51
    high = grid.size[0]
    below = [100 * (grid.corner(place)[1] + grid.tile[0]) / high for place in range(3)]
    assert top == pytest.approx(below, abs=0.001)
    made.notes = {1: "CKA <1"}
    made.show(range(3), grid, "632px")
    assert words(made.html.value) == "tabby catCKA <1dog · <b>x</b> $y$dog · n02"
    made.show(range(3), Grid.of(3, (100, 100), 2), "632px")
    assert made.html.value == ""  # there is no room for them


def test_long_names_give_way_to_labels_and_numbers_below_narrow_tiles(fake_page: FakePage) -> None:
    images = replace(
        blobs(3), names=("cat", "tabby cat", "cat, mirrored again"), labels=("cat",) * 3
    )
    below = Captions(images)
    below.show(range(3), Grid.of(3, (100, 100), 2, named=True), "632px")
    short = re.findall(r"<i ([^>]*)>", below.html.value)
    assert short == ['data-number="1"', 'data-number="2"', 'data-number="3" data-label="3: cat"']
    below.show(range(1), Grid.of(1, (100, 100), 2, named=True), "632px")
    assert "data-number" not in below.html.value


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("cat, detail, mirrored", " mirrored"),
        ("Bengal_104.jpg", "_104"),
        ("balloon 1", " 1"),
        ("n01440764_ILSVRC2012", "C2012"),
        ("IMG1234567890", "67890"),
    ],
)
def test_end_of_a_long_name_is_its_last_word(fake_page: FakePage, name: str, end: str) -> None:
    below = Captions(replace(blobs(1), names=(name,), labels=None))
    below.show(range(1), Grid.of(1, (100, 100), 2, named=True), "632px")
    assert re.findall('class="pfv-end">([^<]*)<', below.html.value) == [end]


def test_long_names_lose_their_middle(fake_page: FakePage) -> None:
    names = ("2024-11-03 <b>garden</b> 0001.jpg", "2024-11-03 <b>garden</b> 0002.jpg", "cat")
    below = Captions(replace(blobs(3), names=names, labels=None))
    below.show(range(3), Grid.of(3, (100, 100), 2, named=True), "632px")
    text = below.html.value
    assert re.findall('class="pfv-end">([^<]*)<', text) == [" 0001", " 0002"]
    assert words(text) == "".join(names).replace(".jpg", "")
