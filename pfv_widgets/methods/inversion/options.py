"""Options of a reconstruction: each field is one control."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pfv_widgets.errors import PFVTypeError
from pfv_widgets.methods.inversion.augmentation import Augmentation
from pfv_widgets.methods.inversion.image_optimisers import OPTIMISERS
from pfv_widgets.methods.inversion.image_parametrisation import PARAMETRISATIONS
from pfv_widgets.parameters import Declared, choice, slider, suggestion, validate


@dataclass(frozen=True)
class Reconstruct(Declared):
    """Options of :func:`pfv_widgets.reconstruct`.

    The defaults are those of feature visualisation since 2017: waves in decorrelated colours
    instead of pixels, Adam, and random augmentation (Olah et al. 2017). :meth:`matching` gives
    those for an activation to match, and :meth:`featurevis` those of FeatureVis (Grün
    et al. 2016, after Mahendran, Vedaldi 2015).
    """

    parametrisation: str = choice(
        "fourier",
        PARAMETRISATIONS,
        label="Image basis",
        words={"fourier": "Fourier", "pixels": "pixels"},
        help="Fourier: waves in decorrelated colours, which give large, smooth forms; pixels: each "
        "by itself, as in FeatureVis.",
    )
    optimiser: str = choice(
        "adam",
        OPTIMISERS,
        label="Optimiser",
        help="adam: a step length of its own for each parameter; momentum: gradient descent with "
        "momentum 0.9, as in FeatureVis.",
    )
    steps: int = slider(
        256, 1, 4096, 1, label="Steps", help="More give finer details and take longer."
    )
    runs: int = slider(
        1, 1, 32, 1, label="Runs", help="How many images are made, each from different noise."
    )
    rate: float = slider(
        1.0, 0.01, 20.0, 0.01, label="Rate", help="Length of the steps, relative to the usual one."
    )
    p_norm: float = slider(
        2.0, 0.0, 10.0, 0.01, label="Range",
        help="Weight of the 6-norm, which keeps colours in range; 1 as in FeatureVis.",
    )  # fmt: skip
    total_variation: float = slider(
        0.0005, 0.0, 2.0, 0.0001, label="Smoothness",
        help="Weight of the total variation, which keeps neighbours alike; 1 as in FeatureVis.",
    )  # fmt: skip
    jitter: int = slider(
        16, 0, 64, 1, label="Jitter",
        help="Pixels by which the image is shifted at random before each step, which reduces "
        "noise; 0 where a photo is matched.",
    )  # fmt: skip
    scale: float = slider(
        0.1,
        0.0,
        0.5,
        0.01,
        label="Scaling",
        help="Share by which the image is enlarged or reduced at random.",
    )
    rotation: float = slider(
        5.0,
        0.0,
        45.0,
        0.5,
        label="Rotation",
        help="Degrees by which the image is rotated at random.",
    )
    seed: int = slider(
        0,
        0,
        9999,
        1,
        label="Seed",
        help="The same seed gives the same image; on a GPU, nearly the same.",
    )

    def __post_init__(self) -> None:
        validate(self)

    @classmethod
    def matching(cls, **changes: Any) -> Reconstruct:
        """Return the options to match an activation: no augmentation, as each position counts."""
        own: dict[str, Any] = {"p_norm": 1.0, "total_variation": 1e-4}
        own |= {"jitter": 0, "scale": 0.0, "rotation": 0.0}
        return cls(**{**own, **changes})

    @classmethod
    def featurevis(cls, **changes: Any) -> Reconstruct:
        """Return the options of FeatureVis: pixels, momentum 0.9, 100 steps, both priors."""
        own: dict[str, Any] = {"parametrisation": "pixels", "optimiser": "momentum", "steps": 100}
        own |= {"p_norm": 1.0, "total_variation": 1.0, "jitter": 0, "scale": 0.0, "rotation": 0.0}
        return cls(**{**own, **changes})

    @property
    def augmentation(self) -> Augmentation:
        """The random transformations before each step."""
        return Augmentation(self.jitter, self.scale, self.rotation)


def checked_names(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return fields of :class:`Reconstruct` by name as they are."""
    legal = [field.name for field in dataclasses.fields(Reconstruct)]
    for name, value in changes.items():
        if name not in legal:
            raise PFVTypeError(
                f"{name}={value!r:.60}: reconstruct has no such option. {suggestion(name, legal)}"
            )
    return changes
