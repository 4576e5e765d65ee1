"""Batch composition: weights of the images in the basis, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

Weights = tuple[float, ...]


def weights_of(images: Weights | None, number: int) -> Weights:
    """Return one weight for each of ``number`` images; all 1 where ``images`` do not fit."""
    return images if images and len(images) == number else (1.0,) * number


def toggled(weights: Weights, index: int, labels: Sequence[str] | None) -> Weights:
    """Take image ``index`` out, or in again with the weight of its class."""
    if weights[index] > 0:
        return _with(weights, {index: 0.0})
    label = labels[index] if labels else None
    peers = class_weight(weights, labels, label) if labels and label is not None else 0.0
    return _with(weights, {index: peers or 1.0})


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


def _with(weights: Weights, changes: dict[int, float]) -> Weights:
    return tuple(changes.get(index, weight) for index, weight in enumerate(weights))
