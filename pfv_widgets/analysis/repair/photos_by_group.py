"""The photos that a network is repaired with, as they are and changed, in groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from pfv_widgets.analysis.core.intervals import Share, share_of
from pfv_widgets.analysis.core.labelled_units import LabelledUnits, checked_groups, labelled_units
from pfv_widgets.analysis.core.scores_from_layer import class_scores
from pfv_widgets.analysis.core.suspects import Suspect
from pfv_widgets.analysis.repair.exchanged_surroundings import donors_of, exchanged
from pfv_widgets.analysis.repair.read_out_refit import Whole, shared_kinds
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.preprocessing import unit_range
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import guarded, run
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.core.read_out import Output
from pfv_widgets.parameters import listed

_ENOUGH = 10  # photos of a group: fewer cannot say whether a repair worked
_FEW_MISLED = 0.25  # of those that it names right without the mark
_MOST_NAMES = 8  # of groups in a warning
_SHARED = "balanced subsets are of the groups that all classes have."
_NOT_SHARED = (
    "no group is of all classes, so the refit is to all photos, with larger margins for small "
    "groups. It gains less than balanced subsets do: give photos of the classes that are missing."
)


@dataclass(frozen=True, eq=False)
class PhotosByGroup:
    """Photos to repair with: ``originals`` as they are, then those with something put on.

    Attributes
    ----------
    units, groups
        The class of each, and its group in ``names``, ``(N,)``.
    sources
        Which photo each is made of, ``(N,)``.
    kinds
        What the refit balances, of ``kind_names``; None: nothing.
    estimated
        Which have an estimated mark put on, bool ``(N,)``.
    left_out
        How many have scores that are not numbers.
    """

    forward: Forward
    labelled: LabelledUnits
    units: Whole
    groups: Whole
    names: tuple[str, ...]
    originals: int
    output: Output
    sources: Whole
    kinds: Whole | None
    kind_names: tuple[str, ...]
    estimated: np.ndarray
    left_out: int = 0

    @classmethod
    def of(
        cls, forward: Forward, batch: ImageBatch, labels: Iterable[object], *,
        groups: Iterable[object] | None, suspects: tuple[Suspect, ...], classes: object,
        output: Output, masks: Tensor | None,
    ) -> PhotosByGroup:  # fmt: skip
        """Put marks and surroundings on photos, and group all by class and what they are.

        The arguments are those of :func:`repair`.
        """
        with guarded(forward.model) as network:
            scores = class_scores(output)(run(network, forward.batch(0, 1)), 1)
        labelled = labelled_units(labels, classes, len(batch), scores.shape[1])
        assert labelled.units is not None
        units = labelled.units.numpy()
        if len(set(units.tolist())) < 2:
            raise PFVValueError("labels: all photos are of one class. Give at least two classes.")
        kinds = checked_groups(groups, len(batch))
        own = [labelled.names[unit] for unit in units]
        like = kinds
        if kinds is None and masks is not None:
            like = tuple(f"surroundings of {name}" for name in own)
        named = own if like is None else [f"{one}, {of}" for one, of in zip(own, like, strict=True)]
        tensors, sources = [batch.tensor], np.arange(len(batch))
        additions = _with_marks(batch, units, suspects if kinds is None else ())
        marked = sum(len(indices) for _, indices, _ in additions)
        every = None if additions or like is None else list(like)
        if masks is not None:
            assert like is not None
            additions += _with_surroundings(batch, units, masks, like)
        for photos, indices, texts in additions:
            tensors.append(photos)
            pairs = zip(indices, texts, strict=True)
            named = [*named, *(f"{own[one]}, {text}" for one, text in pairs)]
            sources = np.concatenate([sources, indices])
            every = None if every is None else [*every, *texts]
        units = units[sources]
        distinct = tuple(dict.fromkeys(named))
        numbers = np.array([distinct.index(name) for name in named])
        forward = replace(forward, images=torch.cat(tensors))
        estimated = np.zeros(len(units), bool)
        estimated[len(batch) : len(batch) + marked] = True
        kind_names = tuple(dict.fromkeys(every or ()))
        return cls(
            forward, labelled, units, numbers, distinct, len(batch), output, sources,
            None if every is None else np.array([kind_names.index(kind) for kind in every]),
            kind_names, estimated,
        )  # fmt: skip

    def by_group(self, right: np.ndarray, known: np.ndarray) -> dict[str, Share]:
        """Return the share of right ones of the known photos in each group that has photos."""
        return {
            name: share_of(right[known & (self.groups == number)])
            for number, name in enumerate(self.names)
            if (self.groups == number).any()
        }

    def scores_of(self, model: nn.Module) -> Tensor:
        """Return a network's scores of each photo ``(N, K)``."""
        read, scores = class_scores(self.output), []
        with guarded(model) as network:
            for start in range(0, len(self.units), 16):
                batch = self.forward.batch(start, start + 16)
                scores.append(read(run(network, batch), len(batch)).cpu())
        return torch.cat(scores)

    def right(self, scores: Tensor) -> np.ndarray:
        """Return which photos scores name right, ``(N,)``: none whose scores are no numbers."""
        defined = torch.isfinite(scores).all(1).numpy()
        return np.asarray((scores.argmax(1).numpy() == self.units) & defined)

    def checked_by(self, scores: Tensor) -> PhotosByGroup:
        """Note where the classes seem to be named in another order, by scores of all photos."""
        return replace(self, labelled=self.labelled.checked_by(scores[: self.originals]))

    def where(self, defined: np.ndarray) -> PhotosByGroup:
        """Leave out the photos whose scores are not numbers.

        Raises
        ------
        PFVValueError
            Where that leaves fewer than two classes.
        """
        if defined.all():
            return self
        if len(set(self.units[defined].tolist())) < 2:
            raise PFVValueError(
                "model: its scores are NaN or infinite for all photos but those of one class, so "
                "that nothing can be compared. Check its weights and the photos."
            )
        finite = torch.from_numpy(defined)
        return replace(
            self, forward=replace(self.forward, images=self.forward.images[finite]),
            units=self.units[defined], groups=self.groups[defined], sources=self.sources[defined],
            originals=int(defined[: self.originals].sum()), left_out=int((~defined).sum()),
            kinds=None if self.kinds is None else self.kinds[defined],
            estimated=self.estimated[defined],
        )  # fmt: skip

    def hardly_misled(self, right: np.ndarray) -> list[str]:
        """Name the groups in which an estimated mark misleads the network on few photos.

        ``right``, bool ``(N,)``, says where it is right.
        """
        groups = []
        for number in np.unique(self.groups[self.estimated]):
            some = self.groups == number
            same = self.units[: self.originals] == self.units[some][0]
            without, marked = right[: self.originals][same].mean(), right[some].mean()
            if marked > (1 - _FEW_MISLED) * without:
                groups.append(f"{self.names[number]} {without:.2f} → {marked:.2f}")
        return groups

    def unbalanced(self) -> tuple[str, ...]:
        """Say which groups a refit cannot balance, since some classes have no photos of them."""
        if self.kinds is None:
            return ()
        shared = shared_kinds(self.units, self.kinds)
        lacking = [self.kind_names[one] for one in np.setdiff1d(self.kinds, shared)]
        if not lacking:
            return ()
        rest = _SHARED if len(shared) else _NOT_SHARED
        return (f"Some classes have no photos of {listed(lacking, most=_MOST_NAMES)}: {rest}",)

    def warnings(self) -> tuple[str, ...]:
        """Say what was left out, and which groups are too small to tell."""
        counts = np.bincount(self.groups, minlength=len(self.names))
        few = [
            f"{name} ({count})"
            for name, count in zip(self.names, counts, strict=True)
            if count < _ENOUGH
        ]
        notes = [self.labelled.note]
        if self.left_out:
            notes.append(f"Left out, since their scores are NaN or infinite: {self.left_out}.")
        if few:
            more = f" and {len(few) - _MOST_NAMES} more" if len(few) > _MOST_NAMES else ""
            notes.append(
                f"Too little data to tell in groups of fewer than {_ENOUGH} photos: "
                f"{', '.join(few[:_MOST_NAMES])}{more}. Give more photos of these."
            )
        return tuple(note for note in notes if note)


def _with_marks(
    batch: ImageBatch, units: Whole, suspects: tuple[Suspect, ...]
) -> list[tuple[Tensor, Whole, list[str]]]:
    """Return photos of other classes with each suspect's mark, which photos, and in words."""
    photos = unit_range(batch.pixels)
    marked_photos = []
    for one in suspects:
        if one.overlay is not None:
            indices = np.flatnonzero(units != one.unit)
            marked, _ = one.overlay.put(photos[torch.from_numpy(indices)])
            texts = [f"with the mark of {one.class_name}"] * len(indices)
            marked_photos.append((batch.normalisation.apply(marked), indices, texts))
    return marked_photos


def _with_surroundings(
    batch: ImageBatch, units: Whole, masks: Tensor, kinds: Sequence[str]
) -> list[tuple[Tensor, Whole, list[str]]]:
    """Return objects on the surroundings of other photos, and whose kind these are of."""
    indices, donors = donors_of(masks, units)
    photos = batch.normalisation.apply(exchanged(unit_range(batch.pixels), masks, indices, donors))
    return [(photos, indices, [kinds[one] for one in donors])]
