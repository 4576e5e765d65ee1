"""The function that opens a comparison."""

from __future__ import annotations

from typing import Any

import torch

from pfv_widgets.analysis.compare.randomised import TRAINED, randomised
from pfv_widgets.analysis.training.tracker import Tracker
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.load_images import batch_of
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings, merged
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.widgets.compare.compare_explorer import CompareExplorer
from pfv_widgets.widgets.compare.comparison_sources import networks_source, tracker_source
from pfv_widgets.widgets.compare.networks import Networks, named_networks
from pfv_widgets.widgets.compare.settings import CompareSettings


@own_modes()
def compare(
    models: Any,
    images: Any = None,
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
        the first side stays and the second slides through all of them. Or a tracker of
        :func:`pw.track <pfv_widgets.track>` with at least one snapshot: the second side slides
        through the training, and follows it while it goes on.
    images
        An ``ImageBatch``, or whatever ``load_images`` takes; a tracker has its own. Where networks
        declare different normalisations, each is given the photos in its own (as they came, where
        it declares none); otherwise all are given them as they came. A network that refuses their
        size is given them at the size that it declares.
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
    if isinstance(models, Tracker):
        if images is not None:
            raise PFVTypeError("images: a tracker has its own. Leave them out.")
        return _training(models, settings, changes)
    start = merged(CompareSettings, settings, changes)
    named = named_networks(models)
    batch = batch_of(images)
    return CompareExplorer(networks_source(Networks(named, batch, device)), start)


def _training(
    tracker: Tracker, settings: Settings | None, changes: dict[str, Any]
) -> CompareExplorer:
    """Open the start of a training beside its newest snapshot."""
    if not tracker.names:
        raise PFVValueError("tracker: there is no snapshot yet. Call tracker.snapshot(name).")
    first = {} if settings is not None else {"second": tracker.names[-1]}
    start = merged(CompareSettings, settings or tracker.settings, first | changes)
    return CompareExplorer(tracker_source(tracker), start)


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
    source = networks_source(Networks(models, pfv.images, pfv.device))
    return CompareExplorer(source, merged(CompareSettings, settings, {}))
