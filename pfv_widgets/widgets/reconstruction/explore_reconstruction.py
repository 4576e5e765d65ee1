"""The function that opens an explorer of reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.methods.core.class_names import class_names, names_of
from pfv_widgets.methods.core.extra_inputs import with_inputs
from pfv_widgets.methods.inversion.options import Reconstruct, checked_names
from pfv_widgets.widgets.reconstruction.reconstruction_explorer import ReconstructionExplorer
from pfv_widgets.widgets.reconstruction.settings import ReconstructionSettings


@own_modes()
def explore_reconstruction(
    model: nn.Module,
    images: Any,
    *,
    classes: Any = None,
    inputs: Mapping[str, Any] | None = None,
    argument: str | None = None,
    output: str | int | None = None,
    device: str | torch.device = "auto",
    **options: Any,
) -> ReconstructionExplorer:
    """Open a widget in which a network makes pictures.

    Parameters
    ----------
    model
        Any eager, differentiable ``nn.Module`` that takes the images; it is given back as it came.
    images
        An ``ImageBatch``, or whatever ``load_images`` takes: photos to match, and those whose
        components are offered. The pictures have their size.
    classes
        Names of the output's units: a list, a mapping from unit to name, or ``"imagenet"``;
        None: those that the network has itself, as ``model.classes``.
    inputs, argument
        The network's other inputs by name, and the name of the one that takes the images. A
        tensor has a single row, which is given to all pictures and photos, or is given as it is.
    output
        Which of several outputs has the classes, by name or position.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    **options
        Fields of :class:`Reconstruct`, such as ``seed`` or ``steps``.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what to do.
    """
    settings = ReconstructionSettings(options=Reconstruct(**checked_names(options)))
    names = class_names(names_of(model, classes))
    pfv = PFV(with_inputs(model, inputs, argument), images, device)
    return ReconstructionExplorer(
        model, pfv, names, settings, inputs=inputs, argument=argument, output=output
    )
