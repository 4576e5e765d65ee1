"""What cutting components out of a layer changes: predictions, accuracy, confusion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pfv_widgets.analysis.ablation.ablate import (
    MODES,
    checked_components,
    cut_components,
    matched_readers,
    orthonormal,
)
from pfv_widgets.analysis.classes.component_classes import ComponentClasses
from pfv_widgets.analysis.core.intervals import Interval, share
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.network.partial_forward import PartialForward
from pfv_widgets.errors import PFVValueError

OTHER = "another class"


@dataclass(frozen=True, eq=False)
class CutEffect:
    """Scores of photos as they are and with components cut out.

    Attributes
    ----------
    classes
        Name of each of the K units.
    before, after
        Scores ``(N, K)`` on the CPU.
    expected
        int64 ``(N,)``: unit of each photo's label, or None.
    """

    classes: tuple[str, ...]
    before: Tensor
    after: Tensor
    expected: Tensor | None

    @property
    def defined(self) -> Tensor:
        """Whether a photo's scores are numbers, before and after: bool ``(N,)``."""
        both = torch.isfinite(self.before) & torch.isfinite(self.after)
        return both.all(1)

    @property
    def changed(self) -> tuple[int, ...]:
        """Photos whose highest score is another class's afterwards."""
        moved = (self.before.argmax(1) != self.after.argmax(1)) & self.defined
        return tuple(moved.nonzero()[:, 0].tolist())

    def accuracy(self, photos: Tensor | None = None) -> tuple[Interval, Interval] | None:
        """Share of photos named right before and after; None without labels.

        ``photos``, bool ``(N,)``, are those that count; None: all. Those without numbers never
        count.
        """
        if self.expected is None:
            return None
        counted = self.defined if photos is None else self.defined & photos
        number = int(counted.sum())
        before, after = (
            share(int((scores.argmax(1) == self.expected)[counted].sum()), number)
            for scores in (self.before, self.after)
        )
        return before, after

    def by_class(self) -> list[tuple[str, int, Interval, Interval]]:
        """Return name, number of photos and accuracies of each class that photos have."""
        if self.expected is None:
            return []
        rows = []
        for unit in sorted(set(self.expected.tolist())):
            photos = self.expected == unit
            accuracy = self.accuracy(photos)
            assert accuracy is not None  # there are labels
            number = int((photos & self.defined).sum())
            rows.append((self.classes[unit], number, *accuracy))
        return rows

    def confusion(self) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return names and two matrices, before and after: labels in rows, predictions in columns.

        The last column counts predictions of classes that no photo has.
        """
        if self.expected is None:
            raise PFVValueError("labels=None: the photos have no labels, so nothing is confused.")
        units = sorted(set(self.expected.tolist()))
        column = {unit: index for index, unit in enumerate(units)}
        matrices = np.zeros((2, len(units), len(units) + 1), np.int64)
        defined, expected = self.defined.tolist(), self.expected.tolist()
        for matrix, scores in zip(matrices, (self.before, self.after), strict=True):
            for photo, predicted in enumerate(scores.argmax(1).tolist()):
                if defined[photo]:
                    matrix[column[expected[photo]], column.get(predicted, len(units))] += 1
        return (*(self.classes[unit] for unit in units), OTHER), matrices[0], matrices[1]


@own_modes()
def cut_effect(
    result: ComponentClasses,
    components: Iterable[int] = (),
    mode: str = "project",
    directions: Tensor | None = None,
    readers: Tensor | None = None,
) -> CutEffect:
    """Run what lies behind the layer without some components of it.

    Where pooling and a linear read-out follow (``result.exact``), scores without components, or of
    these alone, are told from their shares: nothing runs.

    Parameters
    ----------
    result
        Of :func:`component_classes`: its layer, components and photos.
    components
        Indices of components, each once; none: nothing is cut.
    mode
        As for :func:`ablate`.
    directions
        Unit vectors ``(m, C)`` that are cut as well, such as those of suspects; None: no other.
    readers
        Those of the suspects ``(m, C)``; None: the directions themselves.
    """
    chosen = tuple(components)
    if mode not in MODES:
        raise PFVValueError(f"mode={mode!r:.60}: choose one of {', '.join(map(repr, MODES))}.")
    before, after = result.scores, result.scores
    if chosen:
        chosen = checked_components(chosen, result.basis)
    if chosen or directions is not None:
        basis = result.basis
        own = rows = basis.components[list(chosen)]
        if directions is not None:
            rows = orthonormal(torch.cat([own, directions.to(own)]))
        if readers is not None:
            readers = matched_readers(rows, torch.cat([own, readers.to(own)]))
        if mode == "project" and len(rows) == len(basis.mean):
            raise PFVValueError(
                f"components={chosen!r:.60}: without all {len(rows)} of them every photo has the "
                "same features, and nothing is left to classify them by. Leave at least one."
            )
        if result.exact and directions is None and mode != "clamp":
            shares = result.image_shares[:, list(chosen)].sum(1)
            after = result.scores - shares if mode == "project" else result.image_baseline + shares
        else:
            after = _run_without(result.behind_layer, basis.mean, rows, mode, readers)
    expected = None if result.expected is None else result.expected.cpu()
    return CutEffect(result.classes, before.detach().cpu(), after.detach().cpu(), expected)


def _run_without(
    part: PartialForward, mean: Tensor, rows: Tensor, mode: str, readers: Tensor | None
) -> Tensor:
    with torch.no_grad():
        return part.run(cut_components(part.features, mean, rows, mode, readers), overwrite=True)
