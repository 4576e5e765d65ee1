"""What an attribution is, and its split by the components of PFV; :func:`attribute` makes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pfv_widgets.engine.colouring.colour_maps import legend
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.export.output_paths import write_figure_or_arrays
from pfv_widgets.engine.lazy_import import lazy_import
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.core.target import Target
from pfv_widgets.validation import whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDES = ("+", "−")


@dataclass(frozen=True, eq=False, repr=False)
class Attribution:
    """Where in each image the evidence for its score lies.

    Attributes
    ----------
    maps
        float32 ``(N, H, W)``, the colour channels brought together: never negative, or with a
        sign, as the method says.
    signed
        float32 ``(N, 3, H, W)`` or ``(N, H, W)``: the method's own values.
    scores
        ``(N,)``: what was explained.
    units
        int64 ``(N,)``: the unit that was taken for each image.
    method
        Its name in ``pfv_widgets.METHODS``.
    options
        Value of each of the method's options.
    target
        Layer, unit and output as they were chosen.
    names
        One for each image.
    pixels
        The photos as shown, uint8 ``(N, H, W, 3)``, or None without photos.
    warnings
        What should be known beside the picture, in words.
    details
        The options that the maps depend on, in words, such as sizes of boxes in pixels.
    """

    maps: Tensor
    signed: Tensor
    scores: Tensor
    units: Tensor
    method: str
    options: Mapping[str, Any]
    target: Target = field(default_factory=Target)
    names: tuple[str, ...] = ()
    pixels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.maps)

    def __repr__(self) -> str:
        height, width = self.maps.shape[1:]
        where = self.target.layer or "the output"
        details = "".join(f", {one}" for one in self.details)
        return (
            f"<Attribution: {len(self)} image{'s' * (len(self) != 1)} of {width} × {height} "
            f"pixels, {self.method} of {where}{details}>"
        )

    @property
    def title(self) -> str:
        """Method and layer in words."""
        return f"{self.method} of {self.target.layer or 'output'}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name, unit and score of each image, in words."""
        names = self.names or tuple(f"image {row + 1}" for row in range(len(self)))
        each = zip(names, self.units.tolist(), self.scores.tolist(), strict=True)
        return tuple(f"{name} · unit {unit}, score {score:.3g}" for name, unit, score in each)

    def figure(self, columns: int | None = None) -> Figure:
        """Draw each photo beside its map, with a bar of the colours.

        Parameters
        ----------
        columns
            Pairs in a row, from 1; None: as square as it gets.
        """
        figure: Figure = lazy_import("methods.attribution.figures", "draw_attribution")(
            self, columns
        )
        return figure

    def save(self, path: str | Path) -> None:
        """Write the figure or all arrays, as the suffix of ``path`` says.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, a folder that is not there, or a file that cannot be written.
        """
        write_figure_or_arrays(path, self.figure, self._arrays)

    def of(self, images: Iterable[int]) -> Attribution:
        """Return the attribution of the images at these indices alone, in that order.

        Raises
        ------
        PFVTypeError, PFVValueError
            Where there is none, or one lies outside of the batch.
        """
        rows = self._checked(images)
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[rows] for name in ("maps", "signed", "scores", "units")},
            target=self.target.of(rows),
            names=tuple(self.names[row] for row in rows) if self.names else (),
            pixels=None if self.pixels is None else self.pixels[rows],
        )

    def by_component(self, frame: Frame) -> ComponentSplit:
        """Say how much of the evidence falls on the regions of each PFV colour.

        Parameters
        ----------
        frame
            PFV of the same images, or of some of them; see :func:`split_by_component`.

        Raises
        ------
        PFVTypeError, PFVValueError
            If it is no frame, or one of other images.
        """
        return split_by_component(self, frame)

    def _checked(self, images: Iterable[int]) -> list[int]:
        legal = f"positions in the batch, whole numbers from 0 to {len(self) - 1}"
        return list(whole_numbers("images", images, -len(self), len(self) - 1, legal))

    def _arrays(self) -> dict[str, np.ndarray]:
        tensors = {name: getattr(self, name) for name in ("maps", "signed", "scores", "units")}
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        return arrays | {"names": np.array(self.names)}


