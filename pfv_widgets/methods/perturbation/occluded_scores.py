"""Scores of images of which a box is hidden, for many boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pfv_widgets.errors import PFVError
from pfv_widgets.methods.core.method import CancelledError
from pfv_widgets.methods.core.occluders import Fill, PixelBox
from pfv_widgets.methods.core.target import ScoreFunction, UnitScores
from pfv_widgets.methods.perturbation.incremental_inference import Tape
from pfv_widgets.methods.perturbation.incremental_operations import LOCAL_OPERATIONS

_MEMORY = 2**29  # bytes of maps that are stored for the images of one tape
_BOXES = 8  # that are passed part by part at a time
_TOLERANCE = 1e-4  # of the scores' size, between passes of a part and whole ones
_WIDE = (torch.float32, torch.float64)


class Occluded:
    """Measure images with a hidden box.

    On a processor only what lies in the reach of a box is computed (see
    ``incremental_inference.py``), after two boxes have shown that the scores are those of whole
    passes; on an accelerator, which would wait for such small pieces, many boxes go through the
    network together.

    Parameters
    ----------
    measure
        Gives the scores of a batch.
    batch
        The images ``(N, 3, H, W)``.
    own
        Their own scores.
    occluder
        Gives what hides the boxes of some of the images.
    together
        Images in one pass.
    """

    def __init__(
        self,
        measure: ScoreFunction,
        batch: Tensor,
        own: UnitScores,
        occluder: Callable[[Tensor], Fill],
        together: int,
    ) -> None:
        self._measure = measure
        self._batch = batch
        self._units = own.units
        self._size = float(own.scores.detach().nan_to_num().abs().amax())
        self._occluder = occluder
        self._together = together

    def scores(self, boxes: Sequence[PixelBox], report: Callable[[int], None]) -> Tensor:
        """Return the scores ``(N, B)``; ``report`` is called with how many boxes are done."""
        some = self._for_parts(boxes) if self._batch.device.type == "cpu" else 0
        return self._by_parts(boxes, some, report) if some else self._whole(boxes, report)

    def _whole(self, boxes: Sequence[PixelBox], report: Callable[[int], None]) -> Tensor:
        count = len(self._batch)
        at_once = max(1, self._together // count)
        fill = self._occluder(self._batch)
        chunks = []
        for start in range(0, len(boxes), at_once):
            some = boxes[start : start + at_once]
            hidden = torch.cat([_hidden(self._batch, box, fill(box)) for box in some])
            scores = self._measure(hidden, self._units.repeat(len(some))).scores
            chunks.append(scores.detach().view(len(some), count))
            report(start + len(some))
        return torch.cat(chunks).T

    def _by_parts(
        self, boxes: Sequence[PixelBox], together: int, report: Callable[[int], None]
    ) -> Tensor:
        starts = range(0, len(self._batch), together)
        at_once = max(1, min(self._together // together, _BOXES))
        rows = []
        for group, start in enumerate(starts):
            images = slice(start, start + together)
            tape, fill = (
                Tape(self._batch[images], LOCAL_OPERATIONS),
                self._occluder(self._batch[images]),
            )
            row = []
            for first in range(0, len(boxes), at_once):
                some = boxes[first : first + at_once]
                scores = self._part(tape.changed(some, [fill(box) for box in some]), images)
                row.append(scores.view(len(some), -1))
                report((group * len(boxes) + first + len(some)) // len(starts))
            rows.append(torch.cat(row).T)
        return torch.cat(rows)

    def _part(self, changed: Tensor, images: slice) -> Tensor:
        units = self._units[images]
        times = len(changed) // len(units)
        return self._measure(changed, units.repeat(times)).scores.detach()

    def _for_parts(self, boxes: Sequence[PixelBox]) -> int:
        """Return how many images can be passed part by part at a time; 0: it does not work."""
        if self._batch.dtype not in _WIDE:
            return 0
        first = slice(0, 1)
        image = self._batch[first]
        tape, fill = Tape(image, LOCAL_OPERATIONS), self._occluder(image)
        for box in (boxes[0], boxes[len(boxes) // 2]):
            values = fill(box)
            whole = self._part(_hidden(image, box, values), first)
            try:
                part = self._part(tape.changed([box], [values]), first)
            except CancelledError:
                raise
            except (PFVError, NotImplementedError, RuntimeError, TypeError):
                return 0  # a network that reads numbers otherwise than by operations of torch
            if not float((part - whole).abs()) <= _TOLERANCE * self._size:
                return 0
        return min(self._together, _MEMORY // max(tape.size, 1), len(self._batch))


def _hidden(images: Tensor, box: PixelBox, values: Tensor) -> Tensor:
    top, bottom, left, right = box
    hidden = images.clone(memory_format=torch.channels_last)
    hidden[:, :, top:bottom, left:right] = values
    return hidden
