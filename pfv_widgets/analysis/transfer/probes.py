"""Probes: how well simple classifiers read the labels from a layer's pooled features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pfv_widgets.analysis.core.intervals import Interval, Z, share
from pfv_widgets.errors import PFVValueError

Floats = npt.NDArray[np.float64]
FOLDS, NEIGHBOURS, SEED = 5, 5, 0
_SAMPLES = 2000  # of the bootstrap


@dataclass(frozen=True, eq=False)
class Probe:
    """The predictions of a classifier for each photo when that was held out.

    Attributes
    ----------
    classes
        Names in the order of the columns of ``probabilities``.
    labels, predictions
        One name a photo, ``(N,)``.
    probabilities
        ``(N, classes)``.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.str_]
    predictions: npt.NDArray[np.str_]
    probabilities: Floats

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which photos it named as they are labelled, ``(N,)``."""
        return np.asarray(self.labels == self.predictions)

    @property
    def accuracy(self) -> Interval:
        """Share of the photos that it is right on, with Wilson's interval over photos."""
        return share(int(self.right.sum()), len(self.right))


def linear_probe(features: Floats, labels: npt.ArrayLike) -> Probe:
    """Cross-validate a logistic regression on standardised features.

    scikit-learn's ``LogisticRegression`` with up to 2000 steps, in stratified folds.

    Parameters
    ----------
    features
        ``(N, C)``, finite.
    labels
        N texts, at least two of each class.

    Raises
    ------
    PFVValueError
        For one class, or a class of one photo.
    """
    return _cross_validated(LogisticRegression(max_iter=2000), features, labels)


def knn_probe(features: Floats, labels: npt.ArrayLike) -> Probe:
    """Cross-validate a vote of the five nearest photos, by distance of standardised features.

    Parameters and errors are those of :func:`linear_probe`; a fold with fewer photos has as many
    neighbours as it has.
    """
    names = np.asarray(labels, str)
    training = len(names) - -(-len(names) // _folds(names))
    return _cross_validated(
        KNeighborsClassifier(max(1, min(NEIGHBOURS, training))), features, names
    )


def difference(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> Interval:
    """Accuracy of ``first`` minus that of ``second`` on the same photos, with its interval.

    Agresti and Min (2005): Wald's interval for paired shares after half a photo is added to
    each of the four cells, so that it covers as it should where few photos differ.
    """
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    number = len(first)
    if number == 0:
        return Interval(np.nan, np.nan, np.nan)
    centre = (gained - lost) / (number + 2)
    spread = np.sqrt((gained + lost + 1) / (number + 2) - centre**2) / np.sqrt(number + 2)
    low, high = centre - Z * spread, centre + Z * spread
    return Interval((gained - lost) / number, max(-1.0, float(low)), min(1.0, float(high)))


def comes_first(right: npt.NDArray[np.bool_], which: int) -> float:
    """Share of bootstrap samples of the photos in which one of several probes is the best.

    ``right``, ``(probes, N)``, says which photos each is right on. A tie counts in equal parts.
    """
    number = right.shape[1]
    draws = np.random.default_rng(SEED).multinomial(number, [1 / number] * number, size=_SAMPLES)
    counts = draws @ right.T.astype(np.int64)
    best = counts == counts.max(1, keepdims=True)
    return float((best[:, which] / best.sum(1)).mean())


def log_me(features: Floats, labels: npt.ArrayLike) -> float:
    """LogME of You et al. (2021): evidence of Bayesian linear regressions on one-hot labels.

    For features ``(N, C)`` and N labels: the maximum over the precisions α of the weights and β of
    the noise, by MacKay's fixed point, over the number of photos, averaged over classes. A hint:
    its rank correlation with fine-tuned accuracy reaches from .50 to .79 over eight data sets.
    """
    names = np.asarray(labels, str)
    left, singular, _ = np.linalg.svd(np.asarray(features, np.float64), full_matrices=False)
    evidences = [
        _evidence(left, singular**2, (names == name).astype(float), features.shape[1])
        for name in np.unique(names)
    ]
    return float(np.mean(evidences))


def _evidence(left: Floats, squares: Floats, target: Floats, channels: int) -> float:
    """Return the log evidence a photo at its maximum over α and β (You et al. 2021, section 4)."""
    number, along = len(target), (left.T @ target) ** 2
    outside = max(float(target @ target - along.sum()), 0.0)
    alpha = beta = 1.0
    for _ in range(300):
        before = alpha, beta
        shrunk = alpha / (alpha + beta * squares)
        effective = float((1 - shrunk).sum())
        size = float((beta**2 * squares * along / (alpha + beta * squares) ** 2).sum())
        residual = float((shrunk**2 * along).sum()) + outside
        alpha = float(np.clip(effective / max(size, 1e-300), 1e-10, 1e10))
        beta = float(np.clip((number - effective) / max(residual, 1e-300), 1e-10, 1e10))
        if np.allclose((alpha, beta), before, rtol=1e-8):
            break
    size = float((beta**2 * squares * along / (alpha + beta * squares) ** 2).sum())
    residual = float(((alpha / (alpha + beta * squares)) ** 2 * along).sum()) + outside
    volume = float(np.log(alpha + beta * squares).sum())
    volume += (channels - len(squares)) * np.log(alpha)
    evidence = channels * np.log(alpha) + number * np.log(beta) - beta * residual - alpha * size
    return float((evidence - volume - number * np.log(2 * np.pi)) / (2 * number))


def effective_rank(features: Floats) -> float:
    """Exponential of the entropy of the variances along the principal components (σ²).

    From 1, all along one direction, to the number of channels; NaN where nothing varies.
    """
    centred = np.asarray(features, np.float64) - features.mean(0)
    squares = np.linalg.svd(centred, compute_uv=False) ** 2
    if not squares.sum() > 1e-12 * len(features) * float((features**2).max(initial=0)):
        return float("nan")
    shares = squares / squares.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _cross_validated(classifier: Any, features: Floats, labels: npt.ArrayLike) -> Probe:
    names = np.asarray(labels, str)
    folds = StratifiedKFold(_folds(names), shuffle=True, random_state=SEED)
    pipeline = make_pipeline(StandardScaler(), classifier)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # separable classes have no optimum
        probabilities = cross_val_predict(
            pipeline, features, names, cv=folds, method="predict_proba"
        )
    classes = np.unique(names)
    return Probe(tuple(map(str, classes)), names, classes[probabilities.argmax(1)], probabilities)


def _folds(names: npt.NDArray[np.str_]) -> int:
    """Return how many folds there are: five, or as many as the smallest class has photos."""
    classes, counts = np.unique(names, return_counts=True)
    if len(classes) < 2:
        raise PFVValueError(
            f"labels: all photos are of the class {str(classes[0])!r}. A probe needs two classes."
            if len(classes)
            else "labels is empty: a probe needs photos of two classes."
        )
    if counts.min() < 2:
        raise PFVValueError(
            f"labels: the class {str(classes[counts.argmin()])!r} has one photo. Cross-validation "
            "needs two of each class: leave it out, or add a photo."
        )
    return min(FOLDS, int(counts.min()))
