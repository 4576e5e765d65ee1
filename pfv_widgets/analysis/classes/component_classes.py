"""Components named by classes: whose score each raises and lowers, and by how much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.analysis.classes.class_basis import ClassBasis, class_basis
from pfv_widgets.analysis.classes.score_decomposition import (
    STEPS,
    Shares,
    integral_warnings,
    largest_of,
    split_scores,
)
from pfv_widgets.analysis.core.labelled_units import LabelledUnits, labelled_units, unknown_labels
from pfv_widgets.analysis.core.scores_from_layer import (
    scores_from_last_used_layer,
    scores_from_layer,
)
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.lazy_import import lazy_import
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.partial_forward import PartialForward
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import OnProgress, Progress, silent
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.core.class_names import names_of
from pfv_widgets.methods.core.read_out import Output
from pfv_widgets.validation import function_or_none, text_or_none, whole_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COMPONENTS = 5
_NAMING = "Naming components by classes"
_SIGN = "1 or -1"
_CROP = 0.35  # of the photo's sides: what a piece of evidence shows


@dataclass(frozen=True)
class Evidence:
    """Where a component is strongest in one photo."""

    image: int  # index of the photo
    position: tuple[int, int]  # row and column in the feature map
    score: float  # the component's score there
    box: tuple[int, int, int, int]  # top, bottom, left, right of the crop around it, in pixels


@dataclass(frozen=True, eq=False, repr=False)
class ComponentClasses:
    """The class scores of photos, split by the components of a layer.

    ``scores − baseline = Σ shares + rest`` holds for every photo and class.

    Attributes
    ----------
    layer
        Whose components they are.
    basis
        The components.
    classes
        Name of each of the K units.
    scores
        Scores of the network, ``(N, K)``.
    image_baseline
        Scores with the mean feature at every position, ``(N, K)``.
    image_shares
        ``(N, k, K)``: what each component adds to each score.
    image_rest
        ``(N, K)``: what all other directions add.
    image_error
        ``(N, K)``: the part of ``image_rest`` that is error of the integral (of completeness).
    exact
        Whether pooling and a linear read-out follow the layer, so that there is no such error.
    maps
        Scores of the components, ``(N, k, h, w)``.
    part
        The network behind the layer; None in a copy, or once it was pickled.
    expected
        int64 ``(N,)``: unit of each photo's label, or None without labels.
    names
        Of the photos.
    pixels
        uint8 ``(N, H, W, 3)``, or None.
    warnings
        What was assumed, in words.
    """

    layer: str
    basis: PrincipalBasis
    classes: tuple[str, ...]
    scores: Tensor
    image_baseline: Tensor
    image_shares: Tensor
    image_rest: Tensor
    image_error: Tensor
    exact: bool
    maps: Tensor
    part: PartialForward | None = field(repr=False)
    expected: Tensor | None = None
    names: tuple[str, ...] = ()
    pixels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"part": None}  # it holds outputs without numbers

    def __repr__(self) -> str:
        how = "exact" if self.exact else f"integrated, error up to {self.completeness_error:.2g}"
        return (
            f"<ComponentClasses: {self.image_shares.shape[1]} components of {self.layer!r}, "
            f"{len(self.classes)} classes, {len(self)} photos, {how}>"
        )

    @property
    def shares(self) -> Tensor:
        """Mean over the photos of what each component adds to each score, ``(k, K)``."""
        return self.image_shares.mean(0)

    @property
    def rest(self) -> Tensor:
        """Mean over the photos of what all other directions add, ``(K,)``."""
        return self.image_rest.mean(0)

    @property
    def residual(self) -> Tensor:
        """The same as :attr:`rest`."""
        return self.rest

    @property
    def baseline(self) -> Tensor:
        """Mean over the photos of the scores at the mean feature, ``(K,)``."""
        return self.image_baseline.mean(0)

    @property
    def completeness_error(self) -> float:
        """Largest error of the integral in units of the score; 0 where :attr:`exact`.

        Photos whose scores are NaN or infinite have none.
        """
        return largest_of(self.image_error)

    @property
    def predicted(self) -> Tensor:
        """Unit with the highest score of each photo, int64 ``(N,)``."""
        return self.scores.argmax(1)

    def spread(self, component: int) -> Tensor:
        """Return the deviation over the photos of a component's share in each score, ``(K,)``."""
        return self.image_shares[:, self._checked(component)].std(0, correction=0)

    def ranked(self, component: int) -> tuple[int, ...]:
        """Return the units by how much the component's positive side raises their score.

        By the slope of the component's share over its mean score of each photo: the first are
        raised most, the last lowered most.
        """
        return tuple(self.slopes[self._checked(component)].argsort(descending=True).tolist())

    @property
    def slopes(self) -> Tensor:
        """Score of each class for one more unit of a component's mean score, ``(k, K)``.

        Least squares over the photos whose scores are numbers; NaN where the component is the
        same in all of them.
        """
        means, shares = self._defined()
        centred = means - means.mean(0)
        slopes = torch.einsum("nk,nkc->kc", centred, shares - shares.mean(0))
        return slopes / centred.square().sum(0)[:, None]

    @property
    def effects(self) -> Tensor:
        """What one standard deviation of a component's mean score adds to each score, ``(k, K)``.

        See :attr:`slopes`.
        """
        return self.slopes * self._defined()[0].std(0, correction=0)[:, None]

    def difference(self, image: int, first: int | None = None, second: int | None = None) -> Tensor:
        """Split by component, one class's score in a photo minus another's: ``(k + 2,)``.

        The last two entries are what other directions add, and the difference at the mean feature:
        all entries add up to the difference of the scores.

        Parameters
        ----------
        image
            Index of the photo.
        first, second
            Units; None: the predicted one, and the one of its label.

        Raises
        ------
        PFVValueError
            Without labels, where ``second`` is not given.
        """
        image = whole_number("image", image, 0, len(self) - 1)
        if second is None and self.expected is None:
            raise PFVValueError("second=None: the photos have no labels. Give second=<a unit>.")
        one = int(self.predicted[image]) if first is None else self._unit("first", first)
        other = int(self._labels()[image]) if second is None else self._unit("second", second)
        parts = [self.image_shares[image], self.image_rest[image, None]]
        columns = torch.cat([*parts, self.image_baseline[image, None]])
        return columns[:, one] - columns[:, other]

    @property
    def behind_layer(self) -> PartialForward:
        """The network behind the layer.

        Raises
        ------
        PFVValueError
            Where this is a copy, which has none.
        """
        if self.part is None:
            raise PFVValueError(
                "this copy of a ComponentClasses has no network. Use the result that it was made "
                "of, or call component_classes again."
            )
        return self.part

    def evidence(self, component: int, sign: int = 1, number: int = 5) -> tuple[Evidence, ...]:
        """Return where the component is strongest on one side, 1 or −1, one position a photo.

        Only positions on that side of the mean count, so that there may be fewer than ``number``.
        """
        sign = whole_number("sign", sign, -1, 1, _SIGN)
        if not sign:
            raise PFVValueError(f"sign={sign}: expected {_SIGN}.")
        maps = sign * self.maps[:, self._checked(component)]
        strongest, at = maps.flatten(1).max(1)
        order = strongest.argsort(descending=True).tolist()[: whole_number("number", number, 1)]
        width = maps.shape[2]
        return tuple(
            Evidence(
                image,
                (row, column),
                sign * float(strongest[image]),
                self._box(row, column),
            )
            for image in order
            if strongest[image] > 0
            for row, column in [divmod(int(at[image]), width)]
        )

    def class_components(self, unit: int, components: int = 3) -> ClassBasis:
        """Return a class's own components: PCA of features times the class's weights.

        Raises
        ------
        PFVValueError
            Where no pooling and linear read-out follow the layer, or this is a copy.
        """
        return class_basis(self.behind_layer, self._unit("unit", unit), components)

    def figure(self) -> Figure:
        """Draw each component with its evidence and the classes that it raises and lowers."""
        figure: Figure = lazy_import("analysis.classes.figure", "draw_classes")(self)
        return figure

    def _defined(self) -> tuple[Tensor, Tensor]:
        """Return mean scores ``(n, k)`` and shares ``(n, k, K)`` of photos with numbers alone."""
        means = self.maps.flatten(2).mean(2).to(self.image_shares)
        defined = torch.isfinite(self.image_shares).flatten(1).all(1)
        return means[defined], self.image_shares[defined]

    def _labels(self) -> Tensor:
        assert self.expected is not None
        return self.expected

    def _checked(self, component: int) -> int:
        return whole_number("component", component, 0, self.image_shares.shape[1] - 1)

    def _unit(self, name: str, unit: int) -> int:
        return whole_number(name, unit, 0, len(self.classes) - 1)

    def _box(self, row: int, column: int) -> tuple[int, int, int, int]:
        sides = (1, 1) if self.pixels is None else self.pixels.shape[1:3]
        ends = []
        for cell, cells, side in zip((row, column), self.maps.shape[2:], sides, strict=True):
            length = max(1, round(_CROP * side))
            start = min(max(round((cell + 0.5) / cells * side - length / 2), 0), side - length)
            ends += [start, start + length]
        return ends[0], ends[1], ends[2], ends[3]


