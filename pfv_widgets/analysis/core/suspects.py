"""Suspected shortcuts, and the evidence for and against each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pfv_widgets.analysis.core.intervals import Share
from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.errors import PFVTypeError

PLACES = {
    "fixed": "at a fixed place",
    "anywhere": "anywhere in the photo",
    "everywhere": "all over the photo",
    "off the object": "off the object",
}
_FEW = 4  # classes or groups in the words
_CONTROLS = {
    "fixed": "With that place blurred instead",
    "anywhere": "With that place blurred instead",
    "off the object": "With surroundings of their own class",
}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for and against a suspect; NaN where something is undefined.

    Attributes
    ----------
    auc, auc_interval
        How well the component alone tells the class from the others, with a 95 % interval: 1 is
        perfect, 0.5 is chance. Of what the mark moves alone, without what photos of the class have
        at the mark: the labels chose that.
    share
        Part of the class's margin over the others, on its own photos, that the cut takes away.
    on_object
        Energy on the object over the object's area; below 1: the component avoids it. NaN without
        masks.
    at_border
        Energy in the outer ring of the feature map over that ring's area.
    place
        One of :data:`PLACES`.
    opacity, area
        Of the mark that the photos of the class have in common; NaN where there is none.
    flips
        Causal test: photos of other classes that are put into this class once the mark (or the
        background) is put on them.
    control
        The same with that place blurred instead, or with surroundings of their own class.
    restored
        Of those that flipped, how many come back once the component is cut.
    shift, shift_interval
        How much nearer to the class than with the control photos come, with a 95 % interval: 1 is
        the way from the mean of the others to the mean of the class, in units of the margin.
    accuracy_before, accuracy_after
        On the photos as they are, before and after the cut.
    seen
        How well the photos' pixels alone tell the class by the mark, as an AUC; NaN without one.
    groups
        Group → mean score of the component.
    effects
        Class, or class and group where there are groups → accuracy before and after the cut.
    quality
        What whole photos of the class look like beside those of other classes, in words, such as
        blurred; empty where they look alike.
    explained
        Share that this explains of what their contrasts differ by; NaN without a quality.
    mirrored
        What may have been done to the other one of two classes instead, in words.
    """

    auc: float
    auc_interval: tuple[float, float]
    share: float
    on_object: float
    at_border: float
    place: str
    opacity: float
    area: float
    flips: Share
    control: Share
    restored: Share
    shift: float
    shift_interval: tuple[float, float]
    accuracy_before: Share
    accuracy_after: Share
    seen: float = math.nan
    groups: Mapping[str, float] = field(default_factory=dict)
    effects: Mapping[str, tuple[Share, Share]] = field(default_factory=dict)
    quality: str = ""
    explained: float = math.nan
    mirrored: str = ""

    def lines(self) -> tuple[str, ...]:
        """Return the evidence in words, one line each."""
        low, high = self.auc_interval
        lines = [
            f"Tells the class from the others with AUC {self.auc:.2f} ({low:.2f} to {high:.2f}).",
            "It has no share of the class's margin: the class has none over the others."
            if math.isnan(self.share)
            else f"Carries {100 * self.share:.0f} % of the class's margin.",
            f"Lies {PLACES[self.place]}.",
            *self._causal_lines(),
            f"Accuracy {self.accuracy_before.value:.2f} as it is, {self.accuracy_after} when cut.",
        ]
        lines += self._changes()
        if not math.isnan(self.on_object):
            lines.append(f"Its energy on the object is {self.on_object:.2f} times the area's.")
        elif not math.isnan(self.at_border):
            lines.append(f"Its energy at the border is {self.at_border:.2f} times the area's.")
        if not math.isnan(self.area):
            lines.append(
                f"Photos of the class share {100 * self.area:.1f} % of their pixels, with an "
                f"opacity of {self.opacity:.2f}."
            )
            lines.append(f"These pixels alone tell them from others with AUC {self.seen:.2f}.")
        if self.quality:
            lines += self._quality_lines()
        if self.groups:
            few = list(self.groups.items())[:_FEW]
            means = [f"{name} " + f"{value:.2f}".replace("-", "−") for name, value in few]
            more = f" and {len(self.groups) - _FEW} more" if len(self.groups) > _FEW else ""
            lines.append(f"Mean score by group: {', '.join(means)}{more}.")
        return tuple(lines)

    def _causal_lines(self) -> list[str]:
        """Say what came of putting the mark on photos of other classes, and of the cut."""
        near, far = self.shift_interval
        moved = f"It moves them {self.shift:.2f} ({near:.2f} to {far:.2f}) of the way to the class."
        if math.isnan(self.shift):
            moved = "How far it moves them towards the class is undefined."
        if not self.flips.count:
            return ["The network takes the photos of other classes for this one without it.", moved]
        return [
            f"Put on photos of other classes, it draws a share of {self.flips} to this one.",
            f"{_CONTROLS.get(self.place, 'As they are')}, {self.control.value:.2f} go to it.",
            moved,
            f"Cutting the component brings back {self.restored} of these.",
        ]

    def _quality_lines(self) -> list[str]:
        """Say what photos look like, and that it may be the others that were changed."""
        opposite = self.mirrored or "photos of others may have been changed, the opposite way"
        return [
            f"Beside others, photos of the class look {self.quality}.",
            (
                f"That explains {100 * self.explained:.0f} % of what their contrasts differ by, "
                f"which alone tell them from others with AUC {self.seen:.2f}."
            ),
            f"It may be the other way round: {opposite}.",
        ]

    def _changes(self) -> list[str]:
        """Say whose accuracy the cut changes, the largest change first."""
        changes = [one for one in self.effects.items() if one[1][0] != one[1][1]]
        changes.sort(key=lambda one: -abs(one[1][1].value - one[1][0].value))
        return [
            f"Cut, {name}: {before.value:.2f} → {after}."
            for name, (before, after) in changes[:_FEW]
        ]


