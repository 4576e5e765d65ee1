"""Find shortcuts, spurious features that a network relies on, and test each causally."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from pfv_widgets.analysis.core.labelled_units import checked_groups, labelled_units
from pfv_widgets.analysis.core.object_masks import checked_masks
from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.analysis.core.scores_from_layer import (
    scores_from_last_used_layer,
    scores_from_layer,
)
from pfv_widgets.analysis.core.suspects import Suspect, SuspectBasis
from pfv_widgets.analysis.shortcuts.causal_test import CausalTest, Trial
from pfv_widgets.analysis.shortcuts.drawn_marks import drawn_in
from pfv_widgets.analysis.shortcuts.mirror_images import without_mirror_images
from pfv_widgets.analysis.shortcuts.patch_search import LIKE, located
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import batch_of
from pfv_widgets.engine.data.preprocessing import unit_range
from pfv_widgets.engine.export.output_paths import write_figure_or_arrays
from pfv_widgets.engine.lazy_import import lazy_import
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.partial_forward import PartialForward
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.batch_basis import fit_batch_basis
from pfv_widgets.engine.pca.features import features_of
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.progress import RUNNING, OnProgress, Progress, silent
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.core.read_out import Output
from pfv_widgets.parameters import listed
from pfv_widgets.validation import function_or_none

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 8  # photos of a class: with fewer, agreement by chance looks like a mark
_COMPONENTS = 8
_SAME = 0.7  # cosine of two directions of one mark
_NEARLY = 0.8  # of a score, which surer pixels make up for
_SAME_TWICE = 0.5  # the same, once at a fixed place and once anywhere
_CLEARLY = 0.05  # of an AUC, by which pixels anywhere are surer than those at a fixed place


@dataclass(frozen=True, eq=False, repr=False)
class ShortcutReport:
    """The suspected shortcuts of a network.

    Attributes
    ----------
    suspects
        Ranked, the most suspicious first; empty where nothing was found.
    dismissed
        Candidates that the causal test did not confirm.
    layer
        Name of the layer.
    basis
        The layer's principal components, of which the one most like a suspect's direction is
        replaced by it; the directions of those dismissed follow. :func:`ablate` cuts components
        of it by their readers.
    images
        The photos.
    warnings
        What was left out or assumed, in words.
    """

    suspects: tuple[Suspect, ...]
    dismissed: tuple[Suspect, ...]
    layer: str
    basis: PrincipalBasis
    images: ImageBatch
    forward: Forward
    shape: Layer
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        if not self.suspects:
            return f"<ShortcutReport: no suspect in {self.layer!r}, {len(self.images)} photos>"
        return f"<ShortcutReport: {len(self.suspects)} suspects, first {self.suspects[0]!r}>"

    def __str__(self) -> str:
        """Return the suspects with their evidence, or that there is none."""
        if not self.suspects:
            lines = [f"No suspect in layer {self.layer}."]
        else:
            lines = []
            for number, one in enumerate(self.suspects, start=1):
                lines += [f"{number}. {one!r}", *(f"   {line}" for line in one.evidence.lines())]
        return "\n".join([*lines, *self.warnings])

    def maps(self, suspect: Suspect, images: Any = None) -> Tensor:
        """Return where a suspect speaks for its class, float32 ``(N, H, W)`` ≥ 0.

        A mark is shown at its place alone, in photos that have it. What changes all pixels, such as
        a tint, a veil or compression, has no place: the map then says where the component answers
        most, and no pixel of the photo is a wrong one.

        Parameters
        ----------
        suspect
            One of the report's.
        images
            Whatever ``load_images`` takes; None: the photos of the report.

        Raises
        ------
        PFVTypeError, PFVValueError
            For a suspect of another layer or none, and as ``load_images``.
        """
        if not isinstance(suspect, Suspect):
            raise PFVTypeError(f"suspect={suspect!r:.80}: expected one of report.suspects.")
        if suspect.layer != self.layer:
            raise PFVValueError(
                f"suspect={suspect!r} is not of layer {self.layer!r}: give one of report.suspects."
            )
        batch = self.images if images is None else batch_of(images)
        forward = replace(self.forward, images=batch.tensor)
        features = forward.capture({self.layer: (self.shape.layout, None)}, {}, 16)[self.layer]
        # features around a mark answer to it as well: its middle is where most of them do
        maps = suspect.map_of(features.float())[:, None]
        maps = avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
        whole = interpolate(maps, size=batch.size, mode="bilinear")[:, 0].cpu()
        return whole if suspect.overlay is None else _at_the_mark(suspect.overlay, batch, whole)

    def figure(self) -> Figure:
        """Draw each suspect with heatmaps of photos and its evidence."""
        figure: Figure = lazy_import("analysis.shortcuts.figure", "draw_shortcuts")(self)
        return figure

    def save(self, path: str | Path) -> None:
        """Write the figure, or all arrays for ``.npz``.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, or a path that cannot be written.
        """
        write_figure_or_arrays(path, self.figure, self.arrays)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what an ``.npz`` file holds."""
        return {
            "layer": np.array(self.layer),
            "mean": self.basis.mean.cpu().numpy(),
            "components": self.basis.components.cpu().numpy(),
            "readers": torch.stack([one.reader for one in self.suspects]).cpu().numpy()
            if self.suspects
            else np.zeros((0, len(self.basis.mean)), np.float32),
            "suspects": np.array([one.component for one in self.suspects]),
            "signs": np.array([one.sign for one in self.suspects]),
            "scores": np.array([one.score for one in self.suspects]),
            "classes": np.array([one.class_name for one in self.suspects]),
            "evidence": np.array(["\n".join(one.evidence.lines()) for one in self.suspects]),
        }


