"""Batch composition: weights of the images in the basis, as pure functions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from pfv_widgets.engine.pca.batch_basis import Weights

Presets = dict[str, Callable[[int], Weights]]  # only chance depends on the whole number


def weights_of(images: Weights | None, number: int) -> Weights:
    """Return one weight for each of ``number`` images; all 1 where ``images`` do not fit."""
    return images if images and len(images) == number else (1.0,) * number


def as_setting(weights: Weights) -> Weights | None:
    """Return weights as ``Settings.images`` holds them: None where all are 1.

    >>> as_setting((1.0, 1.0)) is None
    True
    """
    return None if all(weight == 1 for weight in weights) else weights


def toggled(weights: Weights, index: int, labels: Sequence[str] | None) -> Weights:
    """Take image ``index`` out, or in again with the weight of its class."""
    if weights[index] > 0:
        return _with(weights, {index: 0.0})
    label = labels[index] if labels else None
    peers = class_weight(weights, labels, label) if labels and label is not None else 0.0
    return _with(weights, {index: peers or 1.0})


def with_membership(
    weights: Weights, indices: Iterable[int], inside: bool, labels: Sequence[str] | None
) -> Weights:
    """Take images in, with the weight of their class, or out; those that are so stay as they are.

    >>> with_membership((1.0, 0.5, 0.0), (0, 2), False, None)
    (0.0, 0.5, 0.0)
    """
    for index in indices:
        if (weights[index] > 0) != inside:
            weights = toggled(weights, index, labels)
    return weights


def inverted(weights: Weights) -> Weights:
    """Take out what is in, and in what is out."""
    return tuple(0.0 if weight > 0 else 1.0 for weight in weights)


def class_weight(weights: Weights, labels: Sequence[str] | None, label: str | None) -> float:
    """Return the largest weight within a class, 0 where all of it is out."""
    return max((w for w, own in zip(weights, labels or (), strict=True) if own == label), default=0)


def with_class_weight(
    weights: Weights, labels: Sequence[str], label: str, weight: float
) -> Weights:
    """Give a class a weight; images taken out of it one by one stay out."""
    members = [index for index, own in enumerate(labels) if own == label]
    inside = [index for index in members if weights[index] > 0] or members
    return _with(weights, dict.fromkeys(inside, weight))


def presets(number: int, labels: Sequence[str] | None) -> Presets:
    """Return the compositions that make sense for ``number`` images; none for a single one."""
    if number < 2:
        return {}
    half = (number + 1) // 2
    general: Presets = {
        "First half": _fixed(only(number, range(half))),
        "Second half": _fixed(only(number, range(half, number))),
        "Every second image": _fixed(only(number, range(0, number, 2))),
        "Random half": lambda seed: random_half(number, seed),
    }
    return general | (_presets_of_classes(labels) if labels else {})


def only(number: int, indices: Iterable[int]) -> Weights:
    """Weight 1 for the images at ``indices``, 0 for the others."""
    chosen = set(indices)
    return tuple(1.0 if index in chosen else 0.0 for index in range(number))


def random_half(number: int, seed: int) -> Weights:
    """Weight 1 for a half (the larger one) of the images, drawn by ``seed``."""
    return only(number, random.Random(seed).sample(range(number), (number + 1) // 2))


def _presets_of_classes(labels: Sequence[str]) -> Presets:
    classes = tuple(dict.fromkeys(labels))
    if len(classes) < 2:
        return {}
    each = _fixed(only(len(labels), (labels.index(one) for one in classes)))
    alone = {one: tuple(float(own == one) for own in labels) for one in classes}
    found = {"One of each class": each}
    found |= {f"Only {one}": _fixed(weights) for one, weights in alone.items()}
    if len(classes) > 2:  # all but one class is else only the other
        found |= {f"All but {one}": _fixed(inverted(weights)) for one, weights in alone.items()}
    return found


def _fixed(weights: Weights) -> Callable[[int], Weights]:
    return lambda _: weights


def _with(weights: Weights, changes: dict[int, float]) -> Weights:
    return tuple(changes.get(index, weight) for index, weight in enumerate(weights))
