"""Settings of which every field differs from its default, whatever knobs there are."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.parameters import Parameter, Slider, Toggle, parameters_of

WITHOUT_A_KNOB: dict[str, Any] = {
    "layer": "another",
    "channels": (2, 0),
    "images": (1.0, 0.0, 0.5, 1.0),
    "pins": ((1, 0.5, 0.5),),
    "cut": (1, 3),
    "cut_mode": "clamp",
    "suspects": (1,),
}


def another(parameter: Parameter, default: Any) -> Any:
    """A legal value of a knob that is not its default."""
    if isinstance(parameter, Toggle):
        return not default
    if isinstance(parameter, Slider):
        steps = round(0.3 * (parameter.maximum - parameter.minimum) / parameter.step)
        value = parameter.minimum + steps * parameter.step
        return value + parameter.step * math.isclose(value, default)
    return next(name for name in reversed(list(parameter.choices)) if name != default)


def other_values() -> dict[str, Any]:
    """Name of each field, in order → another value than at the start."""
    knobs = parameters_of(Settings)
    return {
        one.name: another(knobs[one.name], one.default)
        if one.name in knobs
        else WITHOUT_A_KNOB[one.name]
        for one in fields(Settings)
    }