@own_modes()
def find_shortcuts(  # noqa: PLR0917 - the order of the public surface
    model: nn.Module,
    images: Any,
    labels: Iterable[object] | None = None,
    layer: str | None = None,
    masks: Any = None,
    groups: Iterable[object] | None = None,
    *,
    classes: object = None,
    output: Output = None,
    device: str | torch.device = "auto",
    on_progress: OnProgress = silent,
) -> ShortcutReport:
    """Find marks and backgrounds that a network takes for a class, each with a causal test.

    What the photos of a class have in common to the pixel, at a fixed place, anywhere or all over
    the photo, is estimated and put on photos of the other classes. It is a suspect only if that
    moves them at least a twentieth of the way to the class, further than a control does; ``flips``
    says how many are then taken for it. A network may be moved a little by a mark that it was not
    trained with: such a suspect has a low score. What was done to the class's photos as a whole
    (blur, sharpening, noise, compression, few levels, large pixels) is tested in the same way,
    where one of these explains half of how contrasts differ from class to class; which of two
    classes was changed cannot be told for sure. With ``masks`` backgrounds are tested as well. The
    component is the direction in which the mark moves the layer's features. Marks that lie anywhere
    may differ in colour or size from the estimated one: where the photos of the class have other
    features at the mark, and the layer's map is fine enough to tell (64 positions), these are half
    of the direction; not of a bar across the photo, which is whole.

    A faint mark of one colour at the same place of each photo, such as a watermark or stripes all
    over it, is seen in the mean of the photos' fine parts. Where a class has no other mark, one of
    fine parts that are drawn anew in each photo, such as scratches or flakes, is looked for by the
    colour that these have in all photos. Marks that differ more (in size, in colour, by rotation)
    and faint marks that lie anywhere may be missed, or only cut in part; a bar across the photo at
    another height each time is found, but sometimes cut in part. Without ``masks`` backgrounds are
    not looked for: what lies near a photo's border moves clean networks as far towards a class as
    those that rely on backgrounds. A report without suspects does not rule them out.

    Parameters
    ----------
    model
        Any eager ``nn.Module``; it is given back as it came.
    images
        An ``ImageBatch``, or whatever ``load_images`` takes.
    labels
        Class of each photo, by name or unit; None: those of the images.
    layer
        Where components are cut; None: the last feature map that the scores depend on.
    masks
        Where the object is, ``(N, H, W)``, of the images' size; above 0.5: object.
    groups
        A group for each photo, such as the kind of background, for the evidence.
    classes
        Names of the output's units.
    output
        Which of several outputs.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"`` or a ``torch.device``.
    on_progress
        Called before each module that runs; it may raise ``Cancelled`` to stop the work.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what to do.
    """
    batch = batch_of(images)
    texts = batch.labels if labels is None else labels
    if texts is None:
        raise PFVValueError(
            "labels=None, and the images have none: what predicts a label cannot be found without "
            "labels. Give one for each image."
        )
    pfv = PFV(model, batch, device)
    forward, shape = pfv.store.forward, pfv.layer(layer)
    listener = function_or_none("on_progress", on_progress, "a function of a Progress")
    progress = _SearchProgress(listener or silent, len(batch))
    if layer is None:
        shape, part = scores_from_last_used_layer(
            forward, shape, pfv.layers, output, check=progress
        )
    else:
        part = scores_from_layer(forward, shape, output, check=progress)
    _check_numbers(part, batch)
    labelled = labelled_units(texts, classes, len(batch), part.scores.shape[1])
    labelled = labelled.checked_by(part.scores)
    assert labelled.units is not None  # there are labels
    units, warnings = _testable(labelled.units, labelled.names)
    progress.steps = 2 * len(units)
    number = min(_COMPONENTS, shape.shape[0], len(batch) * shape.shape[1] * shape.shape[2] - 1)
    weights = (1.0,) * len(batch)
    basis = fit_batch_basis(features_of(part.features), None, weights, number, layer=shape.name)
    test = CausalTest(
        batch, forward, shape, part, basis, labelled, checked_masks(masks, batch),
        checked_groups(groups, len(batch)), output, progress,
    )  # fmt: skip
    trials: list[Trial] = []
    for candidates in (test.marks, test.surroundings):
        for unit in units:
            trials += candidates(unit)
            progress.done += 1
    notes = (labelled.note, *warnings, test.untested)
    return _report(test, trials, batch, tuple(one for one in notes if one))


