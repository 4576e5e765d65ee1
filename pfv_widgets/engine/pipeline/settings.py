"""Every knob of a picture, in one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeVar

from pfv_widgets.engine.colouring.colour_filter import COLOUR_FILTERS
from pfv_widgets.engine.colouring.compositing import VIEWS
from pfv_widgets.engine.colouring.heatmaps import Colouring, ColourSettings
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS
from pfv_widgets.engine.pca.basis_source import BASES
from pfv_widgets.engine.pipeline.settings_json import JsonSettings
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.parameters import (
    Declared,
    choice,
    described,
    slider,
    suggestion,
    toggle,
    validate,
)
from pfv_widgets.validation import (
    Pin,
    checked_channels,
    checked_cut,
    checked_pins,
    checked_weights,
    text_or_none,
)

CUT_MODES = ("project", "keep", "clamp")
"""What is done with components that are cut: project them away, keep them alone, clamp them."""


@dataclass(frozen=True)
class ScoreSettings:
    """The settings that decide on the scores, before they are coloured."""

    layer: str | None = None
    """Name of the layer whose feature map is decomposed; None: the last before the read-out."""

    components: int = slider(
        3,
        1,
        12,
        1,
        label="Components",
        help="How many principal components are computed.",
        page="Picture",
    )

    channels: tuple[int, ...] | None = None
    """Which components are shown, in order, counted from 0; None: all of them."""

    images: tuple[float, ...] | None = None
    """Weight ≥ 0 of each image in the basis; 0 shows it in the basis of the others; None: all 1."""

    weighting: str = choice(
        "flat",
        WEIGHTINGS,
        label="Weighting",
        help="How earlier layers sharpen the picture: where they are active, colours are strong. "
        + described(WEIGHTINGS),
        page="Picture",
    )


@dataclass(frozen=True)
class Settings(ColourSettings, ScoreSettings, Declared, JsonSettings):
    """What to render and how; edit with ``dataclasses.replace``.

    Its fields begin with those of :class:`ScoreSettings` and :class:`ColourSettings`.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the field, its value and the legal values.
    """

    opacity: float = slider(
        0.65,
        0.0,
        1.0,
        0.01,
        label="Opacity",
        help="Opacity of the heatmap over the photo.",
        page="Picture",
    )

    view: str = choice(
        "overlay",
        VIEWS,
        label="View",
        help="What each tile shows: photo and heatmap together or apart, or the heatmap's red, "
        "green and blue each alone.",
        page="Picture",
    )

    split: float = slider(
        0.5,
        0.0,
        1.0,
        0.01,
        label="Divider",
        help="In the split view: where the photo on the left ends and the heatmap begins.",
        page="Picture",
    )

    sharing: str = choice(
        "all",
        COLOUR_FILTERS,
        label="Show colours",
        help="All colours, those shared by all images, or those that are only in some.",
        page="Picture",
        words={"inclusive": "shared by all", "exclusive": "only in some"},
    )

    stable_colours: bool = toggle(
        True,
        label="Stable colours",
        help="Keep each component's colour and sign from one picture to the next.",
        page="Picture",
    )

    basis_of: str = choice(
        BASES[0],
        BASES,
        label="Basis of",
        help="With a basis of a data set: its components and colours, which mean the same in "
        "every batch, or those of the images shown.",
        page="Picture",
    )

    pins: tuple[Pin, ...] = ()
    """Positions to compare with: ``(image, x, y)``, x and y as fractions of width and height."""

    similarity: bool = toggle(
        True,
        label="Similarity to pins",
        help="With pins: show how similar each position (a cell of the feature map) is to them.",
        page="Picture",
    )

    cut: tuple[int, ...] = ()
    """Components that are cut out of the layer where classes are looked at, counted from 0."""

    cut_mode: str = "project"
    """One of ``CUT_MODES``: ``"project"`` them away, ``"keep"`` them alone, ``"clamp"`` them."""

    suspects: tuple[int, ...] = ()
    """Suspects of the search for shortcuts that are cut out as well, counted from 0."""

    def __post_init__(self) -> None:
        text_or_none("layer", self.layer, "the name of a layer")
        validate(self)
        if self.channels is not None:
            object.__setattr__(self, "channels", checked_channels(self.channels, self.components))
        if self.images is not None:
            object.__setattr__(self, "images", checked_weights(self.images))
        object.__setattr__(self, "pins", checked_pins(self.pins))
        object.__setattr__(self, "cut", checked_cut(self.cut))
        object.__setattr__(self, "suspects", checked_cut(self.suspects, "suspects"))
        if not isinstance(self.cut_mode, str) or self.cut_mode not in CUT_MODES:
            raise PFVValueError(
                f"cut_mode={self.cut_mode!r:.80}. {suggestion(str(self.cut_mode), CUT_MODES)}"
            )

    @property
    def shown(self) -> tuple[int, ...]:
        """Indices of the components that are shown, in order."""
        return tuple(range(self.components)) if self.channels is None else self.channels

    @property
    def colouring(self) -> Colouring:
        """What decides on the colours of scores."""
        knobs = {one.name: getattr(self, one.name) for one in fields(ColourSettings)}
        return Colouring(**knobs, channels=self.shown)

    def weights(self, number: int) -> tuple[float, ...]:
        """Weights of ``number`` images.

        Raises
        ------
        PFVValueError
            If ``images`` has another length, or leaves no image in.
        """
        if self.images is None:
            return (1.0,) * number
        if len(self.images) != number:
            raise PFVValueError(
                f"images has {len(self.images)} weights for a batch of {number} images. "
                "Give one weight for each image, or None for all ones."
            )
        if not any(self.images):
            raise PFVValueError(
                "images: every weight is 0, so no image is left to find the colours with. "
                "Give at least one image a weight above 0."
            )
        return self.images

    def basis_weights(self, number: int) -> tuple[float, ...]:
        """Weights of ``number`` images in the basis; see :meth:`weights`.

        With pins alone no basis is shown: where no image is in, it is that of all.
        """
        is_empty = self.images is not None and len(self.images) == number and not any(self.images)
        return (1.0,) * number if is_empty and self.shows_similarity else self.weights(number)

    def at_layer(self, layer: str) -> Self:
        """Return these settings at another layer, where nothing is cut out yet.

        A component or suspect of the same number is another one there.
        """
        return self if layer == self.layer else replace(self, layer=layer, cut=(), suspects=())

    @property
    def shows_similarity(self) -> bool:
        """Whether the similarity to pins is shown, instead of components."""
        return self.similarity and bool(self.pins)

    def pinned(self, number: int) -> tuple[Pin, ...]:
        """Pins to show the similarity to, in a batch of ``number`` images; none where it is off.

        Raises
        ------
        PFVValueError
            If a pin is in an image beyond the batch.
        """
        pins = checked_pins(self.pins, number)
        return pins if self.similarity else ()


AnySettings = TypeVar("AnySettings", bound=Settings)


def settings_of(settings: Settings | None, changes: dict[str, Any]) -> Settings:
    """Merge ``settings`` (None: the defaults) with keyword ``changes``: see :func:`merged`."""
    return merged(Settings, settings, changes)


def merged(
    kind: type[AnySettings], settings: Settings | None, changes: dict[str, Any]
) -> AnySettings:
    """Return settings of a kind: the fields of ``settings`` that it has, with ``changes``."""
    if settings is not None and not isinstance(settings, Settings):
        raise PFVTypeError(f"settings={settings!r:.80}: expected a Settings, or keywords.")
    known = [field.name for field in fields(kind)]
    for name in changes:
        if name not in known:
            raise PFVTypeError(f"{name!r} is no setting. {suggestion(name, known)}")
    own = () if settings is None else [one.name for one in fields(settings) if one.name in known]
    return kind(**({name: getattr(settings, name) for name in own} | changes))
