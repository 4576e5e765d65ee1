"""What a sweep shows: one setting varied, all else as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings, settings_of
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.parameters import listed, suggestion
from pfv_widgets.validation import number

_FEWEST_COMPONENTS = 6  # that are swept: fewer make no animation
_CLASS_WEIGHTS = [round(0.1 * step, 1) for step in range(21)]
_SIGMAS = [0.25 * 2 ** (step / 3) for step in range(13)]

Step = tuple[str, Settings]
Values = list[object] | None


def planned(
    pfv: PFV,
    settings: Settings | None,
    over: str,
    values: Sequence[object] | None,
    label: str | None,
) -> list[Step]:
    """Return a caption and settings for each picture of a sweep: see ``sweep``."""
    settings = settings_of(settings, {})
    if not isinstance(over, str) or over not in SWEEPS:
        raise PFVValueError(f"over={over!r} is unknown. {suggestion(str(over), SWEEPS)}")
    settings.weights(len(pfv.images))  # raises where they do not fit
    if values is not None and (isinstance(values, str) or not isinstance(values, Iterable)):
        raise PFVTypeError(f"values={values!r:.80}: expected a list of values, or None.")
    chosen = None if values is None else list(values)
    if chosen == []:
        raise PFVValueError("values is empty: give at least one value, or None.")
    return SWEEPS[over].steps(pfv, settings, chosen, label)


def _over_components(pfv: PFV, settings: Settings, values: Values, _: str | None) -> list[Step]:
    numbers = values or list(range(1, _most(pfv, settings) + 1))
    plain = replace(settings, channels=None)
    return [
        (f"{n} component{'s' * (n != 1)}", replace(plain, components=n))  # type: ignore[arg-type]
        for n in numbers
    ]


def _over_layers(pfv: PFV, settings: Settings, values: Values, _: str | None) -> list[Step]:
    for value in values or ():
        if not isinstance(value, str):
            raise PFVTypeError(f"values: {value!r:.60} is no name of a layer from pfv.layers.")
    names = [pfv.layer(str(value)).name for value in values] if values else _distinct(pfv)
    return [(f"layer {name}", replace(settings, layer=name)) for name in names]


def _over_sigma(_: PFV, settings: Settings, values: Values, __: str | None) -> list[Step]:
    return [
        (f"contrast σ = {value:.3g}", replace(settings, sigma=value))
        for value in _numbers(values, _SIGMAS)
    ]


def _over_class_weight(
    pfv: PFV, settings: Settings, values: Values, label: str | None
) -> list[Step]:
    labels, classes = pfv.images.labels, pfv.images.classes
    if not labels:
        raise PFVValueError(
            "over='class weight': these images have no labels. Give load_images(…, labels=…), "
            "or sweep over 'components', 'layer' or 'sigma'."
        )
    if label is None:
        raise PFVValueError(f"label: name the class to sweep. Choose one of {listed(classes)}.")
    if label not in classes:
        raise PFVValueError(f"label={label!r} is no class here. {suggestion(str(label), classes)}")
    weights = settings.weights(len(labels))
    members = [index for index, own in enumerate(labels) if own == label]
    inside = [index for index in members if weights[index] > 0] or members
    return [
        (
            f"weight of {label} = {value:.3g}",
            replace(
                settings,
                images=tuple(value if i in inside else w for i, w in enumerate(weights)),
            ),
        )
        for value in _numbers(values, _CLASS_WEIGHTS)
    ]


@dataclass(frozen=True)
class Sweep:
    """One entry of :data:`SWEEPS`.

    Attributes
    ----------
    steps
        Returns a caption and settings for each picture, from the engine, the settings of all else,
        the values (None: the usual ones) and the label of a class.
    duration
        Milliseconds that a picture of an animation stays.
    """

    steps: Callable[[PFV, Settings, Values, str | None], list[Step]]
    duration: int


SWEEPS: dict[str, Sweep] = {
    "components": Sweep(_over_components, 900),
    "layer": Sweep(_over_layers, 700),
    "class weight": Sweep(_over_class_weight, 180),
    "sigma": Sweep(_over_sigma, 220),
}


def _numbers(values: Values, usual: list[float]) -> list[float]:
    if values is None:
        return usual
    return [number(f"values[{index}]", value) for index, value in enumerate(values)]


def _distinct(pfv: PFV) -> list[str]:
    return [layer.name for layer in pfv.layers if layer.same_as is None]


def _most(pfv: PFV, settings: Settings) -> int:
    usual = max(settings.components, _FEWEST_COMPONENTS)
    return min(usual, pfv.layer(settings.layer).shape[0], pfv.most_components)