def _at_the_mark(overlay: Overlay, batch: ImageBatch, maps: Tensor) -> Tensor:
    """Return maps ``(N, H, W)`` at the place of a mark alone, where a photo has it."""
    if overlay.place == "everywhere":
        return maps
    if overlay.place == "fixed":
        alpha = interpolate(overlay.alpha[None, None], size=batch.size, mode="bilinear")[0]
    elif overlay.drawings is not None:
        alpha = drawn_in(unit_range(batch.pixels), overlay.colour[:, 0, 0])
        alpha[alpha.flatten(1).sum(1) == 0] = 1
    else:
        alpha, matches = located(overlay, unit_range(batch.pixels), maps)
        alpha[matches < LIKE] = 1
    near = avg_pool2d(alpha[:, None], 5, 1, 2, count_include_pad=False)[:, 0]
    return maps * (alpha + near) / 2  # highest on the mark itself, be it a thin line


class _SearchProgress:
    """Says how far the search is, before each module that runs."""

    def __init__(self, report: OnProgress, photos: int) -> None:
        self._report, self._first = report, Progress(RUNNING, 0, photos, "photos")
        self.done, self.steps = 0, 0

    def __call__(self) -> None:
        step = Progress("Searching for shortcuts", self.done, self.steps, "steps")
        self._report(step if self.steps else self._first)


def _report(
    test: CausalTest, trials: list[Trial], batch: ImageBatch, warnings: tuple[str, ...]
) -> ShortcutReport:
    trials = without_mirror_images(trials, test.classes)
    confirmed = ranked(distinct_trials(ranked(one for one in trials if one.confirmed)))
    others = ranked(one for one in trials if not one.confirmed)
    basis, rows = _with_directions(test.basis, confirmed, others)
    suspects = tuple(
        trial.suspect(basis, *row_and_sign)
        for trial, row_and_sign in zip((*confirmed, *others), rows, strict=True)
    )
    return ShortcutReport(
        suspects[: len(confirmed)], suspects[len(confirmed) :], test.layer.name, basis, batch,
        test.forward, test.layer, warnings,
    )  # fmt: skip


