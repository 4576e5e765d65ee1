"""What a comparison of methods shows, in one frozen dataclass, and which cells that makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pfv_widgets.engine.pipeline.settings_json import JsonSettings
from pfv_widgets.errors import PFVTypeError
from pfv_widgets.methods.attribution.registry import METHODS
from pfv_widgets.methods.comparison.colour_scales import SCALES
from pfv_widgets.methods.comparison.compared_methods import (
    PFV_NAME,
    Explainer,
    explainers,
    name_of,
)
from pfv_widgets.methods.comparison.comparison import Comparison, Task
from pfv_widgets.methods.core.target import Target
from pfv_widgets.parameters import choice, slider, suggestion, validate
from pfv_widgets.validation import whole_number

VIEWS = ("heatmap", "overlay")


def _usual() -> tuple[Explainer, ...]:
    """Return what the grid shows at first: PFV, the methods of FeatureVis, Grad-CAM."""
    return explainers([PFV_NAME, *(name for name, kind in METHODS.items() if kind.usual)])


@dataclass(frozen=True)
class MethodsSettings(JsonSettings):
    """What the grid shows; edit with ``dataclasses.replace``.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the field, its value and the legal values.
    """

    methods: tuple[Explainer, ...] = field(default_factory=_usual)
    """The rows: names in ``pfv_widgets.METHODS`` or ``"pfv"``, or instances with options
    of their own, also several of one method."""

    layer: str | None = None
    """What is explained: a layer's name; None: the network's output."""

    unit: int | tuple[int, ...] | None = None
    """Its unit, for all images or one for each; None: the strongest one of each image."""

    output: str | int | None = None
    """Which of several outputs, by name or position."""

    view: str = choice(
        "heatmap", VIEWS, label="View", help="The maps alone, or laid over the photos."
    )
    opacity: float = slider(
        0.65, 0.0, 1.0, 0.01, label="Opacity", help="Opacity of the maps over the photos."
    )
    scale: str = choice(
        "each map",
        SCALES,
        label="Scale",
        help="Which maps share a scale of colours. Values of different methods have no common "
        "unit: all alike compares the ranks of pixels within each map.",
    )
    across: int = slider(
        4, 1, 8, 1, label="Columns", help="Maps in a row; more of them are smaller."
    )
    first: int = 0
    """Index of the first image on the page."""

    def __post_init__(self) -> None:
        validate(self)
        object.__setattr__(self, "methods", explainers(self.methods))
        object.__setattr__(self, "unit", self.target.unit)
        first = whole_number("first", self.first, legal="the index of an image, from 0")
        object.__setattr__(self, "first", first)

    @property
    def target(self) -> Target:
        """What is explained."""
        return Target(self.layer, self.unit, self.output)

    def page(self, images: int, networks: int) -> range:
        """Return the indices of the images on the page."""
        size = max(1, self.across // networks)
        first = min(self.first, images - 1) // size * size
        return range(first, min(first + size, images))

    def tasks(self, comparison: Comparison) -> list[Task]:
        """Return the cells of the page, row by row; those that take long come last.

        Raises a PFVValueError where there is one unit an image, but not for as many images.
        """
        self.target.check_count(len(comparison.images))
        networks = range(len(comparison.networks))
        page = self.page(len(comparison.images), len(networks))
        slow = {one for one in METHODS if METHODS[one].family == "input modification"}
        ordered = sorted(self.methods, key=lambda one: name_of(one) in slow)
        return [
            Task(network, image, method, self.target)
            for method in ordered
            for image in page
            for network in networks
        ]

    def encoded(self) -> dict[str, Any]:
        """Return methods by their names, see :func:`encoded`."""
        return {"methods": [encoded(method) for method in self.methods]}


def settings_of(methods: object, changes: Mapping[str, Any]) -> MethodsSettings:
    """Merge methods (None: the usual ones) and keyword ``changes``, of which each must be known."""
    known = [one.name for one in dataclasses.fields(MethodsSettings)]
    for name in changes:
        if name not in known:
            raise PFVTypeError(f"{name!r} is no setting of the grid. {suggestion(name, known)}")
    start = {} if methods is None else {"methods": explainers(methods)}
    return MethodsSettings(**(start | dict(changes)))


def encoded(method: Explainer) -> str | dict[str, Any]:
    """Return a method by its name, or as a mapping where it has options of its own.

    >>> encoded(METHODS["smoothgrad"](samples=3))
    {'method': 'smoothgrad', 'samples': 3}
    """
    usual = type(method)()
    names = [one.name for one in dataclasses.fields(method)]
    options = {one: getattr(method, one) for one in names}
    options = {one: value for one, value in options.items() if value != getattr(usual, one)}
    return {"method": name_of(method), **options} if options else name_of(method)
