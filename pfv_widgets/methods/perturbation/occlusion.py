"""Occlusion: how far a score falls when a box hides a part of the image."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.normalisation import Normalisation
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.core.method import Method, Report, Result, measured_evidence
from pfv_widgets.methods.core.occluders import (
    OCCLUDERS,
    Colour,
    OccluderOptions,
    checked_colour,
)
from pfv_widgets.methods.core.target import Target, score_function
from pfv_widgets.methods.perturbation.occluded_scores import Occluded
from pfv_widgets.methods.perturbation.sliding_windows import (
    Pair,
    Test,
    checked_pair,
    checked_tests,
    heat,
    normalised,
    sliding_boxes,
)
from pfv_widgets.parameters import choice, described, slider, toggle, validate


@dataclass(frozen=True)
class Occlusion(Method):
    """The drop of the score under each box that covers a pixel (Zeiler, Fergus 2014; FeatureVis).

    A box of one size slides over the image; the heat of a pixel is the sum of the drops of all
    boxes that cover it. Several tests are each divided by their maximum, then averaged. The last
    box of a row or column is cut off at the border, so that the whole image is covered.

    Attributes
    ----------
    size, stride
        In pixels, a number or ``(rows, columns)``; None: by the four shares.
    tests
        Any number of ``(size, stride)`` instead.
    colour
        Red, green and blue from 0 to 1, as shown, for ``fill="colour"``; with another occluder it
        changes nothing, and a warning says so.
    normalisation
        Of the images: it says what the network takes for a shown colour; None: that of the
        :class:`ImageBatch` that is explained.

    Raises
    ------
    PFVTypeError, PFVValueError
        Naming the option, its value and what is legal; also for a size or stride beside tests.
    """

    width: int = slider(
        25,
        1,
        100,
        1,
        label="Box width, %",
        help="Share of the image's width; small boxes find details.",
    )
    height: int = slider(25, 1, 100, 1, label="Box height, %", help="Share of the image's height.")
    step_x: int = slider(
        50,
        5,
        200,
        5,
        label="Step across, %",
        help="Share of the box's width; small steps take longer.",
    )
    step_y: int = slider(50, 5, 200, 5, label="Step down, %", help="Share of the box's height.")
    fill: str = choice(
        "own mean", OCCLUDERS, label="Occluder",
        help=f"What hides the box. {described(OCCLUDERS)}",
    )  # fmt: skip
    mean: bool = toggle(
        False, label="Average overlapping boxes",
        help="Divide by the number of boxes that cover a pixel. Off: their drops are added, as in "
        "FeatureVis, so where boxes overlap a value can exceed the score.",
    )  # fmt: skip
    seed: int = slider(0, 0, 9999, 1, label="Seed", help="Seed of the random pixels.")
    batch_size: int = slider(
        32,
        1,
        1024,
        1,
        label="Batch size",
        help="Images in one pass; fewer need less memory.",
    )
    size: int | Pair | None = None
    stride: int | Pair | None = None
    tests: Sequence[tuple[int | Pair, int | Pair]] | None = None
    colour: Colour | None = None
    normalisation: Normalisation | None = dataclasses.field(default=None, repr=False)

    label = "Occlusion"
    family = "input modification"
    needs_gradient = False
    zero_reason = "hiding a part of the image does not change the score"
    evidence = measured_evidence("passes", 0.09, 0.82, 0.09)
    usual = True

    def __post_init__(self) -> None:
        validate(self)
        checks: dict[str, Callable[[Any], object]] = {
            "size": lambda value: checked_pair("size", value),
            "stride": lambda value: checked_pair("stride", value),
            "tests": checked_tests,
            "colour": checked_colour,
        }
        for name, check in checks.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check(getattr(self, name)))
        for name in ("size", "stride"):
            if self.tests is not None and getattr(self, name) is not None:
                raise PFVValueError(
                    f"{name}={getattr(self, name)!r} with tests={self.tests!r:.80}: each test has "
                    "a size and a stride of its own. Leave one of the two out."
                )

    def for_images(self, images: ImageBatch) -> Occlusion:
        """Return the method that knows what the network takes for a shown colour."""
        return dataclasses.replace(self, normalisation=self.normalisation or images.normalisation)

    def tests_of(self, image: Pair) -> tuple[Test, ...]:
        """Return the sizes and strides in pixels for images of ``(H, W)``."""
        if self.tests is not None:
            return checked_tests(self.tests)
        shares = (self.height, self.width), (self.step_y, self.step_x)
        size = self.size or _shares(shares[0], image)
        size = checked_pair("size", size)
        return ((size, checked_pair("stride", self.stride or _shares(shares[1], size))),)

    def details(self, size: tuple[int, int]) -> tuple[str, ...]:
        """Return sizes and strides in pixels, and what a value is; see :class:`Method`."""
        tests = self.tests_of(size)
        each = [f"boxes of {_by(box)} every {_by(stride)} pixels" for box, stride in tests]
        colour = f" {self.colour}" if self.fill == "colour" else ""
        most = max(math.prod(-(-a // b) for a, b in zip(*test, strict=True)) for test in tests)
        value = "the drop of the score under the box over the pixel"
        if most > 1:
            kind = "mean" if self.mean else "sum"
            value = f"the {kind} of the score's drops under up to {most} boxes over the pixel"
        value += ", each size divided by its maximum" if len(each) > 1 else ""
        return (*each, f"hidden by {self.fill}{colour}", f"a value is {value}")

    def explain(self, network: nn.Module, batch: Tensor, target: Target, step: Report) -> Result:
        """Return the heat ``(N, H, W)``; see :class:`Method`."""
        image = (batch.shape[2], batch.shape[3])
        tests = self.tests_of(image)
        boxes = [sliding_boxes(size, stride, image) for size, stride in tests]
        every = list(dict.fromkeys(box for some in boxes for box in some))
        step(0, len(every))
        measure = score_function(network, target)
        own = measure(batch)
        options = OccluderOptions(self.colour, self.normalisation, self.seed)
        make = OCCLUDERS[self.fill].make
        occluded = Occluded(measure, batch, own, lambda some: make(some, options), self.batch_size)
        scores = occluded.scores(every, lambda done: step(done, len(every)))
        drops = dict(zip(every, (own.scores[:, None] - scores).T, strict=True))
        heats = [
            heat(torch.stack([drops[box] for box in some], 1), some, image, mean=self.mean)
            for some in boxes
        ]
        if len(heats) > 1:
            heats = [normalised(one) for one in heats]
        return torch.stack(heats).mean(0), own, (*_gaps(tests), *self._unused())

    def _unused(self) -> tuple[str, ...]:
        if self.colour is None or self.fill == "colour":
            return ()
        ignored = f"colour={self.colour!r} changes nothing with fill={self.fill!r}"
        return (f"{ignored}: choose fill='colour', or leave it out.",)


def _shares(percent: Pair, whole: Sequence[int]) -> Pair:
    rows, columns = (
        max(1, round(share * size / 100)) for share, size in zip(percent, whole, strict=True)
    )
    return rows, columns


def _gaps(tests: Sequence[Test]) -> tuple[str, ...]:
    for size, stride in tests:
        if stride[0] > size[0] or stride[1] > size[1]:
            apart = f"The stride {stride} is larger than the box {size} (rows, columns)"
            return (f"{apart}: pixels between the boxes were never hidden and have 0.",)
    return ()


def _by(pair: Pair) -> str:
    return f"{pair[0]} × {pair[1]}"
