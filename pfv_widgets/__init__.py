"""See, live in a notebook, what a convolutional network has learned.

>>> import pfv_widgets as pw
>>> explorer = pw.demo()  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import pfv_widgets.demo as _demo  # noqa: F401 - the function below takes the place of the package of that name

if TYPE_CHECKING:
    from pfv_widgets.demo.gallery import demo_images, demo_model
    from pfv_widgets.engine.basis import PrincipalBasis
    from pfv_widgets.engine.dataset import fit_basis
    from pfv_widgets.engine.frame import Frame
    from pfv_widgets.engine.images import load_images
    from pfv_widgets.engine.loading.batch import ImageBatch
    from pfv_widgets.engine.pipeline import PFV
    from pfv_widgets.engine.settings import Settings
    from pfv_widgets.engine.stages import heatmaps_from_activations
    from pfv_widgets.engine.survey import Layer
    from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, PFVWarning
    from pfv_widgets.methods.attribution import Attribution, attribute
    from pfv_widgets.methods.by_component import ComponentSplit, split_by_component
    from pfv_widgets.methods.comparison_figures import figure_methods, figure_networks
    from pfv_widgets.methods.reconstruct import reconstruct
    from pfv_widgets.methods.reconstruct_options import Reconstruct
    from pfv_widgets.methods.reconstruction import Reconstruction
    from pfv_widgets.widgets.entry import explore
    from pfv_widgets.widgets.explorers import PFVExplorer
    from pfv_widgets.widgets.methods_entry import explore_methods
    from pfv_widgets.widgets.methods_explorer import MethodsExplorer
    from pfv_widgets.widgets.reconstruct_live import explore_reconstruction

try:
    __version__ = version("pfv-widgets")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

# torch and Jupyter take seconds to import: each name is fetched when it is first used
_HOMES = {
    "Attribution": "methods.attribution",
    "ComponentSplit": "methods.by_component",
    "Frame": "engine.frame",
    "ImageBatch": "engine.loading.batch",
    "Layer": "engine.survey",
    "MethodsExplorer": "widgets.methods_explorer",
    "PFV": "engine.pipeline",
    "PFVError": "errors",
    "PFVExplorer": "widgets.explorers",
    "PFVTypeError": "errors",
    "PFVValueError": "errors",
    "PFVWarning": "errors",
    "PrincipalBasis": "engine.basis",
    "Reconstruct": "methods.reconstruct_options",
    "Reconstruction": "methods.reconstruction",
    "Settings": "engine.settings",
    "attribute": "methods.attribution",
    "demo_images": "demo.gallery",
    "demo_model": "demo.gallery",
    "explore": "widgets.entry",
    "explore_methods": "widgets.methods_entry",
    "explore_reconstruction": "widgets.reconstruct_live",
    "figure_methods": "methods.comparison_figures",
    "figure_networks": "methods.comparison_figures",
    "fit_basis": "engine.dataset",
    "heatmaps_from_activations": "engine.stages",
    "load_images": "engine.images",
    "reconstruct": "methods.reconstruct",
    "split_by_component": "methods.by_component",
}

__all__ = [
    "PFV",
    "Attribution",
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
    "Settings",
    "attribute",
    "demo",
    "demo_images",
    "demo_model",
    "explore",
    "explore_methods",
    "explore_reconstruction",
    "figure_methods",
    "figure_networks",
    "fit_basis",
    "heatmaps_from_activations",
    "load_images",
    "reconstruct",
    "split_by_component",
]


def demo(count: int = 16, seed: int = 0, **settings: Any) -> PFVExplorer:
    """Open an explorer on the embedded network and ``count`` of its drawn scenes.

    Raises
    ------
    PFVError
        Naming the argument, its value and what to do.
    """
    from pfv_widgets.widgets import entry

    return entry.demo(count, seed, **settings)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