def _with_directions(
    own: PrincipalBasis, confirmed: list[Trial], others: list[Trial]
) -> tuple[SuspectBasis, list[tuple[int, int]]]:
    """Put the direction of each suspect in place of the principal component most like it.

    Those of the others follow at the end. Returns the basis, and the row and sign of each.
    """
    rows, variances = list(own.components), own.variances.tolist()
    readers = list(own.components)
    free, rows_and_signs = set(range(len(rows))), []
    for number, one in enumerate([*confirmed, *others]):
        direction, row, sign = one.direction.to(own.components), len(rows), 1
        if number < len(confirmed) and free:
            cosines = own.components @ direction
            row = max(free, key=lambda index: abs(float(cosines[index])))
            sign = -1 if float(cosines[row]) < 0 else 1
        rows[row : row + 1], variances[row : row + 1] = [sign * direction], [one.variance]
        readers[row : row + 1] = [sign * one.reader.to(direction)]
        free -= {row}
        rows_and_signs.append((row, sign))
    components = torch.stack(rows)
    changed = replace(own, components=components, variances=components.new_tensor(variances))
    several = {one.name: getattr(changed, one.name) for one in fields(changed)}
    return SuspectBasis(**several, readers=torch.stack(readers)), rows_and_signs


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Sort by score; marks that photos share to the pixel before colours and surroundings.

    A shading is such a mark where it scores more than any of these.
    """
    several = tuple(trials)
    most = max((one.score for one in several if not _of_pixels(one)), default=0.0)

    def key(one: Trial) -> tuple[bool, float]:
        shades = one.overlay is not None and one.overlay.shades
        return not _of_pixels(one) or (shades and one.score <= most), -one.score

    return sorted(several, key=key)


def _of_pixels(trial: Trial) -> bool:
    return trial.evidence.place in ("fixed", "anywhere")


def distinct_trials(trials: list[Trial]) -> list[Trial]:
    """Leave one trial of each mark, of trials in the order of their scores.

    That by which the pixels alone tell the class better, if it scores about as high; of one at a
    fixed place and one anywhere that at the fixed place, if it tells the class about as well.
    """
    distinct: list[Trial] = []
    for one in trials:
        same = [index for index, other in enumerate(distinct) if _same(one, other)]
        if not same:
            distinct.append(one)
        elif _surer(one, distinct[same[0]]):
            distinct[same[0]] = one
    return distinct


def _surer(one: Trial, other: Trial) -> bool:
    lead = _CLEARLY * ((one.evidence.place == "fixed") - (other.evidence.place == "fixed"))
    surer = _of_pixels(one) and one.evidence.seen + lead > other.evidence.seen
    return surer and one.score >= _NEARLY * other.score


def _same(one: Trial, other: Trial) -> bool:
    """Whether two trials are of one mark; what lies somewhere may be at a fixed place as well."""
    places = {one.evidence.place, other.evidence.place}
    twice = one.unit == other.unit and places == {"fixed", "anywhere"}
    return abs(float(one.direction @ other.direction)) >= (_SAME_TWICE if twice else _SAME)


def _check_numbers(part: PartialForward, batch: ImageBatch) -> None:
    """Refuse features and scores that are not numbers: nothing could be said of them."""
    defined = torch.isfinite(part.scores).all(1) & torch.isfinite(part.features.flatten(1)).all(1)
    broken = (~defined).nonzero()[:, 0].tolist()
    if len(broken) == len(batch):
        raise PFVValueError(
            "model: its scores or the layer's features are NaN or infinite for every photo. Check "
            "its weights, or run it in float32."
        )
    if broken:
        names = listed([batch.names[index] for index in broken], most=4)
        raise PFVValueError(
            "images: the network's scores or the layer's features are NaN or infinite for "
            f"{names}. Leave these photos out, or run the network in float32."
        )


def _testable(units: Tensor, names: tuple[str, ...]) -> tuple[list[int], list[str]]:
    """Return the classes with enough photos, and say which have too few."""
    counts = torch.bincount(units, minlength=len(names)).tolist()
    present = [unit for unit, count in enumerate(counts) if count]
    if len(present) < 2:
        raise PFVValueError(
            f"labels: all photos are of the class {names[present[0]]!r}. Give photos of at least "
            "two classes, since a shortcut tells one from another."
        )
    few = [f"{names[unit]} ({counts[unit]})" for unit in present if counts[unit] < FEWEST]
    enough = [unit for unit in present if counts[unit] >= FEWEST]
    if not few:
        return enough, []
    return enough, [
        (
            f"Too few photos to tell, below {FEWEST} of a class: {', '.join(few)}. Nothing is said "
            "of these classes."
        )
    ]
