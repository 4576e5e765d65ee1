"""Classes that are confused, doubtful photos, and the components tied to each class."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from pfv_widgets.analysis.core.highlighted_photos import reach_of, with_heatmap
from pfv_widgets.analysis.core.intervals import Interval, areas_of_ranks, ranks, share
from pfv_widgets.analysis.transfer.probes import NEIGHBOURS, SEED, Probe
from pfv_widgets.engine.pipeline.pfv import PFV

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int_]
Pixels = npt.NDArray[np.uint8]

COMPONENTS = 8  # that are compared with the classes
_PER_CLASS, _PHOTOS = 2, 3
_PAIRS = 5  # of confused classes
_SHUFFLES = 400
_FAR_OUT = 3.0  # interquartile ranges beyond the upper quartile (Tukey)


@dataclass(frozen=True, eq=False)
class ClassComponent:
    """A component that is tied to a class.

    Attributes
    ----------
    label
        The class.
    component
        Its index, from 0.
    sign
        1 where photos of the class score above the others, -1 where below.
    auc
        How well the photos' mean scores alone tell the class from all others: 0.5 is chance.
    chance
        What the best of all components reaches for shuffled labels, in 95 of 100 cases.
    photos
        Indices of the photos of the class with the strongest mean score.
    pictures
        These photos with the component's heatmap over them, uint8 ``(H, W, 3)``.
    """

    label: str
    component: int
    sign: int
    auc: float
    chance: float
    photos: tuple[int, ...]
    pictures: tuple[Pixels, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes between which the probe is wrong.

    Attributes
    ----------
    first, second
        Their names.
    accuracy
        Share of their photos that the probe puts on the right side, of these two alone.
    chance
        Share of the larger one.
    mistaken
        Photos of one that the probe calls the other.
    photos
        How many photos both have.
    """

    first: str
    second: str
    accuracy: Interval
    chance: float
    mistaken: int
    photos: int

    @property
    def is_distinguishable(self) -> bool:
        """Whether the interval of the accuracy lies above chance."""
        return self.accuracy.low > self.chance


@dataclass(frozen=True)
class DoubtfulPhoto:
    """A photo to look at.

    Attributes
    ----------
    photo
        Its index.
    name, label
        Of the photo.
    looks_like
        The class that the probe names instead; empty for a photo like none of the others.
    strength
        Probability of that class; or the distance to the nearest photos, in medians.
    """

    photo: int
    name: str
    label: str
    looks_like: str
    strength: float


def confused_pairs(probe: Probe) -> tuple[ConfusedPair, ...]:
    """Return up to five pairs of classes with the most mistakes, those not told apart first."""
    classes, pairs = probe.classes, []
    predicted, photos, at_least, above = _counts(probe)
    for one, first in enumerate(classes):
        for other, second in enumerate(classes[one + 1 :], one + 1):
            wrong = int(predicted[one, other] + predicted[other, one])
            number = int(photos[one] + photos[other])
            accuracy = share(int(at_least[one, other] + above[other, one]), number)
            larger = float(max(photos[one], photos[other]) / number)
            pairs.append(ConfusedPair(first, second, accuracy, larger, wrong, number))
    confused = [pair for pair in pairs if pair.mistaken or not pair.is_distinguishable]
    confused.sort(key=lambda pair: (pair.is_distinguishable, -pair.mistaken / pair.photos))
    return tuple(confused[:_PAIRS])


def _counts(probe: Probe) -> tuple[Counts, Counts, Counts, Counts]:
    """Count photos of each class: by their prediction, all, and by whether theirs is more likely.

    Rows are the classes of the photos; the last two say for how many of them their own class has
    at least, and more than, the probability of another one.
    """
    number = len(probe.classes)
    index = {name: one for one, name in enumerate(probe.classes)}
    own, named = (
        np.array([index[name] for name in names]) for names in (probe.labels, probe.predictions)
    )
    predicted, at_least, above = np.zeros((3, number, number), int)
    np.add.at(predicted, (own, named), 1)
    for one in range(number):
        likely = probe.probabilities[own == one]
        at_least[one] = (likely[:, one, None] >= likely).sum(0)
        above[one] = (likely[:, one, None] > likely).sum(0)
    return predicted, predicted.sum(1), at_least, above