@dataclass(frozen=True, eq=False, repr=False)
class ComponentSplit:
    """An attribution, split by the principal component that leads at each pixel.

    A pixel belongs to the component whose score there, enlarged bilinearly and divided by the
    component's standard deviation, is furthest from zero, and to its side: above zero or below,
    two colours of the picture. Sides are in the order +, −; images, components and sides make
    the axes N, k and 2.

    Attributes
    ----------
    evidence_for
        float64 ``(N, k, 2)``: share of the evidence for the unit, that is, of the values above
        zero of the map, that falls on the region. They add up to 1 in each image; all are NaN
        (undefined) where there is none. Maps without a sign have this alone.
    evidence_against
        The same of the values below zero.
    areas
        Share of the pixels that belong to the region, ``(N, k, 2)``: what evidence that did not
        look at the components would have.
    regions
        int64 ``(N, H, W)``: ``2 · component + side``, the component counted among those that are
        shown, or −1 where no score differs from zero.
    components
        Numbers of the components as in the legend, from 1.
    colours
        float ``(k, 2, 3)`` in [0, 1]: of each side in the legend.
    attribution
        What was split, its images in the order of the frame.
    layer
        Whose components they are.
    """

    evidence_for: Tensor
    evidence_against: Tensor
    areas: Tensor
    regions: Tensor
    components: tuple[int, ...]
    colours: np.ndarray
    attribution: Attribution
    layer: str

    def __len__(self) -> int:
        return len(self.regions)

    def __repr__(self) -> str:
        return (
            f"<ComponentSplit: {self.attribution.method} of {len(self)} images by "
            f"{len(self.components)} components of {self.layer!r}>"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the regions by their numbers, such as ``"1 +"`` and ``"1 −"``."""
        return tuple(f"{number} {side}" for number in self.components for side in SIDES)

    @property
    def maps(self) -> Tensor:
        """The attribution in each region and 0 elsewhere, ``(N, k, 2, H, W)``; they add up to it.

        Pixels that belong to no region are in none.
        """
        numbers = torch.arange(2 * len(self.components)).view(1, -1, 2, 1, 1)
        return self.attribution.maps[:, None, None] * (self.regions[:, None, None] == numbers)

    @property
    def concentration(self) -> Tensor:
        """Evidence for the unit by area, ``(N, k, 2)``: 2 is twice what chance would give.

        NaN where a region has no pixel, or an image no evidence.
        """
        return torch.where(self.areas > 0, self.evidence_for / self.areas, torch.nan)

    def figure(self) -> Figure:
        """Draw photo, map, the evidence on each component's regions in its colours, and bars."""
        figure: Figure = lazy_import("methods.attribution.figures", "draw_split")(self)
        return figure


@own_modes()
def split_by_component(attribution: Attribution, frame: Frame) -> ComponentSplit:
    """Say how much of the evidence falls on regions of each PFV colour.

    Parameters
    ----------
    attribution
        Any result of :func:`attribute`.
    frame
        PFV of the same images at any layer, or of some of them. Of its components, those that
        are shown divide the pixels.

    Raises
    ------
    PFVTypeError, PFVValueError
        If one of them is no attribution or no frame, or the frame holds other photos, in another
        order or of another size.
    """
    if not isinstance(attribution, Attribution):
        raise PFVTypeError(
            f"attribution={attribution!r:.80}: expected what attribute(model, images) returns."
        )
    if not isinstance(frame, Frame):
        raise PFVTypeError(
            f"frame={frame!r:.80}: expected a Frame, as PFV(model, images).render() gives it."
        )
    chosen = attribution.of(_rows(attribution, frame))
    components = list(frame.settings.shown)
    deviations = frame.basis.variances[components].clamp(min=0).sqrt().view(-1, 1, 1).cpu()
    scores = frame.scores[:, components].detach().float().cpu()
    standard = torch.where(deviations > 0, scores / deviations, torch.zeros_like(scores))
    regions = leading(standard.nan_to_num(), (chosen.maps.shape[1], chosen.maps.shape[2]))
    ramps = legend(frame.settings.colour_map, len(components))
    count = 2 * len(components)
    return ComponentSplit(
        evidence_for=shares(chosen.maps.clamp(min=0), regions, count),
        evidence_against=shares((-chosen.maps).clamp(min=0), regions, count),
        areas=shares(torch.ones_like(chosen.maps), regions, count),
        regions=regions,
        components=tuple(index + 1 for index in components),
        colours=ramps[:, [-1, 0]].numpy(),
        attribution=chosen,
        layer=frame.layer,
    )


def leading(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the region ``(N, H, W)`` of each pixel by standardised scores ``(N, k, h, w)``."""
    large = nn.functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
    strength, component = large.abs().max(1)
    side = (large.gather(1, component[:, None])[:, 0] < 0).long()
    return torch.where(strength > 0, 2 * component + side, -1)


def shares(evidence: Tensor, regions: Tensor, count: int) -> Tensor:
    """Return the share of evidence ``(N, H, W)``, not negative, in each region, ``(N, k, 2)``."""
    inside = regions >= 0
    amounts = (evidence.double() * inside).flatten(1)
    sums = torch.zeros((len(evidence), count), dtype=torch.float64)
    sums.scatter_add_(1, regions.clamp(min=0).flatten(1), amounts)
    whole = sums.sum(1, keepdim=True)
    return torch.where(whole > 0, sums / whole, torch.nan).view(len(evidence), -1, 2)


def _rows(attribution: Attribution, frame: Frame) -> list[int]:
    """Return which of the attribution's images the frame holds, or raise an error.

    The photos themselves are compared, as pictures without names are all "image 1, 2, …".
    """
    fix = (
        "Make both from one batch: images = load_images(...); PFV(model, images).render(); "
        "attribute(model, images)."
    )
    one_to_one = list(range(len(frame))) if len(frame) == len(attribution) else []
    fitting = [
        rows
        for rows in (list(frame.indices), one_to_one)
        if len(rows) == len(frame) and max(rows) < len(attribution)
        and _same_names(attribution, rows, frame)
    ]  # fmt: skip
    for rows in fitting:
        if _other_photo(attribution, rows, frame) is None:
            return rows
    if fitting:
        other = _other_photo(attribution, fitting[0], frame)
        raise PFVValueError(
            f"frame holds other photos than the attribution, or another order or size of them: "
            f"the first that differs is image {other} of the frame. {fix}"
        )
    raise PFVValueError(
        f"frame holds {_images_in_words(frame.names, len(frame))}, and the attribution "
        f"{_images_in_words(attribution.names, len(attribution))}. {fix}"
    )


def _same_names(attribution: Attribution, rows: list[int], frame: Frame) -> bool:
    names = tuple(attribution.names[row] for row in rows) if attribution.names else ()
    return not names or not frame.names or names == tuple(frame.names)


def _other_photo(attribution: Attribution, rows: list[int], frame: Frame) -> int | None:
    """Return which image of the frame, from 1, shows another photo; None where all are the same.

    Without photos on one side there is nothing to compare.
    """
    if attribution.pixels is None or frame.pixels is None:
        return None
    pairs = zip(rows, frame.pixels, strict=True)
    return next(
        (
            index
            for index, (row, pixels) in enumerate(pairs, start=1)
            if not np.array_equal(attribution.pixels[row], pixels)
        ),
        None,
    )


def _images_in_words(names: tuple[str, ...], count: int) -> str:
    some = f" ({', '.join(names[:3])}{' …' if len(names) > 3 else ''})" if names else ""
    return f"{count} image{'s' * (count != 1)}{some}"
