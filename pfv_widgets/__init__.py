"""See, live in a notebook, what a convolutional network has learned.

>>> import pfv_widgets as pw
>>> explorer = pw.demo()  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import random
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import pfv_widgets.demo as _demo  # noqa: F401 - the function below takes the place of the package of that name

if TYPE_CHECKING:
    from pfv_widgets.analysis.ablation.ablate import ablate
    from pfv_widgets.analysis.classes.component_classes import ComponentClasses, component_classes
    from pfv_widgets.analysis.compare.checkpoints import checkpoints
    from pfv_widgets.analysis.compare.randomised import randomised
    from pfv_widgets.analysis.compare.similarity import similarity
    from pfv_widgets.analysis.compare.similarity_curve import similarity_curve
    from pfv_widgets.analysis.compare.similarity_curve_result import SimilarityCurve
    from pfv_widgets.analysis.compare.similarity_result import Similarity
    from pfv_widgets.analysis.core.suspects import Suspect
    from pfv_widgets.analysis.repair.repair import Repair, repair
    from pfv_widgets.analysis.shortcuts.find_shortcuts import ShortcutReport, find_shortcuts
    from pfv_widgets.analysis.training.tracker import Tracker, track
    from pfv_widgets.analysis.transfer.result import TransferReport
    from pfv_widgets.analysis.transfer.transfer_report import transfer_report
    from pfv_widgets.demo.images import Photos, demo_images, demo_model
    from pfv_widgets.engine.data.batch import ImageBatch
    from pfv_widgets.engine.data.load_images import load_images
    from pfv_widgets.engine.network.layers import Layer
    from pfv_widgets.engine.pca.basis import PrincipalBasis
    from pfv_widgets.engine.pipeline.fit_basis import fit_basis
    from pfv_widgets.engine.pipeline.frame import Frame
    from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations
    from pfv_widgets.engine.pipeline.pfv import PFV
    from pfv_widgets.engine.pipeline.settings import Settings
    from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, PFVWarning
    from pfv_widgets.methods.attribution.attribute import attribute
    from pfv_widgets.methods.attribution.registry import METHODS
    from pfv_widgets.methods.attribution.result import (
        Attribution,
        ComponentSplit,
        split_by_component,
    )
    from pfv_widgets.methods.comparison.figures import figure_methods, figure_networks
    from pfv_widgets.methods.core.extra_inputs import with_inputs
    from pfv_widgets.methods.inversion.options import Reconstruct
    from pfv_widgets.methods.inversion.reconstruct import reconstruct
    from pfv_widgets.methods.inversion.reconstruction import Reconstruction
    from pfv_widgets.widgets.compare.compare import compare
    from pfv_widgets.widgets.compare.compare_explorer import CompareExplorer
    from pfv_widgets.widgets.explorer.explore import explore
    from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
    from pfv_widgets.widgets.methods.explore_methods import explore_methods
    from pfv_widgets.widgets.methods.methods_explorer import MethodsExplorer
    from pfv_widgets.widgets.reconstruction.explore_reconstruction import explore_reconstruction

try:
    __version__ = version("pfv-widgets")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

# torch and Jupyter take seconds to import: each name is fetched when it is first used
_MODULES = {
    "METHODS": "methods.attribution.registry",
    "PFV": "engine.pipeline.pfv",
    "Attribution": "methods.attribution.result",
    "CompareExplorer": "widgets.compare.compare_explorer",
    "ComponentClasses": "analysis.classes.component_classes",
    "ComponentSplit": "methods.attribution.result",
    "Frame": "engine.pipeline.frame",
    "ImageBatch": "engine.data.batch",
    "Layer": "engine.network.layers",
    "MethodsExplorer": "widgets.methods.methods_explorer",
    "PFVError": "errors",
    "PFVExplorer": "widgets.explorer.pfv_explorer",
    "PFVTypeError": "errors",
    "PFVValueError": "errors",
    "PFVWarning": "errors",
    "PrincipalBasis": "engine.pca.basis",
    "Reconstruct": "methods.inversion.options",
    "Reconstruction": "methods.inversion.reconstruction",
    "Repair": "analysis.repair.repair",
    "Settings": "engine.pipeline.settings",
    "ShortcutReport": "analysis.shortcuts.find_shortcuts",
    "Similarity": "analysis.compare.similarity_result",
    "SimilarityCurve": "analysis.compare.similarity_curve_result",
    "Suspect": "analysis.core.suspects",
    "Tracker": "analysis.training.tracker",
    "TransferReport": "analysis.transfer.result",
    "ablate": "analysis.ablation.ablate",
    "attribute": "methods.attribution.attribute",
    "checkpoints": "analysis.compare.checkpoints",
    "compare": "widgets.compare.compare",
    "component_classes": "analysis.classes.component_classes",
    "demo_images": "demo.images",
    "demo_model": "demo.images",
    "explore": "widgets.explorer.explore",
    "explore_methods": "widgets.methods.explore_methods",
    "explore_reconstruction": "widgets.reconstruction.explore_reconstruction",
    "figure_methods": "methods.comparison.figures",
    "figure_networks": "methods.comparison.figures",
    "find_shortcuts": "analysis.shortcuts.find_shortcuts",
    "fit_basis": "engine.pipeline.fit_basis",
    "heatmaps_from_activations": "engine.pipeline.functional",
    "load_images": "engine.data.load_images",
    "randomised": "analysis.compare.randomised",
    "reconstruct": "methods.inversion.reconstruct",
    "repair": "analysis.repair.repair",
    "similarity": "analysis.compare.similarity",
    "similarity_curve": "analysis.compare.similarity_curve",
    "split_by_component": "methods.attribution.result",
    "track": "analysis.training.tracker",
    "transfer_report": "analysis.transfer.transfer_report",
    "with_inputs": "methods.core.extra_inputs",
}

__all__ = [
    "METHODS",
    "PFV",
    "Attribution",
    "CompareExplorer",
    "ComponentClasses",
    "ComponentSplit",
    "Frame",
    "ImageBatch",
    "Layer",
    "MethodsExplorer",
    "PFVError",
    "PFVExplorer",
    "PFVTypeError",
    "PFVValueError",
    "PFVWarning",
    "PrincipalBasis",
    "Reconstruct",
    "Reconstruction",
    "Repair",
    "Settings",
    "ShortcutReport",
    "Similarity",
    "SimilarityCurve",
    "Suspect",
    "Tracker",
    "TransferReport",
    "ablate",
    "attribute",
    "checkpoints",
    "compare",
    "component_classes",
    "demo",
    "demo_images",
    "demo_model",
    "explore",
    "explore_methods",
    "explore_reconstruction",
    "figure_methods",
    "figure_networks",
    "find_shortcuts",
    "fit_basis",
    "heatmaps_from_activations",
    "load_images",
    "randomised",
    "reconstruct",
    "repair",
    "similarity",
    "similarity_curve",
    "split_by_component",
    "track",
    "transfer_report",
    "with_inputs",
]


def demo(
    count: int | None = None, seed: int = 0, photos: Photos = False, **settings: Any
) -> PFVExplorer:
    """Open an explorer on the images and the network of the demo.

    Parameters
    ----------
    count, seed, photos
        As for ``demo_images``: drawn scenes and the embedded network; with ``photos=True`` real
        photos and a real network, where the packages of the extra ``photos`` are installed; with
        a folder the photos in it.
    **settings
        As for ``explore``, such as ``layer="blocks.4"`` or ``weighting="none"``.

    Raises
    ------
    PFVError
        Naming the argument, its value and what to do.
    """
    from pfv_widgets.widgets.explorer import explore

    return explore.demo(count, seed, photos, **settings)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        state = random.getstate()
        try:
            module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
        finally:
            random.setstate(state)  # packages such as scikit-learn draw when they are imported
        value = getattr(module, name)
        globals()[name] = value  # the reference lists what the module holds
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
