"""Intervals of counts and of how well a score tells two groups of photos apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Z = 1.959963984540054  # standard deviations of a 95 % interval


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Attributes
    ----------
    value, low, high
        NaN where there is none.
    """

    value: float
    low: float
    high: float


def share(hits: int, count: int) -> Interval:
    """Return ``hits / count`` with Wilson's score interval; NaN where there is nothing to count."""
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    n, p = count, hits / count
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half))


@dataclass(frozen=True)
class Share:
    """A share of some photos with its 95 % interval; NaN where there is no photo.

    Attributes
    ----------
    hits, count
        How many of how many.
    """

    hits: int
    count: int

    @property
    def value(self) -> float:
        """``hits / count``."""
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval."""
        one = share(self.hits, self.count)
        return one.low, one.high

    def __str__(self) -> str:
        if not self.count:
            return "undefined (no photos)"
        low, high = self.interval
        photos = f"{self.count} photo{'s' * (self.count != 1)}"
        return f"{self.value:.2f} ({low:.2f} to {high:.2f}, {photos})"


def share_of(flags: Flags) -> Share:
    """Return the share of photos for which a flag is set."""
    return Share(int(flags.sum()), len(flags))


def areas_under_curve(values: Numbers, positive: Flags) -> Numbers:
    """Area under the ROC curve of each column ``(N, k)``: Mann and Whitney's U by ranks.

    The share of pairs in which the positive photo has the higher score, ties counted half; NaN
    where there are photos of one kind alone.
    """
    return areas_of_ranks(ranks(values), positive)


def ranks(values: Numbers) -> Numbers:
    """Ranks of each column ``(N, k)`` from 1; those that are equal share the mean of theirs."""
    from scipy.stats import rankdata  # takes seconds to load, and an explorer opens without it

    return np.asarray(rankdata(values, axis=0))


def areas_of_ranks(ranked: Numbers, positive: Flags) -> Numbers:
    """Do what :func:`areas_under_curve` does, of what :func:`ranks` returned."""
    ones = int(positive.sum())
    pairs = ones * (len(positive) - ones)
    if not pairs:
        return np.full(ranked.shape[1], math.nan)
    return np.asarray((ranked[positive].sum(0) - ones * (ones + 1) / 2) / pairs)


def auc(scores: Numbers, positive: Flags) -> float:
    """Area under the ROC curve of one score: see :func:`areas_under_curve`."""
    return float(areas_under_curve(scores[:, None], positive)[0])


def auc_interval(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % interval of an AUC (Hanley and McNeil 1982)."""
    if math.isnan(area):
        return math.nan, math.nan
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area)
    variance += (positives - 1) * (one - area**2) + (negatives - 1) * (two - area**2)
    half = Z * math.sqrt(max(variance, 0.0) / (positives * negatives))
    return max(0.0, area - half), min(1.0, area + half)
