"""The functions that open a widget."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pfv_widgets.demo import imagenet_network
from pfv_widgets.demo.images import Photos, demo_images, demo_model, has_photos
from pfv_widgets.demo.object_registry import CLASSES
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.basis_source import BasisSource
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings, settings_of
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer


@own_modes()
def explore(
    model: nn.Module,
    images: Any,
    *,
    settings: Settings | None = None,
    device: str | torch.device = "auto",
    basis: PrincipalBasis | BasisSource | None = None,
    classes: object = None,
    output: str | int | None = None,
    **changes: Any,
) -> PFVExplorer:
    """Open an explorer on a network and a batch.

    Parameters
    ----------
    model
        Any ``nn.Module`` that takes the images; it is given back as it came.
    images
        An ``ImageBatch``, or whatever ``load_images`` takes: a folder, paths, arrays, tensors.
    settings
        What to show first (None: the defaults). Weights of the images in the basis are given
        here, as ``pw.Settings(images=…)``.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    basis
        A basis of elsewhere, such as ``pw.PrincipalBasis.load(path)``, whose components are shown
        instead of those of the images (``basis_of`` switches between both); None: fitted to the
        images.
    classes
        Names of the units of the network's output for the tab "Classes": a list, a mapping,
        ``"imagenet"``; None: the units have numbers, or the names of the images' labels where
        these are as many.
    output
        Which of several outputs has the class scores, by name or position.
    **changes
        Fields of ``Settings`` that are merged into it, such as ``layer="features.12"``.

    Raises
    ------
    PFVError
        Naming the argument, its value and what to do.
    """
    start = settings_of(settings, changes)
    pfv = PFV(model, images, device, basis=basis)
    return PFVExplorer(pfv, start, classes=classes, output=output)


def demo(
    count: int | None = None, seed: int = 0, photos: Photos = False, **settings: Any
) -> PFVExplorer:
    """Open an explorer on the demo's network and images.

    Parameters
    ----------
    count, seed, photos
        As for :func:`demo_images <pfv_widgets.demo_images>`; with ``photos`` the network is that of
        the photos, see :func:`demo_model <pfv_widgets.demo_model>`.
    **settings
        Further arguments of :func:`explore`, such as ``device``, and fields of ``Settings``.

    Raises
    ------
    PFVError
        Naming the argument, its value and what to do.
    """
    real = has_photos(photos)
    source = photos if real else False
    if real and "layer" not in settings and settings.get("settings") is None:
        settings["layer"] = imagenet_network.LAYER
    settings.setdefault("classes", "imagenet" if real else CLASSES)
    return explore(demo_model(source), demo_images(count, seed, source), **settings)
