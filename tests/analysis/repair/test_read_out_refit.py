"""The last linear layer, fitted anew to balanced groups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pfv_widgets.analysis.repair.read_out_refit import (
    STRENGTH,
    Numbers,
    Whole,
    refitted_weights,
    weights_with_margins,
)


def noise(sizes: tuple[int, ...], seed: int) -> tuple[Numbers, Whole, Whole]:
    """Draw inputs that tell the class a little, and the kind of background well."""
    random = np.random.default_rng(seed)
    labels, kinds = np.repeat([0, 0, 1, 1], sizes), np.repeat([0, 1, 0, 1], sizes)
    inputs = random.normal(size=(len(labels), 60))
    inputs[:, 0] += 1.5 * labels
    inputs[:, 1] += 3 * kinds
    return inputs, labels, 2 * labels + kinds


def worst_group(fit: Callable[..., tuple[Numbers, Numbers]], few: int, seed: int) -> float:
    weight, bias = fit(*noise((90, few, few, 90), seed), 3)
    inputs, labels, groups = noise((400,) * 4, 100 + seed)
    right = (inputs @ weight.T + bias).argmax(1) == labels
    return float(min(right[groups == one].mean() for one in range(4)))


@pytest.mark.parametrize("few", [4, 12])
def test_balanced_subsets_help_the_worst_group_of_other_photos(few: int) -> None:
    for seed in range(2):
        alone = worst_group(weights_with_margins, few, seed)
        assert worst_group(refitted_weights, few, seed) > alone + 0.03


def test_groups_of_one_size_are_fitted_by_one_plain_regression() -> None:
    inputs, labels, groups = noise((12,) * 4, 0)
    weight, bias = refitted_weights(inputs, labels, groups, 3)
    standard = (inputs - inputs.mean(0)) / inputs.std(0)
    plain = LogisticRegression(C=STRENGTH).fit(standard, labels)
    scores = inputs @ weight.T + bias
    difference = scores[:, 1] - scores[:, 0]
    np.testing.assert_allclose(difference, plain.decision_function(standard), atol=2e-2)
    assert (scores[:, 2] < -100).all()  # a class without photos


def test_classes_with_different_numbers_of_groups_are_not_thinned_out() -> None:
    """Of subsets, a class with one group would have half the photos of one with two."""
    inputs, labels, groups = noise((30, 0, 12, 30), 0)
    fits = [fit(inputs, labels, groups, 2) for fit in (refitted_weights, weights_with_margins)]
    for one, other in zip(*fits, strict=True):
        np.testing.assert_array_equal(one, other)
