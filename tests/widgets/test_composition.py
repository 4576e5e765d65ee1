"""Weights of the images in the basis, as pure functions."""

from __future__ import annotations

import pytest

from pfv_widgets.widgets.composition import (
    class_weight,
    inverted,
    toggled,
    weights_of,
    with_class_weight,
)

LABELS = ("cat", "dog", "cat", "dog")


def test_toggling_takes_an_image_out_and_back_in() -> None:
    out = toggled((1.0, 1.0, 1.0), 1, None)
    assert out == (1.0, 0.0, 1.0)
    assert toggled(out, 1, None) == (1.0, 1.0, 1.0)


def test_image_comes_back_with_the_weight_of_its_class() -> None:
    assert toggled((0.0, 1.0, 0.4, 1.0), 0, LABELS) == (0.4, 1.0, 0.4, 1.0)
    assert toggled((0.0, 0.7, 0.0, 0.7), 0, LABELS) == (1.0, 0.7, 0.0, 0.7)


def test_inverting_swaps_in_and_out() -> None:
    assert inverted((0.0, 0.3, 2.0)) == (1.0, 0.0, 0.0)


def test_weight_of_a_class_is_its_largest() -> None:
    weights = (0.0, 1.0, 0.4, 0.2)
    assert class_weight(weights, LABELS, "cat") == 0.4
    assert class_weight(weights, LABELS, "fish") == 0


def test_class_weight_leaves_alone_what_was_taken_out_by_hand() -> None:
    weights = (0.0, 1.0, 1.0, 1.0)
    assert with_class_weight(weights, LABELS, "cat", 0.5) == (0.0, 1.0, 0.5, 1.0)


def test_class_that_is_all_out_comes_back_as_a_whole() -> None:
    weights = (0.0, 1.0, 0.0, 1.0)
    assert with_class_weight(weights, LABELS, "cat", 0.5) == (0.5, 1.0, 0.5, 1.0)


@pytest.mark.parametrize("images", [None, (), (0.5,), (1.0,) * 4])
def test_weights_that_do_not_fit_the_batch_read_as_ones(
    images: tuple[float, ...] | None,
) -> None:
    assert weights_of(images, 3) == (1.0, 1.0, 1.0)
    assert weights_of((0.0, 2.0, 1.0), 3) == (0.0, 2.0, 1.0)
