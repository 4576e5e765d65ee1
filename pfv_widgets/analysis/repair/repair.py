"""Repair a network that relies on a shortcut, and say what that gains and costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pfv_widgets.analysis.ablation.ablate import Ablated, ablate
from pfv_widgets.analysis.core.intervals import Share, share_of
from pfv_widgets.analysis.core.object_masks import checked_masks
from pfv_widgets.analysis.core.scores_from_layer import class_scores
from pfv_widgets.analysis.core.suspects import Suspect, checked_suspects
from pfv_widgets.analysis.repair.photos_by_group import PhotosByGroup
from pfv_widgets.analysis.repair.read_out_refit import (
    UNKNOWN,
    check_read_out,
    held_out_predictions,
    linear_read_out,
    refitted_weights,
    with_read_out,
)
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.load_images import batch_of
from pfv_widgets.engine.lazy_import import lazy_import
from pfv_widgets.engine.network.devices import on_device
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import unwrap
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.core.read_out import Output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("auto", "cut", "clamp", "refit")
_SEEN_BEFORE = (
    "Before the refit the network does better on these photos, in the worst group. If it was "
    "trained on them, they cannot tell what the refit gains: compare both on other photos."
)
_NO_ERROR_BEFORE = (
    "The network names all these photos right. If it was trained on them, they cannot tell what "
    "the {way} gains and costs: compare both on other photos."
)
_LOSS = (
    "The {way} costs more than chance explains: {groups}. Without what it takes away the network "
    "no longer knows these photos. Give fewer suspects, or fit the read-out with method='refit'."
)
_CHECKED = 8  # photos that a refitted network is checked with
_MOST_LOSSES = 3  # groups that are named
_UNKNOWN = (
    "What comes after the refit is unknown for {number} of {all}: no other photos of their class "
    "are left to fit a read-out to."
)

_ESTIMATED = (
    "Photos with a mark are these photos with an estimate of it put on. With the real mark, on "
    "other photos, both networks may do worse."
)
_WEAK = (
    "The estimated mark misleads the network on few photos ({groups}). The real one may on more, "
    "above all where it differs from photo to photo (in size, colour or rotation): then what the "
    "{way} gains is not known. Compare both on photos with the real mark."
)

ByGroup = Mapping[str, Share]


@dataclass(frozen=True, eq=False, repr=False)
class Repair:
    """A repaired network, with what it gains and costs.

    Attributes
    ----------
    model
        The repaired network; what was given is unchanged.
    method
        ``"cut"``, ``"clamp"`` or ``"refit"``.
    before, after
        Group → accuracy with its 95 % interval, the worst group before the repair first. Those of
        a refit are on photos that the read-out was not fitted to (cross-validation). Groups with
        the mark of a class are photos of other classes that its estimate was put on: what is gained
        with the real mark, on other photos, may be far less.
    total_before, total_after
        The same for all photos as they are: what the repair costs.
    warnings
        Where there is too little data to tell, in words.
    """

    model: nn.Module
    method: str
    before: ByGroup
    after: ByGroup
    total_before: Share
    total_after: Share
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        worst = next(iter(self.before))
        pairs = (self.before[worst], self.after[worst]), (self.total_before, self.total_after)
        group, every = (_change(*pair) for pair in pairs)
        return f"<Repair by {self.method}: worst group {worst!r} {group}, all {every}>"

    def __str__(self) -> str:
        """Return a line for each group, the worst first."""
        lines = [f"{name}: {self.before[name]} → {self.after[name]}" for name in self.before]
        lines.append(f"all photos: {self.total_before} → {self.total_after}")
        return "\n".join([*lines, *self.warnings])

    def figure(self) -> Figure:
        """Draw the accuracy by group before and after, the worst group first."""
        figure: Figure = lazy_import("analysis.repair.figure", "draw_repair")(self)
        return figure

    @property
    def state(self) -> dict[str, Tensor]:
        """State dict of the repaired network."""
        return dict(self.model.state_dict())

    @property
    def worst_before(self) -> float:
        """Accuracy of the worst group before the repair."""
        return _lowest(self.before)

    @property
    def worst_after(self) -> float:
        """Accuracy of the worst group after it; another group may be the worst then."""
        return _lowest(self.after)


def _change(*accuracies: Share) -> str:
    return " → ".join(f"{one.value:.2f}" if one.count else "undefined" for one in accuracies)


def _lowest(groups: ByGroup) -> float:
    """Return the lowest accuracy of the groups that have photos; NaN where none has."""
    return min((one.value for one in groups.values() if one.count), default=math.nan)


@own_modes()
def repair(
    model: nn.Module,
    images: Any,
    labels: Iterable[object] | None = None,
    groups: Iterable[object] | None = None,
    suspects: Any = None,
    *,
    masks: Any = None,
    method: str = "auto",
    classes: object = None,
    output: Output = None,
    device: str | torch.device = "auto",
) -> Repair:
    """Repair a network, and compare it with what it was by group.

    Parameters
    ----------
    model
        Any eager ``nn.Module``; it is copied.
    images
        An ``ImageBatch``, or whatever ``load_images`` takes.
    labels
        Class of each photo, by name or unit; None: those of the images.
    groups
        A group for each photo, such as its background. Accuracy is counted by class and group.
        What a refit gains depends on the smallest. Of what balanced training gains for the worst
        group, on sets of animals on backgrounds, SqueezeNet and EfficientNet-Lite0: .85 (7 sets)
        and .88 (8) where the rule was not chosen, of 140 to 220 training photos with 1 to 9 in the
        smallest groups; where it was, .82 (32) and .79 (36), and with 10 photos in each .85 (28)
        and .88 (30). It may lose where the network does well, as balanced training does: of 91 sets
        6 ended up to .13 lower. A group that a class lacks is left out of the subsets.
        None: photos as they are, and photos of other classes with the suspects' marks put on.
    masks
        Where the object is, as for :func:`find_shortcuts`: each photo's object is put on the
        surroundings of a photo of another class and of its own, and a refit is to these as well.
        They are groups by whose surroundings they have, with ``groups`` by the group of that photo.
        On two sets of cut-out pets, 180 photos, accuracy of the worst group went from .35 to .53
        and from .50 to .98, where training on balanced groups gives .57 and .98.
    suspects
        A ``ShortcutReport``, or some of its suspects. The gain is measured with the estimates of
        their marks: with nine real ones on SqueezeNet, accuracy on other photos after a cut was .05
        to .65 lower, most for rotated marks, blur by motion and compression, where a cut gains
        little.
    method
        ``"cut"``: the suspects' directions are projected away, along each what its reader reads
        (an oblique projection, see :class:`Suspect`). ``"clamp"``: only the positive part of
        that is (SpuFix); it moves photos without the mark as well, since features of all photos
        lie on both sides of the mean. ``"refit"``: the last linear layer is fitted anew to
        balanced groups (DFR: the mean over balanced subsets of the photos, of each group as many of
        every class), and to all photos with what the group tells of the class as an offset (logit
        adjustment), where groups are small also with larger margins for these (VS loss); where
        there are no groups, to photos with and without the suspects' marks.
        ``"auto"``: refit where there are groups or masks, else cut.
    classes, output, device
        As for :func:`find_shortcuts`.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what to do.
    """
    cut = checked_suspects(suspects) if suspects is not None else ()
    way = _way(method, groups is not None or masks is not None, cut)
    network = unwrap(model)
    batch = batch_of(images)
    texts = batch.labels if labels is None else labels
    if texts is None:
        raise PFVValueError("labels=None, and the images have none. Give one for each image.")
    forward = Forward.of(network, batch.tensor, device)
    photos = PhotosByGroup.of(
        forward, batch, texts, groups=groups, suspects=cut, classes=classes, output=output,
        masks=checked_masks(masks, batch),
    )  # fmt: skip
    if way == "refit":
        return _refitted(network, photos)
    return _cut(network, photos, cut, "clamp" if way == "clamp" else "project")


def _way(method: str, has_groups: bool, suspects: tuple[Suspect, ...]) -> str:
    if not isinstance(method, str) or method not in METHODS:
        raise PFVValueError(
            f"method={method!r:.60}: choose one of {', '.join(map(repr, METHODS))}."
        )
    way = ("refit" if has_groups else "cut") if method == "auto" else method
    if not suspects and (way != "refit" or not has_groups):
        raise PFVValueError(
            "suspects: there is none, so there is nothing to repair. Give those of "
            "find_shortcuts(...), or groups=... or masks=... to fit the read-out to balanced "
            "groups."
        )
    return way


def _refitted(network: nn.Module, photos: PhotosByGroup) -> Repair:
    read_out = linear_read_out(photos.forward, class_scores(photos.output))
    units, scores = read_out.scores.shape[1], read_out.scores
    defined = torch.isfinite(scores).all(1).numpy() & np.isfinite(read_out.inputs).all(1)
    photos, inputs = photos.checked_by(scores).where(defined), read_out.inputs[defined]
    grouped = photos.units, photos.groups, units
    predicted = held_out_predictions(inputs, *grouped, photos=photos.sources, kinds=photos.kinds)
    weight, bias = refitted_weights(inputs, *grouped, photos.kinds)
    before = photos.right(scores[torch.from_numpy(defined)])
    model = with_read_out(network, read_out.name, weight, bias)
    first = scores[torch.from_numpy(defined)][:_CHECKED]
    few = replace(read_out, inputs=inputs[:_CHECKED], scores=first)
    on_same = on_device(model, photos.forward.device)
    check_read_out(photos.forward, on_same, class_scores(photos.output), few, (weight, bias))
    result = _compared(
        photos, model, "refit", before, np.asarray(predicted == photos.units),
        known=np.asarray(predicted != UNKNOWN),
    )  # fmt: skip
    notes = photos.unbalanced()
    if result.worst_after < result.worst_before:
        notes = (_SEEN_BEFORE, *notes)
    return replace(result, warnings=(*notes, *result.warnings))


def _cut(
    network: nn.Module, photos: PhotosByGroup, suspects: tuple[Suspect, ...], mode: str
) -> Repair:
    model: nn.Module = network
    by_layer: dict[str, list[Suspect]] = {}
    for one in suspects:
        by_layer.setdefault(one.layer, []).append(one)
    for layer, some in by_layer.items():
        shared = all(one.basis is some[0].basis for one in some)
        for part in [some] if shared else [[one] for one in some]:
            model = ablate(model, layer, part[0].basis, suspects=part, mode=mode)
    assert isinstance(model, Ablated)
    scores = photos.scores_of(photos.forward.model)
    defined = torch.isfinite(scores).all(1)
    photos = photos.checked_by(scores).where(defined.numpy())
    before = photos.right(scores[defined])
    after = photos.right(photos.scores_of(on_device(model, photos.forward.device)))
    way = "clamp" if mode == "clamp" else "cut"
    result = _compared(photos, model, way, before, after)
    notes = [_LOSS.format(way=way, groups=lost)] if (lost := _losses(result)) else []
    if before[: photos.originals].all():
        notes.append(_NO_ERROR_BEFORE.format(way=way))
    return replace(result, warnings=(*notes, *result.warnings))


def _losses(result: Repair) -> str:
    """Name the groups with the largest losses whose 95 % intervals do not meet, or none."""
    pairs = {name: (result.before[name], result.after[name]) for name in result.before}
    lost = [name for name, (was, now) in pairs.items() if now.interval[1] < was.interval[0]]
    lost.sort(key=lambda name: pairs[name][1].value - pairs[name][0].value)
    return ", ".join(f"{name} {_change(*pairs[name])}" for name in lost[:_MOST_LOSSES])


def _compared(
    photos: PhotosByGroup, model: nn.Module, method: str, before: np.ndarray, after: np.ndarray,
    *, known: np.ndarray | None = None,
) -> Repair:  # fmt: skip
    """Count both by group; ``known`` says of which photos it is known what comes after."""
    every = np.ones(len(before), bool)
    known = every if known is None else known
    first, second = photos.by_group(before, every), photos.by_group(after, known)
    order = sorted(first, key=lambda name: first[name].value)
    some, notes = slice(photos.originals), photos.warnings()
    if photos.estimated.any():
        notes = (_ESTIMATED, *notes)
        if weak := ", ".join(photos.hardly_misled(before)[:_MOST_LOSSES]):
            notes = (_WEAK.format(groups=weak, way=method), *notes)
    if not known.all():
        notes = (*notes, _UNKNOWN.format(number=int((~known).sum()), all=len(known)))
    return Repair(
        model, method, {name: first[name] for name in order},
        {name: second[name] for name in order},
        share_of(before[some]), share_of(after[some][known[some]]), notes,
    )  # fmt: skip