def mislabelled(probe: Probe, names: tuple[str, ...]) -> tuple[DoubtfulPhoto, ...]:
    """Return the photos that look mislabelled, the most doubtful first.

    Confident learning (Northcutt et al. 2021): a photo counts as of another class where that
    class has at least the mean probability that it has among its own photos, in predictions
    for photos that were held out.
    """
    own = np.array([probe.classes.index(label) for label in probe.labels])
    thresholds = np.array(
        [probe.probabilities[own == one, one].mean() for one in range(len(probe.classes))]
    )
    confident = np.where(probe.probabilities >= thresholds, probe.probabilities, -1.0)
    predicted = confident.argmax(1)
    doubtful = np.flatnonzero((confident.max(1) >= 0) & (predicted != own))
    photos = [
        DoubtfulPhoto(
            int(i), names[i], str(probe.labels[i]), probe.classes[predicted[i]],
            float(probe.probabilities[i, predicted[i]]),
        )
        for i in doubtful
    ]  # fmt: skip
    return tuple(sorted(photos, key=lambda photo: -photo.strength))


def outliers(
    features: Floats, labels: npt.NDArray[np.str_], names: tuple[str, ...]
) -> tuple[DoubtfulPhoto, ...]:
    """Return the photos that are like none of the others, the farthest first.

    Where the mean distance to the five nearest photos lies more than three interquartile ranges
    above the upper quartile of all photos. Distances are of square roots of the features, so that
    a few large ones do not decide: as they are, and scaled to length one (Hellinger's).
    """
    number = min(NEIGHBOURS, len(features) - 1)
    if number < 1:
        return ()
    roots = np.sign(features) * np.sqrt(np.abs(features))
    lengths = np.linalg.norm(roots, axis=1, keepdims=True)
    far, strengths = np.zeros(len(features), bool), np.zeros(len(features))
    for values in (roots, roots / np.where(lengths > 0, lengths, 1.0)):
        distances = NearestNeighbors(n_neighbors=number).fit(values).kneighbors()[0].mean(1)
        lower, middle, upper = np.quantile(distances, [0.25, 0.5, 0.75])
        if middle > 0:
            far |= distances > upper + _FAR_OUT * (upper - lower)
            strengths = np.maximum(strengths, distances / middle)
    indices = np.flatnonzero(far)
    return tuple(
        DoubtfulPhoto(int(i), names[i], str(labels[i]), "", float(strengths[i]))
        for i in indices[np.argsort(-strengths[indices])]
    )


def components_by_class(
    pfv: PFV, layer: str, indices: tuple[int, ...]
) -> tuple[ClassComponent, ...]:
    """Return the components of a layer most tied to each class, with heatmaps of its photos.

    They are fitted to the labelled photos of ``pfv``; ``indices`` are theirs among the report's.
    """
    shape, number = pfv.layer(layer).shape, len(pfv.images)
    most = min(COMPONENTS, shape[0], number * shape[1] * shape[2] - 1)
    if most < 1 or not indices or pfv.images.labels is None:
        return ()
    frame = pfv.render(layer=layer, components=most, size=shape[1:])
    resolved = frame.basis.is_resolved.cpu().numpy()
    means = frame.scores.double().mean((2, 3)).cpu().numpy()
    labels, ranked = np.asarray(pfv.images.labels), ranks(means)
    tied = []
    for label in sorted(set(pfv.images.labels)):
        positive = labels == label
        areas = np.where(resolved, areas_of_ranks(ranked, positive), 0.5)
        chance = _chance(ranked[:, resolved], positive)
        for component in np.argsort(-abs(areas - 0.5), kind="stable")[:_PER_CLASS]:
            sign = 1 if areas[component] >= 0.5 else -1
            auc = float(max(areas[component], 1 - areas[component]))
            scores = frame.scores[:, int(component)]
            reach = reach_of(scores)
            order = np.argsort(-sign * means[:, component], kind="stable")
            photos = tuple(int(i) for i in order if positive[i])[:_PHOTOS]
            tied.append(
                ClassComponent(
                    label, int(component), sign, auc, chance, tuple(indices[i] for i in photos),
                    tuple(
                        with_heatmap(pfv.images.pixels[photo], scores[photo], reach)
                        for photo in photos
                    ),
                )
            )  # fmt: skip
    return tuple(tied)


def _chance(ranked: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Return the 95 % quantile of the best component's area, by ranks, for shuffled labels."""
    if ranked.shape[1] == 0:
        return 0.5
    rng = np.random.default_rng(SEED)
    best = [
        float(abs(areas_of_ranks(ranked, rng.permutation(positive)) - 0.5).max())
        for _ in range(_SHUFFLES)
    ]
    return 0.5 + float(np.quantile(best, 0.95))