@own_modes()
def component_classes(
    pfv_or_frame: PFV | Frame,
    classes: object = None,
    labels: Iterable[object] | None = None,
    *,
    layer: str | None = None,
    components: int | None = None,
    output: Output = None,
    steps: int = STEPS,
    on_progress: OnProgress = silent,
) -> ComponentClasses:
    """Name the components of a layer by the classes whose score they raise and lower.

    The split is exact where pooling and a linear read-out follow the layer; else by integrated
    gradients (Sundararajan et al. 2017) along the components' coordinates, from the mean feature.

    Parameters
    ----------
    pfv_or_frame
        A frame, whose layer, basis and images are used, or a PFV.
    classes
        Names of the output's units: a list, a mapping, or ``"imagenet"``; None: those that the
        network has as its ``classes``, if any.
    labels
        The class of each photo, by name or by unit; None: those of the images, where they have
        some and they are the network's classes.
    layer, components
        For a PFV: which layer (None: its default, or else the last that the scores depend on), and
        how many components (None: 5, or as many as there are). A frame has its own.
    output
        Which of several outputs, by name or position.
    steps
        Points of the integral, from 1. Where it is off by more than 5 %, the result's
        ``warnings`` say so.
    on_progress
        Called before each module that runs; it may raise ``Cancelled`` to stop the work.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what to do; for scores that do not depend on the layer,
        an output without classes, labels that are none of the classes, and a frame of a network
        that has changed since.
    """
    steps, done = whole_number("steps", steps, 1), 0
    components = None if components is None else whole_number("components", components, 1)
    report = function_or_none("on_progress", on_progress, "a function of a Progress") or silent

    def progress() -> None:
        report(Progress(_NAMING, done, steps, "steps"))

    def count() -> None:
        nonlocal done
        done += 1

    if isinstance(pfv_or_frame, PFV) and layer is None:
        own, pfv = pfv_or_frame.layer(None), pfv_or_frame
        last, part = scores_from_last_used_layer(
            pfv.store.forward, own, pfv.layers, output, check=progress
        )
        frame = _rendered(pfv, last.name, components)
    else:
        frame, forward = _frame_of(pfv_or_frame, layer, components)
        listed = forward.list_layers()[frame.layer]
        part = scores_from_layer(forward, listed, output, check=progress)
    assert frame.forward is not None  # a PFV rendered it
    names = names_of(frame.forward.original or frame.forward.model, classes)
    labelled = _labelled(frame, names, labels, part.scores.shape[1])
    split = split_scores(part, frame.basis, steps, count)
    return _result(frame, part, labelled, split, steps)


