"""Probes against scikit-learn called by hand, and against definitions written out slowly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from pfv_widgets.analysis.core.intervals import areas_under_curve, share
from pfv_widgets.analysis.transfer.class_evidence import confused_pairs, mislabelled, outliers
from pfv_widgets.analysis.transfer.probes import (
    Probe,
    comes_first,
    difference,
    effective_rank,
    knn_probe,
    linear_probe,
    log_me,
)
from pfv_widgets.errors import PFVValueError


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array(["ant", "bee", "cat"] * 14)
    means = np.array([[0, 0, 0, 0], [1.5, 0, 0, 0], [0, 1.5, 0, 0]])
    return rng.normal(size=(42, 4)) + means[np.arange(42) % 3], labels


@pytest.mark.parametrize(
    ("probe", "classifier"),
    [(linear_probe, LogisticRegression(max_iter=2000)), (knn_probe, KNeighborsClassifier(5))],
)
def test_probes_equal_scikit_learn_by_hand(data, probe, classifier) -> None:
    features, labels = data
    result, expected = probe(features, labels), np.empty(42, dtype="<U3")
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(features, labels):
        scaler = StandardScaler().fit(features[train])
        classifier.fit(scaler.transform(features[train]), labels[train])
        expected[test] = classifier.predict(scaler.transform(features[test]))
    assert (result.predictions == expected).all()
    right = int((expected == labels).sum())
    assert result.accuracy.value == pytest.approx(right / 42)
    # Wilson's interval by its formula
    z, p, n = 1.959963984540054, right / 42, 42
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (result.accuracy.low, result.accuracy.high) == pytest.approx(
        (middle - half, middle + half)
    )


def test_paired_difference_is_the_adjusted_interval_and_never_certain() -> None:
    first = np.array([True] * 8 + [False] * 2 + [True] * 10)
    second = np.array([False] * 8 + [True] * 2 + [True] * 10)
    got = difference(first, second)
    plus, minus, n = 8.5, 2.5, 22
    middle = (plus - minus) / n
    half = 1.959963984540054 * np.sqrt((plus + minus) / n - middle**2) / np.sqrt(n)
    assert got.value == pytest.approx(0.3)
    assert (got.low, got.high) == pytest.approx((middle - half, middle + half))
    alike = difference(first, first)
    assert alike.value == 0
    assert alike.low < 0 < alike.high
    assert np.isnan(share(0, 0).value)


def test_comes_first_counts_bootstrap_samples_and_shares_ties() -> None:
    good, bad = np.ones(30, bool), np.zeros(30, bool)
    assert comes_first(np.stack([good, bad]), 0) == 1.0
    assert comes_first(np.stack([good, good, bad]), 0) == 0.5
    mixed = np.arange(30) % 2 == 0
    assert 0.4 < comes_first(np.stack([mixed, ~mixed]), 0) < 0.6


def test_log_me_is_the_largest_evidence(data) -> None:
    features, labels = data
    n, channels = features.shape
    evidences = []
    for name in np.unique(labels):
        target = (labels == name).astype(float)

        def negative(logs: np.ndarray, target: np.ndarray = target) -> float:
            alpha, beta = np.exp(logs)
            covariance = np.eye(n) / beta + features @ features.T / alpha
            _, volume = np.linalg.slogdet(covariance)
            fit = target @ np.linalg.solve(covariance, target)
            return float(0.5 * (n * np.log(2 * np.pi) + volume + fit) / n)

        starts = ([0.0, 1.0], [3.0, 1.0], [-3.0, 0.0])
        evidences.append(max(-minimize(negative, start).fun for start in starts))
    assert log_me(features, labels) == pytest.approx(np.mean(evidences), abs=1e-5)
    assert log_me(features[:, :1] @ np.ones((1, 60)), labels) < log_me(features, labels)
    assert channels < n


def test_effective_rank_counts_directions_and_is_undefined_for_constants(rng) -> None:
    even = np.vstack([np.eye(6), -np.eye(6)])
    assert effective_rank(even) == pytest.approx(6)
    assert effective_rank(np.outer(rng.normal(size=20), rng.normal(size=5))) == pytest.approx(1)
    assert np.isnan(effective_rank(np.full((20, 5), 3.0)))


def test_areas_equal_scikit_learn_with_ties(rng) -> None:
    values, positive = rng.integers(0, 4, (40, 3)).astype(float), rng.random(40) < 0.4
    expected = [roc_auc_score(positive, column) for column in values.T]
    assert areas_under_curve(values, positive) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "words"),
    [(["a"] * 6, "'a'"), (["a"] * 5 + ["b"], "'b' has one photo"), ([], "empty")],
)
def test_too_few_classes_or_photos_are_said(labels: list[str], words: str) -> None:
    for probe in (linear_probe, knn_probe):
        with pytest.raises(PFVValueError, match=words):
            probe(np.ones((len(labels), 3)), labels)


def test_swapped_label_and_odd_photo_are_noticed(data, rng) -> None:
    features, labels = data[0] * 1.0, data[1].copy()
    features[:, 0] += 5 * (labels == "bee")
    features[:, 1] += 5 * (labels == "cat")
    labels[4] = "ant"  # a bee
    names = tuple(f"{i}.jpg" for i in range(42))
    flagged = mislabelled(linear_probe(features, labels), names)
    assert flagged[0].name == "4.jpg"
    assert (flagged[0].label, flagged[0].looks_like) == ("ant", "bee")
    assert outliers(features, labels, names) == ()
    features[7] += 60
    (odd,) = outliers(features, labels, names)
    assert (odd.photo, odd.looks_like) == (7, "")
    assert odd.strength > 5
    like = np.linspace(0.1, 10, 30) * rng.uniform(0.8, 1.2, (42, 30))
    assert outliers(like, labels, names) == ()
    like[3] = like[3, ::-1]  # as large as the others, in other channels
    assert [one.photo for one in outliers(like, labels, names)] == [3]
    assert outliers(np.zeros((42, 3)), labels, names) == ()


def test_confused_pairs_are_counted_photo_by_photo(rng: np.random.Generator) -> None:
    classes = ("a", "b", "c", "d", "e")
    labels = rng.permutation(np.repeat(classes, [3, 9, 12, 5, 20]))
    likely = rng.integers(0, 4, (49, 5)).astype(float)  # with ties
    probe = Probe(classes, labels, np.array(classes)[likely.argmax(1)], likely)
    pairs = confused_pairs(probe)
    assert len(pairs) == 5
    for pair in pairs:
        rows = [
            (
                label,
                predicted,
                *likely[photo, [classes.index(pair.first), classes.index(pair.second)]],
            )
            for photo, (label, predicted) in enumerate(zip(labels, probe.predictions, strict=True))
            if label in (pair.first, pair.second)
        ]
        right = sum((one >= other) == (label == pair.first) for label, _, one, other in rows)
        names = [label for label, *_ in rows]
        assert pair.photos == len(rows)
        assert pair.accuracy == share(int(right), len(rows))
        assert pair.chance == max(map(names.count, names)) / len(rows)
        wrong = [row for row in rows if {*row[:2]} == {pair.first, pair.second}]
        assert pair.mistaken == len(wrong)


def test_pairs_without_information_are_not_told_apart() -> None:
    labels = np.array(["a", "b", "c"] * 12)
    probabilities = np.tile([0.5, 0.4, 0.1], (36, 1))
    probabilities[labels == "c"] = [0.1, 0.1, 0.8]
    probe = Probe(("a", "b", "c"), labels, np.where(labels == "c", "c", "a"), probabilities)
    (pair,) = confused_pairs(probe)
    assert (pair.first, pair.second, pair.mistaken, pair.photos) == ("a", "b", 12, 24)
    assert not pair.is_distinguishable