@dataclass(frozen=True, eq=False, repr=False)
class SuspectBasis(PrincipalBasis):
    """Components of a layer with directions of suspects among them.

    Attributes
    ----------
    readers
        What measures each component, ``(k, C)``: a principal component itself, of a suspect's
        direction its reader.
    """

    readers: Tensor = field(default_factory=lambda: torch.zeros(0))


@dataclass(frozen=True, eq=False, repr=False)
class Suspect:
    """A component that may be a shortcut: a spurious feature that a class relies on.

    Attributes
    ----------
    layer, basis, component, sign
        The component, and the side on which it speaks for the class. ``ablate`` cuts it by its
        reader, given as one of ``suspects`` or as one of ``components`` of this basis.
    unit, class_name
        The class that it speaks for.
    score
        ``shift × (2 · AUC − 1)``, from 0 to 1: the order of the suspects, not a probability.
    evidence
        Why.
    overlay
        The mark, where photos have one in common.
    nearest
        Principal component of the layer that is most like it, from 0, and the cosine.
    reader
        ``(C,)``: a cut takes ``reader · (x − mean)`` times the direction from features ``x``;
        ``reader · direction`` is 1. It weighs less what photos of a class differ in anyway, so
        that those without the mark keep more of their features: Σ⁻¹ · direction, scaled, with Σ
        the covariance within classes of the pooled features, and 3 times its mean variance added
        to its diagonal (the eraser of LEACE, Belrose et al., NeurIPS 2023, with this Σ for the
        covariance of all features).
    """

    layer: str
    basis: PrincipalBasis
    component: int
    sign: int
    unit: int
    class_name: str
    score: float
    evidence: Evidence
    overlay: Overlay | None
    nearest: tuple[int, float]
    reader: Tensor

    def __repr__(self) -> str:
        return (
            f"<Suspect: component {self.component + 1} of {self.layer!r} for "
            f"{self.class_name!r}, {PLACES[self.evidence.place]}, score {self.score:.2f}>"
        )

    @property
    def direction(self) -> Tensor:
        """Unit vector ``(C,)`` along which the class's features are moved."""
        return self.sign * self.basis.components[self.component]

    def map_of(self, maps: Tensor) -> Tensor:
        """Return where the component speaks for the class, ``(N, h, w)`` ≥ 0."""
        centred = maps - self.basis.mean.to(maps)[:, None, None]
        scores = torch.einsum("c,nchw->nhw", self.direction.to(maps), centred)
        return scores.clamp_min(0)


def checked_suspects(suspects: object) -> tuple[Suspect, ...]:
    """Return suspects of a report, a list, or one alone."""
    several: Any = getattr(suspects, "suspects", suspects)
    if isinstance(several, Suspect):
        return (several,)
    is_list = isinstance(several, Sequence) and not isinstance(several, str | bytes)
    if is_list and all(isinstance(one, Suspect) for one in several):
        return tuple(several)
    raise PFVTypeError(
        f"suspects={suspects!r:.80}: expected a ShortcutReport, or some of its suspects."
    )
