"""A causal test of suspected shortcuts: a mark is put on photos of other classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from pfv_widgets.analysis.ablation.ablate import cut_components
from pfv_widgets.analysis.core.intervals import Share, auc, auc_interval, share_of
from pfv_widgets.analysis.core.labelled_units import LabelledUnits
from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.analysis.core.scores_from_layer import class_scores
from pfv_widgets.analysis.core.suspects import Evidence, Suspect
from pfv_widgets.analysis.shortcuts.candidates import degradation_of, margin, marks_of, tint_of
from pfv_widgets.analysis.shortcuts.mark_direction import refined_direction
from pfv_widgets.analysis.shortcuts.mark_overlays import blurred, spread_out
from pfv_widgets.analysis.shortcuts.photo_quality import PhotoContrasts
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.preprocessing import unit_range
from pfv_widgets.engine.network.capture import before_each_leaf
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.model_guard import guarded, run
from pfv_widgets.engine.network.partial_forward import PartialForward
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.methods.core.read_out import Output

MOST = 48  # photos of other classes that a mark is put on
_CHUNK = 16  # photos
_LEAST_SHIFT = 0.05  # of the way to the class, lower end of the interval
_LEAST_AUC = 0.85
_SURE = 0.93  # an AUC of the pixels alone: others may hide the mark's features, not its pixels
_RIDGE = 3.0  # of a suspect's reader, in units of a channel's mean variance within classes


@dataclass(frozen=True, eq=False)
class Trial:
    """The result of testing one candidate."""

    direction: Tensor
    reader: Tensor
    variance: float
    unit: int
    name: str
    layer: str
    evidence: Evidence
    overlay: Overlay | None
    nearest: tuple[int, float]

    @property
    def score(self) -> float:
        """``shift × (2 · AUC − 1)`` in [0, 1]; 0 where one of them is undefined."""
        shift = min(max(self.evidence.shift, 0.0), 1.0)  # NaN stays NaN
        score = shift * max(2 * self.evidence.auc - 1, 0.0)
        return score if math.isfinite(score) else 0.0

    @property
    def confirmed(self) -> bool:
        """Whether the photos are moved to the class by more than a control explains."""
        evidence = self.evidence
        told_apart = evidence.seen >= _SURE or evidence.auc >= _LEAST_AUC
        return told_apart and evidence.shift_interval[0] > _LEAST_SHIFT

    def with_auc_of(self, other: Trial) -> Trial:
        """Return this trial with how well another tells the class, which is its score's as well."""
        auc, interval = other.evidence.auc, other.evidence.auc_interval
        return replace(self, evidence=replace(self.evidence, auc=auc, auc_interval=interval))

    def explaining(self, share: float) -> Trial:
        """Return this trial with how much of the difference of contrasts it explains."""
        return replace(self, evidence=replace(self.evidence, explained=share))

    def suspect(self, basis: PrincipalBasis, component: int, sign: int) -> Suspect:
        """Return the suspect, as a component of a basis that holds its direction."""
        return Suspect(
            self.layer, basis, component, sign, self.unit, self.name, self.score, self.evidence,
            self.overlay, self.nearest, self.reader,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Put:
    """Photos of other classes with a mark put on."""

    overlay: Overlay
    seen: float
    indices: Tensor
    part: PartialForward
    change: Tensor  # of the features by the mark
    control: Tensor  # scores with its place blurred instead
    pixels: int  # of a photo


@dataclass(frozen=True, eq=False)
class CausalTest:
    """Photos, a layer, and what else a test of candidates needs."""

    images: ImageBatch
    forward: Forward
    layer: Layer
    part: PartialForward
    basis: PrincipalBasis
    labelled: LabelledUnits
    masks: Tensor | None
    groups: tuple[str, ...] | None
    output: Output
    check: Callable[[], None]

    def marks(self, unit: int) -> Iterator[Trial]:
        """Test the marks of a class, and note where they lie."""
        own = self._units == unit
        for overlay, alpha, seen in marks_of(self._photos, own):
            if not overlay.shades:  # else it may be a tint instead
                self._covered[own] |= alpha > 0
            yield self._of_overlay(unit, own, overlay, seen)

    def surroundings(self, unit: int) -> Iterator[Trial]:
        """Test the tint and the quality of a class's photos, and with masks its backgrounds.

        After the marks of all classes, which are left out.
        """
        own = self._units == unit
        tint = tint_of(self._photos, own, self._covered)
        if tint is not None:
            yield self._of_overlay(unit, own, *tint)
        degradation = degradation_of(self._photos, own, self._contrasts)
        if degradation is not None:
            overlay, seen, explained = degradation
            yield self._of_overlay(unit, own, overlay, seen).explaining(explained)
        if self.masks is not None:
            yield from self._of_backgrounds(unit, own)

    @property
    def _units(self) -> Tensor:
        assert self.labelled.units is not None
        return self.labelled.units

    @property
    def classes(self) -> int:
        """How many classes there are photos of."""
        return len(set(self._units.tolist()))

    @cached_property
    def _photos(self) -> Tensor:
        """Photos as shown, float ``(N, 3, H, W)`` in [0, 1]."""
        return unit_range(self.images.pixels)

    @cached_property
    def _covered(self) -> Tensor:
        """Where marks lie, bool ``(N, H, W)``."""
        return torch.zeros(len(self.images), *self.images.size, dtype=torch.bool)

    @cached_property
    def _contrasts(self) -> PhotoContrasts:
        return PhotoContrasts(self._photos, self._covered)

    @cached_property
    def _spread(self) -> Tensor:
        """Cholesky factor ``(C, C)``: covariance within classes of pooled features, and a ridge."""
        pooled, units = self.part.features.mean((2, 3)).cpu().double(), set(self._units.tolist())
        for unit in units:
            own = self._units == unit
            pooled[own] -= pooled[own].mean(0)
        inner = pooled.T @ pooled / max(len(pooled) - len(units), 1)
        ridge = _RIDGE * inner.diagonal().mean().clamp_min(1e-12)
        factor: Tensor = torch.linalg.cholesky(inner + ridge * torch.eye(len(inner)).to(inner))
        return factor

    def _reader(self, direction: Tensor) -> Tensor:
        """Return what reads a suspect from features ``(C,)``; see :class:`Suspect`."""
        along = direction.cpu().double()
        reader = torch.cholesky_solve(along[:, None], self._spread)[:, 0]
        return (reader / (reader @ along).clamp_min(1e-300)).to(direction)

    def _without(self, maps: Tensor, direction: Tensor) -> Tensor:
        """Return maps ``(N, C, h, w)`` with a suspect cut, as :func:`ablate` does."""
        readers = self._reader(direction)[None]
        return cut_components(maps, self.basis.mean, direction[None], "project", readers)

    def _of_overlay(self, unit: int, own: Tensor, overlay: Overlay, seen: float) -> Trial:
        chosen = spread_out((~own).nonzero()[:, 0], MOST)
        plain = self._photos[chosen]
        marked, where = overlay.put(plain)
        part, control = self._part_of(marked), self.part.scores[chosen]
        if overlay.place != "everywhere":
            control = self._scores_of(torch.lerp(plain, blurred(plain), where[:, None]))
        change = part.features - self.part.features[chosen]
        put = _Put(overlay, seen, chosen, part, change, control, where[0].numel())
        direction = normalize(change.sum((0, 2, 3)), dim=0)
        trial = self._along(direction, unit, own, put)
        if overlay.place != "anywhere" or not trial.confirmed:
            return trial
        (height, width), (full_height, full_width) = overlay.alpha.shape, self.images.size
        if height == full_height or width == full_width:  # a bar: whole as it is
            return trial
        refined = refined_direction(self.part.features, direction, own)
        if refined is None:
            return trial
        # labels had no part in the first, so its AUC is no fit to them
        return self._along(refined, unit, own, put).with_auc_of(trial)

    def _along(self, direction: Tensor, unit: int, own: Tensor, put: _Put) -> Trial:
        """Test a direction of a mark that was put on photos of other classes."""
        overlay, before = put.overlay, self.part.scores[put.indices].argmax(1)
        cut = put.part.run(self._without(put.part.features, direction))
        flips, restored = _flips(put.part.scores, cut, before, unit)
        opaque, degraded = overlay.alpha[overlay.alpha > 0], overlay.degradation is not None
        return self._trial(
            unit, own, direction, weights=self._weights(overlay, put.change, direction),
            place=overlay.place, flips=flips, restored=restored,
            shift=self._shift(unit, own, put.part.scores, put.control),
            control=_flips(put.control, put.control, before, unit)[0],
            overlay=overlay, opacity=float(opaque.mean()), seen=put.seen,
            area=math.nan if degraded else len(opaque) / put.pixels,
            quality=str(overlay.degradation) if degraded else "",
        )  # fmt: skip

    def _weights(self, overlay: Overlay, change: Tensor, direction: Tensor) -> Tensor | None:
        """Return where a mark at a fixed place moves the features, ``(h, w)``; None: anywhere."""
        if overlay.place == "anywhere":
            return None
        moved = torch.einsum("c,nchw->hw", direction, change).clamp_min(0)
        return moved / moved.sum().clamp_min(1e-12)

    @property
    def _off(self) -> Tensor:
        """1 at positions that are mostly off the object, ``(N, h, w)``."""
        assert self.masks is not None
        return (_cells(self.masks, self.part.features) < 0.5).to(self.part.features)

    @property
    def untested(self) -> str:
        """Why backgrounds cannot be tested with the masks, in words."""
        if self.masks is None:
            return ""
        off = self._off.flatten(1).mean(1)
        for many, what in (
            (int((off == 0).sum()), f"the object fills every position of {self.layer.name}"),
            (int((self.masks.flatten(1).sum(1) == 0).sum()), "there is no object"),
        ):
            if many:
                return (
                    f"Backgrounds were not tested: by their masks {what} in {many} of "
                    f"{len(self.images)} photos."
                )
        return ""

    def _of_backgrounds(self, unit: int, own: Tensor) -> Iterator[Trial]:
        """Put the features off the object of photos of the class on photos of others."""
        if self.untested:
            return
        off = self._off
        means = torch.einsum("nchw,nhw->nc", self.part.features, off)
        means = means / off.flatten(1).sum(1)[:, None]
        direction = normalize(means[own].mean(0) - means[~own].mean(0), dim=0)
        chosen = spread_out((~own).nonzero()[:, 0], MOST)
        before = self.part.scores[chosen].argmax(1)
        swap = partial(self._swapped, unit, chosen, off=off, direction=direction, before=before)
        flips, restored, scores = swap(donors=own.nonzero()[:, 0])
        control, _, plain = swap(donors=(~own).nonzero()[:, 0], same=True)
        shift = self._shift(unit, own, scores, plain)
        yield self._trial(
            unit, own, direction, weights=None, place="off the object", flips=flips,
            restored=restored, shift=shift, control=control, off=off,
        )  # fmt: skip

    def _swapped(
        self, unit: int, chosen: Tensor, *, donors: Tensor, off: Tensor, direction: Tensor,
        before: Tensor, same: bool = False,
    ) -> tuple[Share, Share, Tensor]:  # fmt: skip
        """Give photos the surroundings of others, or of their own class with ``same``."""
        features = self.part.features.clone()
        for number, photo in enumerate(chosen.tolist()):
            others = donors
            if same:
                others = donors[(self._units[donors] == self._units[photo]) & (donors != photo)]
            if len(others):
                donor = int(others[number % len(others)])
                there = off[photo] * off[donor]
                mean = (self.part.features[donor] * off[donor]).sum((1, 2)) / off[donor].sum()
                part = off[photo] * (1 - off[donor])  # where the donor has its object
                features[photo] = (
                    features[photo] * (1 - off[photo])
                    + self.part.features[donor] * there
                    + mean[:, None, None] * part
                )
        scores = self.part.run(features)[chosen]
        cut = self._without(features, direction)
        return (*_flips(scores, self.part.run(cut)[chosen], before, unit), scores)

    def _scores_of(self, photos: Tensor) -> Tensor:
        """Return the scores of photos as shown, ``(n, K)``."""
        read, scores = class_scores(self.output), []
        forward = replace(self.forward, images=self.images.normalisation.apply(photos))
        with guarded(forward.model) as network, before_each_leaf(network, self.check):
            for start in range(0, len(photos), _CHUNK):
                batch = forward.batch(start, start + _CHUNK)
                scores.append(read(run(network, batch), len(batch)))
        return torch.cat(scores)

    def _part_of(self, photos: Tensor) -> PartialForward:
        return self.part.of(self.images.normalisation.apply(photos))

    def _shift(
        self, unit: int, own: Tensor, scores: Tensor, control: Tensor
    ) -> tuple[float, float, float]:
        """How much nearer to the class photos come than with a control, and its interval.

        In units of the way between the mean margins of other photos and of the class.
        """
        margins = margin(self.part.scores, unit)
        way = float(margins[own].mean() - margins[~own].mean())
        moved = (margin(scores, unit) - margin(control, unit)).double()
        if not way > 0 or len(moved) < 2:
            return math.nan, math.nan, math.nan
        middle, half = float(moved.mean()), 1.96 * float(moved.std()) / len(moved) ** 0.5
        return middle / way, (middle - half) / way, (middle + half) / way

    def _trial(
        self, unit: int, own: Tensor, direction: Tensor, *, weights: Tensor | None, place: str,
        flips: Share, restored: Share, shift: tuple[float, float, float], control: Share,
        overlay: Overlay | None = None, opacity: float = math.nan, area: float = math.nan,
        seen: float = math.nan, off: Tensor | None = None, quality: str = "",
    ) -> Trial:  # fmt: skip
        mean = self.basis.mean.to(self.part.features)
        centred = self.part.features - mean[:, None, None]
        maps = torch.einsum("c,nchw->nhw", direction, centred)
        cut = self.part.run(self._without(self.part.features, direction))
        strength = _strength(maps, weights, off).double().cpu().numpy()
        area_under = auc(strength, own.numpy())
        margins = margin(self.part.scores, unit)[own].mean(), margin(cut, unit)[own].mean()
        right = self._right(self.part.scores), self._right(cut)
        cosines = self.basis.components.to(direction) @ direction
        nearest = int(cosines.abs().argmax())
        evidence = Evidence(
            area_under, auc_interval(area_under, int(own.sum()), int((~own).sum())),
            float((margins[0] - margins[1]) / margins[0]) if margins[0] > 0 else math.nan,
            self._on_object(maps[own], own), _at_border(maps[own]), place, opacity, area, flips,
            control, restored, shift[0], shift[1:], *right, seen, self._by_group(strength),
            self._effects(cut), quality,
        )  # fmt: skip
        return Trial(
            direction, self._reader(direction), float(maps.var(correction=0)), unit,
            self.labelled.names[unit], self.layer.name, evidence, overlay,
            (nearest, float(cosines[nearest])),
        )  # fmt: skip

    def _right(self, scores: Tensor) -> Share:
        return share_of((scores.argmax(1).cpu() == self._units).numpy())

    def _effects(self, cut: Tensor) -> dict[str, tuple[Share, Share]]:
        """Return accuracy before and after a cut, by class, and by group where there are some."""
        named = [self.labelled.names[unit] for unit in self._units.tolist()]
        if self.groups is not None:
            named = [f"{name}, {group}" for name, group in zip(named, self.groups, strict=True)]
        names, units = np.array(named), self._units.numpy()
        right = [scores.argmax(1).cpu().numpy() == units for scores in (self.part.scores, cut)]
        return {
            str(name): (share_of(right[0][names == name]), share_of(right[1][names == name]))
            for name in np.unique(names)
        }

    def _on_object(self, maps: Tensor, own: Tensor) -> float:
        if self.masks is None:
            return math.nan
        object_ = _cells(self.masks[own], maps)
        energy = maps.clamp_min(0).square()
        inside = (energy * object_).sum() / energy.sum()
        return float(inside / object_.mean())

    def _by_group(self, strength: np.ndarray) -> dict[str, float]:
        if self.groups is None:
            return {}
        names = np.array(self.groups)
        return {str(name): float(strength[names == name].mean()) for name in np.unique(names)}


def _cells(masks: Tensor, like: Tensor) -> Tensor:
    """Return the share of the object in each position of maps ``(..., h, w)``."""
    height, width = like.shape[-2:]
    return adaptive_avg_pool2d(masks[:, None], (height, width))[:, 0].to(like)


def _strength(maps: Tensor, weights: Tensor | None, off: Tensor | None) -> Tensor:
    """Return how strong a component is in each photo ``(N,)``."""
    if off is not None:
        return (maps * off).flatten(1).sum(1) / off.flatten(1).sum(1)
    if weights is not None:
        return (maps * weights).flatten(1).sum(1)
    return maps.flatten(1).amax(1)


def _at_border(maps: Tensor) -> float:
    energy = maps.clamp_min(0).square()
    ring = torch.ones_like(energy[0])
    ring[1:-1, 1:-1] = 0
    return float((energy * ring).sum() / energy.sum() / ring.mean())


def _flips(scores: Tensor, cut: Tensor, before: Tensor, unit: int) -> tuple[Share, Share]:
    """Count the photos that a class took over, and those that the cut brings back."""
    others = (before != unit).cpu().numpy()
    flipped = (scores.argmax(1) == unit).cpu().numpy() & others
    back = (cut.argmax(1) != unit).cpu().numpy() & flipped
    return share_of(flipped[others]), share_of(back[flipped])
