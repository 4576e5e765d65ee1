"""A chip for each pin, in its colour, that takes it away."""

from __future__ import annotations

import pytest

from pfv_widgets.engine.colouring.colour_maps import PIN_COLOURS
from pfv_widgets.validation import MOST_PINS, Pin
from pfv_widgets.widgets.gallery.pins import PinRow
from tests.widgets.explorer_contents import press_button
from tests.widgets.fake_page import FakePage
from tests.widgets.toolkit.test_text import HOSTILE

PINS: tuple[Pin, ...] = tuple((index % 3, 0.5, 0.5) for index in range(MOST_PINS))


@pytest.fixture
def removals() -> list[int | None]:
    return []


@pytest.fixture
def row(fake_page: FakePage, removals: list[int | None]) -> PinRow:
    return PinRow(("cat", "dog", "hen"), removals.append, lambda: None)


def chip_texts(row: PinRow) -> list[str]:
    return [chip.description for chip in row.chips if chip.layout.display != "none"]


@pytest.mark.parametrize("number", range(MOST_PINS + 1))
def test_every_pin_has_a_chip_that_names_its_image(row: PinRow, number: int) -> None:
    row.show(PINS)
    row.show(PINS[:number])
    names = ["cat", "dog", "hen"]
    assert chip_texts(row) == [f"× {i % 3 + 1}: {names[i % 3]}" for i in range(number)]
    assert (row.clear.layout.display != "none") == (number > 1)
    assert (row.hint.layout.display != "none") == (number == 0)


def test_chip_takes_its_own_pin_away_and_the_last_button_all(
    row: PinRow, removals: list[int | None]
) -> None:
    row.show(PINS)
    for chip in (row.chips[2], row.chips[0], row.clear):
        press_button(chip)
    assert removals == [2, 0, None]


def test_chips_have_the_colours_of_the_rings_and_letters_that_can_be_read(row: PinRow) -> None:
    assert row.chips == []  # none is made before it is needed
    row.show(PINS)
    assert [chip.style.button_color for chip in row.chips] == list(PIN_COLOURS)
    for chip in row.chips:
        paper, ink = (
            luminance(colour) for colour in (chip.style.button_color, chip.style.text_color)
        )
        contrast = (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05)
        assert contrast > 4.2


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("foreign", HOSTILE.values(), ids=HOSTILE)
def test_foreign_names_do_not_come_alive(fake_page: FakePage, foreign: str) -> None:
    row = PinRow((foreign,), lambda _: None, lambda: None)
    row.show(((0, 0.5, 0.5),))
    (label,) = chip_texts(row)
    assert label.isprintable()
    assert len(label) < 30


def test_pin_of_an_image_that_is_not_there_is_shown_to_be_removed(row: PinRow) -> None:
    row.show(((99, 0.5, 0.5),))
    assert chip_texts(row) == ["× 100: "]