def _frame_of(
    pfv_or_frame: object, layer: str | None, components: int | None
) -> tuple[Frame, Forward]:
    if isinstance(pfv_or_frame, PFV):
        frame = _rendered(pfv_or_frame, layer, components)
    elif isinstance(pfv_or_frame, Frame):
        frame = pfv_or_frame
        _check_own("layer", text_or_none("layer", layer), frame.layer)
        _check_own("components", components, len(frame.basis.components))
        _check_unchanged(frame)
    else:
        raise PFVTypeError(
            f"pfv_or_frame={pfv_or_frame!r:.80}: expected a PFV or a Frame, such as "
            "pw.PFV(model, images) or its render()."
        )
    if frame.forward is None:
        raise PFVValueError(
            "pfv_or_frame: this frame was made from activations alone, without a network. Give "
            "one that a PFV rendered."
        )
    images = frame.forward.images[list(frame.indices)]
    return frame, replace(frame.forward, images=images)


def _check_own(name: str, value: object, own: object) -> None:
    if value is not None and value != own:
        raise PFVValueError(
            f"{name}={value!r:.60}: the frame has {name}={own!r}. Leave it out, or give the PFV."
        )


def _check_unchanged(frame: Frame) -> None:
    if frame.forward is not None and frame.forward.is_outdated:
        raise PFVValueError(
            "pfv_or_frame: the network has changed since this frame was rendered, so its "
            "components and the class scores do not belong together. Render it again."
        )


def _rendered(pfv: PFV, layer: str | None, components: int | None) -> Frame:
    settings = Settings(layer=layer, components=_number(pfv, layer, components))
    return pfv.render_with(pfv.colours, settings, size=(2, 2))[0]


def _number(pfv: PFV, layer: str | None, components: int | None) -> int:
    if components is not None:
        return components
    channels, height, width = pfv.layer(layer).shape
    return min(_COMPONENTS, channels, len(pfv.images) * height * width - 1)


def _labelled(
    frame: Frame, classes: object, labels: Iterable[object] | None, units: int
) -> LabelledUnits:
    if labels is not None or frame.labels is None:
        return labelled_units(labels, classes, len(frame), units)
    try:
        return labelled_units(frame.labels, classes, len(frame), units)
    except PFVValueError:  # names of folders, which nobody called classes
        without = labelled_units(None, classes, len(frame), units)
        return replace(without, note=unknown_labels(frame.labels, classes, units))


def _result(
    frame: Frame, part: PartialForward, labelled: LabelledUnits, split: Shares, steps: int
) -> ComponentClasses:
    undefined = len(part) - int(torch.isfinite(part.scores).all(1).sum())
    note = labelled.checked_by(part.scores).note
    warnings = [note] if note else []
    if undefined:
        warnings.append(f"The scores of {undefined} of {len(part)} photos are NaN or infinite.")
    warnings += integral_warnings(split, part, steps)
    return ComponentClasses(
        frame.layer, frame.basis, labelled.names, part.scores, split.baseline, split.shares,
        split.rest, split.error, split.exact, frame.scores, part, labelled.units, frame.names,
        frame.pixels, tuple(warnings),
    )  # fmt: skip
