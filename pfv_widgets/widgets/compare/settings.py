"""What a comparison shows: settings of the pictures, the networks, and how they are linked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.parameters import toggle
from pfv_widgets.validation import text_or_none

_JOINT = " · "  # between the names of a network and of a layer


@dataclass(frozen=True)
class CompareSettings(Settings):
    """Settings of both pictures; ``layer`` is that of the first network.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the field, its value and the legal values.
    """

    first: str | None = None
    """Name of the first network, which the other one is aligned to; None: the first of all."""

    second: str | None = None
    """Name of the second network; None: the first one after ``first``."""

    second_layer: str | None = None
    """Layer of the second network; None: that of the same name, else of the same relative depth."""

    linked: bool = toggle(
        True,
        label="Link the layers",
        help="A layer chosen on one side also chooses the one of the same name on the other, "
        "or else of the same relative depth.",
        page="Compare",
    )

    aligned: bool = toggle(
        True,
        label="Align the colours",
        help="Rotate the scores of the second network so that they come nearest to those of the "
        "first: where the features agree, a position has the same colour. Off: each its own "
        "colours.",
        page="Compare",
    )

    difference: bool = toggle(
        False,
        label="Show the difference",
        help="A third picture: where in each photo the two differ most after alignment.",
        page="Compare",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("first", "second"):
            text_or_none(name, getattr(self, name), "the name of a network")
        text_or_none("second_layer", self.second_layer, "the name of a layer")


@dataclass(frozen=True)
class SideSettings(Settings):
    """Settings of one picture; ``layer`` is a network and its layer, joined by :func:`joined`."""

    reference: str | None = None
    """Network and layer that the colours are aligned to; None: its own colours."""


def side_settings(
    settings: CompareSettings, layer: str, reference: str | None = None
) -> SideSettings:
    """Return the settings of one side, with its network and layer."""
    return SideSettings(**(picture_values(settings) | {"layer": layer}), reference=reference)


def joined(network: str, layer: str) -> str:
    """Return one name for a layer of a network."""
    return f"{network}{_JOINT}{layer}"


def parted(name: str | None) -> tuple[str, str]:
    """Return network and layer of a name that :func:`joined` made: a side always has one."""
    assert name is not None
    network, _, layer = name.rpartition(_JOINT)
    return network, layer


def plain_settings(settings: Settings) -> Settings:
    """Return the settings of a picture with the layer's name alone."""
    return Settings(**(picture_values(settings) | {"layer": parted(settings.layer)[1]}))


def picture_values(settings: Settings) -> dict[str, Any]:
    """Return the fields of ``Settings``, without those that a comparison adds."""
    return {field.name: getattr(settings, field.name) for field in fields(Settings)}
