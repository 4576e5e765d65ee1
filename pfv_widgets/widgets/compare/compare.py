"""The verb that opens a comparison."""

from __future__ import annotations

from typing import Any

import torch

from pfv_widgets.analysis.randomised import TRAINED, randomised
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings, merged
from pfv_widgets.widgets.compare.compare_explorer import CompareExplorer
from pfv_widgets.widgets.compare.networks import Networks, named_networks
from pfv_widgets.widgets.compare.settings import CompareSettings


def compare(
    models: Any,
    images: Any,
    *,
    settings: Settings | None = None,
    device: str | torch.device = "auto",
    **changes: Any,
) -> CompareExplorer:
    """Open an explorer of two or more networks on the same photos.

    Parameters
    ----------
    models
        Two or more networks of any architecture: a mapping from names, a sequence of networks, or
        one of pairs ``(name, network)``; such as ``pw.randomised(model)``. With more than two,
        the first side stays and the second slides through all of them.
    images
        An ``ImageBatch``, or whatever ``load_images`` takes. Each network is given the photos in
        the normalisation that it declares, and, where it refuses their size, at its own.
    settings
        What to show first (None: the defaults).
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    **changes
        Fields of ``Settings``, and ``first``, ``second``, ``second_layer``, ``linked``,
        ``aligned`` and ``difference``.

    Raises
    ------
    PFVError
        Naming the argument, its value and what to do.
    """
    start = merged(CompareSettings, settings, changes)
    named = named_networks(models)
    batch = images if isinstance(images, ImageBatch) else load_images(images)
    return CompareExplorer(Networks(named, batch, device), start)


def compare_untrained(pfv: PFV, settings: Settings) -> CompareExplorer:
    """Open a comparison of a network with a copy of it in which every weight is drawn anew.

    Raises
    ------
    PFVError
        For a network that cannot be copied.
    """
    networks = randomised(pfv.model)
    *_, last = networks
    models = {TRAINED: pfv.model, "untrained": networks[last]}
    return CompareExplorer(
        Networks(models, pfv.images, pfv.device), merged(CompareSettings, settings, {})
    )
