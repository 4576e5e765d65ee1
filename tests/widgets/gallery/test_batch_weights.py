"""Weights of the images in the basis, as pure functions."""

from __future__ import annotations

import pytest

from pfv_widgets.widgets.gallery.batch_weights import (
    class_weight,
    inverted,
    presets,
    random_half,
    toggled,
    weights_of,
    with_class_weight,
    with_membership,
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
def test_weights_that_do_not_fit_the_batch_read_as_ones(images: tuple[float, ...] | None) -> None:
    assert weights_of(images, 3) == (1.0, 1.0, 1.0)
    assert weights_of((0.0, 2.0, 1.0), 3) == (0.0, 2.0, 1.0)


@pytest.mark.parametrize("inside", [True, False])
def test_painting_brings_all_that_is_passed_into_one_state(inside: bool) -> None:
    weights = (0.4, 1.0, 0.0, 0.0)
    result = with_membership(weights, (0, 2, 3), inside, LABELS)
    assert result == ((0.4, 1.0, 0.4, 1.0) if inside else (0.0, 1.0, 0.0, 0.0))


def test_painting_what_is_so_already_keeps_its_weight() -> None:
    assert with_membership((2.0, 0.3, 0.0), (0, 1), True, None) == (2.0, 0.3, 0.0)


def test_random_half_is_a_half_that_its_seed_decides() -> None:
    halves = [random_half(9, seed) for seed in range(20)]
    assert {sum(half) for half in halves} == {5}
    assert len(set(halves)) > 10
    assert random_half(9, 3) == halves[3]


@pytest.mark.parametrize("number", [2, 3, 16])
def test_presets_without_labels(number: int) -> None:
    result = {name: weights(0) for name, weights in presets(number, None).items()}
    assert list(result) == ["First half", "Second half", "Every second image", "Random half"]
    first, second = result["First half"], result["Second half"]
    assert tuple(a + b for a, b in zip(first, second, strict=True)) == (1.0,) * number
    assert list(first) == sorted(first, reverse=True)
    assert result["Every second image"] == tuple(float(index % 2 == 0) for index in range(number))


def test_presets_with_labels_add_each_class() -> None:
    labels = ("cat", "dog", "fox", "cat", "fox", "dog")
    result = {name: weights(0) for name, weights in presets(6, labels).items()}
    assert list(result)[4:] == [
        "One of each class", "Only cat", "Only dog", "Only fox", "All but cat", "All but dog",
        "All but fox",
    ]  # fmt: skip
    assert result["One of each class"] == (1, 1, 1, 0, 0, 0)
    assert result["Only dog"] == (0, 1, 0, 0, 0, 1)
    assert result["All but dog"] == (1, 0, 1, 1, 1, 0)


@pytest.mark.parametrize("labels", [LABELS, ("a", "a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")])
def test_no_two_class_presets_are_the_same(labels: tuple[str, ...]) -> None:
    result = presets(len(labels), labels)
    chosen = [result[name](0) for name in result if name.startswith(("All but", "Only"))]
    assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize(("number", "labels"), [(2, "aa"), (3, "abc"), (5, None), (7, "aaaaaab")])
def test_every_preset_leaves_an_image_in(number: int, labels: str | None) -> None:
    for name, preset in presets(number, labels and tuple(labels)).items():
        weights = preset(1)
        assert len(weights) == number, name
        assert any(weights), name


def test_single_image_has_no_presets() -> None:
    assert presets(1, ("cat",)) == {}
