"""What a network is to see, and how the picture is made, in one frozen dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pfv_widgets.engine.pipeline.settings_json import JsonSettings
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.inversion.options import Reconstruct, checked_names
from pfv_widgets.parameters import choice, validate
from pfv_widgets.validation import text_or_none, whole_number

KINDS = {
    "class": "a class", "channel": "a channel", "component": "a component",
    "photo": "a photo",
}  # fmt: skip
COMPONENTS = 8  # of PFV, that are offered
MOST_UNITS = 99_999
# what a person has chosen and keeps where the kind of target, and with it the defaults, change
_CHOSEN = ("seed", "steps", "parametrisation", "optimiser", "runs", "rate")


@dataclass(frozen=True)
class ReconstructionSettings(JsonSettings):
    """What to reconstruct and how; edit with ``dataclasses.replace``.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the field, its value and the legal values.
    """

    kind: str = choice(
        "class", KINDS, label="Image of", help="What the image should activate, or match."
    )
    """One of ``"class"``, ``"channel"``, ``"component"`` or ``"photo"``."""

    unit: int = 0
    """Index of the class, or of the channel of the layer."""

    layer: str | None = None
    """Where channel, component and photo are read; None: the default layer of PFV."""

    component: int = 0
    """Index of the principal component."""

    sign: int = 1
    """1: more of the component; -1: less of it."""

    photo: int = 0
    """Index of the photo whose activation the picture should have."""

    options: Reconstruct = field(default_factory=Reconstruct)
    """How the picture is made: a ``Reconstruct``, or a mapping of its fields."""

    def __post_init__(self) -> None:
        validate(self)
        for name, last in (("unit", MOST_UNITS), ("component", COMPONENTS - 1), ("photo", None)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), 0, last))
        text_or_none("layer", self.layer, "the name of a layer")
        if isinstance(self.sign, bool) or self.sign not in (1, -1):
            raise PFVValueError(f"sign={self.sign!r:.60}: choose 1 or -1.")
        if isinstance(self.options, Mapping):
            object.__setattr__(self, "options", Reconstruct(**checked_names(self.options)))
        if not isinstance(self.options, Reconstruct):
            raise PFVTypeError(f"options={self.options!r:.60}: expected a Reconstruct.")

    def of_kind(self, kind: str) -> ReconstructionSettings:
        """Return settings for another kind of target, with its own defaults of the options."""
        changed = replace(self, kind=kind)
        if (kind == "photo") == (self.kind == "photo"):
            return changed
        chosen = {name: getattr(self.options, name) for name in _CHOSEN}
        return replace(changed, options=replace(changed.usual_options, **chosen))

    @property
    def usual_options(self) -> Reconstruct:
        """The default options for this kind of target."""
        return Reconstruct.matching() if self.kind == "photo" else Reconstruct()

    def changed_options(self) -> dict[str, Any]:
        """Return the options that differ from their defaults for this kind of target."""
        usual, own = dataclasses.asdict(self.usual_options), dataclasses.asdict(self.options)
        return {name: value for name, value in own.items() if value != usual[name]}

    def encoded(self) -> dict[str, Any]:
        """Return the options as a mapping."""
        return {"options": dataclasses.asdict(self.options)}
