"""The function that opens a grid of methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.methods.comparison.comparison import Comparison
from pfv_widgets.widgets.methods.methods_explorer import MethodsExplorer
from pfv_widgets.widgets.methods.settings import settings_of


@own_modes()
def explore_methods(
    models: Any,
    images: Any,
    methods: Any = None,
    *,
    classes: Any = None,
    inputs: Mapping[str, Any] | None = None,
    argument: str | None = None,
    device: str | torch.device = "auto",
    **settings: Any,
) -> MethodsExplorer:
    """Open a grid of methods × images × networks.

    Parameters
    ----------
    models
        A network, a list of networks, or networks by name; they are given back as they came.
        ``{"name": (network, images)}`` gives one its images in its own normalisation.
    images
        An ``ImageBatch``, or whatever ``load_images`` takes.
    methods
        The rows: names in ``pfv_widgets.METHODS`` or ``"pfv"``, or instances with
        options of their own, also several of one method; None: PFV and the usual ones. Others
        can be switched on in the widget.
    classes
        Names of the output's units: a list, a mapping from unit to name, or ``"imagenet"``; or
        those of each network by its name. None: those that a network has as its ``classes``.
    inputs, argument, device
        As for ``attribute``, for every network.
    **settings
        Fields of ``pfv_widgets.widgets.methods.settings.MethodsSettings``, such as ``layer``,
        ``unit`` or ``scale``.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what to do.
    """
    start = settings_of(methods, settings)
    comparison = Comparison(
        models, images, classes=classes, inputs=inputs, argument=argument, device=device
    )
    start.target.check_count(len(comparison.images))
    return MethodsExplorer(comparison, start)
