"""One call for every method: a network, images and a target in, an :class:`Attribution` out."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.export.output_paths import checked_place, write_figure_or_arrays
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import choose_device, place, unwrap
from pfv_widgets.errors import PFVValueError, PFVWarning
from pfv_widgets.methods.attribution.registry import DEFAULT
from pfv_widgets.methods.attribution.runner import (
    check_differentiable,
    in_chunks,
    method_of,
)
from pfv_widgets.methods.core.extra_inputs import NetworkWithInputs, bind_inputs
from pfv_widgets.methods.core.method import Cancelled, Method, Progress, Result, reduce_channels
from pfv_widgets.methods.core.target import Target, checked_unit
from pfv_widgets.validation import whole_number, whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pfv_widgets.engine.pipeline.frame import Frame
    from pfv_widgets.methods.attribution.component_split import ComponentSplit

_SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".npz")
CHUNK = 16  # images that a method is given at a time


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
        Its name in ``pfv_widgets.methods.METHODS``.
    options
        Value of each of the method's options.
    target
        Layer, unit and output as they were asked for.
    names
        One for each image.
    pixels
        The photos as shown, uint8 ``(N, H, W, 3)``, or None without photos.
    warnings
        What should be known beside the picture, in words.
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

    def __len__(self) -> int:
        return len(self.maps)

    def __repr__(self) -> str:
        height, width = self.maps.shape[1:]
        where = self.target.layer or "the output"
        return (
            f"<Attribution: {len(self)} image{'s' * (len(self) != 1)} of {width} × {height} "
            f"pixels, {self.method} of {where}>"
        )

    def figure(self, columns: int | None = None) -> Figure:
        """Draw each photo beside its map, with a bar of the colours.

        Parameters
        ----------
        columns
            Pairs in a row, from 1; None: as square as it gets.
        """
        from pfv_widgets.methods.attribution.figures import draw_attribution

        return draw_attribution(self, columns)

    def save(self, path: str | Path) -> None:
        """Write the figure or all arrays, as the suffix of ``path`` says.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, a folder that is not there, or a place that cannot be written.
        """
        place = checked_place(path, _SUFFIXES, "for a figure or the arrays")
        write_figure_or_arrays(place, self.figure, self._arrays)

    def of(self, images: Iterable[int]) -> Attribution:
        """Return the attribution of the images at these places alone, in that order.

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
        from pfv_widgets.methods.attribution.component_split import split_by_component

        return split_by_component(self, frame)

    def _checked(self, images: Iterable[int]) -> list[int]:
        legal = f"positions in the batch, whole numbers from 0 to {len(self) - 1}"
        return list(whole_numbers("images", images, -len(self), len(self) - 1, legal))

    def _arrays(self) -> dict[str, np.ndarray]:
        tensors = {name: getattr(self, name) for name in ("maps", "signed", "scores", "units")}
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        return arrays | {"names": np.array(self.names)}


def attribute(
    model: nn.Module,
    images: object,
    method: str | Method = DEFAULT,
    layer: str | None = None,
    unit: int | Sequence[int] | None = None,
    *,
    output: str | int | None = None,
    inputs: Mapping[str, Any] | None = None,
    argument: str | None = None,
    device: str | torch.device = "auto",
    chunk_size: int = CHUNK,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    **options: Any,
) -> Attribution:
    """Say which pixels a score of the network rests on.

    Parameters
    ----------
    model
        Any eager ``nn.Module`` that takes the images; it is given back as it came.
    images
        An :class:`ImageBatch`, or whatever :func:`load_images` takes.
    method
        A name in ``pw.METHODS``, or an instance of one of its classes. The default,
        :data:`DEFAULT`, is faithful and passes the randomisation check of Adebayo et al. (2018);
        ``pw.METHODS[name].caution`` says which methods fail it.
    layer, unit, output
        What is explained, see :class:`pfv_widgets.methods.core.target.Target`: by default the
        strongest unit of the network's output, for each image its own. ``unit=7`` explains unit 7
        in every image, ``unit=[14, 776]`` another in each of two images.
    inputs
        The network's other inputs by name. A tensor with as many rows as there are images gives
        one row to each; one with a single row, and anything else, is given to all.
    argument
        Name of the input that takes the images; None: the first.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"`` or a ``torch.device``.
    chunk_size
        Images that the method is given at a time; the maps do not depend on it.
    progress
        Called as ``progress(done, all)``.
    cancelled
        Asked between steps; where it says True, a :class:`CancelledError` ends the work.
    **options
        The method's own options.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and the fix. What is doubtful about a map is a
        ``PFVWarning``, and stands in ``Attribution.warnings``.
    """
    name, chosen = method_of(method, options)
    target = Target(layer, checked_unit(unit), output)
    batch = images if isinstance(images, ImageBatch) else load_images(images)
    network = unwrap(model)
    if chosen.needs_gradient:
        check_differentiable(network)
    where = choose_device(network, device)
    network = bind_inputs(place(network, where), len(batch), inputs, argument)
    forward = Forward(network, batch.tensor, where)
    size = (
        1 if isinstance(network, NetworkWithInputs) else whole_number("chunk_size", chunk_size, 1)
    )
    results = in_chunks(
        forward, batch, chosen, target, size=size, progress=progress, cancelled=cancelled
    )
    attribution = _attribution(results, name, chosen, target, batch)
    for text in attribution.warnings:
        warnings.warn(text, PFVWarning, 2)
    return attribution


def _attribution(
    results: list[Result], name: str, method: Method, target: Target, images: ImageBatch
) -> Attribution:
    signed = torch.cat([signed for signed, _, _ in results])
    scores = torch.cat([measured.scores.detach().float().cpu() for _, measured, _ in results])
    units = torch.cat([measured.units.cpu() for _, measured, _ in results])
    told = list(dict.fromkeys(text for _, _, texts in results for text in texts))
    broken = ~scores.isfinite() | ~signed.flatten(1).isfinite().all(1)
    if broken.all():
        raise PFVValueError(
            "model: its activations are NaN or infinite for every image, so there is nothing to "
            "explain. Look at its weights and at the normalisation of the images."
        )
    if broken.any():
        named = [one for one, bad in zip(images.names, broken.tolist(), strict=True) if bad]
        told.append(
            f"NaN or infinite values in {len(named)} of {len(images)} images "
            f"({', '.join(named[:5])}): they count as 0 in the maps."
        )
        signed = signed.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    maps = reduce_channels(signed, method.reduction)
    empty = maps.abs().flatten(1).amax(1) == 0
    if (empty & ~broken).any():
        named = [one for one, no in zip(images.names, empty.tolist(), strict=True) if no]
        told.append(
            f"The map is zero everywhere in {len(named)} of {len(images)} images "
            f"({', '.join(named[:5])}): nothing of the signal reaches the pixels. Take another "
            "unit, an earlier layer, or another method."
        )
    assert dataclasses.is_dataclass(method)
    options = {f.name: getattr(method, f.name) for f in dataclasses.fields(method)}
    return Attribution(
        maps, signed, scores, units, name,
        MappingProxyType(options), target, images.names, images.pixels, tuple(told),
    )  # fmt: skip
